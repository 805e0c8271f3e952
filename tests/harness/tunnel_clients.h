/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many WireGuard clients in one process, each a real session (core/session.h) with a key of its own and an
 * address of its own, of which no more than four lie in one /24 (a relay admits strangers by prefix). One UDP
 * socket serves them all; the host routes their addresses to itself (ip route add local 10.64.0.0/10 dev lo).
 * Their keys follow from a constant, so that whoever configures the other side and whoever runs them need not
 * speak to each other.
 *
 * Nested: sessions with the next hop, whose messages travel as relay frames in the sessions with a relay. */
#ifndef TESTS_TUNNEL_CLIENTS_H
#define TESTS_TUNNEL_CLIENTS_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "services/tunnel/core/frame.h"
#include "services/tunnel/core/session.h"

#define CLIENTS_OUTER 0x0a400000u /* 10.64.0.0 */
#define CLIENTS_STRIDE 64u
#define CLIENTS_SLOT 1u		  /* of all circuits */
#define CLIENTS_CONTROL_MAX 512u
#define CLIENTS_MAX 65536u	  /* their number is the low half of an index */
#define CLIENTS_BATCH 64u	  /* messages of one system call */
#define CLIENTS_TRAIN_BYTES 65000u
#define CLIENTS_IN_SIZE 2048u
#define CLIENTS_TICK DUR_MS(100)

struct client {
	struct session s;
	struct noise_identity id;
	bool established;
};

struct clients {
	uint32_t n, n_established;
	struct client *all;
	struct sockaddr_in to;
	int fd;
	bool one_address; /* of the socket, for all */
	struct clients *relay; /* nested: what carries us */
	struct clients *inner; /* carried by us */
	uint8_t extend[CLIENTS_CONTROL_MAX]; /* nested: the control frame that opens our slot */
	uint32_t extend_len;
	mono_t now, ticked;
	uint32_t generation; /* high half of indices */
	struct rng rng;
	struct aead aead;
	struct keypair_pool pool;
	struct session_env env;
	/* What is to be sent: trains of equal messages of one client, cut by the kernel. */
	struct {
		struct mmsghdr msgs[CLIENTS_BATCH];
		struct iovec iov[CLIENTS_BATCH];
		_Alignas(8) uint8_t control[CLIENTS_BATCH]
					   [CMSG_SPACE(sizeof(struct in_pktinfo)) + CMSG_SPACE(sizeof(uint16_t))];
		uint8_t *mem;
		uint32_t n, used;
	} out;
	uint8_t *in;
};

static inline void clients_fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static inline uint64_t clients_clock(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t); /* as the kernel stamps what arrives */
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* --- out ------------------------------------------------------------------------------------- */
static inline bool clients_send(struct clients *c, uint32_t client, uint32_t len, uint32_t n,
	void (*fill)(void *ctx, uint8_t *payload, uint32_t i), void *ctx);

static inline void clients_flush(struct clients *c)
{
	c = c->relay != NULL ? c->relay : c;
	for (uint32_t done = 0; done < c->out.n;) {
		int n = sendmmsg(c->fd, c->out.msgs + done, c->out.n - done, 0);

		if (n < 0 && errno != EINTR)
			clients_fail("sendmmsg");
		done += n > 0 ? (uint32_t)n : 0;
	}
	c->out.n = c->out.used = 0;
}

/* Room for a train; clients_commit adds it. */
static inline uint8_t *clients_room(struct clients *c, uint32_t bytes)
{
	if (c->out.n == CLIENTS_BATCH || c->out.used + bytes > CLIENTS_BATCH * CLIENTS_IN_SIZE)
		clients_flush(c);
	return c->out.mem + c->out.used;
}

