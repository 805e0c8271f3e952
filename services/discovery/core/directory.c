/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "directory.h"

#include <string.h>

#include <sodium.h>

const char *refusal_name(enum refusal r)
{
	static const char *const names[REFUSALS] = {
		[REFUSED_MALFORMED] = "malformed",
		[REFUSED_DATE] = "date",
		[REFUSED_ADDRESS] = "address",
		[REFUSED_SIGNATURE] = "signature",
		[REFUSED_BANNED] = "banned",
		[REFUSED_OWN_KEY] = "own_key",
		[REFUSED_TOMBSTONE] = "tombstone_of_unknown",
		[REFUSED_UPDATES] = "too_many_versions",
		[REFUSED_NEAR] = "too_many_in_prefix",
		[REFUSED_FULL] = "full",
		[REFUSED_BUDGET] = "signature_budget",
	};

	return names[r];
}

void directory_init(struct directory *dir, const struct directory_conf *conf,
	const struct relays_storage *storage, struct rng *rng, const struct directory_watch *watch)
{
	memset(dir, 0, sizeof(*dir));
	dir->conf = *conf;
	relays_init(&dir->relays, storage);
	dir->rng = rng;
	dir->watch = *watch;
	dir->client = true;
	dir->expires_min_s = INT64_MAX;
}

static enum verdict refuse(struct directory *dir, enum refusal why)
{
	dir->counters.refused[why]++;
	return VERDICT_REFUSED;
}

/* ---- state changes ---- */

static void lose(struct directory *dir, struct relay *r)
{
	if (r->state != RELAY_PROVEN)
		return;
	dir->generation++;
	dir->watch.lost(dir->watch.ctx, r);
}

static void drop(struct directory *dir, struct relay *r)
{
	lose(dir, r);
	relays_remove(&dir->relays, r);
}

static void demote(struct directory *dir, struct relay *r)
{
	lose(dir, r);
	dir->counters.demoted++;
	relays_set_state(&dir->relays, r, RELAY_HEARD);
}

static void note_end(struct directory *dir, const struct relay *r)
{
	int64_t end = r->d.expires.s;

	if (r->state == RELAY_GONE)
		end = r->d.not_before.s + DESCRIPTOR_LIFE_MAX_S + DESCRIPTOR_SKEW_S;
	if (end < dir->expires_min_s)
		dir->expires_min_s = end;
}

/* ---- proof ---- */

/* Another proven node with the same WireGuard key, or NULL. Ids are cheap, keys in use are not:
 * one key, one node. */
static struct relay *key_holder(const struct directory *dir, const struct relay *r)
{
	const struct relays *t = &dir->relays;
	uint32_t head = t->marks[r - t->slots].wg_head;

	for (uint32_t i = 0; i < t->n_touched; i++) {
		const struct relay_mark *m = &t->marks[i];

		if (m->state == RELAY_PROVEN && m->wg_head == head && &t->slots[i] != r &&
			memcmp(t->slots[i].d.wg_pk, r->d.wg_pk, 32) == 0)
			return &t->slots[i];
	}
	return NULL;
}

static uint32_t near_proven(const struct directory *dir, const struct relay *r)
{
	const struct relays *t = &dir->relays;
	const struct relay_mark *own = &t->marks[r - t->slots];
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_touched; i++)
		n += t->marks[i].state == RELAY_PROVEN && relay_marks_near(&t->marks[i], own) &&
		     &t->marks[i] != own;
	return n;
}

static bool prove(struct directory *dir, struct moment now, struct relay *r)
{
	struct relay *holder = key_holder(dir, r);

	if (holder != NULL) {
		dir->counters.key_clash++;
		/* A node that was set up anew keeps its key: see whether the old one still answers.
		 */
		holder->n_failed = holder->n_failed > 0 ? holder->n_failed : 1;
		holder->next_try = now.mono;
		r->next_try = mono_add(now.mono, RETRY_FIRST);
		return false;
	}
	if (near_proven(dir, r) >= dir->conf.near_max) {
		dir->counters.refused[REFUSED_NEAR]++;
		r->next_try = mono_add(now.mono, RETRY_LAST);
		return false;
	}
	relays_set_state(&dir->relays, r, RELAY_PROVEN);
	dir->counters.proven++;
	dir->generation++;
	dir->watch.news(dir->watch.ctx, r);
	return true;
}

