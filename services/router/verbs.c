/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server side of routerctl. */
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "core/attempt.h"
#include "core/live.h"
#include "lib/sys/entropy.h"
#include "service.h"

#define ID_SHOWN 8 /* bytes of an id in tables */
#define PICKS_MAX 1000

static double ms_of_us(uint32_t us)
{
	return us / 1e3;
}

/* Seconds from now until t; -1: never or over. */
static int64_t in_s(const struct state *s, mono_t t)
{
	mono_t now = service_now(s->service);

	return t.ns <= now.ns || t.ns == UINT64_MAX
		       ? -1
		       : (int64_t)(mono_since(now, t).ns / 1000000000u);
}

static int64_t ago_s(const struct state *s, mono_t t)
{
	return t.ns == 0 ? -1 : (int64_t)(mono_since(t, service_now(s->service)).ns / 1000000000u);
}

static bool has_flag(int argc, char *const *argv, const char *flag)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], flag) == 0)
			return true;
	return false;
}

/* The word after `flag`, NULL if it is not there. */
static const char *flag_value(int argc, char *const *argv, const char *flag)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], flag) == 0)
			return argv[i + 1];
	return NULL;
}

static bool number_of(const char *text, uint64_t most, uint64_t *ret_n)
{
	char *end;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return false;
	*ret_n = strtoull(text, &end, 10);
	return *end == '\0' && *ret_n <= most;
}

/* ---- status, session ---- */

static const char *redis_word(const struct state *s)
{
	if (!redis_up(s->redis))
		return "away: reputation in memory only";
	return redis_settled(s->redis) ? "up" : "catching up";
}

static enum err verb_status(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	const struct router *r = s->r;
	const struct view *v = router_view_shown(s->r, when_of(s));

	(void)argc;
	(void)argv;
	ctl_row(o, "router");
	ctl_text(o, "phase", phase_text(r->vpn.phase));
	ctl_text(o, "reason", r->vpn.reason);
	ctl_number(o, "since_s", ago_s(s, r->vpn.phase_since));
	ctl_number(o, "connect_ms", r->vpn.connect_ms);
	ctl_number(o, "relays", r->peers.n_listed);
	ctl_number(o, "exits_that_fit", v->n_fit[HOP_EXIT]);
	ctl_flag(o, "directory_complete", r->peers.complete);
	ctl_flag(o, "spare", r->vpn.spare != 0);
	ctl_number(o, "guards", (int64_t)r->guards.n);
	ctl_flag(o, "tunnel", r->tunnel.link_up);
	ctl_flag(o, "tunnel_snapshot", r->tunnel.synced);
	ctl_flag(o, "gateway_spoke", r->want.known);
	ctl_text(o, "redis", redis_word(s));
	return OK;
}

static enum err verb_session(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct router *r = s->r;
	char countries[4 * POLICY_COUNTRIES_MAX + 1] = "";

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < r->want.n_countries; i++)
		snprintf(countries + strlen(countries), sizeof(countries) - strlen(countries),
			"%s%s", i == 0 ? "" : ",", r->want.countries[i]);
	ctl_row(o, "session");
	ctl_flag(o, "wanted", r->want.on);
	ctl_text(o, "wanted_by",
		r->want.known	  ? "gateway"
		: r->want.implied ? "live route"
				  : "nobody yet");
	ctl_number(o, "hops", r->want.n_hops);
	ctl_text(o, "exit_countries", countries[0] == '\0' ? "any" : countries);
	ctl_flag(o, "pay", r->want.pay);
	ctl_number(o, "price_max_gwei_per_gib", (int64_t)r->want.price_max_gwei);
	ctl_number(o, "hop_interval_s", r->want.hop_interval_s);
	ctl_text(o, "phase", phase_text(r->vpn.phase));
	ctl_text(o, "reason", r->vpn.reason);
	ctl_number(o, "route", r->vpn.live);
	ctl_number(o, "spare", r->vpn.spare);
	ctl_number(o, "repairing", r->vpn.repair.of);
	ctl_number(o, "failed_attempts", r->vpn.seek.n_failed);
	ctl_number(o, "next_hop_s", in_s(s, r->vpn.hop_at));
	ctl_number(o, "connect_ms", r->vpn.connect_ms);
	return OK;
}

