/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IP packets for tests, and a checksum that is slow and plain (RFC 1071, byte by byte). */
#ifndef TESTS_TUNNEL_PACKETS_H
#define TESTS_TUNNEL_PACKETS_H

#include <stdint.h>
#include <string.h>

#include "lib/bytes.h"
#include "services/tunnel/core/ip.h"

struct build {
	uint8_t family; /* 4 or 6 */
	uint8_t proto;
	uint8_t tos, ttl;
	uint8_t flow; /* last byte of the source address */
	uint16_t id;
	bool df;
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t flags; /* TCP */
	uint16_t window;
	uint8_t tcp_options; /* bytes, multiple of 4 */
};

#define BUILD_TCP4 ((struct build){4, 6, 0, 64, 1, 100, true, 1000, 443, 7, 9, 0x10, 500, 12})
#define BUILD_TCP6 ((struct build){6, 6, 0, 64, 1, 0, true, 1000, 443, 7, 9, 0x10, 500, 12})
#define BUILD_UDP4 ((struct build){4, 17, 0, 64, 1, 100, true, 1000, 443, 0, 0, 0, 0, 0})
#define BUILD_UDP6 ((struct build){6, 17, 0, 64, 1, 0, true, 1000, 443, 0, 0, 0, 0, 0})

static inline uint16_t slow_sum(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Over pseudo header and transport part: 0xffff when the checksum inside is right. */
static inline uint16_t slow_l4_sum(const uint8_t *pkt, size_t l4, size_t len, uint8_t proto)
{
	uint32_t sum = proto + (uint32_t)(len - l4);

	if (proto == 1)
		sum = 0;
	else if (pkt[0] >> 4 == 4)
		sum += slow_sum(pkt + 12, 8, 0);
	else
		sum += slow_sum(pkt + 8, 32, 0);
	return slow_sum(pkt + l4, len - l4, sum);
}

static inline size_t build_ip_head(const struct build *b, uint8_t *pkt, size_t l4_len)
{
	if (b->family == 4) {
		memset(pkt, 0, 20);
		pkt[0] = 0x45;
		pkt[1] = b->tos;
		be16_put(pkt + 2, (uint16_t)(20 + l4_len));
		be16_put(pkt + 4, b->id);
		be16_put(pkt + 6, b->df ? 0x4000 : 0);
		pkt[8] = b->ttl;
		pkt[9] = b->proto;
		memcpy(pkt + 12, (uint8_t[]){10, 0, 0, b->flow, 192, 0, 2, 1}, 8);
		be16_put(pkt + 10, (uint16_t)~slow_sum(pkt, 20, 0));
		return 20;
	}
	memset(pkt, 0, 40);
	pkt[0] = (uint8_t)(0x60 | b->tos >> 4);
	pkt[1] = (uint8_t)(b->tos << 4);
	be16_put(pkt + 4, (uint16_t)l4_len);
	pkt[6] = b->proto;
	pkt[7] = b->ttl;
	memcpy(pkt + 8, (uint8_t[]){0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b->flow},
		16);
	memcpy(pkt + 24, (uint8_t[]){0x20, 1, 0xd, 0xb8, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 16);
	return 40;
}

/* Returns the length; payload bytes are a function of their place in the stream (seq). */
static inline size_t build_packet(const struct build *b, uint8_t *pkt, size_t payload)
{
	size_t head = b->proto == 6 ? 20u + b->tcp_options : 8,
	       l4 = build_ip_head(b, pkt, head + payload);
	size_t len = l4 + head + payload;
	uint8_t *h = pkt + l4, *csum = h + (b->proto == 6 ? 16 : 6);
	uint16_t v;

	memset(h, 0, head);
	be16_put(h, b->sport);
	be16_put(h + 2, b->dport);
	if (b->proto == 6) {
		be32_put(h + 4, b->seq);
		be32_put(h + 8, b->ack);
		h[12] = (uint8_t)(head / 4 << 4);
		h[13] = b->flags;
		be16_put(h + 14, b->window);
		for (size_t i = 20; i < head; i++)
			h[i] = (uint8_t)(i * 3);
	} else {
		be16_put(h + 4, (uint16_t)(head + payload));
	}
	for (size_t i = 0; i < payload; i++)
		h[head + i] = (uint8_t)((b->seq + i) * 31 >> 2);
	v = (uint16_t)~slow_l4_sum(pkt, l4, len, b->proto);
	be16_put(csum, v == 0 && b->proto == 17 ? 0xffff : v);
	return len;
}

/* Are all checksums in a whole packet right, by the slow sum? */
static inline bool packet_right(const uint8_t *pkt, size_t len)
{
	struct ip_packet ip;

	if (ip_parse(pkt, len, &ip) != OK || ip.len != len)
		return false;
	if (ip.family == 4 && slow_sum(pkt, ip.l4, 0) != 0xffff)
		return false;
	return slow_l4_sum(pkt, ip.l4, len, ip.proto) == 0xffff;
}

#endif