bool directory_answered(struct directory *dir, struct moment now, struct relay *r)
{
	dir->answered_at = now.mono;
	r->answered_at = now.mono;
	r->n_failed = 0;
	return r->state == RELAY_PROVEN || (r->state == RELAY_HEARD && prove(dir, now, r));
}

static dur_t retry_after(unsigned int n_failed)
{
	unsigned int doublings = n_failed < 10 ? n_failed : 10;
	dur_t d;

	if (doublings < 2)
		return RETRY_SOON;
	d.ns = RETRY_FIRST.ns << (doublings - 2);
	return d.ns < RETRY_LAST.ns ? d : RETRY_LAST;
}

bool directory_network_up(const struct directory *dir, mono_t now)
{
	return dir->answered_at.ns != 0 && mono_since(dir->answered_at, now).ns < NETWORK_SILENT.ns;
}

void directory_unanswered(struct directory *dir, struct moment now, struct relay *r)
{
	if (!directory_network_up(dir, now.mono)) {
		r->next_try = mono_add(now.mono, RETRY_SOON);
		return;
	}
	/* Several questions that were under way together are one silence. */
	if (r->n_failed > 0 && !mono_reached(r->next_try, now.mono))
		return;
	if (r->state == RELAY_HEARD && r->n_failed >= GIVEN_UP_MAX) {
		dir->counters.given_up++;
		drop(dir, r);
		return;
	}
	if (r->n_failed < UINT8_MAX)
		r->n_failed++;
	r->next_try = mono_add(now.mono, retry_after(r->n_failed));
	if (r->state == RELAY_PROVEN && r->n_failed >= FAILED_MAX)
		demote(dir, r);
}

void directory_disproved(struct directory *dir, struct moment now, struct relay *r)
{
	dir->answered_at = now.mono;
	r->n_failed = FAILED_MAX;
	r->next_try = mono_add(now.mono, RETRY_LAST);
	if (r->state == RELAY_PROVEN)
		demote(dir, r);
}

/* ---- bounds ---- */

static uint32_t heard_share(const struct directory *dir)
{
	return dir->client ? HEARD_SHARE_CLIENT(dir->relays.room) : HEARD_SHARE_RELAY;
}

static bool is_victim(
	const struct relay_mark *m, uint32_t introducer, const struct relay_mark *near)
{
	return m->state == RELAY_HEARD && m->introducer == introducer &&
	       (near == NULL || relay_marks_near(m, near));
}

/* Removes a heard record of this introducer (near the given mark): one that did not answer if there
 * is one, else any by lot, so that a flood does not last against those who answer. */
static bool evict(
	struct directory *dir, uint32_t introducer, const struct relay_mark *near, bool failed_only)
{
	struct relays *t = &dir->relays;
	struct relay *lot = NULL, *failed = NULL;
	uint32_t n = 0;

	for (uint32_t i = 0; i < t->n_touched && failed == NULL; i++) {
		if (!is_victim(&t->marks[i], introducer, near))
			continue;
		if (t->slots[i].n_failed > 0)
			failed = &t->slots[i];
		else if (!t->slots[i].asked && rng_below(dir->rng, ++n) == 0)
			lot = &t->slots[i];
	}
	if (failed == NULL && (failed_only || lot == NULL))
		return false;
	dir->counters.evicted++;
	drop(dir, failed != NULL ? failed : lot);
	return true;
}

/* The introducer with the most heard records (by a small hash: two may count as one). */
static bool biggest_introducer(const struct directory *dir, uint32_t *ret_introducer)
{
	const struct relays *t = &dir->relays;
	uint32_t n[64] = {0}, who[64] = {0}, best = 0;

	for (uint32_t i = 0; i < t->n_touched; i++) {
		if (t->marks[i].state != RELAY_HEARD)
			continue;
		uint32_t k = t->marks[i].introducer % 64;
		n[k]++;
		who[k] = t->marks[i].introducer;
		if (n[k] > n[best])
			best = k;
	}
	*ret_introducer = who[best];
	return n[best] > 0;
}

struct crowd {
	uint32_t near, share; /* heard from this introducer: in the same prefix, in all */
};

