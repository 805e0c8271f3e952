/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reputation in Redis: shared by the node's services, lost with Redis and no harm done.
 *
 * One hash per relay, `mvpn:rep:<hex>` where <hex> is a BLAKE2b of the node id under
 * keys/reputation.key: v (version), d (day), s (rep_encode's text). No id, no address, no time
 * finer than a day, no single session. Keys expire after REDIS_KEEP_DAYS. A relay's entry is read
 * once and joined with what was learned before it came; from then on changes are written by a
 * script that compares the version, so a second writer is noticed and joined, not overwritten. A
 * key that is gone is written anew: after each connect everything known is dirty. While Redis is
 * away or stuck the core goes on with what it remembers; tries go on with back-off. At most
 * REDIS_IN_FLIGHT commands wait for an answer; one that waits REDIS_PATIENCE ends the link. */
#ifndef ROUTER_REDIS_H
#define ROUTER_REDIS_H

#include "lib/sys/service.h"
#include "core/peers.h"

#define REDIS_IN_FLIGHT 64
#define REDIS_PATIENCE DUR_S(5)
#define REDIS_RETRY_MIN DUR_MS(200)
#define REDIS_RETRY_MAX DUR_S(5)
#define REDIS_LAP_EVERY DUR_S(2) /* between looks for what is new */
#define REDIS_WALK 4096		 /* entries looked at per turn */
#define REDIS_KEEP_DAYS 30
#define REDIS_KEY_SIZE 32 /* keys/reputation.key */

struct redis;

struct redis_counters {
	uint64_t connects, losses, reads, writes, conflicts, bad_values;
};

/* Does not connect yet: redis_tick does. path "": never. Borrows s and peers. */
NODISCARD enum err redis_open(struct redis **ret_r, struct service *s, const char *path,
	const uint8_t key[static REDIS_KEY_SIZE], struct peers *peers);
void redis_close(struct redis **r);
void redis_tick(struct redis *r, struct when now);
mono_t redis_deadline(const struct redis *r);

bool redis_up(const struct redis *r);
/* All that is known is written and all that is stored is read. */
bool redis_settled(const struct redis *r);
const struct redis_counters *redis_counters(const struct redis *r);
/* The key of a relay's entry, for people who look into Redis. */
#define REDIS_KEY_TEXT 48
void redis_key_text(const struct redis *r, const uint8_t node_id[static NODE_ID_SIZE],
	char ret_text[static REDIS_KEY_TEXT]);

#endif
