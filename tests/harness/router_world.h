/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A world for tests of the router: relays with descriptors and a geography, a router's core in it,
 * a list of the orders that it gave. Included by one test program each. */
#ifndef ROUTER_WORLD_H
#define ROUTER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/geo.h"
#include "services/router/core/attempt.h"
#include "services/router/core/learn.h"
#include "services/router/core/live.h"
#include "services/router/core/router.h"
#include "services/router/core/vpn.h"

#define UNUSED __attribute__((unused))
#define WORLD_CAPACITY 1024
#define WORLD_RELAYS 1024
#define ORDERS_MAX 256
#define DAY0 20000 /* days since 1970 when a world begins */

/* One relay as the world has it. AS n is 20.n.0.0/16 and 2a00:n00::/32, in country "C" + letter. */
struct relay {
	unsigned int as;     /* 0..255 */
	unsigned int subnet; /* third byte */
	unsigned int host;
	uint32_t roles;
	uint64_t price[HOP_ROLES];
	uint8_t family; /* 0 none */
	bool only4, only6;
	uint8_t node_id[NODE_ID_SIZE];
	uint8_t sk[64];
	uint8_t bytes[DESCRIPTOR_SIZE];
	uint64_t seq;
};

enum order_kind { ORDER_BUILD, ORDER_USE, ORDER_CLOSE, ORDER_PROBE, ORDER_MEASURE };

struct order {
	enum order_kind kind;
	uint32_t route, exit_of, drain_ms;
	unsigned int n_hops;
	unsigned int hops[POLICY_HOPS_MAX]; /* numbers of relays */
	mono_t at;
	bool taken; /* by order_next */
};

struct world {
	struct router *r;
	struct router_storage storage;
	struct router_sink sink;
	struct geo geo;
	unsigned int n_countries; /* AS n is in country n % n_countries */
	struct relay relays[WORLD_RELAYS];
	unsigned int n_relays;
	struct when now;
	struct order orders[ORDERS_MAX];
	unsigned int n_orders;
	void (*on_order)(struct world *w, const struct order *o); /* simulations */
	void *user;
};

#define BOTH_EXITS (DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6)

UNUSED static unsigned int relay_number(const struct world *w, const uint8_t *node_id)
{
	for (unsigned int i = 0; i < w->n_relays; i++)
		if (memcmp(w->relays[i].node_id, node_id, NODE_ID_SIZE) == 0)
			return i;
	fail_msg("a relay that the world does not have");
	return 0;
}

static void order_add(void *ctx, const struct order *o)
{
	struct world *w = ctx;
	struct order copy = *o;

	copy.at = w->now.mono;
	assert_in_range(w->n_orders, 0, ORDERS_MAX - 1);
	w->orders[w->n_orders++] = copy;
	if (w->on_order != NULL) {
		w->n_orders = 0;
		w->on_order(w, &copy);
	}
}

static void world_build(void *ctx, const struct path *p, const struct peer *const *hops)
{
	struct order o = {
		.kind = ORDER_BUILD, .route = p->id, .exit_of = p->exit_of, .n_hops = p->n_hops};

	for (unsigned int k = 0; k < p->n_hops; k++)
		o.hops[k] = relay_number(ctx, hops[k]->node_id);
	order_add(ctx, &o);
}

static void world_use(void *ctx, uint32_t route)
{
	order_add(ctx, &(struct order){.kind = ORDER_USE, .route = route});
}

static void world_close(void *ctx, uint32_t route, uint32_t drain_ms)
{
	order_add(ctx, &(struct order){.kind = ORDER_CLOSE, .route = route, .drain_ms = drain_ms});
}

static void world_probe(void *ctx, uint32_t route)
{
	order_add(ctx, &(struct order){.kind = ORDER_PROBE, .route = route});
}

static void world_measure(void *ctx, const struct peer *p)
{
	order_add(ctx, &(struct order){.kind = ORDER_MEASURE,
			       .n_hops = 1,
			       .hops = {relay_number(ctx, p->node_id)}});
}

static void geo_fill(struct world *w)
{
	w->geo.rows = calloc(512, sizeof(w->geo.rows[0]));
	for (unsigned int as = 0; as < 256; as++) {
		char line[80];

		snprintf(line, sizeof(line), "20.%u.0.0/16,C%c,%u,x", as, 'A' + as % w->n_countries,
			1000 + as);
		assert_int_equal(geo_row_parse(line, &w->geo.rows[w->geo.n_rows++]), OK);
		snprintf(line, sizeof(line), "2a%02x::/16,C%c,%u,x", as, 'A' + as % w->n_countries,
			1000 + as);
		assert_int_equal(geo_row_parse(line, &w->geo.rows[w->geo.n_rows++]), OK);
	}
	geo_sort(&w->geo);
}

