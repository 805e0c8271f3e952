/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fee schedule: what a relay asks, as its signed descriptor says it, and which schedules it still
 * honours after a change.
 *
 * A descriptor lives at most a day, so payers may hold one with the terms of yesterday. A relay keeps
 * the terms it replaced until the end of the next day and charges a session by those that its payer
 * names (terms_hash). Entry and middle cannot be told apart by a relay (docs/protocol.md), so its
 * fee is one for both: terms_set makes the two equal, at the higher. Pure. */
#ifndef LEDGER_TERMS_H
#define LEDGER_TERMS_H

#include "lib/descriptor.h"
#include "ticket.h"

/* Old schedules honoured at once: more changes than this in two days drop the oldest. */
#define TERMS_KEPT 8
#define TERMS_CURRENT UINT32_MAX

struct terms {
	uint32_t chain_id;
	uint8_t payee[ADDRESS_SIZE];
	uint64_t price_gwei_per_gib[HOP_ROLES];
	uint64_t free_bytes;
};

struct terms_kept {
	struct terms terms;
	uint8_t hash[KECCAK_SIZE];
	uint32_t last_day; /* UTC day (seconds / 86400) until which it is honoured; TERMS_CURRENT */
};

struct terms_book {
	struct terms_kept kept[TERMS_KEPT]; /* [0] is in force, then newest first */
	size_t n_kept;
};

/* keccak("mvpn terms v1" || chain 8 || payee 20 || 3 prices 8 || free 8), big-endian. */
void terms_hash(const struct terms *t, uint8_t ret_hash[static KECCAK_SIZE]);
void terms_of_descriptor(const struct descriptor *d, struct terms *ret_t);

/* The fee for acting as an exit or not; entry and middle count as one, the higher. */
uint64_t terms_price(const struct terms *t, bool exit);
bool terms_free(const struct terms *t);
/* ERR_INVALID: a price is over PRICE_MAX_GWEI. */
NODISCARD enum err terms_check(const struct terms *t);

/* Puts t in force on `today`; false if it already was. */
bool terms_set(struct terms_book *b, const struct terms *t, uint32_t today);
/* NULL if the hash is unknown or no longer honoured. Borrows from b until the next terms_set. */
const struct terms *terms_find(
	const struct terms_book *b, const uint8_t hash[static KECCAK_SIZE], uint32_t today);

uint32_t day_of(wall_t now);

#endif
