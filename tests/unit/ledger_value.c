/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/rng.h"
#include "services/ledger/core/value.h"
#include "tests/vectors/ledger_tickets.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static amount_t wei(const char *decimal)
{
	amount_t a = AMOUNT_ZERO;

	assert_int_equal(amount_parse_wei(decimal, &a), OK);
	return a;
}

static void expected_value_and_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(value_vectors); i++) {
		const struct value_vector *v = &value_vectors[i];
		amount_t e = value_expected(wei(v->face), v->ratio);
		uint64_t bytes = 77;

		assert_true(e.wei == wei(v->expected).wei);
		assert_int_equal(value_bytes(e, v->price_gwei, &bytes), OK);
		assert_true(bytes == v->bytes);
	}
}

static void smallest_ratio(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(ratio_vectors); i++) {
		const struct ratio_vector *v = &ratio_vectors[i];
		amount_t face = wei(v->face), expected = wei(v->expected);
		uint64_t ratio = 77;

		assert_int_equal(value_ratio(face, expected, &ratio), OK);
		assert_true(ratio == v->ratio);
		assert_true(value_expected(face, ratio).wei >= expected.wei);
		if (ratio > 0)
			assert_true(value_expected(face, ratio - 1).wei < expected.wei);
	}
}

static void value_of_bytes_is_the_least_that_buys_them(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(worth_vectors); i++) {
		const struct worth_vector *v = &worth_vectors[i];
		amount_t a = AMOUNT_ZERO;
		uint64_t bytes = 0;

		assert_int_equal(value_of_bytes(v->bytes, v->price_gwei, &a), OK);
		assert_true(a.wei == wei(v->value).wei);
		assert_int_equal(value_bytes(a, v->price_gwei, &bytes), OK);
		assert_true(bytes >= v->bytes);
		if (a.wei > 0) {
			a.wei--;
			assert_int_equal(value_bytes(a, v->price_gwei, &bytes), OK);
			assert_true(bytes < v->bytes || v->bytes == 0);
		}
	}
}

static void bounds(void **state)
{
	const amount_t max = {FACE_MAX_WEI}, over = {FACE_MAX_WEI + 1}, one = {1}, zero = {0};
	uint64_t n = 7;
	amount_t a = {7};

	(void)state;
	/* face */
	assert_int_equal(value_ratio(zero, one, &n), ERR_INVALID);
	assert_int_equal(value_ratio(one, zero, &n), ERR_INVALID);
	assert_int_equal(value_ratio(one, (amount_t){2}, &n), ERR_INVALID);
	assert_int_equal(value_ratio(over, one, &n), ERR_INVALID);
	assert_int_equal(n, 7); /* untouched on failure */
	assert_int_equal(value_ratio(max, one, &n), OK);
	assert_int_equal(value_ratio(max, max, &n), OK);
	assert_true(n == RATIO_CERTAIN);
	assert_true(value_expected(max, RATIO_CERTAIN).wei == max.wei);
	assert_true(value_expected(max, 0).wei == max.wei >> 64);
	/* price */
	assert_int_equal(value_bytes(one, 0, &n), ERR_INVALID);
	assert_int_equal(value_bytes(one, PRICE_MAX_GWEI + 1, &n), ERR_INVALID);
	assert_int_equal(value_bytes(one, PRICE_MAX_GWEI, &n), OK);
	assert_int_equal(value_of_bytes(1, 0, &a), ERR_INVALID);
	assert_int_equal(value_of_bytes(1, PRICE_MAX_GWEI + 1, &a), ERR_INVALID);
	assert_true(a.wei == 7);
	assert_int_equal(value_of_bytes(1, PRICE_MAX_GWEI, &a), OK);
	/* value and bytes: 2^96 wei at 1 gwei per GiB is more than 2^64 bytes */
	assert_int_equal(value_bytes(max, 1, &n), ERR_OVERFLOW);
	assert_int_equal(value_bytes(over, PRICE_MAX_GWEI, &n), ERR_OVERFLOW);
	assert_int_equal(value_bytes(max, PRICE_MAX_GWEI, &n), OK);
	assert_int_equal(value_of_bytes(UINT64_MAX, PRICE_MAX_GWEI, &a), ERR_OVERFLOW);
	/* just at the bound of 64 bits: 2^64 bytes cost 2^34 gwei at 1 gwei per GiB */
	assert_int_equal(value_bytes((amount_t){((unsigned __int128)1 << 34) * 1000000000u - 1}, 1, &n), OK);
	assert_int_equal(
		value_bytes((amount_t){((unsigned __int128)1 << 34) * 1000000000u}, 1, &n), ERR_OVERFLOW);
}

