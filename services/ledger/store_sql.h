/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What store.c and store_check.c share: the statements and how columns become values. */
#ifndef LEDGER_STORE_SQL_H
#define LEDGER_STORE_SQL_H

#include <sqlite3.h>

#include "store.h"

enum stmt {
	BEGIN,
	COMMIT,
	ROLLBACK,
	RELAY_PUT,
	RELAY_DEL,
	RELAY_ALL,
	ACCOUNT_PUT,
	ACCOUNT_DEL,
	ACCOUNT_GET,
	ACCOUNT_ALL,
	ACCOUNT_COUNT,
	ACCOUNT_PRUNABLE,
	CLIENT_PUT,
	CLIENT_DEL,
	CLIENT_ALL,
	TOTAL_PUT,
	TOTAL_ALL,
	VALUE_PUT,
	VALUE_ALL,
	TERMS_CLEAR,
	TERMS_PUT,
	TERMS_ALL,
	STMTS
};

struct store {
	sqlite3 *db;
	sqlite3_stmt *stmts[STMTS];
	char why[STORE_WHY_MAX];
};

/* Reads columns from left to right; bad is set by a value that cannot be one of ours. */
struct row {
	sqlite3_stmt *st;
	int col;
	bool bad;
};

uint64_t row_u64(struct row *r);
void row_blob(struct row *r, uint8_t *out, size_t len);
struct sums row_sums(struct row *r);
void row_account(struct row *r, struct account *ret_a);
void row_relay(struct row *r, struct payee_row *ret_p);
void row_client(struct row *r, struct payer_row *ret_p);

/* Next row of a statement that returns rows: true, or false at the end and *ret_e set; the statement
 * is reset by then. */
bool store_next(struct store *s, enum stmt which, enum err *ret_e);
struct row store_row(struct store *s, enum stmt which);

#endif
