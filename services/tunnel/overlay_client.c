/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's side: routes and their hops, the flows of the device, and talks with other nodes. */
#include "overlay_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include <netinet/in.h>

#define PROBE_TRIES 6
#define PROBE_EVERY DUR_MS(400) /* a lost datagram must not cost much; the wait grows with the tries */
#define PROBE_LEN4 45		/* IPv4, UDP, a DNS query for the root's name servers */
#define PROBE_LEN6 65

static struct live_route *live_of(struct route *r)
{
	return r->user;
}

static struct live_route *live_by_id(struct overlay *o, uint32_t id)
{
	for (size_t i = 0; i < ROUTES_MAX; i++)
		if (o->routes[i].used && o->routes[i].r.purpose == ROUTE_TRAFFIC && o->routes[i].r.id == id)
			return &o->routes[i];
	return NULL;
}

struct live_route *client_live_take(struct overlay *o)
{
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		if (o->routes[i].used)
			continue;
		o->routes[i] = (struct live_route){.used = true, .exit_place = FLOW_NO_EXIT};
		o->routes[i].r.user = &o->routes[i];
		return &o->routes[i];
	}
	o->n.routes_full++;
	return NULL;
}

static struct hop *hop_take(struct overlay *o)
{
	for (size_t i = 0; i < HOPS_MAX; i++) {
		if (o->hops[i].used)
			continue;
		o->hops[i].used = true;
		control_requester_init(&o->hops[i].asks);
		return &o->hops[i];
	}
	return NULL;
}

static void hop_free(struct hop *h)
{
	noise_identity_done(&h->id);
	h->used = false;
	h->route = NULL;
}

/* ---- facts ---- */

static void router_tell(struct overlay *o, pb_size_t which, mvpn_RouterIn *m)
{
	m->which_body = which;
	o->ops.tell(o->ops.ctx, ROLE_ROUTER, m);
}

static void hop_info(struct overlay *o, const struct live_route *l, unsigned int k, mvpn_HopInfo *ret)
{
	struct route_hop_stats s = route_hop_stats(&l->r, k);
	const struct route_target *t = &l->r.hops[k].target;
	const struct net_endpoint *ep = t->ep4.addr.family != NET_NONE ? &t->ep4 : &t->ep6;

	*ret = (mvpn_HopInfo)mvpn_HopInfo_init_zero;
	memcpy(ret->node_id, t->node_id, sizeof(ret->node_id));
	ret->rtt_us = s.rtt_us;
	ret->jitter_us = s.jitter_us;
	ret->loss_ppm = s.loss_ppm;
	ret->address.size = (pb_size_t)net_ip_len(&ep->addr);
	memcpy(ret->address.bytes, ep->addr.ip, ret->address.size);
	if (l->hops[k] != NULL)
		ret->session = record_of(o, l->hops[k]->session)->number;
}

void client_tell_opened(struct overlay *o, uint32_t session)
{
	struct session_record *rec = record_of(o, session);
	mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_session_opened_tag};
	mvpn_SessionOpened *s = &m.body.session_opened;
	const struct hop *h = rec->hop;
	bool last = h->index + 1 == h->route->r.n_hops;

	s->session = rec->number;
	s->payer = true;
	s->is_exit = last;
	s->position = last ? 2 : h->index;
	s->descriptor.size = DESCRIPTOR_SIZE;
	memcpy(s->descriptor.bytes, h->route->r.hops[h->index].target.descriptor, DESCRIPTOR_SIZE);
	rec->told = true;
	o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
}

static uint32_t us_of(dur_t d)
{
	return d.ns / 1000 > UINT32_MAX ? UINT32_MAX : (uint32_t)(d.ns / 1000);
}

