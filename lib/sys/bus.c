/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A link is a PUSH socket of the sender connected to a PULL socket that only this sender may reach:
 * <run>/<receiver>.<sender>, or a TCP port that asks for its key (bus_tcp.h). ZMQ_IMMEDIATE keeps messages from queueing to nobody; a socket monitor
 * tells when the link is up (docs/adr/0002-bus-links.md). */
#include "bus.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <pb_decode.h>
#include <pb_encode.h>
#include <zmq.h>

#include "proto/types.pb.h"
#include "bus_tcp.h"
#include "entropy.h"
#include "log.h"
#include "resident.h"

#define BUS_VERSION 1
/* Field number of Hello in every XIn (proto/types.proto). */
#define HELLO_TAG 4
/* Reconnection: soon enough that a restart is not felt, slow enough to cost nothing. */
#define RECONNECT_MS 20
#define RECONNECT_MAX_MS 500
/* An inbox that refused our key: ZeroMQ gives up there. */
#define REFUSED_RETRY DUR_S(5)
/* What stop() sent may still leave while we close, at most this long per link. */
#define LAST_WORDS_MS 200

struct link_out {
	void *sock;    /* PUSH */
	void *monitor; /* PAIR, connection events */
	bool up;       /* Hello was sent on the present connection */
	bool fresh;    /* connected, Hello not yet sent */
	bool told;     /* on_link was called for this connection */
	bool refused;  /* said so, since the last connection */
	mono_t retry_at;
};

struct link_in {
	void *sock; /* PULL */
	uint64_t instance;
	bool greeted; /* Hello came since our own link to it came up or went */
	bool refused;
};

struct bus {
	enum role self;
	void *zmq;
	const char *run_dir; /* during bus_open */
	const struct bus_tcp *tcp; /* NULL: sockets in run_dir */
	void *judge;		   /* REP, tcp only */
	const struct bus_inbox *inbox;
	void *state;
	uint64_t instance, next_id;
	struct link_out out[ROLES];
	struct link_in in[ROLES];
	struct bus_counters counters;
	void *decoded;	     /* one XIn */
	uint8_t *encode_buf; /* BUS_MESSAGE_MAX */
};

const char *role_name(enum role r)
{
	static const char *const names[ROLES] = {
		"none", "tunnel", "discovery", "router", "ledger", "gateway"};

	return r < ROLES ? names[r] : "?";
}

/* Who may speak to whom: rows receive. */
bool bus_pair_allowed(enum role receiver, enum role sender)
{
	static const uint32_t senders[ROLES] = {
		[ROLE_TUNNEL] = FROM(ROLE_ROUTER) | FROM(ROLE_LEDGER) | FROM(ROLE_DISCOVERY) |
			FROM(ROLE_GATEWAY),
		[ROLE_DISCOVERY] = FROM(ROLE_TUNNEL) | FROM(ROLE_LEDGER) | FROM(ROLE_GATEWAY),
		[ROLE_ROUTER] = FROM(ROLE_GATEWAY) | FROM(ROLE_DISCOVERY) | FROM(ROLE_TUNNEL) |
			FROM(ROLE_LEDGER),
		[ROLE_LEDGER] = FROM(ROLE_TUNNEL) | FROM(ROLE_GATEWAY),
		[ROLE_GATEWAY] = FROM(ROLE_ROUTER) | FROM(ROLE_LEDGER) | FROM(ROLE_DISCOVERY) |
			FROM(ROLE_TUNNEL),
	};

	return receiver < ROLES && sender < ROLES && (senders[receiver] & FROM(sender)) != 0;
}

static enum err sock_int(void *sock, int option, int value)
{
	return zmq_setsockopt(sock, option, &value, sizeof(value)) == 0 ? OK : ERR_IO;
}

#define ADDRESS_MAX 160

/* Where the socket is: a folder per pair, so that each may be shared by those two alone. */
static enum err folder_of(
	const struct bus *b, enum role receiver, enum role sender, char ret[static ADDRESS_MAX])
{
	int n = snprintf(ret, ADDRESS_MAX, "%s/%s.%s", b->run_dir, role_name(receiver), role_name(sender));

	return n > 0 && n < ADDRESS_MAX ? OK : ERR_TOO_LARGE;
}

