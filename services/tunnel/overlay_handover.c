/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's routes and flows from one process to the next. */
#include "overlay_internal.h"

#include <string.h>

#include <sodium.h>


/* ---- the one that ends ---- */

static bool keepable(const struct live_route *l)
{
	if (!l->used || l->ended || !route_resumable(&l->r) || l->exit_place == FLOW_NO_EXIT)
		return false;
	for (unsigned int k = 0; k < l->r.n_hops; k++)
		if (l->hops[k] == NULL)
			return false;
	return true;
}

static void hop_keep(struct overlay *o, const struct live_route *l, unsigned int k, struct handover_hop *ret)
{
	const struct hop *h = l->hops[k];
	const struct session_record *rec = record_of(o, h->session);

	memcpy(ret->static_sk, h->id.static_sk, sizeof(ret->static_sk));
	memcpy(ret->descriptor, l->r.hops[k].target.descriptor, DESCRIPTOR_SIZE);
	ret->number = rec->number;
	ret->up_bytes = rec->meter.up_bytes;
	ret->down_bytes = rec->meter.down_bytes;
	ret->credit_bytes = rec->meter.credit_bytes;
	ret->next_request = h->asks.next_id;
}

static void route_keep(struct overlay *o, const struct live_route *l, struct handover_route *ret)
{
	*ret = (struct handover_route){.id = l->r.id,
		.n_hops = l->r.n_hops,
		.place = l->exit_place,
		.draining = l->r.state == ROUTE_DRAINING,
		.rx_bytes = l->rx_bytes,
		.tx_bytes = l->tx_bytes,
		.lease = l->r.lease};
	if (ret->draining)
		ret->drain = mono_since(o->now, l->r.drain_until);
	for (unsigned int k = 0; k < l->r.n_hops; k++)
		hop_keep(o, l, k, &ret->hops[k]);
}

static bool place_kept(const struct handover *h, unsigned int place)
{
	for (unsigned int i = 0; i < h->n_routes; i++)
		if (h->routes[i].place == place)
			return true;
	return false;
}

size_t overlay_keep(struct overlay *o, mono_t now, wall_t wall, const uint8_t key[static 32], uint8_t *buf,
	size_t max)
{
	struct handover h = {.written_at = wall, .in_use = HANDOVER_NONE};
	struct flow_kept f;
	uint8_t nonce[HANDOVER_NONCE_SIZE];
	uint32_t cursor = 0;
	size_t len = 0;

	o->now = now;
	for (size_t i = 0; i < ROUTES_MAX && h.n_routes < HANDOVER_ROUTES_MAX; i++) {
		if (!keepable(&o->routes[i]))
			continue;
		if (o->in_use == &o->routes[i])
			h.in_use = h.n_routes;
		route_keep(o, &o->routes[i], &h.routes[h.n_routes++]);
	}
	while (h.n_routes > 0 && handover_bytes(h.n_routes, h.n_flows + 1) <= max &&
		flow_keep(&o->flow, now, &cursor, &f))
		if (place_kept(&h, f.exit))
			handover_flow_put(buf, h.n_routes, h.n_flows++, &f);
	if (h.n_routes > 0 && handover_bytes(h.n_routes, h.n_flows) <= max) {
		rng_bytes(o->rng, nonce, sizeof(nonce));
		handover_seal(buf, &h, key, nonce);
		len = handover_bytes(h.n_routes, h.n_flows);
	}
	sodium_memzero(&h, sizeof(h));
	return len;
}

/* ---- the one that begins ---- */

static enum err targets_resume(const struct handover_route *k, struct route_target targets[static ROUTE_HOPS_MAX])
{
	for (unsigned int i = 0; i < k->n_hops; i++) {
		struct descriptor d;

		/* It was accepted when the route was built, and may have run out since. */
		TRY(descriptor_decode(k->hops[i].descriptor, DESCRIPTOR_SIZE, &d));
		route_target_from(&targets[i], &d, k->hops[i].descriptor);
	}
	return OK;
}

static enum err route_prepare(struct overlay *o, struct live_route *l, const struct handover_route *k)
{
	struct route_target targets[ROUTE_HOPS_MAX];
	const struct route_spec spec = {.id = k->id,
		.purpose = ROUTE_TRAFFIC,
		.n_hops = k->n_hops,
		.targets = targets,
		.have_ip4 = o->conf.have_ip4,
		.have_ip6 = o->conf.have_ip6};

	TRY(targets_resume(k, targets));
	TRY(route_init(&l->r, &spec, o->rng));
	return flow_exit_add(&o->flow, &k->lease.ip4, &k->lease.ip6, &k->lease.dns4, &k->lease.dns6,
		&l->exit_place);
}

/* NULL: it cannot go on here; the router sees that it is gone. */
static struct live_route *route_take(struct overlay *o, const struct handover_route *k)
{
	struct live_route *l = client_live_take(o);

	if (l == NULL)
		return NULL;
	if (route_prepare(o, l, k) != OK) {
		l->used = false;
		return NULL;
	}
	o->by_place[l->exit_place] = l;
	l->rx_bytes = l->rx_told = k->rx_bytes;
	l->tx_bytes = l->tx_told = k->tx_bytes;
	l->kept = k;
	route_resume(&l->r, o->now, &k->lease, &o->route_sink);
	l->kept = NULL;
	if (k->draining)
		route_close(&l->r, o->now, k->drain, &o->route_sink);
	return l;
}

static void flows_take(struct overlay *o, const struct handover *h, const uint8_t *buf,
	const unsigned int place_of[static FLOW_EXITS_MAX])
{
	for (uint32_t i = 0; i < h->n_flows; i++) {
		struct flow_kept f;

		handover_flow_get(buf, h, i, &f);
		f.exit = (uint8_t)(f.exit < FLOW_EXITS_MAX ? place_of[f.exit] : FLOW_NO_EXIT);
		/* Of a route that could not go on: it is no loss that it is not there. */
		(void)!flow_restore(&o->flow, o->now, &f);
	}
}

void overlay_resume(struct overlay *o, mono_t now, const struct handover *h, const uint8_t *buf)
{
	unsigned int place_of[FLOW_EXITS_MAX];

	o->now = now;
	for (unsigned int i = 0; i < FLOW_EXITS_MAX; i++)
		place_of[i] = FLOW_NO_EXIT;
	for (unsigned int i = 0; o->have_flow && i < h->n_routes; i++) {
		struct live_route *l = route_take(o, &h->routes[i]);

		if (l == NULL)
			continue;
		place_of[h->routes[i].place] = l->exit_place;
		if (i != h->in_use)
			continue;
		o->in_use = l;
		flow_use(&o->flow, l->exit_place);
	}
	if (o->have_flow)
		flows_take(o, h, buf, place_of);
	client_reap(o);
}
