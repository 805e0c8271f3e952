/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "intake.h"

#include <stdio.h>
#include <string.h>

#include "vpn.h"

#define INTERVAL_MAX_S (30 * 24 * 3600u)

/* ---- gateway ---- */

static enum err on_set_session(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_SetSession *m = &in->body.set_session;
	struct wish wish = {.on = m->on,
		.hops = m->hops,
		.countries = m->exit_countries,
		.n_countries = m->exit_countries_count};

	return vpn_on_set_session(r, &wish, now, ret_why);
}

static enum err on_new_route(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	enum err e = vpn_on_new_route(r, now);

	(void)in;
	if (e != OK)
		snprintf(ret_why, NOTE_MAX, "the VPN is off: there is no route to change");
	return e;
}

static enum err on_settings(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RouterSettings *m = &in->body.settings;

	if (m->hop_interval_s > INTERVAL_MAX_S) {
		snprintf(ret_why, NOTE_MAX,
			"the route is to change at least once in 30 days, or never (0)");
		return ERR_INVALID;
	}
	vpn_on_settings(r, m->pay, m->price_max_gwei_per_gib, m->hop_interval_s, now);
	return OK;
}

/* ---- discovery ---- */

static enum err on_learned(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RelayLearned *m = &in->body.relay_learned;

	(void)ret_why;
	return peers_learn(&r->peers, m->descriptor.bytes, m->descriptor.size, now);
}

static enum err on_gone(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)now;
	(void)ret_why;
	peers_gone(&r->peers, in->body.relay_gone.node_id);
	return OK;
}

static enum err on_complete(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)now;
	(void)ret_why;
	peers_snapshot_end(&r->peers, in->body.directory_complete.n_relays);
	return OK;
}

/* ---- tunnel ---- */

struct hop_room {
	struct path_hop hops[POLICY_HOPS_MAX];
};

static void hops_from(
	const mvpn_HopInfo *hops, size_t n, struct hop_room *room, struct path_facts *f)
{
	_Static_assert(sizeof(hops->address.bytes) == sizeof(room->hops[0].address), "address");
	f->n_hops = n < POLICY_HOPS_MAX ? (unsigned int)n : POLICY_HOPS_MAX;
	f->hops = room->hops;
	for (unsigned int k = 0; k < f->n_hops; k++) {
		struct path_hop *h = &room->hops[k];

		*h = (struct path_hop){.session = hops[k].session,
			.rtt_us = hops[k].rtt_us,
			.jitter_us = hops[k].jitter_us,
			.loss_ppm = hops[k].loss_ppm};
		memcpy(h->node_id, hops[k].node_id, NODE_ID_SIZE);
		if (hops[k].address.size != 4 && hops[k].address.size != 16)
			continue;
		h->address_len = (uint8_t)hops[k].address.size;
		memcpy(h->address, hops[k].address.bytes, h->address_len);
	}
}

static enum err on_built(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RouteBuilt *m = &in->body.route_built;
	struct hop_room room;
	struct path_facts f = {.route = m->route,
		.ip4 = m->ip4.bytes,
		.ip6 = m->ip6.bytes,
		.ip4_len = (uint8_t)m->ip4.size,
		.ip6_len = (uint8_t)m->ip6.size};

	(void)ret_why;
	hops_from(m->hops, m->hops_count, &room, &f);
	vpn_on_built(r, &f, now);
	return OK;
}

static enum err on_failed(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RouteFailed *m = &in->body.route_failed;

	(void)ret_why;
	vpn_on_failed(r, m->route, m->hop, (enum err)m->err, m->why, now);
	return OK;
}

static enum err on_probed(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)ret_why;
	vpn_on_probed(r, in->body.route_probed.route, in->body.route_probed.ok, now);
	return OK;
}

static enum err on_suspect(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)ret_why;
	vpn_on_suspect(r, in->body.route_suspect.route, in->body.route_suspect.hop, now);
	return OK;
}

static enum err on_dead(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)ret_why;
	vpn_on_dead(r, in->body.route_dead.route, in->body.route_dead.hop, now);
	return OK;
}

static enum err on_closed(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)ret_why;
	vpn_on_closed(r, in->body.route_closed.route, now);
	return OK;
}

static enum err on_stats(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RouteStats *m = &in->body.route_stats;
	struct hop_room room;
	struct path_facts f = {.route = m->route,
		.rx_bytes = m->rx_bytes,
		.tx_bytes = m->tx_bytes,
		.rx_Bps = m->rx_Bps,
		.tx_Bps = m->tx_Bps,
		.in_use = m->in_use};

	(void)ret_why;
	hops_from(m->hops, m->hops_count, &room, &f);
	vpn_on_stats(r, &f, now);
	return OK;
}

static enum err on_lives(struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RouteLives *m = &in->body.route_lives;
	struct hop_room room;
	struct path_facts f = {.route = m->route,
		.ip4 = m->ip4.bytes,
		.ip6 = m->ip6.bytes,
		.ip4_len = (uint8_t)m->ip4.size,
		.ip6_len = (uint8_t)m->ip6.size,
		.in_use = m->in_use,
		.draining = m->draining};

	(void)ret_why;
	hops_from(m->hops, m->hops_count, &room, &f);
	vpn_on_lives(r, &f, now);
	return OK;
}

static enum err on_lives_complete(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	(void)in;
	(void)ret_why;
	vpn_on_lives_complete(r, now);
	return OK;
}

static enum err on_measured(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_RelayMeasured *m = &in->body.relay_measured;

	(void)ret_why;
	vpn_on_measured(r, m->node_id, m->err == 0 && m->rtt_us > 0, m->rtt_us, now);
	return OK;
}

/* ---- ledger ---- */

static enum err on_payment(
	struct router *r, const mvpn_RouterIn *in, struct when now, char *ret_why)
{
	const mvpn_PaymentTrouble *m = &in->body.payment_trouble;

	(void)ret_why;
	vpn_on_payment(r, m->session, m->node_id, m->own_fault, m->why, now);
	return OK;
}

enum err intake(
	struct router *r, const mvpn_RouterIn *in, struct when now, char ret_why[static NOTE_MAX])
{
	static const struct {
		pb_size_t tag;
		enum err (*on)(struct router *, const mvpn_RouterIn *, struct when, char *);
	} table[] = {
		{mvpn_RouterIn_set_session_tag, on_set_session},
		{mvpn_RouterIn_new_route_tag, on_new_route},
		{mvpn_RouterIn_settings_tag, on_settings},
		{mvpn_RouterIn_relay_learned_tag, on_learned},
		{mvpn_RouterIn_relay_gone_tag, on_gone},
		{mvpn_RouterIn_directory_complete_tag, on_complete},
		{mvpn_RouterIn_route_built_tag, on_built},
		{mvpn_RouterIn_route_failed_tag, on_failed},
		{mvpn_RouterIn_route_probed_tag, on_probed},
		{mvpn_RouterIn_route_suspect_tag, on_suspect},
		{mvpn_RouterIn_route_dead_tag, on_dead},
		{mvpn_RouterIn_route_closed_tag, on_closed},
		{mvpn_RouterIn_route_stats_tag, on_stats},
		{mvpn_RouterIn_route_lives_tag, on_lives},
		{mvpn_RouterIn_routes_complete_tag, on_lives_complete},
		{mvpn_RouterIn_relay_measured_tag, on_measured},
		{mvpn_RouterIn_payment_trouble_tag, on_payment},
	};

	ret_why[0] = '\0';
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].tag == in->which_body)
			return table[i].on(r, in, now, ret_why);
	return ERR_INVALID;
}
