/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The books against each other: every ticket is counted in its session, in the account of its payer and
 * in the total, so each of these can be recomputed from the others. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_sql.h"

struct check {
	void (*on)(void *ctx, const struct store_figure *f);
	void *ctx;
	int n_wrong;
};

static void figure(struct check *c, const char *what, amount_t expected, amount_t found)
{
	struct store_figure f = {.what = what, .match = expected.wei == found.wei};

	amount_show_wei(expected, f.expected);
	amount_show_wei(found, f.found);
	c->n_wrong += !f.match;
	c->on(c->ctx, &f);
}

static void number(struct check *c, const char *what, uint64_t expected, uint64_t found)
{
	figure(c, what, (amount_t){expected}, (amount_t){found});
}

struct accounts {
	struct account *rows;
	struct sums *open; /* of their sessions */
	size_t n, room;
};

static enum err accounts_read(struct store *s, struct accounts *x)
{
	enum err e = OK, full = OK;

	while (store_next(s, ACCOUNT_ALL, &e)) {
		struct row r = store_row(s, ACCOUNT_ALL);

		if (x->n == x->room) {
			size_t room = x->room == 0 ? 256 : 2 * x->room;
			struct account *rows = realloc(x->rows, room * sizeof(*rows));

			if (rows == NULL) {
				full = ERR_FULL;
				continue;
			}
			x->rows = rows;
			x->room = room;
		}
		row_account(&r, &x->rows[x->n++]);
	}
	x->open = calloc(x->n + 1, sizeof(*x->open));
	return e != OK ? e : x->open == NULL ? ERR_FULL : full;
}

