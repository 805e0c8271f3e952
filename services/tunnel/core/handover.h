/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a tunnel that is stopped in order leaves to its successor, so that running connections live on: its
 * routes with their key pairs and leases, what their sessions have counted, and the flows.
 *
 * The successor makes new WireGuard keys with each hop by the same static keys, so for relays and exits
 * nothing ends (route.h, route_resume). Counts and numbers of sessions go along, so that the ledgers of both
 * sides count on where they were; the number of the next request too, for a relay remembers its answers by
 * it [P-33].
 *
 * One buffer: head, nonce, routes (fixed size), flows (fixed size), tag. All behind the nonce is under
 * XChaCha20-Poly1305, the head is authenticated with it; the key comes of the node's own tunnel key
 * (BLAKE2b-256). So whoever reads the file without that key learns no more than how much it holds, and a torn
 * file, one of another node and a forged one are refused alike. All integers are little-endian. It is good for
 * HANDOVER_LIFE_S; a change of the form or of the device's constant addresses takes another
 * HANDOVER_VERSION. Pure, caller's memory. */
#ifndef TUNNEL_HANDOVER_H
#define TUNNEL_HANDOVER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/units.h"
#include "flow.h"
#include "route.h"

#define HANDOVER_VERSION 1
#define HANDOVER_LIFE_S 60 /* relays forget an idle session after 240 s [P-43], and nobody waits longer */
#define HANDOVER_ROUTES_MAX FLOW_EXITS_MAX
#define HANDOVER_KEY_SIZE 32
#define HANDOVER_NONCE_SIZE 24
#define HANDOVER_NONE UINT8_MAX

struct handover_hop {
	uint8_t static_sk[32];
	uint8_t descriptor[DESCRIPTOR_SIZE];
	uint64_t number; /* what other services call the session */
	uint64_t up_bytes, down_bytes, credit_bytes;
	uint32_t next_request;
};

struct handover_route {
	uint32_t id;
	unsigned int n_hops;
	unsigned int place; /* by which flows name it */
	bool draining;
	dur_t drain; /* what is left of it, whole ms */
	uint64_t rx_bytes, tx_bytes;
	struct route_lease lease;
	struct handover_hop hops[ROUTE_HOPS_MAX];
};

struct handover {
	wall_t written_at;
	unsigned int n_routes;
	unsigned int in_use; /* of routes; HANDOVER_NONE: none */
	uint32_t n_flows;
	struct handover_route routes[HANDOVER_ROUTES_MAX];
};

/* Bytes of the whole. */
size_t handover_bytes(unsigned int n_routes, uint32_t n_flows);
/* Writes flow i of a buffer that will hold n_routes. */
void handover_flow_put(uint8_t *buf, unsigned int n_routes, uint32_t i, const struct flow_kept *k);
/* Writes all but the flows, which are there, and encrypts. buf: handover_bytes(h->n_routes, h->n_flows);
 * nonce: random, never twice with one key. */
void handover_seal(uint8_t *buf, const struct handover *h, const uint8_t key[static HANDOVER_KEY_SIZE],
	const uint8_t nonce[static HANDOVER_NONCE_SIZE]);

/* Decrypts buf in place. ERR_MALFORMED: not what this version writes; ERR_DENIED: another's, or damaged;
 * ERR_STALE: too old, or of a time to come. buf and ret_h hold secrets then: the caller wipes them. */
NODISCARD enum err handover_open(uint8_t *buf, size_t len,
	const uint8_t key[static HANDOVER_KEY_SIZE], wall_t now, struct handover *ret_h);
/* Flow i < n_flows of what handover_open accepted and decrypted. */
void handover_flow_get(
	const uint8_t *buf, const struct handover *h, uint32_t i, struct flow_kept *ret);

#endif
