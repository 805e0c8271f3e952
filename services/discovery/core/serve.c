/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers to other nodes. A node that does not share answers nothing. Who asks is unknown and stays
 * so: a rate per session and one for all; over them the answer is Busy, over the second nothing.
 * Served is what this node reached itself, and its own descriptor. */
#include "parts.h"

#include <string.h>

static struct asker *asker_of(struct discovery *d, uint64_t session)
{
	struct asker *a = &d->askers[session % ASKERS_MAX];

	if (a->session != session)
		*a = (struct asker){.session = session};
	return a;
}

/* A descriptor that the asker pushes; new node ids are counted per session. */
static enum verdict pushed(struct discovery *d, struct moment now, uint64_t session,
	const uint8_t *bytes, size_t len, struct relay **ret_r)
{
	const struct source from = {INTRODUCER_STRANGERS, false};
	struct asker *a = asker_of(d, session);
	struct descriptor said;

	*ret_r = NULL;
	if (descriptor_decode(bytes, len, &said) == OK &&
		relays_find(&d->dir.relays, said.node_id) == NULL &&
		!meter_take(&a->fresh, now.mono, ASKER_NEW_EVERY, ASKER_NEW_BURST)) {
		d->counters.queries_busy++;
		return VERDICT_REFUSED;
	}
	return discovery_take(d, now, bytes, len, from, ret_r);
}

static gossip_Standing standing_of(const struct relay *r)
{
	if (r == NULL)
		return gossip_Standing_STANDING_UNKNOWN;
	if (r->state == RELAY_PROVEN && r->answered_at.ns != 0)
		return gossip_Standing_STANDING_PROVEN;
	if (r->n_failed > 0)
		return gossip_Standing_STANDING_UNREACHABLE;
	return gossip_Standing_STANDING_HEARD;
}

static void on_greet(struct discovery *d, struct moment now, uint64_t session,
	const gossip_Query *q, gossip_Answer *a)
{
	const gossip_Greet *greet = &q->body.greet;
	gossip_Greeted *g = &a->body.greeted;
	struct relay *r = NULL;

	a->which_body = gossip_Answer_greeted_tag;
	if (greet->record.size > 0)
		(void)pushed(d, now, session, greet->record.bytes, greet->record.size, &r);
	g->standing = standing_of(r);
	g->n_records = d->dir.relays.n_state[RELAY_PROVEN];
	g->root = relays_root(&d->dir.relays, greet->salt);
	if (!d->own.is_out)
		return;
	g->record.size = DESCRIPTOR_SIZE;
	memcpy(g->record.bytes, d->own.out_bytes, DESCRIPTOR_SIZE);
}

static void on_compare(struct discovery *d, struct moment now, uint64_t session,
	const gossip_Query *q, gossip_Answer *a)
{
	(void)now;
	(void)session;
	a->which_body = gossip_Answer_compared_tag;
	a->body.compared.digests.size = RELAYS_BUCKETS * RELAYS_DIGEST_SIZE;
	relays_digests(&d->dir.relays, q->body.compare.salt, a->body.compared.digests.bytes);
}

static bool page_has(const gossip_Page *p, const uint8_t version[static RELAYS_VERSION_SIZE])
{
	uint8_t digest[RELAYS_DIGEST_SIZE];

	version_digest(version, p->salt, digest);
	for (pb_size_t i = 0; i < p->have.size; i += RELAYS_DIGEST_SIZE)
		if (memcmp(p->have.bytes + i, digest, RELAYS_DIGEST_SIZE) == 0)
			return true;
	return false;
}

/* [P-91] What we reached ourselves, and tombstones: without them, who missed the news keeps the
 * record until it runs out. Who never knew that node gets one for nothing, if its bucket differs
 * anyway. */
static bool served(const struct relay *r)
{
	return (r->state == RELAY_PROVEN && (r->own || r->answered_at.ns != 0)) ||
	       r->state == RELAY_GONE;
}

static void upto_set(gossip_Paged *out, const struct relay *r)
{
	out->upto.size = NODE_ID_SIZE;
	memcpy(out->upto.bytes, r->d.node_id, NODE_ID_SIZE);
}

/* Does the page ask for this id? */
static bool page_asks(const gossip_Page *p, const uint8_t id[static NODE_ID_SIZE])
{
	return (p->buckets.bytes[id[0] / 8] >> id[0] % 8 & 1) != 0 &&
	       (p->after.size == 0 || memcmp(id, p->after.bytes, NODE_ID_SIZE) > 0) &&
	       (p->until.size == 0 || memcmp(id, p->until.bytes, NODE_ID_SIZE) <= 0);
}

static void page_add(gossip_Paged *out, const uint8_t bytes[static DESCRIPTOR_SIZE])
{
	out->records[out->records_count].size = DESCRIPTOR_SIZE;
	memcpy(out->records[out->records_count++].bytes, bytes, DESCRIPTOR_SIZE);
}

