/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A small internet in one process on a virtual clock: relays and exits that run the overlay's cores
 * with real sessions and real cryptography, one client with its routes and flows, a web that
 * answers, and links that delay, lose, reorder and duplicate by a seed.
 *
 * Each node keeps all that it knows in one block of memory, so that a test can look through it for
 * what it must not know. */
#ifndef TESTS_TUNNEL_WORLD_H
#define TESTS_TUNNEL_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "services/tunnel/core/admit.h"
#include "services/tunnel/core/circuit.h"
#include "services/tunnel/core/control.h"
#include "services/tunnel/core/cookie.h"
#include "services/tunnel/core/flow.h"
#include "services/tunnel/core/lease.h"
#include "services/tunnel/core/meter.h"
#include "services/tunnel/core/policy.h"
#include "services/tunnel/core/route.h"
#include "services/tunnel/core/session.h"
#include "tests/harness/tunnel_pk.h"

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define NODES 8	    /* 0 is the client */
#define SESSIONS 24 /* per node */
#define LEGS 32
#define ROUTES 6
#define DATAGRAM_MAX 1600
#define WIRE_MAX 4096
#define PORT_PUBLIC 51820
#define PORT_ONWARD 40000
#define PORT_TUN 1 /* what the web sends back to an exit */
#define WEB "203.0.113.80"
#define DEVICE "10.99.0.2"

struct world;
struct node;

struct sess {
	bool used;
	bool ended;  /* free it once the call that led here has returned */
	bool failed; /* to be told to the route */
	struct session s;
	struct meter meter;
	/* a stranger's */
	struct net_endpoint from;
	/* a client's */
	struct noise_identity own;
	struct route *route;
	unsigned int hop;
	uint32_t parent; /* handle that carries it; SESSIONS: UDP to `from` */
	struct control_requester q;
};

struct node {
	struct world *w;
	unsigned int n;
	bool dead;
	struct net_endpoint ep, onward;
	struct noise_identity id;
	struct cookie_checker checker;
	struct session_env env;
	struct keypair_pool pool;
	struct keypair pairs[SESSIONS * SESSION_KEYPAIRS];
	struct rng rng;
	struct sess sess[SESSIONS];
	struct {
		uint32_t index;
		uint32_t handle;
		bool used;
	} indices[SESSIONS * 4];
	struct circuit circuit;
	struct admit admit;
	struct lease lease;
	struct control_responder responder;
	struct policy policy;
	uint8_t descriptor[DESCRIPTOR_SIZE];
	struct route_target target;
	uint64_t circuit_mem[4096], admit_mem[2048], lease_mem[2048], responder_mem[4096];
};

struct datagram {
	mono_t at;
	uint64_t order;
	struct net_endpoint from, to;
	size_t len;
	uint8_t bytes[DATAGRAM_MAX];
};

struct world {
	mono_t now;
	wall_t wall;
	struct rng dice;
	struct aead aead;
	/* links */
	uint32_t delay_us, jitter_us, loss_ppm, dup_ppm;
	struct datagram *wire[WIRE_MAX]; /* a heap by time */
	size_t n_wire;
	uint64_t n_sent, n_lost;
	struct node *node[NODES];
	/* the client */
	struct route route[ROUTES];
	bool route_used[ROUTES];
	struct route_sink route_sink;
	struct control_sink control_sink;
	struct flow flow;
	uint64_t flow_mem[4096];
	unsigned int flow_exit[ROUTES];
	uint32_t routes_begun;
	struct route *in_use;
	/* what happened */
	char log[512];
	uint32_t n_dead, n_built, n_failed, n_closed;
	unsigned int dead_hop;
	mono_t dead_at;
	struct route *dead_route;
	/* the web */
	uint64_t n_web, n_back; /* packets that reached the web, answers that reached the device */
	mono_t back_at;
	uint8_t web_saw[8][4]; /* sources that the web saw */
	unsigned int n_web_saw;
	uint64_t n_data_in_flight;
};

static inline struct net_endpoint world_ep(unsigned int n, uint16_t port)
{
	return (struct net_endpoint){{NET_IP4, {198, 51, 100, (uint8_t)(10 + 13 * n)}}, port};
}

/* ---- links ---- */

static inline bool sooner(const struct datagram *a, const struct datagram *b)
{
	return a->at.ns != b->at.ns ? a->at.ns < b->at.ns : a->order < b->order;
}

static inline void wire_push(struct world *w, struct datagram *d)
{
	size_t i = w->n_wire++;

	CHECK(w->n_wire <= WIRE_MAX);
	for (; i > 0 && sooner(d, w->wire[(i - 1) / 2]); i = (i - 1) / 2)
		w->wire[i] = w->wire[(i - 1) / 2];
	w->wire[i] = d;
}

static inline struct datagram *wire_pop(struct world *w)
{
	struct datagram *top = w->wire[0], *last = w->wire[--w->n_wire];
	size_t i = 0;

	for (;;) {
		size_t c = 2 * i + 1;

		if (c >= w->n_wire)
			break;
		if (c + 1 < w->n_wire && sooner(w->wire[c + 1], w->wire[c]))
			c++;
		if (!sooner(w->wire[c], last))
			break;
		w->wire[i] = w->wire[c];
		i = c;
	}
	w->wire[i] = last;
	return top;
}

