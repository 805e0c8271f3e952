/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The ledger's memory: one SQLite file, WAL, synchronous=FULL, so that what a commit returned for is on
 * the disk. Holds sums, ticket numbers and the credit of open sessions by their random number; no
 * address, no name, no time finer than a day. Rows are overwritten with zeros when removed. */
#ifndef LEDGER_STORE_H
#define LEDGER_STORE_H

#include "core/payee.h"
#include "core/payer.h"
#include "core/value.h"

#define STORE_WHY_MAX 160
/* Accounts kept; beyond, those without an open session go, the soonest to expire first. A row is
 * about 150 bytes. */
#define ACCOUNTS_MAX 200000

struct store_settings {
	bool set; /* the gateway has spoken at least once */
	bool pay, earn;
	uint64_t price_gwei_per_gib[HOP_ROLES];
	uint64_t spend_max_gwei_per_day;
};

struct store;

/* Opens or makes dir/ledger.sqlite. On error ret_why says what is wrong. Caller owns the result. */
NODISCARD enum err store_open(
	struct store **ret_s, const char *dir, char ret_why[static STORE_WHY_MAX]);
void store_close(struct store **s);

/* Everything that was kept, into cores that were just made. */
NODISCARD enum err store_load(struct store *s, struct payee *payee, const struct payee_sink *sink,
	struct payer *payer, struct store_settings *ret_settings,
	char ret_why[static STORE_WHY_MAX]);

bool store_account_load(
	struct store *s, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a);

/* Writes what both cores have staged, as a whole or not at all. ERR_FULL: no space on the disk;
 * ERR_IO: anything else. store_why tells. */
NODISCARD enum err store_commit(
	struct store *s, const struct payee *payee, const struct payer *payer);
/* Can a commit be made now? Writes and commits a row of its own. */
NODISCARD enum err store_probe(struct store *s);
NODISCARD enum err store_terms_save(struct store *s, const struct terms_book *b);
NODISCARD enum err store_settings_save(struct store *s, const struct store_settings *x);
/* Forgets accounts whose day is over (or that are too many); their sums go to totals->pruned.
 * Only while nothing is staged. Returns how many, at most 1000 a call. */
NODISCARD enum err store_prune(
	struct store *s, uint32_t today, struct payee_totals *totals, size_t *ret_n);
const char *store_why(const struct store *s);

void store_accounts_each(
	struct store *s, size_t max, void (*on)(void *ctx, const struct account *a), void *ctx);

/* Sums all rows and compares: sessions with accounts, accounts with totals, both with what the cores
 * hold in memory. Calls on() for each figure; returns how many do not match, or a negative error. */
struct store_figure {
	const char *what;
	char expected[AMOUNT_TEXT_MAX], found[AMOUNT_TEXT_MAX];
	bool match;
};
int store_check(struct store *s, const struct payee *payee, const struct payer *payer,
	void (*on)(void *ctx, const struct store_figure *f), void *ctx);

#endif