static void tell_built(struct overlay *o, const struct live_route *l)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;
	mvpn_RouteBuilt *b = &m.body.route_built;

	b->route = l->r.id;
	b->build_us = us_of(l->build_time);
	b->hops_count = (pb_size_t)l->r.n_hops;
	for (unsigned int k = 0; k < l->r.n_hops; k++)
		hop_info(o, l, k, &b->hops[k]);
	b->ip4.size = (pb_size_t)net_ip_len(&l->r.lease.ip4);
	memcpy(b->ip4.bytes, l->r.lease.ip4.ip, b->ip4.size);
	b->ip6.size = (pb_size_t)net_ip_len(&l->r.lease.ip6);
	memcpy(b->ip6.bytes, l->r.lease.ip6.ip, b->ip6.size);
	router_tell(o, mvpn_RouterIn_route_built_tag, &m);
}

void client_tell_lives(struct overlay *o, const struct live_route *l)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;
	mvpn_RouteLives *b = &m.body.route_lives;

	b->route = l->r.id;
	b->in_use = o->in_use == l;
	b->draining = l->r.state == ROUTE_DRAINING;
	b->hops_count = (pb_size_t)l->r.n_hops;
	for (unsigned int k = 0; k < l->r.n_hops; k++)
		hop_info(o, l, k, &b->hops[k]);
	b->ip4.size = (pb_size_t)net_ip_len(&l->r.lease.ip4);
	memcpy(b->ip4.bytes, l->r.lease.ip4.ip, b->ip4.size);
	b->ip6.size = (pb_size_t)net_ip_len(&l->r.lease.ip6);
	memcpy(b->ip6.bytes, l->r.lease.ip6.ip, b->ip6.size);
	router_tell(o, mvpn_RouterIn_route_lives_tag, &m);
}

static void tell_stats(struct overlay *o, struct live_route *l)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;
	mvpn_RouteStats *s = &m.body.route_stats;

	s->route = l->r.id;
	s->in_use = o->in_use == l;
	s->rx_bytes = l->rx_bytes;
	s->tx_bytes = l->tx_bytes;
	s->rx_Bps = l->rx_bytes - l->rx_told;
	s->tx_Bps = l->tx_bytes - l->tx_told;
	l->rx_told = l->rx_bytes;
	l->tx_told = l->tx_bytes;
	s->hops_count = (pb_size_t)l->r.n_hops;
	for (unsigned int k = 0; k < l->r.n_hops; k++)
		hop_info(o, l, k, &s->hops[k]);
	router_tell(o, mvpn_RouterIn_route_stats_tag, &m);
}

static void tell_failed(struct overlay *o, uint32_t route, unsigned int hop, enum err err, const char *why)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	m.body.route_failed.route = route;
	m.body.route_failed.hop = hop;
	m.body.route_failed.err = err;
	snprintf(m.body.route_failed.why, sizeof(m.body.route_failed.why), "%s", why);
	router_tell(o, mvpn_RouterIn_route_failed_tag, &m);
}

/* ---- what a route asks for (struct route_sink) ---- */

/* sk NULL: a fresh key pair [P-5]. NULL: it cannot be, which the route learns later. */
static struct hop *hop_open(struct overlay *o, struct live_route *l, unsigned int hop,
	const struct route_target *target, const struct net_endpoint *ep, const uint8_t *sk)
{
	struct hop *h = hop_take(o);
	struct overlay_carrier by = {0};

	if (hop == 0) {
		by.to = *ep;
	} else {
		by.nested = true;
		by.parent = l->hops[hop - 1]->session;
		by.slot = ROUTE_SLOT;
	}
	if (h != NULL) {
		if (sk == NULL)
			noise_identity_fresh(&h->id, o->rng);
		else
			noise_identity_init(&h->id, sk);
		if (o->ops.session_open(o->ops.ctx, &h->id, target->wg_pk, &by, &h->session) != OK) {
			hop_free(h);
			h = NULL;
		}
	}
	if (h == NULL) {
		l->failed_open[hop] = true;
		return NULL;
	}
	h->route = l;
	h->index = hop;
	l->hops[hop] = h;
	record_new(o, h->session, SESSION_HOP, 0, false);
	record_of(o, h->session)->hop = h;
	return h;
}

