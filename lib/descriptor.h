/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The signed descriptor of a relay: fixed-width canonical bytes, Ed25519 with a domain tag.
 *
 * One layout, one length; what a field does not use is zero, and decode refuses anything that
 * encode would not have produced, so two different byte strings never mean the same. Pure.
 * Source: docs/protocol.md [P-20], [P-21], [P-22], [P-23]. */
#ifndef LIB_DESCRIPTOR_H
#define LIB_DESCRIPTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "net.h"
#include "units.h"

#define NODE_ID_SIZE 32
#define DESCRIPTOR_SIZE 328
/* Longest life; a relay publishes anew at half of it. */
#define DESCRIPTOR_LIFE_MAX_S (24 * 3600)
/* A descriptor may begin this much in our future: clocks differ. */
#define DESCRIPTOR_SKEW_S 300

enum descriptor_role {
	DESCRIPTOR_RELAY = 1 << 0, /* forwards to other relays */
	DESCRIPTOR_EXIT4 = 1 << 1, /* exit towards IPv4 */
	DESCRIPTOR_EXIT6 = 1 << 2,
	DESCRIPTOR_ROLES_ALL = 7
};

enum hop_role {
	HOP_ENTRY,
	HOP_MIDDLE,
	HOP_EXIT,
	HOP_ROLES
};

struct descriptor {
	uint8_t node_id[NODE_ID_SIZE]; /* Ed25519 public key */
	uint8_t wg_pk[32];	       /* X25519 public key */
	struct net_endpoint ep4;       /* family 0: none */
	struct net_endpoint ep6;
	uint32_t roles;		       /* enum descriptor_role bits */
	char country[3];	       /* claim, ISO 3166 alpha-2, or "" */
	char name[24];		       /* printable ASCII, or "" */
	uint8_t family_id[16];	       /* the operator's; zero: none declared */
	uint64_t price_gwei_per_gib[HOP_ROLES];
	uint64_t free_bytes;	       /* allowance per session before the first ticket */
	uint32_t chain_id;	       /* 0: backend `none` */
	uint8_t payee[20];	       /* account that tickets are made out to; zero when free */
	uint8_t policy_digest[32];     /* of the exit policy; zero when no exit */
	uint64_t seq;		       /* grows with each publication */
	wall_t not_before;
	wall_t expires;
};

/* Signs d with the Ed25519 secret key (libsodium's 64-byte form, whose public half must equal
 * d->node_id). ERR_INVALID if a field cannot be represented. */
NODISCARD enum err descriptor_sign(const struct descriptor *d, const uint8_t identity_sk[static 64],
	uint8_t ret_bytes[static DESCRIPTOR_SIZE]);

/* Parses and checks the form only: cheap, before any signature. ERR_MALFORMED. */
NODISCARD enum err descriptor_decode(const uint8_t *bytes, size_t len, struct descriptor *ret_d);

/* ERR_STALE if it is not valid at `now` (or lives too long), ERR_DENIED if it names an endpoint
 * that no relay may have; `test_network` admits documentation and benchmark ranges. */
NODISCARD enum err descriptor_valid_at(const struct descriptor *d, wall_t now, bool test_network);

/* ERR_DENIED if the signature is not the node's. Costs about 50 us: last. */
NODISCARD enum err descriptor_verify(const uint8_t bytes[static DESCRIPTOR_SIZE]);

/* All three in order: what a node does with a descriptor from outside. */
NODISCARD enum err descriptor_accept(const uint8_t *bytes, size_t len, wall_t now,
	bool test_network, struct descriptor *ret_d);

#endif
