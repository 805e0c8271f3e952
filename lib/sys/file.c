/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err all_read(int fd, char *buf, size_t size, size_t *ret_len)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, buf + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return OK;
}

enum err file_read(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum err e = ERR_IO;
	char *buf = NULL;
	struct stat st;
	size_t len = 0;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	if (fstat(fd, &st) != 0)
		goto out;
	e = ERR_TOO_LARGE;
	if (st.st_size < 0 || (uint64_t)st.st_size > max)
		goto out;
	e = ERR_FULL;
	buf = malloc((size_t)st.st_size + 1);
	if (buf == NULL)
		goto out;
	e = all_read(fd, buf, (size_t)st.st_size, &len);
	if (e != OK)
		goto out;
	buf[len] = '\0';
	*ret_text = buf;
	*ret_len = len;
	buf = NULL;
out:
	free(buf);
	close(fd);
	return e;
}

static enum err all_write(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_IO;
		data += n;
		len -= (size_t)n;
	}
	return OK;
}

static enum err folder_sync(const char *path)
{
	char folder[4096];
	const char *slash = strrchr(path, '/');
	int fd, r;

	snprintf(folder, sizeof(folder), "%.*s", slash == NULL ? 1 : (int)(slash - path + 1),
		slash == NULL ? "." : path);
	fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ERR_IO;
	r = fsync(fd);
	close(fd);
	return r == 0 ? OK : ERR_IO;
}

enum err file_write_atomic(const char *path, const void *data, size_t len)
{
	char tmp[4096];
	int fd, saved;
	enum err e;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.new", path) >= sizeof(tmp))
		return ERR_TOO_LARGE;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ERR_IO;
	e = all_write(fd, data, len);
	if (e == OK && fsync(fd) != 0)
		e = ERR_IO;
	if (close(fd) != 0 && e == OK)
		e = ERR_IO;
	if (e == OK && rename(tmp, path) != 0)
		e = ERR_IO;
	if (e == OK)
		return folder_sync(path);
	saved = errno;
	unlink(tmp);
	errno = saved;
	return e;
}
