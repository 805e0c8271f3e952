/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relay's side: sessions that others use and pay for.
 *
 * A session begins with the free allowance as its credit (cumulative bytes; tunnel forwards while
 * used < credit). The payer asks Quote and gets a commit bound to this session; each ticket it then
 * sends is checked in this order: form, rate, payee, commit, ratio, face, expiry, worth, signature,
 * payer, number; only then does anything change. An accepted ticket adds exactly value_bytes(its
 * expected value less the cost of a claim) to the credit. [P-77]..[P-84]
 *
 * Store, then answer: changes of a turn are staged. The caller writes the staged rows in one
 * transaction and says payee_committed(ok); then the answers and grants leave, or, if it could not
 * write, everything staged is undone and refused with REASON_STORAGE. A request that was answered
 * may come again (the answer was lost): a ticket of this session whose digest is among the last
 * PAYEE_RECENT is answered Paid and not counted again.
 *
 * After a win, or COMMIT_LIFE, the commit is replaced by the next generation; the one before is
 * accepted for GRACE_LIFE and GRACE_TICKETS more, for what was on its way.
 *
 * Sessions whose role or terms cost nothing get unlimited credit. Pure. */
#ifndef LEDGER_PAYEE_H
#define LEDGER_PAYEE_H

#include "lib/rng.h"
#include "account.h"
#include "index.h"
#include "keys.h"
#include "peer.h"
#include "settle.h"
#include "terms.h"

#define PAYEE_SESSIONS_MAX INDEX_ROWS_MAX
/* Changes and answers of one transaction; payee_full() says when to commit early. */
#define PAYEE_BATCH_MAX 512
#define PAYEE_RECENT 32	    /* digests: what a payer may still repeat, PAYER_SPAN + PAYER_PIPELINE */
#define GRACE_TICKETS 8	    /* twice what a payer has on its way */
#define GRACE_LIFE DUR_S(10)
#define COMMIT_LIFE DUR_S(600)
#define TICKET_LIFE_S 7200 /* a ticket may expire at most this far ahead */
#define TICKET_SKEW_S 300  /* clocks differ */
/* Bytes of credit beyond use: what we may come to owe one payer. */
#define PAYEE_AHEAD_MAX ((uint64_t)64 << 20)
#define FACE_SPAN 64	  /* largest face, in least faces */
#define RATE_PER_S 256	  /* tickets per session: 1 MiB each at 2 Gbit/s */
#define RATE_BURST 64
#define CREDIT_UNLIMITED UINT64_MAX

enum payee_role {
	PAYEE_RELAY,
	PAYEE_EXIT /* a session that also relays is charged as an exit */
};

/* What is stored of a session, from its first Quote until it is closed. */
struct payee_row {
	uint64_t session;
	uint64_t nonce; /* random: makes its reveals its own */
	uint32_t role;	/* enum payee_role */
	bool quoted;
	bool for_exit; /* the fee that was quoted */
	uint64_t price_gwei_per_gib;
	uint8_t terms_hash[KECCAK_SIZE];
	uint32_t commit_id;
	bool has_payer;
	uint8_t payer[ADDRESS_SIZE];
	uint64_t base_bytes;   /* allowance at the beginning */
	uint64_t credit_bytes; /* base + bytes of all tickets taken */
	struct sums sums;
	uint64_t recent[PAYEE_RECENT]; /* first 8 bytes of digests; ring */
	uint32_t n_recent;	       /* ever put into the ring */
};

struct payee_session {
	bool open;
	bool listed;  /* tunnel told of it since it last (re)started */
	bool stored;  /* a row is in the store */
	bool closing; /* tunnel closed it; goes once its row is removed */
	bool staged;  /* is in the batch */
	bool removing; /* in the batch as a row to be removed */
	bool grant_due;
	uint16_t account; /* INDEX_NONE: no payer yet */
	uint64_t up_bytes, down_bytes;
	mono_t commit_since, grace_until, tokens_at;
	uint32_t grace_left, tokens;
	struct payee_row row;
};

struct payee_totals {
	struct sums all;    /* of all accounts, with those that were forgotten */
	struct sums pruned; /* of accounts that were forgotten */
};

struct payee_answer {
	uint64_t session;
	uint64_t seq; /* 0: answers a Quote */
	uint32_t request;
};

