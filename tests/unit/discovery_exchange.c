/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One node against hand-made peers: what it asks, what it answers, what it believes, whom it tells.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/discovery/core/discovery.h"

#define ROOM 2000
#define T0 1800000000
#define SENT_MAX 512

struct sent {
	uint64_t id; /* 0: an answer */
	struct contact to;
	gossip_Query q;
	gossip_Answer a;
};

static struct {
	struct discovery *d;
	struct relays_storage storage;
	struct moment now;
	struct sent sent[SENT_MAX];
	unsigned int n_sent;
	uint64_t next_id;
	bool link_down;
	uint8_t learned[4000][32];
	unsigned int n_learned, n_gone, n_complete;
	enum err router;
	struct directory_state said;
} w;

static uint64_t sink_ask(void *ctx, const struct contact *to, const uint8_t *p, size_t len)
{
	struct sent *s = &w.sent[w.n_sent % SENT_MAX];

	(void)ctx;
	if (w.link_down)
		return 0;
	w.n_sent++;
	*s = (struct sent){.id = ++w.next_id, .to = *to};
	assert_int_equal(query_decode(p, len, &s->q), OK);
	return s->id;
}

static void sink_answer(void *ctx, uint64_t session, uint32_t request, const uint8_t *p, size_t len)
{
	struct sent *s = &w.sent[w.n_sent++ % SENT_MAX];

	(void)ctx;
	(void)session;
	(void)request;
	*s = (struct sent){0};
	assert_int_equal(answer_decode(p, len, &s->a), OK);
}

static enum err sink_learned(void *ctx, const struct relay *r)
{
	(void)ctx;
	if (w.router == OK)
		memcpy(w.learned[w.n_learned++], r->d.node_id, 32);
	return w.router;
}

static enum err sink_gone(void *ctx, const uint8_t id[static NODE_ID_SIZE])
{
	(void)ctx;
	(void)id;
	w.n_gone += w.router == OK;
	return w.router;
}

static enum err sink_complete(void *ctx, uint32_t n)
{
	(void)ctx;
	(void)n;
	w.n_complete += w.router == OK;
	return w.router;
}

static enum err sink_state(void *ctx, const struct directory_state *s)
{
	(void)ctx;
	w.said = *s;
	return OK;
}

static enum err sink_seq(void *ctx, uint64_t seq)
{
	(void)ctx;
	(void)seq;
	return OK;
}

static int setup(void **state)
{
	const struct discovery_sink sink = {NULL, sink_ask, sink_answer, sink_learned, sink_gone,
		sink_complete, sink_state, sink_seq};
	struct discovery_conf conf = {.near_max = 8, .own.test_network = true};
	const uint8_t seed[32] = {200};
	uint8_t pk[32];

	(void)state;
	assert_true(sodium_init() >= 0);
	memset(&w, 0, sizeof(w));
	crypto_sign_seed_keypair(pk, conf.own.identity_sk, seed);
	conf.own.public4 = (struct net_addr){NET_IP4, {203, 0, 113, 1}};
	w.d = calloc(1, sizeof(*w.d));
	w.storage = (struct relays_storage){calloc(ROOM, sizeof(struct relay)),
		calloc(ROOM, sizeof(struct relay_mark)), calloc(ROOM, sizeof(uint32_t)), ROOM};
	w.now = (struct moment){{1000000000}, {T0}};
	discovery_init(w.d, &conf, &w.storage, &sink, w.now);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	discovery_done(w.d);
	free(w.d);
	free(w.storage.slots);
	free(w.storage.marks);
	free(w.storage.order);
	return 0;
}

static void pass_ms(uint64_t ms)
{
	w.now.mono.ns += ms * 1000000;
	w.now.wall.s = T0 + (int64_t)(w.now.mono.ns / 1000000000) - 1;
	discovery_tick(w.d, w.now);
}

static void share(bool yes)
{
	const struct own_settings s = {yes, yes};
	const struct own_listening l = {.wg_pk = {99}, .port = 51820, .relay = true};
	const struct own_terms t = {0};

	discovery_on_settings(w.d, w.now, &s);
	discovery_on_listening(w.d, w.now, &l);
	discovery_on_terms(w.d, w.now, &t);
	pass_ms(500);
}