/* ---- routes ---- */

static const char *path_part(const struct router *r, const struct path *p)
{
	if (p->id == r->vpn.live)
		return "live";
	if (p->id == r->vpn.spare)
		return "spare";
	if (p->dead)
		return "dead, its exit is being saved";
	return p->state == PATH_DRAINING ? "draining" : path_use_text(p->use);
}

static const struct peer *hop_peer(struct state *s, const struct path *p, unsigned int k)
{
	return peers_find(&s->r->peers, p->hops[k].node_id);
}

static void hops_word(struct state *s, const struct path *p, char *buf, size_t len)
{
	buf[0] = '\0';
	for (unsigned int k = 0; k < p->n_hops; k++) {
		const struct peer *peer = hop_peer(s, p, k);

		snprintf(buf + strlen(buf), len - strlen(buf), "%s%s(%s)", k == 0 ? "" : " > ",
			peer == NULL		? "?"
			: peer->name[0] == '\0' ? "-"
						: peer->name,
			peer == NULL || peer->country[0] == '\0' ? "?" : peer->country);
	}
}

static enum err verb_routes(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < PATHS_MAX; i++) {
		const struct path *p = &s->r->paths[i];
		char hops[160];

		if (p->state == PATH_FREE)
			continue;
		hops_word(s, p, hops, sizeof(hops));
		ctl_row(o, "routes");
		ctl_number(o, "route", p->id);
		ctl_text(o, "part", path_part(s->r, p));
		ctl_text(o, "state", path_state_text(p->state));
		ctl_text(o, "hops", hops);
		ctl_real(o, "rtt_ms", ms_of_us(path_exit(p)->rtt_us));
		ctl_number(o, "age_s", ago_s(s, p->began));
		ctl_number(o, "rx_bytes", (int64_t)p->rx_bytes);
		ctl_number(o, "tx_bytes", (int64_t)p->tx_bytes);
	}
	return OK;
}

static void hop_row(struct state *s, const struct path *p, unsigned int k, struct ctl_out *o)
{
	static const char *const roles[HOP_ROLES] = {"entry", "middle", "exit"};
	const struct peer *peer = hop_peer(s, p, k);
	const struct path_hop *h = &p->hops[k];

	ctl_row(o, "hops");
	ctl_text(o, "role", roles[path_role(p, k)]);
	ctl_hex(o, "node", h->node_id, ID_SHOWN);
	ctl_text(o, "name", peer == NULL ? "" : peer->name);
	ctl_text(o, "country", peer == NULL ? "" : peer->country);
	ctl_number(o, "asn", peer == NULL ? 0 : peer->asn);
	ctl_real(o, "rtt_ms", ms_of_us(h->rtt_us));
	ctl_real(o, "jitter_ms", ms_of_us(h->jitter_us));
	ctl_real(o, "loss_pct", h->loss_ppm / 1e4);
	ctl_number(o, "price_gwei", peer == NULL ? 0 : (int64_t)peer->price_gwei[path_role(p, k)]);
	ctl_id(o, "session", h->session);
}

static enum err verb_route(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	uint64_t id = s->r->vpn.live;

	if (argc > 1 && !number_of(argv[1], UINT32_MAX, &id))
		return ctl_fail(o, ERR_INVALID, "a route is a number; `show routes` lists them");
	const struct path *p = path_find(s->r, (uint32_t)id);
	if (p == NULL)
		return ctl_fail(o, ERR_NOT_FOUND,
			argc > 1 ? "no such route; `show routes` lists them"
				 : "no route is in use");
	for (unsigned int k = 0; k < p->n_hops; k++)
		hop_row(s, p, k, o);
	return OK;
}

