/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/core/door.h"
#include "services/gateway/core/text.h"

#define PORT 8787
static const char token[] = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";

static void hosts(void **state)
{
	static const char *const good[] = {
		"127.0.0.1:8787", "localhost:8787", "LOCALHOST:8787", "[::1]:8787"};
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:8788", "127.0.0.1:87870",
		"127.0.0.1:8787 ", "localhost.evil.test:8787", "evil.test:8787",
		"127.0.0.1.evil.test:8787", "127.1:8787", "0.0.0.0:8787", "[::1]", "::1:8787",
		"localhost:8787@evil.test"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(door_host_ok(good[i], PORT));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(door_host_ok(bad[i], PORT));
	assert_true(door_host_ok("127.0.0.1", 80));
}

static void origins(void **state)
{
	static const char *const good[] = {"http://127.0.0.1:8787", "http://localhost:8787"};
	static const char *const bad[] = {"", "null", "https://127.0.0.1:8787", "http://evil.test",
		"http://evil.test:8787", "http://127.0.0.1:8788", "http://127.0.0.1:8787/",
		"127.0.0.1:8787", "file://", "http://127.0.0.1:8787.evil.test",
		"chrome-extension://abcdef", "evil://127.0.0.1:8787"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_true(door_origin_ok(good[i], PORT));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(door_origin_ok(bad[i], PORT));
}

static void tokens(void **state)
{
	static const struct {
		const char *header;
		bool ok;
	} cases[] = {
		{"mvpn.ui.1, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", true},
		{"mvpn.ui.1,auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", true},
		{"auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE, mvpn.ui.1", true},
		{"auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", false},
		{"mvpn.ui.1", false},
		{"", false},
		{",, ,", false},
		{"mvpn.ui.1, auth.", false},
		{"mvpn.ui.1, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCd", false},
		{"mvpn.ui.1, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEE", false},
		{"mvpn.ui.1, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdF", false},
		{"mvpn.ui.1, auth.abCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", false},
		{"mvpn.ui.1, AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", false},
		{"mvpn.ui, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", false},
		{"mvpn.ui.12, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", false},
		{"mvpn.ui.2, auth.AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(door_token_ok(cases[i].header, token), cases[i].ok);
}

static void token_file(void **state)
{
	static const char *const bad[] = {"", "\n", "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCd\n",
		"AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdEE",
		"AbCdEfGhIjKlMnOpQrStUvWxYz0123456789+/AbCdE",
		" AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCd",
		"AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE\n\n"};
	char got[DOOR_TOKEN_LEN + 1];

	(void)state;
	assert_int_equal(strlen(token), DOOR_TOKEN_LEN);
	assert_int_equal(door_token_parse(token, got), OK);
	assert_string_equal(got, token);
	assert_int_equal(
		door_token_parse("AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE\n", got), OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(door_token_parse(bad[i], got), ERR_INVALID);
}

static void text_becomes_valid(void **state)
{
	static const struct {
		const char *given, *clean;
	} cases[] = {
		{"", ""},
		{"plain", "plain"},
		{"Zürich \xe2\x82\xac \xf0\x9f\x98\x80", "Zürich \xe2\x82\xac \xf0\x9f\x98\x80"},
		{"tab\tnew\nline\x7f", "tab?new?line?"},
		{"\xff\xfe", "??"},
		{"\xc0\xaf", "??"}, /* overlong */
		{"\xe0\x80\x80", "???"},
		{"\xed\xa0\x80", "???"},      /* surrogate */
		{"\xf4\x90\x80\x80", "????"}, /* past U+10FFFF */
		{"cut \xe2\x82", "cut ??"},
		{"\xe2\x82"
		 "a",
			"??a"},
		{"\x80", "?"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char buf[64];

		memset(buf, 'x', sizeof(buf));
		memcpy(buf, cases[i].given, strlen(cases[i].given) + 1);
		text_clean(buf, sizeof(buf));
		assert_string_equal(buf, cases[i].clean);
	}
	/* Without an end it gets one, and a sequence cut by it goes. */
	char full[4] = {'a', 'b', '\xc3', '\xbc'};
	text_clean(full, sizeof(full));
	assert_string_equal(full, "ab?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hosts),
		cmocka_unit_test(origins),
		cmocka_unit_test(tokens),
		cmocka_unit_test(token_file),
		cmocka_unit_test(text_becomes_valid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
