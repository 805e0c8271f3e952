/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The relays that we know: the directory as discovery tells it, with what we learned ourselves.
 *
 * An entry outlives its listing: a relay that comes back keeps its reputation. When the table is
 * full an unlisted entry gives way; if all are listed the newcomer is refused and counted. A
 * snapshot (peers_snapshot_begin .. _end) unlists what it did not name, but only if about as many
 * relays came as were announced: a snapshot cut short must not empty the table.
 *
 * Country and network (ASN) come from our own geography by the address, never from the descriptor:
 * a claim that differs is ignored and counted. The ids of relays are chosen by strangers, so the
 * index is a keyed hash. Pure; storage is the caller's. */
#ifndef ROUTER_PEERS_H
#define ROUTER_PEERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/descriptor.h"
#include "lib/err.h"
#include "lib/geo.h"
#include "reputation.h"
#include "when.h"

#define PEERS_CAPACITY 65536 /* relays; about 50 MB when all are in use */
#define PEERS_INDEX_FACTOR 2 /* index slots per entry, keeps probes short */

/* After a failure a relay is passed over: a minute, doubling with each failure in a row. */
#define PEER_AVOID_MIN DUR_S(60)
#define PEER_AVOID_DOUBLINGS 6

struct peer {
	uint8_t node_id[NODE_ID_SIZE];
	uint8_t descriptor[DESCRIPTOR_SIZE]; /* as signed */
	struct net_addr addr4, addr6;	     /* family 0: none */
	uint32_t roles;			     /* enum descriptor_role */
	char country[3];		     /* by our geography, "" unknown */
	uint32_t asn;			     /* 0 unknown */
	char name[24];
	uint8_t family_id[16];
	uint8_t payee[20];
	uint64_t price_gwei[HOP_ROLES]; /* per GiB */
	wall_t expires;
	uint64_t seq;
	uint32_t snapshot; /* the last that named it */
	bool used;	   /* entry holds a relay */
	bool listed;	   /* the directory names it now */
	bool claim_ignored;
	struct reputation rep;
	uint32_t path_rtt_us; /* to it through our routes, smoothed; for show only, 0 unknown */
	mono_t avoid_until;
	uint8_t n_fails; /* in a row */
	/* Redis: see services/router/redis.h */
	bool dirty, synced, reading;
	uint32_t version;
};

struct peers {
	struct peer *all;
	uint32_t capacity;
	uint32_t n_top; /* entries at and above were never used */
	uint32_t n_used, n_listed;
	uint32_t *index; /* entry + 1, 0: free; capacity * PEERS_INDEX_FACTOR, a power of two */
	uint32_t index_mask;
	uint8_t hash_key[16];
	uint32_t evict_hand;
	uint32_t snapshot; /* grows with each */
	uint32_t n_in_snapshot;
	bool complete; /* a snapshot ended since start */
	bool test_network;
	uint64_t serial;       /* grows whenever a choice could come out differently */
	const struct geo *geo; /* borrowed, may be empty */
	struct {
		uint64_t refused_full, refused_bad, claims_ignored, snapshots_short, evicted;
	} count;
};

/* capacity is a power of two. Borrows all[capacity], index[capacity * PEERS_INDEX_FACTOR] (both
 * zeroed) and geo. */
void peers_init(struct peers *t, struct peer *all, uint32_t *index, uint32_t capacity,
	const uint8_t hash_key[static 16], const struct geo *geo, bool test_network);

/* Borrows from t until the next peers_learn; NULL if unknown. */
struct peer *peers_find(struct peers *t, const uint8_t node_id[static NODE_ID_SIZE]);
/* Takes a descriptor that discovery has verified. ERR_MALFORMED, ERR_DENIED, ERR_STALE (expired, or
 * older than what we hold), ERR_FULL. All but the last are counted as bad. */
NODISCARD enum err peers_learn(struct peers *t, const uint8_t *bytes, size_t len, struct when now);
void peers_gone(struct peers *t, const uint8_t node_id[static NODE_ID_SIZE]);
/* Discovery restarted: what it named before counts no longer. */
void peers_snapshot_begin(struct peers *t);
/* What was not named since the begin, or since the last end, is gone. */
void peers_snapshot_end(struct peers *t, uint32_t n_announced);
/* Unlists what has expired. Costs a walk over the table: now and then. */
void peers_expire(struct peers *t, struct when now);

/* Listed and not expired. */
bool peer_listed(const struct peer *p, struct when now);
bool peer_avoided(const struct peer *p, mono_t now);
void peer_failed(struct peers *t, struct peer *p, mono_t now, double weight);
void peer_worked(struct peers *t, struct peer *p, mono_t now, double weight);
/* The address that others see it by: IPv4 if it has one. */
const struct net_addr *peer_addr(const struct peer *p);

#endif
