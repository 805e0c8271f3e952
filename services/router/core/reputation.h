/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What our own traffic taught us about one relay.
 *
 * Reliability: a Beta distribution, prior (9, 1), whose evidence halves each day; the estimate is
 * mean - 1 sd, so little evidence counts as little. Goodput: a histogram by powers of two whose
 * weights halve in six hours; the estimate is its 75th percentile, drawn to a prior while samples
 * are few. Round trip: SRTT and RTTVAR of RFC 6298, only for relays that we talk to directly.
 * Witnessed uptime counts days on which the relay was listed.
 *
 * A path that failed shares its blame: q_i = (1 - r_i) / sum(1 - r_j), so that the relay known to
 * be good pays little for the one that is not.
 *
 * Only sums leave this struct (rep_encode): no address, no time finer than a day, no single
 * session. Sources: design study of peer-to-peer VPNs; RFC 6298; I2P peer profiles (shared blame).
 * Pure. */
#ifndef ROUTER_REPUTATION_H
#define ROUTER_REPUTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "when.h"

#define REP_PRIOR_GOOD 9.0
#define REP_PRIOR_BAD 1.0
#define REP_HALF_LIFE DUR_S(24 * 3600)
#define REP_GOODPUT_HALF_LIFE DUR_S(6 * 3600)
#define REP_RELIABILITY_MIN 0.05 /* keeps logarithms and blame finite */

/* Bucket k holds goodput up to 64 kB/s * 2^k, the last everything above. */
#define REP_BUCKETS 12
#define REP_BUCKET0_BPS 65536u
#define REP_GOODPUT_PRIOR_BPS 2e6
#define REP_GOODPUT_PRIOR_SAMPLES 4.0
/* Below this a second says what was asked for, not what the relay can do. */
#define REP_GOODPUT_MIN_BPS 262144u

#define REP_AGE_DAYS 14 /* of witnessed uptime, after which a relay counts in full */
#define REP_AGE_MIN 0.25

#define REP_EVIDENCE_MAX 10000.0 /* keeps decoded evidence sane; above is as certain as below */
#define REP_TEXT_MAX 256	 /* rep_encode */

struct reputation {
	mono_t at;	 /* evidence is decayed to this instant */
	float good, bad; /* evidence without the prior */
	float goodput[REP_BUCKETS];
	uint32_t srtt_us, rttvar_us;
	uint32_t n_rtt;	      /* samples; 0: not measured */
	uint32_t days_listed; /* distinct days on which the directory named it */
	uint32_t last_day;
};

/* Decays the evidence to now. Every function that takes evidence does so first. */
void rep_decay(struct reputation *r, mono_t now);
void rep_good(struct reputation *r, mono_t now, double weight);
void rep_bad(struct reputation *r, mono_t now, double weight);
/* One second of a busy route through this relay. */
void rep_goodput(struct reputation *r, mono_t now, uint64_t rate_Bps);
void rep_rtt(struct reputation *r, uint32_t rtt_us);
void rep_listed(struct reputation *r, uint32_t day);

/* In [REP_RELIABILITY_MIN, 1). */
double rep_reliability(const struct reputation *r, mono_t now);
double rep_goodput_Bps(const struct reputation *r);
/* In [REP_AGE_MIN, 1]. */
double rep_age(const struct reputation *r);
bool rep_known(const struct reputation *r);

/* Shares of blame for a failed path: reliability[n] in, q[n] out, sum 1. n > 0. */
void rep_blame(const double *reliability, size_t n, double *ret_q);

/* Text `good bad rtt var n days last bucket...` (weights in thousandths), decayed to now; the day
 * is kept beside it. */
void rep_encode(const struct reputation *r, mono_t now, char ret_text[static REP_TEXT_MAX]);
/* Decayed by whole days from `day` to `today`. ERR_MALFORMED; every number is bounded. */
NODISCARD enum err rep_decode(
	const char *text, uint32_t day, uint32_t today, mono_t now, struct reputation *ret_r);
/* Joins what is stored with what we learned ourselves meanwhile. add: the two were learned apart;
 * otherwise they share evidence and the greater counts. */
void rep_merge(struct reputation *r, const struct reputation *stored, bool add);

#endif
