/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Properties of the selector over many picks, and its rules one by one. */
#include "tests/harness/router_world.h"

#include <math.h>

#define PICKS 100000

static const uint8_t seed_a[32] = {42};

static struct policy policy_of(unsigned int hops, const char *country)
{
	struct policy p = {.n_hops = hops};

	if (country != NULL) {
		memcpy(p.countries[0], country, 3);
		p.n_countries = 1;
	}
	return p;
}

static uint32_t index_of(struct world *w, unsigned int number)
{
	return (uint32_t)(relay_peer(w, number) - w->r->peers.all);
}

/* A varied network: sizes of AS differ, some relays share operators, some serve one family only,
 * bandwidth spans two orders of magnitude. */
static void network_varied(struct world *w, unsigned int n, unsigned int n_as)
{
	const uint8_t seed[32] = {5};
	struct rng rng;

	rng_init(&rng, seed);
	for (unsigned int i = 0; i < n; i++) {
		/* Low numbered networks are large. */
		unsigned int as = (unsigned int)(rng_unit(&rng) * rng_unit(&rng) * n_as);

		relay_add(w, (struct relay){.as = as,
				     .subnet = (unsigned int)rng_below(&rng, 200),
				     .host = 1 + (unsigned int)rng_below(&rng, 200),
				     .roles = DESCRIPTOR_RELAY |
					      (rng_below(&rng, 3) == 0 ? (uint32_t)BOTH_EXITS : 0u),
				     .family = rng_below(&rng, 10) == 0
						       ? (uint8_t)(1 + rng_below(&rng, 5))
						       : 0,
				     .only4 = rng_below(&rng, 4) == 0,
				     .price = {rng_below(&rng, 3), rng_below(&rng, 3),
					     rng_below(&rng, 3)}});
	}
	relays_learn(w);
	for (unsigned int i = 0; i < n; i++) {
		struct peer *p = relay_peer(w, i);
		uint64_t rate = (uint64_t)(1e6 * exp2(rng_unit(&rng) * 6));

		for (int k = 0; k < 40; k++)
			rep_goodput(&p->rep, w->now.mono, rate);
		rep_good(&p->rep, w->now.mono, 50 * rng_unit(&rng));
		rep_bad(&p->rep, w->now.mono, 5 * rng_unit(&rng));
		p->rep.days_listed = (uint32_t)rng_below(&rng, 30);
	}
	w->r->peers.serial++;
}

/* Says again, from the descriptors alone, what two hops may not share. */
static bool apart(const struct relay *a, const struct relay *b)
{
	return a != b && a->as != b->as && (a->family == 0 || a->family != b->family);
}

static void route_check(struct world *w, const struct pick *pick, const struct policy *policy)
{
	const struct relay *hops[3];
	bool two = false;

	assert_int_equal(pick->n_hops, policy->n_hops);
	for (unsigned int k = 0; k < pick->n_hops; k++) {
		const struct peer *p = &w->r->peers.all[pick->peers[k]];
		enum hop_role role = k + 1 == pick->n_hops ? HOP_EXIT
				     : k == 0		   ? HOP_ENTRY
							   : HOP_MIDDLE;

		hops[k] = &w->relays[relay_number(w, p->node_id)];
		assert_true((hops[k]->roles & (role == HOP_EXIT ? (uint32_t)BOTH_EXITS
								: DESCRIPTOR_RELAY)) != 0);
		assert_true(policy->price_max_gwei == 0 ||
			    hops[k]->price[role] <= policy->price_max_gwei);
		assert_true(!policy->free_only || hops[k]->price[role] == 0);
		for (unsigned int i = 0; i < k; i++) {
			assert_true(apart(hops[i], hops[k]));
			two |= hops[i]->as % w->n_countries != hops[k]->as % w->n_countries;
		}
		if (role == HOP_EXIT && policy->n_countries > 0)
			assert_int_equal(
				policy->countries[0][1], 'A' + (int)(hops[k]->as % w->n_countries));
	}
	assert_true(pick->one_country || pick->n_hops == 1 || two);
}

