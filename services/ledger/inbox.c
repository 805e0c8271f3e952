/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One function per message; the role of the sender was checked by the bus. */
#include <stddef.h>
#include <string.h>

#include "ledger.h"
#include "lib/sys/log.h"
#include "proto/ledger.pb.h"

/* What this turn has staged must leave before the batch overflows. */
static void make_room(struct ledger *l)
{
	if (payee_full(l->payee))
		ledger_flush(l);
}

static void on_opened(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_SessionOpened *m = &((const mvpn_LedgerIn *)in)->body.session_opened;

	(void)from;
	if (m->payer)
		payer_on_opened(l->payer, ledger_now(l), m->session, m->position, m->is_exit,
			m->descriptor.bytes, m->descriptor.size, &l->payer_sink);
	else
		payee_on_opened(l->payee, ledger_now(l), m->session, m->is_exit, &l->payee_sink);
	l->wallet_due = true;
}

static void on_role(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_SessionRole *m = &((const mvpn_LedgerIn *)in)->body.session_role;

	(void)from;
	make_room(l);
	payee_on_role(l->payee, m->session, m->is_exit, &l->payee_sink);
}

static void on_usage(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_SessionUsage *m = &((const mvpn_LedgerIn *)in)->body.session_usage;

	(void)from;
	l->wallet_due = true;
	if (payer_on_usage(l->payer, ledger_now(l), m->session, m->up_bytes, m->down_bytes,
		    m->credit_bytes, &l->payer_sink))
		payer_on_relay_used(l->payer, m->session, m->relay_used_bytes);
	else
		payee_on_usage(l->payee, m->session, m->up_bytes, m->down_bytes, m->credit_bytes,
			&l->payee_sink);
}

static void on_closed(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_SessionClosed *m = &((const mvpn_LedgerIn *)in)->body.session_closed;

	(void)from;
	l->wallet_due = true;
	if (!payer_on_closed(l->payer, m->session, m->up_bytes, m->down_bytes))
		payee_on_closed(l->payee, m->session, m->up_bytes, m->down_bytes);
}

static void on_complete(void *state, enum role from, const void *in)
{
	struct ledger *l = state;

	(void)from;
	(void)in;
	payer_on_complete(l->payer);
	payee_on_complete(l->payee);
	l->wallet_due = true;
}

static void on_asked(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_PeerAsked *m = &((const mvpn_LedgerIn *)in)->body.peer_asked;

	(void)from;
	make_room(l);
	payee_on_asked(l->payee, ledger_now(l), ledger_wall(), m->session, m->request,
		m->payload.bytes, m->payload.size, &l->payee_sink);
}

static void on_answered(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_LedgerIn *x = in;
	const mvpn_PeerAnswered *m = &x->body.peer_answered;

	(void)from;
	payer_on_answered(l->payer, ledger_now(l), x->re, m->err == 0 ? OK : ERR_UNAVAILABLE,
		m->payload.bytes, m->payload.size, &l->payer_sink);
}

static void on_settings(void *state, enum role from, const void *in)
{
	struct ledger *l = state;
	const mvpn_LedgerIn *x = in;
	const mvpn_LedgerSettings *m = &x->body.settings;
	char why[STORE_WHY_MAX] = "";
	const struct store_settings next = {
		.set = true,
		.pay = m->pay,
		.earn = m->earn,
		.price_gwei_per_gib = {[HOP_ENTRY] = m->entry_gwei_per_gib,
			[HOP_MIDDLE] = m->middle_gwei_per_gib,
			[HOP_EXIT] = m->exit_gwei_per_gib},
		.spend_max_gwei_per_day = m->spend_max_gwei_per_day,
	};

	(void)from;
	ledger_flush(l);
	enum err e = ledger_apply(l, &next, why);
	if (e != OK)
		log_warn("settings were refused: %s", why);
	answer_done(l, x->id, e, why);
}

static void on_link(void *state, enum role to)
{
	struct ledger *l = state;

	if (to == ROLE_TUNNEL) {
		tell_allowance(l);
		payee_grant_all(l->payee, &l->payee_sink);
	} else if (to == ROLE_DISCOVERY) {
		tell_terms(l);
	} else if (to == ROLE_ROUTER) {
		payer_trouble_again(l->payer, &l->payer_sink);
	} else if (to == ROLE_GATEWAY) {
		l->wallet_due = true;
	}
}

static void on_hello(void *state, enum role from, bool restarted)
{
	struct ledger *l = state;

	if (from != ROLE_TUNNEL || !restarted)
		return;
	payee_on_tunnel_restarted(l->payee);
	payer_on_tunnel_restarted(l->payer);
}

static const struct bus_handler handlers[] = {
	{mvpn_LedgerIn_session_opened_tag, FROM(ROLE_TUNNEL), on_opened},
	{mvpn_LedgerIn_session_role_tag, FROM(ROLE_TUNNEL), on_role},
	{mvpn_LedgerIn_session_usage_tag, FROM(ROLE_TUNNEL), on_usage},
	{mvpn_LedgerIn_session_closed_tag, FROM(ROLE_TUNNEL), on_closed},
	{mvpn_LedgerIn_sessions_complete_tag, FROM(ROLE_TUNNEL), on_complete},
	{mvpn_LedgerIn_peer_asked_tag, FROM(ROLE_TUNNEL), on_asked},
	{mvpn_LedgerIn_peer_answered_tag, FROM(ROLE_TUNNEL), on_answered},
	{mvpn_LedgerIn_settings_tag, FROM(ROLE_GATEWAY), on_settings},
};

const struct bus_inbox ledger_inbox = {
	.fields = mvpn_LedgerIn_fields,
	.size = sizeof(mvpn_LedgerIn),
	.which_offset = offsetof(mvpn_LedgerIn, which_body),
	.handlers = handlers,
	.n_handlers = sizeof(handlers) / sizeof(handlers[0]),
	.on_link = on_link,
	.on_hello = on_hello,
};
