/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The reset that tells the device that a TCP connection is over. */
#include <string.h>

#include "lib/bytes.h"
#include "lib/net.h"
#include "flow.h"

static uint16_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i < len; i += 2)
		sum += be16_get(p + i);
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* RFC 9293 section 3.10.7.1: what a closed port answers. */
static void reset_tcp(const uint8_t *tcp, size_t segment_len, uint8_t ret[static 20])
{
	memset(ret, 0, 20);
	memcpy(ret, tcp + 2, 2);
	memcpy(ret + 2, tcp, 2);
	ret[12] = 5 << 4;
	if (tcp[13] & PACKET_TCP_ACK) {
		memcpy(ret + 4, tcp + 8, 4);
		ret[13] = PACKET_TCP_RST;
	} else {
		be32_put(ret + 8, be32_get(tcp + 4) + (uint32_t)segment_len);
		ret[13] = PACKET_TCP_RST | PACKET_TCP_ACK;
	}
}

/* Sequence numbers that the segment takes. */
static size_t segment_size(const uint8_t *tcp, size_t len)
{
	size_t header = (size_t)(tcp[12] >> 4) * 4;
	size_t data = header <= len ? len - header : 0;

	return data + ((tcp[13] & PACKET_TCP_SYN) != 0) + ((tcp[13] & PACKET_TCP_FIN) != 0);
}

static size_t reset_ip(const uint8_t *pkt, const struct packet *p, uint8_t *ret)
{
	size_t header = p->family == NET_IP4 ? 20 : 40;

	memset(ret, 0, header);
	if (p->family == NET_IP4) {
		ret[0] = 0x45;
		be16_put(ret + 2, 40);
		ret[6] = 0x40; /* do not fragment */
		ret[8] = 64;
		ret[9] = PACKET_TCP;
	} else {
		ret[0] = 0x60;
		be16_put(ret + 4, 20);
		ret[6] = PACKET_TCP;
		ret[7] = 64;
	}
	memcpy(ret + p->src_at, pkt + p->dst_at, p->addr_len);
	memcpy(ret + p->dst_at, pkt + p->src_at, p->addr_len);
	if (p->family == NET_IP4)
		be16_put(ret + 10, (uint16_t)~sum16(ret, 20, 0));
	return header;
}

size_t flow_reset(const uint8_t *pkt, size_t len, uint8_t ret_reset[static FLOW_RESET_MAX])
{
	struct packet p;
	const uint8_t *tcp;
	size_t header;
	uint32_t pseudo;

	if (packet_parse(pkt, len, false, &p) != OK || p.proto != PACKET_TCP || !p.has_ports ||
		p.fragment || (p.tcp_flags & PACKET_TCP_RST))
		return 0;
	tcp = pkt + p.l4;
	header = reset_ip(pkt, &p, ret_reset);
	reset_tcp(tcp, segment_size(tcp, p.len - p.l4), ret_reset + header);
	pseudo = sum16(ret_reset + p.src_at, (size_t)p.addr_len * 2, PACKET_TCP + 20);
	be16_put(ret_reset + header + 16, (uint16_t)~sum16(ret_reset + header, 20, pseudo));
	return header + 20;
}
