/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ip.h"
#include "lib/bytes.h"

/* --- parsing --------------------------------------------------------------------------------- */
#define IP6_EXT_MAX 8 /* extension headers looked behind; more than any honest packet has */

enum ip6_ext { IP6_HOP = 0, IP6_ROUTING = 43, IP6_FRAGMENT = 44, IP6_AUTH = 51, IP6_DEST = 60 };

static enum err parse4(const uint8_t *pkt, size_t len, struct ip_packet *p, bool *ret_first)
{
	size_t head = len >= IP4_HEAD_MIN ? (size_t)(pkt[0] & 15) * 4 : 0;
	uint16_t frag;

	if (head < IP4_HEAD_MIN || be16_get(pkt + 2) < head || be16_get(pkt + 2) > len)
		return ERR_MALFORMED;
	frag = be16_get(pkt + 6);
	*p = (struct ip_packet){
		.family = 4,
		.proto = pkt[9],
		.fragment = (frag & 0x3fff) != 0,
		.options = head > IP4_HEAD_MIN,
		.addr_len = 4,
		.src = 12,
		.dst = 16,
		.l4 = (uint16_t)head,
		.len = be16_get(pkt + 2),
	};
	*ret_first = (frag & 0x1fff) == 0;
	return OK;
}

/* One extension header at p->l4: moves behind it. False: none, or not to be looked behind. */
static bool ext_skip(const uint8_t *pkt, struct ip_packet *p, bool *ret_first)
{
	const uint8_t *h = pkt + p->l4;
	size_t left = p->len - p->l4, size;

	if (left < 8 ||
		(p->proto != IP6_HOP && p->proto != IP6_ROUTING && p->proto != IP6_FRAGMENT &&
			p->proto != IP6_AUTH && p->proto != IP6_DEST))
		return false;
	if (p->proto == IP6_FRAGMENT) {
		size = 8;
		p->fragment |= (be16_get(h + 2) & 0xfff9) != 0;
		*ret_first = (be16_get(h + 2) & 0xfff8) == 0;
	} else {
		size = p->proto == IP6_AUTH ? ((size_t)h[1] + 2) * 4 : ((size_t)h[1] + 1) * 8;
	}
	if (size > left)
		return false;
	p->options = true;
	p->proto = h[0];
	p->l4 = (uint16_t)(p->l4 + size);
	return *ret_first;
}

static enum err parse6(const uint8_t *pkt, size_t len, struct ip_packet *p, bool *ret_first)
{
	if (len < IP6_HEAD || be16_get(pkt + 4) + (size_t)IP6_HEAD > len ||
		be16_get(pkt + 4) + (size_t)IP6_HEAD > UINT16_MAX)
		return ERR_MALFORMED;
	*p = (struct ip_packet){
		.family = 6,
		.proto = pkt[6],
		.addr_len = 16,
		.src = 8,
		.dst = 24,
		.l4 = IP6_HEAD,
		.len = be16_get(pkt + 4) + (uint32_t)IP6_HEAD,
	};
	*ret_first = true;
	for (int i = 0; i < IP6_EXT_MAX && ext_skip(pkt, p, ret_first); i++)
		;
	return OK;
}

static void parse_l4(const uint8_t *pkt, struct ip_packet *p)
{
	size_t left = p->len - p->l4, head = 0;

	p->payload = p->l4;
	switch (p->proto) {
	case IP_PROTO_TCP:
		head = left >= TCP_HEAD_MIN ? (size_t)(pkt[p->l4 + 12] >> 4) * 4 : 0;
		p->l4_whole = head >= TCP_HEAD_MIN && head <= left;
		break;
	case IP_PROTO_UDP:
		head = UDP_HEAD;
		p->l4_whole = left >= UDP_HEAD;
		break;
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMP6:
		p->l4_whole = left >= 8;
		return;
	}
	if (p->l4_whole)
		p->payload = (uint16_t)(p->l4 + head);
}

enum err ip_parse(const uint8_t *pkt, size_t len, struct ip_packet *ret)
{
	bool first = true;
	enum err e = ERR_MALFORMED;

	if (len > 0 && pkt[0] >> 4 == 4)
		e = parse4(pkt, len, ret, &first);
	else if (len > 0 && pkt[0] >> 4 == 6)
		e = parse6(pkt, len, ret, &first);
	if (e != OK)
		return e;
	ret->payload = ret->l4;
	if (first)
		parse_l4(pkt, ret);
	return OK;
}

