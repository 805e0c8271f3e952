/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Finds a row of a table by a 64-bit number: open addressing, linear probing, no tombstones (a
 * removal moves the ones behind it up). The numbers are our own tunnel's random session numbers,
 * so their low bits serve as the hash. Pure. */
#ifndef LEDGER_INDEX_H
#define LEDGER_INDEX_H

#include <stdint.h>

#define INDEX_ROWS_MAX 4096
#define INDEX_SLOTS (2 * INDEX_ROWS_MAX) /* a power of two, at most half full */
#define INDEX_NONE UINT16_MAX

struct index {
	struct {
		uint64_t key;
		uint16_t row; /* INDEX_NONE: the slot is empty */
	} slots[INDEX_SLOTS];
};

void index_init(struct index *x);
/* INDEX_NONE if absent. */
uint16_t index_find(const struct index *x, uint64_t key);
/* The key must be absent and the index hold less than INDEX_ROWS_MAX. */
void index_add(struct index *x, uint64_t key, uint16_t row);
void index_remove(struct index *x, uint64_t key);

#endif
