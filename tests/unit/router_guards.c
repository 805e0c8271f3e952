/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "services/router/core/guards.h"

#define DAY0 20000

static struct when day(uint32_t d)
{
	return (struct when){{(uint64_t)d * DAY_S * 1000000000u}, {(int64_t)d * DAY_S + 100}};
}

static const uint8_t *id(uint8_t n)
{
	static uint8_t ids[256][NODE_ID_SIZE];

	ids[n][0] = n;
	return ids[n];
}

static void fill(struct guards *g, uint8_t n, bool confirmed)
{
	const uint8_t seed[32] = {3};
	struct rng rng;

	rng_init(&rng, seed);
	*g = (struct guards){.n = 0};
	for (uint8_t i = 1; i <= n; i++) {
		assert_int_equal(guards_add(g, id(i), &rng, day(DAY0)), OK);
		if (confirmed)
			guards_on_worked(g, id(i), day(DAY0));
	}
}

static bool all_listed(void *ctx, const uint8_t node_id[static NODE_ID_SIZE])
{
	const uint8_t *but = ctx;

	return but == NULL || memcmp(but, node_id, NODE_ID_SIZE) != 0;
}

static void lives_are_uniform_from_45_to_75_days(void **state)
{
	const uint8_t seed[32] = {1};
	unsigned int seen[GUARD_LIFE_MAX_DAYS + 1] = {0};
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	for (int i = 0; i < 3100; i++) {
		struct guards g = {.n = 0};

		assert_int_equal(guards_add(&g, id(1), &rng, day(DAY0)), OK);
		uint32_t life = g.all[0].expires_day - DAY0;
		assert_in_range(life, GUARD_LIFE_MIN_DAYS, GUARD_LIFE_MAX_DAYS);
		seen[life]++;
	}
	for (int d = GUARD_LIFE_MIN_DAYS; d <= GUARD_LIFE_MAX_DAYS; d++)
		assert_in_range(seen[d], 60, 145);
}

static void used_in_order_failed_ones_last(void **state)
{
	struct guards g;
	size_t order[GUARDS_MAX];

	(void)state;
	fill(&g, 3, true);
	assert_int_equal(guards_order(&g, day(DAY0).mono, order), 3);
	assert_int_equal(order[0], 0);
	guards_on_failed(&g, id(1), day(DAY0));
	guards_order(&g, day(DAY0).mono, order);
	assert_int_equal(order[0], 1);
	assert_int_equal(order[2], 0);
	/* After its pause it is first again. */
	guards_order(&g, mono_add(day(DAY0).mono, GUARD_RETRY_MIN), order);
	assert_int_equal(order[0], 0);
}

static void failures_in_a_row_pause_longer(void **state)
{
	struct guards g;
	uint64_t want_s = 5;

	(void)state;
	fill(&g, 1, true);
	for (int i = 0; i < 10; i++) {
		guards_on_failed(&g, id(1), day(DAY0));
		assert_int_equal(
			mono_since(day(DAY0).mono, g.all[0].retry_at).ns / 1000000000u, want_s);
		want_s = i < GUARD_RETRY_DOUBLINGS ? want_s * 2 : want_s;
	}
	guards_on_worked(&g, id(1), day(DAY0));
	assert_true(guard_ready(&g.all[0], day(DAY0).mono));
}

static void the_nearest_of_the_drawn_comes_first(void **state)
{
	struct guards g;

	(void)state;
	fill(&g, 4, false);
	guards_on_measured(&g, id(2), 90000);
	guards_on_measured(&g, id(3), 20000);
	guards_on_measured(&g, id(4), 40000);
	guards_rank(&g, GUARDS_WANTED);
	assert_int_equal(g.n, GUARDS_WANTED);
	assert_memory_equal(g.all[0].node_id, id(3), NODE_ID_SIZE);
	assert_memory_equal(g.all[1].node_id, id(4), NODE_ID_SIZE);
}

