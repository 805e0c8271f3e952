/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The directory: which descriptors this node takes in, trusts and drops.
 *
 * A descriptor from outside passes, cheapest first: size and form; not our own id; not banned; not
 * already here, not older; within its time; not with our own WireGuard key; the bounds below; the
 * budget for signature checks; the signature. It is then *heard*: kept, but neither used nor passed
 * on. It becomes *proven*
 *  - on a relay when the node itself answered a question at that address and key
 * (directory_answered);
 *  - on a client, which must not knock on every relay of the network, also when two different peers
 *    serve the same version: each of them has asked the node itself. One liar alone cannot
 *    plant a relay; two can plant only signed ones that do not answer, which route building finds.
 * A newer version with the same key and endpoints stays proven; one that moved is heard anew.
 *
 * A tombstone is a descriptor with expires == not_before: no code that asks whether it is in date
 * can take it for a relay. It replaces a proven record and is kept until all that it revokes
 * has run out; for a node that is not proven here it only removes the record.
 *
 * Equal sequence number, different bytes, both signatures good: the node equivocates (bans.h).
 *
 * Bounds: the table (relays.h); proven relays per IPv4 /24 or IPv6 /48 (`near_max`); heard records
 * per introducer, and of those per prefix, so that a liar crowds out only what he introduced
 * himself; new versions per node; signature checks per second, apart for what we asked for and what
 * strangers push. Differs from research practice in one point: no proof of work, since each of
 * these bounds costs an attacker addresses, not time. docs/protocol.md [P-90]..[P-96] */
#ifndef DISCOVERY_DIRECTORY_H
#define DISCOVERY_DIRECTORY_H

#include "lib/rng.h"
#include "bans.h"
#include "moment.h"
#include "relays.h"

/* Heard records that one introducer may have here at one time on a relay: what 16 probes at a time
 * get through in about ten minutes of time-outs. A client probes nobody and takes a quarter of the
 * table from each of its peers. */
#define HEARD_SHARE_RELAY 1024
#define HEARD_SHARE_CLIENT(room) ((room) / 4 > 16 ? (room) / 4 : 16)
/* Versions of one descriptor: 6 at once, then one in 30 s. An honest node is slower (own.h). */
#define UPDATE_EVERY DUR_S(30)
#define UPDATE_BURST 6
/* Signature checks cost 50 us: 1000/s are 5 % of a core, 50/s from strangers next to nothing. */
#define VERIFY_EVERY_ASKED DUR_MS(1)
#define VERIFY_BURST_ASKED 4000
#define VERIFY_EVERY_STRANGERS DUR_MS(20)
#define VERIFY_BURST_STRANGERS 400
/* A proven relay that leaves this many questions in a row unanswered is only heard again. */
#define FAILED_MAX 4
/* One that is only heard is given up after this many, 20 minutes: it has to be heard of again. */
#define GIVEN_UP_MAX 7
/* Between questions to a node that did not answer: soon once, as it or the way to it may be starting; then
 * doubled from the first to the last. */
#define RETRY_SOON DUR_S(5)
#define RETRY_FIRST DUR_S(20)
#define RETRY_LAST DUR_S(3600)
/* Our own network is taken to be down, and silence blamed on no one, after this long without any
 * answer. */
#define NETWORK_SILENT DUR_S(60)

enum verdict {
	VERDICT_NEW,	  /* now heard */
	VERDICT_NEWER,	  /* replaced, proven as before or heard as before */
	VERDICT_MOVED,	  /* replaced; other key or endpoints, so heard anew */
	VERDICT_GONE,	  /* a tombstone, taken */
	VERDICT_SAME,	  /* we have it */
	VERDICT_OLDER,	  /* we have a newer one */
	VERDICT_CONFLICT, /* equivocation: banned */
	VERDICT_OWN,	  /* about ourselves, with our signature; see directory.own_seq_seen */
	VERDICT_REFUSED
};

