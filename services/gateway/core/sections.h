/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settings on their way to the services that act on them.
 *
 * How it works: a section is due when its service links up, when the user changed it, and again
 * every SECTION_REPEAT even if nothing changed: the repetition both mends what was lost and tells a
 * service that hangs from one that has nothing to say. A section that was sent waits for Done; none
 * within SECTION_ANSWER makes its service silent and the section due again. A service takes a
 * section as a whole or refuses it with a reason, which is kept until it takes one. Pure: sending
 * leaves through the sink. */
#ifndef GATEWAY_SECTIONS_H
#define GATEWAY_SECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"
#include "peers.h"
#include "settings.h"

enum section {
	SECTION_SESSION,   /* SetSession to router */
	SECTION_ROUTER,	   /* RouterSettings */
	SECTION_TUNNEL,	   /* TunnelSettings */
	SECTION_DISCOVERY, /* DiscoverySettings */
	SECTION_LEDGER,	   /* LedgerSettings */
	SECTIONS
};

#define SECTION_REPEAT DUR_S(10)
#define SECTION_ANSWER DUR_S(4)	  /* a healthy service answers in milliseconds; machines stall */
#define SECTION_RETRY DUR_MS(100) /* when the bus has no room */
#define SECTION_WHY_MAX 160

struct section_state {
	bool due;
	mono_t due_at;	  /* not before; set while due */
	uint64_t id;	  /* of the order that waits for Done, 0: none */
	mono_t answer_by; /* while id is not 0 */
	mono_t repeat_at;
	uint64_t n_sent, n_taken, n_refused, n_unanswered;
	char refused[SECTION_WHY_MAX]; /* "": taken, or not yet answered */
};

struct sections {
	bool linked[PEERS];
	bool silent[PEERS]; /* linked, and an order was not answered in time */
	struct section_state at[SECTIONS];
};

struct sections_sink {
	/* Sends the section as it is wanted now. Returns the order's id, 0 if it could not be sent.
	 */
	uint64_t (*send)(void *ctx, enum section what);
	void *ctx;
};

enum peer section_peer(enum section what);
const char *section_name(enum section what);
/* Bits (1 << enum section) of the sections in which a and b differ. */
uint32_t sections_changed(const struct settings *a, const struct settings *b);

void sections_init(struct sections *s);
void sections_on_link(struct sections *s, enum peer p, mono_t now);
void sections_on_unlink(struct sections *s, enum peer p);
/* The user changed these: send at once, even if an earlier order still waits. */
void sections_on_change(struct sections *s, uint32_t mask, mono_t now);
/* Any word from p shows that it is not hanging. */
void sections_on_word(struct sections *s, enum peer p);
/* Answer to order `id`. ret_what is set if it is one that we wait for; else false. */
bool sections_on_done(struct sections *s, uint64_t id, bool ok, const char *why, mono_t now,
	enum section *ret_what);
/* Sends what is due, notices what is late. */
void sections_tick(struct sections *s, mono_t now, const struct sections_sink *sink);
mono_t sections_deadline(const struct sections *s);

#endif
