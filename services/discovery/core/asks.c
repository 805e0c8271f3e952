/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions under way: a small table by the id that the sink gave; tunnel answers each or gives up,
 * and our own timer is the net below that. */
#include "parts.h"

#include <string.h>

/* Again after an answer that says nothing about the relay. */
#define REACH_RETRY DUR_S(5)

static mono_t mono_max(mono_t a, mono_t b)
{
	return a.ns > b.ns ? a : b;
}

static struct ask *ask_find(struct discovery *d, uint64_t id)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (d->asks[i].why != ASK_FREE && d->asks[i].id == id)
			return &d->asks[i];
	return NULL;
}

static struct ask *ask_slot(struct discovery *d)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (d->asks[i].why == ASK_FREE)
			return &d->asks[i];
	return NULL;
}

unsigned int asks_count(const struct discovery *d, enum ask_why why)
{
	unsigned int n = 0;

	for (size_t i = 0; i < ASKS_MAX; i++)
		n += d->asks[i].why == why;
	return n;
}

struct ask *ask_send(struct discovery *d, struct moment now, const struct contact *to,
	const gossip_Query *q, const struct ask *mould)
{
	struct ask *a = ask_slot(d);
	uint8_t payload[PAYLOAD_MAX];
	uint64_t id;
	size_t len;

	if (a == NULL || query_encode(q, payload, &len) != OK)
		return NULL;
	id = d->sink.ask(d->sink.ctx, to, payload, len);
	if (id == 0) {
		d->counters.ask_unsent++;
		return NULL;
	}
	*a = *mould;
	a->id = id;
	a->kind = q->which_body;
	a->to = *to;
	a->deadline = mono_add(now.mono, ASK_TIME);
	d->counters.asked++;
	d->counters.bytes_out += len;
	return a;
}

struct ask *ask_greet(
	struct discovery *d, struct moment now, const struct contact *to, const struct ask *mould)
{
	gossip_Query q = {.which_body = gossip_Query_greet_tag};
	struct ask greet = *mould;

	greet.salt = rng_u64(&d->rng);
	q.body.greet.salt = greet.salt;
	if (d->own.is_out) {
		q.body.greet.record.size = DESCRIPTOR_SIZE;
		memcpy(q.body.greet.record.bytes, d->own.out_bytes, DESCRIPTOR_SIZE);
		greet.own_seq = d->own.out.seq;
	}
	return ask_send(d, now, to, &q, &greet);
}

/* Hands the outcome to whoever asked. `answer` NULL: there is none. */
static void ask_close(
	struct discovery *d, struct moment now, struct ask *slot, const gossip_Answer *answer)
{
	struct ask a = *slot;
	struct relay *r = a.why == ASK_REACH ? relays_find(&d->dir.relays, a.to.node_id) : NULL;
	bool greeted = answer != NULL && answer->which_body == gossip_Answer_greeted_tag;

	slot->why = ASK_FREE;
	if (r != NULL && r->asked) {
		r->asked = false;
		if (!greeted) /* busy, or our own tunnel is: soon again */
			r->next_try = mono_max(r->next_try, mono_add(now.mono, REACH_RETRY));
		d->next_reach = mono_min(d->next_reach, r->next_try);
	}
	if (a.kind == gossip_Query_greet_tag && greeted &&
		!reach_on_greeted(d, now, &a, &answer->body.greeted))
		answer = NULL;
	else if (answer != NULL)
		contacts_answered(&d->contacts, a.to.node_id);
	if (a.why == ASK_SYNC)
		sync_on_answer(d, now, &a, answer);
}

static bool answer_fits(pb_size_t kind, const gossip_Answer *answer)
{
	static const pb_size_t fits[] = {
		[gossip_Query_greet_tag] = gossip_Answer_greeted_tag,
		[gossip_Query_compare_tag] = gossip_Answer_compared_tag,
		[gossip_Query_page_tag] = gossip_Answer_paged_tag,
		[gossip_Query_offer_tag] = gossip_Answer_offered_tag,
	};

	return answer->which_body == gossip_Answer_busy_tag || answer->which_body == fits[kind];
}

void discovery_on_peer_answered(struct discovery *d, struct moment now, uint64_t id, enum err e,
	const uint8_t *payload, size_t len)
{
	gossip_Answer answer;
	struct ask *a = id == 0 ? NULL : ask_find(d, id);

	if (a == NULL) {
		d->counters.answers_late++;
		return;
	}
	if (e != OK) {
		d->counters.timeouts++;
		/* Our own tunnel is full or gone: that is nobody's silence. */
		if (e == ERR_TIMEOUT || e == ERR_DENIED)
			reach_on_silence(d, now, &a->to);
		ask_close(d, now, a, NULL);
		return;
	}
	d->counters.answered++;
	d->counters.bytes_in += len;
	if (answer_decode(payload, len, &answer) != OK || !answer_fits(a->kind, &answer)) {
		d->counters.answers_malformed++;
		reach_on_silence(d, now, &a->to);
		ask_close(d, now, a, NULL);
		return;
	}
	d->dir.answered_at = now.mono;
	d->counters.peers_busy += answer.which_body == gossip_Answer_busy_tag;
	ask_close(d, now, a, &answer);
}

void asks_tick(struct discovery *d, struct moment now)
{
	for (size_t i = 0; i < ASKS_MAX; i++) {
		struct ask *a = &d->asks[i];

		if (a->why == ASK_FREE || !mono_reached(a->deadline, now.mono))
			continue;
		d->counters.timeouts++;
		reach_on_silence(d, now, &a->to);
		ask_close(d, now, a, NULL);
	}
}

void asks_forget(struct discovery *d, struct moment now)
{
	for (size_t i = 0; i < ASKS_MAX; i++)
		if (d->asks[i].why != ASK_FREE)
			ask_close(d, now, &d->asks[i], NULL);
}

mono_t asks_deadline(const struct discovery *d)
{
	mono_t t = MONO_NEVER;

	for (size_t i = 0; i < ASKS_MAX; i++)
		if (d->asks[i].why != ASK_FREE)
			t = mono_min(t, d->asks[i].deadline);
	return t;
}
