/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starts a path: which guard, which middle and exit, and what to keep away from. Pure. */
#ifndef ROUTER_ATTEMPT_H
#define ROUTER_ATTEMPT_H

#include "router.h"

/* An attempt that has not answered after this and 3 expected RTTs gets another beside it. */
#define ATTEMPT_PATIENCE DUR_MS(500)
#define ATTEMPT_PATIENCE_MAX DUR_MS(2000)
/* Older ones may still come through, but no longer keep others from being tried. */
#define ATTEMPT_HOPE DUR_S(3)
#define ATTEMPT_DEADLINE DUR_S(11) /* the tunnel gives up after 10; this is for a lost answer */
#define GUARDS_TRIED_NEW 4	   /* drawn anew when no known guard will do */

/* Chooses and orders a path for `use`. Borrowed until the next vpn_*. ERR_NOT_FOUND: nothing fits,
 * ret_why in words; ERR_FULL: too many paths already. */
NODISCARD enum err attempt_start(struct router *r, enum path_use use, struct when now,
	const struct path **ret_path, char ret_why[static NOTE_MAX]);
/* What it would choose, without doing it (routerctl pick). */
NODISCARD enum err attempt_rehearse(struct router *r, const struct view *v, struct rng *rng,
	struct when now, struct pick *ret_pick, char ret_why[static NOTE_MAX]);
/* How many are under way for `use`. */
unsigned int attempts_under_way(const struct router *r, enum path_use use);
/* Those of them that are not overdue. */
unsigned int attempts_hopeful(const struct router *r, enum path_use use, mono_t now);

#endif
