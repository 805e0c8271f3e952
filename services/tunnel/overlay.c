/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "overlay_internal.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"

/* Remembered requests of strangers: 1.2 kB each; four a session of the busiest few dozen. */
#define ANSWERS_MAX 256
#define PREFIXES_MAX 8192 /* source prefixes with a token bucket, 64 bytes each */

/* ---- records ---- */

struct session_record *record_of(struct overlay *o, uint32_t session)
{
	BUG_ON(session >= o->conf.sessions_max);
	return &o->records[session];
}

/* A number is 32 random bits, 8 of the worker, 24 of the handle: found without a table, and a new
 * session on an old handle has another. */
void record_new(
	struct overlay *o, uint32_t session, enum session_kind kind, uint64_t free_bytes, bool priced)
{
	struct session_record *rec = record_of(o, session);

	memset(rec, 0, sizeof(*rec));
	rec->kind = kind;
	rec->number = (uint64_t)(rng_u32(o->rng) | 1u) << 32 | (uint64_t)o->conf.worker << 24 | session;
	meter_init(&rec->meter, o->now, free_bytes, priced);
}

/* A route that was resumed has the numbers of the process before: then only its hops are searched. */
struct session_record *record_by_number(struct overlay *o, uint64_t number, uint32_t *ret_session)
{
	uint32_t session = (uint32_t)number & 0xffffff;

	if (number == 0)
		return NULL;
	for (size_t i = 0; i < HOPS_MAX; i++)
		if (o->hops[i].used && o->records[o->hops[i].session].number == number)
			session = o->hops[i].session;
	if (session >= o->conf.sessions_max || o->records[session].number != number)
		return NULL;
	*ret_session = session;
	return &o->records[session];
}

static void tell_closed(struct overlay *o, const struct session_record *rec)
{
	mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_session_closed_tag};

	m.body.session_closed = (mvpn_SessionClosed){.session = rec->number,
		.up_bytes = rec->meter.up_bytes,
		.down_bytes = rec->meter.down_bytes};
	o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
}

void tell_usage(struct overlay *o, uint32_t session, uint64_t relay_used_bytes)
{
	const struct session_record *rec = record_of(o, session);
	mvpn_LedgerIn m = {.which_body = mvpn_LedgerIn_session_usage_tag};

	if (!rec->told)
		return;
	m.body.session_usage = (mvpn_SessionUsage){.session = rec->number,
		.up_bytes = rec->meter.up_bytes,
		.down_bytes = rec->meter.down_bytes,
		.credit_bytes = rec->meter.credit_bytes,
		.relay_used_bytes = relay_used_bytes};
	o->ops.tell(o->ops.ctx, ROLE_LEDGER, &m);
}

/* The session itself is the worker's to end. */
void record_free(struct overlay *o, uint32_t session)
{
	struct session_record *rec = record_of(o, session);

	if (rec->kind == SESSION_NONE)
		return;
	if (rec->told)
		tell_closed(o, rec);
	ask_session_gone(o, session);
	if (rec->kind == SESSION_STRANGER) {
		circuit_session_gone(&o->circuit, session);
		admit_session_gone(&o->admit, session);
		if (o->have_lease)
			lease_return(&o->lease, o->now, session);
	}
	control_session_gone(&o->responder, session);
	memset(rec, 0, sizeof(*rec));
}

/* ---- control sink: one for all sessions ---- */

static void sink_send(void *ctx, uint32_t session, const uint8_t *frame, size_t len)
{
	struct overlay *o = ctx;

	o->ops.session_send(o->ops.ctx, session, frame, len);
}

static void sink_answered(void *ctx, uint32_t session, uint64_t tag, const overlay_Control *answer)
{
	struct overlay *o = ctx;
	struct hop *h = record_of(o, session)->hop;

	if ((tag & TAG_ASK) != 0)
		ask_answered(o, tag, answer);
	else if (h != NULL)
		route_on_answer(&h->route->r, o->now, h->index, tag, answer, &o->route_sink);
}

static void sink_failed(void *ctx, uint32_t session, uint64_t tag, enum err why)
{
	struct overlay *o = ctx;
	struct hop *h = record_of(o, session)->hop;

	if ((tag & TAG_ASK) != 0)
		ask_failed(o, tag, why);
	else if (h != NULL)
		route_on_no_answer(&h->route->r, o->now, h->index, tag, why, &o->route_sink);
}

