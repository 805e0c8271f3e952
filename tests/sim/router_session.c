/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session in a world where everything fails: relays die and come back, the tunnel and the
 * router are restarted, the uplink goes, wishes change. A tunnel of the test's own on a virtual
 * clock carries out the orders as the real one would. Whatever happened: when enough lives again,
 * the session is on, by living hops. */
#include "tests/harness/router_world.h"

#define ROUTES_MAX 64
#define EVENTS_MAX 512
#define STEP DUR_MS(10)
#define RTT_US 40000 /* per hop */
#define DETECT_MS 1200

enum event_kind { EVENT_BUILT, EVENT_FAILED, EVENT_PROBED, EVENT_MEASURED };

struct event {
	mono_t at; /* 0: free */
	enum event_kind kind;
	uint32_t route, hop;
	bool ok;
	unsigned int relay;
};

enum route_state { ROUTE_NONE, ROUTE_BUILDING, ROUTE_UP, ROUTE_DRAINING };

struct route {
	enum route_state state;
	uint32_t id, exit_of;
	unsigned int n_hops, hops[POLICY_HOPS_MAX];
	bool exit_lent, dead_said;
	mono_t began, drain_until;
};

struct net {
	struct world *w;
	struct rng rng;
	bool alive[WORLD_RELAYS];
	mono_t died[WORLD_RELAYS];
	bool uplink, tunnel_up, router_up;
	mono_t uplink_lost, tunnel_back, router_back;
	struct route routes[ROUTES_MAX];
	struct event events[EVENTS_MAX];
	uint32_t in_use;
	mono_t stats_at;
	uint64_t n_built, n_restarts;
	/* the wish that the gateway would say again */
	bool on;
	unsigned int hops;
	const char *country;
	char guards[GUARDS_TEXT_MAX]; /* the file */
	uint8_t boots;
};

static struct net *net_of(struct world *w)
{
	return w->user;
}

static struct route *route_find(struct net *n, uint32_t id)
{
	for (size_t i = 0; id != 0 && i < ROUTES_MAX; i++)
		if (n->routes[i].state != ROUTE_NONE && n->routes[i].id == id)
			return &n->routes[i];
	return NULL;
}

static void event_add(struct net *n, uint64_t in_us, struct event e)
{
	for (size_t i = 0; i < EVENTS_MAX; i++)
		if (n->events[i].at.ns == 0) {
			e.at = mono_add(n->w->now.mono, DUR_US(in_us));
			n->events[i] = e;
			return;
		}
	fail_msg("the simulated tunnel has too much to do");
}

static bool answers(const struct net *n, unsigned int relay)
{
	return n->uplink && n->alive[relay];
}

/* First hop that does not answer, n_hops if all do. */
static uint32_t first_silent(const struct net *n, const struct route *t)
{
	uint32_t k = 0;

	while (k < t->n_hops && answers(n, t->hops[k]))
		k++;
	return k;
}

/* ---- the tunnel carries out orders ---- */

static void build_check(struct net *n, const struct order *o)
{
	for (unsigned int i = 0; i < o->n_hops; i++)
		for (unsigned int k = 0; k < i; k++) {
			assert_int_not_equal(o->hops[i], o->hops[k]);
			assert_int_not_equal(
				n->w->relays[o->hops[i]].as, n->w->relays[o->hops[k]].as);
		}
	if (n->country != NULL && o->exit_of == 0 && n->w->r->want.known)
		assert_int_equal(n->country[1],
			'A' + (int)(n->w->relays[o->hops[o->n_hops - 1]].as % n->w->n_countries));
}

