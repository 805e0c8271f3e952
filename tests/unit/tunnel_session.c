/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/harness/tunnel_pair.h"

static const uint8_t psk[32] = {42};

/* --- handshake ------------------------------------------------------------------------------- */
static void first_packet_brings_up_both(void **state)
{
	struct pair *p = pair_new(psk);

	(void)state;
	host_send(&p->a);
	assert_int_equal(p->a.waiting, 1);
	assert_int_equal(p->a.n_out, 1);
	assert_int_equal(deliver(&p->a), OK); /* type 1 */
	assert_non_null(p->b.s.next);
	assert_false(session_can_seal(&p->b.s, &p->b.conf, p->now)); /* not confirmed yet */
	assert_int_equal(deliver(&p->b), OK);			     /* type 2 */
	assert_int_equal(fx_count(&p->a, SESSION_ESTABLISHED), 1);
	assert_int_equal(fx_count(&p->a, SESSION_SEND_KEEPALIVE), 0); /* the payload confirms */
	assert_int_equal(p->a.n_out, 1);
	assert_int_equal(deliver(&p->a), OK);
	assert_int_equal(p->b.n_got, 1);
	assert_int_equal(fx_count(&p->b, SESSION_ESTABLISHED), 1);
	assert_true(session_can_seal(&p->b.s, &p->b.conf, p->now));
	host_send(&p->b);
	assert_int_equal(deliver(&p->b), OK);
	assert_int_equal(p->a.rx_newest, 1);
	pair_free(p);
}

static void keepalive_confirms_when_nothing_waits(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	connect_pair(p);
	assert_int_equal(fx_count(&p->a, SESSION_SEND_KEEPALIVE), 1);
	assert_int_equal(p->b.n_opened, 1);
	assert_int_equal(p->b.n_got, 0);
	pair_free(p);
}

static void both_initiate_at_once(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	host_send(&p->a);
	host_send(&p->b);
	assert_int_equal(p->a.n_out, 1);
	assert_int_equal(p->b.n_out, 1);
	deliver_all(p);
	assert_int_equal(p->a.n_got, 1);
	assert_int_equal(p->b.n_got, 1);
	for (int i = 0; i < 3; i++) {
		host_send(&p->a);
		host_send(&p->b);
		deliver_all(p);
	}
	assert_int_equal(p->a.n_got, 4);
	assert_int_equal(p->b.n_got, 4);
	pass(p, DUR_S(600), true);
	pair_free(p);
}

static void initiation_is_sent_again_then_given_up(void **state)
{
	struct pair *p = pair_new(NULL);
	mono_t began = p->now, last = began;
	uint32_t n = 1;

	(void)state;
	host_send(&p->a);
	while (fx_count(&p->a, SESSION_GAVE_UP) == 0) {
		mono_t next = host_deadline(&p->a);

		p->a.n_out = 0;
		clock_set(p, next);
		tick(p);
		assert_in_range(mono_since(last, p->now).ns, 5000000000, 5333000000);
		last = p->now;
		n += fx_count(&p->a, SESSION_GAVE_UP) == 0;
		assert_int_equal(fx_count(&p->a, SESSION_SEND_INITIATION), n);
	}
	assert_in_range(mono_since(began, p->now).ns, 90000000000, 90000000000 + 5333000000);
	assert_int_equal(p->a.waiting, 0);
	assert_int_equal(host_deadline(&p->a).ns, MONO_NEVER.ns);
	assert_int_equal(host_indices(&p->a), 0);
	assert_false(p->a.s.initiator.waiting);
	pass(p, DUR_S(1000), false);
	assert_int_equal(fx_count(&p->a, SESSION_SEND_INITIATION), n);
	host_send(&p->a); /* a new packet begins anew */
	assert_int_equal(fx_count(&p->a, SESSION_SEND_INITIATION), n + 1);
	pair_free(p);
}

static void new_demand_prolongs_the_attempt(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	for (int i = 0; i < 20; i++) {
		host_send(&p->a);
		pass(p, DUR_S(60), false);
	}
	assert_int_equal(fx_count(&p->a, SESSION_GAVE_UP), 0);
	pass(p, DUR_S(100), false);
	assert_int_equal(fx_count(&p->a, SESSION_GAVE_UP), 1);
	pair_free(p);
}

