/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two hosts with one session each, a wire between them, a clock that the test turns. For unit
 * tests, simulations and fuzzers. */
#ifndef TESTS_TUNNEL_PAIR_H
#define TESTS_TUNNEL_PAIR_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/tunnel/core/session.h"

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

#define PACKET_MAX 512
#define WIRE_MAX 64
#define INDICES_MAX 8
#define FX_KINDS 5

struct packet {
	size_t len;
	uint8_t bytes[PACKET_MAX];
};

struct host;

struct pair {
	mono_t now;
	uint64_t wall_ns;
	struct aead aead;
	/* If set: told of each message that a session makes. */
	void (*on_made)(struct host *h, const uint8_t *bytes, size_t len);
	struct host {
		struct pair *pair;
		struct host *peer;
		const char *name;
		struct noise_identity id;
		struct session s;
		struct session_conf conf;
		struct session_env env;
		struct keypair_pool pool;
		struct keypair keys[SESSION_KEYPAIRS];
		struct rng rng;
		uint32_t indices[INDICES_MAX]; /* in use; 0: free */
		bool no_index;		       /* none is to be had */
		bool deaf;		       /* drops what it should send */
		uint32_t n_fx[FX_KINDS];       /* how often each effect came */
		mono_t fx_at[FX_KINDS];
		uint32_t fx_new;	       /* effects since the test last cleared this */
		uint32_t waiting;	       /* payloads queued for keys */
		uint32_t n_got, n_opened;      /* data packets, all packets received */
		uint64_t tx_number, rx_newest; /* numbers inside the payloads */
		enum err last_err;
		struct packet out[WIRE_MAX]; /* on the way from here */
		size_t n_out;
	} a, b;
};

static inline int fx_bit(enum session_effect e)
{
	return __builtin_ctz(e);
}

static inline uint32_t fx_count(const struct host *h, enum session_effect e)
{
	return h->n_fx[fx_bit(e)];
}

/* --- the wire -------------------------------------------------------------------------------- */
static inline void wire_put(struct host *h, const uint8_t *bytes, size_t len)
{
	CHECK(len <= PACKET_MAX);
	if (h->pair->on_made != NULL)
		h->pair->on_made(h, bytes, len);
	if (h->n_out == WIRE_MAX) { /* full: loses the oldest */
		memmove(h->out, h->out + 1, (WIRE_MAX - 1) * sizeof(h->out[0]));
		h->n_out--;
	}
	h->out[h->n_out].len = len;
	memcpy(h->out[h->n_out++].bytes, bytes, len);
}

static inline struct packet wire_take(struct host *h, size_t i)
{
	struct packet p = h->out[i];

	memmove(h->out + i, h->out + i + 1, (h->n_out - i - 1) * sizeof(h->out[0]));
	h->n_out--;
	return p;
}

/* --- what a host does for its session -------------------------------------------------------- */
static inline bool host_index_new(void *ctx, struct session *s, uint32_t *ret_index)
{
	struct host *h = ctx;

	CHECK(s == &h->s);
	if (h->no_index)
		return false;
	for (int i = 0; i < INDICES_MAX; i++) {
		if (h->indices[i] == 0) {
			h->indices[i] = *ret_index = rng_u32(&h->rng) | 1;
			return true;
		}
	}
	CHECK(!"a session needs no more than four indices");
	return false;
}

static inline void host_index_free(void *ctx, struct session *s, uint32_t index)
{
	struct host *h = ctx;

	CHECK(s == &h->s);
	for (int i = 0; i < INDICES_MAX; i++) {
		if (h->indices[i] == index) {
			h->indices[i] = 0;
			return;
		}
	}
	CHECK(!"freed an index that was not in use");
}

static inline size_t host_indices(const struct host *h)
{
	size_t n = 0;

	for (int i = 0; i < INDICES_MAX; i++)
		n += h->indices[i] != 0;
	return n;
}

