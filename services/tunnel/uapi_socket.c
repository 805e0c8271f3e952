/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The unix socket and its connections. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

static struct sockaddr_un usual_place(const char *name)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};

	snprintf(a.sun_path, sizeof(a.sun_path), UAPI_DIR "/%.15s.sock", name);
	return a;
}

bool uapi_taken(const char *name)
{
	const struct sockaddr_un a = usual_place(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = fd >= 0 && connect(fd, (const struct sockaddr *)&a, sizeof(a)) == 0;

	if (fd >= 0)
		close(fd);
	return yes;
}

enum err uapi_listen(struct uapi *u, const char *name)
{
	const struct sockaddr_un a = usual_place(name);
	mode_t before;
	int fd, e;

	if (mkdir(UAPI_DIR, 0755) != 0 && errno != EEXIST)
		return ERR_IO;
	if (uapi_taken(name)) {
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
	if (e != 0 || listen(fd, SOMAXCONN) != 0) {
		e = errno;
		close(fd);
		errno = e;
		return ERR_IO;
	}
	return uapi_adopt(u, fd);
}

static void text_free(struct uapi_text *t)
{
	if (t->buf != NULL)
		sodium_memzero(t->buf, t->size);
	free(t->buf);
	*t = (struct uapi_text){0};
}

static void connection_close(struct uapi_connection *c)
{
	close(c->fd);
	if (c->buf != NULL)
		sodium_memzero(c->buf, c->size); /* keys pass here */
	free(c->buf);
	text_free(&c->out);
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
	struct uapi_connection *c = &u->connections[0];
	int fd = accept4(u->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (int i = 1; i < UAPI_CONNECTIONS_MAX && c->fd >= 0; i++)
		if (u->connections[i].fd < 0 || u->connections[i].turn < c->turn)
			c = &u->connections[i];
	if (c->fd >= 0)
		connection_close(c);
	c->fd = fd;
	c->turn = ++u->turn;
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

/* Not open_memstream: that leaves copies behind, and keys are in it. */
static ssize_t text_write(void *cookie, const char *data, size_t len)
{
	struct uapi_text *t = cookie, more;

	if (t->len + len > t->size) {
		more = (struct uapi_text){.len = t->len, .size = 2 * (t->len + len)};
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

/* Answers to c->out, which is empty. False: that was no request. */
static bool answer(struct uapi_connection *c, struct device *d, char *request)
{
	char buffer[4096];
	FILE *f = fopencookie(&c->out, "w", (cookie_io_functions_t){.write = text_write});
	bool ok = f != NULL;

	if (ok) {
		setvbuf(f, buffer, _IOFBF, sizeof(buffer));
		ok = uapi_request(d, request, f);
		ok = fclose(f) == 0 && ok;
		sodium_memzero(buffer, sizeof(buffer));
	}
	return ok;
}

/* False: it will not read any more. */
static bool answer_send(struct uapi_connection *c)
{
	while (c->sent < c->out.len) {
		ssize_t n = send(c->fd, c->out.buf + c->sent, c->out.len - c->sent, MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN;
		c->sent += (size_t)n;
	}
	text_free(&c->out);
	c->sent = 0;
	return true;
}

/* What came before the client's end. */
static void on_end(struct uapi_connection *c, struct device *d)
{
	c->ended = true;
	c->buf[c->len] = '\0';
	if (c->len > 0 && strncmp(c->buf, "set=1\n", 6) == 0 && c->buf[c->len - 1] == '\n')
		(void)answer(c, d, c->buf);
}

static bool hear(struct uapi_connection *c, struct device *d)
{
	ssize_t n;

	if (!room_make(c))
		return false;
	n = recv(c->fd, c->buf + c->len, c->size - c->len - 1, 0);
	if (n == 0)
		on_end(c, d);
	if (n <= 0)
		return n == 0;
	if (memchr(c->buf + c->len, '\0', (size_t)n) != NULL)
		return false;
	c->heard = c->len > 0 ? c->len - 1 : 0;
	c->len += (size_t)n;
	c->buf[c->len] = '\0';
	return true;
}

/* One request after the other, as the client reads the answers. */
static bool requests_answer(struct uapi_connection *c, struct device *d)
{
	size_t done;
	char *end;

	while (c->out.len == 0 && !c->ended && (end = strstr(c->buf + c->heard, "\n\n")) != NULL) {
		*end = '\0';
		if (!answer(c, d, c->buf) || !answer_send(c))
			return false;
		done = (size_t)(end + 2 - c->buf);
		c->len -= done;
		memmove(c->buf, end + 2, c->len + 1);
		sodium_memzero(c->buf + c->len + 1, done);
		c->heard = 0;
	}
	return true;
}

short uapi_waits_for(const struct uapi_connection *c)
{
	return c->out.len > 0 ? POLLOUT : POLLIN;
}

void uapi_serve(struct uapi *u, struct uapi_connection *c, struct device *d)
{
	bool ok = c->out.len > 0 || hear(c, d);

	c->turn = ++u->turn;
	if (!ok || !answer_send(c) || !requests_answer(c, d) || (c->ended && c->out.len == 0))
		connection_close(c);
}
