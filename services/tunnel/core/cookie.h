/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What keeps handshake floods cheap: mac1 (only those who know our public key cost us more than
 * 0.3 us), cookies under load (only those who receive at the address that they send from), and
 * a token bucket per source. Paper section 5.3, 5.4.4, 5.4.7.
 *
 * Whether we are under load is the caller's decision (queue length, CPU). Clocks and randomness
 * are the caller's. */
#ifndef TUNNEL_COOKIE_H
#define TUNNEL_COOKIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/rng.h"
#include "lib/units.h"
#include "hash.h"
#include "messages.h"
#include "noise.h"

#define COOKIE_SECRET_LIFE DUR_S(120) /* ours is replaced after */
#define COOKIE_LIFE DUR_S(120)	      /* one that we were given */
/* We stop using a cookie a little before the other side forgets its secret. */
#define COOKIE_LATENCY DUR_S(5)

/* --- our side as receiver of handshakes: one per identity and thread ------------------------- */
struct cookie_checker {
	uint8_t mac1_key[HASH_SIZE];
	uint8_t cookie_key[HASH_SIZE];
	uint8_t secret_key[HASH_SIZE];
	mono_t secret_born; /* 0: none yet */
};

enum cookie_verdict {
	COOKIE_BAD,  /* mac1 is wrong: drop */
	COOKIE_MAC1, /* mac1 right, no valid mac2: under load answer with a cookie, else go on */
	COOKIE_MAC2  /* both: go on (and under load ask rate_admit) */
};

void cookie_checker_init(struct cookie_checker *c, const struct noise_identity *id);
void cookie_checker_done(struct cookie_checker *c);

/* msg is of type 1 or 2 with its exact length. mac2 is looked at only if under_load. */
enum cookie_verdict cookie_check(struct cookie_checker *c, const uint8_t *msg, size_t len,
	const struct net_endpoint *source, bool under_load, mono_t now);

/* The answer to a message whose verdict was COOKIE_MAC1 under load. Renews the secret when due. */
void cookie_reply_create(struct cookie_checker *c, const uint8_t *msg, size_t len,
	const struct net_endpoint *source, struct rng *rng, mono_t now,
	struct wg_cookie *ret_reply);

/* --- our side as sender: one per session ----------------------------------------------------- */
struct cookie_jar {
	uint8_t cookie[WG_MAC_SIZE];
	uint8_t last_mac1[WG_MAC_SIZE]; /* of the last handshake message that we sent */
	mono_t born;			/* of cookie; 0: none */
	bool sent;			/* last_mac1 is set */
};

/* Fills both macs of a handshake message. */
void cookie_macs_put(
	struct cookie_jar *jar, const struct noise_remote *r, uint8_t *msg, size_t len, mono_t now);
/* ERR_DENIED if it is no answer to our last message. */
NODISCARD enum err cookie_reply_accept(struct cookie_jar *jar, const struct noise_remote *r,
	const struct wg_cookie *reply, mono_t now);

/* --- token buckets --------------------------------------------------------------------------- */
#define RATE_PER_S 20 /* handshakes per second and source (IPv4 /32, IPv6 /64) */
#define RATE_BURST 5
#define RATE_WAYS 8 /* slots in which one source may sit */

struct rate_slot {
	uint64_t net;	 /* IPv4 address or upper half of IPv6 */
	uint64_t at_ns;	 /* when tokens were counted last; 0: the slot is free */
	uint32_t tokens; /* in ns of refill, see cookie.c */
	uint8_t family;
};

/* Bounded: memory is n_slots, handed in by the caller; a newcomer takes the fullest bucket of its
 * set (the one that forgets least). Which set a source falls into is keyed, so it cannot be aimed.
 */
struct rate_table {
	struct rate_slot *slots;
	uint32_t n_sets; /* power of two */
	uint8_t hash_key[16];
};

/* n_slots: RATE_WAYS times a power of two. Borrows slots until the table is gone. */
void rate_table_init(
	struct rate_table *t, struct rate_slot *slots, size_t n_slots, struct rng *rng);
/* Takes a token; false: over the limit, drop. */
bool rate_admit(struct rate_table *t, const struct net_addr *source, mono_t now);

#endif
