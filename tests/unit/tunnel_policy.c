/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/policy.h"
#include "tests/harness/tunnel_pk.h"

static struct policy policy_of(bool test_network)
{
	struct net_prefix own[3];
	struct policy p;

	assert_int_equal(net_prefix_parse("9.9.9.0/24", &own[0]), OK);
	assert_int_equal(net_prefix_parse("8.8.4.4", &own[1]), OK);
	assert_int_equal(net_prefix_parse("2a00:1450::/33", &own[2]), OK);
	assert_int_equal(policy_init(&p, true, true, test_network, own, 3), OK);
	return p;
}

static enum policy_verdict udp_to(const struct policy *p, const char *dst)
{
	uint8_t pkt[80];

	pk_udp(pkt, sizeof(pkt), strchr(dst, ':') ? "fd00::5" : "100.64.0.20", 1000, dst, 443);
	return policy_check(p, pkt, sizeof(pkt), NULL);
}

static enum policy_verdict tcp_port(const struct policy *p, uint16_t port)
{
	uint8_t pkt[80];

	pk_tcp(pkt, sizeof(pkt), "100.64.0.20", 1000, "1.1.1.1", port, PACKET_TCP_SYN);
	return policy_check(p, pkt, sizeof(pkt), NULL);
}

struct destination {
	const char *ip;
	bool pass, pass_in_test;
};

/* [P-53] bounds of each range, one inside and one outside */
static const struct destination destinations[] = {
	{"1.1.1.1", true, true},
	{"0.0.0.0", false, false},
	{"0.255.255.255", false, false},
	{"1.0.0.0", true, true},
	{"9.255.255.255", true, true},
	{"10.0.0.0", false, false},
	{"10.255.255.255", false, false},
	{"11.0.0.0", true, true},
	{"100.63.255.255", true, true},
	{"100.64.0.0", false, false},
	{"100.127.255.255", false, false},
	{"100.128.0.0", true, true},
	{"127.0.0.1", false, false},
	{"128.0.0.1", true, true},
	{"169.253.255.255", true, true},
	{"169.254.169.254", false, false},
	{"172.15.255.255", true, true},
	{"172.16.0.0", false, false},
	{"172.31.255.255", false, false},
	{"172.32.0.0", true, true},
	{"192.0.0.8", false, false},
	{"192.0.2.1", false, true},
	{"192.88.99.1", false, false},
	{"192.168.1.1", false, false},
	{"198.17.255.255", true, true},
	{"198.18.0.0", false, true},
	{"198.19.255.255", false, true},
	{"198.51.100.7", false, true},
	{"203.0.113.7", false, true},
	{"223.255.255.255", true, true},
	{"224.0.0.1", false, false},
	{"239.255.255.255", false, false},
	{"240.0.0.1", false, false},
	{"255.255.255.255", false, false},
	{"2606:4700::1111", true, true},
	{"::", false, false},
	{"::1", false, false},
	{"::ffff:1.1.1.1", false, false},
	{"64:ff9b::101:101", false, false},
	{"100::1", false, false},
	{"1fff::1", false, false},
	{"2000::1", true, true},
	{"2001::1", false, false},
	{"2001:1ff::1", false, false},
	{"2001:200::1", true, true},
	{"2001:db8::1", false, true},
	{"2001:db9::1", true, true},
	{"2002:a00::1", false, false},
	{"2003::1", true, true},
	{"3fff::1", false, true},
	{"3fff:1000::1", true, true},
	{"4000::1", false, false},
	{"5f00::1", false, false},
	{"6000::1", false, false},
	{"8000::1", false, false},
	{"a000::1", false, false},
	{"c000::1", false, false},
	{"e000::1", false, false},
	{"fc00::1", false, false},
	{"fd00::1", false, false},
	{"fe80::1", false, false},
	{"ff02::1", false, false},
	/* own */
	{"9.9.9.9", false, false},
	{"9.9.8.255", true, true},
	{"8.8.4.4", false, false},
	{"8.8.4.5", true, true},
	{"2a00:1450:7fff::1", false, false},
	{"2a00:1450:8000::1", true, true},
};

static void only_public_destinations_that_are_not_ours_pass(void **state)
{
	const struct policy real = policy_of(false), test = policy_of(true);

	(void)state;
	for (size_t i = 0; i < sizeof(destinations) / sizeof(destinations[0]); i++) {
		const struct destination *d = &destinations[i];

		if ((udp_to(&real, d->ip) == POLICY_PASS) != d->pass ||
			(udp_to(&test, d->ip) == POLICY_PASS) != d->pass_in_test)
			fail_msg("%s", d->ip);
	}
	assert_int_equal(udp_to(&real, "10.0.0.1"), POLICY_DESTINATION);
}

