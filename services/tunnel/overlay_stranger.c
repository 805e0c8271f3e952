/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Strangers: what they may ask of us as relay and exit, and their packets. */
#include "overlay_internal.h"

#include <string.h>

/* ---- counting ---- */

void stranger_tell_opened(struct overlay *o, uint32_t session)
{
	struct session_record *rec = record_of(o, session);
	mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_session_opened_tag};

	m.body.session_opened.session = rec->number;
	m.body.session_opened.is_exit = rec->exits;
	rec->told = true;
	o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
}

/* Its role became known or changed: the first time that the ledger hears of it. */
static void role_set(struct overlay *o, uint32_t session, bool relays, bool exits)
{
	struct session_record *rec = record_of(o, session);
	mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_session_role_tag};
	bool exits_before = rec->exits;

	rec->relays = relays;
	rec->exits = exits;
	admit_session_role(&o->admit, session, exits);
	if (!rec->told && (relays || exits)) {
		stranger_tell_opened(o, session);
	} else if (rec->told && exits != exits_before) {
		m.body.session_role = (mvpn_SessionRole){.session = rec->number, .is_exit = exits};
		o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
	}
}

/* Nothing passes any more: say so, at most once a second. */
void stranger_unpaid(struct overlay *o, uint32_t session)
{
	o->n.unpaid++;
	overlay_on_metered(o, o->now, session, meter_due(&record_of(o, session)->meter, o->now));
}

bool stranger_may_pass(struct overlay *o, uint32_t session, uint64_t n_bytes)
{
	struct session_record *rec = record_of(o, session);

	if (!meter_may(&rec->meter)) {
		stranger_unpaid(o, session);
		return false;
	}
	if (!bucket_take(&o->bucket, o->now, &rec->share, n_bytes)) {
		o->n.over_rate++;
		return false;
	}
	o->shared_bytes += n_bytes;
	return true;
}

/* ---- control verbs ---- */

/* [P-19] The initiation that overtook this Extend. */
static void forward_held(struct overlay *o, uint32_t session, uint16_t slot)
{
	const uint8_t *held = circuit_take_held(&o->circuit, o->now, session, slot);
	uint8_t msg[WG_INITIATION_SIZE], *at = msg;
	uint32_t len = sizeof(msg);

	if (held == NULL)
		return;
	memcpy(msg, held, sizeof(msg));
	stranger_relay(o, session, slot, &at, &len, 1);
}

static overlay_Reason on_extend(void *ctx, uint32_t session, const overlay_Extend *in)
{
	struct overlay *o = ctx;
	struct descriptor d;
	enum err e;

	if (record_of(o, session)->kind != SESSION_STRANGER || !o->share)
		return overlay_Reason_REASON_NOT_OFFERED;
	if (in->slot > UINT16_MAX)
		return overlay_Reason_REASON_MALFORMED;
	if (descriptor_accept(in->descriptor.bytes, in->descriptor.size, o->wall, o->conf.test_network,
		    &d) != OK)
		return overlay_Reason_REASON_DESCRIPTOR;
	e = circuit_extend(&o->circuit, o->now, session, (uint16_t)in->slot, &d,
		DUR_S(d.expires.s - o->wall.s));
	if (e == OK) {
		role_set(o, session, true, record_of(o, session)->exits);
		forward_held(o, session, (uint16_t)in->slot);
	}
	switch (e) {
	case OK:
		return overlay_Reason_REASON_UNSPECIFIED;
	case ERR_FULL:
		return overlay_Reason_REASON_LIMIT;
	case ERR_UNAVAILABLE:
		return overlay_Reason_REASON_UNREACHABLE;
	default: /* any other error of circuit_extend means that it may not be done */
		return overlay_Reason_REASON_DESCRIPTOR;
	}
}

static void address_put(const struct net_addr *a, void *ret_field, size_t room)
{
	pb_bytes_array_t *f = ret_field;

	f->size = (pb_size_t)net_ip_len(a);
	BUG_ON(f->size > room);
	memcpy(f->bytes, a->ip, f->size);
}

