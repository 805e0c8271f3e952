/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes that equivocated: signed two different descriptors with one sequence number, so that parts
 * of the network hold different views. Both halves are kept as proof; the node is refused until the
 * ban is over. A relay that was restored from a backup comes back by publishing a higher number. */
#ifndef DISCOVERY_BANS_H
#define DISCOVERY_BANS_H

#include <stdbool.h>

#include "lib/descriptor.h"
#include "lib/units.h"

/* Proofs kept at one time (180 kB): far more than honest accidents make; beyond it the oldest ban
 * ends early. */
#define BANS_MAX 256
#define BAN_TIME DUR_S(24 * 3600)

struct ban {
	uint8_t node_id[NODE_ID_SIZE];
	mono_t until; /* 0: free */
	uint8_t proof[2][DESCRIPTOR_SIZE];
};

struct bans {
	struct ban entries[BANS_MAX];
};

/* NULL if id is not banned at `now`. Borrows from b until the next change. */
const struct ban *bans_find(
	const struct bans *b, const uint8_t id[static NODE_ID_SIZE], mono_t now);
void bans_add(struct bans *b, const uint8_t id[static NODE_ID_SIZE],
	const uint8_t one[static DESCRIPTOR_SIZE], const uint8_t other[static DESCRIPTOR_SIZE],
	mono_t now);
uint32_t bans_count(const struct bans *b, mono_t now);

#endif
