/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line's side of the gateway: the same orders as a page gives, and all that it knows.
 */
#include "gateway.h"

#include <stdio.h>
#include <string.h>

#include "lib/net.h"

#define NODE_ID_SHOWN 8 /* bytes of a node id that tell nodes apart for people */

static int64_t seconds_since(const struct gateway *g, mono_t t)
{
	return (int64_t)(mono_since(t, service_now(g->service)).ns / 1000000000u);
}

static void put_address(struct ctl_out *o, const char *key, const uint8_t *ip, size_t len)
{
	struct net_addr a = net_addr_from_bytes(ip, len);
	char text[NET_TEXT_MAX];

	ctl_text(o, key, a.family == NET_NONE ? "" : net_addr_show(&a, text));
}

static enum err usage(struct ctl_out *o, const char *words)
{
	return ctl_fail(o, ERR_INVALID, "usage: %s", words);
}

/* Orders answer with words of their own. */
static enum err change(
	struct gateway *g, const struct settings *s, bool switched, struct ctl_out *o)
{
	char why[CONF_WHY_MAX];
	enum err e = gateway_change(g, s, switched, why);

	return e == OK ? OK : ctl_fail(o, e, "%s", why);
}

static bool on_off(const char *word, bool *ret)
{
	if (strcmp(word, "on") != 0 && strcmp(word, "off") != 0)
		return false;
	*ret = strcmp(word, "on") == 0;
	return true;
}

/* ---- what is there ---- */

static const char *health_name(ui_Health h)
{
	return h == ui_Health_HEALTH_UP ? "up" : h == ui_Health_HEALTH_SILENT ? "silent" : "down";
}

static const char *const peer_names[PEERS] = {
	[PEER_TUNNEL] = "tunnel",
	[PEER_DISCOVERY] = "discovery",
	[PEER_ROUTER] = "router",
	[PEER_LEDGER] = "ledger",
};

static size_t clients_n(const struct gateway *g)
{
	size_t n = 0;

	while (web_client(g, n) != NULL)
		n++;
	return n;
}

static enum err verb_status(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	const struct report *r = &g->node.report;

	(void)argc;
	(void)argv;
	ctl_row(o, "status");
	ctl_text(o, "version", MVPN_VERSION);
	ctl_number(o, "up_s", seconds_since(g, r->started));
	ctl_number(o, "port", (int64_t)g->conf->port);
	ctl_text(o, "page", g->page_there ? g->page : "");
	ctl_number(o, "clients", (int64_t)clients_n(g));
	ctl_text(o, "wanted", g->node.settings.on ? "on" : "off");
	ctl_text(o, "phase", report_phase_name(r->shown.phase));
	ctl_text(o, "reason", r->shown.reason);
	ctl_flag(o, "share", g->node.settings.share);
	ctl_flag(o, "share_exit", g->node.settings.share && g->node.settings.share_exit);
	ctl_flag(o, "pay", g->node.settings.pay);
	for (int p = 0; p < PEERS; p++)
		ctl_text(o, peer_names[p], health_name(r->services[p].health));
	if (g->node.notice[0] != '\0')
		ctl_text(o, "notice", g->node.notice);
	return OK;
}

static enum err verb_show_settings(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	const char *section, *key;
	char value[CONF_WHY_MAX];

	(void)argc;
	(void)argv;
	for (size_t i = 0; settings_entry(&g->node.settings, i, &section, &key, value); i++) {
		ctl_row(o, "settings");
		ctl_text(o, "section", section);
		ctl_text(o, "key", key);
		ctl_text(o, "value", value);
	}
	return OK;
}

