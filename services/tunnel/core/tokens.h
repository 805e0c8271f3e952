/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bucket of whole tokens: so many per second, saved up to a burst. Pure, header only. */
#ifndef TUNNEL_TOKENS_H
#define TUNNEL_TOKENS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"

struct tokens {
	mono_t at; /* when n was true */
	uint32_t n;
};

static inline void tokens_init(struct tokens *t, mono_t now, uint32_t burst)
{
	*t = (struct tokens){.at = now, .n = burst};
}

/* per_s 1..1e9. What is not a whole token yet stays in `at`. */
static inline void tokens_refill(struct tokens *t, mono_t now, uint32_t per_s, uint32_t burst)
{
	const uint64_t each_ns = DUR_S(1).ns / per_s;
	const uint64_t gained = mono_since(t->at, now).ns / each_ns;

	if (t->n + gained >= burst) {
		*t = (struct tokens){.at = now, .n = burst};
	} else {
		t->n += (uint32_t)gained;
		t->at.ns += gained * each_ns;
	}
}

/* Takes `cost` tokens; false, and none taken, if there are fewer. */
static inline bool tokens_take(
	struct tokens *t, mono_t now, uint32_t per_s, uint32_t burst, uint32_t cost)
{
	tokens_refill(t, now, per_s, burst);
	if (t->n < cost)
		return false;
	t->n -= cost;
	return true;
}

#endif
