/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the other services tell, applied to the state. Orders that follow are vpn_step's. */
#include "vpn.h"

#include <stdio.h>
#include <string.h>

#include "learn.h"
#include "live.h"

/* ---- gateway ---- */

static bool wish_valid(const struct wish *wish, char ret_why[static NOTE_MAX])
{
	if (wish->hops > POLICY_HOPS_MAX) {
		snprintf(ret_why, NOTE_MAX, "%u hops: a route has 1 to %d", wish->hops,
			POLICY_HOPS_MAX);
		return false;
	}
	if (wish->n_countries > POLICY_COUNTRIES_MAX) {
		snprintf(ret_why, NOTE_MAX, "at most %d exit countries", POLICY_COUNTRIES_MAX);
		return false;
	}
	for (size_t i = 0; i < wish->n_countries; i++) {
		const char *c = wish->countries[i];

		if (c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z' && c[2] == '\0')
			continue;
		snprintf(ret_why, NOTE_MAX,
			"an exit country is two capital letters (ISO 3166), as in SE");
		return false;
	}
	return true;
}

static struct want want_from(const struct want *old, const struct wish *wish)
{
	struct want w = *old;

	w.known = true;
	w.implied = false;
	w.on = wish->on;
	w.n_hops = wish->hops == 0 ? POLICY_HOPS_MAX : wish->hops;
	w.n_countries = wish->n_countries;
	memset(w.countries, 0, sizeof(w.countries));
	for (size_t i = 0; i < wish->n_countries; i++)
		memcpy(w.countries[i], wish->countries[i], 2);
	return w;
}

static bool wish_same(const struct want *a, const struct want *b)
{
	return a->known && b->known && a->on == b->on && a->n_hops == b->n_hops &&
	       a->n_countries == b->n_countries &&
	       memcmp(a->countries, b->countries, sizeof(a->countries)) == 0;
}

enum err vpn_on_set_session(
	struct router *r, const struct wish *wish, struct when now, char ret_why[static NOTE_MAX])
{
	struct want w;

	if (!wish_valid(wish, ret_why))
		return ERR_INVALID;
	w = want_from(&r->want, wish);
	bool same = wish_same(&r->want, &w), was_on = r->want.on;
	r->want = w;
	if (!w.on)
		return OK;
	/* The same again means: now, please. */
	r->vpn.seek.next_try = now.mono;
	if (same)
		return OK;
	if (!was_on || r->vpn.live == 0)
		r->vpn.was_on = false;
	if (!was_on)
		r->vpn.rx_done = r->vpn.tx_done = 0;
	r->vpn.asked_at = now.mono;
	r->vpn.connect_ms = r->vpn.live == 0 ? 0 : r->vpn.connect_ms;
	seek_reset(r, now);
	return OK;
}

void vpn_on_settings(struct router *r, bool pay, uint64_t price_max_gwei, uint32_t hop_interval_s,
	struct when now)
{
	struct want *w = &r->want;
	bool hop_changed = w->hop_interval_s != hop_interval_s;

	if (!w->settings_known || w->pay != pay || w->price_max_gwei != price_max_gwei) {
		w->broke_until = (mono_t){0};
		r->vpn.seek.next_try = now.mono;
	}
	w->settings_known = true;
	w->pay = pay;
	w->price_max_gwei = price_max_gwei;
	w->hop_interval_s = hop_interval_s;
	if (hop_changed)
		r->vpn.hop_at =
			hop_interval_s == 0
				? MONO_NEVER
				: mono_add(now.mono, (dur_t){(uint64_t)((0.5 + rng_unit(&r->rng)) *
									1e9 * hop_interval_s)});
}

enum err vpn_on_new_route(struct router *r, struct when now)
{
	if (!r->want.on)
		return ERR_UNAVAILABLE;
	r->vpn.seek.next_try = now.mono;
	/* One is being sought already: asking twice does not make two. */
	if (r->vpn.live == 0 || r->vpn.want_new)
		return OK;
	seek_reset(r, now);
	r->vpn.want_new = r->vpn.want_new_by_user = true;
	return OK;
}

/* ---- the tunnel's snapshot ---- */

void vpn_on_link(struct router *r, bool up, struct when now)
{
	if (up == r->tunnel.link_up)
		return;
	r->tunnel.link_up = up;
	if (up)
		r->tunnel.up_at = now.mono;
}

/* A new one may go on with routes of the one before: its snapshot names them. What was under way is gone. */
void vpn_on_tunnel_hello(struct router *r, bool restarted, struct when now)
{
	/* The same one greeting again has nothing new to say; its snapshot speaks for itself. */
	if (!restarted)
		return;
	r->tunnel.synced = false;
	r->tunnel.restarted = true;
	r->tunnel.up_at = now.mono;
	for (size_t i = 0; i < PATHS_MAX; i++)
		if (r->paths[i].state == PATH_BUILDING || r->paths[i].state == PATH_PROBING)
			path_free(r, &r->paths[i]);
	if (r->vpn.live != 0 && live_path(r) == NULL)
		live_gone(r, now, "the tunnel was restarted");
}

static void hops_take(struct path *p, const struct path_facts *f)
{
	for (unsigned int k = 0; k < p->n_hops && k < f->n_hops; k++) {
		struct path_hop *mine = &p->hops[k];
		const struct path_hop *theirs = &f->hops[k];

		if (memcmp(mine->node_id, theirs->node_id, NODE_ID_SIZE) == 0)
			*mine = *theirs;
	}
}

static void facts_take(struct path *p, const struct path_facts *f)
{
	hops_take(p, f);
	if (f->ip4_len == sizeof(p->ip4))
		memcpy(p->ip4, f->ip4, sizeof(p->ip4));
	if (f->ip6_len == sizeof(p->ip6))
		memcpy(p->ip6, f->ip6, sizeof(p->ip6));
	p->ip4_len = f->ip4_len == sizeof(p->ip4) ? f->ip4_len : 0;
	p->ip6_len = f->ip6_len == sizeof(p->ip6) ? f->ip6_len : 0;
}

/* A route of an earlier instance of us. */
static struct path *adopt(struct router *r, const struct path_facts *f, struct when now)
{
	struct path *p = f->n_hops == 0 || f->n_hops > POLICY_HOPS_MAX ? NULL : path_new(r, now);

	if (p == NULL)
		return NULL;
	p->id = f->route;
	p->n_hops = f->n_hops;
	memcpy(p->hops, f->hops, f->n_hops * sizeof(p->hops[0]));
	p->adopted = true;
	p->ready_at = now.mono;
	p->state = f->draining ? PATH_DRAINING : PATH_READY;
	if (f->draining) {
		p->unused_since = now.mono;
		p->deadline = mono_add(now.mono, DRAIN_HOP);
	}
	snprintf(p->reasons[0], sizeof(p->reasons[0]), "kept from before the router was restarted");
	return p;
}

/* With gateway silent the live route itself says what the user wanted. */
static void want_imply(struct router *r, struct path *p)
{
	const struct peer *exit = peers_find(&r->peers, path_exit(p)->node_id);

	r->want.implied = r->want.on = true;
	r->want.n_hops = p->n_hops;
	r->want.n_countries = 0;
	if (exit != NULL && exit->country[0] != '\0')
		memcpy(r->want.countries[r->want.n_countries++], exit->country,
			sizeof(exit->country));
}

static void adopt_as_live(struct router *r, struct path *p, struct when now)
{
	if (r->vpn.live != 0 && r->vpn.live != p->id)
		return;
	r->vpn.live = p->id;
	r->vpn.was_on = true;
	r->vpn.spare_at = mono_add(now.mono, SPARE_DELAY);
	r->vpn.hop_at = MONO_NEVER;
	if (r->want.hop_interval_s > 0)
		r->vpn.hop_at = mono_add(now.mono, DUR_S(r->want.hop_interval_s));
	r->vpn.changed = true;
	if (!r->want.known)
		want_imply(r, p);
}

void vpn_on_lives(struct router *r, const struct path_facts *f, struct when now)
{
	struct path *p = path_find(r, f->route);

	if (f->route == 0)
		return;
	if (p == NULL)
		p = adopt(r, f, now);
	if (p == NULL) {
		r->count.orphans++;
		r->sink->close(r->sink->ctx, f->route, 0);
		return;
	}
	facts_take(p, f);
	p->snapshot = r->tunnel.snapshot;
	if (f->in_use && p->adopted && p->state == PATH_READY)
		adopt_as_live(r, p, now);
}

/* What stands beside the live route may be its spare, if a probe shows that it works. */
static void adopted_sort(struct router *r, struct when now)
{
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];

		if (p->state != PATH_READY || !p->adopted || p->id == r->vpn.live ||
			p->id == r->vpn.spare || p->dead)
			continue;
		p->use = PATH_FOR_SPARE;
		p->state = PATH_PROBING;
		p->adopted = false;
		p->deadline = mono_add(now.mono, PROBE_DEADLINE);
		r->sink->probe(r->sink->ctx, p->id);
	}
}

