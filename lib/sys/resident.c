/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: proc(5), /proc/pid/smaps; madvise(2); malloc_trim(3). */
#include "resident.h"

#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>

struct mapping {
	void *from, *to;
	bool of_file; /* may be read or run, and not written */
};

/* The line that begins a mapping's lines? */
static bool begins(const char *line, struct mapping *ret)
{
	char rights[5], path[2];
	void *from, *to; /* other lines begin with letters that are hexadecimal too */
	const int n = sscanf(line, "%p-%p %4s %*s %*s %*s %1s", &from, &to, rights, path);

	if (n < 3)
		return false;
	*ret = (struct mapping){from, to,
		n == 4 && path[0] == '/' && rights[0] == 'r' && rights[1] == '-' && rights[3] == 'p'};
	return true;
}

void resident_trim(void)
{
	FILE *f;
	char line[512];
	struct mapping m = {0};
	unsigned long changed;

	malloc_trim(0);
	f = fopen("/proc/self/smaps", "re");
	if (f == NULL)
		return;
	/* What relocation has changed is its own, and would be lost. */
	while (fgets(line, sizeof(line), f) != NULL)
		if (!begins(line, &m) && m.of_file && sscanf(line, "Anonymous: %lu", &changed) == 1 && changed == 0)
			madvise(m.from, (size_t)((char *)m.to - (char *)m.from), MADV_DONTNEED);
	fclose(f);
}