static void sink_echoed(void *ctx, uint32_t session, uint64_t nonce)
{
	struct overlay *o = ctx;
	struct hop *h = record_of(o, session)->hop;

	if (h != NULL)
		route_on_echo(&h->route->r, o->now, h->index, nonce, &o->route_sink);
}

static void sink_noticed(void *ctx, uint32_t session, const overlay_Notice *notice)
{
	struct overlay *o = ctx;
	struct session_record *rec = record_of(o, session);

	if (rec->hop == NULL)
		return;
	meter_grant(&rec->meter, notice->credit_bytes);
	tell_usage(o, session, notice->used_bytes); /* payment is due: the ledger should know now */
	route_on_notice(&rec->hop->route->r, o->now, rec->hop->index, notice, &o->route_sink);
}

/* ---- life ---- */

static void *memory(struct overlay *o, size_t n_bytes, unsigned int place)
{
	o->mem[place] = n_bytes == 0 ? NULL : calloc(1, n_bytes);
	return o->mem[place];
}

static void random_key(struct overlay *o, uint64_t key[static 2])
{
	key[0] = rng_u64(o->rng);
	key[1] = rng_u64(o->rng);
}

static enum err relay_init(struct overlay *o)
{
	const struct overlay_conf *c = &o->conf;
	struct circuit_conf circuit = {.sessions_max = c->sessions_max,
		.legs_max = c->legs_max,
		.have_ip4 = c->have_ip4,
		.have_ip6 = c->have_ip6};
	struct admit_conf admit = {.sessions_max = c->sessions_max,
		.strangers_max = c->strangers_max,
		.prefixes_max = PREFIXES_MAX};
	struct control_responder_conf responder = {
		.sessions_max = c->sessions_max, .answers_max = ANSWERS_MAX};
	uint64_t key[2];

	memcpy(circuit.self_wg_pk, c->self_wg_pk, 32);
	if (memory(o, circuit_bytes(&circuit), 0) == NULL || memory(o, admit_bytes(&admit), 1) == NULL ||
		memory(o, control_responder_bytes(&responder), 2) == NULL)
		return ERR_FULL;
	random_key(o, key);
	circuit_init(&o->circuit, &circuit, o->mem[0], key);
	random_key(o, key);
	admit_init(&o->admit, &admit, o->mem[1], key);
	random_key(o, key);
	control_responder_init(&o->responder, &responder, o->mem[2], key);
	return OK;
}

static enum err exit_init(struct overlay *o)
{
	const struct overlay_conf *c = &o->conf;
	struct lease_conf lease = {.pool4 = c->pool4,
		.pool6 = c->pool6,
		.worker = c->worker,
		.worker_bits = c->worker_bits,
		.sessions_max = c->sessions_max,
		.leases_max = c->strangers_max};

	TRY(policy_init(&o->policy, c->pool4.addr.family != NET_NONE, c->pool6.addr.family != NET_NONE,
		c->test_network, c->own, c->n_own));
	policy_set_resolvers(&o->policy, &c->resolver4, &c->resolver6);
	if (c->pool4.addr.family == NET_NONE && c->pool6.addr.family == NET_NONE)
		return OK; /* no exit */
	if (lease_bytes(&lease) == 0)
		return ERR_INVALID;
	if (memory(o, lease_bytes(&lease), 3) == NULL)
		return ERR_FULL;
	lease_init(&o->lease, &lease, o->mem[3]);
	o->have_lease = true;
	return OK;
}

static enum err client_init(struct overlay *o)
{
	const struct overlay_conf *c = &o->conf;
	struct flow_conf flow = {.device4 = c->device4,
		.device6 = c->device6,
		.resolver4 = c->device_dns4,
		.resolver6 = c->device_dns6,
		.flows_max = c->flows_max};
	uint64_t key[2];

	if (c->flows_max == 0)
		return OK;
	if (flow_bytes(&flow) == 0)
		return ERR_INVALID;
	if (memory(o, flow_bytes(&flow), 4) == NULL)
		return ERR_FULL;
	random_key(o, key);
	flow_init(&o->flow, &flow, o->mem[4], key);
	o->have_flow = true;
	return OK;
}

