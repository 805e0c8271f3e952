/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The instant that a core function works at: both clocks, read once per turn by the caller. */
#ifndef ROUTER_WHEN_H
#define ROUTER_WHEN_H

#include "lib/units.h"

struct when {
	mono_t mono; /* timers */
	wall_t wall; /* expiry dates of descriptors, days of guards and reputation */
};

#define DAY_S 86400

/* Days since 1970: the finest time that leaves this process. */
static inline uint32_t when_day(struct when now)
{
	return now.wall.s <= 0 ? 0 : (uint32_t)(now.wall.s / DAY_S);
}

#endif
