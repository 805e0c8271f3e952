/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guards.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#define LINE_MAX_BYTES 160
#define CIRCUITS_HALVE_AT 200
#define DAY_MAX 10000000 /* a date far beyond any clock */

struct guard *guards_find(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE])
{
	for (size_t i = 0; i < g->n; i++)
		if (memcmp(g->all[i].node_id, node_id, NODE_ID_SIZE) == 0)
			return &g->all[i];
	return NULL;
}

static void guard_drop(struct guards *g, size_t i)
{
	g->changed |= g->all[i].confirmed;
	g->n_dropped++;
	memmove(&g->all[i], &g->all[i + 1], (g->n - i - 1) * sizeof(g->all[0]));
	g->n--;
}

/* Room for another when all places are taken: first what never worked, then what failed long. */
static void room_make(struct guards *g)
{
	size_t worst = GUARDS_MAX;

	for (size_t i = 0; i < g->n; i++) {
		const struct guard *guard = &g->all[i];

		if (guard->n_fails == 0 || (guard->confirmed && guard->n_fails < GUARD_FAILS_OUT))
			continue;
		if (worst == GUARDS_MAX || (g->all[worst].confirmed && !guard->confirmed) ||
			(g->all[worst].confirmed == guard->confirmed &&
				guard->n_fails > g->all[worst].n_fails))
			worst = i;
	}
	if (worst < g->n)
		guard_drop(g, worst);
}

enum err guards_add(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], struct rng *rng,
	struct when now)
{
	struct guard guard = {.added_day = when_day(now)};

	if (guards_find(g, node_id) != NULL)
		return ERR_INVALID;
	if (g->n == GUARDS_MAX)
		room_make(g);
	if (g->n == GUARDS_MAX)
		return ERR_FULL;
	memcpy(guard.node_id, node_id, NODE_ID_SIZE);
	guard.expires_day = guard.added_day + GUARD_LIFE_MIN_DAYS +
			    (uint32_t)rng_below(rng, GUARD_LIFE_MAX_DAYS - GUARD_LIFE_MIN_DAYS + 1);
	g->all[g->n++] = guard;
	return OK;
}

/* Unmeasured counts as far. */
static bool nearer(const struct guard *a, const struct guard *b)
{
	return a->rtt_us != 0 && (b->rtt_us == 0 || a->rtt_us < b->rtt_us);
}

void guards_rank(struct guards *g, size_t keep)
{
	size_t n_kept = 0;

	for (size_t i = 1; i < g->n; i++)
		for (size_t k = i; k > 0; k--) {
			struct guard *a = &g->all[k - 1], *b = &g->all[k], swap = *a;

			if (a->confirmed || b->confirmed || !nearer(b, a))
				break;
			*a = *b;
			*b = swap;
		}
	for (size_t i = 0; i < g->n;)
		if (!g->all[i].confirmed && n_kept++ >= keep)
			guard_drop(g, i);
		else
			i++;
}

void guards_on_measured(
	struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], uint32_t rtt_us)
{
	struct guard *guard = guards_find(g, node_id);

	if (guard == NULL)
		return;
	guard->rtt_us = rtt_us;
	guard->n_fails = 0;
	guard->retry_at = (mono_t){0};
}

void guards_on_worked(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], struct when now)
{
	struct guard *guard = guards_find(g, node_id);

	for (size_t i = 0; i < g->n; i++)
		if (g->all[i].n_fails > 0 && g->all[i].down_day == 0)
			g->all[i].down_day = when_day(now);
	if (guard == NULL)
		return;
	g->changed |= !guard->confirmed;
	guard->confirmed = true;
	guard->n_fails = 0;
	guard->down_day = 0;
	guard->retry_at = (mono_t){0};
}

void guards_on_failed(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], struct when now)
{
	struct guard *guard = guards_find(g, node_id);

	if (guard == NULL)
		return;
	uint8_t doublings =
		guard->n_fails < GUARD_RETRY_DOUBLINGS ? guard->n_fails : GUARD_RETRY_DOUBLINGS;
	guard->retry_at = mono_add(now.mono, (dur_t){GUARD_RETRY_MIN.ns << doublings});
	guard->n_fails += guard->n_fails < UINT8_MAX;
}

void guards_on_circuit(struct guards *g, const uint8_t node_id[static NODE_ID_SIZE], bool lived)
{
	struct guard *guard = guards_find(g, node_id);

	if (guard == NULL)
		return;
	guard->n_tried++;
	guard->n_lived += lived;
	if (guard->n_tried >= CIRCUITS_HALVE_AT) {
		guard->n_tried /= 2;
		guard->n_lived /= 2;
	}
}

static bool guard_over(const struct guard *guard, uint32_t day)
{
	bool biased = guard->n_tried >= GUARD_BIAS_CIRCUITS &&
		      guard->n_lived * 100 < guard->n_tried * GUARD_BIAS_SHARE_PCT;

	return day >= guard->expires_day || biased ||
	       (guard->gone_day != 0 && day >= guard->gone_day + GUARD_GONE_DAYS) ||
	       (guard->gone_day != 0 && !guard->confirmed) ||
	       (guard->down_day != 0 && day >= guard->down_day + GUARD_DOWN_DAYS);
}

