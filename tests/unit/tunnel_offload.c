/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/offload.h"
#include "tests/harness/tunnel_packets.h"

#define ALL_CAPS (OFFLOAD_CAP_TCP4 | OFFLOAD_CAP_TCP6 | OFFLOAD_CAP_UDP4 | OFFLOAD_CAP_UDP6)
#define SUPER_BYTES (OFFLOAD_VHDR + 65536)

struct vhdr {
	uint8_t flags, type;
	uint16_t hdr_len, gso_size, start, offset;
};

static const struct build kinds[4] = {
	{4, 6, 0, 64, 1, 100, true, 1000, 443, 7, 9, 0x18, 500, 12},
	{6, 6, 0, 64, 1, 0, true, 1000, 443, 7, 9, 0x18, 500, 12},
	{4, 17, 0, 64, 1, 100, true, 1000, 443, 0, 0, 0, 0, 0},
	{6, 17, 0, 64, 1, 0, true, 1000, 443, 0, 0, 0, 0, 0},
};

/* As the kernel hands it over: virtio header, length of the whole, checksum of the pseudo header
 * only. */
static size_t super_build(const struct build *b, uint8_t *buf, size_t payload, uint16_t gso)
{
	uint8_t *pkt = buf + OFFLOAD_VHDR;
	size_t len = build_packet(b, pkt, payload), l4 = b->family == 4 ? 20 : 40;
	struct vhdr h = {1,
		b->proto == 17	 ? 5
		: b->family == 4 ? 1
				 : 4,
		0, gso, (uint16_t)l4, b->proto == 6 ? 16 : 6};

	be16_put(pkt + l4 + h.offset, 0xdead); /* whatever stands there is not to matter */
	memcpy(buf, &h, sizeof(h));
	return OFFLOAD_VHDR + len;
}

/* --- cut ------------------------------------------------------------------------------------- */
struct expect {
	const struct build *b;
	size_t payload, gso, head;
};

static void segment_check(
	const struct expect *x, const struct offload_plan *p, uint32_t i, const uint8_t *pkt)
{
	bool last = i + 1 == p->n;
	size_t len = last ? p->last_ip_len : p->ip_len, size = len - x->head;
	size_t l4 = x->b->family == 4 ? 20 : 40;
	struct build b = *x->b;
	uint8_t want[66000];

	b.seq += (uint32_t)(i * x->gso);
	b.id = (uint16_t)(b.id + i);
	if (!last)
		b.flags &= (uint8_t) ~(0x08 | 0x01);
	if (i > 0)
		b.flags &= 0x7f;
	assert_int_equal(size, last ? x->payload - i * x->gso : x->gso);
	build_packet(&b, want, size);
	if (x->b->proto == 17) /* the payload of UDP goes on too */
		for (size_t k = 0; k < size; k++)
			want[x->head + k] = (uint8_t)((x->b->seq + i * x->gso + k) * 31 >> 2);
	memset(want + l4 + (b.proto == 6 ? 16 : 6), 0, 2);
	assert_true(packet_right(pkt, len));
	memcpy(want + l4 + (b.proto == 6 ? 16 : 6), pkt + l4 + (b.proto == 6 ? 16 : 6), 2);
	assert_memory_equal(pkt, want, len);
}

