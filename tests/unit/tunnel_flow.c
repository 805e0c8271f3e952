/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/flow.h"
#include "tests/harness/tunnel_pk.h"

#define FLOWS 64
#define DEV4 "10.99.0.2"
#define DEV6 "fd00:99::2"
#define RES4 "10.99.0.1"
#define RES6 "fd00:99::1"
#define WEB4 "203.0.113.80"
#define WEB6 "2001:db8::80"

struct bench {
	struct flow f;
	void *mem;
	mono_t now;
	unsigned int a, b; /* exits; a is in use */
	uint8_t pkt[2048];
};

static const uint64_t key[2] = {17, 19};

static struct net_addr addr(const char *s)
{
	struct net_addr a = {0};

	if (s != NULL)
		assert_int_equal(net_addr_parse(s, &a), OK);
	return a;
}

static unsigned int add_exit(
	struct bench *b, const char *ip4, const char *ip6, const char *dns4, const char *dns6)
{
	struct net_addr i4 = addr(ip4), i6 = addr(ip6), d4 = addr(dns4), d6 = addr(dns6);
	unsigned int e;

	assert_int_equal(flow_exit_add(&b->f, &i4, &i6, &d4, &d6, &e), OK);
	return e;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct flow_conf conf = {addr(DEV4), addr(DEV6), addr(RES4), addr(RES6), FLOWS};

