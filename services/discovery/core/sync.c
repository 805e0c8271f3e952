/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pulling a peer's view: greet (its digest of all), compare (its digest of each bucket), then page
 * by page what differs, until both hold the same. Only what the peer vouches for travels, and not
 * what we say that we hold. When the peer shows something older than ours, ours goes back to it.
 *
 * A liar gains nothing that the accept rule does not give: pages that go outside of the question
 * end the exchange, as do too many useless ones, and each round is with somebody else. Source:
 * Demers et al., Epidemic algorithms for replicated database maintenance, PODC 1987 (anti-entropy,
 * rumours, death certificates). */
#include "parts.h"

#include <string.h>

static bool bit_get(const uint8_t *bits, unsigned int b)
{
	return bits[b / 8] >> b % 8 & 1;
}

static void bit_set(uint8_t *bits, unsigned int b)
{
	bits[b / 8] |= (uint8_t)(1u << b % 8);
}

/* From two thirds to four thirds of d. */
static dur_t jittered(struct rng *rng, dur_t d)
{
	return (dur_t){d.ns * 2 / 3 + rng_below(rng, d.ns * 2 / 3)};
}

static void sync_end(struct sync *s)
{
	s->active = false;
}

static struct ask mould_of(const struct discovery *d, const struct sync *s)
{
	return (struct ask){.why = ASK_SYNC, .sync = (uint8_t)(s - d->syncs), .salt = s->salt};
}

/* ---- beginning ---- */

static bool under_way(const struct discovery *d, const struct contact *with)
{
	for (int i = 0; i < SYNCS_MAX; i++)
		if (d->syncs[i].active &&
			memcmp(d->syncs[i].with.node_id, with->node_id, NODE_ID_SIZE) == 0)
			return true;
	return false;
}

static struct sync *sync_slot(struct discovery *d)
{
	for (int i = 0; i < SYNCS_MAX; i++)
		if (!d->syncs[i].active)
			return &d->syncs[i];
	return NULL;
}

static bool sync_begin(struct discovery *d, struct moment now)
{
	struct sync *s = sync_slot(d);
	struct contact with;
	struct ask mould;

	if (s == NULL || !contacts_pick(&d->contacts, &d->dir, &d->rng, now.mono, &with) ||
		under_way(d, &with))
		return false;
	*s = (struct sync){.with = with, .introducer = introducer_of(d, with.node_id)};
	s->first_bucket = (unsigned int)rng_below(&d->rng, RELAYS_BUCKETS);
	mould = mould_of(d, s);
	s->active = ask_greet(d, now, &with, &mould) != NULL;
	return s->active;
}

void sync_tick(struct discovery *d, struct moment now)
{
	if (!mono_reached(d->next_sync, now.mono))
		return;
	if (d->warm) {
		d->next_sync = mono_add(now.mono, jittered(&d->rng, d->sync_every));
		(void)sync_begin(d, now);
		return;
	}
	d->next_sync = mono_add(now.mono, SYNC_EVERY_COLD);
	for (int i = 0; i < SYNCS_MAX; i++)
		if (!sync_begin(d, now))
			break;
}

mono_t sync_deadline(const struct discovery *d)
{
	return d->next_sync;
}

void sync_reset(struct discovery *d, struct moment now)
{
	for (int i = 0; i < SYNCS_MAX; i++)
		sync_end(&d->syncs[i]);
	d->next_sync = now.mono;
}

/* ---- the question for a page ---- */

/* Does this page ask for bucket b? Two halves, from a drawn bucket on and before it. */
static bool asks_bucket(const struct sync *s, unsigned int b)
{
	return bit_get(s->wanted, b) && (b < s->first_bucket) == s->second_half;
}

/* Not to be sent: what we hold. A client wants a second voice for what it only heard. */
static bool held(const struct discovery *d, const struct sync *s, const struct relay *r)
{
	return r->state != RELAY_HEARD || !d->dir.client || r->introducer == s->introducer;
}