static void on_build(struct net *n, const struct order *o)
{
	struct route *t = NULL;
	unsigned int n_open = 0;

	build_check(n, o);
	assert_null(route_find(n, o->route));
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		n_open += n->routes[i].state != ROUTE_NONE;
		if (n->routes[i].state == ROUTE_NONE && t == NULL)
			t = &n->routes[i];
	}
	assert_in_range(n_open, 0, PATHS_MAX + 2);
	*t = (struct route){.state = ROUTE_BUILDING,
		.id = o->route,
		.exit_of = o->exit_of,
		.n_hops = o->n_hops,
		.began = n->w->now.mono};
	memcpy(t->hops, o->hops, sizeof(t->hops));
	uint32_t silent = first_silent(n, t);
	/* One message in thirty is lost and costs a retransmission. */
	uint64_t extra = rng_below(&n->rng, 30) == 0 ? 400000 : 0;
	if (silent < t->n_hops)
		event_add(n, 10000000,
			(struct event){.kind = EVENT_FAILED, .route = o->route, .hop = silent});
	else
		event_add(n, extra + (uint64_t)RTT_US * t->n_hops * (t->n_hops + 1) / 2,
			(struct event){.kind = EVENT_BUILT, .route = o->route});
}

static void on_close(struct net *n, const struct order *o)
{
	struct route *t = route_find(n, o->route);

	if (t == NULL)
		return;
	if (n->in_use == o->route)
		n->in_use = 0;
	if (o->drain_ms > 0 && t->state == ROUTE_UP) {
		t->state = ROUTE_DRAINING;
		t->drain_until = mono_add(n->w->now.mono, DUR_MS(o->drain_ms));
	} else {
		*t = (struct route){.state = ROUTE_NONE};
	}
}

static void on_order(struct world *w, const struct order *o)
{
	struct net *n = net_of(w);
	struct route *t;

	if (!n->tunnel_up)
		return;
	switch (o->kind) {
	case ORDER_BUILD:
		on_build(n, o);
		break;
	case ORDER_USE:
		n->in_use = o->route == 0 || route_find(n, o->route) != NULL ? o->route : n->in_use;
		break;
	case ORDER_CLOSE:
		on_close(n, o);
		break;
	case ORDER_PROBE:
		t = route_find(n, o->route);
		if (t != NULL)
			event_add(n,
				first_silent(n, t) < t->n_hops
					? 3000000
					: (uint64_t)RTT_US * t->n_hops + 20000,
				(struct event){.kind = EVENT_PROBED,
					.route = o->route,
					.ok = first_silent(n, t) == t->n_hops});
		break;
	case ORDER_MEASURE:
		event_add(n, answers(n, o->hops[0]) ? RTT_US : 5000000,
			(struct event){.kind = EVENT_MEASURED,
				.relay = o->hops[0],
				.ok = answers(n, o->hops[0])});
		break;
	}
}

static void event_run(struct net *n, const struct event *e)
{
	struct world *w = n->w;
	struct route *t = route_find(n, e->route), *old;
	struct path_hop room[POLICY_HOPS_MAX];

	if (e->kind == EVENT_MEASURED) {
		vpn_on_measured(
			w->r, w->relays[e->relay].node_id, e->ok, e->ok ? RTT_US : 0, w->now);
		return;
	}
	if (t == NULL)
		return;
	if (e->kind == EVENT_BUILT && first_silent(n, t) < t->n_hops) {
		event_add(n, 9000000,
			(struct event){.kind = EVENT_FAILED,
				.route = e->route,
				.hop = first_silent(n, t)});
	} else if (e->kind == EVENT_BUILT) {
		old = route_find(n, t->exit_of);
		if (t->exit_of != 0 && (old == NULL || old->exit_lent)) {
			vpn_on_failed(w->r, t->id, t->n_hops - 1, ERR_UNAVAILABLE, "", w->now);
			*t = (struct route){.state = ROUTE_NONE};
			return;
		}
		if (t->exit_of != 0)
			old->exit_lent = true;
		t->state = ROUTE_UP;
		n->n_built++;
		struct path_facts f = facts_of(w, t->id, t->hops, t->n_hops, room);
		vpn_on_built(w->r, &f, w->now);
	} else if (e->kind == EVENT_FAILED) {
		uint32_t id = t->id;

		*t = (struct route){.state = ROUTE_NONE};
		vpn_on_failed(w->r, id, e->hop, ERR_TIMEOUT, "no answer", w->now);
	} else {
		vpn_on_probed(w->r, t->id, e->ok && first_silent(n, t) == t->n_hops, w->now);
	}
}

