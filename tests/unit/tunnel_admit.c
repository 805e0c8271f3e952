/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/admit.h"
#include "services/tunnel/core/frame.h"

struct bench {
	struct admit a;
	void *mem;
	mono_t now;
};

static const struct admit_conf conf = {.sessions_max = 16, .strangers_max = 4, .prefixes_max = 300};
static const uint64_t key[2] = {11, 13};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->mem = malloc(admit_bytes(&conf));
	memset(b->mem, 0xa5, admit_bytes(&conf));
	admit_init(&b->a, &conf, b->mem, key);
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

static struct net_addr ip4(uint8_t c, uint8_t d)
{
	return (struct net_addr){NET_IP4, {192, 0, c, d}};
}

static struct net_addr ip6(uint8_t subnet_high, uint8_t subnet_low, uint8_t host)
{
	struct net_addr a = {NET_IP6, {0x20, 0x01, 0x0d, 0xb8}};

	a.ip[5] = subnet_high; /* of the /48 */
	a.ip[7] = subnet_low;  /* of the /64 */
	a.ip[15] = host;
	return a;
}

static int n_admitted(struct bench *b, struct net_addr src, int n)
{
	int admitted = 0;

	for (int i = 0; i < n; i++)
		admitted += admit_handshake(&b->a, b->now, &src) == OK;
	return admitted;
}

/* [P-40] */
static void one_address_has_a_burst_then_its_rate(void **state)
{
	struct bench *b = *state;

	assert_int_equal(n_admitted(b, ip4(2, 1), 50), ADMIT_NARROW_BURST);
	assert_int_equal(n_admitted(b, ip4(2, 2), 50), ADMIT_NARROW_BURST);
	b->now.ns += DUR_S(1).ns;
	assert_int_equal(n_admitted(b, ip4(2, 1), 50), ADMIT_NARROW_PER_S);
}

/* [P-40] */
static void a_whole_prefix_has_its_own_bound(void **state)
{
	struct bench *b = *state;
	int n = 0;

	for (int host = 0; host < 20; host++)
		n += n_admitted(b, ip4(2, (uint8_t)host), 50);
	assert_int_equal(n, ADMIT_WIDE_BURST);
	assert_int_equal(n_admitted(b, ip4(3, 1), 50), ADMIT_NARROW_BURST);
	/* the refused tokens of the narrow bucket were given back */
	b->now.ns += DUR_S(2).ns;
	assert_int_equal(n_admitted(b, ip4(2, 15), 50), ADMIT_NARROW_BURST);
}

/* [P-40] */
static void ipv6_counts_by_64_and_48(void **state)
{
	struct bench *b = *state;
	int n = 0;

	for (int host = 0; host < 20; host++)
		n += n_admitted(b, ip6(0, 0, (uint8_t)host), 5);
	assert_int_equal(n, ADMIT_NARROW_BURST);
	for (int subnet = 1; subnet < 20; subnet++)
		n += n_admitted(b, ip6(0, (uint8_t)subnet, 0), 50);
	assert_int_equal(n, ADMIT_WIDE_BURST);
	assert_int_equal(n_admitted(b, ip6(1, 0, 0), 50), ADMIT_NARROW_BURST);
}

static void full_table_of_busy_prefixes_refuses_until_they_are_idle(void **state)
{
	struct bench *b = *state;
	struct net_addr a;

	for (int i = 0; i < 150; i++) { /* 2 places each */
		a = (struct net_addr){NET_IP4, {198, 18, (uint8_t)i, 1}};
		assert_int_equal(admit_handshake(&b->a, b->now, &a), OK);
	}
	a = ip4(2, 1);
	assert_int_equal(admit_handshake(&b->a, b->now, &a), ERR_FULL);
	assert_int_equal(b->a.n.prefixes_full, 1);
	b->now.ns += DUR_S(1).ns; /* one token each: full again, so nothing to remember */
	assert_int_equal(admit_handshake(&b->a, b->now, &a), OK);
}

