/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "view.h"

#include <stdio.h>
#include <string.h>

#include "text.h"

#define CLEAN(field) text_clean(field, sizeof(field))

void view_init(struct view *v, mono_t now)
{
	memset(v, 0, sizeof(*v));
	v->started = now;
	for (int p = 0; p < PEERS; p++)
		v->services[p] = (struct view_health){ui_Health_HEALTH_DOWN, now, false};
	v->shown.since = now;
}

void view_on_health(struct view *v, enum peer p, ui_Health health, mono_t now)
{
	struct view_health *h = &v->services[p];

	if (health == ui_Health_HEALTH_UP)
		h->seen = true;
	if (h->health == health)
		return;
	h->health = health;
	h->since = now;
}

void view_forget(struct view *v, enum peer p)
{
	switch (p) {
	case PEER_TUNNEL:
		v->tunnel_known = false;
		break;
	case PEER_DISCOVERY:
		v->directory_known = false;
		break;
	case PEER_ROUTER:
		v->session_known = false;
		break;
	case PEER_LEDGER:
		v->wallet_known = false;
		break;
	case PEERS:
		break;
	}
}

void view_on_session(struct view *v, const mvpn_SessionState *s, mono_t now)
{
	v->session = *s;
	v->session_known = true;
	v->session_at = now;
	CLEAN(v->session.reason);
	for (pb_size_t i = 0; i < v->session.hops_count; i++) {
		CLEAN(v->session.hops[i].country);
		CLEAN(v->session.hops[i].name);
	}
	for (pb_size_t i = 0; i < v->session.reasons_count; i++)
		CLEAN(v->session.reasons[i]);
	if (v->order_taken)
		v->ordered = false;
}

void view_on_wallet(struct view *v, const mvpn_WalletState *w)
{
	v->wallet = *w;
	v->wallet_known = true;
	CLEAN(v->wallet.backend);
	CLEAN(v->wallet.spent);
	CLEAN(v->wallet.earned);
	CLEAN(v->wallet.spent_today);
	CLEAN(v->wallet.trouble);
	for (pb_size_t i = 0; i < v->wallet.hops_count; i++)
		CLEAN(v->wallet.hops[i].paid);
}

void view_on_directory(struct view *v, const mvpn_DirectoryState *d)
{
	v->directory = *d;
	v->directory_known = true;
	CLEAN(v->directory.trouble);
}

void view_on_tunnel(struct view *v, const mvpn_TunnelState *t)
{
	v->tunnel = *t;
	v->tunnel_known = true;
	CLEAN(v->tunnel.trouble);
}

void view_on_order(struct view *v, bool on, mono_t now)
{
	v->ordered = true;
	v->ordered_on = on;
	v->order_taken = false;
	v->order_at = now;
	v->order_refused[0] = '\0';
}

void view_on_order_done(struct view *v, bool taken, const char *why, mono_t now)
{
	snprintf(v->order_refused, sizeof(v->order_refused), "%s", taken ? "" : why);
	CLEAN(v->order_refused);
	if (!taken) {
		v->ordered = false;
		return;
	}
	if (v->ordered && !v->order_taken) {
		v->order_taken = true;
		v->order_at = now;
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

static bool tunnel_away(const struct view *v, mono_t now)
{
	const struct view_health *t = &v->services[PEER_TUNNEL];

	if (t->health == ui_Health_HEALTH_UP)
		return false;
	return t->seen || mono_reached(mono_add(v->started, VIEW_WARM_UP), now);
}

/* Only an "on" is repeated every second; the other phases last until something changes. */
static bool session_stale(const struct view *v, mono_t now)
{
	return v->session.phase == mvpn_Phase_PHASE_ON &&
		mono_reached(mono_add(v->session_at, VIEW_STALE), now);
}

static void say(struct view_shown *s, ui_Phase phase, ui_Cause cause, const char *reason)
{
	s->phase = phase;
	s->cause = cause;
	snprintf(s->reason, sizeof(s->reason), "%s", reason);
}

static void say_router_away(const struct view *v, struct view_shown *s, mono_t now)
{
	bool up = v->services[PEER_ROUTER].health == ui_Health_HEALTH_UP;

	if (tunnel_away(v, now))
		say(s, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_TUNNEL_AWAY,
			"router and tunnel are not running: nothing is protected");
	else
		say(s, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY,
			up && !v->session_known
				? "the router is starting; what was connected stays connected"
				: "the router does not answer; what was connected stays connected");
}

static void say_session(const struct view *v, struct view_shown *s, mono_t now)
{
	ui_Phase phase = router_phase(v->session.phase);

	if (v->order_refused[0] != '\0') {
		say(s, ui_Phase_PHASE_FAILED, ui_Cause_CAUSE_REFUSED, v->order_refused);
	} else if (v->ordered) {
		say(s, v->ordered_on ? ui_Phase_PHASE_CONNECTING : phase, ui_Cause_CAUSE_ORDERED,
			v->ordered_on ? "asking the router for a route" : "switching off");
	} else if (phase != ui_Phase_PHASE_OFF && tunnel_away(v, now)) {
		say(s, phase == ui_Phase_PHASE_ON ? ui_Phase_PHASE_RECONNECTING : phase,
			ui_Cause_CAUSE_TUNNEL_AWAY, "the tunnel is not running: nothing is protected until it is back");
	} else {
		say(s, phase, ui_Cause_CAUSE_ROUTER, v->session.reason);
	}
}

bool view_update(struct view *v, mono_t now)
{
	struct view_shown s = {.since = now};
	uint64_t age_s = mono_since(v->session_at, now).ns / 1000000000u;

	if (v->ordered && v->order_taken && v->session_known &&
		mono_reached(mono_add(v->order_at, VIEW_SETTLE), now))
		v->ordered = false;
	if (v->services[PEER_ROUTER].health != ui_Health_HEALTH_UP || !v->session_known ||
		session_stale(v, now))
		say_router_away(v, &s, now);
	else
		say_session(v, &s, now);

	bool same = s.phase == v->shown.phase && s.cause == v->shown.cause;
	bool changed = !same || strcmp(s.reason, v->shown.reason) != 0;
	if (s.cause == ui_Cause_CAUSE_ROUTER) {
		uint64_t in_phase = DUR_S(v->session.since_s + age_s).ns;

		s.since = (mono_t){now.ns > in_phase ? now.ns - in_phase : 1};
	} else if (same) {
		s.since = v->shown.since;
	}
	v->shown = s;
	return changed;
}

mono_t view_deadline(const struct view *v)
{
	if (v->ordered && v->order_taken && v->session_known)
		return mono_add(v->order_at, VIEW_SETTLE);
	return MONO_NEVER;
}

bool view_on(const struct view *v)
{
	return v->shown.phase == ui_Phase_PHASE_ON;
}

const char *view_phase_name(ui_Phase p)
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

const mvpn_HopPayment *view_payment(const struct view *v, uint64_t session)
{
	for (pb_size_t i = 0; i < v->wallet.hops_count && v->wallet_known; i++)
		if (v->wallet.hops[i].session == session && session != 0)
			return &v->wallet.hops[i];
	return NULL;
}