static void cut_and_check(
	const struct build *b, size_t payload, uint16_t gso, const struct offload_layout *l)
{
	uint8_t *buf = malloc(SUPER_BYTES), *out;
	size_t len = super_build(b, buf, payload, gso);
	struct expect x = {b, payload, gso, 0};
	struct offload_super s;
	struct offload_plan p;

	assert_int_equal(offload_parse(buf, len, &s), OK);
	x.head = s.head_len;
	assert_int_equal(s.n_segments, (payload + gso - 1) / gso);
	offload_plan(&s, l, &p);
	out = malloc(p.total);
	memset(out, 0xaa, p.total);
	/* in two calls, as when a send is full */
	uint32_t half = p.n / 2;
	offload_cut(&s, l, &p, 0, half, out);
	offload_cut(&s, l, &p, half, p.n - half, out + (size_t)half * p.stride);
	for (uint32_t i = 0; i < p.n; i++) {
		uint8_t *slot = out + (size_t)i * p.stride;
		uint32_t padded = i + 1 == p.n ? p.last_len : p.len;
		uint32_t ip_len = i + 1 == p.n ? p.last_ip_len : p.ip_len;

		for (uint32_t k = 0; k < l->headroom; k++)
			assert_int_equal(slot[k], 0xaa);
		segment_check(&x, &p, i, slot + l->headroom);
		for (uint32_t k = ip_len; k < padded; k++)
			assert_int_equal(slot[l->headroom + k], 0);
		for (uint32_t k = 0; k < l->tailroom; k++)
			assert_int_equal(slot[l->headroom + padded + k], 0xaa);
		assert_true(l->mtu == 0 || padded <= l->mtu || padded == ip_len);
		assert_true(padded % l->pad_to == 0 || padded == l->mtu ||
			    (padded == ip_len && ip_len > l->mtu));
	}
	free(buf);
	free(out);
}

static void cuts_as_a_sender_would_have(void **state)
{
	static const struct offload_layout plain = {0, 0, 1, 0}, wireguard = {16, 16, 16, 1420},
					   nested = {36, 32, 16, 0};
	static const size_t payloads[] = {1, 1367, 1368, 1369, 2736, 10000, 60000};

	(void)state;
	for (int k = 0; k < 4; k++) {
		for (size_t i = 0; i < sizeof(payloads) / sizeof(payloads[0]); i++) {
			cut_and_check(&kinds[k], payloads[i], 1368, &plain);
			cut_and_check(&kinds[k], payloads[i], 1368, &wireguard);
			cut_and_check(&kinds[k], payloads[i], 1200, &nested);
		}
	}
}

static void flags_go_where_they_belong(void **state)
{
	struct build b = BUILD_TCP4;
	uint8_t buf[SUPER_BYTES], out[8000];
	struct offload_layout l = {0, 0, 1, 0};
	struct offload_super s;
	struct offload_plan p;
	size_t len;

	(void)state;
	b.flags = 0x10 | 0x08 | 0x01 | 0x80; /* ACK PSH FIN CWR */
	len = super_build(&b, buf, 2500, 1000);
	buf[1] |= 0x80; /* the ECN bit of the type */
	assert_int_equal(offload_parse(buf, len, &s), OK);
	offload_plan(&s, &l, &p);
	offload_cut(&s, &l, &p, 0, 3, out);
	assert_int_equal(out[20 + 13], 0x90);
	assert_int_equal(out[p.stride + 20 + 13], 0x10);
	assert_int_equal(out[2 * p.stride + 20 + 13], 0x19);
}

static void completes_a_lone_checksum(void **state)
{
	(void)state;
	for (int k = 0; k < 4; k++) {
		uint8_t buf[300], out[300], *pkt = buf + OFFLOAD_VHDR;
		size_t l4 = kinds[k].family == 4 ? 20 : 40, csum = kinds[k].proto == 6 ? 16 : 6;
		size_t len = build_packet(&kinds[k], pkt, 77);
		struct vhdr h = {1, 0, 0, 0, (uint16_t)l4, (uint16_t)csum};
		struct offload_layout l = {0, 0, 16, 0};
		struct offload_super s;
		struct offload_plan p;
		uint32_t pseudo = kinds[k].proto + (uint32_t)(len - l4);

		pseudo +=
			kinds[k].family == 4 ? slow_sum(pkt + 12, 8, 0) : slow_sum(pkt + 8, 32, 0);
		be16_put(pkt + l4 + csum, slow_sum(pkt, 0, pseudo));
		assert_false(packet_right(pkt, len));
		memcpy(buf, &h, sizeof(h));
		assert_int_equal(offload_parse(buf, OFFLOAD_VHDR + len, &s), OK);
		assert_int_equal(s.kind, OFFLOAD_SINGLE);
		offload_plan(&s, &l, &p);
		assert_int_equal(p.n, 1);
		assert_int_equal(p.last_len % 16, 0);
		offload_cut(&s, &l, &p, 0, 1, out);
		assert_true(packet_right(out, len));
	}
}