static enum err verb_show_services(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;

	(void)argc;
	(void)argv;
	for (int p = 0; p < PEERS; p++) {
		const struct report_health *h = &g->node.report.services[p];

		ctl_row(o, "services");
		ctl_text(o, "service", peer_names[p]);
		ctl_text(o, "health", health_name(h->health));
		ctl_number(o, "since_s", seconds_since(g, h->since));
	}
	for (int i = 0; i < SECTIONS; i++) {
		const struct section_state *x = &g->node.sections.at[i];

		ctl_row(o, "sections");
		ctl_text(o, "section", section_name((enum section)i));
		ctl_text(o, "to", peer_names[section_peer((enum section)i)]);
		ctl_text(o, "state",
			x->refused[0] != '\0' ? "refused"
			: x->due	      ? "due"
			: x->id != 0	      ? "sent"
					      : "taken");
		ctl_number(o, "sent", (int64_t)x->n_sent);
		ctl_number(o, "taken", (int64_t)x->n_taken);
		ctl_number(o, "refused", (int64_t)x->n_refused);
		ctl_number(o, "unanswered", (int64_t)x->n_unanswered);
		ctl_text(o, "why", x->refused);
	}
	return OK;
}

static enum err verb_show_clients(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	const struct client *c;

	(void)argc;
	(void)argv;
	for (size_t i = 0; (c = web_client(g, i)) != NULL; i++) {
		ctl_row(o, "clients");
		ctl_number(o, "client", (int64_t)i);
		ctl_flag(o, "welcomed", c->welcomed);
		ctl_flag(o, "owed", client_owed(c, &g->node));
		ctl_number(o, "answers", (int64_t)c->n_answers);
		ctl_number(o, "samples_behind", (int64_t)(g->node.history.end - c->next_sample));
	}
	return OK;
}

static enum err verb_show_counters(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	const struct gateway_counters *n = &g->counters;

	(void)argc;
	(void)argv;
	ctl_row(o, "counters");
	ctl_number(o, "pages_opened", (int64_t)n->pages_opened);
	ctl_number(o, "pages_closed", (int64_t)n->pages_closed);
	ctl_number(o, "pages_stalled", (int64_t)n->pages_stalled);
	ctl_number(o, "pages_too_many", (int64_t)n->pages_too_many);
	ctl_number(o, "bad_host", (int64_t)n->bad_host);
	ctl_number(o, "bad_origin", (int64_t)n->bad_origin);
	ctl_number(o, "bad_token", (int64_t)n->bad_token);
	ctl_number(o, "text_frames", (int64_t)n->text_frames);
	ctl_number(o, "too_large", (int64_t)n->too_large);
	ctl_number(o, "malformed", (int64_t)n->malformed);
	ctl_number(o, "orders", (int64_t)n->orders);
	ctl_number(o, "orders_refused", (int64_t)n->orders_refused);
	ctl_number(o, "settings_stored", (int64_t)n->settings_stored);
	ctl_number(o, "settings_not_stored", (int64_t)n->settings_not_stored);
	ctl_number(o, "exits_left_out", (int64_t)g->node.exits.n_left_out);
	return OK;
}

/* ---- the session ---- */

static void put_hop(struct gateway *g, struct ctl_out *o, size_t position)
{
	const mvpn_HopInfo *h = &g->node.report.session.hops[position];
	const mvpn_HopPayment *p = report_payment(&g->node.report, h->session);

	ctl_row(o, "hops");
	ctl_number(o, "position", (int64_t)position + 1);
	ctl_hex(o, "node", h->node_id, NODE_ID_SHOWN);
	ctl_text(o, "name", h->name);
	ctl_text(o, "country", h->country);
	ctl_number(o, "asn", h->asn);
	put_address(o, "address", h->address.bytes, h->address.size);
	ctl_real(o, "rtt_ms", h->rtt_us / 1000.0);
	ctl_real(o, "jitter_ms", h->jitter_us / 1000.0);
	ctl_real(o, "loss_pct", h->loss_ppm / 10000.0);
	ctl_number(o, "price_gwei_per_gib", (int64_t)h->price_gwei_per_gib);
	ctl_number(o, "tickets", p == NULL ? 0 : p->tickets);
	ctl_text(o, "paid_gwei", p == NULL || p->paid[0] == '\0' ? "0" : p->paid);
	ctl_number(o, "used_bytes", p == NULL ? 0 : (int64_t)p->used_bytes);
	ctl_id(o, "session", h->session);
}

