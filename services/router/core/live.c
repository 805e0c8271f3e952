/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "live.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "learn.h"
#include "vpn.h"

void note_set(struct router *r, struct when now, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(r->vpn.note, sizeof(r->vpn.note), fmt, ap);
	va_end(ap);
	r->vpn.note_until = mono_add(now.mono, NOTE_SHOWN);
	r->vpn.changed = true;
}

/* ---- closing ---- */

/* The longest drained gives way, so that draining routes cannot pile up. */
static void draining_limit(struct router *r)
{
	struct path *oldest = NULL;
	unsigned int n = 0;

	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];

		if (p->state != PATH_DRAINING)
			continue;
		n++;
		if (oldest == NULL || p->unused_since.ns < oldest->unused_since.ns)
			oldest = p;
	}
	if (n < PATHS_DRAINING_MAX || oldest == NULL)
		return;
	r->sink->close(r->sink->ctx, oldest->id, 0);
	path_free(r, oldest);
}

void path_close(struct router *r, struct path *p, dur_t drain, struct when now)
{
	if (drain.ns > 0)
		draining_limit(r);
	r->sink->close(r->sink->ctx, p->id, (uint32_t)(drain.ns / 1000000));
	if (drain.ns == 0) {
		path_free(r, p);
		return;
	}
	if (r->vpn.live == p->id)
		r->vpn.live = 0;
	if (r->vpn.spare == p->id)
		r->vpn.spare = 0;
	p->state = PATH_DRAINING;
	p->unused_since = now.mono;
	p->deadline = mono_add(mono_add(now.mono, drain), DUR_S(5));
}

/* ---- the live path ---- */

void seek_reset(struct router *r, struct when now)
{
	r->vpn.seek = (struct seek){.since = now.mono};
}

/* A random part of the interval, so that the hops of many users are not in step. */
static void hop_schedule(struct router *r, struct when now)
{
	double part = 0.5 + rng_unit(&r->rng);
	uint64_t ns = (uint64_t)((double)r->want.hop_interval_s * 1e9 * part);

	r->vpn.hop_at = ns == 0 ? MONO_NEVER : mono_add(now.mono, (dur_t){ns});
}

/* Attempts that lost the race: one may become the spare, those overdue are told on. */
static void losers_sort(struct router *r, const struct path *winner, struct when now)
{
	bool need_spare = r->vpn.spare == 0;

	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];
		bool under_way = p->state == PATH_BUILDING || p->state == PATH_PROBING;

		if (!under_way || p == winner || p->use != PATH_FOR_USE)
			continue;
		if (mono_since(p->began, now.mono).ns > p->patience.ns)
			learn_slow(r, p, winner, now);
		else if (need_spare) {
			p->use = PATH_FOR_SPARE;
			need_spare = false;
			continue;
		}
		path_close(r, p, (dur_t){0}, now);
	}
}

void live_take(struct router *r, struct path *p, dur_t drain_old, struct when now)
{
	struct path *old = live_path(r);

	r->vpn.live = p->id;
	if (r->vpn.spare == p->id)
		r->vpn.spare = 0;
	r->sink->use(r->sink->ctx, p->id);
	if (old != NULL && old != p)
		path_close(r, old, drain_old, now);
	losers_sort(r, p, now);
	r->vpn.want_new = r->vpn.want_new_by_user = false;
	seek_reset(r, now);
	hop_schedule(r, now);
	r->vpn.spare_at = mono_add(now.mono, SPARE_DELAY);
	r->vpn.changed = true;
}

void live_gone(struct router *r, struct when now, const char *note)
{
	r->vpn.live = 0;
	r->vpn.want_new = r->vpn.want_new_by_user = false;
	r->vpn.asked_at = now.mono;
	seek_reset(r, now);
	note_set(r, now, "%s", note);
}

/* ---- the spare ---- */

bool spare_good(struct router *r, const struct path *p, struct when now)
{
	if (p == NULL || p->state != PATH_READY || p->dead || !path_fits(r, p, now))
		return false;
	for (unsigned int k = 0; k < p->n_hops; k++) {
		const struct peer *peer = peers_find(&r->peers, p->hops[k].node_id);
		const struct guard *g = k == 0 ? guards_find(&r->guards, p->hops[k].node_id) : NULL;

		if ((peer != NULL && peer_avoided(peer, now.mono)) || (g != NULL && g->n_fails > 0))
			return false;
	}
	return true;
}