enum err overlay_new(struct overlay **ret_o, const struct overlay_conf *conf,
	const struct overlay_ops *ops, struct rng *rng, mono_t now)
{
	struct overlay *o = calloc(1, sizeof(*o));
	enum err e;

	if (o == NULL)
		return ERR_FULL;
	o->conf = *conf;
	o->ops = *ops;
	o->rng = rng;
	o->now = now;
	o->second = now;
	o->flow_key = rng_u64(rng);
	o->records = calloc(conf->sessions_max, sizeof(*o->records));
	bucket_init(&o->bucket, now, conf->rate_Bps, 0);
	o->control_sink = (struct control_sink){.ctx = o,
		.send = sink_send,
		.answered = sink_answered,
		.failed = sink_failed,
		.echoed = sink_echoed,
		.noticed = sink_noticed};
	stranger_sink_set(&o->control_sink);
	o->route_sink = (struct route_sink){.ctx = o};
	client_sink_set(&o->route_sink);
	for (size_t i = 0; i < ROUTES_MAX; i++)
		o->routes[i].exit_place = FLOW_NO_EXIT;
	e = o->records == NULL ? ERR_FULL : relay_init(o);
	if (e == OK)
		e = exit_init(o);
	if (e == OK)
		e = client_init(o);
	if (e != OK) {
		overlay_free(&o);
		return e;
	}
	*ret_o = o;
	return OK;
}

void overlay_free(struct overlay **po)
{
	struct overlay *o = *po;

	*po = NULL;
	if (o == NULL)
		return;
	for (size_t i = 0; i < HOPS_MAX; i++)
		noise_identity_done(&o->hops[i].id);
	for (size_t i = 0; i < sizeof(o->mem) / sizeof(o->mem[0]); i++)
		free(o->mem[i]);
	free(o->records);
	free(o);
}

void *overlay_ops_ctx(const struct overlay *o)
{
	return o->ops.ctx;
}

/* ---- strangers come and go ---- */

enum err overlay_admit(struct overlay *o, mono_t now, const struct net_addr *src)
{
	o->now = now;
	return o->share || o->conf.stock ? admit_handshake(&o->admit, now, src) : ERR_DENIED;
}

enum err overlay_room(struct overlay *o, mono_t now, uint32_t *ret_victim)
{
	uint32_t victim = ADMIT_NONE;

	o->now = now;
	if (!o->share)
		return ERR_DENIED;
	TRY(admit_room(&o->admit, now, &victim));
	*ret_victim = victim == ADMIT_NONE ? OVERLAY_NO_SESSION : victim;
	return OK;
}

void overlay_stranger_new(struct overlay *o, mono_t now, uint32_t session)
{
	o->now = now;
	record_new(o, session, SESSION_STRANGER, o->free_bytes, o->priced);
	policy_flows_init(&record_of(o, session)->flows, now);
	admit_session_new(&o->admit, now, session);
	admit_session_paid(&o->admit, session, !o->priced);
}

/* ---- events ---- */

void overlay_on_established(struct overlay *o, mono_t now, uint32_t session)
{
	struct session_record *rec = record_of(o, session);
	struct hop *h = rec->hop;

	o->now = now;
	/* It may have come back by another path: what it was told lately may be lost. */
	if (rec->kind == SESSION_STRANGER && meter_used(&rec->meter) > 0) {
		meter_notice_again(&rec->meter);
		overlay_on_metered(o, now, session, meter_due(&rec->meter, now));
	}
	if (h != NULL)
		route_on_established(&h->route->r, now, h->index, &o->route_sink);
	client_reap(o);
}

void overlay_on_dead(struct overlay *o, mono_t now, uint32_t session)
{
	struct hop *h = record_of(o, session)->hop;

	o->now = now;
	if (h != NULL)
		route_on_session_failed(&h->route->r, now, h->index, ERR_TIMEOUT, &o->route_sink);
	client_reap(o);
}

void overlay_session_gone(struct overlay *o, mono_t now, uint32_t session)
{
	o->now = now;
	record_free(o, session);
}

unsigned int overlay_gate(struct overlay *o, uint32_t session)
{
	unsigned int bits = 0;

	if (record_of(o, session)->kind == SESSION_HOP)
		return ~0u;
	for (int k = FRAME_KEEPALIVE; k < FRAME_BAD; k++)
		if (admit_may_send(&o->admit, session, k))
			bits |= 1u << k;
	return bits;
}

