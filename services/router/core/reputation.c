/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "reputation.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RTT_MAX_US 60000000u /* a minute: beyond that it is not a round trip but an outage */
#define DAYS_LISTED_MAX 100000

void rep_decay(struct reputation *r, mono_t now)
{
	double age_ns = (double)mono_since(r->at, now).ns;

	if (r->at.ns != 0 && age_ns > 0) {
		float k = (float)exp2(-age_ns / (double)REP_HALF_LIFE.ns);
		float g = (float)exp2(-age_ns / (double)REP_GOODPUT_HALF_LIFE.ns);

		r->good *= k;
		r->bad *= k;
		for (size_t i = 0; i < REP_BUCKETS; i++)
			r->goodput[i] *= g;
	}
	if (now.ns > r->at.ns)
		r->at = now;
}

static float evidence_cap(double v)
{
	return (float)fmin(v, REP_EVIDENCE_MAX);
}

void rep_good(struct reputation *r, mono_t now, double weight)
{
	rep_decay(r, now);
	r->good = evidence_cap((double)r->good + weight);
}

void rep_bad(struct reputation *r, mono_t now, double weight)
{
	rep_decay(r, now);
	r->bad = evidence_cap((double)r->bad + weight);
}

static size_t bucket_of(uint64_t rate_Bps)
{
	size_t k = 0;

	while (k + 1 < REP_BUCKETS && rate_Bps > (uint64_t)REP_BUCKET0_BPS << k)
		k++;
	return k;
}

void rep_goodput(struct reputation *r, mono_t now, uint64_t rate_Bps)
{
	if (rate_Bps < REP_GOODPUT_MIN_BPS)
		return;
	rep_decay(r, now);
	size_t k = bucket_of(rate_Bps);
	r->goodput[k] = evidence_cap((double)r->goodput[k] + 1);
}

void rep_rtt(struct reputation *r, uint32_t rtt_us)
{
	if (rtt_us == 0 || rtt_us > RTT_MAX_US)
		return;
	if (r->n_rtt == 0) {
		r->srtt_us = rtt_us;
		r->rttvar_us = rtt_us / 2;
	} else {
		int64_t diff = (int64_t)rtt_us - r->srtt_us;

		r->rttvar_us = (uint32_t)((3 * (int64_t)r->rttvar_us + llabs(diff)) / 4);
		r->srtt_us = (uint32_t)((int64_t)r->srtt_us + diff / 8);
	}
	if (r->n_rtt < UINT32_MAX)
		r->n_rtt++;
}

void rep_listed(struct reputation *r, uint32_t day)
{
	if (day <= r->last_day)
		return;
	r->last_day = day;
	r->days_listed++;
}

double rep_reliability(const struct reputation *r, mono_t now)
{
	struct reputation d = *r;

	rep_decay(&d, now);
	double a = REP_PRIOR_GOOD + (double)d.good, b = REP_PRIOR_BAD + (double)d.bad, n = a + b;
	double sd = sqrt(a * b / (n * n * (n + 1)));

	return fmax(a / n - sd, REP_RELIABILITY_MIN);
}

double rep_goodput_Bps(const struct reputation *r)
{
	double n = 0, below = 0;

	for (size_t k = 0; k < REP_BUCKETS; k++)
		n += (double)r->goodput[k];
	if (n <= 0)
		return REP_GOODPUT_PRIOR_BPS;
	size_t k = 0;
	while (k + 1 < REP_BUCKETS && below + (double)r->goodput[k] < 0.75 * n)
		below += (double)r->goodput[k++];
	/* Inside the bucket, by logarithm: its width is a factor of two. */
	double in = r->goodput[k] > 0 ? (0.75 * n - below) / (double)r->goodput[k] : 1;
	double own = (double)REP_BUCKET0_BPS * exp2((double)k - 1 + in);
	double w = n / (n + REP_GOODPUT_PRIOR_SAMPLES);

	return exp(w * log(own) + (1 - w) * log(REP_GOODPUT_PRIOR_BPS));
}

double rep_age(const struct reputation *r)
{
	double full = fmin((double)r->days_listed / REP_AGE_DAYS, 1);

	return REP_AGE_MIN + (1 - REP_AGE_MIN) * full;
}

bool rep_known(const struct reputation *r)
{
	return r->good > 0 || r->bad > 0 || r->n_rtt > 0;
}

