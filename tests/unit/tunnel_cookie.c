/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/cookie.h"
#include "tests/vectors/tunnel_handshake.h"

#define BYTES(text) ((const uint8_t *)(text))
#define AT_S(n) ((mono_t){(uint64_t)(n)*1000000000u})

static const struct net_endpoint source = {{NET_IP4, {192, 0, 2, 7}}, 51820};

static struct rng rng_giving(const char *a, size_t a_len, const char *b, size_t b_len)
{
	static const uint8_t seed[32] = {9};
	struct rng r;

	rng_init(&r, seed);
	r.n_used = (unsigned int)(sizeof(r.buf) - a_len - b_len);
	memcpy(r.buf + r.n_used, a, a_len);
	memcpy(r.buf + r.n_used + a_len, b, b_len);
	return r;
}

struct fixture {
	const struct vector *v;
	struct noise_identity i_id, r_id;
	struct noise_remote remote;
	struct cookie_checker checker;
	struct cookie_jar jar;
	struct rng rng;
	uint8_t m1[WG_INITIATION_SIZE];
	struct wg_cookie reply;
};

static void setup(struct fixture *f, size_t n)
{
	const struct vector *v = &vectors[n];

	*f = (struct fixture){.v = v};
	noise_identity_init(&f->i_id, BYTES(v->i_sk));
	noise_identity_init(&f->r_id, BYTES(v->r_sk));
	assert_int_equal(noise_remote_init(&f->remote, &f->i_id, BYTES(v->r_pk), NULL), OK);
	cookie_checker_init(&f->checker, &f->r_id);
	f->rng = rng_giving(v->cookie_secret, 32, v->cookie_nonce, 24);
	memcpy(f->m1, v->m1, sizeof(f->m1));
	cookie_macs_put(&f->jar, &f->remote, f->m1, sizeof(f->m1), AT_S(1));
}

static enum cookie_verdict check(
	struct fixture *f, const struct net_endpoint *from, bool load, int at_s)
{
	return cookie_check(&f->checker, f->m1, sizeof(f->m1), from, load, AT_S(at_s));
}

static void reply(struct fixture *f, int at_s)
{
	cookie_reply_create(
		&f->checker, f->m1, sizeof(f->m1), &source, &f->rng, AT_S(at_s), &f->reply);
}

static void whole_exchange_as_the_vectors(void **state)
{
	(void)state;
	for (size_t c = 0; c < sizeof(vectors) / sizeof(vectors[0]); c++) {
		struct fixture f;

		setup(&f, c);
		assert_memory_equal(f.m1, f.v->m1, sizeof(f.m1));
		assert_int_equal(check(&f, &source, true, 1), COOKIE_MAC1);
		reply(&f, 1);
		assert_memory_equal(&f.reply, f.v->m3, sizeof(f.reply));
		assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), OK);
		cookie_macs_put(&f.jar, &f.remote, f.m1, sizeof(f.m1), AT_S(2));
		assert_memory_equal(f.m1, f.v->m1_mac2, sizeof(f.m1));
		assert_int_equal(check(&f, &source, true, 2), COOKIE_MAC2);
		assert_int_equal(check(&f, &source, false, 2), COOKIE_MAC1);
	}
}

static void mac1_covers_every_bit(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	for (size_t bit = 0; bit < (WG_INITIATION_SIZE - WG_MAC_SIZE) * 8; bit++) {
		f.m1[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(check(&f, &source, false, 1), COOKIE_BAD);
		f.m1[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	assert_int_equal(check(&f, &source, false, 1), COOKIE_MAC1);
}

static void cookie_is_for_one_source(void **state)
{
	struct net_endpoint other_port = source, other_ip = source;
	struct fixture f;

	(void)state;
	other_port.port++;
	other_ip.addr.ip[3]++;
	setup(&f, 0);
	reply(&f, 1);
	assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), OK);
	cookie_macs_put(&f.jar, &f.remote, f.m1, sizeof(f.m1), AT_S(1));
	assert_int_equal(check(&f, &source, true, 1), COOKIE_MAC2);
	assert_int_equal(check(&f, &other_port, true, 1), COOKIE_MAC1);
	assert_int_equal(check(&f, &other_ip, true, 1), COOKIE_MAC1);
}

static void cookies_and_secrets_age(void **state)
{
	struct fixture f;

	(void)state;
	setup(&f, 0);
	reply(&f, 1);
	assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), OK);
	cookie_macs_put(&f.jar, &f.remote, f.m1, sizeof(f.m1), AT_S(115));
	assert_int_equal(check(&f, &source, true, 120), COOKIE_MAC2);
	assert_int_equal(check(&f, &source, true, 121), COOKIE_MAC1);	   /* the secret died */
	cookie_macs_put(&f.jar, &f.remote, f.m1, sizeof(f.m1), AT_S(116)); /* and the cookie */
	assert_memory_equal(f.m1 + WG_INITIATION_SIZE - WG_MAC_SIZE,
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", WG_MAC_SIZE);
	reply(&f, 121);
	assert_memory_not_equal(f.checker.secret_key, f.v->cookie_secret, HASH_SIZE);
}

