/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy.h"

#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"

#define DOMAIN_TAG "mvpn exit policy v1"
#define RESOLVER_PORT 53

/* Everything that is no globally routable unicast: IANA special-purpose registries, RFC 6890 and
 * successors. `test` ranges (documentation, benchmarks) are let through in a test network. */
struct special {
	uint8_t bits;
	bool test;
	uint8_t ip[4];
};

static const struct special special4[] = {
	{8, false, {0}},	    /* this network */
	{8, false, {10}},	    /* private */
	{10, false, {100, 64}},	    /* shared, and our own leases */
	{8, false, {127}},	    /* loopback */
	{16, false, {169, 254}},    /* link-local */
	{12, false, {172, 16}},	    /* private */
	{24, false, {192, 0, 0}},   /* protocol assignments */
	{24, true, {192, 0, 2}},    /* documentation */
	{24, false, {192, 88, 99}}, /* 6to4 anycast */
	{16, false, {192, 168}},    /* private */
	{15, true, {198, 18}},	    /* benchmarks */
	{24, true, {198, 51, 100}}, /* documentation */
	{24, true, {203, 0, 113}},  /* documentation */
	{3, false, {224}},	    /* multicast, reserved, broadcast */
};

/* Only 2000::/3 is given out for unicast: the rest is refused by its first three bits. */
static const struct special special6[] = {
	{3, false, {0x00}},		       /* loopback, mapped, NAT64, ... */
	{3, false, {0x40}},		       /* not given out */
	{3, false, {0x60}},		       /* not given out */
	{2, false, {0x80}},		       /* not given out */
	{2, false, {0xc0}},		       /* ULA, link-local, multicast, ... */
	{32, false, {0x20, 0x01, 0x00, 0x00}}, /* Teredo */
	{23, false, {0x20, 0x01}},	       /* protocol assignments */
	{32, true, {0x20, 0x01, 0x0d, 0xb8}},  /* documentation */
	{16, false, {0x20, 0x02}},	       /* 6to4 */
	{20, true, {0x3f, 0xff, 0x00, 0x00}},  /* documentation */
};

static const uint16_t mail_ports[] = {25, 465, 587};

const char *policy_verdict_name(enum policy_verdict v)
{
	static const char *const names[POLICY_VERDICTS] = {
		"passed", "bad packet", "family", "destination", "port", "too many flows"};

	return v < POLICY_VERDICTS ? names[v] : "?";
}

/* ---- rules ---- */

static struct policy_rule rule_of(const uint8_t *ip, size_t ip_len, unsigned int bits)
{
	struct policy_rule r;
	uint8_t mask[16] = {0}, value[16] = {0};

	for (unsigned int b = 0; b < bits; b++)
		mask[b / 8] |= (uint8_t)(0x80u >> b % 8);
	memcpy(value, ip, ip_len);
	for (int w = 0; w < 2; w++) {
		r.mask[w] = be64_get(mask + 8 * w);
		r.value[w] = be64_get(value + 8 * w) & r.mask[w];
	}
	return r;
}

static void add_special(const struct special *s, size_t n, bool test_network,
	struct policy_rule *rules, uint32_t *n_rules)
{
	for (size_t i = 0; i < n; i++)
		if (!(s[i].test && test_network))
			rules[(*n_rules)++] = rule_of(s[i].ip, sizeof(s[i].ip), s[i].bits);
}

static void add_own(struct policy *p, const struct net_prefix *own)
{
	struct policy_rule r = rule_of(own->addr.ip, sizeof(own->addr.ip), own->bits);

	if (own->addr.family == NET_IP4)
		p->rules4[p->n_rules4++] = r;
	else if (own->addr.family == NET_IP6)
		p->rules6[p->n_rules6++] = r;
}

