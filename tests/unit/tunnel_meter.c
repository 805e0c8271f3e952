/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "services/tunnel/core/meter.h"

#define MIB (1u << 20)

static const mono_t start = {1000000000};

static mono_t at_ms(uint64_t ms)
{
	return mono_add(start, DUR_MS(ms));
}

/* [P-46] */
/* [P-44], [P-45], [P-46] */
static void passes_while_used_is_below_credit(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, start, 1000, true);
	assert_true(meter_may(&m));
	meter_count(&m, 600, 399);
	assert_true(meter_may(&m));
	meter_count(&m, 0, 1);
	assert_false(meter_may(&m));
	meter_grant(&m, 1000);
	assert_false(meter_may(&m));
	meter_grant(&m, 1001);
	assert_true(meter_may(&m));
	meter_count(&m, 5000, 0); /* the last batch may overshoot */
	assert_false(meter_may(&m));
	meter_grant(&m, 500); /* a grant never takes back */
	assert_int_equal(m.credit_bytes, 1001);
	meter_grant(&m, UINT64_MAX);
	assert_true(meter_may(&m));
}

static void free_session_never_stops(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, start, 0, false);
	meter_count(&m, 1ull << 40, 1ull << 40);
	assert_true(meter_may(&m));
	assert_int_equal(meter_due(&m, start) & METER_NOTICE, 0);
}

static void report_is_due_by_bytes_and_by_time(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, start, 64 * MIB, true);
	assert_int_equal(meter_due(&m, at_ms(5000)), 0); /* nothing was used */
	meter_count(&m, METER_REPORT_MAX - 1, 0);
	assert_int_equal(meter_due(&m, at_ms(0)), 0);
	meter_count(&m, 0, 1);
	assert_int_equal(meter_due(&m, at_ms(10)), METER_REPORT);
	assert_int_equal(meter_due(&m, at_ms(10)), 0);
	meter_count(&m, 1, 0);
	assert_int_equal(meter_due(&m, at_ms(1009)), 0);
	assert_int_equal(meter_due(&m, at_ms(1010)), METER_REPORT);
	/* close to the end of the credit the reports come closer together */
	meter_count(&m, 62 * MIB, 0);
	assert_int_equal(meter_due(&m, at_ms(1020)) & METER_REPORT, METER_REPORT);
	meter_count(&m, MIB / 8, 0);
	assert_int_equal(meter_due(&m, at_ms(1020)) & METER_REPORT, METER_REPORT);
}

static void what_is_free_is_reported_by_time_alone(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, start, 0, false);
	meter_count(&m, 1024 * MIB, 1024 * MIB);
	assert_int_equal(meter_due(&m, at_ms(999)), 0);
	assert_int_equal(meter_due(&m, at_ms(1000)), METER_REPORT);
	assert_int_equal(meter_due(&m, at_ms(5000)), 0); /* nothing new */
}

/* [P-47] */
static void notice_comes_before_the_end_and_not_too_often(void **state)
{
	struct meter m;

	(void)state;
	meter_init(&m, start, 8 * MIB, true);
	meter_count(&m, 6 * MIB - 1, 0);
	assert_int_equal(meter_due(&m, at_ms(0)) & METER_NOTICE, 0);
	meter_count(&m, 1, 0); /* a quarter left */
	assert_int_equal(meter_due(&m, at_ms(0)) & METER_NOTICE, METER_NOTICE);
	assert_int_equal(meter_due(&m, at_ms(999)) & METER_NOTICE, 0);
	assert_int_equal(meter_due(&m, at_ms(1000)) & METER_NOTICE, METER_NOTICE);
	meter_notice_again(&m);
	assert_int_equal(meter_due(&m, at_ms(1001)) & METER_NOTICE, METER_NOTICE);
	meter_grant(&m, 16 * MIB); /* granted 8 more: warns at 14 */
	meter_notice_again(&m);
	assert_int_equal(meter_due(&m, at_ms(3000)) & METER_NOTICE, 0);
	meter_count(&m, 8 * MIB, 0);
	assert_int_equal(meter_due(&m, at_ms(3000)) & METER_NOTICE, METER_NOTICE);
	/* a small grant still warns 256 KiB ahead */
	meter_grant(&m, 16 * MIB + 300 * 1024);
	meter_count(&m, 2 * MIB + 45 * 1024, 0);
	assert_int_equal(meter_due(&m, at_ms(9000)) & METER_NOTICE, METER_NOTICE);
	meter_init(&m, start, 0, true);
	assert_int_equal(meter_due(&m, at_ms(0)) & METER_NOTICE, METER_NOTICE);
}

