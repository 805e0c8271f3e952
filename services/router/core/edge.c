/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "edge.h"

#include <string.h>

#include <sodium.h>

#define EDGE_RTT_MAX_US 10000000u

void edge_init(struct edge_memory *m, const uint8_t hash_key[static 16])
{
	memset(m, 0, sizeof(*m));
	memcpy(m->hash_key, hash_key, sizeof(m->hash_key));
}

static uint64_t pair_hash(const struct edge_memory *m, const uint8_t *a, const uint8_t *b)
{
	uint8_t both[2 * NODE_ID_SIZE];
	uint64_t h;
	bool swap = memcmp(a, b, NODE_ID_SIZE) > 0;

	memcpy(both, swap ? b : a, NODE_ID_SIZE);
	memcpy(both + NODE_ID_SIZE, swap ? a : b, NODE_ID_SIZE);
	crypto_shorthash((uint8_t *)&h, both, sizeof(both), m->hash_key);
	return h | 1;
}

/* `pair`'s entry; else, the one to use for it. */
static struct edge *slot_for(struct edge_memory *m, uint64_t pair)
{
	struct edge *set = m->edges[(pair >> 1) % EDGE_SETS], *stale = &set[0];

	for (size_t i = 0; i < EDGE_WAYS; i++) {
		if (set[i].pair == pair)
			return &set[i];
		if (set[i].pair == 0 || set[i].at.ns < stale->at.ns)
			stale = &set[i];
	}
	return stale;
}

void edge_note(struct edge_memory *m, const uint8_t a[static NODE_ID_SIZE],
	const uint8_t b[static NODE_ID_SIZE], uint32_t rtt_us, mono_t now)
{
	uint64_t pair = pair_hash(m, a, b);
	struct edge *e = slot_for(m, pair);

	if (rtt_us > EDGE_RTT_MAX_US)
		return;
	if (e->pair != pair) {
		*e = (struct edge){.pair = pair, .srtt_us = rtt_us, .rttvar_us = rtt_us / 2};
	} else {
		int64_t diff = (int64_t)rtt_us - e->srtt_us;

		e->rttvar_us =
			(uint32_t)((3 * (int64_t)e->rttvar_us + (diff < 0 ? -diff : diff)) / 4);
		e->srtt_us = (uint32_t)((int64_t)e->srtt_us + diff / 8);
	}
	e->n += e->n < UINT32_MAX;
	e->at = now;
}

static uint32_t blend(double w, uint32_t own, uint32_t guess)
{
	return (uint32_t)(w * own + (1 - w) * guess);
}

struct edge_guess edge_estimate(const struct edge_memory *m, const uint8_t a[static NODE_ID_SIZE],
	const uint8_t b[static NODE_ID_SIZE], uint32_t guess_us)
{
	uint64_t pair = pair_hash(m, a, b);
	const struct edge *set = m->edges[(pair >> 1) % EDGE_SETS];

	for (size_t i = 0; i < EDGE_WAYS; i++) {
		if (set[i].pair != pair)
			continue;
		double w = set[i].n / (set[i].n + 4.0);

		return (struct edge_guess){blend(w, set[i].srtt_us, guess_us),
			blend(w, set[i].rttvar_us, EDGE_GUESS_JITTER_US), true};
	}
	return (struct edge_guess){guess_us, EDGE_GUESS_JITTER_US, false};
}