static void demand_does_not_flood(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	for (int i = 0; i < 10000; i++) {
		host_send(&p->a);
		pass(p, DUR_MS(1), false);
	}
	assert_in_range(fx_count(&p->a, SESSION_SEND_INITIATION), 2, 3); /* 10 s */
	pair_free(p);
}

/* Asked again right after keys were lost, within REKEY_TIMEOUT of the last initiation. */
static void demand_within_rekey_timeout_is_served_later(void **state)
{
	struct pair *p = pair_new(NULL);
	uint8_t msg[WG_INITIATION_SIZE];

	(void)state;
	p->a.conf.reject_after = p->b.conf.reject_after = DUR_S(2); /* keys die young */
	connect_pair(p);
	pass(p, DUR_S(3), true);
	host_send(&p->a);
	assert_int_equal(session_initiation_create(&p->a.s, &p->a.env, p->now, p->wall_ns, msg),
		ERR_UNAVAILABLE);
	assert_int_equal(p->a.s.stats.initiations_sent, 1);
	pass(p, DUR_S(3), true);
	assert_int_equal(p->a.s.stats.initiations_sent, 2);
	assert_int_equal(p->b.n_got, 1);
	pair_free(p);
}

static void initiating_anew_waits_for_nothing(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	p->b.conf.initiation_gap = (dur_t){0};
	connect_pair(p);
	for (uint32_t i = 2; i < 6; i++) { /* at one instant: labels grow all the same */
		session_initiate(&p->a.s, &p->a.env, p->now);
		assert_int_equal(p->a.s.stats.initiations_sent, i - 1);
		session_initiate_anew(&p->a.s, &p->a.env, p->now);
		assert_int_equal(p->a.s.stats.initiations_sent, i);
		deliver_all(p);
		assert_int_equal(p->b.s.stats.handshakes, i);
	}
	pair_free(p);
}

static void replayed_initiation_changes_nothing(void **state)
{
	struct pair *p = pair_new(NULL);
	struct packet first;

	(void)state;
	session_initiate(&p->a.s, &p->a.env, p->now);
	first = p->a.out[0];
	deliver_all(p);
	pass(p, DUR_S(1), true);
	assert_int_equal(host_receive(&p->b, first.bytes, first.len), ERR_STALE);
	assert_null(p->b.s.next);
	assert_int_equal(p->b.n_out, 0);
	pair_free(p);
}

static void initiations_have_a_least_distance(void **state)
{
	struct pair *p = pair_new(NULL);
	struct noise_initiator in = {0};
	struct cookie_jar jar = {0};

	(void)state;
	for (int i = 0; i < 3; i++) { /* a peer that does not keep to REKEY_TIMEOUT */
		uint8_t stamp[TAI64N_SIZE];
		struct wg_initiation msg;

		tai64n_put(stamp, p->wall_ns + (uint64_t)i * 1000000000u);
		assert_int_equal(noise_initiation_create(
					 &in, &p->a.id, &p->a.s.remote, 1, stamp, &p->a.rng, &msg),
			OK);
		cookie_macs_put(&jar, &p->a.s.remote, (uint8_t *)&msg, sizeof(msg), p->now);
		assert_int_equal(
			host_receive(&p->b, (uint8_t *)&msg, sizeof(msg)), i == 1 ? ERR_FULL : OK);
		clock_set(p, mono_add(p->now, i == 0 ? DUR_MS(19) : DUR_MS(1)));
	}
	pair_free(p);
}

static void labels_grow_though_the_clock_steps_back(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	for (int i = 0; i < 5; i++) {
		p->wall_ns -= 3600 * (uint64_t)1000000000;
		session_initiate(&p->a.s, &p->a.env, p->now);
		assert_int_equal(p->a.n_out, 1);
		assert_int_equal(deliver(&p->a), OK);
		assert_int_equal(deliver(&p->b), OK);
		p->a.n_out = p->b.n_out = 0;
		clock_set(p, mono_add(p->now, DUR_S(6)));
	}
	pair_free(p);
}