static void bucket_keeps_its_rate(void **state)
{
	struct bucket_share one = {0};
	struct bucket b;
	uint64_t passed = 0;

	(void)state;
	bucket_init(&b, start, 1000000, 0);
	assert_int_equal(b.burst_bytes, 131072);
	for (uint64_t us = 0; us < 2000000; us += 100)
		if (bucket_take(&b, mono_add(start, DUR_US(us)), &one, 1500))
			passed += 1500;
	assert_in_range(passed, 2000000 + 60000, 2000000 + 131072 + 1500);
}

static void bucket_lets_a_large_batch_into_debt_once(void **state)
{
	struct bucket_share one = {0};
	struct bucket b;

	(void)state;
	bucket_init(&b, start, 1000, 1000);
	assert_true(bucket_take(&b, start, &one, 3000));
	assert_false(bucket_take(&b, mono_add(start, DUR_S(2)), &one, 1));
	assert_true(bucket_take(&b, mono_add(start, DUR_MS(2001)), &one, 1));
	bucket_init(&b, start, 0, 0);
	assert_true(bucket_take(&b, start, &one, UINT64_MAX)); /* no limit */
}

static void bucket_does_not_lose_fractions(void **state)
{
	struct bucket_share one = {0};
	struct bucket b;
	uint64_t n = 0;

	(void)state;
	bucket_init(&b, start, 3, 1); /* a byte each 333 ms, looked at each ms */
	for (uint64_t ms = 0; ms < 10000; ms++)
		n += bucket_take(&b, at_ms(ms), &one, 1);
	assert_in_range(n, 30, 31);
}

/* 1 MB/s. One wants all of it, twenty want 10 kB/s each. */
static void bucket_gives_the_greedy_what_is_left(void **state)
{
	struct bucket_share greedy = {0}, honest[20] = {{0}};
	uint64_t n_greedy = 0, n_refused = 0;
	struct bucket b;

	(void)state;
	bucket_init(&b, start, 1000000, 0);
	for (uint64_t us = 0; us < 5000000; us += 100) {
		mono_t now = mono_add(start, DUR_US(us));

		if (us % 5000 == 0)
			n_refused += !bucket_take(&b, now, &honest[us / 5000 % 20], 1000);
		n_greedy += bucket_take(&b, now, &greedy, 1500) ? 1500 : 0;
	}
	assert_int_equal(n_refused, 0);
	assert_in_range(n_greedy, 4000000 + 60000, 4000000 + 131072 + 1500);
}

/* Two that want all have half each. */
static void bucket_is_shared_alike(void **state)
{
	struct bucket_share two[2] = {{0}};
	uint64_t n[2] = {0};
	struct bucket b;

	(void)state;
	bucket_init(&b, start, 1000000, 0);
	/* the first comes ten times as often */
	for (uint64_t us = 0; us < 5000000; us += 100) {
		unsigned int who = us % 1100 == 0;

		if (bucket_take(&b, mono_add(start, DUR_US(us)), &two[who], 1500))
			n[who] += 1500;
	}
	assert_in_range(n[1], 2300000, 2700000);
	assert_in_range(n[0] + n[1], 5000000, 5000000 + 131072 + 1500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(passes_while_used_is_below_credit),
		cmocka_unit_test(free_session_never_stops),
		cmocka_unit_test(report_is_due_by_bytes_and_by_time),
		cmocka_unit_test(what_is_free_is_reported_by_time_alone),
		cmocka_unit_test(notice_comes_before_the_end_and_not_too_often),
		cmocka_unit_test(bucket_keeps_its_rate),
		cmocka_unit_test(bucket_lets_a_large_batch_into_debt_once),
		cmocka_unit_test(bucket_does_not_lose_fractions),
		cmocka_unit_test(bucket_gives_the_greedy_what_is_left),
		cmocka_unit_test(bucket_is_shared_alike),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
