/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session's state machine: from wishes, answers, silence and deaths to orders and phases. */
#include "tests/harness/router_world.h"

#include "services/router/core/report.h"

static struct world *ready_world(void)
{
	struct world *w = world_new(1, 5);

	relays_spread(w, 40, 20);
	relays_learn(w);
	world_ready(w);
	orders_forget(w);
	return w;
}

static void phase_is(struct world *w, enum phase phase, const char *words)
{
	if (w->r->vpn.phase != phase || strstr(w->r->vpn.reason, words) == NULL)
		fail_msg("phase %s, reason `%s`", phase_text(w->r->vpn.phase), w->r->vpn.reason);
}

/* ---- connecting ---- */

static void off_orders_nothing(void **state)
{
	struct world *w = ready_world();

	(void)state;
	world_want(w, false, 0, NULL);
	world_pass(w, DUR_S(60));
	assert_int_equal(w->n_orders, 0);
	phase_is(w, PHASE_OFF, "");
	world_free(w);
}

static void connect_measures_builds_probes_uses(void **state)
{
	struct world *w = ready_world();
	struct order *o;

	(void)state;
	world_want(w, true, 0, NULL);
	phase_is(w, PHASE_CONNECTING, "measuring");
	assert_null(order_next(w, ORDER_BUILD));
	measures_answer(w);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->n_hops, 3);
	assert_int_equal(o->exit_of, 0);
	struct order build = *o;
	phase_is(w, PHASE_CONNECTING, "building");
	w->now.mono = mono_add(w->now.mono, DUR_MS(150));
	tunnel_built(w, &build);
	assert_int_equal(order_next(w, ORDER_PROBE)->route, build.route);
	assert_null(order_next(w, ORDER_USE)); /* not before bytes came back */
	phase_is(w, PHASE_CONNECTING, "");
	w->now.mono = mono_add(w->now.mono, DUR_MS(100));
	tunnel_probed(w, build.route, true);
	assert_int_equal(order_next(w, ORDER_USE)->route, build.route);
	phase_is(w, PHASE_ON, "");
	assert_int_equal(w->r->vpn.connect_ms, 250);
	world_free(w);
}

static void silent_measurements_hold_it_up_600_ms_at_most(void **state)
{
	struct world *w = ready_world();

	(void)state;
	world_want(w, true, 0, NULL);
	world_pass(w, DUR_MS(599));
	assert_null(order_next(w, ORDER_BUILD));
	world_pass(w, DUR_MS(1));
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void one_hop_needs_no_guard(void **state)
{
	struct world *w = ready_world();
	struct order *o;

	(void)state;
	world_want(w, true, 1, NULL);
	assert_null(order_next(w, ORDER_MEASURE));
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->n_hops, 1);
	assert_int_equal(w->r->guards.n, 0);
	world_free(w);
}

/* The second attempt stands beside the first, at 500 ms + 3 expected RTTs; it shares the guard. */
static void a_slow_first_attempt_gets_company(void **state)
{
	struct world *w = ready_world();
	struct order first, second;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	first = *order_next(w, ORDER_BUILD);
	uint64_t patience_ms = path_find(w->r, first.route)->patience.ns / 1000000;
	assert_in_range(patience_ms, 500, 2000);
	world_pass(w, DUR_MS(patience_ms - 1));
	assert_null(order_next(w, ORDER_BUILD));
	world_pass(w, DUR_MS(2));
	struct order *o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	second = *o;
	assert_int_equal(second.hops[0], first.hops[0]);
	assert_int_not_equal(second.hops[2], first.hops[2]);
	assert_null(order_next(w, ORDER_CLOSE));
	/* The second wins: the first is closed and its relays are passed over for a while. */
	tunnel_built(w, &second);
	tunnel_probed(w, second.route, true);
	phase_is(w, PHASE_ON, "");
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, first.route);
	assert_true(peer_avoided(relay_peer(w, first.hops[1]), w->now.mono));
	assert_false(peer_avoided(relay_peer(w, first.hops[0]), w->now.mono));
	world_free(w);
}

static void at_most_three_attempts_at_once_and_six_in_all(void **state)
{
	struct world *w = ready_world();
	unsigned int n = 0;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	for (int i = 0; i < 100; i++) {
		world_pass(w, DUR_MS(100));
		n += order_next(w, ORDER_BUILD) != NULL;
		assert_true(i >= 28 || n <= ATTEMPTS_MAX);
	}
	assert_int_equal(n, ATTEMPTS_MAX_ALL);
	/* Two by two, each pair by another entry. */
	assert_int_equal(w->r->guards.n, 3);
	world_free(w);
}

static void a_failed_attempt_is_replaced_at_once_by_another(void **state)
{
	struct world *w = ready_world();
	struct order first;
	struct order *o;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	first = *order_next(w, ORDER_BUILD);
	vpn_on_failed(w->r, first.route, 1, ERR_TIMEOUT, "no answer", w->now);
	world_step(w);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_not_equal(o->hops[1], first.hops[1]);
	assert_true(peer_avoided(relay_peer(w, first.hops[1]), w->now.mono));
	world_free(w);
}

static void six_failures_say_failed_and_tries_go_on_slower(void **state)
{
	struct world *w = ready_world();
	unsigned int n = 0;
	struct order *o;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	while ((o = order_next(w, ORDER_BUILD)) != NULL && n < 50) {
		vpn_on_failed(w->r, o->route, 2, ERR_TIMEOUT, "no answer", w->now);
		world_step(w);
		n++;
	}
	assert_int_equal(n, SEEK_FAILS_SHOWN);
	phase_is(w, PHASE_FAILED, "the exit did not serve: no answer (6 tried; trying on)");
	orders_forget(w);
	world_pass(w, DUR_S(1));
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	phase_is(w, PHASE_FAILED, "");
	tunnel_built(w, &(struct order){.route = o->route,
				.n_hops = 3,
				.hops = {o->hops[0], o->hops[1], o->hops[2]}});
	tunnel_probed(w, w->orders[0].route, true);
	phase_is(w, PHASE_ON, "");
	world_free(w);
}

static void a_probe_without_answer_is_a_failure_of_the_exit(void **state)
{
	struct world *w = ready_world();
	struct order first;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	first = *order_next(w, ORDER_BUILD);
	tunnel_built(w, &first);
	tunnel_probed(w, first.route, false);
	phase_is(w, PHASE_CONNECTING, "");
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, first.route);
	assert_true(peer_avoided(relay_peer(w, first.hops[2]), w->now.mono));
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void a_lost_answer_times_out(void **state)
{
	struct world *w = ready_world();
	struct order first;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	first = *order_next(w, ORDER_BUILD);
	for (int i = 0; i < 120; i++)
		world_pass(w, DUR_MS(100));
	assert_null(path_find(w->r, first.route));
	assert_true(w->r->count.timed_out > 0);
	/* Built, but the probe's answer is lost. */
	struct path *p = NULL;
	for (size_t i = 0; i < PATHS_MAX && p == NULL; i++)
		p = w->r->paths[i].state == PATH_BUILDING ? &w->r->paths[i] : NULL;
	assert_non_null(p);
	uint32_t id = p->id;
	vpn_on_built(w->r, &(struct path_facts){.route = id}, w->now);
	world_pass(w, PROBE_DEADLINE);
	assert_null(path_find(w->r, id));
	world_free(w);
}

/* ---- what is not there ---- */

static void what_cannot_be_is_said_in_words(void **state)
{
	struct world *w = ready_world();

	(void)state;
	world_pass(w, DIRECTORY_STILL);
	world_want(w, true, 3, "XX");
	phase_is(w, PHASE_FAILED, "no exit in XX is known");
	/* It appears: connected without another click. */
	memcpy(w->geo.rows[0].country, "XX", 3);
	for (size_t i = 0; i < w->geo.n_rows; i++)
		if (w->geo.rows[i].asn == 1003)
			memcpy(w->geo.rows[i].country, "XX", 3);
	relays_learn(w);
	world_pass(w, DUR_S(1));
	phase_is(w, PHASE_CONNECTING, "");
	world_free(w);
}