static void route_watch(struct net *n, struct route *t)
{
	uint32_t silent = first_silent(n, t);
	mono_t since;

	if ((t->state != ROUTE_UP && t->state != ROUTE_DRAINING) || t->dead_said ||
		silent == t->n_hops)
		return;
	since = n->uplink ? n->died[t->hops[silent]] : n->uplink_lost;
	if (mono_since(since, n->w->now.mono).ns < DUR_MS(DETECT_MS).ns)
		return;
	t->dead_said = true;
	vpn_on_dead(n->w->r, t->id, silent, n->w->now);
}

static void stats_say(struct net *n)
{
	struct path_hop room[POLICY_HOPS_MAX];

	if (mono_since(n->stats_at, n->w->now.mono).ns < 1000000000u)
		return;
	n->stats_at = n->w->now.mono;
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct route *t = &n->routes[i];

		if (t->state != ROUTE_UP && t->state != ROUTE_DRAINING)
			continue;
		struct path_facts f = facts_of(n->w, t->id, t->hops, t->n_hops, room);
		f.in_use = n->in_use == t->id;
		f.rx_Bps = 2000000;
		vpn_on_stats(n->w->r, &f, n->w->now);
	}
}

static void tunnel_turn(struct net *n)
{
	for (size_t i = 0; i < EVENTS_MAX; i++) {
		struct event e = n->events[i];

		if (e.at.ns == 0 || e.at.ns > n->w->now.mono.ns)
			continue;
		n->events[i].at.ns = 0;
		event_run(n, &e);
	}
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct route *t = &n->routes[i];

		if (t->state == ROUTE_DRAINING && mono_reached(t->drain_until, n->w->now.mono)) {
			uint32_t id = t->id;

			*t = (struct route){.state = ROUTE_NONE};
			vpn_on_closed(n->w->r, id, n->w->now);
		} else {
			route_watch(n, t);
		}
	}
	stats_say(n);
}

static void tunnel_snapshot_say(struct net *n)
{
	struct path_hop room[POLICY_HOPS_MAX];
	uint32_t n_routes = 0;

	for (size_t i = 0; i < ROUTES_MAX; i++) {
		struct route *t = &n->routes[i];

		/* A route that is dead is not named: whoever heard of its death may have died
		 * himself. */
		if ((t->state != ROUTE_UP && t->state != ROUTE_DRAINING) || t->dead_said)
			continue;
		struct path_facts f = facts_of(n->w, t->id, t->hops, t->n_hops, room);
		f.in_use = n->in_use == t->id;
		f.draining = t->state == ROUTE_DRAINING;
		vpn_on_lives(n->w->r, &f, n->w->now);
		n_routes++;
	}
	vpn_on_lives_complete(n->w->r, n->w->now);
}

/* ---- restarts ---- */

static void tunnel_kill(struct net *n, uint32_t for_ms)
{
	memset(n->routes, 0, sizeof(n->routes));
	memset(n->events, 0, sizeof(n->events));
	n->in_use = 0;
	n->tunnel_up = false;
	n->tunnel_back = mono_add(n->w->now.mono, DUR_MS(for_ms));
	n->n_restarts++;
}

static void gateway_say(struct net *n)
{
	struct wish wish = {.on = n->on, .hops = n->hops};
	char countries[1][3] = {""}, why[NOTE_MAX];

	if (n->country != NULL) {
		memcpy(countries[0], n->country, 3);
		wish.n_countries = 1;
		wish.countries = (const char(*)[3])countries;
	}
	vpn_on_settings(n->w->r, true, 0, 60, n->w->now);
	assert_int_equal(vpn_on_set_session(n->w->r, &wish, n->w->now, why), OK);
}