/* A peer k of the test: its key, its place, its descriptor. */
static void peer_sk(unsigned int k, uint8_t sk[64])
{
	uint8_t seed[32] = {(uint8_t)k, (uint8_t)(k >> 8), 1}, pk[32];

	crypto_sign_seed_keypair(pk, sk, seed);
}

static struct descriptor peer(unsigned int k)
{
	struct descriptor d = {.roles = DESCRIPTOR_RELAY,
		.wg_pk = {(uint8_t)k, (uint8_t)(k >> 8)},
		.seq = 100,
		.not_before = {T0},
		.expires = {T0 + 80000},
		.ep4 = {{NET_IP4, {198, (uint8_t)(18 + (k >> 8)), (uint8_t)k, 1}}, 1000}};
	uint8_t sk[64];

	peer_sk(k, sk);
	memcpy(d.node_id, sk + 32, 32);
	return d;
}

static void sign(unsigned int k, const struct descriptor *d, uint8_t bytes[static DESCRIPTOR_SIZE])
{
	uint8_t sk[64];

	peer_sk(k, sk);
	assert_int_equal(descriptor_sign(d, sk, bytes), OK);
}

static void boot(unsigned int k)
{
	struct descriptor d = peer(k);
	struct contact c = {.ep4 = d.ep4};

	memcpy(c.node_id, d.node_id, 32);
	memcpy(c.wg_pk, d.wg_pk, 32);
	discovery_add_boot(w.d, &c);
	discovery_on_tunnel_link(w.d, w.now);
}

/* The last question of this kind. */
static struct sent *question(pb_size_t kind)
{
	for (unsigned int i = w.n_sent; i-- > 0;)
		if (w.sent[i % SENT_MAX].id != 0 && w.sent[i % SENT_MAX].q.which_body == kind)
			return &w.sent[i % SENT_MAX];
	return NULL;
}

static void answer(const struct sent *to, const gossip_Answer *a)
{
	uint8_t payload[PAYLOAD_MAX];
	uint64_t id = to->id;
	size_t len;

	assert_int_equal(answer_encode(a, payload, &len), OK);
	discovery_on_peer_answered(w.d, w.now, id, OK, payload, len);
}

static gossip_Answer greeted(unsigned int k, uint64_t root)
{
	gossip_Answer a = {.which_body = gossip_Answer_greeted_tag};
	struct descriptor d = peer(k);

	a.body.greeted.root = root;
	a.body.greeted.record.size = DESCRIPTOR_SIZE;
	sign(k, &d, a.body.greeted.record.bytes);
	return a;
}

static struct relay *known(unsigned int k)
{
	return relays_find(&w.d->dir.relays, peer(k).node_id);
}

static gossip_Answer *asked(const gossip_Query *q)
{
	uint8_t payload[PAYLOAD_MAX];
	size_t len;
	unsigned int before = w.n_sent;

	assert_int_equal(query_encode(q, payload, &len), OK);
	discovery_on_peer_asked(w.d, w.now, 5, 1, payload, len);
	return w.n_sent == before ? NULL : &w.sent[(w.n_sent - 1) % SENT_MAX].a;
}

static gossip_Query offer(unsigned int k)
{
	gossip_Query q = {.which_body = gossip_Query_offer_tag};
	struct descriptor d = peer(k);

	q.body.offer.records_count = 1;
	q.body.offer.records[0].size = DESCRIPTOR_SIZE;
	sign(k, &d, q.body.offer.records[0].bytes);
	return q;
}

/* The way of a relay into the directory: heard by Offer, greeted, answered, passed on, told. */
static void prove(unsigned int k)
{
	gossip_Query q = offer(k);
	gossip_Answer a;

	assert_int_equal(asked(&q)->body.offered.n_new, 1);
	assert_int_equal(known(k)->state, RELAY_HEARD);
	pass_ms(1);
	struct sent *s = question(gossip_Query_greet_tag);
	assert_memory_equal(s->to.wg_pk, known(k)->d.wg_pk, 32);
	a = greeted(k, 0);
	answer(s, &a);
	assert_int_equal(known(k)->state, RELAY_PROVEN);
}