enum err policy_init(struct policy *p, bool ip4, bool ip6, bool test_network,
	const struct net_prefix *own, size_t n_own)
{
	_Static_assert(
		sizeof(special4) / sizeof(special4[0]) + POLICY_OWN_MAX <= POLICY_RULES_MAX, "");
	_Static_assert(
		sizeof(special6) / sizeof(special6[0]) + POLICY_OWN_MAX <= POLICY_RULES_MAX, "");

	if (n_own > POLICY_OWN_MAX)
		return ERR_FULL;
	memset(p, 0, sizeof(*p));
	p->ip4 = ip4;
	p->ip6 = ip6;
	p->test_network = test_network;
	memcpy(p->tcp_ports, mail_ports, sizeof(mail_ports));
	p->n_tcp_ports = sizeof(mail_ports) / sizeof(mail_ports[0]);
	add_special(special4, sizeof(special4) / sizeof(special4[0]), test_network, p->rules4,
		&p->n_rules4);
	add_special(special6, sizeof(special6) / sizeof(special6[0]), test_network, p->rules6,
		&p->n_rules6);
	p->n_public4 = p->n_rules4;
	p->n_public6 = p->n_rules6;
	for (size_t i = 0; i < n_own; i++)
		add_own(p, &own[i]);
	return OK;
}

void policy_set_resolvers(struct policy *p, const struct net_addr *ip4, const struct net_addr *ip6)
{
	p->resolver4 = *ip4;
	p->resolver6 = *ip6;
}

/* ---- canonical form ---- */

static size_t rules_put(const struct policy_rule *r, uint32_t n, uint8_t *out)
{
	uint8_t *at = out;

	*at++ = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++, at += 17) {
		be64_put(at, r[i].value[0]);
		be64_put(at + 8, r[i].value[1]);
		at[16] = (uint8_t)(__builtin_popcountll(r[i].mask[0]) +
				   __builtin_popcountll(r[i].mask[1]));
	}
	return (size_t)(at - out);
}

/* [P-57] tag, flags, refused IPv4 prefixes, refused IPv6 prefixes, refused TCP ports, flow limits.
 */
size_t policy_bytes(const struct policy *p, uint8_t ret_bytes[static POLICY_BYTES_MAX])
{
	_Static_assert(sizeof(DOMAIN_TAG) + 4 + sizeof(mail_ports) + 8 +
				       17 * (sizeof(special4) / sizeof(special4[0]) +
						    sizeof(special6) / sizeof(special6[0])) <=
			       POLICY_BYTES_MAX,
		"");
	uint8_t *at = ret_bytes;

	memcpy(at, DOMAIN_TAG, sizeof(DOMAIN_TAG) - 1);
	at += sizeof(DOMAIN_TAG) - 1;
	*at++ = (uint8_t)(p->ip4 | p->ip6 << 1);
	at += rules_put(p->rules4, p->n_public4, at);
	at += rules_put(p->rules6, p->n_public6, at);
	*at++ = (uint8_t)p->n_tcp_ports;
	for (uint32_t i = 0; i < p->n_tcp_ports; i++, at += 2)
		be16_put(at, p->tcp_ports[i]);
	be32_put(at, POLICY_FLOWS_PER_S);
	be32_put(at + 4, POLICY_FLOWS_BURST);
	return (size_t)(at + 8 - ret_bytes);
}

void policy_digest(const struct policy *p, uint8_t ret_digest[static POLICY_DIGEST_SIZE])
{
	uint8_t bytes[POLICY_BYTES_MAX];
	size_t len = policy_bytes(p, bytes);

	crypto_generichash(ret_digest, POLICY_DIGEST_SIZE, bytes, len, NULL, 0);
}

/* ---- packets ---- */

static bool refused4(const struct policy *p, const uint8_t *ip)
{
	uint64_t a = (uint64_t)be32_get(ip) << 32;

	for (uint32_t i = 0; i < p->n_rules4; i++)
		if ((a & p->rules4[i].mask[0]) == p->rules4[i].value[0])
			return true;
	return false;
}

static bool refused6(const struct policy *p, const uint8_t *ip)
{
	uint64_t high = be64_get(ip), low = be64_get(ip + 8);

	for (uint32_t i = 0; i < p->n_rules6; i++) {
		const struct policy_rule *r = &p->rules6[i];

		if ((high & r->mask[0]) == r->value[0] && (low & r->mask[1]) == r->value[1])
			return true;
	}
	return false;
}

static bool is_resolver(const struct policy *p, const struct packet *k, const uint8_t *dst)
{
	const struct net_addr *r = k->family == NET_IP4 ? &p->resolver4 : &p->resolver6;

	return r->family == k->family && memcmp(r->ip, dst, k->addr_len) == 0 &&
	       (k->proto == PACKET_TCP || k->proto == PACKET_UDP) &&
	       (k->has_ports ? k->dst_port == RESOLVER_PORT : !k->first);
}