static overlay_Reason on_attach(void *ctx, uint32_t session, const overlay_Attach *in, overlay_Attached *ret)
{
	struct overlay *o = ctx;
	struct net_addr ip4 = {0}, ip6 = {0};

	if (record_of(o, session)->kind != SESSION_STRANGER || !o->share_exit)
		return overlay_Reason_REASON_NOT_OFFERED;
	if (lease_take(&o->lease, o->now, session, &ip4, &ip6) != OK)
		return overlay_Reason_REASON_LIMIT;
	if (in->want_ip4) {
		address_put(&ip4, &ret->ip4, 4);
		address_put(&o->conf.resolver4, &ret->dns4, 4);
	}
	if (in->want_ip6) {
		address_put(&ip6, &ret->ip6, 16);
		address_put(&o->conf.resolver6, &ret->dns6, 16);
	}
	ret->mtu = o->conf.exit_mtu;
	ret->policy_digest.size = POLICY_DIGEST_SIZE;
	policy_digest(&o->policy, ret->policy_digest.bytes);
	role_set(o, session, record_of(o, session)->relays, true);
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_close(void *ctx, uint32_t session, const overlay_Close *in)
{
	struct overlay *o = ctx;

	if (in->slot > UINT16_MAX)
		return overlay_Reason_REASON_MALFORMED;
	if (record_of(o, session)->kind == SESSION_STRANGER)
		circuit_close(&o->circuit, session, (uint16_t)in->slot);
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_detach(void *ctx, uint32_t session)
{
	struct overlay *o = ctx;

	if (record_of(o, session)->kind == SESSION_STRANGER && o->have_lease) {
		lease_return(&o->lease, o->now, session);
		role_set(o, session, record_of(o, session)->relays, false);
		tell_usage(o, session, 0);
	}
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_to_service(
	void *ctx, uint32_t session, uint32_t request, const overlay_ToService *in)
{
	struct overlay *o = ctx;
	struct session_record *rec = record_of(o, session);
	mvpn_PeerAsked asked = {.session = rec->number, .request = request};
	bool there;

	if (rec->kind != SESSION_STRANGER)
		return overlay_Reason_REASON_NOT_OFFERED;
	asked.payload.size = in->payload.size;
	memcpy(asked.payload.bytes, in->payload.bytes, in->payload.size);
	if (in->service == overlay_Service_SERVICE_LEDGER) {
		mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_peer_asked_tag};

		m.body.peer_asked = asked;
		/* What it pays for may pass before the next report would be due. */
		tell_usage(o, session, 0);
		there = o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
	} else if (in->service == overlay_Service_SERVICE_DISCOVERY) {
		mvpn_DiscoveryIn m = {.which_body = mvpn_DiscoveryIn_peer_asked_tag};

		m.body.peer_asked = asked;
		there = o->ops.tell(o->ops.ctx, ROLE_DISCOVERY, &m);
	} else {
		return overlay_Reason_REASON_MALFORMED;
	}
	/* It is starting: who asks is to ask anew, not to wait for an answer that nobody will give. */
	return there ? overlay_Reason_REASON_UNSPECIFIED : overlay_Reason_REASON_BUSY;
}

void stranger_sink_set(struct control_sink *s)
{
	s->extend = on_extend;
	s->attach = on_attach;
	s->close = on_close;
	s->detach = on_detach;
	s->to_service = on_to_service;
}

/* ---- packets from a stranger ---- */

/* Messages that go on together. */
struct batch {
	uint8_t *at[BATCH_MAX];
	uint32_t len[BATCH_MAX];
	uint32_t n;
};

void stranger_relay(struct overlay *o, uint32_t session, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	struct net_endpoint to = {0};
	struct batch b = {.n = 0};

	for (uint32_t i = 0; i < n; i++) {
		const struct circuit_leg *leg;

		if (!stranger_may_pass(o, session, len[i]) ||
			circuit_forward(&o->circuit, o->now, session, slot, at[i], len[i], &leg) != OK)
			continue;
		to = leg->next; /* one slot, one leg */
		b.at[b.n] = at[i];
		b.len[b.n++] = len[i];
		if (b.n == BATCH_MAX) {
			o->ops.onward(o->ops.ctx, &to, b.at, b.len, b.n);
			b.n = 0;
		}
	}
	if (b.n > 0)
		o->ops.onward(o->ops.ctx, &to, b.at, b.len, b.n);
}

bool stranger_ip(struct overlay *o, uint32_t session, const uint8_t *pkt, uint32_t len)
{
	struct session_record *rec = record_of(o, session);
	enum policy_verdict v;
	struct packet p;

	/* [P-52] */
	if (!o->have_lease || lease_holder_of_packet(&o->lease, pkt, len, true) != session) {
		o->n.wrong_source++;
		return false;
	}
	v = policy_check(&o->policy, pkt, len, &p);
	if (v == POLICY_PASS)
		v = policy_flows_check(&rec->flows, o->now, &p, pkt, o->flow_key);
	if (v != POLICY_PASS) {
		o->n.refused[v]++;
		return false;
	}
	return stranger_may_pass(o, session, len);
}

/* ---- packets to a stranger ---- */

static void batch_back(struct overlay *o, uint32_t session, uint16_t slot, struct batch *b)
{
	if (b->n > 0)
		o->ops.session_relay(o->ops.ctx, session, slot, b->at, b->len, b->n);
	b->n = 0;
}

void overlay_on_onward(struct overlay *o, mono_t now, const struct net_endpoint *from, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	struct batch b = {.n = 0};
	uint32_t session = OVERLAY_NO_SESSION;
	uint16_t slot = 0;

	o->now = now;
	for (uint32_t i = 0; i < n; i++) {
		const struct circuit_leg *leg;

		if (circuit_back(&o->circuit, now, from, at[i], len[i], &leg) != OK ||
			!stranger_may_pass(o, leg->session, len[i]))
			continue;
		if (b.n == BATCH_MAX || leg->session != session || leg->slot != slot)
			batch_back(o, session, slot, &b);
		session = leg->session;
		slot = leg->slot;
		b.at[b.n] = at[i];
		b.len[b.n++] = len[i];
	}
	batch_back(o, session, slot, &b);
}
