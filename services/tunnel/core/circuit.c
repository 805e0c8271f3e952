/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "circuit.h"

#include <string.h>

/* One learned pair (leg's next hop, index). Life as in [P-12]. */
struct circuit_index {
	uint32_t index;
	uint32_t leg;
	uint32_t sibling; /* next index of the same leg, newest first */
	bool answered;
	mono_t expires;
};

/* Places looked at per tick, so that a tick stays short (about 50 us). */
#define TICK_BUDGET 512
/* `used_at` and the order of use are kept to this, to write less per message. */
#define USED_GRAIN DUR_S(1)

static uint32_t indices_for(const struct circuit_conf *conf)
{
	return conf->legs_max * CIRCUIT_INDICES_PER_LEG;
}

size_t circuit_bytes(const struct circuit_conf *conf)
{
	if (conf->sessions_max == 0 || conf->sessions_max > TABLE_CAPACITY_MAX ||
		conf->legs_max == 0 ||
		conf->legs_max > TABLE_CAPACITY_MAX / CIRCUIT_INDICES_PER_LEG)
		return 0;
	return table_bytes(conf->legs_max) + table_bytes(indices_for(conf)) +
	       conf->legs_max * sizeof(struct circuit_leg) +
	       indices_for(conf) * sizeof(struct circuit_index) +
	       conf->sessions_max * sizeof(uint32_t);
}

void circuit_init(
	struct circuit *c, const struct circuit_conf *conf, void *mem, const uint64_t key[static 2])
{
	uint8_t *at = mem;

	*c = (struct circuit){.conf = *conf, .memo = TABLE_NONE};
	c->leg = (void *)at;
	at += conf->legs_max * sizeof(struct circuit_leg);
	c->idx = (void *)at;
	at += indices_for(conf) * sizeof(struct circuit_index);
	table_init(&c->legs, conf->legs_max, at, key);
	at += table_bytes(conf->legs_max);
	table_init(&c->indices, indices_for(conf), at, key);
	at += table_bytes(indices_for(conf));
	c->first_leg = (void *)at;
	for (uint32_t s = 0; s < conf->sessions_max; s++)
		c->first_leg[s] = TABLE_NONE;
}

/* ---- indices ---- */

static uint32_t index_hash(const struct circuit *c, const struct net_endpoint *e, uint32_t index)
{
	uint64_t high = be64_get(e->addr.ip), low = be64_get(e->addr.ip + 8);
	uint64_t who = table_hash(&c->indices, high, low);

	return table_hash(&c->indices, who << 16 | e->port, index);
}

static uint32_t index_find(
	const struct circuit *c, const struct net_endpoint *from, uint32_t index, uint32_t hash)
{
	uint32_t i = table_first(&c->indices, hash);

	while (i != TABLE_NONE &&
		(c->idx[i].index != index || !net_endpoint_eq(&c->leg[c->idx[i].leg].next, from)))
		i = table_next(&c->indices, i);
	return i;
}

static void index_drop(struct circuit *c, uint32_t i)
{
	struct circuit_leg *leg = &c->leg[c->idx[i].leg];
	uint32_t *at = &leg->index;

	while (*at != i)
		at = &c->idx[*at].sibling;
	*at = c->idx[i].sibling;
	leg->n_indices--;
	table_drop(&c->indices, i);
	if (c->memo == i)
		c->memo = TABLE_NONE;
}

/* Who gives way in a leg at its bound: the oldest that was never answered, since retries of a
 * handshake must not push out the key pair in use; else the oldest. */
static uint32_t leg_index_victim(const struct circuit *c, const struct circuit_leg *leg)
{
	uint32_t victim = leg->index;

	for (uint32_t i = leg->index; i != TABLE_NONE; i = c->idx[i].sibling)
		if (!c->idx[i].answered || c->idx[victim].answered)
			victim = i;
	return victim;
}

