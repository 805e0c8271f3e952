/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state/router/guards: the one thing that the router keeps on disk. Relays and days, nothing else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/sys/log.h"
#include "service.h"

#define WRITE_RETRY DUR_S(10)

static const char *guards_path(const struct state *s, char buf[static PATH_SIZE])
{
	snprintf(buf, PATH_SIZE, "%s/guards", service_state_dir(s->service));
	return buf;
}

/* A file that cannot be read is put aside, not overwritten: it may be of a newer version. */
static void put_aside(const char *path)
{
	char aside[PATH_SIZE + 8];

	snprintf(aside, sizeof(aside), "%s.bad", path);
	if (rename(path, aside) != 0)
		log_error("state/router/guards: %s", strerror(errno));
}

void memory_guards_load(struct state *s)
{
	char path[PATH_SIZE], *text;
	struct stat st;
	size_t len;

	guards_path(s, path);
	if (stat(path, &st) != 0 && errno == ENOENT)
		return;
	if (file_read(path, GUARDS_TEXT_MAX, &text, &len) != OK) {
		log_warn("state/router/guards cannot be read: guards are drawn anew");
		put_aside(path);
		return;
	}
	if (strlen(text) != len || guards_decode(text, when_of(s), &s->r->guards) != OK) {
		log_warn("state/router/guards is damaged: put aside as guards.bad, guards are "
			 "drawn anew");
		put_aside(path);
	}
	free(text);
}

void memory_tick(struct state *s)
{
	char path[PATH_SIZE], text[GUARDS_TEXT_MAX];
	mono_t now = service_now(s->service);
	size_t len;

	if (!s->r->guards.changed || !mono_reached(s->guards_try_at, now))
		return;
	len = guards_encode(&s->r->guards, text);
	if (file_write_atomic(guards_path(s, path), text, len) == OK) {
		s->r->guards.changed = s->guards_failed = false;
		return;
	}
	if (!s->guards_failed)
		log_error("state/router/guards cannot be written: %s", strerror(errno));
	s->guards_failed = true;
	s->guards_try_at = mono_add(now, WRITE_RETRY);
}
