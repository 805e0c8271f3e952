/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "lib/conf.h"
#include "lib/net.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct sample {
	char text[16], list[32];
	uint64_t n;
	bool flag;
	struct net_endpoint ep;
	struct net_addr addr;
	struct net_prefix prefix;
	uint8_t key[4];
};

#define AT(f) offsetof(struct sample, f)

static const struct conf_key keys[] = {
	{"node", "text", CONF_TEXT, AT(text), 16, "", 0, 0, ""},
	{"s", "list", CONF_LIST, AT(list), 32, "", 0, 0, ""},
	{"s", "n", CONF_U64, AT(n), 0, "3", 2, 70000, ""},
	{"s", "flag", CONF_BOOL, AT(flag), 0, "no", 0, 0, ""},
	{"s", "ep", CONF_ENDPOINT, AT(ep), 0, NULL, 0, 0, ""},
	{"s", "addr", CONF_ADDR, AT(addr), 0, NULL, 0, 0, ""},
	{"s", "prefix", CONF_PREFIX, AT(prefix), 0, NULL, 0, 0, ""},
	{"s", "key", CONF_HEX, AT(key), 4, NULL, 0, 0, ""},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sample s;
	char why[CONF_WHY_MAX] = "";
	char *text = malloc(len + 1);

	memcpy(text, data, len);
	text[len] = '\0';
	memset(&s, 0, sizeof(s));
	if (conf_parse(text, keys, sizeof(keys) / sizeof(keys[0]), &s, why) == OK) {
		if (s.n < 2 || s.n > 70000 || strlen(s.text) > 15 || strlen(s.list) > 31)
			abort();
	} else if (why[0] == '\0') {
		abort(); /* an error must say what to do */
	}
	free(text);
	return 0;
}