static void parse_refuses_lies(void **state)
{
	uint8_t buf[SUPER_BYTES];
	struct offload_super s;
	struct vhdr h;
	size_t len = super_build(&kinds[0], buf, 3000, 1000);

	(void)state;
#define LIE(change)                                                                                \
	do {                                                                                       \
		super_build(&kinds[0], buf, 3000, 1000);                                           \
		memcpy(&h, buf, sizeof(h));                                                        \
		change;                                                                            \
		memcpy(buf, &h, sizeof(h));                                                        \
		assert_int_equal(offload_parse(buf, len, &s), ERR_MALFORMED);                      \
	} while (0)
	LIE(h.type = 3); /* UFO */
	LIE(h.type = 4); /* IPv6 */
	LIE(h.type = 5); /* UDP */
	LIE(h.type = 77);
	LIE(h.gso_size = 0);
	LIE(buf[OFFLOAD_VHDR + 6] = 0x20);  /* a fragment */
	LIE(buf[OFFLOAD_VHDR + 32] = 0x10); /* TCP header of 4 bytes */
	LIE(h.type = 0; h.start = (uint16_t)(len - OFFLOAD_VHDR - 1));
	LIE(h.type = 0; h.start = (uint16_t)(len - OFFLOAD_VHDR - 1); h.offset = 0);
	LIE(h.type = 0; h.start = 0xffff; h.offset = 0xffff);
	for (size_t n = 0; n < OFFLOAD_VHDR + 20; n++)
		assert_int_equal(offload_parse(buf, n, &s), ERR_MALFORMED);
	len = super_build(&kinds[0], buf, 60000, 1);
	assert_int_equal(offload_parse(buf, len, &s), ERR_TOO_LARGE);
	len = super_build(&kinds[0], buf, 3000, 1000);
	memcpy(&h, buf, sizeof(h));
	h.hdr_len = 0xffff; /* is not looked at */
	memcpy(buf, &h, sizeof(h));
	assert_int_equal(offload_parse(buf, len, &s), OK);
}

/* --- join ------------------------------------------------------------------------------------ */
static struct offload_joiner joiner;
static uint8_t slots[OFFLOAD_PACKETS][1600];
static size_t n_slots;

static void join_start(unsigned int caps)
{
	offload_joiner_init(&joiner, caps);
	n_slots = 0;
}

static uint8_t *join_add(const struct build *b, size_t payload)
{
	uint8_t *pkt = slots[n_slots++];
	struct ip_packet ip;
	size_t len = build_packet(b, pkt, payload);

	assert_int_equal(ip_parse(pkt, len, &ip), OK);
	assert_int_equal(offload_add(&joiner, pkt, &ip), OK);
	return pkt;
}

/* Run i as the bytes that writev would write. */
static size_t run_bytes(size_t i, uint8_t *buf)
{
	struct iovec iov[OFFLOAD_IOVS];
	uint8_t vhdr[OFFLOAD_VHDR];
	size_t n = offload_run_iov(&joiner, i, vhdr, iov), len = 0;

	assert_in_range(n, 2, OFFLOAD_IOVS);
	for (size_t k = 0; k < n; k++) {
		memcpy(buf + len, iov[k].iov_base, iov[k].iov_len);
		len += iov[k].iov_len;
	}
	return len;
}