/* The two lists of special ranges in the project agree. */
static void agrees_with_lib_net(void **state)
{
	const struct policy real = policy_of(false), test = policy_of(true);
	struct net_addr a;

	(void)state;
	for (size_t i = 0; i < sizeof(destinations) / sizeof(destinations[0]) - 6; i++) {
		assert_int_equal(net_addr_parse(destinations[i].ip, &a), OK);
		if (net_is_public(&a, false) != (udp_to(&real, destinations[i].ip) == POLICY_PASS) ||
			net_is_public(&a, true) != (udp_to(&test, destinations[i].ip) == POLICY_PASS))
			fail_msg("%s", destinations[i].ip);
	}
}

/* [P-53] */
static void named_resolver_is_reached_at_its_port_only(void **state)
{
	struct policy p = policy_of(false);
	struct net_addr r4, none = {0};
	uint8_t pkt[80];

	(void)state;
	assert_int_equal(net_addr_parse("192.168.1.1", &r4), OK);
	pk_udp(pkt, 60, "100.64.0.20", 1000, "192.168.1.1", 53);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_DESTINATION);
	policy_set_resolvers(&p, &r4, &none);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_PASS);
	pk_tcp(pkt, 60, "100.64.0.20", 1000, "192.168.1.1", 53, PACKET_TCP_SYN);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_PASS);
	pk_udp(pkt, 60, "100.64.0.20", 1000, "192.168.1.1", 54);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_DESTINATION);
	pk_udp(pkt, 60, "100.64.0.20", 1000, "192.168.1.2", 53);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_DESTINATION);
	pk_icmp(pkt, 60, "100.64.0.20", "192.168.1.1", 8, 53u << 16);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_DESTINATION);
}

/* [P-54] */
static void mail_ports_are_closed(void **state)
{
	struct policy p = policy_of(false);
	uint8_t pkt[60];

	(void)state;
	assert_int_equal(tcp_port(&p, 24), POLICY_PASS);
	assert_int_equal(tcp_port(&p, 25), POLICY_PORT);
	assert_int_equal(tcp_port(&p, 26), POLICY_PASS);
	assert_int_equal(tcp_port(&p, 465), POLICY_PORT);
	assert_int_equal(tcp_port(&p, 587), POLICY_PORT);
	assert_int_equal(tcp_port(&p, 443), POLICY_PASS);
	pk_udp(pkt, 60, "100.64.0.20", 1000, "1.1.1.1", 25);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_PASS);
}

/* [P-54] RFC 1858: nobody hides a port behind fragments */
static void fragments_cannot_hide_the_port(void **state)
{
	struct policy p = policy_of(false);
	uint8_t pkt[80];

	(void)state;
	pk_tcp(pkt, 36, "100.64.0.20", 1000, "1.1.1.1", 443, PACKET_TCP_SYN); /* 16 bytes of TCP */
	be16_put(pkt + 6, 0x2000);
	assert_int_equal(policy_check(&p, pkt, 36, NULL), POLICY_PORT);
	pk_tcp(pkt, 40, "100.64.0.20", 1000, "1.1.1.1", 443, PACKET_TCP_SYN);
	be16_put(pkt + 6, 0x2000);
	assert_int_equal(policy_check(&p, pkt, 40, NULL), POLICY_PASS);
	for (uint16_t offset = 1; offset < 6; offset++) {
		be16_put(pkt + 6, offset);
		assert_int_equal(policy_check(&p, pkt, 40, NULL),
			offset < 3 ? POLICY_PORT : POLICY_PASS);
	}
	/* padding behind the packet is no header of it */
	pk_tcp(pkt, 60, "100.64.0.20", 1000, "1.1.1.1", 443, PACKET_TCP_SYN);
	be16_put(pkt + 2, 30);
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_PORT);
}

/* [P-55] */
static void odd_packets_are_refused(void **state)
{
	struct policy p = policy_of(false);
	uint8_t pkt[160];
	struct packet k;
	size_t h;

	(void)state;
	pk_udp(pkt, 60, "100.64.0.20", 1000, "1.1.1.1", 443);
	for (size_t len = 0; len < 60; len++)
		assert_int_equal(policy_check(&p, pkt, len, NULL), POLICY_BAD_PACKET);
	pkt[0] = 0x46; /* options */
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_BAD_PACKET);
	pk_udp(pkt, 60, "100.64.0.20", 1000, "1.1.1.1", 443);
	pkt[9] = 47; /* GRE */
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_BAD_PACKET);
	pkt[9] = PACKET_ICMP6;
	assert_int_equal(policy_check(&p, pkt, 60, NULL), POLICY_BAD_PACKET);

	h = pk_ip(pkt, 100, "fd00::5", "2606:4700::1111", 43); /* routing header */
	pkt[h] = PACKET_UDP;
	assert_int_equal(policy_check(&p, pkt, 100, NULL), POLICY_BAD_PACKET);
	pkt[6] = 60; /* destination options: harmless */
	be16_put(pkt + h + 8, 1000);
	be16_put(pkt + h + 10, 443);
	assert_int_equal(policy_check(&p, pkt, 100, NULL), POLICY_PASS);
	/* each names another, without end */
	pk_ip(pkt, 140, "fd00::5", "2606:4700::1111", 60);
	for (size_t at = 40; at < 140; at += 8) {
		pkt[at] = 60;
		pkt[at + 1] = 0;
	}
	assert_int_equal(policy_check(&p, pkt, 140, NULL), POLICY_BAD_PACKET);
	assert_int_equal(packet_parse(pkt, 140, false, &k), ERR_MALFORMED);
	p.ip6 = false;
	assert_int_equal(udp_to(&p, "2606:4700::1111"), POLICY_FAMILY);
	p.ip4 = false;
	assert_int_equal(udp_to(&p, "1.1.1.1"), POLICY_FAMILY);
}

