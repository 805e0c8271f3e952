/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "store_sql.h"

#define SCHEMA_VERSION 1
#define PRUNE_MAX 1000 /* accounts per call: a transaction of some ms */

static const char schema[] =
	"CREATE TABLE IF NOT EXISTS relay_session(session INTEGER PRIMARY KEY, nonce INTEGER, role INTEGER,"
	" for_exit INTEGER, price INTEGER, terms BLOB, commit_id INTEGER, payer BLOB, base INTEGER,"
	" credit INTEGER, tickets INTEGER, expected TEXT, wins INTEGER, won TEXT, recent BLOB,"
	" n_recent INTEGER);"
	"CREATE TABLE IF NOT EXISTS account(payer BLOB PRIMARY KEY, seq_top INTEGER, seq_bits INTEGER,"
	" keep_day INTEGER, tickets INTEGER, expected TEXT, wins INTEGER, won TEXT,"
	" closed_tickets INTEGER, closed_expected TEXT, closed_wins INTEGER, closed_won TEXT)"
	" WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS client_session(session INTEGER PRIMARY KEY, position INTEGER,"
	" rotation INTEGER, next_seq INTEGER, tickets INTEGER, expected TEXT, wins INTEGER, won TEXT);"
	"CREATE TABLE IF NOT EXISTS total(name TEXT PRIMARY KEY, tickets INTEGER, expected TEXT,"
	" wins INTEGER, won TEXT) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS value(name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS terms(place INTEGER PRIMARY KEY, chain_id INTEGER, payee BLOB,"
	" entry INTEGER, middle INTEGER, exit INTEGER, free INTEGER, last_day INTEGER);";

static const char *const sql[STMTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[RELAY_PUT] = "INSERT OR REPLACE INTO relay_session VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[RELAY_DEL] = "DELETE FROM relay_session WHERE session=?",
	[RELAY_ALL] = "SELECT * FROM relay_session",
	[ACCOUNT_PUT] = "INSERT OR REPLACE INTO account VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
	[ACCOUNT_DEL] = "DELETE FROM account WHERE payer=?",
	[ACCOUNT_GET] = "SELECT * FROM account WHERE payer=?",
	[ACCOUNT_ALL] = "SELECT * FROM account",
	[ACCOUNT_COUNT] = "SELECT count(*) FROM account",
	[ACCOUNT_PRUNABLE] = "SELECT * FROM account WHERE keep_day < ?1 AND payer NOT IN"
			     " (SELECT payer FROM relay_session WHERE payer IS NOT NULL)"
			     " ORDER BY keep_day LIMIT ?2",
	[CLIENT_PUT] = "INSERT OR REPLACE INTO client_session VALUES(?,?,?,?,?,?,?,?)",
	[CLIENT_DEL] = "DELETE FROM client_session WHERE session=?",
	[CLIENT_ALL] = "SELECT * FROM client_session",
	[TOTAL_PUT] = "INSERT OR REPLACE INTO total VALUES(?,?,?,?,?)",
	[TOTAL_ALL] = "SELECT * FROM total",
	[VALUE_PUT] = "INSERT OR REPLACE INTO value VALUES(?,?)",
	[VALUE_ALL] = "SELECT * FROM value",
	[TERMS_CLEAR] = "DELETE FROM terms",
	[TERMS_PUT] = "INSERT INTO terms VALUES(?,?,?,?,?,?,?,?)",
	[TERMS_ALL] = "SELECT * FROM terms ORDER BY place",
};

/* ---- statements ---- */

const char *store_why(const struct store *s)
{
	return s->why;
}

static enum err failed(struct store *s)
{
	int code = sqlite3_errcode(s->db);

	if (code == SQLITE_FULL)
		snprintf(s->why, sizeof(s->why), "no space left on the disk");
	else
		snprintf(s->why, sizeof(s->why), "the database cannot be used: %s",
			sqlite3_errmsg(s->db));
	return code == SQLITE_FULL ? ERR_FULL : ERR_IO;
}

