/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "router.h"

#include <string.h>

#define HOPS_DEFAULT 3

/* Weighing 65 536 relays takes tens of milliseconds, and there something changes each second. */
#define SHOWN_LARGE 4096
#define SHOWN_AGE DUR_S(10)

const char *path_state_text(enum path_state s)
{
	static const char *const text[] = {"free", "building", "probing", "ready", "draining"};

	return text[s];
}

const char *path_use_text(enum path_use u)
{
	static const char *const text[] = {"use", "spare", "repair"};

	return text[u];
}

const char *phase_text(enum phase p)
{
	static const char *const text[] = {"off", "connecting", "on", "reconnecting", "failed"};

	return text[p];
}

void router_init(struct router *r, const struct router_storage *storage, const struct geo *geo,
	bool test_network, const uint8_t seed[static 32], const struct router_sink *sink,
	struct when now)
{
	uint8_t hash_key[16];

	memset(r, 0, sizeof(*r));
	rng_init(&r->rng, seed);
	rng_bytes(&r->rng, hash_key, sizeof(hash_key));
	peers_init(&r->peers, storage->peers, storage->index, storage->capacity, hash_key, geo,
		test_network);
	view_init(&r->view, &storage->weigh, storage->capacity);
	edge_init(&r->edges, hash_key);
	r->sink = sink;
	r->test_network = test_network;
	r->want.n_hops = HOPS_DEFAULT;
	/* Routes of an earlier instance may still live: begin where none of them is likely to be.
	 */
	r->next_id = rng_u32(&r->rng);
	r->started_at = now.mono;
	r->tunnel.snapshot = 1;
	r->vpn.phase_since = now.mono;
	r->wake = now.mono;
}

struct policy router_policy(const struct router *r, struct when now)
{
	const struct want *w = &r->want;
	struct policy policy = {.n_hops = w->n_hops,
		.n_countries = w->n_countries,
		.free_only = !w->pay || w->broke_until.ns > now.mono.ns,
		.price_max_gwei = w->price_max_gwei,
		.test_network = r->test_network};

	memcpy(policy.countries, w->countries, sizeof(policy.countries));
	return policy;
}

const struct view *router_view(struct router *r, struct when now)
{
	struct policy policy = router_policy(r, now);

	if (!view_fresh(&r->view, &r->peers, &policy, now))
		weigh(&r->view, &r->peers, &policy, now);
	return &r->view;
}

const struct view *router_view_shown(struct router *r, struct when now)
{
	struct policy policy = router_policy(r, now);

	if (r->peers.n_listed >= SHOWN_LARGE && view_for(&r->view, &policy) &&
		mono_since(r->view.made, now.mono).ns < SHOWN_AGE.ns)
		return &r->view;
	return router_view(r, now);
}

struct path *path_find(struct router *r, uint32_t id)
{
	for (size_t i = 0; id != 0 && i < PATHS_MAX; i++)
		if (r->paths[i].state != PATH_FREE && r->paths[i].id == id)
			return &r->paths[i];
	return NULL;
}

static uint32_t fresh_id(struct router *r)
{
	do
		r->next_id++;
	while (r->next_id == 0 || path_find(r, r->next_id) != NULL);
	return r->next_id;
}

struct path *path_new(struct router *r, struct when now)
{
	for (size_t i = 0; i < PATHS_MAX; i++) {
		struct path *p = &r->paths[i];

		if (p->state != PATH_FREE)
			continue;
		*p = (struct path){.id = fresh_id(r),
			.state = PATH_BUILDING,
			.began = now.mono,
			.deadline = MONO_NEVER};
		return p;
	}
	return NULL;
}

void path_free(struct router *r, struct path *p)
{
	r->vpn.rx_done += p->rx_bytes;
	r->vpn.tx_done += p->tx_bytes;
	if (r->vpn.live == p->id)
		r->vpn.live = 0;
	if (r->vpn.spare == p->id)
		r->vpn.spare = 0;
	if (r->vpn.repair.of == p->id)
		r->vpn.repair = (struct repair){0};
	*p = (struct path){.state = PATH_FREE};
}

const struct path_hop *path_exit(const struct path *p)
{
	return &p->hops[p->n_hops - 1];
}

bool path_has(const struct path *p, const uint8_t node_id[static NODE_ID_SIZE])
{
	for (unsigned int k = 0; k < p->n_hops; k++)
		if (memcmp(p->hops[k].node_id, node_id, NODE_ID_SIZE) == 0)
			return true;
	return false;
}

uint32_t path_peer(struct router *r, const struct path *p, unsigned int hop)
{
	const struct peer *peer = peers_find(&r->peers, p->hops[hop].node_id);

	return peer == NULL ? PICK_NONE : (uint32_t)(peer - r->peers.all);
}

enum hop_role path_role(const struct path *p, unsigned int hop)
{
	return hop + 1 == p->n_hops ? HOP_EXIT : hop == 0 ? HOP_ENTRY : HOP_MIDDLE;
}

bool path_fits(struct router *r, const struct path *p, struct when now)
{
	struct policy policy = router_policy(r, now);

	if (p->n_hops != policy.n_hops)
		return false;
	for (unsigned int k = 0; k < p->n_hops; k++) {
		const struct peer *peer = peers_find(&r->peers, p->hops[k].node_id);
		enum hop_role role = path_role(p, k);
		enum rule rule;

		if (peer == NULL)
			continue;
		rule = role == HOP_EXIT ? rule_for_exit(&policy, peer, now)
					: rule_for_relay(&policy, peer, role, now);
		/* What left the directory still works; only what the user says counts here, and on
		 * money he has not spoken until the settings are here. */
		if (rule == RULE_COUNTRY ||
			(r->want.settings_known &&
				(rule == RULE_PAY_OFF || rule == RULE_PRICE_CAP)))
			return false;
	}
	return true;
}