static void on_open(void *ctx, struct route *r, unsigned int hop, const struct route_target *target,
	const struct net_endpoint *ep)
{
	struct overlay *o = ctx;
	const struct hop *h = hop_open(o, live_of(r), hop, target, ep, NULL);

	if (h != NULL)
		o->ops.session_handshake(o->ops.ctx, h->session);
}

/* The session as the process before had it: its number, its counts. The ledger will be told of it. */
static void on_reopen(void *ctx, struct route *r, unsigned int hop, const struct route_target *target,
	const struct net_endpoint *ep)
{
	struct overlay *o = ctx;
	const struct handover_hop *kept = &live_of(r)->kept->hops[hop];
	struct hop *h = hop_open(o, live_of(r), hop, target, ep, kept->static_sk);
	struct session_record *rec;

	if (h == NULL)
		return;
	h->asks.next_id = kept->next_request;
	rec = record_of(o, h->session);
	rec->number = kept->number;
	rec->meter.up_bytes = kept->up_bytes;
	rec->meter.down_bytes = kept->down_bytes;
	meter_grant(&rec->meter, kept->credit_bytes);
	rec->told = true;
}

static void on_handshake(void *ctx, struct route *r, unsigned int hop)
{
	struct overlay *o = ctx;
	struct live_route *l = live_of(r);

	if (l->hops[hop] != NULL)
		o->ops.session_handshake(o->ops.ctx, l->hops[hop]->session);
}

static void on_request(void *ctx, struct route *r, unsigned int hop, overlay_Control *body, uint64_t tag,
	dur_t rtt, dur_t deadline)
{
	struct overlay *o = ctx;
	struct hop *h = live_of(r)->hops[hop];

	/* The route's own deadlines hold when the window is full. */
	if (h != NULL)
		(void)!control_request(&h->asks, o->now, h->session, body, tag, rtt, deadline,
			&o->control_sink);
}

static void on_echo(void *ctx, struct route *r, unsigned int hop, uint64_t nonce)
{
	struct overlay *o = ctx;
	struct hop *h = live_of(r)->hops[hop];

	if (h != NULL)
		(void)!control_echo(&h->asks, h->session, nonce, &o->control_sink);
}

/* The exit's session changes routes: its hop, its flows, its lease go along. */
static void on_carry(void *ctx, struct route *r, struct route *from, const struct net_endpoint *ep)
{
	struct overlay *o = ctx;
	struct live_route *to = live_of(r), *old = live_of(from);
	unsigned int at = r->n_hops - 1, was = from->n_hops - 1;
	struct hop *h = old->hops[was];
	struct overlay_carrier by = {0};

	if (h == NULL)
		return;
	if (at == 0) {
		by.to = *ep;
	} else {
		by.nested = true;
		by.parent = to->hops[at - 1]->session;
		by.slot = ROUTE_SLOT;
	}
	old->hops[was] = NULL;
	to->hops[at] = h;
	h->route = to;
	h->index = at;
	to->exit_place = old->exit_place;
	old->exit_place = FLOW_NO_EXIT;
	if (to->exit_place != FLOW_NO_EXIT)
		o->by_place[to->exit_place] = to;
	if (o->in_use == old)
		o->in_use = to; /* its flows, old and new, go by the new path from now on */
	o->ops.session_carry(o->ops.ctx, h->session, &by);
}

static void on_end(void *ctx, struct route *r, unsigned int hop)
{
	struct overlay *o = ctx;
	struct live_route *l = live_of(r);
	struct hop *h = l->hops[hop];

	if (h == NULL)
		return;
	l->hops[hop] = NULL;
	record_free(o, h->session);
	o->ops.session_end(o->ops.ctx, h->session);
	hop_free(h);
}