#define PAYLOAD 32 /* of data packets: a number, then filler */

static inline enum err host_seal(struct host *h, uint32_t len)
{
	uint8_t buf[PACKET_MAX] = {0};
	struct aead_op op = {.buf = buf + WG_TRANSPORT_HEAD, .len = len};
	enum err e;

	if (len >= 8)
		le64_put(op.buf, h->tx_number + 1);
	e = session_seal_batch(&h->s, &h->env, &h->pair->aead, h->pair->now, &op, 1);
	if (e != OK)
		return e;
	h->tx_number += len >= 8;
	wire_put(h, buf, len + WG_OVERHEAD);
	return OK;
}

/* As an interface does with a packet: sends it, or keeps it until there are keys. */
static inline void host_send(struct host *h)
{
	if (host_seal(h, PAYLOAD) != OK)
		h->waiting++;
}

static inline void host_send_initiation(struct host *h)
{
	uint8_t msg[WG_INITIATION_SIZE];

	h->last_err =
		session_initiation_create(&h->s, &h->env, h->pair->now, h->pair->wall_ns, msg);
	if (h->last_err == OK)
		wire_put(h, msg, sizeof(msg));
}

static inline void host_emit(void *ctx, struct session *s, enum session_effect e)
{
	struct host *h = ctx;

	CHECK(s == &h->s);
	h->n_fx[fx_bit(e)]++;
	h->fx_at[fx_bit(e)] = h->pair->now;
	h->fx_new |= e;
	if (h->deaf)
		return;
	switch (e) {
	case SESSION_SEND_INITIATION:
		host_send_initiation(h);
		break;
	case SESSION_ESTABLISHED:
		for (; h->waiting > 0; h->waiting--)
			CHECK(host_seal(h, PAYLOAD) == OK);
		break;
	case SESSION_SEND_KEEPALIVE:
		h->last_err = host_seal(h, 0);
		break;
	case SESSION_GAVE_UP:
		h->waiting = 0;
		break;
	case SESSION_EXPIRED:
		break;
	}
}

static const struct session_ops host_ops = {host_index_new, host_index_free, host_emit};

/* --- what arrives ---------------------------------------------------------------------------- */
static inline enum err host_on_initiation(struct host *h, const uint8_t *bytes)
{
	uint8_t answer[WG_RESPONSE_SIZE];
	struct noise_responder re;
	struct wg_initiation msg;

	memcpy(&msg, bytes, sizeof(msg));
	TRY(noise_initiation_open(&h->id, &msg, &re));
	if (memcmp(re.remote_static, h->s.remote.static_pk, WG_KEY_SIZE) != 0)
		return ERR_NOT_FOUND;
	TRY(session_initiation_accept(&h->s, &h->env, h->pair->now, &re, answer));
	wire_put(h, answer, sizeof(answer));
	return OK;
}

static inline enum err host_on_transport(struct host *h, uint8_t *bytes, size_t len)
{
	struct aead_op op = {
		.buf = bytes + WG_TRANSPORT_HEAD,
		.len = (uint32_t)(len - WG_OVERHEAD),
		.counter = le64_get(bytes + 8),
	};

	if (session_open_batch(&h->s, &h->env, &h->pair->aead, h->pair->now,
		    wg_receiver_index(bytes), &op, 1) == 0)
		return ERR_DENIED;
	CHECK(op.ok);
	h->n_opened++;
	h->n_got += op.len > 0;
	if (op.len >= 8)
		h->rx_newest = le64_get(op.buf);
	return OK;
}

static inline enum err host_receive(struct host *h, uint8_t *bytes, size_t len)
{
	switch (wg_message_type(bytes, len)) {
	case WG_INITIATION:
		return host_on_initiation(h, bytes);
	case WG_RESPONSE:
		return session_response_accept(&h->s, &h->env, h->pair->now, bytes);
	case WG_COOKIE:
		return session_cookie_accept(&h->s, h->pair->now, bytes);
	case WG_TRANSPORT:
		return host_on_transport(h, bytes, len);
	}
	return ERR_MALFORMED;
}

