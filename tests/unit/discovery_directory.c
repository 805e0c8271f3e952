/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The accept rule, its bounds, and how records come and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/discovery/core/directory.h"

#define ROOM 3000
#define T0 1800000000

static struct {
	struct directory dir;
	struct relays_storage storage;
	struct rng rng;
	struct moment now;
	unsigned int n_news, n_lost, n_equivocated;
} w;

static const struct source asked_a = {10, true}, asked_b = {11, true},
			   pushed = {INTRODUCER_STRANGERS, false};

static void on_news(void *ctx, const struct relay *r)
{
	(void)ctx;
	(void)r;
	w.n_news++;
}

static void on_lost(void *ctx, struct relay *r)
{
	(void)ctx;
	(void)r;
	w.n_lost++;
}

static void on_equivocated(void *ctx, const struct ban *b)
{
	(void)ctx;
	assert_non_null(b);
	w.n_equivocated++;
}

static int setup(void **state)
{
	const struct directory_watch watch = {NULL, on_news, on_lost, on_equivocated};
	const uint8_t seed[32] = {3};
	struct directory_conf conf = {.near_max = 3, .test_network = true};

	(void)state;
	memset(&w, 0, sizeof(w));
	w.storage = (struct relays_storage){calloc(ROOM, sizeof(struct relay)),
		calloc(ROOM, sizeof(struct relay_mark)), calloc(ROOM, sizeof(uint32_t)), ROOM};
	rng_init(&w.rng, seed);
	memset(conf.self_id, 0xee, 32);
	directory_init(&w.dir, &conf, &w.storage, &w.rng, &watch);
	w.dir.client = false;
	w.now = (struct moment){{1000000000}, {T0}};
	return sodium_init() < 0;
}

static int teardown(void **state)
{
	(void)state;
	free(w.storage.slots);
	free(w.storage.marks);
	free(w.storage.order);
	return 0;
}

static void pass(int64_t s)
{
	w.now.mono = mono_add(w.now.mono, DUR_S(s));
	w.now.wall.s += s;
}

/* Node k, in a /24 of its own. */
static struct descriptor node(unsigned int k)
{
	uint8_t seed[32] = {(uint8_t)k, (uint8_t)(k >> 8), 1}, sk[64];
	struct descriptor d = {
		.roles = DESCRIPTOR_RELAY, .seq = 100, .not_before = {T0}, .expires = {T0 + 3600}};

	crypto_sign_seed_keypair(d.node_id, sk, seed);
	memcpy(d.wg_pk, seed, 32);
	d.ep4 = (struct net_endpoint){
		{NET_IP4, {198, 18 + (uint8_t)(k >> 8) % 2, (uint8_t)k, 1}}, 51820};
	return d;
}

static const uint8_t *signed_by(unsigned int k, const struct descriptor *d)
{
	static uint8_t bytes[4][DESCRIPTOR_SIZE];
	static unsigned int turn;
	uint8_t seed[32] = {(uint8_t)k, (uint8_t)(k >> 8), 1}, pk[32], sk[64];

	turn = (turn + 1) % 4;
	crypto_sign_seed_keypair(pk, sk, seed);
	assert_int_equal(descriptor_sign(d, sk, bytes[turn]), OK);
	return bytes[turn];
}

static enum verdict offer(const uint8_t *bytes, struct source from)
{
	struct relay *r;

	return directory_offer(&w.dir, w.now, bytes, DESCRIPTOR_SIZE, from, &r);
}

static enum verdict offer_node(unsigned int k, const struct descriptor *d, struct source from)
{
	return offer(signed_by(k, d), from);
}

static struct relay *proven(unsigned int k)
{
	struct descriptor d = node(k);
	struct relay *r;

	assert_int_equal(offer_node(k, &d, asked_a), VERDICT_NEW);
	r = relays_find(&w.dir.relays, d.node_id);
	assert_non_null(r);
	assert_true(directory_answered(&w.dir, w.now, r));
	return r;
}

/* ---- dates, forms, signatures [P-90] ---- */

