/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guards: the few relays that may see this node's address, kept for weeks.
 *
 * A new entry for each route would, in time, show the client to every relay there is; so a small
 * sample is drawn once, by weight and independent of where we are, and used in order. Each lives 45
 * to 75 days, uniformly, so that replacements do not give away a common beginning. Only among the
 * few drawn may the round trip decide which comes first (guards_rank).
 *
 * A guard that fails is passed over for a while and comes back; the sample is refilled only for
 * what expired, left the directory for GUARD_GONE_DAYS or failed for GUARD_DOWN_DAYS while others
 * worked. A newly drawn guard is written down (confirmed) only once a route was built through it:
 * while the machine's own network is down, trying others must not use up the sample. Per guard the
 * circuits that died beyond it are counted (path bias); one that lets too few live is dropped.
 *
 * guards_encode/_decode: the durable form, text, days only. Source: Tor's guard specification
 * (sampled, confirmed, path bias), with a smaller sample and shorter life. Pure. */
#ifndef ROUTER_GUARDS_H
#define ROUTER_GUARDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/descriptor.h"
#include "lib/err.h"
#include "lib/rng.h"
#include "when.h"

#define GUARDS_WANTED 2 /* drawn at first; one is used, one stands by */
#define GUARDS_MAX 8	/* at one time; who knocks guards out gets no further */
#define GUARD_LIFE_MIN_DAYS 45
#define GUARD_LIFE_MAX_DAYS 75
#define GUARD_GONE_DAYS 7
#define GUARD_DOWN_DAYS 3
#define GUARD_FAILS_OUT 6 /* in a row (minutes), after which it gives way in a full sample */
#define GUARD_RETRY_MIN DUR_S(5)
#define GUARD_RETRY_DOUBLINGS 7 /* to 10 minutes */
/* Path bias: after this many circuits, fewer than this share complete. */
#define GUARD_BIAS_CIRCUITS 20
#define GUARD_BIAS_SHARE_PCT 30

#define GUARDS_TEXT_MAX 2048 /* bytes of the durable form */

struct guard {
	uint8_t node_id[NODE_ID_SIZE];
	uint32_t added_day, expires_day;
	uint32_t gone_day; /* first day without listing, 0: listed */
	uint32_t down_day; /* first day of failing while others worked, 0: none */
	bool confirmed;
	uint8_t n_fails; /* in a row */
	mono_t retry_at;
	uint32_t rtt_us;	   /* measured before first use; 0: not */
	uint32_t n_tried, n_lived; /* circuits, halved together as they grow */
};

struct guards {
	struct guard all[GUARDS_MAX];
	size_t n;
	bool changed; /* the durable form would differ; the caller clears it when written */
	uint64_t n_dropped;
};

struct guard *guards_find(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE]);
/* Appends one, unconfirmed; in a full sample one that fails gives way. ERR_FULL, ERR_INVALID (there
 * already). */
NODISCARD enum err guards_add(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE],
	struct rng *rng, struct when now);
/* The nearest first among the unconfirmed, and no more than `keep` of those. For a sample just
 * drawn and measured. */
void guards_rank(struct guards *g, size_t keep);

void guards_on_measured(
	struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], uint32_t rtt_us);
/* A route stands through it. Others that failed meanwhile are down, not our network. */
void guards_on_worked(
	struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], struct when now);
void guards_on_failed(
	struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], struct when now);
/* A circuit beyond it ended: well, or died. */
void guards_on_circuit(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], bool lived);

/* Is the relay listed? Asked of each guard by guards_review. */
typedef bool guard_listed_fn(void *ctx, const uint8_t node_id[static NODE_ID_SIZE]);
/* Drops what is over (see above). Call when the directory is complete, at most once a minute. */
void guards_review(struct guards *g, guard_listed_fn *listed, void *ctx, struct when now);

bool guard_ready(const struct guard *guard, mono_t now);
/* Writes indices in order of use: those ready, in sample order; then the failed, soonest retry
 * first. Returns how many. */
size_t guards_order(const struct guards *g, mono_t now, size_t ret_order[static GUARDS_MAX]);

/* Confirmed guards only. Returns the length without the NUL. */
size_t guards_encode(const struct guards *g, char ret_text[static GUARDS_TEXT_MAX]);
/* ERR_MALFORMED: nothing is taken. Expired ones are left out. */
NODISCARD enum err guards_decode(const char *text, struct when now, struct guards *ret_g);

#endif
