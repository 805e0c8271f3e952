/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "lib/conf.h"
#include "lib/net.h"

struct sample {
	char name[8];
	char peers[40];
	uint64_t port;
	bool share;
	struct net_prefix lan;
	uint8_t key[4];
	uint64_t their_mtu;
};

static const struct conf_key keys[] = {
	{"node", "name", CONF_TEXT, offsetof(struct sample, name), 8, "x", 0, 0, "name"},
	{"s", "peers", CONF_LIST, offsetof(struct sample, peers), 40, "", 0, 0, "peers"},
	{"s", "port", CONF_U64, offsetof(struct sample, port), 0, "51820", 1, 65535, "port"},
	{"s", "share", CONF_BOOL, offsetof(struct sample, share), 0, "no", 0, 0, "share"},
	{"s", "lan", CONF_PREFIX, offsetof(struct sample, lan), 0, NULL, 0, 0, "lan"},
	{"s", "key", CONF_HEX, offsetof(struct sample, key), 4, NULL, 0, 0, "key"},
	{"+theirs", "mtu", CONF_U64, offsetof(struct sample, their_mtu), 0, "0", 0, 9000, "mtu"},
};
#define N_KEYS (sizeof(keys) / sizeof(keys[0]))

static void takes_values(void **state)
{
	struct sample s = {0};
	char why[CONF_WHY_MAX];

	(void)state;
	assert_int_equal(conf_parse("", keys, N_KEYS, &s, why), OK);
	assert_int_equal(s.port, 51820);
	assert_string_equal(s.name, "x");
	memset(&s, 0, sizeof(s));
	assert_int_equal(conf_parse("[node]\nname=abcdefg\nother=1\n[t]\nfoo=1\n[s]\npeers = a\n  b\n"
				    "peers=c\nport = 1k ; comment\nshare=ON\nlan=192.0.2.0/24\n"
				    "key=00ffA0b1\n[theirs]\nmtu=1400\nunheard=of\n",
				 keys, N_KEYS, &s, why),
		OK);
	assert_string_equal(s.name, "abcdefg");
	assert_string_equal(s.peers, "a,b,c");
	assert_int_equal(s.port, 1024);
	assert_true(s.share);
	assert_int_equal(s.lan.bits, 24);
	assert_int_equal(s.key[2], 0xa0);
	assert_int_equal(s.their_mtu, 1400);
}

static void a_section_that_nobody_has(void **state)
{
	static const char *const all[] = {"node", "tunnel", "router"};
	char why[CONF_WHY_MAX];

	(void)state;
	assert_int_equal(conf_sections("", all, 3, why), OK);
	assert_int_equal(conf_sections("[router]\na = 1\n[node]\nb = 2\n", all, 3, why), OK);
	assert_int_equal(conf_sections("[node]\na = 1\n[tunel]\nmtu = 1\n", all, 3, why), ERR_INVALID);
	assert_string_equal(why, "line 4: there is no section [tunel]; did you mean [tunnel]?");
	assert_int_equal(conf_sections("[x]\na = 1\n", all, 3, why), ERR_INVALID);
	assert_string_equal(why, "line 2: there is no section [x]");
}

static void says_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *words;
	} cases[] = {
		{"[s]\nprot=1\n", "line 2: [s] has no key 'prot'; did you mean 'port'?"},
		{"[s]\nport=0\n", "line 2: port: '0' is not a whole number from 1 to 65535"},
		{"[s]\nport=65536\n", "port: '65536' is not"}, {"[s]\nport=-1\n", "port: '-1' is not"},
		{"[s]\nport=99999999999999999999\n", "is not a whole number"},
		{"[s]\nport=18446744073709551615G\n", "is not a whole number"},
		{"[s]\nshare=maybe\n", "share: 'maybe' is neither yes nor no"},
		{"[node]\nname=abcdefgh\n", "name: longer than 7 characters"},
		{"[s]\nlan=192.0.2.1/24\n", "with zero host bits"},
		{"[s]\nkey=00ff\n", "key: not 8 hexadecimal digits"},
		{"[s]\nkey=00ffzz00\n", "key: not hexadecimal at digit 5"},
		{"[s\nport=1\n", "line 1: neither [section] nor key = value"},
		{"\n\njunk\n", "line 3: neither"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sample s = {0};
		char why[CONF_WHY_MAX] = "";
		assert_int_equal(conf_parse(cases[i].text, keys, N_KEYS, &s, why), ERR_INVALID);
		if (strstr(why, cases[i].words) == NULL)
			fail_msg("'%s' lacks '%s'", why, cases[i].words);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_values),
		cmocka_unit_test(a_section_that_nobody_has),
		cmocka_unit_test(says_what_is_wrong),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