void vpn_on_lives_complete(struct router *r, struct when now)
{
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];
		bool live = p->id == r->vpn.live;

		if ((p->state != PATH_READY && p->state != PATH_DRAINING) ||
			p->snapshot == r->tunnel.snapshot)
			continue;
		path_free(r, p);
		if (live)
			live_gone(r, now,
				r->tunnel.restarted ? "the tunnel was restarted" : "the tunnel closed the route");
	}
	r->tunnel.synced = true;
	r->tunnel.restarted = false;
	r->tunnel.snapshot++;
	adopted_sort(r, now);
}

/* ---- the tunnel's news ---- */

static void orphan_close(struct router *r, uint32_t route)
{
	if (route == 0 || !r->tunnel.synced)
		return;
	r->count.orphans++;
	r->sink->close(r->sink->ctx, route, 0);
}

void vpn_on_built(struct router *r, const struct path_facts *f, struct when now)
{
	struct path *p = path_find(r, f->route);

	if (p == NULL) {
		orphan_close(r, f->route);
		return;
	}
	if (p->state != PATH_BUILDING)
		return;
	facts_take(p, f);
	p->state = PATH_PROBING;
	p->deadline = mono_add(now.mono, PROBE_DEADLINE);
	r->count.built++;
	learn_built(r, p, now);
	repair_heard(r, now);
	r->sink->probe(r->sink->ctx, p->id);
	if (p->use != PATH_FOR_REPAIR)
		return;
	/* Its exit has answered by the new way, and every flow with it. */
	r->count.repaired++;
	if (r->vpn.live == 0 || r->vpn.live == r->vpn.repair.of)
		live_take(r, p, SUSPECT_WATCHED, now);
	else
		path_close(r, p, DRAIN_HOP, now);
	repair_end(r, now);
}

