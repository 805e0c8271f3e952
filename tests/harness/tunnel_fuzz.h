/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the stateful fuzzers of sessions share: an input that is read as a programme, and time. */
#ifndef TESTS_TUNNEL_FUZZ_H
#define TESTS_TUNNEL_FUZZ_H

#include "tests/harness/tunnel_pair.h"

struct reader {
	const uint8_t *p, *end;
};

static inline uint8_t next(struct reader *r)
{
	return r->p < r->end ? *r->p++ : 0;
}

/* Timers run at their instants; what they send stays on the wire. */
static inline void let_pass(struct pair *p, dur_t d)
{
	mono_t until = mono_add(p->now, d);

	for (int i = 0; i < 10000; i++) {
		mono_t due = mono_min(host_deadline(&p->a), host_deadline(&p->b));

		if (due.ns > until.ns) {
			clock_set(p, until);
			return;
		}
		if (due.ns > p->now.ns)
			clock_set(p, due);
		tick(p);
		CHECK(mono_min(host_deadline(&p->a), host_deadline(&p->b)).ns > p->now.ns);
	}
	CHECK(!"timers do not end");
}

/* 1 ms to about 240 s, evenly in the logarithm. */
static inline void let_pass_drawn(struct pair *p, uint8_t x)
{
	let_pass(p, (dur_t){(uint64_t)(1000000 + (x & 15) * 60000) << (x >> 4)});
	if (x == 255)
		let_pass(p, DUR_S(200));
}

#endif