/* A fresh process; the three others speak to it in any order. */
static void router_kill(struct net *n)
{
	uint32_t first = (uint32_t)rng_below(&n->rng, 3);

	guards_encode(&n->w->r->guards, n->guards);
	world_boot(n->w, (uint8_t)(100 + n->boots++));
	(void)!guards_decode(n->guards, n->w->now, &n->w->r->guards);
	n->n_restarts++;
	for (uint32_t k = 0; k < 3; k++) {
		switch ((first + k) % 3) {
		case 0:
			if (!n->tunnel_up)
				break;
			vpn_on_link(n->w->r, true, n->w->now);
			vpn_on_tunnel_hello(n->w->r, true, n->w->now);
			tunnel_snapshot_say(n);
			break;
		case 1:
			gateway_say(n);
			break;
		default:
			relays_learn(n->w);
		}
		world_pass(n->w, STEP);
	}
}

static void net_turn(struct net *n)
{
	if (!n->tunnel_up && mono_reached(n->tunnel_back, n->w->now.mono)) {
		n->tunnel_up = true;
		vpn_on_link(n->w->r, true, n->w->now);
		vpn_on_tunnel_hello(n->w->r, true, n->w->now);
		tunnel_snapshot_say(n);
	}
	vpn_on_link(n->w->r, n->tunnel_up, n->w->now);
	if (n->tunnel_up)
		tunnel_turn(n);
}

static void invariants(struct net *n)
{
	const struct router *r = n->w->r;
	const struct route *t;

	/* It does not spin: a step that is due again at once has soon nothing left to do. */
	for (int i = 0; i < 4 && mono_reached(r->wake, n->w->now.mono); i++)
		vpn_step(n->w->r, n->w->now);
	assert_false(mono_reached(r->wake, n->w->now.mono));

	if (r->vpn.phase == PHASE_FAILED || r->vpn.phase == PHASE_RECONNECTING ||
		r->vpn.phase == PHASE_CONNECTING)
		assert_true(r->vpn.reason[0] != '\0');
	if (r->vpn.phase != PHASE_ON)
		return;
	t = route_find(n, r->vpn.live);
	assert_non_null(t);
	assert_int_equal(n->in_use, r->vpn.live);
	assert_int_equal(t->state, ROUTE_UP);
	assert_int_equal(t->n_hops, n->hops);
}

static void net_run(struct net *n, dur_t d)
{
	mono_t end = mono_add(n->w->now.mono, d);

	while (!mono_reached(end, n->w->now.mono)) {
		n->w->now.mono = mono_add(n->w->now.mono, STEP);
		n->w->now.wall.s =
			(int64_t)DAY0 * DAY_S + (int64_t)(n->w->now.mono.ns / 1000000000u) - 1000;
		net_turn(n);
		/* As the service does: when something was told, or when the core asked to be woken.
		 */
		vpn_step(n->w->r, n->w->now);
		invariants(n);
	}
}

static bool flowing(const struct net *n)
{
	struct route *t = route_find((struct net *)(uintptr_t)n, n->in_use);

	return n->tunnel_up && t != NULL && t->state == ROUTE_UP && first_silent(n, t) == t->n_hops;
}

/* How long until traffic flows again, by the in-use route or (saved flows) at all. */
static double seconds_until_flowing(struct net *n, double most_s)
{
	mono_t began = n->w->now.mono;

	while (!flowing(n) && mono_since(began, n->w->now.mono).ns < (uint64_t)(most_s * 1e9))
		net_run(n, STEP);
	return (double)mono_since(began, n->w->now.mono).ns / 1e9;
}

