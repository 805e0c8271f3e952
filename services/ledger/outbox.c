/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the cores decided, as messages to the other services. */
#include <stdio.h>
#include <string.h>

#include "core/value.h"
#include "ledger.h"
#include "proto/discovery.pb.h"
#include "proto/gateway.pb.h"
#include "proto/router.pb.h"
#include "proto/tunnel.pb.h"

static struct bus *bus(struct ledger *l)
{
	return service_bus(l->service);
}

/* ---- payee ---- */

static void on_answer(
	void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	struct ledger *l = ctx;
	mvpn_TunnelIn m = mvpn_TunnelIn_init_zero;
	mvpn_AnswerPeer *a = &m.body.answer_peer;

	m.which_body = mvpn_TunnelIn_answer_peer_tag;
	a->session = session;
	a->request = request;
	a->payload.size = (pb_size_t)len;
	memcpy(a->payload.bytes, payload, len);
	/* If it is lost, the other side asks again and gets the same answer. */
	bus_tell(bus(l), ROLE_TUNNEL, mvpn_TunnelIn_fields, &m);
	l->wallet_due = true;
}

static bool on_grant(void *ctx, uint64_t session, uint64_t credit_bytes)
{
	struct ledger *l = ctx;
	mvpn_TunnelIn m = mvpn_TunnelIn_init_zero;

	m.which_body = mvpn_TunnelIn_grant_credit_tag;
	m.body.grant_credit.session = session;
	m.body.grant_credit.credit_bytes = credit_bytes;
	enum err e = bus_send(bus(l), ROLE_TUNNEL, mvpn_TunnelIn_fields, &m);
	/* Without a link everything is said again when it comes. */
	return e != ERR_FULL;
}

static bool on_account_load(
	void *ctx, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a)
{
	struct ledger *l = ctx;

	return store_account_load(l->store, payer, ret_a);
}

/* ---- payer ---- */

static uint64_t on_ask(void *ctx, uint64_t session, const uint8_t *payload, size_t len)
{
	struct ledger *l = ctx;
	mvpn_TunnelIn m = mvpn_TunnelIn_init_zero;
	mvpn_SendPeerRequest *r = &m.body.send_peer_request;

	m.which_body = mvpn_TunnelIn_send_peer_request_tag;
	m.id = bus_next_id(bus(l));
	m.deadline_ms = ASK_DEADLINE_MS;
	r->session = session;
	r->payload.size = (pb_size_t)len;
	memcpy(r->payload.bytes, payload, len);
	l->wallet_due = true;
	return bus_send(bus(l), ROLE_TUNNEL, mvpn_TunnelIn_fields, &m) == OK ? m.id : 0;
}

static void on_trouble(void *ctx, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
	const char *why, bool own_fault)
{
	struct ledger *l = ctx;
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;
	mvpn_PaymentTrouble *t = &m.body.payment_trouble;

	m.which_body = mvpn_RouterIn_payment_trouble_tag;
	t->session = session;
	memcpy(t->node_id, node_id, NODE_ID_SIZE);
	snprintf(t->why, sizeof(t->why), "%s", why);
	t->own_fault = own_fault;
	bus_tell(bus(l), ROLE_ROUTER, mvpn_RouterIn_fields, &m);
	l->wallet_due = true;
}

void ledger_sinks_init(struct ledger *l)
{
	l->payee_sink = (struct payee_sink){l, on_answer, on_grant, on_account_load};
	l->payer_sink = (struct payer_sink){l, on_ask, on_trouble};
}

/* ---- states ---- */

void tell_allowance(struct ledger *l)
{
	const struct terms *t = &l->payee->book.kept[0].terms;
	mvpn_TunnelIn m = mvpn_TunnelIn_init_zero;

	m.which_body = mvpn_TunnelIn_set_allowance_tag;
	m.body.set_allowance.free_bytes = t->free_bytes;
	m.body.set_allowance.priced = !terms_free(t);
	bus_tell(bus(l), ROLE_TUNNEL, mvpn_TunnelIn_fields, &m);
}

