/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "discovery.h"

#include <string.h>

#include <sodium.h>

#include "parts.h"

/* How often the directory is looked through for what has run out. */
#define EXPIRE_EVERY DUR_S(5)
/* Peers in a row that could not reach us before we say so. */
#define UNREACHABLE_SAY 3

/* ---- what follows from a change in the directory ---- */

static void on_news(void *ctx, const struct relay *r)
{
	struct discovery *d = ctx;

	feed_on_news(d, r);
	/* A client passes nothing on but the end of its own sharing. */
	if (!d->dir.client || r->own)
		rumour_add(d, r->d.node_id, r->own ? RUMOUR_FANOUT_OWN : RUMOUR_FANOUT, false);
}

static void on_lost(void *ctx, struct relay *r)
{
	feed_on_lost(ctx, r);
}

static void on_equivocated(void *ctx, const struct ban *proof)
{
	struct discovery *d = ctx;

	if (!d->dir.client)
		rumour_add(d, proof->node_id, RUMOUR_FANOUT, true);
}

void discovery_init(struct discovery *d, const struct discovery_conf *conf,
	const struct relays_storage *storage, const struct discovery_sink *sink, struct moment now)
{
	const struct directory_watch watch = {d, on_news, on_lost, on_equivocated};
	struct directory_conf dir = {
		.test_network = conf->own.test_network, .near_max = conf->near_max};

	memset(d, 0, sizeof(*d));
	d->sink = *sink;
	rng_init(&d->rng, conf->seed);
	rng_bytes(&d->rng, d->introducer_key, sizeof(d->introducer_key));
	own_init(&d->own, &conf->own, conf->seq);
	memcpy(dir.self_id, conf->own.identity_sk + 32, NODE_ID_SIZE);
	directory_init(&d->dir, &dir, storage, &d->rng, &watch);
	d->started_at = now.mono;
	d->sync_every = SYNC_EVERY_FRESH;
	d->next_reach = now.mono;
	d->next_expire = now.mono;
	d->next_sync = MONO_NEVER; /* until tunnel can carry a question */
}

void discovery_done(struct discovery *d)
{
	own_done(&d->own);
}

uint32_t introducer_of(const struct discovery *d, const uint8_t node_id[static NODE_ID_SIZE])
{
	uint8_t h[crypto_shorthash_BYTES];
	uint32_t v;

	crypto_shorthash(h, node_id, NODE_ID_SIZE, d->introducer_key);
	memcpy(&v, h, sizeof(v));
	return v <= INTRODUCER_REMEMBERED ? v + 2 : v;
}

enum verdict discovery_take(struct discovery *d, struct moment now, const uint8_t *bytes,
	size_t len, struct source from, struct relay **ret_r)
{
	enum verdict v = directory_offer(&d->dir, now, bytes, len, from, ret_r);

	if (v == VERDICT_OWN)
		own_on_seq_seen(&d->own, now.mono, d->dir.own_seq_seen);
	if (v == VERDICT_NEW || v == VERDICT_NEWER || v == VERDICT_MOVED)
		d->next_reach = now.mono; /* it waits to be proven */
	return v;
}

void discovery_add_boot(struct discovery *d, const struct contact *to)
{
	if (memcmp(to->node_id, d->dir.conf.self_id, NODE_ID_SIZE) != 0)
		(void)contacts_add_boot(&d->contacts, to);
}

/* What has run out is still an address where somebody may be. */
void discovery_remember(
	struct discovery *d, struct moment now, const uint8_t *bytes, size_t len, bool recent)
{
	struct relay old = {0};
	struct contact to;

	directory_remember(&d->dir, now, bytes, len, recent);
	if (descriptor_decode(bytes, len, &old.d) != OK || descriptor_verify(bytes) != OK ||
		relays_find(&d->dir.relays, old.d.node_id) != NULL)
		return;
	to = contact_of(&old);
	discovery_add_boot(d, &to);
}

/* ---- from the other services ---- */

/* Relay or client? What was proven by witnesses alone is asked itself before it is passed on. */
static void mode_update(struct discovery *d, struct moment now)
{
	bool client = !own_shares(&d->own);

	if (client == d->dir.client)
		return;
	d->dir.client = client;
	d->next_reach = d->next_sync = now.mono;
}

void discovery_on_listening(struct discovery *d, struct moment now, const struct own_listening *l)
{
	own_on_listening(&d->own, now.mono, l);
	memcpy(d->dir.own_wg_pk, l->wg_pk, 32);
	mode_update(d, now);
}

void discovery_on_terms(struct discovery *d, struct moment now, const struct own_terms *t)
{
	own_on_terms(&d->own, now.mono, t);
	mode_update(d, now);
}

void discovery_on_settings(struct discovery *d, struct moment now, const struct own_settings *s)
{
	own_on_settings(&d->own, now.mono, s);
	mode_update(d, now);
}