struct share {
	uint32_t middle, exit;
};

static double cap_bound(double cap, double n)
{
	return PICK_RATIO_MAX * fmax(cap, WEIGH_CAP_SMALL / n);
}

/* 10^5 routes: no rule broken, the entropy floor held, nobody above the cap. */
static void a_hundred_thousand_routes_keep_every_rule(void **state)
{
	struct world *w = world_new(1, 14);
	struct policy policy = policy_of(3, NULL);
	static struct share seen[WORLD_RELAYS];
	uint32_t guard_picks = 0, n_exits = 0, top_middle = 0, top_exit = 0;
	uint32_t entries[16];
	struct rng rng;
	double h = 0;

	(void)state;
	network_varied(w, 500, 60);
	rng_init(&rng, seed_a);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	size_t n_entries = pick_entries(&w->r->view, NULL, 0, &rng, w->now, entries, 16);
	assert_int_equal(n_entries, 16);
	for (uint32_t i = 0; i < PICKS; i++) {
		struct pick_ask ask = {.entry = entries[i % 16], .exit = PICK_NONE};
		struct pick pick;
		char why[PICK_WHY_MAX];

		assert_int_equal(pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng,
					 w->now, &pick, why),
			OK);
		route_check(w, &pick, &policy);
		assert_false(pick.one_country);
		assert_true(pick.effective >= PICK_EFFECTIVE_MIN - 1e-6);
		seen[pick.peers[1]].middle++;
		seen[pick.peers[2]].exit++;
		guard_picks++;
	}
	for (unsigned int i = 0; i < WORLD_RELAYS; i++) {
		top_middle = seen[i].middle > top_middle ? seen[i].middle : top_middle;
		top_exit = seen[i].exit > top_exit ? seen[i].exit : top_exit;
		n_exits += seen[i].exit > 0;
		if (seen[i].exit > 0)
			h -= seen[i].exit / (double)PICKS * log2(seen[i].exit / (double)PICKS);
	}
	print_message("# busiest middle %.2f %%, busiest exit %.2f %% of picks; %u exits used, "
		      "entropy %.1f bits\n",
		100.0 * top_middle / guard_picks, 100.0 * top_exit / guard_picks, n_exits, h);
	assert_true(top_middle <= 1.1 * PICKS * cap_bound(WEIGH_CAP_RELAY, 500));
	assert_true(
		top_exit <= 1.1 * PICKS * cap_bound(WEIGH_CAP_RELAY, w->r->view.n_fit[HOP_EXIT]));
	world_free(w);
}

static void countries_prices_and_lengths_are_never_violated(void **state)
{
	struct world *w = world_new(1, 14);
	static const char *const countries[] = {NULL, "CA", "CB", "CF", "CM"};
	struct rng rng;
	unsigned int n_found = 0;

	(void)state;
	network_varied(w, 300, 60);
	rng_init(&rng, seed_a);
	for (unsigned int i = 0; i < 5 * 3 * 3; i++) {
		struct policy policy = policy_of(1 + i % 3, countries[i / 9]);
		uint32_t entry = PICK_NONE;

		policy.free_only = i / 3 % 3 == 1;
		policy.price_max_gwei = i / 3 % 3 == 2 ? 1 : 0;
		weigh(&w->r->view, &w->r->peers, &policy, w->now);
		for (int k = 0; k < 200; k++) {
			struct pick_ask ask = {.exit = PICK_NONE};
			struct pick pick;
			char why[PICK_WHY_MAX];

			if (policy.n_hops > 1)
				assert_int_equal(
					pick_entries(&w->r->view, NULL, 0, &rng, w->now, &entry, 1),
					1);
			ask.entry = policy.n_hops > 1 ? entry : PICK_NONE;
			if (pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now,
				    &pick, why) != OK)
				continue;
			n_found++;
			route_check(w, &pick, &policy);
		}
	}
	assert_in_range(n_found, 8000, 9000);
	world_free(w);
}

