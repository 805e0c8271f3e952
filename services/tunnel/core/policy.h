/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What an exit lets through.
 *
 * - [P-53] Refused destinations: everything that is not globally routable unicast (private, shared,
 * loopback, link-local, multicast, reserved, tunnels of IPv6 transition; documentation and
 * benchmark unless test_network), and the exit's own addresses and LAN prefixes. Exception: port 53
 * of the resolver that the exit named in Attached.
 * - [P-54] Refused ports: TCP 25, 465, 587 (mail submission and relaying), also when the header is
 * cut by fragments: a first fragment without the whole transport header, or one that would
 * overwrite it, is refused.
 * - [P-55] Refused packets: IPv4 options, IPv6 routing headers, transports other than TCP, UDP,
 * ICMP.
 * - [P-56] A session opens at most 50 new flows per second, burst 500: SYNs, and UDP or ICMP pairs
 * that are not among about 256 seen last.
 * - [P-57] The policy has canonical bytes; their BLAKE2b-256 is in the descriptor and in Attached.
 * Own addresses are not part of it (they would tell about the node's network).
 *
 * Rules are compiled once into flat tables of (mask, value); a check walks about 20 words. Call
 * once per batch (the packets of a super-packet or train share destination and port). Pure. */
#ifndef TUNNEL_POLICY_H
#define TUNNEL_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/units.h"
#include "packet.h"
#include "tokens.h"

#define POLICY_OWN_MAX 32 /* own prefixes, per node */
#define POLICY_RULES_MAX 64
#define POLICY_PORTS_MAX 16
#define POLICY_DIGEST_SIZE 32
#define POLICY_BYTES_MAX 1024 /* canonical form: at most 32 prefixes of each family, 16 ports */
#define POLICY_FLOWS_PER_S 50
#define POLICY_FLOWS_BURST 500 /* a browser that restores its tabs */

struct policy_rule {
	uint64_t mask[2], value[2]; /* of the address in network order, read as big-endian words */
};

struct policy {
	bool ip4, ip6; /* families that this exit serves */
	bool test_network;
	struct net_addr resolver4, resolver6; /* family 0: none */
	uint16_t tcp_ports[POLICY_PORTS_MAX]; /* refused, sorted */
	uint32_t n_tcp_ports;
	struct policy_rule rules4[POLICY_RULES_MAX], rules6[POLICY_RULES_MAX];
	uint32_t n_rules4, n_rules6;
	uint32_t n_public4, n_public6; /* the rest are own prefixes, not in the digest */
};

enum policy_verdict {
	POLICY_PASS,
	POLICY_BAD_PACKET,  /* does not parse, [P-55] */
	POLICY_FAMILY,	    /* not served */
	POLICY_DESTINATION, /* [P-53] */
	POLICY_PORT,	    /* [P-54] */
	POLICY_FLOWS,	    /* [P-56] */
	POLICY_VERDICTS
};
const char *policy_verdict_name(enum policy_verdict v);

/* The default policy. own: addresses and LAN prefixes of this node, refused besides; ERR_FULL if
 * there are more than POLICY_OWN_MAX. */
NODISCARD enum err policy_init(struct policy *p, bool ip4, bool ip6, bool test_network,
	const struct net_prefix *own, size_t n_own);
/* The resolvers named in Attached: reachable at port 53 even where [P-53] would refuse them. */
void policy_set_resolvers(struct policy *p, const struct net_addr *ip4, const struct net_addr *ip6);
/* [P-57] Length of the canonical bytes written. */
size_t policy_bytes(const struct policy *p, uint8_t ret_bytes[static POLICY_BYTES_MAX]);
void policy_digest(const struct policy *p, uint8_t ret_digest[static POLICY_DIGEST_SIZE]);

/* A packet from a client on its way to the TUN device; ret_p (may be NULL) for further use. */
enum policy_verdict policy_check(
	const struct policy *p, const uint8_t *pkt, size_t len, struct packet *ret_p);

#define POLICY_SEEN_SETS 64
#define POLICY_SEEN_WAYS 4

/* [P-56] Per exit session, in its record: about 530 bytes. */
struct policy_flows {
	/* Marks of the pairs seen last, 256 in all, the newest of a set first; 0: none. */
	uint16_t seen[POLICY_SEEN_SETS][POLICY_SEEN_WAYS];
	struct tokens tokens;
};
void policy_flows_init(struct policy_flows *f, mono_t now);
/* POLICY_PASS or POLICY_FLOWS. p: of policy_check; pkt for the addresses. key: secret of the
 * worker. */
enum policy_verdict policy_flows_check(struct policy_flows *f, mono_t now, const struct packet *p,
	const uint8_t *pkt, uint64_t key);

#endif
