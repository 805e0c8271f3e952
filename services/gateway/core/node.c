/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node.h"

#include <stdio.h>
#include <string.h>

void node_init(struct node *n, const struct settings *s, mono_t now)
{
	n->settings = *s;
	sections_init(&n->sections);
	report_init(&n->report, now);
	exits_init(&n->exits);
	n->generation = 1;
	n->second_at = mono_add(now, NODE_SECOND);
}

void node_apply(struct node *n, const struct settings *s, bool switched, mono_t now)
{
	uint32_t changed = sections_changed(&n->settings, s);
	bool session = (changed & 1u << SECTION_SESSION) != 0;

	n->settings = *s;
	n->generation++;
	if (switched)
		changed |= 1u << SECTION_SESSION;
	/* An order that changes nothing about a session that does well is not worth a flicker. */
	if (switched ? session || !s->on || !report_on(&n->report) : session && s->on)
		report_on_order(&n->report, s->on, now);
	sections_on_change(&n->sections, changed, now);
	if (report_update(&n->report, now))
		n->generation++;
}

/* ---- links ---- */

static void health_update(struct node *n, enum peer p, mono_t now)
{
	ui_Health h = !n->sections.linked[p]  ? ui_Health_HEALTH_DOWN
		      : n->sections.silent[p] ? ui_Health_HEALTH_SILENT
					      : ui_Health_HEALTH_UP;

	if (n->report.services[p].health == h)
		return;
	report_on_health(&n->report, p, h, now);
	n->generation++;
}

void node_on_link_state(struct node *n, enum peer p, bool up, mono_t now)
{
	if (up || !n->sections.linked[p])
		return; /* up is told by node_on_link, when both sides can speak */
	sections_on_unlink(&n->sections, p);
	if (p == PEER_ROUTER)
		exits_on_router_lost(&n->exits);
	health_update(n, p, now);
}

void node_on_restart(struct node *n, enum peer p)
{
	report_forget(&n->report, p);
	if (p == PEER_ROUTER)
		exits_on_router_lost(&n->exits);
	n->generation++;
}

void node_on_link(struct node *n, enum peer p, mono_t now)
{
	sections_on_link(&n->sections, p, now);
	if (p == PEER_ROUTER)
		exits_want(&n->exits, now);
	health_update(n, p, now);
}

/* ---- facts ---- */

static void word_from(struct node *n, enum peer p, mono_t now)
{
	sections_on_word(&n->sections, p);
	health_update(n, p, now);
	n->generation++;
}

void node_on_session(struct node *n, const mvpn_SessionState *s, mono_t now)
{
	if (!n->report.session_known || n->report.session.n_exits != s->n_exits)
		exits_want(&n->exits, now);
	report_on_session(&n->report, s, now);
	word_from(n, PEER_ROUTER, now);
	report_update(&n->report, now);
}

void node_on_wallet(struct node *n, const mvpn_WalletState *w, mono_t now)
{
	report_on_wallet(&n->report, w);
	word_from(n, PEER_LEDGER, now);
}

void node_on_directory(struct node *n, const mvpn_DirectoryState *d, mono_t now)
{
	if (!n->report.directory_known || n->report.directory.n_exits != d->n_exits)
		exits_want(&n->exits, now);
	report_on_directory(&n->report, d);
	word_from(n, PEER_DISCOVERY, now);
}

void node_on_tunnel(struct node *n, const mvpn_TunnelState *t, mono_t now)
{
	report_on_tunnel(&n->report, t);
	word_from(n, PEER_TUNNEL, now);
}

void node_on_done(struct node *n, uint64_t id, bool ok, const char *why, mono_t now)
{
	enum section what;

	if (!sections_on_done(&n->sections, id, ok, why, now, &what))
		return;
	if (what == SECTION_SESSION)
		report_on_order_done(&n->report, ok, n->sections.at[what].refused, now);
	/* An answer that says what is known already is not news: it comes every few seconds. */
	sections_on_word(&n->sections, section_peer(what));
	health_update(n, section_peer(what), now);
	if (!ok || report_update(&n->report, now))
		n->generation++;
}

void node_on_exits(struct node *n, uint64_t re, const mvpn_ExitList *piece, mono_t now)
{
	exits_on_piece(&n->exits, re, piece, now);
}

/* ---- time ---- */

static void second_pass(struct node *n, mono_t now)
{
	const struct report *r = &n->report;
	bool unknown = r->shown.phase == ui_Phase_PHASE_UNKNOWN;
	bool flows = r->shown.phase == ui_Phase_PHASE_ON;

	history_add(&n->history,
		unknown ? HISTORY_UNKNOWN
		: flows ? (int64_t)r->session.rx_Bps
			: 0,
		unknown ? HISTORY_UNKNOWN
		: flows ? (int64_t)r->session.tx_Bps
			: 0);
	n->second_at = mono_add(n->second_at, NODE_SECOND);
	/* Late by more than that (suspend): do not make up for seconds that nobody saw. */
	if (mono_reached(n->second_at, now))
		n->second_at = mono_add(now, NODE_SECOND);
}

