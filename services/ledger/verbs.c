/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The service's side of ledgerctl. */
#include <stdio.h>
#include <string.h>

#include "core/value.h"
#include "ledger.h"

#define ACCOUNTS_SHOWN_MAX 1000

static void show_gwei(struct ctl_out *o, const char *key, amount_t a)
{
	char text[AMOUNT_TEXT_MAX];

	ctl_text(o, key, amount_show_gwei(a, text));
}

/* Credit without end is shown as -1. */
static void show_credit(struct ctl_out *o, uint64_t bytes)
{
	ctl_number(o, "credit_bytes", bytes == CREDIT_UNLIMITED ? -1 : (int64_t)bytes);
}

static enum err run_status(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;
	size_t n_payer = 0;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		n_payer += l->payer->sessions[i].open;
	ctl_row(o, "status");
	ctl_text(o, "backend", l->backend->ops->name);
	ctl_flag(o, "pay", l->settings.pay);
	ctl_flag(o, "earn", l->settings.earn);
	ctl_hex(o, "payee", l->keys.payee, ADDRESS_SIZE);
	ctl_number(o, "sessions_payer", (int64_t)n_payer);
	ctl_number(o, "sessions_payee", (int64_t)l->payee->n_sessions);
	ctl_number(o, "tickets_issued", (int64_t)l->payer->totals.all.n_tickets);
	show_gwei(o, "spent_gwei", l->payer->totals.all.expected);
	show_gwei(o, "spent_today_gwei", l->payer->totals.spent_today);
	ctl_number(o, "tickets_taken", (int64_t)l->payee->totals.all.n_tickets);
	show_gwei(o, "earned_gwei", l->payee->totals.all.expected);
	ctl_number(o, "wins", (int64_t)l->payee->totals.all.n_wins);
	show_gwei(o, "won_gwei", l->payee->totals.all.won);
	ctl_text(o, "trouble", ledger_trouble(l));
	return OK;
}

static const char *role_show(uint32_t role)
{
	return role == PAYEE_EXIT ? "exit" : "relay";
}

static void show_payer(struct ctl_out *o, const struct payer_session *s)
{
	static const char *const positions[PAYER_POSITIONS] = {"entry", "middle", "exit"};

	ctl_row(o, "sessions");
	ctl_id(o, "session", s->row.session);
	ctl_text(o, "side", "payer");
	ctl_text(o, "role", s->for_exit ? "exit" : positions[s->row.position]);
	ctl_text(o, "state", payer_phase_show(s));
	ctl_number(o, "gwei_per_gib", (int64_t)s->price_gwei_per_gib);
	ctl_number(o, "up_bytes", (int64_t)s->up_bytes);
	ctl_number(o, "down_bytes", (int64_t)s->down_bytes);
	ctl_number(o, "used_bytes", (int64_t)(s->up_bytes + s->down_bytes));
	show_credit(o, s->granted);
	ctl_number(o, "on_the_way_bytes", (int64_t)(payer_paid_bytes(s) - s->granted));
	ctl_number(o, "quantum_bytes", (int64_t)s->quantum);
	ctl_number(o, "tickets", (int64_t)s->row.sums.n_tickets);
	show_gwei(o, "gwei", s->row.sums.expected);
}

static const char *payee_state(const struct payee_session *s)
{
	if (s->closing)
		return "closing";
	if (!s->listed)
		return "waiting";
	if (s->row.credit_bytes == CREDIT_UNLIMITED)
		return "free";
	if (!s->row.quoted)
		return "allowance";
	return s->up_bytes + s->down_bytes < s->row.credit_bytes ? "paid" : "used up";
}

