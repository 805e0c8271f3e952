/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/rng.h"
#include "tests/harness/tunnel_packets.h"

static const struct build builds[4] = {
	{4, 6, 0, 64, 1, 100, true, 1000, 443, 7, 9, 0x10, 500, 12},
	{6, 6, 0, 64, 1, 0, true, 1000, 443, 7, 9, 0x10, 500, 12},
	{4, 17, 0, 64, 1, 100, true, 1000, 443, 0, 0, 0, 0, 0},
	{6, 17, 0, 64, 1, 0, true, 1000, 443, 0, 0, 0, 0, 0},
};

static void parses_the_four_kinds(void **state)
{
	uint8_t pkt[256];
	struct ip_packet ip;

	(void)state;
	for (int i = 0; i < 4; i++) {
		const struct build *b = &builds[i];
		size_t len = build_packet(b, pkt, 50), l4 = b->family == 4 ? 20 : 40;

		memset(pkt + len, 0, 16); /* padding of the tunnel */
		assert_int_equal(ip_parse(pkt, len + 16, &ip), OK);
		assert_int_equal(ip.len, len);
		assert_int_equal(ip.family, b->family);
		assert_int_equal(ip.proto, b->proto);
		assert_int_equal(ip.l4, l4);
		assert_int_equal(ip.payload, l4 + (b->proto == 6 ? 32 : 8));
		assert_true(ip.l4_whole && !ip.fragment && !ip.options);
		assert_true(ip_csum_l4_valid(pkt, &ip));
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(ip_parse(pkt, cut, &ip), ERR_MALFORMED);
	}
}

static void refuses_what_is_no_packet(void **state)
{
	uint8_t pkt[64] = {0};
	struct ip_packet ip;

	(void)state;
	for (unsigned int v = 0; v < 16; v++) {
		pkt[0] = (uint8_t)(v << 4 | 5);
		pkt[3] = 64;
		assert_int_equal(
			ip_parse(pkt, sizeof(pkt), &ip), v == 4 || v == 6 ? OK : ERR_MALFORMED);
	}
	pkt[0] = 0x44; /* header of 16 bytes */
	assert_int_equal(ip_parse(pkt, sizeof(pkt), &ip), ERR_MALFORMED);
	pkt[0] = 0x46; /* header of 24, total of 22 */
	pkt[3] = 22;
	assert_int_equal(ip_parse(pkt, sizeof(pkt), &ip), ERR_MALFORMED);
	pkt[3] = 24;
	assert_int_equal(ip_parse(pkt, sizeof(pkt), &ip), OK);
	assert_true(ip.options);
}

static void transport_header_must_fit(void **state)
{
	struct build b = BUILD_TCP4;
	uint8_t pkt[256];
	struct ip_packet ip;
	size_t len = build_packet(&b, pkt, 0);

	(void)state;
	be16_put(pkt + 2, (uint16_t)(len - 1));
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_false(ip.l4_whole);
	assert_int_equal(ip.payload, ip.l4);
	be16_put(pkt + 2, (uint16_t)len);
	pkt[20 + 12] = 0x40; /* 16-byte TCP header */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_false(ip.l4_whole);
}

static void fragments_are_told(void **state)
{
	struct build b = BUILD_UDP4;
	uint8_t pkt[256];
	struct ip_packet ip;
	size_t len = build_packet(&b, pkt, 40);

	(void)state;
	be16_put(pkt + 6, 0x2000); /* first */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_true(ip.fragment && ip.l4_whole);
	be16_put(pkt + 6, 0x2001); /* middle */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_true(ip.fragment && !ip.l4_whole);
	be16_put(pkt + 6, 0x0001); /* last */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_true(ip.fragment && !ip.l4_whole);
}

/* Puts an extension header of `size` bytes before the transport header. */
static size_t ext_insert(uint8_t *pkt, size_t len, uint8_t type, size_t size)
{
	memmove(pkt + 40 + size, pkt + 40, len - 40);
	memset(pkt + 40, 0, size);
	pkt[40] = pkt[6];
	pkt[41] = (uint8_t)(type == 51 ? size / 4 - 2 : type == 44 ? 0 : size / 8 - 1);
	pkt[6] = type;
	be16_put(pkt + 4, (uint16_t)(be16_get(pkt + 4) + size));
	return len + size;
}