static enum err verb_reasons(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	const struct path *p = live_path(s->r);

	(void)argc;
	(void)argv;
	for (int i = 0; p != NULL && i < PICK_REASONS; i++) {
		if (p->reasons[i][0] == '\0')
			continue;
		ctl_row(o, "reasons");
		ctl_text(o, "what", "choice");
		ctl_text(o, "reason", p->reasons[i]);
	}
	if (s->r->vpn.note[0] != '\0') {
		ctl_row(o, "reasons");
		ctl_text(o, "what", "last event");
		ctl_text(o, "reason", s->r->vpn.note);
	}
	ctl_row(o, "reasons");
	ctl_text(o, "what", phase_text(s->r->vpn.phase));
	ctl_text(o, "reason", s->r->vpn.reason);
	return OK;
}

/* ---- relays ---- */

static const char *roles_word(uint32_t roles, char buf[static 32])
{
	snprintf(buf, 32, "%s%s%s", roles & DESCRIPTOR_RELAY ? "relay" : "",
		roles & DESCRIPTOR_EXIT4 ? " exit4" : "", roles & DESCRIPTOR_EXIT6 ? " exit6" : "");
	return buf;
}

static void peer_row(const struct state *s, const struct peer *p, struct ctl_out *o)
{
	mono_t now = service_now(s->service);
	char buf[32];

	ctl_row(o, "peers");
	ctl_hex(o, "node", p->node_id, ID_SHOWN);
	ctl_text(o, "name", p->name);
	ctl_text(o, "country", p->country);
	ctl_number(o, "asn", p->asn);
	ctl_text(o, "roles", roles_word(p->roles, buf));
	ctl_number(o, "entry_gwei", (int64_t)p->price_gwei[HOP_ENTRY]);
	ctl_number(o, "exit_gwei", (int64_t)p->price_gwei[HOP_EXIT]);
	ctl_number(o, "reliability_pct", (int64_t)(100 * rep_reliability(&p->rep, now)));
	ctl_number(o, "avoided_s", in_s(s, p->avoid_until));
	ctl_flag(o, "listed", peer_listed(p, when_of(s)));
	ctl_flag(o, "claim_ignored", p->claim_ignored);
}

static enum err verb_peers(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	const char *country = flag_value(argc, argv, "--country");
	bool all = has_flag(argc, argv, "--all");

	for (uint32_t i = 0; i < s->r->peers.n_top; i++) {
		const struct peer *p = &s->r->peers.all[i];

		if (p->used && (all || peer_listed(p, when_of(s))) &&
			(country == NULL || strcmp(country, p->country) == 0))
			peer_row(s, p, o);
	}
	return OK;
}

static enum err verb_exits(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	struct policy policy = router_policy(s->r, when_of(s));

	(void)argc;
	(void)argv;
	for (uint32_t i = 0; i < s->r->peers.n_top; i++) {
		const struct peer *p = &s->r->peers.all[i];
		enum rule rule = p->used ? rule_for_exit(&policy, p, when_of(s)) : RULE_UNLISTED;

		if (rule == RULE_UNLISTED || rule == RULE_ROLE)
			continue;
		ctl_row(o, "exits");
		ctl_hex(o, "node", p->node_id, ID_SHOWN);
		ctl_text(o, "name", p->name);
		ctl_text(o, "country", p->country);
		ctl_number(o, "asn", p->asn);
		ctl_number(o, "price_gwei", (int64_t)p->price_gwei[HOP_EXIT]);
		ctl_real(o, "rtt_ms", ms_of_us(p->path_rtt_us));
		ctl_number(o, "reliability_pct",
			(int64_t)(100 * rep_reliability(&p->rep, service_now(s->service))));
		ctl_text(o, "why_not", rule_text(rule));
	}
	return OK;
}