static struct net *net_new(uint8_t seed, unsigned int n_relays, unsigned int n_as)
{
	struct net *n = calloc(1, sizeof(*n));
	const uint8_t seed_bytes[32] = {seed, 1};

	rng_init(&n->rng, seed_bytes);
	n->w = world_new(seed, 5);
	n->w->user = n;
	n->w->on_order = on_order;
	n->uplink = n->tunnel_up = n->on = true;
	n->hops = 3;
	relays_spread(n->w, n_relays, n_as);
	for (unsigned int i = 0; i < n_relays; i++)
		n->alive[i] = true;
	relays_learn(n->w);
	vpn_on_link(n->w->r, true, n->w->now);
	vpn_on_tunnel_hello(n->w->r, true, n->w->now);
	tunnel_snapshot_say(n);
	gateway_say(n);
	return n;
}

static void net_free(struct net *n)
{
	world_free(n->w);
	free(n);
}

static void relay_set(struct net *n, unsigned int relay, bool alive)
{
	if (n->alive[relay] && !alive)
		n->died[relay] = n->w->now.mono;
	n->alive[relay] = alive;
}

/* ---- fail-over times ---- */

#define RUNS 60

static void killed_hop_times(
	unsigned int hop, unsigned int n_relays, unsigned int n_as, double limit_s)
{
	double worst = 0, sum = 0;

	for (uint8_t seed = 0; seed < RUNS; seed++) {
		struct net *n = net_new(seed, n_relays, n_as);
		struct route *t;

		assert_true(seconds_until_flowing(n, 20) < 5);
		net_run(n, DUR_S(4)); /* a spare stands by */
		t = route_find(n, n->in_use);
		assert_non_null(t);
		relay_set(n, t->hops[hop], false);
		double took = seconds_until_flowing(n, 30);
		sum += took;
		worst = took > worst ? took : worst;
		net_free(n);
	}
	print_message("# %u relays, hop %u killed: traffic after %.2f s on average, %.2f s at "
		      "worst of %d\n",
		n_relays, hop, sum / RUNS, worst, RUNS);
	assert_true(worst <= limit_s);
}

static void a_killed_relay_costs_less_than_three_seconds(void **state)
{
	(void)state;
	for (unsigned int hop = 0; hop < 3; hop++) {
		killed_hop_times(hop, 40, 20, 3);
		killed_hop_times(hop, 8, 8, 3);
	}
}

/* ---- chaos ---- */

static void misfortune(struct net *n)
{
	unsigned int relay = (unsigned int)rng_below(&n->rng, n->w->n_relays);

	switch (rng_below(&n->rng, 14)) {
	case 0:
	case 1:
	case 2:
	case 3:
		relay_set(n, relay, false);
		break;
	case 4:
	case 5:
		relay_set(n, relay, true);
		break;
	case 6:
		tunnel_kill(n, (uint32_t)rng_below(&n->rng, 3000));
		break;
	case 7:
		router_kill(n);
		break;
	case 8:
		n->uplink = !n->uplink;
		n->uplink_lost = n->w->now.mono;
		break;
	case 9:
		(void)!vpn_on_new_route(n->w->r, n->w->now);
		break;
	case 10:
		n->on = rng_below(&n->rng, 4) != 0;
		n->hops = 1 + (unsigned int)rng_below(&n->rng, 3);
		n->country = rng_below(&n->rng, 2) == 0 ? NULL : "CB";
		gateway_say(n);
		break;
	case 11:
		gateway_say(n);
		break;
	case 12:
		peers_gone(&n->w->r->peers, n->w->relays[relay].node_id);
		break;
	default:
		peers_snapshot_begin(&n->w->r->peers);
		relays_learn(n->w);
		break;
	}
	net_turn(n);
	vpn_step(n->w->r, n->w->now);
}

