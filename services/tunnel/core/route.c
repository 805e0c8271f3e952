/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "route_internal.h"

#include <string.h>

const char *route_state_name(enum route_state s)
{
	static const char *const names[] = {"building", "ready", "draining", "closing", "closed"};

	return s <= ROUTE_CLOSED ? names[s] : "?";
}

void route_target_from(struct route_target *t, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE])
{
	memset(t, 0, sizeof(*t));
	memcpy(t->node_id, d->node_id, sizeof(t->node_id));
	memcpy(t->wg_pk, d->wg_pk, sizeof(t->wg_pk));
	t->ep4 = d->ep4;
	t->ep6 = d->ep6;
	t->roles = d->roles;
	memcpy(t->policy_digest, d->policy_digest, sizeof(t->policy_digest));
	memcpy(t->descriptor, bytes, DESCRIPTOR_SIZE);
}

static bool has_session(const struct route_hop *h)
{
	return h->state != HOP_IDLE && h->state != HOP_AWAITED && h->state != HOP_LENT &&
	       h->state != HOP_ENDED;
}

static bool handshaking(const struct route_hop *h)
{
	return h->state == HOP_HANDSHAKING || h->state == HOP_AWAITED;
}

static bool established(const struct route_hop *h)
{
	return h->state == HOP_ESTABLISHED || h->state == HOP_ATTACHING || h->state == HOP_READY;
}

const struct net_endpoint *route_entry_endpoint(const struct route *r)
{
	const struct route_target *t = &r->hops[0].target;

	if (r->have_ip4 && t->ep4.addr.family == NET_IP4)
		return &t->ep4;
	if (r->have_ip6 && t->ep6.addr.family == NET_IP6)
		return &t->ep6;
	return NULL;
}

/* ---- checks ---- */

static bool targets_ok(const struct route_spec *s)
{
	for (unsigned int i = 0; i < s->n_hops; i++) {
		if (i + 1 < s->n_hops && !(s->targets[i].roles & DESCRIPTOR_RELAY))
			return false;
		for (unsigned int j = 0; j < i; j++)
			if (memcmp(s->targets[i].wg_pk, s->targets[j].wg_pk, 32) == 0)
				return false;
	}
	return s->purpose != ROUTE_TRAFFIC ||
	       (s->targets[s->n_hops - 1].roles & (DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6)) != 0;
}

/* May the exit session of `from` move to a route that ends in `exit`? */
static bool exit_can_move(const struct route *from, const struct route_target *exit)
{
	return (from->state == ROUTE_READY || from->state == ROUTE_DRAINING) && !from->exit_lent &&
	       from->purpose == ROUTE_TRAFFIC &&
	       memcmp(from->hops[route_last(from)].target.wg_pk, exit->wg_pk, 32) == 0;
}

static bool spec_ok(const struct route_spec *s)
{
	if (s->n_hops < 1 || s->n_hops > ROUTE_HOPS_MAX ||
		(s->purpose != ROUTE_TRAFFIC && s->n_hops != 1) || !targets_ok(s))
		return false;
	if (s->exit_of == NULL)
		return true;
	return s->purpose == ROUTE_TRAFFIC && exit_can_move(s->exit_of, &s->targets[s->n_hops - 1]);
}

enum err route_init(struct route *r, const struct route_spec *s, struct rng *rng)
{
	struct route fresh = {.id = s->id,
		.purpose = s->purpose,
		.n_hops = s->n_hops,
		.have_ip4 = s->have_ip4,
		.have_ip6 = s->have_ip6,
		.exit_from = s->exit_of,
		.rng = rng,
		.user = r->user};

