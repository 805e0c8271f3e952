/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>

#include "cookie.h"

#define MACS sizeof(struct wg_macs)

/* What a cookie vouches for: address and port, as bytes. */
#define SOURCE_SIZE 19

static void source_put(uint8_t ret[static SOURCE_SIZE], const struct net_endpoint *e)
{
	ret[0] = e->addr.family;
	memcpy(ret + 1, e->addr.ip, 16);
	be16_put(ret + 17, e->port);
}

/* --- receiver -------------------------------------------------------------------------------- */
void cookie_checker_init(struct cookie_checker *c, const struct noise_identity *id)
{
	memset(c, 0, sizeof(*c));
	memcpy(c->mac1_key, id->mac1_key, HASH_SIZE);
	memcpy(c->cookie_key, id->cookie_key, HASH_SIZE);
}

void cookie_checker_done(struct cookie_checker *c)
{
	sodium_memzero(c, sizeof(*c));
}

static bool secret_lives(const struct cookie_checker *c, mono_t now)
{
	return c->secret_born.ns != 0 &&
	       !mono_reached(mono_add(c->secret_born, COOKIE_SECRET_LIFE), now);
}

static void cookie_of(const struct cookie_checker *c, const struct net_endpoint *source,
	uint8_t ret[static WG_MAC_SIZE])
{
	uint8_t bytes[SOURCE_SIZE];

	source_put(bytes, source);
	hash_mac(ret, c->secret_key, HASH_SIZE, bytes, sizeof(bytes));
}

static bool mac_right(
	const void *key, size_t key_len, const uint8_t *msg, size_t len, const uint8_t *mac)
{
	uint8_t want[WG_MAC_SIZE];

	hash_mac(want, key, key_len, msg, len);
	return sodium_memcmp(want, mac, WG_MAC_SIZE) == 0;
}

enum cookie_verdict cookie_check(struct cookie_checker *c, const uint8_t *msg, size_t len,
	const struct net_endpoint *source, bool under_load, mono_t now)
{
	size_t mac1 = len - MACS, mac2 = mac1 + WG_MAC_SIZE;
	uint8_t cookie[WG_MAC_SIZE];

	if (!mac_right(c->mac1_key, HASH_SIZE, msg, mac1, msg + mac1))
		return COOKIE_BAD;
	if (!under_load || !secret_lives(c, now))
		return COOKIE_MAC1;
	cookie_of(c, source, cookie);
	return mac_right(cookie, WG_MAC_SIZE, msg, mac2, msg + mac2) ? COOKIE_MAC2 : COOKIE_MAC1;
}

void cookie_reply_create(struct cookie_checker *c, const uint8_t *msg, size_t len,
	const struct net_endpoint *source, struct rng *rng, mono_t now, struct wg_cookie *ret_reply)
{
	uint8_t cookie[WG_MAC_SIZE];

	if (!secret_lives(c, now)) {
		rng_bytes(rng, c->secret_key, HASH_SIZE);
		c->secret_born = now;
	}
	cookie_of(c, source, cookie);
	le32_put(ret_reply->type, WG_COOKIE);
	le32_put(ret_reply->receiver, wg_sender_index(msg));
	rng_bytes(rng, ret_reply->nonce, WG_XNONCE_SIZE);
	crypto_aead_xchacha20poly1305_ietf_encrypt(ret_reply->enc_cookie, NULL, cookie, WG_MAC_SIZE,
		msg + len - MACS, WG_MAC_SIZE, NULL, ret_reply->nonce, c->cookie_key);
	sodium_memzero(cookie, sizeof(cookie));
}

/* --- sender ---------------------------------------------------------------------------------- */
static bool cookie_lives(const struct cookie_jar *jar, mono_t now)
{
	dur_t life = {COOKIE_LIFE.ns - COOKIE_LATENCY.ns};

	return jar->born.ns != 0 && !mono_reached(mono_add(jar->born, life), now);
}

