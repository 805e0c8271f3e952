/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "handover.h"

#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"

#define MAGIC "mvpnhand"
#define TAG_SIZE 16
#define HEAD_SIZE 24 /* in clear */
#define BODY_AT (HEAD_SIZE + HANDOVER_NONCE_SIZE)
#define ADDR_SIZE 17
#define HOP_SIZE (32 + DESCRIPTOR_SIZE + 4 * 8 + 4)
#define ROUTE_FIXED_SIZE (16 + 2 * 8 + 4 * ADDR_SIZE)
#define ROUTE_SIZE (ROUTE_FIXED_SIZE + ROUTE_HOPS_MAX * HOP_SIZE)
#define FLOW_SIZE 28
#define FLOWS_MAX (1u << 22) /* as flow.c */

enum flow_bits { BIT_DNS = 1 << 4, BIT_FIN_OUT = 1 << 5, BIT_FIN_IN = 1 << 6, STATE_MASK = 15 };

size_t handover_bytes(unsigned int n_routes, uint32_t n_flows)
{
	return BODY_AT + (size_t)n_routes * ROUTE_SIZE + (size_t)n_flows * FLOW_SIZE + TAG_SIZE;
}

static void key_of(uint8_t ret[static HANDOVER_KEY_SIZE], const uint8_t key[static HANDOVER_KEY_SIZE])
{
	crypto_generichash(ret, HANDOVER_KEY_SIZE, (const uint8_t *)MAGIC, 8, key, HANDOVER_KEY_SIZE);
}

/* ---- flows ---- */

static size_t flow_at(unsigned int n_routes, uint32_t i)
{
	return handover_bytes(n_routes, i) - TAG_SIZE;
}

void handover_flow_put(uint8_t *buf, unsigned int n_routes, uint32_t i, const struct flow_kept *k)
{
	uint8_t *p = buf + flow_at(n_routes, i);
	const uint64_t idle_ms = k->idle.ns / 1000000;

	memcpy(p, k->key.remote, 16);
	le16_put(p + 16, k->key.remote_port);
	le16_put(p + 18, k->key.local_port);
	p[20] = k->key.family;
	p[21] = k->key.proto;
	p[22] = k->exit;
	p[23] = (uint8_t)(k->state | (k->dns ? BIT_DNS : 0) | (k->fin_out ? BIT_FIN_OUT : 0) |
			  (k->fin_in ? BIT_FIN_IN : 0));
	le32_put(p + 24, idle_ms > UINT32_MAX ? UINT32_MAX : (uint32_t)idle_ms);
}

void handover_flow_get(
	const uint8_t *buf, const struct handover *h, uint32_t i, struct flow_kept *ret)
{
	const uint8_t *p = buf + flow_at(h->n_routes, i);

	*ret = (struct flow_kept){.key = {.remote_port = le16_get(p + 16),
					  .local_port = le16_get(p + 18),
					  .family = p[20],
					  .proto = p[21]},
		.exit = p[22],
		.state = p[23] & STATE_MASK,
		.dns = (p[23] & BIT_DNS) != 0,
		.fin_out = (p[23] & BIT_FIN_OUT) != 0,
		.fin_in = (p[23] & BIT_FIN_IN) != 0,
		.idle = DUR_MS(le32_get(p + 24))};
	memcpy(ret->key.remote, p, 16);
}

/* ---- routes ---- */

static uint8_t *addr_put(uint8_t *p, const struct net_addr *a)
{
	p[0] = a->family;
	memcpy(p + 1, a->ip, 16);
	return p + ADDR_SIZE;
}

/* Of another family than there are: none. */
static const uint8_t *addr_get(const uint8_t *p, struct net_addr *ret)
{
	*ret = net_addr_from_bytes(p + 1, p[0] == NET_IP4 ? 4 : p[0] == NET_IP6 ? 16 : 0);
	return p + ADDR_SIZE;
}

static void hop_put(uint8_t *p, const struct handover_hop *h)
{
	memcpy(p, h->static_sk, 32);
	memcpy(p + 32, h->descriptor, DESCRIPTOR_SIZE);
	p += 32 + DESCRIPTOR_SIZE;
	le64_put(p, h->number);
	le64_put(p + 8, h->up_bytes);
	le64_put(p + 16, h->down_bytes);
	le64_put(p + 24, h->credit_bytes);
	le32_put(p + 32, h->next_request);
}

static void hop_get(const uint8_t *p, struct handover_hop *ret)
{
	memcpy(ret->static_sk, p, 32);
	memcpy(ret->descriptor, p + 32, DESCRIPTOR_SIZE);
	p += 32 + DESCRIPTOR_SIZE;
	ret->number = le64_get(p);
	ret->up_bytes = le64_get(p + 8);
	ret->down_bytes = le64_get(p + 16);
	ret->credit_bytes = le64_get(p + 24);
	ret->next_request = le32_get(p + 32);
}