/* A statement that returns no row. */
static enum err run(struct store *s, enum stmt which)
{
	int r = sqlite3_step(s->stmts[which]);
	enum err e = r == SQLITE_DONE || r == SQLITE_ROW ? OK : failed(s);

	sqlite3_reset(s->stmts[which]);
	return e;
}

bool store_next(struct store *s, enum stmt which, enum err *ret_e)
{
	int r = sqlite3_step(s->stmts[which]);

	if (r == SQLITE_ROW)
		return true;
	*ret_e = r == SQLITE_DONE ? OK : failed(s);
	sqlite3_reset(s->stmts[which]);
	return false;
}

struct row store_row(struct store *s, enum stmt which)
{
	return (struct row){s->stmts[which], 0, false};
}

static enum err begin(struct store *s)
{
	return run(s, BEGIN);
}

/* Ends the transaction either way; e is what happened in it. */
static enum err end(struct store *s, enum err e)
{
	if (e == OK)
		e = run(s, COMMIT);
	if (e != OK && sqlite3_get_autocommit(s->db) == 0) {
		char why[STORE_WHY_MAX];

		memcpy(why, s->why, sizeof(why));
		(void)!run(s, ROLLBACK);
		memcpy(s->why, why, sizeof(why));
	}
	return e;
}

/* ---- values to columns, left to right ---- */

struct bind {
	sqlite3_stmt *st;
	int col;
};

static struct bind binding(struct store *s, enum stmt which)
{
	return (struct bind){s->stmts[which], 0};
}

static void put_u64(struct bind *b, uint64_t v)
{
	sqlite3_bind_int64(b->st, ++b->col, (sqlite3_int64)v);
}

static void put_blob(struct bind *b, const uint8_t *p, size_t len)
{
	sqlite3_bind_blob(b->st, ++b->col, p, (int)len, SQLITE_TRANSIENT);
}

static void put_text(struct bind *b, const char *text)
{
	sqlite3_bind_text(b->st, ++b->col, text, -1, SQLITE_TRANSIENT);
}

static void put_amount(struct bind *b, amount_t a)
{
	char text[AMOUNT_TEXT_MAX];

	put_text(b, amount_show_wei(a, text));
}

static void put_sums(struct bind *b, const struct sums *x)
{
	put_u64(b, x->n_tickets);
	put_amount(b, x->expected);
	put_u64(b, x->n_wins);
	put_amount(b, x->won);
}

/* ---- columns to values ---- */

uint64_t row_u64(struct row *r)
{
	return (uint64_t)sqlite3_column_int64(r->st, r->col++);
}

void row_blob(struct row *r, uint8_t *out, size_t len)
{
	int col = r->col++;

	if (sqlite3_column_type(r->st, col) == SQLITE_BLOB &&
		(size_t)sqlite3_column_bytes(r->st, col) == len)
		memcpy(out, sqlite3_column_blob(r->st, col), len);
	else
		r->bad = true;
}

static amount_t row_amount(struct row *r)
{
	const char *text = (const char *)sqlite3_column_text(r->st, r->col++);
	amount_t a = AMOUNT_ZERO;

	if (text == NULL || amount_parse_wei(text, &a) != OK)
		r->bad = true;
	return a;
}

struct sums row_sums(struct row *r)
{
	struct sums x;

	x.n_tickets = row_u64(r);
	x.expected = row_amount(r);
	x.n_wins = row_u64(r);
	x.won = row_amount(r);
	return x;
}

void row_account(struct row *r, struct account *a)
{
	memset(a, 0, sizeof(*a));
	row_blob(r, a->payer, ADDRESS_SIZE);
	a->seq_top = row_u64(r);
	a->seq_bits = row_u64(r);
	a->keep_day = (uint32_t)row_u64(r);
	a->all = row_sums(r);
	a->closed = row_sums(r);
}

