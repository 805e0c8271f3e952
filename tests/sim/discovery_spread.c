/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How descriptors spread: full view everywhere, joiners, leavers, bytes, in networks of 60 and
 * more. */
#include "discovery_net.h"

#define N_RELAYS 60
#define N_CLIENTS 6

/* The first relay is the bootstrap of all; starts spread over `spread_s`. */
static struct net *network(uint32_t seed, uint32_t loss_ppm, unsigned int n_relays,
	unsigned int n_clients, double spread_s)
{
	struct net *net = net_new(seed, loss_ppm);
	const struct node *boot = NULL;

	for (unsigned int i = 0; i < n_relays + n_clients; i++) {
		struct node *n = net_add(net, i < n_relays ? RELAY : CLIENT);

		net_start(n, &boot, boot != NULL);
		if (boot == NULL)
			boot = n;
		net_run(net, net_s(net) + spread_s / (n_relays + n_clients));
	}
	return net;
}

static void bytes_print(const struct net *net, const uint64_t *before, double seconds,
	enum node_kind kind, double ret[2])
{
	double sum = 0, most = 0;
	unsigned int n = 0;

	for (unsigned int i = 0; i < net->n_nodes; i++) {
		const struct node *node = &net->nodes[i];

		if (!node->up || node->kind != kind)
			continue;
		const struct discovery_counters *c = &node->d->counters;
		double rate = (double)(c->bytes_in + c->bytes_out - before[i]) / seconds;

		sum += rate;
		most = rate > most ? rate : most;
		n++;
	}
	ret[0] = sum / n;
	ret[1] = most;
}

static void bytes_note(const struct net *net, uint64_t *ret)
{
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		const struct node *n = &net->nodes[i];

		ret[i] = n->up ? n->d->counters.bytes_in + n->d->counters.bytes_out : 0;
	}
}

static void everybody_holds_the_full_view(void **state)
{
	struct net *net = network(1, 20000, N_RELAYS, N_CLIENTS, 10);
	uint64_t before[NODES_MAX];
	double took, relay[2], client[2];

	(void)state;
	took = net_run_until(net, net_full_view, 120);
	print_message(
		"# full view at %u relays and %u clients %.1f s after the last start (2 %% loss)\n",
		N_RELAYS, N_CLIENTS, took);
	assert_true(took < 60);
	/* Each node's router holds the others, and nothing else. */
	net_run(net, net_s(net) + 60);
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		const struct node *n = &net->nodes[i];

		assert_int_equal(n->n_router, N_RELAYS - (n->kind == RELAY));
		assert_true(n->router_complete);
		assert_int_equal(n->d->dir.relays.n_state[RELAY_PROVEN], N_RELAYS);
		/* A client is in nobody's table. */
		if (n->kind == CLIENT)
			assert_int_equal(net_knowing(net, n), 0);
		else
			assert_true(n->d->published);
	}
	bytes_note(net, before);
	net_run(net, net_s(net) + 3600);
	bytes_print(net, before, 3600, RELAY, relay);
	bytes_print(net, before, 3600, CLIENT, client);
	print_message("# quiet hour, payload both ways: relay %.0f B/s (most %.0f), client %.0f "
		      "B/s (most %.0f)\n",
		relay[0], relay[1], client[0], client[1]);
	assert_true(relay[1] < 200 && client[1] < 100);
	net_free(net);
}

static void a_newcomer_is_known_within_seconds(void **state)
{
	struct net *net = network(2, 20000, N_RELAYS, N_CLIENTS, 10);
	const struct node *boot;
	double from, relays_s = -1;
	struct node *n;

	(void)state;
	net_run(net, 300);
	assert_true(net_full_view(net));
	boot = &net->nodes[7];
	n = net_add(net, RELAY);
	net_start(n, &boot, 1);
	from = net_s(net);
	while (!net_full_view(net) && net_s(net) - from < 120) {
		net_run(net, net_s(net) + 0.1);
		unsigned int relays_knowing = 0;
		for (unsigned int i = 0; i < N_RELAYS; i++)
			relays_knowing += net_knows(&net->nodes[i], n);
		if (relays_s < 0 && relays_knowing >= N_RELAYS * 95 / 100)
			relays_s = net_s(net) - from;
	}
	print_message("# newcomer: known to 95 %% of relays after %.1f s, to every relay and "
		      "client after %.1f s\n",
		relays_s, net_s(net) - from);
	assert_true(relays_s > 0 && relays_s < 10);
	assert_true(net_s(net) - from < 90);
	net_free(net);
}

