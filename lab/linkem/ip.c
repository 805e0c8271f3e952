/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ip.h"

#include <string.h>

#include "lib/bytes.h"

#define IP4_MIN 20
#define IP6_HEADER 40
#define ICMP_HEADER 8
#define PROTO_ICMP 1
#define PROTO_ICMP6 58
#define TTL_OWN 64

static bool icmp4_is_error(uint8_t type)
{
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

static enum err read4(const uint8_t *p, size_t len, struct ip_view *ret_v)
{
	size_t head = (size_t)(p[0] & 15) * 4;

	if (len < IP4_MIN || head < IP4_MIN || head > len || be16_get(p + 2) != len)
		return ERR_MALFORMED;
	bool later = (be16_get(p + 6) & 0x1fff) != 0;
	*ret_v = (struct ip_view){
		.src = net_addr_from_bytes(p + 12, 4),
		.dst = net_addr_from_bytes(p + 16, 4),
		.ttl = p[8],
		.may_fragment = (p[6] & 0x40) == 0,
		.is_error =
			later || (p[9] == PROTO_ICMP && (len == head || icmp4_is_error(p[head]))),
	};
	return OK;
}

static enum err read6(const uint8_t *p, size_t len, struct ip_view *ret_v)
{
	if (len < IP6_HEADER || (size_t)be16_get(p + 4) + IP6_HEADER != len)
		return ERR_MALFORMED;
	*ret_v = (struct ip_view){
		.src = net_addr_from_bytes(p + 8, 16),
		.dst = net_addr_from_bytes(p + 24, 16),
		.ttl = p[7],
		.is_error = p[6] == PROTO_ICMP6 && (len == IP6_HEADER || p[IP6_HEADER] < 128),
	};
	return OK;
}

enum err ip_read(const uint8_t *p, size_t len, struct ip_view *ret_v)
{
	if (len == 0)
		return ERR_MALFORMED;
	if (p[0] >> 4 == 4)
		return read4(p, len, ret_v);
	return p[0] >> 4 == 6 ? read6(p, len, ret_v) : ERR_MALFORMED;
}

static uint32_t sum16(uint32_t sum, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += be16_get(p + i);
	return len % 2 != 0 ? sum + ((uint32_t)p[len - 1] << 8) : sum;
}

static uint16_t sum_fold(uint32_t sum)
{
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void ip_age(uint8_t *p)
{
	if (p[0] >> 4 == 6) {
		p[7]--;
		return;
	}
	/* RFC 1141: the word with the TTL falls by 0x100, so the checksum grows by it. */
	uint32_t sum = be16_get(p + 10) + 0x100u;

	be16_put(p + 10, (uint16_t)(sum + (sum >> 16)));
	p[8]--;
}

static size_t error4(const uint8_t *p, size_t len, enum ip_error what, const struct net_addr *from,
	uint16_t mtu, uint8_t *ret)
{
	static const uint8_t type[] = {11, 3, 3}, code[] = {0, 1, 4};
	/* RFC 1812: as much of the packet as fits 576 bytes. */
	size_t quote = len < 576 - IP4_MIN - ICMP_HEADER ? len : 576 - IP4_MIN - ICMP_HEADER;
	uint8_t *icmp = ret + IP4_MIN;

	memset(ret, 0, IP4_MIN + ICMP_HEADER);
	ret[0] = 0x45;
	be16_put(ret + 2, (uint16_t)(IP4_MIN + ICMP_HEADER + quote));
	ret[8] = TTL_OWN;
	ret[9] = PROTO_ICMP;
	memcpy(ret + 12, from->ip, 4);
	memcpy(ret + 16, p + 12, 4);
	be16_put(ret + 10, sum_fold(sum16(0, ret, IP4_MIN)));
	icmp[0] = type[what];
	icmp[1] = code[what];
	if (what == IP_TOO_BIG)
		be16_put(icmp + 6, mtu);
	memcpy(icmp + ICMP_HEADER, p, quote);
	be16_put(icmp + 2, sum_fold(sum16(0, icmp, ICMP_HEADER + quote)));
	return IP4_MIN + ICMP_HEADER + quote;
}

static size_t error6(const uint8_t *p, size_t len, enum ip_error what, const struct net_addr *from,
	uint16_t mtu, uint8_t *ret)
{
	static const uint8_t type[] = {3, 1, 2};
	size_t room = IP_ERROR_MAX - IP6_HEADER - ICMP_HEADER, quote = len < room ? len : room;
	uint8_t *icmp = ret + IP6_HEADER;

	memset(ret, 0, IP6_HEADER + ICMP_HEADER);
	ret[0] = 0x60;
	be16_put(ret + 4, (uint16_t)(ICMP_HEADER + quote));
	ret[6] = PROTO_ICMP6;
	ret[7] = TTL_OWN;
	memcpy(ret + 8, from->ip, 16);
	memcpy(ret + 24, p + 8, 16);
	icmp[0] = type[what];
	if (what == IP_TOO_BIG)
		be32_put(icmp + 4, mtu);
	memcpy(icmp + ICMP_HEADER, p, quote);
	uint32_t pseudo = sum16(PROTO_ICMP6 + (uint32_t)(ICMP_HEADER + quote), ret + 8, 32);
	be16_put(icmp + 2, sum_fold(sum16(pseudo, icmp, ICMP_HEADER + quote)));
	return IP6_HEADER + ICMP_HEADER + quote;
}

size_t ip_error_build(const uint8_t *p, size_t len, enum ip_error what, const struct net_addr *from,
	uint16_t mtu, uint8_t ret[static IP_ERROR_MAX])
{
	return p[0] >> 4 == 4 ? error4(p, len, what, from, mtu, ret)
			      : error6(p, len, what, from, mtu, ret);
}