static void recent_get(struct row *r, struct payee_row *p)
{
	uint8_t bytes[8 * PAYEE_RECENT] = {0};

	row_blob(r, bytes, sizeof(bytes));
	for (size_t i = 0; i < PAYEE_RECENT; i++)
		p->recent[i] = be64_get(bytes + 8 * i);
	p->n_recent = (uint32_t)row_u64(r);
}

void row_relay(struct row *r, struct payee_row *p)
{
	memset(p, 0, sizeof(*p));
	p->session = row_u64(r);
	p->nonce = row_u64(r);
	p->role = (uint32_t)row_u64(r);
	p->for_exit = row_u64(r) != 0;
	p->price_gwei_per_gib = row_u64(r);
	row_blob(r, p->terms_hash, KECCAK_SIZE);
	p->commit_id = (uint32_t)row_u64(r);
	p->has_payer = sqlite3_column_type(r->st, r->col) != SQLITE_NULL;
	if (p->has_payer)
		row_blob(r, p->payer, ADDRESS_SIZE);
	else
		r->col++;
	p->base_bytes = row_u64(r);
	p->credit_bytes = row_u64(r);
	p->sums = row_sums(r);
	recent_get(r, p);
	p->quoted = true;
	r->bad |= p->role > PAYEE_EXIT || p->credit_bytes < p->base_bytes;
}

void row_client(struct row *r, struct payer_row *p)
{
	memset(p, 0, sizeof(*p));
	p->session = row_u64(r);
	p->position = (uint32_t)row_u64(r);
	p->rotation = row_u64(r);
	p->next_seq = row_u64(r);
	p->sums = row_sums(r);
	r->bad |= p->position >= PAYER_POSITIONS || p->next_seq == 0;
}

/* ---- rows of the cores ---- */

static enum err relay_put(struct store *s, const struct payee_row *p)
{
	struct bind b = binding(s, RELAY_PUT);
	uint8_t recent[8 * PAYEE_RECENT];

	for (size_t i = 0; i < PAYEE_RECENT; i++)
		be64_put(recent + 8 * i, p->recent[i]);
	put_u64(&b, p->session);
	put_u64(&b, p->nonce);
	put_u64(&b, p->role);
	put_u64(&b, p->for_exit);
	put_u64(&b, p->price_gwei_per_gib);
	put_blob(&b, p->terms_hash, KECCAK_SIZE);
	put_u64(&b, p->commit_id);
	if (p->has_payer)
		put_blob(&b, p->payer, ADDRESS_SIZE);
	else
		sqlite3_bind_null(b.st, ++b.col);
	put_u64(&b, p->base_bytes);
	put_u64(&b, p->credit_bytes);
	put_sums(&b, &p->sums);
	put_blob(&b, recent, sizeof(recent));
	put_u64(&b, p->n_recent);
	return run(s, RELAY_PUT);
}

static enum err account_put(struct store *s, const struct account *a)
{
	struct bind b = binding(s, ACCOUNT_PUT);

	put_blob(&b, a->payer, ADDRESS_SIZE);
	put_u64(&b, a->seq_top);
	put_u64(&b, a->seq_bits);
	put_u64(&b, a->keep_day);
	put_sums(&b, &a->all);
	put_sums(&b, &a->closed);
	return run(s, ACCOUNT_PUT);
}

static enum err client_put(struct store *s, const struct payer_row *p)
{
	struct bind b = binding(s, CLIENT_PUT);

	put_u64(&b, p->session);
	put_u64(&b, p->position);
	put_u64(&b, p->rotation);
	put_u64(&b, p->next_seq);
	put_sums(&b, &p->sums);
	return run(s, CLIENT_PUT);
}

static enum err row_del(struct store *s, enum stmt which, uint64_t session)
{
	struct bind b = binding(s, which);

	put_u64(&b, session);
	return run(s, which);
}

static enum err total_put(struct store *s, const char *name, const struct sums *x)
{
	struct bind b = binding(s, TOTAL_PUT);

	put_text(&b, name);
	put_sums(&b, x);
	return run(s, TOTAL_PUT);
}

static enum err value_put(struct store *s, const char *name, amount_t v)
{
	struct bind b = binding(s, VALUE_PUT);