static struct crowd crowd_of(const struct directory *dir, const struct relay_mark *m)
{
	const struct relays *t = &dir->relays;
	struct crowd c = {0};

	for (uint32_t i = 0; i < t->n_touched; i++) {
		if (!is_victim(&t->marks[i], m->introducer, NULL))
			continue;
		c.share++;
		c.near += relay_marks_near(&t->marks[i], m);
	}
	return c;
}

/* Makes room for one more heard record. The signature was checked already. */
static enum verdict make_room(struct directory *dir, const struct relay_mark *m, bool is_new)
{
	struct crowd c = crowd_of(dir, m);
	uint32_t biggest;

	if (c.near >= dir->conf.near_max && !evict(dir, m->introducer, m, true))
		return refuse(dir, REFUSED_NEAR);
	/* A peer's share frees itself as its relays are proven or given up; that of strangers is
	 * open to all, so there new ones displace others by lot. */
	if (c.share >= heard_share(dir) &&
		(m->introducer != INTRODUCER_STRANGERS || !evict(dir, m->introducer, NULL, false)))
		return refuse(dir, REFUSED_FULL);
	if (!is_new || dir->relays.n < dir->relays.room)
		return VERDICT_NEW;
	if (!biggest_introducer(dir, &biggest) ||
		(biggest == m->introducer && biggest != INTRODUCER_STRANGERS) ||
		!evict(dir, biggest, NULL, false))
		return refuse(dir, REFUSED_FULL);
	return VERDICT_NEW;
}

/* ---- the accept rule [P-90] ---- */

/* One descriptor on its way through the rule. */
struct candidate {
	struct descriptor d;
	const uint8_t *bytes;
	struct source from;
	struct relay *r; /* what is known of the node, or NULL */
};

static bool in_date(const struct descriptor *d, wall_t now)
{
	if (!descriptor_is_tombstone(d))
		return true; /* descriptor_valid_at tells */
	return d->not_before.s <= now.s + DESCRIPTOR_SKEW_S &&
	       d->not_before.s + DESCRIPTOR_LIFE_MAX_S + DESCRIPTOR_SKEW_S > now.s;
}

/* OK, or why the form or the date refuses it. */
static bool admissible(struct directory *dir, const struct candidate *c, struct moment now)
{
	enum err e = OK;

	if (!in_date(&c->d, now.wall))
		e = ERR_STALE;
	else if (!descriptor_is_tombstone(&c->d))
		e = descriptor_valid_at(&c->d, now.wall, dir->conf.test_network);
	if (e == OK)
		return true;
	refuse(dir, e == ERR_STALE ? REFUSED_DATE : REFUSED_ADDRESS);
	return false;
}

static bool signature_good(struct directory *dir, const struct candidate *c, struct moment now)
{
	struct meter *m = c->from.asked ? &dir->verify_asked : &dir->verify_strangers;
	dur_t every = c->from.asked ? VERIFY_EVERY_ASKED : VERIFY_EVERY_STRANGERS;
	uint32_t burst = c->from.asked ? VERIFY_BURST_ASKED : VERIFY_BURST_STRANGERS;

	if (!meter_take(m, now.mono, every, burst)) {
		refuse(dir, REFUSED_BUDGET);
		return false;
	}
	if (descriptor_verify(c->bytes) == OK)
		return true;
	refuse(dir, REFUSED_SIGNATURE);
	return false;
}

static bool same_place(const struct descriptor *a, const struct descriptor *b)
{
	return memcmp(a->wg_pk, b->wg_pk, 32) == 0 && net_endpoint_eq(&a->ep4, &b->ep4) &&
	       net_endpoint_eq(&a->ep6, &b->ep6);
}

static enum verdict offer_own(struct directory *dir, const struct candidate *c, struct moment now)
{
	if (c->r != NULL && memcmp(c->r->bytes, c->bytes, DESCRIPTOR_SIZE) == 0)
		return VERDICT_SAME;
	if (!signature_good(dir, c, now))
		return VERDICT_REFUSED;
	if (c->d.seq > dir->own_seq_seen)
		dir->own_seq_seen = c->d.seq;
	return VERDICT_OWN;
}

/* Both signed by the node: what we hold was checked when it came. [P-93] */
static enum verdict offer_conflict(struct directory *dir, struct candidate *c, struct moment now)
{
	bool was_proven = c->r->state != RELAY_HEARD;