static void an_empty_directory_is_waited_for(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	world_ready(w);
	world_want(w, true, 3, NULL);
	phase_is(w, PHASE_CONNECTING, "waiting for the directory");
	world_pass(w, DUR_S(25));
	phase_is(w, PHASE_CONNECTING, "waiting for the directory");
	world_pass(w, DUR_S(6));
	world_pass(w, DUR_S(1));
	phase_is(w, PHASE_FAILED, "no relay is known yet");
	relays_spread(w, 40, 20);
	relays_learn(w);
	world_step(w);
	assert_non_null(order_next(w, ORDER_MEASURE));
	world_free(w);
}

/* A newcomer has taken in a first view, of two relays; the next is some rounds of comparison away. */
static void a_directory_that_still_grows_is_waited_for(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	world_ready(w);
	world_want(w, true, 3, NULL);
	relays_spread(w, 2, 2);
	relays_learn(w);
	for (int i = 0; i < 6; i++) {
		world_pass(w, DUR_S(1));
		phase_is(w, PHASE_CONNECTING, "");
	}
	relays_spread(w, 40, 20);
	relays_learn(w);
	world_step(w);
	assert_non_null(order_next(w, ORDER_MEASURE));
	world_free(w);
}

/* In a large network somebody comes or goes at every moment: that is no reason to wait. */
static void a_few_that_come_and_go_do_not_unsettle_a_directory(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	relays_spread(w, 40, 20);
	relays_learn(w);
	world_ready(w);
	for (unsigned int i = 0; i < 10; i++) {
		peers_gone(&w->r->peers, w->relays[i % 2].node_id);
		world_pass(w, DUR_S(1));
		relay_learn(w, i % 2);
		world_pass(w, DUR_S(1));
	}
	world_want(w, true, 3, "XX");
	phase_is(w, PHASE_FAILED, "no exit in XX is known");
	world_free(w);
}

static void a_missing_tunnel_is_waited_for(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	relays_spread(w, 40, 20);
	relays_learn(w);
	vpn_on_settings(w->r, true, 0, 0, w->now);
	world_want(w, true, 3, NULL);
	world_pass(w, DUR_S(30));
	phase_is(w, PHASE_CONNECTING, "waiting for the tunnel service to start");
	assert_int_equal(w->n_orders, 0);
	world_ready(w);
	assert_non_null(order_next(w, ORDER_MEASURE));
	world_free(w);
}

static void wishes_that_cannot_be_are_refused_whole(void **state)
{
	struct world *w = ready_world();
	char why[NOTE_MAX];
	const char bad[1][3] = {"se"};
	struct wish hops = {.on = true, .hops = 4},
		    country = {.on = true, .countries = bad, .n_countries = 1};

	(void)state;
	assert_int_equal(vpn_on_set_session(w->r, &hops, w->now, why), ERR_INVALID);
	assert_non_null(strstr(why, "1 to 3"));
	assert_int_equal(vpn_on_set_session(w->r, &country, w->now, why), ERR_INVALID);
	assert_false(w->r->want.known);
	assert_int_equal(vpn_on_new_route(w->r, w->now), ERR_UNAVAILABLE);
	world_free(w);
}

/* ---- while on ---- */

static void a_spare_stands_by_with_other_middle_and_exit(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	const struct path *a = path_find(w->r, live), *b = path_find(w->r, spare);

	(void)state;
	assert_memory_equal(a->hops[0].node_id, b->hops[0].node_id, NODE_ID_SIZE);
	assert_memory_not_equal(a->hops[1].node_id, b->hops[1].node_id, NODE_ID_SIZE);
	assert_memory_not_equal(a->hops[2].node_id, b->hops[2].node_id, NODE_ID_SIZE);
	phase_is(w, PHASE_ON, "");
	/* And is renewed when it is old, the old one standing until the new one is there. */
	world_pass(w, SPARE_LIFE);
	struct order *o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_null(order_next(w, ORDER_CLOSE));
	assert_int_equal(w->r->vpn.spare, spare);
	struct order build = *o;
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	assert_int_equal(w->r->vpn.spare, build.route);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, spare);
	world_free(w);
}

static void a_dead_exit_hands_over_to_the_spare_at_once(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);

	(void)state;
	tunnel_dead(w, live, 2);
	assert_int_equal(w->r->vpn.live, spare);
	assert_int_equal(order_next(w, ORDER_USE)->route, spare);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, live);
	phase_is(w, PHASE_ON, "the exit stopped answering");
	world_free(w);
}

static void a_dead_exit_without_spare_is_replaced_at_once(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int exit = relay_number(w, path_exit(path_find(w->r, live))->node_id);
	struct order *o;

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 2);
	phase_is(w, PHASE_RECONNECTING, "the exit stopped answering");
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->exit_of, 0);
	assert_int_not_equal(o->hops[2], exit);
	world_free(w);
}

static void a_dead_middle_is_gone_round_to_the_same_exit(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	const struct path *old = path_find(w->r, live);
	unsigned int guard = relay_number(w, old->hops[0].node_id),
		     middle = relay_number(w, old->hops[1].node_id);
	unsigned int exit = relay_number(w, old->hops[2].node_id);
	struct order *o;

	(void)state;
	tunnel_dead(w, live, 1);
	phase_is(w, PHASE_RECONNECTING, "the middle relay stopped answering");
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	struct order build = *o;
	assert_int_equal(build.exit_of, live);
	assert_int_equal(build.hops[0], guard);
	assert_int_not_equal(build.hops[1], middle);
	assert_int_equal(build.hops[2], exit);
	assert_null(order_next(w, ORDER_CLOSE)); /* its exit session is still needed */
	w->now.mono = mono_add(w->now.mono, DUR_MS(300));
	tunnel_built(w, &build);
	assert_int_equal(order_next(w, ORDER_USE)->route, build.route);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, live);
	tunnel_probed(w, build.route, true);
	phase_is(w, PHASE_ON, "the middle relay stopped answering");
	assert_int_equal(w->r->vpn.live, build.route);
	assert_int_equal(w->r->vpn.spare, spare);
	world_free(w);
}

/* Two ways round are tried at once; the slower one is nobody's fault. */
static void two_ways_round_are_tried_and_the_slower_is_not_blamed(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int exit = relay_number(w, path_exit(path_find(w->r, live))->node_id);
	struct order first, second;
	float bad = relay_peer(w, exit)->rep.bad;

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 1);
	bad = relay_peer(w, exit)->rep.bad;
	first = *order_next(w, ORDER_BUILD);
	second = *order_next(w, ORDER_BUILD);
	assert_null(order_next(w, ORDER_BUILD));
	assert_int_equal(second.exit_of, live);
	assert_int_not_equal(second.hops[1], first.hops[1]);
	vpn_on_failed(w->r, second.route, 2, ERR_UNAVAILABLE, "the exit's session is gone", w->now);
	world_step(w);
	assert_true(relay_peer(w, exit)->rep.bad <= bad);
	assert_false(peer_avoided(relay_peer(w, exit), w->now.mono));
	tunnel_built(w, &first);
	assert_int_equal(w->r->vpn.live, first.route);
	world_free(w);
}