static void dates_at_their_bounds(void **state)
{
	static const struct {
		const char *what;
		int64_t from, until;
		enum verdict verdict;
	} cases[] = {
		{"ends now", -100, 0, VERDICT_REFUSED},
		{"ends in a second", -100, 1, VERDICT_NEW},
		{"begins as far ahead as clocks differ", DESCRIPTOR_SKEW_S, 4000, VERDICT_NEW},
		{"begins a second later", DESCRIPTOR_SKEW_S + 1, 4000, VERDICT_REFUSED},
		{"lives as long as it may", 0, DESCRIPTOR_LIFE_MAX_S, VERDICT_NEW},
		{"lives a second longer", 0, DESCRIPTOR_LIFE_MAX_S + 1, VERDICT_REFUSED},
	};

	(void)state;
	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct descriptor d = node(i);

		d.not_before.s = T0 + cases[i].from;
		d.expires.s = T0 + cases[i].until;
		if (offer_node(i, &d, asked_a) != cases[i].verdict)
			fail_msg("%s", cases[i].what);
	}
	assert_int_equal(w.dir.counters.refused[REFUSED_DATE], 3);
}

static void forms_and_signatures(void **state)
{
	struct descriptor d = node(1);
	uint8_t b[DESCRIPTOR_SIZE];
	struct relay *r;

	(void)state;
	memcpy(b, signed_by(1, &d), sizeof(b));
	assert_int_equal(
		directory_offer(&w.dir, w.now, b, sizeof(b) - 1, asked_a, &r), VERDICT_REFUSED);
	assert_int_equal(w.dir.counters.refused[REFUSED_MALFORMED], 1);
	/* Every byte counts: no bit of a descriptor may be changed. */
	for (unsigned int i = 0; i < DESCRIPTOR_SIZE; i++) {
		b[i] ^= 0x40;
		assert_int_equal(
			directory_offer(&w.dir, w.now, b, sizeof(b), asked_a, &r), VERDICT_REFUSED);
		b[i] ^= 0x40;
	}
	assert_int_equal(w.dir.relays.n, 0);
	d.ep4.addr.ip[0] = 10;
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_REFUSED);
	assert_true(w.dir.counters.refused[REFUSED_ADDRESS] > 0);
	memset(w.dir.own_wg_pk, 7, 32);
	d = node(1);
	memset(d.wg_pk, 7, 32);
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_REFUSED);
	assert_int_equal(w.dir.counters.refused[REFUSED_OWN_KEY], 1);
}

/* ---- proof ---- */

static void a_relay_believes_only_the_node_itself(void **state)
{
	struct descriptor d = node(1);
	struct relay *r;

	(void)state;
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_NEW);
	assert_int_equal(offer_node(1, &d, asked_b), VERDICT_SAME);
	r = relays_find(&w.dir.relays, d.node_id);
	assert_int_equal(r->state, RELAY_HEARD);
	assert_int_equal(w.n_news, 0);
	assert_true(directory_answered(&w.dir, w.now, r));
	assert_int_equal(r->state, RELAY_PROVEN);
	assert_int_equal(w.n_news, 1);
}

static void a_client_believes_two_peers(void **state)
{
	struct descriptor d = node(1);
	struct relay *r;

	(void)state;
	w.dir.client = true;
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_NEW);
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_SAME); /* the same voice twice */
	r = relays_find(&w.dir.relays, d.node_id);
	assert_int_equal(r->state, RELAY_HEARD);
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_SAME);
	assert_int_equal(r->state, RELAY_HEARD);
	assert_int_equal(offer_node(1, &d, asked_b), VERDICT_SAME);
	assert_int_equal(r->state, RELAY_PROVEN);
}

static void one_key_one_node(void **state)
{
	struct relay *holder = proven(1);
	struct descriptor d = node(2);
	struct relay *r;

	(void)state;
	memcpy(d.wg_pk, holder->d.wg_pk, 32);
	assert_int_equal(offer_node(2, &d, asked_a), VERDICT_NEW);
	r = relays_find(&w.dir.relays, d.node_id);
	assert_false(directory_answered(&w.dir, w.now, r));
	assert_int_equal(r->state, RELAY_HEARD);
	/* The holder is asked again; when it no longer is who it was, the other may have the key.
	 */
	assert_true(holder->n_failed > 0);
	directory_disproved(&w.dir, w.now, holder);
	assert_int_equal(holder->state, RELAY_HEARD);
	assert_int_equal(w.n_lost, 1);
	assert_true(directory_answered(&w.dir, w.now, r));
}

