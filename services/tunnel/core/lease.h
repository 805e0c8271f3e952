/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inner addresses that an exit lends to its clients, one IPv4 and one IPv6 per session.
 *
 * The host number of a place is (place + skip) << worker_bits | worker, where skip jumps over the
 * exit's own numbers. So the low bits of the address name the worker, the kernel program that
 * steers TUN packets needs no table, and a look-up is arithmetic and one array access.
 *
 * - [P-50] IPv4 from a slice of 100.64.0.0/10, IPv6 from a ULA prefix (fc00::/7), both by the same
 * number.
 * - [P-51] An address is not lent again within 300 s of its return (quarantine), and the longest
 * free first: what still travels to the old holder must not reach the new one.
 * - [P-52] A packet from a session goes out only with the source that was lent to it, and a packet
 * to a lent address only to its session.
 *
 * Attach again in the same session gives the same addresses. Pure, caller's memory, one per worker.
 */
#ifndef TUNNEL_LEASE_H
#define TUNNEL_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/units.h"

#define LEASE_QUARANTINE DUR_S(300) /* longer than a UDP mapping of the kernel's NAT lives */
#define LEASE_RESERVED 16	    /* host numbers 0..15 are the exit's own (1: its TUN device) */
#define LEASE_NONE UINT32_MAX

struct lease_conf {
	struct net_prefix pool4; /* inside 100.64.0.0/10, /10../24 */
	struct net_prefix pool6; /* inside fc00::/7, at most /96 */
	uint8_t worker;		 /* below 1 << worker_bits */
	uint8_t worker_bits;	 /* 0..6 */
	uint32_t sessions_max;
	uint32_t leases_max; /* bounded further by what pool4 holds */
};

struct lease_place;

struct lease {
	struct lease_conf conf;
	uint32_t n_places, n_used;
	struct lease_place *place;
	uint32_t *of_session;	       /* place by session */
	uint32_t free_head, free_tail; /* oldest return first */
};

/* Are they such as struct lease_conf asks for? */
bool lease_pools_ok(const struct net_prefix *pool4, const struct net_prefix *pool6);
/* 0 if conf does not hold together. */
size_t lease_bytes(const struct lease_conf *conf);
void lease_init(struct lease *l, const struct lease_conf *conf, void *mem);
/* Addresses of this session: those it has, or new ones. ERR_FULL. */
NODISCARD enum err lease_take(struct lease *l, mono_t now, uint32_t session,
	struct net_addr *ret_ip4, struct net_addr *ret_ip6);
/* Gives them back into quarantine; fine if there are none. */
void lease_return(struct lease *l, mono_t now, uint32_t session);
/* [P-52] Session that holds this address (4 or 16 bytes in network order), LEASE_NONE if none. */
uint32_t lease_holder4(const struct lease *l, const uint8_t ip[static 4]);
uint32_t lease_holder6(const struct lease *l, const uint8_t ip[static 16]);
/* Session that holds the source (`by_src`, from a client) or destination (from the TUN device) of
 * an IP packet; LEASE_NONE if none or if it is no IP packet. */
uint32_t lease_holder_of_packet(
	const struct lease *l, const uint8_t *packet, size_t len, bool by_src);

#endif
