/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "admit.h"

#include <string.h>

#include "frame.h"
#include "tokens.h"

struct admit_prefix {
	struct net_prefix prefix;
	struct tokens tokens;
};

/* A place per session handle; in use if it is in one of the two orders. */
struct admit_session {
	uint32_t older, newer;
	bool stranger;
	bool paid;
	bool may_exit;
	mono_t used_at;
};

/* The order of use is kept to this, to write less per batch. */
#define USED_GRAIN DUR_S(1)

struct width {
	uint8_t bits4, bits6;
	uint32_t per_s, burst;
};

static struct width width_narrow(const struct admit_conf *c)
{
	return (struct width){32, 64, c->narrow_per_s, c->narrow_burst};
}

static struct width width_wide(const struct admit_conf *c)
{
	return (struct width){24, 48, c->wide_per_s, c->wide_burst};
}

size_t admit_bytes(const struct admit_conf *conf)
{
	size_t table = table_bytes(conf->prefixes_max);

	if (table == 0 || conf->sessions_max == 0 || conf->sessions_max > TABLE_CAPACITY_MAX)
		return 0;
	return table + conf->prefixes_max * sizeof(struct admit_prefix) +
	       conf->sessions_max * sizeof(struct admit_session);
}

static void default_rates(struct admit_conf *c)
{
	if (c->narrow_per_s == 0)
		c->narrow_per_s = ADMIT_NARROW_PER_S;
	if (c->narrow_burst == 0)
		c->narrow_burst = ADMIT_NARROW_BURST;
	if (c->wide_per_s == 0)
		c->wide_per_s = ADMIT_WIDE_PER_S;
	if (c->wide_burst == 0)
		c->wide_burst = ADMIT_WIDE_BURST;
}

void admit_init(
	struct admit *a, const struct admit_conf *conf, void *mem, const uint64_t key[static 2])
{
	uint8_t *at = mem;

	*a = (struct admit){.conf = *conf,
		.oldest = {ADMIT_NONE, ADMIT_NONE},
		.newest = {ADMIT_NONE, ADMIT_NONE}};
	default_rates(&a->conf);
	table_init(&a->prefixes, conf->prefixes_max, at, key);
	at += table_bytes(conf->prefixes_max);
	a->prefix = (void *)at;
	at += conf->prefixes_max * sizeof(*a->prefix);
	a->session = (void *)at;
	memset(a->session, 0, conf->sessions_max * sizeof(*a->session));
}

void admit_set_cap(struct admit *a, uint32_t strangers_max)
{
	a->conf.strangers_max = strangers_max;
}

/* ---- prefixes ---- */

static struct net_prefix prefix_of(const struct net_addr *src, const struct width *w)
{
	struct net_prefix p = {.bits = src->family == NET_IP4 ? w->bits4 : w->bits6};

	p.addr.family = src->family;
	memcpy(p.addr.ip, src->ip, p.bits / 8); /* all widths are whole bytes */
	return p;
}

static uint32_t prefix_find(const struct admit *a, const struct net_prefix *p, uint32_t hash)
{
	uint32_t i = table_first(&a->prefixes, hash);

	while (i != TABLE_NONE && (a->prefix[i].prefix.bits != p->bits ||
					  !net_addr_eq(&a->prefix[i].prefix.addr, &p->addr)))
		i = table_next(&a->prefixes, i);
	return i;
}

/* An idle bucket is a full one: to forget it changes nothing. */
static bool bucket_is_full(struct admit *a, uint32_t i, mono_t now)
{
	struct admit_prefix *p = &a->prefix[i];
	bool wide = p->prefix.bits == 24 || p->prefix.bits == 48;
	struct width w = wide ? width_wide(&a->conf) : width_narrow(&a->conf);

	tokens_refill(&p->tokens, now, w.per_s, w.burst);
	return p->tokens.n == w.burst;
}

static bool make_room(struct admit *a, mono_t now)
{
	uint32_t oldest = table_oldest(&a->prefixes);

	if (a->prefixes.n_used < a->prefixes.capacity)
		return true;
	if (!bucket_is_full(a, oldest, now))
		return false;
	table_drop(&a->prefixes, oldest);
	return true;
}

/* Bucket of src's prefix of this width, fresh if it had none; NULL if there is no room. */
static struct tokens *bucket_of(
	struct admit *a, mono_t now, const struct net_addr *src, const struct width *w)
{
	struct net_prefix p = prefix_of(src, w);
	uint32_t hash = table_hash(&a->prefixes, be64_get(p.addr.ip),
		(uint64_t)p.addr.family << 8 | p.bits); /* no prefix is longer than 64 bits */
	uint32_t i = prefix_find(a, &p, hash);

	if (i == TABLE_NONE) {
		if (!make_room(a, now))
			return NULL;
		i = table_take(&a->prefixes, hash);
		a->prefix[i].prefix = p;
		tokens_init(&a->prefix[i].tokens, now, w->burst);
	}
	table_touch(&a->prefixes, i);
	return &a->prefix[i].tokens;
}