static enum err verb_guards(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	uint32_t today = when_day(when_of(s));

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < s->r->guards.n; i++) {
		const struct guard *g = &s->r->guards.all[i];
		const struct peer *p = peers_find(&s->r->peers, g->node_id);

		ctl_row(o, "guards");
		ctl_hex(o, "node", g->node_id, ID_SHOWN);
		ctl_text(o, "name", p == NULL ? "" : p->name);
		ctl_flag(o, "confirmed", g->confirmed);
		ctl_flag(o, "listed", p != NULL && peer_listed(p, when_of(s)));
		ctl_number(o, "days_left", (int64_t)g->expires_day - today);
		ctl_number(o, "failures", g->n_fails);
		ctl_number(o, "retry_s", in_s(s, g->retry_at));
		ctl_real(o, "rtt_ms",
			ms_of_us(p == NULL || p->rep.n_rtt == 0 ? g->rtt_us : p->rep.srtt_us));
		ctl_number(o, "circuits", g->n_tried);
		ctl_number(o, "completed", g->n_lived);
	}
	return OK;
}

static enum err verb_reputation(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	mono_t now = service_now(s->service);
	bool all = has_flag(argc, argv, "--all");

	for (uint32_t i = 0; i < s->r->peers.n_top; i++) {
		const struct peer *p = &s->r->peers.all[i];
		char key[REDIS_KEY_TEXT];

		if (!p->used || (!all && !rep_known(&p->rep)))
			continue;
		redis_key_text(s->redis, p->node_id, key);
		ctl_row(o, "reputation");
		ctl_hex(o, "node", p->node_id, ID_SHOWN);
		ctl_text(o, "name", p->name);
		ctl_real(o, "good", (double)p->rep.good);
		ctl_real(o, "bad", (double)p->rep.bad);
		ctl_number(o, "reliability_pct", (int64_t)(100 * rep_reliability(&p->rep, now)));
		ctl_number(o, "goodput_kBps", (int64_t)(rep_goodput_Bps(&p->rep) / 1000));
		ctl_real(o, "rtt_ms", ms_of_us(p->rep.srtt_us));
		ctl_number(o, "days", p->rep.days_listed);
		ctl_flag(o, "in_redis", p->synced && !p->dirty && redis_up(s->redis));
		ctl_text(o, "key", key);
	}
	return OK;
}

/* ---- counters ---- */

static void counter(struct ctl_out *o, const char *what, uint64_t n)
{
	ctl_row(o, "counters");
	ctl_text(o, "what", what);
	ctl_number(o, "n", (int64_t)n);
}

static enum err verb_counters(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	const struct state *s = state;
	const struct router *r = s->r;
	const struct redis_counters *c = redis_counters(s->redis);
	const struct {
		const char *what;
		uint64_t n;
	} all[] = {{"routes built", r->count.built}, {"attempts failed", r->count.failed},
		{"probes without answer", r->count.probed_bad},
		{"attempts timed out", r->count.timed_out},
		{"live routes that died", r->count.dead},
		{"spares that took over", r->count.promoted},
		{"exits saved by another path", r->count.repaired},
		{"route changes", r->count.hops_done}, {"unknown routes closed", r->count.orphans},
		{"guards dropped", r->guards.n_dropped}, {"messages refused", s->refused_messages},
		{"relays refused, table full", r->peers.count.refused_full},
		{"descriptors refused", r->peers.count.refused_bad},
		{"country claims ignored", r->peers.count.claims_ignored},
		{"snapshots cut short", r->peers.count.snapshots_short},
		{"relays forgotten for room", r->peers.count.evicted},
		{"redis connects", c->connects}, {"redis links lost", c->losses},
		{"redis reads", c->reads}, {"redis writes", c->writes},
		{"redis writes joined with another's", c->conflicts},
		{"redis values refused", c->bad_values}};

	(void)argc;
	(void)argv;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		counter(o, all[i].what, all[i].n);
	return OK;
}

