/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "contacts.h"

#include <string.h>

/* Draws before giving up on a peer in another /16. */
#define SPREAD_DRAWS 8

bool contacts_add_boot(struct contacts *c, const struct contact *to)
{
	for (uint32_t i = 0; i < c->n_boots; i++)
		if (memcmp(c->boots[i].to.node_id, to->node_id, NODE_ID_SIZE) == 0)
			return false;
	if (c->n_boots == BOOTS_MAX)
		return false;
	c->boots[c->n_boots++] = (struct boot){.to = *to};
	return true;
}

struct contact contact_of(const struct relay *r)
{
	struct contact to = {.ep4 = r->d.ep4, .ep6 = r->d.ep6};

	memcpy(to.node_id, r->d.node_id, NODE_ID_SIZE);
	memcpy(to.wg_pk, r->d.wg_pk, 32);
	return to;
}

/* ---- relays by lot ---- */

typedef bool fit_fn(const struct contacts *c, const struct directory *dir, const struct relay *r,
	const uint8_t *but);

/* A record that fits: some draws, then the next that fits after a drawn place. */
static struct relay *draw(const struct contacts *c, const struct directory *dir, struct rng *rng,
	fit_fn *fit, const uint8_t *but)
{
	const struct relays *t = &dir->relays;
	uint32_t from;

	if (t->n == 0)
		return NULL;
	for (int i = 0; i < 4; i++) {
		struct relay *r = relays_at(t, (uint32_t)rng_below(rng, t->n));

		if (fit(c, dir, r, but))
			return r;
	}
	from = (uint32_t)rng_below(rng, t->n);
	for (uint32_t i = 0; i < t->n; i++) {
		struct relay *r = relays_at(t, (from + i) % t->n);

		if (fit(c, dir, r, but))
			return r;
	}
	return NULL;
}

static bool fits_proven(const struct contacts *c, const struct directory *dir,
	const struct relay *r, const uint8_t *but)
{
	(void)c;
	(void)dir;
	return r->state == RELAY_PROVEN && !r->own &&
	       (but == NULL || memcmp(r->d.node_id, but, NODE_ID_SIZE) != 0);
}

const struct relay *contacts_draw(const struct directory *dir, struct rng *rng, const uint8_t *but)
{
	return draw(NULL, dir, rng, fits_proven, but);
}

static const struct relay *pick_partner(const struct directory *dir, struct rng *rng)
{
	const struct relay *best = contacts_draw(dir, rng, NULL);

	for (int i = 1; best != NULL && i < PARTNER_DRAWS; i++) {
		const struct relay *r = contacts_draw(dir, rng, NULL);

		if (r->answered_at.ns < best->answered_at.ns)
			best = r;
	}
	return best;
}

/* ---- the few peers of a client ---- */

static bool is_peer(const struct contacts *c, const uint8_t id[static NODE_ID_SIZE])
{
	for (int i = 0; i < CLIENT_PEERS; i++)
		if (c->peers[i].used && memcmp(c->peers[i].node_id, id, NODE_ID_SIZE) == 0)
			return true;
	return false;
}

static bool fits_client(const struct contacts *c, const struct directory *dir,
	const struct relay *r, const uint8_t *but)
{
	(void)dir;
	(void)but;
	return (r->state == RELAY_PROVEN || r->state == RELAY_HEARD) && !r->own &&
	       r->n_failed < CLIENT_PEER_FAILED_MAX && !is_peer(c, r->d.node_id);
}

static bool near_a_peer(
	const struct contacts *c, const struct directory *dir, const struct relay *r)
{
	for (int i = 0; i < CLIENT_PEERS; i++) {
		const struct relay *p =
			c->peers[i].used ? relays_find(&dir->relays, c->peers[i].node_id) : NULL;

		if (p != NULL && r->d.ep4.addr.family == NET_IP4 &&
			net_same_prefix(&p->d.ep4.addr, &r->d.ep4.addr, 16))
			return true;
	}
	return false;
}

static void peer_fill(struct contacts *c, const struct directory *dir, struct rng *rng, int i)
{
	const struct relay *r = draw(c, dir, rng, fits_client, NULL);

	for (int n = 0; r != NULL && n < SPREAD_DRAWS && near_a_peer(c, dir, r); n++)
		r = draw(c, dir, rng, fits_client, NULL);
	if (r == NULL)
		return;
	c->peers[i] = (struct client_peer){.used = true};
	memcpy(c->peers[i].node_id, r->d.node_id, NODE_ID_SIZE);
}