	put_text(&b, name);
	put_amount(&b, v);
	return run(s, VALUE_PUT);
}

static enum err value_u64_put(struct store *s, const char *name, uint64_t v)
{
	return value_put(s, name, (amount_t){v});
}

static enum err payee_totals_put(struct store *s, const struct payee_totals *t)
{
	TRY(total_put(s, "earned", &t->all));
	return total_put(s, "earned, forgotten", &t->pruned);
}

static enum err payee_write(struct store *s, const struct payee *p)
{
	for (size_t i = 0; i < p->batch.n_sessions; i++) {
		const struct payee_session *x = &p->sessions[p->batch.sessions[i].at];

		TRY(x->removing ? row_del(s, RELAY_DEL, x->row.session) : relay_put(s, &x->row));
	}
	for (size_t i = 0; i < p->batch.n_accounts; i++)
		TRY(account_put(s, &p->accounts[p->batch.accounts[i].at].account));
	return p->batch.totals_staged ? payee_totals_put(s, &p->totals) : OK;
}

static enum err payer_totals_put(struct store *s, const struct payer_totals *t)
{
	static const char *const names[PAYER_POSITIONS] = {
		"rotation, entry", "rotation, middle", "rotation, exit"};

	TRY(total_put(s, "spent", &t->all));
	TRY(total_put(s, "spent, closed", &t->closed));
	TRY(value_u64_put(s, "day", t->day));
	TRY(value_put(s, "spent today", t->spent_today));
	for (int i = 0; i < PAYER_POSITIONS; i++)
		TRY(value_u64_put(s, names[i], t->rotation_next[i]));
	return OK;
}

static enum err payer_write(struct store *s, const struct payer *p)
{
	if (!payer_staged(p))
		return OK;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		const struct payer_session *x = &p->sessions[i];

		if (x->open && x->staged)
			TRY(x->removing ? row_del(s, CLIENT_DEL, x->row.session)
					: client_put(s, &x->row));
	}
	return payer_totals_put(s, &p->totals);
}

enum err store_commit(struct store *s, const struct payee *payee, const struct payer *payer)
{
	bool rows = payee->batch.n_sessions + payee->batch.n_accounts > 0 || payer_staged(payer);
	enum err e;

	if (!rows)
		return OK; /* only answers that change nothing */
	TRY(begin(s));
	e = payee_write(s, payee);
	if (e == OK)
		e = payer_write(s, payer);
	return end(s, e);
}

/* Long enough that it does not fit where nothing else would. */
#define PROBE_BYTES 16384

enum err store_probe(struct store *s)
{
	char *text = malloc(PROBE_BYTES);
	struct bind b = binding(s, VALUE_PUT);
	enum err e;

	if (text == NULL)
		return ERR_FULL;
	memset(text, '0', PROBE_BYTES - 1);
	text[PROBE_BYTES - 1] = '\0';
	e = begin(s);
	if (e == OK) {
		put_text(&b, "probe");
		put_text(&b, text);
		e = end(s, run(s, VALUE_PUT));
	}
	free(text);
	if (e != OK)
		return e;
	TRY(begin(s));
	return end(s, value_u64_put(s, "probe", 0));
}

enum err store_terms_save(struct store *s, const struct terms_book *book)
{
	enum err e;

	TRY(begin(s));
	e = run(s, TERMS_CLEAR);
	for (size_t i = 0; e == OK && i < book->n_kept; i++) {
		const struct terms_kept *k = &book->kept[i];
		struct bind b = binding(s, TERMS_PUT);

		put_u64(&b, i);
		put_u64(&b, k->terms.chain_id);
		put_blob(&b, k->terms.payee, ADDRESS_SIZE);
		for (int r = 0; r < HOP_ROLES; r++)
			put_u64(&b, k->terms.price_gwei_per_gib[r]);
		put_u64(&b, k->terms.free_bytes);
		put_u64(&b, k->last_day);
		e = run(s, TERMS_PUT);
	}
	return end(s, e);
}