void overlay_on_heard(struct overlay *o, mono_t now, uint32_t session)
{
	struct session_record *rec = record_of(o, session);

	o->now = now;
	if (rec->kind == SESSION_HOP)
		route_on_heard(&rec->hop->route->r, now, rec->hop->index);
	else if (rec->kind == SESSION_STRANGER)
		admit_session_used(&o->admit, now, session);
}

void overlay_on_relay(struct overlay *o, mono_t now, uint32_t session, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	o->now = now;
	if (record_of(o, session)->kind == SESSION_HOP)
		o->ops.nested(o->ops.ctx, session, slot, at, len, n);
	else
		stranger_relay(o, session, slot, at, len, n);
}

bool overlay_on_ip(struct overlay *o, mono_t now, uint32_t session, uint8_t *pkt, uint32_t len, bool partial)
{
	o->now = now;
	if (record_of(o, session)->kind == SESSION_HOP)
		return client_ip(o, session, pkt, len, partial);
	return stranger_ip(o, session, pkt, len);
}

void overlay_on_control(struct overlay *o, mono_t now, uint32_t session, const uint8_t *frame, size_t len)
{
	struct hop *h = record_of(o, session)->hop;

	o->now = now;
	control_on_frame(&o->responder, h == NULL ? NULL : &h->asks, now, session, frame, len,
		&o->control_sink);
	client_reap(o);
}

bool overlay_policy_passes(struct overlay *o, const uint8_t *pkt, uint32_t len)
{
	enum policy_verdict v = policy_check(&o->policy, pkt, len, NULL);

	if (v != POLICY_PASS)
		o->n.refused[v]++;
	return v == POLICY_PASS;
}

struct meter *overlay_meter(struct overlay *o, uint32_t session)
{
	return &record_of(o, session)->meter;
}

void overlay_on_metered(struct overlay *o, mono_t now, uint32_t session, unsigned int due)
{
	struct session_record *rec = record_of(o, session);

	o->now = now;
	if ((due & METER_REPORT) != 0)
		tell_usage(o, session, 0);
	if ((due & METER_NOTICE) != 0 && rec->kind == SESSION_STRANGER)
		control_notice(&o->responder, session, overlay_Reason_REASON_PAYMENT,
			rec->meter.credit_bytes, meter_used(&rec->meter), &o->control_sink);
}

/* ---- time ---- */

/* Sessions idle for too long, one after the other. */
static void strangers_forget(struct overlay *o)
{
	for (uint32_t s; (s = admit_idle(&o->admit, o->now)) != ADMIT_NONE;) {
		record_free(o, s);
		o->ops.session_end(o->ops.ctx, s);
	}
}

void overlay_tick(struct overlay *o, mono_t now)
{
	o->now = now;
	client_tick(o);
	ask_tick(o);
	if (mono_reached(o->second, now)) {
		o->second = mono_add(now, DUR_S(1));
		circuit_tick(&o->circuit, now);
		control_responder_tick(&o->responder, now, &o->control_sink);
		strangers_forget(o);
		if (o->have_flow)
			flow_tick(&o->flow, now);
		client_second(o);
		for (uint32_t s = 0; s < o->conf.sessions_max; s++)
			if (o->records[s].told)
				overlay_on_metered(o, now, s, meter_due(&o->records[s].meter, now));
	}
	client_reap(o);
}

mono_t overlay_deadline(const struct overlay *o)
{
	return mono_min(o->second, client_deadline(o));
}

/* ---- orders ---- */

void overlay_wall(struct overlay *o, wall_t wall)
{
	o->wall = wall;
}

static void order_credit(struct overlay *o, const mvpn_TunnelIn *in)
{
	const mvpn_GrantCredit *g = &in->body.grant_credit;
	uint32_t session;
	struct session_record *rec = record_by_number(o, g->session, &session);

	if (rec == NULL)
		return; /* closed meanwhile */
	meter_grant(&rec->meter, g->credit_bytes);
	if (rec->kind == SESSION_STRANGER)
		admit_session_paid(&o->admit, session, true);
}

