/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bans.h"

#include <string.h>

static bool ban_holds(const struct ban *b, mono_t now)
{
	return b->until.ns != 0 && !mono_reached(b->until, now);
}

const struct ban *bans_find(const struct bans *b, const uint8_t id[static NODE_ID_SIZE], mono_t now)
{
	for (size_t i = 0; i < BANS_MAX; i++) {
		const struct ban *e = &b->entries[i];

		if (ban_holds(e, now) && memcmp(e->node_id, id, NODE_ID_SIZE) == 0)
			return e;
	}
	return NULL;
}

void bans_add(struct bans *b, const uint8_t id[static NODE_ID_SIZE],
	const uint8_t one[static DESCRIPTOR_SIZE], const uint8_t other[static DESCRIPTOR_SIZE],
	mono_t now)
{
	struct ban *e = &b->entries[0];

	for (size_t i = 1; i < BANS_MAX; i++)
		if (b->entries[i].until.ns < e->until.ns)
			e = &b->entries[i];
	memcpy(e->node_id, id, NODE_ID_SIZE);
	memcpy(e->proof[0], one, DESCRIPTOR_SIZE);
	memcpy(e->proof[1], other, DESCRIPTOR_SIZE);
	e->until = mono_add(now, BAN_TIME);
}

uint32_t bans_count(const struct bans *b, mono_t now)
{
	uint32_t n = 0;

	for (size_t i = 0; i < BANS_MAX; i++)
		n += ban_holds(&b->entries[i], now);
	return n;
}