static void page_have(struct discovery *d, struct sync *s, gossip_Page *p)
{
	const struct relays *t = &d->dir.relays;
	uint32_t i = relays_after(t, s->has_after ? s->after : NULL);

	s->has_until = false;
	for (struct relay *r; (r = relays_at(t, i)) != NULL; i++) {
		if (!asks_bucket(s, r->d.node_id[0])) {
			unsigned int b = r->d.node_id[0];

			while (b < RELAYS_BUCKETS && !asks_bucket(s, b))
				b++;
			i = relays_bucket(t, b) - 1;
			continue;
		}
		if (!held(d, s, r))
			continue;
		version_digest(r->version, s->salt, p->have.bytes + p->have.size);
		p->have.size += RELAYS_DIGEST_SIZE;
		if (p->have.size < sizeof(p->have.bytes))
			continue;
		/* No room to name more: ask only this far. */
		memcpy(s->until, r->d.node_id, NODE_ID_SIZE);
		s->has_until = true;
		return;
	}
}

static void page_ask(struct discovery *d, struct moment now, struct sync *s)
{
	gossip_Query q = {.which_body = gossip_Query_page_tag};
	gossip_Page *p = &q.body.page;
	struct ask mould;

	s->salt = rng_u64(&d->rng);
	p->salt = s->salt;
	p->buckets.size = RELAYS_BUCKETS / 8;
	for (unsigned int b = 0; b < RELAYS_BUCKETS; b++)
		if (asks_bucket(s, b))
			bit_set(p->buckets.bytes, b);
	if (s->has_after) {
		p->after.size = NODE_ID_SIZE;
		memcpy(p->after.bytes, s->after, NODE_ID_SIZE);
	}
	page_have(d, s, p);
	if (s->has_until) {
		p->until.size = NODE_ID_SIZE;
		memcpy(p->until.bytes, s->until, NODE_ID_SIZE);
	}
	mould = mould_of(d, s);
	if (s->n_pages++ == SYNC_PAGES_MAX || ask_send(d, now, &s->with, &q, &mould) == NULL)
		sync_end(s);
}

/* ---- answers ---- */

/* While a network forms, or we join one, views are compared often; then ever more seldom. What
 * counts is what was proven, which a liar cannot make up; what is only heard hurries a client once.
 */
static void pace_set(struct discovery *d, struct moment now)
{
	mono_t sooner = mono_add(now.mono, SYNC_EVERY_FRESH);
	uint64_t n_proven = d->dir.counters.proven - d->proven_before;
	bool forming = n_proven * SYNC_FRESH_SHARE > d->dir.relays.n_state[RELAY_PROVEN];
	bool one_voice = d->dir.client && d->n_fresh * SYNC_VOICE_SHARE > d->dir.relays.n;

	d->n_fresh = 0;
	d->proven_before = d->dir.counters.proven;
	d->hurried = one_voice && !d->hurried;
	if (d->hurried) /* what this peer told waits for the next one */
		d->next_sync = mono_min(d->next_sync, sooner);
	if (!forming) {
		d->sync_every.ns =
			d->sync_every.ns < SYNC_EVERY.ns / 2 ? 2 * d->sync_every.ns : SYNC_EVERY.ns;
		return;
	}
	d->sync_every = SYNC_EVERY_FRESH;
	d->next_sync = mono_min(d->next_sync, sooner);
}

/* One view is taken in. Warm: our own is as good as that of others, so what is missing is gone. */
static void view_taken(struct discovery *d, struct moment now, struct sync *s)
{
	sync_end(s);
	d->counters.syncs++;
	d->n_views++;
	pace_set(d, now);
	if (d->n_views >= (d->dir.client ? 2u : 1u))
		d->warm = true;
}

static void half_begin(struct discovery *d, struct moment now, struct sync *s)
{
	s->has_after = false;
	for (unsigned int b = 0; b < RELAYS_BUCKETS; b++) {
		if (asks_bucket(s, b)) {
			page_ask(d, now, s);
			return;
		}
	}
	if (s->second_half) {
		view_taken(d, now, s);
		return;
	}
	s->second_half = true;
	half_begin(d, now, s);
}

static void on_greeted(struct discovery *d, struct moment now, struct sync *s, const struct ask *a,
	const gossip_Answer *answer)
{
	gossip_Query q = {.which_body = gossip_Query_compare_tag};
	struct ask mould;

	if (answer->body.greeted.root == relays_root(&d->dir.relays, a->salt)) {
		d->counters.syncs_agreed++;
		view_taken(d, now, s);
		return;
	}
	s->salt = rng_u64(&d->rng);
	q.body.compare.salt = s->salt;
	mould = mould_of(d, s);
	if (ask_send(d, now, &s->with, &q, &mould) == NULL)
		sync_end(s);
}