static void silence_demotes_unless_all_are_silent(void **state)
{
	struct relay *r = proven(1), *other = proven(2);

	(void)state;
	/* our own network is down: nobody's fault */
	pass(61);
	for (int i = 0; i < 5; i++)
		directory_unanswered(&w.dir, w.now, r);
	assert_int_equal(r->state, RELAY_PROVEN);
	assert_int_equal(r->n_failed, 0);
	for (int i = 0; i < FAILED_MAX; i++) {
		assert_int_equal(r->state, RELAY_PROVEN);
		assert_true(directory_answered(&w.dir, w.now, other));
		directory_unanswered(&w.dir, w.now, r);
		directory_unanswered(&w.dir, w.now, r); /* two questions, one silence */
		w.now.mono = r->next_try;
	}
	assert_int_equal(r->state, RELAY_HEARD);
	assert_int_equal(w.n_lost, 1);
	for (int i = FAILED_MAX; i <= GIVEN_UP_MAX; i++) {
		assert_int_equal(w.dir.relays.n, 2);
		assert_true(directory_answered(&w.dir, w.now, other));
		directory_unanswered(&w.dir, w.now, r);
		w.now.mono = r->next_try;
	}
	assert_int_equal(w.dir.relays.n, 1);
	assert_int_equal(w.dir.counters.given_up, 1);
}

/* ---- versions ---- */

static void newer_older_same(void **state)
{
	struct relay *r = proven(1);
	struct descriptor d = node(1);

	(void)state;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_SAME);
	d.seq = 99;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_OLDER);
	d.seq = 101;
	d.free_bytes = 5;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_NEWER);
	assert_int_equal(r->state, RELAY_PROVEN); /* same key, same place */
	assert_int_equal(r->d.free_bytes, 5);
	assert_int_equal(w.n_news, 2);
	d.seq = 102;
	d.ep4.port = 1;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_MOVED);
	assert_int_equal(r->state, RELAY_HEARD);
	assert_int_equal(r->answered_at.ns, 0);
	assert_int_equal(w.n_lost, 1);
}

static void versions_are_rationed(void **state)
{
	struct descriptor d = node(1);
	unsigned int taken = 0;

	(void)state;
	(void)proven(1);
	for (unsigned int i = 0; i < 100; i++) {
		d.seq++;
		taken += offer_node(1, &d, pushed) == VERDICT_NEWER;
	}
	assert_int_equal(taken, UPDATE_BURST);
	pass(30);
	d.seq++;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_NEWER);
	d.seq++;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_REFUSED);
}

/* [P-94] */
static void tombstones(void **state)
{
	struct relay *r = proven(1);
	struct descriptor d = node(1), unknown = node(2);

	(void)state;
	unknown.expires = unknown.not_before;
	assert_int_equal(offer_node(2, &unknown, pushed), VERDICT_REFUSED);
	assert_int_equal(w.dir.relays.n, 1);
	d.expires = d.not_before;
	d.seq = 99;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_OLDER);
	d.seq = 101;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_GONE);
	assert_int_equal(r->state, RELAY_GONE);
	assert_int_equal(w.n_lost, 1);
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_SAME);
	/* What it revoked stays out, what comes after it has to be proven anew. */
	d = node(1);
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_OLDER);
	d.seq = 102;
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_MOVED);
	assert_int_equal(r->state, RELAY_HEARD);
	/* A tombstone of what was only heard leaves nothing behind. */
	d.seq = 103;
	d.expires = d.not_before;
	assert_int_equal(offer_node(1, &d, asked_a), VERDICT_GONE);
	assert_int_equal(w.dir.relays.n, 0);
}

static void a_tombstone_lasts_as_long_as_it_must(void **state)
{
	struct descriptor d = node(1);

	(void)state;
	(void)proven(1);
	d.seq = 101;
	d.expires = d.not_before;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_GONE);
	pass(DESCRIPTOR_LIFE_MAX_S + DESCRIPTOR_SKEW_S - 1);
	directory_expire(&w.dir, w.now);
	assert_int_equal(w.dir.relays.n, 1);
	pass(1);
	directory_expire(&w.dir, w.now);
	assert_int_equal(w.dir.relays.n, 0);
}

static void records_run_out(void **state)
{
	(void)state;
	(void)proven(1);
	pass(3599);
	directory_expire(&w.dir, w.now);
	assert_int_equal(w.dir.relays.n, 1);
	pass(1);
	directory_expire(&w.dir, w.now);
	assert_int_equal(w.dir.relays.n, 0);
	assert_int_equal(w.n_lost, 1);
}