static inline bool chance(struct world *w, uint32_t ppm)
{
	return ppm != 0 && rng_below(&w->dice, 1000000) < ppm;
}

static inline void wire_send(struct world *w, const struct net_endpoint *from,
	const struct net_endpoint *to, const uint8_t *bytes, size_t len)
{
	int copies = chance(w, w->dup_ppm) ? 2 : 1;

	CHECK(len <= DATAGRAM_MAX);
	w->n_sent++;
	for (; copies > 0; copies--) {
		uint64_t us = w->delay_us + (w->jitter_us ? rng_below(&w->dice, w->jitter_us) : 0);
		struct datagram *d;

		if (chance(w, w->loss_ppm)) {
			w->n_lost++;
			continue;
		}
		d = malloc(sizeof(*d));
		CHECK(d != NULL);
		d->at = mono_add(w->now, DUR_US(us));
		d->order = w->n_sent;
		d->from = *from;
		d->to = *to;
		d->len = len;
		memcpy(d->bytes, bytes, len);
		wire_push(w, d);
	}
}

/* ---- sessions ---- */

static inline struct sess *sess_of(struct session *s)
{
	return (struct sess *)(void *)((uint8_t *)s - offsetof(struct sess, s));
}

static inline uint32_t handle_of(const struct node *h, const struct sess *e)
{
	return (uint32_t)(e - h->sess);
}

static inline bool on_index_new(void *ctx, struct session *s, uint32_t *ret_index)
{
	struct node *h = ctx;

	for (size_t i = 0; i < SESSIONS * 4; i++) {
		if (h->indices[i].used)
			continue;
		h->indices[i].used = true;
		h->indices[i].handle = handle_of(h, sess_of(s));
		h->indices[i].index = *ret_index = rng_u32(&h->rng);
		return true;
	}
	return false;
}

static inline void on_index_free(void *ctx, struct session *s, uint32_t index)
{
	struct node *h = ctx;

	(void)s;
	for (size_t i = 0; i < SESSIONS * 4; i++)
		if (h->indices[i].used && h->indices[i].index == index)
			h->indices[i].used = false;
}

static inline struct sess *sess_by_index(struct node *h, uint32_t index)
{
	for (size_t i = 0; i < SESSIONS * 4; i++)
		if (h->indices[i].used && h->indices[i].index == index)
			return &h->sess[h->indices[i].handle];
	return NULL;
}

static inline bool sess_send(struct node *h, struct sess *e, const uint8_t *payload, size_t len);

/* A whole WireGuard message of this session on its way: as it is, or in its parent. */
static inline void sess_emit_message(struct node *h, struct sess *e, const uint8_t *msg, size_t len)
{
	uint8_t frame[DATAGRAM_MAX];

	if (e->route == NULL || e->parent == SESSIONS) {
		wire_send(h->w, &h->ep, &e->from, msg, len);
		return;
	}
	frame_relay_put(frame, ROUTE_SLOT);
	memcpy(frame + FRAME_HEADER_SIZE, msg, len);
	(void)sess_send(h, &h->sess[e->parent], frame, len + FRAME_HEADER_SIZE);
}

static inline bool sess_send(struct node *h, struct sess *e, const uint8_t *payload, size_t len)
{
	uint8_t buf[DATAGRAM_MAX + 128];
	struct aead_op op = {.buf = buf + WG_TRANSPORT_HEAD, .len = (uint32_t)len};

	CHECK(len + WG_OVERHEAD <= DATAGRAM_MAX);
	if (len > 0)
		memcpy(op.buf, payload, len);
	if (session_seal_batch(&e->s, &h->env, &h->w->aead, h->w->now, &op, 1) != OK)
		return false;
	sess_emit_message(h, e, buf, len + WG_OVERHEAD);
	sodium_memzero(buf, sizeof(buf));
	return true;
}

static inline void on_emit(void *ctx, struct session *s, enum session_effect fx)
{
	struct node *h = ctx;
	struct sess *e = sess_of(s);
	uint8_t msg[WG_INITIATION_SIZE];

	switch (fx) {
	case SESSION_SEND_INITIATION:
		if (session_initiation_create(s, &h->env, h->w->now,
			    (uint64_t)h->w->wall.s * 1000000000u + h->w->now.ns, msg) == OK)
			sess_emit_message(h, e, msg, sizeof(msg));
		break;
	case SESSION_ESTABLISHED:
		if (e->route != NULL && !e->ended)
			route_on_established(e->route, h->w->now, e->hop, &h->w->route_sink);
		break;
	case SESSION_SEND_KEEPALIVE:
		(void)sess_send(h, e, NULL, 0);
		break;
	case SESSION_GAVE_UP:
	case SESSION_EXPIRED:
		e->failed = true;
		break;
	}
}

static const struct session_ops world_ops = {on_index_new, on_index_free, on_emit};

