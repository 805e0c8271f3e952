/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A route of the process before goes on. */
#include "route_internal.h"

static void resume_hop(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	if (hop > 0)
		route_ask_extend(r, hop - 1, sink); /* should that relay have lost its leg [P-15] */
	route_handshake_begins(r, now, hop);
	r->hops[hop].state = HOP_RESUMING;
	sink->handshake(sink->ctx, r, hop);
}

void route_resume(struct route *r, mono_t now, const struct route_lease *lease,
	const struct route_sink *sink)
{
	r->started_at = now;
	r->ready_at = now;
	r->state = ROUTE_READY;
	r->lease = *lease;
	for (unsigned int k = 0; k < r->n_hops; k++) {
		r->hops[k].state = HOP_RESUMING;
		r->hops[k].retry_at = MONO_NEVER;
		sink->reopen(sink->ctx, r, k, &r->hops[k].target, k == 0 ? route_entry_endpoint(r) : NULL);
	}
	resume_hop(r, now, 0, sink);
}

bool route_resumable(const struct route *r)
{
	return r->purpose == ROUTE_TRAFFIC && (r->state == ROUTE_READY || r->state == ROUTE_DRAINING) &&
	       !r->dead && !r->exit_lent;
}

void route_resumed(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink)
{
	struct route_hop *h = &r->hops[hop];

	h->retry_at = MONO_NEVER;
	h->echo_at = now;
	route_rtt_sample(h, mono_since(h->handshake_at, now));
	if (hop < route_last(r))
		resume_hop(r, now, hop + 1, sink);
	else
		route_ask_attach(r, sink);
	h->state = HOP_READY;
}

/* What it lends now must be what the flows are bound to. */
void route_resumed_attached(struct route *r, const overlay_Control *a, const struct route_sink *sink)
{
	struct route_lease l = {0};

	if (a->which_body == overlay_Control_attached_tag)
		l = route_lease_from(&a->body.attached);
	if (!net_addr_eq(&l.ip4, &r->lease.ip4) || !net_addr_eq(&l.ip6, &r->lease.ip6))
		route_report_dead(r, route_last(r), sink);
}

void route_resume_tick(struct route *r, mono_t now, const struct route_sink *sink)
{
	for (unsigned int k = 0; k < r->n_hops; k++) {
		struct route_hop *h = &r->hops[k];

		if (h->state != HOP_RESUMING || !mono_reached(h->retry_at, now))
			continue;
		h->retry_at = MONO_NEVER;
		if (k == route_last(r) && r->exit_to != NULL)
			continue; /* it is knocked at by the other route's path */
		if (h->n_tries < ROUTE_RESUME_TRIES && !r->dead)
			route_handshake_again(r, now, k, sink);
		else
			route_report_dead(r, k, sink);
	}
}

mono_t route_resume_deadline(const struct route *r)
{
	mono_t d = MONO_NEVER;

	for (unsigned int k = 0; k < r->n_hops; k++)
		if (r->hops[k].state == HOP_RESUMING)
			d = mono_min(d, r->hops[k].retry_at);
	return d;
}
