/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "net.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, net_ip_len(a)) == 0;
}

bool net_endpoint_eq(const struct net_endpoint *a, const struct net_endpoint *b)
{
	return a->port == b->port && net_addr_eq(&a->addr, &b->addr);
}

bool net_same_prefix(const struct net_addr *a, const struct net_addr *b, unsigned int bits)
{
	unsigned int whole = bits / 8, rest = bits % 8;

	if (a->family != b->family || bits > 8 * net_ip_len(a))
		return false;
	if (memcmp(a->ip, b->ip, whole) != 0)
		return false;
	return rest == 0 || (a->ip[whole] ^ b->ip[whole]) >> (8 - rest) == 0;
}

bool net_prefix_has(const struct net_prefix *p, const struct net_addr *a)
{
	return net_same_prefix(&p->addr, a, p->bits);
}

struct net_addr net_addr_from_bytes(const uint8_t *ip, size_t len)
{
	struct net_addr a = {0};

	if (len != 4 && len != 16)
		return a;
	a.family = len == 4 ? NET_IP4 : NET_IP6;
	memcpy(a.ip, ip, len);
	return a;
}

enum err net_addr_parse(const char *s, struct net_addr *ret_a)
{
	struct net_addr a = {0};

	if (inet_pton(AF_INET, s, a.ip) == 1)
		a.family = NET_IP4;
	else if (inet_pton(AF_INET6, s, a.ip) == 1)
		a.family = NET_IP6;
	else
		return ERR_INVALID;
	*ret_a = a;
	return OK;
}

/* A decimal number of 1..5 digits and nothing else, at most max. */
static enum err number_parse(const char *s, unsigned long max, unsigned long *ret_n)
{
	size_t len = strlen(s);
	char *end;

	if (len == 0 || len > 5 || strspn(s, "0123456789") != len)
		return ERR_INVALID;
	unsigned long n = strtoul(s, &end, 10);
	if (n > max)
		return ERR_INVALID;
	*ret_n = n;
	return OK;
}

enum err net_endpoint_parse(const char *s, struct net_endpoint *ret_e)
{
	char host[NET_TEXT_MAX];
	struct net_endpoint e = {0};
	unsigned long port;
	const char *colon = strrchr(s, ':');
	size_t len;

	if (colon == NULL || colon == s)
		return ERR_INVALID;
	bool brackets = s[0] == '[';
	len = (size_t)(colon - s);
	if (brackets) {
		if (len < 3 || s[len - 1] != ']')
			return ERR_INVALID;
		s++;
		len -= 2;
	}
	if (len >= sizeof(host))
		return ERR_INVALID;
	memcpy(host, s, len);
	host[len] = '\0';
	TRY(net_addr_parse(host, &e.addr));
	if (brackets != (e.addr.family == NET_IP6)) /* RFC 3986 section 3.2.2 */
		return ERR_INVALID;
	TRY(number_parse(colon + 1, 65535, &port));
	e.port = (uint16_t)port;
	*ret_e = e;
	return OK;
}

static bool host_bits_zero(const struct net_prefix *p)
{
	struct net_addr zero = p->addr;
	size_t len = net_ip_len(&p->addr);

	for (unsigned int bit = p->bits; bit < 8 * len; bit++)
		zero.ip[bit / 8] &= (uint8_t)~(0x80u >> bit % 8);
	return net_addr_eq(&zero, &p->addr);
}

enum err net_prefix_parse(const char *s, struct net_prefix *ret_p)
{
	char host[NET_TEXT_MAX];
	struct net_prefix p = {0};
	const char *slash = strchr(s, '/');
	size_t len = slash == NULL ? strlen(s) : (size_t)(slash - s);
	unsigned long bits;

	if (len == 0 || len >= sizeof(host))
		return ERR_INVALID;
	memcpy(host, s, len);
	host[len] = '\0';
	TRY(net_addr_parse(host, &p.addr));
	bits = 8 * net_ip_len(&p.addr);
	if (slash != NULL)
		TRY(number_parse(slash + 1, bits, &bits));
	p.bits = (uint8_t)bits;
	if (!host_bits_zero(&p))
		return ERR_INVALID;
	*ret_p = p;
	return OK;
}

const char *net_addr_show(const struct net_addr *a, char buf[static NET_TEXT_MAX])
{
	int af = a->family == NET_IP4 ? AF_INET : AF_INET6;

	if (a->family == NET_NONE || inet_ntop(af, a->ip, buf, NET_TEXT_MAX) == NULL)
		memcpy(buf, "-", 2);
	return buf;
}

const char *net_endpoint_show(const struct net_endpoint *e, char buf[static NET_TEXT_MAX])
{
	char host[NET_TEXT_MAX];

	if (e->addr.family == NET_NONE)
		return net_addr_show(&e->addr, buf);
	net_addr_show(&e->addr, host);
	snprintf(buf, NET_TEXT_MAX, e->addr.family == NET_IP6 ? "[%.46s]:%u" : "%.46s:%u", host,
		e->port);
	return buf;
}

/* IANA special-purpose registries (RFC 6890 and successors): not globally routable unicast. */
struct special {
	uint8_t family, bits;
	bool test; /* documentation and benchmark: public in a test network */
	uint8_t ip[16];
};

static const struct special specials[] = {
	{NET_IP4, 8, false, {0}},
	{NET_IP4, 8, false, {10}},
	{NET_IP4, 10, false, {100, 64}},
	{NET_IP4, 8, false, {127}},
	{NET_IP4, 16, false, {169, 254}},
	{NET_IP4, 12, false, {172, 16}},
	{NET_IP4, 24, false, {192, 0, 0}},
	{NET_IP4, 24, true, {192, 0, 2}},
	{NET_IP4, 24, false, {192, 88, 99}},
	{NET_IP4, 16, false, {192, 168}},
	{NET_IP4, 15, true, {198, 18}},
	{NET_IP4, 24, true, {198, 51, 100}},
	{NET_IP4, 24, true, {203, 0, 113}},
	{NET_IP4, 4, false, {224}},
	{NET_IP4, 4, false, {240}},
	{NET_IP6, 32, true, {0x20, 0x01, 0x0d, 0xb8}},
	{NET_IP6, 23, false, {0x20, 0x01}},
	{NET_IP6, 16, false, {0x20, 0x02}},
	{NET_IP6, 20, true, {0x3f, 0xff}},
};

bool net_is_public(const struct net_addr *a, bool test_network)
{
	if (a->family == NET_NONE)
		return false;
	for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++) {
		const struct special *s = &specials[i];
		struct net_addr p = {.family = s->family};

		memcpy(p.ip, s->ip, 16);
		if (net_same_prefix(&p, a, s->bits))
			return s->test && test_network;
	}
	/* Of IPv6 only 2000::/3 is given out as global unicast (RFC 4291, IANA). */
	return a->family == NET_IP4 || (a->ip[0] & 0xe0) == 0x20;
}