static inline struct sess *sess_new(
	struct node *h, const struct noise_identity *id, const uint8_t *pk)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct sess *e = &h->sess[i];

		if (e->used)
			continue;
		memset(e, 0, sizeof(*e));
		if (id != NULL) {
			CHECK(session_init(&e->s, id, pk, NULL) == OK);
		} else {
			noise_identity_fresh(&e->own, &h->rng);
			CHECK(session_init(&e->s, &e->own, pk, NULL) == OK);
		}
		e->used = true;
		return e;
	}
	return NULL;
}

/* ---- a relay ---- */

static inline void sess_end(struct node *h, struct sess *e)
{
	uint32_t handle = handle_of(h, e);

	circuit_session_gone(&h->circuit, handle);
	admit_session_gone(&h->admit, handle);
	lease_return(&h->lease, h->w->now, handle);
	control_session_gone(&h->responder, handle);
	session_done(&e->s, &h->env);
	noise_identity_done(&e->own);
	memset(e, 0, sizeof(*e));
}

static inline void relay_send_control(void *ctx, uint32_t session, const uint8_t *frame, size_t len)
{
	struct node *h = ctx;

	(void)sess_send(h, &h->sess[session], frame, len);
}

static inline overlay_Reason relay_extend(void *ctx, uint32_t session, const overlay_Extend *in)
{
	struct node *h = ctx;
	struct descriptor d;
	const struct circuit_leg *leg;
	const uint8_t *held;

	if (descriptor_accept(in->descriptor.bytes, in->descriptor.size, h->w->wall, true, &d) !=
		OK)
		return overlay_Reason_REASON_DESCRIPTOR;
	switch (circuit_extend(
		&h->circuit, h->w->now, session, (uint16_t)in->slot, &d, DUR_S(3600))) {
	case OK:
		held = circuit_take_held(&h->circuit, h->w->now, session, (uint16_t)in->slot);
		if (held != NULL &&
			circuit_forward(&h->circuit, h->w->now, session, (uint16_t)in->slot, held,
				WG_INITIATION_SIZE, &leg) == OK)
			wire_send(h->w, &h->onward, &leg->next, held, WG_INITIATION_SIZE);
		return overlay_Reason_REASON_UNSPECIFIED;
	case ERR_UNAVAILABLE:
		return overlay_Reason_REASON_UNREACHABLE;
	default:
		return overlay_Reason_REASON_LIMIT;
	}
}

static inline overlay_Reason relay_attach(
	void *ctx, uint32_t session, const overlay_Attach *in, overlay_Attached *ret)
{
	struct node *h = ctx;
	struct net_addr ip4, ip6;

	if (lease_take(&h->lease, h->w->now, session, &ip4, &ip6) != OK)
		return overlay_Reason_REASON_LIMIT;
	admit_session_role(&h->admit, session, true);
	if (in->want_ip4) {
		ret->ip4.size = 4;
		memcpy(ret->ip4.bytes, ip4.ip, 4);
	}
	ret->policy_digest.size = 32;
	policy_digest(&h->policy, ret->policy_digest.bytes);
	ret->mtu = 1368;
	return overlay_Reason_REASON_UNSPECIFIED;
}

static inline overlay_Reason relay_close(void *ctx, uint32_t session, const overlay_Close *in)
{
	struct node *h = ctx;

	circuit_close(&h->circuit, session, (uint16_t)in->slot);
	return overlay_Reason_REASON_UNSPECIFIED;
}

static inline overlay_Reason relay_detach(void *ctx, uint32_t session)
{
	struct node *h = ctx;

	h->sess[session].ended = true;
	return overlay_Reason_REASON_UNSPECIFIED;
}

/* Out to the web, which answers each UDP packet by sending it back. */
static inline void exit_packet(struct node *h, struct sess *e, uint8_t *pkt, size_t len)
{
	struct world *w = h->w;
	struct net_endpoint tun = world_ep(h->n, PORT_TUN),
			    web = {{NET_IP4, {203, 0, 113, 80}}, 80};
	uint8_t a[4], ports[4];
	unsigned int i = 0;

	if (lease_holder_of_packet(&h->lease, pkt, len, true) != handle_of(h, e) ||
		policy_check(&h->policy, pkt, len, NULL) != POLICY_PASS)
		return;
	CHECK(pk_good(pkt, len));
	w->n_web++;
	while (i < w->n_web_saw && memcmp(w->web_saw[i], pkt + 12, 4) != 0)
		i++;
	if (i == w->n_web_saw) {
		CHECK(i < 8);
		memcpy(w->web_saw[w->n_web_saw++], pkt + 12, 4);
	}
	memcpy(a, pkt + 12, 4);
	memcpy(pkt + 12, pkt + 16, 4);
	memcpy(pkt + 16, a, 4);
	memcpy(ports, pkt + 20, 2);
	memcpy(pkt + 20, pkt + 22, 2);
	memcpy(pkt + 22, ports, 2);
	wire_send(w, &web, &tun, pkt, len);
}

