/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "indices.h"

static uint32_t home(const struct indices *t, uint32_t index)
{
	return index >> t->shift & (t->size - 1);
}

void indices_init(struct indices *t, struct indices_entry *entries, uint32_t size, uint32_t worker_bits)
{
	*t = (struct indices){.entries = entries, .size = size, .shift = worker_bits};
	for (uint32_t i = 0; i < size; i++)
		entries[i].handle = INDICES_NONE;
}

enum err indices_add(struct indices *t, uint32_t index, uint32_t handle)
{
	uint32_t i = home(t, index);

	if (indices_crowded(t))
		return ERR_FULL;
	while (t->entries[i].handle != INDICES_NONE) {
		if (t->entries[i].index == index)
			return ERR_INVALID;
		i = (i + 1) & (t->size - 1);
	}
	t->entries[i] = (struct indices_entry){index, handle};
	t->n++;
	return OK;
}

void indices_grow(struct indices *t, struct indices_entry *entries, uint32_t size)
{
	struct indices old = *t;

	BUG_ON(size <= old.size);
	indices_init(t, entries, size, old.shift);
	for (uint32_t i = 0; i < old.size; i++)
		if (old.entries[i].handle != INDICES_NONE)
			BUG_ON(indices_add(t, old.entries[i].index, old.entries[i].handle) != OK);
}

static uint32_t place_of(const struct indices *t, uint32_t index)
{
	uint32_t i = home(t, index);

	while (t->entries[i].handle != INDICES_NONE && t->entries[i].index != index)
		i = (i + 1) & (t->size - 1);
	return i;
}

uint32_t indices_find(const struct indices *t, uint32_t index)
{
	return t->entries[place_of(t, index)].handle;
}

void indices_remove(struct indices *t, uint32_t index)
{
	uint32_t hole = place_of(t, index), i = hole;

	if (t->entries[hole].handle == INDICES_NONE)
		return;
	t->n--;
	/* What follows moves up unless that would put it before its home. */
	for (;;) {
		i = (i + 1) & (t->size - 1);
		if (t->entries[i].handle == INDICES_NONE)
			break;
		uint32_t from = home(t, t->entries[i].index);
		if (((i - from) & (t->size - 1)) >= ((i - hole) & (t->size - 1))) {
			t->entries[hole] = t->entries[i];
			hole = i;
		}
	}
	t->entries[hole].handle = INDICES_NONE;
}
