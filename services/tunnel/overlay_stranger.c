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
	admit_session_role(&o->admit, session, relays, exits);
	if (!rec->told && (relays || exits)) {
		stranger_tell_opened(o, session);
	} else if (rec->told && exits != exits_before) {
		m.body.session_role = (mvpn_SessionRole){.session = rec->number, .is_exit = exits};
		o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
	}
}

void stranger_count(struct overlay *o, uint32_t session, uint64_t up, uint64_t down)
{
	struct session_record *rec = record_of(o, session);
	unsigned int due;

	meter_count(&rec->meter, up, down);
	o->shared_bytes += up + down;
	due = meter_due(&rec->meter, o->now);
	if ((due & METER_REPORT) != 0)
		tell_usage(o, session);
	if ((due & METER_NOTICE) != 0)
		control_notice(&o->responder, session, overlay_Reason_REASON_PAYMENT,
			rec->meter.credit_bytes, meter_used(&rec->meter), &o->control_sink);
}

/* May n bytes pass for this session, by credit and by the shared rate? Counts the refusal. */
static bool may_pass(struct overlay *o, uint32_t session, uint64_t n_bytes)
{
	struct session_record *rec = record_of(o, session);

	if (!meter_may(&rec->meter)) {
		o->n.unpaid++;
		stranger_count(o, session, 0, 0); /* the notice that is due */
		return false;
	}
	if (!bucket_take(&o->bucket, o->now, n_bytes)) {
		o->n.over_rate++;
		return false;
	}
	return true;
}

/* ---- control verbs ---- */

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
	if (e == OK)
		role_set(o, session, true, record_of(o, session)->exits);
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
		tell_usage(o, session);
	}
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_to_service(
	void *ctx, uint32_t session, uint32_t request, const overlay_ToService *in)
{
	struct overlay *o = ctx;
	struct session_record *rec = record_of(o, session);
	mvpn_PeerAsked asked = {.session = rec->number, .request = request};

	if (rec->kind != SESSION_STRANGER)
		return overlay_Reason_REASON_NOT_OFFERED;
	asked.payload.size = in->payload.size;
	memcpy(asked.payload.bytes, in->payload.bytes, in->payload.size);
	if (in->service == overlay_Service_SERVICE_LEDGER) {
		mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_peer_asked_tag};

		m.body.peer_asked = asked;
		/* What it pays for may pass before the next report would be due. */
		tell_usage(o, session);
		o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
	} else if (in->service == overlay_Service_SERVICE_DISCOVERY) {
		mvpn_DiscoveryIn m = {.which_body = mvpn_DiscoveryIn_peer_asked_tag};

		m.body.peer_asked = asked;
		o->ops.tell(o->ops.ctx, ROLE_DISCOVERY, &m);
	} else {
		return overlay_Reason_REASON_MALFORMED;
	}
	return overlay_Reason_REASON_UNSPECIFIED;
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

/* Messages that go on together: the same leg, or the exit's device. */
struct batch {
	struct overlay_msg msgs[BATCH_MAX];
	size_t n;
	uint64_t n_bytes;
	uint16_t slot;
	struct net_endpoint to;
};

static void batch_onward(struct overlay *o, struct batch *b)
{
	if (b->n > 0)
		o->ops.onward(o->ops.ctx, &b->to, b->msgs, b->n);
	b->n = 0;
}

static void batch_exit(struct overlay *o, struct batch *b)
{
	if (b->n > 0)
		o->ops.tun_write(o->ops.ctx, OVERLAY_TUN_EXIT, b->msgs, b->n);
	b->n = 0;
}

/* A relay frame's message on its way out; joins the batch of its leg. */
static void frame_forward(struct overlay *o, uint32_t session, const struct overlay_msg *f, struct batch *b)
{
	const struct circuit_leg *leg;
	const uint8_t *msg;
	size_t len;
	uint16_t slot;

	if (!frame_relay_get(f->buf, f->len, &slot, &msg, &len)) {
		o->n.bad_frames++;
		return;
	}
	if (!may_pass(o, session, len) ||
		circuit_forward(&o->circuit, o->now, session, slot, msg, len, &leg) != OK)
		return;
	if (b->n == BATCH_MAX || (b->n > 0 && b->slot != slot))
		batch_onward(o, b);
	if (b->n == 0) {
		b->slot = slot;
		b->to = leg->next;
	}
	b->msgs[b->n++] = (struct overlay_msg){f->buf + FRAME_HEADER_SIZE, (uint32_t)len};
	stranger_count(o, session, len, 0);
}