/* How much a failure to build says against the relay; negative: nothing, it lies with us. */
static double failure_weight(const struct path *p, enum err err)
{
	switch (err) {
	case ERR_DENIED: /* it said no: honest, but of no use now */
		return LEARN_WEIGHT_BUSY;
	case ERR_STALE: /* its descriptor ran out on the way */
		return 0;
	case ERR_UNAVAILABLE: /* restarting; of a repair: another one was faster */
		return p->use == PATH_FOR_REPAIR ? -1 : LEARN_WEIGHT_BUSY;
	case ERR_FULL:
	case ERR_INVALID:
	case ERR_NOT_FOUND:
		return -1;
	case OK:
	case ERR_MALFORMED:
	case ERR_TOO_LARGE:
	case ERR_IO:
	case ERR_TIMEOUT:
	case ERR_OVERFLOW:
		break;
	}
	return LEARN_WEIGHT_FAILED;
}

void vpn_on_failed(struct router *r, uint32_t route, uint32_t hop, enum err err, const char *why,
	struct when now)
{
	struct path *p = path_find(r, route);
	char text[NOTE_MAX];

	if (p == NULL)
		return;
	if (p->state != PATH_BUILDING) {
		vpn_on_dead(r, route, hop, now);
		return;
	}
	if (failure_weight(p, err) >= 0)
		learn_failed(r, p, hop, failure_weight(p, err), now);
	if (hop > 0)
		repair_heard(r, now); /* by the entry */
	snprintf(text, sizeof(text), "%s: %.100s",
		hop == 0 && p->n_hops > 1 ? "the entry did not serve"
		: hop + 1 == p->n_hops	  ? "the exit did not serve"
					  : "a relay did not serve",
		why[0] == '\0' ? err_str(err) : why);
	attempt_over(r, p, text, now);
}

static void attempt_won(struct router *r, struct path *p, struct when now)
{
	struct path *live = live_path(r);
	bool wanted = p->use == PATH_FOR_USE &&
		      (live == NULL || r->vpn.want_new || !path_fits(r, live, now));

	if (!path_fits(r, p, now)) {
		path_close(r, p, (dur_t){0}, now); /* the wish has changed meanwhile */
	} else if (wanted) {
		r->count.hops_done += live != NULL;
		live_take(r, p, r->vpn.want_new ? DRAIN_HOP : DRAIN_WISH, now);
	} else {
		/* With no live one it takes over too, by seek_step, but not before a repair had its
		 * time. */
		struct path *old = path_find(r, r->vpn.spare);

		r->vpn.spare = p->id;
		r->vpn.spare_fails = 0;
		if (old != NULL)
			path_close(r, old, (dur_t){0}, now);
	}
}