static void a_bootstrap_is_greeted_and_proven(void **state)
{
	gossip_Answer a = greeted(1, 0);

	(void)state;
	boot(1);
	pass_ms(1);
	assert_int_equal(w.n_sent, 1);
	assert_int_equal(w.sent[0].q.body.greet.record.size, 0); /* a client shows nothing */
	a.body.greeted.root = 12345;
	answer(&w.sent[0], &a);
	assert_int_equal(known(1)->state, RELAY_PROVEN);
	assert_non_null(question(gossip_Query_compare_tag));
}

static void who_answers_must_be_who_was_asked(void **state)
{
	gossip_Answer a = greeted(2, 0);

	(void)state;
	boot(1);
	pass_ms(1);
	answer(&w.sent[0], &a);
	assert_int_equal(w.d->counters.misnamed, 1);
	assert_null(known(1));
	assert_null(known(2));
	assert_null(question(gossip_Query_compare_tag));
}

/* It answers at this key, but its descriptor names another: then it is not proven by this answer.
 */
static void the_key_that_answers_is_the_key_that_is_named(void **state)
{
	gossip_Answer a = greeted(1, 0);
	struct descriptor d = peer(1);

	(void)state;
	boot(1);
	pass_ms(1);
	d.wg_pk[31] = 1;
	sign(1, &d, a.body.greeted.record.bytes);
	answer(&w.sent[0], &a);
	assert_int_equal(w.d->counters.misnamed, 1);
	assert_null(known(1));
}

/* It answers where nobody said that it is: its descriptor has to be tried at its own place. */
static void the_place_that_answers_is_the_place_that_is_named(void **state)
{
	gossip_Answer a = greeted(1, 0);
	struct descriptor d = peer(1);

	(void)state;
	boot(1);
	pass_ms(1);
	d.ep4.port++;
	sign(1, &d, a.body.greeted.record.bytes);
	answer(&w.sent[0], &a);
	assert_int_equal(w.d->counters.misnamed, 0);
	assert_int_equal(known(1)->state, RELAY_HEARD);
}

/* [P-92] A descriptor that names the key and place of another relay is never proven. */
static void a_masquerade_is_not_proven(void **state)
{
	gossip_Query q = {.which_body = gossip_Query_offer_tag};
	struct descriptor d = peer(2);
	gossip_Answer a = greeted(1, 0);

	(void)state;
	share(true);
	d.ep4 = peer(1).ep4;
	memcpy(d.wg_pk, peer(1).wg_pk, 32);
	q.body.offer.records_count = 1;
	q.body.offer.records[0].size = DESCRIPTOR_SIZE;
	sign(2, &d, q.body.offer.records[0].bytes);
	assert_int_equal(asked(&q)->body.offered.n_new, 1);
	pass_ms(1);
	answer(question(gossip_Query_greet_tag), &a); /* relay 1 says who it is */
	assert_int_equal(known(2)->state, RELAY_HEARD);
	assert_true(known(2)->n_failed > 0);
	assert_int_equal(w.n_learned, 0);
}

static void news_are_passed_on_once_proven(void **state)
{
	(void)state;
	discovery_on_router_link(w.d, w.now);
	share(true);
	prove(1);
	prove(2);
	pass_ms(1);
	struct sent *s = question(gossip_Query_offer_tag);
	assert_non_null(s);
	/* never to the relay that it is about */
	for (pb_size_t i = 0;
		i < s->q.body.offer.records_count && s->q.body.offer.records_count == 1; i++)
		assert_memory_not_equal(s->q.body.offer.records[i].bytes + 4, s->to.node_id, 32);
	assert_int_equal(w.n_learned, 2);
}