static enum err verb_session(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	const struct report *r = &g->node.report;
	const mvpn_SessionState *s = &r->session;
	char reasons[200] = "";
	size_t len = 0;

	(void)argc;
	(void)argv;
	for (pb_size_t i = 0; i < s->reasons_count && len < sizeof(reasons); i++)
		len += (size_t)snprintf(reasons + len, sizeof(reasons) - len, "%s%s",
			i > 0 ? "; " : "", s->reasons[i]);
	ctl_row(o, "session");
	ctl_text(o, "phase", report_phase_name(r->shown.phase));
	ctl_text(o, "reason", r->shown.reason);
	ctl_text(o, "wanted", g->node.settings.on ? "on" : "off");
	ctl_number(o, "since_s", seconds_since(g, r->shown.since));
	ctl_number(o, "connect_ms", s->connect_ms);
	ctl_number(o, "wanted_hops", (int64_t)g->node.settings.n_hops);
	ctl_text(o, "exit_countries", g->node.settings.exit_countries);
	put_address(o, "exit_address", s->exit_address.bytes, s->exit_address.size);
	put_address(o, "ip4", s->ip4.bytes, s->ip4.size);
	put_address(o, "ip6", s->ip6.bytes, s->ip6.size);
	ctl_number(o, "rx_bytes", (int64_t)s->rx_bytes);
	ctl_number(o, "tx_bytes", (int64_t)s->tx_bytes);
	ctl_number(o, "rx_Bps", (int64_t)s->rx_Bps);
	ctl_number(o, "tx_Bps", (int64_t)s->tx_Bps);
	ctl_number(o, "n_relays", s->n_relays);
	ctl_number(o, "n_exits", s->n_exits);
	ctl_text(o, "chosen_for", reasons);
	for (size_t i = 0; i < s->hops_count; i++)
		put_hop(g, o, i);
	return OK;
}

static const char connect_usage[] = "connect [--exit CC[,CC...]|any] [--hops 1|2|3]";

static enum err verb_connect(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	struct settings s = g->node.settings;
	char why[CONF_WHY_MAX];
	enum err e = OK;

	s.on = true;
	for (int i = 1; i < argc && e == OK; i += 2) {
		if (i + 1 == argc)
			return usage(o, connect_usage);
		const char *value = argv[i + 1];
		if (strcmp(argv[i], "--exit") == 0)
			e = settings_set(&s, "session", "exit_countries",
				strcmp(value, "any") == 0 ? "" : value, why);
		else if (strcmp(argv[i], "--hops") == 0)
			e = settings_set(&s, "session", "hops", value, why);
		else
			return usage(o, connect_usage);
	}
	return e == OK ? change(g, &s, true, o) : ctl_fail(o, e, "%s", why);
}

static enum err verb_disconnect(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	struct settings s = g->node.settings;

	(void)argv;
	if (argc != 1)
		return usage(o, "disconnect");
	s.on = false;
	return change(g, &s, true, o);
}

static enum err verb_hop(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	char why[CONF_WHY_MAX];

	(void)argv;
	if (argc != 1)
		return usage(o, "hop");
	enum err e = gateway_new_route(state, why);
	/* A router that is away is a refusal, not a gateway that does not answer. */
	return e == OK ? OK : ctl_fail(o, ERR_DENIED, "%s", why);
}

static enum err verb_exits(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	const struct exits_list *list = exits_list(&g->node.exits);

	(void)argc;
	(void)argv;
	exits_look(&g->node.exits, service_now(g->service));
	if (g->node.exits.generation == 0)
		return ctl_fail(o, ERR_DENIED, "the router has not told its exits yet; try again");
	for (size_t i = 0; i < list->n; i++) {
		const mvpn_Exit *e = &list->at[i];

		ctl_row(o, "exits");
		ctl_text(o, "country", e->country);
		ctl_hex(o, "node", e->node_id, NODE_ID_SHOWN);
		ctl_text(o, "name", e->name);
		ctl_number(o, "asn", e->asn);
		ctl_number(o, "price_gwei_per_gib", (int64_t)e->price_gwei_per_gib);
		ctl_real(o, "rtt_ms", e->rtt_us / 1000.0);
		ctl_number(o, "reliability_pct", e->reliability_pct);
		ctl_flag(o, "usable", e->usable);
		ctl_text(o, "why_not", e->why_not);
	}
	return OK;
}

