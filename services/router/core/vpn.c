/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vpn.h"

#include <stdio.h>
#include <string.h>

#include "attempt.h"
#include "learn.h"
#include "live.h"

#define REVIEW_EVERY DUR_S(60) /* guards and expiry: they change by the day and the hour */

/* ---- time limits of paths ---- */

static void path_overdue(struct router *r, struct path *p, struct when now)
{
	r->count.timed_out++;
	r->sink->close(r->sink->ctx, p->id, 0);
	switch (p->state) {
	case PATH_BUILDING:
		learn_failed(r, p, HOP_UNKNOWN, LEARN_WEIGHT_FAILED, now);
		attempt_over(r, p, "no answer while building", now);
		break;
	case PATH_PROBING:
		learn_failed(r, p, p->n_hops - 1, LEARN_WEIGHT_FAILED, now);
		if (p->id == r->vpn.live)
			live_gone(r, now, "nothing came back through the exit");
		attempt_over(r, p, "nothing came back through the exit", now);
		break;
	case PATH_DRAINING:
		path_free(r, p);
		break;
	case PATH_READY:
	case PATH_FREE:
		break;
	}
}

static void paths_review(struct router *r, struct when now)
{
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];

		if (p->state == PATH_FREE || p->state == PATH_READY)
			continue;
		if (mono_reached(p->deadline, now.mono))
			path_overdue(r, p, now);
		else
			wake_at(r, p->deadline);
	}
}

static bool listed_now(void *ctx, const uint8_t node_id[static NODE_ID_SIZE])
{
	struct router *r = ctx;
	const struct peer *p = peers_find(&r->peers, node_id);

	return p != NULL && p->listed;
}

static void knowledge_review(struct router *r, struct when now)
{
	if (r->reviewed_at.ns != 0 && mono_since(r->reviewed_at, now.mono).ns < REVIEW_EVERY.ns)
		return;
	r->reviewed_at = now.mono;
	peers_expire(&r->peers, now);
	if (r->peers.complete)
		guards_review(&r->guards, listed_now, r, now);
}

/* ---- first guards ---- */

/* Draws the sample and has it measured. True when the search may go on. */
static bool guards_prepared(struct router *r, struct when now)
{
	struct vpn *v = &r->vpn;
	uint32_t drawn[MEASURE_CANDIDATES];
	size_t n, n_measured = 0;

	/* Nobody is asked when no route is possible anyway. */
	if (r->want.n_hops == 1 || router_view(r, now)->n_fit[HOP_EXIT] == 0)
		return true;
	if (r->guards.n == 0 && v->measuring_until.ns == 0) {
		n = pick_entries(
			router_view(r, now), NULL, 0, &r->rng, now, drawn, MEASURE_CANDIDATES);
		for (size_t i = 0; i < n; i++) {
			const struct peer *p = &r->peers.all[drawn[i]];

			if (guards_add(&r->guards, p->node_id, &r->rng, now) == OK)
				r->sink->measure(r->sink->ctx, p);
		}
		if (n > 0)
			v->measuring_until = mono_add(now.mono, MEASURE_PATIENCE);
		return n == 0;
	}
	if (v->measuring_until.ns == 0)
		return true;
	for (size_t i = 0; i < r->guards.n; i++)
		n_measured += r->guards.all[i].rtt_us != 0 || r->guards.all[i].n_fails > 0;
	if (n_measured < r->guards.n && !mono_reached(v->measuring_until, now.mono)) {
		wake_at(r, v->measuring_until);
		return false;
	}
	v->measuring_until = (mono_t){0};
	guards_rank(&r->guards, GUARDS_WANTED);
	return true;
}

/* A guard that failed is looked at again, so that it comes back into use in its order. */
static void guards_remeasure(struct router *r, struct when now)
{
	if (!mono_reached(r->vpn.remeasure_at, now.mono)) {
		wake_at(r, r->vpn.remeasure_at);
		return;
	}
	r->vpn.remeasure_at = mono_add(now.mono, DUR_S(5));
	for (size_t i = 0; i < r->guards.n; i++) {
		const struct guard *g = &r->guards.all[i];
		const struct peer *p = peers_find(&r->peers, g->node_id);

		if (!g->confirmed || g->n_fails == 0 || p == NULL || !peer_listed(p, now) ||
			!guard_ready(g, now.mono))
			continue;
		r->sink->measure(r->sink->ctx, p);
		return;
	}
}

/* ---- repair: another way to the same exit ---- */

static void repair_start(struct router *r, struct when now)
{
	struct repair *rep = &r->vpn.repair;
	const struct path *p;
	char why[NOTE_MAX];

	rep->n_started++;
	rep->last_start = now.mono;
	rep->patience = ATTEMPT_PATIENCE_MAX;
	if (attempt_start(r, PATH_FOR_REPAIR, now, &p, why) == OK)
		rep->patience = p->patience;
	else
		rep->n_failed++;
}