static void looks_behind_extension_headers(void **state)
{
	struct build b = BUILD_UDP6;
	uint8_t pkt[512];
	struct ip_packet ip;
	size_t len = build_packet(&b, pkt, 40);

	(void)state;
	len = ext_insert(pkt, len, 60, 8);
	len = ext_insert(pkt, len, 51, 24);
	len = ext_insert(pkt, len, 43, 16);
	len = ext_insert(pkt, len, 0, 8);
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_int_equal(ip.proto, 17);
	assert_int_equal(ip.l4, 40 + 8 + 16 + 24 + 8);
	assert_true(ip.options && ip.l4_whole && !ip.fragment);
	assert_true(ip_csum_l4_valid(pkt, &ip));
	len = ext_insert(pkt, len, 44, 8); /* atomic fragment: whole */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_true(!ip.fragment && ip.l4_whole);
	pkt[43] = 1; /* more to come */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_true(ip.fragment && ip.l4_whole);
	pkt[43] = 8; /* not the first */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_true(ip.fragment && !ip.l4_whole);
	pkt[43] = 0;
	pkt[48 + 1] = 255; /* a length beyond the packet */
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_false(ip.l4_whole);
	assert_int_equal(ip.l4, 48);
	assert_int_equal(ip.proto, 0);
}

static void sums_agree_with_the_slow_one(void **state)
{
	static const uint8_t seed[32] = {1};
	uint8_t buf[3000];
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	for (int i = 0; i < 20000; i++) {
		size_t at = rng_below(&rng, 16), len = rng_below(&rng, i % 10 ? 200 : 2900);
		uint8_t want[2];

		rng_bytes(&rng, buf, 3000 < at + len ? 3000 : at + len);
		if (i % 7 == 0)
			memset(buf, 0xff, sizeof(buf));
		be16_put(want, slow_sum(buf + at, len, 0));
		assert_int_equal(ip_fold(ip_sum(buf + at, len, 0)), ip_csum_get(want));
	}
}