static enum err address_of(
	const struct bus *b, enum role receiver, enum role sender, char ret[static ADDRESS_MAX])
{
	char folder[ADDRESS_MAX];
	int n;

	_Static_assert(BUS_TCP_ADDRESS_MAX <= ADDRESS_MAX, "both kinds of address fit");
	if (b->tcp != NULL) {
		bus_tcp_address(b->tcp, receiver, sender, ret);
		return OK;
	}
	TRY(folder_of(b, receiver, sender, folder));
	n = snprintf(ret, ADDRESS_MAX, "ipc://%s/inbox", folder);
	/* sun_path holds 108 bytes. */
	return n > 0 && (size_t)n < 6 + 108 ? OK : ERR_TOO_LARGE;
}

static enum err folder_make(const struct bus *b, enum role from)
{
	char folder[ADDRESS_MAX];

	TRY(folder_of(b, b->self, from, folder));
	return mkdir(folder, 0700) == 0 || errno == EEXIST ? OK : ERR_IO;
}

static enum err in_open(struct bus *b, enum role from)
{
	char address[ADDRESS_MAX];
	void *s = zmq_socket(b->zmq, ZMQ_PULL);

	b->in[from].sock = s;
	if (s == NULL)
		return ERR_IO;
	TRY(address_of(b, b->self, from, address));
	TRY(sock_int(s, ZMQ_LINGER, 0));
	TRY(sock_int(s, ZMQ_RCVHWM, BUS_HIGH_WATER));
	if (b->tcp != NULL)
		TRY(bus_tcp_receiver(b->tcp, s, b->self, from));
	else
		TRY(folder_make(b, from));
	return zmq_bind(s, address) == 0 ? OK : ERR_IO;
}

#define HANDSHAKE_REFUSED \
	(ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH)

static enum err out_open(struct bus *b, enum role to)
{
	char address[ADDRESS_MAX], monitor[64];
	struct link_out *l = &b->out[to];

	l->sock = zmq_socket(b->zmq, ZMQ_PUSH);
	l->monitor = zmq_socket(b->zmq, ZMQ_PAIR);
	if (l->sock == NULL || l->monitor == NULL)
		return ERR_IO;
	TRY(address_of(b, to, b->self, address));
	TRY(sock_int(l->sock, ZMQ_LINGER, LAST_WORDS_MS));
	TRY(sock_int(l->monitor, ZMQ_LINGER, 0));
	TRY(sock_int(l->sock, ZMQ_SNDHWM, BUS_HIGH_WATER));
	TRY(sock_int(l->sock, ZMQ_IMMEDIATE, 1));
	TRY(sock_int(l->sock, ZMQ_RECONNECT_IVL, RECONNECT_MS));
	TRY(sock_int(l->sock, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS));
	if (b->tcp != NULL)
		TRY(bus_tcp_sender(b->tcp, l->sock, b->self, to));
	snprintf(monitor, sizeof(monitor), "inproc://monitor.%s", role_name(to));
	if (zmq_socket_monitor(l->sock, monitor,
		    ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | HANDSHAKE_REFUSED) != 0)
		return ERR_IO;
	l->retry_at = MONO_NEVER;
	if (zmq_connect(l->monitor, monitor) != 0)
		return ERR_IO;
	return zmq_connect(l->sock, address) == 0 ? OK : ERR_IO;
}

static enum err links_open(struct bus *b)
{
	if (b->tcp != NULL) {
		b->judge = bus_tcp_judge_open(b->zmq);
		if (b->judge == NULL)
			return ERR_IO;
	}
	for (enum role r = ROLE_TUNNEL; r < ROLES; r++) {
		if (bus_pair_allowed(b->self, r))
			TRY(in_open(b, r));
		if (bus_pair_allowed(r, b->self))
			TRY(out_open(b, r));
	}
	return OK;
}

