/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay as a whole on a virtual clock: routes of 1..3 hops through real sessions, over links
 * that lose, delay, reorder and duplicate; deaths of hops; the exit's session moving; who knows
 * what; and that nothing is left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/harness/tunnel_world.h"

static const unsigned int path_a[] = {1, 2, 7}, path_b[] = {3, 4, 7}, path_c[] = {5, 6, 4};

static struct route *built(
	struct world *w, const unsigned int *path, unsigned int n, struct route *exit_of)
{
	struct route *r = world_build(w, path, n, exit_of);
	uint32_t before = w->n_built;

	assert_non_null(r);
	for (int i = 0; i < 1000 && r->state == ROUTE_BUILDING; i++)
		world_pass_ms(w, 10);
	if (r->state != ROUTE_READY)
		fail_msg("not built: %s", w->log);
	assert_int_equal(w->n_built, before + 1);
	return r;
}

/* Sends a packet of flow `port` each 20 ms for so long. */
static void traffic(struct world *w, uint16_t port, uint64_t ms)
{
	for (uint64_t t = 0; t < ms; t += 20) {
		(void)device_sends(w, port);
		world_pass_ms(w, 20);
	}
}

/* Closes what is open and lets all timers run out: no session, leg, index or lease may be left. */
static void ends_clean(struct world *w)
{
	for (int i = 0; i < ROUTES; i++)
		if (w->route_used[i])
			route_close(&w->route[i], w->now, DUR_S(0), &w->route_sink);
	settle(w);
	world_pass_ms(w, 2000);
	for (int i = 0; i < 400; i++)
		world_pass_ms(w, 1000);
	for (unsigned int k = 0; k < NODES; k++) {
		const struct node *h = w->node[k];

		if (h->dead)
			continue;
		for (uint32_t s = 0; s < SESSIONS; s++)
			assert_false(h->sess[s].used);
		for (size_t i = 0; i < SESSIONS * 4; i++)
			assert_false(h->indices[i].used);
		assert_int_equal(h->pool.n_free, SESSIONS * SESSION_KEYPAIRS);
		assert_int_equal(circuit_n_legs(&h->circuit), 0);
		assert_int_equal(circuit_n_indices(&h->circuit), 0);
		assert_int_equal(h->lease.n_used, 0);
	}
	for (int i = 0; i < ROUTES; i++)
		assert_false(w->route_used[i]);
	assert_int_equal(w->n_wire, 0);
	world_free(w);
}

/* [P-6] n handshakes and one Attach, each as long as the way to that hop and back */
static void a_route_of_n_hops_takes_n_handshake_round_trips(void **state)
{
	(void)state;
	for (unsigned int n = 1; n <= 3; n++) {
		struct world *w = world_new(n);
		struct route *r = built(w, path_a + 3 - n, n, NULL);
		uint64_t want_ms = 0;

		for (unsigned int k = 1; k <= n; k++)
			want_ms += 20 * k;
		want_ms += 20 * n;
		assert_in_range(
			(r->ready_at.ns - r->started_at.ns) / 1000000, want_ms, want_ms + 1);
		traffic(w, 1000, 1000);
		world_pass_ms(w, 200);
		assert_int_equal(w->n_web, 50);
		assert_int_equal(w->n_back, 50);
		ends_clean(w);
	}
}

/* Orderly closing frees every hop at once, without waiting for it to forget. */
static void closing_a_route_frees_its_hops_at_once(void **state)
{
	struct world *w = world_new(9);

	(void)state;
	struct route *r = built(w, path_a, 3, NULL);
	route_close(r, w->now, DUR_S(0), &w->route_sink);
	settle(w);
	world_pass_ms(w, 600);
	for (unsigned int k = 1; k < NODES; k++)
		assert_int_equal(w->node[k]->admit.n_strangers, 0);
	ends_clean(w);
}

static bool knows(const struct node *h, const void *what, size_t len)
{
	return memmem(h, sizeof(*h), what, len) != NULL;
}

static bool knows_node(const struct node *h, const struct world *w, unsigned int n)
{
	return knows(h, w->node[n]->ep.addr.ip, 4);
}