static enum err settings_write(struct store *s, const struct store_settings *x)
{
	TRY(value_u64_put(s, "pay", x->pay));
	TRY(value_u64_put(s, "earn", x->earn));
	TRY(value_u64_put(s, "price, entry", x->price_gwei_per_gib[HOP_ENTRY]));
	TRY(value_u64_put(s, "price, middle", x->price_gwei_per_gib[HOP_MIDDLE]));
	TRY(value_u64_put(s, "price, exit", x->price_gwei_per_gib[HOP_EXIT]));
	TRY(value_u64_put(s, "spend limit", x->spend_max_gwei_per_day));
	return value_u64_put(s, "settings", 1);
}

enum err store_settings_save(struct store *s, const struct store_settings *x)
{
	TRY(begin(s));
	return end(s, settings_write(s, x));
}

/* ---- reading ---- */

bool store_account_load(
	struct store *s, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a)
{
	struct bind b = binding(s, ACCOUNT_GET);
	bool found = false;
	enum err e = OK;

	put_blob(&b, payer, ADDRESS_SIZE);
	while (store_next(s, ACCOUNT_GET, &e)) {
		struct row r = store_row(s, ACCOUNT_GET);

		row_account(&r, ret_a);
		found = !r.bad;
	}
	return found && e == OK;
}

static enum err relay_load(struct store *s, struct payee *p, const struct payee_sink *sink)
{
	enum err e = OK, bad = OK;

	while (store_next(s, RELAY_ALL, &e)) {
		struct row r = store_row(s, RELAY_ALL);
		struct payee_row row;

		row_relay(&r, &row);
		if (bad == OK)
			bad = r.bad ? ERR_MALFORMED : payee_load(p, &row, sink);
	}
	return e == OK ? bad : e;
}

static enum err client_load(struct store *s, struct payer *p)
{
	enum err e = OK, bad = OK;

	while (store_next(s, CLIENT_ALL, &e)) {
		struct row r = store_row(s, CLIENT_ALL);
		struct payer_row row;

		row_client(&r, &row);
		if (bad == OK)
			bad = r.bad ? ERR_MALFORMED : payer_load(p, &row);
	}
	return e == OK ? bad : e;
}

static enum err totals_load(struct store *s, struct payee_totals *earned, struct payer_totals *spent)
{
	const struct {
		const char *name;
		struct sums *at;
	} names[] = {{"earned", &earned->all}, {"earned, forgotten", &earned->pruned},
		{"spent", &spent->all}, {"spent, closed", &spent->closed}};
	enum err e = OK;
	bool bad = false;

	while (store_next(s, TOTAL_ALL, &e)) {
		const char *name = (const char *)sqlite3_column_text(s->stmts[TOTAL_ALL], 0);
		struct row r = {s->stmts[TOTAL_ALL], 1, false};
		struct sums x = row_sums(&r);

		bad |= r.bad || name == NULL;
		for (size_t i = 0; !bad && i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(name, names[i].name) == 0)
				*names[i].at = x;
	}
	return e == OK && bad ? ERR_MALFORMED : e;
}

struct values {
	uint64_t day, rotation[PAYER_POSITIONS], set, pay, earn, price[HOP_ROLES], limit;
	amount_t spent_today;
};

static void value_take(struct values *v, const char *name, amount_t a)
{
	const struct {
		const char *name;
		uint64_t *at;
	} names[] = {{"day", &v->day}, {"rotation, entry", &v->rotation[0]},
		{"rotation, middle", &v->rotation[1]}, {"rotation, exit", &v->rotation[2]},
		{"settings", &v->set}, {"pay", &v->pay}, {"earn", &v->earn},
		{"price, entry", &v->price[HOP_ENTRY]}, {"price, middle", &v->price[HOP_MIDDLE]},
		{"price, exit", &v->price[HOP_EXIT]}, {"spend limit", &v->limit}};

	if (strcmp(name, "spent today") == 0)
		v->spent_today = a;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(name, names[i].name) == 0)
			*names[i].at = (uint64_t)a.wei;
}