/* ACCOUNT_ALL comes in the order of the primary key. */
static size_t account_at(const struct accounts *x, const uint8_t payer[static ADDRESS_SIZE])
{
	size_t lo = 0, hi = x->n;

	while (lo < hi) {
		size_t mid = (lo + hi) / 2;

		if (memcmp(x->rows[mid].payer, payer, ADDRESS_SIZE) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < x->n && memcmp(x->rows[lo].payer, payer, ADDRESS_SIZE) == 0 ? lo : x->n;
}

/* Is the credit of a row what its tickets bought? Each ticket was rounded down by less than a byte. */
static bool credit_fits(const struct payee_row *p)
{
	uint64_t paid = p->credit_bytes - p->base_bytes, bytes;

	if (p->sums.n_tickets == 0)
		return paid == 0;
	if (value_bytes(p->sums.expected, p->price_gwei_per_gib, &bytes) != OK)
		return true; /* several prices or a very long session: cannot be told */
	return paid <= bytes && bytes - paid <= p->sums.n_tickets;
}

struct relay_figures {
	uint64_t n_rows, n_memory_differs, n_credit_differs, n_orphans;
};

static void relay_row_check(const struct payee *payee, struct accounts *x, const struct payee_row *p,
	struct relay_figures *f)
{
	const struct payee_session *m = payee_find(payee, p->session);
	size_t at = p->has_payer ? account_at(x, p->payer) : x->n;

	f->n_rows++;
	if (m == NULL || m->row.credit_bytes != p->credit_bytes || !sums_eq(&m->row.sums, &p->sums) ||
		m->row.commit_id != p->commit_id)
		f->n_memory_differs++;
	if (!credit_fits(p))
		f->n_credit_differs++;
	if (at < x->n && sums_add(&x->open[at], &p->sums) == OK)
		return;
	f->n_orphans += p->sums.n_tickets > 0;
}

static enum err relays_check(
	struct store *s, const struct payee *payee, struct accounts *x, struct relay_figures *f)
{
	enum err e = OK;

	while (store_next(s, RELAY_ALL, &e)) {
		struct row r = store_row(s, RELAY_ALL);
		struct payee_row p;

		row_relay(&r, &p);
		relay_row_check(payee, x, &p, f);
	}
	return e;
}

static uint64_t stored_sessions(const struct payee *p)
{
	uint64_t n = 0;

	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++)
		n += p->sessions[i].open && p->sessions[i].stored;
	return n;
}

static void earned_check(struct check *c, const struct payee *payee, const struct accounts *x,
	const struct relay_figures *f)
{
	struct sums all = payee->totals.pruned;
	uint64_t n_differ = f->n_orphans;

	for (size_t i = 0; i < x->n; i++) {
		struct sums sum = x->rows[i].closed;

		if (sums_add(&sum, &x->open[i]) != OK || !sums_eq(&sum, &x->rows[i].all))
			n_differ++;
		if (sums_add(&all, &x->rows[i].all) != OK)
			n_differ++;
	}
	number(c, "accounts that differ from their sessions", 0, n_differ);
	number(c, "tickets taken: total, sum of accounts", payee->totals.all.n_tickets, all.n_tickets);
	figure(c, "earned wei: total, sum of accounts", payee->totals.all.expected, all.expected);
	number(c, "wins: total, sum of accounts", payee->totals.all.n_wins, all.n_wins);
	figure(c, "won wei: total, sum of accounts", payee->totals.all.won, all.won);
	number(c, "relay sessions: memory, rows", stored_sessions(payee), f->n_rows);
	number(c, "relay sessions whose row differs from memory", 0, f->n_memory_differs);
	number(c, "relay sessions whose credit is not what tickets bought", 0, f->n_credit_differs);
}

static enum err totals_check(struct store *s, struct check *c, const struct payee *payee,
	const struct payer *payer)
{
	const struct {
		const char *name;
		const struct sums *memory;
	} names[] = {{"earned", &payee->totals.all}, {"earned, forgotten", &payee->totals.pruned},
		{"spent", &payer->totals.all}, {"spent, closed", &payer->totals.closed}};
	uint64_t n_differ = 0;
	enum err e = OK;

	while (store_next(s, TOTAL_ALL, &e)) {
		const char *name = (const char *)sqlite3_column_text(s->stmts[TOTAL_ALL], 0);
		struct row r = {s->stmts[TOTAL_ALL], 1, false};
		struct sums x = row_sums(&r);

		for (size_t i = 0; name != NULL && i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(name, names[i].name) == 0)
				n_differ += r.bad || !sums_eq(&x, names[i].memory);
	}
	number(c, "totals that differ from memory", 0, n_differ);
	return e;
}

static enum err spent_check(struct store *s, struct check *c, const struct payer *payer)
{
	struct sums all = payer->totals.closed;
	uint64_t n_differ = 0;
	enum err e = OK;

	while (store_next(s, CLIENT_ALL, &e)) {
		struct row r = store_row(s, CLIENT_ALL);
		struct payer_row p;

		row_client(&r, &p);
		const struct payer_session *m = payer_find(payer, p.session);
		if (m == NULL || m->row.next_seq != p.next_seq || !sums_eq(&m->row.sums, &p.sums))
			n_differ++;
		if (sums_add(&all, &p.sums) != OK)
			n_differ++;
	}
	number(c, "tickets signed: total, sum of sessions", payer->totals.all.n_tickets, all.n_tickets);
	figure(c, "spent wei: total, sum of sessions", payer->totals.all.expected, all.expected);
	number(c, "client sessions whose row differs from memory", 0, n_differ);
	return e;
}

int store_check(struct store *s, const struct payee *payee, const struct payer *payer,
	void (*on)(void *ctx, const struct store_figure *f), void *ctx)
{
	struct check c = {on, ctx, 0};
	struct accounts x = {0};
	struct relay_figures f = {0};
	enum err e = accounts_read(s, &x);

	if (e == OK)
		e = relays_check(s, payee, &x, &f);
	if (e == OK) {
		earned_check(&c, payee, &x, &f);
		e = totals_check(s, &c, payee, payer);
	}
	if (e == OK)
		e = spent_check(s, &c, payer);
	free(x.rows);
	free(x.open);
	return e == OK ? c.n_wrong : (int)e;
}