static void amounts_as_text(void **state)
{
	static const struct {
		const char *wei, *gwei;
	} table[] = {{"0", "0"}, {"1", "0.000000001"}, {"999999999", "0.999999999"},
		{"1000000000", "1"}, {"1500000000", "1.5"}, {"10000000000", "10"},
		{"340282366920938463463374607431768211455",
			"340282366920938463463374607431.768211455"}};
	char text[AMOUNT_TEXT_MAX];
	amount_t a;

	(void)state;
	for (size_t i = 0; i < N(table); i++) {
		assert_string_equal(amount_show_gwei(wei(table[i].wei), text), table[i].gwei);
		assert_string_equal(amount_show_wei(wei(table[i].wei), text), table[i].wei);
	}
	assert_int_equal(amount_parse_wei("340282366920938463463374607431768211456", &a), ERR_MALFORMED);
	assert_int_equal(amount_parse_wei("", &a), ERR_MALFORMED);
	assert_int_equal(amount_parse_wei("-1", &a), ERR_MALFORMED);
	assert_int_equal(amount_parse_wei("1 ", &a), ERR_MALFORMED);
}

static void amounts_as_bytes(void **state)
{
	uint8_t b[16];

	(void)state;
	amount_put(b, (amount_t){(unsigned __int128)1 << 64 | 2});
	assert_int_equal(b[7], 1);
	assert_int_equal(b[15], 2);
	assert_true(amount_get(b).wei == ((unsigned __int128)1 << 64 | 2));
}

/* What both sides live by: many small tickets never buy more than their sum, nor less than it by
 * more than a byte each. */
static void rounding_never_favours_the_payer(void **state)
{
	static const uint8_t seed[32] = "rounding";
	struct rng r;

	(void)state;
	rng_init(&r, seed);
	for (int round = 0; round < 200; round++) {
		uint64_t price = 1 + rng_below(&r, (uint64_t)1 << (1 + rng_below(&r, 40)));
		uint64_t bytes = 0, at_once = 0, n = 1 + rng_below(&r, 50);
		amount_t sum = AMOUNT_ZERO;

		for (uint64_t i = 0; i < n; i++) {
			amount_t face, e;
			uint64_t one;

			assert_int_equal(value_of_bytes(1 + rng_below(&r, 1 << 24), price, &face), OK);
			e = value_expected(face, rng_u64(&r));
			assert_true(e.wei <= face.wei);
			assert_int_equal(value_bytes(e, price, &one), OK);
			bytes += one;
			assert_int_equal(amount_add(&sum, e), OK);
		}
		assert_int_equal(value_bytes(sum, price, &at_once), OK);
		assert_true(bytes <= at_once && at_once - bytes <= n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(expected_value_and_bytes),
		cmocka_unit_test(smallest_ratio),
		cmocka_unit_test(value_of_bytes_is_the_least_that_buys_them),
		cmocka_unit_test(bounds),
		cmocka_unit_test(amounts_as_text),
		cmocka_unit_test(amounts_as_bytes),
		cmocka_unit_test(rounding_never_favours_the_payer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
