/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network of discovery cores on a virtual clock, for simulations: messages with delay and loss, a
 * tunnel that retransmits and gives up, nodes that come, go and lie. One event at a time, all by
 * one seed. Each test program includes it once. */
#ifndef TESTS_DISCOVERY_NET_H
#define TESTS_DISCOVERY_NET_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/discovery/core/discovery.h"

#define NODES_MAX 128
#define NET_ROOM 1024 /* records a table */
#define WALL_START 1800000000
#define ROUTER_SEES_MAX NET_ROOM

enum node_kind {
	RELAY,
	CLIENT,
	LIAR_FORGER,	  /* serves and pushes changed descriptors of others */
	LIAR_REPLAYER,	  /* serves and pushes old ones */
	LIAR_FLOODER,	  /* pushes and serves signed descriptors of nodes that do not exist */
	LIAR_EQUIVOCATOR, /* says different things of itself */
	LIAR_WITHHOLDER,  /* another root each time, and nothing behind it */
	LIAR_MASQUERADE	  /* descriptors of its own that name the key and place of others */
};

struct net;

struct node {
	struct net *net;
	unsigned int i;
	enum node_kind kind;
	bool up;
	uint8_t seed[32], sk[64], wg_pk[32];
	struct net_addr ip;
	int64_t skew_s;
	struct discovery *d;
	struct relays_storage storage;
	uint64_t stored_seq, last_registered;
	mono_t tick_at;
	/* what the router was told */
	uint8_t (*router)[NODE_ID_SIZE];
	uint32_t n_router;
	bool router_complete;
	unsigned int router_refuses; /* say ERR_FULL so often */
};

enum event_kind { EV_QUERY, EV_ANSWER, EV_GIVE_UP };

struct event {
	uint64_t at_ns, order;
	enum event_kind kind;
	unsigned int from, to; /* nodes */
	uint64_t id;
	size_t len;
	uint8_t payload[PAYLOAD_MAX];
};

struct publication {
	uint8_t bytes[DESCRIPTOR_SIZE];
	unsigned int node;
};

struct net {
	struct node nodes[NODES_MAX];
	unsigned int n_nodes;
	uint64_t now_ns, order, next_id;
	struct rng rng;
	uint32_t loss_ppm;
	struct event **heap;
	size_t n_heap, heap_room;
	/* All that honest nodes ever signed. */
	struct publication *published;
	size_t n_published, published_room;
	uint64_t n_events;
	/* Liars' answers instead of those of the core; NULL: honest. */
	bool (*lie)(struct net *net, struct node *liar, const gossip_Query *q, gossip_Answer *a);
};

static inline struct moment net_moment(const struct node *n)
{
	return (struct moment){{n->net->now_ns},
		{WALL_START + (int64_t)(n->net->now_ns / 1000000000u) + n->skew_s}};
}

/* ---- events ---- */

static bool event_before(const struct event *a, const struct event *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

static void heap_push(struct net *net, struct event *e)
{
	size_t i = net->n_heap++;

	if (net->n_heap > net->heap_room) {
		net->heap_room = net->heap_room == 0 ? 1024 : 2 * net->heap_room;
		net->heap = realloc(net->heap, net->heap_room * sizeof(*net->heap));
		assert_non_null(net->heap);
	}
	for (; i > 0 && event_before(e, net->heap[(i - 1) / 2]); i = (i - 1) / 2)
		net->heap[i] = net->heap[(i - 1) / 2];
	net->heap[i] = e;
}

static struct event *heap_pop(struct net *net)
{
	struct event *top = net->heap[0], *last = net->heap[--net->n_heap];
	size_t i = 0;

	for (size_t c; (c = 2 * i + 1) < net->n_heap; i = c) {
		if (c + 1 < net->n_heap && event_before(net->heap[c + 1], net->heap[c]))
			c++;
		if (!event_before(net->heap[c], last))
			break;
		net->heap[i] = net->heap[c];
	}
	net->heap[i] = last;
	return top;
}

static void event_add(struct net *net, uint64_t delay_ns, enum event_kind kind, unsigned int from,
	unsigned int to, uint64_t id, const uint8_t *payload, size_t len)
{
	struct event *e = malloc(sizeof(*e));

	assert_non_null(e);
	*e = (struct event){.at_ns = net->now_ns + delay_ns,
		.order = net->order++,
		.kind = kind,
		.from = from,
		.to = to,
		.id = id,
		.len = len};
	assert_true(len <= sizeof(e->payload));
	if (len > 0)
		memcpy(e->payload, payload, len);
	heap_push(net, e);
}

/* ---- the tunnel between two nodes ---- */

#define TUNNEL_GIVES_UP_NS 8000000000u

/* One way, 5 to 80 ms by the pair. */
static uint64_t net_delay_ns(struct net *net, unsigned int a, unsigned int b)
{
	uint64_t base = 5 + (a * 37 + b * 37) % 70;

	return base * 1000000u + rng_below(&net->rng, 5000000);
}

/* Delay of a retransmitted exchange until one gets through: 0 if none does in time. */
static uint64_t net_tries_ns(struct net *net)
{
	uint64_t waited = 0, pause = 500000000u;

	while (rng_below(&net->rng, 1000000) < net->loss_ppm ||
		rng_below(&net->rng, 1000000) < net->loss_ppm) {
		waited += pause;
		pause *= 2;
		if (waited > TUNNEL_GIVES_UP_NS)
			return 0;
	}
	return waited + 1;
}

static struct node *node_at(struct net *net, const struct contact *to)
{
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		struct node *n = &net->nodes[i];

		if (n->up && n->kind != CLIENT && memcmp(n->wg_pk, to->wg_pk, 32) == 0 &&
			net_addr_eq(&n->ip, &to->ep4.addr) && to->ep4.port == 51820)
			return n;
	}
	return NULL;
}