static void wrong_psk_never_comes_up(void **state)
{
	struct pair *p = pair_new(psk);

	(void)state;
	session_psk_set(&p->b.s, NULL);
	host_send(&p->a);
	pass(p, DUR_S(30), true);
	assert_int_equal(fx_count(&p->a, SESSION_ESTABLISHED), 0);
	assert_int_equal(fx_count(&p->b, SESSION_ESTABLISHED), 0);
	session_psk_set(&p->b.s, psk);
	pass(p, DUR_S(10), true);
	assert_int_equal(p->b.n_got, 1);
	pair_free(p);
}

static void identity_change_drops_keys(void **state)
{
	struct pair *p = pair_new(psk);
	struct noise_identity fresh;

	(void)state;
	connect_pair(p);
	noise_identity_fresh(&fresh, &p->a.rng);
	p->a.id = fresh;
	assert_int_equal(session_identity_set(&p->a.s, &p->a.env, &p->a.id), OK);
	assert_false(session_can_seal(&p->a.s, &p->a.conf, p->now));
	session_done(&p->b.s, &p->b.env);
	assert_int_equal(session_init(&p->b.s, &p->b.id, p->a.id.static_pk, psk), OK);
	host_send(&p->a);
	deliver_all(p);
	assert_int_equal(p->b.n_got, 1);
	pair_free(p);
}

static void cookie_makes_the_next_initiation_carry_mac2(void **state)
{
	static const struct net_endpoint from = {{NET_IP4, {192, 0, 2, 1}}, 1};
	struct pair *p = pair_new(NULL);
	struct cookie_checker c;
	struct wg_cookie reply;
	struct packet m;

	(void)state;
	cookie_checker_init(&c, &p->b.id);
	host_send(&p->a);
	m = wire_take(&p->a, 0);
	assert_int_equal(cookie_check(&c, m.bytes, m.len, &from, true, p->now), COOKIE_MAC1);
	cookie_reply_create(&c, m.bytes, m.len, &from, &p->b.rng, p->now, &reply);
	assert_int_equal(host_receive(&p->a, (uint8_t *)&reply, sizeof(reply)), OK);
	assert_int_equal(p->a.n_out, 0); /* waits for its timer */
	pass(p, DUR_S(5), true);
	while (p->a.s.stats.initiations_sent < 2) {
		clock_set(p, host_deadline(&p->a));
		tick(p);
	}
	m = wire_take(&p->a, 0);
	assert_int_equal(cookie_check(&c, m.bytes, m.len, &from, true, p->now), COOKIE_MAC2);
	pair_free(p);
}

/* --- keys and their age ---------------------------------------------------------------------- */
static void only_the_initiator_renews_by_time(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	connect_pair(p);
	for (int s = 0; s < 119; s++) {
		host_send(&p->a);
		host_send(&p->b);
		deliver_all(p);
		pass(p, DUR_S(1), true);
	}
	assert_int_equal(p->a.s.stats.handshakes, 1);
	pass(p, DUR_S(1), true);
	host_send(&p->b);
	deliver_all(p);
	assert_int_equal(fx_count(&p->b, SESSION_SEND_INITIATION), 0);
	assert_int_equal(p->a.s.stats.handshakes, 1);
	host_send(&p->a);
	deliver_all(p);
	assert_int_equal(p->a.s.stats.handshakes, 2);
	assert_int_equal(p->b.s.stats.handshakes, 2);
	assert_int_equal(fx_count(&p->b, SESSION_SEND_INITIATION), 0);
	pair_free(p);
}

static void initiator_that_only_receives_renews_late(void **state)
{
	struct pair *p = pair_new(NULL);
	uint32_t n;

	(void)state;
	p->a.conf.keepalive_timeout = DUR_S(60); /* else its keepalives are what renews */
	p->b.conf.keepalive_timeout = DUR_S(60);
	connect_pair(p);
	clock_set(p, mono_add(p->a.s.current->born, DUR_MS(114999)));
	host_send(&p->b);
	deliver_all(p);
	assert_int_equal(p->a.s.stats.initiations_sent, 1);
	clock_set(p, mono_add(p->a.s.current->born, DUR_S(115)));
	host_send(&p->b);
	assert_int_equal(deliver(&p->b), OK);
	assert_int_equal(p->a.s.stats.initiations_sent, 2);
	p->a.n_out = 0; /* lost; further packets do not ask again, the timer does */
	clock_set(p, mono_add(p->now, DUR_S(5)));
	n = fx_count(&p->a, SESSION_SEND_INITIATION);
	host_send(&p->b);
	assert_int_equal(deliver(&p->b), OK);
	assert_int_equal(fx_count(&p->a, SESSION_SEND_INITIATION), n);
	pair_free(p);
}

