/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/circuit.h"
#include "services/tunnel/core/messages.h"

#define SESSIONS 16
#define LEGS 20

struct bench {
	struct circuit c;
	void *mem;
	mono_t now;
};

static const uint64_t key[2] = {3, 5};
static const struct circuit_conf conf = {
	.sessions_max = SESSIONS, .legs_max = LEGS, .have_ip4 = true, .self_wg_pk = {0xff}};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->mem = malloc(circuit_bytes(&conf));
	memset(b->mem, 0xa5, circuit_bytes(&conf)); /* init must not rely on zeros */
	circuit_init(&b->c, &conf, b->mem, key);
	b->now.ns = DUR_S(1000).ns;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	free(b->mem);
	free(b);
	return 0;
}

static struct descriptor node(uint8_t n)
{
	struct descriptor d = {.roles = DESCRIPTOR_RELAY};

	d.wg_pk[0] = n;
	d.ep4 = (struct net_endpoint){{NET_IP4, {192, 0, 2, n}}, 51820};
	return d;
}

static struct net_endpoint at(uint8_t n)
{
	return node(n).ep4;
}

static const uint8_t *message(unsigned int type, uint32_t sender, uint32_t receiver)
{
	static uint8_t m[WG_INITIATION_SIZE];

	memset(m, 0, sizeof(m));
	m[0] = (uint8_t)type;
	if (type == WG_INITIATION || type == WG_RESPONSE)
		le32_put(m + 4, sender);
	if (type != WG_INITIATION)
		le32_put(m + (type == WG_RESPONSE ? 8 : 4), receiver);
	return m;
}

static size_t size_of(unsigned int type)
{
	static const size_t sizes[] = {0, WG_INITIATION_SIZE, WG_RESPONSE_SIZE, WG_COOKIE_SIZE, 48};

	return sizes[type];
}

static enum err forward(struct bench *b, uint32_t session, uint16_t slot, unsigned int type,
	uint32_t sender, const struct circuit_leg **leg)
{
	return circuit_forward(
		&b->c, b->now, session, slot, message(type, sender, 77), size_of(type), leg);
}

static enum err back(struct bench *b, uint8_t from, unsigned int type, uint32_t receiver,
	const struct circuit_leg **leg)
{
	struct net_endpoint e = at(from);

	return circuit_back(&b->c, b->now, &e, message(type, 99, receiver), size_of(type), leg);
}

static enum err extend(struct bench *b, uint32_t session, uint16_t slot, uint8_t to)
{
	struct descriptor d = node(to);

	return circuit_extend(&b->c, b->now, session, slot, &d, DUR_S(3600));
}

/* A leg whose next hop has answered the initiation with index `sender`. */
static void open_leg(struct bench *b, uint32_t session, uint16_t slot, uint8_t to, uint32_t sender)
{
	const struct circuit_leg *leg;

	assert_int_equal(extend(b, session, slot, to), OK);
	assert_int_equal(forward(b, session, slot, WG_INITIATION, sender, &leg), OK);
	assert_int_equal(back(b, to, WG_RESPONSE, sender, &leg), OK);
}

/* [P-10] [P-13] */
static void frames_go_out_by_their_leg_and_come_back_by_index(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;
	struct net_endpoint want = at(9);

	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 100, &leg), ERR_NOT_FOUND);
	open_leg(b, 1, 4, 9, 100);
	assert_int_equal(forward(b, 1, 4, WG_TRANSPORT, 0, &leg), OK);
	assert_true(net_endpoint_eq(&leg->next, &want));
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	assert_int_equal(leg->session, 1);
	assert_int_equal(leg->slot, 4);
	assert_int_equal(back(b, 9, WG_COOKIE, 100, &leg), OK);
	/* another index, another source address, another port */
	assert_int_equal(back(b, 9, WG_TRANSPORT, 101, &leg), ERR_NOT_FOUND);
	assert_int_equal(back(b, 8, WG_TRANSPORT, 100, &leg), ERR_NOT_FOUND);
	want.port++;
	assert_int_equal(
		circuit_back(&b->c, b->now, &want, message(WG_TRANSPORT, 0, 100), 48, &leg),
		ERR_NOT_FOUND);
	assert_int_equal(b->c.n.no_index, 3);
}

/* [P-13] a next hop may not initiate through us */
static void initiation_from_a_next_hop_is_dropped(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;
	struct net_endpoint e = at(9);

	open_leg(b, 1, 4, 9, 99);
	/* its sender index even equals a learned one */
	assert_int_equal(circuit_back(&b->c, b->now, &e, message(WG_INITIATION, 99, 0),
				 WG_INITIATION_SIZE, &leg),
		ERR_NOT_FOUND);
}

