/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "own.h"

#include <string.h>

#include <sodium.h>

void own_init(struct own *o, const struct own_conf *conf, uint64_t seq)
{
	memset(o, 0, sizeof(*o));
	o->conf = *conf;
	o->seq = seq;
}

void own_done(struct own *o)
{
	sodium_memzero(o, sizeof(*o));
}

static void change(struct own *o, mono_t now)
{
	if (!o->changed)
		o->settled_at = mono_add(now, OWN_SETTLE);
	o->changed = true;
}

void own_on_listening(struct own *o, mono_t now, const struct own_listening *l)
{
	o->listening = *l;
	o->has_listening = true;
	change(o, now);
}

void own_on_terms(struct own *o, mono_t now, const struct own_terms *t)
{
	o->terms = *t;
	o->has_terms = true;
	change(o, now);
}

void own_on_settings(struct own *o, mono_t now, const struct own_settings *s)
{
	o->settings = *s;
	o->has_settings = true;
	change(o, now);
}

void own_on_seq_seen(struct own *o, mono_t now, uint64_t seq)
{
	if (seq < o->seq || seq > OWN_SEQ_MAX - 1)
		return;
	o->seq = seq;
	o->renew_s = 0;
	change(o, now);
}

bool own_shares(const struct own *o)
{
	return o->has_settings && o->settings.share && o->has_listening && o->listening.relay;
}

bool own_decided(const struct own *o)
{
	return o->has_settings && o->has_listening;
}

static bool has_public(const struct own *o)
{
	return net_is_public(&o->conf.public4, o->conf.test_network) ||
	       net_is_public(&o->conf.public6, o->conf.test_network);
}

const char *own_lacks(const struct own *o)
{
	if (!o->has_settings || !o->settings.share)
		return NULL;
	if (!o->has_listening)
		return "waiting for tunnel to say what it offers";
	if (!o->listening.relay)
		return "tunnel offers no relaying";
	if (!o->has_terms)
		return "waiting for ledger to say the price";
	if (o->listening.port == 0)
		return "tunnel has no port that others could reach";
	if (!has_public(o))
		return "no public address: set public4 or public6 in [tunnel] of node.ini";
	return NULL;
}

/* [P-95] */
static bool wanted(const struct own *o)
{
	return own_shares(o) && own_lacks(o) == NULL;
}

static void endpoint_set(const struct own *o, const struct net_addr *a, struct net_endpoint *e)
{
	if (!net_is_public(a, o->conf.test_network))
		return;
	e->addr = *a;
	e->port = o->listening.port;
}

static uint32_t roles_of(const struct own *o)
{
	uint32_t roles = DESCRIPTOR_RELAY;

	if (o->settings.share_exit && o->listening.exit4)
		roles |= DESCRIPTOR_EXIT4;
	if (o->settings.share_exit && o->listening.exit6)
		roles |= DESCRIPTOR_EXIT6;
	return roles;
}

/* What would be said now; number and times are the signer's. */
static struct descriptor content(const struct own *o)
{
	struct descriptor d = {.roles = roles_of(o)};

	memcpy(d.node_id, o->conf.identity_sk + 32, NODE_ID_SIZE);
	memcpy(d.wg_pk, o->listening.wg_pk, 32);
	endpoint_set(o, &o->conf.public4, &d.ep4);
	endpoint_set(o, &o->conf.public6, &d.ep6);
	memcpy(d.country, o->conf.country, sizeof(d.country));
	memcpy(d.name, o->conf.name, sizeof(d.name));
	memcpy(d.family_id, o->conf.family_id, sizeof(d.family_id));
	memcpy(d.price_gwei_per_gib, o->terms.price_gwei_per_gib, sizeof(d.price_gwei_per_gib));
	d.free_bytes = o->terms.free_bytes;
	d.chain_id = o->terms.chain_id;
	memcpy(d.payee, o->terms.payee, sizeof(d.payee));
	if (d.roles & (DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6))
		memcpy(d.policy_digest, o->listening.policy_digest, sizeof(d.policy_digest));
	return d;
}

