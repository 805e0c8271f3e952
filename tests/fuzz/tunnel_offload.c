/* SPDX-License-Identifier: GPL-2.0-or-later */
/* First byte even: the rest is what a TUN device gave (virtio header and packet): parse, plan, cut;
 * every segment must be a right packet. Odd: a list of packets (two bytes of length each, the top
 * bit of the first asks for right checksums): join, and what is joined, cut again, must be what
 * came. */
#include <stdio.h>
#include <stdlib.h>

#include "services/tunnel/core/offload.h"
#include "tests/harness/tunnel_packets.h"

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond)) {                                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                 \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static bool segment_right(const struct offload_super *s, const uint8_t *pkt, size_t len)
{
	struct ip_packet ip;

	if (ip_parse(pkt, len, &ip) != OK || ip.len != len || ip.l4 != s->ip.l4)
		return false;
	if (ip.family == 4 && slow_sum(pkt, ip.l4, 0) != 0xffff)
		return false;
	return ip_csum_l4_valid(pkt, &ip);
}

static void cut_all(const struct offload_super *s, const struct offload_layout *l)
{
	struct offload_plan p;
	size_t payload = 0;
	uint8_t *out;

	offload_plan(s, l, &p);
	out = malloc(p.total); /* exact: the address sanitizer sees a write beyond */
	offload_cut(s, l, &p, 0, p.n, out);
	for (uint32_t i = 0; i < p.n; i++) {
		bool last = i + 1 == p.n;
		const uint8_t *pkt = out + (size_t)i * p.stride + l->headroom;
		size_t size = last ? p.last_ip_len : p.ip_len;

		CHECK((last ? p.last_len : p.len) >= size);
		if (s->kind != OFFLOAD_SINGLE) {
			CHECK(segment_right(s, pkt, size));
			CHECK(memcmp(pkt + s->head_len, s->pkt + s->head_len + payload,
				      size - s->head_len) == 0);
			payload += size - s->head_len;
		}
	}
	if (s->kind != OFFLOAD_SINGLE)
		CHECK(payload == s->ip.len - s->head_len);
	free(out);
}

static void fuzz_cut(const uint8_t *data, size_t len)
{
	static const struct offload_layout layouts[] = {
		{0, 0, 1, 0}, {16, 16, 16, 1420}, {56, 48, 16, 1280}};
	struct offload_super s;

	if (offload_parse(data, len, &s) == OK)
		for (int i = 0; i < 3; i++)
			cut_all(&s, &layouts[i]);
	if (offload_parse_plain(data, len, &s) == OK)
		cut_all(&s, &layouts[1]);
}

/* --- join ------------------------------------------------------------------------------------ */
static struct offload_joiner joiner;
static uint8_t *pkts[OFFLOAD_PACKETS], *originals[OFFLOAD_PACKETS];
static size_t n_pkts;

static size_t packets_add(const uint8_t *data, size_t len)
{
	struct ip_packet ip;
	size_t size = be16_get(data) & 0x7fff;

	if (size > len - 2)
		size = len - 2;
	pkts[n_pkts] = malloc(size > 0 ? size : 1);
	memcpy(pkts[n_pkts], data + 2, size);
	if (ip_parse(pkts[n_pkts], size, &ip) != OK) {
		free(pkts[n_pkts]);
		return 2 + size;
	}
	if (data[0] & 0x80)
		ip_csum_fill(pkts[n_pkts], &ip);
	originals[n_pkts] = malloc(size);
	memcpy(originals[n_pkts], pkts[n_pkts], size);
	CHECK(offload_add(&joiner, pkts[n_pkts], &ip) == OK);
	n_pkts++;
	return 2 + size;
}

static const uint8_t *original_of(const uint8_t *pkt)
{
	for (size_t i = 0; i < n_pkts; i++)
		if (pkts[i] == pkt)
			return originals[i];
	CHECK(!"a piece is one of the packets");
	return NULL;
}

/* 0 and 0xffff are the same checksum for TCP; the cutter writes the usual one. With DF set, the
 * identification means nothing (RFC 6864) and is counted on. */
static bool same_packet(uint8_t *pkt, const uint8_t *want, size_t len, const struct offload_run *r)
{
	size_t csum = r->l4 + (r->kind == OFFLOAD_TCP ? 16u : 6u);

	if (r->n > 1 && ip_csum_get(want + csum) == 0xffff)
		ip_csum_put(pkt + csum, 0xffff);
	if (r->n > 1 && r->family == 4 && want[6] & 0x40) {
		memcpy(pkt + 4, want + 4, 2);
		memcpy(pkt + 10, want + 10, 2);
	}
	if (r->n > 1 && r->family == 4 && ip_csum_get(want + 10) == 0xffff)
		ip_csum_put(pkt + 10, 0xffff);
	return memcmp(pkt, want, len) == 0;
}

static void run_check(size_t i)
{
	static const struct offload_layout l = {0, 0, 1, 0};
	const struct offload_run *r = &joiner.runs[i];
	struct iovec iov[OFFLOAD_IOVS];
	uint8_t vhdr[OFFLOAD_VHDR], *whole = malloc(OFFLOAD_VHDR + r->len), *out;
	size_t n = offload_run_iov(&joiner, i, vhdr, iov), at = 0;
	uint16_t piece = r->first;
	struct offload_super s;
	struct offload_plan p;

	CHECK(r->len <= OFFLOAD_SUPER_MAX && n == (size_t)r->n + 1);
	for (size_t k = 0; k < n; k++) {
		CHECK(at + iov[k].iov_len <= OFFLOAD_VHDR + r->len);
		memcpy(whole + at, iov[k].iov_base, iov[k].iov_len);
		at += iov[k].iov_len;
	}
	CHECK(at == OFFLOAD_VHDR + r->len);
	CHECK(offload_parse(whole, at, &s) == OK);
	CHECK(s.n_segments == r->n);
	offload_plan(&s, &l, &p);
	out = malloc(p.total);
	offload_cut(&s, &l, &p, 0, p.n, out);
	for (uint32_t k = 0; k < p.n; k++, piece = joiner.pieces[piece].next) {
		size_t size = k + 1 == p.n ? p.last_ip_len : p.ip_len;

		CHECK(joiner.pieces[piece].len == size);
		CHECK(same_packet(out + (size_t)k * p.stride, original_of(joiner.pieces[piece].pkt),
			size, r));
	}
	free(out);
	free(whole);
}

static void fuzz_join(const uint8_t *data, size_t len)
{
	offload_joiner_init(&joiner, 15);
	n_pkts = 0;
	while (len > 2 && n_pkts < OFFLOAD_PACKETS) {
		size_t used = packets_add(data, len);

		data += used;
		len -= used;
	}
	for (size_t i = 0; i < offload_runs(&joiner); i++)
		run_check(i);
	for (size_t i = 0; i < n_pkts; i++) {
		free(pkts[i]);
		free(originals[i]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (len < 1)
		return 0;
	if (data[0] & 1)
		fuzz_join(data + 1, len - 1);
	else
		fuzz_cut(data + 1, len - 1);
	return 0;
}