/* [P-4] */
static void only_well_formed_messages_pass(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;
	struct net_endpoint e = at(9);
	uint8_t m[200];

	open_leg(b, 1, 4, 9, 100);
	for (unsigned int type = 0; type <= 5; type++) {
		for (size_t len = 0; len <= sizeof(m); len++) {
			bool good = (type == 1 && len == 148) || (type == 2 && len == 92) ||
				    (type == 3 && len == 64) || (type == 4 && len >= 32);

			memcpy(m, message(type, 100, 100), WG_INITIATION_SIZE);
			b->now.ns += DUR_S(1).ns; /* tokens for the initiations */
			assert_int_equal(
				circuit_forward(&b->c, b->now, 1, 4, m, len, &leg) == ERR_MALFORMED,
				!good);
			assert_int_equal(
				circuit_back(&b->c, b->now, &e, m, len, &leg) == ERR_MALFORMED,
				!good);
		}
	}
	memcpy(m, message(WG_TRANSPORT, 0, 100), 48);
	m[3] = 1; /* reserved bytes */
	assert_int_equal(circuit_forward(&b->c, b->now, 1, 4, m, 48, &leg), ERR_MALFORMED);
}

/* [P-14] */
static void nothing_but_initiations_before_the_next_hop_answered(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;

	assert_int_equal(extend(b, 1, 4, 9), OK);
	assert_int_equal(forward(b, 1, 4, WG_TRANSPORT, 0, &leg), ERR_DENIED);
	assert_int_equal(forward(b, 1, 4, WG_RESPONSE, 5, &leg), ERR_DENIED);
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 100, &leg), OK);
	assert_int_equal(forward(b, 1, 4, WG_TRANSPORT, 0, &leg), ERR_DENIED);
	assert_int_equal(back(b, 9, WG_COOKIE, 100, &leg), OK); /* a cookie is no consent yet */
	assert_int_equal(forward(b, 1, 4, WG_TRANSPORT, 0, &leg), ERR_DENIED);
	assert_int_equal(back(b, 9, WG_RESPONSE, 100, &leg), OK);
	assert_int_equal(forward(b, 1, 4, WG_TRANSPORT, 0, &leg), OK);
}

/* [P-14] */
static void initiations_are_rate_limited_per_leg(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;

	assert_int_equal(extend(b, 1, 4, 9), OK);
	assert_int_equal(extend(b, 1, 5, 8), OK);
	for (uint32_t i = 0; i < CIRCUIT_INITIATIONS_BURST; i++)
		assert_int_equal(forward(b, 1, 4, WG_INITIATION, i, &leg), OK);
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 50, &leg), ERR_FULL);
	assert_int_equal(forward(b, 1, 5, WG_INITIATION, 50, &leg), OK);
	b->now.ns += DUR_MS(250).ns;
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 50, &leg), OK);
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 51, &leg), ERR_FULL);
}

/* [P-11] */
static void index_of_another_leg_is_not_taken_over(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;

	open_leg(b, 1, 4, 9, 100);
	assert_int_equal(extend(b, 2, 4, 9), OK); /* another client, same next hop */
	assert_int_equal(extend(b, 2, 5, 8), OK);
	assert_int_equal(forward(b, 2, 4, WG_INITIATION, 100, &leg), ERR_DENIED);
	assert_int_equal(b->c.n.collisions, 1);
	assert_int_equal(
		forward(b, 2, 5, WG_INITIATION, 100, &leg), OK); /* other next hop: no pair */
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	assert_int_equal(leg->session, 1);
	assert_int_equal(forward(b, 2, 4, WG_INITIATION, 101, &leg), OK);
	/* once the old one has expired, anyone may have it */
	b->now.ns += CIRCUIT_INDEX_LIFE.ns;
	assert_int_equal(forward(b, 2, 4, WG_INITIATION, 100, &leg), OK);
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	assert_int_equal(leg->session, 2);
}

/* [P-12] */
static void index_expires_after_180_s_from_initiation_or_first_answer(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;

	open_leg(b, 1, 4, 9, 100);
	b->now.ns += DUR_S(100).ns;
	/* a second response does not prolong it, traffic neither */
	assert_int_equal(back(b, 9, WG_RESPONSE, 100, &leg), OK);
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	b->now.ns += DUR_S(80).ns - 1;
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	b->now.ns += 1;
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), ERR_NOT_FOUND);
	circuit_tick(&b->c, b->now);
	assert_int_equal(circuit_n_indices(&b->c), 0);
	assert_int_equal(circuit_n_legs(&b->c), 1);
}

