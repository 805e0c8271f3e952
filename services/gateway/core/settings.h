/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the user wants of this node: one struct, one text file, one table of keys.
 *
 * The text is what the store writes and people read: `[section]` and `key = value` (lib/conf.h),
 * with a version. Keys that a file lacks keep the value they had before parsing, so the defaults of
 * node.ini hold until the user changes something. Pure. */
#ifndef GATEWAY_SETTINGS_H
#define GATEWAY_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conf.h"

#define SETTINGS_VERSION 1
#define SETTINGS_COUNTRIES_MAX 16 /* as in proto/router.options */
#define SETTINGS_TEXT_MAX 2048	  /* bytes of the file that settings_show writes, generous */
/* Dearest price and cap that can be set: a million coins a GiB. Keeps products far from 2^64. */
#define SETTINGS_GWEI_MAX 1000000000000000ull
#define SETTINGS_HOP_INTERVAL_MIN_S 60 /* more often would cost more in handshakes than it hides   \
					*/
#define SETTINGS_HOP_INTERVAL_MAX_S 86400

struct settings {
	uint64_t version;
	/* session */
	bool on;
	uint64_t n_hops;				 /* 1..3 */
	char exit_countries[4 * SETTINGS_COUNTRIES_MAX]; /* "CH,SE"; "": any; room for blanks */
	uint64_t hop_interval_s;			 /* 0: never */
	/* share */
	bool share, share_exit;	     /* exit counts only while share is on */
	uint64_t share_rate_Bps;     /* 0: no limit */
	uint64_t share_sessions_max; /* 0: the tunnel's default */
	/* pay */
	bool pay;
	uint64_t price_max_gwei_per_gib; /* per hop; 0: no cap */
	uint64_t spend_max_gwei_per_day; /* 0: no cap */
	/* prices */
	bool earn;
	uint64_t entry_gwei_per_gib, middle_gwei_per_gib, exit_gwei_per_gib;
};

/* Reads a file into *s, which holds the defaults. ERR_INVALID: ret_why says what and where, and *s
 * is not to be used. */
NODISCARD enum err settings_parse(
	const char *text, struct settings *s, char ret_why[static CONF_WHY_MAX]);

/* The file's text. */
void settings_show(const struct settings *s, char ret_text[static SETTINGS_TEXT_MAX]);

/* Is each value possible? Also brings the list of countries into its plain form (capital letters,
 * no blanks, no country twice). ERR_INVALID. */
NODISCARD enum err settings_check(struct settings *s, char ret_why[static CONF_WHY_MAX]);

/* One value by the name it has in the file. Does not check the whole. ERR_NOT_FOUND, ERR_INVALID.
 */
NODISCARD enum err settings_set(struct settings *s, const char *section, const char *key,
	const char *value, char ret_why[static CONF_WHY_MAX]);

/* Section, key and value of entry i, for people; false past the end. */
bool settings_entry(const struct settings *s, size_t i, const char **ret_section,
	const char **ret_key, char ret_value[static CONF_WHY_MAX]);

/* The wanted countries, ret[i] NUL-terminated; returns how many. */
size_t settings_countries(const struct settings *s, char ret[static SETTINGS_COUNTRIES_MAX][3]);

#endif
