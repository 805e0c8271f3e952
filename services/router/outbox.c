/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core's decisions, carried out on the bus. */
#include <stdio.h>
#include <string.h>

#include "core/report.h"
#include "core/vpn.h"
#include "proto/gateway.pb.h"
#include "proto/tunnel.pb.h"
#include "service.h"

#define TELL_EVERY DUR_S(1)

/* An order that is lost is lost with the tunnel: its next snapshot says so. */
static void tunnel_tell(struct state *s, const mvpn_TunnelIn *out)
{
	bus_tell(service_bus(s->service), ROLE_TUNNEL, mvpn_TunnelIn_fields, out);
}

static void build(void *ctx, const struct path *p, const struct peer *const *hops)
{
	mvpn_TunnelIn out = {.which_body = mvpn_TunnelIn_build_route_tag};
	mvpn_BuildRoute *m = &out.body.build_route;

	m->route = p->id;
	m->exit_of = p->exit_of;
	m->descriptors_count = (pb_size_t)p->n_hops;
	for (unsigned int k = 0; k < p->n_hops; k++) {
		m->descriptors[k].size = DESCRIPTOR_SIZE;
		memcpy(m->descriptors[k].bytes, hops[k]->descriptor, DESCRIPTOR_SIZE);
	}
	tunnel_tell(ctx, &out);
}

static void use(void *ctx, uint32_t route)
{
	const mvpn_TunnelIn out = {
		.which_body = mvpn_TunnelIn_use_route_tag, .body.use_route.route = route};

	tunnel_tell(ctx, &out);
}

static void close_route(void *ctx, uint32_t route, uint32_t drain_ms)
{
	mvpn_TunnelIn out = {.which_body = mvpn_TunnelIn_close_route_tag};

	out.body.close_route.route = route;
	out.body.close_route.drain_ms = drain_ms;
	tunnel_tell(ctx, &out);
}

static void probe(void *ctx, uint32_t route)
{
	const mvpn_TunnelIn out = {
		.which_body = mvpn_TunnelIn_probe_route_tag, .body.probe_route.route = route};

	tunnel_tell(ctx, &out);
}

static void measure(void *ctx, const struct peer *p)
{
	mvpn_TunnelIn out = {.which_body = mvpn_TunnelIn_measure_relay_tag};

	out.body.measure_relay.descriptor.size = DESCRIPTOR_SIZE;
	memcpy(out.body.measure_relay.descriptor.bytes, p->descriptor, DESCRIPTOR_SIZE);
	tunnel_tell(ctx, &out);
}

struct router_sink outbox_sink(struct state *s)
{
	return (struct router_sink){.ctx = s,
		.build = build,
		.use = use,
		.close = close_route,
		.probe = probe,
		.measure = measure};
}

void outbox_done(struct state *s, enum role to, uint64_t re, enum err e, const char *why)
{
	mvpn_GatewayIn out = {.re = re, .which_body = mvpn_GatewayIn_done_tag};

	if (to != ROLE_GATEWAY || re == 0)
		return;
	out.body.done.err = e;
	snprintf(out.body.done.why, sizeof(out.body.done.why), "%s", why);
	bus_tell(service_bus(s->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &out);
}

void outbox_exits(struct state *s, uint64_t re)
{
	uint32_t at = 0;
	bool more = true;

	while (more) {
		mvpn_GatewayIn out = {.re = re, .which_body = mvpn_GatewayIn_exit_list_tag};

		more = report_exits(s->r, when_of(s), &at, &out.body.exit_list);
		bus_tell(service_bus(s->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &out);
	}
}

static mono_t tell_at(const struct state *s)
{
	return s->r->vpn.phase == PHASE_OFF ? MONO_NEVER : mono_add(s->told_at, TELL_EVERY);
}

void outbox_state(struct state *s, bool now_or_never)
{
	struct when now = when_of(s);
	mvpn_GatewayIn out = {.which_body = mvpn_GatewayIn_session_state_tag};

	if (!vpn_settled(s->r, now)) {
		s->r->vpn.changed = true; /* told as soon as it is known */
		s->told_at = now.mono;
		return;
	}
	if (!now_or_never && !s->r->vpn.changed && !mono_reached(tell_at(s), now.mono))
		return;
	s->told_at = now.mono;
	s->r->vpn.changed = false;
	if (!bus_link_up(service_bus(s->service), ROLE_GATEWAY))
		return;
	report_state(s->r, now, &out.body.session_state);
	bus_tell(service_bus(s->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &out);
}

mono_t outbox_deadline(const struct state *s)
{
	if (!vpn_settled(s->r, when_of(s)))
		return mono_add(s->r->started_at, SETTLE_PATIENCE);
	return s->r->vpn.changed ? service_now(s->service) : tell_at(s);
}