static void nothing_is_sealed_or_opened_after_reject_time(void **state)
{
	struct pair *p = pair_new(NULL);
	mono_t born;

	(void)state;
	connect_pair(p);
	born = p->a.s.current->born;
	clock_set(p, mono_add(born, DUR_MS(179999)));
	assert_int_equal(host_seal(&p->b, 16), OK);
	assert_int_equal(host_seal(&p->b, 16), OK);
	assert_int_equal(deliver(&p->b), OK);
	clock_set(p, mono_add(born, DUR_S(180)));
	assert_int_equal(deliver(&p->b), ERR_DENIED);
	assert_int_equal(host_seal(&p->a, 16), ERR_UNAVAILABLE);
	assert_int_equal(host_seal(&p->b, 16), ERR_UNAVAILABLE);
	assert_true(fx_count(&p->a, SESSION_SEND_INITIATION) == 2);
	pair_free(p);
}

static bool pool_is_clean(const struct host *h)
{
	static const uint8_t zero[sizeof(struct aead_key)];

	for (int i = 0; i < SESSION_KEYPAIRS; i++)
		if (memcmp(&h->keys[i].send_key, zero, sizeof(zero)) != 0 ||
			memcmp(&h->keys[i].receive_key, zero, sizeof(zero)) != 0)
			return false;
	return true;
}

static void idle_session_expires_and_is_wiped(void **state)
{
	struct pair *p = pair_new(psk);

	(void)state;
	connect_pair(p);
	assert_false(pool_is_clean(&p->a));
	pass(p, DUR_MS(179999), true);
	assert_int_equal(fx_count(&p->a, SESSION_EXPIRED), 0);
	pass(p, DUR_MS(1), true);
	assert_int_equal(fx_count(&p->a, SESSION_EXPIRED), 1);
	assert_int_equal(fx_count(&p->b, SESSION_EXPIRED), 1);
	assert_true(pool_is_clean(&p->a) && pool_is_clean(&p->b));
	assert_int_equal(host_indices(&p->a), 0);
	assert_int_equal(host_deadline(&p->a).ns, MONO_NEVER.ns);
	pass(p, DUR_S(1000), true);
	assert_int_equal(fx_count(&p->a, SESSION_EXPIRED), 1);
	host_send(&p->b); /* and comes back from the other side */
	deliver_all(p);
	assert_int_equal(p->a.n_got, 1);
	pair_free(p);
}

static void expiry_of_an_older_pair_is_not_the_end(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	connect_pair(p);
	pass(p, DUR_S(120), true);
	host_send(&p->a);
	deliver_all(p);
	assert_non_null(p->a.s.previous);
	pass(p, DUR_S(60), true);
	assert_null(p->a.s.previous);
	assert_non_null(p->a.s.current);
	assert_int_equal(fx_count(&p->a, SESSION_EXPIRED), 0);
	pair_free(p);
}

static void packets_under_way_survive_the_rekey(void **state)
{
	struct pair *p = pair_new(NULL);
	struct packet late;

	(void)state;
	connect_pair(p);
	host_send(&p->a);
	late = wire_take(&p->a, 0);
	clock_set(p, mono_add(p->now, DUR_S(120)));
	host_send(&p->a);
	deliver_all(p);
	assert_int_equal(p->b.s.stats.handshakes, 2);
	assert_int_equal(host_receive(&p->b, late.bytes, late.len), OK);
	assert_int_equal(p->b.n_got, 2);
	pair_free(p);
}

static void message_limits(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	p->a.conf.rekey_after_messages = 10;
	p->b.conf.reject_after_messages = p->a.conf.reject_after_messages = 20;
	connect_pair(p); /* the keepalive was number 0 */
	clock_set(p, mono_add(p->now, DUR_S(6)));
	for (int i = 1; i < 9; i++)
		assert_int_equal(host_seal(&p->a, 16), OK);
	assert_int_equal(p->a.s.stats.initiations_sent, 1);
	assert_int_equal(host_seal(&p->a, 16), OK);
	assert_int_equal(p->a.s.stats.initiations_sent, 2);
	for (int i = 10; i < 20; i++)
		assert_int_equal(host_seal(&p->a, 16), OK);
	assert_int_equal(host_seal(&p->a, 16), ERR_UNAVAILABLE);
	p->a.conf.reject_after_messages = 100; /* one that does not keep to the limit */
	p->a.n_out = 0;
	assert_int_equal(host_seal(&p->a, 16), OK);
	assert_int_equal(deliver(&p->a), ERR_DENIED);
	pair_free(p);
}