static void a_confirmed_guard_keeps_its_place_however_far(void **state)
{
	struct guards g;

	(void)state;
	fill(&g, 3, false);
	guards_on_worked(&g, id(1), day(DAY0));
	guards_on_measured(&g, id(1), 500000);
	guards_on_measured(&g, id(3), 1000);
	guards_rank(&g, 2);
	assert_memory_equal(g.all[0].node_id, id(1), NODE_ID_SIZE);
	assert_memory_equal(g.all[1].node_id, id(3), NODE_ID_SIZE);
	assert_int_equal(g.n, 3);
}

struct over {
	const char *what;
	uint32_t gone_days, down_days, age_days;
	bool stays;
};

static void dropped_when_over_and_not_a_day_before(void **state)
{
	static const struct over table[] = {
		{"all well", 0, 0, 1, true},
		{"gone six days", GUARD_GONE_DAYS - 1, 0, 10, true},
		{"gone a week", GUARD_GONE_DAYS, 0, 10, false},
		{"down two days", 0, GUARD_DOWN_DAYS - 1, 10, true},
		{"down three days", 0, GUARD_DOWN_DAYS, 10, false},
		{"in the shortest life", 0, 0, GUARD_LIFE_MIN_DAYS - 1, true},
		{"beyond the longest life", 0, 0, GUARD_LIFE_MAX_DAYS, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct over *t = &table[i];
		struct guards g;

		fill(&g, 2, true);
		uint32_t today = DAY0 + t->age_days;
		g.all[0].gone_day = t->gone_days == 0 ? 0 : today - t->gone_days;
		g.all[0].down_day = t->down_days == 0 ? 0 : today - t->down_days;
		g.all[1].expires_day = DAY0 + 1000;
		guards_review(&g, all_listed,
			t->gone_days == 0 ? NULL : (void *)(uintptr_t)g.all[0].node_id, day(today));
		if ((memcmp(g.all[0].node_id, id(1), NODE_ID_SIZE) == 0) != t->stays)
			fail_msg("%s", t->what);
	}
}

static void one_that_never_worked_is_dropped_as_soon_as_it_leaves(void **state)
{
	struct guards g;

	(void)state;
	fill(&g, 2, false);
	guards_on_worked(&g, id(2), day(DAY0));
	guards_review(&g, all_listed, (void *)(uintptr_t)id(1), day(DAY0));
	assert_int_equal(g.n, 1);
	guards_review(&g, all_listed, (void *)(uintptr_t)id(2), day(DAY0));
	assert_int_equal(g.n, 1);
}

static void down_counts_only_while_others_work(void **state)
{
	struct guards g;

	(void)state;
	fill(&g, 2, true);
	for (int i = 0; i < 50; i++) {
		guards_on_failed(&g, id(1), day(DAY0));
		guards_on_failed(&g, id(2), day(DAY0));
	}
	guards_review(&g, all_listed, NULL, day(DAY0 + 10));
	assert_int_equal(g.n, 2); /* our own network was down */
	guards_on_failed(&g, id(1), day(DAY0 + 10));
	guards_on_worked(&g, id(2), day(DAY0 + 10));
	guards_review(&g, all_listed, NULL, day(DAY0 + 10 + GUARD_DOWN_DAYS));
	assert_int_equal(g.n, 1);
	assert_memory_equal(g.all[0].node_id, id(2), NODE_ID_SIZE);
}

static void one_that_lets_few_circuits_live_is_dropped(void **state)
{
	struct guards g;

	(void)state;
	fill(&g, 1, true);
	for (int i = 0; i < GUARD_BIAS_CIRCUITS - 1; i++)
		guards_on_circuit(&g, id(1), false);
	guards_review(&g, all_listed, NULL, day(DAY0));
	assert_int_equal(g.n, 1);
	guards_on_circuit(&g, id(1), false);
	guards_review(&g, all_listed, NULL, day(DAY0));
	assert_int_equal(g.n, 0);
}

static void a_full_sample_gives_up_only_what_fails(void **state)
{
	const uint8_t seed[32] = {3};
	struct guards g;
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	fill(&g, GUARDS_MAX, true);
	assert_int_equal(guards_add(&g, id(100), &rng, day(DAY0)), ERR_FULL);
	for (int i = 0; i < GUARD_FAILS_OUT - 1; i++)
		guards_on_failed(&g, id(3), day(DAY0));
	assert_int_equal(guards_add(&g, id(100), &rng, day(DAY0)), ERR_FULL);
	guards_on_failed(&g, id(3), day(DAY0));
	assert_int_equal(guards_add(&g, id(100), &rng, day(DAY0)), OK);
	assert_null(guards_find(&g, id(3)));
	assert_int_equal(guards_add(&g, id(100), &rng, day(DAY0)), ERR_INVALID);
	/* The one that never worked goes first. */
	guards_on_failed(&g, id(100), day(DAY0));
	assert_int_equal(guards_add(&g, id(101), &rng, day(DAY0)), OK);
	assert_null(guards_find(&g, id(100)));
}

static void the_durable_form_comes_back_without_the_unconfirmed(void **state)
{
	char text[GUARDS_TEXT_MAX];
	struct guards g, back;

	(void)state;
	fill(&g, GUARDS_MAX, true);
	g.all[2].confirmed = false;
	g.all[3].down_day = DAY0;
	assert_true(guards_encode(&g, text) < GUARDS_TEXT_MAX);
	assert_int_equal(guards_decode(text, day(DAY0 + 1), &back), OK);
	assert_int_equal(back.n, GUARDS_MAX - 1);
	assert_memory_equal(back.all[2].node_id, id(4), NODE_ID_SIZE);
	assert_int_equal(back.all[2].down_day, DAY0);
	assert_true(back.all[0].confirmed);
	assert_int_equal(back.all[0].expires_day, g.all[0].expires_day);
	/* Those that expired meanwhile are left out. */
	assert_int_equal(guards_decode(text, day(DAY0 + GUARD_LIFE_MAX_DAYS), &back), OK);
	assert_int_equal(back.n, 0);
}

static void a_damaged_file_is_refused_whole(void **state)
{
#define ID "0101010101010101010101010101010101010101010101010101010101010101"
	static const char *const bad[] = {"guard\n", "guard " ID "\n",
		"guard " ID " 20000 20050 0\n", "guard " ID " 20000 20050 0 0 0\n",
		"guard " ID " 20000 20076 0 0\n", "guard " ID " 20000 19999 0 0\n",
		"guard " ID " 20000 20050 0 x\n", "guard " ID " -1 20050 0 0\n",
		"guard " ID "00 20000 20050 0 0\n", "hello\n",
		"guard " ID " 20000 20050 0 0\nguard " ID " 20000 20050 0 0\n",
		"guard " ID " 20000 20050 0 0 \n"};
	struct guards g = {.n = 77};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (guards_decode(bad[i], day(DAY0), &g) != ERR_MALFORMED || g.n != 77)
			fail_msg("taken: %s", bad[i]);
	assert_int_equal(guards_decode("# x\n\nguard " ID " 20000 20075 0 0\n", day(DAY0), &g), OK);
	assert_int_equal(g.n, 1);
	/* A date ahead of our clock is not ours: it would never expire. */
	assert_int_equal(guards_decode("guard " ID " 20002 20050 0 0", day(DAY0), &g), OK);
	assert_int_equal(g.n, 0);
#undef ID
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lives_are_uniform_from_45_to_75_days),
		cmocka_unit_test(used_in_order_failed_ones_last),
		cmocka_unit_test(failures_in_a_row_pause_longer),
		cmocka_unit_test(the_nearest_of_the_drawn_comes_first),
		cmocka_unit_test(a_confirmed_guard_keeps_its_place_however_far),
		cmocka_unit_test(dropped_when_over_and_not_a_day_before),
		cmocka_unit_test(one_that_never_worked_is_dropped_as_soon_as_it_leaves),
		cmocka_unit_test(down_counts_only_while_others_work),
		cmocka_unit_test(one_that_lets_few_circuits_live_is_dropped),
		cmocka_unit_test(a_full_sample_gives_up_only_what_fails),
		cmocka_unit_test(the_durable_form_comes_back_without_the_unconfirmed),
		cmocka_unit_test(a_damaged_file_is_refused_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
