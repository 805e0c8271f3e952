/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets from the device and from exits, any bytes: [op, len LE16, packet] over and over. Nothing
 * from an exit may be made to look as if it came from elsewhere than the flow's remote; checksums
 * that were right stay right; the table stays within its bound. */
#include <stdlib.h>
#include <string.h>

#include "services/tunnel/core/flow.h"
#include "services/tunnel/core/policy.h"
#include "tests/harness/tunnel_pk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define FLOWS 16
#define PACKET_MAX 2000

static struct flow f;
static uint8_t pkt[PACKET_MAX];

static const struct net_addr dev4 = {NET_IP4, {10, 99, 0, 2}},
			     dev6 = {NET_IP6, {0xfd, 0x99, [15] = 2}};
static const struct net_addr res4 = {NET_IP4, {10, 99, 0, 1}},
			     res6 = {NET_IP6, {0xfd, 0x99, [15] = 1}};
static const struct net_addr dns4 = {NET_IP4, {9, 9, 9, 9}},
			     dns6 = {NET_IP6, {0x26, 0x20, [15] = 9}};

static struct net_addr lent4(unsigned int e)
{
	return (struct net_addr){NET_IP4, {100, 64, (uint8_t)e, 20}};
}

static struct net_addr lent6(unsigned int e)
{
	return (struct net_addr){NET_IP6, {0xfd, 1, (uint8_t)e, [15] = 20}};
}

static void add_exit(void)
{
	struct net_addr none = {0};
	unsigned int e = 0, got;

	while (e < FLOW_EXITS_MAX && f.exits[e].live)
		e++;
	struct net_addr i4 = lent4(e), i6 = lent6(e);
	if (flow_exit_add(&f, &i4, e % 3 == 2 ? &none : &i6, &dns4, &dns6, &got) == OK && got != e)
		abort();
}

/* A whole unfragmented packet of TCP, UDP or ICMP without extension headers: pk_* can judge it. */
static bool judge(size_t len)
{
	struct packet p;

	if (packet_parse(pkt, len, false, &p) != OK || p.fragment || p.options || p.len != len ||
		p.l4 != (p.family == NET_IP4 ? 20 : 40) || len < p.l4 + 8u)
		return false;
	if (p.proto == PACKET_TCP)
		return len >= p.l4 + 20u && pk_good(pkt, len);
	if (p.proto == PACKET_UDP)
		return be16_get(pkt + p.l4 + 6) != 0 && pk_good(pkt, len);
	return p.proto == (p.family == NET_IP4 ? PACKET_ICMP : PACKET_ICMP6) && pk_good(pkt, len);
}

/* Makes a likely packet of what the input gave. */
static void dress(
	uint8_t op, size_t len, const struct net_addr *four, const struct net_addr *six, bool src)
{
	if (len < 40 || !(op & 0x40))
		return;
	if (pkt[0] & 1) {
		pkt[0] = 0x45;
		be16_put(pkt + 2, (uint16_t)len);
		memcpy(pkt + (src ? 12 : 16), four->ip, 4);
		if (op & 0x20)
			be16_put(pkt + 6, 0);
	} else {
		pkt[0] = 0x60;
		be16_put(pkt + 4, (uint16_t)(len - 40));
		memcpy(pkt + (src ? 8 : 24), six->ip, 16);
	}
	if (len >= 60)
		pk_fill(pkt, len);
}

static void out(uint8_t op, size_t len, mono_t now)
{
	unsigned int e = 99;
	bool good;
	enum flow_verdict v;
	uint8_t reset[FLOW_RESET_MAX];

	dress(op, len, &dev4, &dev6, true);
	good = judge(len);
	v = flow_out(&f, now, pkt, len, false, &e);
	if (v == FLOW_PASS) {
		struct net_addr i4 = lent4(e), i6 = lent6(e);

		if (e >= FLOW_EXITS_MAX || !f.exits[e].live || (good && !judge(len)))
			abort();
		if (pkt[0] >> 4 == 4 ? memcmp(pkt + 12, i4.ip, 4) : memcmp(pkt + 8, i6.ip, 16))
			abort();
	} else if (good && !judge(len)) {
		abort(); /* what is dropped is left alone */
	}
	size_t n = flow_reset(pkt, len, reset);
	if (n != 0 && !pk_good(reset, n))
		abort();
}

static void in(uint8_t op, size_t len, mono_t now)
{
	unsigned int e = op & 7;
	struct net_addr i4 = lent4(e), i6 = lent6(e);
	bool good;

	dress(op, len, &i4, &i6, false);
	good = judge(len);
	if (flow_in(&f, now, e, pkt, len, false) != FLOW_PASS)
		return;
	if (!f.exits[e].live || (good && !judge(len)))
		abort();
	if (pkt[0] >> 4 == 4 ? memcmp(pkt + 16, dev4.ip, 4) : memcmp(pkt + 24, dev6.ip, 16))
		abort();
}

static void policy(size_t len)
{
	struct policy p;
	struct policy_flows flows;
	struct packet k;

	if (policy_init(&p, true, true, false, NULL, 0) != OK)
		abort();
	policy_flows_init(&flows, (mono_t){1});
	if (policy_check(&p, pkt, len, &k) != POLICY_PASS)
		return;
	if (!net_is_public(&(struct net_addr){.family = NET_NONE}, false)) {
		struct net_addr dst = net_addr_from_bytes(pkt + k.dst_at, k.addr_len);

		if (!net_is_public(&dst, false))
			abort();
	}
	(void)policy_flows_check(&flows, (mono_t){1}, &k, pkt, 3);
}

static void check(void)
{
	uint64_t n = 0;

	for (unsigned int e = 0; e < FLOW_EXITS_MAX; e++)
		n += flow_exit_flows(&f, e);
	if (f.table.n_used > FLOWS || n > f.table.n_used)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint64_t mem[2048];
	const struct flow_conf conf = {dev4, dev6, res4, res6, FLOWS};
	const uint64_t key[2] = {1, 2};
	mono_t now = {DUR_S(100).ns};

	if (flow_bytes(&conf) > sizeof(mem))
		abort();
	flow_init(&f, &conf, mem, key);
	add_exit();
	flow_use(&f, 0);
	while (len >= 3) {
		uint8_t op = data[0];
		size_t n = le16_get(data + 1) % PACKET_MAX;

		data += 3;
		len -= 3;
		n = n < len ? n : len;
		memcpy(pkt, data, n);
		data += n;
		len -= n;
		now.ns += DUR_MS(op).ns * 8;
		if (n == 0 && op & 0x80) {
			flow_exit_del(&f, op & 7);
		} else if (n == 0) {
			add_exit();
			flow_use(&f, op & 7);
			flow_tick(&f, now);
		} else if (op & 0x80) {
			in(op, n, now);
		} else {
			policy(n);
			out(op, n, now);
		}
		check();
	}
	return 0;
}