static uint64_t sink_ask(void *ctx, const struct contact *to, const uint8_t *payload, size_t len)
{
	struct node *from = ctx;
	struct net *net = from->net;
	struct node *n = node_at(net, to);
	uint64_t id = ++net->next_id, waited = net_tries_ns(net);

	if (n == NULL || waited == 0) {
		event_add(net, TUNNEL_GIVES_UP_NS, EV_GIVE_UP, from->i, from->i, id, NULL, 0);
		return id;
	}
	/* A handshake before it, as a session rarely exists. */
	event_add(net, waited + 3 * net_delay_ns(net, from->i, n->i), EV_QUERY, from->i, n->i, id,
		payload, len);
	return id;
}

static void sink_answer(
	void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	struct node *n = ctx;

	/* session names the asker here, request is the low half of the question's id */
	event_add(n->net, net_delay_ns(n->net, n->i, (unsigned int)session), EV_ANSWER, n->i,
		(unsigned int)session, request, payload, len);
}

/* ---- what the other services hear ---- */

static uint32_t router_find(const struct node *n, const uint8_t *id)
{
	uint32_t i = 0;

	while (i < n->n_router && memcmp(n->router[i], id, NODE_ID_SIZE) != 0)
		i++;
	return i;
}

static bool router_full(struct node *n)
{
	if (n->router_refuses == 0)
		return false;
	n->router_refuses--;
	return true;
}

static enum err sink_learned(void *ctx, const struct relay *r)
{
	struct node *n = ctx;
	uint32_t i = router_find(n, r->d.node_id);

	if (router_full(n))
		return ERR_FULL;
	if (i == n->n_router) {
		assert_true(n->n_router < ROUTER_SEES_MAX);
		memcpy(n->router[n->n_router++], r->d.node_id, NODE_ID_SIZE);
	}
	return OK;
}

static enum err sink_gone(void *ctx, const uint8_t node_id[static NODE_ID_SIZE])
{
	struct node *n = ctx;
	uint32_t i = router_find(n, node_id);

	if (router_full(n))
		return ERR_FULL;
	if (i < n->n_router)
		memmove(n->router[i], n->router[--n->n_router], NODE_ID_SIZE);
	return OK;
}

static enum err sink_complete(void *ctx, uint32_t n_relays)
{
	struct node *n = ctx;

	(void)n_relays;
	n->router_complete = true;
	return OK;
}

static enum err sink_state(void *ctx, const struct directory_state *s)
{
	(void)ctx;
	(void)s;
	return OK;
}

static enum err sink_seq_store(void *ctx, uint64_t seq)
{
	struct node *n = ctx;

	assert_true(seq > n->stored_seq); /* never goes back, over all lives of the node */
	n->stored_seq = seq;
	return OK;
}

/* ---- nodes ---- */

static inline struct contact net_contact(const struct node *n)
{
	struct contact c = {.ep4 = {n->ip, 51820}};

	memcpy(c.node_id, n->sk + 32, NODE_ID_SIZE);
	memcpy(c.wg_pk, n->wg_pk, 32);
	return c;
}

static struct node *net_add(struct net *net, enum node_kind kind)
{
	struct node *n = &net->nodes[net->n_nodes];
	uint8_t pk[32];

