/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table of relays: one record per node id, in the order of ids.
 *
 * Storage is the caller's: `room` records and as many numbers for the order. Look-ups are binary
 * searches in the order; an insertion moves at most 4 bytes per record (256 KiB at the full table,
 * about 10 us, less than the signature check before it). A bucket is the run of records whose id
 * begins with the same byte. Each record carries a 16-byte digest of its bytes; each bucket a
 * digest of those that are proven, computed when asked for and kept until the bucket changes.
 * Digests that leave this node are salted with the asker's number (SipHash), so a collision of the
 * short forms cannot be prepared. Not thread-safe; no allocation. */
#ifndef DISCOVERY_RELAYS_H
#define DISCOVERY_RELAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/descriptor.h"
#include "lib/units.h"
#include "meter.h"

/* Most relays known at one time: 65,536 x about 640 bytes = 40 MB, touched only as they come. */
#define RELAYS_MAX 65536
#define RELAYS_BUCKETS 256
#define RELAYS_VERSION_SIZE 16
#define RELAYS_DIGEST_SIZE 4 /* on the wire, salted */

enum relay_state {
	RELAY_FREE,
	RELAY_HEARD,  /* signed and in date; not proven, so not used and not passed on */
	RELAY_PROVEN, /* reached by ourselves, or vouched for by two peers (clients) */
	RELAY_GONE,   /* a tombstone: remembered so that its older descriptors stay out */
	RELAY_STATES
};

struct relay {
	uint8_t bytes[DESCRIPTOR_SIZE];
	struct descriptor d;
	uint8_t version[RELAYS_VERSION_SIZE]; /* digest of bytes */
	uint8_t state;			      /* enum relay_state */
	bool own;			      /* this node's */
	bool told;			      /* the router knows this version */
	bool asked;			      /* a question to it is under way to prove it */
	uint8_t n_failed;		      /* questions in a row without an answer */
	uint32_t introducer; /* keyed hash of the peer that it came from, or INTRODUCER_* */
	mono_t heard_at, answered_at, next_try;
	struct meter updates;
	uint32_t next_free; /* free slots */
};

#define INTRODUCER_STRANGERS 0u	 /* came unasked */
#define INTRODUCER_REMEMBERED 1u /* from our own state file */

/* What bounds are counted by, packed so that a look at all of them stays in the cache. */
struct relay_mark {
	uint64_t net6; /* the IPv6 /48 with a bit that says there is one; 0: none */
	uint32_t net4; /* the same for the IPv4 /24 */
	uint32_t introducer;
	uint32_t wg_head; /* first bytes of the WireGuard key */
	uint8_t state;
};

struct relays {
	struct relay *slots;
	struct relay_mark *marks; /* of the slot with the same number */
	uint32_t *order;	  /* slot numbers by node id */
	uint32_t room, n, n_touched, first_free;
	uint32_t n_state[RELAY_STATES];
	uint8_t bucket_digest[RELAYS_BUCKETS][RELAYS_VERSION_SIZE];
	bool bucket_stale[RELAYS_BUCKETS];
};

/* The caller's memory, zeroed: `room` of each. */
struct relays_storage {
	struct relay *slots;
	struct relay_mark *marks;
	uint32_t *order;
	uint32_t room;
};

/* Borrows the storage until the table is no longer used. */
void relays_init(struct relays *t, const struct relays_storage *s);

/* Borrows from t until the record is removed; NULL if unknown. */
struct relay *relays_find(const struct relays *t, const uint8_t id[static NODE_ID_SIZE]);
/* i-th in the order of ids; NULL past the end. */
struct relay *relays_at(const struct relays *t, uint32_t i);
/* Position of the first id greater than `id`; of the first of all for NULL. */
uint32_t relays_after(const struct relays *t, const uint8_t *id);
/* Position of the first id of a bucket (0..256). */
uint32_t relays_bucket(const struct relays *t, unsigned int bucket);

/* A record for d, which must not be there yet, in state heard. NULL if the table is full. */
struct relay *relays_insert(struct relays *t, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE], uint32_t introducer);
/* Another version of the same node in the same record. */
void relays_update(struct relays *t, struct relay *r, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE], uint32_t introducer);
void relays_remove(struct relays *t, struct relay *r);
void relays_set_state(struct relays *t, struct relay *r, enum relay_state state);

/* The mark that a record of d would have. */
struct relay_mark relay_mark_of(const struct descriptor *d, uint32_t introducer);
/* Do two share an IPv4 /24 or an IPv6 /48? */
bool relay_marks_near(const struct relay_mark *a, const struct relay_mark *b);

/* Digests of what is proven. */
uint64_t relays_root(struct relays *t, uint64_t salt);
void relays_digests(
	struct relays *t, uint64_t salt, uint8_t ret[static RELAYS_BUCKETS * RELAYS_DIGEST_SIZE]);
/* Of one descriptor: the unsalted digest, and its short form. */
void relay_version(
	const uint8_t bytes[static DESCRIPTOR_SIZE], uint8_t ret[static RELAYS_VERSION_SIZE]);
void version_digest(const uint8_t version[static RELAYS_VERSION_SIZE], uint64_t salt,
	uint8_t ret[static RELAYS_DIGEST_SIZE]);

#endif
