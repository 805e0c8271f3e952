/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/geo.h"
#include "lib/net.h"

static void endpoints_round_trip(void **state)
{
	static const char *const good[] = {"192.0.2.1:51820", "[2001:db8::1]:1", "0.0.0.0:0"};
	static const char *const bad[] = {"", ":1", "192.0.2.1", "192.0.2.1:", "192.0.2.1:65536",
		"2001:db8::1:51820:", "[192.0.2.1]:1", "[2001:db8::1]", "[]:1", "[:1", "2001:db8::1",
		"192.0.2.1:+1", "192.0.2.1:1 ", "192.0.2.256:1"};
	char buf[NET_TEXT_MAX];

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct net_endpoint e;
		assert_int_equal(net_endpoint_parse(good[i], &e), OK);
		assert_string_equal(net_endpoint_show(&e, buf), good[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct net_endpoint e;
		assert_int_equal(net_endpoint_parse(bad[i], &e), ERR_INVALID);
	}
}

static void prefixes(void **state)
{
	struct net_prefix p;
	struct net_addr a;

	(void)state;
	assert_int_equal(net_prefix_parse("198.18.0.0/15", &p), OK);
	assert_int_equal(net_addr_parse("198.19.255.255", &a), OK);
	assert_true(net_prefix_has(&p, &a));
	assert_int_equal(net_addr_parse("198.20.0.0", &a), OK);
	assert_false(net_prefix_has(&p, &a));
	assert_int_equal(net_prefix_parse("198.18.0.1/15", &p), ERR_INVALID);
	assert_int_equal(net_prefix_parse("198.18.0.0/33", &p), ERR_INVALID);
	assert_int_equal(net_prefix_parse("::/0", &p), OK);
	assert_false(net_prefix_has(&p, &a));
}

static void what_is_public(void **state)
{
	static const struct {
		const char *addr;
		bool real, test;
	} cases[] = {
		{"8.8.8.8", true, true}, {"10.0.0.1", false, false}, {"100.64.0.1", false, false},
		{"100.128.0.1", true, true}, {"172.15.255.255", true, true},
		{"172.16.0.0", false, false}, {"192.168.1.1", false, false},
		{"169.254.1.1", false, false}, {"198.18.0.1", false, true},
		{"203.0.113.9", false, true}, {"224.0.0.1", false, false},
		{"255.255.255.255", false, false}, {"0.0.0.0", false, false},
		{"2001:db8::1", false, true}, {"2606:4700::1", true, true}, {"fe80::1", false, false},
		{"fd00::1", false, false}, {"::1", false, false}, {"ff02::1", false, false},
		{"::ffff:8.8.8.8", false, false}, {"2002:a00:1::", false, false},
		{"64:ff9b::808:808", false, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct net_addr a;
		assert_int_equal(net_addr_parse(cases[i].addr, &a), OK);
		if (net_is_public(&a, false) != cases[i].real ||
			net_is_public(&a, true) != cases[i].test)
			fail_msg("%s", cases[i].addr);
	}
}

static void geo_longest_prefix(void **state)
{
	static const char *const lines[] = {"198.18.0.0/15, CH, 64500, a", "198.18.0.0/16,DE,64501,b",
		"198.18.128.0/17,FR,64502,c", "192.0.2.0/24,US,64503,d", "2001:db8::/32,CH,1,e",
		"2001:db8:1::/48,JP,2,f"};
	struct geo_row rows[6];
	struct geo g = {rows, 6};
	static const struct {
		const char *addr, *country;
	} cases[] = {{"198.18.1.1", "DE"}, {"198.18.200.1", "FR"}, {"198.19.0.1", "CH"},
		{"192.0.2.255", "US"}, {"192.0.3.0", NULL}, {"1.1.1.1", NULL},
		{"2001:db8:1::5", "JP"}, {"2001:db8:2::5", "CH"}, {"2001:db9::", NULL}};

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(geo_row_parse(lines[i], &rows[i]), OK);
	geo_sort(&g);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct net_addr a;
		assert_int_equal(net_addr_parse(cases[i].addr, &a), OK);
		const struct geo_row *r = geo_find(&g, &a);
		if (cases[i].country == NULL)
			assert_null(r);
		else
			assert_string_equal(r->country, cases[i].country);
	}
}

static void geo_lines(void **state)
{
	struct geo_row r;

	(void)state;
	assert_int_equal(geo_row_parse("# comment", &r), ERR_NOT_FOUND);
	assert_int_equal(geo_row_parse("  \n", &r), ERR_NOT_FOUND);
	assert_int_equal(geo_row_parse("192.0.2.0/24,ch,1,x", &r), ERR_INVALID);
	assert_int_equal(geo_row_parse("192.0.2.0/24,CH", &r), ERR_INVALID);
	assert_int_equal(geo_row_parse("192.0.2.0/24,CH,-1", &r), ERR_INVALID);
	assert_int_equal(geo_row_parse("192.0.2.0/24,CH,4294967296", &r), ERR_INVALID);
	assert_int_equal(geo_row_parse("192.0.2.0/24,CH,4294967295", &r), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_round_trip),
		cmocka_unit_test(prefixes),
		cmocka_unit_test(what_is_public),
		cmocka_unit_test(geo_longest_prefix),
		cmocka_unit_test(geo_lines),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