static void same_seed_same_routes(void **state)
{
	struct world *w = world_new(1, 14);
	struct policy policy = policy_of(3, NULL);
	struct rng a, b;

	(void)state;
	network_varied(w, 200, 40);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	rng_init(&a, seed_a);
	rng_init(&b, seed_a);
	for (int i = 0; i < 500; i++) {
		struct pick_ask ask = {.exit = PICK_NONE};
		struct pick x, y;
		char why[PICK_WHY_MAX];

		memset(&x, 0, sizeof(x));
		memset(&y, 0, sizeof(y));
		assert_int_equal(pick_entries(&w->r->view, NULL, 0, &a, w->now, &ask.entry, 1), 1);
		(void)pick_entries(&w->r->view, NULL, 0, &b, w->now, &ask.entry, 1);
		(void)!pick_route(
			&w->r->view, &w->r->peers, &w->r->edges, &ask, &a, w->now, &x, why);
		(void)!pick_route(
			&w->r->view, &w->r->peers, &w->r->edges, &ask, &b, w->now, &y, why);
		assert_memory_equal(x.peers, y.peers, sizeof(x.peers));
		assert_string_equal(x.reasons[1], y.reasons[1]);
	}
	world_free(w);
}

/* Weight of everything that has AS 7, by position, after its one big relay became k small ones. */
static double split_share(unsigned int k)
{
	struct world *w = world_new(1, 14);
	struct policy policy = policy_of(3, NULL);
	double own = 0, all = 0;

	for (unsigned int i = 0; i < 300; i++)
		relay_add(w, (struct relay){.as = 10 + i % 100,
				     .subnet = i / 100,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS});
	for (unsigned int i = 0; i < k; i++)
		relay_add(w, (struct relay){.as = 7,
				     .subnet = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS});
	relays_learn(w);
	/* The weights alone, before the caps, from a goodput that is exactly divided. */
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	for (uint32_t i = 0; i < w->r->view.n_rows; i++) {
		const struct row *r = &w->r->view.at.rows[i];

		all += r->weight[HOP_MIDDLE];
		own += r->key[GROUP_AS] == (uint64_t)1007 << 8 ? r->weight[HOP_MIDDLE] : 0;
	}
	world_free(w);
	return own / all;
}

/* Unmeasured relays count as alike, so k of them claim k times the goodput of one: that is what a
 * measured total would have to be. The AS's share may grow by its square root and no more; one that
 * is split without more goodput gains nothing. */
static void an_as_counts_by_the_square_root_of_its_total(void **state)
{
	double one = split_share(1), four = split_share(4), nine = split_share(9);

	(void)state;
	assert_true(four / (1 - four) < 1.01 * 2 * one / (1 - one));
	assert_true(nine / (1 - nine) < 1.01 * 3 * one / (1 - one));
}

/* The same with measured goodput: B in one relay, or B / k in each of k. */
static double measured_share(unsigned int k, double total_Bps)
{
	struct world *w = world_new(1, 14);
	struct policy policy = policy_of(3, NULL);
	double own = 0, all = 0;

	for (unsigned int i = 0; i < 300; i++)
		relay_add(w, (struct relay){.as = 10 + i % 100,
				     .subnet = i / 100,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS});
	for (unsigned int i = 0; i < k; i++)
		relay_add(w, (struct relay){.as = 7,
				     .subnet = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS});
	relays_learn(w);
	for (unsigned int i = 0; i < 300 + k; i++)
		for (int n = 0; n < 5000; n++)
			rep_goodput(&relay_peer(w, i)->rep, w->now.mono,
				(uint64_t)(i < 300 ? 4e6 : total_Bps / k));
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	for (uint32_t i = 0; i < w->r->view.n_rows; i++) {
		const struct row *r = &w->r->view.at.rows[i];

		all += r->weight[HOP_EXIT];
		own += r->key[GROUP_AS] == (uint64_t)1007 << 8 ? r->weight[HOP_EXIT] : 0;
	}
	world_free(w);
	return own / all;
}

