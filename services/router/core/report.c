/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <stdio.h>
#include <string.h>

#include "live.h"

static mvpn_Phase phase_on_bus(enum phase p)
{
	switch (p) {
	case PHASE_OFF:
		return mvpn_Phase_PHASE_OFF;
	case PHASE_CONNECTING:
		return mvpn_Phase_PHASE_CONNECTING;
	case PHASE_ON:
		return mvpn_Phase_PHASE_ON;
	case PHASE_RECONNECTING:
		return mvpn_Phase_PHASE_RECONNECTING;
	case PHASE_FAILED:
		return mvpn_Phase_PHASE_FAILED;
	}
	return mvpn_Phase_PHASE_OFF;
}

static void hop_show(struct router *r, const struct path *p, unsigned int k, mvpn_HopInfo *ret)
{
	const struct path_hop *h = &p->hops[k];
	const struct peer *peer = peers_find(&r->peers, h->node_id);

	*ret = (mvpn_HopInfo){.rtt_us = h->rtt_us,
		.jitter_us = h->jitter_us,
		.loss_ppm = h->loss_ppm,
		.session = h->session};
	memcpy(ret->node_id, h->node_id, NODE_ID_SIZE);
	ret->address.size = h->address_len;
	memcpy(ret->address.bytes, h->address, h->address_len);
	if (peer == NULL)
		return;
	memcpy(ret->country, peer->country, sizeof(peer->country));
	memcpy(ret->name, peer->name, sizeof(peer->name));
	ret->asn = peer->asn;
	ret->price_gwei_per_gib = peer->price_gwei[path_role(p, k)];
	if (h->address_len == 0) {
		const struct net_addr *a = peer_addr(peer);

		ret->address.size = (pb_size_t)net_ip_len(a);
		memcpy(ret->address.bytes, a->ip, net_ip_len(a));
	}
}

static void exit_address(struct router *r, const struct path *p, mvpn_SessionState *ret)
{
	const struct peer *exit = peers_find(&r->peers, path_exit(p)->node_id);
	const struct path_hop *h = path_exit(p);

	if (exit != NULL) {
		const struct net_addr *a = peer_addr(exit);

		ret->exit_address.size = (pb_size_t)net_ip_len(a);
		memcpy(ret->exit_address.bytes, a->ip, net_ip_len(a));
	} else {
		ret->exit_address.size = h->address_len;
		memcpy(ret->exit_address.bytes, h->address, h->address_len);
	}
}

static void live_show(struct router *r, const struct path *p, mvpn_SessionState *ret)
{
	ret->hops_count = (pb_size_t)p->n_hops;
	for (unsigned int k = 0; k < p->n_hops; k++)
		hop_show(r, p, k, &ret->hops[k]);
	ret->ip4.size = p->ip4_len;
	memcpy(ret->ip4.bytes, p->ip4, p->ip4_len);
	ret->ip6.size = p->ip6_len;
	memcpy(ret->ip6.bytes, p->ip6, p->ip6_len);
	exit_address(r, p, ret);
	for (int i = 0; i < PICK_REASONS; i++)
		if (p->reasons[i][0] != '\0')
			snprintf(ret->reasons[ret->reasons_count++], sizeof(ret->reasons[0]), "%s",
				p->reasons[i]);
}

static void traffic_show(const struct router *r, mvpn_SessionState *ret)
{
	ret->rx_bytes = r->vpn.rx_done;
	ret->tx_bytes = r->vpn.tx_done;
	for (size_t i = 0; i < PATHS_MAX; i++) {
		const struct path *p = &r->paths[i];

		if (p->state == PATH_FREE)
			continue;
		ret->rx_bytes += p->rx_bytes;
		ret->tx_bytes += p->tx_bytes;
		ret->rx_Bps += p->rx_Bps;
		ret->tx_Bps += p->tx_Bps;
	}
}

void report_state(struct router *r, struct when now, mvpn_SessionState *ret)
{
	const struct view *view = router_view_shown(r, now);
	const struct path *live = live_path(r);

	*ret = (mvpn_SessionState){.phase = phase_on_bus(r->vpn.phase)};
	snprintf(ret->reason, sizeof(ret->reason), "%s", r->vpn.reason);
	ret->since_s = (uint32_t)(mono_since(r->vpn.phase_since, now.mono).ns / 1000000000u);
	ret->connect_ms = r->vpn.connect_ms;
	ret->n_exits = view->n_fit[HOP_EXIT];
	ret->n_relays = r->peers.n_listed;
	if (r->vpn.phase == PHASE_OFF)
		return;
	if (live != NULL)
		live_show(r, live, ret);
	traffic_show(r, ret);
}

static void exit_show(const struct peer *p, enum rule rule, struct when now, mvpn_Exit *ret)
{
	*ret = (mvpn_Exit){.asn = p->asn,
		.price_gwei_per_gib = p->price_gwei[HOP_EXIT],
		.rtt_us = p->path_rtt_us,
		.usable = rule == RULE_FITS,
		.reliability_pct = (uint32_t)(100 * rep_reliability(&p->rep, now.mono))};
	memcpy(ret->node_id, p->node_id, NODE_ID_SIZE);
	memcpy(ret->country, p->country, sizeof(p->country));
	memcpy(ret->name, p->name, sizeof(p->name));
	snprintf(ret->why_not, sizeof(ret->why_not), "%s", rule_text(rule));
}

bool report_exits(struct router *r, struct when now, uint32_t *at, mvpn_ExitList *ret)
{
	const uint32_t exit_bits = DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6;
	const size_t most = sizeof(ret->exits) / sizeof(ret->exits[0]);
	struct policy policy = router_policy(r, now);

	policy.n_countries = 0;
	*ret = (mvpn_ExitList){.more = false};
	for (; *at < r->peers.n_top; (*at)++) {
		const struct peer *p = &r->peers.all[*at];

		if (!p->used || !peer_listed(p, now) || (p->roles & exit_bits) == 0)
			continue;
		if (ret->exits_count == most) {
			ret->more = true;
			return true;
		}
		exit_show(p, rule_for_exit(&policy, p, now), now, &ret->exits[ret->exits_count++]);
	}
	return false;
}
