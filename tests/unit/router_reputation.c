/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "services/router/core/edge.h"
#include "services/router/core/places.h"
#include "services/router/core/reputation.h"

#define T0 ((mono_t){1000000000000ull})

static bool near(double a, double b, double by)
{
	return fabs(a - b) <= by;
}

static void without_evidence_the_prior_counts_less_its_deviation(void **state)
{
	struct reputation r = {.good = 0};
	/* Beta(9, 1): mean 0.9, variance 9 / (100 * 11). */
	double want = 0.9 - sqrt(9.0 / 1100);

	(void)state;
	assert_true(near(rep_reliability(&r, T0), want, 1e-9));
}

static void evidence_halves_in_a_day(void **state)
{
	struct reputation r = {.good = 0};
	double fresh, later;

	(void)state;
	rep_bad(&r, T0, 8);
	fresh = (double)r.bad;
	rep_decay(&r, mono_add(T0, REP_HALF_LIFE));
	later = (double)r.bad;
	assert_true(near(fresh, 8, 1e-6));
	assert_true(near(later, 4, 1e-3));
}

static void time_going_back_decays_nothing(void **state)
{
	struct reputation r = {.good = 0};

	(void)state;
	rep_good(&r, T0, 3);
	rep_good(&r, (mono_t){5}, 1);
	assert_true(near((double)r.good, 4, 1e-6));
}

static void reliability_is_monotone_and_bounded(void **state)
{
	struct reputation good = {.good = 0}, bad = {.good = 0};
	double last_good = rep_reliability(&good, T0), last_bad = last_good;

	(void)state;
	for (int i = 0; i < 200; i++) {
		rep_good(&good, T0, 1);
		rep_bad(&bad, T0, 1);
		assert_true(rep_reliability(&good, T0) > last_good);
		assert_true(rep_reliability(&bad, T0) <= last_bad);
		last_good = rep_reliability(&good, T0);
		last_bad = rep_reliability(&bad, T0);
	}
	assert_true(last_good < 1);
	assert_true(last_bad >= REP_RELIABILITY_MIN);
}

static void the_doubtful_one_pays_for_a_failed_path(void **state)
{
	const double r[3] = {0.99, 0.50, 0.95};
	double q[3];

	(void)state;
	rep_blame(r, 3, q);
	assert_true(near(q[0] + q[1] + q[2], 1, 1e-9));
	assert_true(near(q[1], 0.5 / 0.56, 1e-9));
	assert_true(q[1] > q[2] && q[2] > q[0]);
}

static void goodput_is_the_75th_percentile_drawn_to_the_prior(void **state)
{
	struct reputation few = {.good = 0}, many = {.good = 0};

	(void)state;
	assert_true(near(rep_goodput_Bps(&few), REP_GOODPUT_PRIOR_BPS, 1));
	rep_goodput(&few, T0, 30000000);
	for (int i = 0; i < 400; i++)
		rep_goodput(&many, T0, 30000000);
	assert_true(rep_goodput_Bps(&few) > REP_GOODPUT_PRIOR_BPS);
	assert_true(rep_goodput_Bps(&few) < 6e6);
	assert_true(rep_goodput_Bps(&many) > 15e6 && rep_goodput_Bps(&many) < 34e6);
	/* A quarter of slow seconds does not pull it down. */
	for (int i = 0; i < 100; i++)
		rep_goodput(&many, T0, REP_GOODPUT_MIN_BPS);
	assert_true(rep_goodput_Bps(&many) > 14e6);
}

static void idle_seconds_say_nothing_of_capacity(void **state)
{
	struct reputation r = {.good = 0};

	(void)state;
	rep_goodput(&r, T0, REP_GOODPUT_MIN_BPS - 1);
	assert_true(near(rep_goodput_Bps(&r), REP_GOODPUT_PRIOR_BPS, 1));
	rep_goodput(&r, T0, REP_GOODPUT_MIN_BPS);
	assert_true(rep_goodput_Bps(&r) < REP_GOODPUT_PRIOR_BPS);
}