/* [P-91] */
static void hearsay_is_neither_served_nor_told(void **state)
{
	gossip_Query q = offer(1);
	gossip_Answer *a;

	(void)state;
	discovery_on_router_link(w.d, w.now);
	share(true);
	(void)asked(&q);
	pass_ms(1);
	assert_int_equal(known(1)->state, RELAY_HEARD);
	assert_int_equal(w.n_learned, 0);
	q = (gossip_Query){.which_body = gossip_Query_page_tag};
	q.body.page.buckets.size = 32;
	memset(q.body.page.buckets.bytes, 0xff, 32);
	a = asked(&q);
	assert_int_equal(a->body.paged.records_count, 1); /* our own */
	assert_memory_equal(a->body.paged.records[0].bytes, w.d->own.out_bytes, DESCRIPTOR_SIZE);
}

/* Whoever holds one half of a proof gets the other; who holds none or both gets nothing. */
static void halves_of_a_proof_are_completed(void **state)
{
	gossip_Query q = offer(1);
	struct descriptor d = peer(1);
	uint8_t half[2][DESCRIPTOR_SIZE], version[RELAYS_VERSION_SIZE];
	const gossip_Answer *a;

	(void)state;
	share(true);
	prove(1);
	memcpy(half[0], q.body.offer.records[0].bytes, DESCRIPTOR_SIZE);
	d.free_bytes = 1;
	sign(1, &d, half[1]);
	memcpy(q.body.offer.records[0].bytes, half[1], DESCRIPTOR_SIZE);
	assert_int_equal(asked(&q)->body.offered.n_new, 1);
	assert_null(known(1));
	for (unsigned int has = 0; has < 4; has++) {
		q = (gossip_Query){.which_body = gossip_Query_page_tag};
		q.body.page.buckets.size = 32;
		q.body.page.buckets.bytes[d.node_id[0] / 8] = (uint8_t)(1u << d.node_id[0] % 8);
		for (int i = 0; i < 2; i++) {
			relay_version(half[i], version);
			if ((has >> i & 1) == 0)
				continue;
			version_digest(version, 0, q.body.page.have.bytes + q.body.page.have.size);
			q.body.page.have.size += 4;
		}
		a = asked(&q);
		assert_int_equal(a->body.paged.records_count, has == 1 || has == 2);
		if (a->body.paged.records_count == 1)
			assert_memory_equal(
				a->body.paged.records[0].bytes, half[has == 1], DESCRIPTOR_SIZE);
	}
}

/* What is no longer proven when its turn comes is no longer news. */
static void stale_news_are_dropped(void **state)
{
	unsigned int before;

	(void)state;
	share(true);
	prove(1);
	prove(2);
	directory_disproved(&w.d->dir, w.now, known(2));
	before = w.n_sent;
	pass_ms(1);
	for (unsigned int i = before; i < w.n_sent; i++)
		for (pb_size_t k = 0; w.sent[i].q.which_body == gossip_Query_offer_tag &&
				      k < w.sent[i].q.body.offer.records_count;
			k++)
			assert_memory_not_equal(
				w.sent[i].q.body.offer.records[k].bytes + 4, peer(2).node_id, 32);
}

static void a_client_passes_nothing_on(void **state)
{
	(void)state;
	share(false);
	for (unsigned int k = 1; k <= 3; k++) {
		gossip_Answer a = greeted(k, 0);

		boot(k);
		for (int i = 0; i < 40 && known(k) == NULL; i++) {
			pass_ms(1000);
			struct sent *s = question(gossip_Query_greet_tag);
			if (memcmp(s->to.node_id, peer(k).node_id, 32) == 0)
				answer(s, &a);
			else
				discovery_on_peer_answered(w.d, w.now, s->id, ERR_TIMEOUT, NULL, 0);
		}
		assert_non_null(known(k));
	}
	pass_ms(5000);
	assert_null(question(gossip_Query_offer_tag));
}

