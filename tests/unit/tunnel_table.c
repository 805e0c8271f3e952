/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "services/tunnel/core/table.h"
#include "services/tunnel/core/tokens.h"

static const uint64_t key[2] = {0x1234567, 0x89abcdef01};
static uint64_t mem[4096];

static void full_table_says_so_and_takes_again_after_a_drop(void **state)
{
	struct table t;
	uint32_t p[5];

	(void)state;
	assert_true(table_bytes(5) <= sizeof(mem));
	table_init(&t, 5, mem, key);
	for (int i = 0; i < 5; i++) {
		p[i] = table_take(&t, 7);
		assert_int_not_equal(p[i], TABLE_NONE);
	}
	assert_int_equal(table_take(&t, 7), TABLE_NONE);
	table_drop(&t, p[2]);
	assert_int_equal(t.n_used, 4);
	assert_int_equal(table_take(&t, 9), p[2]);
	assert_int_equal(table_take(&t, 9), TABLE_NONE);
}

static void chain_holds_exactly_the_places_of_a_hash(void **state)
{
	struct table t;
	uint32_t a, b, c;

	(void)state;
	table_init(&t, 8, mem, key);
	a = table_take(&t, 1);
	b = table_take(&t, 1 + 8); /* same chain, another hash */
	c = table_take(&t, 1);
	assert_int_equal(table_first(&t, 1), c);
	assert_int_equal(table_next(&t, c), a);
	assert_int_equal(table_next(&t, a), TABLE_NONE);
	assert_int_equal(table_first(&t, 9), b);
	assert_int_equal(table_first(&t, 2), TABLE_NONE);
	table_drop(&t, c);
	assert_int_equal(table_first(&t, 1), a);
}

static void order_of_use_follows_touch_and_drop(void **state)
{
	struct table t;
	uint32_t a, b, c;

	(void)state;
	table_init(&t, 8, mem, key);
	assert_int_equal(table_oldest(&t), TABLE_NONE);
	a = table_take(&t, 1);
	b = table_take(&t, 2);
	c = table_take(&t, 3);
	table_touch(&t, a);
	assert_int_equal(table_oldest(&t), b);
	assert_int_equal(table_newer(&t, b), c);
	assert_int_equal(table_newer(&t, c), a);
	assert_int_equal(table_newer(&t, a), TABLE_NONE);
	table_drop(&t, c);
	assert_int_equal(table_newer(&t, b), a);
}

static void bytes_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(table_bytes(0), 0);
	assert_int_not_equal(table_bytes(TABLE_CAPACITY_MAX), 0);
	assert_int_equal(table_bytes(TABLE_CAPACITY_MAX + 1), 0);
	for (uint32_t n = 1; n < 100; n++)
		assert_int_equal(table_bytes(n) % 8, 0);
}

static void hash_spreads_close_keys(void **state)
{
	static uint32_t count[64];
	struct table t;

	(void)state;
	table_init(&t, 64, mem, key);
	for (uint64_t i = 0; i < 64 * 100; i++)
		count[table_hash(&t, i, i & 3) & 63]++;
	for (int i = 0; i < 64; i++)
		assert_in_range(count[i], 50, 160);
}

static void tokens_fill_at_their_rate_up_to_the_burst(void **state)
{
	struct tokens t;
	mono_t now = {1000};

	(void)state;
	tokens_init(&t, now, 3);
	for (int i = 0; i < 3; i++)
		assert_true(tokens_take(&t, now, 4, 3, 1));
	assert_false(tokens_take(&t, now, 4, 3, 1));
	now.ns += DUR_MS(250).ns - 1;
	assert_false(tokens_take(&t, now, 4, 3, 1));
	now.ns += 1;
	assert_true(tokens_take(&t, now, 4, 3, 1));
	now.ns += DUR_MS(400).ns; /* one token and 150 ms of the next */
	assert_true(tokens_take(&t, now, 4, 3, 1));
	now.ns += DUR_MS(100).ns;
	assert_true(tokens_take(&t, now, 4, 3, 1));
	now.ns += DUR_S(1000000).ns;
	assert_false(tokens_take(&t, now, 4, 3, 4));
	assert_true(tokens_take(&t, now, 4, 3, 3));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(full_table_says_so_and_takes_again_after_a_drop),
		cmocka_unit_test(chain_holds_exactly_the_places_of_a_hash),
		cmocka_unit_test(order_of_use_follows_touch_and_drop),
		cmocka_unit_test(bytes_are_bounded),
		cmocka_unit_test(hash_spreads_close_keys),
		cmocka_unit_test(tokens_fill_at_their_rate_up_to_the_burst),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