static void a_suspect_middle_is_gone_round_before_the_verdict(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int middle = relay_number(w, path_find(w->r, live)->hops[1].node_id);
	struct order first, *close;

	(void)state;
	orders_forget(w);
	tunnel_suspects(w, live, 2); /* the exit: no way round */
	assert_null(order_next(w, ORDER_BUILD));
	tunnel_suspects(w, live, 1);
	assert_int_equal(w->r->vpn.live, live);
	phase_is(w, PHASE_ON, "the middle relay was slow to answer");
	first = *order_next(w, ORDER_BUILD);
	assert_int_equal(first.exit_of, live);
	assert_int_not_equal(first.hops[1], middle);
	assert_int_not_equal(order_next(w, ORDER_BUILD)->hops[1], middle);
	tunnel_suspects(w, live, 1); /* nothing new */
	assert_null(order_next(w, ORDER_BUILD));
	tunnel_built(w, &first);
	assert_int_equal(order_next(w, ORDER_USE)->route, first.route);
	assert_int_equal(w->r->vpn.live, first.route);
	close = order_next(w, ORDER_CLOSE);
	assert_int_equal(close->route, live);
	assert_true(close->drain_ms > 1000); /* heard on, so that the verdict comes */
	assert_true((double)relay_peer(w, middle)->rep.bad == 0);
	tunnel_dead(w, live, 1);
	assert_true((double)relay_peer(w, middle)->rep.bad > 0);
	assert_int_equal(w->r->vpn.live, first.route);
	world_free(w);
}

static void a_verdict_during_a_repair_on_suspicion_begins_nothing_anew(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	struct order first, second;

	(void)state;
	orders_forget(w);
	tunnel_suspects(w, live, 1);
	first = *order_next(w, ORDER_BUILD);
	second = *order_next(w, ORDER_BUILD);
	tunnel_dead(w, live, 1);
	assert_null(order_next(w, ORDER_BUILD));
	assert_null(order_next(w, ORDER_CLOSE));
	phase_is(w, PHASE_RECONNECTING, "the middle relay stopped answering");
	vpn_on_failed(w->r, first.route, 1, ERR_TIMEOUT, "no answer", w->now);
	tunnel_built(w, &second);
	assert_int_equal(w->r->vpn.live, second.route);
	world_free(w);
}

static void a_false_suspicion_costs_nothing(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	struct order *o;

	(void)state;
	orders_forget(w);
	tunnel_suspects(w, live, 1);
	for (int i = 0; i < REPAIR_TRIES && (o = order_next(w, ORDER_BUILD)) != NULL; i++) {
		vpn_on_failed(w->r, o->route, 1, ERR_TIMEOUT, "no answer", w->now);
		world_step(w);
	}
	assert_int_equal(w->r->vpn.repair.of, 0);
	assert_int_equal(w->r->vpn.live, live);
	while ((o = order_next(w, ORDER_CLOSE)) != NULL)
		assert_int_not_equal(o->route, live);
	world_free(w);
}

struct failure {
	enum err err;
	bool blamed, avoided;
};

static void what_lies_with_us_is_not_blamed_on_a_relay(void **state)
{
	static const struct failure table[] = {{ERR_TIMEOUT, true, true}, {ERR_DENIED, true, true},
		{ERR_UNAVAILABLE, true, true}, {ERR_STALE, false, true}, {ERR_FULL, false, false},
		{ERR_INVALID, false, false}, {ERR_NOT_FOUND, false, false}};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world *w = ready_world();
		struct order build;
		struct peer *middle;

		world_want(w, true, 3, NULL);
		measures_answer(w);
		build = *order_next(w, ORDER_BUILD);
		middle = relay_peer(w, build.hops[1]);
		vpn_on_failed(w->r, build.route, 1, table[i].err, "", w->now);
		if (((double)middle->rep.bad > 0) != table[i].blamed ||
			peer_avoided(middle, w->now.mono) != table[i].avoided)
			fail_msg("%s", err_str(table[i].err));
		world_free(w);
	}
}

static void a_dead_entry_is_gone_round_by_another_guard(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	const struct path *old = path_find(w->r, live);
	unsigned int guard = relay_number(w, old->hops[0].node_id),
		     exit = relay_number(w, old->hops[2].node_id);
	struct order *o;

	(void)state;
	world_spare(w);
	tunnel_dead(w, live, 0);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->exit_of, live);
	assert_int_not_equal(o->hops[0], guard);
	assert_int_equal(o->hops[2], exit);
	/* The spare shares the entry: it must not be taken for good. */
	world_pass(w, REPAIR_GRACE);
	assert_int_not_equal(w->r->vpn.live, w->r->vpn.spare == 0 ? 1 : w->r->vpn.spare);
	world_free(w);
}

/* A machine that was without network for a while: the connections live on by the same exit. */
static void nobody_answers_and_the_exit_is_not_given_up(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int exit = relay_number(w, path_find(w->r, live)->hops[2].node_id), n = 0;
	struct order *o, repair = {0};

	(void)state;
	world_spare(w);
	tunnel_dead(w, live, 0);
	for (int i = 0; i < 300; i++) {
		while ((o = order_next(w, ORDER_BUILD)) != NULL) {
			n++;
			vpn_on_failed(w->r, o->route, 0, ERR_TIMEOUT, "no answer", w->now);
		}
		world_pass(w, DUR_MS(100));
	}
	assert_in_range(n, 30, 120); /* not without pause */
	for (int i = 0; i < 20 && repair.exit_of == 0; i++) {
		while ((o = order_next(w, ORDER_BUILD)) != NULL)
			if (o->exit_of == live)
				repair = *o;
		world_pass(w, DUR_MS(100));
	}
	assert_int_equal(repair.exit_of, live);
	assert_int_equal(repair.hops[2], exit);
	tunnel_built(w, &repair);
	assert_int_equal(w->r->vpn.live, repair.route);
	world_free(w);
}

static void two_hops_are_repaired_by_another_guard(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 2, NULL);
	const struct path *old = path_find(w->r, live);
	unsigned int guard = relay_number(w, old->hops[0].node_id),
		     exit = relay_number(w, old->hops[1].node_id);
	struct order *o;

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 0);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->exit_of, live);
	assert_int_equal(o->n_hops, 2);
	assert_int_not_equal(o->hops[0], guard);
	assert_int_equal(o->hops[1], exit);
	world_free(w);
}

/* New flows go by the spare after a second; the repair still saves the old ones, and drains. */
static void a_repair_that_takes_long_lets_the_spare_in(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	struct order build;

	(void)state;
	tunnel_dead(w, live, 1);
	build = *order_next(w, ORDER_BUILD);
	world_pass(w, DUR_MS(999));
	assert_int_equal(w->r->vpn.live, 0);
	world_pass(w, DUR_MS(1));
	assert_int_equal(w->r->vpn.live, spare);
	phase_is(w, PHASE_ON, "");
	orders_forget(w);
	tunnel_built(w, &build);
	assert_int_equal(w->r->vpn.live, spare);
	struct order *o = order_next(w, ORDER_CLOSE);
	assert_int_equal(o->route, build.route);
	assert_true(o->drain_ms > 0);
	o = order_next(w, ORDER_CLOSE);
	assert_int_equal(o->route, live);
	assert_int_equal(o->drain_ms, 0);
	assert_int_equal(w->r->vpn.repair.of, 0);
	world_free(w);
}

static void a_repair_that_fails_gives_the_exit_up(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int n_repairs = 0, n_other = 0;

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 1);
	for (int i = 0; i < 60; i++) {
		struct order *o;

		while ((o = order_next(w, ORDER_BUILD)) != NULL) {
			n_repairs += o->exit_of != 0;
			n_other += o->exit_of == 0;
			vpn_on_failed(w->r, o->route, 2, ERR_TIMEOUT, "", w->now);
			world_step(w);
		}
		world_pass(w, DUR_MS(50));
	}
	assert_int_equal(n_repairs, REPAIR_TRIES);
	assert_true(n_other > 0);
	assert_null(path_find(w->r, live));
	world_free(w);
}