/* What is joined and cut again is what came. */
static void joined_then_cut_is_the_same(void **state)
{
	static uint8_t buf[SUPER_BYTES], out[70000], copy[OFFLOAD_PACKETS][1600];

	(void)state;
	for (int k = 0; k < 4; k++) {
		struct offload_layout l = {0, 0, 1, 0};
		struct build b = kinds[k];
		struct offload_super s;
		struct offload_plan p;
		size_t len;

		join_start(ALL_CAPS);
		for (int i = 0; i < 40; i++) {
			size_t payload = i == 39 ? 500 : 1360;

			b.flags = i == 39 ? 0x18 : 0x10;
			b.id = (uint16_t)(65530 + i); /* over its end */
			b.df = k % 2;
			join_add(&b, payload);
			memcpy(copy[i], slots[i], sizeof(copy[i]));
			b.seq += (uint32_t)payload;
		}
		assert_int_equal(offload_runs(&joiner), 1);
		len = run_bytes(0, buf);
		assert_int_equal(offload_parse(buf, len, &s), OK);
		assert_int_equal(s.n_segments, 40);
		assert_int_equal(s.kind, kinds[k].proto == 6 ? OFFLOAD_TCP : OFFLOAD_UDP);
		offload_plan(&s, &l, &p);
		offload_cut(&s, &l, &p, 0, p.n, out);
		for (uint32_t i = 0; i < 40; i++)
			assert_memory_equal(
				out + i * p.stride, copy[i], i == 39 ? p.last_ip_len : p.ip_len);
		if (kinds[k].family == 4)
			assert_int_equal(slow_sum(buf + OFFLOAD_VHDR, 20, 0), 0xffff);
	}
}

/* The kernel wants: csum_start, csum_offset, the pseudo header's sum in the field, not
 * complemented. */
static void super_packet_is_as_the_kernel_wants_it(void **state)
{
	static uint8_t buf[SUPER_BYTES];

	(void)state;
	for (int k = 0; k < 4; k++) {
		struct build b = kinds[k];
		struct vhdr h;
		size_t l4 = b.family == 4 ? 20 : 40, csum = b.proto == 6 ? 16 : 6, len;
		uint32_t pseudo;

		b.flags = 0x10;
		join_start(ALL_CAPS);
		join_add(&b, 1000);
		b.seq += 1000;
		b.id++;
		join_add(&b, 1000);
		len = run_bytes(0, buf) - OFFLOAD_VHDR;
		memcpy(&h, buf, sizeof(h));
		assert_int_equal(h.flags, 1);
		assert_int_equal(h.type, b.proto == 17 ? 5 : b.family == 4 ? 1 : 4);
		assert_int_equal(h.gso_size, 1000);
		assert_int_equal(h.hdr_len, l4 + (b.proto == 6 ? 32 : 8));
		assert_int_equal(h.start, l4);
		assert_int_equal(h.offset, csum);
		pseudo = b.proto + (uint32_t)(len - l4);
		pseudo += b.family == 4 ? slow_sum(buf + 10 + 12, 8, 0)
					: slow_sum(buf + 10 + 8, 32, 0);
		assert_int_equal(be16_get(buf + 10 + l4 + csum), slow_sum(buf, 0, pseudo));
		assert_int_equal(b.family == 4 ? be16_get(buf + 12) : be16_get(buf + 14) + 40, len);
		if (b.proto == 17)
			assert_int_equal(be16_get(buf + 10 + l4 + 4), len - l4);
	}
}

static void single_packets_pass_unchanged(void **state)
{
	static const uint8_t no_offload[OFFLOAD_VHDR];
	struct build b = BUILD_TCP4;
	uint8_t buf[1700], want[1600];
	size_t len = build_packet(&b, want, 1000);

	(void)state;
	join_start(ALL_CAPS);
	join_add(&b, 1000);
	assert_int_equal(run_bytes(0, buf), OFFLOAD_VHDR + len);
	assert_memory_equal(buf, no_offload, OFFLOAD_VHDR);
	assert_memory_equal(buf + OFFLOAD_VHDR, want, len);
}

typedef void change_fn(struct build *b);

