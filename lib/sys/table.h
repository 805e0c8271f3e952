/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows of named values as aligned columns, or as one JSON object. */
#ifndef SYS_TABLE_H
#define SYS_TABLE_H

#include <stdio.h>

#include "ctl.h"

struct table;

/* Caller owns the result. NULL: no memory. */
struct table *table_new(bool json);
void table_free(struct table *t);
/* Fits ctl_ask's on_row; copies. */
void table_row(void *t, const char *table, const struct ctl_field *f, size_t n);
/* A table of one row prints as "key  value" lines. */
void table_print(struct table *t, FILE *f);

#endif