/* --- flows ----------------------------------------------------------------------------------- */
static uint32_t hash_words(const uint8_t *p, unsigned int len, uint64_t h)
{
	for (unsigned int i = 0; i < len; i += 4)
		h = (h ^ le32_get(p + i)) * 0x9e3779b97f4a7c15u;
	return (uint32_t)(h >> 32);
}

uint32_t ip_flow_hash(const uint8_t *pkt, const struct ip_packet *p)
{
	return hash_words(pkt + p->src, 2u * p->addr_len, ip_has_flow(p) ? le32_get(pkt + p->l4) : p->proto);
}

uint32_t ip_dst_hash(const uint8_t *pkt, const struct ip_packet *p)
{
	return hash_words(pkt + p->dst, p->addr_len, 0);
}

/* --- sums ------------------------------------------------------------------------------------ */
typedef uint64_t quad __attribute__((vector_size(32)));
typedef uint64_t quad_bytes __attribute__((vector_size(32), aligned(1), may_alias));

/* Both halves of each 64-bit word go to sums of their own: no carry is lost below 2^32 words. 2^32 = 1
 * modulo 2^16 - 1, so words of any width may simply be added. */
static inline __attribute__((always_inline)) uint64_t sum_blocks(const uint8_t *b, size_t n)
{
	quad s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
	uint64_t s;

	for (; n > 0; b += 64, n--) {
		const quad x = *(const quad_bytes *)b, y = *(const quad_bytes *)(b + 32);

		s0 += x & UINT32_MAX;
		s1 += x >> 32;
		s2 += y & UINT32_MAX;
		s3 += y >> 32;
	}
	s0 += s1 + s2 + s3;
	s = s0[0] + s0[1] + s0[2] + s0[3];
	return (uint32_t)s + (s >> 32);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static uint64_t sum_blocks_avx2(const uint8_t *b, size_t n)
{
	return sum_blocks(b, n);
}
#endif

static uint64_t sum_blocks_here(const uint8_t *b, size_t n)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return sum_blocks_avx2(b, n);
#endif
	return sum_blocks(b, n);
}

uint64_t ip_sum(const void *p, size_t len, uint64_t sum)
{
	const uint8_t *b = p;
	const size_t blocks = len / 64;
	uint64_t tail = 0;

	if (blocks > 0)
		sum += sum_blocks_here(b, blocks);
	for (b += 64 * blocks, len %= 64; len >= 8; b += 8, len -= 8)
		sum += (uint64_t)le32_get(b) + le32_get(b + 4);
	if (len > 0)
		memcpy(&tail, b, len);
	return sum + (uint32_t)tail + (tail >> 32);
}

uint64_t ip_sum_pseudo(
	const uint8_t *pkt, const struct ip_packet *p, uint8_t proto, uint32_t l4_len, uint64_t sum)
{
	uint8_t tail[8] = {0};

	be32_put(tail, l4_len);
	tail[7] = proto;
	return ip_sum(tail, sizeof(tail), ip_sum(pkt + p->src, 2u * p->addr_len, sum));
}

/* Offset of the checksum in the transport header; false: the protocol has none that we know. */
static bool csum_offset(const struct ip_packet *p, uint16_t *ret)
{
	switch (p->proto) {
	case IP_PROTO_TCP:
		*ret = 16;
		return true;
	case IP_PROTO_UDP:
		*ret = 6;
		return true;
	case IP_PROTO_ICMP:
	case IP_PROTO_ICMP6:
		*ret = 2;
		return true;
	}
	return false;
}

static bool has_pseudo(const struct ip_packet *p)
{
	return p->proto != IP_PROTO_ICMP;
}

static uint16_t csum_of(const uint8_t *pkt, const struct ip_packet *p)
{
	uint64_t sum = ip_sum(pkt + p->l4, p->len - p->l4, 0);

	if (has_pseudo(p))
		sum = ip_sum_pseudo(pkt, p, p->proto, p->len - p->l4, sum);
	return (uint16_t)~ip_fold(sum);
}