/* [P-11] [P-12] */
static enum err index_learn(struct circuit *c, mono_t now, uint32_t leg_place, uint32_t index)
{
	struct circuit_leg *leg = &c->leg[leg_place];
	uint32_t hash = index_hash(c, &leg->next, index);
	uint32_t i = index_find(c, &leg->next, index, hash);

	if (i != TABLE_NONE && c->idx[i].leg != leg_place) {
		if (!mono_reached(c->idx[i].expires, now)) {
			c->n.collisions++;
			return ERR_DENIED;
		}
		index_drop(c, i);
		i = TABLE_NONE;
	}
	if (i == TABLE_NONE) {
		if (leg->n_indices == CIRCUIT_INDICES_PER_LEG) {
			index_drop(c, leg_index_victim(c, leg));
			c->n.indices_evicted++;
		}
		i = table_take(&c->indices, hash);
		c->idx[i] = (struct circuit_index){
			.index = index, .leg = leg_place, .sibling = leg->index};
		leg->index = i;
		leg->n_indices++;
	}
	c->idx[i].expires = mono_add(now, CIRCUIT_INDEX_LIFE);
	table_touch(&c->indices, i);
	return OK;
}

/* ---- legs ---- */

static uint32_t leg_find(const struct circuit *c, uint32_t session, uint16_t slot)
{
	uint32_t l = session < c->conf.sessions_max ? c->first_leg[session] : TABLE_NONE;

	while (l != TABLE_NONE && c->leg[l].slot != slot)
		l = c->leg[l].sibling;
	return l;
}

const struct circuit_leg *circuit_find(const struct circuit *c, uint32_t session, uint16_t slot)
{
	uint32_t l = leg_find(c, session, slot);

	return l == TABLE_NONE ? NULL : &c->leg[l];
}

static void leg_close(struct circuit *c, uint32_t l)
{
	struct circuit_leg *leg = &c->leg[l];
	uint32_t *at = &c->first_leg[leg->session];

	while (leg->index != TABLE_NONE)
		index_drop(c, leg->index);
	while (*at != l)
		at = &c->leg[*at].sibling;
	*at = leg->sibling;
	table_drop(&c->legs, l);
	c->n.legs_closed++;
}

static void leg_used(struct circuit *c, mono_t now, uint32_t l)
{
	if (mono_since(c->leg[l].used_at, now).ns < USED_GRAIN.ns)
		return;
	c->leg[l].used_at = now;
	table_touch(&c->legs, l);
}

/* [P-17] The table is full: the leg idle longest goes if its keys are dead anyway. */
static bool leg_evict_idle(struct circuit *c, mono_t now)
{
	uint32_t l = table_oldest(&c->legs);

	if (mono_since(c->leg[l].used_at, now).ns < CIRCUIT_INDEX_LIFE.ns)
		return false;
	leg_close(c, l);
	return true;
}

static unsigned int session_n_legs(const struct circuit *c, uint32_t session)
{
	unsigned int n = 0;

	for (uint32_t l = c->first_leg[session]; l != TABLE_NONE; l = c->leg[l].sibling)
		n++;
	return n;
}

static const struct net_endpoint *pick_endpoint(
	const struct circuit_conf *conf, const struct descriptor *d)
{
	if (conf->have_ip4 && d->ep4.addr.family == NET_IP4)
		return &d->ep4;
	if (conf->have_ip6 && d->ep6.addr.family == NET_IP6)
		return &d->ep6;
	return NULL;
}

static void leg_open(struct circuit *c, mono_t now, uint32_t session, uint16_t slot,
	const struct descriptor *d, const struct net_endpoint *next)
{
	uint32_t l = table_take(&c->legs, table_hash(&c->legs, session, slot));
	struct circuit_leg *leg = &c->leg[l];

	*leg = (struct circuit_leg){
		.next = *next,
		.session = session,
		.sibling = c->first_leg[session],
		.index = TABLE_NONE,
		.slot = slot,
		.used_at = now,
	};
	tokens_init(&leg->initiations, now, CIRCUIT_INITIATIONS_BURST);
	memcpy(leg->next_wg_pk, d->wg_pk, sizeof(leg->next_wg_pk));
	c->first_leg[session] = l;
	c->n.legs_opened++;
}

