/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One route of the client: a state machine that builds 1..3 hops, watches them, and takes them
 * down.
 *
 * Building: session with hop 0 over UDP; when a session is established, Extend is asked of it and
 * the next hop's initiation follows at once in a relay frame, so n hops take n round trips. At the
 * exit: Attach. Each hop gets a session with a fresh key pair, which ends with the route.
 *
 *   BUILDING -> READY -> DRAINING -> CLOSING -> CLOSED;  BUILDING -> CLOSING (failed)
 *
 * A lost message must not cost WireGuard's 5 s: while building, an unanswered initiation is tried
 * anew (new index, new ephemeral) after 500 ms or 3 RTT of the hop before it, three times, then at
 * doubling intervals (a new try voids the answer to the last one, so a long way needs patience).
 *
 * Watching: each hop gets an Echo every 2 s. When data went out by the exit and nothing came back
 * for twice its RTT (150..250 ms), or an Echo is overdue, every hop gets one each 120 ms; a hop that
 * stays silent for 5 of them and a retransmission time after the fifth is dead (about 1 s in all;
 * five, because three would be lost by chance once an hour at 1 % loss on each of six links). The
 * first silent hop from the entry is blamed. Anything authentic from hop k shows that hops 0..k live.
 * After three, while the hop before it answers, it is suspect: the router prepares another way, so
 * that a download is on it before its server has doubled its retransmission time twice.
 *
 * Exit roaming (exit_of): hops 0..n-2 are built anew; then the last new hop is asked to extend to
 * the exit, and an initiation of the exit's live session goes out by the new path (so that the new
 * middle learns its index); all else keeps to the old path. When the exit has answered, the session
 * moves over for good, with its lease, so every flow lives on and hardly a packet is lost. If it
 * does not answer, nothing has changed.
 *
 * Resuming (route_resume): the process was restarted and its predecessor left the route's key pairs
 * and lease. The route is READY from the first instant, so that what watches and mends a route holds
 * for it; its hops are made anew from the entry on, by the same keys: relay and exit know them still,
 * so legs, lease and flows are as they were. Extend and Attach are said again, which changes nothing
 * where nothing was lost. A hop that does not come back is dead, an exit that lends other addresses too.
 *
 * - [P-5] A fresh key pair for every hop of every route; a route that is resumed has those it had.
 * - [P-6] Extend is followed at once by the initiation of the next hop.
 * - [P-7] A route whose exit answers Attach with another policy digest than its descriptor's fails.
 * - [P-8] A move of the exit's session begins with an initiation by the new path; its other
 * messages keep to the old path until the exit has answered.
 * - [P-9] Teardown: Detach to each hop that is not beyond a dead one, one after the other from the
 * far end (500 ms in all, then without waiting); then the sessions are forgotten, keys wiped.
 *
 * The same machine, with purpose, measures a candidate guard (handshake and 5 echoes) and holds a
 * session for a talk of services between two nodes (handshake only).
 * Pure: decisions leave through the sink, randomness (nonces) is lent. The wiring keeps
 * a session per (route, hop) and feeds back what happens. */
#ifndef TUNNEL_ROUTE_H
#define TUNNEL_ROUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/descriptor.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/rng.h"
#include "lib/units.h"
#include "proto/overlay.pb.h"

