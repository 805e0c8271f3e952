/* SPDX-License-Identifier: GPL-2.0-or-later */
/* main() for a fuzz target without a fuzzing engine: runs each file named, or those in a folder. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int replay_file(const char *path)
{
	static uint8_t buf[1 << 20];
	FILE *f = fopen(path, "rb");

	if (f == NULL) {
		perror(path);
		return 1;
	}
	size_t n = fread(buf, 1, sizeof(buf), f);
	fclose(f);
	/* An exact heap copy, so that the address sanitizer sees a read past the end. */
	uint8_t *copy = malloc(n > 0 ? n : 1);
	for (size_t i = 0; i < n; i++)
		copy[i] = buf[i];
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
	return 0;
}

static int replay_folder(const char *path, int *n_files)
{
	DIR *d = opendir(path);
	int bad = 0;

	if (d == NULL) {
		perror(path);
		return 1;
	}
	for (struct dirent *e; (e = readdir(d)) != NULL;) {
		char name[4096];

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		bad |= replay_file(name);
		(*n_files)++;
	}
	closedir(d);
	return bad;
}

int main(int argc, char **argv)
{
	int bad = 0, n_files = 0;

	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			bad |= replay_folder(argv[i], &n_files);
		} else {
			bad |= replay_file(argv[i]);
			n_files++;
		}
	}
	printf("%d inputs replayed\n", n_files);
	return bad || n_files == 0;
}