	b->mem = malloc(flow_bytes(&conf));
	memset(b->mem, 0xa5, flow_bytes(&conf));
	flow_init(&b->f, &conf, b->mem, key);
	b->now.ns = DUR_S(5000).ns;
	b->a = add_exit(b, "100.64.1.20", "fd01::20", "9.9.9.9", "2620:fe::fe");
	b->b = add_exit(b, "100.64.2.33", "fd02::33", "1.1.1.1", "2606:4700::1111");
	flow_use(&b->f, b->a);
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

static enum flow_verdict out(struct bench *b, size_t len, unsigned int *exit)
{
	return flow_out(&b->f, b->now, b->pkt, len, false, exit);
}

static enum flow_verdict in(struct bench *b, unsigned int exit, size_t len)
{
	return flow_in(&b->f, b->now, exit, b->pkt, len, false);
}

static enum flow_verdict tcp_out(struct bench *b, uint16_t sport, uint8_t flags, unsigned int *exit)
{
	pk_tcp(b->pkt, 100, DEV4, sport, WEB4, 443, flags);
	return out(b, 100, exit);
}

static enum flow_verdict tcp_in(struct bench *b, unsigned int exit, uint16_t dport, uint8_t flags)
{
	pk_tcp(b->pkt, 100, WEB4, 443, exit == b->a ? "100.64.1.20" : "100.64.2.33", dport, flags);
	return in(b, exit, 100);
}

/* [P-58] addresses change, checksums stay right: all transports, both families, odd lengths */
static void addresses_are_translated_and_checksums_stay_right(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	for (size_t len = 61; len < 400; len += 13) {
		pk_tcp(b->pkt, len, DEV4, 1000, WEB4, 443, PACKET_TCP_SYN);
		assert_int_equal(out(b, len, &e), FLOW_PASS);
		assert_int_equal(e, b->a);
		assert_true(pk_src_is(b->pkt, "100.64.1.20") && pk_good(b->pkt, len));
		pk_tcp(b->pkt, len, WEB4, 443, "100.64.1.20", 1000, PACKET_TCP_ACK);
		assert_int_equal(in(b, e, len), FLOW_PASS);
		assert_true(pk_dst_is(b->pkt, DEV4) && pk_good(b->pkt, len));

		pk_udp(b->pkt, len, DEV6, 1000, WEB6, 443);
		assert_int_equal(out(b, len, &e), FLOW_PASS);
		assert_true(pk_src_is(b->pkt, "fd01::20") && pk_good(b->pkt, len));
		pk_udp(b->pkt, len, WEB6, 443, "fd01::20", 1000);
		assert_int_equal(in(b, e, len), FLOW_PASS);
		assert_true(pk_dst_is(b->pkt, DEV6) && pk_good(b->pkt, len));

		pk_icmp(b->pkt, len, DEV4, WEB4, 8, 0x00050001);
		assert_int_equal(out(b, len, &e), FLOW_PASS);
		assert_true(pk_src_is(b->pkt, "100.64.1.20") && pk_good(b->pkt, len));
		pk_icmp(b->pkt, len, WEB4, "100.64.1.20", 0, 0x00050001);
		assert_int_equal(in(b, e, len), FLOW_PASS);
		assert_true(pk_good(b->pkt, len));

		pk_icmp(b->pkt, len, DEV6, WEB6, 128, 0x00050001);
		assert_int_equal(out(b, len, &e), FLOW_PASS);
		assert_true(pk_src_is(b->pkt, "fd01::20") && pk_good(b->pkt, len));
		pk_icmp(b->pkt, len, WEB6, "fd01::20", 129, 0x00050001);
		assert_int_equal(in(b, e, len), FLOW_PASS);
		assert_true(pk_dst_is(b->pkt, DEV6) && pk_good(b->pkt, len));
	}
	assert_int_equal(flow_exit_flows(&b->f, b->a), 4);
}

/* RFC 1624 section 3: every value that a checksum can take survives, 0 and 0xffff above all */
static void every_checksum_value_survives(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	for (uint32_t v = 0; v < 65536; v++) {
		pk_udp(b->pkt, 60, DEV4, 1000, WEB4, 443);
		be16_put(b->pkt + 40, (uint16_t)v);
		pk_fill(b->pkt, 60);
		assert_int_equal(out(b, 60, &e), FLOW_PASS);
		if (!pk_good(b->pkt, 60) || be16_get(b->pkt + 26) == 0)
			fail_msg("word %04x", v);
	}
}

static void absent_udp_checksum_stays_absent(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	pk_udp(b->pkt, 60, DEV4, 1000, WEB4, 443);
	be16_put(b->pkt + 26, 0);
	assert_int_equal(out(b, 60, &e), FLOW_PASS);
	assert_int_equal(be16_get(b->pkt + 26), 0);
}

/* A super-packet's checksum field holds the sum of its pseudo header. */
static void partial_checksum_is_the_pseudo_header_of_the_new_addresses(void **state)
{
	struct bench *b = *state;
	unsigned int e;
	uint8_t want[2048];

	for (int six = 0; six < 2; six++) {
		size_t at = (six ? 40 : 20) + 16;

		pk_tcp(b->pkt, 1500, six ? DEV6 : DEV4, 1000, six ? WEB6 : WEB4, 443,
			PACKET_TCP_ACK);
		be16_put(b->pkt + at, (uint16_t)pk_pseudo(b->pkt, 1500));
		assert_int_equal(flow_out(&b->f, b->now, b->pkt, 1500, true, &e), FLOW_PASS);
		pk_tcp(want, 1500, six ? "fd01::20" : "100.64.1.20", 1000, six ? WEB6 : WEB4, 443,
			PACKET_TCP_ACK);
		assert_int_equal(be16_get(b->pkt + at), pk_pseudo(want, 1500));
	}
}

/* [P-58] */
static void flow_stays_with_its_exit_and_new_ones_take_the_exit_in_use(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(e, b->a);
	flow_use(&b->f, b->b);
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_ACK, &e), FLOW_PASS);
	assert_int_equal(e, b->a);
	assert_int_equal(tcp_out(b, 1001, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(e, b->b);
	assert_true(pk_src_is(b->pkt, "100.64.2.33"));
	assert_int_equal(flow_exit_flows(&b->f, b->a), 1);
	assert_int_equal(flow_exit_flows(&b->f, b->b), 1);
	flow_use(&b->f, FLOW_NO_EXIT);
	assert_int_equal(tcp_out(b, 1002, PACKET_TCP_SYN, &e), FLOW_NO_ROUTE);
	assert_int_equal(tcp_out(b, 1001, PACKET_TCP_ACK, &e), FLOW_PASS);
}

/* [P-59] */
static void exit_reaches_only_flows_that_are_its_own(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	assert_int_equal(tcp_in(b, b->a, 1000, PACKET_TCP_SYN), FLOW_UNKNOWN);
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(tcp_in(b, b->a, 1000, PACKET_TCP_ACK), FLOW_PASS);
	assert_int_equal(tcp_in(b, b->b, 1000, PACKET_TCP_ACK), FLOW_UNKNOWN);
	assert_int_equal(tcp_in(b, b->a, 1001, PACKET_TCP_ACK), FLOW_UNKNOWN);
	/* a destination that was not lent */
	pk_tcp(b->pkt, 100, WEB4, 443, "100.64.1.21", 1000, PACKET_TCP_ACK);
	assert_int_equal(in(b, b->a, 100), FLOW_BAD_PACKET);
	pk_tcp(b->pkt, 100, WEB4, 443, DEV4, 1000, PACKET_TCP_ACK);
	assert_int_equal(in(b, b->a, 100), FLOW_BAD_PACKET);
	assert_int_equal(in(b, 7, 100), FLOW_BAD_PACKET);
	assert_int_equal(in(b, 99, 100), FLOW_BAD_PACKET);
	pk_icmp(b->pkt, 60, WEB4, "100.64.1.20", 8, 0x00050001); /* a ping from outside */
	assert_int_equal(in(b, b->a, 60), FLOW_UNKNOWN);
}

static void what_is_not_from_the_device_or_not_for_an_exit_is_dropped(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	pk_udp(b->pkt, 60, "10.99.0.3", 1, WEB4, 443);
	assert_int_equal(out(b, 60, &e), FLOW_BAD_PACKET);
	pk_udp(b->pkt, 60, DEV4, 1, "239.1.1.1", 443);
	assert_int_equal(out(b, 60, &e), FLOW_BAD_PACKET);
	pk_udp(b->pkt, 60, DEV6, 1, "ff02::fb", 5353);
	assert_int_equal(out(b, 60, &e), FLOW_BAD_PACKET);
	pk_udp(b->pkt, 60, "fe80::1", 1, WEB6, 443);
	assert_int_equal(out(b, 60, &e), FLOW_BAD_PACKET);
	pk_udp(b->pkt, 60, DEV4, 1, WEB4, 443);
	for (size_t len = 0; len < 60; len++)
		assert_int_equal(out(b, len, &e), FLOW_BAD_PACKET);
	assert_int_equal(b->f.table.n_used, 0);
}

/* The device's resolver is a constant; each exit has its own. */
static void resolver_is_translated_both_ways(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	for (int tcp = 0; tcp < 2; tcp++) {
		if (tcp)
			pk_tcp(b->pkt, 80, DEV4, 1000, RES4, 53, PACKET_TCP_SYN);
		else
			pk_udp(b->pkt, 80, DEV4, 1000, RES4, 53);
		assert_int_equal(out(b, 80, &e), FLOW_PASS);
		assert_true(pk_dst_is(b->pkt, "9.9.9.9") && pk_good(b->pkt, 80));
		if (tcp)
			pk_tcp(b->pkt, 80, "9.9.9.9", 53, "100.64.1.20", 1000, PACKET_TCP_ACK);
		else
			pk_udp(b->pkt, 80, "9.9.9.9", 53, "100.64.1.20", 1000);
		assert_int_equal(in(b, e, 80), FLOW_PASS);
		assert_true(pk_src_is(b->pkt, RES4) && pk_good(b->pkt, 80));
	}
	/* asked by its real address, it answers by it */
	pk_udp(b->pkt, 80, DEV4, 2000, "9.9.9.9", 53);
	assert_int_equal(out(b, 80, &e), FLOW_PASS);
	assert_true(pk_dst_is(b->pkt, "9.9.9.9"));
	pk_udp(b->pkt, 80, "9.9.9.9", 53, "100.64.1.20", 2000);
	assert_int_equal(in(b, e, 80), FLOW_PASS);
	assert_true(pk_src_is(b->pkt, "9.9.9.9"));
	/* another port of the constant is no resolver */
	pk_udp(b->pkt, 80, DEV4, 1000, RES4, 54);
	assert_int_equal(out(b, 80, &e), FLOW_PASS);
	assert_true(pk_dst_is(b->pkt, RES4));

	flow_use(&b->f, b->b);
	pk_udp(b->pkt, 80, DEV6, 1000, RES6, 53);
	assert_int_equal(out(b, 80, &e), FLOW_PASS);
	assert_true(pk_dst_is(b->pkt, "2606:4700::1111") && pk_good(b->pkt, 80));
	pk_udp(b->pkt, 80, "2606:4700::1111", 53, "fd02::33", 1000);
	assert_int_equal(in(b, e, 80), FLOW_PASS);
	assert_true(pk_src_is(b->pkt, RES6) && pk_good(b->pkt, 80));
}

/* RFC 5508: the packet that an ICMP error carries is translated with it */
static void icmp_errors_come_in_for_the_flow_they_are_about(void **state)
{
	static const char *const dev[] = {DEV4, DEV6}, *const web[] = {WEB4, WEB6};
	static const char *const router[] = {"198.51.100.9", "2001:db8:9::9"};
	static const char *const mine[] = {"100.64.1.20", "fd01::20"};
	struct bench *b = *state;
	uint8_t cause[600], sent[600];
	unsigned int e;

	for (int v = 0; v < 2; v++) {
		size_t h = v ? 40 : 20, len;

		for (int tcp = 0; tcp < 2; tcp++) {
			for (size_t keep = h + 8; keep <= 500; keep += 46) {
				if (tcp)
					pk_tcp(cause, 500, dev[v], 1000, web[v], 443,
						PACKET_TCP_SYN);
				else
					pk_udp(cause, 500, dev[v], 1000, web[v], 443);
				memcpy(sent, cause, 500);
				assert_int_equal(
					flow_out(&b->f, b->now, sent, 500, false, &e), FLOW_PASS);
				/* what went out is what the error carries */
				len = pk_error(b->pkt, router[v], mine[v], sent, keep);
				assert_int_equal(in(b, e, len), FLOW_PASS);
				assert_true(pk_dst_is(b->pkt, dev[v]) && pk_good(b->pkt, len));
				assert_true(pk_src_is(b->pkt, router[v]));
				/* the embedded packet is exactly what the device sent */
				assert_memory_equal(b->pkt + h + 8, cause, keep);
			}
		}
		/* about a flow that is not there, or another's address */
		pk_udp(cause, 100, mine[v], 1003, web[v], 443);
		len = pk_error(b->pkt, router[v], mine[v], cause, 60);
		assert_int_equal(in(b, b->a, len), FLOW_UNKNOWN);
		pk_udp(cause, 100, v ? "fd01::21" : "100.64.1.21", 1000, web[v], 443);
		len = pk_error(b->pkt, router[v], mine[v], cause, 60);
		assert_int_equal(in(b, b->a, len), FLOW_UNKNOWN);
		/* cut short */
		len = pk_error(b->pkt, router[v], mine[v], cause, v ? 38 : 18);
		assert_int_equal(in(b, b->a, len), FLOW_UNKNOWN);
	}
}

static void icmp_error_from_the_resolver_comes_from_the_constant(void **state)
{
	struct bench *b = *state;
	uint8_t cause[100], sent[100];
	unsigned int e;
	size_t len;

	pk_udp(cause, 100, DEV4, 1000, RES4, 53);
	memcpy(sent, cause, 100);
	assert_int_equal(flow_out(&b->f, b->now, sent, 100, false, &e), FLOW_PASS);
	len = pk_error(b->pkt, "9.9.9.9", "100.64.1.20", sent, 100);
	assert_int_equal(in(b, e, len), FLOW_PASS);
	assert_true(pk_src_is(b->pkt, RES4) && pk_good(b->pkt, len));
	assert_memory_equal(b->pkt + 28, cause, 100);
}

static void icmp_errors_go_out_by_the_exit_of_the_flow(void **state)
{
	struct bench *b = *state;
	uint8_t came[100];
	unsigned int e;
	size_t len;

	pk_udp(b->pkt, 100, DEV4, 1000, WEB4, 443);
	assert_int_equal(out(b, 100, &e), FLOW_PASS);
	flow_use(&b->f, b->b);
	pk_udp(came, 100, WEB4, 443, DEV4, 1000); /* as the device saw it */
	len = pk_error(b->pkt, DEV4, WEB4, came, 100);
	assert_int_equal(out(b, len, &e), FLOW_PASS);
	assert_int_equal(e, b->a);
	assert_true(pk_src_is(b->pkt, "100.64.1.20") && pk_good(b->pkt, len));
	pk_udp(came, 100, WEB4, 443, "100.64.1.20", 1000);
	assert_memory_equal(b->pkt + 28, came, 100);
	pk_udp(came, 100, WEB4, 443, DEV4, 1001);
	len = pk_error(b->pkt, DEV4, WEB4, came, 100);
	assert_int_equal(out(b, len, &e), FLOW_UNKNOWN);
}

/* The two parts of a datagram, cut at `cut` bytes of its transport part. */
static size_t fragment4(uint8_t *part, const uint8_t *pkt, size_t len, size_t cut, bool first)
{
	size_t n = first ? 20 + cut : len - cut;

	memcpy(part, pkt, 20);
	memcpy(part + 20, pkt + 20 + (first ? 0 : cut), n - 20);
	be16_put(part + 2, (uint16_t)n);
	be16_put(part + 6, first ? 0x2000 : (uint16_t)(cut / 8));
	be16_put(part + 10, 0);
	be16_put(part + 10, (uint16_t)~pk_sum(part, 20, 0));
	return n;
}

static void join4(uint8_t *pkt, const uint8_t *first, const uint8_t *second, size_t len, size_t cut)
{
	memcpy(pkt, first, 20 + cut);
	memcpy(pkt + 20 + cut, second + 20, len - 20 - cut);
	be16_put(pkt + 2, (uint16_t)len);
	be16_put(pkt + 6, 0);
	be16_put(pkt + 10, 0);
	be16_put(pkt + 10, (uint16_t)~pk_sum(pkt, 20, 0));
}

static void fragments_follow_their_first_one(void **state)
{
	struct bench *b = *state;
	uint8_t one[600], two[600];
	unsigned int e1, e2;
	size_t n1, n2;

	/* the flow is on a, a is no longer in use, and it is the resolver's too */
	pk_udp(b->pkt, 500, DEV4, 1000, RES4, 53);
	n1 = fragment4(one, b->pkt, 500, 200, true);
	n2 = fragment4(two, b->pkt, 500, 200, false);
	assert_int_equal(flow_out(&b->f, b->now, one, n1, false, &e1), FLOW_PASS);
	flow_use(&b->f, b->b);
	assert_int_equal(flow_out(&b->f, b->now, two, n2, false, &e2), FLOW_PASS);
	assert_int_equal(e1, b->a);
	assert_int_equal(e2, b->a);
	assert_true(pk_sum(one, 20, 0) == 0xffff && pk_sum(two, 20, 0) == 0xffff);
	join4(b->pkt, one, two, 500, 200);
	assert_true(pk_src_is(b->pkt, "100.64.1.20") && pk_dst_is(two, "9.9.9.9"));
	assert_true(pk_good(b->pkt, 500));

	pk_udp(b->pkt, 500, "9.9.9.9", 53, "100.64.1.20", 1000);
	n1 = fragment4(one, b->pkt, 500, 200, true);
	n2 = fragment4(two, b->pkt, 500, 200, false);
	assert_int_equal(flow_in(&b->f, b->now, b->a, one, n1, false), FLOW_PASS);
	assert_int_equal(flow_in(&b->f, b->now, b->a, two, n2, false), FLOW_PASS);
	join4(b->pkt, one, two, 500, 200);
	assert_true(pk_src_is(two, RES4) && pk_dst_is(two, DEV4) && pk_good(b->pkt, 500));

	/* unknown first: dropped; unknown later one: passed, it comes to nothing */
	pk_udp(b->pkt, 500, WEB4, 443, "100.64.1.20", 1000);
	n1 = fragment4(one, b->pkt, 500, 200, true);
	n2 = fragment4(two, b->pkt, 500, 200, false);
	assert_int_equal(flow_in(&b->f, b->now, b->a, two, n2, false), FLOW_PASS);
	assert_int_equal(flow_in(&b->f, b->now, b->a, one, n1, false), FLOW_UNKNOWN);
}

/* [P-58] */
static void idle_flows_end_by_their_kind(void **state)
{
	static const struct {
		int kind;
		dur_t idle;
	} cases[] = {
		{0, {120000000000}},  /* UDP */
		{1, {20000000000}},   /* DNS */
		{2, {30000000000}},   /* ICMP */
		{3, {120000000000}},  /* TCP without an answer */
		{4, {7440000000000}}, /* TCP */
		{5, {10000000000}},   /* TCP reset */
	};
	struct bench *b = *state;
	unsigned int e;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		switch (cases[i].kind) {
		case 0:
			pk_udp(b->pkt, 100, DEV4, 1000, WEB4, 443);
			break;
		case 1:
			pk_udp(b->pkt, 100, DEV4, 1000, RES4, 53);
			break;
		case 2:
			pk_icmp(b->pkt, 100, DEV4, WEB4, 8, 0x00050001);
			break;
		default:
			pk_tcp(b->pkt, 100, DEV4, 1000, WEB4, 443, PACKET_TCP_SYN);
		}
		assert_int_equal(out(b, 100, &e), FLOW_PASS);
		if (cases[i].kind >= 4)
			assert_int_equal(tcp_in(b, e, 1000, PACKET_TCP_ACK), FLOW_PASS);
		if (cases[i].kind == 5)
			assert_int_equal(tcp_in(b, e, 1000, PACKET_TCP_RST), FLOW_PASS);
		b->now.ns += cases[i].idle.ns - 1;
		flow_tick(&b->f, b->now);
		assert_int_equal(flow_exit_flows(&b->f, b->a), 1);
		b->now.ns += 1;
		flow_tick(&b->f, b->now);
		assert_int_equal(flow_exit_flows(&b->f, b->a), 0);
		assert_int_equal(b->f.table.n_used, 0);
	}
}