static void a_dead_spare_is_replaced_without_a_word_to_the_user(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);

	(void)state;
	tunnel_dead(w, spare, 2);
	phase_is(w, PHASE_ON, "");
	assert_int_equal(w->r->vpn.live, live);
	assert_int_equal(w->r->vpn.spare, 0);
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static unsigned int paths_count(struct world *w)
{
	unsigned int n = 0;

	for (size_t i = 0; i < PATHS_MAX; i++)
		n += w->r->paths[i].state != PATH_FREE;
	return n;
}

static void a_death_told_twice_is_one_death(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 1);
	tunnel_dead(w, live, 2);
	assert_non_null(path_find(w->r, live)); /* its exit is still being saved */
	assert_int_equal(w->r->vpn.repair.of, live);
	assert_int_equal(w->r->count.dead, 1);
	world_free(w);
}

static void a_second_death_ends_the_first_repair(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);

	(void)state;
	tunnel_dead(w, live, 1);
	world_pass(w, REPAIR_GRACE);
	assert_int_equal(w->r->vpn.live, spare);
	tunnel_dead(w, spare, 1);
	assert_null(path_find(w->r, live));
	assert_int_equal(w->r->vpn.repair.of, spare);
	for (size_t i = 0; i < PATHS_MAX; i++)
		assert_true(w->r->paths[i].state != PATH_BUILDING || w->r->paths[i].exit_of == 0 ||
			    w->r->paths[i].exit_of == spare);
	world_free(w);
}

static void an_answer_told_twice_is_probed_once(void **state)
{
	struct world *w = ready_world();
	struct order build;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	build = *order_next(w, ORDER_BUILD);
	tunnel_built(w, &build);
	tunnel_built(w, &build);
	assert_non_null(order_next(w, ORDER_PROBE));
	assert_null(order_next(w, ORDER_PROBE));
	world_free(w);
}

static void a_spare_with_a_relay_that_failed_is_not_taken(void **state)
{
	(void)state;
	for (int part = 0; part < 2; part++) {
		struct world *w = ready_world();
		uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
		const struct path *p = path_find(w->r, spare);

		if (part == 0)
			peer_failed(&w->r->peers, peers_find(&w->r->peers, p->hops[1].node_id),
				w->now.mono, 1);
		else
			guards_on_failed(&w->r->guards, p->hops[0].node_id, w->now);
		tunnel_dead(w, live, 2);
		assert_int_equal(w->r->vpn.live, 0);
		assert_non_null(order_next(w, ORDER_BUILD));
		world_free(w);
	}
}

/* Two exits; whichever was asked first, the other is next. */
static void one_hop_that_does_not_answer_is_not_asked_again(void **state)
{
	(void)state;
	for (uint8_t seed = 0; seed < 16; seed++) {
		struct world *w = world_new(seed, 5);
		struct order first;

		relay_add(w, (struct relay){.as = 1, .host = 1, .roles = BOTH_EXITS});
		relay_add(w, (struct relay){.as = 2, .host = 1, .roles = BOTH_EXITS});
		relays_learn(w);
		world_ready(w);
		world_want(w, true, 1, NULL);
		first = *order_next(w, ORDER_BUILD);
		vpn_on_failed(w->r, first.route, 0, ERR_TIMEOUT, "", w->now);
		world_step(w);
		assert_int_equal(order_next(w, ORDER_BUILD)->hops[0], 1 - first.hops[0]);
		world_free(w);
	}
}

/* The first answers after all, in time: the second, just begun, becomes the spare. */
static void an_attempt_that_lost_by_little_becomes_the_spare(void **state)
{
	struct world *w = ready_world();
	struct order first, second;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	first = *order_next(w, ORDER_BUILD);
	world_pass(w, path_find(w->r, first.route)->patience);
	second = *order_next(w, ORDER_BUILD);
	tunnel_built(w, &first);
	tunnel_probed(w, first.route, true);
	assert_int_equal(w->r->vpn.live, first.route);
	assert_null(order_next(w, ORDER_CLOSE));
	tunnel_built(w, &second);
	tunnel_probed(w, second.route, true);
	assert_int_equal(w->r->vpn.spare, second.route);
	world_free(w);
}

/* With three relays there is one route: the same again would tell nothing. */
static void a_second_attempt_must_differ(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	for (unsigned int i = 0; i < 3; i++)
		relay_add(w,
			(struct relay){.as = i,
				.host = 1,
				.roles = DESCRIPTOR_RELAY | (i == 2 ? (uint32_t)BOTH_EXITS : 0u)});
	relays_learn(w);
	world_ready(w);
	world_want(w, true, 3, NULL);
	measures_answer(w);
	assert_non_null(order_next(w, ORDER_BUILD));
	for (int i = 0; i < 30; i++) {
		struct order *o;

		world_pass(w, DUR_MS(100));
		while ((o = order_next(w, ORDER_BUILD)) != NULL)
			assert_int_equal(o->hops[2], 2);
		/* By the other entry perhaps, but never beside its like. */
		assert_true(attempts_under_way(w->r, PATH_FOR_USE) <= 2);
	}
	world_free(w);
}