#define ROUTE_HOPS_MAX 3
#define ROUTE_SLOT 1 /* each session of a route is its own and needs one leg only */
#define ROUTE_BUILD_MAX DUR_S(10)
#define ROUTE_RETRY_FIRST DUR_MS(500) /* of a handshake whose RTT is not known yet */
#define ROUTE_RETRY_MIN DUR_MS(400)
#define ROUTE_RETRY_MAX DUR_MS(4000)
#define ROUTE_RETRY_MAX_ENTRY DUR_MS(1500) /* no way of one link is that long */
#define ROUTE_TRIES_EVEN 3 /* tries before the interval grows */
#define ROUTE_RESUME_TRIES 5 /* with doubling at the end 4.5 s: a busy machine is no dead hop */
#define ROUTE_ECHO_EVERY DUR_MS(2000)
#define ROUTE_ECHO_FAST DUR_MS(120)
#define ROUTE_ALARM_MIN DUR_MS(150)
#define ROUTE_ALARM_MAX DUR_MS(250)
#define ROUTE_SUSPECT_ECHOES 3
#define ROUTE_SILENT_ECHOES 5
#define ROUTE_RTO_MIN DUR_MS(250)
#define ROUTE_RTO_MAX DUR_MS(1000)
#define ROUTE_REQUEST_DEADLINE DUR_S(8)
#define ROUTE_CLOSE_PATIENCE DUR_MS(500) /* for all hops to answer Detach */
#define ROUTE_ECHO_LOST DUR_MS(1500)	 /* answers later than this count as lost */
#define ROUTE_STALL DUR_MS(500)		 /* a tick so late says that we slept, not the hops */
#define ROUTE_UNPAID DUR_MS(1500) /* a relay that wants payment says so each second [P-47] */
#define ROUTE_UNPAID_MAX DUR_S(10) /* it is not coming */
#define ROUTE_UNPAID_SLACK (256u << 10) /* bytes by which its count and ours may differ meanwhile */
#define ROUTE_ECHOES 16 /* echoes in flight per hop: 1.5 s of fast ones, and a few */
#define ROUTE_MEASURE_SPACING DUR_MS(100)
#define ROUTE_MEASURE_ECHOES 5

enum route_purpose {
	ROUTE_TRAFFIC,
	ROUTE_MEASURE, /* one hop; ends by itself after its measured() */
	ROUTE_TALK /* one hop; built() when the session is established, then as the wiring likes */
};

enum route_state {
	ROUTE_BUILDING,
	ROUTE_READY,
	ROUTE_DRAINING,
	ROUTE_CLOSING,
	ROUTE_CLOSED /* sessions ended; the struct may be used anew */
};
const char *route_state_name(enum route_state s);

/* Whom to reach. From a descriptor, or (ROUTE_TALK) from an address that discovery knows. */
struct route_target {
	uint8_t node_id[NODE_ID_SIZE]; /* zero if unknown */
	uint8_t wg_pk[32];
	struct net_endpoint ep4, ep6;
	uint32_t roles;
	uint8_t policy_digest[32];
	uint8_t descriptor[DESCRIPTOR_SIZE]; /* for Extend; unused at hop 0 */
};
/* Borrows nothing. */
void route_target_from(struct route_target *t, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE]);

struct route_echo {
	uint64_t nonce; /* 0: free */
	mono_t sent;
};

enum route_hop_state {
	HOP_IDLE, /* its turn has not come */
	HOP_HANDSHAKING,
	HOP_AWAITED, /* exit only: its session is still the other route\'s */
	HOP_RESUMING, /* route_resume: no keys yet, or its turn has not come */
	HOP_ESTABLISHED,
	HOP_ATTACHING, /* exit only */
	HOP_READY,
	HOP_LENT, /* exit only: another route carries it now */
	HOP_ENDED
};

/* What a request was for, with its hop; comes back with the answer. */
enum route_tag { ROUTE_TAG_EXTEND, ROUTE_TAG_ATTACH, ROUTE_TAG_DETACH };

struct route_hop {
	struct route_target target;
	enum route_hop_state state;
	mono_t handshake_at;	/* last initiation asked for */
	mono_t retry_at;	/* when to ask for another */
	dur_t retry;		/* interval until then */
	uint32_t n_tries;	/* of this handshake */
	dur_t srtt, rttvar;	/* 0: not measured */
	mono_t heard_at;	/* something authentic from this hop or one behind it */
	mono_t echo_at;		/* last echo sent */
	uint32_t silent_echoes; /* sent since heard_at; stops at ROUTE_SILENT_ECHOES */
	struct route_echo echoes[ROUTE_ECHOES];
	uint32_t echo_hand;
	uint64_t history; /* last 64 echoes, 1: lost */
	uint32_t n_history;
	uint32_t n_answered;
	mono_t unpaid_since, unpaid_at; /* it asked to be paid: first, last */
	uint64_t unpaid_bytes;		/* by our count: having passed so many it passes no more */
};