static void reply_answers_our_last_message_once(void **state)
{
	struct cookie_jar jar = {0};
	struct fixture f;

	(void)state;
	setup(&f, 0);
	reply(&f, 1);
	assert_int_equal(cookie_reply_accept(&jar, &f.remote, &f.reply, AT_S(1)),
		ERR_DENIED); /* sent none */
	f.reply.enc_cookie[3] ^= 1;
	assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), ERR_DENIED);
	f.reply.enc_cookie[3] ^= 1;
	assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), OK);
	assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), ERR_DENIED);
	f.m1[20] ^= 1; /* another message of ours since */
	cookie_macs_put(&f.jar, &f.remote, f.m1, sizeof(f.m1), AT_S(1));
	assert_int_equal(cookie_reply_accept(&f.jar, &f.remote, &f.reply, AT_S(1)), ERR_DENIED);
}

/* --- token buckets --------------------------------------------------------------------------- */
static struct net_addr ip4(uint32_t n)
{
	struct net_addr a = {.family = NET_IP4};

	be32_put(a.ip, n);
	return a;
}

static void rate_burst_then_steady(void **state)
{
	struct rate_slot slots[RATE_WAYS * 4];
	struct rng rng = rng_giving("", 0, "", 0);
	struct net_addr a = ip4(0xc0000201), b = ip4(0xc0000202);
	struct rate_table t;
	int n = 0;

	(void)state;
	rate_table_init(&t, slots, RATE_WAYS * 4, &rng);
	for (int i = 0; i < 100; i++)
		n += rate_admit(&t, &a, AT_S(1));
	assert_int_equal(n, RATE_BURST);
	assert_true(rate_admit(&t, &b, AT_S(1)));
	n = 0;
	for (int ms = 1; ms <= 10000; ms++)
		n += rate_admit(&t, &a, (mono_t){1000000000u + (uint64_t)ms * 1000000u});
	assert_in_range(n, 10 * RATE_PER_S - 1, 10 * RATE_PER_S + 1);
	assert_false(rate_admit(&t, &a, (mono_t){0})); /* a clock that steps back grants nothing */
}

static void rate_ip6_counts_by_64(void **state)
{
	struct rate_slot slots[RATE_WAYS];
	struct rng rng = rng_giving("", 0, "", 0);
	struct net_addr a = {NET_IP6, {0x20, 1, 0xd, 0xb8}};
	struct rate_table t;
	int n = 0;

	(void)state;
	rate_table_init(&t, slots, RATE_WAYS, &rng);
	for (int i = 0; i < 100; i++) {
		a.ip[15] = (uint8_t)i;
		n += rate_admit(&t, &a, AT_S(1));
	}
	assert_int_equal(n, RATE_BURST);
	a.ip[7] = 1;
	assert_true(rate_admit(&t, &a, AT_S(1)));
}

/* A flood from many sources does not free the heavy one of its limit while quieter slots are there.
 */
static void rate_table_is_bounded_and_keeps_the_worst(void **state)
{
	struct rate_slot slots[RATE_WAYS * 16];
	struct rng rng = rng_giving("", 0, "", 0);
	struct net_addr bad = ip4(1);
	struct rate_table t;
	int n = 0;

	(void)state;
	rate_table_init(&t, slots, RATE_WAYS * 16, &rng);
	for (int i = 0; i < 50; i++)
		n += rate_admit(&t, &bad, AT_S(1));
	for (uint32_t i = 2; i < 100000; i++) {
		struct net_addr a = ip4(i);

		rate_admit(&t, &a, AT_S(1));
		if (i % 100 == 0)
			n += rate_admit(&t, &bad, AT_S(1));
	}
	assert_int_equal(n, RATE_BURST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_exchange_as_the_vectors),
		cmocka_unit_test(mac1_covers_every_bit),
		cmocka_unit_test(cookie_is_for_one_source),
		cmocka_unit_test(cookies_and_secrets_age),
		cmocka_unit_test(reply_answers_our_last_message_once),
		cmocka_unit_test(rate_burst_then_steady),
		cmocka_unit_test(rate_ip6_counts_by_64),
		cmocka_unit_test(rate_table_is_bounded_and_keeps_the_worst),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
