/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The bus: one ZeroMQ inbox per (receiver, sender role), nanopb messages, bounded queues; the
 * socket run/RECEIVER.SENDER/inbox in the node's folder, or (bus_tcp.h) a TCP port.
 *
 * The role of a sender is known from the socket a message came by, never from the message; a pair
 * that is missing from the table (bus_pair_allowed) has no socket. Order per pair is kept. A message
 * is only queued to a link that is up. When a link comes up (either side started or restarted) the
 * bus sends Hello on it; once the other side can answer it calls on_link: send the snapshot that you
 * owe that role. Sent
 * messages may be lost only together with the process they were sent to; after that on_link runs
 * again. Requests that want an answer set id and deadline_ms, keep their own timer and treat silence
 * as ERR_TIMEOUT. */
#ifndef SYS_BUS_H
#define SYS_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <pb.h>

#include "lib/err.h"
#include "lib/units.h"

enum role {
	ROLE_NONE,
	ROLE_TUNNEL,
	ROLE_DISCOVERY,
	ROLE_ROUTER,
	ROLE_LEDGER,
	ROLE_GATEWAY,
	ROLES
};
#define FROM(role) (1u << (role))

const char *role_name(enum role r);

/* Largest message on the bus, bytes. An over-long message is malformed, never truncated. */
#define BUS_MESSAGE_MAX 65536
/* Messages queued per link before sends fail with ERR_FULL and are counted. */
#define BUS_HIGH_WATER 4096
/* Messages taken from one inbox per turn of the loop: fairness between senders. */
#define BUS_TURN_BUDGET 256

struct bus;
struct bus_tcp;

/* What a service accepts. Every handler gets the decoded XIn message (borrowed for the call). */
struct bus_handler {
	pb_size_t tag;	     /* XIn's oneof tag */
	uint32_t from_roles; /* FROM() bits; others are refused and counted */
	void (*on)(void *state, enum role from, const void *in);
};

struct bus_inbox {
	const pb_msgdesc_t *fields; /* of XIn */
	size_t size;		    /* sizeof XIn */
	size_t which_offset;	    /* offsetof(XIn, which_body) */
	const struct bus_handler *handlers;
	size_t n_handlers;
	/* A link towards `role` is up: Hello was sent, send what you owe. May be NULL. */
	void (*on_link)(void *state, enum role to);
	/* `from` said Hello; restarted: another instance than before (or the first). May be NULL. */
	void (*on_hello)(void *state, enum role from, bool restarted);
};

struct bus_counters {
	uint64_t sent, received;
	uint64_t dropped_full;	  /* high-water mark or link down */
	uint64_t bad_message;	  /* did not decode, too long */
	uint64_t bad_role;	  /* a message that this role may not send */
	uint64_t version_refused; /* Hello of another bus version */
	uint64_t key_refused;	  /* TCP: a connection with a key that is not the sender role's */
};

/* Binds our inboxes and connects our outboxes: below run_dir (0700, made if missing), or as tcp says if
 * it is not NULL (borrowed; its own_key is not needed any more afterwards).
 * state is handed to the handlers. Caller owns the result. */
NODISCARD enum err bus_open(struct bus **ret_bus, enum role self, const char *run_dir,
	const struct bus_tcp *tcp, const struct bus_inbox *inbox, void *state);
void bus_close(struct bus **bus);

/* Encodes and queues msg (a YIn of the receiver, described by fields). ERR_UNAVAILABLE while the
 * link is down, ERR_FULL at the high-water mark; both counted. Never blocks. */
NODISCARD enum err bus_send(struct bus *bus, enum role to, const pb_msgdesc_t *fields, const void *msg);
/* The same where the state will be said again anyway (snapshots, periodic facts). */
void bus_tell(struct bus *bus, enum role to, const pb_msgdesc_t *fields, const void *msg);
bool bus_link_up(const struct bus *bus, enum role to);
/* Fresh id for a request, never 0. */
uint64_t bus_next_id(struct bus *bus);
const struct bus_counters *bus_counters(const struct bus *bus);

/* When bus_turn has something to do without being woken; MONO_NEVER: nothing. */
mono_t bus_deadline(const struct bus *bus);
/* For the loop: file descriptors that wake it (edge-triggered, see bus_turn). Returns how many. */
size_t bus_fds(const struct bus *bus, int *ret_fds, size_t max);
/* Drains inboxes with a budget and calls handlers; true if more is waiting. Must be called before
 * every sleep: a ZeroMQ fd only wakes on an edge. */
bool bus_turn(struct bus *bus, mono_t now);

bool bus_pair_allowed(enum role receiver, enum role sender);

#endif