/* Two at once by different middles: the outage lasts as long as the faster one takes. More only
 * when these are silent for long or have failed; without end while nobody answers. */
static bool repair_due(const struct repair *rep, unsigned int n, struct when now)
{
	dur_t pause = n == 0 && !rep->alone ? (dur_t){0} : rep->patience;

	if (rep->alone && pause.ns < REPAIR_EVERY_ALONE.ns)
		pause = REPAIR_EVERY_ALONE;
	return n < REPAIRS_MAX && (rep->n_started < REPAIR_TRIES || rep->alone) &&
	       (rep->n_started < REPAIRS_MAX || mono_reached(mono_add(rep->last_start, pause), now.mono));
}

static void repair_step(struct router *r, struct when now)
{
	struct repair *rep = &r->vpn.repair;
	const dur_t patience = rep->alone ? REPAIR_PATIENCE_ALONE : REPAIR_PATIENCE;
	unsigned int n = attempts_under_way(r, PATH_FOR_REPAIR);

	if (rep->of == 0)
		return;
	while (repair_due(rep, n, now)) {
		repair_start(r, now);
		n = attempts_under_way(r, PATH_FOR_REPAIR);
	}
	if ((n == 0 && !rep->alone) || mono_since(rep->since, now.mono).ns >= patience.ns) {
		repair_end(r, now);
		return;
	}
	wake_at(r, mono_add(rep->since, patience));
	if (rep->alone)
		wake_at(r, mono_add(now.mono, REPAIR_EVERY_ALONE));
	else if (n < REPAIRS_MAX && rep->n_started < REPAIR_TRIES)
		wake_at(r, mono_add(rep->last_start, rep->patience));
}

/* New flows wait a moment for the same exit before they go elsewhere. */
static bool repair_holds(struct router *r, struct when now)
{
	mono_t until = mono_add(r->vpn.repair.since, REPAIR_GRACE);

	if (r->vpn.repair.of == 0 || mono_reached(until, now.mono))
		return false;
	wake_at(r, until);
	return true;
}

/* ---- the search ---- */

static bool knowledge_awaited(struct router *r, struct when now)
{
	mono_t settings = mono_add(r->started_at, SETTINGS_PATIENCE);
	mono_t directory = mono_add(r->started_at, DIRECTORY_PATIENCE);

	if (!r->want.settings_known && !mono_reached(settings, now.mono)) {
		wake_at(r, settings);
		return true;
	}
	if (!r->peers.complete && !mono_reached(directory, now.mono)) {
		wake_at(r, directory);
		return true;
	}
	return false;
}

/* While relays are still being found, that none fits is not yet an answer. A single one is whom we were
 * told of at the start: finding has hardly begun. */
static bool directory_settled(struct router *r, struct when now)
{
	dur_t asked = mono_since(r->vpn.seek.since, now.mono);
	dur_t still = mono_since(r->listed_moved_at, now.mono);

	return asked.ns >= DIRECTORY_GROWS.ns ||
	       (r->peers.complete && r->peers.n_listed > 1 && still.ns >= DIRECTORY_STILL.ns);
}

static void directory_watch(struct router *r, struct when now)
{
	uint32_t n = r->peers.n_listed, before = r->n_listed_still;
	uint32_t n_moved = n > before ? n - before : before - n;

	if (r->n_listed_seen == n)
		return;
	r->n_listed_seen = n;
	if (r->vpn.live == 0)
		r->vpn.seek.next_try = now.mono;
	if (n_moved * DIRECTORY_STILL_SHARE < n)
		return;
	r->n_listed_still = n;
	r->listed_moved_at = now.mono;
}

static void seek_nothing_fits(struct router *r, struct when now)
{
	struct seek *s = &r->vpn.seek;
	struct path *live = live_path(r);

	s->next_try = mono_add(now.mono, SEEK_BACKOFF_MIN);
	if (r->vpn.want_new && live != NULL && path_fits(r, live, now)) {
		r->vpn.want_new = false;
		note_set(r, now, "no other route is possible now; this one stays");
		return;
	}
	if (attempts_under_way(r, PATH_FOR_USE) > 0 || !directory_settled(r, now))
		return;
	s->impossible = true;
	/* The user wants something else and it does not exist: the old route is not it. */
	if (live != NULL)
		path_close(r, live, (dur_t){0}, now);
}

static void seek_start(struct router *r, struct when now)
{
	struct seek *s = &r->vpn.seek;
	const struct path *p;
	char why[NOTE_MAX];
	enum err e = attempt_start(r, PATH_FOR_USE, now, &p, why);

	s->last_start = now.mono;
	s->patience = ATTEMPT_PATIENCE;
	s->n_started++;
	if (e != OK) {
		if (attempts_under_way(r, PATH_FOR_USE) == 0)
			snprintf(s->why, sizeof(s->why), "%s", why);
		seek_nothing_fits(r, now);
		return;
	}
	s->impossible = false;
	s->patience = p->patience;
}

