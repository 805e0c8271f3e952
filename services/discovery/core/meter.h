/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A token bucket: `burst` at once, then one per `every`. The empty struct is a full bucket. */
#ifndef DISCOVERY_METER_H
#define DISCOVERY_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"

struct meter {
	uint64_t paid_ns; /* the bucket is full again at this instant (monotonic) */
};

/* Takes one token; false if there is none. (The GCRA form: one number instead of two.) */
static inline bool meter_take(struct meter *m, mono_t now, dur_t every, uint32_t burst)
{
	uint64_t from = m->paid_ns > now.ns ? m->paid_ns : now.ns;

	if (from - now.ns > every.ns * (burst - 1u))
		return false;
	m->paid_ns = from + every.ns;
	return true;
}

/* When the next token is there, at the earliest now. */
static inline mono_t meter_ready(const struct meter *m, mono_t now, dur_t every, uint32_t burst)
{
	uint64_t debt = m->paid_ns > now.ns ? m->paid_ns - now.ns : 0;
	uint64_t room = every.ns * (burst - 1u);

	return debt <= room ? now : mono_add(now, (dur_t){debt - room});
}

#endif