static void a_range_of_counters_never_overlaps(void **state)
{
	struct pair *p = pair_new(NULL);
	struct session_seal one, two;

	(void)state;
	connect_pair(p);
	assert_int_equal(session_seal_begin(&p->a.s, &p->a.env, p->now, 45, &one), OK);
	assert_int_equal(session_seal_begin(&p->a.s, &p->a.env, p->now, 1, &two), OK);
	assert_int_equal(two.counter, one.counter + 45);
	p->a.s.current->send_counter = p->a.conf.reject_after_messages - 3;
	assert_int_equal(session_seal_begin(&p->a.s, &p->a.env, p->now, 4, &one), ERR_UNAVAILABLE);
	assert_int_equal(session_seal_begin(&p->a.s, &p->a.env, p->now, 3, &one), OK);
	pair_free(p);
}

/* --- timers ---------------------------------------------------------------------------------- */
static void passive_keepalive_after_ten_seconds(void **state)
{
	struct pair *p = pair_new(NULL);
	mono_t got;

	(void)state;
	connect_pair(p);
	clock_set(p, mono_add(p->now, DUR_S(1)));
	host_send(&p->a);
	deliver_all(p);
	got = p->now;
	pass(p, DUR_S(5), true);
	host_send(&p->a); /* more data: not later for it */
	deliver_all(p);
	pass(p, DUR_S(30), true);
	assert_int_equal(fx_count(&p->b, SESSION_SEND_KEEPALIVE), 1);
	assert_int_equal(
		mono_since(got, p->b.fx_at[fx_bit(SESSION_SEND_KEEPALIVE)]).ns, DUR_S(10).ns);
	assert_int_equal(
		fx_count(&p->a, SESSION_SEND_KEEPALIVE), 1); /* only the one of the handshake */
	pair_free(p);
}

static void no_keepalive_when_data_answers(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	connect_pair(p);
	host_send(&p->a);
	deliver_all(p);
	pass(p, DUR_S(9), true);
	host_send(&p->b);
	p->b.n_out = 0; /* whether it arrives does not matter */
	pass(p, DUR_S(9), true);
	assert_int_equal(fx_count(&p->b, SESSION_SEND_KEEPALIVE), 0);
	pair_free(p);
}

static void silence_after_sending_makes_a_new_handshake(void **state)
{
	struct pair *p = pair_new(NULL);
	mono_t sent;

	(void)state;
	connect_pair(p);
	pass(p, DUR_S(20), true);
	host_send(&p->a);
	sent = p->now;
	p->a.n_out = 0;
	pass(p, DUR_S(10), false);
	host_send(&p->a); /* sending more does not put it off */
	pass(p, DUR_MS(5334), false);
	assert_int_equal(fx_count(&p->a, SESSION_SEND_INITIATION), 2);
	assert_in_range(mono_since(sent, p->a.fx_at[fx_bit(SESSION_SEND_INITIATION)]).ns,
		DUR_S(15).ns, DUR_MS(15333).ns);
	pair_free(p);
}

static void persistent_keepalive(void **state)
{
	struct pair *p = pair_new(NULL);
	uint32_t before;

	(void)state;
	session_persistent_set(
		&p->a.s, &p->a.env, p->now, DUR_S(25)); /* brings the session up too */
	deliver_all(p);
	assert_int_equal(p->b.n_opened, 1);
	before = p->b.n_opened;
	pass(p, DUR_S(100), true);
	assert_int_equal(p->b.n_opened - before, 4);
	pass(p, DUR_S(3600), true);
	assert_true(session_can_seal(&p->a.s, &p->a.conf, p->now)); /* kept alive for an hour */
	assert_in_range(p->a.s.stats.handshakes, 24, 32);
	session_persistent_set(&p->a.s, &p->a.env, p->now, DUR_S(0));
	before = p->b.n_opened;
	pass(p, DUR_S(100), true);
	assert_int_equal(p->b.n_opened, before);
	pair_free(p);
}

