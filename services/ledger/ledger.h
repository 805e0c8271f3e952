/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service's state, shared by its files. */
#ifndef LEDGER_LEDGER_H
#define LEDGER_LEDGER_H

#include "lib/sys/service.h"
#include "backend.h"
#include "store.h"

/* WalletState at most so often. */
#define WALLET_EVERY DUR_S(1)
/* After a failed commit, until the next try. */
#define STORE_RETRY DUR_MS(500)
#define PRUNE_EVERY DUR_S(600)

struct ledger_conf {
	char backend[8];
	bool pay, earn;
	uint64_t price_gwei_per_gib[HOP_ROLES];
	uint64_t free_bytes;
	uint64_t spend_max_gwei_per_day;
};

struct ledger {
	struct service *service;
	const struct ledger_conf *conf;
	struct store_settings settings; /* in force */
	struct backend *backend;
	struct store *store;
	secp256k1_context *ctx;
	struct keys keys;
	struct payee *payee;
	struct payer *payer;
	struct payee_sink payee_sink;
	struct payer_sink payer_sink;
	struct settle_terms settle;
	char store_trouble[STORE_WHY_MAX]; /* empty: it works */
	mono_t store_retry_at, prune_at;
	mono_t wallet_at; /* last sent */
	bool wallet_due;
	uint64_t n_commits, n_commits_failed;
};

extern const struct bus_inbox ledger_inbox;
extern const struct ctl_verb ledger_verbs[];
extern const size_t ledger_n_verbs;

/* main.c */
wall_t ledger_wall(void);
mono_t ledger_now(const struct ledger *l);
/* Commits what is staged, then lets answers and grants leave. */
void ledger_flush(struct ledger *l);
/* Takes settings into force: terms, payer. ERR_INVALID: a price out of bounds; ERR_IO, ERR_FULL: they
 * could not be stored, and nothing changed. ret_why is set on error. */
NODISCARD enum err ledger_apply(
	struct ledger *l, const struct store_settings *x, char ret_why[static STORE_WHY_MAX]);
/* Empty, or what is wrong in words: the state of the store, the backend, the day's limit. */
const char *ledger_trouble(const struct ledger *l);

/* outbox.c */
void ledger_sinks_init(struct ledger *l);
void tell_allowance(struct ledger *l);
void tell_terms(struct ledger *l);
void tell_wallet(struct ledger *l);
void answer_done(struct ledger *l, uint64_t re, enum err e, const char *why);

#endif
