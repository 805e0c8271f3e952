/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

#define CLEAN(field) text_clean(field, sizeof(field))

void report_init(struct report *r, mono_t now)
{
	memset(r, 0, sizeof(*r));
	r->started = now;
	for (int p = 0; p < PEERS; p++)
		r->services[p] = (struct report_health){ui_Health_HEALTH_DOWN, now, false};
	r->shown.since = now;
}

void report_on_health(struct report *r, enum peer p, ui_Health health, mono_t now)
{
	struct report_health *h = &r->services[p];

	if (health == ui_Health_HEALTH_UP)
		h->seen = true;
	if (h->health == health)
		return;
	h->health = health;
	h->since = now;
}

void report_forget(struct report *r, enum peer p)
{
	switch (p) {
	case PEER_TUNNEL:
		r->tunnel_known = false;
		break;
	case PEER_DISCOVERY:
		r->directory_known = false;
		break;
	case PEER_ROUTER:
		r->session_known = false;
		break;
	case PEER_LEDGER:
		r->wallet_known = false;
		break;
	case PEERS:
		break;
	}
}

void report_on_session(struct report *r, const mvpn_SessionState *s, mono_t now)
{
	r->session = *s;
	r->session_known = true;
	r->session_at = now;
	CLEAN(r->session.reason);
	for (pb_size_t i = 0; i < r->session.hops_count; i++) {
		CLEAN(r->session.hops[i].country);
		CLEAN(r->session.hops[i].name);
	}
	for (pb_size_t i = 0; i < r->session.reasons_count; i++)
		CLEAN(r->session.reasons[i]);
	if (r->order_taken)
		r->ordered = false;
}

void report_on_wallet(struct report *r, const mvpn_WalletState *w)
{
	r->wallet = *w;
	r->wallet_known = true;
	CLEAN(r->wallet.backend);
	CLEAN(r->wallet.spent);
	CLEAN(r->wallet.earned);
	CLEAN(r->wallet.spent_today);
	CLEAN(r->wallet.trouble);
	for (pb_size_t i = 0; i < r->wallet.hops_count; i++)
		CLEAN(r->wallet.hops[i].paid);
}

void report_on_directory(struct report *r, const mvpn_DirectoryState *d)
{
	r->directory = *d;
	r->directory_known = true;
	CLEAN(r->directory.trouble);
}

void report_on_tunnel(struct report *r, const mvpn_TunnelState *t)
{
	r->tunnel = *t;
	r->tunnel_known = true;
	CLEAN(r->tunnel.trouble);
}

void report_on_order(struct report *r, bool on, mono_t now)
{
	r->ordered = true;
	r->ordered_on = on;
	r->order_taken = false;
	r->order_at = now;
	r->order_refused[0] = '\0';
}

void report_on_order_done(struct report *r, bool taken, const char *why, mono_t now)
{
	snprintf(r->order_refused, sizeof(r->order_refused), "%s", taken ? "" : why);
	CLEAN(r->order_refused);
	if (!taken) {
		r->ordered = false;
		return;
	}
	if (r->ordered && !r->order_taken) {
		r->order_taken = true;
		r->order_at = now;
	}
}

/* ---- what may be shown ---- */

static ui_Phase router_phase(mvpn_Phase p)
{
	switch (p) {
	case mvpn_Phase_PHASE_OFF:
		return ui_Phase_PHASE_OFF;
	case mvpn_Phase_PHASE_CONNECTING:
		return ui_Phase_PHASE_CONNECTING;
	case mvpn_Phase_PHASE_ON:
		return ui_Phase_PHASE_ON;
	case mvpn_Phase_PHASE_RECONNECTING:
		return ui_Phase_PHASE_RECONNECTING;
	case mvpn_Phase_PHASE_FAILED:
		return ui_Phase_PHASE_FAILED;
	}
	return ui_Phase_PHASE_UNKNOWN; /* an open enum: a newer router may know more */
}

static bool tunnel_away(const struct report *r, mono_t now)
{
	const struct report_health *t = &r->services[PEER_TUNNEL];

	if (t->health == ui_Health_HEALTH_UP)
		return false;
	return t->seen || mono_reached(mono_add(r->started, REPORT_WARM_UP), now);
}

