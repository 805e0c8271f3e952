/* SPDX-License-Identifier: GPL-2.0-or-later */
/* bug_at lives apart from err.c so that pure objects need no stdio. */
#include "err.h"

#include <stdio.h>
#include <stdlib.h>

void bug_at(const char *file, int line, const char *what)
{
	fprintf(stderr, "BUG %s:%d: %s\n", file, line, what);
	abort();
}