/* overlay.md section 8: what lies in the memory of each hop while traffic flows */
static void each_hop_knows_its_neighbours_and_no_more(void **state)
{
	struct world *w = world_new(4);
	static const uint8_t web[] = {203, 0, 113, 80};
	const struct node *entry, *middle, *exit;
	uint8_t keys[3][32];

	(void)state;
	struct route *r = built(w, path_a, 3, NULL);
	traffic(w, 1000, 3000);
	entry = w->node[1];
	middle = w->node[2];
	exit = w->node[7];
	assert_true(knows_node(entry, w, 0) && knows_node(entry, w, 2));
	assert_false(knows_node(entry, w, 7) || knows(entry, web, 4));
	assert_true(knows_node(middle, w, 1) && knows_node(middle, w, 7));
	assert_false(knows_node(middle, w, 0) || knows(middle, web, 4));
	assert_true(knows_node(exit, w, 2));
	assert_false(knows_node(exit, w, 0) || knows_node(exit, w, 1));
	/* [P-5] the client's key is another at each hop, and at the same hop for another route */
	for (unsigned int k = 0; k < 3; k++)
		memcpy(keys[k], hop_sess(w, r, k)->own.static_pk, 32);
	for (unsigned int k = 0; k < 3; k++)
		for (unsigned int j = 0; j < 3; j++)
			assert_int_equal(knows(w->node[path_a[k]], keys[j], 32), k == j);
	struct route *again = built(w, path_a, 3, NULL);
	for (unsigned int k = 0; k < 3; k++)
		assert_memory_not_equal(hop_sess(w, again, k)->own.static_pk, keys[k], 32);
	ends_clean(w);
}

/* Ten minutes, five rekeys of each session: without loss nothing is lost. */
static void rekeying_loses_nothing(void **state)
{
	struct world *w = world_new(5);

	(void)state;
	built(w, path_a, 3, NULL);
	for (int i = 0; i < 6000; i++) {
		(void)device_sends(w, 1000);
		world_pass_ms(w, 100);
	}
	world_pass_ms(w, 500);
	assert_int_equal(w->n_back, 6000);
	assert_int_equal(w->n_dead, 0);
	ends_clean(w);
}

/* 1 % loss on each link each way, delay 10..110 ms, duplicates: ten minutes of traffic that is
 * answered and as much that is not, and nobody is declared dead. */
static void loss_and_jitter_raise_no_false_alarm(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 4; seed++) {
		struct world *w = world_new(100 + seed);

		w->jitter_us = 100000;
		w->loss_ppm = 10000;
		w->dup_ppm = 5000;
		built(w, path_a, 3, NULL);
		for (int i = 0; i < 6000; i++) {
			if (i % 1000 < 900) /* then some idleness */
				(void)device_sends(w, 1000);
			world_pass_ms(w, 100);
		}
		assert_int_equal(w->n_dead, 0);
		/* 8 link crossings each way and back: about 92 % come through */
		assert_in_range(w->n_back, 5400 * 88 / 100, 5400 * 104 / 100);
		ends_clean(w);
	}
}

/* Until answers flow again after `from`; the route in use may be replaced as soon as it is said to
 * be dead. */
static uint64_t recover(struct world *w, uint16_t port, const unsigned int *path, bool same_exit)
{
	mono_t from = w->now;
	struct route *old = w->in_use, *fresh = NULL;
	uint64_t before;

	/* what is under way still arrives */
	traffic(w, port, 400);
	before = w->n_back;
	for (int i = 0; i < 1000 && w->n_back == before; i++) {
		(void)device_sends(w, port);
		world_pass_ms(w, 10);
		if (w->n_dead > 0 && fresh == NULL) {
			fresh = world_build(w, path, 3, same_exit ? old : NULL);
			assert_non_null(fresh);
		}
		if (fresh != NULL && fresh->state == ROUTE_READY && w->route_used[old - w->route] &&
			old->state == ROUTE_READY)
			route_close(old, w->now, DUR_S(0), &w->route_sink);
		settle(w);
	}
	return mono_since(from, w->back_at).ns / 1000000;
}