/* [P-40] Both buckets pay or none: the narrow one is asked first and gets its token back. */
enum err admit_handshake(struct admit *a, mono_t now, const struct net_addr *src)
{
	const struct width narrow = width_narrow(&a->conf), wide = width_wide(&a->conf);
	struct tokens *n = bucket_of(a, now, src, &narrow);
	struct tokens *w = n == NULL ? NULL : bucket_of(a, now, src, &wide);

	if (w == NULL) {
		a->n.prefixes_full++;
		return ERR_FULL;
	}
	if (!tokens_take(n, now, narrow.per_s, narrow.burst, 1)) {
		a->n.over_rate++;
		return ERR_FULL;
	}
	if (!tokens_take(w, now, wide.per_s, wide.burst, 1)) {
		n->n++;
		a->n.over_rate++;
		return ERR_FULL;
	}
	a->n.admitted++;
	return OK;
}

/* ---- sessions ---- */

static void order_append(struct admit *a, uint32_t s)
{
	struct admit_session *e = &a->session[s];

	e->older = a->newest[e->paid];
	e->newer = ADMIT_NONE;
	if (e->older == ADMIT_NONE)
		a->oldest[e->paid] = s;
	else
		a->session[e->older].newer = s;
	a->newest[e->paid] = s;
}

static void order_remove(struct admit *a, uint32_t s)
{
	struct admit_session *e = &a->session[s];

	if (e->older == ADMIT_NONE)
		a->oldest[e->paid] = e->newer;
	else
		a->session[e->older].newer = e->newer;
	if (e->newer == ADMIT_NONE)
		a->newest[e->paid] = e->older;
	else
		a->session[e->newer].older = e->older;
}

static bool idle_for(const struct admit *a, uint32_t s, mono_t now, dur_t d)
{
	return s != ADMIT_NONE && mono_since(a->session[s].used_at, now).ns >= d.ns;
}

/* [P-42] */
enum err admit_room(struct admit *a, mono_t now, uint32_t *ret_victim)
{
	uint32_t victim = ADMIT_NONE;

	if (a->n_strangers >= a->conf.strangers_max) {
		if (idle_for(a, a->oldest[false], now, ADMIT_UNPAID_IDLE))
			victim = a->oldest[false];
		else if (idle_for(a, a->oldest[true], now, ADMIT_PAID_IDLE))
			victim = a->oldest[true];
		if (victim == ADMIT_NONE) {
			a->n.sessions_full++;
			return ERR_FULL;
		}
		a->n.displaced++;
	}
	*ret_victim = victim;
	return OK;
}

void admit_session_new(struct admit *a, mono_t now, uint32_t session)
{
	struct admit_session *e = &a->session[session];

	BUG_ON(session >= a->conf.sessions_max || e->stranger);
	*e = (struct admit_session){.stranger = true, .used_at = now};
	order_append(a, session);
	a->n_strangers++;
}

static struct admit_session *stranger(const struct admit *a, uint32_t session)
{
	if (session >= a->conf.sessions_max || !a->session[session].stranger)
		return NULL;
	return &a->session[session];
}

void admit_session_gone(struct admit *a, uint32_t session)
{
	struct admit_session *e = stranger(a, session);

	if (e == NULL)
		return;
	order_remove(a, session);
	e->stranger = false;
	a->n_strangers--;
}

void admit_session_used(struct admit *a, mono_t now, uint32_t session)
{
	struct admit_session *e = stranger(a, session);

	if (e == NULL || mono_since(e->used_at, now).ns < USED_GRAIN.ns)
		return;
	e->used_at = now;
	order_remove(a, session);
	order_append(a, session);
}

/* Moved among those of its kind as the newest, though it may have been idle: it just paid. */
void admit_session_paid(struct admit *a, uint32_t session, bool paid)
{
	struct admit_session *e = stranger(a, session);

	if (e == NULL || e->paid == paid)
		return;
	order_remove(a, session);
	e->paid = paid;
	order_append(a, session);
}

void admit_session_role(struct admit *a, uint32_t session, bool may_exit)
{
	struct admit_session *e = stranger(a, session);

	if (e != NULL)
		e->may_exit = may_exit;
}

bool admit_may_send(const struct admit *a, uint32_t session, int kind)
{
	const struct admit_session *e = stranger(a, session);

	if (e == NULL)
		return false;
	switch ((enum frame_kind)kind) {
	case FRAME_KEEPALIVE:
	case FRAME_CONTROL:
	case FRAME_RELAY:
		return true;
	case FRAME_IP4:
	case FRAME_IP6:
		return e->may_exit;
	case FRAME_BAD:
		break;
	}
	return false;
}

/* [P-43] */
uint32_t admit_idle(struct admit *a, mono_t now)
{
	for (int paid = 0; paid < 2; paid++) {
		if (idle_for(a, a->oldest[paid], now, ADMIT_FORGET)) {
			a->n.forgotten++;
			return a->oldest[paid];
		}
	}
	return ADMIT_NONE;
}

mono_t admit_deadline(const struct admit *a)
{
	mono_t d = MONO_NEVER;

	for (int paid = 0; paid < 2; paid++)
		if (a->oldest[paid] != ADMIT_NONE)
			d = mono_min(
				d, mono_add(a->session[a->oldest[paid]].used_at, ADMIT_FORGET));
	return d;
}