void tell_terms(struct ledger *l)
{
	const struct terms *t = &l->payee->book.kept[0].terms;
	mvpn_DiscoveryIn m = mvpn_DiscoveryIn_init_zero;
	mvpn_Terms *x = &m.body.terms;

	m.which_body = mvpn_DiscoveryIn_terms_tag;
	x->entry_gwei_per_gib = t->price_gwei_per_gib[HOP_ENTRY];
	x->middle_gwei_per_gib = t->price_gwei_per_gib[HOP_MIDDLE];
	x->exit_gwei_per_gib = t->price_gwei_per_gib[HOP_EXIT];
	x->free_bytes = t->free_bytes;
	x->chain_id = t->chain_id;
	x->payee.size = ADDRESS_SIZE;
	memcpy(x->payee.bytes, t->payee, ADDRESS_SIZE);
	bus_tell(bus(l), ROLE_DISCOVERY, mvpn_DiscoveryIn_fields, &m);
}

static uint32_t clamp_u32(uint64_t v)
{
	return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static void show_gwei(amount_t a, char *out, size_t size)
{
	char text[AMOUNT_TEXT_MAX];

	snprintf(out, size, "%s", amount_show_gwei(a, text));
}

static void wallet_hops(const struct payer *p, mvpn_WalletState *w)
{
	const size_t max = sizeof(w->hops) / sizeof(w->hops[0]);

	for (size_t i = 0; i < PAYER_SESSIONS_MAX && w->hops_count < max; i++) {
		const struct payer_session *s = &p->sessions[i];
		mvpn_HopPayment *h = &w->hops[w->hops_count];

		if (!s->open || s->closing || s->phase == PAYER_WAITING)
			continue;
		h->session = s->row.session;
		memcpy(h->node_id, s->node_id, NODE_ID_SIZE);
		h->position = s->row.position;
		h->tickets = clamp_u32(s->row.sums.n_tickets);
		show_gwei(s->row.sums.expected, h->paid, sizeof(h->paid));
		h->used_bytes = s->up_bytes + s->down_bytes;
		h->credit_bytes = s->granted;
		w->hops_count++;
	}
}

void tell_wallet(struct ledger *l)
{
	const struct payee *r = l->payee;
	const struct payer *c = l->payer;
	mvpn_GatewayIn m = mvpn_GatewayIn_init_zero;
	mvpn_WalletState *w = &m.body.wallet_state;
	uint64_t n_refused = 0;

	for (int i = 0; i < REASONS_MAX; i++)
		n_refused += r->counters.refused[i];
	m.which_body = mvpn_GatewayIn_wallet_state_tag;
	w->pay = l->settings.pay;
	w->earn = l->settings.earn;
	snprintf(w->backend, sizeof(w->backend), "%s", l->backend->ops->name);
	show_gwei(c->totals.all.expected, w->spent, sizeof(w->spent));
	show_gwei(c->totals.spent_today, w->spent_today, sizeof(w->spent_today));
	show_gwei(r->totals.all.expected, w->earned, sizeof(w->earned));
	wallet_hops(c, w);
	w->tickets_issued = clamp_u32(c->totals.all.n_tickets);
	w->tickets_taken = clamp_u32(r->totals.all.n_tickets);
	w->tickets_refused = clamp_u32(n_refused);
	snprintf(w->trouble, sizeof(w->trouble), "%s", ledger_trouble(l));
	bus_tell(bus(l), ROLE_GATEWAY, mvpn_GatewayIn_fields, &m);
}

void answer_done(struct ledger *l, uint64_t re, enum err e, const char *why)
{
	mvpn_GatewayIn m = mvpn_GatewayIn_init_zero;

	m.re = re;
	m.which_body = mvpn_GatewayIn_done_tag;
	m.body.done.err = e;
	snprintf(m.body.done.why, sizeof(m.body.done.why), "%s", e == OK ? "" : why);
	bus_tell(bus(l), ROLE_GATEWAY, mvpn_GatewayIn_fields, &m);
}