/* The middle relay dies in the midst of traffic: flows go on by a new path with the same exit, and
 * the web sees the same address. */
static void middle_dies_and_the_exit_session_moves(void **state)
{
	uint64_t worst[2] = {0, 0}, sum = 0;
	const uint32_t rounds = 30;

	(void)state;
	for (uint32_t seed = 0; seed < rounds; seed++) {
		struct world *w = world_new(200 + seed);
		uint64_t ms;

		w->delay_us = seed % 2 ? 10000 : 40000; /* three hops: 60 or 240 ms and more */
		w->jitter_us = 10000;
		w->loss_ppm = 10000;
		built(w, path_a, 3, NULL);
		traffic(w, 1000, 3000);
		w->node[2]->dead = true;
		ms = recover(w, 1000, path_b, true);
		assert_int_equal(w->n_dead, 1);
		assert_int_equal(w->dead_hop, 1);
		assert_int_equal(w->n_web_saw, 1);
		traffic(w, 1000, 5000);
		assert_int_equal(w->n_web_saw, 1);
		assert_int_equal(flow_exit_flows(&w->flow, w->flow_exit[w->in_use - w->route]), 1);
		worst[seed % 2] = ms > worst[seed % 2] ? ms : worst[seed % 2];
		sum += ms;
		ends_clean(w);
	}
	print_message(
		"middle dead to answers again: mean %lu ms, worst %lu ms; %lu ms at 10 ms a link\n",
		(unsigned long)(sum / rounds), (unsigned long)worst[0], (unsigned long)worst[1]);
	assert_true(worst[1] < 3000 && worst[0] < 4000);
}

/* The exit dies: a new route with another exit, new flows work; the old flow moves too, being UDP.
 */
static void exit_dies_and_new_flows_work(void **state)
{
	uint64_t worst[2] = {0, 0};

	(void)state;
	for (uint32_t seed = 0; seed < 20; seed++) {
		struct world *w = world_new(300 + seed);
		uint64_t ms;

		w->delay_us = seed % 2 ? 10000 : 40000; /* three hops: 60 or 240 ms and more */
		w->jitter_us = 10000;
		w->loss_ppm = 10000;
		built(w, path_a, 3, NULL);
		traffic(w, 1000, 3000);
		w->node[7]->dead = true;
		ms = recover(w, 1000, path_c, false);
		assert_int_equal(w->dead_hop, 2);
		worst[seed % 2] = ms > worst[seed % 2] ? ms : worst[seed % 2];
		assert_int_equal(w->n_web_saw, 2);
		traffic(w, 1001, 2000);
		ends_clean(w);
	}
	print_message("exit dead to answers again: worst %lu ms; %lu ms at 10 ms a link\n",
		(unsigned long)worst[0], (unsigned long)worst[1]);
	assert_true(worst[1] < 3000 && worst[0] < 4000);
}

/* A hop by choice, without a death: the exit moves and hardly a packet is lost. */
static void planned_change_of_path_loses_next_to_nothing(void **state)
{
	struct world *w = world_new(6);
	uint64_t sent = 0;

	(void)state;
	built(w, path_a, 3, NULL);
	for (int hop = 0; hop < 6; hop++) {
		struct route *old = w->in_use;
		struct route *r = world_build(w, hop % 2 ? path_a : path_b, 3, old);

		assert_non_null(r);
		for (int i = 0; i < 100; i++) {
			(void)device_sends(w, 1000);
			sent++;
			world_pass_ms(w, 10);
		}
		assert_int_equal(r->state, ROUTE_READY);
		route_close(old, w->now, DUR_S(0), &w->route_sink);
		settle(w);
		world_pass_ms(w, 1000);
	}
	assert_int_equal(w->n_web_saw, 1);
	print_message("planned changes: %lu of %lu packets lost in 6\n",
		(unsigned long)(sent - w->n_back), (unsigned long)sent);
	assert_true(sent - w->n_back <= 6 * 3);
	ends_clean(w);
}