static void c_nothing(struct build *b)
{
	(void)b;
}
static void c_tos(struct build *b)
{
	b->tos = 3;
}
static void c_ttl(struct build *b)
{
	b->ttl = 63;
}
static void c_flow(struct build *b)
{
	b->flow++;
}
static void c_sport(struct build *b)
{
	b->sport++;
}
static void c_dport(struct build *b)
{
	b->dport++;
}
static void c_df(struct build *b)
{
	b->df = !b->df;
}
static void c_seq(struct build *b)
{
	b->seq++;
}
static void c_seq_back(struct build *b)
{
	b->seq--;
}
static void c_ack(struct build *b)
{
	b->ack++;
}
static void c_window(struct build *b)
{
	b->window++;
}
static void c_options(struct build *b)
{
	b->tcp_options += 4;
}
static void c_syn(struct build *b)
{
	b->flags |= 2;
}
static void c_fin(struct build *b)
{
	b->flags |= 1;
}
static void c_urg(struct build *b)
{
	b->flags |= 0x20;
}
static void c_ece(struct build *b)
{
	b->flags |= 0x40;
}
static void c_cwr(struct build *b)
{
	b->flags |= 0x80;
}
static void c_no_ack(struct build *b)
{
	b->flags &= (uint8_t)~0x10;
}

/* Two packets that continue each other but for one thing. */
static void only_true_continuations_are_joined(void **state)
{
	static const struct {
		change_fn *change;
		bool tcp, udp; /* does it forbid joining? */
	} cases[] = {
		{c_nothing, false, false},
		{c_tos, true, true},
		{c_ttl, true, true},
		{c_flow, true, true},
		{c_sport, true, true},
		{c_dport, true, true},
		{c_seq, true, false},
		{c_seq_back, true, false},
		{c_ack, true, false},
		{c_window, true, false},
		{c_options, true, false},
		{c_syn, true, false},
		{c_fin, true, false},
		{c_urg, true, false},
		{c_ece, true, false},
		{c_cwr, true, false},
		{c_no_ack, true, false},
	};

	(void)state;
	for (int k = 0; k < 4; k++) {
		for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
			struct build b = kinds[k];
			bool forbidden = b.proto == 6 ? cases[c].tcp : cases[c].udp;

			b.flags = 0x10;
			join_start(ALL_CAPS);
			join_add(&b, 1000);
			b.seq += 1000;
			b.id++;
			cases[c].change(&b);
			join_add(&b, 1000);
			if (offload_runs(&joiner) != (forbidden ? 2 : 1))
				print_error("kind %d case %zu\n", k, c);
			assert_int_equal(offload_runs(&joiner), forbidden ? 2 : 1);
		}
	}
}

static void identification_counts_without_df(void **state)
{
	struct build b = BUILD_TCP4;

	(void)state;
	for (int df = 0; df < 2; df++) {
		b = BUILD_TCP4;
		b.df = df;
		join_start(ALL_CAPS);
		join_add(&b, 1000);
		b.seq += 1000;
		join_add(&b, 1000); /* the same identification */
		assert_int_equal(offload_runs(&joiner), df ? 1 : 2);
	}
	c_df(&b);
	join_start(ALL_CAPS);
	b.id++;
	join_add(&b, 100);
	c_df(&b);
	b.seq += 100;
	b.id++;
	join_add(&b, 100);
	assert_int_equal(offload_runs(&joiner), 2);
}

static void options_must_be_the_same(void **state)
{
	struct build b = BUILD_TCP4;
	uint8_t *second;
	struct ip_packet ip;

	(void)state;
	join_start(ALL_CAPS);
	join_add(&b, 1000);
	b.seq += 1000;
	second = slots[n_slots++];
	build_packet(&b, second, 1000);
	second[20 + 25] ^= 1; /* a timestamp, say */
	assert_int_equal(ip_parse(second, 1052, &ip), OK);
	ip_csum_fill(second, &ip);
	assert_int_equal(offload_add(&joiner, second, &ip), OK);
	assert_int_equal(offload_runs(&joiner), 2);
}