void vpn_on_probed(struct router *r, uint32_t route, bool ok, struct when now)
{
	struct path *p = path_find(r, route);

	if (p == NULL || p->state != PATH_PROBING)
		return;
	if (!ok) {
		r->count.probed_bad++;
		if (p->id == r->vpn.live) {
			live_dead(r, p, p->n_hops - 1, now);
			return;
		}
		learn_failed(r, p, p->n_hops - 1, LEARN_WEIGHT_FAILED, now);
		r->sink->close(r->sink->ctx, p->id, 0);
		attempt_over(r, p, "nothing came back through the exit", now);
		return;
	}
	p->state = PATH_READY;
	p->ready_at = now.mono;
	p->deadline = MONO_NEVER;
	r->vpn.changed = true;
	if (p->id != r->vpn.live)
		attempt_won(r, p, now);
}

void vpn_on_suspect(struct router *r, uint32_t route, uint32_t hop, struct when now)
{
	struct path *p = path_find(r, route);

	if (p != NULL && p->id == r->vpn.live)
		live_suspect(r, p, hop, now);
}

void vpn_on_dead(struct router *r, uint32_t route, uint32_t hop, struct when now)
{
	struct path *p = path_find(r, route);

	if (p == NULL || p->dead)
		return;
	if (p->id == r->vpn.live) {
		live_dead(r, p, hop, now);
		return;
	}
	learn_failed(r, p, hop, LEARN_WEIGHT_FAILED, now);
	r->sink->close(r->sink->ctx, p->id, 0);
	if (p->state == PATH_BUILDING || p->state == PATH_PROBING) {
		attempt_over(r, p, "a relay stopped answering", now);
		return;
	}
	if (p->id == r->vpn.spare)
		r->vpn.spare_at = now.mono;
	path_free(r, p);
}

void vpn_on_closed(struct router *r, uint32_t route, struct when now)
{
	struct path *p = path_find(r, route);

	if (p == NULL)
		return;
	if (p->id == r->vpn.live)
		live_gone(r, now, "the tunnel closed the route");
	if (p->state == PATH_BUILDING || p->state == PATH_PROBING)
		attempt_over(r, p, "the tunnel closed the route", now);
	else
		path_free(r, p);
}

void vpn_on_stats(struct router *r, const struct path_facts *f, struct when now)
{
	struct path *p = path_find(r, f->route);

	if (p == NULL) {
		orphan_close(r, f->route);
		return;
	}
	hops_take(p, f);
	p->rx_bytes = f->rx_bytes;
	p->tx_bytes = f->tx_bytes;
	p->rx_Bps = f->rx_Bps;
	p->tx_Bps = f->tx_Bps;
	learn_stats(r, p, now);
	/* An order that was lost with a link is said again. */
	if (p->id == r->vpn.live && !f->in_use)
		r->sink->use(r->sink->ctx, p->id);
}

void vpn_on_measured(struct router *r, const uint8_t node_id[static NODE_ID_SIZE], bool ok,
	uint32_t rtt_us, struct when now)
{
	learn_measured(r, node_id, ok, rtt_us, now);
	if (ok)
		repair_heard(r, now);
	if (ok && r->vpn.live == 0)
		r->vpn.seek.next_try = now.mono; /* the network works */
}

/* ---- ledger ---- */

static bool path_pays(
	const struct path *p, uint64_t session, const uint8_t *node_id, unsigned int *ret_hop)
{
	for (unsigned int k = 0; k < p->n_hops; k++) {
		if (memcmp(p->hops[k].node_id, node_id, NODE_ID_SIZE) != 0 ||
			(session != 0 && p->hops[k].session != session))
			continue;
		*ret_hop = k;
		return true;
	}
	return false;
}

void vpn_on_payment(struct router *r, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
	bool own_fault, const char *why, struct when now)
{
	if (own_fault) {
		r->want.broke_until = mono_add(now.mono, BROKE_FOR);
		note_set(r, now, "payment: %.120s", why[0] == '\0' ? "the wallet cannot pay" : why);
		return;
	}
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];
		unsigned int hop;

		if (p->state == PATH_FREE || !path_pays(p, session, node_id, &hop))
			continue;
		learn_failed(r, p, hop, LEARN_WEIGHT_DEATH, now);
		if (p->id != r->vpn.live || r->vpn.want_new)
			continue;
		seek_reset(r, now);
		r->vpn.want_new = true;
		note_set(r, now, "a relay did not take payment as agreed: %.100s", why);
	}
}