/* ---- sharing and paying ---- */

static void put_share(struct gateway *g, struct ctl_out *o)
{
	const struct report *r = &g->node.report;

	ctl_row(o, "share");
	ctl_flag(o, "share", g->node.settings.share);
	ctl_flag(o, "exit", g->node.settings.share && g->node.settings.share_exit);
	ctl_flag(o, "published", r->directory_known && r->directory.published);
	ctl_number(o, "sessions", r->tunnel_known ? r->tunnel.n_sessions : 0);
	ctl_number(o, "shared_bytes", r->tunnel_known ? (int64_t)r->tunnel.shared_bytes : 0);
	ctl_text(o, "trouble",
		r->directory.trouble[0] != '\0' ? r->directory.trouble : r->tunnel.trouble);
}

static enum err verb_share(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	static const char words[] = "share [on|off] [--exit on|off]";
	struct gateway *g = state;
	struct settings s = g->node.settings;
	int i = 1;

	if (i < argc && on_off(argv[i], &s.share))
		i++;
	if (i + 1 < argc && strcmp(argv[i], "--exit") == 0 && on_off(argv[i + 1], &s.share_exit))
		i += 2;
	if (i != argc)
		return usage(o, words);
	enum err e = change(g, &s, false, o);
	if (e == OK)
		put_share(g, o);
	return e;
}

static void put_wallet(struct gateway *g, struct ctl_out *o)
{
	const struct report *r = &g->node.report;
	const mvpn_WalletState *w = &r->wallet;

	ctl_row(o, "wallet");
	ctl_flag(o, "pay", g->node.settings.pay);
	ctl_flag(o, "earn", g->node.settings.earn);
	ctl_flag(o, "known", r->wallet_known);
	ctl_text(o, "backend", w->backend);
	ctl_text(o, "spent_gwei", w->spent);
	ctl_text(o, "spent_today_gwei", w->spent_today);
	ctl_text(o, "earned_gwei", w->earned);
	ctl_number(o, "tickets_issued", w->tickets_issued);
	ctl_number(o, "tickets_taken", w->tickets_taken);
	ctl_number(o, "tickets_refused", w->tickets_refused);
	ctl_text(o, "trouble", w->trouble);
	for (pb_size_t i = 0; i < w->hops_count; i++) {
		const mvpn_HopPayment *p = &w->hops[i];

		ctl_row(o, "payments");
		ctl_number(o, "position", (int64_t)p->position + 1);
		ctl_hex(o, "node", p->node_id, NODE_ID_SHOWN);
		ctl_number(o, "tickets", p->tickets);
		ctl_text(o, "paid_gwei", p->paid[0] == '\0' ? "0" : p->paid);
		ctl_number(o, "used_bytes", (int64_t)p->used_bytes);
		ctl_number(o, "credit_bytes", (int64_t)p->credit_bytes);
	}
}

static enum err verb_pay(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	struct settings s = g->node.settings;

	if (argc > 2 || (argc == 2 && !on_off(argv[1], &s.pay)))
		return usage(o, "pay [on|off]");
	enum err e = change(g, &s, false, o);
	if (e == OK)
		put_wallet(g, o);
	return e;
}

static enum err verb_set(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	struct settings s = g->node.settings;
	char why[CONF_WHY_MAX];

	if (argc != 4 || strcmp(argv[1], "settings") == 0) /* the version is not the user's */
		return usage(o, "set SECTION KEY VALUE, such as: set session hop_interval_s 600");
	if (settings_set(&s, argv[1], argv[2], argv[3], why) != OK)
		return ctl_fail(o, ERR_INVALID, "%s", why);
	return change(g, &s, strcmp(argv[1], "session") == 0 && strcmp(argv[2], "on") == 0, o);
}

