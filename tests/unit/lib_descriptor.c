/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "lib/descriptor.h"

#define NOW ((wall_t){1800000000})

static uint8_t sk[64];

static struct descriptor sample(void)
{
	static const uint8_t seed[32] = {7};
	struct descriptor d = {.roles = DESCRIPTOR_RELAY | DESCRIPTOR_EXIT4,
		.country = "CH",
		.name = "alpha",
		.price_gwei_per_gib = {1, 2, 3},
		.free_bytes = 1 << 20,
		.seq = 9,
		.not_before = {NOW.s - 10},
		.expires = {NOW.s + 3600}};

	crypto_sign_seed_keypair(d.node_id, sk, seed);
	memset(d.wg_pk, 5, 32);
	assert_int_equal(net_endpoint_parse("203.0.113.7:51820", &d.ep4), OK);
	assert_int_equal(net_endpoint_parse("[2001:db8::7]:51821", &d.ep6), OK);
	return d;
}

static void round_trip(void **state)
{
	struct descriptor d = sample(), got;
	uint8_t b[DESCRIPTOR_SIZE], again[DESCRIPTOR_SIZE];

	(void)state;
	assert_int_equal(descriptor_sign(&d, sk, b), OK);
	assert_int_equal(descriptor_accept(b, sizeof(b), NOW, true, &got), OK); /* [P-20] */
	assert_string_equal(got.name, "alpha");
	assert_true(net_endpoint_eq(&got.ep6, &d.ep6));
	assert_int_equal(descriptor_sign(&got, sk, again), OK);
	assert_memory_equal(b, again, sizeof(b));
}

/* [P-21]: any changed bit makes it another or none; nothing decodes to the same but the same. */
static void every_bit_counts(void **state)
{
	struct descriptor d = sample(), got;
	uint8_t b[DESCRIPTOR_SIZE];

	(void)state;
	assert_int_equal(descriptor_sign(&d, sk, b), OK);
	for (size_t bit = 0; bit < 8 * sizeof(b); bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_not_equal(descriptor_accept(b, sizeof(b), NOW, true, &got), OK);
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t len = 0; len < sizeof(b); len++)
		assert_int_equal(descriptor_decode(b, len, &got), ERR_MALFORMED);
}

static void forms_refused(void **state)
{
	struct descriptor d = sample(), got;
	uint8_t b[DESCRIPTOR_SIZE];

	(void)state;
	assert_int_equal(descriptor_sign(&d, sk, b), OK);
	b[70] = 0; /* still an address */
	assert_int_equal(descriptor_decode(b, sizeof(b), &got), OK);
	b[250] = 1; /* reserved */
	assert_int_equal(descriptor_decode(b, sizeof(b), &got), ERR_MALFORMED);
	d.name[0] = '\n';
	assert_int_equal(descriptor_sign(&d, sk, b), ERR_INVALID);
	d = sample();
	d.country[0] = 'c';
	assert_int_equal(descriptor_sign(&d, sk, b), ERR_INVALID);
	d = sample();
	d.node_id[0] ^= 1;
	assert_int_equal(descriptor_sign(&d, sk, b), ERR_INVALID);
}

static void validity_window(void **state)
{
	struct descriptor d = sample();

	(void)state;
	assert_int_equal(descriptor_valid_at(&d, NOW, true), OK);
	assert_int_equal(descriptor_valid_at(&d, NOW, false), ERR_DENIED); /* [P-23] */
	assert_int_equal(descriptor_valid_at(&d, d.expires, true), ERR_STALE); /* [P-22] */
	assert_int_equal(descriptor_valid_at(&d, (wall_t){d.expires.s - 1}, true), OK);
	assert_int_equal(
		descriptor_valid_at(&d, (wall_t){d.not_before.s - DESCRIPTOR_SKEW_S}, true), OK);
	assert_int_equal(descriptor_valid_at(&d, (wall_t){d.not_before.s - DESCRIPTOR_SKEW_S - 1}, true),
		ERR_STALE);
	d.expires.s = d.not_before.s + DESCRIPTOR_LIFE_MAX_S;
	assert_int_equal(descriptor_valid_at(&d, NOW, true), OK);
	d.expires.s++;
	assert_int_equal(descriptor_valid_at(&d, NOW, true), ERR_STALE);
	d = sample();
	d.ep4 = d.ep6 = (struct net_endpoint){0};
	assert_int_equal(descriptor_valid_at(&d, NOW, true), ERR_DENIED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(every_bit_counts),
		cmocka_unit_test(forms_refused),
		cmocka_unit_test(validity_window),
	};
	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