static void tick_before_the_deadline_does_nothing(void **state)
{
	struct pair *p = pair_new(NULL);

	(void)state;
	connect_pair(p);
	host_send(&p->a);
	deliver_all(p);
	p->a.fx_new = p->b.fx_new = 0;
	clock_set(p, (mono_t){host_deadline(&p->b).ns - 1});
	session_tick(&p->b.s, &p->b.env, p->now);
	assert_int_equal(p->b.fx_new, 0);
	clock_set(p, host_deadline(&p->b));
	session_tick(&p->b.s, &p->b.env, p->now);
	assert_int_equal(p->b.fx_new, SESSION_SEND_KEEPALIVE);
	pair_free(p);
}

/* --- hostile and hungry ---------------------------------------------------------------------- */
static void replays_and_forgeries_are_counted(void **state)
{
	struct pair *p = pair_new(NULL);
	struct packet m, copy;

	(void)state;
	connect_pair(p);
	host_send(&p->a);
	m = copy = wire_take(&p->a, 0);
	copy.bytes[20] ^= 1;
	assert_int_equal(host_receive(&p->b, copy.bytes, copy.len), ERR_DENIED);
	assert_int_equal(p->b.s.stats.dropped_auth, 1);
	copy = m;
	assert_int_equal(host_receive(&p->b, copy.bytes, copy.len), OK);
	copy = m;
	assert_int_equal(host_receive(&p->b, copy.bytes, copy.len), ERR_DENIED);
	assert_int_equal(p->b.s.stats.dropped_replay, 1);
	copy = m;
	le64_put(copy.bytes + 8, UINT64_MAX); /* must not move the window */
	assert_int_equal(host_receive(&p->b, copy.bytes, copy.len), ERR_DENIED);
	le32_put(copy.bytes + 4, 0x12345678); /* nobody's index */
	assert_int_equal(host_receive(&p->b, copy.bytes, copy.len), ERR_DENIED);
	host_send(&p->a);
	assert_int_equal(deliver(&p->a), OK);
	assert_int_equal(p->b.s.stats.rx_packets, 3);
	assert_int_equal(p->b.s.stats.rx_payload, 2 * PAYLOAD);
	pair_free(p);
}

/* 150 messages: more than one AEAD batch, with replays, forgeries and a keepalive among them. */
static void a_batch_is_judged_packet_by_packet(void **state)
{
	static uint8_t buf[150][WG_OVERHEAD + 16];
	struct aead_op ops[150], again[3];
	struct pair *p = pair_new(NULL);
	uint32_t index;

	(void)state;
	connect_pair(p);
	index = p->a.s.current->remote_index;
	for (int i = 0; i < 150; i++)
		ops[i] = (struct aead_op){
			.buf = buf[i] + WG_TRANSPORT_HEAD, .len = i == 100 ? 0 : 16};
	assert_int_equal(session_seal_batch(&p->a.s, &p->a.env, &p->aead, p->now, ops, 150), OK);
	memcpy(buf[80], buf[7], sizeof(buf[80])); /* a duplicate in another part */
	ops[80].counter = ops[7].counter;
	memcpy(buf[9], buf[8], sizeof(buf[9])); /* a duplicate in the same part */
	ops[9].counter = ops[8].counter;
	buf[120][20] ^= 1;
	memcpy(again, ops, sizeof(again));
	p->b.fx_new = 0;
	assert_int_equal(
		session_open_batch(&p->b.s, &p->b.env, &p->aead, p->now, index, ops, 150), 147);
	for (int i = 0; i < 150; i++)
		assert_int_equal(ops[i].ok, i != 80 && i != 9 && i != 120);
	assert_int_equal(p->b.s.stats.dropped_auth, 1);
	assert_int_equal(p->b.s.stats.dropped_replay, 2);
	assert_int_equal(p->b.s.stats.rx_payload, 146 * 16);
	assert_int_equal(
		session_open_batch(&p->b.s, &p->b.env, &p->aead, p->now, index + 2, ops, 150), 0);
	for (int i = 0; i < 150; i++)
		assert_false(ops[i].ok);
	pair_free(p);
}

