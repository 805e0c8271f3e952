/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/core/settings.h"

static const struct settings defaults = {.n_hops = 3, .pay = true, .hop_interval_s = 600};

static void file_round_trip(void **state)
{
	struct settings a = {.version = SETTINGS_VERSION,
		.on = true,
		.n_hops = 2,
		.exit_countries = "CH,SE",
		.hop_interval_s = 86400,
		.share = true,
		.share_exit = true,
		.share_rate_Bps = 1 << 20,
		.share_sessions_max = 7,
		.price_max_gwei_per_gib = 11,
		.spend_max_gwei_per_day = SETTINGS_GWEI_MAX,
		.earn = true,
		.entry_gwei_per_gib = 1,
		.middle_gwei_per_gib = 2,
		.exit_gwei_per_gib = 3};
	struct settings b = defaults;
	char text[SETTINGS_TEXT_MAX], why[CONF_WHY_MAX];

	(void)state;
	settings_show(&a, text);
	assert_int_equal(settings_parse(text, &b, why), OK);
	assert_memory_equal(&a, &b, sizeof(a));
	/* The longest value of each key fits the file's bound, and reads back. */
	for (int i = 0; i < SETTINGS_COUNTRIES_MAX; i++)
		memcpy(a.exit_countries + 3 * i, (char[]){'A', (char)('A' + i), ','}, 3);
	a.exit_countries[3 * SETTINGS_COUNTRIES_MAX - 1] = '\0';
	a.price_max_gwei_per_gib = a.entry_gwei_per_gib = a.middle_gwei_per_gib =
		a.exit_gwei_per_gib = SETTINGS_GWEI_MAX;
	settings_show(&a, text);
	assert_int_equal(settings_parse(text, &b, why), OK);
	assert_memory_equal(&a, &b, sizeof(a));
}

static void absent_keys_keep_defaults(void **state)
{
	struct settings s = defaults;
	char why[CONF_WHY_MAX];

	(void)state;
	assert_int_equal(
		settings_parse("[settings]\nversion = 1\n[session]\non = yes\n", &s, why), OK);
	assert_true(s.on);
	assert_true(s.pay);
	assert_int_equal(s.n_hops, 3);
	assert_int_equal(s.hop_interval_s, 600);
}

static void files_that_are_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "version"},
		{"[session]\non = yes\n", "version"},
		{"[settings]\nversion = 2\n", "newer"},
		{"[settings]\nversion = 0\n", "version"},
		{"[settings]\nversion = 1\n[session]\nhops = 4\n", "hops"},
		{"[settings]\nversion = 1\n[session]\nhops = 0\n", "hops"},
		{"[settings]\nversion = 1\n[session]\nhop_interval_s = 59\n", "hop_interval_s"},
		{"[settings]\nversion = 1\n[session]\nhop_interval_s = 86401\n", "hop_interval_s"},
		{"[settings]\nversion = 1\n[session]\nexit_countries = CHE\n", "CHE"},
		{"[settings]\nversion = 1\n[session]\nexit_countries = C1\n", "C1"},
		{"[settings]\nversion = 1\n[session]\nexit_country = CH\n", "exit_countries"},
		{"[settings]\nversion = 1\n[pay]\non = perhaps\n", "line 4"},
		{"[settings]\nversion = 1\n[prices]\nexit_gwei_per_gib = 1000000000000001\n",
			"line 4"},
		{"[settings\nversion = 1\n", "line 1"},
		{"\x7f"
		 "ELF\x02\x01\x01",
			"line 1"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings s = defaults;
		char why[CONF_WHY_MAX] = "";

		assert_int_equal(settings_parse(cases[i].text, &s, why), ERR_INVALID);
		assert_non_null(strstr(why, cases[i].why));
	}
}

static void countries_in_plain_form(void **state)
{
	static const struct {
		const char *given, *plain;
		size_t n;
	} cases[] = {{"", "", 0}, {"ch", "CH", 1}, {" ch, se ,ch,", "CH,SE", 2}, {",,", "", 0},
		{"aa bb", "AA,BB", 2}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings s = defaults;
		char why[CONF_WHY_MAX], list[SETTINGS_COUNTRIES_MAX][3];

		assert_int_equal(
			settings_set(&s, "session", "exit_countries", cases[i].given, why), OK);
		assert_int_equal(settings_check(&s, why), OK);
		assert_string_equal(s.exit_countries, cases[i].plain);
		assert_int_equal(settings_countries(&s, list), cases[i].n);
		if (cases[i].n > 0)
			assert_memory_equal(list[0], cases[i].plain, 2);
	}
}

static void countries_at_the_bound(void **state)
{
	struct settings s = defaults;
	char why[CONF_WHY_MAX], list[SETTINGS_COUNTRIES_MAX][3];

	(void)state;
	assert_int_equal(settings_set(&s, "session", "exit_countries",
				 "AA,AB,AC,AD,AE,AF,AG,AH,AI,AJ,AK,AL,AM,AN,AO,AP", why),
		OK);
	assert_int_equal(settings_check(&s, why), OK);
	assert_int_equal(settings_countries(&s, list), SETTINGS_COUNTRIES_MAX);
	assert_string_equal(list[SETTINGS_COUNTRIES_MAX - 1], "AP");
	assert_int_equal(settings_set(&s, "session", "exit_countries",
				 "AA,AB,AC,AD,AE,AF,AG,AH,AI,AJ,AK,AL,AM,AN,AO,AP,AQ", why),
		OK);
	assert_int_equal(settings_check(&s, why), ERR_INVALID);
	/* Twice the same is one. */
	assert_int_equal(settings_set(&s, "session", "exit_countries",
				 "AA,AB,AC,AD,AE,AF,AG,AH,AI,AJ,AK,AL,AM,AN,AO,AP,AP", why),
		OK);
	assert_int_equal(settings_check(&s, why), OK);
}

static void one_value_by_name(void **state)
{
	struct settings s = defaults;
	char why[CONF_WHY_MAX] = "";

	(void)state;
	assert_int_equal(settings_set(&s, "share", "on", "yes", why), OK);
	assert_true(s.share);
	assert_int_equal(settings_set(&s, "share", "off", "yes", why), ERR_NOT_FOUND);
	assert_int_equal(settings_set(&s, "share", "on", "maybe", why), ERR_INVALID);
	assert_int_equal(settings_set(&s, "session", "hops", "4", why), ERR_INVALID);
	assert_int_equal(settings_set(&s, "session", "hops", "1", why), OK);
	assert_int_equal(s.n_hops, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(file_round_trip),
		cmocka_unit_test(absent_keys_keep_defaults),
		cmocka_unit_test(files_that_are_refused),
		cmocka_unit_test(countries_in_plain_form),
		cmocka_unit_test(countries_at_the_bound),
		cmocka_unit_test(one_value_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
