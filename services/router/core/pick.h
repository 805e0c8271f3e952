/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Chooses a route: (view of the table, what is asked, measurements, random stream) in, hops and
 * reasons out. Deterministic for a given stream.
 *
 * Never broken: roles, price, exit country; no two hops in one AS, IPv4 /16, IPv6 /32 (/48 in a
 * test network, where all addresses share a /32), operator family, payee; neighbours share an
 * address family. Kept where possible, else given up in this order and said so: the route spans two
 * countries; relays that failed lately are passed over.
 *
 * 64 (middle, exit) pairs are drawn by the view's weights beside the given entry; each gets a
 * utility U = -w_l ln(max(rtt, 15 ms) / 50 ms) - w_j ln(1 + jitter / 20 ms) + w_b/2 ln(min(goodput,
 * cap) / need)
 *       + w_r sum ln(reliability) - w_p price / cap - a penalty for a missing address family of the
 * exit, and one is chosen with probability by exp(U / T). Two bounds keep that from collapsing on a
 * few relays: no pair may be more than PICK_RATIO_MAX times as likely as its weight says, so a
 * relay's final share is at most that multiple of its capped weight; and T rises until the number
 * of effective candidates exp(H) reaches PICK_EFFECTIVE_MIN (or all that there are).
 *
 * The latency from the client to the entry is the same in all pairs and so drops out: only the
 * choice of the entry itself (guards.h) may depend on where the client is.
 *
 * Differs from the design study in having no load term: relays do not report load yet. Pure. */
#ifndef ROUTER_PICK_H
#define ROUTER_PICK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/rng.h"
#include "edge.h"
#include "peers.h"
#include "weigh.h"
#include "when.h"

#define PICK_CANDIDATES 64
#define PICK_DRAWS_MAX 512 /* draws for them, of which some break a rule */
#define PICK_EXITS_SEARCHED                                                                        \
	64 /* when drawing found nothing: exits that are tried with every middle */
#define PICK_RATIO_MAX 4.0
#define PICK_EFFECTIVE_MIN 8.0
#define PICK_EXCLUDE_MAX 24
#define PICK_REASONS 3
#define PICK_REASON_MAX 96
#define PICK_WHY_MAX 160

#define PICK_NONE UINT32_MAX

struct pick_ask {
	uint32_t entry;			    /* peer index; PICK_NONE: only for one hop */
	uint32_t exit;			    /* peer index to keep; PICK_NONE: choose */
	uint32_t exclude[PICK_EXCLUDE_MAX]; /* peer indices that are not to be middle or exit */
	size_t n_exclude;
	bool strict; /* rather nothing than a relay that failed lately */
};

struct pick {
	uint32_t peers[POLICY_HOPS_MAX]; /* indices, entry first */
	unsigned int n_hops;
	uint32_t rtt_us;	   /* expected beyond the entry, plus the entry's own if measured */
	unsigned int n_candidates; /* distinct pairs that were weighed */
	double effective;	   /* exp(H) of the choice */
	double temperature;
	bool one_country, avoided_used; /* rules given up */
	char reasons[PICK_REASONS][PICK_REASON_MAX];
};

/* ERR_NOT_FOUND: nothing fits; ret_why says which rule leaves nothing, in words. */
NODISCARD enum err pick_route(const struct view *v, const struct peers *t,
	const struct edge_memory *m, const struct pick_ask *ask, struct rng *rng, struct when now,
	struct pick *ret_pick, char ret_why[static PICK_WHY_MAX]);

/* Up to n distinct relays fit as entry, in different AS, drawn by weight; for the guard sample.
 * Relays that failed lately only if there are no others. Returns how many. */
size_t pick_entries(const struct view *v, const uint32_t *exclude, size_t n_exclude,
	struct rng *rng, struct when now, uint32_t *ret_peers, size_t n);

/* Which rule leaves nothing, in words. exit_given: the exit is not to be chosen. */
void pick_why_none(const struct view *v, bool exit_given, char ret_why[static PICK_WHY_MAX]);

/* Could `entry` begin a route at all under this view? Weighs nothing, draws nothing. */
bool pick_entry_fits(const struct view *v, uint32_t entry);

/* How good a route is, by the terms above. */
struct pick_terms {
	double rtt_ms, jitter_ms, goodput_Bps;
	double reliability_ln; /* sum */
	double price_gwei, price_cap_gwei;
	bool misses_family;
	unsigned int n_hops;
};
double pick_utility(const struct pick_terms *terms);

#endif