static void a_directory_that_is_still_told_is_waited_for(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	world_ready(w);
	relays_spread(w, 40, 20);
	for (unsigned int i = 0; i < 20; i++)
		relay_learn(w, i);
	world_want(w, true, 1, NULL);
	world_pass(w, DUR_MS(2900));
	assert_null(order_next(w, ORDER_BUILD));
	world_pass(w, DUR_MS(200)); /* but not for ever */
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void settings_are_waited_for_a_moment(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	relays_spread(w, 40, 20);
	relays_learn(w);
	vpn_on_link(w->r, true, w->now);
	vpn_on_tunnel_hello(w->r, true, w->now);
	vpn_on_lives_complete(w->r, w->now);
	world_want(w, true, 1, NULL);
	world_pass(w, DUR_MS(299));
	assert_null(order_next(w, ORDER_BUILD));
	world_pass(w, DUR_MS(1));
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void relays_that_appear_are_used_at_once(void **state)
{
	struct world *w = world_new(1, 5);

	(void)state;
	world_ready(w);
	world_want(w, true, 1, NULL);
	world_pass(w, DUR_S(20));
	world_pass(w, DUR_MS(10));
	relays_spread(w, 40, 20);
	relays_learn(w);
	world_step(w);
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void a_guard_that_failed_is_looked_at_again(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int guard = relay_number(w, path_find(w->r, live)->hops[0].node_id);
	struct order *o;

	(void)state;
	orders_forget(w);
	guards_on_failed(&w->r->guards, w->relays[guard].node_id, w->now);
	world_pass(w, DUR_S(11));
	o = order_next(w, ORDER_MEASURE);
	assert_non_null(o);
	assert_int_equal(o->hops[0], guard);
	vpn_on_measured(w->r, w->relays[guard].node_id, true, 1000, w->now);
	assert_int_equal(w->r->guards.all[0].n_fails, 0);
	world_free(w);
}

static void a_guard_that_left_for_a_week_is_replaced(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int guard = relay_number(w, path_find(w->r, live)->hops[0].node_id);

	(void)state;
	for (int day = 0; day <= GUARD_GONE_DAYS + 1; day++) {
		assert_int_equal(guards_find(&w->r->guards, w->relays[guard].node_id) != NULL,
			day <= GUARD_GONE_DAYS);
		orders_forget(w);
		peers_snapshot_begin(&w->r->peers);
		w->now.wall.s += DAY_S;
		w->now.mono = mono_add(w->now.mono, DUR_S(DAY_S));
		for (unsigned int i = 0; i < w->n_relays; i++)
			if (i != guard) {
				relay_sign(w, &w->relays[i]);
				relay_learn(w, i);
			}
		peers_snapshot_end(&w->r->peers, w->n_relays - 1);
		world_step(w);
	}
	world_free(w);
}

static void draining_routes_do_not_pile_up(void **state)
{
	struct world *w = ready_world();

	(void)state;
	world_connect(w, 3, NULL);
	for (int i = 0; i < 3 * PATHS_MAX; i++) {
		world_spare(w);
		assert_int_equal(vpn_on_new_route(w->r, w->now), OK);
		world_step(w);
		orders_forget(w);
		assert_true(paths_count(w) <= PATHS_DRAINING_MAX + 3);
	}
	phase_is(w, PHASE_ON, "");
	world_free(w);
}

/* ---- another route ---- */

static void a_new_route_takes_the_spare_and_drains_the_old(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	struct order *o;

	(void)state;
	assert_int_equal(vpn_on_new_route(w->r, w->now), OK);
	world_step(w);
	assert_int_equal(w->r->vpn.live, spare);
	o = order_next(w, ORDER_CLOSE);
	assert_int_equal(o->route, live);
	assert_int_equal(o->drain_ms, DRAIN_HOP.ns / 1000000);
	phase_is(w, PHASE_ON, "");
	world_pass(w, DUR_MS(1100));
	assert_non_null(order_next(w, ORDER_BUILD)); /* the next spare */
	world_free(w);
}

static void without_spare_it_is_built_before_the_old_is_left(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	const struct path *old = path_find(w->r, live);
	unsigned int middle = relay_number(w, old->hops[1].node_id),
		     exit = relay_number(w, old->hops[2].node_id);
	struct order build;

	(void)state;
	orders_forget(w);
	assert_int_equal(vpn_on_new_route(w->r, w->now), OK);
	world_step(w);
	build = *order_next(w, ORDER_BUILD);
	assert_int_not_equal(build.hops[1], middle);
	assert_int_not_equal(build.hops[2], exit);
	/* Asked for twice, it is sought once. */
	assert_int_equal(vpn_on_new_route(w->r, w->now), OK);
	world_step(w);
	assert_null(order_next(w, ORDER_BUILD));
	phase_is(w, PHASE_ON, "");
	assert_int_equal(w->r->vpn.live, live);
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	assert_int_equal(w->r->vpn.live, build.route);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, live);
	world_free(w);
}

static void when_no_other_answers_the_old_one_stays(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	unsigned int n = 0;
	struct order *o;

	(void)state;
	orders_forget(w);
	assert_int_equal(vpn_on_new_route(w->r, w->now), OK);
	world_step(w);
	while ((o = order_next(w, ORDER_BUILD)) != NULL && n < 20) {
		vpn_on_failed(w->r, o->route, 2, ERR_TIMEOUT, "", w->now);
		world_step(w);
		n++;
	}
	assert_int_equal(n, NEW_ROUTE_TRIES);
	assert_int_equal(w->r->vpn.live, live);
	phase_is(w, PHASE_ON, "no other route answered; this one stays");
	world_free(w);
}

static void the_schedule_changes_the_route_between_half_and_one_and_a_half(void **state)
{
	struct world *w = ready_world();
	double least = 1e9, most = 0;
	unsigned int n = 0;

	(void)state;
	vpn_on_settings(w->r, true, 0, 600, w->now);
	world_connect(w, 3, NULL);
	for (int i = 0; i < 40; i++) {
		uint32_t live = w->r->vpn.live;
		mono_t since = w->now.mono;

		world_spare(w);
		while (w->r->vpn.live == live) {
			world_pass(w, DUR_S(1));
			orders_forget(w);
			assert_true(mono_since(since, w->now.mono).ns < 1000000000ull * 910);
		}
		double took = (double)mono_since(since, w->now.mono).ns / 1e9;
		least = took < least ? took : least;
		most = took > most ? took : most;
		n++;
	}
	assert_int_equal(n, 40);
	assert_true(least >= 299 && least < 400);
	assert_true(most <= 905 && most > 780);
	world_free(w);
}

static void an_interval_of_0_never_changes_it(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);

	(void)state;
	world_spare(w);
	for (int i = 0; i < 100; i++) {
		world_pass(w, DUR_S(600));
		orders_forget(w);
	}
	assert_int_equal(w->r->vpn.live, live);
	world_free(w);
}

/* ---- changed wishes ---- */

static void another_country_is_made_before_the_old_breaks(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, "CB");
	struct order build;

	(void)state;
	world_pass(w, DUR_S(3));
	orders_forget(w);
	world_want(w, true, 3, "CC");
	phase_is(w, PHASE_RECONNECTING, "moving to a route that fits your settings");
	assert_int_equal(w->r->vpn.live, live);
	build = *order_next(w, ORDER_BUILD);
	assert_int_equal(w->relays[build.hops[2]].as % 5, 2);
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	phase_is(w, PHASE_ON, "");
	assert_int_equal(w->r->vpn.live, build.route);
	world_free(w);
}

/* Another number of hops by the exit in use, as there is no other. */
static void other_hops_may_lead_to_the_same_exit(void **state)
{
	struct world *w = world_new(1, 5);
	struct order build, *o;

	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1 + i,
				     .roles = DESCRIPTOR_RELAY | (i == 0 ? (uint32_t)BOTH_EXITS : 0u)});
	relays_learn(w);
	world_ready(w);
	orders_forget(w);
	assert_int_equal(world_want(w, true, 1, NULL), OK);
	build = *order_next(w, ORDER_BUILD);
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	world_pass(w, DUR_S(3));
	orders_forget(w);
	world_want(w, true, 2, NULL);
	phase_is(w, PHASE_RECONNECTING, "moving to a route that fits your settings");
	measures_answer(w);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->n_hops, 2);
	assert_int_equal(o->hops[1], 0);
	world_free(w);
}

static void a_country_without_exits_ends_the_old_route(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, "CB");

	(void)state;
	for (int i = 0; i < 80; i++)
		world_pass(w, DUR_MS(100));
	orders_forget(w);
	world_want(w, true, 3, "XX");
	phase_is(w, PHASE_FAILED, "no exit in XX is known");
	assert_null(path_find(w->r, live));
	world_free(w);
}

static void the_same_wish_again_changes_nothing(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);

	(void)state;
	orders_forget(w);
	world_want(w, true, 3, NULL);
	world_want(w, true, 0, NULL);
	phase_is(w, PHASE_ON, "");
	assert_int_equal(w->n_orders, 0);
	assert_int_equal(w->r->vpn.live, live);
	world_free(w);
}

static void the_same_wish_while_it_fails_tries_at_once_and_forgets_nothing(void **state)
{
	struct world *w = ready_world();
	struct order *o;

	(void)state;
	world_want(w, true, 3, NULL);
	measures_answer(w);
	while ((o = order_next(w, ORDER_BUILD)) != NULL) {
		vpn_on_failed(w->r, o->route, 2, ERR_TIMEOUT, "", w->now);
		world_step(w);
	}
	phase_is(w, PHASE_FAILED, "");
	orders_forget(w);
	world_want(w, true, 3, NULL);
	phase_is(w, PHASE_FAILED, "");
	assert_non_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void off_closes_everything(void **state)
{
	struct world *w = ready_world();
	unsigned int n = 0;

	(void)state;
	world_connect(w, 3, NULL);
	world_spare(w);
	world_want(w, false, 0, NULL);
	assert_int_equal(order_next(w, ORDER_USE)->route, 0);
	while (order_next(w, ORDER_CLOSE) != NULL)
		n++;
	assert_int_equal(n, 2);
	phase_is(w, PHASE_OFF, "");
	world_pass(w, DUR_S(10));
	assert_null(order_next(w, ORDER_BUILD));
	world_free(w);
}

static void pay_off_leaves_routes_that_cost(void **state)
{
	struct world *w = world_new(1, 5);
	struct order build;

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS,
				     .price = {i % 2, i % 2, i % 2}});
	relays_learn(w);
	world_ready(w);
	world_connect(w, 3, NULL);
	world_pass(w, DUR_S(5));
	orders_forget(w);
	vpn_on_settings(w->r, false, 0, 0, w->now);
	world_step(w);
	struct path *live = live_path(w->r);
	if (live != NULL && !path_fits(w->r, live, w->now)) {
		measures_answer(w);
		build = *order_next(w, ORDER_BUILD);
		for (int k = 0; k < 3; k++)
			assert_int_equal(w->relays[build.hops[k]].price[0], 0);
		tunnel_built(w, &build);
		tunnel_probed(w, build.route, true);
	}
	phase_is(w, PHASE_ON, "");
	assert_true(path_fits(w->r, live_path(w->r), w->now));
	world_free(w);
}

