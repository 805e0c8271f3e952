/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In: decrypted packets into super-packets (offload.h). */
#include "lib/bytes.h"
#include "offload.h"
#include "offload_internal.h"

void offload_joiner_reset(struct offload_joiner *j)
{
	j->n_pieces = j->n_runs = 0;
	memset(j->recent, 0xff, sizeof(j->recent));
}

void offload_joiner_init(struct offload_joiner *j, unsigned int caps)
{
	j->caps = caps;
	offload_joiner_reset(j);
}

/* --- which flow, and may it be joined at all? ------------------------------------------------ */
/* Where the newest run of the flow is kept; else the place of the run that has been quiet longest.
 */
static uint16_t *recent_of(struct offload_joiner *j, uint32_t hash)
{
	uint16_t *set = j->recent[hash % OFFLOAD_SETS], *oldest = set;

	for (int i = 0; i < OFFLOAD_WAYS; i++) {
		if (set[i] == OFFLOAD_NONE)
			return &set[i];
		if (j->runs[set[i]].hash == hash)
			return &set[i];
		if (j->runs[set[i]].last < j->runs[*oldest].last)
			oldest = &set[i];
	}
	return oldest;
}

static bool tcp_joinable(const uint8_t *tcp)
{
	return (tcp[TCP_FLAGS] & ~TCP_PSH) == TCP_ACK;
}

static bool udp_joinable(const uint8_t *udp, uint32_t len)
{
	return ip_csum_get(udp + UDP_CSUM) != 0 && be16_get(udp + 4) == len;
}

static unsigned int cap_of(const struct ip_packet *ip)
{
	if (ip->proto == IP_PROTO_TCP)
		return ip->family == 4 ? OFFLOAD_CAP_TCP4 : OFFLOAD_CAP_TCP6;
	return ip->family == 4 ? OFFLOAD_CAP_UDP4 : OFFLOAD_CAP_UDP6;
}

static bool joinable(const struct offload_joiner *j, const uint8_t *pkt, const struct ip_packet *ip)
{
	if (ip->options || ip->payload == ip->len || (j->caps & cap_of(ip)) == 0)
		return false;
	return ip->proto == IP_PROTO_TCP ? tcp_joinable(pkt + ip->l4)
					 : udp_joinable(pkt + ip->l4, ip->len - ip->l4);
}

/* --- does it continue the run? --------------------------------------------------------------- */
static bool same4(const uint8_t *a, const uint8_t *b, uint16_t n)
{
	bool df = a[6] & 0x40; /* without it the identification counts, and cutting will count it */

	return memcmp(a, b, 2) == 0 && memcmp(a + 6, b + 6, 4) == 0 &&
	       memcmp(a + 12, b + 12, 8) == 0 &&
	       (df || (uint16_t)(be16_get(a + 4) + n) == be16_get(b + 4));
}

static bool same6(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a, b, 4) == 0 && memcmp(a + 6, b + 6, 34) == 0;
}

static bool same_tcp(const uint8_t *a, const uint8_t *b, size_t head)
{
	return memcmp(a, b, 4) == 0 && memcmp(a + 8, b + 8, 5) == 0 &&
	       memcmp(a + 14, b + 14, 2) == 0 && memcmp(a + 18, b + 18, head - 18) == 0;
}

static bool continues(const struct offload_joiner *j, const struct offload_run *r,
	const uint8_t *pkt, const struct ip_packet *ip)
{
	const uint8_t *first = j->pieces[r->first].pkt;
	uint32_t payload = ip->len - ip->payload;
	enum offload_kind kind = ip->proto == IP_PROTO_TCP ? OFFLOAD_TCP : OFFLOAD_UDP;

	if (!r->open || r->kind != kind || r->family != ip->family || r->head_len != ip->payload ||
		payload > r->gso_size || r->n >= OFFLOAD_RUN_PACKETS ||
		r->len + payload > OFFLOAD_SUPER_MAX)
		return false;
	if (ip->family == 4 ? !same4(first, pkt, r->n) : !same6(first, pkt))
		return false;
	if (kind == OFFLOAD_UDP)
		return memcmp(first + r->l4, pkt + r->l4, 4) == 0;
	return be32_get(pkt + r->l4 + 4) == r->next_seq &&
	       same_tcp(first + r->l4, pkt + r->l4, ip->payload - ip->l4);
}

/* Checksums are looked at only where joining would hide that they are wrong. */
static bool sums_right(const uint8_t *pkt, const struct ip_packet *ip)
{
	if (ip->family == 4 && ip_fold(ip_sum(pkt, ip->l4, 0)) != 0xffff)
		return false;
	return ip_csum_l4_valid(pkt, ip);
}

static bool first_right(const struct offload_joiner *j, struct offload_run *r)
{
	const struct offload_piece *p = &j->pieces[r->first];
	struct ip_packet ip;

	if (!r->verified)
		r->verified = ip_parse(p->pkt, p->len, &ip) == OK && sums_right(p->pkt, &ip);
	return r->verified;
}

static bool ends_run(const struct offload_run *r, const uint8_t *pkt, uint32_t payload)
{
	return payload < r->gso_size ||
	       (r->kind == OFFLOAD_TCP && pkt[r->l4 + TCP_FLAGS] & TCP_PSH);
}

