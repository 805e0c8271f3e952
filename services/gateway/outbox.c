/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the gateway says to the other services: each its section of the settings. */
#include "gateway.h"

#include <string.h>

#include "proto/discovery.pb.h"
#include "proto/ledger.pb.h"
#include "proto/router.pb.h"
#include "proto/tunnel.pb.h"

/* How long an answer is of use, as told to the receiver. */
#define ANSWER_MS ((uint32_t)(SECTION_ANSWER.ns / 1000000))

static struct bus *bus_of(struct gateway *g)
{
	return service_bus(g->service);
}

static uint64_t router_send(struct gateway *g, mvpn_RouterIn *m)
{
	m->id = bus_next_id(bus_of(g));
	m->deadline_ms = ANSWER_MS;
	return bus_send(bus_of(g), ROLE_ROUTER, mvpn_RouterIn_fields, m) == OK ? m->id : 0;
}

static uint64_t send_session(struct gateway *g)
{
	const struct settings *s = &g->node.settings;
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;
	mvpn_SetSession *b = &m.body.set_session;
	char countries[SETTINGS_COUNTRIES_MAX][3];

	m.which_body = mvpn_RouterIn_set_session_tag;
	b->on = s->on;
	b->hops = (uint32_t)s->n_hops;
	b->exit_countries_count = (pb_size_t)settings_countries(s, countries);
	for (pb_size_t i = 0; i < b->exit_countries_count; i++)
		memcpy(b->exit_countries[i], countries[i], 3);
	return router_send(g, &m);
}

static uint64_t send_router(struct gateway *g)
{
	const struct settings *s = &g->node.settings;
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	m.which_body = mvpn_RouterIn_settings_tag;
	m.body.settings = (mvpn_RouterSettings){.pay = s->pay,
		.price_max_gwei_per_gib = s->price_max_gwei_per_gib,
		.hop_interval_s = (uint32_t)s->hop_interval_s};
	return router_send(g, &m);
}

static uint64_t send_tunnel(struct gateway *g)
{
	const struct settings *s = &g->node.settings;
	mvpn_TunnelIn m = mvpn_TunnelIn_init_zero;

	m.id = bus_next_id(bus_of(g));
	m.deadline_ms = ANSWER_MS;
	m.which_body = mvpn_TunnelIn_settings_tag;
	m.body.settings = (mvpn_TunnelSettings){.share = s->share,
		.share_exit = s->share && s->share_exit,
		.share_rate_Bps = s->share_rate_Bps,
		.share_sessions_max = (uint32_t)s->share_sessions_max};
	return bus_send(bus_of(g), ROLE_TUNNEL, mvpn_TunnelIn_fields, &m) == OK ? m.id : 0;
}

static uint64_t send_discovery(struct gateway *g)
{
	const struct settings *s = &g->node.settings;
	mvpn_DiscoveryIn m = mvpn_DiscoveryIn_init_zero;

	m.id = bus_next_id(bus_of(g));
	m.deadline_ms = ANSWER_MS;
	m.which_body = mvpn_DiscoveryIn_settings_tag;
	m.body.settings = (mvpn_DiscoverySettings){
		.share = s->share, .share_exit = s->share && s->share_exit};
	return bus_send(bus_of(g), ROLE_DISCOVERY, mvpn_DiscoveryIn_fields, &m) == OK ? m.id : 0;
}

static uint64_t send_ledger(struct gateway *g)
{
	const struct settings *s = &g->node.settings;
	mvpn_LedgerIn m = mvpn_LedgerIn_init_zero;

	m.id = bus_next_id(bus_of(g));
	m.deadline_ms = ANSWER_MS;
	m.which_body = mvpn_LedgerIn_settings_tag;
	m.body.settings = (mvpn_LedgerSettings){.pay = s->pay,
		.earn = s->earn,
		.entry_gwei_per_gib = s->entry_gwei_per_gib,
		.middle_gwei_per_gib = s->middle_gwei_per_gib,
		.exit_gwei_per_gib = s->exit_gwei_per_gib,
		.spend_max_gwei_per_day = s->spend_max_gwei_per_day};
	return bus_send(bus_of(g), ROLE_LEDGER, mvpn_LedgerIn_fields, &m) == OK ? m.id : 0;
}

static uint64_t send_section(void *ctx, enum section what)
{
	static uint64_t (*const senders[SECTIONS])(struct gateway * g) = {
		[SECTION_SESSION] = send_session,
		[SECTION_ROUTER] = send_router,
		[SECTION_TUNNEL] = send_tunnel,
		[SECTION_DISCOVERY] = send_discovery,
		[SECTION_LEDGER] = send_ledger,
	};

	return senders[what](ctx);
}

static uint64_t ask_exits(void *ctx)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	m.which_body = mvpn_RouterIn_list_exits_tag;
	return router_send(ctx, &m);
}

struct node_sink outbox_sink(struct gateway *g)
{
	return (struct node_sink){send_section, ask_exits, g};
}

enum err outbox_new_route(struct gateway *g)
{
	mvpn_RouterIn m = mvpn_RouterIn_init_zero;

	m.which_body = mvpn_RouterIn_new_route_tag;
	return router_send(g, &m) != 0 ? OK : ERR_UNAVAILABLE;
}
