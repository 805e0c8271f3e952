/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "learn.h"

#include <string.h>

/* ---- blame that waits ---- */

static void blame_add(struct router *r, const uint8_t *node_id, double weight, struct when now)
{
	struct blame *b = &r->blames[0];

	for (size_t i = 0; i < BLAMES_MAX; i++) {
		if (memcmp(r->blames[i].node_id, node_id, NODE_ID_SIZE) == 0) {
			b = &r->blames[i];
			break;
		}
		if (r->blames[i].at.ns < b->at.ns)
			b = &r->blames[i];
	}
	*b = (struct blame){.at = now.mono, .weight = weight};
	memcpy(b->node_id, node_id, NODE_ID_SIZE);
}

/* `node_id` answered as entry: our network works. */
static void blame_settle(struct router *r, const uint8_t *node_id, struct when now)
{
	for (size_t i = 0; i < BLAMES_MAX; i++) {
		struct blame *b = &r->blames[i];
		struct peer *peer;

		if (b->at.ns == 0)
			continue;
		peer = peers_find(&r->peers, b->node_id);
		if (peer != NULL && memcmp(b->node_id, node_id, NODE_ID_SIZE) != 0 &&
			mono_since(b->at, now.mono).ns <= LEARN_BLAME_WAITS.ns)
			peer_failed(&r->peers, peer, now.mono, b->weight);
		*b = (struct blame){.weight = 0};
	}
}

/* ---- what went well ---- */

static void edges_note(struct router *r, const struct path *p, struct when now)
{
	for (unsigned int k = 1; k < p->n_hops; k++) {
		uint32_t a = p->hops[k - 1].rtt_us, b = p->hops[k].rtt_us;

		if (a > 0 && b > 0)
			edge_note(&r->edges, p->hops[k - 1].node_id, p->hops[k].node_id,
				b > a ? b - a : 0, now.mono);
	}
}

static void rtts_note(struct router *r, const struct path *p, struct when now)
{
	struct peer *entry = peers_find(&r->peers, p->hops[0].node_id);

	if (entry != NULL) {
		rep_rtt(&entry->rep, p->hops[0].rtt_us);
		entry->dirty = true;
	}
	for (unsigned int k = 0; k < p->n_hops; k++) {
		struct peer *peer = peers_find(&r->peers, p->hops[k].node_id);
		uint32_t rtt = p->hops[k].rtt_us;

		if (peer != NULL && rtt > 0)
			peer->path_rtt_us =
				peer->path_rtt_us == 0
					? rtt
					: (uint32_t)((7 * (uint64_t)peer->path_rtt_us + rtt) / 8);
	}
	edges_note(r, p, now);
}

static void credit(struct router *r, const struct path *p, double weight, struct when now)
{
	for (unsigned int k = 0; k < p->n_hops; k++) {
		struct peer *peer = peers_find(&r->peers, p->hops[k].node_id);

		if (peer != NULL)
			peer_worked(&r->peers, peer, now.mono, weight);
	}
}

void learn_built(struct router *r, const struct path *p, struct when now)
{
	rtts_note(r, p, now);
	credit(r, p, 1, now);
	blame_settle(r, p->hops[0].node_id, now);
	if (p->n_hops > 1) {
		guards_on_worked(&r->guards, p->hops[0].node_id, now);
		guards_on_circuit(&r->guards, p->hops[0].node_id, true);
	}
}

static void goodput_note(struct router *r, const struct path *p, struct when now)
{
	for (unsigned int k = 0; k < p->n_hops; k++) {
		struct peer *peer = peers_find(&r->peers, p->hops[k].node_id);

		if (peer != NULL)
			rep_goodput(&peer->rep, now.mono, p->rx_Bps + p->tx_Bps);
	}
}

static bool every(mono_t *last, dur_t interval, mono_t now)
{
	if (last->ns != 0 && mono_since(*last, now).ns < interval.ns)
		return false;
	*last = now;
	return true;
}