static void append(struct offload_joiner *j, struct offload_run *r, uint16_t piece,
	const uint8_t *pkt, uint32_t payload)
{
	j->pieces[r->last].next = piece;
	r->last = piece;
	r->n++;
	r->len += payload;
	r->next_seq += payload;
	r->open = !ends_run(r, pkt, payload);
}

static uint16_t run_new(struct offload_joiner *j, uint16_t piece, const uint8_t *pkt,
	const struct ip_packet *ip, uint32_t hash, bool may_grow)
{
	uint16_t i = j->n_runs++;
	struct offload_run *r = &j->runs[i];

	*r = (struct offload_run){
		.first = piece,
		.last = piece,
		.n = 1,
		.head_len = ip->payload,
		.l4 = ip->l4,
		.family = ip->family,
		.kind = OFFLOAD_SINGLE,
		.len = ip->len,
		.hash = hash,
	};
	if (may_grow) {
		r->kind = ip->proto == IP_PROTO_TCP ? OFFLOAD_TCP : OFFLOAD_UDP;
		r->gso_size = (uint16_t)(ip->len - ip->payload);
		if (r->kind == OFFLOAD_TCP)
			r->next_seq = be32_get(pkt + ip->l4 + 4) + r->gso_size;
		r->open = !ends_run(r, pkt, r->gso_size);
	}
	return i;
}

enum err offload_add(struct offload_joiner *j, uint8_t *pkt, const struct ip_packet *ip)
{
	uint16_t piece = j->n_pieces, *recent;
	uint32_t hash;
	bool may_grow;

	if (piece == OFFLOAD_PACKETS)
		return ERR_FULL;
	j->n_pieces++;
	j->pieces[piece] = (struct offload_piece){pkt, (uint16_t)ip->len, OFFLOAD_NONE};
	if (!ip_has_flow(ip)) { /* whose it is cannot be told: nothing may overtake it */
		memset(j->recent, 0xff, sizeof(j->recent));
		run_new(j, piece, pkt, ip, 0, false);
		return OK;
	}
	hash = ip_flow_hash(pkt, ip);
	recent = recent_of(j, hash);
	may_grow = joinable(j, pkt, ip);
	if (may_grow && *recent != OFFLOAD_NONE) {
		struct offload_run *r = &j->runs[*recent];

		if (continues(j, r, pkt, ip) && first_right(j, r) && sums_right(pkt, ip)) {
			append(j, r, piece, pkt, ip->len - ip->payload);
			return OK;
		}
	}
	*recent = run_new(j, piece, pkt, ip, hash, may_grow);
	return OK;
}

/* --- what is written ------------------------------------------------------------------------- */
static void heads_join(const struct offload_joiner *j, const struct offload_run *r, uint8_t *pkt)
{
	uint8_t *l4 = pkt + r->l4;
	uint32_t l4_len = r->len - r->l4;
	struct ip_packet ip = {.family = r->family};

	ip.addr_len = r->family == 4 ? 4 : 16;
	ip.src = r->family == 4 ? 12 : 8;
	if (r->family == 4) {
		be16_put(pkt + 2, (uint16_t)r->len);
		ip_csum_put(pkt + 10, 0);
		ip_csum_put(pkt + 10, (uint16_t)~ip_fold(ip_sum(pkt, r->l4, 0)));
	} else {
		be16_put(pkt + 4, (uint16_t)(r->len - IP6_HEAD));
	}
	if (r->kind == OFFLOAD_TCP)
		l4[TCP_FLAGS] |= j->pieces[r->last].pkt[r->l4 + TCP_FLAGS] & TCP_PSH;
	else
		be16_put(l4 + 4, (uint16_t)l4_len);
	ip_csum_put(l4 + (r->kind == OFFLOAD_TCP ? TCP_CSUM : UDP_CSUM),
		ip_fold(ip_sum_pseudo(pkt, &ip,
			r->kind == OFFLOAD_TCP ? IP_PROTO_TCP : IP_PROTO_UDP, l4_len, 0)));
}

static uint8_t gso_type(const struct offload_run *r)
{
	if (r->kind == OFFLOAD_UDP)
		return VIRTIO_GSO_UDP_L4;
	return r->family == 4 ? VIRTIO_GSO_TCP4 : VIRTIO_GSO_TCP6;
}

size_t offload_run_iov(struct offload_joiner *j, size_t i, uint8_t vhdr[static OFFLOAD_VHDR],
	struct iovec iov[static OFFLOAD_IOVS])
{
	const struct offload_run *r = &j->runs[i];
	struct virtio_header h = {0};
	size_t n = 1;

	if (r->n > 1) {
		heads_join(j, r, j->pieces[r->first].pkt);
		h.flags = VIRTIO_NEEDS_CSUM;
		h.gso_type = gso_type(r);
		h.hdr_len = r->head_len;
		h.gso_size = r->gso_size;
		h.csum_start = r->l4;
		h.csum_offset = r->kind == OFFLOAD_TCP ? TCP_CSUM : UDP_CSUM;
	}
	memcpy(vhdr, &h, sizeof(h));
	iov[0] = (struct iovec){vhdr, OFFLOAD_VHDR};
	for (uint16_t p = r->first; p != OFFLOAD_NONE; p = j->pieces[p].next) {
		size_t skip = n == 1 ? 0 : r->head_len;

		iov[n++] = (struct iovec){j->pieces[p].pkt + skip, j->pieces[p].len - skip};
	}
	return n;
}
