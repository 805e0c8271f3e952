/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Fair queue: what waits, by flow; each flow with something to give is served in turn, by bytes.
 *
 * Deficit round robin with two lists, as FQ-CoDel has it: a flow that comes anew goes before those that
 * have waited, for one quantum; a flow that always has something waiting gets a quantum per round. So a
 * flow that sends little is served at once, whatever the others have queued, and those that send much
 * share what is left alike. Order within a flow is kept. A flow is known only while something of it
 * waits (and one round more), so keys of any kind and number cost nothing.
 *
 * The caller bounds what waits: when there is too much, fq_shorten takes from the flow that has most, so
 * who sends too much loses first. Pure, intrusive, no allocation; all O(1) but fq_shorten.
 * Sources: Shreedhar and Varghese, Efficient Fair Queuing Using Deficit Round Robin; RFC 8290, section 4. */
#ifndef TUNNEL_FQ_H
#define TUNNEL_FQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FQ_QUANTUM 16384 /* bytes: what comes in small pieces goes before super-packets */

/* Part of what waits; the caller's. */
struct fq_item {
	struct fq_item *next;
	uint32_t bytes;
};

struct fq_flow {
	uint64_t key;
	struct fq_item *first, **end;
	uint32_t bytes; /* that wait */
	int32_t deficit;
	struct fq_flow *chain; /* of the hash bucket, or free */
	struct fq_flow *next;  /* of its list */
};

struct fq_list {
	struct fq_flow *first, **end;
};

struct fq {
	struct fq_flow **bucket; /* power of two of them */
	uint32_t mask;
	uint64_t seed;
	struct fq_flow *free;
	struct fq_list fresh, waiting;
	uint32_t n;	/* items that wait */
	uint64_t bytes; /* of them */
};

/* Bytes of memory for a queue of at most n_items. */
size_t fq_bytes(uint32_t n_items);
/* mem: fq_bytes(n_items) zero bytes, borrowed. seed: random, so that nobody can choose keys that collide. */
void fq_init(struct fq *q, uint32_t n_items, void *mem, uint64_t seed);
/* i->bytes are set. No more than n_items may wait. */
void fq_put(struct fq *q, uint64_t key, struct fq_item *i);
/* The next to be served, NULL if nothing waits. */
struct fq_item *fq_get(struct fq *q);
/* Takes the oldest item out of the flow that has most bytes waiting; NULL if nothing waits. O(flows). */
struct fq_item *fq_shorten(struct fq *q);

#endif