enum err bus_open(struct bus **ret_bus, enum role self, const char *run_dir,
	const struct bus_tcp *tcp, const struct bus_inbox *inbox, void *state)
{
	struct bus *b = calloc(1, sizeof(*b));
	enum err e = ERR_FULL;

	if (b == NULL)
		return ERR_FULL;
	b->self = self;
	b->run_dir = run_dir;
	b->tcp = tcp;
	b->inbox = inbox;
	b->state = state;
	entropy_bytes(&b->instance, sizeof(b->instance));
	/* Ids of two instances do not meet: an answer to the one before is not taken for ours. */
	b->next_id = (b->instance & 0x7fffffffu) << 32;
	b->decoded = calloc(1, inbox->size);
	b->encode_buf = malloc(BUS_MESSAGE_MAX);
	b->zmq = zmq_ctx_new();
	if (b->decoded == NULL || b->encode_buf == NULL || b->zmq == NULL)
		goto fail;
	e = ERR_IO;
	if (mkdir(run_dir, 0700) != 0 && errno != EEXIST)
		goto fail;
	e = links_open(b);
	if (e != OK)
		goto fail;
	*ret_bus = b;
	return OK;
fail:
	bus_close(&b);
	return e;
}

void bus_close(struct bus **bus)
{
	struct bus *b = *bus;

	*bus = NULL;
	if (b == NULL)
		return;
	for (enum role r = ROLE_NONE; r < ROLES; r++) {
		if (b->in[r].sock != NULL)
			zmq_close(b->in[r].sock);
		if (b->out[r].sock != NULL) {
			zmq_socket_monitor(b->out[r].sock, NULL, 0);
			zmq_close(b->out[r].sock);
		}
		if (b->out[r].monitor != NULL)
			zmq_close(b->out[r].monitor);
	}
	if (b->judge != NULL)
		zmq_close(b->judge);
	if (b->zmq != NULL)
		zmq_ctx_term(b->zmq);
	free(b->decoded);
	free(b->encode_buf);
	free(b);
}

static enum err bytes_send(struct bus *b, enum role to, const void *data, size_t len)
{
	if (zmq_send(b->out[to].sock, data, len, ZMQ_DONTWAIT) >= 0) {
		b->counters.sent++;
		return OK;
	}
	b->counters.dropped_full++;
	return errno == EAGAIN ? ERR_FULL : ERR_IO;
}

enum err bus_send(struct bus *b, enum role to, const pb_msgdesc_t *fields, const void *msg)
{
	pb_ostream_t s = pb_ostream_from_buffer(b->encode_buf, BUS_MESSAGE_MAX);

	BUG_ON(!bus_pair_allowed(to, b->self));
	if (!b->out[to].up) {
		b->counters.dropped_full++;
		return ERR_UNAVAILABLE;
	}
	if (!pb_encode(&s, fields, msg))
		return ERR_INVALID;
	return bytes_send(b, to, b->encode_buf, s.bytes_written);
}

void bus_tell(struct bus *b, enum role to, const pb_msgdesc_t *fields, const void *msg)
{
	enum err e = bus_send(b, to, fields, msg);

	if (e == ERR_INVALID)
		log_error("a message to %s cannot be encoded", role_name(to));
}

bool bus_link_up(const struct bus *b, enum role to)
{
	return to < ROLES && b->out[to].up;
}

uint64_t bus_next_id(struct bus *b)
{
	return ++b->next_id;
}

const struct bus_counters *bus_counters(const struct bus *b)
{
	return &b->counters;
}

/* ---- links ---- */

/* Hello is the same field of every XIn, so it is encoded without knowing which. */
static enum err hello_send(struct bus *b, enum role to, bool answer)
{
	mvpn_Hello hello = {.instance = b->instance, .version = BUS_VERSION, .answer = answer};
	uint8_t buf[64];
	pb_ostream_t s = pb_ostream_from_buffer(buf, sizeof(buf));

	if (!pb_encode_tag(&s, PB_WT_STRING, HELLO_TAG) ||
		!pb_encode_submessage(&s, mvpn_Hello_fields, &hello))
		return ERR_INVALID;
	return bytes_send(b, to, buf, s.bytes_written);
}

