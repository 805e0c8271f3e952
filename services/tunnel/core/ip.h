/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the data path needs to know of an IP packet, and Internet checksums. Pure, reads only
 * inside (pkt, len). Sources: RFC 791, 8200, 9293, 768, 1071, 1624. */
#ifndef TUNNEL_IP_H
#define TUNNEL_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lib/err.h"

#define IP4_HEAD_MIN 20
#define IP6_HEAD 40
#define TCP_HEAD_MIN 20
#define UDP_HEAD 8
#define IP_PROTO_ICMP 1
#define IP_PROTO_TCP 6
#define IP_PROTO_UDP 17
#define IP_PROTO_ICMP6 58

struct ip_packet {
	uint8_t family;	   /* 4 or 6 */
	uint8_t proto;	   /* of what l4 points at; after extension headers */
	bool fragment;	   /* any part of a fragmented packet: l4 may be no header */
	bool options;	   /* IPv4 options or IPv6 extension headers are there */
	bool l4_whole;	   /* the TCP, UDP or ICMP header lies inside the packet */
	uint8_t addr_len;  /* 4 or 16 */
	uint16_t src, dst; /* offsets of the addresses */
	uint16_t l4;	   /* offset of the transport header */
	uint16_t payload;  /* offset of its payload (equal to l4 when not TCP or UDP) */
	uint32_t len;	   /* as the IP header has it: less than the buffer when it is padded */
};

/* ERR_MALFORMED: no IP packet, or longer than len. Trailing bytes (WireGuard's padding) are not an
 * error; use ret->len. */
NODISCARD enum err ip_parse(const uint8_t *pkt, size_t len, struct ip_packet *ret);

/* Are there ports to tell its flow by? */
static inline bool ip_has_flow(const struct ip_packet *p)
{
	return (p->proto == IP_PROTO_TCP || p->proto == IP_PROTO_UDP) && p->l4_whole && !p->fragment;
}

/* The same for all packets of a flow; of what has no ports, for all between the same addresses. */
uint32_t ip_flow_hash(const uint8_t *pkt, const struct ip_packet *p);
/* Of the destination address alone. */
uint32_t ip_dst_hash(const uint8_t *pkt, const struct ip_packet *p);

/* One's complement sum of bytes, added to sum (itself below 2^48); not folded. Begin with 0; all
 * parts but the last have an even length. */
uint64_t ip_sum(const void *p, size_t len, uint64_t sum);
/* Sum of the pseudo header of p for a transport length. */
uint64_t ip_sum_pseudo(const uint8_t *pkt, const struct ip_packet *p, uint8_t proto,
	uint32_t l4_len, uint64_t sum);

static inline uint16_t ip_fold(uint64_t sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Sums are over memory as it lies (network order bytes, host order words), so are stored checksums:
 * move them with memcpy or ip_csum_{get,put}. */
static inline uint16_t ip_csum_get(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static inline void ip_csum_put(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, 2);
}

/* Is the TCP, UDP or ICMP checksum right (whole, unfragmented packet)? True for other protocols and
 * for an absent UDP checksum over IPv4: nothing to check. */
bool ip_csum_l4_valid(const uint8_t *pkt, const struct ip_packet *p);
/* Computes and stores it (TCP, UDP, ICMP, ICMPv6), and the IPv4 header's. */
void ip_csum_fill(uint8_t *pkt, const struct ip_packet *p);

/* RFC 1624: the checksum at csum, after `len` bytes (even) of what it covers changed from old to
 * new. For UDP pass udp = true: a result of 0 is stored as 0xffff and an absent one (0) stays. */
void ip_csum_update(uint8_t *csum, const void *old, const void *new, size_t len, bool udp);

/* Rewrites the source (or destination) address and every checksum that covers it, in whole packets
 * and fragments; in an ICMP error also the copy of the address in the packet that it quotes (else
 * path MTU discovery through the translation would not work). new has p->addr_len bytes. */
void ip_rewrite_src(uint8_t *pkt, const struct ip_packet *p, const uint8_t *new);
void ip_rewrite_dst(uint8_t *pkt, const struct ip_packet *p, const uint8_t *new);

#endif