static enum err extend(struct circuit *c, mono_t now, uint32_t session, uint16_t slot,
	const struct descriptor *d, dur_t valid_for)
{
	const struct net_endpoint *next = pick_endpoint(&c->conf, d);
	uint32_t l = leg_find(c, session, slot);

	if (session >= c->conf.sessions_max)
		return ERR_FULL;
	if (d->roles == 0 || memcmp(d->wg_pk, c->conf.self_wg_pk, sizeof(d->wg_pk)) == 0)
		return ERR_DENIED; /* [P-18] */
	if (l != TABLE_NONE && memcmp(c->leg[l].next_wg_pk, d->wg_pk, sizeof(d->wg_pk)) != 0)
		return ERR_DENIED; /* [P-15] */
	if (next == NULL)
		return ERR_UNAVAILABLE;
	if (l != TABLE_NONE && !net_endpoint_eq(&c->leg[l].next, next))
		return ERR_DENIED;
	if (l == TABLE_NONE) {
		if (session_n_legs(c, session) == CIRCUIT_LEGS_PER_SESSION)
			return ERR_FULL;
		if (c->legs.n_used == c->legs.capacity && !leg_evict_idle(c, now))
			return ERR_FULL;
		leg_open(c, now, session, slot, d, next);
		l = c->first_leg[session];
	}
	c->leg[l].valid_until = mono_add(now, valid_for);
	return OK;
}

enum err circuit_extend(struct circuit *c, mono_t now, uint32_t session, uint16_t slot,
	const struct descriptor *d, dur_t valid_for)
{
	enum err e = extend(c, now, session, slot, d, valid_for);

	if (e != OK)
		c->n.legs_refused++;
	return e;
}

void circuit_close(struct circuit *c, uint32_t session, uint16_t slot)
{
	uint32_t l = leg_find(c, session, slot);

	if (l != TABLE_NONE)
		leg_close(c, l);
}

static struct circuit_held *held_of(struct circuit *c, uint32_t session)
{
	for (int i = 0; i < CIRCUIT_HELD_MAX; i++)
		if (c->held[i].used && c->held[i].session == session)
			return &c->held[i];
	return NULL;
}

void circuit_session_gone(struct circuit *c, uint32_t session)
{
	if (session >= c->conf.sessions_max)
		return;
	while (c->first_leg[session] != TABLE_NONE)
		leg_close(c, c->first_leg[session]);
	if (held_of(c, session) != NULL)
		held_of(c, session)->used = false;
}

/* ---- messages ---- */

/* [P-16] */
static bool leg_expired(const struct circuit_leg *leg, mono_t now)
{
	return mono_reached(leg->valid_until, now) &&
	       (!leg->answered || mono_since(leg->answered_at, now).ns > CIRCUIT_ANSWER_GRACE.ns);
}

static enum err forward_initiation(struct circuit *c, mono_t now, uint32_t l, const uint8_t *msg)
{
	struct circuit_leg *leg = &c->leg[l];

	if (leg_expired(leg, now)) {
		c->n.expired++;
		return ERR_DENIED;
	}
	if (!tokens_take(&leg->initiations, now, CIRCUIT_INITIATIONS_PER_S, /* [P-14] */
		    CIRCUIT_INITIATIONS_BURST, 1)) {
		c->n.too_many_initiations++;
		return ERR_FULL;
	}
	return index_learn(c, now, l, wg_sender_index(msg));
}

/* [P-19] The session's own place, else a free one, else the oldest. */
static void hold(struct circuit *c, mono_t now, uint32_t session, uint16_t slot, const uint8_t *msg)
{
	struct circuit_held *h = &c->held[0];

	for (int i = 0; i < CIRCUIT_HELD_MAX; i++) {
		struct circuit_held *e = &c->held[i];

		if (e->used && e->session == session) {
			h = e;
			break;
		}
		if (h->used && (!e->used || e->at.ns < h->at.ns))
			h = e;
	}
	*h = (struct circuit_held){.used = true, .slot = slot, .session = session, .at = now};
	memcpy(h->msg, msg, WG_INITIATION_SIZE);
	c->n.held++;
}

