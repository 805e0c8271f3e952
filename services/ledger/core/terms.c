/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "terms.h"

#include <string.h>

#include "lib/bytes.h"
#include "value.h"

uint32_t day_of(wall_t now)
{
	return now.s < 0 ? 0 : (uint32_t)(now.s / 86400);
}

void terms_hash(const struct terms *t, uint8_t ret_hash[static KECCAK_SIZE])
{
	static const char tag[] = "mvpn terms v1";
	uint8_t msg[sizeof(tag) - 1 + 8 + ADDRESS_SIZE + 8 * HOP_ROLES + 8], *p = msg;

	memcpy(p, tag, sizeof(tag) - 1);
	p += sizeof(tag) - 1;
	be64_put(p, t->chain_id);
	memcpy(p + 8, t->payee, ADDRESS_SIZE);
	p += 8 + ADDRESS_SIZE;
	for (int i = 0; i < HOP_ROLES; i++, p += 8)
		be64_put(p, t->price_gwei_per_gib[i]);
	be64_put(p, t->free_bytes);
	keccak256(msg, sizeof(msg), ret_hash);
}

void terms_of_descriptor(const struct descriptor *d, struct terms *ret_t)
{
	memset(ret_t, 0, sizeof(*ret_t));
	ret_t->chain_id = d->chain_id;
	memcpy(ret_t->payee, d->payee, ADDRESS_SIZE);
	memcpy(ret_t->price_gwei_per_gib, d->price_gwei_per_gib, sizeof(d->price_gwei_per_gib));
	ret_t->free_bytes = d->free_bytes;
}

uint64_t terms_price(const struct terms *t, bool exit)
{
	const uint64_t *p = t->price_gwei_per_gib;

	if (exit)
		return p[HOP_EXIT];
	return p[HOP_ENTRY] > p[HOP_MIDDLE] ? p[HOP_ENTRY] : p[HOP_MIDDLE];
}

bool terms_free(const struct terms *t)
{
	return terms_price(t, false) == 0 && terms_price(t, true) == 0;
}

enum err terms_check(const struct terms *t)
{
	for (int i = 0; i < HOP_ROLES; i++)
		if (t->price_gwei_per_gib[i] > PRICE_MAX_GWEI)
			return ERR_INVALID;
	return OK;
}

bool terms_set(struct terms_book *b, const struct terms *t, uint32_t today)
{
	struct terms_kept now = {.terms = *t, .last_day = TERMS_CURRENT};
	uint64_t relay = terms_price(t, false);
	size_t n = 0;

	now.terms.price_gwei_per_gib[HOP_ENTRY] = relay;
	now.terms.price_gwei_per_gib[HOP_MIDDLE] = relay;
	terms_hash(&now.terms, now.hash);
	if (b->n_kept > 0 && memcmp(b->kept[0].hash, now.hash, KECCAK_SIZE) == 0)
		return false;
	if (b->n_kept > 0)
		b->kept[0].last_day = today + 1;
	struct terms_book next = {0};
	next.kept[n++] = now;
	for (size_t i = 0; i < b->n_kept && n < TERMS_KEPT; i++)
		if (b->kept[i].last_day >= today &&
			memcmp(b->kept[i].hash, now.hash, KECCAK_SIZE) != 0)
			next.kept[n++] = b->kept[i];
	next.n_kept = n;
	*b = next;
	return true;
}

const struct terms *terms_find(
	const struct terms_book *b, const uint8_t hash[static KECCAK_SIZE], uint32_t today)
{
	for (size_t i = 0; i < b->n_kept; i++)
		if (memcmp(b->kept[i].hash, hash, KECCAK_SIZE) == 0)
			return b->kept[i].last_day >= today ? &b->kept[i].terms : NULL;
	return NULL;
}