/* ---- the page, and what is missing ---- */

static enum err verb_url(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;
	char url[128];

	(void)argc;
	(void)argv;
	if (g->conf->port == 0)
		return ctl_fail(
			o, ERR_DENIED, "this node has no page: [gateway] port is 0 in node.ini");
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/#t=%s", (unsigned int)g->conf->port,
		g->token);
	ctl_row(o, "page");
	ctl_text(o, "url", url);
	return OK;
}

static void finding(struct ctl_out *o, const char *check, const char *result, const char *state,
	const char *mend)
{
	ctl_row(o, "doctor");
	ctl_text(o, "check", check);
	ctl_text(o, "result", result);
	ctl_text(o, "state", state);
	ctl_text(o, "mend", mend);
}

static void find_services(struct gateway *g, struct ctl_out *o)
{
	for (int p = 0; p < PEERS; p++) {
		char check[40], state[100], mend[100];
		ui_Health h = g->node.report.services[p].health;

		snprintf(check, sizeof(check), "link to %s", peer_names[p]);
		snprintf(state, sizeof(state), "%s for %lld s", health_name(h),
			(long long)seconds_since(g, g->node.report.services[p].since));
		snprintf(mend, sizeof(mend), "is mvpn-%s running? its log says why not",
			peer_names[p]);
		finding(o, check, h == ui_Health_HEALTH_UP ? "ok" : "MISSING", state,
			h == ui_Health_HEALTH_UP ? "" : mend);
	}
	for (int i = 0; i < SECTIONS; i++)
		if (g->node.sections.at[i].refused[0] != '\0')
			finding(o, "settings", "MISSING", g->node.sections.at[i].refused,
				"change them on the page or by `mvpn`");
}

static void find_troubles(struct gateway *g, struct ctl_out *o)
{
	const struct report *r = &g->node.report;

	if (r->directory_known)
		finding(o, "relays known", r->directory.n_relays > 0 ? "ok" : "MISSING",
			r->directory.n_relays > 0 ? "some" : "none",
			r->directory.n_relays > 0
				? ""
				: "[discovery] bootstrap in node.ini names nodes to begin with");
	if (r->tunnel_known && r->tunnel.trouble[0] != '\0')
		finding(o, "tunnel", "MISSING", r->tunnel.trouble, "");
	if (r->directory_known && r->directory.trouble[0] != '\0')
		finding(o, "discovery", "hint", r->directory.trouble, "");
	if (r->wallet_known && r->wallet.trouble[0] != '\0')
		finding(o, "payments", "MISSING", r->wallet.trouble, "");
	if (g->node.notice[0] != '\0')
		finding(o, "settings file", "hint", g->node.notice,
			"look at settings.bad beside it");
}

static enum err verb_doctor(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct gateway *g = state;

	(void)argc;
	(void)argv;
	find_services(g, o);
	find_troubles(g, o);
	if (g->conf->port != 0)
		finding(o, "web page", g->page_there ? "ok" : "hint", g->page,
			g->page_there ? ""
				      : "`make ui` builds it; [gateway] page in node.ini says "
					"where it is");
	return OK;
}

const struct ctl_verb gateway_verbs[] = {
	{"status", verb_status},
	{"show settings", verb_show_settings},
	{"show services", verb_show_services},
	{"show clients", verb_show_clients},
	{"show counters", verb_show_counters},
	{"set", verb_set},
	{"session", verb_session},
	{"connect", verb_connect},
	{"disconnect", verb_disconnect},
	{"hop", verb_hop},
	{"exits", verb_exits},
	{"share", verb_share},
	{"pay", verb_pay},
	{"url", verb_url},
	{"doctor", verb_doctor},
};
const size_t gateway_n_verbs = sizeof(gateway_verbs) / sizeof(gateway_verbs[0]);
