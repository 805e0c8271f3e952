/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the node's services said last, and what may honestly be shown of it.
 *
 * The router's word about the session is shown as it is, with four exceptions, in this order:
 *  - the router is away, hangs, or has said nothing since it (re)started: "unknown", never a stale
 *    "on" (what is connected may well go on: the tunnel does not need the router);
 *  - it refused the order: "failed";
 *  - the user just gave an order and nothing came back yet: "connecting", or the phase that was;
 *  - the tunnel is away: an "on" becomes "reconnecting".
 * Pure; text from services is cleaned on its way in (text.h). */
#ifndef GATEWAY_REPORT_H
#define GATEWAY_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"
#include "peers.h"
#include "proto/gateway.pb.h"
#include "proto/ui.pb.h"

/* While a route lives the router speaks once a second; this much without a word and its "on" is no
 * longer believed. Machines stall for a second or two. */
#define REPORT_STALE DUR_S(5)
/* The router answers an order at once and says what came of it in the same breath or a little
 * later; then its word counts even if it is the same as before. */
#define REPORT_SETTLE DUR_MS(300)
/* Right after our own start the links come up one by one. */
#define REPORT_WARM_UP DUR_S(2)
#define REPORT_REASON_MAX 160

struct report_health {
	ui_Health health;
	mono_t since;
	bool seen; /* up at least once */
};

struct report_shown {
	ui_Phase phase;
	ui_Cause cause;
	char reason[REPORT_REASON_MAX];
	mono_t since;
};

struct report {
	mono_t started;
	struct report_health services[PEERS];
	bool session_known, wallet_known, directory_known, tunnel_known;
	mono_t session_at; /* when session came */
	mvpn_SessionState session;
	mvpn_WalletState wallet;
	mvpn_DirectoryState directory;
	mvpn_TunnelState tunnel;
	bool ordered;	  /* an order about the session is under way */
	bool ordered_on;  /* it says on */
	bool order_taken; /* the router took it at order_at */
	mono_t order_at;
	char order_refused[REPORT_REASON_MAX]; /* "": not refused */
	struct report_shown shown;	       /* as of the last report_update */
};

void report_init(struct report *r, mono_t now);

void report_on_health(struct report *r, enum peer p, ui_Health health, mono_t now);
/* p restarted: what it said is void. */
void report_forget(struct report *r, enum peer p);

void report_on_session(struct report *r, const mvpn_SessionState *s, mono_t now);
void report_on_wallet(struct report *r, const mvpn_WalletState *w);
void report_on_directory(struct report *r, const mvpn_DirectoryState *d);
void report_on_tunnel(struct report *r, const mvpn_TunnelState *t);

/* The user changed what is wanted of the session, to `on` or not. */
void report_on_order(struct report *r, bool on, mono_t now);
void report_on_order_done(struct report *r, bool taken, const char *why, mono_t now);

/* Works out r->shown. True if it differs from before. */
bool report_update(struct report *r, mono_t now);
/* When to look again at the latest; besides, look once a second. */
mono_t report_deadline(const struct report *r);

/* Is there a route that carries traffic, by a word that is still believed? */
bool report_on(const struct report *r);
/* "off", "connecting", ... */
const char *report_phase_name(ui_Phase p);
/* What was paid to the hop with this tunnel session; NULL if the ledger names none. Borrows from r.
 */
const mvpn_HopPayment *report_payment(const struct report *r, uint64_t session);

#endif
