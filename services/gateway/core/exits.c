/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exits.h"

#include "text.h"

void exits_init(struct exits *x)
{
	/* The lists are large and empty: only their counts matter. */
	x->lists[0].n = x->lists[1].n = 0;
	x->in_use = 0;
	x->generation = 0;
	x->complete_at = x->answer_by = x->ask_at = (mono_t){0};
	x->id = 0;
	x->wanted = false;
	x->n_left_out = 0;
}

const struct exits_list *exits_list(const struct exits *x)
{
	return &x->lists[x->in_use];
}

void exits_want(struct exits *x, mono_t now)
{
	if (x->wanted)
		return;
	x->wanted = true;
	/* One list a second at most, however often the router's count changes. */
	x->ask_at = mono_add(x->complete_at, EXITS_RETRY);
	if (x->complete_at.ns == 0 || mono_reached(x->ask_at, now))
		x->ask_at = now;
}

void exits_look(struct exits *x, mono_t now)
{
	if (x->generation == 0 || mono_reached(mono_add(x->complete_at, EXITS_FRESH), now))
		exits_want(x, now);
}

void exits_on_router_lost(struct exits *x)
{
	x->id = 0;
}

bool exits_due(struct exits *x, mono_t now)
{
	if (x->id != 0 && mono_reached(x->answer_by, now)) {
		x->id = 0;
		x->wanted = true;
		x->ask_at = now;
	}
	if (!x->wanted && x->id == 0 && mono_reached(mono_add(x->complete_at, EXITS_REPEAT), now))
		exits_want(x, now);
	return x->wanted && x->id == 0 && mono_reached(x->ask_at, now);
}

void exits_on_sent(struct exits *x, uint64_t id, mono_t now)
{
	if (id == 0) {
		x->ask_at = mono_add(now, EXITS_RETRY);
		return;
	}
	x->wanted = false;
	x->id = id;
	x->answer_by = mono_add(now, EXITS_ANSWER);
	x->lists[1 - x->in_use].n = 0;
}

static void exit_add(struct exits *x, struct exits_list *to, const mvpn_Exit *e)
{
	if (to->n == EXITS_MAX) {
		x->n_left_out++;
		return;
	}
	mvpn_Exit *at = &to->at[to->n++];
	*at = *e;
	text_clean(at->country, sizeof(at->country));
	text_clean(at->name, sizeof(at->name));
	text_clean(at->why_not, sizeof(at->why_not));
}

bool exits_on_piece(struct exits *x, uint64_t re, const mvpn_ExitList *piece, mono_t now)
{
	struct exits_list *to = &x->lists[1 - x->in_use];

	if (x->id == 0 || re != x->id)
		return false;
	for (pb_size_t i = 0; i < piece->exits_count; i++)
		exit_add(x, to, &piece->exits[i]);
	x->answer_by = mono_add(now, EXITS_ANSWER);
	if (piece->more)
		return false;
	x->in_use = 1 - x->in_use;
	x->generation++;
	x->complete_at = now;
	x->id = 0;
	return true;
}

mono_t exits_deadline(const struct exits *x)
{
	if (x->id != 0)
		return x->answer_by;
	return x->wanted ? x->ask_at : mono_add(x->complete_at, EXITS_REPEAT);
}
