/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests between the services of two nodes: opaque payloads in control frames. Ledger asks in a
 * session that it knows by number; discovery names a node, and a session is made and kept for it. */
#include "overlay_internal.h"

#include <string.h>

static void answer_tell(struct overlay *o, const struct ask *a, enum err err, const uint8_t *payload,
	size_t len)
{
	mvpn_PeerAnswered p = {.err = err};

	p.payload.size = (pb_size_t)len;
	if (len > 0)
		memcpy(p.payload.bytes, payload, len);
	if (a->from == ROLE_LEDGER) {
		mvpn_LedgerIn m = {.re = a->id, .which_body = mvpn_LedgerIn_peer_answered_tag};

		m.body.peer_answered = p;
		o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
	} else {
		mvpn_DiscoveryIn m = {.re = a->id, .which_body = mvpn_DiscoveryIn_peer_answered_tag};

		m.body.peer_answered = p;
		o->ops.tell(o->ops.ctx, ROLE_DISCOVERY, &m);
	}
}

static void ask_end(struct overlay *o, struct ask *a, enum err err, const uint8_t *payload, size_t len)
{
	a->used = false;
	answer_tell(o, a, err, payload, len);
}

static struct ask *ask_take(struct overlay *o)
{
	for (size_t i = 0; i < ASKS_MAX; i++) {
		if (o->asks[i].used)
			continue;
		o->asks[i] = (struct ask){.used = true};
		return &o->asks[i];
	}
	o->n.asks_full++;
	return NULL;
}

static void ask_send(struct overlay *o, struct ask *a, uint32_t session)
{
	struct session_record *rec = record_of(o, session);
	overlay_Control m = {.which_body = overlay_Control_to_service_tag};
	dur_t left = mono_since(o->now, a->deadline);
	dur_t rtt = {0};
	enum err e;

	m.body.to_service.service = a->from == ROLE_LEDGER ? overlay_Service_SERVICE_LEDGER
							    : overlay_Service_SERVICE_DISCOVERY;
	m.body.to_service.payload.size = a->len;
	memcpy(m.body.to_service.payload.bytes, a->payload, a->len);
	a->sent = true;
	a->session = session;
	if (rec->hop == NULL) {
		ask_end(o, a, ERR_UNAVAILABLE, NULL, 0);
		return;
	}
	rtt = DUR_US(route_hop_stats(&rec->hop->route->r, rec->hop->index).rtt_us);
	e = control_request(&rec->hop->asks, o->now, session, &m, TAG_ASK | (uint64_t)(a - o->asks), rtt,
		left, &o->control_sink);
	if (e != OK)
		ask_end(o, a, e, NULL, 0);
}

void ask_order_send(struct overlay *o, enum role from, const mvpn_TunnelIn *in)
{
	const mvpn_SendPeerRequest *req = &in->body.send_peer_request;
	struct ask refused = {.from = from, .id = in->id};
	struct ask *a = ask_take(o);
	uint32_t session;

	if (a == NULL) {
		answer_tell(o, &refused, ERR_FULL, NULL, 0);
		return;
	}
	a->from = from;
	a->id = in->id;
	a->number = req->session;
	a->len = req->payload.size;
	memcpy(a->payload, req->payload.bytes, req->payload.size);
	a->deadline = mono_add(
		o->now, in->deadline_ms == 0 ? ASK_PATIENCE : DUR_MS(in->deadline_ms));
	if (req->session != 0) {
		if (record_by_number(o, req->session, &session) == NULL)
			ask_end(o, a, ERR_UNAVAILABLE, NULL, 0);
		else
			ask_send(o, a, session);
		return;
	}
	a->talk = req->has_node ? client_talk(o, &req->node) : NULL;
	if (a->talk == NULL)
		ask_end(o, a, ERR_FULL, NULL, 0); /* our limit, not the node's fault */
	else if (a->talk->r.state == ROUTE_READY)
		ask_talk_ready(o, a->talk);
}

void ask_talk_ready(struct overlay *o, struct live_route *l)
{
	l->used_at = o->now;
	for (size_t i = 0; i < ASKS_MAX; i++) {
		struct ask *a = &o->asks[i];

		if (a->used && !a->sent && a->talk == l && l->hops[0] != NULL)
			ask_send(o, a, l->hops[0]->session);
	}
}

void ask_talk_ended(struct overlay *o, struct live_route *l, enum err why)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (o->asks[i].used && o->asks[i].talk == l)
			ask_end(o, &o->asks[i], why, NULL, 0);
}

static struct ask *ask_by_tag(struct overlay *o, uint64_t tag)
{
	uint64_t i = tag & ~TAG_ASK;

	return i < ASKS_MAX && o->asks[i].used && o->asks[i].sent ? &o->asks[i] : NULL;
}

void ask_answered(struct overlay *o, uint64_t tag, const overlay_Control *answer)
{
	struct ask *a = ask_by_tag(o, tag);

	if (a == NULL)
		return;
	if (a->talk != NULL)
		a->talk->used_at = o->now;
	if (answer->which_body == overlay_Control_to_service_tag)
		ask_end(o, a, OK, answer->body.to_service.payload.bytes,
			answer->body.to_service.payload.size);
	else
		ask_end(o, a, ERR_UNAVAILABLE, NULL, 0);
}

void ask_failed(struct overlay *o, uint64_t tag, enum err why)
{
	struct ask *a = ask_by_tag(o, tag);

	if (a != NULL)
		ask_end(o, a, why, NULL, 0);
}

void ask_session_gone(struct overlay *o, uint32_t session)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (o->asks[i].used && o->asks[i].sent && o->asks[i].session == session)
			ask_end(o, &o->asks[i], ERR_UNAVAILABLE, NULL, 0);
}

void ask_role_gone(struct overlay *o, enum role who)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (o->asks[i].from == who)
			o->asks[i].used = false;
}

void ask_tick(struct overlay *o)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (o->asks[i].used && mono_reached(o->asks[i].deadline, o->now))
			ask_end(o, &o->asks[i], ERR_TIMEOUT, NULL, 0);
}

void ask_order_answer(struct overlay *o, const mvpn_TunnelIn *in)
{
	const mvpn_AnswerPeer *a = &in->body.answer_peer;
	uint32_t session;

	if (record_by_number(o, a->session, &session) == NULL)
		return; /* closed meanwhile */
	/* Too late or twice is the other node's retransmission to mend. */
	(void)!control_answer_service(&o->responder, o->now, session, a->request, a->payload.bytes,
		a->payload.size, &o->control_sink);
}
