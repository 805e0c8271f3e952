/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "conf.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <ini.h>

#include "net.h"

__attribute__((format(printf, 2, 3))) static enum err fail(
	char why[static CONF_WHY_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONF_WHY_MAX, fmt, ap);
	va_end(ap);
	return ERR_INVALID;
}

static enum err text_take(const struct conf_key *k, const char *v, char *at, char *why)
{
	if (strlen(v) >= k->size)
		return fail(why, "%s: longer than %zu characters", k->key, k->size - 1);
	memset(at, 0, k->size);
	memcpy(at, v, strlen(v));
	return OK;
}

static enum err list_take(const struct conf_key *k, const char *v, char *at, char *why)
{
	size_t have = strlen(at), more = strlen(v);

	while (more > 0 && strchr(", \t", v[more - 1]) != NULL)
		more--;
	if (have + 1 + more >= k->size)
		return fail(why, "%s: longer than %zu characters in all", k->key, k->size - 1);
	if (have > 0 && more > 0)
		at[have++] = ',';
	memcpy(at + have, v, more);
	at[have + more] = '\0';
	return OK;
}

/* A whole number, with an optional k, M or G (powers of 1024). */
static enum err u64_take(const struct conf_key *k, const char *v, uint64_t *at, char *why)
{
	size_t digits = strspn(v, "0123456789");
	const char *unit = v + digits;
	unsigned int shift = 0;

	if (strcmp(unit, "k") == 0)
		shift = 10;
	else if (strcmp(unit, "M") == 0)
		shift = 20;
	else if (strcmp(unit, "G") == 0)
		shift = 30;
	else if (*unit != '\0')
		digits = 0;
	uint64_t n = digits == 0 || digits > 19 ? UINT64_MAX : strtoull(v, NULL, 10);
	if (n > UINT64_MAX >> shift || n << shift > k->max || n << shift < k->min)
		return fail(why, "%s: '%.40s' is not a whole number from %llu to %llu", k->key, v,
			(unsigned long long)k->min, (unsigned long long)k->max);
	*at = n << shift;
	return OK;
}

static enum err bool_take(const struct conf_key *k, const char *v, bool *at, char *why)
{
	static const char *const yes[] = {"yes", "on", "true", "1"};
	static const char *const no[] = {"no", "off", "false", "0"};

	for (int i = 0; i < 4; i++) {
		if (strcasecmp(v, yes[i]) == 0 || strcasecmp(v, no[i]) == 0) {
			*at = strcasecmp(v, yes[i]) == 0;
			return OK;
		}
	}
	return fail(why, "%s: '%.40s' is neither yes nor no", k->key, v);
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef", *p = c == '\0' ? NULL : strchr(digits, c | 0x20);

	return p == NULL ? -1 : (int)(p - digits);
}

static enum err hex_take(const struct conf_key *k, const char *v, uint8_t *at, char *why)
{
	if (strlen(v) != 2 * k->size)
		return fail(why, "%s: not %zu hexadecimal digits", k->key, 2 * k->size);
	for (size_t i = 0; i < k->size; i++) {
		int hi = hex_digit(v[2 * i]), lo = hex_digit(v[2 * i + 1]);

		if (hi < 0 || lo < 0)
			return fail(why, "%s: not hexadecimal at digit %zu", k->key, 2 * i + 1);
		at[i] = (uint8_t)(hi << 4 | lo);
	}
	return OK;
}

static enum err parsed(const struct conf_key *k, const char *v, enum err e, const char *form, char *why)
{
	return e == OK ? OK : fail(why, "%s: '%.60s' is not %s", k->key, v, form);
}

enum err conf_value(
	const struct conf_key *k, const char *v, void *out, char ret_why[static CONF_WHY_MAX])
{
	void *at = (char *)out + k->offset;
	bool unset = v[0] == '\0';

	switch (k->type) {
	case CONF_TEXT:
		return text_take(k, v, at, ret_why);
	case CONF_LIST:
		return list_take(k, v, at, ret_why);
	case CONF_U64:
		return u64_take(k, v, at, ret_why);
	case CONF_BOOL:
		return bool_take(k, v, at, ret_why);
	case CONF_HEX:
		return hex_take(k, v, at, ret_why);
	case CONF_ENDPOINT:
		if (unset)
			return OK;
		return parsed(k, v, net_endpoint_parse(v, at),
			"address:port, such as 192.0.2.1:51820 or [2001:db8::1]:51820", ret_why);
	case CONF_ADDR:
		if (unset)
			return OK;
		return parsed(k, v, net_addr_parse(v, at), "an IPv4 or IPv6 address", ret_why);
	case CONF_PREFIX:
		if (unset)
			return OK;
		return parsed(k, v, net_prefix_parse(v, at),
			"a prefix, such as 192.0.2.0/24, with zero host bits", ret_why);
	}
	return fail(ret_why, "%s: unknown type", k->key);
}

