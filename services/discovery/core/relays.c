/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "relays.h"

#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"

#define NO_SLOT UINT32_MAX

void relays_init(struct relays *t, const struct relays_storage *s)
{
	memset(t, 0, sizeof(*t));
	t->slots = s->slots;
	t->marks = s->marks;
	t->order = s->order;
	t->room = s->room;
	t->first_free = NO_SLOT;
	memset(t->bucket_stale, true, sizeof(t->bucket_stale));
}

/* First position whose id is >= id, or > id. */
static uint32_t position(const struct relays *t, const uint8_t *id, bool after)
{
	uint32_t lo = 0, hi = t->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		int c = memcmp(t->slots[t->order[mid]].d.node_id, id, NODE_ID_SIZE);

		if (c < 0 || (c == 0 && after))
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct relay *relays_at(const struct relays *t, uint32_t i)
{
	return i < t->n ? &t->slots[t->order[i]] : NULL;
}

struct relay *relays_find(const struct relays *t, const uint8_t id[static NODE_ID_SIZE])
{
	struct relay *r = relays_at(t, position(t, id, false));

	return r != NULL && memcmp(r->d.node_id, id, NODE_ID_SIZE) == 0 ? r : NULL;
}

uint32_t relays_after(const struct relays *t, const uint8_t *id)
{
	return id == NULL ? 0 : position(t, id, true);
}

uint32_t relays_bucket(const struct relays *t, unsigned int bucket)
{
	uint8_t id[NODE_ID_SIZE] = {(uint8_t)bucket};

	return bucket >= RELAYS_BUCKETS ? t->n : position(t, id, false);
}

/* Slots are handed out from the low end, so memory is touched only as far as it is needed. */
static struct relay *slot_take(struct relays *t)
{
	struct relay *r;

	if (t->first_free != NO_SLOT) {
		r = &t->slots[t->first_free];
		t->first_free = r->next_free;
	} else if (t->n_touched < t->room) {
		r = &t->slots[t->n_touched++];
	} else {
		return NULL;
	}
	memset(r, 0, sizeof(*r));
	return r;
}

static void bytes_set(
	struct relay *r, const struct descriptor *d, const uint8_t bytes[static DESCRIPTOR_SIZE])
{
	memcpy(r->bytes, bytes, DESCRIPTOR_SIZE);
	r->d = *d;
	r->told = false;
	relay_version(bytes, r->version);
}

struct relay_mark relay_mark_of(const struct descriptor *d, uint32_t introducer)
{
	const uint8_t *a = d->ep4.addr.ip, *b = d->ep6.addr.ip;
	struct relay_mark m = {.introducer = introducer, .wg_head = le32_get(d->wg_pk)};

	if (d->ep4.addr.family != NET_NONE)
		m.net4 = 1u << 24 | (uint32_t)a[0] << 16 | (uint32_t)a[1] << 8 | a[2];
	if (d->ep6.addr.family != NET_NONE)
		m.net6 = 1ull << 48 | be64_get(b) >> 16;
	return m;
}

bool relay_marks_near(const struct relay_mark *a, const struct relay_mark *b)
{
	return (a->net4 != 0 && a->net4 == b->net4) || (a->net6 != 0 && a->net6 == b->net6);
}

static void mark_set(struct relays *t, const struct relay *r)
{
	struct relay_mark m = relay_mark_of(&r->d, r->introducer);

	m.state = r->state;
	t->marks[r - t->slots] = m;
}

struct relay *relays_insert(struct relays *t, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE], uint32_t introducer)
{
	uint32_t i = position(t, d->node_id, false);
	struct relay *r = slot_take(t);

	if (r == NULL)
		return NULL;
	memmove(t->order + i + 1, t->order + i, (t->n - i) * sizeof(*t->order));
	t->order[i] = (uint32_t)(r - t->slots);
	t->n++;
	bytes_set(r, d, bytes);
	r->introducer = introducer;
	r->state = RELAY_HEARD;
	t->n_state[RELAY_HEARD]++;
	mark_set(t, r);
	return r;
}