bool spare_promote(struct router *r, dur_t drain_old, struct when now)
{
	struct path *p = path_find(r, r->vpn.spare);

	if (!spare_good(r, p, now))
		return false;
	live_take(r, p, drain_old, now);
	r->count.promoted++;
	return true;
}

/* ---- failures ---- */

static const char *hop_words(const struct path *p, uint32_t hop)
{
	if (hop >= p->n_hops)
		return "the route";
	if (p->n_hops == 1)
		return "the relay";
	return hop + 1 == p->n_hops ? "the exit" : hop == 0 ? "the entry" : "the middle relay";
}

void repair_end(struct router *r, struct when now)
{
	struct path *old = path_find(r, r->vpn.repair.of);

	r->vpn.repair = (struct repair){0};
	if (old != NULL && old->dead)
		path_close(r, old, (dur_t){0}, now);
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];

		if (p->use == PATH_FOR_REPAIR && p->id != r->vpn.live &&
			(p->state == PATH_BUILDING || p->state == PATH_PROBING))
			path_close(r, p, (dur_t){0}, now);
	}
}

/* Unless it has begun already, on suspicion. */
static void repair_begin(struct router *r, const struct path *p, uint32_t dead_hop, struct when now)
{
	if (r->vpn.repair.of != p->id)
		r->vpn.repair = (struct repair){.of = p->id, .since = now.mono, .alone = dead_hop == 0};
}

void repair_heard(struct router *r, struct when now)
{
	struct repair *rep = &r->vpn.repair;

	if (!rep->alone)
		return;
	rep->alone = false;
	rep->since = now.mono;
	rep->n_started = 0;
}

void live_dead(struct router *r, struct path *p, uint32_t hop, struct when now)
{
	bool before_exit = hop < p->n_hops && hop + 1 < p->n_hops;
	char note[NOTE_MAX];

	snprintf(note, sizeof(note), "%s stopped answering", hop_words(p, hop));
	learn_failed(r, p, hop, LEARN_WEIGHT_DEATH, now);
	r->count.dead++;
	if (r->vpn.repair.of != p->id)
		repair_end(r, now);
	live_gone(r, now, note);
	if (before_exit) {
		p->dead = true;
		repair_begin(r, p, hop, now);
		return;
	}
	path_close(r, p, (dur_t){0}, now);
}

void live_suspect(struct router *r, struct path *p, uint32_t hop, struct when now)
{
	if (hop + 1 >= p->n_hops || r->vpn.repair.of != 0)
		return;
	note_set(r, now, "%s was slow to answer", hop_words(p, hop));
	repair_begin(r, p, hop, now);
}

static dur_t backoff(dur_t least, dur_t most, unsigned int n)
{
	uint64_t ns = n < 16 ? least.ns << n : most.ns;

	return (dur_t){ns < most.ns ? ns : most.ns};
}

void attempt_over(struct router *r, struct path *p, const char *why, struct when now)
{
	struct vpn *v = &r->vpn;

	r->count.failed++;
	switch (p->use) {
	case PATH_FOR_USE:
		v->seek.n_failed++;
		snprintf(v->seek.why, sizeof(v->seek.why), "%s", why);
		if (v->seek.n_failed >= SEEK_FAILS_SHOWN)
			v->seek.next_try =
				mono_add(now.mono, backoff(SEEK_BACKOFF_MIN, SEEK_BACKOFF_MAX,
							   v->seek.n_failed - SEEK_FAILS_SHOWN));
		break;
	case PATH_FOR_SPARE:
		v->spare_at = mono_add(
			now.mono, backoff(SPARE_BACKOFF_MIN, SPARE_BACKOFF_MAX, v->spare_fails));
		v->spare_fails++;
		break;
	case PATH_FOR_REPAIR:
		v->repair.n_failed++;
		break;
	}
	path_free(r, p);
}
