/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Country and network of an address, from a local table. lib/sys/geo_load.h fills it from a CSV
 * file `prefix,country,asn,name` (# begins a comment). Pure: look-ups only. */
#ifndef LIB_GEO_H
#define LIB_GEO_H

#include "net.h"

struct geo_row {
	struct net_prefix prefix;
	char country[3];
	uint32_t asn;
	uint32_t parent; /* row of the prefix around this one, set by geo_sort */
};

#define GEO_NO_PARENT UINT32_MAX

/* Sorted by family, address, length; see geo_sort. At most GEO_NO_PARENT rows. */
struct geo {
	struct geo_row *rows;
	size_t n_rows;
};

void geo_sort(struct geo *g);
/* Longest prefix that holds a; NULL if none. Borrows from g. */
const struct geo_row *geo_find(const struct geo *g, const struct net_addr *a);
/* One line of the CSV. ERR_INVALID; ERR_NOT_FOUND for a blank or comment line. */
NODISCARD enum err geo_row_parse(const char *line, struct geo_row *ret_row);

#endif