static enum err values_load(struct store *s, struct values *v)
{
	enum err e = OK;
	bool bad = false;

	memset(v, 0, sizeof(*v));
	while (store_next(s, VALUE_ALL, &e)) {
		const char *name = (const char *)sqlite3_column_text(s->stmts[VALUE_ALL], 0);
		struct row r = {s->stmts[VALUE_ALL], 1, false};

		if (name == NULL || strcmp(name, "probe") == 0)
			continue;
		amount_t a = row_amount(&r);
		bad |= r.bad;
		value_take(v, name, a);
	}
	return e == OK && bad ? ERR_MALFORMED : e;
}

static enum err terms_load(struct store *s, struct terms_book *book)
{
	enum err e = OK;
	bool bad = false;

	while (store_next(s, TERMS_ALL, &e)) {
		struct row r = store_row(s, TERMS_ALL);
		struct terms_kept k = {0};

		(void)row_u64(&r);
		k.terms.chain_id = (uint32_t)row_u64(&r);
		row_blob(&r, k.terms.payee, ADDRESS_SIZE);
		for (int i = 0; i < HOP_ROLES; i++)
			k.terms.price_gwei_per_gib[i] = row_u64(&r);
		k.terms.free_bytes = row_u64(&r);
		k.last_day = (uint32_t)row_u64(&r);
		terms_hash(&k.terms, k.hash);
		bad |= r.bad || terms_check(&k.terms) != OK;
		if (book->n_kept < TERMS_KEPT)
			book->kept[book->n_kept++] = k;
	}
	return e == OK && bad ? ERR_MALFORMED : e;
}

static void values_apply(
	const struct values *v, struct payer_totals *t, struct store_settings *x)
{
	t->day = (uint32_t)v->day;
	t->spent_today = v->spent_today;
	memcpy(t->rotation_next, v->rotation, sizeof(v->rotation));
	x->set = v->set != 0;
	x->pay = v->pay != 0;
	x->earn = v->earn != 0;
	memcpy(x->price_gwei_per_gib, v->price, sizeof(v->price));
	x->spend_max_gwei_per_day = v->limit;
}

enum err store_load(struct store *s, struct payee *payee, const struct payee_sink *sink,
	struct payer *payer, struct store_settings *ret_settings, char ret_why[static STORE_WHY_MAX])
{
	struct values v;
	enum err e = totals_load(s, &payee->totals, &payer->totals);

	if (e == OK)
		e = values_load(s, &v);
	if (e == OK)
		e = terms_load(s, &payee->book);
	if (e == OK)
		e = relay_load(s, payee, sink);
	if (e == OK)
		e = client_load(s, payer);
	if (e == OK)
		values_apply(&v, &payer->totals, ret_settings);
	else if (e == ERR_IO || e == ERR_FULL)
		snprintf(ret_why, STORE_WHY_MAX, "%s", s->why);
	else
		snprintf(ret_why, STORE_WHY_MAX, "it holds a row that this program did not write");
	return e;
}

void store_accounts_each(
	struct store *s, size_t max, void (*on)(void *ctx, const struct account *a), void *ctx)
{
	enum err e = OK;
	size_t n = 0;

	while (store_next(s, ACCOUNT_ALL, &e)) {
		struct row r = store_row(s, ACCOUNT_ALL);
		struct account a;

		row_account(&r, &a);
		if (n++ < max && !r.bad)
			on(ctx, &a);
	}
}

/* ---- forgetting ---- */

static size_t prunable(struct store *s, uint32_t before, size_t max, struct account *out, enum err *ret_e)
{
	struct bind b = binding(s, ACCOUNT_PRUNABLE);
	size_t n = 0;

	put_u64(&b, before);
	put_u64(&b, max);
	while (store_next(s, ACCOUNT_PRUNABLE, ret_e)) {
		struct row r = store_row(s, ACCOUNT_PRUNABLE);

		row_account(&r, &out[n]);
		if (n < max && !r.bad)
			n++;
	}
	return n;
}

