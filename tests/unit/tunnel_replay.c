/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/replay.h"

static void each_counter_once(void **state)
{
	struct replay r;

	(void)state;
	replay_init(&r);
	assert_true(replay_commit(&r, 0));
	assert_false(replay_commit(&r, 0));
	assert_true(replay_commit(&r, 63));
	assert_true(replay_commit(&r, 64));
	assert_true(replay_commit(&r, 1));
	assert_false(replay_commit(&r, 63));
	assert_false(replay_fresh(&r, 64));
	assert_true(replay_fresh(&r, 2));
	assert_true(replay_fresh(&r, 2)); /* asking does not mark */
}

static void window_has_its_size(void **state)
{
	const uint64_t far = 1000000;
	struct replay r;

	(void)state;
	replay_init(&r);
	assert_true(replay_commit(&r, far));
	assert_true(replay_fresh(&r, far + 1 - REPLAY_WINDOW));
	assert_false(replay_fresh(&r, far - REPLAY_WINDOW));
	assert_true(replay_commit(&r, far + 1 - REPLAY_WINDOW));
	assert_false(replay_commit(&r, far + 1 - REPLAY_WINDOW));
}

static void early_counters_are_not_too_old(void **state)
{
	struct replay r;

	(void)state;
	replay_init(&r);
	assert_true(replay_commit(&r, REPLAY_WINDOW - 1));
	assert_true(replay_commit(&r, 0));
	assert_true(replay_commit(&r, REPLAY_WINDOW));
	assert_false(replay_fresh(&r, 0));
	assert_true(replay_fresh(&r, 1));
}

static void ends_of_the_range(void **state)
{
	struct replay r;

	(void)state;
	replay_init(&r);
	assert_false(replay_commit(&r, UINT64_MAX));
	assert_true(replay_commit(&r, UINT64_MAX - 1));
	assert_false(replay_commit(&r, UINT64_MAX - 1));
	assert_true(replay_commit(&r, UINT64_MAX - 2));
	assert_false(replay_commit(&r, 0));
}

static void batch_judges_within_itself(void **state)
{
	struct aead_op ops[5] = {{.ok = true, .counter = 4}, {.ok = false, .counter = 5},
		{.ok = true, .counter = 4}, {.ok = true, .counter = 3}, {.ok = true, .counter = 5}};
	struct replay r;

	(void)state;
	replay_init(&r);
	assert_int_equal(replay_commit_batch(&r, ops, 5), 3);
	assert_true(ops[0].ok && !ops[1].ok && !ops[2].ok && ops[3].ok && ops[4].ok);
	assert_int_equal(replay_commit_batch(&r, ops, 5), 0);
}

/* The slow reference: one byte for every counter there could be. */
#define COUNTERS 16000000u

static void agrees_with_a_list_of_all(void **state)
{
	static const uint8_t seed[32] = {3};
	uint8_t *seen = calloc(COUNTERS, 1);
	uint64_t newest = 0;
	struct replay r;
	struct rng rng;
	bool any = false;
	size_t n_fresh = 0, n_old = 0;

	(void)state;
	rng_init(&rng, seed);
	replay_init(&r);
	for (int i = 0; i < 1000000; i++) {
		uint64_t jump =
			rng_below(&rng, 1000) == 0 ? rng_below(&rng, 20000) : rng_below(&rng, 8);
		uint64_t back = rng_below(&rng, 50) == 0 ? 9000 : 100;
		uint64_t c = newest + jump;

		if (rng_below(&rng, 2))
			c = newest -
			    (newest < back ? rng_below(&rng, newest + 1) : rng_below(&rng, back));
		if (rng_below(&rng, 100) == 0) /* around the edge */
			c = newest + 1 -
			    (newest < REPLAY_WINDOW + 2 ? newest
							: REPLAY_WINDOW + 1 - rng_below(&rng, 4));
		assert_true(c < COUNTERS); /* no step is left out */
		bool old = any && newest + 1 > REPLAY_WINDOW && c < newest + 1 - REPLAY_WINDOW;
		bool want = !seen[c] && !old;

		assert_int_equal(replay_fresh(&r, c), want);
		if (rng_below(&rng, 4) == 0)
			continue; /* not authentic after all */
		assert_int_equal(replay_commit(&r, c), want);
		n_fresh += want;
		n_old += old;
		seen[c] |= want;
		if (want && c > newest)
			newest = c;
		any |= want;
	}
	free(seen);
	assert_true(n_fresh > 100000 && n_old > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_counter_once),
		cmocka_unit_test(window_has_its_size),
		cmocka_unit_test(early_counters_are_not_too_old),
		cmocka_unit_test(ends_of_the_range),
		cmocka_unit_test(batch_judges_within_itself),
		cmocka_unit_test(agrees_with_a_list_of_all),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