static bool tombstones_reached_all(const struct net *net)
{
	for (unsigned int k = 0; k < net->n_nodes; k++) {
		const struct node *left = &net->nodes[k];

		if (!left->up && left->kind == RELAY && k % 2 == 0 && net_knowing(net, left) > 0)
			return false;
	}
	return true;
}

/* 30 % leave: every other one says so, the rest just stop. New ones come meanwhile. */
static void leavers_are_forgotten(void **state)
{
	struct net *net = network(3, 50000, N_RELAYS, N_CLIENTS, 10);
	const struct node *boot = &net->nodes[1];
	double took;

	(void)state;
	net_run(net, 300);
	assert_true(net_full_view(net));
	for (unsigned int k = 2; k < 2 + N_RELAYS * 30 / 100; k++) {
		if (k % 2 == 0)
			net_leave(&net->nodes[k]);
		else
			net_kill(&net->nodes[k]);
		if (k % 3 == 0)
			net_start(net_add(net, RELAY), &boot, 1);
		net_run(net, net_s(net) + 2);
	}
	took = net_run_until(net, tombstones_reached_all, 300);
	print_message("# orderly leavers unknown everywhere after %.1f s\n", took);
	assert_true(took < 120);
	took = net_run_until(net, net_full_view, 300);
	print_message("# full view of those who stay and came: %.1f s more\n", took);
	assert_true(took < 120);
	/* Those that died silently: out after a day at the latest, at every node, and at its
	 * router. */
	net_run(net, net_s(net) + DESCRIPTOR_LIFE_MAX_S + 600);
	assert_true(net_full_view(net));
	for (unsigned int k = 0; k < net->n_nodes; k++)
		if (!net->nodes[k].up)
			assert_int_equal(net_knowing(net, &net->nodes[k]), 0);
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		const struct node *n = &net->nodes[i];

		if (n->up)
			assert_int_equal(n->n_router,
				n->d->dir.relays.n_state[RELAY_PROVEN] - (n->kind == RELAY));
	}
	print_message("# %llu events\n", (unsigned long long)net->n_events);
	net_free(net);
}

static bool first_known_by_none(const struct net *net)
{
	return net_knowing(net, &net->nodes[5]) == 0;
}

/* A relay stops sharing, comes back with a lost number file and a clock behind, and is taken again.
 */
static void a_sequence_number_recovers(void **state)
{
	struct net *net = network(4, 0, 20, 2, 5);
	struct node *n = &net->nodes[5];
	const struct node *boot = &net->nodes[1];

	(void)state;
	net_run(net, 120);
	settings_say(n, false);
	node_after(n);
	assert_true(net_run_until(net, first_known_by_none, 180) < 180);
	net_kill(n);
	n->stored_seq = 0;
	n->skew_s = -250;
	net_start(n, &boot, 1);
	assert_true(net_run_until(net, net_full_view, 120) < 120);
	for (unsigned int i = 0; i < net->n_nodes; i++)
		assert_int_equal(net->nodes[i].d->dir.counters.equivocations, 0);
	net_free(net);
}

/* Two networks that know nothing of each other grow together through one bootstrap entry. */
static void halves_grow_together(void **state)
{
	struct net *net = network(5, 10000, 20, 2, 5);
	const struct node *boot = NULL;
	double took;

	(void)state;
	for (unsigned int i = 0; i < 20; i++) {
		struct node *n = net_add(net, RELAY);
		const struct node *boots[2] = {boot, &net->nodes[3]};

		net_start(n, i == 19 ? boots : &boot, boot == NULL ? 0 : i == 19 ? 2 : 1);
		if (boot == NULL)
			boot = n;
	}
	took = net_run_until(net, net_full_view, 1800);
	print_message("# two networks are one after %.1f s\n", took);
	assert_true(took < 1500);
	net_free(net);
}

static void router_back_pressure(void **state)
{
	struct net *net = network(6, 0, 30, 1, 5);
	struct node *n = &net->nodes[30];

	(void)state;
	net_run(net, 120);
	assert_int_equal(n->n_router, 30);
	/* A fresh router whose queue is full for a while: the snapshot pauses and goes on. */
	n->n_router = 0;
	n->router_complete = false;
	n->router_refuses = 0;
	discovery_on_router_link(n->d, net_moment(n));
	n->router_refuses = 20;
	node_after(n);
	assert_false(n->router_complete);
	net_run(net, net_s(net) + 5);
	assert_int_equal(n->n_router, 30);
	assert_true(n->router_complete);
	net_free(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_holds_the_full_view),
		cmocka_unit_test(a_newcomer_is_known_within_seconds),
		cmocka_unit_test(leavers_are_forgotten),
		cmocka_unit_test(a_sequence_number_recovers),
		cmocka_unit_test(halves_grow_together),
		cmocka_unit_test(router_back_pressure),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