/* ---- restarts ---- */

/* The tunnel holds these routes when the router comes back. */
static void tunnel_snapshot(struct world *w, const struct order *live, const struct order *spare)
{
	struct path_hop room[POLICY_HOPS_MAX];
	struct path_facts f;

	vpn_on_link(w->r, true, w->now);
	vpn_on_tunnel_hello(w->r, true, w->now);
	world_step(w);
	f = facts_of(w, live->route, live->hops, live->n_hops, room);
	f.in_use = true;
	vpn_on_lives(w->r, &f, w->now);
	world_step(w);
	if (spare != NULL) {
		f = facts_of(w, spare->route, spare->hops, spare->n_hops, room);
		vpn_on_lives(w->r, &f, w->now);
		world_step(w);
	}
	vpn_on_lives_complete(w->r, w->now);
	world_step(w);
}

enum speaker { SAYS_TUNNEL, SAYS_GATEWAY, SAYS_DISCOVERY };

/* Whoever speaks first: not one order that touches the live route. */
static void a_restart_adopts_the_live_route_in_any_order(void **state)
{
	static const enum speaker orders[6][3] = {
		{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

	(void)state;
	for (int i = 0; i < 6; i++) {
		struct world *w = ready_world();
		struct order live = {.route = 4711, .n_hops = 3, .hops = {0, 1, 23}};
		struct order spare = {.route = 4712, .n_hops = 3, .hops = {0, 2, 25}};

		world_boot(w, (uint8_t)(50 + i));
		for (int k = 0; k < 3; k++) {
			switch (orders[i][k]) {
			case SAYS_TUNNEL:
				tunnel_snapshot(w, &live, &spare);
				break;
			case SAYS_GATEWAY:
				world_want(w, true, 3, NULL);
				world_pass(w, DUR_MS(5));
				vpn_on_settings(w->r, true, 0, 0, w->now);
				break;
			case SAYS_DISCOVERY:
				relays_learn(w);
				break;
			}
			world_pass(w, DUR_MS(50));
		}
		assert_int_equal(w->r->vpn.live, 4711);
		phase_is(w, PHASE_ON, "");
		/* The other route is proven again, then stands by. */
		struct order *probe = order_next(w, ORDER_PROBE);
		assert_int_equal(probe->route, 4712);
		tunnel_probed(w, 4712, true);
		assert_int_equal(w->r->vpn.spare, 4712);
		assert_null(order_next(w, ORDER_BUILD));
		assert_null(order_next(w, ORDER_CLOSE));
		assert_null(order_next(w, ORDER_USE));
		world_free(w);
	}
}

static void without_gateway_the_live_route_is_kept_and_repaired(void **state)
{
	struct world *w = ready_world();
	struct order live = {.route = 4711, .n_hops = 3, .hops = {0, 1, 23}};
	struct order *o;

	(void)state;
	world_boot(w, 60);
	relays_learn(w);
	tunnel_snapshot(w, &live, NULL);
	phase_is(w, PHASE_ON, "");
	assert_true(w->r->want.implied);
	world_pass(w, DUR_MS(400));
	orders_forget(w);
	tunnel_dead(w, 4711, 1);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	assert_int_equal(o->exit_of, 4711);
	assert_int_equal(o->hops[2], 23);
	world_free(w);
}

static void gateways_off_after_a_restart_ends_the_adopted_route(void **state)
{
	struct world *w = ready_world();
	struct order live = {.route = 4711, .n_hops = 3, .hops = {0, 1, 23}};

	(void)state;
	world_boot(w, 61);
	world_want(w, false, 0, NULL);
	assert_int_equal(w->n_orders, 0);
	tunnel_snapshot(w, &live, NULL);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, 4711);
	phase_is(w, PHASE_OFF, "");
	world_free(w);
}

static void an_adopted_route_of_another_length_is_replaced_gently(void **state)
{
	struct world *w = ready_world();
	struct order live = {.route = 4711, .n_hops = 3, .hops = {0, 1, 23}}, build;

	(void)state;
	world_boot(w, 62);
	relays_learn(w);
	vpn_on_settings(w->r, true, 0, 0, w->now);
	world_want(w, true, 2, NULL);
	tunnel_snapshot(w, &live, NULL);
	assert_int_equal(w->r->vpn.live, 4711);
	measures_answer(w);
	build = *order_next(w, ORDER_BUILD);
	assert_int_equal(build.n_hops, 2);
	assert_null(order_next(w, ORDER_CLOSE));
	tunnel_built(w, &build);
	tunnel_probed(w, build.route, true);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, 4711);
	phase_is(w, PHASE_ON, "");
	world_free(w);
}

/* Before the gateway has said whether the user pays, a route that costs is not called wrong. */
static void an_adopted_route_that_costs_waits_for_the_settings(void **state)
{
	struct world *w = world_new(1, 5);
	struct order live = {.route = 4711, .n_hops = 3, .hops = {0, 1, 23}};

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS,
				     .price = {7, 7, 7}});
	relays_learn(w);
	tunnel_snapshot(w, &live, NULL);
	world_want(w, true, 3, NULL);
	world_pass(w, DUR_MS(20));
	phase_is(w, PHASE_ON, "");
	vpn_on_settings(w->r, true, 0, 0, w->now);
	world_pass(w, DUR_MS(20));
	phase_is(w, PHASE_ON, "");
	assert_int_equal(w->r->vpn.live, 4711);
	assert_null(order_next(w, ORDER_CLOSE));
	world_free(w);
}

static void a_tunnel_that_greets_again_changes_nothing(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);

	(void)state;
	vpn_on_tunnel_hello(w->r, false, w->now);
	world_step(w);
	assert_int_equal(w->r->vpn.live, live);
	assert_int_equal(w->r->vpn.spare, spare);
	phase_is(w, PHASE_ON, "");
	/* Its snapshot names the live route only: the spare is gone, without a word of it before.
	 */
	struct path_hop room[POLICY_HOPS_MAX];
	struct order o = {.hops = {0, 1, 23}};
	struct path_facts f = facts_of(w, live, o.hops, 3, room);
	f.in_use = true;
	vpn_on_lives(w->r, &f, w->now);
	vpn_on_lives_complete(w->r, w->now);
	world_step(w);
	assert_int_equal(w->r->vpn.live, live);
	assert_null(path_find(w->r, spare));
	/* The next one names nothing. */
	vpn_on_lives_complete(w->r, w->now);
	world_step(w);
	assert_int_not_equal(w->r->vpn.live, live);
	phase_is(w, PHASE_RECONNECTING, "the tunnel closed the route");
	world_free(w);
}

static void a_restarted_tunnel_gets_a_route_at_once(void **state)
{
	struct world *w = ready_world();
	struct order *o;

	(void)state;
	world_connect(w, 3, NULL);
	world_spare(w);
	vpn_on_link(w->r, false, w->now);
	world_step(w);
	phase_is(w, PHASE_RECONNECTING, "waiting for the tunnel service");
	vpn_on_link(w->r, true, w->now);
	vpn_on_tunnel_hello(w->r, true, w->now);
	world_step(w);
	assert_null(order_next(w, ORDER_BUILD)); /* its snapshot comes first */
	vpn_on_lives_complete(w->r, w->now);
	world_step(w);
	o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	phase_is(w, PHASE_RECONNECTING, "the tunnel was restarted");
	assert_int_equal(w->r->vpn.spare, 0);
	world_free(w);
}