static void storage_fill(struct router_storage *st, uint32_t capacity)
{
	st->capacity = capacity;
	st->peers = calloc(capacity, sizeof(*st->peers));
	st->index = calloc((size_t)capacity * PEERS_INDEX_FACTOR, sizeof(*st->index));
	st->weigh.rows = calloc(capacity, sizeof(*st->weigh.rows));
	st->weigh.order = calloc(capacity, sizeof(*st->weigh.order));
	st->weigh.sums = calloc(capacity, sizeof(*st->weigh.sums));
	st->weigh.cum_middle = calloc(capacity, sizeof(*st->weigh.cum_middle));
	st->weigh.cum_exit = calloc(capacity, sizeof(*st->weigh.cum_exit));
}

static void storage_free(struct router_storage *st)
{
	free(st->peers);
	free(st->index);
	free(st->weigh.rows);
	free(st->weigh.order);
	free(st->weigh.sums);
	free(st->weigh.cum_middle);
	free(st->weigh.cum_exit);
}

/* A fresh router process in the world as it is: knowledge and session are gone. */
static void world_boot(struct world *w, uint8_t seed)
{
	const uint8_t seed_bytes[32] = {seed, 7};

	storage_free(&w->storage);
	storage_fill(&w->storage, WORLD_CAPACITY);
	router_init(w->r, &w->storage, &w->geo, false, seed_bytes, &w->sink, w->now);
}

UNUSED static struct world *world_new(uint8_t seed, unsigned int n_countries)
{
	struct world *w = calloc(1, sizeof(*w));

	w->n_countries = n_countries;
	w->now = (struct when){{1000000000000ull}, {(int64_t)DAY0 * DAY_S}};
	geo_fill(w);
	w->r = calloc(1, sizeof(*w->r));
	w->sink = (struct router_sink){
		w, world_build, world_use, world_close, world_probe, world_measure};
	world_boot(w, seed);
	return w;
}

UNUSED static void world_free(struct world *w)
{
	storage_free(&w->storage);
	free(w->geo.rows);
	free(w->r);
	free(w);
}

/* ---- relays ---- */

UNUSED static void relay_sign(struct world *w, struct relay *relay)
{
	struct descriptor d = {.roles = relay->roles,
		.seq = ++relay->seq,
		.not_before = w->now.wall,
		.expires = {w->now.wall.s + DESCRIPTOR_LIFE_MAX_S}};

	memcpy(d.node_id, relay->node_id, sizeof(d.node_id));
	memcpy(d.wg_pk, relay->node_id, sizeof(d.wg_pk));
	if (!relay->only6)
		d.ep4 = (struct net_endpoint){
			{NET_IP4, {20, (uint8_t)relay->as, (uint8_t)relay->subnet,
					  (uint8_t)relay->host}},
			51820};
	if (!relay->only4)
		d.ep6 = (struct net_endpoint){
			{NET_IP6, {0x2a, (uint8_t)relay->as, (uint8_t)relay->subnet, 0, 0, 0, 0, 0,
					  0, 0, 0, 0, 0, 0, 1, (uint8_t)relay->host}},
			51820};
	snprintf(d.name, sizeof(d.name), "r%u", (unsigned int)(relay - w->relays));
	d.family_id[0] = relay->family;
	memcpy(d.price_gwei_per_gib, relay->price, sizeof(d.price_gwei_per_gib));
	if (relay->roles & BOTH_EXITS)
		d.policy_digest[0] = 1;
	assert_int_equal(descriptor_sign(&d, relay->sk, relay->bytes), OK);
}

/* Adds it to the world, not yet to the router. */
UNUSED static struct relay *relay_add(struct world *w, struct relay spec)
{
	struct relay *relay = &w->relays[w->n_relays];
	uint8_t seed[32] = {1};

	assert_in_range(w->n_relays, 0, WORLD_RELAYS - 1);
	seed[1] = (uint8_t)w->n_relays;
	seed[2] = (uint8_t)(w->n_relays >> 8);
	*relay = spec;
	crypto_sign_seed_keypair(relay->node_id, relay->sk, seed);
	w->n_relays++;
	relay_sign(w, relay);
	return relay;
}

UNUSED static struct peer *relay_peer(struct world *w, unsigned int number)
{
	return peers_find(&w->r->peers, w->relays[number].node_id);
}

UNUSED static void relay_learn(struct world *w, unsigned int number)
{
	assert_int_equal(
		peers_learn(&w->r->peers, w->relays[number].bytes, DESCRIPTOR_SIZE, w->now), OK);
}

UNUSED static void relays_learn(struct world *w)
{
	for (unsigned int i = 0; i < w->n_relays; i++)
		relay_learn(w, i);
	peers_snapshot_end(&w->r->peers, w->n_relays);
}

