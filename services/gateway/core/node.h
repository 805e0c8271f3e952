/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All that the gateway knows and wants of its node, in one place: settings, their way to the
 * services, what those said, and the memory that the page needs.
 *
 * `generation` grows whenever State would read differently; a page that has seen a smaller one is
 * owed a State. Pure: what it decides leaves through the sink. */
#ifndef GATEWAY_NODE_H
#define GATEWAY_NODE_H

#include "exits.h"
#include "history.h"
#include "sections.h"
#include "settings.h"
#include "report.h"

#define NODE_NOTICE_MAX 200
#define NODE_SECOND DUR_S(1)

struct node {
	struct settings settings;
	struct sections sections;
	struct report report;
	struct history history;
	struct exits exits;
	char notice[NODE_NOTICE_MAX]; /* about the settings file; "": nothing to say */
	uint32_t generation;
	mono_t second_at; /* next sample */
};

struct node_sink {
	/* Both return the id of the request, 0 if it could not be sent. */
	uint64_t (*send_section)(void *ctx, enum section what);
	uint64_t (*ask_exits)(void *ctx);
	void *ctx;
};

/* n is zeroed memory (it is large). */
void node_init(struct node *n, const struct settings *s, mono_t now);

/* Settings that passed settings_check and are stored. `switched`: the user used the switch, so the
 * session is ordered anew even if nothing differs. */
void node_apply(struct node *n, const struct settings *s, bool switched, mono_t now);

/* Facts about links: is the link to p up; p (re)started and what it said is void; a link to p is
 * fresh, so its settings are owed. */
void node_on_link_state(struct node *n, enum peer p, bool up, mono_t now);
void node_on_restart(struct node *n, enum peer p);
void node_on_link(struct node *n, enum peer p, mono_t now);

void node_on_session(struct node *n, const mvpn_SessionState *s, mono_t now);
void node_on_wallet(struct node *n, const mvpn_WalletState *w, mono_t now);
void node_on_directory(struct node *n, const mvpn_DirectoryState *d, mono_t now);
void node_on_tunnel(struct node *n, const mvpn_TunnelState *t, mono_t now);
void node_on_done(struct node *n, uint64_t id, bool ok, const char *why, mono_t now);
void node_on_exits(struct node *n, uint64_t re, const mvpn_ExitList *piece, mono_t now);

void node_tick(struct node *n, mono_t now, const struct node_sink *sink);
mono_t node_deadline(const struct node *n);

/* All there is to show. */
void node_state(const struct node *n, mono_t now, ui_State *ret);

#endif
