/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/shed.h"

static struct shed shed;
static struct rng rng;
static mono_t now;

static int start(void **state)
{
	static const uint8_t seed[32] = {11};

	(void)state;
	rng_init(&rng, seed);
	shed_init(&shed, 0x9e3779b0);
	now = (mono_t){DUR_S(1000).ns};
	return 0;
}

/* n initiations to one bucket in this window, as the kernel lets them through. How many did. */
static uint32_t flood(uint32_t n, bool mac2, uint32_t bucket)
{
	const struct shed_kind *k = &shed.kinds[mac2];
	uint32_t through = 0;

	for (uint32_t i = 0; i < n; i++) {
		if ((k->hot >> bucket & 1) != 0 && rng_below(&rng, SHED_ALL) >= k->keep)
			continue;
		const bool look = shed_on_initiation(&shed, now, mac2, bucket);

		assert_int_equal(look, k->n <= SHED_AT);
		through++;
	}
	return through;
}

static bool window_ends(void)
{
	now = mono_add(now, SHED_WINDOW);
	return shed_tick(&shed, now);
}

static void what_can_be_judged_passes(void **state)
{
	(void)state;
	assert_int_equal(shed_deadline(&shed).ns, MONO_NEVER.ns);
	for (int i = 0; i < 5; i++) {
		for (uint32_t n = 0; n < SHED_AT; n++)
			assert_true(shed_on_initiation(&shed, now, false, 3));
		assert_int_equal(shed_deadline(&shed).ns, mono_add(now, SHED_WINDOW).ns);
		assert_false(shed_tick(&shed, mono_add(now, (dur_t){SHED_WINDOW.ns - 1})));
		assert_false(window_ends());
		assert_false(shed_works(&shed));
	}
	flood(SHED_AT, false, 3);
	assert_false(shed_on_initiation(&shed, now, false, 3));
	assert_true(shed_on_initiation(&shed, now, true, 3));
	assert_true(window_ends());
	assert_int_equal(shed.kinds[false].hot, 1u << 3);
}

static void a_flood_is_cut_to_what_is_wanted(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		uint32_t through = 0;

		for (uint32_t b = 0; b < SHED_BUCKETS; b++)
			through += flood(1250, false, b);
		window_ends();
		if (i == 0)
			assert_int_equal(through, SHED_BUCKETS * 1250);
		else
			assert_in_range(through, SHED_TO / 2, SHED_TO * 2);
		assert_true(shed_works(&shed));
	}
}

static void others_do_not_notice(void **state)
{
	(void)state;
	for (int i = 0; i < (int)SHED_DEAL - 10; i++) {
		flood(30000, false, 5);
		assert_int_equal(flood(10, false, 6), 10);
		/* Whoever has a cookie is not in that crowd, though he shares its bucket. */
		assert_int_equal(flood(10, true, 5), 10);
		window_ends();
	}
	assert_int_equal(shed.kinds[false].hot, 1u << 5);
	assert_int_equal(shed.kinds[true].hot, 0);
	/* A flood of those as well. */
	flood(30000, true, 7);
	window_ends();
	assert_int_equal(shed.kinds[true].hot, 1u << 7);
}

/* A flood from one source, and another that had the bad luck to share its bucket: soon no more. */
static void buckets_are_not_shared_for_ever(void **state)
{
	const uint32_t bad = 0xc0000201;
	uint32_t salt = shed.salt, good = bad + 1, n_dealt = 0, n_apart = 0;

	(void)state;
	while (shed_bucket(&shed, good, 0) != shed_bucket(&shed, bad, 0))
		good++;
	for (uint32_t i = 0; i < 100 * SHED_DEAL; i++) {
		const uint32_t through = flood(30000, true, shed_bucket(&shed, bad, 0));

		assert_true(window_ends() || i > 0);
		if (i > 0)
			assert_in_range(through, SHED_TO / 2, SHED_TO * 2);
		if (shed.salt != salt) {
			salt = shed.salt;
			n_dealt++;
			assert_int_equal(shed.kinds[true].hot, UINT32_MAX);
			assert_int_equal(shed.kinds[false].hot, 0);
			n_apart += shed_bucket(&shed, bad, 0) != shed_bucket(&shed, good, 0);
		} else if (i > 0) {
			assert_int_equal(shed.kinds[true].hot, 1u << shed_bucket(&shed, bad, 0));
		}
	}
	assert_in_range(n_dealt, 99, 100);
	assert_true(n_apart > 80);
}

static void it_ends_with_the_flood(void **state)
{
	(void)state;
	flood(20000, false, 0);
	assert_true(window_ends());
	flood(10, false, 0);
	flood(20000, false, 0);
	window_ends();
	assert_true(shed_works(&shed));
	/* Nothing came at all: the window ends by itself. */
	assert_int_equal(shed_deadline(&shed).ns, mono_add(now, SHED_WINDOW).ns);
	assert_true(window_ends());
	assert_false(shed_works(&shed));
	assert_int_equal(shed_deadline(&shed).ns, MONO_NEVER.ns);
}

static void a_late_judge_counts_by_time(void **state)
{
	(void)state;
	flood(SHED_AT * 4, false, 1);
	now = mono_add(now, (dur_t){SHED_WINDOW.ns * 3});
	assert_false(window_ends()); /* four windows' worth in four windows */
	assert_false(shed_works(&shed));
}

static void the_largest_flood_is_no_overflow(void **state)
{
	(void)state;
	for (uint32_t b = 0; b < SHED_BUCKETS; b++)
		shed.kinds[0].seen[b] = shed.kinds[1].seen[b] = UINT32_MAX;
	shed.began = now;
	window_ends();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(shed.kinds[i].hot, UINT32_MAX);
		assert_int_equal(shed.kinds[i].keep, 1);
	}
	for (uint32_t b = 0; b < SHED_BUCKETS; b++)
		shed.kinds[0].seen[b] = shed.kinds[1].seen[b] = UINT32_MAX;
	window_ends();
	assert_int_equal(shed.kinds[0].keep, 1);
}

static void buckets_are_spread_and_keyed(void **state)
{
	uint32_t n[SHED_BUCKETS] = {0}, same = 0;
	struct shed other;

	(void)state;
	shed_init(&other, 0x12345678);
	for (uint32_t i = 0; i < SHED_BUCKETS * 1000; i++) {
		const uint32_t source = rng_u32(&rng);
		const uint32_t b = shed_bucket(&shed, source, 51820);

		assert_true(b < SHED_BUCKETS);
		n[b]++;
		same += b == shed_bucket(&other, source, 51820);
	}
	for (uint32_t b = 0; b < SHED_BUCKETS; b++)
		assert_in_range(n[b], 800, 1200);
	assert_in_range(same, 500, 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_can_be_judged_passes, start),
		cmocka_unit_test_setup(a_flood_is_cut_to_what_is_wanted, start),
		cmocka_unit_test_setup(others_do_not_notice, start),
		cmocka_unit_test_setup(buckets_are_not_shared_for_ever, start),
		cmocka_unit_test_setup(it_ends_with_the_flood, start),
		cmocka_unit_test_setup(a_late_judge_counts_by_time, start),
		cmocka_unit_test_setup(the_largest_flood_is_no_overflow, start),
		cmocka_unit_test_setup(buckets_are_spread_and_keyed, start),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