/* Who holds one half of a proof of equivocation gets the other, and sees for himself. */
static bool proof_add(const struct ban *b, mono_t now, const gossip_Page *p, gossip_Paged *out)
{
	uint8_t version[2][RELAYS_VERSION_SIZE];
	bool has[2];

	if (b->until.ns == 0 || mono_reached(b->until, now) || !page_asks(p, b->node_id))
		return false;
	for (int i = 0; i < 2; i++) {
		relay_version(b->proof[i], version[i]);
		has[i] = page_has(p, version[i]);
	}
	if (has[0] == has[1])
		return false;
	page_add(out, b->proof[has[0] ? 1 : 0]);
	return true;
}

static void on_page(struct discovery *d, struct moment now, uint64_t session, const gossip_Query *q,
	gossip_Answer *a)
{
	const gossip_Page *p = &q->body.page;
	gossip_Paged *out = &a->body.paged;
	const struct relays *t = &d->dir.relays;
	uint32_t i = relays_after(t, p->after.size > 0 ? p->after.bytes : NULL);

	(void)session;
	a->which_body = gossip_Answer_paged_tag;
	/* At most one, so that it never fills a page. */
	for (int k = 0; k < BANS_MAX && !proof_add(&d->dir.bans.entries[k], now.mono, p, out); k++)
		;
	for (const struct relay *r; (r = relays_at(t, i)) != NULL; i++) {
		unsigned int b = r->d.node_id[0];

		if (p->until.size > 0 && memcmp(r->d.node_id, p->until.bytes, NODE_ID_SIZE) > 0)
			return;
		if ((p->buckets.bytes[b / 8] >> b % 8 & 1) == 0) {
			i = relays_bucket(t, b + 1) - 1;
			continue;
		}
		if (!served(r) || page_has(p, r->version))
			continue;
		page_add(out, r->bytes);
		if (out->records_count < 3)
			continue;
		upto_set(out, r);
		return;
	}
}

static void on_offer(struct discovery *d, struct moment now, uint64_t session,
	const gossip_Query *q, gossip_Answer *a)
{
	const gossip_Offer *o = &q->body.offer;

	a->which_body = gossip_Answer_offered_tag;
	for (pb_size_t i = 0; i < o->records_count; i++) {
		struct relay *r;
		enum verdict v =
			pushed(d, now, session, o->records[i].bytes, o->records[i].size, &r);

		a->body.offered.n_new += v == VERDICT_NEW || v == VERDICT_NEWER ||
					 v == VERDICT_MOVED || v == VERDICT_GONE ||
					 v == VERDICT_CONFLICT;
	}
}

static void answer_send(
	struct discovery *d, uint64_t session, uint32_t request, const gossip_Answer *a)
{
	uint8_t payload[PAYLOAD_MAX];
	size_t len;

	if (answer_encode(a, payload, &len) != OK)
		return;
	d->counters.bytes_out += len;
	d->sink.answer(d->sink.ctx, session, request, payload, len);
}

typedef void serve_fn(struct discovery *d, struct moment now, uint64_t session,
	const gossip_Query *q, gossip_Answer *a);

void serve_query(struct discovery *d, struct moment now, uint64_t session, uint32_t request,
	const gossip_Query *q)
{
	static serve_fn *const handlers[] = {
		[gossip_Query_greet_tag] = on_greet,
		[gossip_Query_compare_tag] = on_compare,
		[gossip_Query_page_tag] = on_page,
		[gossip_Query_offer_tag] = on_offer,
	};
	gossip_Answer a = gossip_Answer_init_zero;

	if (meter_take(&asker_of(d, session)->all, now.mono, ASKER_EVERY, ASKER_BURST)) {
		handlers[q->which_body](d, now, session, q, &a);
	} else {
		d->counters.queries_busy++;
		a.which_body = gossip_Answer_busy_tag;
	}
	answer_send(d, session, request, &a);
}

static void busy_answer(struct discovery *d, uint64_t session, uint32_t request)
{
	const gossip_Answer a = {.which_body = gossip_Answer_busy_tag};

	d->counters.queries_busy++;
	answer_send(d, session, request, &a);
}

void discovery_on_peer_asked(struct discovery *d, struct moment now, uint64_t session,
	uint32_t request, const uint8_t *payload, size_t len)
{
	gossip_Query q;

	d->counters.bytes_in += len;
	/* [P-95] */
	if (!meter_take(&d->serve, now.mono, SERVE_EVERY, SERVE_BURST) ||
		(own_decided(&d->own) && d->dir.client)) {
		d->counters.queries_ignored++;
		return;
	}
	if (!own_decided(&d->own)) { /* just started: we may be a relay in a moment */
		busy_answer(d, session, request);
		return;
	}
	if (query_decode(payload, len, &q) != OK) {
		d->counters.queries_malformed++;
		return;
	}
	d->counters.queries++;
	serve_query(d, now, session, request, &q);
}
