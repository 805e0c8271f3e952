/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A timer wheel for deadlines that mostly move later.
 *
 * One entry per session. 2048 slots of 10 ms; an entry beyond the 20 s that they span waits in the
 * last slot and is handed out early: its owner looks at the true deadline and sets it again, as it
 * must anyway, for a deadline that moved later is not followed here. Everything is O(1) but the
 * search for the next occupied slot, which walks 32 words. Pure, intrusive, no allocation.
 * Source: Varghese and Lauck, Hashed and Hierarchical Timing Wheels, scheme 6. */
#ifndef TUNNEL_WHEEL_H
#define TUNNEL_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"

#define WHEEL_SLOTS 2048u
#define WHEEL_TICK DUR_MS(10)

/* Zero-initialised: not in the wheel. */
struct wheel_entry {
	struct wheel_entry *next, **link; /* link: what points here; NULL: not in the wheel */
	uint64_t tick;			  /* when it is handed out */
};

struct wheel {
	uint64_t tick; /* all slots before it are empty */
	uint64_t occupied[WHEEL_SLOTS / 64];
	struct wheel_entry *slot[WHEEL_SLOTS];
};

void wheel_init(struct wheel *w, mono_t now);
/* Hands e out at `at` or up to a tick later. Does nothing if e is set for an earlier instant already.
 * MONO_NEVER is fine. */
void wheel_set(struct wheel *w, struct wheel_entry *e, mono_t at);
void wheel_cancel(struct wheel *w, struct wheel_entry *e);
/* Takes out an entry whose instant has come, NULL if there is none. The caller sets it again. */
struct wheel_entry *wheel_expired(struct wheel *w, mono_t now);
/* When wheel_expired may have something next; MONO_NEVER if the wheel is empty. */
mono_t wheel_deadline(const struct wheel *w);

#endif
