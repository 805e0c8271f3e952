/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The router's list of exits, kept so that a page or a command gets it at once.
 *
 * The router answers ListExits in pieces; they are gathered beside the list in use, which changes
 * only when the last piece came. A list that is not complete within EXITS_ANSWER is given up. The
 * list is asked for when the router links up, when the number of exits changes, when somebody looks
 * and it is older than EXITS_FRESH, and every EXITS_REPEAT. Pure. */
#ifndef GATEWAY_EXITS_H
#define GATEWAY_EXITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/units.h"
#include "proto/gateway.pb.h"

/* Far beyond the relays that one node is built to know; more are counted and left out. */
#define EXITS_MAX 4096
#define EXITS_FRESH DUR_S(2)
#define EXITS_REPEAT DUR_S(30)
#define EXITS_ANSWER DUR_S(4)
#define EXITS_RETRY DUR_S(1)

struct exits_list {
	size_t n;
	mvpn_Exit at[EXITS_MAX];
};

struct exits {
	struct exits_list lists[2];
	unsigned int in_use; /* index of the complete one */
	uint32_t generation; /* counts complete lists; 0: none yet */
	mono_t complete_at;
	uint64_t id; /* of the request under way, 0: none */
	mono_t answer_by;
	bool wanted;	     /* ask as soon as the router can be asked */
	mono_t ask_at;	     /* not before */
	uint64_t n_left_out; /* exits beyond EXITS_MAX */
};

void exits_init(struct exits *x);
/* The router is reachable, or its number of exits changed. */
void exits_want(struct exits *x, mono_t now);
/* Somebody looks at the list: want a new one if this one has aged. */
void exits_look(struct exits *x, mono_t now);
/* The router restarted or went: no answer will come. The list stays. */
void exits_on_router_lost(struct exits *x);
/* True if ListExits should be sent now. Then exits_on_sent with its id, 0 if it failed. */
bool exits_due(struct exits *x, mono_t now);
void exits_on_sent(struct exits *x, uint64_t id, mono_t now);
/* A piece; re is the request that it answers. True if the list in use changed. */
bool exits_on_piece(struct exits *x, uint64_t re, const mvpn_ExitList *piece, mono_t now);
mono_t exits_deadline(const struct exits *x);

const struct exits_list *exits_list(const struct exits *x);

#endif
