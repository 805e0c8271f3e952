/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a router on the way reads and changes in an IP packet, and the ICMP errors it answers with
 * (RFC 792, RFC 4443, RFC 1812 4.3.2.7). Pure. */
#ifndef LINKEM_IP_H
#define LINKEM_IP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"

struct ip_view {
	struct net_addr src, dst;
	uint8_t ttl;
	bool may_fragment; /* IPv4 without DF */
	bool is_error;	   /* an ICMP error, or a later fragment: never answered with an error */
};

/* ERR_MALFORMED. */
NODISCARD enum err ip_read(const uint8_t *p, size_t len, struct ip_view *ret_v);
/* One off the TTL or hop limit, checksum kept right. */
void ip_age(uint8_t *p);

enum ip_error { IP_TIME_EXCEEDED, IP_UNREACHABLE, IP_TOO_BIG };
#define IP_ERROR_MAX 1280 /* an ICMPv6 error fits the least MTU */

/* Writes the ICMP error about packet p (len bytes), from `from`, into ret (IP_ERROR_MAX bytes).
 * mtu: for IP_TOO_BIG. Returns its length. */
size_t ip_error_build(const uint8_t *p, size_t len, enum ip_error what, const struct net_addr *from,
	uint16_t mtu, uint8_t ret[static IP_ERROR_MAX]);

#endif
