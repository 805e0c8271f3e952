/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server side of discoveryctl. */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "lib/sys/clock.h"
#include "service.h"
#include "verbs.h"

#define ID_SHOWN 8 /* bytes of an id in tables */

static const char *state_word(const struct relay *r)
{
	static const char *const words[RELAY_STATES] = {"free", "heard", "proven", "gone"};

	return r->own ? "own" : words[r->state];
}

/* By our own geography file; the claim of the descriptor where that knows nothing. */
static const char *country_of(const struct state *s, const struct descriptor *d)
{
	const struct geo_row *row = NULL;

	if (d->ep4.addr.family != NET_NONE)
		row = geo_find(&s->geo, &d->ep4.addr);
	if (row == NULL && d->ep6.addr.family != NET_NONE)
		row = geo_find(&s->geo, &d->ep6.addr);
	return row != NULL ? row->country : d->country;
}

static const char *roles_show(uint32_t roles, char buf[static 32])
{
	snprintf(buf, 32, "%s%s%s", roles & DESCRIPTOR_RELAY ? "relay" : "",
		roles & DESCRIPTOR_EXIT4 ? " exit4" : "", roles & DESCRIPTOR_EXIT6 ? " exit6" : "");
	return buf;
}

static int64_t ago_s(const struct state *s, mono_t t)
{
	return t.ns == 0 ? -1 : (int64_t)(mono_since(t, service_now(s->service)).ns / 1000000000u);
}

static void endpoint_put(struct ctl_out *o, const char *key, const struct net_endpoint *e)
{
	char text[NET_TEXT_MAX];

	ctl_text(o, key, net_endpoint_show(e, text));
}

/* ---- status ---- */

static enum err verb_status(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct discovery *d = s->d;
	struct directory_state ds = discovery_state(d);

	(void)argc;
	(void)argv;
	ctl_row(o, "discovery");
	ctl_text(o, "mode",
		!own_decided(&d->own) ? "undecided"
		: d->dir.client	      ? "client"
				      : "relay");
	ctl_number(o, "relays", ds.n_relays);
	ctl_number(o, "exits", ds.n_exits);
	ctl_number(o, "heard", d->dir.relays.n_state[RELAY_HEARD]);
	ctl_number(o, "gone", d->dir.relays.n_state[RELAY_GONE]);
	ctl_number(o, "banned", bans_count(&d->dir.bans, service_now(s->service)));
	ctl_flag(o, "signed", d->own.is_out);
	ctl_flag(o, "published", ds.published);
	ctl_flag(o, "complete", d->warm);
	ctl_number(o, "views_taken", d->n_views);
	ctl_number(o, "answer_ago_s", ago_s(s, d->dir.answered_at));
	ctl_text(o, "trouble", ds.trouble);
	return OK;
}

/* ---- relays ---- */

static void relay_row(const struct state *s, const struct relay *r, struct ctl_out *o)
{
	char text[32];

	ctl_row(o, "relays");
	ctl_hex(o, "node", r->d.node_id, ID_SHOWN);
	ctl_text(o, "name", r->d.name);
	ctl_text(o, "state", state_word(r));
	ctl_text(o, "country", country_of(s, &r->d));
	ctl_text(o, "roles", roles_show(r->d.roles, text));
	endpoint_put(o, "ip4", &r->d.ep4);
	endpoint_put(o, "ip6", &r->d.ep6);
	ctl_number(o, "exit_gwei", (int64_t)r->d.price_gwei_per_gib[HOP_EXIT]);
	ctl_number(o, "expires_in_s", r->d.expires.s - wall_now().s);
	ctl_number(o, "answered_ago_s", ago_s(s, r->answered_at));
	ctl_number(o, "failed", r->n_failed);
}

static enum err verb_show_relays(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct relays *t = &s->d->dir.relays;
	const char *country = NULL;
	bool all = false;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--all") == 0)
			all = true;
		else if (strcmp(argv[i], "--country") == 0 && i + 1 < argc)
			country = argv[++i];
		else
			return ctl_fail(o, ERR_INVALID,
				"'%.40s': show relays [--country CC] [--all]", argv[i]);
	}
	for (uint32_t i = 0; i < t->n; i++) {
		const struct relay *r = relays_at(t, i);

		if ((all || r->state == RELAY_PROVEN) &&
			(country == NULL || strcasecmp(country, country_of(s, &r->d)) == 0))
			relay_row(s, r, o);
	}
	return OK;
}

