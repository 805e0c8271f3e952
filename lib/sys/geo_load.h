/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reads a geography file (lib/geo.h). */
#ifndef SYS_GEO_LOAD_H
#define SYS_GEO_LOAD_H

#include "lib/geo.h"

/* Largest file: the whole internet by country and network is about 40 MB. */
#define GEO_FILE_MAX (128u << 20)

/* On error ret_why says which line and why. Caller owns the result: geo_done. */
NODISCARD enum err geo_load(const char *path, struct geo *ret_g, char ret_why[static 200]);
void geo_done(struct geo *g);

#endif
