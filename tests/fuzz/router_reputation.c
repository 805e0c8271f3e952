/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reputation as it lies in Redis, where others could have written: numbers stay numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "services/router/core/reputation.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(const struct reputation *r, mono_t now)
{
	double rel = rep_reliability(r, now), rate = rep_goodput_Bps(r), age = rep_age(r);

	if (!(rel >= REP_RELIABILITY_MIN && rel <= 1) || !(rate > 0 && isfinite(rate)) ||
		!(age >= REP_AGE_MIN && age <= 1))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const mono_t now = {1000000000000ull};
	struct reputation r, own = {.good = 0};
	static char text[4096];
	char again[REP_TEXT_MAX];

	if (len < 4 || len >= sizeof(text))
		return 0;
	memcpy(text, data + 4, len - 4);
	text[len - 4] = '\0';
	if (rep_decode(text, data[0] | (uint32_t)data[1] << 8, data[2] | (uint32_t)data[3] << 8,
		    now, &r) != OK)
		return 0;
	check(&r, now);
	rep_good(&own, now, 3);
	rep_merge(&own, &r, (data[0] & 1) != 0);
	rep_goodput(&own, now, 1000000);
	check(&own, now);
	check(&own, mono_add(now, DUR_S(1000000)));
	rep_encode(&own, now, again);
	if (rep_decode(again, 1, 1, now, &r) != OK)
		abort();
	return 0;
}
