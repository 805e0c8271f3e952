/* SPDX-License-Identifier: GPL-2.0-or-later */
/* state/discovery/: `seq`, the number of our last descriptor, as text, written before the
 * descriptor leaves; `relays`, the descriptors that are proven, so that a restart begins where it
 * ended.
 *
 *   relays: "mvpn relays 1\n", 8 bytes time of writing (s, little-endian), descriptors one after
 * another
 *
 * Every descriptor is checked anew when read. If the file is younger than RECENT_S they count as
 * proven at once (a restart); else they are only heard. Those that have run out serve as
 * bootstraps. A damaged file is said and passed over: the network knows the rest. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/sys/clock.h"
#include "lib/sys/log.h"
#include "service.h"

static const char magic[] = "mvpn relays 1\n";
#define MAGIC_SIZE (sizeof(magic) - 1)
#define HEAD_SIZE (MAGIC_SIZE + 8)
#define FILE_MAX (HEAD_SIZE + (size_t)RELAYS_MAX * DESCRIPTOR_SIZE)
#define RECENT_S 3600
/* A change is on disk after this long; a big directory changes all the time, so 1 ms more for
 * each relay in it. */
#define SAVE_AFTER DUR_S(3)
#define SAVE_PER_RELAY DUR_MS(1)
#define SAVE_RETRY DUR_S(60)

static void path_of(const struct service *s, const char *name, char path[static 700])
{
	snprintf(path, 700, "%s/%s", service_state_dir(s), name);
}

enum err memory_seq_store(const struct state *s, uint64_t seq)
{
	char path[700], text[32];
	int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", seq);
	enum err e;

	path_of(s->service, "seq", path);
	e = file_write_atomic(path, text, (size_t)n);
	if (e != OK)
		log_error("state/discovery/seq: %s", strerror(errno));
	return e;
}

uint64_t memory_seq_load(const struct service *service)
{
	char path[700], *text, *end;
	uint64_t seq = 0;
	size_t len;
	enum err e;

	path_of(service, "seq", path);
	e = file_read(path, 64, &text, &len);
	if (e == ERR_NOT_FOUND)
		return 0;
	if (e == OK) {
		seq = strtoull(text, &end, 10);
		if (end == text || *end != '\n')
			e = ERR_MALFORMED;
		free(text);
	}
	if (e != OK)
		log_warn("state/discovery/seq cannot be used (%s): the clock gives the number",
			err_str(e));
	return e == OK ? seq : 0;
}

static void relays_take(struct state *s, const uint8_t *p, size_t len)
{
	struct moment now = moment_of(s);
	int64_t age_s = now.wall.s - (int64_t)le64_get(p + MAGIC_SIZE);
	bool recent = age_s >= 0 && age_s < RECENT_S;

	for (size_t at = HEAD_SIZE; at + DESCRIPTOR_SIZE <= len; at += DESCRIPTOR_SIZE)
		discovery_remember(s->d, now, p + at, DESCRIPTOR_SIZE, recent);
}

void memory_relays_load(struct state *s)
{
	char path[700], *text;
	size_t len;
	enum err e;

	path_of(s->service, "relays", path);
	e = file_read(path, FILE_MAX, &text, &len);
	if (e == ERR_NOT_FOUND)
		return;
	if (e != OK) {
		log_warn("state/discovery/relays cannot be read: %s", err_str(e));
		return;
	}
	if (len >= HEAD_SIZE && memcmp(text, magic, MAGIC_SIZE) == 0)
		relays_take(s, (const uint8_t *)text, len);
	else
		log_warn("state/discovery/relays is damaged and passed over");
	free(text);
	s->saved_generation = s->d->dir.generation;
	log_info("%u relays remembered", s->d->dir.relays.n);
}

static enum err relays_save(const struct state *s)
{
	const struct relays *t = &s->d->dir.relays;
	size_t room = HEAD_SIZE + (size_t)t->n_state[RELAY_PROVEN] * DESCRIPTOR_SIZE,
	       at = HEAD_SIZE;
	uint8_t *buf = malloc(room);
	char path[700];
	enum err e;

	if (buf == NULL)
		return ERR_FULL;
	memcpy(buf, magic, MAGIC_SIZE);
	le64_put(buf + MAGIC_SIZE, (uint64_t)wall_now().s);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct relay *r = relays_at(t, i);

		if (r->state != RELAY_PROVEN || r->own)
			continue;
		memcpy(buf + at, r->bytes, DESCRIPTOR_SIZE);
		at += DESCRIPTOR_SIZE;
	}
	path_of(s->service, "relays", path);
	e = file_write_atomic(path, buf, at);
	free(buf);
	return e;
}

static bool changed(const struct state *s)
{
	return s->d->dir.generation != s->saved_generation;
}

void memory_tick(struct state *s, mono_t now, bool now_or_never)
{
	dur_t pause = {SAVE_AFTER.ns + s->d->dir.relays.n * SAVE_PER_RELAY.ns};
	enum err e;

	if (!changed(s))
		return;
	if (s->next_save.ns == 0)
		s->next_save = mono_add(now, pause);
	if (!now_or_never && !mono_reached(s->next_save, now))
		return;
	s->next_save = (mono_t){0};
	e = relays_save(s);
	if (e == OK)
		s->saved_generation = s->d->dir.generation;
	else
		s->next_save = mono_add(now, SAVE_RETRY);
	if (e != OK && !s->save_failed)
		log_error("state/discovery/relays: %s; trying again every minute", strerror(errno));
	s->save_failed = e != OK;
}

mono_t memory_deadline(const struct state *s)
{
	return !changed(s) || s->next_save.ns == 0 ? MONO_NEVER : s->next_save;
}
