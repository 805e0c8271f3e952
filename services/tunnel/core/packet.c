/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "packet.h"

#include <string.h>

#include "lib/bytes.h"
#include "lib/net.h"

enum {
	IP4_SIZE = 20,
	IP6_SIZE = 40,
	TCP_SIZE = 20,
	UDP_SIZE = 8,
	ICMP_SIZE = 8,
	IP6_HOP_BY_HOP = 0,
	IP6_ROUTING = 43,
	IP6_FRAGMENT = 44,
	IP6_DESTINATION = 60
};

/* ---- reading ---- */

static bool is_icmp_error(uint8_t family, uint8_t type)
{
	if (family == NET_IP6)
		return type >= 1 && type <= 4;					/* RFC 4443 */
	return type == 3 || type == 4 || type == 5 || type == 11 || type == 12; /* RFC 792 */
}

static bool is_icmp_echo(uint8_t family, uint8_t type)
{
	return family == NET_IP6 ? type == 128 || type == 129 : type == 0 || type == 8;
}

static void parse_ports(const uint8_t *l4, struct packet *p)
{
	p->src_port = be16_get(l4);
	p->dst_port = be16_get(l4 + 2);
	p->has_ports = true;
}

static void parse_icmp(const uint8_t *l4, size_t left, struct packet *p)
{
	if (left < ICMP_SIZE)
		return;
	p->icmp_error = is_icmp_error(p->family, l4[0]);
	if (is_icmp_echo(p->family, l4[0])) {
		p->src_port = p->dst_port = be16_get(l4 + 4);
		p->has_ports = true;
	}
}

/* What of the transport header is there; an embedded packet may be cut behind its ports. */
static void parse_transport(const uint8_t *pkt, size_t len, bool embedded, struct packet *p)
{
	const uint8_t *l4 = pkt + p->l4;
	size_t left = len - p->l4;

	if (!p->first)
		return;
	if (p->proto == PACKET_TCP && left >= (embedded ? 4 : TCP_SIZE)) {
		parse_ports(l4, p);
		p->tcp_flags = left >= TCP_SIZE ? l4[13] : 0;
	} else if (p->proto == PACKET_UDP && left >= (embedded ? 4 : UDP_SIZE)) {
		parse_ports(l4, p);
	} else if (p->proto == (p->family == NET_IP4 ? PACKET_ICMP : PACKET_ICMP6)) {
		parse_icmp(l4, left, p);
	}
}

static enum err parse4(const uint8_t *pkt, size_t len, bool embedded, struct packet *p)
{
	size_t header;
	uint16_t frag;

	if (len < IP4_SIZE)
		return ERR_MALFORMED;
	header = (size_t)(pkt[0] & 15) * 4;
	if (header < IP4_SIZE || header > len)
		return ERR_MALFORMED;
	if (!embedded) {
		if (be16_get(pkt + 2) > len || be16_get(pkt + 2) < header)
			return ERR_MALFORMED;
		len = be16_get(pkt + 2);
	}
	frag = be16_get(pkt + 6);
	p->family = NET_IP4;
	p->len = (uint32_t)len;
	p->proto = pkt[9];
	p->options = header != IP4_SIZE;
	p->frag_offset = (uint16_t)((frag & 0x1fff) * 8);
	p->fragment = (frag & 0x3fff) != 0; /* offset or more-fragments */
	p->first = p->frag_offset == 0;
	p->frag_id = be16_get(pkt + 4);
	p->l4 = (uint16_t)header;
	p->src_at = 12;
	p->dst_at = 16;
	p->addr_len = 4;
	parse_transport(pkt, len, embedded, p);
	return OK;
}

static bool is_extension(uint8_t next)
{
	return next == IP6_HOP_BY_HOP || next == IP6_ROUTING || next == IP6_FRAGMENT ||
	       next == IP6_DESTINATION;
}

static void parse_fragment6(const uint8_t *header, struct packet *p)
{
	uint16_t frag = be16_get(header + 2);

	p->frag_offset = frag & 0xfff8;
	p->fragment = (frag & 0xfff9) != 0; /* an atomic fragment (RFC 6946) is a whole packet */
	p->first = p->frag_offset == 0;
	p->frag_id = be32_get(header + 4);
}

/* Walks the extension headers to the transport header, or to a later fragment's data. */
static enum err walk6(const uint8_t *pkt, size_t len, struct packet *p)
{
	size_t at = IP6_SIZE;
	uint8_t next = pkt[6];
	int n;

	for (n = 0; n < PACKET_EXTENSIONS_MAX && is_extension(next) && p->first; n++) {
		size_t size = 8;

		if (len - at < 8)
			return ERR_MALFORMED;
		if (next == IP6_FRAGMENT)
			parse_fragment6(pkt + at, p);
		else
			size = ((size_t)pkt[at + 1] + 1) * 8;
		p->options |= next == IP6_ROUTING;
		if (len - at < size)
			return ERR_MALFORMED;
		next = pkt[at];
		at += size;
	}
	if (p->first && is_extension(next))
		return ERR_MALFORMED;
	p->proto = next;
	p->l4 = (uint16_t)at;
	return OK;
}

