/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/core/sections.h"

/* A bus that notes what was sent, or has no room. */
struct bus {
	uint64_t next_id;
	bool full;
	unsigned int n[SECTIONS];
	uint64_t last_id[SECTIONS];
};

static uint64_t send(void *ctx, enum section what)
{
	struct bus *b = ctx;

	if (b->full)
		return 0;
	b->n[what]++;
	return b->last_id[what] = ++b->next_id;
}

static const mono_t t0 = {1000000000000ull};

static mono_t at(uint64_t ms)
{
	return mono_add(t0, DUR_MS(ms));
}

static void sent_on_link_and_on_change(void **state)
{
	struct bus b = {0};
	const struct sections_sink sink = {send, &b};
	struct sections s;
	enum section what;

	(void)state;
	sections_init(&s);
	sections_tick(&s, at(0), &sink);
	assert_int_equal(b.next_id, 0); /* nobody is linked */
	assert_true(sections_deadline(&s).ns == MONO_NEVER.ns);

	sections_on_link(&s, PEER_ROUTER, at(1));
	sections_tick(&s, at(1), &sink);
	assert_int_equal(b.n[SECTION_SESSION], 1);
	assert_int_equal(b.n[SECTION_ROUTER], 1);
	assert_int_equal(b.next_id, 2);
	assert_true(sections_on_done(&s, b.last_id[SECTION_SESSION], true, "", at(2), &what));
	assert_int_equal(what, SECTION_SESSION);
	assert_false(sections_on_done(&s, b.last_id[SECTION_SESSION], true, "", at(2), &what));
	assert_false(sections_on_done(&s, 0, true, "", at(2), &what));
	assert_false(sections_on_done(&s, 99, true, "", at(2), &what));

	/* A change overtakes an order that still waits, whose answer then counts for nothing. */
	uint64_t old = b.last_id[SECTION_ROUTER];
	sections_on_change(&s, 1u << SECTION_ROUTER | 1u << SECTION_LEDGER, at(3));
	assert_false(sections_on_done(&s, old, true, "", at(3), &what));
	sections_tick(&s, at(3), &sink);
	assert_int_equal(b.n[SECTION_ROUTER], 2);
	assert_int_equal(b.n[SECTION_LEDGER], 0); /* not linked: due when it is */
	assert_false(sections_on_done(&s, old, true, "", at(4), &what));
	sections_on_link(&s, PEER_LEDGER, at(5));
	sections_tick(&s, at(5), &sink);
	assert_int_equal(b.n[SECTION_LEDGER], 1);
}

static void repeated_and_missed(void **state)
{
	struct bus b = {0};
	const struct sections_sink sink = {send, &b};
	struct sections s;
	enum section what;

	(void)state;
	sections_init(&s);
	sections_on_link(&s, PEER_TUNNEL, at(0));
	sections_tick(&s, at(0), &sink);
	assert_true(sections_deadline(&s).ns == at(4000).ns);
	sections_tick(&s, at(3999), &sink);
	assert_false(s.silent[PEER_TUNNEL]);
	sections_tick(&s, at(4000), &sink); /* no answer: silent, asked again */
	assert_true(s.silent[PEER_TUNNEL]);
	assert_int_equal(b.n[SECTION_TUNNEL], 2);
	sections_on_word(&s, PEER_TUNNEL);
	assert_false(s.silent[PEER_TUNNEL]);
	assert_true(sections_on_done(&s, b.last_id[SECTION_TUNNEL], true, "", at(4001), &what));
	/* Said again after ten seconds, though nothing changed. */
	assert_true(sections_deadline(&s).ns == at(14001).ns);
	sections_tick(&s, at(14000), &sink);
	assert_int_equal(b.n[SECTION_TUNNEL], 2);
	sections_tick(&s, at(14001), &sink);
	assert_int_equal(b.n[SECTION_TUNNEL], 3);
	/* A link that goes takes the waiting with it. */
	sections_on_unlink(&s, PEER_TUNNEL);
	sections_tick(&s, at(30000), &sink);
	assert_false(s.silent[PEER_TUNNEL]);
	assert_int_equal(b.n[SECTION_TUNNEL], 3);
	assert_int_equal(s.at[SECTION_TUNNEL].n_unanswered, 1);
}