const uint8_t *circuit_take_held(struct circuit *c, mono_t now, uint32_t session, uint16_t slot)
{
	struct circuit_held *h = held_of(c, session);

	if (h == NULL || h->slot != slot)
		return NULL;
	h->used = false;
	return mono_since(h->at, now).ns <= CIRCUIT_HOLD.ns ? h->msg : NULL;
}

enum err circuit_forward(struct circuit *c, mono_t now, uint32_t session, uint16_t slot,
	const uint8_t *msg, size_t len, const struct circuit_leg **ret_leg)
{
	unsigned int type = wg_message_type(msg, len);
	uint32_t l;

	if (type == 0) {
		c->n.bad_message++;
		return ERR_MALFORMED;
	}
	l = leg_find(c, session, slot);
	if (l == TABLE_NONE) {
		c->n.no_leg++;
		if (type == WG_INITIATION)
			hold(c, now, session, slot, msg);
		return ERR_NOT_FOUND;
	}
	if (type == WG_INITIATION) {
		TRY(forward_initiation(c, now, l, msg));
	} else if (!c->leg[l].answered) { /* [P-14] */
		c->n.unanswered++;
		return ERR_DENIED;
	}
	leg_used(c, now, l);
	c->n.forwarded++;
	*ret_leg = &c->leg[l];
	return OK;
}

static void on_response(struct circuit *c, mono_t now, struct circuit_index *i)
{
	struct circuit_leg *leg = &c->leg[i->leg];

	leg->answered = true;
	leg->answered_at = now;
	if (!i->answered) /* only the first: no next hop may keep an index for ever */
		i->expires = mono_add(now, CIRCUIT_INDEX_LIFE);
	i->answered = true;
}

enum err circuit_back(struct circuit *c, mono_t now, const struct net_endpoint *from,
	const uint8_t *msg, size_t len, const struct circuit_leg **ret_leg)
{
	unsigned int type = wg_message_type(msg, len);
	uint32_t index, i = c->memo;

	if (type == 0) {
		c->n.bad_message++;
		return ERR_MALFORMED;
	}
	index = wg_receiver_index(msg);
	if (i == TABLE_NONE || c->idx[i].index != index ||
		!net_endpoint_eq(&c->leg[c->idx[i].leg].next, from))
		i = index_find(c, from, index, index_hash(c, from, index));
	/* [P-13] */
	if (type == WG_INITIATION || i == TABLE_NONE || mono_reached(c->idx[i].expires, now)) {
		c->n.no_index++;
		return ERR_NOT_FOUND;
	}
	c->memo = i;
	if (type == WG_RESPONSE)
		on_response(c, now, &c->idx[i]);
	leg_used(c, now, c->idx[i].leg);
	c->n.returned++;
	*ret_leg = &c->leg[c->idx[i].leg];
	return OK;
}

/* ---- time ---- */

/* Oldest initiation first. An answered one lives longer by the time its answer took, so it may
 * stand before some that are due; those are passed over in circuit_back and dropped by a later
 * tick. */
static void tick_indices(struct circuit *c, mono_t now)
{
	uint32_t i = table_oldest(&c->indices);

	for (int n = 0; n < TICK_BUDGET && i != TABLE_NONE; n++) {
		uint32_t newer = table_newer(&c->indices, i);

		if (mono_reached(c->idx[i].expires, now))
			index_drop(c, i);
		i = newer;
	}
}

void circuit_tick(struct circuit *c, mono_t now)
{
	tick_indices(c, now);
	for (int n = 0; n < TICK_BUDGET; n++) {
		uint32_t l = table_oldest(&c->legs);

		if (l == TABLE_NONE || mono_since(c->leg[l].used_at, now).ns < CIRCUIT_LEG_IDLE.ns)
			return;
		leg_close(c, l);
	}
}
