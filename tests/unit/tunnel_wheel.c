/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/wheel.h"

#define N 200

static mono_t ms(uint64_t n)
{
	return (mono_t){DUR_MS(n).ns};
}

static struct wheel wheel;
static struct wheel_entry entries[N];

static int start(void **state)
{
	(void)state;
	memset(entries, 0, sizeof(entries));
	wheel_init(&wheel, ms(1000));
	return 0;
}

static void an_empty_wheel_never_wakes(void **state)
{
	(void)state;
	assert_int_equal(wheel_deadline(&wheel).ns, MONO_NEVER.ns);
	assert_null(wheel_expired(&wheel, ms(100000)));
}

static void not_before_its_time_and_at_most_a_tick_late(void **state)
{
	(void)state;
	static const uint64_t at[] = {1000, 1001, 1009, 1010, 1011, 1500, 20999};

	for (size_t i = 0; i < sizeof(at) / sizeof(at[0]); i++) {
		start(state);
		wheel_set(&wheel, &entries[0], ms(at[i]));
		if (at[i] > 1000)
			assert_null(wheel_expired(&wheel, (mono_t){ms(at[i]).ns - 1}));
		assert_true(wheel_deadline(&wheel).ns >= ms(at[i]).ns);
		assert_true(wheel_deadline(&wheel).ns < ms(at[i] + 10).ns);
		assert_ptr_equal(wheel_expired(&wheel, ms(at[i] + 10)), &entries[0]);
		assert_int_equal(wheel_deadline(&wheel).ns, MONO_NEVER.ns);
	}
}

static void the_past_comes_at_once(void **state)
{
	(void)state;
	wheel_set(&wheel, &entries[0], ms(1));
	assert_ptr_equal(wheel_expired(&wheel, ms(1000)), &entries[0]);
}

static void beyond_the_span_it_is_handed_out_early(void **state)
{
	(void)state;
	wheel_set(&wheel, &entries[0], ms(600000));
	wheel_set(&wheel, &entries[1], MONO_NEVER);
	assert_null(wheel_expired(&wheel, ms(21000)));
	assert_non_null(wheel_expired(&wheel, ms(21500)));
	assert_non_null(wheel_expired(&wheel, ms(21500)));
	assert_null(wheel_expired(&wheel, ms(600000)));
}

static void earlier_moves_it_later_does_not(void **state)
{
	(void)state;
	wheel_set(&wheel, &entries[0], ms(2000));
	wheel_set(&wheel, &entries[0], ms(3000));
	assert_int_equal(wheel_deadline(&wheel).ns, ms(2000).ns);
	wheel_set(&wheel, &entries[0], ms(1500));
	assert_int_equal(wheel_deadline(&wheel).ns, ms(1500).ns);
	assert_ptr_equal(wheel_expired(&wheel, ms(1500)), &entries[0]);
	assert_null(wheel_expired(&wheel, ms(5000)));
}

static void cancelled_is_gone(void **state)
{
	(void)state;
	wheel_set(&wheel, &entries[0], ms(1500));
	wheel_set(&wheel, &entries[1], ms(1500));
	wheel_cancel(&wheel, &entries[0]);
	wheel_cancel(&wheel, &entries[0]);
	assert_ptr_equal(wheel_expired(&wheel, ms(2000)), &entries[1]);
	assert_null(wheel_expired(&wheel, ms(2000)));
}

/* Against the simplest model: a table of deadlines. */
static void as_a_table_would(void **state)
{
	(void)state;
	static uint64_t due[N]; /* tick; 0: not set */
	const uint8_t seed[32] = {7};
	struct rng rng;
	uint64_t now = 1000000000;

	rng_init(&rng, seed);
	memset(due, 0, sizeof(due));
	for (int step = 0; step < 1000000; step++) {
		const size_t i = rng_below(&rng, N);
		const uint64_t at = now + rng_below(&rng, 15000000000);
		const uint64_t tick = (at + 9999999) / 10000000;
		struct wheel_entry *e;
		uint64_t least = UINT64_MAX;

		switch (rng_below(&rng, 4)) {
		case 0:
			wheel_cancel(&wheel, &entries[i]);
			due[i] = 0;
			break;
		case 1:
			now += rng_below(&rng, 300000000);
			while ((e = wheel_expired(&wheel, (mono_t){now})) != NULL) {
				assert_true(due[e - entries] != 0 && due[e - entries] <= now / 10000000);
				due[e - entries] = 0;
			}
			break;
		default:
			wheel_set(&wheel, &entries[i], (mono_t){at});
			if (due[i] == 0 || tick < due[i])
				due[i] = tick;
		}
		for (size_t k = 0; k < N; k++)
			if (due[k] != 0 && due[k] < least)
				least = due[k];
		assert_int_equal(
			wheel_deadline(&wheel).ns, least == UINT64_MAX ? UINT64_MAX : least * 10000000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(an_empty_wheel_never_wakes, start),
		cmocka_unit_test_setup(not_before_its_time_and_at_most_a_tick_late, start),
		cmocka_unit_test_setup(the_past_comes_at_once, start),
		cmocka_unit_test_setup(beyond_the_span_it_is_handed_out_early, start),
		cmocka_unit_test_setup(earlier_moves_it_later_does_not, start),
		cmocka_unit_test_setup(cancelled_is_gone, start),
		cmocka_unit_test_setup(as_a_table_would, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