	if (!spec_ok(s))
		return ERR_INVALID;
	for (unsigned int i = 0; i < s->n_hops; i++)
		fresh.hops[i].target = s->targets[i];
	if (route_entry_endpoint(&fresh) == NULL)
		return ERR_UNAVAILABLE;
	fresh.want_ip4 = (s->targets[s->n_hops - 1].roles & DESCRIPTOR_EXIT4) != 0;
	fresh.want_ip6 = (s->targets[s->n_hops - 1].roles & DESCRIPTOR_EXIT6) != 0;
	fresh.exit_from_id = s->exit_of != NULL ? s->exit_of->id : 0;
	*r = fresh;
	return OK;
}

/* ---- the end ---- */

static void ask_detach(struct route *r, unsigned int hop, const struct route_sink *sink)
{
	overlay_Control m = {.which_body = overlay_Control_detach_tag};

	sink->request(
		sink->ctx, r, hop, &m, ROUTE_TAG_DETACH, r->hops[hop].srtt, ROUTE_CLOSE_PATIENCE);
}

/* Neither waits for the other any more; who waits for our exit sees it at its next try. */
static void untie(struct route *r)
{
	if (r->exit_from != NULL && r->exit_from->id == r->exit_from_id &&
		r->exit_from->exit_to == r)
		r->exit_from->exit_to = NULL;
	r->exit_from = NULL;
	r->exit_to = NULL;
}

/* Whom no word reached yet gets one without an answer. */
static void finish(struct route *r, const struct route_sink *sink)
{
	for (unsigned int k = r->n_hops; k-- > 0;) {
		if (r->state == ROUTE_CLOSING && k < r->n_untold && established(&r->hops[k]))
			ask_detach(r, k, sink);
		if (has_session(&r->hops[k])) {
			r->hops[k].state = HOP_ENDED;
			sink->end(sink->ctx, r, k);
		}
	}
	r->state = ROUTE_CLOSED;
	untie(r);
	sink->closed(sink->ctx, r);
}

/* [P-9] One after the other from the far end, so that each answer still finds its way back. */
static void tell_next(struct route *r, const struct route_sink *sink)
{
	while (r->n_untold > 0) {
		r->n_untold--;
		if (established(&r->hops[r->n_untold])) {
			ask_detach(r, r->n_untold, sink);
			return;
		}
	}
	finish(r, sink);
}

void route_begin_closing(struct route *r, mono_t now, const struct route_sink *sink)
{
	untie(r);
	r->state = ROUTE_CLOSING;
	r->close_until = mono_add(now, ROUTE_CLOSE_PATIENCE);
	r->n_untold = r->dead ? r->dead_hop : r->n_hops; /* beyond it nobody hears us */
	tell_next(r, sink);
}

static void fail(struct route *r, mono_t now, unsigned int hop, enum err err, const char *why,
	const struct route_sink *sink)
{
	r->failed = true;
	if (r->purpose == ROUTE_MEASURE)
		sink->measured(sink->ctx, r, err, (dur_t){0});
	else
		sink->failed(sink->ctx, r, hop, err, why);
	route_begin_closing(r, now, sink);
}

/* ---- building ---- */

void route_handshake_begins(struct route *r, mono_t now, unsigned int hop)
{
	struct route_hop *h = &r->hops[hop];

	h->state = HOP_HANDSHAKING;
	h->handshake_at = now;
	h->n_tries = 1;
	h->retry = ROUTE_RETRY_FIRST;
	if (hop > 0)
		h->retry = route_clamp(
			(dur_t){3 * r->hops[hop - 1].srtt.ns}, ROUTE_RETRY_MIN, ROUTE_RETRY_MAX);
	h->retry_at = mono_add(now, h->retry);
}

/* [P-8] One initiation by the new path; all else keeps to the old one until it is answered. */
static void knock(struct route *r, const struct route_sink *sink)
{
	struct route *old = r->exit_from;

	sink->carry(sink->ctx, r, old, r->n_hops == 1 ? route_entry_endpoint(r) : NULL);
	sink->handshake(sink->ctx, r, route_last(r));
	sink->carry(sink->ctx, old, r, old->n_hops == 1 ? route_entry_endpoint(old) : NULL);
}