void rep_blame(const double *reliability, size_t n, double *ret_q)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += 1 - reliability[i];
	for (size_t i = 0; i < n; i++)
		ret_q[i] = sum > 0 ? (1 - reliability[i]) / sum : 1.0 / (double)n;
}

/* Weights travel as thousandths: integers have one text form everywhere. */
static uint64_t milli(float v)
{
	return (uint64_t)((double)v * 1000 + 0.5);
}

void rep_encode(const struct reputation *r, mono_t now, char ret_text[static REP_TEXT_MAX])
{
	struct reputation d = *r;
	int at;

	rep_decay(&d, now);
	at = snprintf(ret_text, REP_TEXT_MAX, "%" PRIu64 " %" PRIu64 " %u %u %u %u %u",
		milli(d.good), milli(d.bad), d.srtt_us, d.rttvar_us, d.n_rtt, d.days_listed,
		d.last_day);
	for (size_t k = 0; k < REP_BUCKETS; k++)
		at += snprintf(
			ret_text + at, REP_TEXT_MAX - (size_t)at, " %" PRIu64, milli(d.goodput[k]));
}

/* The next number, at most max; numbers are parted by one space. */
static enum err number_take(const char **text, uint64_t max, uint64_t *ret_v)
{
	char *end;

	if (**text == ' ')
		(*text)++;
	if (**text < '0' || **text > '9')
		return ERR_MALFORMED;
	unsigned long long v = strtoull(*text, &end, 10);
	if (v > max)
		return ERR_MALFORMED;
	*text = end;
	*ret_v = v;
	return OK;
}

enum err rep_decode(
	const char *text, uint32_t day, uint32_t today, mono_t now, struct reputation *ret_r)
{
	const uint64_t weight_max = (uint64_t)(REP_EVIDENCE_MAX * 1000);
	const uint64_t max[7] = {weight_max, weight_max, RTT_MAX_US, RTT_MAX_US, UINT32_MAX,
		DAYS_LISTED_MAX, UINT32_MAX};
	struct reputation r = {.at = now};
	double days = today > day ? (double)(today - day) : 0;
	double k = exp2(-days),
	       g = exp2(-days * (double)REP_HALF_LIFE.ns / (double)REP_GOODPUT_HALF_LIFE.ns);
	uint64_t v[7], w;

	for (size_t i = 0; i < 7; i++)
		TRY(number_take(&text, max[i], &v[i]));
	r.good = (float)((double)v[0] / 1000 * k);
	r.bad = (float)((double)v[1] / 1000 * k);
	r.srtt_us = (uint32_t)v[2];
	r.rttvar_us = (uint32_t)v[3];
	r.n_rtt = r.srtt_us == 0 ? 0 : (uint32_t)v[4];
	r.days_listed = (uint32_t)v[5];
	r.last_day = v[6] <= today ? (uint32_t)v[6] : today;
	for (size_t i = 0; i < REP_BUCKETS; i++) {
		TRY(number_take(&text, weight_max, &w));
		r.goodput[i] = (float)((double)w / 1000 * g);
	}
	if (*text != '\0')
		return ERR_MALFORMED;
	*ret_r = r;
	return OK;
}

static float join(float a, float b, bool add)
{
	return add ? evidence_cap((double)a + (double)b) : (a > b ? a : b);
}

void rep_merge(struct reputation *r, const struct reputation *stored, bool add)
{
	r->good = join(r->good, stored->good, add);
	r->bad = join(r->bad, stored->bad, add);
	for (size_t k = 0; k < REP_BUCKETS; k++)
		r->goodput[k] = join(r->goodput[k], stored->goodput[k], add);
	if (r->n_rtt == 0) {
		r->srtt_us = stored->srtt_us;
		r->rttvar_us = stored->rttvar_us;
		r->n_rtt = stored->n_rtt;
	}
	if (stored->days_listed > 0) {
		/* Today may be counted on both sides. */
		bool same_day = stored->last_day >= r->last_day;
		uint32_t ours = r->days_listed - (same_day && r->days_listed > 0 ? 1 : 0);

		r->days_listed = add ? stored->days_listed + ours
				     : (stored->days_listed > r->days_listed ? stored->days_listed
									     : r->days_listed);
		if (stored->last_day > r->last_day)
			r->last_day = stored->last_day;
	}
}