/* [P-58] */
static void tcp_closes_by_fin_of_both_sides_and_a_syn_begins_anew(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(tcp_in(b, e, 1000, PACKET_TCP_SYN | PACKET_TCP_ACK), FLOW_PASS);
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_FIN | PACKET_TCP_ACK, &e), FLOW_PASS);
	flow_use(&b->f, b->b);
	/* half closed: stays */
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(e, b->a);
	assert_int_equal(tcp_in(b, b->a, 1000, PACKET_TCP_FIN | PACKET_TCP_ACK), FLOW_PASS);
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_ACK, &e), FLOW_PASS);
	assert_int_equal(e, b->a);
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(e, b->b); /* the port is used again: a new flow */
}

/* [P-58] */
static void when_an_exit_is_gone_udp_and_syn_move_and_tcp_is_told(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(tcp_out(b, 1001, PACKET_TCP_SYN, &e), FLOW_PASS);
	pk_udp(b->pkt, 60, DEV4, 1002, WEB4, 443);
	assert_int_equal(out(b, 60, &e), FLOW_PASS);
	flow_exit_del(&b->f, b->a);
	assert_int_equal(flow_exit_flows(&b->f, b->a), 0);
	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_NO_ROUTE);
	flow_use(&b->f, b->b);
	assert_int_equal(
		tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS); /* not answered yet: moves */
	assert_int_equal(e, b->b);
	assert_int_equal(tcp_out(b, 1001, PACKET_TCP_ACK, &e), FLOW_EXIT_GONE);
	pk_udp(b->pkt, 60, DEV4, 1002, WEB4, 443);
	assert_int_equal(out(b, 60, &e), FLOW_PASS);
	assert_int_equal(e, b->b);
	assert_int_equal(flow_exit_flows(&b->f, b->b), 2);
	/* the place is given to another exit: old flows are not its own */
	unsigned int c = add_exit(b, "100.64.1.20", NULL, "9.9.9.9", NULL);
	assert_int_equal(c, b->a);
	assert_int_equal(tcp_in(b, c, 1001, PACKET_TCP_ACK), FLOW_UNKNOWN);
	assert_int_equal(tcp_out(b, 1001, PACKET_TCP_ACK, &e), FLOW_EXIT_GONE);
	/* it does not serve IPv6 */
	flow_use(&b->f, c);
	pk_udp(b->pkt, 60, DEV6, 1002, WEB6, 443);
	assert_int_equal(out(b, 60, &e), FLOW_NO_ROUTE);
}