void route_handshake_again(
	struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];

	h->handshake_at = now;
	if (++h->n_tries > ROUTE_TRIES_EVEN)
		h->retry = route_clamp((dur_t){h->retry.ns * 2}, ROUTE_RETRY_MIN,
			hop == 0 ? ROUTE_RETRY_MAX_ENTRY : ROUTE_RETRY_MAX);
	h->retry_at = mono_add(now, h->retry);
	if (h->state == HOP_AWAITED)
		knock(r, sink);
	else
		sink->handshake(sink->ctx, r, hop);
}

/* May r still get the exit's session from where it is? */
static bool exit_awaited(const struct route *r)
{
	const struct route *old = r->exit_from;

	return old->id == r->exit_from_id && exit_can_move(old, &r->hops[route_last(r)].target) &&
	       (old->exit_to == NULL || old->exit_to == r);
}

static void await_exit(struct route *r, mono_t now, const struct route_sink *sink)
{
	if (!exit_awaited(r)) {
		fail(r, now, route_last(r), ERR_UNAVAILABLE, "the exit's session is gone", sink);
		return;
	}
	r->exit_from->exit_to = r;
	route_handshake_begins(r, now, route_last(r));
	r->hops[route_last(r)].state = HOP_AWAITED;
	knock(r, sink);
}

void route_ask_extend(struct route *r, unsigned int hop, const struct route_sink *sink)
{
	overlay_Control m = {.which_body = overlay_Control_extend_tag};

	m.body.extend.slot = ROUTE_SLOT;
	m.body.extend.descriptor.size = DESCRIPTOR_SIZE;
	memcpy(m.body.extend.descriptor.bytes, r->hops[hop + 1].target.descriptor, DESCRIPTOR_SIZE);
	sink->request(
		sink->ctx, r, hop, &m, ROUTE_TAG_EXTEND, r->hops[hop].srtt, ROUTE_REQUEST_DEADLINE);
}

/* [P-6] Extend, and the initiation right behind it. */
static void open_hop(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	if (hop > 0)
		route_ask_extend(r, hop - 1, sink);
	if (hop == route_last(r) && r->exit_from != NULL) {
		await_exit(r, now, sink);
		return;
	}
	route_handshake_begins(r, now, hop);
	sink->open(sink->ctx, r, hop, &r->hops[hop].target, hop == 0 ? route_entry_endpoint(r) : NULL);
}

void route_start(struct route *r, mono_t now, const struct route_sink *sink)
{
	r->started_at = now;
	r->build_deadline = mono_add(now, ROUTE_BUILD_MAX);
	open_hop(r, now, 0, sink);
}

static void ready(struct route *r, mono_t now, const struct route_sink *sink)
{
	r->state = ROUTE_READY;
	r->ready_at = now;
	r->exit_from = NULL;
	for (unsigned int k = 0; k < r->n_hops; k++) {
		r->hops[k].state = HOP_READY;
		r->hops[k].heard_at = now;
		r->hops[k].echo_at = now;
		r->hops[k].silent_echoes = 0;
	}
	sink->built(sink->ctx, r, mono_since(r->started_at, now));
}

void route_ask_attach(struct route *r, const struct route_sink *sink)
{
	overlay_Control m = {.which_body = overlay_Control_attach_tag};

	m.body.attach.want_ip4 = r->want_ip4;
	m.body.attach.want_ip6 = r->want_ip6;
	r->hops[route_last(r)].state = HOP_ATTACHING;
	sink->request(sink->ctx, r, route_last(r), &m, ROUTE_TAG_ATTACH, r->hops[route_last(r)].srtt,
		ROUTE_REQUEST_DEADLINE);
}