static void hunger_for_indices_and_key_pairs_is_survived(void **state)
{
	struct pair *p = pair_new(NULL);
	struct keypair *taken;

	(void)state;
	p->a.no_index = true;
	host_send(&p->a);
	assert_int_equal(p->a.last_err, ERR_FULL);
	assert_int_equal(p->a.n_out, 0);
	p->a.no_index = false;
	p->b.no_index = true;
	pass(p, DUR_S(6), false);
	host_send(&p->a);
	pass(p, DUR_S(6), true);
	assert_int_equal(p->b.s.last_handshake.ns, 0);
	p->b.no_index = false;
	taken = p->b.pool.free;
	p->b.pool.free = NULL;
	p->b.pool.n_free = 0;
	pass(p, DUR_S(6), true);
	assert_int_equal(p->b.s.last_handshake.ns, 0);
	assert_int_equal(host_indices(&p->b), 0);
	p->b.pool.free = taken;
	p->b.pool.n_free = SESSION_KEYPAIRS;
	pass(p, DUR_S(6), true);
	assert_int_equal(p->b.n_got, 2);
	pair_free(p);
}

static void late_response_after_the_pool_dried_up(void **state)
{
	struct pair *p = pair_new(NULL);
	struct keypair *taken = p->a.pool.free;
	struct packet m;

	(void)state;
	session_initiate(&p->a.s, &p->a.env, p->now);
	deliver(&p->a);
	m = wire_take(&p->b, 0);
	p->a.pool.free = NULL;
	p->a.pool.n_free = 0;
	assert_int_equal(host_receive(&p->a, m.bytes, m.len), ERR_FULL);
	p->a.pool.free = taken;
	p->a.pool.n_free = SESSION_KEYPAIRS;
	assert_int_equal(host_receive(&p->a, m.bytes, m.len), OK); /* it was not used up */
	assert_int_equal(host_receive(&p->a, m.bytes, m.len), ERR_NOT_FOUND);
	pair_free(p);
}

static void sizes_are_as_promised(void **state)
{
	(void)state;
	assert_true(sizeof(struct session) < 1024);
	assert_true(sizeof(struct session) + SESSION_KEYPAIRS * sizeof(struct keypair) < 5 * 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_packet_brings_up_both),
		cmocka_unit_test(keepalive_confirms_when_nothing_waits),
		cmocka_unit_test(both_initiate_at_once),
		cmocka_unit_test(initiation_is_sent_again_then_given_up),
		cmocka_unit_test(new_demand_prolongs_the_attempt),
		cmocka_unit_test(demand_does_not_flood),
		cmocka_unit_test(demand_within_rekey_timeout_is_served_later),
		cmocka_unit_test(initiating_anew_waits_for_nothing),
		cmocka_unit_test(replayed_initiation_changes_nothing),
		cmocka_unit_test(initiations_have_a_least_distance),
		cmocka_unit_test(labels_grow_though_the_clock_steps_back),
		cmocka_unit_test(wrong_psk_never_comes_up),
		cmocka_unit_test(identity_change_drops_keys),
		cmocka_unit_test(cookie_makes_the_next_initiation_carry_mac2),
		cmocka_unit_test(only_the_initiator_renews_by_time),
		cmocka_unit_test(initiator_that_only_receives_renews_late),
		cmocka_unit_test(nothing_is_sealed_or_opened_after_reject_time),
		cmocka_unit_test(idle_session_expires_and_is_wiped),
		cmocka_unit_test(expiry_of_an_older_pair_is_not_the_end),
		cmocka_unit_test(packets_under_way_survive_the_rekey),
		cmocka_unit_test(message_limits),
		cmocka_unit_test(a_range_of_counters_never_overlaps),
		cmocka_unit_test(passive_keepalive_after_ten_seconds),
		cmocka_unit_test(no_keepalive_when_data_answers),
		cmocka_unit_test(silence_after_sending_makes_a_new_handshake),
		cmocka_unit_test(persistent_keepalive),
		cmocka_unit_test(tick_before_the_deadline_does_nothing),
		cmocka_unit_test(replays_and_forgeries_are_counted),
		cmocka_unit_test(a_batch_is_judged_packet_by_packet),
		cmocka_unit_test(hunger_for_indices_and_key_pairs_is_survived),
		cmocka_unit_test(late_response_after_the_pool_dried_up),
		cmocka_unit_test(sizes_are_as_promised),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
