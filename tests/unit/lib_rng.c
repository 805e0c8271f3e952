/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/rng.h"

static const uint8_t seed[32] = {1, 2, 3};

static void same_seed_same_stream(void **state)
{
	struct rng a, b;
	uint8_t x[200], y[200];

	(void)state;
	rng_init(&a, seed);
	rng_init(&b, seed);
	rng_bytes(&a, x, 200);
	for (int i = 0; i < 200; i++)
		rng_bytes(&b, y + i, 1);
	assert_memory_equal(x, y, 200);
}

static void below_stays_below_and_reaches_all(void **state)
{
	struct rng r;
	unsigned int seen[7] = {0};

	(void)state;
	rng_init(&r, seed);
	for (int i = 0; i < 7000; i++) {
		uint64_t v = rng_below(&r, 7);
		assert_true(v < 7);
		seen[v]++;
	}
	for (int i = 0; i < 7; i++)
		assert_in_range(seen[i], 850, 1150);
}

static void unit_is_in_range(void **state)
{
	struct rng r;
	double sum = 0;

	(void)state;
	rng_init(&r, seed);
	for (int i = 0; i < 10000; i++) {
		double u = rng_unit(&r);
		assert_true(u >= 0 && u < 1);
		sum += u;
	}
	assert_true(sum > 4850 && sum < 5150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_seed_same_stream),
		cmocka_unit_test(below_stays_below_and_reaches_all),
		cmocka_unit_test(unit_is_in_range),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
