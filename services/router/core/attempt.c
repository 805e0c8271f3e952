/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attempt.h"

#include <stdio.h>
#include <string.h>

/* What not to use again, in the order in which it is given up. */
struct avoid {
	uint32_t exits[PICK_EXCLUDE_MAX / 2], middles[PICK_EXCLUDE_MAX / 2];
	size_t n_exits, n_middles;
	bool may_repeat; /* in the end the same relays again are better than nothing */
};

unsigned int attempts_under_way(const struct router *r, enum path_use use)
{
	unsigned int n = 0;

	for (size_t i = 0; i < PATHS_MAX; i++) {
		const struct path *p = &r->paths[i];

		n += p->use == use && (p->state == PATH_BUILDING || p->state == PATH_PROBING) &&
		     p->id != r->vpn.live && !p->adopted;
	}
	return n;
}

unsigned int attempts_hopeful(const struct router *r, enum path_use use, mono_t now)
{
	unsigned int n = 0;

	for (size_t i = 0; i < PATHS_MAX; i++) {
		const struct path *p = &r->paths[i];

		n += p->use == use && (p->state == PATH_BUILDING || p->state == PATH_PROBING) &&
		     p->id != r->vpn.live && !p->adopted &&
		     mono_since(p->began, now).ns < ATTEMPT_HOPE.ns;
	}
	return n;
}

static void avoid_path(struct router *r, const struct path *p, struct avoid *a)
{
	for (unsigned int k = 0; k < p->n_hops; k++) {
		uint32_t peer = path_peer(r, p, k);
		enum hop_role role = path_role(p, k);

		if (peer == PICK_NONE)
			continue;
		if (role == HOP_EXIT && a->n_exits < PICK_EXCLUDE_MAX / 2)
			a->exits[a->n_exits++] = peer;
		else if (role == HOP_MIDDLE && a->n_middles < PICK_EXCLUDE_MAX / 2)
			a->middles[a->n_middles++] = peer;
	}
}

static void avoid_fill(struct router *r, enum path_use use, struct when now, struct avoid *a)
{
	const struct path *live = path_find(r, r->vpn.live);
	const struct path *old = path_find(r, r->vpn.repair.of);

	*a = (struct avoid){
		.may_repeat = use == PATH_FOR_REPAIR ||
			      (use == PATH_FOR_USE && (live == NULL || !path_fits(r, live, now)))};
	if (use != PATH_FOR_REPAIR && live != NULL)
		avoid_path(r, live, a);
	if (use == PATH_FOR_REPAIR && old != NULL)
		avoid_path(r, old, a);
	for (size_t i = 0; i < PATHS_MAX; i++) {
		const struct path *p = &r->paths[i];

		if (p->state == PATH_BUILDING || p->state == PATH_PROBING)
			avoid_path(r, p, a);
	}
	/* An attempt beside another that is under way must differ, or it tells nothing new. */
	if (attempts_under_way(r, use) > 0)
		a->may_repeat = false;
}

static void ask_exclude(struct pick_ask *ask, const struct avoid *a, bool exits, bool middles)
{
	ask->n_exclude = 0;
	for (size_t i = 0; exits && i < a->n_exits; i++)
		ask->exclude[ask->n_exclude++] = a->exits[i];
	for (size_t i = 0; middles && i < a->n_middles; i++)
		ask->exclude[ask->n_exclude++] = a->middles[i];
}

struct chooser {
	struct router *r;
	const struct view *v;
	struct rng *rng;
	struct when now;
	struct avoid avoid;
	uint32_t exit; /* to keep, or PICK_NONE */
	char *why;
};

/* With this entry, giving up step by step what should not be used again. */
static enum err choose_with(const struct chooser *c, uint32_t entry, bool strict, struct pick *ret)
{
	const struct avoid *a = &c->avoid;
	struct pick_ask ask = {.entry = entry, .exit = c->exit, .strict = strict};
	enum err e = ERR_NOT_FOUND;

	for (int rung = 0; e != OK && rung < 4; rung++) {
		bool exits = rung < 2, middles = (rung & 1) == 0;

		if ((rung == 1 && (a->n_middles == 0 || a->n_exits == 0) && !a->may_repeat) ||
			(rung == 2 && a->n_middles == 0 && !a->may_repeat) ||
			(rung == 3 && !a->may_repeat && a->n_exits + a->n_middles > 0))
			continue;
		ask_exclude(&ask, a, exits, middles);
		e = pick_route(c->v, &c->r->peers, &c->r->edges, &ask, c->rng, c->now, ret, c->why);
	}
	return e;
}

static uint32_t guard_peer(struct router *r, const struct guard *g)
{
	const struct peer *p = peers_find(&r->peers, g->node_id);

	return p == NULL ? PICK_NONE : (uint32_t)(p - r->peers.all);
}

/* Known guards from `from` on in order of use, those that are ready or those that are not. */
static enum err choose_with_guards(
	const struct chooser *c, bool ready, bool strict, size_t from, struct pick *ret)
{
	size_t order[GUARDS_MAX], n = guards_order(&c->r->guards, c->now.mono, order), n_side = 0;
	size_t side[GUARDS_MAX];

	for (size_t i = 0; i < n; i++)
		if (guard_ready(&c->r->guards.all[order[i]], c->now.mono) == ready)
			side[n_side++] = order[i];
	for (size_t i = 0; i < n_side; i++) {
		const struct guard *g = &c->r->guards.all[side[(from + i) % n_side]];
		uint32_t entry = guard_peer(c->r, g);

		if (entry == PICK_NONE || !pick_entry_fits(c->v, entry))
			continue;
		if (choose_with(c, entry, strict, ret) == OK)
			return OK;
	}
	return ERR_NOT_FOUND;
}

