/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "geo_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service.h"

static enum err row_append(struct geo *g, size_t *room, const struct geo_row *row)
{
	if (g->n_rows == *room) {
		size_t more = *room == 0 ? 256 : *room * 2;
		struct geo_row *rows = realloc(g->rows, more * sizeof(*rows));

		if (rows == NULL)
			return ERR_FULL;
		g->rows = rows;
		*room = more;
	}
	g->rows[g->n_rows++] = *row;
	return OK;
}

static enum err rows_read(char *text, struct geo *g, char ret_why[static 200])
{
	size_t room = 0;
	unsigned int n = 0;

	for (char *line = text, *end; line != NULL && *line != '\0'; line = end) {
		struct geo_row row;

		end = strchr(line, '\n');
		if (end != NULL)
			*end++ = '\0';
		n++;
		enum err e = geo_row_parse(line, &row);
		if (e == OK)
			e = row_append(g, &room, &row);
		else if (e == ERR_NOT_FOUND)
			continue;
		if (e != OK) {
			snprintf(ret_why, 200, "line %u is not `prefix,country,asn`: %s", n, err_str(e));
			return e;
		}
	}
	return OK;
}

enum err geo_load(const char *path, struct geo *ret_g, char ret_why[static 200])
{
	struct geo g = {0};
	char *text;
	size_t len;
	enum err e = file_read(path, GEO_FILE_MAX, &text, &len);

	if (e != OK) {
		snprintf(ret_why, 200, "%.100s: %s", path, e == ERR_IO ? strerror(errno) : err_str(e));
		return e;
	}
	e = rows_read(text, &g, ret_why);
	free(text);
	if (e != OK) {
		geo_done(&g);
		return e;
	}
	geo_sort(&g);
	*ret_g = g;
	return OK;
}

void geo_done(struct geo *g)
{
	free(g->rows);
	*g = (struct geo){0};
}
