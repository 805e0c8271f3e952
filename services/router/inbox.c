/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of the other services, decoded by the bus: handed to the core's intake, which checks
 * each field. Who may say what stands in the table below. */
#include <string.h>

#include "core/intake.h"
#include "core/vpn.h"
#include "lib/sys/log.h"
#include "proto/router.pb.h"
#include "service.h"

static void on_message(void *state, enum role from, const void *in)
{
	struct state *s = state;
	const mvpn_RouterIn *m = in;
	char why[NOTE_MAX];
	enum err e = intake(s->r, m, when_of(s), why);

	if (e != OK)
		s->refused_messages++;
	outbox_done(s, from, m->id, e, why);
	vpn_step(s->r, when_of(s));
}

/* The directory: many at once, so that the step waits for the turn's end. */
static void on_directory(void *state, enum role from, const void *in)
{
	struct state *s = state;
	char why[NOTE_MAX];

	(void)from;
	/* The table counts what it refuses. */
	(void)!intake(s->r, in, when_of(s), why);
}

static void on_list_exits(void *state, enum role from, const void *in)
{
	struct state *s = state;

	(void)from;
	outbox_exits(s, ((const mvpn_RouterIn *)in)->id);
}

static void on_link(void *state, enum role to)
{
	if (to == ROLE_GATEWAY)
		outbox_state(state, true);
}

/* Gateway's wishes stay in force until it speaks again: a route does not end with the page's
 * server. */
static void on_hello(void *state, enum role from, bool restarted)
{
	struct state *s = state;

	if (from == ROLE_TUNNEL)
		vpn_on_tunnel_hello(s->r, restarted, when_of(s));
	else if (from == ROLE_DISCOVERY && restarted)
		peers_snapshot_begin(&s->r->peers);
}

static const struct bus_handler handlers[] = {
	{mvpn_RouterIn_set_session_tag, FROM(ROLE_GATEWAY), on_message},
	{mvpn_RouterIn_new_route_tag, FROM(ROLE_GATEWAY), on_message},
	{mvpn_RouterIn_settings_tag, FROM(ROLE_GATEWAY), on_message},
	{mvpn_RouterIn_list_exits_tag, FROM(ROLE_GATEWAY), on_list_exits},
	{mvpn_RouterIn_relay_learned_tag, FROM(ROLE_DISCOVERY), on_directory},
	{mvpn_RouterIn_relay_gone_tag, FROM(ROLE_DISCOVERY), on_directory},
	{mvpn_RouterIn_directory_complete_tag, FROM(ROLE_DISCOVERY), on_directory},
	{mvpn_RouterIn_route_built_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_failed_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_probed_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_suspect_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_dead_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_closed_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_stats_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_route_lives_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_routes_complete_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_relay_measured_tag, FROM(ROLE_TUNNEL), on_message},
	{mvpn_RouterIn_payment_trouble_tag, FROM(ROLE_LEDGER), on_message},
};

const struct bus_inbox router_inbox = {
	.fields = mvpn_RouterIn_fields,
	.size = sizeof(mvpn_RouterIn),
	.which_offset = offsetof(mvpn_RouterIn, which_body),
	.handlers = handlers,
	.n_handlers = sizeof(handlers) / sizeof(handlers[0]),
	.on_link = on_link,
	.on_hello = on_hello,
};
