/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "wheel.h"

#include <stddef.h>
#include <string.h>

static uint64_t tick_ns(void)
{
	return WHEEL_TICK.ns;
}

void wheel_init(struct wheel *w, mono_t now)
{
	memset(w, 0, sizeof(*w));
	w->tick = now.ns / tick_ns();
}

void wheel_cancel(struct wheel *w, struct wheel_entry *e)
{
	const uint32_t slot = (uint32_t)(e->tick % WHEEL_SLOTS);

	if (e->link == NULL)
		return;
	*e->link = e->next;
	if (e->next != NULL)
		e->next->link = e->link;
	e->link = NULL;
	if (w->slot[slot] == NULL)
		w->occupied[slot / 64] &= ~((uint64_t)1 << slot % 64);
}

void wheel_set(struct wheel *w, struct wheel_entry *e, mono_t at)
{
	uint64_t tick = at.ns / tick_ns() + (at.ns % tick_ns() != 0);
	uint32_t slot;

	if (tick < w->tick)
		tick = w->tick;
	if (tick > w->tick + WHEEL_SLOTS - 1)
		tick = w->tick + WHEEL_SLOTS - 1;
	if (e->link != NULL && e->tick <= tick)
		return;
	wheel_cancel(w, e);
	slot = (uint32_t)(tick % WHEEL_SLOTS);
	e->tick = tick;
	e->next = w->slot[slot];
	e->link = &w->slot[slot];
	if (e->next != NULL)
		e->next->link = &e->next;
	w->slot[slot] = e;
	w->occupied[slot / 64] |= (uint64_t)1 << slot % 64;
}

/* Ticks from w->tick to the next occupied slot; WHEEL_SLOTS: none. */
static uint32_t distance(const struct wheel *w)
{
	const uint32_t from = (uint32_t)(w->tick % WHEEL_SLOTS);
	uint32_t words = WHEEL_SLOTS / 64;

	for (uint32_t i = 0; i <= words; i++) {
		uint32_t word = (from / 64 + i) % words;
		uint64_t bits = w->occupied[word];

		if (i == 0)
			bits &= ~(uint64_t)0 << from % 64;
		if (i == words)
			bits &= ((uint64_t)1 << from % 64) - 1;
		if (bits != 0)
			return (word * 64 + (uint32_t)__builtin_ctzll(bits) + WHEEL_SLOTS - from) % WHEEL_SLOTS;
	}
	return WHEEL_SLOTS;
}

struct wheel_entry *wheel_expired(struct wheel *w, mono_t now)
{
	const uint64_t tick = now.ns / tick_ns();
	const uint32_t d = distance(w);
	struct wheel_entry *e;

	if (d == WHEEL_SLOTS || w->tick + d > tick) {
		if (tick > w->tick)
			w->tick = tick;
		return NULL;
	}
	w->tick += d;
	e = w->slot[w->tick % WHEEL_SLOTS];
	wheel_cancel(w, e);
	return e;
}

mono_t wheel_deadline(const struct wheel *w)
{
	const uint32_t d = distance(w);

	return d == WHEEL_SLOTS ? MONO_NEVER : (mono_t){(w->tick + d) * tick_ns()};
}
