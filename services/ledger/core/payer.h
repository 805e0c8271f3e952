/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's side: hops that we use and keep paid ahead of use.
 *
 * For each session the signed descriptor of its hop gives price and payee; nothing else is ever signed
 * for. [P-70] A priced hop is asked for a Quote (commit, least face, window), then tickets are sent so
 * that what we paid stays ahead of what we used:
 *
 *   quantum    256 KiB at first, grows by a third with every ticket that is acknowledged, to what was
 *              used so far, twice, and 256 KiB, at most 4 MiB
 *   ticket     half a quantum; a quarter while it is small, so that it grows as fast as a download
 *   ahead      granted + on the way - used; topped up to two quanta, never beyond
 *   on the way at most PAYER_PIPELINE tickets, whose numbers span less than PAYER_SPAN
 *
 * So a hop can at worst keep two quanta for nothing, and a path of 400 Mbit/s and 100 ms (5 MB under
 * way) never waits for a ticket. A lost answer leads to the same ticket again, never to a new one.
 * "used" is the relay's last count and what we counted since: it sends what is lost on the way to us
 * and never gets what is lost on the way to it. More than our own count + 5 % + one quantum it never is. A relay that wants more, forgets credit or refuses what
 * is right is reported (trouble), and a new quote is asked when it says that it stops for payment.
 *
 * Sequence of a session: waiting (row from the store, tunnel has not told of it yet), idle (free hop, or
 * we do not pay), quoting, paying, broken. Store, then send: as with the payee, tickets are staged and
 * leave after payer_committed(ok). Pure. */
#ifndef LEDGER_PAYER_H
#define LEDGER_PAYER_H

#include <secp256k1.h>

#include "lib/rng.h"
#include "account.h"
#include "keys.h"
#include "peer.h"
#include "terms.h"

#define PAYER_SESSIONS_MAX 64 /* three hops of the routes in use, in the making and being drained */
#define PAYER_PIPELINE 4 /* a relay has no more with its ledger at a time: docs/protocol.md [P-34] */
#define PAYER_SPAN 16 /* numbers between the oldest unanswered ticket and the next */
#define PAYER_POSITIONS 3
#define QUANTUM_MIN ((uint64_t)256 << 10)
#define QUANTUM_MAX ((uint64_t)4 << 20)
#define PIECE_SMALL ((uint64_t)1 << 20)
#define TICKET_BYTES_MIN ((uint64_t)16 << 10) /* a hop that accepts less ahead cannot be used */
/* Largest win that we accept to draw for, as traffic at the hop's price: bounds the variance. */
#define FACE_BYTES_MAX ((uint64_t)16 << 30)
#define PAYER_TICKET_LIFE_S 3600
#define PAYER_TICKET_LIFE_MIN_S 60
#define ASK_TIMEOUT DUR_MS(5000) /* tunnel gives up before: ASK_DEADLINE_MS */
#define ASK_DEADLINE_MS 4000
#define RETRY_FIRST DUR_MS(250) /* doubles with each failure */
#define RETRY_MAX DUR_S(4)
#define RESYNC_MIN DUR_S(1) /* between two quotes of a session that is being paid */
#define FAILURES_MAX 5	    /* unanswered in a row before it is told ... */
#define FAILURES_FOR DUR_S(15) /* ... and for as long: a ledger that restarts is no trouble */
#define STRIKES_MAX 3	    /* wrong answers before we stop paying */
#define WHY_MAX 160

enum payer_phase {
	PAYER_WAITING,
	PAYER_IDLE,
	PAYER_QUOTING,
	PAYER_PAYING,
	PAYER_BROKEN
};

/* Stored from the first ticket of a session until it is closed. */
struct payer_row {
	uint64_t session;
	uint32_t position;
	uint64_t rotation;
	uint64_t next_seq;
	struct sums sums; /* signed: n_tickets and expected; the rest stays zero */
};

struct payer_ticket {
	bool busy, staged;
	uint64_t request; /* number of the ask that carries it; 0: to be sent at `due` */
	mono_t due;	  /* time-out of the ask, or when to send again */
	uint64_t seq, bytes;
	uint8_t wire[TICKET_SIZE];
};

