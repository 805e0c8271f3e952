/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/indices.h"

static void found_until_removed(void **state)
{
	struct indices_entry e[16];
	struct indices t;

	(void)state;
	indices_init(&t, e, 16, 2);
	assert_int_equal(indices_find(&t, 5), INDICES_NONE);
	assert_int_equal(indices_add(&t, 5, 77), OK);
	assert_int_equal(indices_add(&t, 5, 78), ERR_INVALID);
	assert_int_equal(indices_find(&t, 5), 77);
	indices_remove(&t, 5);
	indices_remove(&t, 5);
	assert_int_equal(indices_find(&t, 5), INDICES_NONE);
	assert_int_equal(t.n, 0);
}

static void half_full_is_full(void **state)
{
	struct indices_entry e[16], more[32];
	struct indices t;

	(void)state;
	indices_init(&t, e, 16, 0);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(indices_add(&t, i * 16, i), OK); /* one chain */
	assert_int_equal(indices_add(&t, 1000, 9), ERR_FULL);
	assert_true(indices_crowded(&t));
	indices_grow(&t, more, 32);
	assert_false(indices_crowded(&t));
	assert_int_equal(indices_add(&t, 1000, 9), OK);
	for (uint32_t i = 0; i < 8; i++)
		assert_int_equal(indices_find(&t, i * 16), i);
}

/* Against an array: chains that run into each other and around the end. */
static void as_an_array_would(void **state)
{
	enum { KEYS = 64, SIZE = 64 };
	static struct indices_entry e[SIZE];
	uint32_t handle[KEYS];
	const uint8_t seed[32] = {9};
	struct indices t;
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	indices_init(&t, e, SIZE, 1);
	memset(handle, 0xff, sizeof(handle));
	for (int step = 0; step < 1000000; step++) {
		const uint32_t k = (uint32_t)rng_below(&rng, KEYS);
		const uint32_t index = k * 37 << 1;

		if (rng_below(&rng, 2) == 0) {
			indices_remove(&t, index);
			handle[k] = INDICES_NONE;
		} else if (handle[k] == INDICES_NONE && !indices_crowded(&t)) {
			assert_int_equal(indices_add(&t, index, k + 1000), OK);
			handle[k] = k + 1000;
		}
		const uint32_t look = (uint32_t)rng_below(&rng, KEYS);
		assert_int_equal(indices_find(&t, look * 37 << 1), handle[look]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(found_until_removed),
		cmocka_unit_test(half_full_is_full),
		cmocka_unit_test(as_an_array_would),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