static void bucket_touch(struct relays *t, const struct relay *r)
{
	if (r->state == RELAY_PROVEN)
		t->bucket_stale[r->d.node_id[0]] = true;
}

void relays_update(struct relays *t, struct relay *r, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE], uint32_t introducer)
{
	bytes_set(r, d, bytes);
	r->introducer = introducer;
	mark_set(t, r);
	bucket_touch(t, r);
}

void relays_remove(struct relays *t, struct relay *r)
{
	uint32_t i = position(t, r->d.node_id, false);

	bucket_touch(t, r);
	t->n_state[r->state]--;
	t->n--;
	memmove(t->order + i, t->order + i + 1, (t->n - i) * sizeof(*t->order));
	r->state = RELAY_FREE;
	mark_set(t, r);
	r->next_free = t->first_free;
	t->first_free = (uint32_t)(r - t->slots);
}

void relays_set_state(struct relays *t, struct relay *r, enum relay_state state)
{
	bucket_touch(t, r);
	t->n_state[r->state]--;
	r->state = (uint8_t)state;
	t->n_state[state]++;
	mark_set(t, r);
	bucket_touch(t, r);
}

/* ---- digests ---- */

static void bucket_refresh(struct relays *t, unsigned int bucket)
{
	crypto_generichash_state h;
	uint32_t end = relays_bucket(t, bucket + 1);

	crypto_generichash_init(&h, NULL, 0, RELAYS_VERSION_SIZE);
	for (uint32_t i = relays_bucket(t, bucket); i < end; i++) {
		const struct relay *r = relays_at(t, i);

		if (r->state == RELAY_PROVEN)
			crypto_generichash_update(&h, r->version, sizeof(r->version));
	}
	crypto_generichash_final(&h, t->bucket_digest[bucket], RELAYS_VERSION_SIZE);
	t->bucket_stale[bucket] = false;
}

static void buckets_refresh(struct relays *t)
{
	for (unsigned int b = 0; b < RELAYS_BUCKETS; b++)
		if (t->bucket_stale[b])
			bucket_refresh(t, b);
}

static void salted(
	const uint8_t *data, size_t len, uint64_t salt, uint8_t ret[static crypto_shorthash_BYTES])
{
	uint8_t key[crypto_shorthash_KEYBYTES] = {0};

	le64_put(key, salt);
	crypto_shorthash(ret, data, len, key);
}

uint64_t relays_root(struct relays *t, uint64_t salt)
{
	uint8_t h[crypto_shorthash_BYTES];

	buckets_refresh(t);
	salted(t->bucket_digest[0], sizeof(t->bucket_digest), salt, h);
	return le64_get(h);
}

void relays_digests(
	struct relays *t, uint64_t salt, uint8_t ret[static RELAYS_BUCKETS * RELAYS_DIGEST_SIZE])
{
	buckets_refresh(t);
	for (unsigned int b = 0; b < RELAYS_BUCKETS; b++) {
		uint8_t h[crypto_shorthash_BYTES];

		salted(t->bucket_digest[b], RELAYS_VERSION_SIZE, salt, h);
		memcpy(ret + b * RELAYS_DIGEST_SIZE, h, RELAYS_DIGEST_SIZE);
	}
}

void relay_version(
	const uint8_t bytes[static DESCRIPTOR_SIZE], uint8_t ret[static RELAYS_VERSION_SIZE])
{
	crypto_generichash(ret, RELAYS_VERSION_SIZE, bytes, DESCRIPTOR_SIZE, NULL, 0);
}

void version_digest(const uint8_t version[static RELAYS_VERSION_SIZE], uint64_t salt,
	uint8_t ret[static RELAYS_DIGEST_SIZE])
{
	uint8_t h[crypto_shorthash_BYTES];

	salted(version, RELAYS_VERSION_SIZE, salt, h);
	memcpy(ret, h, RELAYS_DIGEST_SIZE);
}
