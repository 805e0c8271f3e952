/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The unix socket and its connections. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <sodium.h>

#include "uapi.h"

#define UAPI_DIR "/var/run/wireguard"

enum err uapi_adopt(struct uapi *u, int fd)
{
	struct sockaddr_un a = {0};
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		return ERR_INVALID;
	if (a.sun_family != AF_UNIX || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
		errno = EINVAL;
		return ERR_INVALID;
	}
	memset(u, 0, sizeof(*u));
	u->listen_fd = fd;
	for (int i = 0; i < UAPI_CONNECTIONS_MAX; i++)
		u->connections[i].fd = -1;
	snprintf(u->path, sizeof(u->path), "%s", a.sun_path);
	return OK;
}

static bool somebody_answers(const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)a, sizeof(*a)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

enum err uapi_listen(struct uapi *u, const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	mode_t before;
	int fd, e;

	if (mkdir(UAPI_DIR, 0755) != 0 && errno != EEXIST)
		return ERR_IO;
	snprintf(a.sun_path, sizeof(a.sun_path), UAPI_DIR "/%.15s.sock", name);
	if (somebody_answers(&a)) {
		errno = EADDRINUSE;
		return ERR_UNAVAILABLE;
	}
	unlink(a.sun_path); /* left behind */
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ERR_IO;
	before = umask(077);
	e = bind(fd, (const struct sockaddr *)&a, sizeof(a));
	umask(before);
	if (e != 0 || listen(fd, UAPI_CONNECTIONS_MAX) != 0) {
		e = errno;
		close(fd);
		errno = e;
		return ERR_IO;
	}
	return uapi_adopt(u, fd);
}

static void connection_close(struct uapi_connection *c)
{
	close(c->fd);
	if (c->buf != NULL)
		sodium_memzero(c->buf, c->size); /* keys pass here */
	free(c->buf);
	*c = (struct uapi_connection){.fd = -1};
}

void uapi_close(struct uapi *u)
{
	for (int i = 0; i < UAPI_CONNECTIONS_MAX; i++)
		if (u->connections[i].fd >= 0)
			connection_close(&u->connections[i]);
	close(u->listen_fd);
	if (u->path[0] != '\0')
		unlink(u->path);
}

void uapi_accept(struct uapi *u)
{
	const struct timeval patience = {.tv_sec = UAPI_PATIENCE_S};
	int fd = accept4(u->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	for (int i = 0; i < UAPI_CONNECTIONS_MAX; i++) {
		if (u->connections[i].fd >= 0)
			continue;
		u->connections[i].fd = fd;
		return;
	}
	close(fd); /* all busy: it may try again */
}

static bool room_make(struct uapi_connection *c)
{
	size_t size = c->size == 0 ? 4096 : 2 * c->size;
	char *more;

	if (c->len + 1 < c->size)
		return true;
	if (size > UAPI_REQUEST_MAX || (more = malloc(size)) == NULL)
		return false;
	if (c->buf != NULL) {
		memcpy(more, c->buf, c->len);
		sodium_memzero(c->buf, c->size);
		free(c->buf);
	}
	c->buf = more;
	c->size = size;
	return true;
}

/* All of text, waiting at most UAPI_PATIENCE_S for a client that does not read. */
static bool answer_write(int fd, const char *text, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		text += n;
		len -= (size_t)n;
	}
	return true;
}

/* An answer as it grows. Not open_memstream: that leaves copies behind, and keys are in it. */
struct text {
	char *buf;
	size_t len, size;
};

static void text_free(struct text *t)
{
	if (t->buf != NULL)
		sodium_memzero(t->buf, t->size);
	free(t->buf);
	*t = (struct text){0};
}

static ssize_t text_write(void *cookie, const char *data, size_t len)
{
	struct text *t = cookie, more;

	if (t->len + len > t->size) {
		more = (struct text){.len = t->len, .size = 2 * (t->len + len)};
		more.buf = malloc(more.size);
		if (more.buf == NULL)
			return 0;
		if (t->len > 0)
			memcpy(more.buf, t->buf, t->len);
		text_free(t);
		*t = more;
	}
	memcpy(t->buf + t->len, data, len);
	t->len += len;
	return (ssize_t)len;
}

static bool answer(struct uapi_connection *c, struct device *d, char *request)
{
	struct text t = {0};
	char buffer[4096];
	FILE *f = fopencookie(&t, "w", (cookie_io_functions_t){.write = text_write});
	bool ok = f != NULL;

	if (ok) {
		setvbuf(f, buffer, _IOFBF, sizeof(buffer));
		uapi_request(d, request, f);
		ok = fclose(f) == 0 && answer_write(c->fd, t.buf, t.len);
		sodium_memzero(buffer, sizeof(buffer));
	}
	text_free(&t);
	return ok;
}

void uapi_read(struct uapi *u, struct uapi_connection *c, struct device *d)
{
	size_t from = c->len > 0 ? c->len - 1 : 0;
	size_t done;
	ssize_t n;
	char *end;

	(void)u;
	if (!room_make(c) || (n = recv(c->fd, c->buf + c->len, c->size - c->len - 1, 0)) <= 0 ||
		memchr(c->buf + c->len, '\0', (size_t)n) != NULL) {
		connection_close(c);
		return;
	}
	c->len += (size_t)n;
	c->buf[c->len] = '\0';
	while ((end = strstr(c->buf + from, "\n\n")) != NULL) {
		*end = '\0';
		if (!answer(c, d, c->buf)) {
			connection_close(c);
			return;
		}
		done = (size_t)(end + 2 - c->buf);
		c->len -= done;
		memmove(c->buf, end + 2, c->len + 1);
		sodium_memzero(c->buf + c->len + 1, done);
		from = 0;
	}
}