static bool seek_given_up(struct router *r, struct when now)
{
	struct path *live = live_path(r);

	if (!r->vpn.want_new || r->vpn.seek.n_failed < NEW_ROUTE_TRIES || live == NULL ||
		!path_fits(r, live, now))
		return false;
	r->vpn.want_new = false;
	note_set(r, now, "no other route answered; this one stays");
	return true;
}

static bool seek_has_room(const struct router *r, struct when now)
{
	return attempts_hopeful(r, PATH_FOR_USE, now.mono) < ATTEMPTS_MAX &&
	       attempts_under_way(r, PATH_FOR_USE) < ATTEMPTS_MAX_ALL;
}

static void seek_step(struct router *r, struct when now)
{
	struct seek *s = &r->vpn.seek;
	unsigned int n = attempts_under_way(r, PATH_FOR_USE);
	mono_t next = n == 0 ? s->next_try : mono_add(s->last_start, s->patience);

	if (knowledge_awaited(r, now) || repair_holds(r, now) || seek_given_up(r, now))
		return;
	if (spare_promote(r, r->vpn.want_new ? DRAIN_HOP : DRAIN_WISH, now)) {
		r->count.hops_done++;
		return;
	}
	if (!guards_prepared(r, now)) {
		s->impossible = false;
		return;
	}
	if (seek_has_room(r, now) && mono_reached(next, now.mono)) {
		seek_start(r, now);
		n = attempts_under_way(r, PATH_FOR_USE);
		next = n == 0 ? s->next_try : mono_add(now.mono, s->patience);
	}
	if (n < ATTEMPTS_MAX_ALL)
		wake_at(r, seek_has_room(r, now) ? next : mono_add(now.mono, DUR_MS(500)));
}

/* ---- while it is on ---- */

static void spare_step(struct router *r, struct when now)
{
	struct vpn *v = &r->vpn;
	struct path *p = path_find(r, v->spare);
	const struct path *started;
	char why[NOTE_MAX];
	bool aged;

	if (p != NULL && !spare_good(r, p, now)) {
		path_close(r, p, (dur_t){0}, now);
		p = NULL;
	}
	aged = p != NULL && mono_since(p->ready_at, now.mono).ns >= SPARE_LIFE.ns;
	if (p != NULL && !aged) {
		wake_at(r, mono_add(p->ready_at, SPARE_LIFE));
		return;
	}
	if (attempts_under_way(r, PATH_FOR_SPARE) > 0)
		return;
	if (!mono_reached(v->spare_at, now.mono)) {
		wake_at(r, v->spare_at);
		return;
	}
	v->spare_at = mono_add(now.mono, SPARE_BACKOFF_MAX);
	if (!r->peers.complete || attempt_start(r, PATH_FOR_SPARE, now, &started, why) != OK)
		v->spare_at = mono_add(now.mono, r->peers.complete ? DUR_S(30) : SPARE_BACKOFF_MIN);
	wake_at(r, v->spare_at);
}

static void on_step(struct router *r, struct when now)
{
	struct vpn *v = &r->vpn;

	if (v->hop_at.ns != 0 && mono_reached(v->hop_at, now.mono)) {
		v->hop_at = mono_add(now.mono, DUR_S(r->want.hop_interval_s));
		seek_reset(r, now);
		v->want_new = true;
		wake_at(r, now.mono);
		return;
	}
	if (v->hop_at.ns != 0)
		wake_at(r, v->hop_at);
	if (attempts_under_way(r, PATH_FOR_USE) > 0 && !v->want_new)
		for (size_t i = 0; i < PATHS_MAX; i++) {
			struct path *p = &r->paths[i];

			if (p->use == PATH_FOR_USE && p->id != v->live &&
				(p->state == PATH_BUILDING || p->state == PATH_PROBING))
				path_close(r, p, (dur_t){0}, now);
		}
	spare_step(r, now);
	guards_remeasure(r, now);
}

static bool tunnel_ready(struct router *r, struct when now)
{
	mono_t until = mono_add(r->tunnel.up_at, SNAPSHOT_PATIENCE);

	if (!r->tunnel.link_up || r->tunnel.synced || mono_reached(until, now.mono))
		return r->tunnel.link_up;
	wake_at(r, until);
	return false;
}

/* ---- phases ---- */

static void phase_set(struct router *r, enum phase phase, struct when now, const char *reason)
{
	struct vpn *v = &r->vpn;

	if (v->phase == phase && strcmp(v->reason, reason) == 0)
		return;
	if (v->phase != phase)
		v->phase_since = now.mono;
	v->phase = phase;
	snprintf(v->reason, sizeof(v->reason), "%s", reason);
	v->changed = true;
}