static void on_compared(struct discovery *d, struct moment now, struct sync *s, const struct ask *a,
	const gossip_Answer *answer)
{
	uint8_t own[RELAYS_BUCKETS * RELAYS_DIGEST_SIZE];
	const uint8_t *theirs = answer->body.compared.digests.bytes;

	relays_digests(&d->dir.relays, a->salt, own);
	for (unsigned int b = 0; b < RELAYS_BUCKETS; b++)
		if (memcmp(own + b * RELAYS_DIGEST_SIZE, theirs + b * RELAYS_DIGEST_SIZE,
			    RELAYS_DIGEST_SIZE) != 0)
			bit_set(s->wanted, b);
	half_begin(d, now, s);
}

/* Is id within what the page asked for? */
static bool in_question(const struct sync *s, const uint8_t *id)
{
	return asks_bucket(s, id[0]) && (!s->has_after || memcmp(id, s->after, NODE_ID_SIZE) > 0) &&
	       (!s->has_until || memcmp(id, s->until, NODE_ID_SIZE) <= 0);
}

/* [P-96] All records within the question, and a cursor that moves on and is paid for with records.
 */
static bool page_honest(const struct sync *s, const gossip_Paged *p)
{
	for (pb_size_t i = 0; i < p->records_count; i++) {
		struct descriptor r;

		if (descriptor_decode(p->records[i].bytes, p->records[i].size, &r) != OK ||
			!in_question(s, r.node_id))
			return false;
	}
	return p->upto.size == 0 || (p->records_count > 0 && in_question(s, p->upto.bytes));
}

static bool records_take(
	struct discovery *d, struct moment now, const struct sync *s, const gossip_Paged *p)
{
	const struct source from = {s->introducer, true};
	uint64_t generation = d->dir.generation;
	gossip_Offer back = gossip_Offer_init_zero;
	bool useful = false;

	for (pb_size_t i = 0; i < p->records_count; i++) {
		struct relay *r;
		enum verdict v =
			discovery_take(d, now, p->records[i].bytes, p->records[i].size, from, &r);

		useful |= v != VERDICT_SAME && v != VERDICT_REFUSED && v != VERDICT_OLDER;
		d->n_fresh += v == VERDICT_NEW || v == VERDICT_MOVED;
		if ((v == VERDICT_OLDER || v == VERDICT_OWN) && r != NULL &&
			(r->state == RELAY_PROVEN || r->state == RELAY_GONE))
			offer_add(&back, r->bytes);
	}
	if (back.records_count > 0)
		offer_send(d, now, &s->with, &back);
	return useful || d->dir.generation != generation;
}

static void on_paged(struct discovery *d, struct moment now, struct sync *s, const struct ask *a,
	const gossip_Answer *answer)
{
	const gossip_Paged *p = &answer->body.paged;

	(void)a;
	d->counters.pages++;
	if (!page_honest(s, p)) {
		d->counters.out_of_question++;
		sync_end(s);
		return;
	}
	s->n_useless = records_take(d, now, s, p) ? 0 : s->n_useless + 1;
	if (s->n_useless > SYNC_USELESS_MAX && p->records_count > 0) {
		sync_end(s);
		return;
	}
	if (p->upto.size == 0 && !s->has_until) {
		if (s->second_half) {
			view_taken(d, now, s);
			return;
		}
		s->second_half = true;
		half_begin(d, now, s);
		return;
	}
	memcpy(s->after, p->upto.size > 0 ? p->upto.bytes : s->until, NODE_ID_SIZE);
	s->has_after = true;
	page_ask(d, now, s);
}

void sync_on_answer(
	struct discovery *d, struct moment now, const struct ask *a, const gossip_Answer *answer)
{
	struct sync *s = &d->syncs[a->sync];

	if (!s->active || memcmp(s->with.node_id, a->to.node_id, NODE_ID_SIZE) != 0)
		return;
	if (answer == NULL || answer->which_body == gossip_Answer_busy_tag)
		sync_end(s);
	else if (answer->which_body == gossip_Answer_greeted_tag)
		on_greeted(d, now, s, a, answer);
	else if (answer->which_body == gossip_Answer_compared_tag)
		on_compared(d, now, s, a, answer);
	else if (answer->which_body == gossip_Answer_paged_tag)
		on_paged(d, now, s, a, answer);
}