/* [P-53] */
static bool destination_ok(const struct policy *p, const struct packet *k, const uint8_t *pkt)
{
	const uint8_t *dst = pkt + k->dst_at;
	bool refused = k->family == NET_IP4 ? refused4(p, dst) : refused6(p, dst);

	return !refused || is_resolver(p, k, dst);
}

static bool transport_ok(const struct packet *k)
{
	return k->proto == PACKET_TCP || k->proto == PACKET_UDP ||
	       k->proto == (k->family == NET_IP4 ? PACKET_ICMP : PACKET_ICMP6);
}

/* [P-54] */
static bool ports_ok(const struct policy *p, const struct packet *k)
{
	if (k->proto != PACKET_TCP && k->proto != PACKET_UDP)
		return true;
	if (!k->first) /* could overwrite the header of the first (RFC 1858, RFC 3128) */
		return k->proto != PACKET_TCP || k->frag_offset >= 24;
	if (!k->has_ports)
		return false;
	if (k->proto == PACKET_TCP)
		for (uint32_t i = 0; i < p->n_tcp_ports; i++)
			if (p->tcp_ports[i] == k->dst_port)
				return false;
	return true;
}

enum policy_verdict policy_check(
	const struct policy *p, const uint8_t *pkt, size_t len, struct packet *ret_p)
{
	struct packet k;

	if (packet_parse(pkt, len, false, &k) != OK || k.options || !transport_ok(&k))
		return POLICY_BAD_PACKET; /* [P-55] */
	if (!(k.family == NET_IP4 ? p->ip4 : p->ip6))
		return POLICY_FAMILY;
	if (!destination_ok(p, &k, pkt))
		return POLICY_DESTINATION;
	if (!ports_ok(p, &k))
		return POLICY_PORT;
	if (ret_p != NULL)
		*ret_p = k;
	return POLICY_PASS;
}

/* ---- new flows ---- */

void policy_flows_init(struct policy_flows *f, mono_t now)
{
	memset(f, 0, sizeof(*f));
	tokens_init(&f->tokens, now, POLICY_FLOWS_BURST);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)(a | 1) * (b ^ 0x9e3779b97f4a7c15u);

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* A pair: destination, ports, transport. The source address is the session's own. */
static uint64_t pair_hash(const struct packet *k, const uint8_t *pkt, uint64_t key)
{
	uint64_t h = mix(key, (uint64_t)k->proto << 32 | (uint32_t)k->src_port << 16 | k->dst_port);

	for (unsigned int i = 0; i < k->addr_len; i += 4)
		h = mix(h ^ key, be32_get(pkt + k->dst_at + i) + h);
	return h;
}

/* Puts mark first in its set, from where it was or in place of the last. */
static void seen_put(uint16_t set[static POLICY_SEEN_WAYS], uint16_t mark)
{
	int at = 0;

	while (at < POLICY_SEEN_WAYS - 1 && set[at] != mark)
		at++;
	for (; at > 0; at--)
		set[at] = set[at - 1];
	set[0] = mark;
}

static bool seen_has(const uint16_t set[static POLICY_SEEN_WAYS], uint16_t mark)
{
	for (int i = 0; i < POLICY_SEEN_WAYS; i++)
		if (set[i] == mark)
			return true;
	return false;
}

static bool take_token(struct policy_flows *f, mono_t now)
{
	return tokens_take(&f->tokens, now, POLICY_FLOWS_PER_S, POLICY_FLOWS_BURST, 1);
}

/* A pair that finds no token is not remembered: its next packet asks again. */
static bool pair_ok(struct policy_flows *f, mono_t now, uint64_t hash)
{
	uint16_t *set = f->seen[hash % POLICY_SEEN_SETS];
	uint16_t mark = (uint16_t)(hash >> 32) | 1;

	if (!seen_has(set, mark) && !take_token(f, now))
		return false;
	seen_put(set, mark);
	return true;
}

/* [P-56] */
enum policy_verdict policy_flows_check(struct policy_flows *f, mono_t now, const struct packet *k,
	const uint8_t *pkt, uint64_t key)
{
	bool ok = true;

	if (!k->first)
		return POLICY_PASS;
	if (k->proto != PACKET_TCP)
		ok = pair_ok(f, now, pair_hash(k, pkt, key));
	else if ((k->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) == PACKET_TCP_SYN)
		ok = take_token(f, now);
	return ok ? POLICY_PASS : POLICY_FLOWS;
}