/* Only an "on" is repeated every second; the other phases last until something changes. */
static bool session_stale(const struct report *r, mono_t now)
{
	return r->session.phase == mvpn_Phase_PHASE_ON &&
	       mono_reached(mono_add(r->session_at, REPORT_STALE), now);
}

static void say(struct report_shown *s, ui_Phase phase, ui_Cause cause, const char *reason)
{
	s->phase = phase;
	s->cause = cause;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
}

static void say_router_away(const struct report *r, struct report_shown *s, mono_t now)
{
	bool up = r->services[PEER_ROUTER].health == ui_Health_HEALTH_UP;

	if (tunnel_away(r, now))
		say(s, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_TUNNEL_AWAY,
			"router and tunnel are not running: nothing is protected");
	else
		say(s, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY,
			up && !r->session_known
				? "the router is starting; what was connected stays connected"
				: "the router does not answer; what was connected stays connected");
}

static void say_session(const struct report *r, struct report_shown *s, mono_t now)
{
	ui_Phase phase = router_phase(r->session.phase);

	if (r->order_refused[0] != '\0') {
		say(s, ui_Phase_PHASE_FAILED, ui_Cause_CAUSE_REFUSED, r->order_refused);
	} else if (r->ordered) {
		say(s, r->ordered_on ? ui_Phase_PHASE_CONNECTING : phase, ui_Cause_CAUSE_ORDERED,
			r->ordered_on ? "asking the router for a route" : "switching off");
	} else if (phase != ui_Phase_PHASE_OFF && tunnel_away(r, now)) {
		say(s, phase == ui_Phase_PHASE_ON ? ui_Phase_PHASE_RECONNECTING : phase,
			ui_Cause_CAUSE_TUNNEL_AWAY,
			"the tunnel is not running: nothing is protected until it is back");
	} else {
		say(s, phase, ui_Cause_CAUSE_ROUTER, r->session.reason);
	}
}

bool report_update(struct report *r, mono_t now)
{
	struct report_shown s = {.since = now};
	uint64_t age_s = mono_since(r->session_at, now).ns / 1000000000u;

	if (r->ordered && r->order_taken && r->session_known &&
		mono_reached(mono_add(r->order_at, REPORT_SETTLE), now))
		r->ordered = false;
	if (r->services[PEER_ROUTER].health != ui_Health_HEALTH_UP || !r->session_known ||
		session_stale(r, now))
		say_router_away(r, &s, now);
	else
		say_session(r, &s, now);

	bool same = s.phase == r->shown.phase && s.cause == r->shown.cause;
	bool changed = !same || strcmp(s.reason, r->shown.reason) != 0;
	if (s.cause == ui_Cause_CAUSE_ROUTER) {
		uint64_t in_phase = DUR_S(r->session.since_s + age_s).ns;

		s.since = (mono_t){now.ns > in_phase ? now.ns - in_phase : 1};
	} else if (same) {
		s.since = r->shown.since;
	}
	r->shown = s;
	return changed;
}

mono_t report_deadline(const struct report *r)
{
	if (r->ordered && r->order_taken && r->session_known)
		return mono_add(r->order_at, REPORT_SETTLE);
	return MONO_NEVER;
}

bool report_on(const struct report *r)
{
	return r->shown.phase == ui_Phase_PHASE_ON;
}

const char *report_phase_name(ui_Phase p)
{
	switch (p) {
	case ui_Phase_PHASE_OFF:
		return "off";
	case ui_Phase_PHASE_CONNECTING:
		return "connecting";
	case ui_Phase_PHASE_ON:
		return "on";
	case ui_Phase_PHASE_RECONNECTING:
		return "reconnecting";
	case ui_Phase_PHASE_FAILED:
		return "failed";
	case ui_Phase_PHASE_UNSPECIFIED:
	case ui_Phase_PHASE_UNKNOWN:
		break;
	}
	return "unknown";
}

const mvpn_HopPayment *report_payment(const struct report *r, uint64_t session)
{
	for (pb_size_t i = 0; i < r->wallet.hops_count && r->wallet_known; i++)
		if (r->wallet.hops[i].session == session && session != 0)
			return &r->wallet.hops[i];
	return NULL;
}