/* All is mended but a few relays; a living one with these must be found. */
static void mend(struct net *n)
{
	n->uplink = true;
	for (unsigned int i = 0; i < n->w->n_relays; i++)
		relay_set(n, i, rng_below(&n->rng, 10) != 0 || n->alive[i]);
	n->on = true;
	n->hops = n->hops == 0 ? 3 : n->hops;
	for (unsigned int i = 0; i < n->w->n_relays; i++)
		relay_sign(n->w, &n->w->relays[i]);
	relays_learn(n->w);
	gateway_say(n);
}

static void never_stuck_whatever_happened(void **state)
{
	uint64_t n_restarts = 0, n_built = 0;
	double worst = 0;

	(void)state;
	for (uint8_t seed = 0; seed < 60; seed++) {
		struct net *n = net_new(seed, 40, 20);

		for (int round = 0; round < 4; round++) {
			for (int i = 0; i < 25; i++) {
				misfortune(n);
				net_run(n, DUR_MS(rng_below(&n->rng, 2000)));
			}
			mend(n);
			mono_t began = n->w->now.mono;
			while ((n->w->r->vpn.phase != PHASE_ON || !flowing(n)) &&
				mono_since(began, n->w->now.mono).ns < 60000000000u)
				net_run(n, DUR_MS(100));
			double took = (double)mono_since(began, n->w->now.mono).ns / 1e9;
			if (took >= 60)
				fail_msg("seed %u round %d: %s, %s", seed, round,
					phase_text(n->w->r->vpn.phase), n->w->r->vpn.reason);
			worst = took > worst ? took : worst;
		}
		n_restarts += n->n_restarts;
		n_built += n->n_built;
		net_free(n);
	}
	print_message("# 6000 misfortunes, %u restarts, %u routes built; on again after %.1f s at "
		      "worst\n",
		(unsigned int)n_restarts, (unsigned int)n_built, worst);
}

/* With a whole day of changes the guards stay few. */
static void a_day_of_hops_meets_few_entries(void **state)
{
	struct net *n = net_new(3, 40, 20);
	bool met[WORLD_RELAYS] = {false};
	unsigned int n_met = 0;
	uint32_t last = 0;
	unsigned int n_routes = 0;

	(void)state;
	vpn_on_settings(n->w->r, true, 0, 60, n->w->now);
	for (int minute = 0; minute < 240; minute++) {
		net_run(n, DUR_S(60));
		const struct route *t = route_find(n, n->in_use);

		assert_non_null(t);
		met[t->hops[0]] = true;
		n_routes += t->id != last;
		last = t->id;
		if (minute % 60 == 30)
			router_kill(n);
	}
	for (unsigned int i = 0; i < WORLD_RELAYS; i++)
		n_met += met[i];
	print_message("# %u routes used, %u entries met\n", n_routes, n_met);
	assert_true(n_routes > 100);
	assert_int_equal(n_met, 1);
	net_free(n);
}

/* A router that is killed again and again does not touch the route that carries traffic. */
static void restarts_of_the_router_leave_the_route_alone(void **state)
{
	struct net *n = net_new(4, 40, 20);
	uint32_t route;

	(void)state;
	assert_true(seconds_until_flowing(n, 20) < 5);
	vpn_on_settings(n->w->r, true, 0, 0, n->w->now);
	net_run(n, DUR_S(3));
	route = n->in_use;
	for (int i = 0; i < 50; i++) {
		router_kill(n);
		vpn_on_settings(n->w->r, true, 0, 0, n->w->now);
		net_run(n, DUR_MS(rng_below(&n->rng, 3000)));
		assert_int_equal(n->in_use, route);
		assert_int_equal(n->w->r->vpn.live, route);
		assert_int_equal(n->w->r->vpn.phase, PHASE_ON);
	}
	net_free(n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_killed_relay_costs_less_than_three_seconds),
		cmocka_unit_test(never_stuck_whatever_happened),
		cmocka_unit_test(a_day_of_hops_meets_few_entries),
		cmocka_unit_test(restarts_of_the_router_leave_the_route_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