static void splitting_a_relay_inside_an_as_gains_less_than_5_percent(void **state)
{
	double whole = measured_share(1, 8388608);

	(void)state;
	for (unsigned int k = 2; k <= 16; k *= 2) {
		double split = measured_share(k, 8388608);

		print_message("# split in %u: share %.4f against %.4f\n", k, split, whole);
		assert_true(split < 1.05 * whole);
	}
}

/* Terms one by one, each made better: U must not fall. */
static void utility_is_monotone_in_each_term(void **state)
{
	(void)state;
	for (unsigned int hops = 1; hops <= 3; hops++) {
		const struct pick_terms base = {.rtt_ms = 80,
			.jitter_ms = 5,
			.goodput_Bps = 2e6,
			.reliability_ln = -0.3,
			.price_gwei = 1e6,
			.price_cap_gwei = 1e7,
			.n_hops = hops};
		double last = pick_utility(&base);

		for (int i = 1; i <= 40; i++) {
			struct pick_terms t = base;

			t.rtt_ms = base.rtt_ms * (1 + i * 0.2);
			assert_true(pick_utility(&t) < last);
			t = base;
			t.jitter_ms += i;
			assert_true(pick_utility(&t) < last);
			t = base;
			t.goodput_Bps *= 1 + 0.1 * i;
			assert_true(pick_utility(&t) > last);
			t = base;
			t.reliability_ln += 0.005 * i;
			assert_true(pick_utility(&t) > last);
			t = base;
			t.price_gwei += 1e5 * i;
			assert_true(pick_utility(&t) < last);
		}
		struct pick_terms t = base;
		t.misses_family = true;
		assert_true(pick_utility(&t) < last);
		t = base;
		t.rtt_ms = 3;
		assert_true(pick_utility(&t) > last); /* below the floor all are alike, and good */
	}
}

/* The better relay is taken more often, the worse one still sometimes. */
static void better_relays_are_chosen_more_often(void **state)
{
	struct world *w = world_new(1, 4);
	struct policy policy = policy_of(2, NULL);
	unsigned int n[2] = {0};
	struct rng rng;

	(void)state;
	for (unsigned int i = 0; i < 41; i++)
		relay_add(w,
			(struct relay){.as = i,
				.host = 1,
				.roles = DESCRIPTOR_RELAY | (i == 0 ? 0u : (uint32_t)BOTH_EXITS)});
	relays_learn(w);
	for (unsigned int i = 21; i < 41; i++)
		for (int k = 0; k < 50; k++)
			rep_bad(&relay_peer(w, i)->rep, w->now.mono, 0.01);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	rng_init(&rng, seed_a);
	for (int i = 0; i < 4000; i++) {
		struct pick_ask ask = {.entry = index_of(w, 0), .exit = PICK_NONE};
		struct pick pick;
		char why[PICK_WHY_MAX];

		assert_int_equal(pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng,
					 w->now, &pick, why),
			OK);
		n[relay_number(w, w->r->peers.all[pick.peers[1]].node_id) >= 21]++;
	}
	assert_true(n[0] > 5 * n[1]);
	assert_true(n[1] > 0);
	world_free(w);
}

static double weight_share(const struct view *v, enum hop_role role, uint32_t peer)
{
	double own = 0, all = 0;

	for (uint32_t i = 0; i < v->n_rows; i++) {
		all += v->at.rows[i].weight[role];
		own += v->at.rows[i].peer == peer ? v->at.rows[i].weight[role] : 0;
	}
	return own / all;
}