void cookie_macs_put(
	struct cookie_jar *jar, const struct noise_remote *r, uint8_t *msg, size_t len, mono_t now)
{
	size_t mac1 = len - MACS, mac2 = mac1 + WG_MAC_SIZE;

	hash_mac(msg + mac1, r->mac1_key, HASH_SIZE, msg, mac1);
	memcpy(jar->last_mac1, msg + mac1, WG_MAC_SIZE);
	jar->sent = true;
	if (cookie_lives(jar, now))
		hash_mac(msg + mac2, jar->cookie, WG_MAC_SIZE, msg, mac2);
	else
		memset(msg + mac2, 0, WG_MAC_SIZE);
}

enum err cookie_reply_accept(struct cookie_jar *jar, const struct noise_remote *r,
	const struct wg_cookie *reply, mono_t now)
{
	uint8_t cookie[WG_MAC_SIZE];

	if (!jar->sent || crypto_aead_xchacha20poly1305_ietf_decrypt(cookie, NULL, NULL,
				  reply->enc_cookie, sizeof(reply->enc_cookie), jar->last_mac1,
				  WG_MAC_SIZE, reply->nonce, r->cookie_key) != 0)
		return ERR_DENIED;
	memcpy(jar->cookie, cookie, WG_MAC_SIZE);
	jar->born = now;
	jar->sent = false; /* one answer per message */
	sodium_memzero(cookie, sizeof(cookie));
	return OK;
}

/* --- token buckets --------------------------------------------------------------------------- */
/* A token is the time that it takes to grow back, so filling a bucket is one addition. */
#define TOKEN_NS (1000000000u / RATE_PER_S)
#define TOKENS_MAX (RATE_BURST * TOKEN_NS)

void rate_table_init(struct rate_table *t, struct rate_slot *slots, size_t n_slots, struct rng *rng)
{
	memset(slots, 0, n_slots * sizeof(*slots));
	t->slots = slots;
	t->n_sets = (uint32_t)(n_slots / RATE_WAYS);
	BUG_ON(t->n_sets == 0 || (t->n_sets & (t->n_sets - 1)) != 0);
	rng_bytes(rng, t->hash_key, sizeof(t->hash_key));
}

static uint64_t net_of(const struct net_addr *a)
{
	return a->family == NET_IP4 ? le32_get(a->ip) : le64_get(a->ip);
}

static uint64_t tokens_at(const struct rate_slot *s, mono_t now)
{
	uint64_t grown = now.ns > s->at_ns ? now.ns - s->at_ns : 0;

	if (s->at_ns == 0 || grown >= TOKENS_MAX || s->tokens + grown >= TOKENS_MAX)
		return TOKENS_MAX;
	return s->tokens + grown;
}

static struct rate_slot *slot_find(struct rate_table *t, uint64_t net, uint8_t family, mono_t now)
{
	struct {
		uint64_t net, family;
	} id = {net, family};
	uint64_t h;

	crypto_shorthash((uint8_t *)&h, (const uint8_t *)&id, sizeof(id), t->hash_key);

	struct rate_slot *set = &t->slots[(h & (t->n_sets - 1)) * RATE_WAYS], *fullest = set;

	for (unsigned int i = 0; i < RATE_WAYS; i++) {
		if (set[i].at_ns != 0 && set[i].net == net && set[i].family == family)
			return &set[i];
		if (tokens_at(&set[i], now) > tokens_at(fullest, now))
			fullest = &set[i];
	}
	*fullest = (struct rate_slot){.net = net, .family = family};
	return fullest;
}

bool rate_admit(struct rate_table *t, const struct net_addr *source, mono_t now)
{
	struct rate_slot *s = slot_find(t, net_of(source), source->family, now);
	uint64_t tokens = tokens_at(s, now);
	bool ok = tokens >= TOKEN_NS;

	s->tokens = (uint32_t)(ok ? tokens - TOKEN_NS : tokens);
	s->at_ns = now.ns != 0 ? now.ns : 1;
	return ok;
}
