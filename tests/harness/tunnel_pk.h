/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP packets for tests: made from parts with full checksums, and checked by summing everything anew
 * (no incremental arithmetic here, that is what is under test). */
#ifndef TESTS_TUNNEL_PACKETS_H
#define TESTS_TUNNEL_PACKETS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/bytes.h"
#include "lib/net.h"

static inline uint32_t pk_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += be16_get(p + i);
	if (len & 1)
		sum += (uint32_t)p[len - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static inline size_t pk_header(const uint8_t *pkt)
{
	return pkt[0] >> 4 == 4 ? 20 : 40;
}

static inline uint32_t pk_pseudo(const uint8_t *pkt, size_t len)
{
	size_t l4 = len - pk_header(pkt);

	if (pkt[0] >> 4 == 4)
		return pk_sum(pkt + 12, 8, (uint32_t)pkt[9] + (uint32_t)l4);
	return pk_sum(pkt + 8, 32, (uint32_t)pkt[6] + (uint32_t)l4);
}

static inline int pk_csum_at(uint8_t proto)
{
	return proto == 6 ? 16 : proto == 17 ? 6 : 2;
}

static inline uint8_t pk_proto(const uint8_t *pkt)
{
	return pkt[0] >> 4 == 4 ? pkt[9] : pkt[6];
}

/* Transport checksum over all of it; ICMPv4 has no pseudo header. */
static inline void pk_fill(uint8_t *pkt, size_t len)
{
	size_t h = pk_header(pkt);
	uint8_t *at = pkt + h + pk_csum_at(pk_proto(pkt));
	uint32_t seed = pk_proto(pkt) == 1 ? 0 : pk_pseudo(pkt, len);
	uint16_t sum;

	be16_put(at, 0);
	sum = (uint16_t)~pk_sum(pkt + h, len - h, seed);
	be16_put(at, sum == 0 && pk_proto(pkt) == 17 ? 0xffff : sum);
	if (h == 20) {
		be16_put(pkt + 10, 0);
		be16_put(pkt + 10, (uint16_t)~pk_sum(pkt, 20, 0));
	}
}

/* Are all checksums of a whole, unfragmented packet right? */
static inline bool pk_good(const uint8_t *pkt, size_t len)
{
	size_t h = pk_header(pkt);
	uint32_t seed = pk_proto(pkt) == 1 ? 0 : pk_pseudo(pkt, len);

	if (h == 20 && pk_sum(pkt, 20, 0) != 0xffff)
		return false;
	return pk_sum(pkt + h, len - h, seed) == 0xffff;
}

/* A packet of `len` bytes in all between two textual addresses; the transport header and data are
 * zero but for what pk_tcp, pk_udp, pk_echo write. */
static inline size_t pk_ip(
	uint8_t *pkt, size_t len, const char *src, const char *dst, uint8_t proto)
{
	struct net_addr s, d;

	if (net_addr_parse(src, &s) != OK || net_addr_parse(dst, &d) != OK)
		return 0;
	memset(pkt, 0, len);
	if (s.family == NET_IP4) {
		pkt[0] = 0x45;
		be16_put(pkt + 2, (uint16_t)len);
		be16_put(pkt + 4, 0x1234);
		pkt[8] = 64;
		pkt[9] = proto;
		memcpy(pkt + 12, s.ip, 4);
		memcpy(pkt + 16, d.ip, 4);
		return 20;
	}
	pkt[0] = 0x60;
	be16_put(pkt + 4, (uint16_t)(len - 40));
	pkt[6] = proto;
	pkt[7] = 64;
	memcpy(pkt + 8, s.ip, 16);
	memcpy(pkt + 24, d.ip, 16);
	return 40;
}

static inline void pk_data(uint8_t *pkt, size_t from, size_t len)
{
	for (size_t i = from; i < len; i++)
		pkt[i] = (uint8_t)(i * 7 + 3);
}

static inline void pk_tcp(uint8_t *pkt, size_t len, const char *src, uint16_t sport,
	const char *dst, uint16_t dport, uint8_t flags)
{
	size_t h = pk_ip(pkt, len, src, dst, 6);

	pk_data(pkt, h + 20, len);
	be16_put(pkt + h, sport);
	be16_put(pkt + h + 2, dport);
	be32_put(pkt + h + 4, 1000);
	be32_put(pkt + h + 8, 2000);
	pkt[h + 12] = 5 << 4;
	pkt[h + 13] = flags;
	pk_fill(pkt, len);
}

static inline void pk_udp(
	uint8_t *pkt, size_t len, const char *src, uint16_t sport, const char *dst, uint16_t dport)
{
	size_t h = pk_ip(pkt, len, src, dst, 17);

	pk_data(pkt, h + 8, len);
	be16_put(pkt + h, sport);
	be16_put(pkt + h + 2, dport);
	be16_put(pkt + h + 4, (uint16_t)(len - h));
	pk_fill(pkt, len);
}

/* ICMP or ICMPv6 by family; type and the 4 bytes behind the checksum as given. */
static inline void pk_icmp(
	uint8_t *pkt, size_t len, const char *src, const char *dst, uint8_t type, uint32_t rest)
{
	bool is6 = strchr(src, ':') != NULL;
	size_t h = pk_ip(pkt, len, src, dst, is6 ? 58 : 1);

	pk_data(pkt, h + 8, len);
	pkt[h] = type;
	be32_put(pkt + h + 4, rest);
	pk_fill(pkt, len);
}

/* An ICMP error from src to dst about the packet `cause`, of which `keep` bytes are carried. */
static inline size_t pk_error(
	uint8_t *pkt, const char *src, const char *dst, const uint8_t *cause, size_t keep)
{
	bool is6 = strchr(src, ':') != NULL;
	size_t h = is6 ? 40 : 20, len = h + 8 + keep;

	pk_icmp(pkt, len, src, dst, is6 ? 1 : 3, 0);
	memcpy(pkt + h + 8, cause, keep);
	pk_fill(pkt, len);
	return len;
}

static inline bool pk_addr_is(const uint8_t *ip, const char *text)
{
	struct net_addr a;

	return net_addr_parse(text, &a) == OK && memcmp(ip, a.ip, net_ip_len(&a)) == 0;
}

static inline bool pk_src_is(const uint8_t *pkt, const char *text)
{
	return pk_addr_is(pkt + (pkt[0] >> 4 == 4 ? 12 : 8), text);
}

static inline bool pk_dst_is(const uint8_t *pkt, const char *text)
{
	return pk_addr_is(pkt + (pkt[0] >> 4 == 4 ? 16 : 24), text);
}

#endif