/* [P-42] */
static void newcomer_displaces_idle_unpaid_then_idle_paid_else_is_refused(void **state)
{
	struct bench *b = *state;
	uint32_t victim;

	for (uint32_t s = 0; s < 4; s++) {
		assert_int_equal(admit_room(&b->a, b->now, &victim), OK);
		assert_int_equal(victim, ADMIT_NONE);
		admit_session_new(&b->a, b->now, s);
		b->now.ns += DUR_S(1).ns;
	}
	assert_int_equal(admit_room(&b->a, b->now, &victim), ERR_FULL);
	admit_session_paid(&b->a, 0, true);
	b->now.ns += DUR_S(4).ns;
	admit_session_used(&b->a, b->now, 1);
	b->now.ns += DUR_S(4).ns - 1; /* session 2 is idle for 10 s in a moment */
	assert_int_equal(admit_room(&b->a, b->now, &victim), ERR_FULL);
	b->now.ns += 1;
	assert_int_equal(admit_room(&b->a, b->now, &victim), OK);
	assert_int_equal(victim, 2); /* oldest unpaid; 0 is older but paid, 1 was used */
	admit_session_gone(&b->a, 2);
	admit_session_new(&b->a, b->now, 2);

	b->now.ns += DUR_S(170).ns;
	for (uint32_t s = 1; s < 4; s++)
		admit_session_used(&b->a, b->now, s);
	assert_int_equal(admit_room(&b->a, b->now, &victim), OK);
	assert_int_equal(victim, 0); /* paid, but idle beyond its keys' life */
}

static void cap_may_be_lowered(void **state)
{
	struct bench *b = *state;
	uint32_t victim;

	admit_session_new(&b->a, b->now, 7);
	admit_set_cap(&b->a, 1);
	assert_int_equal(admit_room(&b->a, b->now, &victim), ERR_FULL);
	admit_session_gone(&b->a, 7);
	admit_session_gone(&b->a, 7); /* twice is fine */
	assert_int_equal(admit_room(&b->a, b->now, &victim), OK);
	admit_set_cap(&b->a, 0);
	assert_int_equal(admit_room(&b->a, b->now, &victim), ERR_FULL);
}

/* [P-43] */
static void idle_sessions_are_forgotten_oldest_first(void **state)
{
	struct bench *b = *state;
	mono_t start = b->now;

	for (uint32_t s = 0; s < 3; s++)
		admit_session_new(&b->a, b->now, s);
	admit_session_paid(&b->a, 1, true);
	assert_int_equal(admit_deadline(&b->a).ns, mono_add(start, ADMIT_FORGET).ns);
	b->now.ns += DUR_S(100).ns;
	admit_session_used(&b->a, b->now, 0);
	b->now.ns = start.ns + ADMIT_FORGET.ns - 1;
	assert_int_equal(admit_idle(&b->a, b->now), ADMIT_NONE);
	b->now.ns += 1;
	assert_int_equal(admit_idle(&b->a, b->now), 2);
	admit_session_gone(&b->a, 2);
	assert_int_equal(admit_idle(&b->a, b->now), 1);
	admit_session_gone(&b->a, 1);
	assert_int_equal(admit_idle(&b->a, b->now), ADMIT_NONE);
}

/* [P-41] */
static void stranger_may_send_packets_only_once_it_is_attached(void **state)
{
	static const int kinds[] = {
		FRAME_KEEPALIVE, FRAME_CONTROL, FRAME_RELAY, FRAME_IP4, FRAME_IP6, FRAME_BAD};
	static const bool may[3][6] = {
		{true, true, true, false, false, false},
		{true, true, true, true, true, false},
		{true, true, true, false, false, false},
	};
	struct bench *b = *state;

	for (int k = 0; k < 6; k++)
		assert_false(admit_may_send(&b->a, 3, kinds[k])); /* no session */
	admit_session_new(&b->a, b->now, 3);
	for (int role = 0; role < 3; role++) {
		if (role > 0)
			admit_session_role(&b->a, 3, role == 1);
		for (int k = 0; k < 6; k++)
			assert_int_equal(admit_may_send(&b->a, 3, kinds[k]), may[role][k]);
	}
	assert_false(admit_may_send(&b->a, 99, FRAME_CONTROL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(one_address_has_a_burst_then_its_rate),
		T(a_whole_prefix_has_its_own_bound),
		T(ipv6_counts_by_64_and_48),
		T(full_table_of_busy_prefixes_refuses_until_they_are_idle),
		T(newcomer_displaces_idle_unpaid_then_idle_paid_else_is_refused),
		T(cap_may_be_lowered),
		T(idle_sessions_are_forgotten_oldest_first),
		T(stranger_may_send_packets_only_once_it_is_attached),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