static void route_put(uint8_t *p, const struct handover_route *r)
{
	le32_put(p, r->id);
	p[4] = (uint8_t)r->n_hops;
	p[5] = (uint8_t)r->place;
	le16_put(p + 6, r->draining);
	le32_put(p + 8, (uint32_t)(r->drain.ns / 1000000));
	le32_put(p + 12, r->lease.mtu);
	le64_put(p + 16, r->rx_bytes);
	le64_put(p + 24, r->tx_bytes);
	p = addr_put(p + 32, &r->lease.ip4);
	p = addr_put(p, &r->lease.ip6);
	p = addr_put(p, &r->lease.dns4);
	p = addr_put(p, &r->lease.dns6);
	for (unsigned int k = 0; k < ROUTE_HOPS_MAX; k++)
		hop_put(p + (size_t)k * HOP_SIZE, &r->hops[k]);
}

static void route_get(const uint8_t *p, struct handover_route *ret)
{
	*ret = (struct handover_route){.id = le32_get(p),
		.n_hops = p[4],
		.place = p[5],
		.draining = le16_get(p + 6) != 0,
		.drain = DUR_MS(le32_get(p + 8)),
		.rx_bytes = le64_get(p + 16),
		.tx_bytes = le64_get(p + 24)};
	ret->lease.mtu = le32_get(p + 12);
	p = addr_get(p + 32, &ret->lease.ip4);
	p = addr_get(p, &ret->lease.ip6);
	p = addr_get(p, &ret->lease.dns4);
	p = addr_get(p, &ret->lease.dns6);
	for (unsigned int k = 0; k < ROUTE_HOPS_MAX; k++)
		hop_get(p + (size_t)k * HOP_SIZE, &ret->hops[k]);
}

/* ---- the whole ---- */

void handover_seal(uint8_t *buf, const struct handover *h, const uint8_t key[static HANDOVER_KEY_SIZE],
	const uint8_t nonce[static HANDOVER_NONCE_SIZE])
{
	const size_t len = handover_bytes(h->n_routes, h->n_flows);
	uint8_t own_key[HANDOVER_KEY_SIZE];

	memcpy(buf, MAGIC, 8);
	le16_put(buf + 8, HANDOVER_VERSION);
	buf[10] = (uint8_t)h->n_routes;
	buf[11] = (uint8_t)h->in_use;
	le32_put(buf + 12, h->n_flows);
	le64_put(buf + 16, (uint64_t)h->written_at.s);
	memcpy(buf + HEAD_SIZE, nonce, HANDOVER_NONCE_SIZE);
	for (unsigned int i = 0; i < h->n_routes; i++)
		route_put(buf + BODY_AT + (size_t)i * ROUTE_SIZE, &h->routes[i]);
	key_of(own_key, key);
	crypto_aead_xchacha20poly1305_ietf_encrypt(buf + BODY_AT, NULL, buf + BODY_AT, len - BODY_AT - TAG_SIZE,
		buf, HEAD_SIZE, NULL, nonce, own_key);
	sodium_memzero(own_key, sizeof(own_key));
}

static enum err head_get(const uint8_t *buf, size_t len, struct handover *ret)
{
	if (len < BODY_AT + TAG_SIZE || memcmp(buf, MAGIC, 8) != 0 ||
		le16_get(buf + 8) != HANDOVER_VERSION)
		return ERR_MALFORMED;
	ret->n_routes = buf[10];
	ret->in_use = buf[11];
	ret->n_flows = le32_get(buf + 12);
	ret->written_at.s = (int64_t)le64_get(buf + 16);
	if (ret->n_routes > HANDOVER_ROUTES_MAX || ret->n_flows > FLOWS_MAX ||
		(ret->in_use >= ret->n_routes && ret->in_use != HANDOVER_NONE) ||
		len != handover_bytes(ret->n_routes, ret->n_flows))
		return ERR_MALFORMED;
	return OK;
}

static enum err routes_check(const struct handover *h)
{
	for (unsigned int i = 0; i < h->n_routes; i++) {
		const struct handover_route *r = &h->routes[i];

		if (r->id == 0 || r->n_hops < 1 || r->n_hops > ROUTE_HOPS_MAX || r->place >= FLOW_EXITS_MAX)
			return ERR_MALFORMED;
		for (unsigned int j = 0; j < i; j++)
			if (h->routes[j].id == r->id || h->routes[j].place == r->place)
				return ERR_MALFORMED;
	}
	return OK;
}

static enum err body_decrypt(uint8_t *buf, size_t len, const uint8_t key[static HANDOVER_KEY_SIZE])
{
	uint8_t own_key[HANDOVER_KEY_SIZE];
	int r;

	key_of(own_key, key);
	r = crypto_aead_xchacha20poly1305_ietf_decrypt(buf + BODY_AT, NULL, NULL, buf + BODY_AT, len - BODY_AT,
		buf, HEAD_SIZE, buf + HEAD_SIZE, own_key);
	sodium_memzero(own_key, sizeof(own_key));
	return r == 0 ? OK : ERR_DENIED;
}

enum err handover_open(uint8_t *buf, size_t len, const uint8_t key[static HANDOVER_KEY_SIZE], wall_t now,
	struct handover *ret_h)
{
	*ret_h = (struct handover){0};
	TRY(head_get(buf, len, ret_h));
	TRY(body_decrypt(buf, len, key));
	if (ret_h->written_at.s > now.s || ret_h->written_at.s < now.s - HANDOVER_LIFE_S)
		return ERR_STALE;
	for (unsigned int i = 0; i < ret_h->n_routes; i++)
		route_get(buf + BODY_AT + (size_t)i * ROUTE_SIZE, &ret_h->routes[i]);
	return routes_check(ret_h);
}
