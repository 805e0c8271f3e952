/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One direction of a host's link: loss, a rate with a bounded drop-tail queue, delay and jitter.
 *
 * A link is a pipe: packets leave it in the order they entered, jitter only stretches the gaps,
 * unless `reorder` is set. Time is handed in, so the same seed and the same packets give the same
 * losses. Pure. */
#ifndef LINKEM_LINK_H
#define LINKEM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/rng.h"
#include "lib/units.h"

/* Default queue, bytes: 50 ms at 40 Mbit/s; a home router's order of size. */
#define LINK_QUEUE_BYTES (256u << 10)

struct link_settings {
	bool up;
	bool reorder;
	uint32_t delay_us;
	uint32_t jitter_us; /* uniform in 0..jitter on top of the delay */
	uint32_t loss_ppm;
	uint64_t rate_bps; /* 0: no limit */
	uint32_t queue_bytes;
};

struct link_counters {
	uint64_t packets, bytes; /* that came out at the other end */
	uint64_t lost;		 /* by chance, as set */
	uint64_t overflowed;	 /* the queue was full */
	uint64_t cut;		 /* the link was down */
};

struct link {
	struct link_settings set;
	struct link_counters n;
	mono_t free_at; /* the last bit queued has left the sender */
	mono_t last_at; /* when the last packet comes out */
};

void link_init(struct link *l);

/* A packet of len bytes enters at `now`. *ret_at: when it comes out. ERR_UNAVAILABLE: link down,
 * ERR_DENIED: lost, ERR_FULL: queue full; each counted. */
NODISCARD enum err link_enter(
	struct link *l, mono_t now, size_t len, struct rng *rng, mono_t *ret_at);

#endif