static void on_built(void *ctx, struct route *r, dur_t build_time)
{
	struct overlay *o = ctx;
	struct live_route *l = live_of(r);

	l->build_time = build_time;
	if (r->purpose == ROUTE_TALK) {
		ask_talk_ready(o, l);
		return;
	}
	if (r->purpose != ROUTE_TRAFFIC)
		return;
	for (unsigned int k = 0; k < r->n_hops; k++)
		if (l->hops[k] != NULL && !record_of(o, l->hops[k]->session)->told)
			client_tell_opened(o, l->hops[k]->session);
	if (l->exit_place == FLOW_NO_EXIT && o->have_flow &&
		flow_exit_add(&o->flow, &r->lease.ip4, &r->lease.ip6, &r->lease.dns4, &r->lease.dns6,
			&l->exit_place) != OK) {
		tell_failed(o, r->id, r->n_hops - 1, ERR_FULL, "too many routes at a time");
		return;
	}
	if (l->exit_place != FLOW_NO_EXIT)
		o->by_place[l->exit_place] = l;
	tell_built(o, l);
}

static void on_failed(void *ctx, struct route *r, unsigned int hop, enum err err, const char *why)
{
	struct overlay *o = ctx;

	if (r->purpose == ROUTE_TALK)
		ask_talk_ended(o, live_of(r), err);
	else if (r->purpose == ROUTE_TRAFFIC)
		tell_failed(o, r->id, hop, err, why);
}

static void on_dead(void *ctx, struct route *r, unsigned int hop)
{
	struct overlay *o = ctx;
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	if (r->purpose == ROUTE_TALK)
		ask_talk_ended(o, live_of(r), ERR_TIMEOUT);
	if (r->purpose != ROUTE_TRAFFIC)
		return;
	m.body.route_dead.route = r->id;
	m.body.route_dead.hop = hop;
	router_tell(o, mvpn_RouterIn_route_dead_tag, &m);
}

static uint64_t on_used(void *ctx, struct route *r, unsigned int hop)
{
	const struct hop *h = live_of(r)->hops[hop];

	return h == NULL ? 0 : meter_used(&record_of(ctx, h->session)->meter);
}

static void on_suspect(void *ctx, struct route *r, unsigned int hop)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	if (r->purpose != ROUTE_TRAFFIC)
		return;
	m.body.route_suspect.route = r->id;
	m.body.route_suspect.hop = hop;
	router_tell(ctx, mvpn_RouterIn_route_suspect_tag, &m);
}

static void on_closed(void *ctx, struct route *r)
{
	(void)ctx;
	live_of(r)->ended = true;
}

static void on_measured(void *ctx, struct route *r, enum err err, dur_t rtt)
{
	struct overlay *o = ctx;
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	m.re = live_of(r)->request;
	memcpy(m.body.relay_measured.node_id, r->hops[0].target.node_id, 32);
	m.body.relay_measured.err = err;
	m.body.relay_measured.rtt_us = us_of(rtt);
	router_tell(o, mvpn_RouterIn_relay_measured_tag, &m);
}

void client_sink_set(struct route_sink *s)
{
	s->used = on_used;
	s->open = on_open;
	s->reopen = on_reopen;
	s->handshake = on_handshake;
	s->request = on_request;
	s->echo = on_echo;
	s->carry = on_carry;
	s->end = on_end;
	s->built = on_built;
	s->failed = on_failed;
	s->suspect = on_suspect;
	s->dead = on_dead;
	s->closed = on_closed;
	s->measured = on_measured;
}

/* Routes that ended within a call are given back when it is over, and what could not be opened is
 * told to its route. */
void client_reap(struct overlay *o)
{
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct live_route *l = &o->routes[i];

		for (unsigned int k = 0; l->used && k < ROUTE_HOPS_MAX; k++) {
			if (!l->failed_open[k])
				continue;
			l->failed_open[k] = false;
			route_on_session_failed(&l->r, o->now, k, ERR_FULL, &o->route_sink);
		}
		if (!l->used || !l->ended)
			continue;
		if (l->exit_place != FLOW_NO_EXIT) {
			flow_exit_del(&o->flow, l->exit_place);
			o->by_place[l->exit_place] = NULL;
		}
		if (o->in_use == l)
			o->in_use = NULL;
		ask_talk_ended(o, l, ERR_UNAVAILABLE);
		if (l->r.purpose == ROUTE_TRAFFIC) {
			mvpn_RouterIn m = mvpn_RouterIn_init_zero;

			m.body.route_closed.route = l->r.id;
			router_tell(o, mvpn_RouterIn_route_closed_tag, &m);
		}
		l->used = false;
	}
}