static void reset_answers_the_segment_it_is_for(void **state)
{
	struct bench *b = *state;
	uint8_t r[FLOW_RESET_MAX];

	pk_tcp(b->pkt, 100, DEV4, 1000, WEB4, 443, PACKET_TCP_ACK);
	assert_int_equal(flow_reset(b->pkt, 100, r), 40);
	assert_true(pk_good(r, 40) && pk_src_is(r, WEB4) && pk_dst_is(r, DEV4));
	assert_int_equal(be16_get(r + 20), 443);
	assert_int_equal(be16_get(r + 22), 1000);
	assert_int_equal(be32_get(r + 24), 2000); /* sequence: what was acknowledged */
	assert_int_equal(r[33], PACKET_TCP_RST);
	pk_tcp(b->pkt, 100, DEV6, 1000, WEB6, 443, PACKET_TCP_SYN);
	assert_int_equal(flow_reset(b->pkt, 100, r), 60);
	assert_true(pk_good(r, 60));
	assert_int_equal(r[53], PACKET_TCP_RST | PACKET_TCP_ACK);
	assert_int_equal(be32_get(r + 48), 1000 + 40 + 1);
	pk_tcp(b->pkt, 100, DEV4, 1000, WEB4, 443, PACKET_TCP_RST);
	assert_int_equal(flow_reset(b->pkt, 100, r), 0);
	pk_udp(b->pkt, 100, DEV4, 1000, WEB4, 443);
	assert_int_equal(flow_reset(b->pkt, 100, r), 0);
}