	assert_true(net->n_nodes < NODES_MAX);
	n->net = net;
	n->i = net->n_nodes++;
	n->kind = kind;
	rng_bytes(&net->rng, n->seed, 32);
	crypto_sign_seed_keypair(pk, n->sk, n->seed);
	rng_bytes(&net->rng, n->wg_pk, 32);
	/* 198.18.0.0/15: each in a /24 of its own */
	n->ip = (struct net_addr){
		.family = NET_IP4, .ip = {198, (uint8_t)(18 + n->i % 2), (uint8_t)n->i, 1}};
	n->skew_s = (int64_t)rng_below(&net->rng, 200) - 100;
	return n;
}

/* Is bytes something that an honest node of this network signed? */
static inline bool net_genuine(const struct net *net, const uint8_t *bytes)
{
	for (size_t i = net->n_published; i-- > 0;)
		if (memcmp(net->published[i].bytes, bytes, DESCRIPTOR_SIZE) == 0)
			return true;
	return false;
}

static void register_own(struct node *n)
{
	struct net *net = n->net;

	if (n->d->own.seq == n->last_registered || n->d->own.n_published == 0)
		return;
	n->last_registered = n->d->own.seq;
	if (net->n_published == net->published_room) {
		net->published_room = net->published_room == 0 ? 256 : 2 * net->published_room;
		net->published =
			realloc(net->published, net->published_room * sizeof(*net->published));
		assert_non_null(net->published);
	}
	memcpy(net->published[net->n_published].bytes, n->d->own.out_bytes, DESCRIPTOR_SIZE);
	net->published[net->n_published++].node = n->i;
}

static void node_after(struct node *n)
{
	struct moment now = net_moment(n);

	discovery_tick(n->d, now);
	register_own(n);
	n->tick_at = discovery_deadline(n->d, now);
	/* A deadline in the past twice over would be a busy loop. */
	if (n->tick_at.ns < n->net->now_ns + 1000000u)
		n->tick_at.ns = n->net->now_ns + 1000000u;
}

static inline void settings_say(struct node *n, bool share)
{
	struct moment now = net_moment(n);
	const struct own_settings settings = {share, share && n->i % 2 == 0};
	struct own_listening l = {.port = 51820, .relay = share, .exit4 = share};
	const struct own_terms t = {.free_bytes = 1 << 20};

	memcpy(l.wg_pk, n->wg_pk, 32);
	discovery_on_settings(n->d, now, &settings);
	discovery_on_listening(n->d, now, &l);
	discovery_on_terms(n->d, now, &t);
}

/* Starts a process: an empty table, and the number that its file holds. */
static void net_start(struct node *n, const struct node *const *boots, size_t n_boots)
{
	const struct discovery_sink sink = {n, sink_ask, sink_answer, sink_learned, sink_gone,
		sink_complete, sink_state, sink_seq_store};
	struct discovery_conf conf = {.near_max = 8, .seq = n->stored_seq};

	memcpy(conf.own.identity_sk, n->sk, 64);
	snprintf(conf.own.name, sizeof(conf.own.name), "n%u", n->i);
	conf.own.public4 = n->ip;
	conf.own.test_network = true;
	rng_bytes(&n->net->rng, conf.seed, 32);
	n->d = calloc(1, sizeof(*n->d));
	n->storage = (struct relays_storage){calloc(NET_ROOM, sizeof(struct relay)),
		calloc(NET_ROOM, sizeof(struct relay_mark)), calloc(NET_ROOM, sizeof(uint32_t)),
		NET_ROOM};
	n->router = calloc(ROUTER_SEES_MAX, NODE_ID_SIZE);
	n->n_router = 0;
	n->router_complete = false;
	assert_true(n->d && n->storage.slots && n->storage.marks && n->storage.order && n->router);
	n->up = true;
	discovery_init(n->d, &conf, &n->storage, &sink, net_moment(n));
	for (size_t i = 0; i < n_boots; i++) {
		struct contact c = net_contact(boots[i]);

		discovery_add_boot(n->d, &c);
	}
	settings_say(n, n->kind != CLIENT);
	discovery_on_router_link(n->d, net_moment(n));
	discovery_on_tunnel_link(n->d, net_moment(n));
	node_after(n);
}

static inline void net_kill(struct node *n)
{
	if (!n->up)
		return;
	n->up = false;
	discovery_done(n->d);
	free(n->d);
	free(n->storage.slots);
	free(n->storage.marks);
	free(n->storage.order);
	free(n->router);
	n->d = NULL;
}

static inline void net_leave(struct node *n)
{
	discovery_stop(n->d, net_moment(n));
	register_own(n);
	net_kill(n);
}

/* ---- running ---- */

