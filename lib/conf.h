/* SPDX-License-Identifier: GPL-2.0-or-later */
/* node.ini: one table of keys per service, checked values, errors that say what to do. Pure: works
 * on text that the caller read. */
#ifndef LIB_CONF_H
#define LIB_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum conf_type {
	CONF_TEXT,   /* char[size] */
	CONF_LIST,   /* char[size], words joined by commas; given again or continued on an
		      * indented line it grows (a line of node.ini holds at most 199 characters) */
	CONF_U64,    /* uint64_t, min..max */
	CONF_BOOL,   /* bool: yes/no/on/off/true/false */
	CONF_ENDPOINT, /* struct net_endpoint */
	CONF_ADDR,   /* struct net_addr */
	CONF_PREFIX, /* struct net_prefix */
	CONF_HEX     /* uint8_t[size], exactly size bytes */
};

struct conf_key {
	const char *section; /* "+name": another service's, whose other keys are not ours to judge */
	const char *key;
	enum conf_type type;
	size_t offset;	   /* in the caller's struct */
	size_t size;	   /* CONF_TEXT, CONF_LIST, CONF_HEX: bytes of the field */
	const char *def;   /* default as text; NULL: the field stays as it is */
	uint64_t min, max; /* CONF_U64 */
	const char *help;  /* one line, for the example file and errors */
};

#define CONF_WHY_MAX 256

/* Fills `out` with defaults, then with `text`. Sections that no key names belong to other services
 * and are passed over; an unknown key in a known section is an error that names the likely one.
 * On error ret_why says line, what is wrong and what would be right, and `out` is not to be used. */
NODISCARD enum err conf_parse(const char *text, const struct conf_key *keys, size_t n_keys,
	void *out, char ret_why[static CONF_WHY_MAX]);

/* Is every section of text (that holds anything) one of these? ERR_INVALID with the line, the section and the
 * likely one. A line that cannot be read is left to conf_parse. */
NODISCARD enum err conf_sections(const char *text, const char *const *sections, size_t n,
	char ret_why[static CONF_WHY_MAX]);

/* One value as conf_parse would take it: for settings that come another way. */
NODISCARD enum err conf_value(const struct conf_key *k, const char *value, void *out,
	char ret_why[static CONF_WHY_MAX]);

#endif