static void descriptor_put(const struct descriptor *d, struct ctl_out *o)
{
	char text[32];

	ctl_hex(o, "node", d->node_id, NODE_ID_SIZE);
	ctl_hex(o, "wg_pk", d->wg_pk, 32);
	ctl_text(o, "name", d->name);
	ctl_text(o, "country_claim", d->country);
	ctl_text(o, "roles", roles_show(d->roles, text));
	endpoint_put(o, "ip4", &d->ep4);
	endpoint_put(o, "ip6", &d->ep6);
	ctl_hex(o, "family", d->family_id, sizeof(d->family_id));
	ctl_number(o, "entry_gwei_per_gib", (int64_t)d->price_gwei_per_gib[HOP_ENTRY]);
	ctl_number(o, "middle_gwei_per_gib", (int64_t)d->price_gwei_per_gib[HOP_MIDDLE]);
	ctl_number(o, "exit_gwei_per_gib", (int64_t)d->price_gwei_per_gib[HOP_EXIT]);
	ctl_number(o, "free_bytes", (int64_t)d->free_bytes);
	ctl_number(o, "chain_id", d->chain_id);
	ctl_hex(o, "payee", d->payee, sizeof(d->payee));
	ctl_hex(o, "policy", d->policy_digest, sizeof(d->policy_digest));
	ctl_number(o, "seq", (int64_t)d->seq);
	ctl_number(o, "not_before", d->not_before.s);
	ctl_number(o, "expires", d->expires.s);
}

/* By the first digits of the id; ERR_INVALID if they are several. */
static enum err relay_by_prefix(
	const struct relays *t, const char *digits, const struct relay **ret_r)
{
	size_t len = strlen(digits);
	char hex[2 * NODE_ID_SIZE + 1];

	*ret_r = NULL;
	for (uint32_t i = 0; i < t->n && len >= 4; i++) {
		const struct relay *r = relays_at(t, i);

		sodium_bin2hex(hex, sizeof(hex), r->d.node_id, NODE_ID_SIZE);
		if (strncasecmp(hex, digits, len) != 0)
			continue;
		if (*ret_r != NULL)
			return ERR_INVALID;
		*ret_r = r;
	}
	return *ret_r != NULL ? OK : ERR_NOT_FOUND;
}

static enum err verb_show_relay(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct relay *r;
	enum err e;

	if (argc != 2)
		return ctl_fail(o, ERR_INVALID, "show relay ID: at least 4 digits of a node id");
	e = relay_by_prefix(&s->d->dir.relays, argv[1], &r);
	if (e == ERR_NOT_FOUND)
		return ctl_fail(
			o, e, "no node id begins with '%.64s' (at least 4 digits)", argv[1]);
	if (e != OK)
		return ctl_fail(
			o, e, "several node ids begin with '%.64s': give more digits", argv[1]);
	ctl_row(o, "relay");
	descriptor_put(&r->d, o);
	ctl_row(o, "standing");
	ctl_text(o, "state", state_word(r));
	ctl_number(o, "heard_ago_s", ago_s(s, r->heard_at));
	ctl_number(o, "answered_ago_s", ago_s(s, r->answered_at));
	ctl_number(o, "failed", r->n_failed);
	ctl_text(o, "country", country_of(s, &r->d));
	return OK;
}

static enum err verb_show_self(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct own *own = &s->d->own;
	const char *lacks = own_lacks(own);

	(void)argc;
	(void)argv;
	ctl_row(o, "self");
	ctl_hex(o, "node", own->conf.identity_sk + 32, NODE_ID_SIZE);
	ctl_flag(o, "share", own->has_settings && own->settings.share);
	ctl_flag(o, "share_exit", own->has_settings && own->settings.share_exit);
	ctl_flag(o, "tunnel_said", own->has_listening);
	ctl_flag(o, "ledger_said", own->has_terms);
	ctl_flag(o, "gateway_said", own->has_settings);
	ctl_flag(o, "signed", own->is_out);
	ctl_flag(o, "published", own->is_out && s->d->published);
	ctl_number(o, "times_signed", (int64_t)own->n_published);
	ctl_number(o, "seq", (int64_t)own->seq);
	ctl_text(o, "lacks", lacks == NULL ? "" : lacks);
	if (!own->is_out)
		return OK;
	ctl_row(o, "descriptor");
	descriptor_put(&own->out, o);
	return OK;
}

/* ---- peers ---- */

static void boot_row(const struct state *s, const struct boot *b, struct ctl_out *o)
{
	const struct relay *r = relays_find(&s->d->dir.relays, b->to.node_id);

	ctl_row(o, "bootstraps");
	ctl_hex(o, "node", b->to.node_id, ID_SHOWN);
	endpoint_put(o, "at", b->to.ep4.addr.family != NET_NONE ? &b->to.ep4 : &b->to.ep6);
	ctl_text(o, "state", r == NULL ? "unknown" : state_word(r));
	ctl_number(o, "failed", b->n_failed);
}