static void wrong_checksums_are_never_hidden(void **state)
{
	(void)state;
	for (int k = 0; k < 4; k++) {
		for (int which = 0; which < 3; which++) {
			static uint8_t buf[SUPER_BYTES];
			struct build b = kinds[k];
			struct ip_packet ip;
			size_t len;

			b.flags = 0x10;
			join_start(ALL_CAPS);
			for (int i = 0; i < 3; i++) {
				uint8_t *pkt = slots[n_slots++];

				len = build_packet(&b, pkt, 1000);
				if (i == which)
					pkt[len - 1] ^= 1;
				assert_int_equal(ip_parse(pkt, len, &ip), OK);
				assert_int_equal(offload_add(&joiner, pkt, &ip), OK);
				b.seq += 1000;
				b.id++;
			}
			assert_int_equal(offload_runs(&joiner), which == 1 ? 3 : 2);
			len = run_bytes(which == 0 ? 0 : which == 1 ? 1 : 1, buf) - OFFLOAD_VHDR;
			assert_false(
				packet_right(buf + OFFLOAD_VHDR, len)); /* still wrong, and alone */
			assert_int_equal(buf[0], 0);
		}
	}
}

static void wrong_header_checksum_is_not_hidden(void **state)
{
	(void)state;
	for (int which = 0; which < 2; which++) {
		struct build b = BUILD_TCP4;
		struct ip_packet ip;

		join_start(ALL_CAPS);
		for (int i = 0; i < 2; i++) {
			uint8_t *pkt = slots[n_slots++];
			size_t len = build_packet(&b, pkt, 100);

			pkt[10] ^= i == which;
			assert_int_equal(ip_parse(pkt, len, &ip), OK);
			assert_int_equal(offload_add(&joiner, pkt, &ip), OK);
			b.seq += 100;
		}
		assert_int_equal(offload_runs(&joiner), 2);
	}
}

static void push_and_short_packets_end_a_run(void **state)
{
	struct build b = BUILD_TCP4, u = BUILD_UDP4;

	(void)state;
	join_start(ALL_CAPS);
	for (int i = 0; i < 4; i++) {
		b.flags = i % 2 ? 0x18 : 0x10;
		join_add(&b, 1000);
		b.seq += 1000;
	}
	assert_int_equal(offload_runs(&joiner), 2);
	join_start(ALL_CAPS);
	join_add(&u, 1000);
	join_add(&u, 999);
	join_add(&u, 1000);
	join_add(&u, 1001); /* larger than the first: begins anew */
	join_add(&u, 1001);
	assert_int_equal(offload_runs(&joiner), 3);
	assert_int_equal(joiner.runs[2].n, 2);
}

static void order_within_a_flow_is_kept(void **state)
{
	struct build b = BUILD_TCP4;

	(void)state;
	join_start(ALL_CAPS);
	join_add(&b, 1000);
	join_add(&b, 0); /* a bare acknowledgement between */
	b.seq += 1000;
	join_add(&b, 1000);
	b.seq += 1000;
	join_add(&b, 1000);
	assert_int_equal(offload_runs(&joiner), 3);
	assert_int_equal(joiner.runs[2].n, 2);
}

static void flows_are_told_apart(void **state)
{
	struct build b[8];

	(void)state;
	join_start(ALL_CAPS);
	for (int f = 0; f < 8; f++) {
		b[f] = kinds[f % 4];
		b[f].flags = 0x10;
		b[f].sport = (uint16_t)(2000 + f * 7);
	}
	for (int i = 0; i < 20; i++) {
		for (int f = 0; f < 8; f++) {
			join_add(&b[f], 1000);
			b[f].seq += 1000;
			b[f].id++;
		}
	}
	assert_int_equal(offload_runs(&joiner), 8);
	size_t packets = 0;
	for (size_t i = 0; i < offload_runs(&joiner); i++)
		packets += joiner.runs[i].n;
	assert_int_equal(packets, 160);
}

static void fragments_and_others_pass_alone(void **state)
{
	struct build b = BUILD_UDP4, icmp = BUILD_UDP4;
	struct ip_packet ip;
	uint8_t *pkt;

	(void)state;
	join_start(ALL_CAPS);
	join_add(&b, 1000);
	pkt = slots[n_slots++];
	build_packet(&b, pkt, 1000);
	be16_put(pkt + 6, 0x2000);
	assert_int_equal(ip_parse(pkt, 1028, &ip), OK);
	assert_int_equal(offload_add(&joiner, pkt, &ip), OK);
	join_add(&b, 1000); /* must not overtake the fragment */
	icmp.proto = 1;
	pkt = slots[n_slots++];
	build_ip_head(&icmp, pkt, 8);
	memset(pkt + 20, 0, 8);
	assert_int_equal(ip_parse(pkt, 28, &ip), OK);
	assert_int_equal(offload_add(&joiner, pkt, &ip), OK);
	assert_int_equal(offload_runs(&joiner), 4);
}

