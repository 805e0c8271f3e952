/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Echoes: how far each hop is, and whether it still answers. */
#include "route_internal.h"

dur_t route_clamp(dur_t d, dur_t low, dur_t high)
{
	return d.ns < low.ns ? low : d.ns > high.ns ? high : d;
}

/* RFC 6298, in nanoseconds. */
void route_rtt_sample(struct route_hop *h, dur_t rtt)
{
	uint64_t diff;

	if (rtt.ns == 0)
		rtt.ns = 1;
	if (h->srtt.ns == 0) {
		h->srtt = rtt;
		/* Less than RFC 6298's half: a first sample with a handshake in it is long anyway.
		 */
		h->rttvar.ns = rtt.ns / 4;
		return;
	}
	diff = rtt.ns > h->srtt.ns ? rtt.ns - h->srtt.ns : h->srtt.ns - rtt.ns;
	h->rttvar.ns = (3 * h->rttvar.ns + diff) / 4;
	h->srtt.ns = (7 * h->srtt.ns + rtt.ns) / 8;
}

static dur_t hop_rto(const struct route_hop *h)
{
	return route_clamp((dur_t){h->srtt.ns + 4 * h->rttvar.ns}, ROUTE_RTO_MIN, ROUTE_RTO_MAX);
}

void route_report_dead(struct route *r, unsigned int hop, const struct route_sink *sink)
{
	if (r->dead)
		return;
	r->dead = true;
	r->dead_hop = hop;
	sink->dead(sink->ctx, r, hop);
}

/* The hop before it answers, so it is not our own uplink; and an answer could have come by now. */
static void report_suspect(struct route *r, unsigned int hop, const struct route_sink *sink)
{
	const struct route_hop *h = &r->hops[hop];
	const uint64_t asked_ns = h->silent_echoes * ROUTE_ECHO_FAST.ns;

	if (r->suspect || r->dead || hop == 0 || hop + 1 >= r->n_hops ||
		h->silent_echoes < ROUTE_SUSPECT_ECHOES || asked_ns < hop_rto(h).ns ||
		r->hops[hop - 1].silent_echoes >= ROUTE_SUSPECT_ECHOES)
		return;
	r->suspect = true;
	sink->suspect(sink->ctx, r, hop);
}

/* ---- echoes ---- */

static void history_put(struct route_hop *h, bool lost)
{
	h->history = h->history << 1 | lost;
	if (h->n_history < 64)
		h->n_history++;
}

void route_echo_send(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];
	struct route_echo *e = &h->echoes[h->echo_hand++ % ROUTE_ECHOES];

	if (e->nonce != 0)
		history_put(h, true);
	e->nonce = rng_u64(r->rng) | 1; /* 0 marks a free place */
	e->sent = now;
	h->echo_at = now;
	if (h->silent_echoes < ROUTE_SILENT_ECHOES)
		h->silent_echoes++;
	sink->echo(sink->ctx, r, hop, e->nonce);
}

static void echoes_expire(struct route_hop *h, mono_t now)
{
	for (int i = 0; i < ROUTE_ECHOES; i++) {
		if (h->echoes[i].nonce != 0 &&
			mono_since(h->echoes[i].sent, now).ns >= ROUTE_ECHO_LOST.ns) {
			h->echoes[i].nonce = 0;
			history_put(h, true);
		}
	}
}

/* ROUTE_MEASURE: done when all echoes were answered or are lost. */
void route_measure_next(struct route *r, mono_t now, const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[0];
	bool all_sent = h->echo_hand >= ROUTE_MEASURE_ECHOES;

	if (all_sent && (h->n_answered >= ROUTE_MEASURE_ECHOES ||
				mono_since(h->echo_at, now).ns >= ROUTE_ECHO_LOST.ns)) {
		bool heard = h->n_answered > 0;

		sink->measured(sink->ctx, r, heard ? OK : ERR_TIMEOUT, h->srtt);
		route_begin_closing(r, now, sink);
	} else if (!all_sent && mono_since(h->echo_at, now).ns >= ROUTE_MEASURE_SPACING.ns) {
		route_echo_send(r, now, 0, sink);
	}
}

void route_on_echo(struct route *r, mono_t now, unsigned int hop, uint64_t nonce,
	const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];

	if (hop >= r->n_hops || nonce == 0)
		return;
	for (int i = 0; i < ROUTE_ECHOES; i++) {
		if (h->echoes[i].nonce != nonce)
			continue;
		h->echoes[i].nonce = 0;
		route_rtt_sample(h, mono_since(h->echoes[i].sent, now));
		history_put(h, false);
		h->n_answered++;
		route_on_heard(r, now, hop);
		if (r->purpose == ROUTE_MEASURE && r->state == ROUTE_BUILDING)
			route_measure_next(r, now, sink);
		return;
	}
}

/* ---- watching ---- */