/* No known guard will do: draw others. */
static enum err choose_with_new(const struct chooser *c, struct pick *ret)
{
	uint32_t known[GUARDS_MAX], drawn[GUARDS_TRIED_NEW];
	size_t n_known = 0, n;

	for (size_t i = 0; i < c->r->guards.n; i++)
		if (guard_peer(c->r, &c->r->guards.all[i]) != PICK_NONE)
			known[n_known++] = guard_peer(c->r, &c->r->guards.all[i]);
	n = pick_entries(c->v, known, n_known, c->rng, c->now, drawn, GUARDS_TRIED_NEW);
	for (int strict = 1; strict >= 0; strict--)
		for (size_t i = 0; i < n; i++)
			if (choose_with(c, drawn[i], strict, ret) == OK)
				return OK;
	return ERR_NOT_FOUND;
}

static size_t guards_ready(const struct chooser *c)
{
	size_t n = 0;

	for (size_t i = 0; i < c->r->guards.n; i++)
		n += guard_ready(&c->r->guards.all[i], c->now.mono);
	return n;
}

static enum err choose(const struct chooser *c, size_t guard_from, struct pick *ret)
{
	pick_why_none(c->v, c->exit != PICK_NONE, c->why);
	if (c->v->policy.n_hops == 1) {
		if (choose_with(c, PICK_NONE, true, ret) == OK)
			return OK;
		return choose_with(c, PICK_NONE, false, ret);
	}
	/* All that are known are being tried, in vain so far. */
	if (guard_from >= guards_ready(c) && guard_from > 0 && choose_with_new(c, ret) == OK)
		return OK;
	if (choose_with_guards(c, true, true, guard_from, ret) == OK ||
		choose_with_guards(c, true, false, guard_from, ret) == OK ||
		choose_with_new(c, ret) == OK)
		return OK;
	return choose_with_guards(c, false, false, 0, ret);
}

/* ---- from choice to order ---- */

static struct path *path_from(struct router *r, const struct pick *pick, enum path_use use,
	uint32_t exit_of, struct when now)
{
	struct path *p = path_new(r, now);
	uint64_t patience_ns = ATTEMPT_PATIENCE.ns + 3000ull * pick->rtt_us;

	if (p == NULL)
		return NULL;
	p->use = use;
	p->exit_of = exit_of;
	p->n_hops = pick->n_hops;
	p->expected_us = pick->rtt_us;
	p->deadline = mono_add(now.mono, ATTEMPT_DEADLINE);
	p->patience.ns =
		patience_ns < ATTEMPT_PATIENCE_MAX.ns ? patience_ns : ATTEMPT_PATIENCE_MAX.ns;
	for (unsigned int k = 0; k < p->n_hops; k++)
		memcpy(p->hops[k].node_id, r->peers.all[pick->peers[k]].node_id, NODE_ID_SIZE);
	memcpy(p->reasons, pick->reasons, sizeof(p->reasons));
	return p;
}

static void order(struct router *r, const struct path *p, const struct pick *pick)
{
	const struct peer *hops[POLICY_HOPS_MAX];

	for (unsigned int k = 0; k < pick->n_hops; k++)
		hops[k] = &r->peers.all[pick->peers[k]];
	r->sink->build(r->sink->ctx, p, hops);
}

/* Two attempts share a guard: a slow middle must not show us to another one. Where only the entry
 * can differ it does at once. */
static size_t guard_from(const struct router *r, enum path_use use)
{
	unsigned int n = attempts_under_way(r, use);

	return use == PATH_FOR_REPAIR && r->want.n_hops == 2 ? n : n / 2;
}

enum err attempt_start(struct router *r, enum path_use use, struct when now,
	const struct path **ret_path, char ret_why[static NOTE_MAX])
{
	struct chooser c = {.r = r,
		.v = router_view(r, now),
		.rng = &r->rng,
		.now = now,
		.exit = PICK_NONE,
		.why = ret_why};
	const struct path *old = use == PATH_FOR_REPAIR ? path_find(r, r->vpn.repair.of) : NULL;
	struct pick pick;

	avoid_fill(r, use, now, &c.avoid);
	if (old != NULL)
		c.exit = path_peer(r, old, old->n_hops - 1);
	if (use == PATH_FOR_REPAIR && c.exit == PICK_NONE)
		return ERR_NOT_FOUND;
	TRY(choose(&c, guard_from(r, use), &pick));
	struct path *p = path_from(r, &pick, use, old == NULL ? 0 : old->id, now);
	if (p == NULL) {
		snprintf(ret_why, NOTE_MAX, "too many routes at once");
		return ERR_FULL;
	}
	if (p->n_hops > 1)
		/* A guard already, or the sample is full: then it serves this once and is not kept.
		 */
		(void)!guards_add(&r->guards, p->hops[0].node_id, &r->rng, now);
	order(r, p, &pick);
	*ret_path = p;
	return OK;
}

enum err attempt_rehearse(struct router *r, const struct view *v, struct rng *rng, struct when now,
	struct pick *ret_pick, char ret_why[static NOTE_MAX])
{
	struct chooser c = {
		.r = r, .v = v, .rng = rng, .now = now, .exit = PICK_NONE, .why = ret_why};

	c.avoid.may_repeat = true;
	return choose(&c, 0, ret_pick);
}