static void udp_without_checksum_is_not_joined(void **state)
{
	struct build b = BUILD_UDP4;
	struct ip_packet ip;

	(void)state;
	join_start(ALL_CAPS);
	for (int i = 0; i < 2; i++) {
		uint8_t *pkt = slots[n_slots++];
		size_t len = build_packet(&b, pkt, 1000);

		ip_csum_put(pkt + 26, 0);
		assert_int_equal(ip_parse(pkt, len, &ip), OK);
		assert_int_equal(offload_add(&joiner, pkt, &ip), OK);
	}
	assert_int_equal(offload_runs(&joiner), 2);
}

static void device_decides_what_is_joined(void **state)
{
	static const unsigned int caps[4] = {
		OFFLOAD_CAP_TCP4, OFFLOAD_CAP_TCP6, OFFLOAD_CAP_UDP4, OFFLOAD_CAP_UDP6};

	(void)state;
	for (int k = 0; k < 4; k++) {
		for (int can = 0; can < 2; can++) {
			struct build b = kinds[k];

			b.flags = 0x10;
			join_start(can ? caps[k] : ALL_CAPS & ~caps[k]);
			join_add(&b, 100);
			b.seq += 100;
			b.id++;
			join_add(&b, 100);
			assert_int_equal(offload_runs(&joiner), can ? 1 : 2);
		}
	}
}

static void bounds_hold(void **state)
{
	static uint8_t buf[SUPER_BYTES];
	struct build b = BUILD_UDP4;
	struct ip_packet ip;

	(void)state;
	join_start(ALL_CAPS);
	for (int i = 0; i < OFFLOAD_PACKETS; i++) {
		join_add(&b, i < 100 ? 1400 : 100);
		b.id++;
	}
	build_packet(&b, buf, 100);
	assert_int_equal(ip_parse(buf, 128, &ip), OK);
	assert_int_equal(offload_add(&joiner, buf, &ip), ERR_FULL);
	for (size_t i = 0; i < offload_runs(&joiner); i++) {
		assert_true(joiner.runs[i].n <= OFFLOAD_RUN_PACKETS);
		assert_true(joiner.runs[i].len <= 65535);
		assert_int_equal(run_bytes(i, buf), joiner.runs[i].len + OFFLOAD_VHDR);
	}
	assert_true(joiner.runs[0].len > 65535 - 1400);
	offload_joiner_reset(&joiner);
	assert_int_equal(offload_add(&joiner, buf + OFFLOAD_VHDR, &ip), OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cuts_as_a_sender_would_have),
		cmocka_unit_test(flags_go_where_they_belong),
		cmocka_unit_test(completes_a_lone_checksum),
		cmocka_unit_test(parse_refuses_lies),
		cmocka_unit_test(joined_then_cut_is_the_same),
		cmocka_unit_test(super_packet_is_as_the_kernel_wants_it),
		cmocka_unit_test(single_packets_pass_unchanged),
		cmocka_unit_test(only_true_continuations_are_joined),
		cmocka_unit_test(identification_counts_without_df),
		cmocka_unit_test(options_must_be_the_same),
		cmocka_unit_test(wrong_checksums_are_never_hidden),
		cmocka_unit_test(wrong_header_checksum_is_not_hidden),
		cmocka_unit_test(push_and_short_packets_end_a_run),
		cmocka_unit_test(order_within_a_flow_is_kept),
		cmocka_unit_test(flows_are_told_apart),
		cmocka_unit_test(fragments_and_others_pass_alone),
		cmocka_unit_test(udp_without_checksum_is_not_joined),
		cmocka_unit_test(device_decides_what_is_joined),
		cmocka_unit_test(bounds_hold),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
