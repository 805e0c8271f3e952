/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: proc(5), /proc/pid/maps; madvise(2). */
#include "resident.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

/* Code of a file: it was never written to, so nothing is lost. */
static bool is_code(const char *rights, const char *path)
{
	return strcmp(rights, "r-xp") == 0 && path[0] == '/';
}

void resident_trim(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512], rights[5], path[2];
	void *from, *to;

	if (f == NULL)
		return;
	while (fgets(line, sizeof(line), f) != NULL)
		if (sscanf(line, "%p-%p %4s %*s %*s %*s %1s", &from, &to, rights, path) == 4 && is_code(rights, path))
			madvise(from, (size_t)((char *)to - (char *)from), MADV_DONTNEED);
	fclose(f);
}
