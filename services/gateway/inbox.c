/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the other services say to the gateway. */
#include "gateway.h"

#include <stddef.h>

#include "proto/gateway.pb.h"

static const enum role roles[PEERS] = {
	[PEER_TUNNEL] = ROLE_TUNNEL,
	[PEER_DISCOVERY] = ROLE_DISCOVERY,
	[PEER_ROUTER] = ROLE_ROUTER,
	[PEER_LEDGER] = ROLE_LEDGER,
};

/* PEERS for a role that is not one of the four. */
static enum peer peer_of(enum role r)
{
	int p = 0;

	while (p < PEERS && roles[p] != r)
		p++;
	return (enum peer)p;
}

static mono_t now_of(const struct gateway *g)
{
	return service_now(g->service);
}

static void on_done(void *state, enum role from, const void *msg)
{
	struct gateway *g = state;
	const mvpn_GatewayIn *in = msg;

	(void)from;
	node_on_done(&g->node, in->re, in->body.done.err == OK, in->body.done.why, now_of(g));
}

static void on_session_state(void *state, enum role from, const void *msg)
{
	struct gateway *g = state;
	const mvpn_GatewayIn *in = msg;

	(void)from;
	node_on_session(&g->node, &in->body.session_state, now_of(g));
}

static void on_exit_list(void *state, enum role from, const void *msg)
{
	struct gateway *g = state;
	const mvpn_GatewayIn *in = msg;

	(void)from;
	node_on_exits(&g->node, in->re, &in->body.exit_list, now_of(g));
}

static void on_wallet_state(void *state, enum role from, const void *msg)
{
	struct gateway *g = state;
	const mvpn_GatewayIn *in = msg;

	(void)from;
	node_on_wallet(&g->node, &in->body.wallet_state, now_of(g));
}

static void on_directory_state(void *state, enum role from, const void *msg)
{
	struct gateway *g = state;
	const mvpn_GatewayIn *in = msg;

	(void)from;
	node_on_directory(&g->node, &in->body.directory_state, now_of(g));
}

static void on_tunnel_state(void *state, enum role from, const void *msg)
{
	struct gateway *g = state;
	const mvpn_GatewayIn *in = msg;

	(void)from;
	node_on_tunnel(&g->node, &in->body.tunnel_state, now_of(g));
}

static void on_link(void *state, enum role to)
{
	struct gateway *g = state;
	enum peer p = peer_of(to);

	if (p != PEERS)
		node_on_link(&g->node, p, now_of(g));
}

static void on_hello(void *state, enum role from, bool restarted)
{
	struct gateway *g = state;
	enum peer p = peer_of(from);

	if (p != PEERS && restarted)
		node_on_restart(&g->node, p);
}

void inbox_links(struct gateway *g, mono_t now)
{
	for (int p = 0; p < PEERS; p++)
		node_on_link_state(&g->node, (enum peer)p,
			bus_link_up(service_bus(g->service), roles[p]), now);
}

static const struct bus_handler handlers[] = {
	{mvpn_GatewayIn_done_tag,
		FROM(ROLE_TUNNEL) | FROM(ROLE_DISCOVERY) | FROM(ROLE_ROUTER) | FROM(ROLE_LEDGER),
		on_done},
	{mvpn_GatewayIn_session_state_tag, FROM(ROLE_ROUTER), on_session_state},
	{mvpn_GatewayIn_exit_list_tag, FROM(ROLE_ROUTER), on_exit_list},
	{mvpn_GatewayIn_wallet_state_tag, FROM(ROLE_LEDGER), on_wallet_state},
	{mvpn_GatewayIn_directory_state_tag, FROM(ROLE_DISCOVERY), on_directory_state},
	{mvpn_GatewayIn_tunnel_state_tag, FROM(ROLE_TUNNEL), on_tunnel_state},
};

const struct bus_inbox gateway_inbox = {
	.fields = mvpn_GatewayIn_fields,
	.size = sizeof(mvpn_GatewayIn),
	.which_offset = offsetof(mvpn_GatewayIn, which_body),
	.handlers = handlers,
	.n_handlers = sizeof(handlers) / sizeof(handlers[0]),
	.on_link = on_link,
	.on_hello = on_hello,
};