enum refusal {
	REFUSED_MALFORMED,
	REFUSED_DATE,	 /* expired, not yet valid, lives too long */
	REFUSED_ADDRESS, /* an endpoint that no relay may have */
	REFUSED_SIGNATURE,
	REFUSED_BANNED,
	REFUSED_OWN_KEY,   /* claims our WireGuard key */
	REFUSED_TOMBSTONE, /* of a node that we do not know */
	REFUSED_UPDATES,   /* more versions than a node may publish */
	REFUSED_NEAR,	   /* too many in one prefix */
	REFUSED_FULL,	   /* the table, or the introducer's share of it */
	REFUSED_BUDGET,	   /* signature checks */
	REFUSALS
};

const char *refusal_name(enum refusal r);

struct directory_conf {
	uint8_t self_id[NODE_ID_SIZE];
	bool test_network;
	uint32_t near_max; /* relays per IPv4 /24 or IPv6 /48 */
};

struct directory_counters {
	uint64_t refused[REFUSALS];
	uint64_t taken, proven, demoted, given_up, expired, equivocations, evicted, key_clash;
};

/* What happens in the directory, told while it happens; records are borrowed for the call. */
struct directory_watch {
	void *ctx;
	/* r is proven in a version that was not proven before, or is a new tombstone. */
	void (*news)(void *ctx, const struct relay *r);
	/* r was proven and no longer is; it may be about to be removed. */
	void (*lost)(void *ctx, struct relay *r);
	/* A proven node equivocated. */
	void (*equivocated)(void *ctx, const struct ban *proof);
};

struct directory {
	struct directory_conf conf;
	struct relays relays;
	struct bans bans;
	struct rng *rng;
	struct directory_watch watch;
	bool client;	       /* two witnesses are enough */
	uint8_t own_wg_pk[32]; /* zero: not known yet */
	uint64_t own_seq_seen; /* highest sequence number under our own signature that came back */
	struct meter verify_asked, verify_strangers;
	mono_t answered_at;    /* any answer from any node */
	int64_t expires_min_s; /* no record ends before this */
	uint64_t generation;   /* grows with each change of what is proven */
	struct directory_counters counters;
};

struct source {
	uint32_t introducer;
	bool asked; /* we asked for it; else a stranger pushed it */
};

/* Borrows storage and rng as long as the directory lives. */
void directory_init(struct directory *dir, const struct directory_conf *conf,
	const struct relays_storage *storage, struct rng *rng, const struct directory_watch *watch);

/* The accept rule. *ret_r is the record of that node after it (NULL if there is none). */
enum verdict directory_offer(struct directory *dir, struct moment now, const uint8_t *bytes,
	size_t len, struct source from, struct relay **ret_r);

/* Our own descriptor or tombstone, just signed. */
void directory_publish(struct directory *dir, const struct descriptor *d,
	const uint8_t bytes[static DESCRIPTOR_SIZE]);

/* A node answered at the key and endpoints of r and named itself rightly. False if r cannot be
 * proven all the same (another proven node has its key; too many near it). */
bool directory_answered(struct directory *dir, struct moment now, struct relay *r);
/* r did not answer; r may leave the proven ones, or be removed. */
void directory_unanswered(struct directory *dir, struct moment now, struct relay *r);
/* The node that answers at r's key is another one. */
void directory_disproved(struct directory *dir, struct moment now, struct relay *r);
/* Has anybody answered of late? If not, silence is our own network's fault. */
bool directory_network_up(const struct directory *dir, mono_t now);
/* From our state file, checked anew. `recent`: proven not long ago, so taken as such. */
void directory_remember(
	struct directory *dir, struct moment now, const uint8_t *bytes, size_t len, bool recent);

/* Drops what has run out. Cheap when nothing has. */
void directory_expire(struct directory *dir, struct moment now);

/* A tombstone: valid for no second. */
static inline bool descriptor_is_tombstone(const struct descriptor *d)
{
	return d->expires.s == d->not_before.s;
}

#endif