static inline void relay_payload(struct node *h, struct sess *e, uint8_t *p, size_t len)
{
	static const struct control_sink verbs = {.send = relay_send_control,
		.extend = relay_extend,
		.attach = relay_attach,
		.close = relay_close,
		.detach = relay_detach};
	uint32_t handle = handle_of(h, e);
	struct control_sink sink = verbs;
	const struct circuit_leg *leg;
	const uint8_t *msg;
	uint16_t slot;
	size_t n;

	sink.ctx = h;
	admit_session_used(&h->admit, h->w->now, handle);
	if (!admit_may_send(&h->admit, handle, (int)frame_kind(p, len)))
		return;
	switch (frame_kind(p, len)) {
	case FRAME_CONTROL:
		control_on_frame(&h->responder, NULL, h->w->now, handle, p, len, &sink);
		break;
	case FRAME_RELAY:
		if (frame_relay_get(p, len, &slot, &msg, &n) &&
			circuit_forward(&h->circuit, h->w->now, handle, slot, msg, n, &leg) == OK) {
			meter_count(&e->meter, n, 0);
			wire_send(h->w, &h->onward, &leg->next, msg, n);
		}
		break;
	case FRAME_IP4:
		meter_count(&e->meter, len, 0);
		exit_packet(h, e, p, len);
		break;
	case FRAME_IP6:
	case FRAME_KEEPALIVE:
	case FRAME_BAD:
		break;
	}
}

/* Opens a transport message; its payload is in place, SIZE_MAX if it is none of ours. */
static inline size_t open_transport(struct node *h, struct sess *e, uint8_t *bytes, size_t len)
{
	struct aead_op op = {.buf = bytes + WG_TRANSPORT_HEAD,
		.len = (uint32_t)(len - WG_OVERHEAD),
		.counter = le64_get(bytes + 8)};

	if (session_open_batch(
		    &e->s, &h->env, &h->w->aead, h->w->now, wg_receiver_index(bytes), &op, 1) == 0)
		return SIZE_MAX;
	return op.len;
}

static inline void relay_initiation(struct node *h, const struct datagram *d)
{
	struct noise_responder re;
	struct wg_initiation msg;
	uint8_t answer[WG_RESPONSE_SIZE];
	struct sess *e = NULL;
	uint32_t victim;

	if (cookie_check(&h->checker, d->bytes, d->len, &d->from, false, h->w->now) == COOKIE_BAD ||
		admit_handshake(&h->admit, h->w->now, &d->from.addr) != OK)
		return;
	memcpy(&msg, d->bytes, sizeof(msg));
	if (noise_initiation_open(&h->id, &msg, &re) != OK)
		return;
	for (uint32_t i = 0; i < SESSIONS; i++)
		if (h->sess[i].used &&
			memcmp(h->sess[i].s.remote.static_pk, re.remote_static, 32) == 0)
			e = &h->sess[i];
	if (e == NULL) {
		if (admit_room(&h->admit, h->w->now, &victim) != OK)
			return;
		if (victim != ADMIT_NONE)
			sess_end(h, &h->sess[victim]);
		e = sess_new(h, &h->id, re.remote_static);
		CHECK(e != NULL);
		meter_init(&e->meter, h->w->now, 0, false);
		admit_session_new(&h->admit, h->w->now, handle_of(h, e));
	}
	if (session_initiation_accept(&e->s, &h->env, h->w->now, &re, answer) != OK)
		return;
	e->from = d->from;
	wire_send(h->w, &h->ep, &e->from, answer, sizeof(answer));
}

static inline void relay_public(struct node *h, struct datagram *d)
{
	struct sess *e;
	size_t n;

	switch (wg_message_type(d->bytes, d->len)) {
	case WG_INITIATION:
		relay_initiation(h, d);
		break;
	case WG_TRANSPORT:
		e = sess_by_index(h, wg_receiver_index(d->bytes));
		if (e == NULL)
			return;
		n = open_transport(h, e, d->bytes, d->len);
		if (n == SIZE_MAX)
			return;
		e->from = d->from;
		if (n > 0)
			relay_payload(h, e, d->bytes + WG_TRANSPORT_HEAD, n);
		break;
	default:
		break;
	}
}

static inline void relay_onward(struct node *h, struct datagram *d)
{
	const struct circuit_leg *leg;
	uint8_t frame[DATAGRAM_MAX];
	struct sess *e;

	if (circuit_back(&h->circuit, h->w->now, &d->from, d->bytes, d->len, &leg) != OK)
		return;
	e = &h->sess[leg->session];
	CHECK(e->used); /* no leg outlives its session */
	frame_relay_put(frame, leg->slot);
	memcpy(frame + FRAME_HEADER_SIZE, d->bytes, d->len);
	meter_count(&e->meter, 0, d->len);
	(void)sess_send(h, e, frame, d->len + FRAME_HEADER_SIZE);
}

static inline void exit_from_web(struct node *h, struct datagram *d)
{
	uint32_t s = lease_holder_of_packet(&h->lease, d->bytes, d->len, false);

	if (s != LEASE_NONE)
		(void)sess_send(h, &h->sess[s], d->bytes, d->len);
}