/* ---- orders ---- */

static enum err targets_take(struct overlay *o, const mvpn_BuildRoute *b,
	struct route_target targets[static ROUTE_HOPS_MAX], unsigned int *ret_bad)
{
	for (unsigned int k = 0; k < b->descriptors_count; k++) {
		struct descriptor d;
		enum err e = descriptor_accept(b->descriptors[k].bytes, b->descriptors[k].size, o->wall,
			o->conf.test_network, &d);

		if (e != OK) {
			*ret_bad = k;
			return e;
		}
		route_target_from(&targets[k], &d, b->descriptors[k].bytes);
	}
	return OK;
}

void client_order_build(struct overlay *o, const mvpn_TunnelIn *in)
{
	const mvpn_BuildRoute *b = &in->body.build_route;
	struct route_target targets[ROUTE_HOPS_MAX];
	struct live_route *l, *old = b->exit_of == 0 ? NULL : live_by_id(o, b->exit_of);
	struct route_spec spec = {.id = b->route,
		.purpose = ROUTE_TRAFFIC,
		.n_hops = b->descriptors_count,
		.targets = targets,
		.have_ip4 = o->conf.have_ip4,
		.have_ip6 = o->conf.have_ip6,
		.exit_of = old == NULL ? NULL : &old->r};
	unsigned int bad = 0;
	enum err e = ERR_FULL;

	if (live_by_id(o, b->route) != NULL)
		return; /* said again */
	if (b->exit_of != 0 && old == NULL) {
		tell_failed(o, b->route, b->descriptors_count == 0 ? 0 : b->descriptors_count - 1,
			ERR_NOT_FOUND, "the route whose exit should stay is gone");
		return;
	}
	l = client_live_take(o);
	if (l != NULL)
		e = targets_take(o, b, targets, &bad);
	if (e == OK)
		e = route_init(&l->r, &spec, o->rng);
	if (e != OK) {
		if (l != NULL)
			l->used = false;
		tell_failed(o, b->route, bad, e,
			e == ERR_STALE ? "the descriptor has expired" : "the route cannot be built so");
		return;
	}
	l->r.user = l;
	route_start(&l->r, o->now, &o->route_sink);
}

void client_order_use(struct overlay *o, const mvpn_TunnelIn *in)
{
	struct live_route *l = live_by_id(o, in->body.use_route.route);

	if (!o->have_flow)
		return;
	o->in_use = l != NULL && l->exit_place != FLOW_NO_EXIT ? l : NULL;
	flow_use(&o->flow, o->in_use == NULL ? FLOW_NO_EXIT : l->exit_place);
}

void client_order_close(struct overlay *o, const mvpn_TunnelIn *in)
{
	const mvpn_CloseRoute *c = &in->body.close_route;
	struct live_route *l = live_by_id(o, c->route);

	if (l != NULL)
		route_close(&l->r, o->now, DUR_MS(c->drain_ms), &o->route_sink);
}

void client_order_measure(struct overlay *o, const mvpn_TunnelIn *in)
{
	const mvpn_MeasureRelay *q = &in->body.measure_relay;
	struct live_route *l = client_live_take(o);
	struct route_target target;
	struct route_spec spec = {.purpose = ROUTE_MEASURE,
		.n_hops = 1,
		.targets = &target,
		.have_ip4 = o->conf.have_ip4,
		.have_ip6 = o->conf.have_ip6};
	struct descriptor d = {0};
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;
	enum err e = l == NULL ? ERR_FULL
			       : descriptor_accept(q->descriptor.bytes, q->descriptor.size, o->wall,
					 o->conf.test_network, &d);

	if (e == OK) {
		route_target_from(&target, &d, q->descriptor.bytes);
		e = route_init(&l->r, &spec, o->rng);
	}
	if (e == OK) {
		l->r.user = l;
		l->request = in->id;
		route_start(&l->r, o->now, &o->route_sink);
		return;
	}
	if (l != NULL)
		l->used = false;
	m.re = in->id;
	memcpy(m.body.relay_measured.node_id, d.node_id, 32);
	m.body.relay_measured.err = e;
	router_tell(o, mvpn_RouterIn_relay_measured_tag, &m);
}