/* When there is cause to look closely: data without answer, or an overdue echo. */
static mono_t alarm_from(const struct route *r)
{
	mono_t from = MONO_NEVER;

	if (r->dead)
		return from; /* it was said; keep the slow pace */
	if (r->unanswered_at.ns != 0)
		from = mono_add(
			r->unanswered_at, route_clamp((dur_t){2 * r->hops[r->n_hops - 1].srtt.ns},
						  ROUTE_ALARM_MIN, ROUTE_ALARM_MAX));
	for (unsigned int k = 0; k < r->n_hops; k++) {
		const struct route_hop *h = &r->hops[k];

		if (h->state != HOP_READY || h->silent_echoes == 0)
			continue;
		from = h->silent_echoes > 1 ? (mono_t){0}
					    : mono_min(from, mono_add(h->echo_at, hop_rto(h)));
	}
	return from;
}

/* Enough echoes were sent in vain: what is due next is the verdict. */
static bool all_silent(const struct route *r, const struct route_hop *h)
{
	return !r->dead && h->silent_echoes == ROUTE_SILENT_ECHOES;
}

/* When this hop's next echo, or the verdict, is due. */
static mono_t hop_due(const struct route *r, const struct route_hop *h, mono_t alarm)
{
	mono_t slow = mono_add(h->echo_at, ROUTE_ECHO_EVERY);
	mono_t fast = mono_add(h->echo_at, all_silent(r, h) ? hop_rto(h) : ROUTE_ECHO_FAST);

	return mono_min(slow, fast.ns > alarm.ns ? fast : alarm);
}

static bool asked_lately(const struct route_hop *h, mono_t now)
{
	return h->unpaid_at.ns != 0 && mono_since(h->unpaid_at, now).ns < ROUTE_UNPAID.ns;
}

void route_unpaid(struct route *r, mono_t now, unsigned int hop, const overlay_Notice *notice,
	const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];
	const uint64_t left =
		notice->credit_bytes > notice->used_bytes ? notice->credit_bytes - notice->used_bytes : 0;

	if (!asked_lately(h, now))
		h->unpaid_since = now;
	h->unpaid_at = now;
	h->unpaid_bytes = sink->used(sink->ctx, r, hop) + left;
}

/* It stopped where it said that it would; had it been paid since, more had passed. */
static bool waits_for_payment(
	struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	const struct route_hop *h = &r->hops[hop];
	uint64_t used;

	if (!asked_lately(h, now) || mono_since(h->unpaid_since, now).ns >= ROUTE_UNPAID_MAX.ns)
		return false;
	used = sink->used(sink->ctx, r, hop);
	return used + ROUTE_UNPAID_SLACK >= h->unpaid_bytes && used <= h->unpaid_bytes + ROUTE_UNPAID_SLACK;
}

/* Silence behind a relay that waits for its payment says nothing about those behind. */
static bool excused(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	for (unsigned int k = 0; k < hop; k++)
		if (waits_for_payment(r, now, k, sink))
			return true;
	return false;
}

static void watch_hop(
	struct route *r, mono_t now, unsigned int hop, mono_t alarm, const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];

	echoes_expire(h, now);
	if (!mono_reached(hop_due(r, h, alarm), now))
		return;
	if (excused(r, now, hop, sink))
		h->silent_echoes = 0;
	report_suspect(r, hop, sink);
	if (all_silent(r, h))
		route_report_dead(r, hop, sink);
	else
		route_echo_send(r, now, hop, sink);
}

/* A tick far too late: the machine or this process slept, and what came meanwhile is still to be
 * read. */
static void forgive_stall(struct route *r, mono_t now)
{
	mono_t due = route_deadline(r);

	if (mono_since(due, now).ns < ROUTE_STALL.ns)
		return;
	r->unanswered_at.ns = 0;
	for (unsigned int k = 0; k < r->n_hops; k++) {
		r->hops[k].silent_echoes = 0;
		for (int i = 0; i < ROUTE_ECHOES; i++)
			r->hops[k].echoes[i].nonce = 0;
	}
}

void route_watch(struct route *r, mono_t now, const struct route_sink *sink)
{
	mono_t alarm;

	forgive_stall(r, now);
	alarm = alarm_from(r);
	for (unsigned int k = 0; k < r->n_hops; k++)
		if (r->hops[k].state == HOP_READY)
			watch_hop(r, now, k, alarm, sink);
}

mono_t route_watch_deadline(const struct route *r)
{
	const mono_t alarm = alarm_from(r);
	mono_t d = MONO_NEVER;

	for (unsigned int k = 0; k < r->n_hops; k++)
		if (r->hops[k].state == HOP_READY)
			d = mono_min(d, hop_due(r, &r->hops[k], alarm));
	return d;
}

struct route_hop_stats route_hop_stats(const struct route *r, unsigned int hop)
{
	const struct route_hop *h = &r->hops[hop];
	uint64_t mask = h->n_history >= 64 ? UINT64_MAX : ((uint64_t)1 << h->n_history) - 1;
	struct route_hop_stats s = {
		.rtt_us = (uint32_t)(h->srtt.ns / 1000),
		.jitter_us = (uint32_t)(h->rttvar.ns / 1000),
	};

	if (h->n_history > 0)
		s.loss_ppm = (uint32_t)((uint64_t)__builtin_popcountll(h->history & mask) *
					1000000 / h->n_history);
	return s;
}