static inline void clients_control(struct msghdr *h, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *m = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	m->cmsg_level = level;
	m->cmsg_type = type;
	m->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(m), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

struct clients_messages {
	const uint8_t *at;
	uint32_t len; /* of each */
};

static inline void clients_frame(void *ctx, uint8_t *payload, uint32_t i)
{
	const struct clients_messages *m = ctx;

	frame_relay_put(payload, CLIENTS_SLOT);
	memcpy(payload + FRAME_HEADER_SIZE, m->at + (size_t)i * m->len, m->len);
}

/* n messages of `segment` bytes each lie in the room. */
static inline void clients_commit(struct clients *c, uint32_t client, uint16_t segment, uint32_t n)
{
	const struct in_pktinfo source = {.ipi_spec_dst.s_addr = htonl(CLIENTS_OUTER + client * CLIENTS_STRIDE)};
	struct clients_messages nested = {c->out.mem + c->out.used, segment};
	struct msghdr *h = &c->out.msgs[c->out.n].msg_hdr;

	if (c->relay != NULL) {
		(void)!clients_send(c->relay, client, FRAME_HEADER_SIZE + segment, n, clients_frame, &nested);
		return;
	}
	c->out.iov[c->out.n] = (struct iovec){c->out.mem + c->out.used, (size_t)segment * n};
	*h = (struct msghdr){.msg_name = &c->to,
		.msg_namelen = sizeof(c->to),
		.msg_iov = &c->out.iov[c->out.n],
		.msg_iovlen = 1,
		.msg_control = c->out.control[c->out.n]};
	if (!c->one_address)
		clients_control(h, IPPROTO_IP, IP_PKTINFO, &source, sizeof(source));
	if (n > 1)
		clients_control(h, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
	c->out.used += segment * n;
	c->out.n++;
}

/* Seals and sends n payloads of len bytes, written by fill just before. False: no keys yet. */
static inline bool clients_send(struct clients *c, uint32_t client, uint32_t len, uint32_t n,
	void (*fill)(void *ctx, uint8_t *payload, uint32_t i), void *ctx)
{
	const uint32_t size = len + WG_OVERHEAD;
	uint8_t *at = clients_room(c, size * n);
	struct aead_op ops[CLIENTS_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		ops[i] = (struct aead_op){.buf = at + (size_t)i * size + WG_TRANSPORT_HEAD, .len = len};
		if (len > 0)
			fill(ctx, ops[i].buf, i);
	}
	if (session_seal_batch(&c->all[client].s, &c->env, &c->aead, c->now, ops, n) != OK)
		return false;
	clients_commit(c, client, (uint16_t)size, n);
	return true;
}

/* --- what a session needs ---------------------------------------------------------------------- */
static inline uint32_t clients_number(const struct clients *c, const struct session *s)
{
	return (uint32_t)((const struct client *)s - c->all);
}

static inline bool clients_index_new(void *ctx, struct session *s, uint32_t *ret_index)
{
	struct clients *c = ctx;

	*ret_index = ++c->generation << 16 | clients_number(c, s);
	return true;
}

static inline void clients_index_free(void *ctx, struct session *s, uint32_t index)
{
	(void)ctx, (void)s, (void)index;
}

static inline void clients_extend(void *ctx, uint8_t *payload, uint32_t i)
{
	const struct clients *c = ctx;

	(void)i;
	memcpy(payload, c->extend, c->extend_len);
}

/* The slot is opened each time anew: that may be done twice, and a lost one costs no timer of its own. */
static inline void clients_initiation(struct clients *c, struct session *s)
{
	uint8_t msg[WG_INITIATION_SIZE];

	if (c->relay != NULL)
		(void)!clients_send(c->relay, clients_number(c, s), c->extend_len, 1, clients_extend, c);
	if (session_initiation_create(s, &c->env, c->now, clients_clock(), msg) != OK)
		return;
	memcpy(clients_room(c, sizeof(msg)), msg, sizeof(msg));
	clients_commit(c, clients_number(c, s), sizeof(msg), 1);
}

static inline void clients_emit(void *ctx, struct session *s, enum session_effect e)
{
	struct client *client = (struct client *)s;
	struct clients *c = ctx;

	switch (e) {
	case SESSION_SEND_INITIATION:
		clients_initiation(c, s);
		break;
	case SESSION_ESTABLISHED:
		c->n_established += !client->established;
		client->established = true;
		if (c->inner != NULL)
			session_initiate(&c->inner->all[clients_number(c, s)].s, &c->inner->env, c->now);
		break;
	case SESSION_SEND_KEEPALIVE:
		(void)!clients_send(c, clients_number(c, s), 0, 1, NULL, NULL);
		break;
	case SESSION_GAVE_UP:
	case SESSION_EXPIRED:
		break;
	}
}

static const struct session_ops clients_ops = {clients_index_new, clients_index_free, clients_emit};

/* --- in ---------------------------------------------------------------------------------------- */
static inline void clients_message(struct clients *c, uint8_t *msg, size_t len)
{
	const unsigned int type = wg_message_type(msg, len);
	const uint32_t index = type == WG_INITIATION || type == 0 ? CLIENTS_MAX : wg_receiver_index(msg);
	struct aead_op op = {.buf = msg + WG_TRANSPORT_HEAD, .len = (uint32_t)(len - WG_OVERHEAD)};
	const uint8_t *inner;
	struct session *s;
	size_t inner_len;
	uint16_t slot;

	if ((index & 0xffff) >= c->n)
		return;
	s = &c->all[index & 0xffff].s;
	switch (type) {
	case WG_RESPONSE:
		(void)!session_response_accept(s, &c->env, c->now, msg);
		break;
	case WG_COOKIE:
		(void)!session_cookie_accept(s, c->now, msg);
		break;
	case WG_TRANSPORT:
		op.counter = le64_get(msg + 8);
		if (session_open_batch(s, &c->env, &c->aead, c->now, index, &op, 1) == 1 && c->inner != NULL &&
			frame_relay_get(op.buf, op.len, &slot, &inner, &inner_len))
			clients_message(c->inner, op.buf + FRAME_HEADER_SIZE, inner_len);
		break;
	}
}

static inline void clients_receive(struct clients *c)
{
	struct mmsghdr msgs[CLIENTS_BATCH] = {0};
	struct iovec iov[CLIENTS_BATCH];
	int n;

	do {
		for (uint32_t i = 0; i < CLIENTS_BATCH; i++) {
			iov[i] = (struct iovec){c->in + (size_t)i * CLIENTS_IN_SIZE, CLIENTS_IN_SIZE};
			msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iov[i], .msg_iovlen = 1};
		}
		n = recvmmsg(c->fd, msgs, CLIENTS_BATCH, MSG_DONTWAIT, NULL);
		for (int i = 0; i < n; i++)
			clients_message(c, iov[i].iov_base, msgs[i].msg_len);
	} while (n == (int)CLIENTS_BATCH);
}

static inline void clients_time(struct clients *c)
{
	c->now.ns = clients_clock();
	if (c->relay != NULL)
		c->relay->now = c->now;
}

static inline void clients_tick(struct clients *c)
{
	for (uint32_t i = 0; i < c->n; i++)
		session_tick(&c->all[i].s, &c->env, c->now);
}

/* One turn: time, what came, timers, what has to be sent. */
static inline void clients_turn(struct clients *c)
{
	clients_time(c);
	clients_receive(c->relay != NULL ? c->relay : c);
	if (mono_reached(mono_add(c->ticked, CLIENTS_TICK), c->now)) {
		c->ticked = c->now;
		clients_tick(c);
		if (c->relay != NULL)
			clients_tick(c->relay);
	}
	clients_flush(c);
}

/* --- set up ------------------------------------------------------------------------------------ */
static inline void clients_keys(struct clients *c)
{
	static const uint8_t seed[32] = "the clients of this program";

	rng_init(&c->rng, seed);
	for (uint32_t i = 0; i < c->n; i++)
		noise_identity_fresh(&c->all[i].id, &c->rng);
}

static inline void clients_aead(struct clients *c)
{
	const struct aead_backend *b;
	struct aead_report r;
	uint8_t seed[32] = {1};

	if (aead_choose(NULL, seed, clients_clock, aligned_alloc, free, &b, &r) != OK ||
		aead_init(&c->aead, b, aligned_alloc(64, (b->state_size() + 63) & ~(size_t)63)) != OK)
		clients_fail("aead");
}

/* All of it lives as long as the process. */
static inline void clients_init(struct clients *c, uint32_t n)
{
	memset(c, 0, sizeof(*c));
	c->n = n;
	c->all = calloc(n, sizeof(*c->all));
	if (c->all == NULL)
		clients_fail("memory");
	clients_keys(c);
}

/* What its sessions need, but for their peers. fd -1: nested. */
static inline void clients_prepare(struct clients *c, int fd)
{
	struct keypair *pairs = calloc((size_t)c->n * SESSION_KEYPAIRS, sizeof(*pairs));
	uint8_t fresh[32];

	randombytes_buf(fresh, sizeof(fresh));
	c->fd = fd;
	c->in = malloc((size_t)CLIENTS_BATCH * CLIENTS_IN_SIZE);
	c->out.mem = malloc((size_t)CLIENTS_BATCH * CLIENTS_IN_SIZE);
	if (pairs == NULL || c->in == NULL || c->out.mem == NULL)
		clients_fail("memory");
	rng_init(&c->rng, fresh);
	clients_aead(c);
	keypair_pool_add(&c->pool, pairs, (size_t)c->n * SESSION_KEYPAIRS);
	c->env = (struct session_env){&session_conf_wireguard, &clients_ops, c, &c->rng, &c->pool};
	c->now.ns = clients_clock();
}

static inline void clients_session(
	struct clients *c, uint32_t i, const struct noise_identity *id, const uint8_t *peer_pk)
{
	if (session_init(&c->all[i].s, id, peer_pk, NULL) != OK)
		clients_fail("the other side's key");
}

/* Towards one server, by a socket of their own. */
static inline void clients_start(struct clients *c, const struct sockaddr_in *to, const uint8_t *server_pk)
{
	const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), buffer = 16 << 20;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer)) != 0)
		clients_fail("socket");
	c->to = *to;
	clients_prepare(c, fd);
	for (uint32_t i = 0; i < c->n; i++)
		clients_session(c, i, &c->all[i].id, server_pk);
}

/* Towards the next hop, within the sessions with the relay. */
static inline void clients_nest(struct clients *c, struct clients *relay, const uint8_t *next_pk)
{
	clients_prepare(c, -1);
	c->relay = relay;
	relay->inner = c;
	for (uint32_t i = 0; i < c->n; i++)
		clients_session(c, i, &c->all[i].id, next_pk);
}

/* Handshakes of all, `window` of them at a time. */
static inline void clients_connect(struct clients *c, uint32_t window)
{
	struct clients *first = c->relay != NULL ? c->relay : c;
	struct pollfd p = {.fd = first->fd, .events = POLLIN};

	for (uint32_t begun = 0; c->n_established < c->n;) {
		clients_time(c);
		for (; begun < c->n && begun - c->n_established < window; begun++)
			session_initiate(&first->all[begun].s, &first->env, c->now);
		clients_flush(c);
		poll(&p, 1, 10);
		clients_turn(c);
	}
}

#endif