static inline void relay_tick(struct node *h)
{
	struct control_sink sink = {.ctx = h, .send = relay_send_control};
	uint32_t idle;

	circuit_tick(&h->circuit, h->w->now);
	control_responder_tick(&h->responder, h->w->now, &sink);
	while ((idle = admit_idle(&h->admit, h->w->now)) != ADMIT_NONE)
		sess_end(h, &h->sess[idle]);
}

/* ---- the client ---- */

static inline struct sess *hop_sess(struct world *w, const struct route *r, unsigned int hop)
{
	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct sess *e = &w->node[0]->sess[i];

		if (e->used && e->route == r && e->hop == hop)
			return e;
	}
	return NULL;
}

static inline void carry_by(struct world *w, struct sess *e, const struct net_endpoint *ep)
{
	e->parent = SESSIONS;
	if (ep != NULL)
		e->from = *ep;
	else
		e->parent = handle_of(w->node[0], hop_sess(w, e->route, e->hop - 1));
}

static inline void on_open(void *ctx, struct route *r, unsigned int hop,
	const struct route_target *target, const struct net_endpoint *ep)
{
	struct world *w = ctx;
	struct sess *e = sess_new(w->node[0], NULL, target->wg_pk);

	CHECK(e != NULL);
	e->route = r;
	e->hop = hop;
	control_requester_init(&e->q);
	carry_by(w, e, ep);
	session_initiate(&e->s, &w->node[0]->env, w->now);
}

static inline void on_handshake(void *ctx, struct route *r, unsigned int hop)
{
	struct world *w = ctx;

	session_initiate_anew(&hop_sess(w, r, hop)->s, &w->node[0]->env, w->now);
}

static inline void on_request(void *ctx, struct route *r, unsigned int hop, overlay_Control *body,
	uint64_t tag, dur_t rtt, dur_t deadline)
{
	struct world *w = ctx;
	struct sess *e = hop_sess(w, r, hop);

	(void)!control_request(&e->q, w->now, handle_of(w->node[0], e), body, tag, rtt, deadline,
		&w->control_sink);
}

static inline void on_echo(void *ctx, struct route *r, unsigned int hop, uint64_t nonce)
{
	struct world *w = ctx;
	struct sess *e = hop_sess(w, r, hop);

	(void)!control_echo(&e->q, handle_of(w->node[0], e), nonce, &w->control_sink);
}

static inline void on_carry(
	void *ctx, struct route *r, struct route *from, const struct net_endpoint *ep)
{
	struct world *w = ctx;
	struct sess *e = hop_sess(w, from, from->n_hops - 1);

	e->route = r;
	e->hop = r->n_hops - 1;
	carry_by(w, e, ep);
	w->flow_exit[r - w->route] = w->flow_exit[from - w->route];
	w->flow_exit[from - w->route] = FLOW_NO_EXIT;
}

static inline void on_end(void *ctx, struct route *r, unsigned int hop)
{
	struct world *w = ctx;

	hop_sess(w, r, hop)->ended = true;
}

static inline void on_built(void *ctx, struct route *r, dur_t build_time)
{
	struct world *w = ctx;
	unsigned int *exit = &w->flow_exit[r - w->route];

	(void)build_time;
	if (*exit == FLOW_NO_EXIT)
		CHECK(flow_exit_add(&w->flow, &r->lease.ip4, &r->lease.ip6, &r->lease.dns4,
			      &r->lease.dns6, exit) == OK);
	flow_use(&w->flow, *exit);
	if (w->dead_route != NULL && w->dead_hop + 1 == w->dead_route->n_hops)
		flow_exit_del(&w->flow, w->flow_exit[w->dead_route - w->route]);
	w->in_use = r;
	w->n_built++;
}

static inline void on_failed(
	void *ctx, struct route *r, unsigned int hop, enum err err, const char *why)
{
	struct world *w = ctx;

	(void)r, (void)hop, (void)err;
	snprintf(w->log, sizeof(w->log), "%s", why);
	w->n_failed++;
}

static inline uint64_t on_used(void *ctx, struct route *r, unsigned int hop)
{
	(void)ctx, (void)r, (void)hop; /* nothing costs anything here */
	return 0;
}

static inline void on_suspect(void *ctx, struct route *r, unsigned int hop)
{
	(void)ctx, (void)r, (void)hop; /* recovery begins with the verdict here: the worst case */
}

static inline void on_dead(void *ctx, struct route *r, unsigned int hop)
{
	struct world *w = ctx;

	w->n_dead++;
	w->dead_hop = hop;
	w->dead_at = w->now;
	w->dead_route = r;
}

static inline void on_closed(void *ctx, struct route *r)
{
	struct world *w = ctx;

	if (w->flow_exit[r - w->route] != FLOW_NO_EXIT)
		flow_exit_del(&w->flow, w->flow_exit[r - w->route]);
	w->flow_exit[r - w->route] = FLOW_NO_EXIT;
	w->route_used[r - w->route] = false;
	if (w->in_use == r)
		w->in_use = NULL;
	w->n_closed++;
}

