/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "settings.h"

#include <stdio.h>
#include <string.h>

#define AT(field) offsetof(struct settings, field), sizeof(((struct settings *)0)->field)

/* Order is the order in the file: keys of a section stand together. */
static const struct conf_key keys[] = {
	{"settings", "version", CONF_U64, AT(version), NULL, 1, UINT32_MAX, "of this file's form"},
	{"session", "on", CONF_BOOL, AT(on), NULL, 0, 0, "connected, or trying to be"},
	{"session", "hops", CONF_U64, AT(n_hops), NULL, 1, 3,
		"relays between us and the destination"},
	{"session", "exit_countries", CONF_LIST, AT(exit_countries), NULL, 0, 0,
		"where traffic may leave, such as CH, SE; empty: anywhere"},
	{"session", "hop_interval_s", CONF_U64, AT(hop_interval_s), NULL, 0,
		SETTINGS_HOP_INTERVAL_MAX_S, "seconds between changes of the route; 0: none"},
	{"share", "on", CONF_BOOL, AT(share), NULL, 0, 0, "relay for others"},
	{"share", "exit", CONF_BOOL, AT(share_exit), NULL, 0, 0, "be an exit for others"},
	{"share", "rate_Bps", CONF_U64, AT(share_rate_Bps), NULL, 0, 1ull << 40,
		"bytes a second for others; 0: no limit"},
	{"share", "sessions_max", CONF_U64, AT(share_sessions_max), NULL, 0, 1 << 20,
		"sessions of others; 0: as many as the tunnel can"},
	{"pay", "on", CONF_BOOL, AT(pay), NULL, 0, 0, "pay relays; no: use free ones only"},
	{"pay", "price_max_gwei_per_gib", CONF_U64, AT(price_max_gwei_per_gib), NULL, 0,
		SETTINGS_GWEI_MAX, "dearest relay to use; 0: any"},
	{"pay", "spend_max_gwei_per_day", CONF_U64, AT(spend_max_gwei_per_day), NULL, 0,
		SETTINGS_GWEI_MAX, "0: no cap"},
	{"prices", "earn", CONF_BOOL, AT(earn), NULL, 0, 0, "ask to be paid; no: relay for free"},
	{"prices", "entry_gwei_per_gib", CONF_U64, AT(entry_gwei_per_gib), NULL, 0,
		SETTINGS_GWEI_MAX, "as first hop"},
	{"prices", "middle_gwei_per_gib", CONF_U64, AT(middle_gwei_per_gib), NULL, 0,
		SETTINGS_GWEI_MAX, "in between"},
	{"prices", "exit_gwei_per_gib", CONF_U64, AT(exit_gwei_per_gib), NULL, 0, SETTINGS_GWEI_MAX,
		"as exit"},
};

#define KEYS_N (sizeof(keys) / sizeof(keys[0]))

enum err settings_parse(const char *text, struct settings *s, char ret_why[static CONF_WHY_MAX])
{
	s->version = 0;
	s->exit_countries[0] = '\0'; /* a list grows */
	TRY(conf_parse(text, keys, KEYS_N, s, ret_why));
	if (s->version == 0) {
		snprintf(ret_why, CONF_WHY_MAX,
			"[settings] version is missing: not a settings file");
		return ERR_INVALID;
	}
	if (s->version > SETTINGS_VERSION) {
		snprintf(ret_why, CONF_WHY_MAX,
			"version %llu was written by a newer mvpn, this one reads up to %d",
			(unsigned long long)s->version, SETTINGS_VERSION);
		return ERR_INVALID;
	}
	return settings_check(s, ret_why);
}

static void value_show(const struct settings *s, const struct conf_key *k, char *ret, size_t size)
{
	const void *at = (const char *)s + k->offset;
	uint64_t n;
	bool b;

	switch (k->type) {
	case CONF_BOOL:
		memcpy(&b, at, sizeof(b));
		snprintf(ret, size, "%s", b ? "yes" : "no");
		return;
	case CONF_U64:
		memcpy(&n, at, sizeof(n));
		snprintf(ret, size, "%llu", (unsigned long long)n);
		return;
	case CONF_TEXT:
	case CONF_LIST:
		snprintf(ret, size, "%s", (const char *)at);
		return;
	case CONF_ENDPOINT:
	case CONF_ADDR:
	case CONF_PREFIX:
	case CONF_HEX:
		break; /* no setting has such a type */
	}
	ret[0] = '\0';
}

bool settings_entry(const struct settings *s, size_t i, const char **ret_section,
	const char **ret_key, char ret_value[static CONF_WHY_MAX])
{
	if (i >= KEYS_N)
		return false;
	*ret_section = keys[i].section;
	*ret_key = keys[i].key;
	value_show(s, &keys[i], ret_value, CONF_WHY_MAX);
	return true;
}