static void last_established(struct route *r, mono_t now, const struct route_sink *sink)
{
	if (r->purpose == ROUTE_MEASURE) {
		r->ready_at = now;
		route_echo_send(r, now, 0, sink);
	} else if (r->purpose == ROUTE_TALK) {
		ready(r, now, sink);
	} else {
		route_ask_attach(r, sink);
	}
}

/* [P-8] A handshake of old's exit session is done, and the last initiation was by the new path: the
 * session moves, its lease and flows with it. */
static void exit_follows(struct route *old, mono_t now, const struct route_sink *sink)
{
	struct route *r = old->exit_to;
	struct route_hop *h = &r->hops[route_last(r)];

	old->exit_to = NULL;
	old->hops[route_last(old)].state = HOP_LENT;
	old->exit_lent = true;
	old->unanswered_at.ns = 0;
	h->state = HOP_ESTABLISHED;
	r->lease = old->lease;
	route_rtt_sample(h, mono_since(h->handshake_at, now));
	sink->carry(sink->ctx, r, old, r->n_hops == 1 ? route_entry_endpoint(r) : NULL);
	ready(r, now, sink);
}

void route_on_established(
	struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];

	if (hop >= r->n_hops)
		return;
	route_on_heard(r, now, hop);
	if (r->exit_to != NULL && hop == route_last(r)) {
		exit_follows(r, now, sink);
		return;
	}
	if (h->state == HOP_RESUMING)
		route_resumed(r, now, hop, sink);
	if (r->state != ROUTE_BUILDING || h->state != HOP_HANDSHAKING)
		return;
	h->state = HOP_ESTABLISHED;
	route_rtt_sample(h, mono_since(h->handshake_at, now));
	if (hop < route_last(r))
		open_hop(r, now, hop + 1, sink);
	else
		last_established(r, now, sink);
}

/* ---- answers ---- */

struct route_lease route_lease_from(const overlay_Attached *a)
{
	return (struct route_lease){
		.ip4 = net_addr_from_bytes(a->ip4.bytes, a->ip4.size),
		.ip6 = net_addr_from_bytes(a->ip6.bytes, a->ip6.size),
		.dns4 = net_addr_from_bytes(a->dns4.bytes, a->dns4.size),
		.dns6 = net_addr_from_bytes(a->dns6.bytes, a->dns6.size),
		.mtu = a->mtu,
	};
}

static const char *reason_words(overlay_Reason why)
{
	switch (why) {
	case overlay_Reason_REASON_UNSPECIFIED:
		return "refused without a reason";
	case overlay_Reason_REASON_MALFORMED:
		return "refused: request not understood";
	case overlay_Reason_REASON_DESCRIPTOR:
		return "refused: the next hop's descriptor is not valid";
	case overlay_Reason_REASON_LIMIT:
		return "refused: relay is full";
	case overlay_Reason_REASON_NOT_OFFERED:
		return "refused: not offered there";
	case overlay_Reason_REASON_UNREACHABLE:
		return "refused: next hop cannot be reached";
	case overlay_Reason_REASON_PAYMENT:
		return "refused: not paid";
	case overlay_Reason_REASON_DRAINING:
		return "refused: relay is restarting";
	case overlay_Reason_REASON_BUSY:
		return "refused: relay is busy";
	}
	return "refused";
}

/* It speaks of the next hop only when it could not or would not send there. */
static unsigned int refusal_blames(unsigned int hop, uint64_t tag, overlay_Reason why)
{
	bool next = tag == ROUTE_TAG_EXTEND && (why == overlay_Reason_REASON_DESCRIPTOR ||
						       why == overlay_Reason_REASON_UNREACHABLE);

	return next ? hop + 1 : hop;
}

static bool digest_ok(const overlay_Attached *a, const uint8_t want[static 32])
{
	static const uint8_t none[32] = {0};

	if (memcmp(want, none, sizeof(none)) == 0)
		return true;
	return a->policy_digest.size == 32 && memcmp(a->policy_digest.bytes, want, 32) == 0;
}

