/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/harness/router_world.h"

static void learns_finds_and_places(void **state)
{
	struct world *w = world_new(1, 4);
	struct peer *p;

	(void)state;
	relays_spread(w, 40, 10);
	relays_learn(w);
	assert_int_equal(w->r->peers.n_listed, 40);
	for (unsigned int i = 0; i < 40; i++) {
		p = relay_peer(w, i);
		assert_non_null(p);
		assert_int_equal(p->asn, 1000 + i % 10);
		assert_int_equal(p->country[1], 'A' + (int)(i % 10 % 4));
	}
	world_free(w);
}

/* The descriptor claims no country here; a claim that differs from the geography is what counts. */
static void a_false_claim_is_ignored_and_counted_once(void **state)
{
	struct world *w = world_new(1, 4);
	struct relay *relay =
		relay_add(w, (struct relay){.as = 1, .host = 1, .roles = DESCRIPTOR_RELAY});
	struct descriptor d;

	(void)state;
	assert_int_equal(descriptor_decode(relay->bytes, DESCRIPTOR_SIZE, &d), OK);
	memcpy(d.country, "SE", 3);
	d.seq = 2;
	assert_int_equal(descriptor_sign(&d, relay->sk, relay->bytes), OK);
	relay_learn(w, 0);
	relay_learn(w, 0);
	assert_string_equal(relay_peer(w, 0)->country, "CB");
	assert_true(relay_peer(w, 0)->claim_ignored);
	assert_int_equal(w->r->peers.count.claims_ignored, 1);
	memcpy(d.country, "CB", 3);
	d.seq = 3;
	assert_int_equal(descriptor_sign(&d, relay->sk, relay->bytes), OK);
	relay_learn(w, 0);
	assert_false(relay_peer(w, 0)->claim_ignored);
	world_free(w);
}

static void a_snapshot_unlists_what_it_does_not_name(void **state)
{
	struct world *w = world_new(1, 4);

	(void)state;
	relays_spread(w, 20, 10);
	relays_learn(w);
	peers_snapshot_begin(&w->r->peers);
	for (unsigned int i = 0; i < 18; i++)
		relay_learn(w, i);
	peers_snapshot_end(&w->r->peers, 18);
	assert_int_equal(w->r->peers.n_listed, 18);
	assert_false(relay_peer(w, 19)->listed);
	world_free(w);
}

static void a_snapshot_cut_short_unlists_nothing(void **state)
{
	struct world *w = world_new(1, 4);

	(void)state;
	relays_spread(w, 20, 10);
	relays_learn(w);
	peers_snapshot_begin(&w->r->peers);
	relay_learn(w, 3);
	peers_snapshot_end(&w->r->peers, 20);
	assert_int_equal(w->r->peers.n_listed, 20);
	assert_int_equal(w->r->peers.count.snapshots_short, 1);
	world_free(w);
}

static void older_expired_and_broken_descriptors_are_refused(void **state)
{
	struct world *w = world_new(1, 4);
	struct relay *relay =
		relay_add(w, (struct relay){.as = 1, .host = 1, .roles = DESCRIPTOR_RELAY});
	uint8_t first[DESCRIPTOR_SIZE];
	struct when late = w->now;

	(void)state;
	memcpy(first, relay->bytes, sizeof(first));
	relay_sign(w, relay);
	relay_learn(w, 0);
	assert_int_equal(peers_learn(&w->r->peers, first, sizeof(first), w->now), ERR_STALE);
	late.wall.s += DESCRIPTOR_LIFE_MAX_S;
	assert_int_equal(peers_learn(&w->r->peers, relay->bytes, DESCRIPTOR_SIZE, late), ERR_STALE);
	assert_int_equal(peers_learn(&w->r->peers, relay->bytes, DESCRIPTOR_SIZE - 1, w->now),
		ERR_MALFORMED);
	assert_int_equal(w->r->peers.count.refused_bad, 3);
	assert_int_equal(w->r->peers.n_listed, 1);
	world_free(w);
}