static void refused(struct bus *b, enum role to, mono_t now)
{
	struct link_out *l = &b->out[to];

	l->retry_at = mono_add(now, REFUSED_RETRY);
	if (!l->refused)
		log_warn("%s refuses this service's key, or has not the key that keys/bus-%s.pub names: give both the "
			 "same keys and restart what had others; tried again until then",
			role_name(to), role_name(to));
	l->refused = true;
}

/* ZeroMQ connects anew by itself after all but a refusal. */
static void link_retry(struct bus *b, enum role to, mono_t now)
{
	struct link_out *l = &b->out[to];
	char address[ADDRESS_MAX];

	if (!mono_reached(l->retry_at, now))
		return;
	l->retry_at = MONO_NEVER;
	if (l->up || l->fresh || address_of(b, to, b->self, address) != OK)
		return;
	(void)zmq_disconnect(l->sock, address);
	if (zmq_connect(l->sock, address) != 0)
		l->retry_at = mono_add(now, REFUSED_RETRY);
}

static void monitor_read(struct bus *b, enum role to, mono_t now)
{
	struct link_out *l = &b->out[to];
	uint8_t event[6];

	/* Two frames: event number (16 bits) and value, then the address. */
	while (zmq_recv(l->monitor, event, sizeof(event), ZMQ_DONTWAIT) >= 2) {
		uint16_t number;

		memcpy(&number, event, sizeof(number));
		zmq_recv(l->monitor, NULL, 0, ZMQ_DONTWAIT);
		l->up = l->told = false;
		l->fresh = number == ZMQ_EVENT_HANDSHAKE_SUCCEEDED;
		if (l->fresh)
			l->refused = false;
		else
			b->in[to].greeted = false;
		if ((number & HANDSHAKE_REFUSED) != 0)
			refused(b, to, now);
	}
}

static void link_greet(struct bus *b, enum role to)
{
	struct link_out *l = &b->out[to];

	if (hello_send(b, to, false) != OK)
		return; /* the pipe is not attached yet: next turn */
	l->fresh = false;
	l->up = true;
}

/* A snapshot may hold requests, so it waits until the other side can answer: until its Hello has
 * come, where it may speak to us at all. */
static void link_tell(struct bus *b, enum role to)
{
	struct link_out *l = &b->out[to];

	if (!l->up || l->told || (bus_pair_allowed(b->self, to) && !b->in[to].greeted))
		return;
	l->told = true;
	if (b->inbox->on_link != NULL)
		b->inbox->on_link(b->state, to);
	resident_trim(); /* of what a first word takes */
}

/* ---- inboxes ---- */

static void hello_take(struct bus *b, enum role from, const mvpn_Hello *h)
{
	struct link_in *in = &b->in[from];
	bool restarted = in->instance != h->instance;

	in->refused = h->version != BUS_VERSION;
	in->instance = h->instance;
	in->greeted = !in->refused;
	if (in->refused) {
		b->counters.version_refused++;
		log_error("%s speaks bus version %u, this is %d: install both from one build",
			role_name(from), h->version, BUS_VERSION);
		return;
	}
	if (b->inbox->on_hello != NULL)
		b->inbox->on_hello(b->state, from, restarted);
	/* Its link came up anew while ours stayed: it waits for a word from us. */
	if (!h->answer && b->out[from].up && hello_send(b, from, true) != OK)
		log_debug("no room to answer the Hello of %s", role_name(from));
}

