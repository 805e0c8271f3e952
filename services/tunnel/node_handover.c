/* SPDX-License-Identifier: GPL-2.0-or-later */
/* run/tunnel.handover: written when the tunnel of a client is stopped in order while a route is up, read and
 * removed by the next one before it uses it. It holds keys: mode 0600, never followed, wiped from memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "devices.h"
#include "lib/sys/clock.h"
#include "lib/sys/log.h"
#include "node_internal.h"
#include "overlay_role.h"

#define FILE_NAME "tunnel.handover"
#define PATH_ROOM 700

static void path_of(const struct node *n, const char *suffix, char ret[static PATH_ROOM])
{
	snprintf(ret, PATH_ROOM, "%s/run/" FILE_NAME "%s", service_dir(n->service), suffix);
}

/* ---- the successor ---- */

/* Only what a tunnel of this user wrote, as it writes it. */
static enum err file_take(const char *path, size_t max, uint8_t **ret_buf, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum err e = ERR_DENIED;
	uint8_t *buf = NULL;
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		goto out;
	e = ERR_MALFORMED;
	if (st.st_size <= 0 || (uint64_t)st.st_size > max)
		goto out;
	e = ERR_FULL;
	buf = malloc((size_t)st.st_size);
	if (buf == NULL)
		goto out;
	e = ERR_IO;
	if (read(fd, buf, (size_t)st.st_size) != st.st_size)
		goto out;
	*ret_buf = buf;
	*ret_len = (size_t)st.st_size;
	buf = NULL;
	e = OK;
out:
	free(buf);
	close(fd);
	return e;
}

static const char *refusal(enum err e)
{
	switch (e) {
	case ERR_DENIED:
		return "not written by this node, or damaged";
	case ERR_STALE:
		return "too old";
	case ERR_MALFORMED:
		return "not whole, or of another version";
	case OK:
	case ERR_FULL:
	case ERR_TOO_LARGE:
	case ERR_IO:
	case ERR_TIMEOUT:
	case ERR_UNAVAILABLE:
	case ERR_NOT_FOUND:
	case ERR_INVALID:
	case ERR_OVERFLOW:
		break;
	}
	return "cannot be read";
}

void node_handover_take(struct node *n)
{
	struct left_behind *b = &n->left_behind;
	char path[PATH_ROOM];
	enum err e;

	path_of(n, ".new", path);
	unlink(path); /* of one that was killed while it wrote */
	path_of(n, "", path);
	e = file_take(path, handover_bytes(HANDOVER_ROUTES_MAX, NODE_FLOWS_MAX), &b->buf, &b->len);
	if (e == ERR_NOT_FOUND)
		return;
	if (unlink(path) != 0)
		e = ERR_IO;
	if (e == OK)
		e = handover_open(b->buf, b->len, n->identity.static_sk, wall_now(), &b->h);
	if (e == OK)
		return;
	log_warn("run/" FILE_NAME " is refused: %s; routes are built anew", refusal(e));
	node_handover_forget(n);
}

void node_handover_forget(struct node *n)
{
	struct left_behind *b = &n->left_behind;

	if (b->buf != NULL)
		sodium_memzero(b->buf, b->len);
	free(b->buf);
	sodium_memzero(b, sizeof(*b));
}

void node_handover_resume(struct node *n, struct worker *w)
{
	const struct left_behind *b = &n->left_behind;

	if (b->buf == NULL)
		return;
	overlay_resume(w->overlay, w->now, &b->h, b->buf);
	worker_flush(w);
	log_info("goes on with %u routes of the process before", b->h.n_routes);
}

/* ---- the one that ends ---- */

struct leave_call {
	const struct node *n;
	uint8_t *buf;
	size_t max, len;
};

/* Nothing is counted or sent after it was kept. */
static void run_leave(struct worker *w, void *arg)
{
	struct leave_call *c = arg;

	if (w->overlay == NULL)
		return;
	if (w->id == 0 && c->buf != NULL)
		c->len = overlay_keep(w->overlay, mono_now(), wall_now(), c->n->identity.static_sk, c->buf, c->max);
	overlay_role_done(w);
}

static enum err all_write(int fd, const uint8_t *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return ERR_IO;
		data += n;
		len -= (size_t)n;
	}
	return OK;
}

/* Not synced: what does not outlive the machine shall not reach a disk for our sake. */
static enum err file_leave(const struct node *n, const uint8_t *data, size_t len)
{
	char path[PATH_ROOM], tmp[PATH_ROOM];
	enum err e;
	int fd;

	path_of(n, "", path);
	path_of(n, ".new", tmp);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return ERR_IO;
	e = all_write(fd, data, len);
	if (close(fd) != 0)
		e = ERR_IO;
	if (e == OK && rename(tmp, path) != 0)
		e = ERR_IO;
	if (e != OK)
		unlink(tmp);
	return e;
}

static bool device_stays(struct node *n)
{
	if (!n->client_routed)
		return true; /* nothing is routed into it: there is nothing to hold */
	return tun_keep(n->client_fds[0], true) == OK &&
	       device_client_hold(n->client_kind.name, &n->overlay_conf.device4, &n->overlay_conf.device6,
		       HANDOVER_LIFE_S) == OK;
}

bool node_handover_leave(struct node *n)
{
	struct leave_call c = {.n = n, .max = handover_bytes(HANDOVER_ROUTES_MAX, NODE_FLOWS_MAX)};
	bool left = false;

	if (!n->plane_made || n->plane.workers[0]->overlay == NULL)
		return false;
	if (n->client_there && device_stays(n))
		c.buf = malloc(c.max);
	plane_call(&n->plane, run_leave, &c);
	if (c.len > 0)
		left = file_leave(n, c.buf, c.len) == OK;
	if (c.len > 0 && !left)
		log_warn("run/" FILE_NAME " cannot be written: %s; running connections end", strerror(errno));
	if (n->client_there && !left)
		(void)!tun_keep(n->client_fds[0], false);
	if (c.buf != NULL)
		sodium_memzero(c.buf, c.len);
	free(c.buf);
	return left;
}