/* The oldest packet from h reaches its peer. */
static inline enum err deliver(struct host *h)
{
	struct packet p = wire_take(h, 0);

	return host_receive(h->peer, p.bytes, p.len);
}

static inline void deliver_all(struct pair *p)
{
	while (p->a.n_out > 0 || p->b.n_out > 0) {
		if (p->a.n_out > 0)
			(void)!deliver(&p->a);
		if (p->b.n_out > 0)
			(void)!deliver(&p->b);
	}
}

/* --- time ------------------------------------------------------------------------------------ */
static inline mono_t host_deadline(const struct host *h)
{
	return session_deadline(&h->s, &h->conf);
}

static inline void tick(struct pair *p)
{
	session_tick(&p->a.s, &p->a.env, p->now);
	session_tick(&p->b.s, &p->b.env, p->now);
}

static inline void clock_set(struct pair *p, mono_t t)
{
	p->wall_ns += t.ns - p->now.ns;
	p->now = t;
}

/* Lets time pass, timers run at their exact instants, packets arrive at once (if `connected`). */
static inline void pass(struct pair *p, dur_t d, bool connected)
{
	mono_t until = mono_add(p->now, d);

	for (;;) {
		mono_t next = mono_min(host_deadline(&p->a), host_deadline(&p->b));

		if (next.ns > until.ns)
			break;
		CHECK(next.ns >= p->now.ns);
		clock_set(p, next);
		tick(p);
		CHECK(mono_min(host_deadline(&p->a), host_deadline(&p->b)).ns > p->now.ns);
		if (connected)
			deliver_all(p);
		else
			p->a.n_out = p->b.n_out = 0;
	}
	clock_set(p, until);
}

/* --- set up ---------------------------------------------------------------------------------- */
static inline void host_init(
	struct host *h, struct pair *p, struct host *peer, const char *name, uint8_t n)
{
	uint8_t seed[32] = {n};

	h->pair = p;
	h->peer = peer;
	h->name = name;
	rng_init(&h->rng, seed);
	noise_identity_fresh(&h->id, &h->rng);
	keypair_pool_add(&h->pool, h->keys, SESSION_KEYPAIRS);
	h->conf = session_conf_wireguard;
	h->env = (struct session_env){&h->conf, &host_ops, h, &h->rng, &h->pool};
}

static inline struct pair *pair_new(const uint8_t *psk)
{
	struct pair *p = calloc(1, sizeof(*p));

	CHECK(p != NULL);
	p->now = (mono_t){1000000000000};
	p->wall_ns = 1700000000u * (uint64_t)1000000000;
	CHECK(aead_init(&p->aead, aead_backend_find("sodium"), NULL) == OK);
	host_init(&p->a, p, &p->b, "a", 1);
	host_init(&p->b, p, &p->a, "b", 2);
	CHECK(session_init(&p->a.s, &p->a.id, p->b.id.static_pk, psk) == OK);
	CHECK(session_init(&p->b.s, &p->b.id, p->a.id.static_pk, psk) == OK);
	return p;
}

/* All that was taken has come back. */
static inline void pair_free(struct pair *p)
{
	for (int i = 0; i < 2; i++) {
		struct host *h = i ? &p->b : &p->a;

		session_done(&h->s, &h->env);
		CHECK(h->pool.n_free == SESSION_KEYPAIRS);
		CHECK(host_indices(h) == 0);
	}
	free(p);
}

/* A handshake from a to b and the packet that confirms it. */
static inline void connect_pair(struct pair *p)
{
	session_initiate(&p->a.s, &p->a.env, p->now);
	deliver_all(p);
	CHECK(p->a.s.current != NULL && p->b.s.current != NULL && p->b.s.next == NULL);
}

#endif
