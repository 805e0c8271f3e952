/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "meter.h"

static uint64_t clamp(uint64_t v, uint64_t low, uint64_t high)
{
	return v < low ? low : v > high ? high : v;
}

static uint64_t credit_left(const struct meter *m)
{
	uint64_t used = meter_used(m);

	return m->credit_bytes > used ? m->credit_bytes - used : 0;
}

/* Report more often as credit runs out, so that the next ticket is on its way in time. Where nothing is
 * to be paid, the time says when: by bytes it took 3 % of the processor at full speed. */
static void next_report(struct meter *m)
{
	m->reported_bytes = meter_used(m);
	m->report_bytes = UINT64_MAX;
	if (m->priced)
		m->report_bytes = m->reported_bytes +
			clamp(credit_left(m) / 8, METER_REPORT_MIN, METER_REPORT_MAX);
}

/* Saturates: a credit near 2^64 is a credit without end. */
static void next_notice(struct meter *m, uint64_t granted)
{
	uint64_t low = granted / 4 > METER_NOTICE_MIN ? granted / 4 : METER_NOTICE_MIN;

	m->low_bytes = m->credit_bytes > low ? m->credit_bytes - low : 0;
}

void meter_init(struct meter *m, mono_t now, uint64_t free_bytes, bool priced)
{
	*m = (struct meter){.credit_bytes = free_bytes, .reported_at = now, .priced = priced};
	next_notice(m, free_bytes);
	next_report(m);
}

void meter_grant(struct meter *m, uint64_t credit_bytes)
{
	uint64_t granted;

	if (credit_bytes <= m->credit_bytes)
		return;
	granted = credit_bytes - m->credit_bytes;
	m->credit_bytes = credit_bytes;
	next_notice(m, granted);
	if (m->noticed_at.ns != 0 && credit_left(m) > 0)
		m->noticed_at.ns = 0; /* the next shortage is a new one */
}

void meter_notice_again(struct meter *m)
{
	m->noticed_at.ns = 0;
}

static bool report_due(const struct meter *m, mono_t now)
{
	uint64_t used = meter_used(m);

	return used >= m->report_bytes ||
	       (used != m->reported_bytes &&
		       mono_since(m->reported_at, now).ns >= METER_REPORT_EVERY.ns);
}

static bool notice_due(const struct meter *m, mono_t now)
{
	return m->priced && meter_used(m) >= m->low_bytes &&
	       (m->noticed_at.ns == 0 ||
		       mono_since(m->noticed_at, now).ns >= METER_NOTICE_EVERY.ns);
}

unsigned int meter_due(struct meter *m, mono_t now)
{
	unsigned int due = 0;

	if (report_due(m, now)) {
		m->reported_at = now;
		next_report(m);
		due |= METER_REPORT;
	}
	if (notice_due(m, now)) { /* [P-47] */
		m->noticed_at = now;
		due |= METER_NOTICE;
	}
	return due;
}

void bucket_init(struct bucket *b, mono_t now, uint64_t rate_Bps, uint64_t burst_bytes)
{
	const uint64_t least = 128u << 10;

	if (burst_bytes == 0)
		burst_bytes = rate_Bps / 20 > least ? rate_Bps / 20 : least;
	if (burst_bytes > INT64_MAX)
		burst_bytes = INT64_MAX;
	*b = (struct bucket){.rate_Bps = rate_Bps,
		.burst_bytes = burst_bytes,
		.tokens = (int64_t)burst_bytes,
		.at = now,
		.window_began = now,
		.window = 1};
}

static void bucket_refill(struct bucket *b, mono_t now)
{
	unsigned __int128 ns = mono_since(b->at, now).ns;
	unsigned __int128 gained = ns * b->rate_Bps / 1000000000u;
	unsigned __int128 room = (unsigned __int128)((__int128)b->burst_bytes - b->tokens);

	if (gained >= room) {
		b->tokens = (int64_t)b->burst_bytes;
		b->at = now;
	} else if (gained > 0) {
		b->tokens += (int64_t)gained;
		/* What is not a whole byte yet stays in `at`. */
		b->at.ns += (uint64_t)((gained * 1000000000u + b->rate_Bps - 1) / b->rate_Bps);
	}
}

static void window_turn(struct bucket *b, mono_t now)
{
	if (!mono_reached(mono_add(b->window_began, BUCKET_WINDOW), now))
		return;
	b->window_began = now;
	b->window++;
	b->n_before = b->n_sessions;
	b->n_sessions = 0;
}

/* Has s had its part of this window's rate? */
static bool had_its_part(struct bucket *b, struct bucket_share *s)
{
	const uint32_t n = b->n_sessions > b->n_before ? b->n_sessions : b->n_before;
	const uint64_t all = b->rate_Bps / (1000000000u / BUCKET_WINDOW.ns);

	return s->n_bytes >= all / (n > 0 ? n : 1);
}

bool bucket_take(struct bucket *b, mono_t now, struct bucket_share *s, uint64_t n_bytes)
{
	if (b->rate_Bps == 0)
		return true;
	bucket_refill(b, now);
	window_turn(b, now);
	if (s->window != b->window) {
		*s = (struct bucket_share){.window = b->window};
		b->n_sessions++;
	}
	if (b->tokens <= 0 || n_bytes > INT64_MAX / 2 ||
		(b->tokens < (int64_t)(b->burst_bytes / 2) && had_its_part(b, s)))
		return false;
	b->tokens -= (int64_t)n_bytes;
	s->n_bytes = n_bytes < UINT32_MAX - s->n_bytes ? s->n_bytes + (uint32_t)n_bytes : UINT32_MAX;
	return true;
}