static bool noted(const struct router *r, struct when now)
{
	return r->vpn.note_until.ns > now.mono.ns && r->vpn.note[0] != '\0';
}

static void phase_searching(struct router *r, struct when now, const char *doing)
{
	const struct seek *s = &r->vpn.seek;
	bool failed = s->impossible || s->n_failed >= SEEK_FAILS_SHOWN ||
		      (s->n_failed > 0 && mono_since(s->since, now.mono).ns >= SEEK_PATIENCE.ns);
	char text[NOTE_MAX];

	if (s->impossible)
		snprintf(text, sizeof(text), "%s", s->why);
	else if (failed)
		snprintf(text, sizeof(text), "%.100s (%u tried; trying on)", s->why, s->n_failed);
	else if (r->vpn.was_on && noted(r, now))
		snprintf(text, sizeof(text), "%.100s; %s", r->vpn.note, doing);
	else
		snprintf(text, sizeof(text), "%s", doing);
	phase_set(r,
		failed		? PHASE_FAILED
		: r->vpn.was_on ? PHASE_RECONNECTING
				: PHASE_CONNECTING,
		now, text);
}

static const char *doing_text(struct router *r, struct when now)
{
	if (!r->tunnel.link_up)
		return "waiting for the tunnel service to start";
	if (!r->tunnel.synced && mono_since(r->tunnel.up_at, now.mono).ns < SNAPSHOT_PATIENCE.ns)
		return "waiting for the tunnel service";
	if (r->peers.n_listed == 0)
		return "waiting for the directory of relays";
	if (r->vpn.measuring_until.ns != 0)
		return "measuring which relays are near";
	if (r->vpn.repair.of != 0)
		return "finding another way to the same exit";
	return "building a route";
}

static void phase_on(struct router *r, struct when now)
{
	struct vpn *v = &r->vpn;
	bool fresh = v->phase != PHASE_ON && v->asked_at.ns != 0;

	if (fresh)
		v->connect_ms = (uint32_t)(mono_since(v->asked_at, now.mono).ns / 1000000);
	v->was_on = true;
	v->asked_at = (mono_t){0};
	phase_set(r, PHASE_ON, now, noted(r, now) ? v->note : "");
	if (noted(r, now))
		wake_at(r, v->note_until);
}

static void phase_review(struct router *r, struct when now)
{
	struct path *live = live_path(r);

	if (!r->want.on)
		phase_set(r, PHASE_OFF, now, r->want.known ? "" : "waiting for the gateway's word");
	else if (live != NULL && live->state == PATH_READY && path_fits(r, live, now) &&
		 tunnel_ready(r, now))
		phase_on(r, now);
	else if (live != NULL && live->state == PATH_READY && tunnel_ready(r, now))
		phase_searching(r, now, "moving to a route that fits your settings");
	else
		phase_searching(r, now, doing_text(r, now));
}

/* ---- the step ---- */

static void rest(struct router *r, struct when now)
{
	if (r->vpn.live != 0)
		r->sink->use(r->sink->ctx, 0);
	for (size_t i = 0; i < PATHS_MAX; i++)
		if (r->paths[i].state != PATH_FREE)
			path_close(r, &r->paths[i], (dur_t){0}, now);
	r->vpn.repair = (struct repair){0};
	r->vpn.want_new = r->vpn.was_on = false;
	r->vpn.measuring_until = (mono_t){0};
	r->vpn.note[0] = '\0';
	r->vpn.asked_at = (mono_t){0};
}

static void work(struct router *r, struct when now)
{
	struct path *live;

	repair_step(r, now);
	live = live_path(r);
	if (live == NULL || r->vpn.want_new || !path_fits(r, live, now))
		seek_step(r, now);
	live = live_path(r);
	if (live != NULL && live->state == PATH_READY && !r->vpn.want_new &&
		path_fits(r, live, now))
		on_step(r, now);
}

bool vpn_settled(const struct router *r, struct when now)
{
	if (r->want.on ? r->tunnel.synced : r->want.known)
		return true;
	return mono_since(r->started_at, now.mono).ns >= SETTLE_PATIENCE.ns;
}

void vpn_step(struct router *r, struct when now)
{
	r->wake = mono_add(now.mono, REVIEW_EVERY);
	knowledge_review(r, now);
	directory_watch(r, now);
	paths_review(r, now);
	/* While nobody has said what is wanted, the snapshot may still bring a live route: no rest.
	 */
	if (r->want.on && tunnel_ready(r, now))
		work(r, now);
	else if (r->want.known && !r->want.on && tunnel_ready(r, now))
		rest(r, now);
	phase_review(r, now);
}