/* What a stranger lends us must be an address that no one else has: shared space or ULA. */
static bool lease_ok(const struct route_lease *l)
{
	static const struct net_prefix shared4 = {{NET_IP4, {100, 64}}, 10};
	static const struct net_prefix ula6 = {{NET_IP6, {0xfc}}, 7};

	if (l->ip4.family == NET_IP4 && !net_prefix_has(&shared4, &l->ip4))
		return false;
	if (l->ip6.family == NET_IP6 && !net_prefix_has(&ula6, &l->ip6))
		return false;
	return l->ip4.family != NET_NONE || l->ip6.family != NET_NONE;
}

static void on_attached(
	struct route *r, mono_t now, const overlay_Attached *a, const struct route_sink *sink)
{
	struct route_lease l = route_lease_from(a);

	if (r->hops[route_last(r)].state != HOP_ATTACHING)
		return;
	if (!digest_ok(a, r->hops[route_last(r)].target.policy_digest)) /* [P-7] */
		fail(r, now, route_last(r), ERR_DENIED, "the exit's policy is not what it signed", sink);
	else if (!lease_ok(&l))
		fail(r, now, route_last(r), ERR_MALFORMED, "the exit lent no usable address", sink);
	else {
		r->lease = l;
		ready(r, now, sink);
	}
}

static void detached(struct route *r, unsigned int hop, const struct route_sink *sink)
{
	if (r->state == ROUTE_CLOSING && hop == r->n_untold)
		tell_next(r, sink);
}

void route_on_answer(struct route *r, mono_t now, unsigned int hop, uint64_t tag,
	const overlay_Control *a, const struct route_sink *sink)
{
	if (hop >= r->n_hops)
		return;
	route_on_heard(r, now, hop);
	if (tag == ROUTE_TAG_DETACH) {
		detached(r, hop, sink);
	} else if (r->state == ROUTE_READY || r->state == ROUTE_DRAINING) {
		if (tag == ROUTE_TAG_ATTACH)
			route_resumed_attached(r, a, sink);
	} else if (r->state != ROUTE_BUILDING) {
		return;
	} else if (a->which_body == overlay_Control_refused_tag) {
		overlay_Reason why = a->body.refused.reason;

		fail(r, now, refusal_blames(hop, tag, why), ERR_DENIED, reason_words(why), sink);
	} else if (tag == ROUTE_TAG_ATTACH && a->which_body == overlay_Control_attached_tag) {
		on_attached(r, now, &a->body.attached, sink);
	}
}

void route_on_no_answer(struct route *r, mono_t now, unsigned int hop, uint64_t tag, enum err why,
	const struct route_sink *sink)
{
	if (tag == ROUTE_TAG_DETACH)
		detached(r, hop, sink);
	else if (r->state == ROUTE_BUILDING)
		fail(r, now, hop, why, "no answer to a request", sink);
}

void route_on_notice(struct route *r, mono_t now, unsigned int hop, const overlay_Notice *notice,
	const struct route_sink *sink)
{
	if (hop >= r->n_hops)
		return;
	route_on_heard(r, now, hop);
	if (notice->reason == overlay_Reason_REASON_PAYMENT) /* paying is the ledger's business */
		route_unpaid(r, now, hop, notice, sink);
	if (notice->reason != overlay_Reason_REASON_DRAINING)
		return;
	if (r->state == ROUTE_BUILDING)
		fail(r, now, hop, ERR_UNAVAILABLE, "relay is restarting", sink);
	else if (r->state == ROUTE_READY || r->state == ROUTE_DRAINING)
		route_report_dead(r, hop, sink);
}

void route_on_session_failed(
	struct route *r, mono_t now, unsigned int hop, enum err why, const struct route_sink *sink)
{
	if (hop >= r->n_hops || !has_session(&r->hops[hop]))
		return;
	if (r->state == ROUTE_BUILDING)
		fail(r, now, hop, why, "no session with this hop", sink);
	else if (r->state == ROUTE_READY || r->state == ROUTE_DRAINING)
		route_report_dead(r, hop, sink);
}