void guards_review(struct guards *g, guard_listed_fn *listed, void *ctx, struct when now)
{
	uint32_t day = when_day(now);

	for (size_t i = 0; i < g->n;) {
		struct guard *guard = &g->all[i];

		if (listed(ctx, guard->node_id))
			guard->gone_day = 0;
		else if (guard->gone_day == 0)
			guard->gone_day = day;
		if (guard_over(guard, day))
			guard_drop(g, i);
		else
			i++;
	}
}

bool guard_ready(const struct guard *guard, mono_t now)
{
	return guard->n_fails == 0 || mono_reached(guard->retry_at, now);
}

size_t guards_order(const struct guards *g, mono_t now, size_t ret_order[static GUARDS_MAX])
{
	size_t n = 0, n_ready;

	for (size_t i = 0; i < g->n; i++)
		if (guard_ready(&g->all[i], now))
			ret_order[n++] = i;
	n_ready = n;
	for (size_t i = 0; i < g->n; i++) {
		if (guard_ready(&g->all[i], now))
			continue;
		size_t k = n++;

		for (; k > n_ready && g->all[ret_order[k - 1]].retry_at.ns > g->all[i].retry_at.ns;
			k--)
			ret_order[k] = ret_order[k - 1];
		ret_order[k] = i;
	}
	return n;
}

/* ---- durable form ---- */

size_t guards_encode(const struct guards *g, char ret_text[static GUARDS_TEXT_MAX])
{
	size_t at = (size_t)snprintf(ret_text, GUARDS_TEXT_MAX,
		"# guards in order: relay, day added, day of expiry, gone since, down since (days "
		"since 1970)\n");

	for (size_t i = 0; i < g->n; i++) {
		const struct guard *guard = &g->all[i];
		char id[2 * NODE_ID_SIZE + 1];

		if (!guard->confirmed)
			continue;
		sodium_bin2hex(id, sizeof(id), guard->node_id, NODE_ID_SIZE);
		at += (size_t)snprintf(ret_text + at, GUARDS_TEXT_MAX - at,
			"guard %s %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32 "\n", id,
			guard->added_day, guard->expires_day, guard->gone_day, guard->down_day);
	}
	return at;
}

/* The next decimal number, after one space. */
static enum err day_take(const char **text, uint32_t *ret_day)
{
	char *end;

	if ((*text)[0] != ' ' || (*text)[1] < '0' || (*text)[1] > '9')
		return ERR_MALFORMED;
	unsigned long long v = strtoull(*text + 1, &end, 10);
	if (v > DAY_MAX)
		return ERR_MALFORMED;
	*text = end;
	*ret_day = (uint32_t)v;
	return OK;
}

static enum err guard_decode(const char *line, struct guard *ret_guard)
{
	static const char word[] = "guard ";
	struct guard guard = {.confirmed = true};
	const char *at = line + sizeof(word) - 1 + 2 * NODE_ID_SIZE;
	size_t n_bin;

	if (strncmp(line, word, sizeof(word) - 1) != 0 || strlen(line) < (size_t)(at - line) ||
		sodium_hex2bin(guard.node_id, NODE_ID_SIZE, line + sizeof(word) - 1,
			2 * NODE_ID_SIZE, NULL, &n_bin, NULL) != 0 ||
		n_bin != NODE_ID_SIZE)
		return ERR_MALFORMED;
	TRY(day_take(&at, &guard.added_day));
	TRY(day_take(&at, &guard.expires_day));
	TRY(day_take(&at, &guard.gone_day));
	TRY(day_take(&at, &guard.down_day));
	/* A life longer than we give would pin a guard for ever. */
	if (*at != '\0' || guard.expires_day < guard.added_day ||
		guard.expires_day - guard.added_day > GUARD_LIFE_MAX_DAYS)
		return ERR_MALFORMED;
	*ret_guard = guard;
	return OK;
}

static enum err line_take(const char *line, struct when now, struct guards *g)
{
	struct guard guard;

	if (line[0] == '\0' || line[0] == '#')
		return OK;
	TRY(guard_decode(line, &guard));
	if (guards_find(g, guard.node_id) != NULL || g->n == GUARDS_MAX)
		return ERR_MALFORMED;
	if (guard.expires_day > when_day(now) && guard.added_day <= when_day(now) + 1)
		g->all[g->n++] = guard;
	return OK;
}

enum err guards_decode(const char *text, struct when now, struct guards *ret_g)
{
	struct guards g = {.n = 0};

	while (*text != '\0') {
		char line[LINE_MAX_BYTES];
		size_t len = strcspn(text, "\n");

		if (len >= sizeof(line))
			return ERR_MALFORMED;
		memcpy(line, text, len);
		line[len] = '\0';
		TRY(line_take(line, now, &g));
		text += len + (text[len] == '\n');
	}
	*ret_g = g;
	return OK;
}