static const struct relay *peer_valid(const struct contacts *c, const struct directory *dir, int i)
{
	const struct relay *r;

	if (!c->peers[i].used || c->peers[i].n_failed >= CLIENT_PEER_FAILED_MAX)
		return NULL;
	r = relays_find(&dir->relays, c->peers[i].node_id);
	return r != NULL && (r->state == RELAY_PROVEN || r->state == RELAY_HEARD) ? r : NULL;
}

static const struct relay *pick_client_peer(
	struct contacts *c, const struct directory *dir, struct rng *rng)
{
	for (int n = 0; n < CLIENT_PEERS; n++) {
		int i = (int)(c->next_peer++ % CLIENT_PEERS);

		if (peer_valid(c, dir, i) == NULL) {
			c->peers[i].used = false;
			peer_fill(c, dir, rng, i);
		}
		if (c->peers[i].used)
			return peer_valid(c, dir, i);
	}
	return NULL;
}

/* ---- bootstraps ---- */

static dur_t boot_pause(unsigned int n_failed)
{
	unsigned int doublings = n_failed < 6 ? n_failed : 6;
	dur_t d = {BOOT_RETRY_FIRST.ns << doublings};

	return d.ns < BOOT_RETRY_LAST.ns ? d : BOOT_RETRY_LAST;
}

static bool pick_boot(struct contacts *c, struct rng *rng, mono_t now, struct contact *ret_to)
{
	uint32_t from = c->n_boots > 0 ? (uint32_t)rng_below(rng, c->n_boots) : 0;

	for (uint32_t i = 0; i < c->n_boots; i++) {
		struct boot *b = &c->boots[(from + i) % c->n_boots];

		if (!mono_reached(b->next_try, now))
			continue;
		b->next_try = mono_add(now, boot_pause(b->n_failed));
		*ret_to = b->to;
		return true;
	}
	return false;
}

mono_t contacts_deadline(const struct contacts *c)
{
	mono_t t = MONO_NEVER;

	for (uint32_t i = 0; i < c->n_boots; i++)
		t = mono_min(t, c->boots[i].next_try);
	return t;
}

bool contacts_pick(struct contacts *c, const struct directory *dir, struct rng *rng, mono_t now,
	struct contact *ret_to)
{
	const struct relay *r;
	bool boot = !directory_network_up(dir, now) && rng_below(rng, 2) == 0;

	if (c->next_heal.ns == 0)
		c->next_heal = mono_add(now, BOOT_HEAL);
	if (mono_reached(c->next_heal, now)) {
		c->next_heal = mono_add(now, BOOT_HEAL);
		boot = true;
	}
	if (boot && pick_boot(c, rng, now, ret_to))
		return true;
	r = dir->client ? pick_client_peer(c, dir, rng) : pick_partner(dir, rng);
	if (r == NULL)
		return pick_boot(c, rng, now, ret_to);
	*ret_to = contact_of(r);
	return true;
}

/* ---- what came of it ---- */

static struct boot *boot_find(struct contacts *c, const uint8_t id[static NODE_ID_SIZE])
{
	for (uint32_t i = 0; i < c->n_boots; i++)
		if (memcmp(c->boots[i].to.node_id, id, NODE_ID_SIZE) == 0)
			return &c->boots[i];
	return NULL;
}

static void peer_result(struct contacts *c, const uint8_t id[static NODE_ID_SIZE], bool ok)
{
	for (int i = 0; i < CLIENT_PEERS; i++) {
		struct client_peer *p = &c->peers[i];

		if (p->used && memcmp(p->node_id, id, NODE_ID_SIZE) == 0)
			p->n_failed = ok ? 0 : (uint8_t)(p->n_failed + 1);
	}
}

void contacts_answered(struct contacts *c, const uint8_t node_id[static NODE_ID_SIZE])
{
	struct boot *b = boot_find(c, node_id);

	if (b != NULL)
		b->n_failed = 0;
	peer_result(c, node_id, true);
}

void contacts_failed(
	struct contacts *c, const uint8_t node_id[static NODE_ID_SIZE], mono_t now, bool blame)
{
	struct boot *b = boot_find(c, node_id);

	if (b != NULL) {
		b->n_failed += b->n_failed < UINT8_MAX;
		b->next_try = mono_add(now, boot_pause(b->n_failed));
	}
	if (blame)
		peer_result(c, node_id, false);
}

void contacts_reset(struct contacts *c)
{
	for (uint32_t i = 0; i < c->n_boots; i++) {
		c->boots[i].n_failed = 0;
		c->boots[i].next_try = (mono_t){0};
	}
	for (int i = 0; i < CLIENT_PEERS; i++)
		c->peers[i].n_failed = 0;
}
