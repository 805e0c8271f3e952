/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

#define SAMPLES_MAX (sizeof(((ui_Samples *)0)->rx_Bps) / sizeof(int64_t))
#define PIECE_MAX (sizeof(((mvpn_ExitList *)0)->exits) / sizeof(mvpn_Exit))

void client_init(struct client *c, const struct node *n)
{
	memset(c, 0, sizeof(*c));
	c->next_sample = history_begin(&n->history);
}

bool client_full(const struct client *c)
{
	return c->n_answers == CLIENT_ANSWERS_MAX;
}

void client_answer(struct client *c, uint32_t id, ui_Refusal refusal, const char *why)
{
	BUG_ON(client_full(c));
	ui_Done *d = &c->answers[c->n_answers++];

	*d = (ui_Done){.id = id, .refusal = refusal};
	snprintf(d->why, sizeof(d->why), "%s", why);
	text_clean(d->why, sizeof(d->why));
}

void client_wants_exits(struct client *c)
{
	c->wants_exits = true;
	c->exits_generation = 0;
}

/* ---- what is owed, most urgent first ---- */

static void welcome_fill(const struct client_host *host, ui_Event *ret)
{
	ui_Welcome *w = &ret->body.welcome;

	ret->which_body = ui_Event_welcome_tag;
	w->instance = host->instance;
	snprintf(w->version, sizeof(w->version), "%s", host->version);
	snprintf(w->name, sizeof(w->name), "%s", host->name);
	text_clean(w->name, sizeof(w->name));
}

static void answer_fill(struct client *c, ui_Event *ret)
{
	ret->which_body = ui_Event_done_tag;
	ret->body.done = c->answers[0];
	c->n_answers--;
	memmove(c->answers, c->answers + 1, c->n_answers * sizeof(c->answers[0]));
}

static bool exits_owed(const struct client *c, const struct node *n)
{
	return c->wants_exits && n->exits.generation != 0;
}

/* A list that changed on the way begins anew. */
static void exits_fill(struct client *c, const struct node *n, ui_Event *ret)
{
	const struct exits_list *list = exits_list(&n->exits);
	mvpn_ExitList *piece = &ret->body.exits.list;

	ret->which_body = ui_Event_exits_tag;
	if (c->exits_generation != n->exits.generation) {
		c->exits_generation = n->exits.generation;
		c->next_exit = 0;
	}
	ret->body.exits.first = c->next_exit == 0;
	ret->body.exits.has_list = true;
	while (piece->exits_count < PIECE_MAX && c->next_exit < list->n)
		piece->exits[piece->exits_count++] = list->at[c->next_exit++];
	piece->more = c->next_exit < list->n;
	c->wants_exits = piece->more;
}

static void samples_fill(struct client *c, const struct node *n, ui_Event *ret)
{
	ui_Samples *s = &ret->body.samples;
	size_t got = history_read(&n->history, &c->next_sample, s->rx_Bps, s->tx_Bps, SAMPLES_MAX);

	ret->which_body = ui_Event_samples_tag;
	s->rx_Bps_count = s->tx_Bps_count = (pb_size_t)got;
}

bool client_owed(const struct client *c, const struct node *n)
{
	return !c->welcomed || c->n_answers > 0 || c->seen_generation != n->generation ||
	       exits_owed(c, n) || c->next_sample < n->history.end;
}

bool client_next(struct client *c, const struct node *n, const struct client_host *host, mono_t now,
	ui_Event *ret)
{
	memset(ret, 0, sizeof(*ret));
	c->owed_since = (mono_t){0};
	if (!c->welcomed) {
		welcome_fill(host, ret);
		c->welcomed = true;
	} else if (c->n_answers > 0) {
		answer_fill(c, ret);
	} else if (c->seen_generation != n->generation) {
		ret->which_body = ui_Event_state_tag;
		node_state(n, now, &ret->body.state);
		c->seen_generation = n->generation;
	} else if (exits_owed(c, n)) {
		exits_fill(c, n, ret);
	} else if (c->next_sample < n->history.end) {
		samples_fill(c, n, ret);
	} else {
		return false;
	}
	return true;
}

bool client_stalled(struct client *c, const struct node *n, mono_t now)
{
	if (!client_owed(c, n))
		c->owed_since = (mono_t){0};
	else if (c->owed_since.ns == 0)
		c->owed_since = now;
	return c->owed_since.ns != 0 && mono_reached(mono_add(c->owed_since, CLIENT_STALL), now);
}