/* It has left them to its successor: nothing is ordered, and why they were chosen is still known. */
static void a_restarted_tunnel_that_names_its_routes_keeps_them(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	struct path_hop room[POLICY_HOPS_MAX];
	struct order o = {.hops = {0, 1, 23}};
	char reason[PICK_REASON_MAX];

	(void)state;
	memcpy(reason, path_find(w->r, live)->reasons[0], sizeof(reason));
	vpn_on_link(w->r, false, w->now);
	world_step(w);
	vpn_on_link(w->r, true, w->now);
	vpn_on_tunnel_hello(w->r, true, w->now);
	orders_forget(w);
	world_step(w);
	phase_is(w, PHASE_RECONNECTING, "waiting for the tunnel service"); /* it has not said so yet */
	for (int i = 0; i < 2; i++) {
		struct path_facts f = facts_of(w, i == 0 ? live : spare, o.hops, 3, room);

		f.in_use = i == 0;
		vpn_on_lives(w->r, &f, w->now);
	}
	vpn_on_lives_complete(w->r, w->now);
	world_step(w);
	assert_int_equal(w->r->vpn.live, live);
	assert_int_equal(w->r->vpn.spare, spare);
	assert_string_equal(path_find(w->r, live)->reasons[0], reason);
	phase_is(w, PHASE_ON, "");
	assert_null(order_next(w, ORDER_BUILD));
	assert_null(order_next(w, ORDER_USE));
	assert_null(order_next(w, ORDER_CLOSE));
	world_free(w);
}

static void unknown_routes_are_closed_only_after_the_snapshot(void **state)
{
	struct world *w = ready_world();
	struct path_facts f = {.route = 99};

	(void)state;
	vpn_on_stats(w->r, &f, w->now);
	assert_int_equal(order_next(w, ORDER_CLOSE)->route, 99);
	vpn_on_tunnel_hello(w->r, true, w->now);
	orders_forget(w);
	vpn_on_stats(w->r, &f, w->now);
	vpn_on_built(w->r, &f, w->now);
	assert_int_equal(w->n_orders, 0);
	world_free(w);
}

static void an_order_lost_with_the_link_is_said_again(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);

	(void)state;
	orders_forget(w);
	vpn_on_stats(w->r, &(struct path_facts){.route = live, .in_use = false}, w->now);
	assert_int_equal(order_next(w, ORDER_USE)->route, live);
	vpn_on_stats(w->r, &(struct path_facts){.route = live, .in_use = true}, w->now);
	assert_null(order_next(w, ORDER_USE));
	world_free(w);
}

/* ---- blame and money ---- */

static void a_dead_network_blames_no_guard(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	struct peer *guard = peers_find(&w->r->peers, path_find(w->r, live)->hops[0].node_id);
	float bad = guard->rep.bad;

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 0);
	for (int i = 0; i < 20; i++) {
		struct order *o;

		while ((o = order_next(w, ORDER_BUILD)) != NULL) {
			vpn_on_failed(w->r, o->route, 0, ERR_TIMEOUT, "", w->now);
			world_step(w);
		}
		orders_forget(w);
		world_pass(w, DUR_S(2));
	}
	assert_true(guard->rep.bad <= bad);
	assert_int_equal(w->r->guards.all[0].down_day, 0);
	world_free(w);
}

static void a_dead_guard_is_blamed_once_another_answers(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL);
	struct peer *guard = peers_find(&w->r->peers, path_find(w->r, live)->hops[0].node_id);
	float bad = guard->rep.bad;

	(void)state;
	orders_forget(w);
	tunnel_dead(w, live, 0);
	assert_true(guard->rep.bad <= bad);
	tunnel_built(w, order_next(w, ORDER_BUILD));
	assert_true((double)guard->rep.bad > (double)bad + 1.9);
	world_free(w);
}

static void blame_waits_a_minute_and_not_for_the_same_entry(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		struct world *w = ready_world();
		const uint8_t *guard = w->relays[4].node_id, *other = w->relays[5].node_id;
		struct peer *p = relay_peer(w, 4);

		vpn_on_measured(w->r, guard, false, 0, w->now);
		vpn_on_measured(w->r, guard, true, 1000, w->now); /* it was we who were away */
		vpn_on_measured(w->r, other, true, 1000, w->now);
		assert_true((double)p->rep.bad < 0.01);
		vpn_on_measured(w->r, guard, false, 0, w->now);
		world_pass(w, late ? DUR_MS(60001) : DUR_MS(60000));
		vpn_on_measured(w->r, other, true, 1000, w->now);
		assert_int_equal((double)p->rep.bad > 0.9, !late);
		world_free(w);
	}
}

static void a_spare_that_cheats_does_not_change_the_route(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	uint8_t id[NODE_ID_SIZE];

	(void)state;
	memcpy(id, path_find(w->r, spare)->hops[2].node_id, sizeof(id));
	vpn_on_payment(w->r, spare * 10 + 2, id, false, "", w->now);
	world_step(w);
	assert_int_equal(w->r->vpn.live, live);
	assert_false(w->r->vpn.want_new);
	assert_null(path_find(w->r, spare)); /* but it will not be taken */
	world_free(w);
}

static void a_relay_that_cheats_is_left_before_it_stops_serving(void **state)
{
	struct world *w = ready_world();
	uint32_t live = world_connect(w, 3, NULL), spare = world_spare(w);
	const struct path *p = path_find(w->r, live);
	uint8_t id[NODE_ID_SIZE];

	(void)state;
	memcpy(id, p->hops[1].node_id, sizeof(id));
	vpn_on_payment(w->r, live * 10 + 1, id, false, "no ticket taken", w->now);
	world_step(w);
	assert_int_equal(w->r->vpn.live, spare);
	assert_true(peer_avoided(peers_find(&w->r->peers, id), w->now.mono));
	phase_is(w, PHASE_ON, "payment as agreed");
	world_free(w);
}

static void an_empty_wallet_blames_nobody_and_looks_for_free_relays(void **state)
{
	struct world *w = world_new(1, 5);
	uint32_t live;

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS,
				     .price = {i < 30, i < 30, i < 30}});
	relays_learn(w);
	world_ready(w);
	live = world_connect(w, 3, NULL);
	world_pass(w, DUR_S(4));
	orders_forget(w);
	struct peer *exit = peers_find(&w->r->peers, path_exit(path_find(w->r, live))->node_id);
	vpn_on_payment(
		w->r, live * 10 + 2, exit->node_id, true, "the day's limit is reached", w->now);
	world_step(w);
	assert_false(peer_avoided(exit, w->now.mono));
	assert_true(router_policy(w->r, w->now).free_only);
	measures_answer(w);
	struct order *o = order_next(w, ORDER_BUILD);
	assert_non_null(o);
	for (int k = 0; k < 3; k++)
		assert_true(o->hops[k] >= 30);
	world_pass(w, BROKE_FOR);
	assert_false(router_policy(w->r, w->now).free_only);
	world_free(w);
}

/* ---- what the gateway hears ---- */