void learn_stats(struct router *r, struct path *p, struct when now)
{
	goodput_note(r, p, now);
	if (every(&p->sampled_at, LEARN_SAMPLE_EVERY, now.mono))
		rtts_note(r, p, now);
	if (p->credited_at.ns == 0)
		p->credited_at = now.mono;
	if (!p->dead && every(&p->credited_at, LEARN_CREDIT_EVERY, now.mono))
		credit(r, p, LEARN_CREDIT, now);
}

/* ---- what did not ---- */

/* Shares `weight` among the hops whose bit is set; the one in `culprit` is avoided for a while. */
static void blame_share(struct router *r, const struct path *p, unsigned int hops, uint32_t culprit,
	double weight, struct when now)
{
	struct peer *peers[POLICY_HOPS_MAX];
	double reliability[POLICY_HOPS_MAX], q[POLICY_HOPS_MAX];
	uint32_t at[POLICY_HOPS_MAX];
	size_t n = 0;

	for (unsigned int k = 0; k < p->n_hops; k++) {
		struct peer *peer = peers_find(&r->peers, p->hops[k].node_id);

		if ((hops & 1u << k) == 0 || peer == NULL)
			continue;
		peers[n] = peer;
		at[n] = k;
		reliability[n++] = rep_reliability(&peer->rep, now.mono);
	}
	if (n == 0)
		return;
	rep_blame(reliability, n, q);
	for (size_t i = 0; i < n; i++) {
		if (culprit == at[i] || culprit == HOP_UNKNOWN)
			peer_failed(&r->peers, peers[i], now.mono, weight * q[i]);
		else
			rep_bad(&peers[i]->rep, now.mono, weight * q[i]);
		peers[i]->dirty = true;
	}
}

static void entry_failed(struct router *r, const struct path *p, double weight, struct when now)
{
	struct peer *peer = peers_find(&r->peers, p->hops[0].node_id);

	guards_on_failed(&r->guards, p->hops[0].node_id, now);
	blame_add(r, p->hops[0].node_id, weight, now);
	/* The one hop of a short route is no guard: only this keeps it from being chosen again. */
	if (p->n_hops == 1 && peer != NULL)
		peer_failed(&r->peers, peer, now.mono, 0);
}

void learn_failed(
	struct router *r, const struct path *p, uint32_t hop, double weight, struct when now)
{
	if (hop == 0) {
		entry_failed(r, p, weight, now);
		return;
	}
	if (hop != HOP_UNKNOWN && hop >= p->n_hops)
		hop = HOP_UNKNOWN;
	if (p->n_hops > 1)
		guards_on_circuit(&r->guards, p->hops[0].node_id, false);
	if (hop == HOP_UNKNOWN)
		/* All of them, but the guard is not given up for it. */
		blame_share(r, p, p->n_hops > 1 ? 0x6 : 0x1, HOP_UNKNOWN, weight, now);
	else
		/* It, or the one before it that should have carried its answer. */
		blame_share(r, p, 3u << (hop - 1), hop, weight, now);
}

void learn_slow(struct router *r, const struct path *p, const struct path *winner, struct when now)
{
	unsigned int hops = 0;

	for (unsigned int k = 0; k < p->n_hops; k++)
		if (!path_has(winner, p->hops[k].node_id) && (k > 0 || p->n_hops == 1))
			hops |= 1u << k;
	if (!path_has(winner, p->hops[0].node_id) && p->n_hops > 1)
		guards_on_failed(&r->guards, p->hops[0].node_id, now);
	else if (hops != 0)
		blame_share(r, p, hops, HOP_UNKNOWN, LEARN_WEIGHT_SLOW, now);
}

void learn_measured(struct router *r, const uint8_t node_id[static NODE_ID_SIZE], bool ok,
	uint32_t rtt_us, struct when now)
{
	struct peer *peer = peers_find(&r->peers, node_id);

	if (!ok) {
		guards_on_failed(&r->guards, node_id, now);
		blame_add(r, node_id, LEARN_WEIGHT_FAILED, now);
		return;
	}
	guards_on_measured(&r->guards, node_id, rtt_us);
	blame_settle(r, node_id, now);
	if (peer == NULL)
		return;
	rep_rtt(&peer->rep, rtt_us);
	peer_worked(&r->peers, peer, now.mono, LEARN_CREDIT);
}
