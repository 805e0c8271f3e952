/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From what happens to paths: reputation, latency of edges, goodput, guards.
 *
 * An entry that does not answer may be our own network's fault. Its blame waits until another entry
 * answers within a minute; if the same one answers first, or nobody does, nobody is blamed. Pure.
 */
#ifndef ROUTER_LEARN_H
#define ROUTER_LEARN_H

#include "router.h"

#define HOP_UNKNOWN UINT32_MAX

#define LEARN_SAMPLE_EVERY                                                                         \
	DUR_S(10) /* RTTs come smoothed once a second; this often they are news */
#define LEARN_CREDIT_EVERY DUR_S(60) /* of a living path, to each hop */
#define LEARN_CREDIT 0.1
#define LEARN_BLAME_WAITS DUR_S(60)
#define LEARN_WEIGHT_DEATH 2.0 /* in use: it costs the user more than a failed attempt */
#define LEARN_WEIGHT_FAILED 1.0
#define LEARN_WEIGHT_BUSY 0.25 /* said no for want of room: that is honest */
#define LEARN_WEIGHT_SLOW 0.5  /* another attempt was faster */

void learn_built(struct router *r, const struct path *p, struct when now);
/* hop: the first that did not answer, or HOP_UNKNOWN. */
void learn_failed(
	struct router *r, const struct path *p, uint32_t hop, double weight, struct when now);
/* Did not answer in good time while `winner` did: what they share is not to blame. */
void learn_slow(struct router *r, const struct path *p, const struct path *winner, struct when now);
/* Once a second for a living path. */
void learn_stats(struct router *r, struct path *p, struct when now);
void learn_measured(struct router *r, const uint8_t node_id[static NODE_ID_SIZE], bool ok,
	uint32_t rtt_us, struct when now);

#endif
