/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What router and gateway are told. Router: each proven relay but ourselves, then each change. A
 * record knows whether its present version was told; one walk in the order of ids finds those
 * that were not, stops where the bus is full and goes on there. What is gone waits in a list of its
 * own, told first; if that runs over, everything is told anew and DirectoryComplete clears the
 * rest. DirectoryComplete says "what I did not name is gone", so it waits until our view is one:
 * warm. */
#include "parts.h"

#include <string.h>

void feed_on_news(struct discovery *d, const struct relay *r)
{
	if (r->state == RELAY_PROVEN && !r->own)
		d->feed.walk = true;
}

static void snapshot_begin(struct discovery *d)
{
	struct relays *t = &d->dir.relays;

	for (uint32_t i = 0; i < t->n; i++)
		relays_at(t, i)->told = false;
	d->feed.snapshot = d->feed.walk = true;
	d->feed.n_gone = 0;
	d->feed.at = 0;
}

void feed_on_lost(struct discovery *d, struct relay *r)
{
	struct feed *f = &d->feed;

	/* Told in an older version counts: router goes by the node id. Own was never told. */
	if (!f->router_up || r->own)
		return;
	r->told = false;
	if (f->n_gone == GONE_MAX) {
		snapshot_begin(d);
		return;
	}
	memcpy(f->gone[f->n_gone++], r->d.node_id, NODE_ID_SIZE);
}

void feed_on_router_link(struct discovery *d)
{
	d->feed.router_up = true;
	d->feed.next_try = (mono_t){0};
	snapshot_begin(d);
}

/* A link that is down begins anew when it is up again. */
static bool router_took(struct feed *f, enum err e)
{
	if (e == ERR_UNAVAILABLE)
		f->router_up = false;
	return e == OK;
}

static bool gone_tell(struct discovery *d)
{
	struct feed *f = &d->feed;
	uint32_t n = 0;

	while (n < f->n_gone && router_took(f, d->sink.gone(d->sink.ctx, f->gone[n])))
		n++;
	f->n_gone -= n;
	memmove(f->gone[0], f->gone[n], f->n_gone * sizeof(f->gone[0]));
	return f->n_gone == 0;
}

/* A walk ends when it went round without meeting an untold one; changes behind it begin another. */
static bool learned_tell(struct discovery *d)
{
	struct relays *t = &d->dir.relays;
	struct feed *f = &d->feed;

	if (!f->walk)
		return true;
	for (uint32_t n = 0; n < t->n; n++) {
		struct relay *r = relays_at(t, f->at % t->n);

		if (r->state == RELAY_PROVEN && !r->own && !r->told) {
			if (!router_took(f, d->sink.learned(d->sink.ctx, r)))
				return false;
			r->told = true;
		}
		f->at = (f->at + 1) % t->n;
	}
	f->walk = false;
	return true;
}

static bool router_tell(struct discovery *d)
{
	struct feed *f = &d->feed;

	if (!gone_tell(d) || !learned_tell(d))
		return false;
	if (!f->snapshot || !d->warm)
		return true;
	if (!router_took(f, d->sink.complete(d->sink.ctx, discovery_state(d).n_relays)))
		return false;
	f->snapshot = false;
	return true;
}

static bool same_state(const struct directory_state *a, const struct directory_state *b)
{
	return a->n_relays == b->n_relays && a->n_exits == b->n_exits &&
	       a->published == b->published && strcmp(a->trouble, b->trouble) == 0;
}

static void gateway_tell(struct discovery *d, mono_t now)
{
	struct feed *f = &d->feed;
	struct directory_state s;
	enum err e;

	if (!f->gateway_up || !mono_reached(f->next_state, now))
		return;
	f->next_state = mono_add(now, STATE_EVERY);
	s = discovery_state(d);
	if (f->state_said && same_state(&s, &f->said))
		return;
	e = d->sink.state(d->sink.ctx, &s);
	f->gateway_up = e != ERR_UNAVAILABLE;
	f->state_said = e == OK;
	f->said = s;
}

static bool router_owed(const struct discovery *d)
{
	const struct feed *f = &d->feed;

	return f->router_up && (f->n_gone > 0 || f->walk || (f->snapshot && d->warm));
}

void feed_tick(struct discovery *d, struct moment now)
{
	struct feed *f = &d->feed;

	if (router_owed(d) && mono_reached(f->next_try, now.mono))
		f->next_try = router_tell(d) ? (mono_t){0} : mono_add(now.mono, FEED_RETRY);
	gateway_tell(d, now.mono);
}

mono_t feed_deadline(const struct discovery *d)
{
	mono_t t = router_owed(d) ? d->feed.next_try : MONO_NEVER;

	return d->feed.gateway_up ? mono_min(t, d->feed.next_state) : t;
}
