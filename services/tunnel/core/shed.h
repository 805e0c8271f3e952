/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which initiations the kernel throws away before we see them, while there are more than we can judge.
 *
 * Receiving a message and checking its mac1 costs a microsecond, answering it with a cookie several: at
 * line rate all of a processor. So initiations are counted in (keyed) buckets, those without a mac2
 * by source address and port, those with one by address alone: for each port of an address there is a
 * cookie to be had, and who has them is held to one rate (rate_admit). When more of a kind come in a window than SHED_AT, the
 * crowded buckets are hot: of those the socket's filter (udp_shed) lets through a share, by chance, such
 * that SHED_TO come. A flood from few addresses so leaves the others' initiations alone, one without
 * mac2 leaves alone those who have a cookie, and data is never touched.
 *
 * What is let through is weighed again each window, so it follows the flood and ends with it. Buckets are
 * dealt anew each SHED_DEAL windows, as often as an honest sender tries: who shares one with the flood does
 * so for one try. In the window after that, until it is seen who is where, a share of all comes through. */
#ifndef TUNNEL_SHED_H
#define TUNNEL_SHED_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"

#define SHED_WINDOW DUR_MS(100)
/* Per window and worker. 10,000 a second: about what the Diffie-Hellman of one core answers. */
#define SHED_AT 1000u
#define SHED_TO 400u
#define SHED_DEAL 50u /* windows: REKEY_TIMEOUT */
#define SHED_KINDS 2u	/* without mac2, with it */
#define SHED_BUCKETS 32u /* of each: bits of `hot` */
#define SHED_ALL 65536u /* `keep` of all */

struct shed {
	uint32_t salt; /* odd */
	uint32_t n_windows; /* since it was chosen, of those in which something was shed */
	mono_t began;  /* of the window; 0: none */
	struct shed_kind {
		uint32_t hot;  /* bit per bucket; 0: nothing is shed */
		uint32_t keep; /* of the hot ones, out of SHED_ALL */
		uint32_t n, seen[SHED_BUCKETS]; /* in the window */
	} kinds[SHED_KINDS];
};

void shed_init(struct shed *s, uint32_t salt);

/* source: 32 bits of the address; port: 0 with a mac2. Both as numbers (the filter computes the same). */
static inline uint32_t shed_bucket(const struct shed *s, uint32_t source, uint16_t port)
{
	return ((source ^ port) * s->salt) >> 27;
}

/* Is anything shed now? */
static inline bool shed_works(const struct shed *s)
{
	return (s->kinds[0].hot | s->kinds[1].hot) != 0;
}

/* An initiation came through. False: of its kind more than SHED_AT did in this window, it is not worth a
 * look (a flood has just begun, and the queue is full of it). */
bool shed_on_initiation(struct shed *s, mono_t now, bool mac2, uint32_t bucket);
/* At the end of a window judges it. True: what is hot or kept has changed. */
bool shed_tick(struct shed *s, mono_t now);
/* MONO_NEVER if no window runs. */
mono_t shed_deadline(const struct shed *s);

#endif
