/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of the other services, decoded by the bus: checked and handed to the core. */
#include <string.h>

#include "lib/sys/log.h"
#include "proto/discovery.pb.h"
#include "service.h"

static void refuse(struct state *s, enum role from, const char *what)
{
	s->refused_messages++;
	log_warn("%s says something about %s that cannot be", role_name(from), what);
}

static void on_listening(void *state, enum role from, const void *in)
{
	const mvpn_Listening *m = &((const mvpn_DiscoveryIn *)in)->body.listening;
	struct own_listening l = {
		.port = (uint16_t)m->port, .relay = m->relay, .exit4 = m->exit4, .exit6 = m->exit6};
	struct state *s = state;

	if (m->port > UINT16_MAX || (m->policy_digest.size != 0 && m->policy_digest.size != 32)) {
		refuse(s, from, "what it listens on");
		return;
	}
	memcpy(l.wg_pk, m->wg_pk, sizeof(l.wg_pk));
	memcpy(l.policy_digest, m->policy_digest.bytes, m->policy_digest.size);
	discovery_on_listening(s->d, moment_of(s), &l);
}

static void on_terms(void *state, enum role from, const void *in)
{
	const mvpn_Terms *m = &((const mvpn_DiscoveryIn *)in)->body.terms;
	struct own_terms t = {.price_gwei_per_gib = {[HOP_ENTRY] = m->entry_gwei_per_gib,
				      [HOP_MIDDLE] = m->middle_gwei_per_gib,
				      [HOP_EXIT] = m->exit_gwei_per_gib},
		.free_bytes = m->free_bytes,
		.chain_id = m->chain_id};
	struct state *s = state;

	if (m->payee.size != 0 && m->payee.size != sizeof(t.payee)) {
		refuse(s, from, "the payee");
		return;
	}
	memcpy(t.payee, m->payee.bytes, m->payee.size);
	discovery_on_terms(s->d, moment_of(s), &t);
}

static void on_settings(void *state, enum role from, const void *in)
{
	const mvpn_DiscoveryIn *m = in;
	const struct own_settings settings = {m->body.settings.share, m->body.settings.share_exit};
	struct state *s = state;

	discovery_on_settings(s->d, moment_of(s), &settings);
	outbox_done(s, from, m->id, OK, "");
}

static void on_peer_asked(void *state, enum role from, const void *in)
{
	const mvpn_PeerAsked *m = &((const mvpn_DiscoveryIn *)in)->body.peer_asked;
	struct state *s = state;

	(void)from;
	discovery_on_peer_asked(
		s->d, moment_of(s), m->session, m->request, m->payload.bytes, m->payload.size);
}

/* Another build of tunnel may know errors that we do not. */
static enum err err_of(int32_t v)
{
	return v > OK || v < ERR_OVERFLOW ? ERR_IO : (enum err)v;
}

static void on_peer_answered(void *state, enum role from, const void *in)
{
	const mvpn_DiscoveryIn *m = in;
	const mvpn_PeerAnswered *a = &m->body.peer_answered;
	struct state *s = state;

	(void)from;
	discovery_on_peer_answered(
		s->d, moment_of(s), m->re, err_of(a->err), a->payload.bytes, a->payload.size);
}

static void on_link(void *state, enum role to)
{
	struct state *s = state;
	struct moment now = moment_of(s);

	if (to == ROLE_TUNNEL)
		discovery_on_tunnel_link(s->d, now);
	else if (to == ROLE_ROUTER)
		discovery_on_router_link(s->d, now);
	else if (to == ROLE_GATEWAY)
		discovery_on_gateway_link(s->d, now);
}

/* What tunnel, ledger and gateway said before stays in force until they say it again: a relay does
 * not leave the network because one of its processes restarts. */
static void on_hello(void *state, enum role from, bool restarted)
{
	struct state *s = state;

	if (from == ROLE_TUNNEL && restarted)
		discovery_on_tunnel_restart(s->d, moment_of(s));
}

static const struct bus_handler handlers[] = {
	{mvpn_DiscoveryIn_listening_tag, FROM(ROLE_TUNNEL), on_listening},
	{mvpn_DiscoveryIn_terms_tag, FROM(ROLE_LEDGER), on_terms},
	{mvpn_DiscoveryIn_settings_tag, FROM(ROLE_GATEWAY), on_settings},
	{mvpn_DiscoveryIn_peer_asked_tag, FROM(ROLE_TUNNEL), on_peer_asked},
	{mvpn_DiscoveryIn_peer_answered_tag, FROM(ROLE_TUNNEL), on_peer_answered},
};

const struct bus_inbox discovery_inbox = {
	.fields = mvpn_DiscoveryIn_fields,
	.size = sizeof(mvpn_DiscoveryIn),
	.which_offset = offsetof(mvpn_DiscoveryIn, which_body),
	.handlers = handlers,
	.n_handlers = sizeof(handlers) / sizeof(handlers[0]),
	.on_link = on_link,
	.on_hello = on_hello,
};