static void no_room_on_the_bus(void **state)
{
	struct bus b = {.full = true};
	const struct sections_sink sink = {send, &b};
	struct sections s;

	(void)state;
	sections_init(&s);
	sections_on_link(&s, PEER_DISCOVERY, at(0));
	sections_tick(&s, at(0), &sink);
	assert_true(sections_deadline(&s).ns == at(100).ns);
	b.full = false;
	sections_tick(&s, at(99), &sink);
	assert_int_equal(b.n[SECTION_DISCOVERY], 0);
	sections_tick(&s, at(100), &sink);
	assert_int_equal(b.n[SECTION_DISCOVERY], 1);
}

static void refusal_is_kept_until_taken(void **state)
{
	struct bus b = {0};
	const struct sections_sink sink = {send, &b};
	struct sections s;
	enum section what;

	(void)state;
	sections_init(&s);
	sections_on_link(&s, PEER_LEDGER, at(0));
	sections_tick(&s, at(0), &sink);
	assert_true(
		sections_on_done(&s, b.last_id[SECTION_LEDGER], false, "no \xff", at(1), &what));
	assert_string_equal(s.at[SECTION_LEDGER].refused, "no ?");
	sections_on_change(&s, 1u << SECTION_LEDGER, at(2));
	sections_tick(&s, at(2), &sink);
	assert_string_equal(s.at[SECTION_LEDGER].refused, "no ?");
	assert_true(sections_on_done(&s, b.last_id[SECTION_LEDGER], true, "", at(3), &what));
	assert_string_equal(s.at[SECTION_LEDGER].refused, "");
}

static void each_setting_has_its_sections(void **state)
{
	static const struct {
		const char *section, *key, *value;
		uint32_t mask;
	} cases[] = {
		{"session", "on", "yes", 1u << SECTION_SESSION},
		{"session", "hops", "1", 1u << SECTION_SESSION},
		{"session", "exit_countries", "CH", 1u << SECTION_SESSION},
		{"session", "hop_interval_s", "60", 1u << SECTION_ROUTER},
		{"share", "on", "yes", 1u << SECTION_TUNNEL | 1u << SECTION_DISCOVERY},
		{"share", "exit", "yes", 1u << SECTION_TUNNEL | 1u << SECTION_DISCOVERY},
		{"share", "rate_Bps", "1", 1u << SECTION_TUNNEL},
		{"share", "sessions_max", "1", 1u << SECTION_TUNNEL},
		{"pay", "on", "yes", 1u << SECTION_ROUTER | 1u << SECTION_LEDGER},
		{"pay", "price_max_gwei_per_gib", "1", 1u << SECTION_ROUTER},
		{"pay", "spend_max_gwei_per_day", "1", 1u << SECTION_LEDGER},
		{"prices", "earn", "yes", 1u << SECTION_LEDGER},
		{"prices", "entry_gwei_per_gib", "1", 1u << SECTION_LEDGER},
		{"prices", "middle_gwei_per_gib", "1", 1u << SECTION_LEDGER},
		{"prices", "exit_gwei_per_gib", "1", 1u << SECTION_LEDGER},
	};
	const struct settings a = {.version = 1, .n_hops = 3};
	size_t n_keys = 0;
	const char *section, *key;
	char value[CONF_WHY_MAX];

	(void)state;
	assert_int_equal(sections_changed(&a, &a), 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct settings b = a;
		char why[CONF_WHY_MAX];

		assert_int_equal(
			settings_set(&b, cases[i].section, cases[i].key, cases[i].value, why), OK);
		assert_int_equal(sections_changed(&a, &b), cases[i].mask);
	}
	/* All keys but the version are in the table above. */
	while (settings_entry(&a, n_keys, &section, &key, value))
		n_keys++;
	assert_int_equal(n_keys - 1, sizeof(cases) / sizeof(cases[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sent_on_link_and_on_change),
		cmocka_unit_test(repeated_and_missed),
		cmocka_unit_test(no_room_on_the_bus),
		cmocka_unit_test(refusal_is_kept_until_taken),
		cmocka_unit_test(each_setting_has_its_sections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