void node_tick(struct node *n, mono_t now, const struct node_sink *sink)
{
	const struct sections_sink to = {sink->send_section, sink->ctx};

	sections_tick(&n->sections, now, &to);
	for (int p = 0; p < PEERS; p++)
		health_update(n, (enum peer)p, now);
	if (n->sections.linked[PEER_ROUTER] && exits_due(&n->exits, now))
		exits_on_sent(&n->exits, sink->ask_exits(sink->ctx), now);
	if (report_update(&n->report, now))
		n->generation++;
	if (mono_reached(n->second_at, now))
		second_pass(n, now);
}

mono_t node_deadline(const struct node *n)
{
	mono_t at = mono_min(n->second_at, sections_deadline(&n->sections));

	if (n->sections.linked[PEER_ROUTER])
		at = mono_min(at, exits_deadline(&n->exits));
	return mono_min(at, report_deadline(&n->report));
}

/* ---- state ---- */

static uint32_t seconds(mono_t from, mono_t to)
{
	uint64_t s = mono_since(from, to).ns / 1000000000u;

	return s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

static void settings_state(const struct settings *s, ui_Settings *ret)
{
	char countries[SETTINGS_COUNTRIES_MAX][3];

	ret->has_switched = ret->has_route = ret->has_share = ret->has_pay = ret->has_prices = true;
	ret->switched.on = s->on;
	ret->route.hops = (uint32_t)s->n_hops;
	ret->route.hop_interval_s = (uint32_t)s->hop_interval_s;
	ret->route.exit_countries_count = (pb_size_t)settings_countries(s, countries);
	for (pb_size_t i = 0; i < ret->route.exit_countries_count; i++)
		memcpy(ret->route.exit_countries[i], countries[i], 3);
	ret->share.on = s->share;
	ret->share.exit = s->share_exit;
	ret->pay.on = s->pay;
	ret->pay.price_max_gwei_per_gib = s->price_max_gwei_per_gib;
	ret->pay.spend_max_gwei_per_day = s->spend_max_gwei_per_day;
	ret->prices.earn = s->earn;
	ret->prices.entry_gwei_per_gib = s->entry_gwei_per_gib;
	ret->prices.middle_gwei_per_gib = s->middle_gwei_per_gib;
	ret->prices.exit_gwei_per_gib = s->exit_gwei_per_gib;
}

static void service_state(const struct node *n, enum peer p, mono_t now, ui_Service *ret)
{
	static const ui_ServiceName names[PEERS] = {
		[PEER_TUNNEL] = ui_ServiceName_SERVICE_NAME_TUNNEL,
		[PEER_DISCOVERY] = ui_ServiceName_SERVICE_NAME_DISCOVERY,
		[PEER_ROUTER] = ui_ServiceName_SERVICE_NAME_ROUTER,
		[PEER_LEDGER] = ui_ServiceName_SERVICE_NAME_LEDGER,
	};

	ret->name = names[p];
	ret->health = n->report.services[p].health;
	ret->since_s = seconds(n->report.services[p].since, now);
	for (int i = 0; i < SECTIONS; i++)
		if (section_peer((enum section)i) == p && n->sections.at[i].refused[0] != '\0')
			snprintf(ret->refused, sizeof(ret->refused), "%s",
				n->sections.at[i].refused);
}

void node_state(const struct node *n, mono_t now, ui_State *ret)
{
	const struct report *r = &n->report;

	memset(ret, 0, sizeof(*ret));
	ret->phase = r->shown.phase;
	ret->cause = r->shown.cause;
	snprintf(ret->reason, sizeof(ret->reason), "%s", r->shown.reason);
	ret->since_s = seconds(r->shown.since, now);
	ret->has_settings = true;
	settings_state(&n->settings, &ret->settings);
	ret->has_session = r->session_known;
	ret->session = r->session;
	ret->has_wallet = r->wallet_known;
	ret->wallet = r->wallet;
	ret->has_directory = r->directory_known;
	ret->directory = r->directory;
	ret->has_tunnel = r->tunnel_known;
	ret->tunnel = r->tunnel;
	ret->services_count = PEERS;
	for (int p = 0; p < PEERS; p++)
		service_state(n, (enum peer)p, now, &ret->services[p]);
	memcpy(ret->notice, n->notice, sizeof(n->notice));
}
