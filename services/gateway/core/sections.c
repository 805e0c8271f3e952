/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sections.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

static const struct {
	const char *name;
	enum peer peer;
} about[SECTIONS] = {
	[SECTION_SESSION] = {"session", PEER_ROUTER},
	[SECTION_ROUTER] = {"router", PEER_ROUTER},
	[SECTION_TUNNEL] = {"tunnel", PEER_TUNNEL},
	[SECTION_DISCOVERY] = {"discovery", PEER_DISCOVERY},
	[SECTION_LEDGER] = {"ledger", PEER_LEDGER},
};

enum peer section_peer(enum section what)
{
	return about[what].peer;
}

const char *section_name(enum section what)
{
	return about[what].name;
}

uint32_t sections_changed(const struct settings *a, const struct settings *b)
{
	uint32_t mask = 0;

	if (a->on != b->on || a->n_hops != b->n_hops ||
		strcmp(a->exit_countries, b->exit_countries) != 0)
		mask |= 1u << SECTION_SESSION;
	if (a->pay != b->pay || a->price_max_gwei_per_gib != b->price_max_gwei_per_gib ||
		a->hop_interval_s != b->hop_interval_s)
		mask |= 1u << SECTION_ROUTER;
	if (a->share != b->share || a->share_exit != b->share_exit ||
		a->share_rate_Bps != b->share_rate_Bps ||
		a->share_sessions_max != b->share_sessions_max)
		mask |= 1u << SECTION_TUNNEL;
	if (a->share != b->share || a->share_exit != b->share_exit)
		mask |= 1u << SECTION_DISCOVERY;
	if (a->pay != b->pay || a->earn != b->earn ||
		a->entry_gwei_per_gib != b->entry_gwei_per_gib ||
		a->middle_gwei_per_gib != b->middle_gwei_per_gib ||
		a->exit_gwei_per_gib != b->exit_gwei_per_gib ||
		a->spend_max_gwei_per_day != b->spend_max_gwei_per_day)
		mask |= 1u << SECTION_LEDGER;
	return mask;
}

void sections_init(struct sections *s)
{
	memset(s, 0, sizeof(*s));
}

static void make_due(struct section_state *x, mono_t at)
{
	x->due = true;
	x->due_at = at;
	x->id = 0;
}

void sections_on_link(struct sections *s, enum peer p, mono_t now)
{
	s->linked[p] = true;
	s->silent[p] = false;
	for (int i = 0; i < SECTIONS; i++) {
		if (about[i].peer != p)
			continue;
		make_due(&s->at[i], now);
		s->at[i].refused[0] = '\0';
	}
}

void sections_on_unlink(struct sections *s, enum peer p)
{
	s->linked[p] = false;
	s->silent[p] = false;
	for (int i = 0; i < SECTIONS; i++)
		if (about[i].peer == p)
			s->at[i].id = 0;
}

void sections_on_change(struct sections *s, uint32_t mask, mono_t now)
{
	for (int i = 0; i < SECTIONS; i++)
		if ((mask & 1u << i) != 0)
			make_due(&s->at[i], now);
}

void sections_on_word(struct sections *s, enum peer p)
{
	s->silent[p] = false;
}

bool sections_on_done(struct sections *s, uint64_t id, bool ok, const char *why, mono_t now,
	enum section *ret_what)
{
	for (int i = 0; i < SECTIONS && id != 0; i++) {
		struct section_state *x = &s->at[i];

		if (x->id != id)
			continue;
		x->id = 0;
		x->repeat_at = mono_add(now, SECTION_REPEAT);
		x->n_taken += ok;
		x->n_refused += !ok;
		snprintf(x->refused, sizeof(x->refused), "%s",
			ok		 ? ""
			: why[0] == '\0' ? "no reason given"
					 : why);
		text_clean(x->refused, sizeof(x->refused));
		*ret_what = (enum section)i;
		return true;
	}
	return false;
}

static void section_send(
	struct section_state *x, enum section what, mono_t now, const struct sections_sink *sink)
{
	uint64_t id = sink->send(sink->ctx, what);

	if (id == 0) {
		x->due_at = mono_add(now, SECTION_RETRY);
		return;
	}
	x->due = false;
	x->id = id;
	x->answer_by = mono_add(now, SECTION_ANSWER);
	x->n_sent++;
}

void sections_tick(struct sections *s, mono_t now, const struct sections_sink *sink)
{
	for (int i = 0; i < SECTIONS; i++) {
		struct section_state *x = &s->at[i];
		enum peer p = about[i].peer;

		if (!s->linked[p])
			continue;
		if (!x->due && x->id != 0 && mono_reached(x->answer_by, now)) {
			x->n_unanswered++;
			s->silent[p] = true;
			make_due(x, now);
		}
		if (!x->due && x->id == 0 && mono_reached(x->repeat_at, now))
			make_due(x, now);
		if (x->due && mono_reached(x->due_at, now))
			section_send(x, (enum section)i, now, sink);
	}
}

mono_t sections_deadline(const struct sections *s)
{
	mono_t at = MONO_NEVER;

	for (int i = 0; i < SECTIONS; i++) {
		const struct section_state *x = &s->at[i];

		if (!s->linked[about[i].peer])
			continue;
		at = mono_min(at, x->due ? x->due_at : x->id != 0 ? x->answer_by : x->repeat_at);
	}
	return at;
}