	if (!signature_good(dir, c, now))
		return VERDICT_REFUSED;
	bans_add(&dir->bans, c->d.node_id, c->r->bytes, c->bytes, now.mono);
	dir->counters.equivocations++;
	drop(dir, c->r);
	c->r = NULL;
	/* Only what is known widely is worth telling: else anyone could make news without end. */
	if (was_proven)
		dir->watch.equivocated(
			dir->watch.ctx, bans_find(&dir->bans, c->d.node_id, now.mono));
	return VERDICT_CONFLICT;
}

/* [P-94] */
static enum verdict offer_tombstone(struct directory *dir, struct candidate *c, struct moment now)
{
	struct relay *r = c->r;
	struct meter updates = {0};

	if (r == NULL)
		return refuse(dir, REFUSED_TOMBSTONE);
	updates = r->updates;
	if (!meter_take(&updates, now.mono, UPDATE_EVERY, UPDATE_BURST))
		return refuse(dir, REFUSED_UPDATES);
	if (!signature_good(dir, c, now))
		return VERDICT_REFUSED;
	r->updates = updates;
	if (r->state == RELAY_HEARD) {
		drop(dir, r);
		c->r = NULL;
		return VERDICT_GONE;
	}
	lose(dir, r);
	relays_update(&dir->relays, r, &c->d, c->bytes, c->from.introducer);
	relays_set_state(&dir->relays, r, RELAY_GONE);
	note_end(dir, r);
	dir->watch.news(dir->watch.ctx, r);
	return VERDICT_GONE;
}

static enum verdict offer_new(struct directory *dir, struct candidate *c, struct moment now)
{
	struct relay_mark m = relay_mark_of(&c->d, c->from.introducer);

	if (!signature_good(dir, c, now))
		return VERDICT_REFUSED;
	if (make_room(dir, &m, true) == VERDICT_REFUSED)
		return VERDICT_REFUSED;
	c->r = relays_insert(&dir->relays, &c->d, c->bytes, c->from.introducer);
	if (c->r == NULL)
		return refuse(dir, REFUSED_FULL);
	c->r->heard_at = c->r->next_try = now.mono;
	note_end(dir, c->r);
	dir->counters.taken++;
	return VERDICT_NEW;
}

/* Another place, or back after a tombstone: it has to be proven again. */
static enum verdict offer_moved(struct directory *dir, struct candidate *c, struct moment now)
{
	struct relay_mark m = relay_mark_of(&c->d, c->from.introducer);
	struct relay *r = c->r;

	if (make_room(dir, &m, false) == VERDICT_REFUSED)
		return VERDICT_REFUSED;
	/* Making room may have dropped r itself. */
	if (relays_find(&dir->relays, c->d.node_id) != r)
		return refuse(dir, REFUSED_NEAR);
	lose(dir, r);
	relays_update(&dir->relays, r, &c->d, c->bytes, c->from.introducer);
	relays_set_state(&dir->relays, r, RELAY_HEARD);
	r->n_failed = 0;
	r->answered_at = (mono_t){0};
	r->next_try = now.mono;
	note_end(dir, r);
	return VERDICT_MOVED;
}

static enum verdict offer_newer(struct directory *dir, struct candidate *c, struct moment now)
{
	struct relay *r = c->r;
	struct meter updates = r->updates;

	if (!meter_take(&updates, now.mono, UPDATE_EVERY, UPDATE_BURST))
		return refuse(dir, REFUSED_UPDATES);
	if (!signature_good(dir, c, now))
		return VERDICT_REFUSED;
	r->updates = updates;
	dir->counters.taken++;
	if (r->state == RELAY_GONE || !same_place(&r->d, &c->d))
		return offer_moved(dir, c, now);
	relays_update(&dir->relays, r, &c->d, c->bytes, c->from.introducer);
	note_end(dir, r);
	if (r->state == RELAY_PROVEN) {
		dir->generation++;
		dir->watch.news(dir->watch.ctx, r);
	} else { /* it is up again, it seems */
		r->next_try = now.mono;
	}
	return VERDICT_NEWER;
}

/* A second voice for a record that is only heard. */
static enum verdict offer_same(struct directory *dir, const struct candidate *c, struct moment now)
{
	bool open = dir->client && c->r->state == RELAY_HEARD && c->from.asked;