static enum err parse6(const uint8_t *pkt, size_t len, bool embedded, struct packet *p)
{
	if (len < IP6_SIZE)
		return ERR_MALFORMED;
	if (!embedded) {
		if ((size_t)be16_get(pkt + 4) + IP6_SIZE > len)
			return ERR_MALFORMED;
		len = (size_t)be16_get(pkt + 4) + IP6_SIZE;
	}
	p->family = NET_IP6;
	p->len = (uint32_t)len;
	p->first = true;
	p->src_at = 8;
	p->dst_at = 24;
	p->addr_len = 16;
	TRY(walk6(pkt, len, p));
	parse_transport(pkt, len, embedded, p);
	return OK;
}

enum err packet_parse(const uint8_t *pkt, size_t len, bool embedded, struct packet *ret_p)
{
	struct packet p = {0};

	if (len == 0)
		return ERR_MALFORMED;
	if (pkt[0] >> 4 == 4)
		TRY(parse4(pkt, len, embedded, &p));
	else if (pkt[0] >> 4 == 6)
		TRY(parse6(pkt, len, embedded, &p));
	else
		return ERR_MALFORMED;
	*ret_p = p;
	return OK;
}

/* ---- checksums ---- */

static uint32_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What changing these bytes adds to a ones' complement sum: sum(to) + sum(~from). len is even, at
 * most 16. */
static uint32_t delta_of(const uint8_t *from, const uint8_t *to, size_t len)
{
	uint32_t d = 0;

	for (size_t i = 0; i < len; i += 2)
		d += be16_get(to + i) + (uint16_t)~be16_get(from + i);
	return fold(d);
}

/* RFC 1624 equation 3: HC' = ~(~HC + ~m + m'). */
static uint16_t apply(uint16_t csum, uint32_t delta)
{
	return (uint16_t)~fold((uint16_t)~csum + delta);
}

uint16_t csum_replace(uint16_t sum, const uint8_t *from, const uint8_t *to, size_t len)
{
	return apply(sum, delta_of(from, to, len));
}

/* Offset of the transport checksum in its header; -1 if there is none that covers addresses. */
static int csum_at(const struct packet *p)
{
	switch (p->proto) {
	case PACKET_TCP:
		return 16;
	case PACKET_UDP:
		return 6;
	case PACKET_ICMP6:
		return p->family == NET_IP6 ? 2 : -1;
	}
	return -1;
}

/* Mends the transport checksum at l4 for a change of the pseudo header, if that much is there.
 * Returns what the change of the checksum field itself adds to a sum that covers it. */
static uint32_t mend_transport(uint8_t *pkt, const struct packet *p, uint32_t delta, bool partial)
{
	int at = csum_at(p);
	uint8_t *field = pkt + p->l4 + at, old[2], new[2];
	uint16_t sum;

	if (!p->first || at < 0 || (size_t)p->l4 + (size_t)at + 2 > p->len)
		return 0;
	memcpy(old, field, 2);
	sum = be16_get(old);
	if (partial && p->proto != PACKET_ICMP6) {
		sum = (uint16_t)fold(
			sum + delta); /* the field is a plain sum, not its complement */
	} else if (p->proto == PACKET_UDP && sum == 0) {
		return 0; /* RFC 768: none was made */
	} else {
		sum = apply(sum, delta);
		if (p->proto == PACKET_UDP && sum == 0)
			sum = 0xffff;
	}
	be16_put(new, sum);
	memcpy(field, new, 2);
	return delta_of(old, new, 2);
}

static uint32_t mend_ip4(uint8_t *pkt, uint32_t delta)
{
	uint8_t old[2], new[2];

	memcpy(old, pkt + 10, 2);
	be16_put(new, apply(be16_get(old), delta));
	memcpy(pkt + 10, new, 2);
	return delta_of(old, new, 2);
}

/* Writes addr at `at`, mends all; returns what all of it adds to a sum over the packet. */
static uint32_t set_addr(
	uint8_t *pkt, const struct packet *p, size_t at, const uint8_t *addr, bool partial)
{
	uint32_t delta = delta_of(pkt + at, addr, p->addr_len), all = delta;

	memcpy(pkt + at, addr, p->addr_len);
	if (p->family == NET_IP4)
		all += mend_ip4(pkt, delta);
	return fold(all + mend_transport(pkt, p, delta, partial));
}

void packet_set_src(uint8_t *pkt, const struct packet *p, const uint8_t *addr, bool partial)
{
	(void)set_addr(pkt, p, p->src_at, addr, partial);
}

void packet_set_dst(uint8_t *pkt, const struct packet *p, const uint8_t *addr, bool partial)
{
	(void)set_addr(pkt, p, p->dst_at, addr, partial);
}

void packet_set_embedded(uint8_t *pkt, const struct packet *p, size_t at, const struct packet *in,
	const uint8_t *src, const uint8_t *dst)
{
	uint8_t *icmp_sum = pkt + p->l4 + 2;
	uint32_t delta = 0;

	if (src != NULL)
		delta += set_addr(pkt + at, in, in->src_at, src, false);
	if (dst != NULL)
		delta += set_addr(pkt + at, in, in->dst_at, dst, false);
	be16_put(icmp_sum, apply(be16_get(icmp_sum), fold(delta)));
}
