/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Our own descriptor: when there is one, what it says, its numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/discovery/core/own.h"

#define T0 1800000000

static const struct own_settings share_all = {true, true}, share_relay = {true, false},
				 share_none = {false, false};
static const struct own_terms terms = {
	.price_gwei_per_gib = {1, 2, 3}, .free_bytes = 9, .chain_id = 4, .payee = {5}};

static struct own_listening listening(void)
{
	return (struct own_listening){
		.wg_pk = {1}, .port = 51820, .relay = true, .exit4 = true, .policy_digest = {7}};
}

static struct moment at(int64_t s)
{
	return (struct moment){{(uint64_t)(s + 1) * 1000000000u}, {T0 + s}};
}

static struct own make(uint64_t seq)
{
	struct own_conf c = {.name = "n", .country = "XA", .test_network = true};
	uint8_t pk[32], seed[32] = {4};
	struct own o;

	assert_true(sodium_init() >= 0);
	crypto_sign_seed_keypair(pk, c.identity_sk, seed);
	assert_int_equal(net_addr_parse("198.18.0.1", &c.public4), OK);
	own_init(&o, &c, seq);
	return o;
}

static struct own complete(uint64_t seq, int64_t s)
{
	struct own o = make(seq);
	struct own_listening l = listening();

	own_on_settings(&o, at(s).mono, &share_all);
	own_on_listening(&o, at(s).mono, &l);
	own_on_terms(&o, at(s).mono, &terms);
	return o;
}

/* As the service does: store, then sign. Returns whether something was signed. */
static bool step(struct own *o, int64_t s)
{
	uint64_t seq = own_due(o, at(s));

	if (seq == 0)
		return false;
	assert_true(seq > o->seq);
	own_sign(o, at(s), seq, 0);
	return true;
}

static void says_what_it_is(void **state)
{
	struct own o = complete(0, 0);
	struct descriptor d;

	(void)state;
	assert_false(step(&o, 0)); /* lets it settle */
	assert_true(step(&o, 1));
	assert_int_equal(descriptor_accept(o.out_bytes, DESCRIPTOR_SIZE, at(1).wall, true, &d), OK);
	assert_int_equal(d.roles, DESCRIPTOR_RELAY | DESCRIPTOR_EXIT4);
	assert_int_equal(d.price_gwei_per_gib[HOP_EXIT], 3);
	assert_int_equal(d.ep4.port, 51820);
	assert_int_equal(d.ep6.addr.family, NET_NONE);
	assert_string_equal(d.country, "XA");
	assert_int_equal(d.policy_digest[0], 7);
	assert_int_equal(d.expires.s - d.not_before.s, DESCRIPTOR_LIFE_MAX_S);
	assert_int_equal(d.seq, T0 + 1);
	assert_false(step(&o, 2));
	/* No exit: no policy. */
	own_on_settings(&o, at(2).mono, &share_relay);
	assert_true(step(&o, 3));
	assert_int_equal(o.out.roles, DESCRIPTOR_RELAY);
	assert_int_equal(o.out.policy_digest[0], 0);
}

static void waits_for_what_it_lacks(void **state)
{
	struct own o = make(0);
	struct own_listening l = listening();

	(void)state;
	assert_null(own_lacks(&o)); /* not sharing lacks nothing */
	own_on_settings(&o, at(0).mono, &share_all);
	assert_non_null(strstr(own_lacks(&o), "tunnel"));
	l.relay = false;
	own_on_listening(&o, at(0).mono, &l);
	assert_non_null(strstr(own_lacks(&o), "no relaying"));
	l.relay = true;
	own_on_listening(&o, at(0).mono, &l);
	assert_non_null(strstr(own_lacks(&o), "ledger"));
	own_on_terms(&o, at(0).mono, &terms);
	assert_null(own_lacks(&o));
	o.conf.test_network = false; /* then a benchmark address is nobody's */
	assert_non_null(strstr(own_lacks(&o), "public4"));
	assert_false(step(&o, 10));
	o.conf.test_network = true;
	l.port = 0;
	own_on_listening(&o, at(10).mono, &l);
	assert_false(step(&o, 20));
	assert_non_null(strstr(own_lacks(&o), "port"));
}

