/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses, endpoints and prefixes as values, and which of them are public. Pure. */
#ifndef LIB_NET_H
#define LIB_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum net_family {
	NET_NONE = 0,
	NET_IP4 = 4,
	NET_IP6 = 6
};

struct net_addr {
	uint8_t family; /* enum net_family */
	uint8_t ip[16]; /* network order; the first 4 for IPv4, the rest zero */
};

struct net_endpoint {
	struct net_addr addr;
	uint16_t port; /* host order */
};

struct net_prefix {
	struct net_addr addr;
	uint8_t bits;
};

#define NET_TEXT_MAX 64 /* longest "[v6]:port" or prefix with its NUL */

static inline size_t net_ip_len(const struct net_addr *a)
{
	return a->family == NET_IP4 ? 4 : a->family == NET_IP6 ? 16 : 0;
}

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b);
bool net_endpoint_eq(const struct net_endpoint *a, const struct net_endpoint *b);
bool net_prefix_has(const struct net_prefix *p, const struct net_addr *a);
/* Do a and b share their first `bits` bits (same family)? */
bool net_same_prefix(const struct net_addr *a, const struct net_addr *b, unsigned int bits);

/* len 4 or 16, else NET_NONE. */
struct net_addr net_addr_from_bytes(const uint8_t *ip, size_t len);

/* "192.0.2.1", "2001:db8::1". ERR_INVALID. */
NODISCARD enum err net_addr_parse(const char *s, struct net_addr *ret_a);
/* "192.0.2.1:51820", "[2001:db8::1]:51820". */
NODISCARD enum err net_endpoint_parse(const char *s, struct net_endpoint *ret_e);
/* "192.0.2.0/24"; a bare address is a host prefix. Host bits must be zero. */
NODISCARD enum err net_prefix_parse(const char *s, struct net_prefix *ret_p);

/* Text form into buf, returns buf. */
const char *net_addr_show(const struct net_addr *a, char buf[static NET_TEXT_MAX]);
const char *net_endpoint_show(const struct net_endpoint *e, char buf[static NET_TEXT_MAX]);

/* Globally routable unicast (RFC 6890 and the IANA special-purpose registries). test_network
 * counts RFC 5737, RFC 2544 and RFC 3849 ranges as public. */
bool net_is_public(const struct net_addr *a, bool test_network);

#endif