void settings_show(const struct settings *s, char ret_text[static SETTINGS_TEXT_MAX])
{
	const char *section = "";
	size_t len = (size_t)snprintf(ret_text, SETTINGS_TEXT_MAX,
		"# What the user wants of this node. Written by the gateway, changed by the page "
		"and by\n"
		"# `mvpn`; stop the gateway before changing it by hand.\n");

	for (size_t i = 0; i < KEYS_N; i++) {
		char value[CONF_WHY_MAX];

		if (strcmp(section, keys[i].section) != 0)
			len += (size_t)snprintf(ret_text + len, SETTINGS_TEXT_MAX - len, "\n[%s]\n",
				keys[i].section);
		section = keys[i].section;
		value_show(s, &keys[i], value, sizeof(value));
		len += (size_t)snprintf(
			ret_text + len, SETTINGS_TEXT_MAX - len, "%s = %s\n", keys[i].key, value);
		BUG_ON(len >= SETTINGS_TEXT_MAX);
	}
}

/* ---- countries ---- */

static bool is_letter(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Appends cc to the list unless it is there. ERR_FULL past the bound. */
static enum err country_add(char *list, size_t size, const char cc[static 2])
{
	const char code[3] = {(char)(cc[0] & ~0x20), (char)(cc[1] & ~0x20), '\0'};
	size_t len = strlen(list);

	for (size_t i = 0; i + 1 < len; i += 3)
		if (memcmp(list + i, code, 2) == 0)
			return OK;
	if (len + 3 >= size)
		return ERR_FULL;
	snprintf(list + len, size - len, "%s%s", len > 0 ? "," : "", code);
	return OK;
}

static enum err countries_check(struct settings *s, char *why)
{
	char plain[3 * SETTINGS_COUNTRIES_MAX + 1] = "";
	const char *p = s->exit_countries;

	while (*p != '\0') {
		size_t len = strcspn(p, ", \t");

		if (len == 2 && is_letter(p[0]) && is_letter(p[1])) {
			if (country_add(plain, sizeof(plain), p) != OK) {
				snprintf(why, CONF_WHY_MAX, "at most %d exit countries",
					SETTINGS_COUNTRIES_MAX);
				return ERR_INVALID;
			}
		} else if (len > 0) {
			snprintf(why, CONF_WHY_MAX,
				"exit country '%.*s' is not a two-letter code such as CH",
				(int)(len < 20 ? len : 20), p);
			return ERR_INVALID;
		}
		p += len;
		p += strspn(p, ", \t");
	}
	memset(s->exit_countries, 0, sizeof(s->exit_countries));
	memcpy(s->exit_countries, plain, strlen(plain));
	return OK;
}

size_t settings_countries(const struct settings *s, char ret[static SETTINGS_COUNTRIES_MAX][3])
{
	size_t len = strlen(s->exit_countries), n = 0;

	for (size_t i = 0; i + 1 < len && n < SETTINGS_COUNTRIES_MAX; i += 3, n++) {
		memcpy(ret[n], s->exit_countries + i, 2);
		ret[n][2] = '\0';
	}
	return n;
}

/* ---- checks ---- */

enum err settings_check(struct settings *s, char ret_why[static CONF_WHY_MAX])
{
	const uint64_t gwei[] = {s->price_max_gwei_per_gib, s->spend_max_gwei_per_day,
		s->entry_gwei_per_gib, s->middle_gwei_per_gib, s->exit_gwei_per_gib};

	if (s->n_hops < 1 || s->n_hops > 3) {
		snprintf(ret_why, CONF_WHY_MAX, "hops must be 1, 2 or 3");
		return ERR_INVALID;
	}
	if (s->hop_interval_s != 0 && (s->hop_interval_s < SETTINGS_HOP_INTERVAL_MIN_S ||
					      s->hop_interval_s > SETTINGS_HOP_INTERVAL_MAX_S)) {
		snprintf(ret_why, CONF_WHY_MAX, "hop_interval_s must be 0 (never) or from %d to %d",
			SETTINGS_HOP_INTERVAL_MIN_S, SETTINGS_HOP_INTERVAL_MAX_S);
		return ERR_INVALID;
	}
	for (size_t i = 0; i < sizeof(gwei) / sizeof(gwei[0]); i++) {
		if (gwei[i] <= SETTINGS_GWEI_MAX)
			continue;
		snprintf(ret_why, CONF_WHY_MAX, "a price or cap is over %llu gwei",
			(unsigned long long)SETTINGS_GWEI_MAX);
		return ERR_INVALID;
	}
	return countries_check(s, ret_why);
}

enum err settings_set(struct settings *s, const char *section, const char *key, const char *value,
	char ret_why[static CONF_WHY_MAX])
{
	for (size_t i = 0; i < KEYS_N; i++) {
		if (strcmp(keys[i].section, section) != 0 || strcmp(keys[i].key, key) != 0)
			continue;
		if (keys[i].type == CONF_LIST)
			memset((char *)s + keys[i].offset, 0, keys[i].size);
		return conf_value(&keys[i], value, s, ret_why);
	}
	snprintf(ret_why, CONF_WHY_MAX,
		"no setting %.30s %.40s; `gatewayctl show settings` lists them", section, key);
	return ERR_NOT_FOUND;
}
