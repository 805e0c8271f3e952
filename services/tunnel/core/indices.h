/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our receiver indices of one worker: from the 32 bits in a message to the session's handle.
 *
 * Open addressing, linear probing, removal by moving the followers up; half full at most, the caller
 * doubles the memory. Indices are random, so they are their own hash; the low bits name the worker and
 * are the same for all, so they take no part. Pure. */
#ifndef TUNNEL_INDICES_H
#define TUNNEL_INDICES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

#define INDICES_NONE UINT32_MAX

struct indices_entry {
	uint32_t index;
	uint32_t handle; /* INDICES_NONE: free */
};

struct indices {
	struct indices_entry *entries;
	uint32_t size; /* power of two */
	uint32_t n;
	uint32_t shift; /* bits of an index that name the worker */
};

/* entries: `size` of them, a power of two, uninitialised. Borrowed until indices_grow. */
void indices_init(struct indices *t, struct indices_entry *entries, uint32_t size, uint32_t worker_bits);
/* Moves everything into a larger array; the old one is the caller's again. */
void indices_grow(struct indices *t, struct indices_entry *entries, uint32_t size);
/* Time to grow? */
static inline bool indices_crowded(const struct indices *t)
{
	return t->n >= t->size / 2;
}
/* ERR_FULL when half full, ERR_INVALID if the index is taken. */
NODISCARD enum err indices_add(struct indices *t, uint32_t index, uint32_t handle);
void indices_remove(struct indices *t, uint32_t index);
/* The handle, INDICES_NONE if the index is not ours. */
uint32_t indices_find(const struct indices *t, uint32_t index);

#endif