	if (!open || c->r->introducer == c->from.introducer)
		return VERDICT_SAME;
	if (c->r->introducer != INTRODUCER_STRANGERS)
		(void)prove(dir, now, c->r);
	else /* kept from when we were a relay: this is the first voice */
		relays_update(&dir->relays, c->r, &c->d, c->bytes, c->from.introducer);
	return VERDICT_SAME;
}

static enum verdict offer_known(struct directory *dir, struct candidate *c, struct moment now)
{
	if (memcmp(c->r->bytes, c->bytes, DESCRIPTOR_SIZE) == 0)
		return offer_same(dir, c, now);
	if (c->d.seq < c->r->d.seq)
		return VERDICT_OLDER;
	if (c->d.seq == c->r->d.seq)
		return offer_conflict(dir, c, now);
	return offer_newer(dir, c, now);
}

static enum verdict offer(struct directory *dir, struct candidate *c, struct moment now)
{
	static const uint8_t unset[32];

	c->r = relays_find(&dir->relays, c->d.node_id);
	if (memcmp(c->d.node_id, dir->conf.self_id, NODE_ID_SIZE) == 0)
		return offer_own(dir, c, now);
	if (bans_find(&dir->bans, c->d.node_id, now.mono) != NULL)
		return refuse(dir, REFUSED_BANNED);
	if (!admissible(dir, c, now))
		return VERDICT_REFUSED;
	if (descriptor_is_tombstone(&c->d) && (c->r == NULL || c->d.seq > c->r->d.seq))
		return offer_tombstone(dir, c, now);
	if (memcmp(c->d.wg_pk, dir->own_wg_pk, 32) == 0 && memcmp(c->d.wg_pk, unset, 32) != 0)
		return refuse(dir, REFUSED_OWN_KEY);
	return c->r == NULL ? offer_new(dir, c, now) : offer_known(dir, c, now);
}

enum verdict directory_offer(struct directory *dir, struct moment now, const uint8_t *bytes,
	size_t len, struct source from, struct relay **ret_r)
{
	struct candidate c = {.bytes = bytes, .from = from};
	enum verdict v;

	*ret_r = NULL;
	if (descriptor_decode(bytes, len, &c.d) != OK)
		return refuse(dir, REFUSED_MALFORMED);
	v = offer(dir, &c, now);
	*ret_r = c.r;
	return v;
}

/* ---- ourselves, memory, time ---- */

void directory_publish(struct directory *dir, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE])
{
	bool live = !descriptor_is_tombstone(d);
	struct relay *r = relays_find(&dir->relays, d->node_id);

	if (r == NULL)
		r = relays_insert(&dir->relays, d, bytes, INTRODUCER_REMEMBERED);
	else
		relays_update(&dir->relays, r, d, bytes, INTRODUCER_REMEMBERED);
	if (r == NULL)
		return; /* a table without room for ourselves: nobody is told */
	r->own = true;
	relays_set_state(&dir->relays, r, live ? RELAY_PROVEN : RELAY_GONE);
	note_end(dir, r);
	dir->watch.news(dir->watch.ctx, r);
}

void directory_remember(
	struct directory *dir, struct moment now, const uint8_t *bytes, size_t len, bool recent)
{
	const struct source from = {.introducer = INTRODUCER_REMEMBERED, .asked = true};
	struct relay *r;

	dir->verify_asked = (struct meter){0}; /* our own file, read once: no budget */
	if (directory_offer(dir, now, bytes, len, from, &r) != VERDICT_NEW || !recent)
		return;
	(void)prove(dir, now, r);
}

void directory_expire(struct directory *dir, struct moment now)
{
	struct relays *t = &dir->relays;

	if (now.wall.s < dir->expires_min_s)
		return;
	dir->expires_min_s = INT64_MAX;
	for (uint32_t i = t->n; i-- > 0;) {
		struct relay *r = relays_at(t, i);
		int64_t end = r->state == RELAY_GONE ? r->d.not_before.s + DESCRIPTOR_LIFE_MAX_S +
							       DESCRIPTOR_SKEW_S
						     : r->d.expires.s;

		if (end > now.wall.s) {
			note_end(dir, r);
			continue;
		}
		dir->counters.expired++;
		drop(dir, r);
	}
}