static void show_payee(struct ctl_out *o, const struct payee_session *s)
{
	ctl_row(o, "sessions");
	ctl_id(o, "session", s->row.session);
	ctl_text(o, "side", "payee");
	ctl_text(o, "role", role_show(s->row.role));
	ctl_text(o, "state", payee_state(s));
	ctl_number(o, "gwei_per_gib", (int64_t)s->row.price_gwei_per_gib);
	ctl_number(o, "up_bytes", (int64_t)s->up_bytes);
	ctl_number(o, "down_bytes", (int64_t)s->down_bytes);
	ctl_number(o, "used_bytes", (int64_t)(s->up_bytes + s->down_bytes));
	show_credit(o, s->row.credit_bytes);
	ctl_number(o, "commit_id", s->row.commit_id);
	ctl_number(o, "tickets", (int64_t)s->row.sums.n_tickets);
	show_gwei(o, "gwei", s->row.sums.expected);
	ctl_number(o, "wins", (int64_t)s->row.sums.n_wins);
}

static enum err run_sessions(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		if (l->payer->sessions[i].open)
			show_payer(o, &l->payer->sessions[i]);
	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++)
		if (l->payee->sessions[i].open)
			show_payee(o, &l->payee->sessions[i]);
	return OK;
}

static void show_count(struct ctl_out *o, const char *table, const char *side, const char *what,
	uint64_t n)
{
	ctl_row(o, table);
	ctl_text(o, "side", side);
	ctl_text(o, "what", what);
	ctl_number(o, "n", (int64_t)n);
}

static uint64_t refused_tickets(const uint64_t refused[static REASONS_MAX])
{
	uint64_t n = 0;

	for (int i = 0; i < REASONS_MAX; i++)
		n += refused[i];
	return n;
}

static enum err run_tickets(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;
	struct backend_status b;
	uint64_t n_way = 0;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		for (size_t k = 0; l->payer->sessions[i].open && k < PAYER_PIPELINE; k++)
			n_way += l->payer->sessions[i].tickets[k].busy;
	l->backend->ops->status(l->backend, &b);
	show_count(o, "tickets", "payer", "signed", l->payer->totals.all.n_tickets);
	show_count(o, "tickets", "payer", "signed since start", l->payer->counters.issued);
	show_count(o, "tickets", "payer", "paid since start", l->payer->counters.paid);
	show_count(o, "tickets", "payer", "refused since start",
		refused_tickets(l->payer->counters.refused));
	show_count(o, "tickets", "payer", "on the way", n_way);
	show_count(o, "tickets", "payee", "taken", l->payee->totals.all.n_tickets);
	show_count(o, "tickets", "payee", "won", l->payee->totals.all.n_wins);
	show_count(o, "tickets", "payee", "taken since start", l->payee->counters.taken);
	show_count(o, "tickets", "payee", "repeated since start", l->payee->counters.repeated);
	show_count(o, "tickets", "payee", "refused since start",
		refused_tickets(l->payee->counters.refused));
	show_count(o, "tickets", "payee", "handed to the backend since start", b.n_submitted);
	show_count(o, "tickets", "payee", "done with by the backend", b.n_settled);
	return OK;
}

static void show_account(void *ctx, const struct account *a)
{
	struct ctl_out *o = ctx;

	ctl_row(o, "accounts");
	ctl_hex(o, "payer", a->payer, 8);
	ctl_number(o, "highest_number", (int64_t)a->seq_top);
	ctl_number(o, "tickets", (int64_t)a->all.n_tickets);
	show_gwei(o, "gwei", a->all.expected);
	ctl_number(o, "wins", (int64_t)a->all.n_wins);
	show_gwei(o, "won_gwei", a->all.won);
	ctl_number(o, "of_closed_sessions", (int64_t)a->closed.n_tickets);
}

static enum err run_accounts(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;

	(void)argc;
	(void)argv;
	store_accounts_each(l->store, ACCOUNTS_SHOWN_MAX, show_account, o);
	return OK;
}

static enum err run_terms(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;
	const struct terms_book *b = &l->payee->book;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < b->n_kept; i++) {
		const struct terms_kept *k = &b->kept[i];

		ctl_row(o, "terms");
		ctl_text(o, "state", i == 0 ? "in force" : "honoured until the end of the next day");
		ctl_number(o, "relay_gwei_per_gib", (int64_t)terms_price(&k->terms, false));
		ctl_number(o, "exit_gwei_per_gib", (int64_t)terms_price(&k->terms, true));
		ctl_number(o, "free_bytes", (int64_t)k->terms.free_bytes);
		ctl_number(o, "chain_id", k->terms.chain_id);
		ctl_hex(o, "payee", k->terms.payee, ADDRESS_SIZE);
		ctl_hex(o, "hash", k->hash, 8);
	}
	return OK;
}