/* [P-12] retries of a handshake must not push out the key pair in use */
static void leg_holds_eight_indices_and_keeps_the_answered(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;

	open_leg(b, 1, 4, 9, 100);
	for (uint32_t i = 0; i < 30; i++) {
		b->now.ns += DUR_S(1).ns;
		assert_int_equal(forward(b, 1, 4, WG_INITIATION, 200 + i, &leg), OK);
	}
	assert_int_equal(circuit_n_indices(&b->c), CIRCUIT_INDICES_PER_LEG);
	assert_int_equal(leg->n_indices, CIRCUIT_INDICES_PER_LEG);
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	assert_int_equal(back(b, 9, WG_RESPONSE, 229, &leg), OK);
	assert_int_equal(back(b, 9, WG_RESPONSE, 222, &leg), ERR_NOT_FOUND);
}

/* [P-15] */
static void extend_is_idempotent_and_a_slot_keeps_its_node(void **state)
{
	struct bench *b = *state;
	struct descriptor moved = node(9);

	open_leg(b, 1, 4, 9, 100);
	assert_int_equal(extend(b, 1, 4, 9), OK);
	assert_int_equal(circuit_n_legs(&b->c), 1);
	assert_int_equal(circuit_n_indices(&b->c), 1);
	assert_int_equal(extend(b, 1, 4, 8), ERR_DENIED);
	moved.ep4.port++;
	assert_int_equal(circuit_extend(&b->c, b->now, 1, 4, &moved, DUR_S(1)), ERR_DENIED);
	circuit_close(&b->c, 1, 4);
	assert_int_equal(extend(b, 1, 4, 8), OK);
}

/* [P-15] [P-18] */
static void extend_refuses_what_it_must(void **state)
{
	struct bench *b = *state;
	struct descriptor d = node(9);

	d.roles = 0;
	assert_int_equal(circuit_extend(&b->c, b->now, 1, 4, &d, DUR_S(1)), ERR_DENIED);
	d = node(0xff); /* our own key */
	assert_int_equal(circuit_extend(&b->c, b->now, 1, 4, &d, DUR_S(1)), ERR_DENIED);
	d = node(9);
	d.ep6 = (struct net_endpoint){{NET_IP6, {0x20, 0x01, 0x0d, 0xb8}}, 1};
	d.ep4 = (struct net_endpoint){0};
	assert_int_equal(circuit_extend(&b->c, b->now, 1, 4, &d, DUR_S(1)), ERR_UNAVAILABLE);
	assert_int_equal(extend(b, SESSIONS, 4, 9), ERR_FULL);
	for (uint8_t i = 0; i < CIRCUIT_LEGS_PER_SESSION; i++)
		assert_int_equal(extend(b, 1, i, (uint8_t)(10 + i)), OK);
	assert_int_equal(extend(b, 1, 100, 40), ERR_FULL);
	assert_int_equal(b->c.n.legs_refused, 5);
}

static void full_table_displaces_only_legs_with_dead_keys(void **state)
{
	struct bench *b = *state;

	for (uint32_t i = 0; i < LEGS; i++)
		assert_int_equal(extend(b, i / 8, (uint16_t)(i % 8), (uint8_t)(i + 1)), OK);
	assert_int_equal(extend(b, 5, 0, 90), ERR_FULL);
	b->now.ns += CIRCUIT_INDEX_LIFE.ns;
	assert_int_equal(extend(b, 5, 0, 90), OK);
	assert_null(circuit_find(&b->c, 0, 0));
	assert_non_null(circuit_find(&b->c, 0, 1));
	assert_int_equal(circuit_n_legs(&b->c), LEGS);
}

/* [P-16] */
static void expired_descriptor_stops_new_handshakes_unless_in_use(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;
	struct descriptor d = node(9), e = node(8);

	assert_int_equal(circuit_extend(&b->c, b->now, 1, 4, &d, DUR_S(10)), OK);
	assert_int_equal(circuit_extend(&b->c, b->now, 1, 5, &e, DUR_S(10)), OK);
	b->now.ns += DUR_S(9).ns;
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 100, &leg), OK);
	assert_int_equal(back(b, 9, WG_RESPONSE, 100, &leg), OK);
	b->now.ns += DUR_S(1).ns;
	assert_int_equal(forward(b, 1, 5, WG_INITIATION, 100, &leg), ERR_DENIED);
	b->now.ns += CIRCUIT_ANSWER_GRACE.ns - DUR_S(1).ns; /* 300 s after the answer */
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 101, &leg), OK);
	b->now.ns += 1;
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 102, &leg), ERR_DENIED);
	assert_int_equal(b->c.n.expired, 2);
	assert_int_equal(circuit_extend(&b->c, b->now, 1, 4, &d, DUR_S(10)), OK);
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 103, &leg), OK);
}