struct payer_session {
	bool open, listed, stored, closing, staged, removing;
	bool told;   /* trouble was reported: why, and whose */
	bool own_fault;
	char why[WHY_MAX];
	bool capped; /* the day's limit keeps us from signing */
	bool for_exit;
	enum payer_phase phase;
	uint8_t node_id[NODE_ID_SIZE];
	uint8_t payer_sk[32];
	uint8_t payee[ADDRESS_SIZE];
	uint8_t terms_hash[KECCAK_SIZE];
	uint64_t price_gwei_per_gib;
	uint64_t free_bytes;
	/* from the quote */
	uint8_t commit[KECCAK_SIZE];
	uint32_t commit_id;
	amount_t face_min, face_max;
	uint32_t life_s;
	uint64_t ahead_max;
	uint64_t quote_request; /* 0: none on the way */
	mono_t quote_due;	/* time-out, or when to ask (again) */
	mono_t quoted_at;
	/* accounts in bytes, cumulative */
	uint64_t up_bytes, down_bytes;
	uint64_t relay_used; /* the highest that it named */
	int64_t drift;	     /* by how much that was more than ours, bytes */
	uint64_t granted; /* allowance and tickets that the relay has acknowledged */
	uint64_t relay_credit; /* the highest that it named */
	uint64_t notice_credit; /* last figure from tunnel */
	bool has_notice;
	uint64_t quantum;
	unsigned int n_failures, n_strikes;
	mono_t failing_since;	/* first of n_failures */
	struct payer_ticket tickets[PAYER_PIPELINE];
	struct payer_row row;
};

struct payer_totals {
	struct sums all;    /* signed, ever */
	struct sums closed; /* of sessions that are over: all = closed + open sessions */
	uint32_t day;
	amount_t spent_today;
	uint64_t rotation_next[PAYER_POSITIONS];
};

struct payer_settings {
	bool pay;
	amount_t spend_max_per_day; /* zero: no cap */
	uint32_t chain_id;	    /* tickets are signed for no other */
};

struct payer_counters {
	uint64_t quotes, issued, resent, paid, timeouts, unasked_answers, bad_answers, sessions_full;
	uint64_t refused[REASONS_MAX];
	uint64_t closed_up_bytes, closed_down_bytes;
};

struct payer_sink {
	void *ctx;
	/* Sends a payload to the hop of `session`; returns the number that its answer will carry,
	 * 0 if it could not be handed over now. */
	uint64_t (*ask)(void *ctx, uint64_t session, const uint8_t *payload, size_t len);
	void (*trouble)(void *ctx, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
		const char *why, bool own_fault);
};

struct payer {
	const struct keys *keys; /* borrowed */
	const secp256k1_context *ctx;
	struct ticket_domain domain;
	struct rng rng;
	struct payer_settings settings;
	struct payer_totals totals, totals_before;
	bool totals_staged, storage_down, work;
	struct payer_session sessions[PAYER_SESSIONS_MAX];
	struct payer_row rows_before[PAYER_SESSIONS_MAX]; /* of staged sessions */
	struct payer_counters counters;
};

/* Borrows keys and ctx (made for signing). */
void payer_init(struct payer *p, const struct keys *keys, const secp256k1_context *ctx,
	const struct ticket_domain *domain, const uint8_t seed[static 32]);
void payer_done(struct payer *p);
NODISCARD enum err payer_load(struct payer *p, const struct payer_row *row);

void payer_set(struct payer *p, const struct payer_settings *s, mono_t now);

/* position: 0 entry, 1 middle, 2 exit. The descriptor must bear its node's signature; whether it is
 * still in force is for the relay to say, which honours its terms longer than a descriptor lives. */
void payer_on_opened(struct payer *p, mono_t now, uint64_t session, uint32_t position, bool is_exit,
	const uint8_t *descriptor, size_t len, const struct payer_sink *sink);
/* True if the session is one that we pay for. */
bool payer_on_usage(struct payer *p, mono_t now, uint64_t session, uint64_t up_bytes,
	uint64_t down_bytes, uint64_t notice_credit, const struct payer_sink *sink);
/* The relay's own count, by a Notice: 0 says nothing. So a session whose bytes were lost on a dead path is
 * paid anew without a Quote before it. */
void payer_on_relay_used(struct payer *p, uint64_t session, uint64_t used);
bool payer_on_closed(struct payer *p, uint64_t session, uint64_t up_bytes, uint64_t down_bytes);
void payer_on_tunnel_restarted(struct payer *p);
void payer_on_complete(struct payer *p);
/* Answer to an ask: e is OK, or why there is none (then payload is empty). */
void payer_on_answered(struct payer *p, mono_t now, uint64_t request, enum err e,
	const uint8_t *payload, size_t len, const struct payer_sink *sink);

/* Time-outs, repetitions, new tickets for all sessions that need some. */
void payer_tick(struct payer *p, mono_t now, wall_t wall, const struct payer_sink *sink);
mono_t payer_deadline(const struct payer *p);

/* Trouble of open sessions once more: the receiver restarted. */
void payer_trouble_again(const struct payer *p, const struct payer_sink *sink);

/* As payee_staged and payee_committed: rows are sessions[i].row where staged (removing: remove). */
bool payer_staged(const struct payer *p);
void payer_committed(struct payer *p, mono_t now, bool ok, const struct payer_sink *sink);
void payer_storage_back(struct payer *p);

/* What the relay must have granted, with tickets on the way. For people and tests. */
uint64_t payer_paid_bytes(const struct payer_session *s);
uint64_t payer_used(const struct payer_session *s);
const struct payer_session *payer_find(const struct payer *p, uint64_t session);
const char *payer_phase_show(const struct payer_session *s);

#endif