static void show_refused(
	struct ctl_out *o, const char *side, const uint64_t refused[static REASONS_MAX])
{
	char what[100];

	for (int i = 1; i < REASONS_MAX; i++) {
		snprintf(what, sizeof(what), "refused: %s",
			peer_reason_show((peer_ledger_Reason)i));
		show_count(o, "counters", side, what, refused[i]);
	}
}

static enum err run_counters(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;
	const struct payer_counters *c = &l->payer->counters;
	const struct payee_counters *r = &l->payee->counters;

	(void)argc;
	(void)argv;
	show_count(o, "counters", "both", "commits", l->n_commits);
	show_count(o, "counters", "both", "commits failed", l->n_commits_failed);
	show_count(o, "counters", "payer", "quotes asked", c->quotes);
	show_count(o, "counters", "payer", "tickets issued", c->issued);
	show_count(o, "counters", "payer", "tickets paid", c->paid);
	show_count(o, "counters", "payer", "tickets sent again", c->resent);
	show_count(o, "counters", "payer", "timeouts", c->timeouts);
	show_count(o, "counters", "payer", "bad answers", c->bad_answers);
	show_count(o, "counters", "payer", "unasked answers", c->unasked_answers);
	show_count(o, "counters", "payer", "sessions over the limit", c->sessions_full);
	show_count(o, "counters", "payer", "up bytes, closed", c->closed_up_bytes);
	show_count(o, "counters", "payer", "down bytes, closed", c->closed_down_bytes);
	show_refused(o, "payer", c->refused);
	show_count(o, "counters", "payee", "quotes given", r->quotes);
	show_count(o, "counters", "payee", "tickets taken", r->taken);
	show_count(o, "counters", "payee", "tickets repeated", r->repeated);
	show_count(o, "counters", "payee", "sessions over the limit", r->sessions_full);
	show_count(o, "counters", "payee", "facts on unknown sessions", r->unknown_session);
	show_count(o, "counters", "payee", "up bytes, closed", r->closed_up_bytes);
	show_count(o, "counters", "payee", "down bytes, closed", r->closed_down_bytes);
	show_refused(o, "payee", r->refused);
	return OK;
}

struct check_out {
	struct ctl_out *o;
	struct store_figure first_wrong;
};

static void show_figure(void *ctx, const struct store_figure *f)
{
	struct check_out *x = ctx;
	struct ctl_out *o = x->o;

	if (!f->match && x->first_wrong.what == NULL)
		x->first_wrong = *f;
	ctl_row(o, "check");
	ctl_text(o, "what", f->what);
	ctl_text(o, "expected", f->expected);
	ctl_text(o, "found", f->found);
	ctl_flag(o, "match", f->match);
}

static enum err run_check(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct ledger *l = state;
	struct check_out x = {.o = o};
	int n;

	(void)argc;
	(void)argv;
	ledger_flush(l);
	n = store_check(l->store, l->payee, l->payer, show_figure, &x);
	if (n < 0)
		return ctl_fail(o, ERR_IO, "the database cannot be read: %s", store_why(l->store));
	if (n > 0)
		return ctl_fail(o, ERR_MALFORMED,
			"%d figures do not match; the first: %s: %s, %s", n, x.first_wrong.what,
			x.first_wrong.expected, x.first_wrong.found);
	return OK;
}

const struct ctl_verb ledger_verbs[] = {
	{"status", run_status},
	{"show sessions", run_sessions},
	{"show tickets", run_tickets},
	{"show accounts", run_accounts},
	{"show terms", run_terms},
	{"show counters", run_counters},
	{"check", run_check},
};
const size_t ledger_n_verbs = sizeof(ledger_verbs) / sizeof(ledger_verbs[0]);