/* [P-95] */
static void a_client_publishes_nothing(void **state)
{
	struct own o = complete(0, 0);

	(void)state;
	own_on_settings(&o, at(0).mono, &share_none);
	assert_false(step(&o, 5));
	assert_false(own_shares(&o));
	assert_false(own_retire(&o, at(6)));
	assert_int_equal(o.n_published, 0);
}

static void withdraws_with_a_tombstone(void **state)
{
	struct own o = complete(0, 0);
	uint64_t seq;

	(void)state;
	assert_true(step(&o, 1));
	seq = o.seq;
	own_on_settings(&o, at(2).mono, &share_none);
	assert_true(step(&o, 3));
	assert_false(o.is_out);
	assert_int_equal(o.out.expires.s, o.out.not_before.s);
	assert_int_equal(descriptor_verify(o.out_bytes), OK);
	assert_true(o.seq > seq);
	assert_false(step(&o, 4));
	own_on_settings(&o, at(5).mono, &share_all);
	assert_true(step(&o, 6));
	assert_true(o.is_out);
	assert_true(own_retire(&o, at(7)));
	assert_int_equal(o.out.expires.s, o.out.not_before.s);
}

static void renews_at_half_life(void **state)
{
	struct own o = complete(0, 0);

	(void)state;
	assert_true(step(&o, 1));
	assert_false(step(&o, OWN_RENEW_S));
	assert_true(mono_since(at(OWN_RENEW_S).mono, own_deadline(&o, at(OWN_RENEW_S))).ns > 0);
	assert_true(step(&o, 1 + OWN_RENEW_S));
	assert_int_equal(o.out.not_before.s, T0 + 1 + OWN_RENEW_S);
	/* A clock set back a day: what is out begins in the future of others, so it is signed anew.
	 */
	assert_true(step(&o, 1 + OWN_RENEW_S - 86400 + 10));
}

static void the_same_again_is_no_news(void **state)
{
	struct own o = complete(0, 0);
	struct own_listening l = listening();

	(void)state;
	assert_true(step(&o, 1));
	own_on_listening(&o, at(2).mono, &l);
	own_on_terms(&o, at(2).mono, &terms);
	own_on_settings(&o, at(2).mono, &share_all);
	assert_false(step(&o, 3));
	assert_false(o.changed);
}

static void numbers_never_go_back(void **state)
{
	struct own o = complete(T0 + 5000, 0); /* the file is ahead of the clock */

	(void)state;
	assert_true(step(&o, 1));
	assert_int_equal(o.seq, T0 + 5001);
	own_on_seq_seen(&o, at(2).mono, T0 + 4000); /* an old one of ours: known */
	assert_false(step(&o, 3));
	own_on_seq_seen(&o, at(4).mono, T0 + 9000); /* the file was lost */
	assert_true(step(&o, 5));
	assert_int_equal(o.seq, T0 + 9001);
	own_on_seq_seen(&o, at(6).mono, UINT64_MAX); /* no room above */
	assert_false(step(&o, 7));
	assert_int_equal(o.seq, T0 + 9001);
}

static void changes_are_paced(void **state)
{
	struct own o = complete(0, 0);
	struct own_terms t = terms;
	unsigned int n = 0;

	(void)state;
	for (int64_t s = 1; s <= 400; s++) {
		t.free_bytes++;
		own_on_terms(&o, at(s).mono, &t);
		n += step(&o, s);
	}
	assert_in_range(n, OWN_PUBLISH_BURST + 8, OWN_PUBLISH_BURST + 400 / 40);
	/* The last change does get out. */
	assert_true(step(&o, 450));
	assert_int_equal(o.out.free_bytes, t.free_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_what_it_is),
		cmocka_unit_test(waits_for_what_it_lacks),
		cmocka_unit_test(a_client_publishes_nothing),
		cmocka_unit_test(withdraws_with_a_tombstone),
		cmocka_unit_test(renews_at_half_life),
		cmocka_unit_test(the_same_again_is_no_news),
		cmocka_unit_test(numbers_never_go_back),
		cmocka_unit_test(changes_are_paced),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