/* 200 equals in 200 networks of 100 prefixes, one of them far ahead. */
static void a_giant_is_capped(void **state)
{
	struct world *w = world_new(1, 14);
	struct policy policy = policy_of(3, NULL);

	(void)state;
	for (unsigned int i = 0; i < 200; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS});
	relays_learn(w);
	for (unsigned int i = 0; i < 200; i++)
		for (int k = 0; k < 2000; k++)
			rep_goodput(
				&relay_peer(w, i)->rep, w->now.mono, i == 0 ? 100000000 : 300000);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	for (int role = 0; role < HOP_ROLES; role++) {
		double share = weight_share(&w->r->view, role, index_of(w, 0));

		assert_true(share <= 1.01 * WEIGH_CAP_RELAY && share > 0.9 * WEIGH_CAP_RELAY);
	}
	world_free(w);
}

/* Eight relays of one AS, or of one operator all over, in a network of 160. */
static void an_as_and_an_operator_are_capped(void **state)
{
	(void)state;
	for (int operator= 0; operator<2; operator++) {
		struct world *w = world_new(1, 14);
		struct policy policy = policy_of(3, NULL);
		double share = 0;

		for (unsigned int i = 0; i < 160; i++)
			relay_add(w, (struct relay){.as = operator || i >= 8 ? i : 0, .subnet = i, .host = 1,
					     .roles = DESCRIPTOR_RELAY, .family = operator && i < 8 ? 3 : 0});
		relays_learn(w);
		for (unsigned int i = 0; i < 160; i++)
			for (int k = 0; k < 2000; k++)
				rep_goodput(&relay_peer(w, i)->rep, w->now.mono,
					i < 8 ? 100000000 : 300000);
		weigh(&w->r->view, &w->r->peers, &policy, w->now);
		for (unsigned int i = 0; i < 8; i++)
			share += weight_share(&w->r->view, HOP_MIDDLE, index_of(w, i));
		double cap = operator? WEIGH_CAP_OPERATOR : WEIGH_CAP_AS;
		assert_true(share <= 1.01 * cap && share > 0.9 * cap);
		world_free(w);
	}
}

static void scarce_exits_are_spared_as_middles(void **state)
{
	double share[2];

	(void)state;
	for (int few = 0; few < 2; few++) {
		struct world *w = world_new(1, 14);
		struct policy policy = policy_of(3, NULL);

		share[few] = 0;
		for (unsigned int i = 0; i < 200; i++)
			relay_add(w, (struct relay){.as = i,
					     .host = 1,
					     .roles = DESCRIPTOR_RELAY |
						      (i < (few ? 10u : 100u) ? (uint32_t)BOTH_EXITS
									      : 0u)});
		relays_learn(w);
		weigh(&w->r->view, &w->r->peers, &policy, w->now);
		for (unsigned int i = 0; i < 10; i++)
			share[few] += weight_share(&w->r->view, HOP_MIDDLE, index_of(w, i));
		world_free(w);
	}
	assert_true(share[0] > 0.049 && share[0] < 0.051);
	assert_true(share[1] < 0.01 && share[1] > 0.001);
}

static void the_long_known_weigh_four_times_the_new(void **state)
{
	struct world *w = world_new(1, 14);
	struct policy policy = policy_of(3, NULL);

	(void)state;
	for (unsigned int i = 0; i < 100; i++)
		relay_add(w, (struct relay){.as = i, .host = 1, .roles = DESCRIPTOR_RELAY});
	relays_learn(w);
	for (unsigned int i = 0; i < 100; i++)
		relay_peer(w, i)->rep.days_listed = i < 50 ? 0 : REP_AGE_DAYS;
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	double young = weight_share(&w->r->view, HOP_MIDDLE, index_of(w, 0));
	double old = weight_share(&w->r->view, HOP_MIDDLE, index_of(w, 60));
	assert_true(old > 3.9 * young && old < 4.1 * young);
	world_free(w);
}

/* ---- rules in small networks ---- */

struct pair {
	const char *what;
	struct row a, b;
	bool apart;
};