/* Room for one more talk? If not, the one unused for longest is closed for the next that asks. */
static bool talk_room(struct overlay *o)
{
	struct live_route *idlest = NULL;
	unsigned int n = 0;

	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct live_route *l = &o->routes[i];

		if (!l->used || l->ended || l->r.purpose != ROUTE_TALK)
			continue;
		n++;
		if (l->r.state == ROUTE_READY && (idlest == NULL || l->used_at.ns < idlest->used_at.ns))
			idlest = l;
	}
	if (n < TALKS_MAX)
		return true;
	o->n.routes_full++;
	if (idlest != NULL)
		route_close(&idlest->r, o->now, DUR_S(0), &o->route_sink);
	return false;
}

/* A session for a talk with that node: one that is there, or a new one. NULL: cannot be now. */
struct live_route *client_talk(struct overlay *o, const mvpn_NodeAddress *node)
{
	struct route_target target = {0};
	struct route_spec spec = {.purpose = ROUTE_TALK,
		.n_hops = 1,
		.targets = &target,
		.have_ip4 = o->conf.have_ip4,
		.have_ip6 = o->conf.have_ip6};
	struct live_route *l;

	memcpy(target.wg_pk, node->wg_pk, 32);
	target.ep4 = (struct net_endpoint){net_addr_from_bytes(node->ip4.bytes, node->ip4.size),
		(uint16_t)node->port4};
	target.ep6 = (struct net_endpoint){net_addr_from_bytes(node->ip6.bytes, node->ip6.size),
		(uint16_t)node->port6};
	target.roles = DESCRIPTOR_RELAY;
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		const struct route_target *t = &o->routes[i].r.hops[0].target;

		if (o->routes[i].used && !o->routes[i].ended && o->routes[i].r.purpose == ROUTE_TALK &&
			(o->routes[i].r.state == ROUTE_BUILDING || o->routes[i].r.state == ROUTE_READY) &&
			!o->routes[i].r.dead && memcmp(t->wg_pk, target.wg_pk, 32) == 0 &&
			net_endpoint_eq(&t->ep4, &target.ep4) && net_endpoint_eq(&t->ep6, &target.ep6))
			return &o->routes[i];
	}
	l = talk_room(o) ? client_live_take(o) : NULL;
	if (l == NULL)
		return NULL;
	if (route_init(&l->r, &spec, o->rng) != OK) {
		l->used = false;
		return NULL;
	}
	l->r.user = l;
	l->used_at = o->now;
	route_start(&l->r, o->now, &o->route_sink);
	return l;
}

/* ---- the probe: a DNS question through the exit ---- */

