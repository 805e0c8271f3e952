/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One page that is connected: what it has been told and what it is owed.
 *
 * Nothing is queued but answers: the page is owed the newest State, the samples after the last one
 * it has, the rest of the list of exits. So a page that reads slowly costs no memory and skips
 * states that are over, and one that orders without reading the answers is simply not read further
 * (client_full). Pure. */
#ifndef GATEWAY_CLIENT_H
#define GATEWAY_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "node.h"
#include "proto/ui.pb.h"

#define CLIENT_ANSWERS_MAX 8 /* orders that wait for their answer to be read */
/* Something is owed and the page has taken nothing for so long: it is given up. */
#define CLIENT_STALL DUR_S(20)

struct client {
	bool welcomed;
	uint32_t seen_generation; /* of the State it has */
	uint64_t next_sample;
	bool wants_exits;
	size_t next_exit;	   /* index into the list of exits_generation */
	uint32_t exits_generation; /* 0: begin anew */
	ui_Done answers[CLIENT_ANSWERS_MAX];
	size_t n_answers;
	mono_t owed_since; /* 0: nothing owed, or something was taken just now */
};

/* Who welcomes. Borrowed for the call. */
struct client_host {
	uint64_t instance;
	const char *version, *name;
};

void client_init(struct client *c, const struct node *n);
/* No more orders may be taken before an answer was read. */
bool client_full(const struct client *c);
void client_answer(struct client *c, uint32_t id, ui_Refusal refusal, const char *why);
void client_wants_exits(struct client *c);

/* The next message it is owed; false: none. */
bool client_next(struct client *c, const struct node *n, const struct client_host *host, mono_t now,
	ui_Event *ret);
bool client_owed(const struct client *c, const struct node *n);
/* Called each turn: true if it has not taken what it is owed for CLIENT_STALL. */
bool client_stalled(struct client *c, const struct node *n, mono_t now);

#endif
