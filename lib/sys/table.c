/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

/* JSON is the one form rows are kept in: {"table": [{key: value}, ...]}, in order of arrival. */
struct table {
	json_t *root;
	bool json;
};

struct table *table_new(bool json)
{
	struct table *t = calloc(1, sizeof(*t));

	if (t == NULL)
		return NULL;
	t->json = json;
	t->root = json_object();
	if (t->root == NULL) {
		free(t);
		return NULL;
	}
	return t;
}

void table_free(struct table *t)
{
	if (t == NULL)
		return;
	json_decref(t->root);
	free(t);
}

static json_t *value_json(const struct ctl_field *f)
{
	json_t *v;

	switch (f->type) {
	case CTL_NUMBER:
		return json_integer(f->number);
	case CTL_REAL:
		return json_real(f->real);
	case CTL_FLAG:
		return json_boolean(f->flag);
	case CTL_TEXT:
		break;
	}
	v = json_string(f->text);
	return v == NULL ? json_string("?") : v; /* not UTF-8 */
}

void table_row(void *ctx, const char *table, const struct ctl_field *f, size_t n)
{
	struct table *t = ctx;
	json_t *rows = json_object_get(t->root, table);
	json_t *row = json_object();

	if (rows == NULL) {
		rows = json_array();
		json_object_set_new(t->root, table, rows);
	}
	for (size_t i = 0; i < n; i++)
		json_object_set_new(row, f[i].key, value_json(&f[i]));
	json_array_append_new(rows, row);
}

static const char *cell(const json_t *v, char buf[static 64])
{
	if (json_is_string(v))
		return json_string_value(v);
	if (json_is_integer(v))
		snprintf(buf, 64, "%" PRId64, (int64_t)json_integer_value(v));
	else if (json_is_real(v))
		snprintf(buf, 64, "%.2f", json_real_value(v));
	else
		snprintf(buf, 64, "%s", json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "");
	return buf;
}

static void print_single(json_t *row, FILE *f)
{
	size_t width = 0;
	const char *key;
	json_t *v;
	char buf[64];

	json_object_foreach(row, key, v)
		if (strlen(key) > width)
			width = strlen(key);
	json_object_foreach(row, key, v)
		fprintf(f, "  %-*s  %s\n", (int)width, key, cell(v, buf));
}

static size_t column_width(json_t *rows, const char *key)
{
	size_t width = strlen(key), i;
	json_t *row;
	char buf[64];

	json_array_foreach(rows, i, row) {
		const char *s = cell(json_object_get(row, key), buf);

		if (strlen(s) > width)
			width = strlen(s);
	}
	return width;
}

/* Columns are those of the first row, in its order. */
static void print_many(json_t *rows, FILE *f)
{
	json_t *first = json_array_get(rows, 0), *row, *v;
	size_t widths[32], n = 0, i, k;
	const char *key;
	char buf[64];

	json_object_foreach(first, key, v) {
		if (n == 32)
			break;
		widths[n] = column_width(rows, key);
		fprintf(f, "  %-*s", (int)widths[n++], key);
	}
	fprintf(f, "\n");
	json_array_foreach(rows, i, row) {
		k = 0;
		json_object_foreach(first, key, v)
			if (k < n)
				fprintf(f, "  %-*s", (int)widths[k++],
					cell(json_object_get(row, key), buf));
		fprintf(f, "\n");
	}
}

void table_print(struct table *t, FILE *f)
{
	const char *name;
	json_t *rows;

	if (t->json) {
		json_dumpf(t->root, f, JSON_COMPACT | JSON_REAL_PRECISION(9));
		fprintf(f, "\n");
		return;
	}
	json_object_foreach(t->root, name, rows) {
		fprintf(f, "%s\n", name);
		if (json_array_size(rows) == 1)
			print_single(json_array_get(rows, 0), f);
		else
			print_many(rows, f);
	}
}