static void message_take(struct bus *b, enum role from, const uint8_t *data, size_t len)
{
	const struct bus_inbox *in = b->inbox;
	pb_istream_t s = pb_istream_from_buffer(data, len);
	pb_size_t which;

	if (!pb_decode(&s, in->fields, b->decoded)) {
		b->counters.bad_message++;
		return;
	}
	memcpy(&which, (const char *)b->decoded + in->which_offset, sizeof(which));
	if (which == HELLO_TAG) {
		mvpn_Hello h = mvpn_Hello_init_zero;
		pb_istream_t again = pb_istream_from_buffer(data, len), sub;
		pb_wire_type_t wire;
		uint32_t tag;
		bool eof;

		/* The last Hello in the bytes is the one that decoding kept. */
		while (pb_decode_tag(&again, &wire, &tag, &eof)) {
			if (tag != HELLO_TAG || wire != PB_WT_STRING) {
				if (!pb_skip_field(&again, wire))
					break;
			} else if (pb_make_string_substream(&again, &sub)) {
				(void)!pb_decode(&sub, mvpn_Hello_fields, &h);
				pb_close_string_substream(&again, &sub);
			}
		}
		hello_take(b, from, &h);
		return;
	}
	for (size_t i = 0; i < in->n_handlers; i++) {
		const struct bus_handler *h = &in->handlers[i];

		if (h->tag != which)
			continue;
		if ((h->from_roles & FROM(from)) == 0 || b->in[from].refused)
			break;
		b->counters.received++;
		h->on(b->state, from, b->decoded);
		return;
	}
	b->counters.bad_role++;
}

/* True if the budget ended before the messages did. */
static bool inbox_drain(struct bus *b, enum role from)
{
	for (unsigned int n = 0; n < BUS_TURN_BUDGET; n++) {
		zmq_msg_t m;

		zmq_msg_init(&m);
		if (zmq_msg_recv(&m, b->in[from].sock, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&m);
			return false;
		}
		/* One part per message: the rest of a multipart one is refused with it. */
		bool parts = zmq_msg_more(&m);
		if (parts || zmq_msg_size(&m) > BUS_MESSAGE_MAX)
			b->counters.bad_message++;
		else
			message_take(b, from, zmq_msg_data(&m), zmq_msg_size(&m));
		zmq_msg_close(&m);
		while (parts) {
			zmq_msg_init(&m);
			if (zmq_msg_recv(&m, b->in[from].sock, ZMQ_DONTWAIT) < 0)
				parts = false;
			else
				parts = zmq_msg_more(&m);
			zmq_msg_close(&m);
		}
	}
	return true;
}

/* 1 if sock is there and its fd went to fds[n]. */
static size_t fd_of(void *sock, int *fds, size_t n, size_t max)
{
	size_t len = sizeof(int);

	return sock != NULL && n < max && zmq_getsockopt(sock, ZMQ_FD, &fds[n], &len) == 0;
}

size_t bus_fds(const struct bus *b, int *ret_fds, size_t max)
{
	size_t n = fd_of(b->judge, ret_fds, 0, max);

	for (enum role r = ROLE_NONE; r < ROLES; r++) {
		n += fd_of(b->in[r].sock, ret_fds, n, max);
		n += fd_of(b->out[r].sock, ret_fds, n, max);
		n += fd_of(b->out[r].monitor, ret_fds, n, max);
	}
	return n;
}

/* An outgoing socket's fd stays readable until its pending commands (connected, lost) are taken in,
 * which only a call on that socket does: without this an idle service would spin. */
static void commands_take(void *sock)
{
	int events;
	size_t len = sizeof(events);

	(void)zmq_getsockopt(sock, ZMQ_EVENTS, &events, &len);
}

mono_t bus_deadline(const struct bus *b)
{
	mono_t at = MONO_NEVER;

	for (enum role r = ROLE_NONE; r < ROLES; r++)
		if (b->out[r].sock != NULL)
			at = mono_min(at, b->out[r].retry_at);
	return at;
}

bool bus_turn(struct bus *b, mono_t now)
{
	bool more = false;

	if (b->judge != NULL)
		b->counters.key_refused += bus_tcp_judge(b->tcp, b->judge);
	for (enum role r = ROLE_NONE; r < ROLES; r++) {
		if (b->out[r].sock != NULL) {
			commands_take(b->out[r].sock);
			monitor_read(b, r, now);
			link_retry(b, r, now);
			if (b->out[r].fresh)
				link_greet(b, r);
			more |= b->out[r].fresh;
		}
		if (b->in[r].sock != NULL)
			more |= inbox_drain(b, r);
		if (b->out[r].sock != NULL)
			link_tell(b, r);
	}
	return more;
}