struct payee_sink {
	void *ctx;
	void (*answer)(void *ctx, uint64_t session, uint32_t request, const uint8_t *payload,
		size_t len);
	/* False: could not be handed over now; payee_tick tries again. */
	bool (*grant)(void *ctx, uint64_t session, uint64_t credit_bytes);
	/* Reads an account from the store; false: there is none. */
	bool (*account_load)(
		void *ctx, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a);
};

struct payee_counters {
	uint64_t quotes, taken, repeated;
	uint64_t refused[REASONS_MAX];
	uint64_t sessions_full, unknown_session;
	uint64_t closed_up_bytes, closed_down_bytes; /* of sessions that are over */
};

struct payee_batch {
	bool totals_staged;
	struct payee_totals totals_before;
	size_t n_sessions, n_accounts, n_answers, n_claims;
	struct {
		uint16_t at;
		struct payee_row before;
	} sessions[PAYEE_BATCH_MAX];
	struct {
		uint16_t at;
		struct account before;
	} accounts[PAYEE_BATCH_MAX];
	struct payee_answer answers[PAYEE_BATCH_MAX];
	struct claim claims[PAYEE_BATCH_MAX];
};

struct payee {
	const struct keys *keys; /* borrowed */
	struct rng rng;
	struct settle_terms settle;
	struct ticket_domain domain;
	struct terms_book book;
	bool storage_down; /* the last commit failed: refuse at once, until it works again */
	bool work;	   /* payee_tick has something to do */
	struct index index;
	struct payee_session sessions[PAYEE_SESSIONS_MAX];
	size_t n_sessions;
	struct {
		uint32_t refs; /* sessions; 0: free */
		bool staged;
		struct account account;
	} accounts[PAYEE_SESSIONS_MAX];
	struct payee_totals totals;
	struct payee_batch batch;
	struct payee_counters counters;
};

/* p is large (about 4 MB): heap. Borrows keys. */
void payee_init(struct payee *p, const struct keys *keys, const struct settle_terms *settle,
	const uint8_t seed[static 32]);

/* From the store, before anything else. ERR_FULL: more rows than PAYEE_SESSIONS_MAX. */
NODISCARD enum err payee_load(
	struct payee *p, const struct payee_row *row, const struct payee_sink *sink);

/* New terms from settings. When a free relay begins to charge, sessions that are open stay free. */
void payee_set_terms(struct payee *p, const struct terms *t, wall_t wall,
	const struct payee_sink *sink);

void payee_on_opened(struct payee *p, mono_t now, uint64_t session, bool is_exit,
	const struct payee_sink *sink);
void payee_on_role(struct payee *p, uint64_t session, bool is_exit, const struct payee_sink *sink);
/* credit_bytes: what tunnel holds; taken over for a session of which we have no row, granted again if
 * it is less than ours. */
void payee_on_usage(struct payee *p, uint64_t session, uint64_t up_bytes, uint64_t down_bytes,
	uint64_t credit_bytes, const struct payee_sink *sink);
void payee_on_closed(struct payee *p, uint64_t session, uint64_t up_bytes, uint64_t down_bytes);
/* The other process restarted: what it told is to be told again, then payee_on_complete. */
void payee_on_tunnel_restarted(struct payee *p);
void payee_on_complete(struct payee *p);
/* A payload from a stranger. Refusals leave at once, all else after payee_committed. */
void payee_on_asked(struct payee *p, mono_t now, wall_t wall, uint64_t session, uint32_t request,
	const uint8_t *payload, size_t len, const struct payee_sink *sink);

/* All credits again: tunnel's link came up anew. */
void payee_grant_all(struct payee *p, const struct payee_sink *sink);
/* Puts sessions that wait to be closed into the batch, and sends grants that are due. */
void payee_tick(struct payee *p, const struct payee_sink *sink);

/* Is something staged? The rows are those that batch names: sessions[at].row,
 * accounts[at].account, totals. A row is to be removed if sessions[at].removing. */
bool payee_staged(const struct payee *p);
bool payee_full(const struct payee *p);
void payee_committed(struct payee *p, bool ok, const struct payee_sink *sink);

/* The store can be written again. */
void payee_storage_back(struct payee *p);

/* NULL if there is none. Borrows. */
const struct payee_session *payee_find(const struct payee *p, uint64_t session);

#endif
