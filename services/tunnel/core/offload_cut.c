/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Out: super-packets into wire segments (offload.h). */
#include "lib/bytes.h"
#include "offload.h"
#include "offload_internal.h"

/* --- parse ----------------------------------------------------------------------------------- */
enum err offload_parse_plain(const uint8_t *pkt, size_t len, struct offload_super *ret)
{
	*ret = (struct offload_super){.pkt = pkt, .kind = OFFLOAD_SINGLE, .n_segments = 1};
	return ip_parse(pkt, len, &ret->ip);
}

/* Is it what the virtio header says it is? */
static bool kind_fits(const struct ip_packet *ip, uint8_t gso)
{
	switch (gso) {
	case VIRTIO_GSO_TCP4:
		return ip->family == 4 && ip->proto == IP_PROTO_TCP;
	case VIRTIO_GSO_TCP6:
		return ip->family == 6 && ip->proto == IP_PROTO_TCP;
	case VIRTIO_GSO_UDP_L4:
		return ip->proto == IP_PROTO_UDP;
	}
	return false;
}

static enum err parse_gso(struct offload_super *s, uint8_t gso, uint16_t size)
{
	uint32_t payload = s->ip.len - s->ip.payload;

	if (!kind_fits(&s->ip, gso) || !s->ip.l4_whole || s->ip.fragment || size == 0)
		return ERR_MALFORMED;
	s->kind = gso == VIRTIO_GSO_UDP_L4 ? OFFLOAD_UDP : OFFLOAD_TCP;
	s->head_len = s->ip.payload;
	s->gso_size = size;
	s->n_segments = payload == 0 ? 1 : (payload + size - 1) / size;
	return s->n_segments <= OFFLOAD_SEGMENTS_MAX ? OK : ERR_TOO_LARGE;
}

enum err offload_parse(const uint8_t *buf, size_t len, struct offload_super *ret)
{
	struct virtio_header h;

	if (len < OFFLOAD_VHDR)
		return ERR_MALFORMED;
	memcpy(&h, buf, sizeof(h));
	TRY(offload_parse_plain(buf + OFFLOAD_VHDR, len - OFFLOAD_VHDR, ret));
	if ((h.gso_type & ~VIRTIO_GSO_ECN) != VIRTIO_GSO_NONE)
		return parse_gso(ret, h.gso_type & ~VIRTIO_GSO_ECN, h.gso_size);
	ret->needs_csum = h.flags & VIRTIO_NEEDS_CSUM;
	ret->csum_start = h.csum_start;
	ret->csum_offset = h.csum_offset;
	if (ret->needs_csum && (size_t)h.csum_start + h.csum_offset + 2 > ret->ip.len)
		return ERR_MALFORMED;
	return OK;
}

/* --- plan ------------------------------------------------------------------------------------ */
static uint32_t padded(uint32_t len, const struct offload_layout *l)
{
	uint32_t to = l->pad_to > 1 ? (len + l->pad_to - 1) / l->pad_to * l->pad_to : len;

	if (l->mtu != 0 && to > l->mtu)
		to = len > l->mtu ? len : l->mtu;
	return to;
}

void offload_plan(
	const struct offload_super *s, const struct offload_layout *l, struct offload_plan *ret)
{
	ret->n = s->n_segments;
	ret->ip_len = ret->n > 1 ? s->head_len + s->gso_size : s->ip.len;
	ret->last_ip_len = s->ip.len - (ret->n - 1) * s->gso_size;
	ret->len = padded(ret->ip_len, l);
	ret->last_len = padded(ret->last_ip_len, l);
	ret->stride = l->headroom + ret->len + l->tailroom;
	ret->total = (ret->n - 1) * ret->stride + l->headroom + ret->last_len + l->tailroom;
}

/* --- cut ------------------------------------------------------------------------------------- */
static void single_put(const struct offload_super *s, uint8_t *pkt)
{
	uint8_t *csum = pkt + s->csum_start + s->csum_offset;
	uint16_t v;

	if (!s->needs_csum)
		return;
	v = (uint16_t)~ip_fold(ip_sum(pkt + s->csum_start, s->ip.len - s->csum_start, 0));
	ip_csum_put(csum, v == 0 && s->csum_offset == UDP_CSUM ? 0xffff : v);
}

static void ip_head_put(const struct offload_super *s, uint8_t *pkt, uint32_t len, uint32_t i)
{
	if (s->ip.family == 6) {
		be16_put(pkt + 4, (uint16_t)(len - IP6_HEAD));
		return;
	}
	be16_put(pkt + 2, (uint16_t)len);
	be16_put(pkt + 4, (uint16_t)(be16_get(pkt + 4) + i));
	ip_csum_put(pkt + 10, 0);
	ip_csum_put(pkt + 10, (uint16_t)~ip_fold(ip_sum(pkt, (pkt[0] & 15) * 4u, 0)));
}

static void tcp_head_put(const struct offload_super *s, uint8_t *tcp, uint32_t i)
{
	be32_put(tcp + 4, be32_get(tcp + 4) + i * s->gso_size);
	if (i + 1 < s->n_segments)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (i > 0)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR; /* said once, RFC 3168 6.1.2 */
}

static void segment_put(const struct offload_super *s, uint8_t *pkt, uint32_t len, uint32_t i)
{
	uint8_t *l4 = pkt + s->ip.l4;
	uint32_t l4_len = len - s->ip.l4;
	uint8_t *csum = l4 + (s->kind == OFFLOAD_TCP ? TCP_CSUM : UDP_CSUM);
	uint16_t v;

	ip_head_put(s, pkt, len, i);
	if (s->kind == OFFLOAD_TCP)
		tcp_head_put(s, l4, i);
	else
		be16_put(l4 + 4, (uint16_t)l4_len);
	ip_csum_put(csum, 0);
	v = (uint16_t)~ip_fold(
		ip_sum_pseudo(pkt, &s->ip, s->ip.proto, l4_len, ip_sum(l4, l4_len, 0)));
	ip_csum_put(csum, v == 0 && s->kind == OFFLOAD_UDP ? 0xffff : v);
}

void offload_cut(const struct offload_super *s, const struct offload_layout *l,
	const struct offload_plan *p, uint32_t first, uint32_t n, uint8_t *out)
{
	for (uint32_t i = first; i < first + n; i++, out += p->stride) {
		bool last = i + 1 == p->n;
		uint32_t len = last ? p->last_ip_len : p->ip_len;
		uint32_t pad = (last ? p->last_len : p->len) - len;
		uint8_t *pkt = out + l->headroom;

		if (s->kind == OFFLOAD_SINGLE) {
			memcpy(pkt, s->pkt, len);
			single_put(s, pkt);
		} else {
			memcpy(pkt, s->pkt, s->head_len);
			memcpy(pkt + s->head_len, s->pkt + s->head_len + (size_t)i * s->gso_size,
				len - s->head_len);
			segment_put(s, pkt, len, i);
		}
		memset(pkt + len, 0, pad);
	}
}
