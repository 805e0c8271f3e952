/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A router's core with a directory of 24 signed relays, for fuzz targets: made once, reset per
 * input. */
#ifndef ROUTER_FUZZ_H
#define ROUTER_FUZZ_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "services/router/core/intake.h"
#include "services/router/core/live.h"
#include "services/router/core/report.h"
#include "services/router/core/vpn.h"

#define FUZZ_CAPACITY 64
#define FUZZ_RELAYS 24
#define FUZZ_ROUTES 64

struct fuzz_world {
	struct router r;
	struct peer peers[FUZZ_CAPACITY];
	uint32_t index[FUZZ_CAPACITY * PEERS_INDEX_FACTOR];
	struct row rows[FUZZ_CAPACITY];
	struct keyed_row order[FUZZ_CAPACITY];
	double sums[FUZZ_CAPACITY], cum_middle[FUZZ_CAPACITY], cum_exit[FUZZ_CAPACITY];
	struct router_storage storage;
	struct router_sink sink;
	struct geo_row geo_rows[FUZZ_RELAYS];
	struct geo geo;
	uint8_t ids[FUZZ_RELAYS][NODE_ID_SIZE];
	uint8_t descriptors[FUZZ_RELAYS][DESCRIPTOR_SIZE];
	struct when now;
	uint32_t orders[FUZZ_ROUTES]; /* numbers of routes ordered lately, newest at n_orders - 1 */
	uint32_t n_orders;
	uint32_t n_open; /* ordered and neither closed by us nor told to be over */
};

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

static void fuzz_build(void *ctx, const struct path *p, const struct peer *const *hops)
{
	struct fuzz_world *w = ctx;

	CHECK(p->n_hops >= 1 && p->n_hops <= POLICY_HOPS_MAX);
	for (unsigned int i = 0; i < p->n_hops; i++)
		for (unsigned int k = 0; k < i; k++)
			CHECK(hops[i] != hops[k] && hops[i]->asn != hops[k]->asn);
	w->orders[w->n_orders++ % FUZZ_ROUTES] = p->id;
}

static void fuzz_use(void *ctx, uint32_t route)
{
	(void)ctx;
	(void)route;
}

static void fuzz_close(void *ctx, uint32_t route, uint32_t drain_ms)
{
	(void)ctx;
	(void)drain_ms;
	CHECK(route != 0);
}

static void fuzz_probe(void *ctx, uint32_t route)
{
	(void)ctx;
	CHECK(route != 0);
}

static void fuzz_measure(void *ctx, const struct peer *p)
{
	(void)ctx;
	CHECK(p->used);
}

static void fuzz_relay_make(struct fuzz_world *w, unsigned int i)
{
	struct descriptor d = {.seq = 1,
		.roles = DESCRIPTOR_RELAY | (i % 2 == 0 ? 0u : DESCRIPTOR_EXIT4),
		.not_before = w->now.wall,
		.expires = {w->now.wall.s + DESCRIPTOR_LIFE_MAX_S},
		.ep4 = {{NET_IP4, {20, (uint8_t)i, 0, 1}}, 51820},
		.wg_pk = {1}};
	uint8_t sk[64], seed[32] = {(uint8_t)i, 1};

	crypto_sign_seed_keypair(d.node_id, sk, seed);
	d.policy_digest[0] = i % 2 != 0;
	d.price_gwei_per_gib[HOP_EXIT] = i % 4 == 1 ? 1000 : 0;
	CHECK(descriptor_sign(&d, sk, w->descriptors[i]) == OK);
	memcpy(w->ids[i], d.node_id, NODE_ID_SIZE);
	w->geo_rows[i] = (struct geo_row){.prefix = {{NET_IP4, {20, (uint8_t)i}}, 16},
		.country = {'C', (char)('A' + i % 4), 0},
		.asn = 1000 + i};
}

static struct fuzz_world *fuzz_world_get(void)
{
	static struct fuzz_world *w;
	const uint8_t seed[32] = {9};

	if (w == NULL) {
		w = calloc(1, sizeof(*w));
		w->now = (struct when){{1000000000000ull}, {20000LL * DAY_S}};
		for (unsigned int i = 0; i < FUZZ_RELAYS; i++)
			fuzz_relay_make(w, i);
		w->geo = (struct geo){w->geo_rows, FUZZ_RELAYS};
		geo_sort(&w->geo);
		w->sink = (struct router_sink){
			w, fuzz_build, fuzz_use, fuzz_close, fuzz_probe, fuzz_measure};
		w->storage = (struct router_storage){w->peers, w->index,
			{w->rows, w->order, w->sums, w->cum_middle, w->cum_exit}, FUZZ_CAPACITY};
	}
	memset(w->peers, 0, sizeof(w->peers));
	memset(w->index, 0, sizeof(w->index));
	w->now = (struct when){{1000000000000ull}, {20000LL * DAY_S}};
	w->n_orders = 0;
	router_init(&w->r, &w->storage, &w->geo, false, seed, &w->sink, w->now);
	for (unsigned int i = 0; i < FUZZ_RELAYS; i++)
		CHECK(peers_learn(&w->r.peers, w->descriptors[i], DESCRIPTOR_SIZE, w->now) == OK);
	peers_snapshot_end(&w->r.peers, FUZZ_RELAYS);
	return w;
}

/* What must hold after every step. */
static void fuzz_invariants(struct fuzz_world *w)
{
	struct router *r = &w->r;
	const struct path *live;
	unsigned int n_draining = 0, n_under_way = 0;

	for (int i = 0; i < 4 && mono_reached(r->wake, w->now.mono); i++)
		vpn_step(r, w->now);
	CHECK(!mono_reached(r->wake, w->now.mono)); /* it does not spin */
	live = path_find(r, r->vpn.live);
	CHECK(r->vpn.live == 0 || live != NULL);
	CHECK(r->vpn.spare == 0 || path_find(r, r->vpn.spare) != NULL);
	CHECK(r->vpn.spare == 0 || r->vpn.spare != r->vpn.live);
	CHECK(r->vpn.repair.of == 0 || path_find(r, r->vpn.repair.of) != NULL);
	CHECK(live == NULL || live->state == PATH_READY || live->state == PATH_PROBING);
	CHECK(r->vpn.phase != PHASE_ON || (live != NULL && live->state == PATH_READY));
	CHECK(r->vpn.phase == PHASE_OFF || r->vpn.phase == PHASE_ON || r->vpn.reason[0] != '\0');
	for (size_t i = 0; i < PATHS_MAX; i++) {
		const struct path *p = &r->paths[i];

		if (p->state == PATH_FREE)
			continue;
		CHECK(p->id != 0 && p->n_hops >= 1 && p->n_hops <= POLICY_HOPS_MAX);
		CHECK(path_find(r, p->id) == p);
		n_draining += p->state == PATH_DRAINING;
		n_under_way += p->state == PATH_BUILDING;
	}
	CHECK(n_under_way <= ATTEMPTS_MAX_ALL + REPAIRS_MAX + 2);
	CHECK(n_draining <= PATHS_MAX);
	CHECK(r->guards.n <= GUARDS_MAX);
}

/* At the end, since it weighs the table: what the gateway would hear. */
static void fuzz_report(struct fuzz_world *w)
{
	mvpn_SessionState s;

	report_state(&w->r, w->now, &s);
	CHECK(s.hops_count <= 3 && s.reasons_count <= 3);
}

#endif