/* ---- time ---- */

static void build_tick(struct route *r, mono_t now, const struct route_sink *sink)
{
	unsigned int k = 0;

	while (k < route_last(r) && established(&r->hops[k]))
		k++;
	if (mono_reached(r->build_deadline, now))
		fail(r, now, k, ERR_TIMEOUT, "no answer in time", sink);
	else if (r->hops[k].state == HOP_AWAITED && !exit_awaited(r))
		fail(r, now, k, ERR_UNAVAILABLE, "the exit's session is gone", sink);
	else if (handshaking(&r->hops[k]) && mono_reached(r->hops[k].retry_at, now))
		route_handshake_again(r, now, k, sink);
	else if (r->purpose == ROUTE_MEASURE && r->hops[0].state == HOP_ESTABLISHED)
		route_measure_next(r, now, sink);
}

void route_tick(struct route *r, mono_t now, const struct route_sink *sink)
{
	switch (r->state) {
	case ROUTE_BUILDING:
		build_tick(r, now, sink);
		return;
	case ROUTE_READY:
	case ROUTE_DRAINING:
		if (r->state == ROUTE_DRAINING && mono_reached(r->drain_until, now))
			route_begin_closing(r, now, sink);
		else if (r->purpose == ROUTE_TRAFFIC) {
			route_resume_tick(r, now, sink);
			route_watch(r, now, sink);
		}
		return;
	case ROUTE_CLOSING:
		if (mono_reached(r->close_until, now))
			finish(r, sink);
		return;
	case ROUTE_CLOSED:
		return;
	}
}

static mono_t build_deadline(const struct route *r)
{
	mono_t d = r->build_deadline;

	for (unsigned int k = 0; k < r->n_hops; k++)
		if (handshaking(&r->hops[k]))
			d = mono_min(d, r->hops[k].retry_at);
	if (r->purpose == ROUTE_MEASURE && r->hops[0].state == HOP_ESTABLISHED)
		d = mono_min(
			d, mono_add(r->hops[0].echo_at, r->hops[0].echo_hand < ROUTE_MEASURE_ECHOES
								? ROUTE_MEASURE_SPACING
								: ROUTE_ECHO_LOST));
	return d;
}

mono_t route_deadline(const struct route *r)
{
	switch (r->state) {
	case ROUTE_BUILDING:
		return build_deadline(r);
	case ROUTE_READY:
	case ROUTE_DRAINING:
		return mono_min(r->purpose != ROUTE_TRAFFIC
					? MONO_NEVER
					: mono_min(route_watch_deadline(r), route_resume_deadline(r)),
			r->state == ROUTE_DRAINING ? r->drain_until : MONO_NEVER);
	case ROUTE_CLOSING:
		return r->close_until;
	case ROUTE_CLOSED:
		break;
	}
	return MONO_NEVER;
}

/* ---- orders ---- */

void route_close(struct route *r, mono_t now, dur_t drain, const struct route_sink *sink)
{
	if (r->state == ROUTE_BUILDING) {
		route_begin_closing(r, now, sink);
	} else if (r->state == ROUTE_READY || r->state == ROUTE_DRAINING) {
		r->state = ROUTE_DRAINING;
		r->drain_until = mono_add(now, drain);
		if (drain.ns == 0 || r->exit_lent)
			route_begin_closing(r, now, sink);
	}
}

void route_on_idle(struct route *r, mono_t now, const struct route_sink *sink)
{
	if (r->state == ROUTE_DRAINING)
		route_begin_closing(r, now, sink);
}

void route_abort(struct route *r, const struct route_sink *sink)
{
	if (r->state != ROUTE_CLOSED)
		finish(r, sink);
}