static uint16_t sum_fold(uint64_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint64_t sum_add(uint64_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += be16_get(p + i);
	return len % 2 != 0 ? sum + ((uint64_t)p[len - 1] << 8) : sum;
}

/* UDP header and question at p (25 bytes): name servers of the root, recursion desired. */
static void question_put(const struct probe *q, uint8_t *p, const struct net_addr *src, const struct net_addr *dst)
{
	uint64_t sum = IPPROTO_UDP + 25;
	uint16_t folded;

	memset(p, 0, 25);
	be16_put(p, q->port);
	be16_put(p + 2, 53);
	be16_put(p + 4, 25);
	be16_put(p + 8, q->dns_id);
	p[10] = 1;	    /* recursion desired */
	p[13] = 1;	    /* one question: the root ... */
	p[22] = 2;	    /* ... its NS records ... */
	p[24] = 1;	    /* ... of the Internet class */
	sum = sum_add(sum, src->ip, net_ip_len(src));
	sum = sum_add(sum, dst->ip, net_ip_len(dst));
	folded = (uint16_t)~sum_fold(sum_add(sum, p, 25));
	be16_put(p + 6, folded == 0 ? 0xffff : folded);
}

static size_t probe_packet(const struct live_route *l, uint8_t p[static PROBE_LEN6])
{
	const struct route_lease *e = &l->r.lease;

	memset(p, 0, PROBE_LEN6);
	if (e->ip4.family != NET_NONE && e->dns4.family != NET_NONE) {
		p[0] = 0x45;
		be16_put(p + 2, PROBE_LEN4);
		p[8] = 64;
		p[9] = IPPROTO_UDP;
		memcpy(p + 12, e->ip4.ip, 4);
		memcpy(p + 16, e->dns4.ip, 4);
		be16_put(p + 10, (uint16_t)~sum_fold(sum_add(0, p, 20)));
		question_put(&l->probe, p + 20, &e->ip4, &e->dns4);
		return PROBE_LEN4;
	}
	if (e->ip6.family != NET_NONE && e->dns6.family != NET_NONE) {
		p[0] = 0x60;
		be16_put(p + 4, 25);
		p[6] = IPPROTO_UDP;
		p[7] = 64;
		memcpy(p + 8, e->ip6.ip, 16);
		memcpy(p + 24, e->dns6.ip, 16);
		question_put(&l->probe, p + 40, &e->ip6, &e->dns6);
		return PROBE_LEN6;
	}
	return 0;
}

static void probe_tell(struct overlay *o, struct live_route *l, bool ok)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	l->probe.running = false;
	m.body.route_probed.route = l->r.id;
	m.body.route_probed.ok = ok;
	m.body.route_probed.rtt_us = ok ? us_of(mono_since(l->probe.began, o->now)) : 0;
	router_tell(o, mvpn_RouterIn_route_probed_tag, &m);
}

static void probe_send(struct overlay *o, struct live_route *l)
{
	uint8_t p[PROBE_LEN6];
	size_t len = probe_packet(l, p);
	struct hop *h = l->hops[l->r.n_hops - 1];

	if (len == 0 || h == NULL || l->probe.n_sent == PROBE_TRIES) {
		probe_tell(o, l, false);
		return;
	}
	l->probe.n_sent++;
	l->probe.next = mono_add(o->now, DUR_MS(PROBE_EVERY.ns / 1000000 * l->probe.n_sent));
	o->ops.session_send(o->ops.ctx, h->session, p, len);
}

void client_order_probe(struct overlay *o, const mvpn_TunnelIn *in)
{
	uint32_t id = in->body.probe_route.route;
	struct live_route *l = live_by_id(o, id);
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	if (l == NULL || l->r.state != ROUTE_READY) {
		m.body.route_probed.route = id;
		router_tell(o, mvpn_RouterIn_route_probed_tag, &m);
		return;
	}
	l->probe = (struct probe){.running = true,
		.dns_id = (uint16_t)rng_u32(o->rng),
		.port = (uint16_t)(1024 + rng_below(o->rng, 60000)),
		.began = o->now};
	probe_send(o, l);
}

/* Is it the answer to the probe? Then it is ours and does not reach the device. */
static bool probe_take(struct overlay *o, struct live_route *l, const uint8_t *p, size_t len)
{
	size_t head = p[0] >> 4 == 4 ? (size_t)(p[0] & 15) * 4 : 40;
	bool udp = p[0] >> 4 == 4 ? len > 20 && p[9] == IPPROTO_UDP : len > 40 && p[6] == IPPROTO_UDP;

	if (!l->probe.running || !udp || len < head + 20 || be16_get(p + head) != 53 ||
		be16_get(p + head + 2) != l->probe.port || be16_get(p + head + 8) != l->probe.dns_id)
		return false;
	probe_tell(o, l, true);
	return true;
}

/* ---- packets ---- */

bool client_ip(struct overlay *o, uint32_t session, uint8_t *pkt, uint32_t len, bool partial)
{
	struct live_route *l = record_of(o, session)->hop->route;

	l->rx_bytes += len;
	if (l->exit_place == FLOW_NO_EXIT) {
		o->n.bad_frames++;
		return false;
	}
	if (probe_take(o, l, pkt, len))
		return false;
	return flow_in(&o->flow, o->now, l->exit_place, pkt, len, partial) == FLOW_PASS;
}

