/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/lease.h"
#include "tests/harness/tunnel_pk.h"

static struct lease_conf conf_of(uint8_t worker, uint8_t bits, uint32_t leases)
{
	return (struct lease_conf){.pool4 = {{NET_IP4, {100, 70}}, 24},
		.pool6 = {{NET_IP6, {0xfd, 1, 2, 3, 4, 5}}, 64},
		.worker = worker,
		.worker_bits = bits,
		.sessions_max = 1000,
		.leases_max = leases};
}

static void *begin(struct lease *l, struct lease_conf c)
{
	void *mem = malloc(lease_bytes(&c));

	memset(mem, 0xa5, lease_bytes(&c));
	lease_init(l, &c, mem);
	return mem;
}

/* [P-50] */
static void pools_outside_their_ranges_are_refused(void **state)
{
	struct lease_conf c = conf_of(0, 0, 10);

	(void)state;
	assert_int_not_equal(lease_bytes(&c), 0);
	c.pool4.addr.ip[1] = 128;
	assert_int_equal(lease_bytes(&c), 0);
	c = conf_of(0, 0, 10);
	c.pool4.bits = 25;
	assert_int_equal(lease_bytes(&c), 0);
	c = conf_of(0, 0, 10);
	c.pool6.addr.ip[0] = 0x20;
	assert_int_equal(lease_bytes(&c), 0);
	c = conf_of(4, 2, 10); /* no such worker */
	assert_int_equal(lease_bytes(&c), 0);
}

/* [P-50] [P-52] */
static void each_lease_is_found_by_its_addresses_alone(void **state)
{
	struct lease l;
	void *mem;

	(void)state;
	for (uint8_t bits = 0; bits <= 3; bits++) {
		for (uint8_t w = 0; w < 1u << bits; w++) {
			uint32_t n = 0;
			struct net_addr a4, a6;

			mem = begin(&l, conf_of(w, bits, 1000));
			while (lease_take(&l, (mono_t){1}, n, &a4, &a6) == OK) {
				assert_int_equal(a4.ip[3] & ((1u << bits) - 1), w);
				assert_int_equal(a6.ip[15] & ((1u << bits) - 1), w);
				assert_true(a4.ip[3] >= LEASE_RESERVED && a4.ip[3] < 255);
				assert_int_equal(lease_holder4(&l, a4.ip), n);
				assert_int_equal(lease_holder6(&l, a6.ip), n);
				a4.ip[0] ^= 1;
				a6.ip[5] ^= 1;
				assert_int_equal(lease_holder4(&l, a4.ip), LEASE_NONE);
				assert_int_equal(lease_holder6(&l, a6.ip), LEASE_NONE);
				n++;
			}
			assert_in_range(n, (256u - LEASE_RESERVED) / (1u << bits) - 2,
				(256u - LEASE_RESERVED) / (1u << bits));
			free(mem);
		}
	}
}

static void no_address_outside_the_places_has_a_holder(void **state)
{
	struct lease l;
	void *mem = begin(&l, conf_of(1, 2, 3));
	struct net_addr a4, a6;
	uint8_t ip[4] = {100, 70, 0, 0};
	int n = 0;

	(void)state;
	for (uint32_t s = 0; s < 3; s++)
		assert_int_equal(lease_take(&l, (mono_t){1}, s, &a4, &a6), OK);
	for (int h = 0; h < 256; h++) {
		ip[3] = (uint8_t)h;
		n += lease_holder4(&l, ip) != LEASE_NONE;
	}
	assert_int_equal(n, 3);
	free(mem);
}

/* [P-51] */
static void returned_address_rests_and_the_longest_free_goes_first(void **state)
{
	struct lease l;
	void *mem = begin(&l, conf_of(0, 0, 3));
	mono_t now = {DUR_S(10).ns};
	struct net_addr a[4], a6, again;

	(void)state;
	for (uint32_t s = 0; s < 3; s++)
		assert_int_equal(lease_take(&l, now, s, &a[s], &a6), OK);
	assert_int_equal(lease_take(&l, now, 3, &again, &a6), ERR_FULL);
	assert_int_equal(lease_take(&l, now, 1, &again, &a6), OK); /* attach again: the same */
	assert_true(net_addr_eq(&again, &a[1]));
	lease_return(&l, now, 1);
	lease_return(&l, now, 1); /* twice is fine */
	assert_int_equal(lease_holder4(&l, a[1].ip), LEASE_NONE);
	now.ns += DUR_S(1).ns;
	lease_return(&l, now, 0);
	now.ns += LEASE_QUARANTINE.ns - DUR_S(1).ns - 1;
	assert_int_equal(lease_take(&l, now, 3, &again, &a6), ERR_FULL);
	now.ns += 1;
	assert_int_equal(lease_take(&l, now, 3, &again, &a6), OK);
	assert_true(net_addr_eq(&again, &a[1]));
	assert_int_equal(lease_take(&l, now, 4, &again, &a6), ERR_FULL); /* a[0] still rests */
	assert_int_equal(l.n_used, 2);
	free(mem);
}

/* [P-52] */
static void packets_belong_to_the_holder_of_their_address(void **state)
{
	struct lease l;
	void *mem = begin(&l, conf_of(0, 0, 3));
	struct net_addr a4, a6;
	uint8_t pkt[100];

	(void)state;
	assert_int_equal(lease_take(&l, (mono_t){1}, 77, &a4, &a6), OK);
	pk_udp(pkt, 60, "100.70.0.16", 1, "192.0.2.1", 2);
	assert_memory_equal(pkt + 12, a4.ip, 4);
	assert_int_equal(lease_holder_of_packet(&l, pkt, 60, true), 77);
	assert_int_equal(lease_holder_of_packet(&l, pkt, 60, false), LEASE_NONE);
	assert_int_equal(lease_holder_of_packet(&l, pkt, 19, true), LEASE_NONE);
	pk_udp(pkt, 60, "2001:db8::1", 1, "fd01:203:405::10", 2);
	assert_int_equal(lease_holder_of_packet(&l, pkt, 60, false), 77);
	assert_int_equal(lease_holder_of_packet(&l, pkt, 39, false), LEASE_NONE);
	pkt[0] = 0x10;
	assert_int_equal(lease_holder_of_packet(&l, pkt, 60, false), LEASE_NONE);
	free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pools_outside_their_ranges_are_refused),
		cmocka_unit_test(each_lease_is_found_by_its_addresses_alone),
		cmocka_unit_test(no_address_outside_the_places_has_a_holder),
		cmocka_unit_test(returned_address_rests_and_the_longest_free_goes_first),
		cmocka_unit_test(packets_belong_to_the_holder_of_their_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