static void every_flipped_bit_is_noticed(void **state)
{
	uint8_t pkt[256];
	struct ip_packet ip;

	(void)state;
	for (int i = 0; i < 4; i++) {
		size_t len = build_packet(&builds[i], pkt, 21);

		assert_int_equal(ip_parse(pkt, len, &ip), OK);
		for (size_t bit = (size_t)ip.l4 * 8; bit < len * 8; bit++) {
			pkt[bit / 8] ^= (uint8_t)(1 << bit % 8);
			assert_false(ip_csum_l4_valid(pkt, &ip));
			pkt[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	build_packet(&builds[2], pkt, 21);
	ip_csum_put(pkt + 26, 0); /* absent over IPv4: allowed */
	assert_int_equal(ip_parse(pkt, 49, &ip), OK);
	assert_true(ip_csum_l4_valid(pkt, &ip));
	size_t len = build_packet(&builds[3], pkt, 21); /* over IPv6: not */
	ip_csum_put(pkt + 46, 0);
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_false(ip_csum_l4_valid(pkt, &ip));
}

static void fill_makes_them_right(void **state)
{
	uint8_t pkt[256];
	struct ip_packet ip;

	(void)state;
	for (int i = 0; i < 4; i++) {
		size_t len = build_packet(&builds[i], pkt, 33);

		assert_int_equal(ip_parse(pkt, len, &ip), OK);
		pkt[len - 1] ^= 0x55;
		pkt[ip.src] ^= 1;
		assert_false(packet_right(pkt, len));
		ip_csum_fill(pkt, &ip);
		assert_true(packet_right(pkt, len));
	}
}

static void incremental_update_equals_recomputing(void **state)
{
	static const uint8_t seed[32] = {2};
	uint8_t pkt[256], new[16];
	struct ip_packet ip;
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	for (int i = 0; i < 20000; i++) {
		struct build b = builds[i % 4];
		size_t len;

		b.flow = (uint8_t)rng_u32(&rng);
		b.sport = (uint16_t)rng_u32(&rng);
		b.seq = rng_u32(&rng);
		len = build_packet(&b, pkt, rng_below(&rng, 100));
		assert_int_equal(ip_parse(pkt, len, &ip), OK);
		rng_bytes(&rng, new, sizeof(new));
		if (i % 5 == 0)
			memset(new, i % 2 ? 0 : 0xff, sizeof(new));
		ip_rewrite_src(pkt, &ip, new);
		assert_memory_equal(pkt + ip.src, new, ip.addr_len);
		assert_true(packet_right(pkt, len));
		rng_bytes(&rng, new, sizeof(new));
		ip_rewrite_dst(pkt, &ip, new);
		assert_true(packet_right(pkt, len));
		if (b.proto == 17)
			assert_int_not_equal(ip_csum_get(pkt + ip.l4 + 6), 0);
	}
}

/* The one address among 65536 with which the checksum would be 0, which for UDP means absent. */
static void udp_checksum_never_becomes_absent(void **state)
{
	uint8_t pkt[256], fresh[256];
	struct ip_packet ip;
	size_t len = build_packet(&builds[2], fresh, 33);
	int n_ffff = 0;

	(void)state;
	assert_int_equal(ip_parse(fresh, len, &ip), OK);
	for (unsigned int i = 0; i < 65536; i++) {
		uint8_t new[4] = {10, 1, (uint8_t)(i >> 8), (uint8_t)i};

		memcpy(pkt, fresh, len);
		ip_rewrite_src(pkt, &ip, new);
		assert_int_not_equal(ip_csum_get(pkt + 26), 0);
		n_ffff += ip_csum_get(pkt + 26) == 0xffff;
		assert_int_equal(slow_l4_sum(pkt, 20, len, 17), 0xffff);
	}
	assert_true(n_ffff >= 1);
}

static void absent_udp_checksum_stays_absent(void **state)
{
	uint8_t pkt[256], new[4] = {1, 2, 3, 4};
	struct ip_packet ip;
	size_t len = build_packet(&builds[2], pkt, 33);

	(void)state;
	ip_csum_put(pkt + 26, 0);
	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	ip_rewrite_src(pkt, &ip, new);
	assert_int_equal(ip_csum_get(pkt + 26), 0);
	assert_int_equal(slow_sum(pkt, 20, 0), 0xffff);
}

/* The translator of a client sees errors about packets that it translated on the way out. */
static void icmp_errors_are_translated_inside_too(void **state)
{
	static const uint8_t outer[16] = {100, 64, 0, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
	static const uint8_t device[16] = {10, 99, 0, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 1, 2};

	(void)state;
	for (int v6 = 0; v6 < 2; v6++) {
		struct build sent = v6 ? BUILD_UDP6 : BUILD_UDP4, err = sent;
		uint8_t quoted[128], pkt[256];
		struct ip_packet ip;
		size_t qlen = build_packet(&sent, quoted, 20), l4 = v6 ? 40 : 20,
		       len = l4 + 8 + qlen;

		assert_int_equal(ip_parse(quoted, qlen, &ip), OK);
		ip_rewrite_src(quoted, &ip, outer); /* as it left */
		err.proto = v6 ? 58 : 1;
		build_ip_head(&err, pkt, 8 + qlen);
		memset(pkt + l4, 0, 8);
		pkt[l4] = v6 ? 1 : 3; /* unreachable */
		memcpy(pkt + l4 + 8, quoted, qlen);
		assert_int_equal(ip_parse(pkt, len, &ip), OK);
		memcpy(pkt + ip.dst, outer, ip.addr_len);
		ip_csum_fill(pkt, &ip);
		assert_true(packet_right(pkt, len));
		ip_rewrite_dst(pkt, &ip, device);
		assert_true(packet_right(pkt, len));
		assert_memory_equal(pkt + l4 + 8 + ip.src, device, ip.addr_len);
		if (!v6)
			assert_int_equal(slow_sum(pkt + l4 + 8, 20, 0), 0xffff);
		/* an echo is left alone */
		pkt[l4] = v6 ? 128 : 8;
		ip_csum_fill(pkt, &ip);
		ip_rewrite_dst(pkt, &ip, outer);
		assert_true(packet_right(pkt, len));
		assert_memory_equal(pkt + l4 + 8 + ip.src, device, ip.addr_len);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_the_four_kinds),
		cmocka_unit_test(refuses_what_is_no_packet),
		cmocka_unit_test(transport_header_must_fit),
		cmocka_unit_test(fragments_are_told),
		cmocka_unit_test(looks_behind_extension_headers),
		cmocka_unit_test(sums_agree_with_the_slow_one),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(fill_makes_them_right),
		cmocka_unit_test(incremental_update_equals_recomputing),
		cmocka_unit_test(udp_checksum_never_becomes_absent),
		cmocka_unit_test(absent_udp_checksum_stays_absent),
		cmocka_unit_test(icmp_errors_are_translated_inside_too),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