/* A client keeps to a few peers, all different, and leaves those that do not answer. */
static void a_client_has_few_peers(void **state)
{
	struct contact to;

	(void)state;
	for (unsigned int k = 1; k <= 30; k++) {
		gossip_Query q = offer(k);
		const struct source from = {77, true};
		struct relay *r;

		assert_int_equal(directory_offer(&w.d->dir, w.now, q.body.offer.records[0].bytes,
					 DESCRIPTOR_SIZE, from, &r),
			VERDICT_NEW);
	}
	w.d->dir.answered_at = w.now.mono;
	for (int i = 0; i < 100; i++)
		assert_true(contacts_pick(&w.d->contacts, &w.d->dir, &w.d->rng, w.now.mono, &to));
	for (int i = 0; i < CLIENT_PEERS; i++)
		for (int k = 0; k < i; k++)
			assert_memory_not_equal(
				w.d->contacts.peers[i].node_id, w.d->contacts.peers[k].node_id, 32);
	uint8_t left[32];
	memcpy(left, w.d->contacts.peers[1].node_id, 32);
	for (int i = 0; i < CLIENT_PEER_FAILED_MAX; i++) {
		struct relay *r = relays_find(&w.d->dir.relays, left);

		contacts_failed(&w.d->contacts, left, w.now.mono, true);
		directory_unanswered(&w.d->dir, w.now, r);
		w.now.mono = r->next_try;
		w.d->dir.answered_at = w.now.mono;
	}
	for (int i = 0; i < 200; i++)
		assert_true(contacts_pick(&w.d->contacts, &w.d->dir, &w.d->rng, w.now.mono, &to));
	for (int i = 0; i < CLIENT_PEERS; i++)
		assert_memory_not_equal(w.d->contacts.peers[i].node_id, left, 32);
}

static void pages_walk_all_and_leave_out_what_is_had(void **state)
{
	gossip_Query q = {.which_body = gossip_Query_page_tag};
	gossip_Page *p = &q.body.page;
	unsigned int n = 0, n_pages = 0;

	(void)state;
	share(true);
	for (unsigned int k = 1; k <= 20; k++)
		prove(k);
	p->salt = 42;
	p->buckets.size = 32;
	memset(p->buckets.bytes, 0xff, 32);
	/* has: its peers 1 to 5 */
	for (unsigned int k = 1; k <= 5; k++, p->have.size += 4)
		version_digest(known(k)->version, 42, p->have.bytes + p->have.size);
	for (;;) {
		const gossip_Answer *a = asked(&q);

		n += a->body.paged.records_count;
		n_pages++;
		for (unsigned int k = 1; k <= 5; k++)
			for (pb_size_t i = 0; i < a->body.paged.records_count; i++)
				assert_memory_not_equal(
					a->body.paged.records[i].bytes + 4, peer(k).node_id, 32);
		if (a->body.paged.upto.size == 0)
			break;
		p->after.size = 32;
		memcpy(p->after.bytes, a->body.paged.upto.bytes, 32);
	}
	assert_int_equal(n, 16); /* 15 and our own */
	assert_int_equal(n_pages, 6);
}

/* [P-95] */
static void a_client_answers_nothing(void **state)
{
	const gossip_Query greet = {.which_body = gossip_Query_greet_tag};

	(void)state;
	assert_int_equal(asked(&greet)->which_body, gossip_Answer_busy_tag); /* not decided yet */
	share(false);
	assert_null(asked(&greet));
	assert_int_equal(w.d->counters.queries_ignored, 1);
}

static void askers_are_rationed(void **state)
{
	const gossip_Query greet = {.which_body = gossip_Query_greet_tag};
	unsigned int n = 0;

	(void)state;
	share(true);
	for (int i = 0; i < 150; i++)
		n += asked(&greet)->which_body == gossip_Answer_greeted_tag;
	assert_int_equal(n, ASKER_BURST);
	assert_int_equal(w.d->counters.queries_busy, 50);
	/* All sessions together. */
	for (uint64_t s = 100; s < 100 + SERVE_BURST; s++) {
		uint8_t payload[PAYLOAD_MAX];
		size_t len;

		assert_int_equal(query_encode(&greet, payload, &len), OK);
		discovery_on_peer_asked(w.d, w.now, s, 1, payload, len);
	}
	assert_int_equal(w.d->counters.queries_ignored, 150);
}