static void query_deliver(struct net *net, const struct event *e)
{
	struct node *n = &net->nodes[e->to];
	gossip_Query q;
	gossip_Answer a = gossip_Answer_init_zero;
	uint8_t payload[PAYLOAD_MAX];
	size_t len;

	if (!n->up)
		return; /* the asker's tunnel gives up */
	if (n->kind > CLIENT && net->lie != NULL && query_decode(e->payload, e->len, &q) == OK &&
		net->lie(net, n, &q, &a)) {
		assert_int_equal(answer_encode(&a, payload, &len), OK);
		sink_answer(n, e->from, (uint32_t)e->id, payload, len);
		return;
	}
	discovery_on_peer_asked(n->d, net_moment(n), e->from, (uint32_t)e->id, e->payload, e->len);
	node_after(n);
}

static void event_run(struct net *net, const struct event *e)
{
	struct node *n = &net->nodes[e->to];

	net->n_events++;
	if (e->kind == EV_QUERY) {
		query_deliver(net, e);
		return;
	}
	if (!n->up)
		return;
	discovery_on_peer_answered(n->d, net_moment(n), e->id,
		e->kind == EV_ANSWER ? OK : ERR_TIMEOUT, e->payload, e->len);
	node_after(n);
}

static struct node *node_next(struct net *net)
{
	struct node *best = NULL;

	for (unsigned int i = 0; i < net->n_nodes; i++) {
		struct node *n = &net->nodes[i];

		if (n->up && (best == NULL || n->tick_at.ns < best->tick_at.ns))
			best = n;
	}
	return best;
}

/* Runs until the clock shows `until_s` seconds. */
static void net_run(struct net *net, double until_s)
{
	uint64_t end = (uint64_t)(until_s * 1e9);

	for (;;) {
		struct node *n = node_next(net);
		uint64_t tick = n == NULL ? UINT64_MAX : n->tick_at.ns;
		uint64_t event = net->n_heap == 0 ? UINT64_MAX : net->heap[0]->at_ns;

		if (tick > end && event > end)
			break;
		if (event <= tick) {
			struct event *e = heap_pop(net);

			net->now_ns = e->at_ns;
			event_run(net, e);
			free(e);
		} else {
			net->now_ns = tick > net->now_ns ? tick : net->now_ns;
			node_after(n);
		}
	}
	net->now_ns = end;
}

static struct net *net_new(uint32_t seed, uint32_t loss_ppm)
{
	struct net *net = calloc(1, sizeof(*net));
	uint8_t s[32] = {(uint8_t)seed, (uint8_t)(seed >> 8), 77};

	assert_non_null(net);
	assert_true(sodium_init() >= 0);
	rng_init(&net->rng, s);
	net->loss_ppm = loss_ppm;
	net->now_ns = 1000000000u;
	return net;
}

static void net_free(struct net *net)
{
	for (unsigned int i = 0; i < net->n_nodes; i++)
		net_kill(&net->nodes[i]);
	while (net->n_heap > 0)
		free(net->heap[--net->n_heap]);
	free(net->heap);
	free(net->published);
	free(net);
}

/* ---- questions ---- */

static double net_s(const struct net *net)
{
	return (double)net->now_ns / 1e9;
}

/* Does n hold `of` as proven, in its newest version? */
static bool net_knows(const struct node *n, const struct node *of)
{
	const struct relay *r = relays_find(&n->d->dir.relays, of->sk + 32);

	return r != NULL && r->state == RELAY_PROVEN;
}

static inline unsigned int net_knowing(const struct net *net, const struct node *of)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < net->n_nodes; i++)
		n += net->nodes[i].up && net->nodes[i].i != of->i && net_knows(&net->nodes[i], of);
	return n;
}

/* Every node that is up holds every honest relay that is up, and nothing proven that is not up. */
static inline bool net_full_view(const struct net *net)
{
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		const struct node *n = &net->nodes[i];

		if (!n->up || n->kind > CLIENT)
			continue;
		for (unsigned int k = 0; k < net->n_nodes; k++)
			if (net->nodes[k].kind == RELAY && net->nodes[k].up &&
				!net_knows(n, &net->nodes[k]))
				return false;
	}
	return true;
}

/* Runs in steps of 0.5 s until `holds` or the limit; returns the seconds it took. */
static inline double net_run_until(
	struct net *net, bool (*holds)(const struct net *), double limit_s)
{
	double from = net_s(net);

	while (!holds(net) && net_s(net) - from < limit_s)
		net_run(net, net_s(net) + 0.5);
	return net_s(net) - from;
}

#endif