static void srtt_follows_rfc_6298(void **state)
{
	struct reputation r = {.good = 0};

	(void)state;
	rep_rtt(&r, 80000);
	assert_int_equal(r.srtt_us, 80000);
	assert_int_equal(r.rttvar_us, 40000);
	rep_rtt(&r, 160000);
	assert_int_equal(r.srtt_us, 90000);
	assert_int_equal(r.rttvar_us, (3 * 40000 + 80000) / 4);
	rep_rtt(&r, 0);
	rep_rtt(&r, 60000001);
	assert_int_equal(r.n_rtt, 2);
}

static void age_ramps_over_fourteen_days_seen(void **state)
{
	struct reputation r = {.good = 0};

	(void)state;
	assert_true(near(rep_age(&r), 0.25, 1e-9));
	for (uint32_t day = 100; day < 107; day++) {
		rep_listed(&r, day);
		rep_listed(&r, day); /* once a day */
	}
	assert_true(near(rep_age(&r), 0.25 + 0.75 / 2, 1e-9));
	for (uint32_t day = 107; day < 130; day++)
		rep_listed(&r, day);
	assert_true(near(rep_age(&r), 1, 1e-9));
}

static struct reputation some(void)
{
	struct reputation r = {.good = 0};

	rep_good(&r, T0, 12.5);
	rep_bad(&r, T0, 1.25);
	rep_rtt(&r, 30000);
	rep_listed(&r, 20000);
	for (int i = 0; i < 7; i++)
		rep_goodput(&r, T0, 5000000);
	return r;
}

static void what_is_stored_comes_back(void **state)
{
	struct reputation r = some(), back;
	char text[REP_TEXT_MAX];

	(void)state;
	rep_encode(&r, T0, text);
	assert_int_equal(rep_decode(text, 20000, 20000, T0, &back), OK);
	assert_true(near((double)back.good, 12.5, 1e-3));
	assert_true(near((double)back.bad, 1.25, 1e-3));
	assert_int_equal(back.srtt_us, 30000);
	assert_int_equal(back.days_listed, 1);
	assert_true(near(rep_goodput_Bps(&back), rep_goodput_Bps(&r), 1));
	/* Two days later a quarter of the evidence is left, and the goodput is old news. */
	assert_int_equal(rep_decode(text, 20000, 20002, T0, &back), OK);
	assert_true(near((double)back.good, 12.5 / 4, 1e-3));
	assert_true((double)back.goodput[7] < 7.0 / 200);
}

static void bad_text_is_refused(void **state)
{
	static const char *const bad[] = {"", "1", "1 2 3 4 5 6 7",
		"x 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0", "-1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"0 0 99999999999 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"10000001 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
		"0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 nan",
		"1e3 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"};
	struct reputation r, untouched;

	(void)state;
	memset(&r, 0x55, sizeof(r));
	untouched = r;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(rep_decode(bad[i], 1, 1, T0, &r), ERR_MALFORMED);
		assert_memory_equal(&r, &untouched, sizeof(r));
	}
	assert_int_equal(
		rep_decode("10000000 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0", 1, 1, T0, &r), OK);
}

static void joining_adds_what_was_learned_apart_and_not_twice(void **state)
{
	struct reputation ours = some(), stored = some();

	(void)state;
	rep_merge(&ours, &stored, true);
	assert_true(near((double)ours.good, 25, 1e-3));
	assert_int_equal(ours.days_listed, 1); /* the same day on both sides */
	ours = some();
	rep_merge(&ours, &stored, false);
	assert_true(near((double)ours.good, 12.5, 1e-3));
}

static void edges_blend_from_guess_to_measured(void **state)
{
	static const uint8_t key[16] = {1}, a[NODE_ID_SIZE] = {1}, b[NODE_ID_SIZE] = {2},
			     c[NODE_ID_SIZE] = {3};
	static struct edge_memory m;

	(void)state;
	edge_init(&m, key);
	assert_int_equal(edge_estimate(&m, a, b, 60000).rtt_us, 60000);
	edge_note(&m, a, b, 10000, T0);
	/* One sample of weight 1/5. */
	assert_int_equal(
		edge_estimate(&m, b, a, 60000).rtt_us, 10000 / 5 + 4 * 60000 / 5);
	for (int i = 0; i < 200; i++)
		edge_note(&m, b, a, 10000, T0);
	assert_in_range(edge_estimate(&m, a, b, 60000).rtt_us, 10000, 12000);
	assert_false(edge_estimate(&m, a, c, 60000).measured);
}

