/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "peers.h"

#include <string.h>

#include <sodium.h>

void peers_init(struct peers *t, struct peer *all, uint32_t *index, uint32_t capacity,
	const uint8_t hash_key[static 16], const struct geo *geo, bool test_network)
{
	BUG_ON(capacity == 0 || (capacity & (capacity - 1)) != 0);
	*t = (struct peers){.all = all,
		.index = index,
		.capacity = capacity,
		.index_mask = capacity * PEERS_INDEX_FACTOR - 1,
		.geo = geo,
		.test_network = test_network};
	memcpy(t->hash_key, hash_key, sizeof(t->hash_key));
}

/* ---- index: open addressing, linear probing, deletion by shifting back ---- */

static uint32_t home_of(const struct peers *t, const uint8_t *node_id)
{
	uint64_t h;

	crypto_shorthash((uint8_t *)&h, node_id, NODE_ID_SIZE, t->hash_key);
	return (uint32_t)h & t->index_mask;
}

/* The slot that holds node_id, or the free one where it would go. */
static uint32_t slot_of(const struct peers *t, const uint8_t *node_id)
{
	uint32_t i = home_of(t, node_id);

	while (t->index[i] != 0 &&
		memcmp(t->all[t->index[i] - 1].node_id, node_id, NODE_ID_SIZE) != 0)
		i = (i + 1) & t->index_mask;
	return i;
}

struct peer *peers_find(struct peers *t, const uint8_t node_id[static NODE_ID_SIZE])
{
	uint32_t i = slot_of(t, node_id);

	return t->index[i] == 0 ? NULL : &t->all[t->index[i] - 1];
}

static void index_remove(struct peers *t, const uint8_t *node_id)
{
	uint32_t hole = slot_of(t, node_id), i = hole;

	for (;;) {
		i = (i + 1) & t->index_mask;
		if (t->index[i] == 0)
			break;
		uint32_t home = home_of(t, t->all[t->index[i] - 1].node_id);
		/* Entry i may fill the hole unless its home lies after the hole. */
		if (((i - home) & t->index_mask) >= ((i - hole) & t->index_mask)) {
			t->index[hole] = t->index[i];
			hole = i;
		}
	}
	t->index[hole] = 0;
}

/* ---- entries ---- */

static void unlist(struct peers *t, struct peer *p)
{
	if (!p->listed)
		return;
	p->listed = false;
	t->n_listed--;
	t->serial++;
}

static struct peer *evict_one(struct peers *t)
{
	for (uint32_t n = 0; n < t->capacity; n++) {
		struct peer *p = &t->all[t->evict_hand++ & (t->capacity - 1)];

		if (p->listed)
			continue;
		index_remove(t, p->node_id);
		t->n_used--;
		t->count.evicted++;
		return p;
	}
	return NULL;
}

static struct peer *entry_new(struct peers *t, const uint8_t *node_id)
{
	struct peer *p = t->n_top < t->capacity ? &t->all[t->n_top++] : evict_one(t);

	if (p == NULL)
		return NULL;
	memset(p, 0, sizeof(*p));
	memcpy(p->node_id, node_id, NODE_ID_SIZE);
	p->used = true;
	t->index[slot_of(t, node_id)] = (uint32_t)(p - t->all) + 1;
	t->n_used++;
	return p;
}

static void geo_apply(struct peers *t, struct peer *p, const struct descriptor *d)
{
	const struct geo_row *row = geo_find(t->geo, peer_addr(p));
	bool ignored;

	p->country[0] = '\0';
	p->asn = 0;
	if (row != NULL) {
		memcpy(p->country, row->country, sizeof(p->country));
		p->asn = row->asn;
	}
	ignored = d->country[0] != '\0' && row != NULL && strcmp(d->country, row->country) != 0;
	if (ignored && !p->claim_ignored)
		t->count.claims_ignored++;
	p->claim_ignored = ignored;
}

static void entry_fill(
	struct peers *t, struct peer *p, const uint8_t *bytes, const struct descriptor *d)
{
	memcpy(p->descriptor, bytes, DESCRIPTOR_SIZE);
	p->addr4 = d->ep4.addr;
	p->addr6 = d->ep6.addr;
	p->roles = d->roles;
	memcpy(p->name, d->name, sizeof(p->name));
	memcpy(p->family_id, d->family_id, sizeof(p->family_id));
	memcpy(p->payee, d->payee, sizeof(p->payee));
	memcpy(p->price_gwei, d->price_gwei_per_gib, sizeof(p->price_gwei));
	p->expires = d->expires;
	p->seq = d->seq;
	geo_apply(t, p, d);
}