static bool same_content(const struct descriptor *a, const struct descriptor *b)
{
	return a->roles == b->roles && memcmp(a->wg_pk, b->wg_pk, 32) == 0 &&
	       net_endpoint_eq(&a->ep4, &b->ep4) && net_endpoint_eq(&a->ep6, &b->ep6) &&
	       memcmp(a->price_gwei_per_gib, b->price_gwei_per_gib,
		       sizeof(a->price_gwei_per_gib)) == 0 &&
	       a->free_bytes == b->free_bytes && a->chain_id == b->chain_id &&
	       memcmp(a->payee, b->payee, sizeof(a->payee)) == 0 &&
	       memcmp(a->policy_digest, b->policy_digest, sizeof(a->policy_digest)) == 0;
}

static uint64_t next_seq(const struct own *o, wall_t now)
{
	uint64_t clock = now.s > 0 ? (uint64_t)now.s : 0;

	return o->seq >= clock ? o->seq + 1 : clock;
}

static bool to_renew(const struct own *o, wall_t now)
{
	/* The second: our clock was set back, so that others would find it not yet valid. */
	return now.s >= o->renew_s || o->out.not_before.s > now.s + DESCRIPTOR_SKEW_S;
}

/* Is what is out not what should be? */
static bool differs(const struct own *o, wall_t now)
{
	struct descriptor d;

	if (!wanted(o))
		return o->is_out;
	if (!o->is_out || to_renew(o, now))
		return true;
	d = content(o);
	return !same_content(&d, &o->out);
}

uint64_t own_due(struct own *o, struct moment now)
{
	bool renew = o->is_out && to_renew(o, now.wall);

	if (!renew && !(o->changed && mono_reached(o->settled_at, now.mono)))
		return 0;
	if (!differs(o, now.wall)) {
		o->changed = false;
		return 0;
	}
	if (!meter_take(&o->pace, now.mono, OWN_PUBLISH_EVERY, OWN_PUBLISH_BURST)) {
		o->changed = true;
		o->settled_at =
			meter_ready(&o->pace, now.mono, OWN_PUBLISH_EVERY, OWN_PUBLISH_BURST);
		return 0;
	}
	o->changed = false;
	return next_seq(o, now.wall);
}

static void sign(
	struct own *o, struct descriptor *d, struct moment now, uint64_t seq, int64_t life_s)
{
	uint8_t bytes[DESCRIPTOR_SIZE];

	d->seq = seq;
	d->not_before = (wall_t){now.wall.s > 0 ? now.wall.s : 0};
	d->expires = (wall_t){d->not_before.s + life_s};
	o->seq = seq;
	BUG_ON(descriptor_sign(d, o->conf.identity_sk, bytes) != OK);
	o->out = *d;
	memcpy(o->out_bytes, bytes, sizeof(bytes));
	o->is_out = life_s > 0;
	o->n_published++;
}

void own_sign(struct own *o, struct moment now, uint64_t seq, double spread)
{
	struct descriptor d = wanted(o) ? content(o) : o->out;

	sign(o, &d, now, seq, wanted(o) ? DESCRIPTOR_LIFE_MAX_S : 0);
	o->renew_s = now.wall.s + OWN_RENEW_S - (int64_t)(spread * OWN_RENEW_SPREAD_S);
}

bool own_retire(struct own *o, struct moment now)
{
	struct descriptor d = o->out;

	if (!o->is_out)
		return false;
	sign(o, &d, now, next_seq(o, now.wall), 0);
	return true;
}

mono_t own_deadline(const struct own *o, struct moment now)
{
	if (o->changed)
		return o->settled_at;
	if (!o->is_out)
		return MONO_NEVER;
	return now.wall.s >= o->renew_s ? now.mono
					: mono_add(now.mono, DUR_S(o->renew_s - now.wall.s));
}
