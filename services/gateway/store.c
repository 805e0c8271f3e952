/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state/gateway/settings: the one file that holds what the user wants. Written whole and
 * atomically; a file that cannot be understood is kept aside, never written over. */
#include "gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys/log.h"

#define FILE_MAX (64 * 1024) /* bytes; ours has one, a hand-written one may have comments */

static void path_of(const struct gateway *g, const char *name, char ret[static 700])
{
	snprintf(ret, 700, "%s/%s", service_state_dir(g->service), name);
}

static enum err set_aside(struct gateway *g, const char *why, char *notice)
{
	char path[700], aside[700];

	path_of(g, "settings", path);
	path_of(g, "settings.bad", aside);
	log_error("state/gateway/settings: %s", why);
	if (rename(path, aside) != 0) {
		log_error("state/gateway/settings cannot be put aside: %s", strerror(errno));
		return ERR_IO;
	}
	log_error("it is kept as settings.bad; going on with the defaults of node.ini");
	snprintf(notice, NODE_NOTICE_MAX,
		"The settings file could not be read (%.100s). It was put aside; defaults are in "
		"use.",
		why);
	return OK;
}

enum err store_load(
	struct gateway *g, struct settings *ret_s, char ret_notice[static NODE_NOTICE_MAX])
{
	char path[700], why[CONF_WHY_MAX] = "", *text;
	struct settings s = *ret_s;
	size_t len;
	enum err e;

	ret_notice[0] = '\0';
	path_of(g, "settings", path);
	e = file_read(path, FILE_MAX, &text, &len);
	if (e == ERR_NOT_FOUND)
		return OK;
	if (e == ERR_TOO_LARGE)
		return set_aside(g, "far too long", ret_notice);
	if (e != OK) {
		log_error("state/gateway/settings: %s", strerror(errno));
		return ERR_IO;
	}
	if (strlen(text) != len)
		snprintf(why, sizeof(why), "holds a zero byte, so it is not text");
	else if (settings_parse(text, &s, why) == OK)
		*ret_s = s;
	free(text);
	return why[0] == '\0' ? OK : set_aside(g, why, ret_notice);
}

enum err store_save(struct gateway *g, const struct settings *s, char ret_why[static CONF_WHY_MAX])
{
	char path[700], text[SETTINGS_TEXT_MAX];

	path_of(g, "settings", path);
	settings_show(s, text);
	if (file_write_atomic(path, text, strlen(text)) == OK) {
		g->counters.settings_stored++;
		return OK;
	}
	g->counters.settings_not_stored++;
	snprintf(ret_why, CONF_WHY_MAX, "the settings cannot be stored: %s; nothing was changed",
		strerror(errno));
	log_error("%s", ret_why);
	return ERR_FULL;
}