static void it_is_listed_until_the_second_it_expires(void **state)
{
	struct world *w = world_new(1, 4);
	struct when at = w->now;

	(void)state;
	relays_spread(w, 1, 1);
	relays_learn(w);
	at.wall.s += DESCRIPTOR_LIFE_MAX_S - 1;
	peers_expire(&w->r->peers, at);
	assert_true(peer_listed(relay_peer(w, 0), at));
	at.wall.s++;
	assert_false(peer_listed(relay_peer(w, 0), at));
	peers_expire(&w->r->peers, at);
	assert_int_equal(w->r->peers.n_listed, 0);
	world_free(w);
}

static void a_relay_that_comes_back_keeps_its_reputation(void **state)
{
	struct world *w = world_new(1, 4);

	(void)state;
	relays_spread(w, 4, 4);
	relays_learn(w);
	rep_bad(&relay_peer(w, 2)->rep, w->now.mono, 5);
	peers_gone(&w->r->peers, w->relays[2].node_id);
	assert_int_equal(w->r->peers.n_listed, 3);
	relay_learn(w, 2);
	assert_true((double)relay_peer(w, 2)->rep.bad > 4.9);
	world_free(w);
}

/* A table of 16 in front of 40 relays. */
static void a_full_table_forgets_the_unlisted_and_refuses_beyond(void **state)
{
	static struct peer all[16];
	static uint32_t index[16 * PEERS_INDEX_FACTOR];
	static const uint8_t key[16] = {9};
	struct world *w = world_new(1, 4);
	struct peers t;

	(void)state;
	relays_spread(w, 40, 10);
	peers_init(&t, all, index, 16, key, &w->geo, false);
	for (unsigned int i = 0; i < 16; i++)
		assert_int_equal(peers_learn(&t, w->relays[i].bytes, DESCRIPTOR_SIZE, w->now), OK);
	assert_int_equal(peers_learn(&t, w->relays[16].bytes, DESCRIPTOR_SIZE, w->now), ERR_FULL);
	assert_int_equal(t.count.refused_full, 1);
	peers_gone(&t, w->relays[5].node_id);
	assert_int_equal(peers_learn(&t, w->relays[16].bytes, DESCRIPTOR_SIZE, w->now), OK);
	assert_null(peers_find(&t, w->relays[5].node_id));
	assert_int_equal(t.count.evicted, 1);
	/* Churn: whatever leaves makes room, and the index stays right. */
	for (unsigned int i = 17; i < 40; i++) {
		uint8_t out[NODE_ID_SIZE];

		memcpy(out, all[i % 16].node_id, sizeof(out));
		peers_gone(&t, out);
		assert_int_equal(peers_learn(&t, w->relays[i].bytes, DESCRIPTOR_SIZE, w->now), OK);
		for (unsigned int k = 0; k < 16; k++)
			assert_ptr_equal(peers_find(&t, all[k].node_id), &all[k]);
	}
	assert_int_equal(t.n_listed, 16);
	world_free(w);
}

static void failures_in_a_row_are_avoided_for_longer(void **state)
{
	struct world *w = world_new(1, 4);
	struct peer *p;
	uint64_t want_s = 60;

	(void)state;
	relays_spread(w, 1, 1);
	relays_learn(w);
	p = relay_peer(w, 0);
	for (int i = 0; i < 9; i++) {
		peer_failed(&w->r->peers, p, w->now.mono, 1);
		assert_int_equal(mono_since(w->now.mono, p->avoid_until).ns / 1000000000u, want_s);
		want_s = want_s < 60u << PEER_AVOID_DOUBLINGS ? want_s * 2 : want_s;
	}
	peer_worked(&w->r->peers, p, w->now.mono, 1);
	assert_false(peer_avoided(p, w->now.mono));
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(learns_finds_and_places),
		cmocka_unit_test(a_false_claim_is_ignored_and_counted_once),
		cmocka_unit_test(a_snapshot_unlists_what_it_does_not_name),
		cmocka_unit_test(a_snapshot_cut_short_unlists_nothing),
		cmocka_unit_test(older_expired_and_broken_descriptors_are_refused),
		cmocka_unit_test(it_is_listed_until_the_second_it_expires),
		cmocka_unit_test(a_relay_that_comes_back_keeps_its_reputation),
		cmocka_unit_test(a_full_table_forgets_the_unlisted_and_refuses_beyond),
		cmocka_unit_test(failures_in_a_row_are_avoided_for_longer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