/* What the exit lent. */
struct route_lease {
	struct net_addr ip4, ip6, dns4, dns6;
	uint32_t mtu;
};

struct route_hop_stats {
	uint32_t rtt_us, jitter_us, loss_ppm;
};

struct route;

/* All are called from within route_* functions and must not call back into the same route. `hop` 0
 * is the entry. */
struct route_sink {
	void *ctx;
	/* What was sent and received in hop's session, as its meter counts. */
	uint64_t (*used)(void *ctx, struct route *r, unsigned int hop);
	/* Make a session with a fresh key pair towards target, and initiate. hop 0: over UDP to
	 * `ep`; else in relay frames of slot ROUTE_SLOT of hop - 1's session. An error comes back
	 * by route_on_session_failed. */
	void (*open)(void *ctx, struct route *r, unsigned int hop,
		const struct route_target *target, const struct net_endpoint *ep);
	/* Send another initiation now, even if one is under way or keys are fresh. */
	void (*handshake)(void *ctx, struct route *r, unsigned int hop);
	/* control_request(body, tag, rtt, deadline) in hop's session; its end comes back later by
	 * route_on_answer or route_on_no_answer with the same tag. An error of control_request
	 * itself (window full) may be passed over in silence: deadlines of the route hold anyway.
	 */
	void (*request)(void *ctx, struct route *r, unsigned int hop, overlay_Control *body,
		uint64_t tag, dur_t rtt, dur_t deadline);
	void (*echo)(void *ctx, struct route *r, unsigned int hop, uint64_t nonce);
	/* The session of from's last hop is r's last hop's now: take it over and carry it by hop
	 * n-2 of r (n == 1: over UDP to ep, else NULL). Messages sent before this call have left by
	 * the old path, those after it go by the new one: called back and forth for a single
	 * initiation. */
	void (*carry)(
		void *ctx, struct route *r, struct route *from, const struct net_endpoint *ep);
	/* End the session, wipe its keys. */
	void (*end)(void *ctx, struct route *r, unsigned int hop);

	/* Facts, for the router. */
	void (*built)(void *ctx, struct route *r, dur_t build_time);
	/* why: static storage. closed() follows once the sessions are taken down. */
	void (*failed)(void *ctx, struct route *r, unsigned int hop, enum err err, const char *why);
	/* hop, before the exit, is silent while the hop before it answers. Once, until the exit is heard. */
	void (*suspect)(void *ctx, struct route *r, unsigned int hop);
	/* Once. If it is the exit (hop == n_hops - 1), flow_exit_del as soon as another exit is in
	 * use, so that its flows need not wait for closed(). */
	void (*dead)(void *ctx, struct route *r, unsigned int hop);
	/* Last call: r->failed tells whether failed() was said before; r may be used anew after it.
	 */
	void (*closed)(void *ctx, struct route *r);
	void (*measured)(void *ctx, struct route *r, enum err err, dur_t rtt); /* ROUTE_MEASURE */
	/* As open, but with the key pair that the route had, and without initiating. */
	void (*reopen)(void *ctx, struct route *r, unsigned int hop,
		const struct route_target *target, const struct net_endpoint *ep);
};

struct route {
	uint32_t id;
	enum route_purpose purpose;
	enum route_state state;
	unsigned int n_hops;
	bool have_ip4, have_ip6; /* this machine's own uplink */
	bool want_ip4, want_ip6; /* asked of the exit */
	bool suspect;		 /* reported since the exit was heard */
	bool dead;		 /* reported, with dead_hop */
	bool failed;		 /* reported */
	unsigned int dead_hop;
	struct route *exit_to;	 /* who waits for our exit's session; NULL: nobody */
	struct route *exit_from; /* whose exit session is to move here; NULL: none, or all done */
	uint32_t exit_from_id;
	bool exit_lent; /* our exit session has moved to another route */
	struct route_hop hops[ROUTE_HOPS_MAX];
	struct route_lease lease;
	mono_t started_at, ready_at, build_deadline;
	mono_t unanswered_at; /* first data sent since the exit was heard; 0: none */
	mono_t drain_until;
	mono_t close_until;
	unsigned int n_untold; /* closing: hops below this have not been told */
	struct rng *rng;       /* nonces; borrowed for life */
	void *user;	       /* the wiring's own */
};

