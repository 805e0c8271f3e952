/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Latency between two relays, learned from our own routes: what hop k takes beyond hop k-1.
 *
 * A set-associative memory of bounded size; the stalest entry of a set gives way. It is kept in
 * this process only: who was next to whom on our routes is nobody else's business. An edge never
 * measured is a guess by country, and few samples are drawn to the guess with weight n / (n + 4).
 * Pure. */
#ifndef ROUTER_EDGE_H
#define ROUTER_EDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/descriptor.h"
#include "lib/units.h"

#define EDGE_SETS 1024
#define EDGE_WAYS 4

#define EDGE_GUESS_JITTER_US 5000

struct edge {
	uint64_t pair; /* keyed hash of both ids; 0: free */
	mono_t at;
	uint32_t srtt_us, rttvar_us, n;
};

struct edge_memory {
	uint8_t hash_key[16];
	struct edge edges[EDGE_SETS][EDGE_WAYS];
};

struct edge_guess {
	uint32_t rtt_us, jitter_us;
	bool measured;
};

void edge_init(struct edge_memory *m, const uint8_t hash_key[static 16]);
void edge_note(struct edge_memory *m, const uint8_t a[static NODE_ID_SIZE],
	const uint8_t b[static NODE_ID_SIZE], uint32_t rtt_us, mono_t now);
/* guess_us: what to believe without measurements. */
struct edge_guess edge_estimate(const struct edge_memory *m, const uint8_t a[static NODE_ID_SIZE],
	const uint8_t b[static NODE_ID_SIZE], uint32_t guess_us);

#endif
