/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "geo.h"

#include <stdlib.h>
#include <string.h>

static int row_cmp(const void *x, const void *y)
{
	const struct geo_row *a = x, *b = y;

	if (a->prefix.addr.family != b->prefix.addr.family)
		return a->prefix.addr.family < b->prefix.addr.family ? -1 : 1;
	int c = memcmp(a->prefix.addr.ip, b->prefix.addr.ip, 16);
	if (c != 0)
		return c;
	return (a->prefix.bits > b->prefix.bits) - (a->prefix.bits < b->prefix.bits);
}

void geo_sort(struct geo *g)
{
	qsort(g->rows, g->n_rows, sizeof(g->rows[0]), row_cmp);
	for (size_t i = 0; i < g->n_rows; i++) {
		uint32_t up = i == 0 ? GEO_NO_PARENT : (uint32_t)(i - 1);

		while (up != GEO_NO_PARENT &&
			!net_prefix_has(&g->rows[up].prefix, &g->rows[i].prefix.addr))
			up = g->rows[up].parent;
		g->rows[i].parent = up;
	}
}

/* Prefixes nest or are disjoint, so what holds `a` is the last row at or before `a` in sorted
 * order, or one of those around it. */
const struct geo_row *geo_find(const struct geo *g, const struct net_addr *a)
{
	struct geo_row key = {.prefix = {.addr = *a, .bits = 128}};
	size_t lo = 0, hi = g->n_rows;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (row_cmp(&g->rows[mid], &key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	for (uint32_t i = lo == 0 ? GEO_NO_PARENT : (uint32_t)(lo - 1); i != GEO_NO_PARENT;
		i = g->rows[i].parent)
		if (net_prefix_has(&g->rows[i].prefix, a))
			return &g->rows[i];
	return NULL;
}

/* The next comma-separated field, trimmed, NUL-terminated in place. */
static char *field_take(char **p)
{
	char *begin = *p, *end;

	if (begin == NULL)
		return NULL;
	end = strchr(begin, ',');
	*p = end == NULL ? NULL : end + 1;
	if (end == NULL)
		end = begin + strlen(begin);
	*end = '\0';
	while (*begin == ' ' || *begin == '\t')
		begin++;
	for (end = begin + strlen(begin); end > begin && strchr(" \t\r\n", end[-1]); end--)
		end[-1] = '\0';
	return begin;
}

enum err geo_row_parse(const char *line, struct geo_row *ret_row)
{
	char buf[256];
	struct geo_row row = {0};
	size_t skip = strspn(line, " \t\r\n");
	char *p = buf, *end;

	if (line[skip] == '\0' || line[skip] == '#')
		return ERR_NOT_FOUND;
	if (strlen(line) >= sizeof(buf))
		return ERR_INVALID;
	memcpy(buf, line, strlen(line) + 1);
	const char *prefix = field_take(&p);
	const char *country = field_take(&p);
	const char *asn = field_take(&p);
	if (country == NULL || asn == NULL || strlen(country) != 2 || asn[0] == '\0')
		return ERR_INVALID;
	TRY(net_prefix_parse(prefix, &row.prefix));
	for (int i = 0; i < 2; i++) {
		if (country[i] < 'A' || country[i] > 'Z')
			return ERR_INVALID;
		row.country[i] = country[i];
	}
	unsigned long long n = strtoull(asn, &end, 10);
	if (*end != '\0' || asn[0] == '-' || n > UINT32_MAX)
		return ERR_INVALID;
	row.asn = (uint32_t)n;
	*ret_row = row;
	return OK;
}
