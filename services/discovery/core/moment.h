/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One instant on both clocks: the monotonic for timers, the wall for what crosses nodes. */
#ifndef DISCOVERY_MOMENT_H
#define DISCOVERY_MOMENT_H

#include "lib/units.h"

struct moment {
	mono_t mono;
	wall_t wall;
};

#endif