bool ip_csum_l4_valid(const uint8_t *pkt, const struct ip_packet *p)
{
	uint16_t at;

	if (!p->l4_whole || p->fragment || !csum_offset(p, &at))
		return true;
	if (p->proto == IP_PROTO_UDP) {
		if (be16_get(pkt + p->l4 + 4) != p->len - p->l4)
			return false;
		if (p->family == 4 && ip_csum_get(pkt + p->l4 + at) == 0)
			return true;
	}
	return csum_of(pkt, p) == 0;
}

void ip_csum_fill(uint8_t *pkt, const struct ip_packet *p)
{
	uint16_t at, csum;

	if (p->family == 4) {
		ip_csum_put(pkt + 10, 0);
		ip_csum_put(pkt + 10, (uint16_t)~ip_fold(ip_sum(pkt, p->l4, 0)));
	}
	if (!p->l4_whole || p->fragment || !csum_offset(p, &at))
		return;
	ip_csum_put(pkt + p->l4 + at, 0);
	csum = csum_of(pkt, p);
	if (p->proto == IP_PROTO_UDP && csum == 0)
		csum = 0xffff;
	ip_csum_put(pkt + p->l4 + at, csum);
}

/* --- RFC 1624 -------------------------------------------------------------------------------- */
void ip_csum_update(uint8_t *csum, const void *old, const void *new, size_t len, bool udp)
{
	uint16_t before = ip_csum_get(csum), after;
	uint64_t sum = (uint16_t)~before;

	if (udp && before == 0)
		return;
	sum += (uint16_t)~ip_fold(ip_sum(old, len, 0)); /* equation 3: ~(~C + ~m + m') */
	sum = ip_sum(new, len, sum);
	after = (uint16_t)~ip_fold(sum);
	if (udp && after == 0)
		after = 0xffff;
	ip_csum_put(csum, after);
}

/* --- address rewriting ----------------------------------------------------------------------- */
static bool icmp_is_error(const uint8_t *pkt, const struct ip_packet *p)
{
	uint8_t type = pkt[p->l4];

	if (p->proto == IP_PROTO_ICMP6)
		return type < 128;
	return p->proto == IP_PROTO_ICMP &&
	       (type == 3 || type == 4 || type == 5 || type == 11 || type == 12);
}

/* The packet quoted in an ICMP error went the other way: what is our source was its destination. */
static void rewrite_quoted(uint8_t *pkt, const struct ip_packet *p, uint16_t which,
	const uint8_t *old, const uint8_t *new)
{
	uint8_t *quoted = pkt + p->l4 + 8, *csum = pkt + p->l4 + 2;
	size_t left = p->len - p->l4 - 8;
	uint16_t mirror = which == p->src ? p->dst : p->src;
	uint8_t *addr = quoted + mirror, head_csum[2];

	if (left < (p->family == 4 ? (size_t)IP4_HEAD_MIN : (size_t)IP6_HEAD) ||
		quoted[0] >> 4 != p->family || memcmp(addr, old, p->addr_len) != 0)
		return;
	if (p->family == 4) {
		memcpy(head_csum, quoted + 10, 2);
		ip_csum_update(quoted + 10, old, new, p->addr_len, false);
		ip_csum_update(csum, head_csum, quoted + 10, 2, false);
	}
	ip_csum_update(csum, old, new, p->addr_len, false);
	memcpy(addr, new, p->addr_len);
}

static void rewrite(uint8_t *pkt, const struct ip_packet *p, uint16_t which, const uint8_t *new)
{
	uint8_t old[16];
	uint16_t at;

	memcpy(old, pkt + which, p->addr_len);
	if (p->family == 4)
		ip_csum_update(pkt + 10, old, new, p->addr_len, false);
	if (p->l4_whole && csum_offset(p, &at) && has_pseudo(p))
		ip_csum_update(pkt + p->l4 + at, old, new, p->addr_len, p->proto == IP_PROTO_UDP);
	memcpy(pkt + which, new, p->addr_len);
	if (p->l4_whole && !p->fragment &&
		(p->proto == IP_PROTO_ICMP || p->proto == IP_PROTO_ICMP6) && icmp_is_error(pkt, p))
		rewrite_quoted(pkt, p, which, old, new);
}

void ip_rewrite_src(uint8_t *pkt, const struct ip_packet *p, const uint8_t *new)
{
	rewrite(pkt, p, p->src, new);
}

void ip_rewrite_dst(uint8_t *pkt, const struct ip_packet *p, const uint8_t *new)
{
	rewrite(pkt, p, p->dst, new);
}