static inline void on_control_send(void *ctx, uint32_t session, const uint8_t *frame, size_t len)
{
	struct world *w = ctx;

	(void)sess_send(w->node[0], &w->node[0]->sess[session], frame, len);
}

static inline void on_answered(void *ctx, uint32_t session, uint64_t tag, const overlay_Control *a)
{
	struct world *w = ctx;
	struct sess *e = &w->node[0]->sess[session];

	route_on_answer(e->route, w->now, e->hop, tag, a, &w->route_sink);
}

static inline void on_not_answered(void *ctx, uint32_t session, uint64_t tag, enum err why)
{
	struct world *w = ctx;
	struct sess *e = &w->node[0]->sess[session];

	route_on_no_answer(e->route, w->now, e->hop, tag, why, &w->route_sink);
}

static inline void on_echoed(void *ctx, uint32_t session, uint64_t nonce)
{
	struct world *w = ctx;
	struct sess *e = &w->node[0]->sess[session];

	route_on_echo(e->route, w->now, e->hop, nonce, &w->route_sink);
}

static inline void on_noticed(void *ctx, uint32_t session, const overlay_Notice *notice)
{
	struct world *w = ctx;
	struct sess *e = &w->node[0]->sess[session];

	route_on_notice(e->route, w->now, e->hop, notice, &w->route_sink);
}

static inline void client_message(
	struct world *w, uint8_t *bytes, size_t len, const struct net_endpoint *from);

static inline void client_payload(struct world *w, struct sess *e, uint8_t *p, size_t len)
{
	struct node *c = w->node[0];
	const uint8_t *msg;
	uint16_t slot;
	size_t n;

	switch (frame_kind(p, len)) {
	case FRAME_CONTROL:
		control_on_frame(
			&c->responder, &e->q, w->now, handle_of(c, e), p, len, &w->control_sink);
		break;
	case FRAME_RELAY:
		if (frame_relay_get(p, len, &slot, &msg, &n))
			client_message(w, p + FRAME_HEADER_SIZE, n, NULL);
		break;
	case FRAME_IP4:
		if (flow_in(&w->flow, w->now, w->flow_exit[e->route - w->route], p, len, false) ==
			FLOW_PASS) {
			CHECK(pk_good(p, len) && pk_dst_is(p, DEVICE) && pk_src_is(p, WEB));
			w->n_back++;
			w->back_at = w->now;
		}
		break;
	case FRAME_IP6:
	case FRAME_KEEPALIVE:
	case FRAME_BAD:
		break;
	}
}

static inline void client_message(
	struct world *w, uint8_t *bytes, size_t len, const struct net_endpoint *from)
{
	struct node *c = w->node[0];
	unsigned int type = wg_message_type(bytes, len);
	struct sess *e = type > WG_INITIATION ? sess_by_index(c, wg_receiver_index(bytes)) : NULL;
	size_t n;

	(void)from;
	if (e == NULL)
		return;
	if (type == WG_RESPONSE) {
		(void)!session_response_accept(&e->s, &c->env, w->now, bytes);
	} else if (type == WG_COOKIE) {
		(void)!session_cookie_accept(&e->s, w->now, bytes);
	} else {
		n = open_transport(c, e, bytes, len);
		if (n == SIZE_MAX)
			return;
		if (e->route != NULL)
			route_on_heard(e->route, w->now, e->hop);
		if (n > 0)
			client_payload(w, e, bytes + WG_TRANSPORT_HEAD, n);
	}
}

/* What the calls left to be done: facts for routes, then sessions that ended. */
static inline void settle(struct world *w)
{
	struct node *c = w->node[0];

	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct sess *e = &c->sess[i];

		if (e->used && e->failed && !e->ended) {
			e->failed = false;
			route_on_session_failed(
				e->route, w->now, e->hop, ERR_TIMEOUT, &w->route_sink);
		}
	}
	for (unsigned int k = 0; k < NODES; k++) {
		for (uint32_t i = 0; i < SESSIONS; i++) {
			struct sess *e = &w->node[k]->sess[i];

			if (e->used && e->ended)
				sess_end(w->node[k], e);
		}
	}
}

/* One UDP packet of the device, of flow `port`. */
static inline enum flow_verdict device_sends(struct world *w, uint16_t port)
{
	uint8_t pkt[200];
	unsigned int exit;
	enum flow_verdict v;

	pk_udp(pkt, sizeof(pkt), DEVICE, port, WEB, 80);
	v = flow_out(&w->flow, w->now, pkt, sizeof(pkt), false, &exit);
	if (v != FLOW_PASS)
		return v;
	for (int i = 0; i < ROUTES; i++) {
		if (w->route_used[i] && w->flow_exit[i] == exit) {
			struct route *r = &w->route[i];
			struct sess *e = hop_sess(w, r, r->n_hops - 1);

			if (e != NULL && sess_send(w->node[0], e, pkt, sizeof(pkt)))
				route_on_sent(r, w->now);
			break;
		}
	}
	settle(w);
	return v;
}

