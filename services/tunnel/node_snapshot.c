/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What router and ledger are told when they come up. Ten thousand sessions do not fit the bus's queue, so they
 * go in pieces. A piece of which the bus dropped something is told again: all that a snapshot says may be said
 * twice. What changes meanwhile is told by itself, in order with the rest. */
#include "lib/sys/clock.h"
#include "node_internal.h"
#include "overlay_role.h"
#include "proto/ledger.pb.h"
#include "proto/router.pb.h"

#define PIECE 512 /* sessions or routes, of two messages at most: a quarter of the bus's queue */
#define PIECE_EVERY DUR_MS(20)

struct piece {
	enum role to;
	uint32_t cursor, n;
};

static void run_piece(struct worker *w, void *arg)
{
	struct piece *p = arg;

	p->n = overlay_snapshot(w->overlay, mono_now(), p->to, &p->cursor, PIECE);
}

static void tell_complete(struct node *n, enum role to, uint32_t n_told)
{
	mvpn_RouterIn router = {.which_body = mvpn_RouterIn_routes_complete_tag};
	mvpn_LedgerIn ledger = {.which_body = mvpn_LedgerIn_sessions_complete_tag};

	router.body.routes_complete.n_routes = n_told;
	ledger.body.sessions_complete.n_sessions = n_told;
	if (to == ROLE_ROUTER)
		bus_tell(service_bus(n->service), to, mvpn_RouterIn_fields, &router);
	else
		bus_tell(service_bus(n->service), to, mvpn_LedgerIn_fields, &ledger);
}

static uint64_t n_dropped(const struct node *n)
{
	return bus_counters(service_bus(n->service))->dropped_full;
}

/* One piece; true: there may be more at once. */
static bool tell_piece(struct node *n, enum role to, mono_t now)
{
	struct snapshot *s = &n->snapshots[to];
	struct piece p = {.to = to, .cursor = s->cursor};
	uint64_t before;
	bool all, last;

	plane_notes_run(&n->plane, n); /* what was told before: not ours to repeat */
	before = n_dropped(n);
	worker_call(n->plane.workers[s->worker], run_piece, &p);
	plane_notes_run(&n->plane, n);
	all = p.n < PIECE;
	last = all && s->worker + 1 == n->plane.n_workers;
	if (last && n_dropped(n) == before)
		tell_complete(n, to, s->n + p.n);
	s->at = mono_add(now, PIECE_EVERY);
	if (n_dropped(n) != before)
		return false;
	s->n += p.n;
	s->cursor = all ? 0 : p.cursor;
	s->worker += all;
	s->on = !last;
	return all && !last;
}

void node_snapshot_begin(struct node *n, enum role to)
{
	n->snapshots[to] = (struct snapshot){.on = true};
	node_snapshots_tick(n, mono_now());
}

void node_snapshots_tick(struct node *n, mono_t now)
{
	for (int to = 0; to < ROLES; to++) {
		struct snapshot *s = &n->snapshots[to];

		/* A link that went down comes up again with a snapshot from the beginning. */
		s->on &= bus_link_up(service_bus(n->service), to);
		if (!s->on || !mono_reached(s->at, now))
			continue;
		while (tell_piece(n, to, now))
			;
	}
}

mono_t node_snapshots_deadline(const struct node *n)
{
	mono_t at = MONO_NEVER;

	for (int to = 0; to < ROLES; to++)
		if (n->snapshots[to].on)
			at = mono_min(at, n->snapshots[to].at);
	return at;
}