void discovery_on_tunnel_link(struct discovery *d, struct moment now)
{
	contacts_reset(&d->contacts);
	d->next_sync = d->next_reach = now.mono;
}

void discovery_on_tunnel_restart(struct discovery *d, struct moment now)
{
	struct relays *t = &d->dir.relays;

	asks_forget(d, now);
	for (uint32_t i = 0; i < t->n; i++)
		relays_at(t, i)->asked = false;
	sync_reset(d, now);
}

void discovery_on_router_link(struct discovery *d, struct moment now)
{
	(void)now;
	feed_on_router_link(d);
}

void discovery_on_gateway_link(struct discovery *d, struct moment now)
{
	d->feed.gateway_up = true;
	d->feed.state_said = false;
	d->feed.next_state = now.mono;
}

/* ---- time ---- */

static void own_tick(struct discovery *d, struct moment now)
{
	uint64_t seq = own_due(&d->own, now);

	if (seq == 0)
		return;
	d->seq_unstored = d->sink.seq_store(d->sink.ctx, seq) != OK;
	own_sign(&d->own, now, seq, rng_unit(&d->rng));
	directory_publish(&d->dir, &d->own.out, d->own.out_bytes);
	d->published = false;
	d->n_unreachable = 0;
	d->next_sync = now.mono; /* whoever is asked hears of it first */
}

static void warm_tick(struct discovery *d, struct moment now)
{
	if (!d->warm && mono_since(d->started_at, now.mono).ns >= WARM_LATEST.ns)
		d->warm = true;
}

static void expire_tick(struct discovery *d, struct moment now)
{
	if (!mono_reached(d->next_expire, now.mono))
		return;
	d->next_expire = mono_add(now.mono, EXPIRE_EVERY);
	directory_expire(&d->dir, now);
}

void discovery_tick(struct discovery *d, struct moment now)
{
	asks_tick(d, now);
	expire_tick(d, now);
	own_tick(d, now);
	warm_tick(d, now);
	sync_tick(d, now);
	reach_tick(d, now);
	rumour_tick(d, now);
	feed_tick(d, now);
}

mono_t discovery_deadline(const struct discovery *d, struct moment now)
{
	mono_t t = mono_min(d->next_expire, own_deadline(&d->own, now));

	t = mono_min(t, asks_deadline(d));
	t = mono_min(t, sync_deadline(d));
	t = mono_min(t, reach_deadline(d));
	t = mono_min(t, rumour_deadline(d, now));
	return mono_min(t, feed_deadline(d));
}

void discovery_stop(struct discovery *d, struct moment now)
{
	gossip_Offer o = gossip_Offer_init_zero;

	if (!own_retire(&d->own, now))
		return;
	(void)d->sink.seq_store(d->sink.ctx, d->own.seq);
	directory_publish(&d->dir, &d->own.out, d->own.out_bytes);
	offer_add(&o, d->own.out_bytes);
	for (int i = 0; i < RUMOUR_FANOUT_OWN; i++) {
		const struct relay *r = contacts_draw(&d->dir, &d->rng, NULL);
		struct contact to;

		if (r == NULL)
			return;
		to = contact_of(r);
		offer_send(d, now, &to, &o);
	}
}

/* ---- state ---- */

static const char *trouble_of(const struct discovery *d)
{
	const struct directory_counters *c = &d->dir.counters;
	const char *lacks = own_lacks(&d->own);
	bool alone = d->dir.relays.n_state[RELAY_PROVEN] == (d->own.is_out ? 1u : 0u);

	if (lacks != NULL)
		return lacks;
	if (d->seq_unstored)
		return "the state folder cannot be written: a restart may lose our sequence number";
	if (alone && c->refused[REFUSED_DATE] > 0)
		return "no relay is in date: is this machine's clock right?";
	if (alone && d->contacts.n_boots == 0 && d->dir.relays.n_state[RELAY_HEARD] == 0)
		return "no bootstrap node is known: set bootstrap in [discovery] of node.ini";
	if (alone && d->counters.timeouts > 0 && d->counters.answered == 0)
		return "no bootstrap node answers";
	if (d->own.is_out && !d->published && d->n_unreachable >= UNREACHABLE_SAY)
		return "other nodes do not reach this one: is its UDP port open from outside?";
	return "";
}

struct directory_state discovery_state(const struct discovery *d)
{
	const struct relays *t = &d->dir.relays;
	struct directory_state s = {
		.published = d->own.is_out && d->published, .trouble = trouble_of(d)};

	for (uint32_t i = 0; i < t->n; i++) {
		const struct relay *r = relays_at(t, i);

		if (r->state != RELAY_PROVEN || r->own)
			continue;
		s.n_relays++;
		s.n_exits += (r->d.roles & (DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6)) != 0;
	}
	return s;
}