/* A network like the lab's, larger: n relays over n_as networks, every second one an exit. */
UNUSED static void relays_spread(struct world *w, unsigned int n, unsigned int n_as)
{
	for (unsigned int i = 0; i < n; i++)
		relay_add(w, (struct relay){.as = i % n_as,
				     .subnet = i / n_as,
				     .host = 1 + i % 200,
				     .roles = DESCRIPTOR_RELAY |
					      (i % 2 == 0 ? 0u : (uint32_t)BOTH_EXITS)});
}

/* ---- time and events ---- */

UNUSED static void world_step(struct world *w)
{
	vpn_step(w->r, w->now);
}

UNUSED static void world_pass(struct world *w, dur_t d)
{
	int64_t s0 = (int64_t)(w->now.mono.ns / 1000000000u);

	w->now.mono = mono_add(w->now.mono, d);
	w->now.wall.s += (int64_t)(w->now.mono.ns / 1000000000u) - s0;
	world_step(w);
}

UNUSED static enum err world_want(struct world *w, bool on, uint32_t hops, const char *country)
{
	char countries[1][3] = {""};
	char why[NOTE_MAX];
	struct wish wish = {.on = on, .hops = hops, .countries = (const char(*)[3])countries};

	if (country != NULL) {
		memcpy(countries[0], country, 3);
		wish.n_countries = 1;
	}
	enum err e = vpn_on_set_session(w->r, &wish, w->now, why);
	world_step(w);
	return e;
}

/* The oldest order of that kind that was not taken yet; NULL if there is none. */
UNUSED static struct order *order_next(struct world *w, enum order_kind kind)
{
	for (unsigned int i = 0; i < w->n_orders; i++)
		if (w->orders[i].kind == kind && !w->orders[i].taken) {
			w->orders[i].taken = true;
			return &w->orders[i];
		}
	return NULL;
}

UNUSED static void orders_forget(struct world *w)
{
	w->n_orders = 0;
}

/* What the tunnel says of a route of these relays, 20 ms per hop. */
UNUSED static struct path_facts facts_of(struct world *w, uint32_t route, const unsigned int *hops,
	unsigned int n_hops, struct path_hop room[static POLICY_HOPS_MAX])
{
	for (unsigned int k = 0; k < n_hops; k++) {
		room[k] = (struct path_hop){.session = route * 10 + k, .rtt_us = 20000 * (k + 1)};
		memcpy(room[k].node_id, w->relays[hops[k]].node_id, NODE_ID_SIZE);
	}
	return (struct path_facts){.route = route, .hops = room, .n_hops = n_hops};
}

UNUSED static void tunnel_built(struct world *w, const struct order *o)
{
	struct path_hop room[POLICY_HOPS_MAX];
	struct path_facts f = facts_of(w, o->route, o->hops, o->n_hops, room);
	static const uint8_t ip4[4] = {100, 64, 0, 2};

	f.ip4 = ip4;
	f.ip4_len = 4;
	vpn_on_built(w->r, &f, w->now);
	world_step(w);
}

UNUSED static void tunnel_probed(struct world *w, uint32_t route, bool ok)
{
	vpn_on_probed(w->r, route, ok, w->now);
	world_step(w);
}

UNUSED static void tunnel_suspects(struct world *w, uint32_t route, uint32_t hop)
{
	vpn_on_suspect(w->r, route, hop, w->now);
	world_step(w);
}

UNUSED static void tunnel_dead(struct world *w, uint32_t route, uint32_t hop)
{
	vpn_on_dead(w->r, route, hop, w->now);
	world_step(w);
}

/* Tunnel and gateway greet: link up, empty snapshot, settings. */
UNUSED static void world_ready(struct world *w)
{
	vpn_on_link(w->r, true, w->now);
	vpn_on_tunnel_hello(w->r, true, w->now);
	vpn_on_lives_complete(w->r, w->now);
	vpn_on_settings(w->r, true, 0, 0, w->now);
	world_step(w);
}

/* Answers every candidate guard's measurement. */
UNUSED static void measures_answer(struct world *w)
{
	struct order *o;

	while ((o = order_next(w, ORDER_MEASURE)) != NULL)
		vpn_on_measured(w->r, w->relays[o->hops[0]].node_id, true, 20000, w->now);
	world_step(w);
}

/* From the wish to a route in use. Returns its number. */
UNUSED static uint32_t world_connect(struct world *w, uint32_t hops, const char *country)
{
	struct order *o;

	assert_int_equal(world_want(w, true, hops, country), OK);
	measures_answer(w);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	struct order build = *o;
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	assert_int_equal(w->r->vpn.live, build.route);
	return build.route;
}

/* The spare that follows a second later. Returns its number. */
UNUSED static uint32_t world_spare(struct world *w)
{
	struct order *o;

	orders_forget(w);
	world_pass(w, DUR_MS(1100));
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	struct order build = *o;
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	assert_int_equal(w->r->vpn.spare, build.route);
	orders_forget(w);
	return build.route;
}

#endif