static void full_table_gives_up_the_longest_unused(void **state)
{
	struct bench *b = *state;
	unsigned int e;

	for (uint16_t i = 0; i < FLOWS; i++) {
		b->now.ns += DUR_S(1).ns;
		assert_int_equal(tcp_out(b, (uint16_t)(1000 + i), PACKET_TCP_SYN, &e), FLOW_PASS);
	}
	b->now.ns += DUR_S(1).ns;
	assert_int_equal(
		tcp_out(b, 1000, PACKET_TCP_ACK, &e), FLOW_PASS); /* the oldest is used again */
	assert_int_equal(tcp_out(b, 5000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(b->f.n.evicted, 1);
	assert_int_equal(flow_exit_flows(&b->f, b->a), FLOWS);
	assert_int_equal(tcp_in(b, b->a, 1000, PACKET_TCP_ACK), FLOW_PASS);
	assert_int_equal(tcp_in(b, b->a, 1001, PACKET_TCP_ACK), FLOW_UNKNOWN);
}

static void exits_are_bounded(void **state)
{
	struct bench *b = *state;
	struct net_addr none = {0}, ip = addr("100.64.9.9");
	unsigned int e;

	for (int i = 2; i < FLOW_EXITS_MAX; i++)
		assert_int_equal(flow_exit_add(&b->f, &ip, &none, &none, &none, &e), OK);
	assert_int_equal(flow_exit_add(&b->f, &ip, &none, &none, &none, &e), ERR_FULL);
	flow_exit_del(&b->f, 3);
	flow_exit_del(&b->f, 3);
	flow_exit_del(&b->f, 99);
	assert_int_equal(flow_exit_add(&b->f, &ip, &none, &none, &none, &e), OK);
	assert_int_equal(e, 3);
	flow_exit_del(&b->f, b->a);
	assert_int_equal(b->f.in_use, FLOW_NO_EXIT);
}

/* [P-58] across a restart: what an exit sends finds its flow, and nothing lives longer than it would have. */
static void flows_go_on_in_the_next_process(void **state)
{
	struct bench *b = *state;
	void *next_state;
	struct flow_kept k[4];
	uint32_t cursor = 0;
	unsigned int e, n = 0;

	assert_int_equal(tcp_out(b, 1000, PACKET_TCP_SYN, &e), FLOW_PASS);
	assert_int_equal(tcp_in(b, b->a, 1000, PACKET_TCP_SYN | PACKET_TCP_ACK), FLOW_PASS);
	assert_int_equal(tcp_in(b, b->a, 1000, PACKET_TCP_FIN), FLOW_PASS);
	flow_use(&b->f, b->b);
	pk_udp(b->pkt, 100, DEV4, 1000, RES4, 53);
	assert_int_equal(out(b, 100, &e), FLOW_PASS);
	b->now.ns += DUR_S(5).ns;
	assert_int_equal(tcp_out(b, 1001, PACKET_TCP_SYN, &e), FLOW_PASS);
	while (flow_keep(&b->f, b->now, &cursor, &k[n]))
		n++;
	assert_int_equal(n, 3);
	assert_false(flow_keep(&b->f, b->now, &cursor, &k[n]));
	assert_int_equal(k[0].key.local_port, 1000); /* the longest unused first */
	assert_int_equal(k[2].key.local_port, 1001);

	assert_int_equal(setup(&next_state), 0);
	struct bench *next = next_state;
	next->now = b->now;
	for (unsigned int i = 0; i < n; i++) {
		assert_int_equal(flow_restore(&next->f, next->now, &k[i]), OK);
		assert_int_equal(flow_restore(&next->f, next->now, &k[i]), ERR_INVALID); /* it is there */
	}
	assert_int_equal(flow_exit_flows(&next->f, next->a), 1);
	assert_int_equal(flow_exit_flows(&next->f, next->b), 2);
	assert_int_equal(tcp_in(next, next->a, 1000, PACKET_TCP_ACK), FLOW_PASS);
	assert_int_equal(tcp_in(next, next->b, 1000, PACKET_TCP_ACK), FLOW_UNKNOWN);
	assert_int_equal(tcp_in(next, next->b, 1001, PACKET_TCP_ACK), FLOW_PASS);
	/* its other FIN ends the first one: that the first came is known */
	assert_int_equal(tcp_out(next, 1000, PACKET_TCP_FIN, &e), FLOW_PASS);
	assert_int_equal(e, next->a);
	/* 5 of the DNS question's 20 s are over */
	next->now.ns += FLOW_DNS_IDLE.ns - DUR_S(5).ns - 1;
	flow_tick(&next->f, next->now);
	assert_int_equal(flow_exit_flows(&next->f, next->b), 2);
	assert_int_equal(flow_exit_flows(&next->f, next->a), 0); /* closed, 10 s */
	next->now.ns++;
	flow_tick(&next->f, next->now);
	assert_int_equal(flow_exit_flows(&next->f, next->b), 1);
	teardown(&next_state);
}

static void flows_that_cannot_be_are_not_restored(void **state)
{
	struct bench *b = *state;
	struct flow_kept k = {.key = {.family = NET_IP4, .proto = PACKET_UDP, .local_port = 1}};
	uint32_t cursor = 0;

	assert_false(flow_keep(&b->f, b->now, &cursor, &k));
	k.exit = FLOW_NO_EXIT;
	assert_int_equal(flow_restore(&b->f, b->now, &k), ERR_INVALID);
	k.exit = 7; /* not live */
	assert_int_equal(flow_restore(&b->f, b->now, &k), ERR_INVALID);
	k.exit = (uint8_t)b->a;
	k.state = 3;
	assert_int_equal(flow_restore(&b->f, b->now, &k), ERR_INVALID);
	k.state = 0;
	k.key.family = NET_NONE;
	assert_int_equal(flow_restore(&b->f, b->now, &k), ERR_INVALID);
	k.key.family = NET_IP6;
	for (uint16_t i = 0; i < FLOWS; i++) {
		k.key.local_port = i;
		assert_int_equal(flow_restore(&b->f, b->now, &k), OK);
	}
	k.key.local_port = FLOWS;
	assert_int_equal(flow_restore(&b->f, b->now, &k), ERR_FULL);
	/* of an exit that is gone nothing is kept */
	flow_exit_del(&b->f, b->a);
	assert_false(flow_keep(&b->f, b->now, &cursor, &k));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(addresses_are_translated_and_checksums_stay_right),
		T(every_checksum_value_survives),
		T(absent_udp_checksum_stays_absent),
		T(partial_checksum_is_the_pseudo_header_of_the_new_addresses),
		T(flow_stays_with_its_exit_and_new_ones_take_the_exit_in_use),
		T(exit_reaches_only_flows_that_are_its_own),
		T(what_is_not_from_the_device_or_not_for_an_exit_is_dropped),
		T(resolver_is_translated_both_ways),
		T(icmp_errors_come_in_for_the_flow_they_are_about),
		T(icmp_error_from_the_resolver_comes_from_the_constant),
		T(icmp_errors_go_out_by_the_exit_of_the_flow),
		T(fragments_follow_their_first_one),
		T(idle_flows_end_by_their_kind),
		T(tcp_closes_by_fin_of_both_sides_and_a_syn_begins_anew),
		T(when_an_exit_is_gone_udp_and_syn_move_and_tcp_is_told),
		T(reset_answers_the_segment_it_is_for),
		T(full_table_gives_up_the_longest_unused),
		T(exits_are_bounded),
		T(flows_go_on_in_the_next_process),
		T(flows_that_cannot_be_are_not_restored),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
