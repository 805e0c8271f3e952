/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a payee keeps of one payer key: sums, and which ticket numbers it has taken.
 *
 * Numbers are kept as the highest and a bitmap of the 64 below it: a ticket counts at most once, may
 * arrive a little out of order, and is refused if it is further behind. So replay protection is of
 * constant size per payer, no entry is ever evicted, and a claim on chain, which wants growing
 * numbers, can be put in order. An account is kept until the last ticket that it could hold has
 * expired. Pure. */
#ifndef LEDGER_ACCOUNT_H
#define LEDGER_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"
#include "ticket.h"

#define SEQ_WINDOW 64

/* Tickets taken and what they were worth. */
struct sums {
	uint64_t n_tickets;
	amount_t expected; /* sum of expected values */
	uint64_t n_wins;
	amount_t won; /* sum of the faces of winning tickets */
};

struct account {
	uint8_t payer[ADDRESS_SIZE];
	uint64_t seq_top;	/* highest number taken; 0: none */
	uint64_t seq_bits;	/* bit i: seq_top - i was taken */
	uint32_t keep_day;	/* UTC day of the latest expiry seen: not forgotten before it is over */
	struct sums all;	/* ever */
	struct sums closed;	/* of sessions that are closed: all = closed + open sessions */
};

enum seq_fit {
	SEQ_NEW,
	SEQ_TAKEN,
	SEQ_BEHIND /* further behind than the window, or number 0 */
};

enum seq_fit account_seq_fit(const struct account *a, uint64_t seq);
/* seq must be SEQ_NEW. */
void account_seq_take(struct account *a, uint64_t seq);

/* ERR_OVERFLOW leaves s as it was. */
NODISCARD enum err sums_add(struct sums *s, const struct sums *more);
bool sums_eq(const struct sums *a, const struct sums *b);

#endif