static size_t too_many(struct store *s)
{
	enum err e = OK;
	uint64_t n = 0;

	while (store_next(s, ACCOUNT_COUNT, &e)) {
		struct row r = store_row(s, ACCOUNT_COUNT);

		n = row_u64(&r);
	}
	return n > ACCOUNTS_MAX ? n - ACCOUNTS_MAX : 0;
}

static enum err forget(struct store *s, const struct account *a, size_t n, struct payee_totals *t)
{
	for (size_t i = 0; i < n; i++) {
		struct bind b = binding(s, ACCOUNT_DEL);

		put_blob(&b, a[i].payer, ADDRESS_SIZE);
		TRY(run(s, ACCOUNT_DEL));
		TRY(sums_add(&t->pruned, &a[i].all));
	}
	return payee_totals_put(s, t);
}

enum err store_prune(struct store *s, uint32_t today, struct payee_totals *totals, size_t *ret_n)
{
	struct account *a = malloc((PRUNE_MAX + 1) * sizeof(*a));
	struct payee_totals t = *totals;
	enum err e = OK;
	size_t n, more;

	if (a == NULL)
		return ERR_FULL;
	n = prunable(s, today, PRUNE_MAX, a, &e);
	more = e == OK && n == 0 ? too_many(s) : 0;
	if (more > 0)
		n = prunable(s, UINT32_MAX, more < PRUNE_MAX ? more : PRUNE_MAX, a, &e);
	if (e == OK && n > 0) {
		e = begin(s);
		if (e == OK)
			e = end(s, forget(s, a, n, &t));
	}
	free(a);
	if (e != OK)
		return e;
	*totals = t;
	*ret_n = n;
	return OK;
}

/* ---- opening ---- */

static enum err version_check(struct store *s)
{
	sqlite3_stmt *st;
	int version = -1;

	if (sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL) != SQLITE_OK)
		return failed(s);
	if (sqlite3_step(st) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	if (version == 0 || version == SCHEMA_VERSION)
		return OK;
	if (version < 0)
		return failed(s);
	snprintf(s->why, sizeof(s->why),
		"it was written by another version (format %d, this program knows %d)", version,
		SCHEMA_VERSION);
	return ERR_INVALID;
}

static enum err exec(struct store *s, const char *text)
{
	return sqlite3_exec(s->db, text, NULL, NULL, NULL) == SQLITE_OK ? OK : failed(s);
}

static enum err prepare(struct store *s)
{
	char pragma[64];

	TRY(exec(s, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON;"
		    "PRAGMA temp_store=MEMORY; PRAGMA journal_size_limit=4194304;"));
	TRY(version_check(s));
	TRY(exec(s, schema));
	snprintf(pragma, sizeof(pragma), "PRAGMA user_version=%d", SCHEMA_VERSION);
	TRY(exec(s, pragma));
	for (int i = 0; i < STMTS; i++)
		if (sqlite3_prepare_v3(s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->stmts[i],
			    NULL) != SQLITE_OK)
			return failed(s);
	return OK;
}

enum err store_open(struct store **ret_s, const char *dir, char ret_why[static STORE_WHY_MAX])
{
	struct store *s = calloc(1, sizeof(*s));
	char path[700];
	enum err e;

	if (s == NULL)
		return ERR_FULL;
	snprintf(path, sizeof(path), "%s/ledger.sqlite", dir);
	if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) !=
		SQLITE_OK)
		e = failed(s);
	else
		e = prepare(s);
	if (e != OK) {
		memcpy(ret_why, s->why, STORE_WHY_MAX);
		store_close(&s);
		return e;
	}
	*ret_s = s;
	return OK;
}

void store_close(struct store **s)
{
	struct store *x = *s;

	*s = NULL;
	if (x == NULL)
		return;
	for (int i = 0; i < STMTS; i++)
		sqlite3_finalize(x->stmts[i]);
	sqlite3_close(x->db);
	free(x);
}
