/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "index.h"

#define MASK (INDEX_SLOTS - 1)

void index_init(struct index *x)
{
	for (unsigned int i = 0; i < INDEX_SLOTS; i++) {
		x->slots[i].key = 0;
		x->slots[i].row = INDEX_NONE;
	}
}

/* The slot of key, or the empty one where it would go. */
static unsigned int slot_of(const struct index *x, uint64_t key)
{
	unsigned int i = (unsigned int)key & MASK;

	while (x->slots[i].row != INDEX_NONE && x->slots[i].key != key)
		i = (i + 1) & MASK;
	return i;
}

uint16_t index_find(const struct index *x, uint64_t key)
{
	return x->slots[slot_of(x, key)].row;
}

void index_add(struct index *x, uint64_t key, uint16_t row)
{
	unsigned int i = slot_of(x, key);

	x->slots[i].key = key;
	x->slots[i].row = row;
}

void index_remove(struct index *x, uint64_t key)
{
	unsigned int hole = slot_of(x, key);

	if (x->slots[hole].row == INDEX_NONE)
		return;
	for (unsigned int i = (hole + 1) & MASK; x->slots[i].row != INDEX_NONE; i = (i + 1) & MASK) {
		unsigned int home = (unsigned int)x->slots[i].key & MASK;

		/* May it stand in the hole? Only if its home is not behind the hole. */
		if (((i - home) & MASK) >= ((i - hole) & MASK)) {
			x->slots[hole] = x->slots[i];
			hole = i;
		}
	}
	x->slots[hole].row = INDEX_NONE;
}