/* [P-93] */
static void equivocation_is_proven_and_banned(void **state)
{
	struct descriptor d = node(1), twin = node(1);
	uint8_t a[DESCRIPTOR_SIZE], b[DESCRIPTOR_SIZE];
	const struct ban *ban;

	(void)state;
	(void)proven(1);
	twin.free_bytes = 1;
	memcpy(a, signed_by(1, &d), sizeof(a));
	memcpy(b, signed_by(1, &twin), sizeof(b));
	b[300] ^= 1; /* not signed by the node: no proof of anything */
	assert_int_equal(offer(b, pushed), VERDICT_REFUSED);
	b[300] ^= 1;
	assert_int_equal(offer(b, pushed), VERDICT_CONFLICT);
	assert_int_equal(w.dir.relays.n, 0);
	assert_int_equal(w.n_lost, 1);
	assert_int_equal(w.n_equivocated, 1);
	ban = bans_find(&w.dir.bans, d.node_id, w.now.mono);
	assert_memory_equal(ban->proof[0], a, sizeof(a));
	assert_memory_equal(ban->proof[1], b, sizeof(b));
	d.seq = 200;
	d.expires.s = T0 + DESCRIPTOR_LIFE_MAX_S;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_REFUSED);
	assert_int_equal(w.dir.counters.refused[REFUSED_BANNED], 1);
	pass(24 * 3600);
	d.seq = 300;
	d.not_before = w.now.wall;
	d.expires.s = w.now.wall.s + 10;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_NEW);
	/* Of a node that is only heard it is no news. */
	d.free_bytes ^= 1;
	assert_int_equal(offer_node(1, &d, pushed), VERDICT_CONFLICT);
	assert_int_equal(w.n_equivocated, 1);
}

static void our_own_number_is_noticed(void **state)
{
	struct descriptor d = node(1);
	uint8_t b[DESCRIPTOR_SIZE];

	(void)state;
	memcpy(w.dir.conf.self_id, d.node_id, 32);
	d.seq = 555;
	memcpy(b, signed_by(1, &d), sizeof(b));
	assert_int_equal(offer(b, pushed), VERDICT_OWN);
	assert_int_equal(w.dir.own_seq_seen, 555);
	b[300] ^= 1;
	assert_int_equal(offer(b, pushed), VERDICT_REFUSED);
	assert_int_equal(w.dir.relays.n, 0);
	d.seq = 556;
	memcpy(b, signed_by(1, &d), sizeof(b));
	directory_publish(&w.dir, &d, b);
	assert_int_equal(offer(b, pushed), VERDICT_SAME);
}

/* ---- bounds ---- */

static struct descriptor near(unsigned int k)
{
	struct descriptor d = node(k);

	d.ep4.addr.ip[2] = 7;
	d.ep4.addr.ip[3] = (uint8_t)k;
	return d;
}

static void few_in_one_prefix(void **state)
{
	(void)state;
	for (unsigned int k = 1; k <= 3; k++) {
		struct descriptor d = near(k);

		assert_int_equal(offer_node(k, &d, asked_a), VERDICT_NEW);
	}
	struct descriptor d4 = near(4), d5 = near(5);
	struct relay *first = relays_find(&w.dir.relays, near(1).node_id);

	/* Full for this introducer, not for another. */
	assert_int_equal(offer_node(4, &d4, asked_a), VERDICT_REFUSED);
	assert_int_equal(w.dir.counters.refused[REFUSED_NEAR], 1);
	assert_int_equal(offer_node(4, &d4, asked_b), VERDICT_NEW);
	/* One that does not answer makes room. */
	w.dir.answered_at = w.now.mono;
	directory_unanswered(&w.dir, w.now, first);
	assert_int_equal(offer_node(5, &d5, asked_a), VERDICT_NEW);
	assert_null(relays_find(&w.dir.relays, near(1).node_id));
	/* Proven ones are bounded whoever introduced them. */
	unsigned int n = 0;
	for (unsigned int k = 2; k <= 5; k++)
		n += directory_answered(&w.dir, w.now, relays_find(&w.dir.relays, near(k).node_id));
	assert_int_equal(n, 3);
}