#define ROW(as, n4, n6, fam, pay)                                                                  \
	{                                                                                          \
		.key = {[GROUP_AS] = as}, .net4 = n4, .net6 = n6, .family = fam, .payee = pay      \
	}

static void each_thing_shared_keeps_two_relays_apart(void **state)
{
	static const struct pair table[] = {
		{"nothing shared", ROW(1, 1, 1, 1, 1), ROW(2, 2, 2, 2, 2), true},
		{"AS", ROW(1, 1, 1, 1, 1), ROW(1, 2, 2, 2, 2), false},
		{"IPv4 /16", ROW(1, 1, 1, 1, 1), ROW(2, 1, 2, 2, 2), false},
		{"IPv6 /32", ROW(1, 1, 1, 1, 1), ROW(2, 2, 1, 2, 2), false},
		{"operator", ROW(1, 1, 1, 1, 1), ROW(2, 2, 2, 1, 2), false},
		{"payee", ROW(1, 1, 1, 1, 1), ROW(2, 2, 2, 2, 1), false},
		{"none has any", ROW(1, 0, 0, 0, 0), ROW(2, 0, 0, 0, 0), true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct row a = table[i].a, b = table[i].b;

		a.peer = 1;
		b.peer = 2;
		if (rows_apart(&a, &b) != table[i].apart || rows_apart(&b, &a) != table[i].apart)
			fail_msg("%s", table[i].what);
		b.peer = 1;
		assert_false(rows_apart(&a, &b));
	}
}

struct small {
	const char *what;
	struct relay exit;
	bool allowed;
};

/* A guard in AS 1 and an exit: may they be one route? */
static void two_hops_must_be_apart(void **state)
{
	static const struct small table[] = {
		{"apart", {.as = 2, .host = 1}, true},
		{"same AS and /16", {.as = 1, .subnet = 9, .host = 1}, false},
		{"same operator", {.as = 2, .host = 1, .family = 4}, false},
		{"no common address family", {.as = 2, .host = 1, .only6 = true}, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct world *w = world_new(1, 4);
		struct policy policy = policy_of(2, NULL);
		struct relay exit = table[i].exit;
		struct pick pick;
		char why[PICK_WHY_MAX] = "";
		struct rng rng;

		exit.roles = BOTH_EXITS;
		relay_add(w, (struct relay){.as = 1,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY,
				     .family = 4,
				     .only4 = true});
		relay_add(w, exit);
		relays_learn(w);
		rng_init(&rng, seed_a);
		weigh(&w->r->view, &w->r->peers, &policy, w->now);
		struct pick_ask ask = {.entry = index_of(w, 0), .exit = PICK_NONE};
		enum err e = pick_route(
			&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now, &pick, why);
		if ((e == OK) != table[i].allowed)
			fail_msg("%s: %s", table[i].what, why);
		world_free(w);
	}
}

/* Without a geography, networks are told apart by their addresses. */
static void without_geography_prefixes_decide(void **state)
{
	struct world *w = world_new(1, 4);
	struct policy policy = policy_of(2, NULL);
	struct pick_ask ask = {.exit = PICK_NONE};
	struct pick pick;
	char why[PICK_WHY_MAX];
	struct rng rng;

	(void)state;
	w->geo.n_rows = 0;
	relay_add(w, (struct relay){.as = 1, .host = 1, .roles = DESCRIPTOR_RELAY});
	relay_add(w, (struct relay){.as = 1, .subnet = 200, .host = 1, .roles = BOTH_EXITS});
	relays_learn(w);
	rng_init(&rng, seed_a);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	ask.entry = index_of(w, 0);
	assert_int_equal(
		pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now, &pick, why),
		ERR_NOT_FOUND);
	relay_add(w, (struct relay){.as = 2, .host = 1, .roles = BOTH_EXITS});
	relay_learn(w, 2);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	assert_int_equal(
		pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now, &pick, why),
		OK);
	assert_true(pick.one_country); /* unknown countries are not two */
	world_free(w);
}