/* [P-57] */
static void digest_tells_policies_apart_but_not_nodes(void **state)
{
	struct policy a = policy_of(false), b = policy_of(true), c;
	uint8_t da[32], db[32], dc[32], bytes[POLICY_BYTES_MAX];

	(void)state;
	assert_int_equal(policy_init(&c, true, true, false, NULL, 0), OK);
	policy_digest(&a, da);
	policy_digest(&b, db);
	policy_digest(&c, dc);
	assert_memory_equal(da, dc, 32); /* own prefixes are not in it */
	assert_memory_not_equal(da, db, 32);
	assert_in_range(policy_bytes(&a, bytes), 100, POLICY_BYTES_MAX);
	assert_int_equal(policy_init(&c, true, false, false, NULL, 0), OK);
	policy_digest(&c, dc);
	assert_memory_not_equal(da, dc, 32);
}

static void own_prefixes_are_bounded(void **state)
{
	struct net_prefix own[POLICY_OWN_MAX + 1] = {{{NET_IP4, {9, 9, 9, 9}}, 32}};
	struct policy p;

	(void)state;
	assert_int_equal(policy_init(&p, true, true, true, own, POLICY_OWN_MAX), OK);
	assert_int_equal(policy_init(&p, true, true, true, own, POLICY_OWN_MAX + 1), ERR_FULL);
}

static int n_passed(struct policy_flows *f, mono_t now, bool tcp, uint32_t first, uint32_t n)
{
	struct policy p = policy_of(false);
	int passed = 0;

	for (uint32_t i = first; i < first + n; i++) {
		uint8_t pkt[60];
		struct packet k;
		char dst[32];

		snprintf(dst, sizeof(dst), "1.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
		if (tcp)
			pk_tcp(pkt, 60, "100.64.0.20", 1000, dst, 443, PACKET_TCP_SYN);
		else
			pk_udp(pkt, 60, "100.64.0.20", 1000, dst, 443);
		assert_int_equal(policy_check(&p, pkt, 60, &k), POLICY_PASS);
		passed += policy_flows_check(f, now, &k, pkt, 99) == POLICY_PASS;
	}
	return passed;
}

/* [P-56] */
static void new_flows_are_limited_and_known_ones_are_not(void **state)
{
	struct policy_flows f;
	mono_t now = {DUR_S(5).ns};

	(void)state;
	policy_flows_init(&f, now);
	assert_int_equal(n_passed(&f, now, true, 0, 600), POLICY_FLOWS_BURST);
	now.ns += DUR_S(1).ns;
	assert_int_equal(n_passed(&f, now, true, 0, 600), POLICY_FLOWS_PER_S);

	policy_flows_init(&f, now);
	/* a scan over UDP: hardly a pair passes for another */
	assert_in_range(n_passed(&f, now, false, 0, 5000), POLICY_FLOWS_BURST, POLICY_FLOWS_BURST + 20);
	policy_flows_init(&f, now);
	assert_int_equal(n_passed(&f, now, false, 0, 30), 30);
	for (int i = 0; i < 100; i++) /* 30 flows that go on cost nothing more */
		assert_int_equal(n_passed(&f, now, false, 0, 30), 30);
	assert_in_range(f.tokens.n, POLICY_FLOWS_BURST - 35, POLICY_FLOWS_BURST - 28);
	/* who found no token is asked again */
	assert_true(n_passed(&f, now, false, 1000, 5000) < 520);
	assert_true(n_passed(&f, now, false, 90000, 1) == 0);
	assert_true(n_passed(&f, now, false, 90000, 1) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_public_destinations_that_are_not_ours_pass),
		cmocka_unit_test(agrees_with_lib_net),
		cmocka_unit_test(named_resolver_is_reached_at_its_port_only),
		cmocka_unit_test(mail_ports_are_closed),
		cmocka_unit_test(fragments_cannot_hide_the_port),
		cmocka_unit_test(odd_packets_are_refused),
		cmocka_unit_test(digest_tells_policies_apart_but_not_nodes),
		cmocka_unit_test(own_prefixes_are_bounded),
		cmocka_unit_test(new_flows_are_limited_and_known_ones_are_not),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