struct route_spec {
	uint32_t id;
	enum route_purpose purpose;
	unsigned int n_hops;
	const struct route_target *targets; /* n_hops, entry first; copied */
	bool have_ip4, have_ip6;
	/* The route whose exit session is to move here; NULL: a fresh exit. Its struct must stay in
	 * place (it may be used anew: the id is compared) until built, failed or closed. */
	struct route *exit_of;
};

/* Prepares r; nothing is sent yet. ERR_INVALID: number of hops, a hop twice, roles that do not fit,
 * exit_of not ready or with another exit; ERR_UNAVAILABLE: the entry has no address of a family
 * that we have. */
NODISCARD enum err route_init(struct route *r, const struct route_spec *spec, struct rng *rng);
void route_start(struct route *r, mono_t now, const struct route_sink *sink);
/* Instead of route_start, for a ROUTE_TRAFFIC route of the process before. */
void route_resume(struct route *r, mono_t now, const struct route_lease *lease,
	const struct route_sink *sink);
/* Is it one that a successor can resume: up, and with its exit's session? */
bool route_resumable(const struct route *r);

/* A handshake of hop's session completed (first or later), and data may be sent. */
void route_on_established(
	struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink);
/* Answers to sink->request. */
void route_on_answer(struct route *r, mono_t now, unsigned int hop, uint64_t tag,
	const overlay_Control *answer, const struct route_sink *sink);
void route_on_no_answer(struct route *r, mono_t now, unsigned int hop, uint64_t tag, enum err why,
	const struct route_sink *sink);
void route_on_echo(struct route *r, mono_t now, unsigned int hop, uint64_t nonce,
	const struct route_sink *sink);
void route_on_notice(struct route *r, mono_t now, unsigned int hop, const overlay_Notice *notice,
	const struct route_sink *sink);
/* The session cannot go on: it could not be made, or its keys are dead and handshakes were given
 * up. */
void route_on_session_failed(
	struct route *r, mono_t now, unsigned int hop, enum err why, const struct route_sink *sink);

/* Once per batch: data went out by the exit's session; something authentic came in hop's session.
 */
static inline void route_on_sent(struct route *r, mono_t now)
{
	if (r->unanswered_at.ns == 0)
		r->unanswered_at = now;
}

static inline void route_on_heard(struct route *r, mono_t now, unsigned int hop)
{
	if (hop + 1 == r->n_hops) {
		r->unanswered_at = (mono_t){0};
		r->suspect = false;
	}
	for (unsigned int k = 0; k <= hop; k++) {
		r->hops[k].heard_at = now;
		r->hops[k].silent_echoes = 0;
	}
}

/* Flows that began on it may go on until drain is over; route_on_idle says that none is left. */
void route_close(struct route *r, mono_t now, dur_t drain, const struct route_sink *sink);
void route_on_idle(struct route *r, mono_t now, const struct route_sink *sink);
/* Ends it now, sessions and all, without a word to the hops (the process stops). */
void route_abort(struct route *r, const struct route_sink *sink);

/* To be called by route_deadline, which changes with every event; later than ROUTE_STALL is taken
 * for a sleep of our own and begins the watch anew. */
void route_tick(struct route *r, mono_t now, const struct route_sink *sink);
mono_t route_deadline(const struct route *r);

/* Smoothed, 0 if not measured. hop < n_hops. */
struct route_hop_stats route_hop_stats(const struct route *r, unsigned int hop);

#endif