static void ask_row(const struct state *s, const struct ask *a, struct ctl_out *o)
{
	static const char *const why[] = {"", "compare", "prove", "news"};
	static const char *const kind[] = {"", "greet", "compare", "page", "offer"};

	ctl_row(o, "questions");
	ctl_hex(o, "node", a->to.node_id, ID_SHOWN);
	ctl_text(o, "why", why[a->why]);
	ctl_text(o, "kind", kind[a->kind]);
	ctl_number(o, "left_ms",
		(int64_t)(mono_since(service_now(s->service), a->deadline).ns / 1000000u));
}

static enum err verb_show_peers(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct contacts *c = &s->d->contacts;

	(void)argc;
	(void)argv;
	for (uint32_t i = 0; i < c->n_boots; i++)
		boot_row(s, &c->boots[i], o);
	for (int i = 0; s->d->dir.client && i < CLIENT_PEERS; i++) {
		if (!c->peers[i].used)
			continue;
		ctl_row(o, "peers");
		ctl_hex(o, "node", c->peers[i].node_id, ID_SHOWN);
		ctl_number(o, "failed", c->peers[i].n_failed);
	}
	for (int i = 0; i < ASKS_MAX; i++)
		if (s->d->asks[i].why != ASK_FREE)
			ask_row(s, &s->d->asks[i], o);
	return OK;
}

static enum err verb_show_bans(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	mono_t now = service_now(s->service);

	(void)argc;
	(void)argv;
	for (int i = 0; i < BANS_MAX; i++) {
		const struct ban *b = &s->d->dir.bans.entries[i];

		if (b->until.ns == 0 || mono_reached(b->until, now))
			continue;
		ctl_row(o, "bans");
		ctl_hex(o, "node", b->node_id, ID_SHOWN);
		ctl_number(o, "left_s", (int64_t)(mono_since(now, b->until).ns / 1000000000u));
	}
	return OK;
}

/* ---- counters ---- */

struct figure {
	const char *name;
	uint64_t n;
};

static void figures_put(struct ctl_out *o, const char *table, const struct figure *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		ctl_row(o, table);
		ctl_text(o, "counter", f[i].name);
		ctl_number(o, "n", (int64_t)f[i].n);
	}
}

static enum err verb_show_counters(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct discovery_counters *c = &s->d->counters;
	const struct directory_counters *dc = &s->d->dir.counters;
	const struct figure figures[] = {{"asked", c->asked}, {"answered", c->answered},
		{"timeouts", c->timeouts}, {"unsent", c->ask_unsent},
		{"answers_late", c->answers_late}, {"answers_malformed", c->answers_malformed},
		{"misnamed", c->misnamed}, {"out_of_question", c->out_of_question},
		{"peers_busy", c->peers_busy}, {"views_taken", c->syncs},
		{"views_agreed", c->syncs_agreed}, {"pages", c->pages},
		{"news_sent", c->rumours_sent}, {"news_lost", c->rumours_lost},
		{"queries", c->queries}, {"queries_malformed", c->queries_malformed},
		{"queries_busy", c->queries_busy}, {"queries_ignored", c->queries_ignored},
		{"bytes_in", c->bytes_in}, {"bytes_out", c->bytes_out}, {"taken", dc->taken},
		{"proven", dc->proven}, {"demoted", dc->demoted}, {"given_up", dc->given_up},
		{"expired", dc->expired}, {"equivocations", dc->equivocations},
		{"evicted", dc->evicted}, {"key_clashes", dc->key_clash},
		{"messages_refused", s->refused_messages}};
	struct figure refused[REFUSALS];

	(void)argc;
	(void)argv;
	for (int i = 0; i < REFUSALS; i++)
		refused[i] = (struct figure){refusal_name((enum refusal)i), dc->refused[i]};
	figures_put(o, "counters", figures, sizeof(figures) / sizeof(figures[0]));
	figures_put(o, "refused", refused, REFUSALS);
	return OK;
}

const struct ctl_verb discovery_verbs[] = {
	{"status", verb_status},
	{"show relays", verb_show_relays},
	{"show relay", verb_show_relay},
	{"show self", verb_show_self},
	{"show peers", verb_show_peers},
	{"show bans", verb_show_bans},
	{"show counters", verb_show_counters},
};
const size_t n_discovery_verbs = sizeof(discovery_verbs) / sizeof(discovery_verbs[0]);