/* Length that the IP header says, without the padding; 0 if it is more than there is. */
static uint32_t ip_len(const struct overlay_msg *m)
{
	uint32_t len = 0;

	if (m->len >= 20 && m->buf[0] >> 4 == 4)
		len = (uint32_t)m->buf[2] << 8 | m->buf[3];
	else if (m->len >= 40 && m->buf[0] >> 4 == 6)
		len = ((uint32_t)m->buf[4] << 8 | m->buf[5]) + 40;
	return len <= m->len ? len : 0;
}

static void packet_exit(struct overlay *o, uint32_t session, struct overlay_msg *m, struct batch *b)
{
	struct session_record *rec = record_of(o, session);
	enum policy_verdict v;
	struct packet p;
	uint32_t len = ip_len(m);

	/* [P-52] */
	if (len == 0 || lease_holder_of_packet(&o->lease, m->buf, len, true) != session) {
		o->n.wrong_source++;
		return;
	}
	v = policy_check(&o->policy, m->buf, len, &p);
	if (v == POLICY_PASS)
		v = policy_flows_check(&rec->flows, o->now, &p, m->buf, o->flow_key);
	if (v != POLICY_PASS) {
		o->n.refused[v]++;
		return;
	}
	if (!may_pass(o, session, len))
		return;
	if (b->n == BATCH_MAX)
		batch_exit(o, b);
	b->msgs[b->n++] = (struct overlay_msg){m->buf, len};
	stranger_count(o, session, len, 0);
}

void stranger_payloads(struct overlay *o, uint32_t session, struct overlay_msg *msgs, size_t n)
{
	static __thread struct batch forward, out; /* 16 KiB each: too much for the stack */

	forward.n = out.n = 0;
	admit_session_used(&o->admit, o->now, session);
	for (size_t i = 0; i < n; i++) {
		enum frame_kind kind = frame_kind(msgs[i].buf, msgs[i].len);

		if (!admit_may_send(&o->admit, session, kind)) {
			o->n.not_admitted += kind != FRAME_KEEPALIVE;
			continue;
		}
		switch (kind) {
		case FRAME_RELAY:
			frame_forward(o, session, &msgs[i], &forward);
			break;
		case FRAME_IP4:
		case FRAME_IP6:
			packet_exit(o, session, &msgs[i], &out);
			break;
		case FRAME_CONTROL:
			/* Order within the session is a promise: Extend, then what needs it. */
			batch_onward(o, &forward);
			control_on_frame(&o->responder, NULL, o->now, session, msgs[i].buf, msgs[i].len,
				&o->control_sink);
			break;
		case FRAME_KEEPALIVE:
			break;
		case FRAME_BAD:
			o->n.bad_frames++;
			break;
		}
	}
	batch_onward(o, &forward);
	batch_exit(o, &out);
}

/* ---- packets to a stranger ---- */

void overlay_on_onward(struct overlay *o, mono_t now, const struct net_endpoint *from,
	struct overlay_msg *msgs, size_t n)
{
	size_t begin = 0, kept = 0;
	uint32_t session = OVERLAY_NO_SESSION;
	uint16_t slot = 0;
	uint64_t n_bytes = 0;

	o->now = now;
	/* Runs of messages of one leg go back together; what is dropped is squeezed out. */
	for (size_t i = 0; i < n; i++) {
		const struct circuit_leg *leg;

		if (circuit_back(&o->circuit, now, from, msgs[i].buf, msgs[i].len, &leg) != OK ||
			!may_pass(o, leg->session, msgs[i].len))
			continue;
		if (kept > begin && (leg->session != session || leg->slot != slot)) {
			stranger_count(o, session, 0, n_bytes);
			o->ops.session_relay(o->ops.ctx, now, session, slot, msgs + begin, kept - begin);
			begin = kept;
			n_bytes = 0;
		}
		session = leg->session;
		slot = leg->slot;
		n_bytes += msgs[i].len;
		msgs[kept++] = msgs[i];
	}
	if (kept > begin) {
		stranger_count(o, session, 0, n_bytes);
		o->ops.session_relay(o->ops.ctx, now, session, slot, msgs + begin, kept - begin);
	}
}