static void the_report_names_route_and_reasons(void **state)
{
	struct world *w = ready_world();
	mvpn_SessionState s;
	uint32_t live;

	(void)state;
	report_state(w->r, w->now, &s);
	assert_int_equal(s.phase, mvpn_Phase_PHASE_OFF);
	assert_int_equal(s.n_relays, 40);
	live = world_connect(w, 3, "CC");
	vpn_on_stats(w->r,
		&(struct path_facts){.route = live,
			.rx_bytes = 700,
			.tx_bytes = 70,
			.rx_Bps = 7,
			.in_use = true},
		w->now);
	report_state(w->r, w->now, &s);
	assert_int_equal(s.phase, mvpn_Phase_PHASE_ON);
	assert_int_equal(s.hops_count, 3);
	assert_string_equal(s.hops[2].country, "CC");
	assert_int_equal(s.hops[1].rtt_us, 40000);
	assert_int_equal(s.hops[1].address.size, 4);
	assert_int_equal(s.hops[2].session, live * 10 + 2);
	assert_int_equal(s.exit_address.size, 4);
	assert_int_equal(s.exit_address.bytes[0], 20);
	assert_int_equal(s.ip4.size, 4);
	assert_int_equal(s.rx_bytes, 700);
	assert_in_range(s.reasons_count, 2, 3);
	assert_non_null(strstr(s.reasons[0], "exit in CC as you asked"));
	world_free(w);
}

static void exits_come_in_pieces_and_say_why_not(void **state)
{
	struct world *w = world_new(1, 5);
	uint32_t at = 0, n = 0, n_usable = 0;
	mvpn_ExitList list;
	bool more;

	(void)state;
	for (unsigned int i = 0; i < 150; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS,
				     .price = {0, 0, i < 100 ? 5 : 0}});
	relays_learn(w);
	world_ready(w);
	vpn_on_settings(w->r, false, 0, 0, w->now);
	world_want(w, true, 3, "CC");
	do {
		more = report_exits(w->r, w->now, &at, &list);
		assert_int_equal(list.more, more);
		for (pb_size_t i = 0; i < list.exits_count; i++) {
			n++;
			n_usable += list.exits[i].usable;
			assert_int_equal(list.exits[i].why_not[0] == '\0', list.exits[i].usable);
		}
	} while (more);
	assert_int_equal(n, 150);
	assert_int_equal(n_usable, 50);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(off_orders_nothing),
		cmocka_unit_test(connect_measures_builds_probes_uses),
		cmocka_unit_test(silent_measurements_hold_it_up_600_ms_at_most),
		cmocka_unit_test(one_hop_needs_no_guard),
		cmocka_unit_test(a_slow_first_attempt_gets_company),
		cmocka_unit_test(at_most_three_attempts_at_once_and_six_in_all),
		cmocka_unit_test(a_failed_attempt_is_replaced_at_once_by_another),
		cmocka_unit_test(six_failures_say_failed_and_tries_go_on_slower),
		cmocka_unit_test(a_probe_without_answer_is_a_failure_of_the_exit),
		cmocka_unit_test(a_lost_answer_times_out),
		cmocka_unit_test(what_cannot_be_is_said_in_words),
		cmocka_unit_test(an_empty_directory_is_waited_for),
		cmocka_unit_test(a_directory_that_still_grows_is_waited_for),
		cmocka_unit_test(a_few_that_come_and_go_do_not_unsettle_a_directory),
		cmocka_unit_test(a_missing_tunnel_is_waited_for),
		cmocka_unit_test(wishes_that_cannot_be_are_refused_whole),
		cmocka_unit_test(a_spare_stands_by_with_other_middle_and_exit),
		cmocka_unit_test(a_dead_exit_hands_over_to_the_spare_at_once),
		cmocka_unit_test(a_dead_exit_without_spare_is_replaced_at_once),
		cmocka_unit_test(a_dead_middle_is_gone_round_to_the_same_exit),
		cmocka_unit_test(two_ways_round_are_tried_and_the_slower_is_not_blamed),
		cmocka_unit_test(a_suspect_middle_is_gone_round_before_the_verdict),
		cmocka_unit_test(a_verdict_during_a_repair_on_suspicion_begins_nothing_anew),
		cmocka_unit_test(a_false_suspicion_costs_nothing),
		cmocka_unit_test(what_lies_with_us_is_not_blamed_on_a_relay),
		cmocka_unit_test(a_dead_entry_is_gone_round_by_another_guard),
		cmocka_unit_test(nobody_answers_and_the_exit_is_not_given_up),
		cmocka_unit_test(two_hops_are_repaired_by_another_guard),
		cmocka_unit_test(a_repair_that_takes_long_lets_the_spare_in),
		cmocka_unit_test(a_repair_that_fails_gives_the_exit_up),
		cmocka_unit_test(a_dead_spare_is_replaced_without_a_word_to_the_user),
		cmocka_unit_test(a_new_route_takes_the_spare_and_drains_the_old),
		cmocka_unit_test(without_spare_it_is_built_before_the_old_is_left),
		cmocka_unit_test(when_no_other_answers_the_old_one_stays),
		cmocka_unit_test(the_schedule_changes_the_route_between_half_and_one_and_a_half),
		cmocka_unit_test(an_interval_of_0_never_changes_it),
		cmocka_unit_test(another_country_is_made_before_the_old_breaks),
		cmocka_unit_test(other_hops_may_lead_to_the_same_exit),
		cmocka_unit_test(a_country_without_exits_ends_the_old_route),
		cmocka_unit_test(the_same_wish_again_changes_nothing),
		cmocka_unit_test(off_closes_everything),
		cmocka_unit_test(pay_off_leaves_routes_that_cost),
		cmocka_unit_test(a_restart_adopts_the_live_route_in_any_order),
		cmocka_unit_test(without_gateway_the_live_route_is_kept_and_repaired),
		cmocka_unit_test(gateways_off_after_a_restart_ends_the_adopted_route),
		cmocka_unit_test(an_adopted_route_of_another_length_is_replaced_gently),
		cmocka_unit_test(a_restarted_tunnel_gets_a_route_at_once),
		cmocka_unit_test(a_restarted_tunnel_that_names_its_routes_keeps_them),
		cmocka_unit_test(unknown_routes_are_closed_only_after_the_snapshot),
		cmocka_unit_test(an_order_lost_with_the_link_is_said_again),
		cmocka_unit_test(a_dead_network_blames_no_guard),
		cmocka_unit_test(a_dead_guard_is_blamed_once_another_answers),
		cmocka_unit_test(a_relay_that_cheats_is_left_before_it_stops_serving),
		cmocka_unit_test(an_empty_wallet_blames_nobody_and_looks_for_free_relays),
		cmocka_unit_test(a_death_told_twice_is_one_death),
		cmocka_unit_test(a_second_death_ends_the_first_repair),
		cmocka_unit_test(an_answer_told_twice_is_probed_once),
		cmocka_unit_test(a_spare_with_a_relay_that_failed_is_not_taken),
		cmocka_unit_test(one_hop_that_does_not_answer_is_not_asked_again),
		cmocka_unit_test(draining_routes_do_not_pile_up),
		cmocka_unit_test(the_same_wish_while_it_fails_tries_at_once_and_forgets_nothing),
		cmocka_unit_test(an_adopted_route_that_costs_waits_for_the_settings),
		cmocka_unit_test(a_tunnel_that_greets_again_changes_nothing),
		cmocka_unit_test(blame_waits_a_minute_and_not_for_the_same_entry),
		cmocka_unit_test(a_spare_that_cheats_does_not_change_the_route),
		cmocka_unit_test(an_attempt_that_lost_by_little_becomes_the_spare),
		cmocka_unit_test(a_second_attempt_must_differ),
		cmocka_unit_test(a_directory_that_is_still_told_is_waited_for),
		cmocka_unit_test(settings_are_waited_for_a_moment),
		cmocka_unit_test(relays_that_appear_are_used_at_once),
		cmocka_unit_test(a_guard_that_failed_is_looked_at_again),
		cmocka_unit_test(a_guard_that_left_for_a_week_is_replaced),
		cmocka_unit_test(the_report_names_route_and_reasons),
		cmocka_unit_test(exits_come_in_pieces_and_say_why_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