static void test_networks_tell_ipv6_apart_by_48(void **state)
{
	struct net_addr a, b, c;
	static struct peer all[4];
	static uint32_t index[8];
	static const uint8_t key[16] = {1};
	struct geo none = {0};
	struct policy test = {.n_hops = 3, .test_network = true}, open = {.n_hops = 3};
	struct when now = {{1}, {1}};
	struct peers t;
	struct row x, y, z;

	(void)state;
	assert_int_equal(net_addr_parse("2001:db8:101::1", &a), OK);
	assert_int_equal(net_addr_parse("2001:db8:102::1", &b), OK);
	assert_int_equal(net_addr_parse("2001:db8:101:ff::1", &c), OK);
	peers_init(&t, all, index, 4, key, &none, true);
	all[0].addr6 = a;
	all[1].addr6 = b;
	all[2].addr6 = c;
	for (uint8_t i = 0; i < 3; i++)
		all[i].node_id[0] = i;
	row_fill(&x, &t, 0, &test, now);
	row_fill(&y, &t, 1, &test, now);
	row_fill(&z, &t, 2, &test, now);
	assert_true(rows_apart(&x, &y));
	assert_false(rows_apart(&x, &z));
	row_fill(&x, &t, 0, &open, now);
	row_fill(&y, &t, 1, &open, now);
	assert_false(rows_apart(&x, &y)); /* one /32 in the open network */
}

static void one_country_only_when_there_is_no_other_way(void **state)
{
	struct world *w = world_new(1, 1);
	struct policy policy = policy_of(3, NULL);
	struct pick_ask ask = {.exit = PICK_NONE};
	struct pick pick;
	char why[PICK_WHY_MAX];
	struct rng rng;

	(void)state;
	relays_spread(w, 12, 12);
	relays_learn(w);
	rng_init(&rng, seed_a);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	ask.entry = index_of(w, 0);
	assert_int_equal(
		pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now, &pick, why),
		OK);
	assert_true(pick.one_country);
	assert_non_null(strstr(pick.reasons[2], "one country"));
	world_free(w);
}

static void the_one_pair_that_fits_is_found(void **state)
{
	struct world *w = world_new(1, 2);
	struct policy policy = policy_of(3, "CA");
	struct pick_ask ask = {.exit = PICK_NONE};
	struct pick pick;
	char why[PICK_WHY_MAX];
	struct rng rng;

	(void)state;
	/* 250 good middles that the exit cannot be reached from, and a poor one that can. */
	relay_add(w, (struct relay){.as = 1, .host = 1, .roles = DESCRIPTOR_RELAY});
	relay_add(w, (struct relay){.as = 2, .host = 1, .roles = BOTH_EXITS, .only6 = true});
	for (unsigned int i = 0; i < 250; i++)
		relay_add(w,
			(struct relay){
				.as = 3 + i, .host = 1, .roles = DESCRIPTOR_RELAY, .only4 = true});
	relay_add(w, (struct relay){.as = 255, .host = 1, .roles = DESCRIPTOR_RELAY});
	relays_learn(w);
	for (int i = 0; i < 1000; i++) {
		rep_bad(&relay_peer(w, 252)->rep, w->now.mono, 5);
		rep_goodput(&relay_peer(w, 252)->rep, w->now.mono, REP_GOODPUT_MIN_BPS);
	}
	rng_init(&rng, seed_a);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	ask.entry = index_of(w, 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng,
					 w->now, &pick, why),
			OK);
		assert_int_equal(pick.peers[1], index_of(w, 252));
	}
	world_free(w);
}