static void an_introducer_has_a_share(void **state)
{
	unsigned int taken = 0;

	(void)state;
	w.dir.conf.near_max = ROOM;
	for (unsigned int k = 0; k < HEARD_SHARE_RELAY + 10; k++) {
		struct descriptor d = node(k);

		taken += offer_node(k, &d, asked_a) == VERDICT_NEW;
	}
	assert_int_equal(taken, HEARD_SHARE_RELAY);
	assert_int_equal(w.dir.counters.refused[REFUSED_FULL], 10);
	/* Of another peer, one more is taken. */
	struct descriptor d = node(HEARD_SHARE_RELAY + 20);
	assert_int_equal(offer_node(HEARD_SHARE_RELAY + 20, &d, asked_b), VERDICT_NEW);
}

static void strangers_displace_each_other(void **state)
{
	unsigned int n_asked = 0;

	(void)state;
	w.dir.conf.near_max = ROOM;
	for (unsigned int k = 0; k < HEARD_SHARE_RELAY + 50; k++) {
		struct descriptor d = node(k);

		pass(k % 50 == 0);
		d.expires.s = T0 + 7200;
		assert_int_equal(offer_node(k, &d, pushed), VERDICT_NEW);
	}
	n_asked = w.dir.relays.n;
	assert_int_equal(n_asked, HEARD_SHARE_RELAY);
	assert_int_equal(w.dir.counters.evicted, 50);
}

static void strangers_cost_few_signatures(void **state)
{
	unsigned int taken = 0;

	(void)state;
	w.dir.conf.near_max = ROOM;
	for (unsigned int k = 0; k < VERIFY_BURST_STRANGERS + 20; k++) {
		struct descriptor d = node(k);

		taken += offer_node(k, &d, pushed) == VERDICT_NEW;
	}
	assert_int_equal(taken, VERIFY_BURST_STRANGERS);
	assert_int_equal(w.dir.counters.refused[REFUSED_BUDGET], 20);
	struct descriptor d = node(2000);
	assert_int_equal(
		offer_node(2000, &d, asked_a), VERDICT_NEW); /* what we asked for has its own */
}

/* A full table: who brought most gives way, proven relays never. */
static void a_full_table(void **state)
{
	(void)state;
	w.dir.conf.near_max = ROOM;
	w.dir.client = true;
	w.dir.relays.room = 100;
	for (unsigned int k = 0; k < 20; k++)
		(void)proven(k);
	for (unsigned int k = 20; k < 100; k++) {
		struct descriptor d = node(k);
		const struct source from = {20 + k / 20, true}; /* 20 each */

		assert_int_equal(offer_node(k, &d, from), VERDICT_NEW);
	}
	for (unsigned int k = 100; k < 110; k++) {
		struct descriptor d = node(k);

		assert_int_equal(offer_node(k, &d, asked_b), VERDICT_NEW);
	}
	assert_int_equal(w.dir.relays.n, 100);
	assert_int_equal(w.dir.relays.n_state[RELAY_PROVEN], 20);
	assert_int_equal(w.n_lost, 0);
}

static void memory_is_checked(void **state)
{
	struct descriptor d = node(1), old = node(2), forged = node(3);
	uint8_t b[DESCRIPTOR_SIZE];

	(void)state;
	old.expires.s = T0 - 1;
	old.not_before.s = T0 - 10;
	memcpy(b, signed_by(3, &forged), sizeof(b));
	b[270] ^= 1;
	directory_remember(&w.dir, w.now, signed_by(1, &d), DESCRIPTOR_SIZE, true);
	directory_remember(&w.dir, w.now, signed_by(2, &old), DESCRIPTOR_SIZE, true);
	directory_remember(&w.dir, w.now, b, DESCRIPTOR_SIZE, true);
	d = node(4);
	directory_remember(&w.dir, w.now, signed_by(4, &d), DESCRIPTOR_SIZE, false);
	assert_int_equal(w.dir.relays.n_state[RELAY_PROVEN], 1);
	assert_int_equal(w.dir.relays.n_state[RELAY_HEARD], 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(dates_at_their_bounds),
		T(forms_and_signatures),
		T(a_relay_believes_only_the_node_itself),
		T(a_client_believes_two_peers),
		T(one_key_one_node),
		T(silence_demotes_unless_all_are_silent),
		T(newer_older_same),
		T(versions_are_rationed),
		T(tombstones),
		T(a_tombstone_lasts_as_long_as_it_must),
		T(records_run_out),
		T(equivocation_is_proven_and_banned),
		T(our_own_number_is_noticed),
		T(few_in_one_prefix),
		T(an_introducer_has_a_share),
		T(strangers_displace_each_other),
		T(strangers_cost_few_signatures),
		T(a_full_table),
		T(memory_is_checked),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