static enum err descriptor_check(const struct peers *t, const uint8_t *bytes, size_t len,
	struct when now, struct descriptor *ret_d)
{
	TRY(descriptor_decode(bytes, len, ret_d));
	return descriptor_valid_at(ret_d, now.wall, t->test_network);
}

static void entry_list(struct peers *t, struct peer *p, struct when now)
{
	p->snapshot = t->snapshot;
	rep_listed(&p->rep, when_day(now));
	t->n_in_snapshot++;
	if (!p->listed)
		t->n_listed++;
	p->listed = true;
}

enum err peers_learn(struct peers *t, const uint8_t *bytes, size_t len, struct when now)
{
	struct descriptor d;
	enum err e = descriptor_check(t, bytes, len, now, &d);

	if (e != OK) {
		/* It was named, though we cannot use it: the snapshot is not short. */
		t->n_in_snapshot++;
		t->count.refused_bad++;
		return e;
	}
	struct peer *p = peers_find(t, d.node_id);
	if (p != NULL && p->listed && d.seq < p->seq) {
		t->count.refused_bad++;
		entry_list(t, p, now);
		return ERR_STALE;
	}
	if (p == NULL)
		p = entry_new(t, d.node_id);
	if (p == NULL) {
		t->n_in_snapshot++;
		t->count.refused_full++;
		return ERR_FULL;
	}
	entry_fill(t, p, bytes, &d);
	entry_list(t, p, now);
	t->serial++;
	return OK;
}

void peers_gone(struct peers *t, const uint8_t node_id[static NODE_ID_SIZE])
{
	struct peer *p = peers_find(t, node_id);

	if (p != NULL)
		unlist(t, p);
}

void peers_snapshot_begin(struct peers *t)
{
	t->snapshot++;
	t->n_in_snapshot = 0;
}

void peers_snapshot_end(struct peers *t, uint32_t n_announced)
{
	/* Relays come and go while it is told; only a snapshot much too small was cut short. */
	if (t->n_in_snapshot + 1 + n_announced / 8 < n_announced) {
		t->count.snapshots_short++;
	} else {
		for (uint32_t i = 0; i < t->n_top; i++)
			if (t->all[i].used && t->all[i].snapshot != t->snapshot)
				unlist(t, &t->all[i]);
	}
	t->complete = true;
	t->serial++;
	peers_snapshot_begin(t);
}

void peers_expire(struct peers *t, struct when now)
{
	for (uint32_t i = 0; i < t->n_top; i++) {
		struct peer *p = &t->all[i];

		if (!p->listed)
			continue;
		if (p->expires.s <= now.wall.s)
			unlist(t, p);
		else
			rep_listed(&p->rep, when_day(now));
	}
}

bool peer_listed(const struct peer *p, struct when now)
{
	return p->listed && p->expires.s > now.wall.s;
}

bool peer_avoided(const struct peer *p, mono_t now)
{
	return p->avoid_until.ns > now.ns;
}

void peer_failed(struct peers *t, struct peer *p, mono_t now, double weight)
{
	uint64_t doublings = p->n_fails < PEER_AVOID_DOUBLINGS ? p->n_fails : PEER_AVOID_DOUBLINGS;

	rep_bad(&p->rep, now, weight);
	p->avoid_until = mono_add(now, (dur_t){PEER_AVOID_MIN.ns << doublings});
	p->n_fails += p->n_fails < UINT8_MAX;
	p->dirty = true;
	t->serial++;
}

void peer_worked(struct peers *t, struct peer *p, mono_t now, double weight)
{
	rep_good(&p->rep, now, weight);
	if (p->n_fails > 0)
		t->serial++;
	p->n_fails = 0;
	p->avoid_until = (mono_t){0};
	p->dirty = true;
}

const struct net_addr *peer_addr(const struct peer *p)
{
	return p->addr4.family != NET_NONE ? &p->addr4 : &p->addr6;
}