static uint32_t cc(const char *s)
{
	return (uint32_t)(uint8_t)s[0] << 8 | (uint8_t)s[1];
}

/* Against round trips that people measure between large cities. */
static void guesses_by_country_are_of_the_right_size(void **state)
{
	static const struct {
		const char *a, *b;
		uint32_t least_ms, most_ms;
	} table[] = {{"DE", "NL", 5, 20}, {"DE", "CH", 5, 20}, {"DE", "SE", 15, 40}, {"DE", "US", 80, 140},
		{"US", "JP", 130, 200}, {"DE", "JP", 140, 260}, {"GB", "AU", 200, 320}, {"US", "CA", 8, 35},
		{"SG", "AU", 80, 130}, {"CL", "CN", 250, 340}};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t us = places_rtt_us(cc(table[i].a), cc(table[i].b));

		if (us < table[i].least_ms * 1000 || us > table[i].most_ms * 1000)
			fail_msg("%s-%s: %u us", table[i].a, table[i].b, us);
		assert_int_equal(us, places_rtt_us(cc(table[i].b), cc(table[i].a)));
	}
	assert_int_equal(places_rtt_us(cc("SE"), cc("SE")), PLACES_SAME_US);
	assert_int_equal(places_rtt_us(cc("SE"), cc("ZZ")), PLACES_UNKNOWN_US);
	assert_int_equal(places_rtt_us(0, 0), PLACES_UNKNOWN_US);
	assert_true(places_rtt_us(cc("AE"), cc("ZW")) != PLACES_UNKNOWN_US); /* both ends of the table */
}

static void edge_memory_is_bounded_and_keeps_the_freshest(void **state)
{
	static const uint8_t key[16] = {1}, hub[NODE_ID_SIZE] = {1};
	static struct edge_memory m;
	unsigned int kept = 0;

	(void)state;
	edge_init(&m, key);
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t id[NODE_ID_SIZE] = {2};

		memcpy(id + 1, &i, sizeof(i));
		edge_note(&m, hub, id, 5000, mono_add(T0, DUR_S(i)));
	}
	for (uint32_t i = 0; i < 20000; i++) {
		uint8_t id[NODE_ID_SIZE] = {2};

		memcpy(id + 1, &i, sizeof(i));
		kept += edge_estimate(&m, hub, id, 60000).measured;
		if (i == 19999)
			assert_true(edge_estimate(&m, hub, id, 60000).measured);
	}
	assert_in_range(kept, EDGE_SETS * EDGE_WAYS * 9 / 10, EDGE_SETS * EDGE_WAYS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_evidence_the_prior_counts_less_its_deviation),
		cmocka_unit_test(evidence_halves_in_a_day),
		cmocka_unit_test(time_going_back_decays_nothing),
		cmocka_unit_test(reliability_is_monotone_and_bounded),
		cmocka_unit_test(the_doubtful_one_pays_for_a_failed_path),
		cmocka_unit_test(goodput_is_the_75th_percentile_drawn_to_the_prior),
		cmocka_unit_test(idle_seconds_say_nothing_of_capacity),
		cmocka_unit_test(srtt_follows_rfc_6298),
		cmocka_unit_test(age_ramps_over_fourteen_days_seen),
		cmocka_unit_test(what_is_stored_comes_back),
		cmocka_unit_test(bad_text_is_refused),
		cmocka_unit_test(joining_adds_what_was_learned_apart_and_not_twice),
		cmocka_unit_test(edges_blend_from_guess_to_measured),
		cmocka_unit_test(guesses_by_country_are_of_the_right_size),
		cmocka_unit_test(edge_memory_is_bounded_and_keeps_the_freshest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