/* ---- pick ---- */

static enum err pick_policy(struct state *s, int argc, char *const *argv, struct ctl_out *o,
	struct policy *ret, uint64_t *ret_n)
{
	const char *country = flag_value(argc, argv, "--exit"),
		   *hops = flag_value(argc, argv, "--hops");
	const char *n = flag_value(argc, argv, "--n");
	struct policy policy = router_policy(s->r, when_of(s));
	uint64_t v = policy.n_hops;

	if (country != NULL && strlen(country) != 2)
		return ctl_fail(o, ERR_INVALID, "--exit takes a country of two letters, as in SE");
	if (hops != NULL && (!number_of(hops, POLICY_HOPS_MAX, &v) || v == 0))
		return ctl_fail(o, ERR_INVALID, "--hops takes 1 to %d", POLICY_HOPS_MAX);
	*ret_n = 1;
	if (n != NULL && (!number_of(n, PICKS_MAX, ret_n) || *ret_n == 0))
		return ctl_fail(o, ERR_INVALID, "--n takes 1 to %d", PICKS_MAX);
	policy.n_hops = (unsigned int)v;
	if (country != NULL) {
		memset(policy.countries, 0, sizeof(policy.countries));
		memcpy(policy.countries[0], country, 2);
		policy.n_countries = 1;
	}
	*ret = policy;
	return OK;
}

static void pick_row(const struct state *s, const struct pick *pick, struct ctl_out *o)
{
	char route[160] = "";

	for (unsigned int k = 0; k < pick->n_hops; k++) {
		const struct peer *p = &s->r->peers.all[pick->peers[k]];
		char id[9];

		sodium_bin2hex(id, sizeof(id), p->node_id, 4);
		snprintf(route + strlen(route), sizeof(route) - strlen(route), "%s%s(%s)",
			k == 0 ? "" : " > ", p->name[0] == '\0' ? id : p->name,
			p->country[0] == '\0' ? "?" : p->country);
	}
	ctl_row(o, "picks");
	ctl_text(o, "route", route);
	ctl_real(o, "expected_ms", ms_of_us(pick->rtt_us));
	ctl_number(o, "candidates", pick->n_candidates);
	ctl_real(o, "effective", pick->effective);
	ctl_real(o, "temperature", pick->temperature);
	for (int i = 0; i < PICK_REASONS; i++)
		ctl_text(o, i == 0 ? "reason" : i == 1 ? "reason2" : "reason3", pick->reasons[i]);
}

static enum err verb_pick(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct state *s = state;
	struct policy policy;
	struct view view;
	struct rng rng;
	uint64_t n = 1;

	TRY(pick_policy(s, argc, argv, o, &policy, &n));
	view_init(&view, &s->rehearsal.weigh, PEERS_CAPACITY);
	weigh(&view, &s->r->peers, &policy, when_of(s));
	entropy_rng(&rng);
	for (uint64_t i = 0; i < n; i++) {
		struct pick pick;
		char why[NOTE_MAX];

		if (attempt_rehearse(s->r, &view, &rng, when_of(s), &pick, why) != OK)
			return ctl_fail(o, ERR_NOT_FOUND, "%s", why);
		pick_row(s, &pick, o);
	}
	return OK;
}

const struct ctl_verb router_verbs[] = {
	{"status", verb_status},
	{"show session", verb_session},
	{"show routes", verb_routes},
	{"show route", verb_route},
	{"show peers", verb_peers},
	{"show exits", verb_exits},
	{"show guards", verb_guards},
	{"show reputation", verb_reputation},
	{"show reasons", verb_reasons},
	{"show counters", verb_counters},
	{"pick", verb_pick},
};
const size_t n_router_verbs = sizeof(router_verbs) / sizeof(router_verbs[0]);