static void failed_relays_are_passed_over_unless_there_is_nothing_else(void **state)
{
	struct world *w = world_new(1, 4);
	struct policy policy = policy_of(2, NULL);
	struct pick_ask ask = {.exit = PICK_NONE};
	struct pick pick;
	char why[PICK_WHY_MAX];
	struct rng rng;

	(void)state;
	relay_add(w, (struct relay){.as = 1, .host = 1, .roles = DESCRIPTOR_RELAY});
	relay_add(w, (struct relay){.as = 2, .host = 1, .roles = BOTH_EXITS});
	relay_add(w, (struct relay){.as = 3, .host = 1, .roles = BOTH_EXITS});
	relays_learn(w);
	rng_init(&rng, seed_a);
	ask.entry = index_of(w, 0);
	peer_failed(&w->r->peers, relay_peer(w, 1), w->now.mono, 1);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng,
					 w->now, &pick, why),
			OK);
		assert_int_equal(pick.peers[1], index_of(w, 2));
	}
	peer_failed(&w->r->peers, relay_peer(w, 2), w->now.mono, 1);
	weigh(&w->r->view, &w->r->peers, &policy, w->now);
	ask.strict = true;
	assert_int_equal(
		pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now, &pick, why),
		ERR_NOT_FOUND);
	ask.strict = false;
	assert_int_equal(
		pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng, w->now, &pick, why),
		OK);
	assert_true(pick.avoided_used);
	world_free(w);
}

static void no_exit_says_why_in_words(void **state)
{
	static const struct {
		const char *country, *words;
		bool free_only;
		uint64_t cap;
	} table[] = {
		{"CX", "no exit in CX is known", false, 0},
		{"CB", "every exit in CB asks for payment, and payment is off", true, 0},
		{NULL, "every exit asks for payment, and payment is off", true, 0},
		{NULL, "every exit asks more than your price cap", false, 5},
	};
	struct world *w = world_new(1, 4);
	struct rng rng;

	(void)state;
	for (unsigned int i = 0; i < 8; i++)
		relay_add(w, (struct relay){.as = i,
				     .host = 1,
				     .roles = DESCRIPTOR_RELAY | (uint32_t)BOTH_EXITS,
				     .price = {0, 0, 10}});
	relays_learn(w);
	rng_init(&rng, seed_a);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct policy policy = policy_of(3, table[i].country);
		struct pick_ask ask = {.entry = index_of(w, 0), .exit = PICK_NONE};
		struct pick pick;
		char why[PICK_WHY_MAX];

		policy.free_only = table[i].free_only;
		policy.price_max_gwei = table[i].cap;
		weigh(&w->r->view, &w->r->peers, &policy, w->now);
		assert_int_equal(pick_route(&w->r->view, &w->r->peers, &w->r->edges, &ask, &rng,
					 w->now, &pick, why),
			ERR_NOT_FOUND);
		assert_string_equal(why, table[i].words);
	}
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hundred_thousand_routes_keep_every_rule),
		cmocka_unit_test(countries_prices_and_lengths_are_never_violated),
		cmocka_unit_test(same_seed_same_routes),
		cmocka_unit_test(an_as_counts_by_the_square_root_of_its_total),
		cmocka_unit_test(splitting_a_relay_inside_an_as_gains_less_than_5_percent),
		cmocka_unit_test(utility_is_monotone_in_each_term),
		cmocka_unit_test(better_relays_are_chosen_more_often),
		cmocka_unit_test(a_giant_is_capped),
		cmocka_unit_test(an_as_and_an_operator_are_capped),
		cmocka_unit_test(scarce_exits_are_spared_as_middles),
		cmocka_unit_test(the_long_known_weigh_four_times_the_new),
		cmocka_unit_test(each_thing_shared_keeps_two_relays_apart),
		cmocka_unit_test(two_hops_must_be_apart),
		cmocka_unit_test(without_geography_prefixes_decide),
		cmocka_unit_test(test_networks_tell_ipv6_apart_by_48),
		cmocka_unit_test(one_country_only_when_there_is_no_other_way),
		cmocka_unit_test(the_one_pair_that_fits_is_found),
		cmocka_unit_test(failed_relays_are_passed_over_unless_there_is_nothing_else),
		cmocka_unit_test(no_exit_says_why_in_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