struct parse {
	const struct conf_key *keys;
	size_t n_keys;
	void *out;
	char *why;
	bool failed;
};

/* How far apart two words are: characters in common at the front and the back. */
static size_t likeness(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), front = 0, back = 0;

	while (front < la && front < lb && a[front] == b[front])
		front++;
	while (back < la - front && back < lb - front && a[la - 1 - back] == b[lb - 1 - back])
		back++;
	return front + back;
}

static void unknown_key(struct parse *p, const char *section, const char *name)
{
	const char *best = NULL;
	size_t best_n = 1;

	for (size_t i = 0; i < p->n_keys; i++) {
		size_t n = likeness(p->keys[i].key, name);

		if (strcmp(p->keys[i].section, section) == 0 && n > best_n) {
			best = p->keys[i].key;
			best_n = n;
		}
	}
	if (best != NULL)
		fail(p->why, "[%.30s] has no key '%.40s'; did you mean '%s'?", section, name, best);
	else
		fail(p->why, "[%.30s] has no key '%.40s'", section, name);
	p->failed = true;
}

struct sections {
	const char *const *names;
	size_t n;
	char *why;
	bool failed;
};

static int on_section(void *ctx, const char *section, const char *name, const char *value)
{
	struct sections *s = ctx;
	const char *best = NULL;
	size_t best_n = 1;

	(void)name;
	(void)value;
	for (size_t i = 0; i < s->n; i++) {
		const size_t like = likeness(s->names[i], section);

		if (strcmp(s->names[i], section) == 0)
			return 1;
		if (like > best_n) {
			best = s->names[i];
			best_n = like;
		}
	}
	if (best != NULL)
		fail(s->why, "there is no section [%.30s]; did you mean [%s]?", section, best);
	else
		fail(s->why, "there is no section [%.30s]", section);
	s->failed = true;
	return 0;
}

enum err conf_sections(const char *text, const char *const *sections, size_t n, char ret_why[static CONF_WHY_MAX])
{
	char what[CONF_WHY_MAX] = "";
	struct sections s = {.names = sections, .n = n, .why = what};
	const int line = ini_parse_string(text, on_section, &s);

	return s.failed ? fail(ret_why, "line %d: %.200s", line, what) : OK;
}

/* inih's handler: 0 marks the line as bad. */
static int on_pair(void *ctx, const char *section, const char *name, const char *value)
{
	struct parse *p = ctx;
	bool ours = false;

	for (size_t i = 0; i < p->n_keys; i++) {
		const struct conf_key *k = &p->keys[i];
		bool guest = k->section[0] == '+';

		if (strcmp(k->section + guest, section) != 0)
			continue;
		/* [node] is for everybody: a key that only others read is not ours to judge. */
		ours = ours || (!guest && strcmp(section, "node") != 0);
		if (strcmp(k->key, name) != 0)
			continue;
		if (conf_value(k, value, p->out, p->why) == OK)
			return 1;
		p->failed = true;
		return 0;
	}
	if (!ours)
		return 1;
	unknown_key(p, section, name);
	return 0;
}

enum err conf_parse(const char *text, const struct conf_key *keys, size_t n_keys, void *out,
	char ret_why[static CONF_WHY_MAX])
{
	char what[CONF_WHY_MAX] = "";
	struct parse p = {.keys = keys, .n_keys = n_keys, .out = out, .why = what};

	for (size_t i = 0; i < n_keys; i++)
		if (keys[i].def != NULL)
			TRY(conf_value(&keys[i], keys[i].def, out, ret_why));
	int line = ini_parse_string(text, on_pair, &p);
	if (line == 0)
		return OK;
	if (line > 0 && p.failed)
		return fail(ret_why, "line %d: %.200s", line, what);
	if (line > 0)
		return fail(ret_why, "line %d: neither [section] nor key = value", line);
	return fail(ret_why, "cannot be parsed");
}
