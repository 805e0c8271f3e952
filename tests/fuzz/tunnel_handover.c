/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tunnel left to its successor, any bytes: first as they are, which no one without the node's key can
 * make pass; then sealed with it, so that what is inside is hostile. What is accepted keeps every bound, is
 * taken up by routes and flows as the tunnel does it, and is written again as it was read. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"
#include "lib/rng.h"
#include "services/tunnel/core/handover.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FLOWS 16
#define LEN_MAX (1 << 16)
#define HEAD_SIZE 24
#define BODY_AT (HEAD_SIZE + HANDOVER_NONCE_SIZE)
#define TAG_SIZE 16

static const uint8_t key[HANDOVER_KEY_SIZE] = {42};
static const uint8_t file_nonce[HANDOVER_NONCE_SIZE] = {5};
static const wall_t now = {1800000000};
static struct handover h, again;
static unsigned int n_opened;

static void on_hop(void *ctx, struct route *r, unsigned int hop)
{
	(void)ctx;
	if (hop >= r->n_hops)
		abort();
}

static void on_reopen(void *ctx, struct route *r, unsigned int hop, const struct route_target *target,
	const struct net_endpoint *ep)
{
	on_hop(ctx, r, hop);
	if (target != &r->hops[hop].target || (ep == NULL) != (hop > 0))
		abort();
	n_opened++;
}

static void on_request(void *ctx, struct route *r, unsigned int hop, overlay_Control *body, uint64_t tag,
	dur_t rtt, dur_t deadline)
{
	(void)body, (void)tag, (void)rtt, (void)deadline;
	on_hop(ctx, r, hop);
}

static void on_echo(void *ctx, struct route *r, unsigned int hop, uint64_t nonce)
{
	(void)nonce;
	on_hop(ctx, r, hop);
}

static void on_closed(void *ctx, struct route *r)
{
	(void)ctx, (void)r;
}

static const struct route_sink sink = {.reopen = on_reopen,
	.handshake = on_hop,
	.request = on_request,
	.echo = on_echo,
	.end = on_hop,
	.dead = on_hop,
	.suspect = on_hop,
	.closed = on_closed};

static void route_take(const struct handover_route *k, struct rng *rng)
{
	static struct route_target targets[ROUTE_HOPS_MAX];
	static struct route r;
	const struct route_spec spec = {.id = k->id,
		.purpose = ROUTE_TRAFFIC,
		.n_hops = k->n_hops,
		.targets = targets,
		.have_ip4 = true,
		.have_ip6 = true};
	mono_t t = {1000000000};

	for (unsigned int i = 0; i < k->n_hops; i++) {
		struct descriptor d;

		if (descriptor_decode(k->hops[i].descriptor, DESCRIPTOR_SIZE, &d) != OK)
			return;
		route_target_from(&targets[i], &d, k->hops[i].descriptor);
	}
	if (route_init(&r, &spec, rng) != OK)
		return;
	n_opened = 0;
	route_resume(&r, t, &k->lease, &sink);
	if (n_opened != r.n_hops || !route_resumable(&r))
		abort();
	for (unsigned int i = 0; i < r.n_hops; i++)
		route_on_established(&r, mono_add(t, DUR_MS(i)), i, &sink);
	for (int i = 0; i < 8; i++) {
		t = mono_min(route_deadline(&r), mono_add(t, DUR_S(9)));
		route_tick(&r, t, &sink);
	}
	route_abort(&r, &sink);
}

static void flows_take(const uint8_t *buf)
{
	static uint64_t mem[2048];
	const struct flow_conf conf = {{NET_IP4, {10, 99, 0, 2}}, {NET_IP6, {0xfd, [15] = 2}}, {0}, {0}, FLOWS};
	const uint64_t table_key[2] = {1, 2};
	const struct net_addr none = {0}, lent = {NET_IP4, {100, 64, 0, 20}};
	struct flow f;
	struct flow_kept k;
	uint32_t cursor = 0, n = 0, n_kept = 0;
	unsigned int e;

	if (flow_bytes(&conf) > sizeof(mem))
		abort();
	flow_init(&f, &conf, mem, table_key);
	for (unsigned int i = 0; i < 3; i++)
		if (flow_exit_add(&f, &lent, &none, &none, &none, &e) != OK)
			abort();
	for (uint32_t i = 0; i < h.n_flows; i++) {
		handover_flow_get(buf, &h, i, &k);
		n += flow_restore(&f, (mono_t){1000000000}, &k) == OK;
	}
	if (n != f.table.n_used || n > FLOWS)
		abort();
	while (flow_keep(&f, (mono_t){1000000000}, &cursor, &k))
		n_kept++;
	if (n_kept > n)
		abort();
}

/* Read, written, read, written: the second time nothing changes. */
static void round_trip(const uint8_t *buf, size_t len)
{
	static uint8_t once[LEN_MAX], twice[LEN_MAX], plain[LEN_MAX];

	for (int i = 0; i < 2; i++) {
		uint8_t *to = i == 0 ? once : twice;
		const uint8_t *from = i == 0 ? buf : once;

		memcpy(plain, from, len);
		if (handover_open(plain, len, key, now, &again) != OK)
			abort();
		for (uint32_t f = 0; f < again.n_flows; f++) {
			struct flow_kept k;

			handover_flow_get(plain, &again, f, &k);
			handover_flow_put(to, again.n_routes, f, &k);
		}
		handover_seal(to, &again, key, file_nonce);
	}
	if (handover_bytes(again.n_routes, again.n_flows) != len || memcmp(once, twice, len) != 0)
		abort();
}

/* The input is the plaintext, with room for nonce and tag. */
static void seal(uint8_t *buf, size_t len)
{
	uint8_t own[32];

	crypto_generichash(own, sizeof(own), (const uint8_t *)"mvpnhand", 8, key, sizeof(key));
	crypto_aead_xchacha20poly1305_ietf_encrypt(buf + BODY_AT, NULL, buf + BODY_AT, len - BODY_AT - TAG_SIZE, buf,
		HEAD_SIZE, NULL, buf + HEAD_SIZE, own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t seed[32] = {9};
	struct rng rng;
	uint8_t *buf, *sealed;

	if (len < BODY_AT + TAG_SIZE || len > LEN_MAX)
		return 0;
	buf = malloc(len);
	sealed = malloc(len);
	memcpy(buf, data, len);
	if (handover_open(buf, len, key, now, &h) == OK)
		abort(); /* no corpus holds the tag */
	memcpy(buf, data, len);
	seal(buf, len);
	memcpy(sealed, buf, len);
	if (handover_open(buf, len, key, now, &h) == OK) {
		if (h.n_routes > HANDOVER_ROUTES_MAX || (h.in_use != HANDOVER_NONE && h.in_use >= h.n_routes))
			abort();
		rng_init(&rng, seed);
		for (unsigned int i = 0; i < h.n_routes; i++) {
			if (h.routes[i].n_hops < 1 || h.routes[i].n_hops > ROUTE_HOPS_MAX ||
				h.routes[i].place >= FLOW_EXITS_MAX)
				abort();
			route_take(&h.routes[i], &rng);
		}
		flows_take(buf);
		round_trip(sealed, len);
	}
	free(buf);
	free(sealed);
	return 0;
}