/* [P-17] */
static void session_end_and_idleness_free_legs(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;

	for (uint16_t s = 0; s < 8; s++)
		open_leg(b, 1, s, (uint8_t)(s + 1), 100u + s);
	open_leg(b, 2, 0, 9, 100);
	circuit_session_gone(&b->c, 1);
	circuit_session_gone(&b->c, SESSIONS + 5);
	assert_int_equal(circuit_n_legs(&b->c), 1);
	assert_int_equal(circuit_n_indices(&b->c), 1);
	assert_int_equal(back(b, 1, WG_TRANSPORT, 100, &leg), ERR_NOT_FOUND);
	assert_int_equal(back(b, 9, WG_TRANSPORT, 100, &leg), OK);
	b->now.ns += CIRCUIT_LEG_IDLE.ns - 1;
	circuit_tick(&b->c, b->now);
	assert_int_equal(circuit_n_legs(&b->c), 1);
	b->now.ns += 1;
	circuit_tick(&b->c, b->now);
	assert_int_equal(circuit_n_legs(&b->c), 0);
	assert_int_equal(circuit_n_indices(&b->c), 0);
}

/* [P-19] */
static void initiation_that_overtook_its_extend_is_held(void **state)
{
	struct bench *b = *state;
	const struct circuit_leg *leg;
	const uint8_t *m;

	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 100, &leg), ERR_NOT_FOUND);
	assert_int_equal(forward(b, 1, 4, WG_INITIATION, 101, &leg), ERR_NOT_FOUND); /* the newer */
	assert_int_equal(forward(b, 2, 4, WG_TRANSPORT, 0, &leg), ERR_NOT_FOUND);
	assert_null(circuit_take_held(&b->c, b->now, 2, 4));
	assert_null(circuit_take_held(&b->c, b->now, 1, 5));
	b->now.ns += CIRCUIT_HOLD.ns;
	assert_int_equal(extend(b, 1, 4, 9), OK);
	m = circuit_take_held(&b->c, b->now, 1, 4);
	assert_non_null(m);
	assert_int_equal(circuit_forward(&b->c, b->now, 1, 4, m, WG_INITIATION_SIZE, &leg), OK);
	assert_int_equal(back(b, 9, WG_RESPONSE, 101, &leg), OK);
	assert_null(circuit_take_held(&b->c, b->now, 1, 4)); /* once */
	/* too old, or its session is another by now */
	assert_int_equal(forward(b, 1, 5, WG_INITIATION, 100, &leg), ERR_NOT_FOUND);
	b->now.ns += CIRCUIT_HOLD.ns + 1;
	assert_null(circuit_take_held(&b->c, b->now, 1, 5));
	assert_int_equal(forward(b, 1, 5, WG_INITIATION, 100, &leg), ERR_NOT_FOUND);
	circuit_session_gone(&b->c, 1);
	assert_null(circuit_take_held(&b->c, b->now, 1, 5));
	/* bounded: the oldest gives way */
	for (uint32_t i = 0; i < CIRCUIT_HELD_MAX + 1; i++) {
		b->now.ns++;
		(void)!circuit_forward(&b->c, b->now, 1000 + i, 1, message(WG_INITIATION, i, 0),
			WG_INITIATION_SIZE, &leg);
	}
	assert_null(circuit_take_held(&b->c, b->now, 1000, 1));
	for (uint32_t i = 1; i < CIRCUIT_HELD_MAX + 1; i++)
		assert_non_null(circuit_take_held(&b->c, b->now, 1000 + i, 1));
}

static void closing_what_is_not_open_is_fine(void **state)
{
	struct bench *b = *state;

	circuit_close(&b->c, 1, 4);
	circuit_close(&b->c, SESSIONS + 1, 4);
	assert_int_equal(extend(b, 1, 4, 9), OK);
	circuit_close(&b->c, 1, 4);
	circuit_close(&b->c, 1, 4);
	assert_int_equal(circuit_n_legs(&b->c), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(frames_go_out_by_their_leg_and_come_back_by_index),
		T(initiation_from_a_next_hop_is_dropped),
		T(only_well_formed_messages_pass),
		T(nothing_but_initiations_before_the_next_hop_answered),
		T(initiations_are_rate_limited_per_leg),
		T(index_of_another_leg_is_not_taken_over),
		T(index_expires_after_180_s_from_initiation_or_first_answer),
		T(leg_holds_eight_indices_and_keeps_the_answered),
		T(extend_is_idempotent_and_a_slot_keeps_its_node),
		T(extend_refuses_what_it_must),
		T(full_table_displaces_only_legs_with_dead_keys),
		T(expired_descriptor_stops_new_handshakes_unless_in_use),
		T(session_end_and_idleness_free_legs),
		T(initiation_that_overtook_its_extend_is_held),
		T(closing_what_is_not_open_is_fine),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