static void a_session_introduces_few(void **state)
{
	unsigned int n = 0;

	(void)state;
	share(true);
	for (unsigned int k = 1; k <= ASKER_NEW_BURST + 10; k++) {
		gossip_Query q = offer(k);

		n += asked(&q)->body.offered.n_new;
	}
	assert_int_equal(n, ASKER_NEW_BURST);
}

/* [P-96] A page outside of the question ends the exchange. */
static void pages_outside_of_the_question(void **state)
{
	static const char *const what[] = {
		"unmarked bucket", "before the cursor", "a cursor without records"};

	for (int i = 0; i < 3; i++) {
		gossip_Answer a = greeted(1, 777);
		struct descriptor d = peer(2);

		assert_int_equal(setup(state), 0);
		boot(1);
		pass_ms(1);
		answer(&w.sent[0], &a);
		a = (gossip_Answer){.which_body = gossip_Answer_compared_tag};
		a.body.compared.digests.size = 1024;
		struct sent *s = question(gossip_Query_compare_tag);
		relays_digests(
			&w.d->dir.relays, s->q.body.compare.salt, a.body.compared.digests.bytes);
		/* only one bucket differs: that of relay 2, or another one */
		unsigned int bucket = i == 0 ? (d.node_id[0] + 1u) % 256 : d.node_id[0];
		a.body.compared.digests.bytes[4 * bucket] ^= 1;
		answer(s, &a);
		s = question(gossip_Query_page_tag);
		assert_non_null(s);
		a = (gossip_Answer){.which_body = gossip_Answer_paged_tag};
		a.body.paged.records_count = i == 2 ? 0 : 1;
		a.body.paged.records[0].size = DESCRIPTOR_SIZE;
		sign(2, &d, a.body.paged.records[0].bytes);
		a.body.paged.upto.size = i == 0 ? 0 : 32;
		memcpy(a.body.paged.upto.bytes, d.node_id, 32);
		answer(s, &a);
		if (i == 1) { /* that was fair; the same again is not */
			assert_int_equal(w.d->counters.out_of_question, 0);
			assert_non_null(known(2));
			s = question(gossip_Query_page_tag);
			assert_memory_equal(s->q.body.page.after.bytes, d.node_id, 32);
			answer(s, &a);
		}
		if (w.d->counters.out_of_question != 1)
			fail_msg("%s", what[i]);
		assert_false(w.d->syncs[0].active);
		assert_int_equal(teardown(state), 0);
	}
}

static void a_peer_with_an_older_version_is_told(void **state)
{
	gossip_Answer a = greeted(1, 777);
	struct descriptor d = peer(2);
	gossip_Query q;

	(void)state;
	share(true);
	prove(1);
	prove(2);
	pass_ms(60000);
	struct sent *s = question(gossip_Query_greet_tag);
	unsigned int k = memcmp(s->to.node_id, peer(1).node_id, 32) == 0 ? 1 : 2;
	unsigned int other = 3 - k;
	a = greeted(k, 777);
	answer(s, &a);
	a = (gossip_Answer){.which_body = gossip_Answer_compared_tag};
	a.body.compared.digests.size = 1024;
	answer(question(gossip_Query_compare_tag), &a); /* all buckets differ */
	s = question(gossip_Query_page_tag);
	d = peer(other);
	d.seq = 50;
	unsigned int before = w.n_sent;
	for (int half = 0; half < 2; half++) {
		s = question(gossip_Query_page_tag);
		a = (gossip_Answer){.which_body = gossip_Answer_paged_tag};
		if (s->q.body.page.buckets.bytes[d.node_id[0] / 8] >> d.node_id[0] % 8 & 1) {
			a.body.paged.records_count = 1;
			a.body.paged.records[0].size = DESCRIPTOR_SIZE;
			sign(other, &d, a.body.paged.records[0].bytes);
		}
		answer(s, &a);
	}
	s = question(gossip_Query_offer_tag);
	assert_true(s - w.sent >= (ptrdiff_t)before);
	q = s->q;
	assert_memory_equal(q.body.offer.records[0].bytes, known(other)->bytes, DESCRIPTOR_SIZE);
	assert_memory_equal(question(gossip_Query_offer_tag)->to.node_id, peer(k).node_id, 32);
}

/* ---- the other services ---- */