/* Begins a route through these nodes. */
static inline struct route *world_build(
	struct world *w, const unsigned int *through, unsigned int n_hops, struct route *exit_of)
{
	struct route_target t[ROUTE_HOPS_MAX];
	struct route_spec s = {.id = ++w->routes_begun,
		.purpose = ROUTE_TRAFFIC,
		.n_hops = n_hops,
		.targets = t,
		.have_ip4 = true,
		.exit_of = exit_of};
	int i = 0;

	while (i < ROUTES && w->route_used[i])
		i++;
	if (i == ROUTES)
		return NULL;
	for (unsigned int k = 0; k < n_hops; k++)
		t[k] = w->node[through[k]]->target;
	if (route_init(&w->route[i], &s, &w->node[0]->rng) != OK)
		return NULL;
	w->route_used[i] = true;
	w->flow_exit[i] = FLOW_NO_EXIT;
	route_start(&w->route[i], w->now, &w->route_sink);
	settle(w);
	return &w->route[i];
}

/* ---- time ---- */

static inline void deliver(struct world *w, struct datagram *d)
{
	for (unsigned int k = 0; k < NODES; k++) {
		struct node *h = w->node[k];

		if (h->dead || !net_addr_eq(&h->ep.addr, &d->to.addr))
			continue;
		if (k == 0)
			client_message(w, d->bytes, d->len, &d->from);
		else if (d->to.port == PORT_PUBLIC)
			relay_public(h, d);
		else if (d->to.port == PORT_ONWARD)
			relay_onward(h, d);
		else
			exit_from_web(h, d);
	}
	settle(w);
}

static inline mono_t client_deadline(const struct world *w)
{
	const struct node *c = w->node[0];
	mono_t d = MONO_NEVER;

	for (uint32_t i = 0; i < SESSIONS; i++) {
		if (!c->sess[i].used)
			continue;
		d = mono_min(d, session_deadline(&c->sess[i].s, c->env.conf));
		d = mono_min(d, control_requester_deadline(&c->sess[i].q));
	}
	for (int i = 0; i < ROUTES; i++)
		if (w->route_used[i])
			d = mono_min(d, route_deadline(&w->route[i]));
	return d;
}

static inline void client_tick(struct world *w)
{
	struct node *c = w->node[0];

	for (uint32_t i = 0; i < SESSIONS; i++) {
		struct sess *e = &c->sess[i];

		if (e->used)
			session_tick(&e->s, &c->env, w->now);
		if (e->used && !e->ended)
			control_requester_tick(&e->q, w->now, i, &w->control_sink);
	}
	for (int i = 0; i < ROUTES; i++)
		if (w->route_used[i])
			route_tick(&w->route[i], w->now, &w->route_sink);
	settle(w);
}

static inline mono_t relays_deadline(const struct world *w)
{
	mono_t d = MONO_NEVER;

	for (unsigned int k = 1; k < NODES; k++)
		for (uint32_t i = 0; i < SESSIONS && !w->node[k]->dead; i++)
			if (w->node[k]->sess[i].used)
				d = mono_min(d, session_deadline(&w->node[k]->sess[i].s,
							w->node[k]->env.conf));
	return d;
}

static inline void relays_tick(struct world *w)
{
	for (unsigned int k = 1; k < NODES; k++)
		for (uint32_t i = 0; i < SESSIONS && !w->node[k]->dead; i++)
			if (w->node[k]->sess[i].used)
				session_tick(&w->node[k]->sess[i].s, &w->node[k]->env, w->now);
}

/* What must hold at every step. */
static inline void world_check(const struct world *w)
{
	for (unsigned int k = 1; k < NODES; k++) {
		const struct node *h = w->node[k];
		uint32_t n_sessions = 0, n_legs = 0;

		for (uint32_t i = 0; i < SESSIONS; i++) {
			uint32_t leg = h->circuit.first_leg[i];

			n_sessions += h->sess[i].used;
			CHECK(h->sess[i].used || leg == TABLE_NONE); /* [P-17] */
			for (; leg != TABLE_NONE; leg = h->circuit.leg[leg].sibling)
				n_legs++;
		}
		CHECK(n_legs == circuit_n_legs(&h->circuit) && n_legs <= LEGS);
		CHECK(circuit_n_indices(&h->circuit) <= n_legs * CIRCUIT_INDICES_PER_LEG);
		CHECK(n_sessions == h->admit.n_strangers);
		CHECK(h->lease.n_used <= n_sessions);
	}
}

/* Runs to `until`, events at their exact instants. */
static inline void world_run(struct world *w, mono_t until)
{
	for (;;) {
		mono_t next = mono_min(client_deadline(w), relays_deadline(w));

		if (w->n_wire > 0)
			next = mono_min(next, w->wire[0]->at);
		if (next.ns > until.ns)
			break;
		if (next.ns > w->now.ns)
			w->now = next;
		if (w->n_wire > 0 && w->wire[0]->at.ns <= w->now.ns) {
			struct datagram *d = wire_pop(w);

			deliver(w, d);
			free(d);
		}
		client_tick(w);
		relays_tick(w);
	}
	w->wall.s += (int64_t)((until.ns - w->now.ns) / 1000000000u);
	w->now = until;
	for (unsigned int k = 1; k < NODES; k++)
		if (!w->node[k]->dead)
			relay_tick(w->node[k]);
	flow_tick(&w->flow, w->now);
	settle(w);
	world_check(w);
}