/* A route built towards nobody fails in time and leaves nothing; the live one is untouched. */
static void a_route_that_cannot_be_built_leaves_the_live_one_alone(void **state)
{
	struct world *w = world_new(7);
	struct route *old = built(w, path_a, 3, NULL), *r;

	(void)state;
	w->node[4]->dead = true; /* the new middle */
	r = world_build(w, path_b, 3, old);
	traffic(w, 1000, 12000);
	assert_int_equal(w->n_failed, 1);
	assert_false(w->route_used[r - w->route]);
	assert_int_equal(w->n_back + 10 > w->n_web, true);

	/* now the new middle cannot reach the exit: refuses nothing, but no answer comes */
	w->node[4]->dead = false;
	w->node[4]->onward.addr.ip[0] ^= 1; /* what returns to it goes astray */
	r = world_build(w, path_b, 3, old);
	traffic(w, 1000, 15000);
	assert_int_equal(w->n_failed, 2);
	assert_false(old->exit_lent);
	uint64_t before = w->n_back;
	traffic(w, 1000, 2000);
	assert_true(w->n_back > before + 90); /* the old path carries it again */
	assert_int_equal(w->n_web_saw, 1);
	ends_clean(w);
}

/* Anything at any time, under heavy loss; what must hold is checked at every step. */
static void chaos_leaves_nothing_behind(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 6; seed++) {
		struct world *w = world_new(400 + seed);

		w->jitter_us = 40000;
		w->loss_ppm = 50000;
		w->dup_ppm = 20000;
		for (int step = 0; step < 400; step++) {
			unsigned int path[3], i = (unsigned int)rng_below(&w->dice, ROUTES);
			struct route *r = &w->route[i];

			switch (rng_below(&w->dice, 8)) {
			case 0:
			case 1:
				for (int k = 0; k < 3; k++)
					path[k] = 1 + (unsigned int)rng_below(&w->dice, NODES - 1);
				(void)world_build(
					w, path, 1 + (unsigned int)rng_below(&w->dice, 3), NULL);
				break;
			case 2:
				if (!w->route_used[i] || r->state != ROUTE_READY)
					break;
				for (int k = 0; k < 3; k++)
					path[k] = 1 + (unsigned int)rng_below(&w->dice, NODES - 1);
				for (unsigned int k = 1; k < NODES; k++)
					if (memcmp(w->node[k]->target.wg_pk,
						    r->hops[r->n_hops - 1].target.wg_pk, 32) == 0)
						path[2] = k;
				(void)world_build(w, path, 3, r);
				break;
			case 3:
				if (w->route_used[i])
					route_close(r, w->now, DUR_MS(rng_below(&w->dice, 3000)),
						&w->route_sink);
				break;
			case 4:
				if (w->route_used[i] && rng_below(&w->dice, 4) == 0)
					route_abort(r, &w->route_sink);
				break;
			case 5:
				w->node[1 + rng_below(&w->dice, NODES - 1)]->dead ^=
					rng_below(&w->dice, 3) == 0;
				break;
			default:
				break;
			}
			settle(w);
			for (int k = 0; k < 10; k++) {
				(void)device_sends(w, (uint16_t)(1000 + rng_below(&w->dice, 100)));
				world_pass_ms(w, rng_below(&w->dice, 300));
			}
			w->n_web_saw = 0;
		}
		for (unsigned int k = 1; k < NODES; k++)
			w->node[k]->dead = false;
		ends_clean(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_route_of_n_hops_takes_n_handshake_round_trips),
		cmocka_unit_test(closing_a_route_frees_its_hops_at_once),
		cmocka_unit_test(each_hop_knows_its_neighbours_and_no_more),
		cmocka_unit_test(rekeying_loses_nothing),
		cmocka_unit_test(loss_and_jitter_raise_no_false_alarm),
		cmocka_unit_test(middle_dies_and_the_exit_session_moves),
		cmocka_unit_test(exit_dies_and_new_flows_work),
		cmocka_unit_test(planned_change_of_path_loses_next_to_nothing),
		cmocka_unit_test(a_route_that_cannot_be_built_leaves_the_live_one_alone),
		cmocka_unit_test(chaos_leaves_nothing_behind),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
