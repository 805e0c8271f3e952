/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded keyed table of places: hash chains, free places, and the order of last use.
 *
 * It holds no keys and no values, only places 0..capacity-1: the caller keeps its own array of
 * entries in parallel, compares keys itself, and asks here who may match. Everything is O(1);
 * memory is the caller's and never grows; a full table says so and the caller evicts table_oldest()
 * or sheds. The hash is keyed with a secret, so that nobody outside can make long chains. Pure. */
#ifndef TUNNEL_TABLE_H
#define TUNNEL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_NONE UINT32_MAX
/* Largest capacity: 16 M places, far above what a worker's memory allows; keeps sizes in 32 bits.
 */
#define TABLE_CAPACITY_MAX (1u << 24)

struct table_node {
	uint32_t hash;
	uint32_t chain; /* next in the same chain, or next free */
	uint32_t older, newer;
};

struct table {
	struct table_node *nodes;
	uint32_t *heads;
	uint32_t mask;
	uint32_t capacity;
	uint32_t n_used;
	uint32_t free;		 /* first free place */
	uint32_t oldest, newest; /* ends of the order of use */
	uint64_t key[2];
};

/* Bytes of memory that a table of this capacity needs; 0 if capacity is 0 or too large. The result
 * is a multiple of 8; the memory must be aligned to 8. */
size_t table_bytes(uint32_t capacity);
/* Borrows mem (table_bytes(capacity) bytes) for its life. key: secret, random. */
void table_init(struct table *t, uint32_t capacity, void *mem, const uint64_t key[static 2]);
/* Keyed hash of 2 words; longer keys are folded by hashing twice. */
uint32_t table_hash(const struct table *t, uint64_t a, uint64_t b);

/* First and next place whose hash is `hash`, TABLE_NONE at the end. */
uint32_t table_first(const struct table *t, uint32_t hash);
uint32_t table_next(const struct table *t, uint32_t place);
/* Takes a free place for `hash`, as the newest. TABLE_NONE if full. */
uint32_t table_take(struct table *t, uint32_t hash);
/* Gives a used place back. */
void table_drop(struct table *t, uint32_t place);
/* Makes a used place the newest. */
void table_touch(struct table *t, uint32_t place);

/* The order of use: oldest place, and the one used after `place`. TABLE_NONE: no more. */
static inline uint32_t table_oldest(const struct table *t)
{
	return t->oldest;
}

static inline uint32_t table_newer(const struct table *t, uint32_t place)
{
	return t->nodes[place].newer;
}

#endif
