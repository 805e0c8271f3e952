/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which path carries the traffic: taking one into use, giving one up, the spare. For vpn.c and
 * events.c. Pure. */
#ifndef ROUTER_LIVE_H
#define ROUTER_LIVE_H

#include "router.h"

static inline struct path *live_path(struct router *r)
{
	return path_find(r, r->vpn.live);
}

static inline void wake_at(struct router *r, mono_t t)
{
	r->wake = mono_min(r->wake, t);
}

/* Says what happened, for a while, in words for the user. */
void note_set(struct router *r, struct when now, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Orders the close and forgets the path; with a drain it lives on until the tunnel says closed. */
void path_close(struct router *r, struct path *p, dur_t drain, struct when now);
/* New traffic goes by p from now on; the one before drains. */
void live_take(struct router *r, struct path *p, dur_t drain_old, struct when now);
/* Fit to take over: proven, as the user wishes, and nothing in it failed lately. */
bool spare_good(struct router *r, const struct path *p, struct when now);
/* The spare takes over. False if there is none that is good. */
bool spare_promote(struct router *r, dur_t drain_old, struct when now);
/* The live path does not answer from `hop` on (HOP_UNKNOWN: somewhere). */
void live_dead(struct router *r, struct path *p, uint32_t hop, struct when now);
/* Something before its exit is silent: another way round is sought while it still serves. */
void live_suspect(struct router *r, struct path *p, uint32_t hop, struct when now);
/* The live path is gone without anybody's fault. */
void live_gone(struct router *r, struct when now, const char *note);
/* An attempt ended without a path; p is forgotten. */
void attempt_over(struct router *r, struct path *p, const char *why, struct when now);
void seek_reset(struct router *r, struct when now);
void repair_end(struct router *r, struct when now);
/* Some relay answered: our own network works, and a repair has its time from now. */
void repair_heard(struct router *r, struct when now);

#endif