static uint32_t device_out(struct overlay *o, uint8_t *pkt, size_t len, bool partial,
	uint8_t reset[static 60], size_t *ret_reset_len)
{
	unsigned int place;
	struct live_route *l;
	enum flow_verdict v;

	if (!o->have_flow)
		return OVERLAY_NO_SESSION;
	v = flow_out(&o->flow, o->now, pkt, len, partial, &place);
	if (v == FLOW_EXIT_GONE)
		*ret_reset_len = flow_reset(pkt, len, reset);
	l = v == FLOW_PASS ? o->by_place[place] : NULL;
	if (l == NULL || l->hops[l->r.n_hops - 1] == NULL)
		return OVERLAY_NO_SESSION;
	route_on_sent(&l->r, o->now);
	l->tx_bytes += len;
	return l->hops[l->r.n_hops - 1]->session;
}

uint32_t overlay_on_tun(struct overlay *o, mono_t now, enum overlay_tun which, uint8_t *pkt, size_t len,
	bool partial, uint8_t reset[static 60], size_t *ret_reset_len)
{
	uint32_t session;

	o->now = now;
	*ret_reset_len = 0;
	if (which == OVERLAY_TUN_CLIENT)
		return device_out(o, pkt, len, partial, reset, ret_reset_len);
	session = o->have_lease ? lease_holder_of_packet(&o->lease, pkt, len, false) : LEASE_NONE;
	if (session == LEASE_NONE || record_of(o, session)->kind != SESSION_STRANGER) {
		o->n.no_holder++;
		return OVERLAY_NO_SESSION;
	}
	return stranger_may_pass(o, session, len) ? session : OVERLAY_NO_SESSION;
}

/* ---- time ---- */

void client_tick(struct overlay *o)
{
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct live_route *l = &o->routes[i];

		if (!l->used || l->ended)
			continue;
		if (mono_reached(route_deadline(&l->r), o->now))
			route_tick(&l->r, o->now, &o->route_sink);
		if (l->probe.running && mono_reached(l->probe.next, o->now))
			probe_send(o, l);
	}
	for (size_t i = 0; i < HOPS_MAX; i++) {
		struct hop *h = &o->hops[i];

		if (h->used && mono_reached(control_requester_deadline(&h->asks), o->now))
			control_requester_tick(&h->asks, o->now, h->session, &o->control_sink);
	}
}

void client_second(struct overlay *o)
{
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct live_route *l = &o->routes[i];

		if (!l->used || l->ended)
			continue;
		if (l->r.purpose == ROUTE_TALK && l->r.state == ROUTE_READY &&
			mono_since(l->used_at, o->now).ns > TALK_IDLE.ns)
			route_close(&l->r, o->now, DUR_S(0), &o->route_sink);
		if (l->r.purpose == ROUTE_TALK && l->r.dead)
			route_abort(&l->r, &o->route_sink);
		if (l->r.purpose != ROUTE_TRAFFIC)
			continue;
		if (l->r.state == ROUTE_READY || l->r.state == ROUTE_DRAINING)
			tell_stats(o, l);
		if (l->r.state == ROUTE_DRAINING &&
			(l->exit_place == FLOW_NO_EXIT || flow_exit_flows(&o->flow, l->exit_place) == 0))
			route_on_idle(&l->r, o->now, &o->route_sink);
	}
}

mono_t client_deadline(const struct overlay *o)
{
	mono_t t = MONO_NEVER;

	for (size_t i = 0; i < ROUTES_MAX; i++) {
		const struct live_route *l = &o->routes[i];

		if (!l->used)
			continue;
		t = mono_min(t, route_deadline(&l->r));
		if (l->probe.running)
			t = mono_min(t, l->probe.next);
	}
	for (size_t i = 0; i < HOPS_MAX; i++)
		if (o->hops[i].used)
			t = mono_min(t, control_requester_deadline(&o->hops[i].asks));
	return t;
}