static inline void world_pass_ms(struct world *w, uint64_t ms)
{
	world_run(w, mono_add(w->now, DUR_MS(ms)));
}

/* ---- set up ---- */

static inline void node_describe(struct node *h, const uint8_t *identity_sk)
{
	struct descriptor d = {.ep4 = h->ep,
		.roles = DESCRIPTOR_RELAY | DESCRIPTOR_EXIT4,
		.seq = 1,
		.not_before = {h->w->wall.s - 10},
		.expires = {h->w->wall.s + 3600}};

	memcpy(d.node_id, identity_sk + 32, 32);
	memcpy(d.wg_pk, h->id.static_pk, 32);
	policy_digest(&h->policy, d.policy_digest);
	CHECK(descriptor_sign(&d, identity_sk, h->descriptor) == OK);
	route_target_from(&h->target, &d, h->descriptor);
}

static inline struct node *node_new(struct world *w, unsigned int n)
{
	struct node *h = calloc(1, sizeof(*h));
	const uint64_t key[2] = {n + 1, 77};
	const struct circuit_conf cc = {
		.sessions_max = SESSIONS, .legs_max = LEGS, .have_ip4 = true};
	const struct admit_conf ac = {
		.sessions_max = SESSIONS, .strangers_max = SESSIONS - 4, .prefixes_max = 40};
	const struct lease_conf lc = {.pool4 = {{NET_IP4, {100, 64, (uint8_t)n}}, 24},
		.pool6 = {{NET_IP6, {0xfd, (uint8_t)n}}, 64},
		.sessions_max = SESSIONS,
		.leases_max = 200};
	const struct control_responder_conf rc = {SESSIONS, 16};
	uint8_t seed[32] = {(uint8_t)n, 9}, pk[32], sk[64];

	CHECK(h != NULL);
	h->w = w;
	h->n = n;
	h->ep = world_ep(n, PORT_PUBLIC);
	h->onward = world_ep(n, PORT_ONWARD);
	rng_bytes(&w->dice, seed + 2, 30);
	rng_init(&h->rng, seed);
	noise_identity_fresh(&h->id, &h->rng);
	cookie_checker_init(&h->checker, &h->id);
	keypair_pool_add(&h->pool, h->pairs, SESSIONS * SESSION_KEYPAIRS);
	h->env = (struct session_env){&session_conf_wireguard, &world_ops, h, &h->rng, &h->pool};
	CHECK(circuit_bytes(&cc) <= sizeof(h->circuit_mem) &&
		admit_bytes(&ac) <= sizeof(h->admit_mem));
	CHECK(lease_bytes(&lc) <= sizeof(h->lease_mem) && lease_bytes(&lc) > 0);
	CHECK(control_responder_bytes(&rc) <= sizeof(h->responder_mem));
	circuit_init(&h->circuit, &cc, h->circuit_mem, key);
	admit_init(&h->admit, &ac, h->admit_mem, key);
	lease_init(&h->lease, &lc, h->lease_mem);
	control_responder_init(&h->responder, &rc, h->responder_mem, key);
	CHECK(policy_init(&h->policy, true, true, true, NULL, 0) == OK);
	crypto_sign_seed_keypair(pk, sk, seed);
	node_describe(h, sk);
	return h;
}

static inline struct world *world_new(uint32_t seed_number)
{
	struct world *w = calloc(1, sizeof(*w));
	uint8_t seed[32] = {1};
	const uint64_t key[2] = {4, 5};
	struct flow_conf fc = {.flows_max = 64};

	CHECK(w != NULL && sodium_init() >= 0);
	le32_put(seed + 4, seed_number);
	rng_init(&w->dice, seed);
	CHECK(aead_init(&w->aead, aead_backend_find("sodium"), NULL) == OK);
	w->now.ns = DUR_S(1000).ns;
	w->wall.s = 1800000000;
	w->delay_us = 10000;
	w->route_sink = (struct route_sink){w, on_used, on_open, on_handshake, on_request, on_echo, on_carry,
		on_end, on_built, on_failed, on_suspect, on_dead, on_closed, NULL, NULL};
	w->control_sink = (struct control_sink){.ctx = w,
		.send = on_control_send,
		.answered = on_answered,
		.failed = on_not_answered,
		.echoed = on_echoed,
		.noticed = on_noticed};
	CHECK(net_addr_parse(DEVICE, &fc.device4) == OK && flow_bytes(&fc) <= sizeof(w->flow_mem));
	flow_init(&w->flow, &fc, w->flow_mem, key);
	for (unsigned int n = 0; n < NODES; n++)
		w->node[n] = node_new(w, n);
	return w;
}

static inline void world_free(struct world *w)
{
	while (w->n_wire > 0)
		free(wire_pop(w));
	for (unsigned int n = 0; n < NODES; n++)
		free(w->node[n]);
	free(w);
}

#endif
