/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading an IP packet's headers, and changing addresses in place with incremental checksums
 * (RFC 1624, RFC 3022). Works on super-packets: nothing here depends on the payload's length. Pure.
 *
 * `partial`: the TCP or UDP checksum field holds the sum of the pseudo-header only, to be completed
 * by who segments (VIRTIO_NET_HDR_F_NEEDS_CSUM); else it holds a finished checksum. */
#ifndef TUNNEL_PACKET_H
#define TUNNEL_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"

enum packet_proto { PACKET_ICMP = 1, PACKET_TCP = 6, PACKET_UDP = 17, PACKET_ICMP6 = 58 };

#define PACKET_EXTENSIONS_MAX 8 /* IPv6 extension headers walked; more is no honest packet */

struct packet {
	uint8_t family;	   /* enum net_family */
	uint8_t proto;	   /* of the transport header, after IPv6 extensions */
	bool options;	   /* IPv4 options, or an IPv6 routing header */
	bool fragment;	   /* part of a fragmented packet */
	bool first;	   /* begins with the transport header: whole packet or first fragment */
	bool has_ports;	   /* src_port, dst_port are valid: TCP, UDP; ICMP echo: its id in both */
	bool icmp_error;   /* carries the packet that caused it, at l4 + 8 */
	uint8_t tcp_flags; /* TCP only, and only if the header is whole */
	uint32_t len;	   /* as the IP header has it (embedded: as much as is there) */
	uint16_t l4;	   /* offset of the transport header (or of fragment data) */
	uint16_t src_at;   /* offsets of the addresses */
	uint16_t dst_at;
	uint16_t addr_len;    /* 4 or 16 */
	uint16_t frag_offset; /* bytes */
	uint32_t frag_id;
	uint16_t src_port, dst_port; /* host order */
};

#define PACKET_TCP_FIN 0x01
#define PACKET_TCP_SYN 0x02
#define PACKET_TCP_RST 0x04
#define PACKET_TCP_ACK 0x10

/* Headers of an IPv4 or IPv6 packet; bytes behind it (padding) are no part of it. Only if
 * `embedded` (inside an ICMP error) may it be cut short. ERR_MALFORMED. */
NODISCARD enum err packet_parse(
	const uint8_t *pkt, size_t len, bool embedded, struct packet *ret_p);

/* Writes a new source or destination (p->addr_len bytes) and mends the checksums of the IP header
 * and the transport. p is what packet_parse said of pkt. */
void packet_set_src(uint8_t *pkt, const struct packet *p, const uint8_t *addr, bool partial);
void packet_set_dst(uint8_t *pkt, const struct packet *p, const uint8_t *addr, bool partial);
/* The same for the packet inside an ICMP error: `in` was parsed at offset `at` of pkt. NULL: leave
 * it. Mends the embedded checksums as far as they are there, and the outer ICMP checksum. */
void packet_set_embedded(uint8_t *pkt, const struct packet *p, size_t at, const struct packet *in,
	const uint8_t *src, const uint8_t *dst);

/* Ones' complement arithmetic, RFC 1624 eqn. 3: checksum `sum` after `from` became `to`. */
uint16_t csum_replace(uint16_t sum, const uint8_t *from, const uint8_t *to, size_t len);

#endif