static void the_router_gets_a_snapshot_then_changes(void **state)
{
	(void)state;
	share(true);
	for (unsigned int k = 1; k <= 5; k++)
		prove(k);
	w.router = ERR_FULL;
	discovery_on_router_link(w.d, w.now);
	pass_ms(1);
	assert_int_equal(w.n_learned, 0);
	w.router = OK;
	pass_ms(100);
	assert_int_equal(w.n_learned, 5);  /* not ourselves */
	assert_int_equal(w.n_complete, 0); /* no view taken yet: nothing may be called gone */
	pass_ms(30000);
	assert_int_equal(w.n_complete, 1);
	prove(6);
	pass_ms(1);
	assert_int_equal(w.n_learned, 6);
	/* A router that came back hears all anew. */
	w.router = ERR_UNAVAILABLE;
	prove(7);
	pass_ms(100);
	assert_false(w.d->feed.router_up);
	w.router = OK;
	discovery_on_router_link(w.d, w.now);
	pass_ms(1);
	assert_int_equal(w.n_complete, 2);
	/* Gone while the queue is full: told later. */
	w.router = ERR_FULL;
	w.now.wall.s = T0 + 80000;
	w.now.mono.ns += 80000ull * 1000000000;
	discovery_tick(w.d, w.now);
	assert_int_equal(w.n_gone, 0);
	w.router = OK;
	pass_ms(100);
	assert_int_equal(w.n_gone, 7);
}

static void trouble_is_said(void **state)
{
	(void)state;
	discovery_on_gateway_link(w.d, w.now);
	pass_ms(1);
	assert_non_null(strstr(w.said.trouble, "bootstrap"));
	boot(1);
	pass_ms(2000);
	discovery_on_peer_answered(w.d, w.now, w.sent[0].id, ERR_TIMEOUT, NULL, 0);
	pass_ms(3000);
	assert_non_null(strstr(w.said.trouble, "answers"));
	gossip_Answer a = greeted(1, 0);
	answer(question(gossip_Query_greet_tag), &a);
	pass_ms(1100);
	assert_string_equal(w.said.trouble, "");
	assert_int_equal(w.said.n_relays, 1);
	assert_false(w.said.published);
}

static void a_tunnel_that_is_away_is_waited_for(void **state)
{
	(void)state;
	w.link_down = true;
	boot(1);
	for (int i = 0; i < 20; i++)
		pass_ms(1000);
	assert_int_equal(w.n_sent, 0);
	w.link_down = false;
	discovery_on_tunnel_restart(w.d, w.now);
	discovery_on_tunnel_link(w.d, w.now);
	pass_ms(1);
	assert_int_equal(w.n_sent, 1);
	/* It restarts before it answered: asked again, and the late answer is nobody's. */
	discovery_on_tunnel_restart(w.d, w.now);
	discovery_on_tunnel_link(w.d, w.now);
	pass_ms(1);
	assert_int_equal(w.n_sent, 2);
	gossip_Answer a = greeted(1, 0);
	answer(&w.sent[0], &a);
	assert_int_equal(w.d->counters.answers_late, 1);
	assert_null(known(1));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_bootstrap_is_greeted_and_proven),
		T(who_answers_must_be_who_was_asked),
		T(the_key_that_answers_is_the_key_that_is_named),
		T(the_place_that_answers_is_the_place_that_is_named),
		T(a_masquerade_is_not_proven),
		T(halves_of_a_proof_are_completed),
		T(stale_news_are_dropped),
		T(a_client_passes_nothing_on),
		T(a_client_has_few_peers),
		T(news_are_passed_on_once_proven),
		T(hearsay_is_neither_served_nor_told),
		T(pages_walk_all_and_leave_out_what_is_had),
		T(a_client_answers_nothing),
		T(askers_are_rationed),
		T(a_session_introduces_few),
		cmocka_unit_test(pages_outside_of_the_question),
		T(a_peer_with_an_older_version_is_told),
		T(the_router_gets_a_snapshot_then_changes),
		T(trouble_is_said),
		T(a_tunnel_that_is_away_is_waited_for),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