static void order_allowance(struct overlay *o, const mvpn_TunnelIn *in)
{
	o->free_bytes = in->body.set_allowance.free_bytes;
	o->priced = in->body.set_allowance.priced;
}

static void order_settings(struct overlay *o, const mvpn_TunnelIn *in)
{
	const mvpn_TunnelSettings *s = &in->body.settings;

	o->share = s->share;
	o->share_exit = s->share && s->share_exit && o->have_lease;
	bucket_init(&o->bucket, o->now, s->share_rate_Bps >> o->conf.worker_bits, 0);
	admit_set_cap(&o->admit,
		s->share_sessions_max == 0 ? o->conf.strangers_max
					   : (s->share_sessions_max >> o->conf.worker_bits) + 1);
}

void overlay_order(
	struct overlay *o, mono_t now, wall_t wall, enum role from, const mvpn_TunnelIn *in)
{
	static const struct {
		pb_size_t tag;
		void (*run)(struct overlay *o, const mvpn_TunnelIn *in);
	} orders[] = {
		{mvpn_TunnelIn_build_route_tag, client_order_build},
		{mvpn_TunnelIn_use_route_tag, client_order_use},
		{mvpn_TunnelIn_close_route_tag, client_order_close},
		{mvpn_TunnelIn_probe_route_tag, client_order_probe},
		{mvpn_TunnelIn_measure_relay_tag, client_order_measure},
		{mvpn_TunnelIn_grant_credit_tag, order_credit},
		{mvpn_TunnelIn_set_allowance_tag, order_allowance},
		{mvpn_TunnelIn_answer_peer_tag, ask_order_answer},
		{mvpn_TunnelIn_settings_tag, order_settings},
	};

	o->now = now;
	o->wall = wall;
	if (in->which_body == mvpn_TunnelIn_send_peer_request_tag)
		ask_order_send(o, from, in);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		if (orders[i].tag == in->which_body)
			orders[i].run(o, in);
	client_reap(o);
}

static uint32_t snapshot_ledger(struct overlay *o, uint32_t *cursor, uint32_t most)
{
	uint32_t n = 0;

	for (; *cursor < o->conf.sessions_max && n < most; (*cursor)++) {
		const uint32_t s = *cursor;

		if (!o->records[s].told)
			continue;
		if (o->records[s].kind == SESSION_STRANGER)
			stranger_tell_opened(o, s);
		else
			client_tell_opened(o, s);
		tell_usage(o, s, 0);
		n++;
	}
	return n;
}

static uint32_t snapshot_router(struct overlay *o, uint32_t *cursor, uint32_t most)
{
	uint32_t n = 0;

	for (; *cursor < ROUTES_MAX && n < most; (*cursor)++) {
		const struct live_route *l = &o->routes[*cursor];

		if (!l->used || l->r.purpose != ROUTE_TRAFFIC || l->r.dead ||
			(l->r.state != ROUTE_READY && l->r.state != ROUTE_DRAINING))
			continue;
		client_tell_lives(o, l);
		n++;
	}
	return n;
}

uint32_t overlay_snapshot(struct overlay *o, mono_t now, enum role to, uint32_t *cursor, uint32_t most)
{
	o->now = now;
	if (to == ROLE_LEDGER)
		return snapshot_ledger(o, cursor, most);
	return to == ROLE_ROUTER ? snapshot_router(o, cursor, most) : 0;
}

void overlay_service_gone(struct overlay *o, mono_t now, enum role who)
{
	o->now = now;
	ask_role_gone(o, who);
}

void overlay_policy_digest(const struct overlay *o, uint8_t ret_digest[static 32])
{
	policy_digest(&o->policy, ret_digest);
}

struct overlay_totals overlay_totals(const struct overlay *o)
{
	struct overlay_totals t = {.n_strangers = o->admit.n_strangers,
		.n_legs = circuit_n_legs(&o->circuit),
		.n_leases = o->have_lease ? o->lease.n_used : 0,
		.shared_bytes = o->shared_bytes,
		.route_in_use = o->in_use != NULL};

	for (size_t i = 0; i < ROUTES_MAX; i++)
		t.n_routes += o->routes[i].used && o->routes[i].r.purpose == ROUTE_TRAFFIC;
	if (o->in_use != NULL)
		t.mtu = o->in_use->r.lease.mtu;
	return t;
}
