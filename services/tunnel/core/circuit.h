/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Circuits, the relay's side: which leg a relay frame goes out by, and whose an answer is.
 *
 * A leg is one onward way of one session: (session, slot) -> next hop's endpoint, opened by Extend
 * with the next hop's verified descriptor. Forward: circuit_forward names the leg of (session,
 * slot) and checks the inner message. Back: every WireGuard message from a next hop carries at a
 * fixed place the receiver index, which is the sender index of an initiation that went out before;
 * the pair (next hop's endpoint, index) is learned then and circuit_back finds the leg by it.
 *
 * - [P-10] Frames are forwarded only by legs that Extend opened with a valid descriptor, and only
 * to its endpoint.
 * - [P-11] Only type 1 opens a new index. A pair (endpoint, index) that belongs to another leg is
 * not taken over: the initiation is dropped and counted.
 * - [P-12] A learned index expires REJECT_AFTER_TIME (180 s) after the last type 1 or first type 2
 * that named it; a leg holds at most 8, the oldest unanswered gives way.
 * - [P-13] What returns is demultiplexed by (source endpoint, receiver index) alone; no match:
 * dropped. Type 1 from a next hop has no receiver index and is dropped.
 * - [P-14] Types 2, 3 and 4 go forward only after the next hop has answered an initiation of this
 * leg (type 2): no traffic is reflected to who does not speak. Initiations are limited to 4 per
 * second and leg, burst 8.
 * - [P-15] Extend is idempotent: same slot and same node is a success (and renews the validity);
 * an open slot towards another node is refused. At most 8 legs per session.
 * - [P-16] Past the descriptor's expiry a leg takes no new initiation unless the next hop answered
 * one within the last 300 s (a route in use outlives the day; a dead endpoint does not).
 * - [P-17] The end of a session frees its legs; a leg unused for 300 s is freed.
 * - [P-18] A relay never changes what it relays, and refuses to extend to itself.
 * - [P-19] An initiation that comes before the Extend of its slot (the network reordered them, or
 * the Extend was lost and comes again) is held for 3 s, one per session, and goes out when the slot
 * opens.
 *
 * One per worker, share-nothing. Session handles are the worker's dense numbers
 * 0..sessions_max-1; circuit_session_gone before one is used anew. Look-ups are O(1) and allocate
 * nothing; tick is bounded. Pure. Source: docs/protocol.md; WireGuard paper section 5.4. */
#ifndef TUNNEL_CIRCUIT_H
#define TUNNEL_CIRCUIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/descriptor.h"
#include "lib/err.h"
#include "lib/net.h"
#include "lib/units.h"
#include "frame.h"
#include "messages.h"
#include "table.h"
#include "tokens.h"

/* Two paths while changing, a fan-out of a few; short, since the list is walked. */
#define CIRCUIT_LEGS_PER_SESSION 8
/* Current, previous, next key pair, and retries of one handshake. */
#define CIRCUIT_INDICES_PER_LEG 8
#define CIRCUIT_INDEX_LIFE DUR_S(180) /* REJECT_AFTER_TIME: no key pair lives longer */
#define CIRCUIT_LEG_IDLE DUR_S(300)   /* longer than any index lives */
#define CIRCUIT_ANSWER_GRACE DUR_S(300)
#define CIRCUIT_HOLD DUR_S(3) /* two retransmissions of Extend */
#define CIRCUIT_HELD_MAX 32   /* initiations held at a time; the oldest gives way */
#define CIRCUIT_INITIATIONS_PER_S 4
#define CIRCUIT_INITIATIONS_BURST 8

struct circuit_conf {
	uint32_t sessions_max;
	uint32_t legs_max; /* about 600 bytes each, with room for their indices */
	bool have_ip4;	   /* this node can send to IPv4 next hops */
	bool have_ip6;
	uint8_t self_wg_pk[32];
};

/* A leg, to read. `next` is where its messages go. */
struct circuit_leg {
	struct net_endpoint next;
	uint8_t next_wg_pk[32];
	uint32_t session;
	uint32_t sibling; /* next leg of the same session */
	uint32_t index;	  /* first of its learned indices */
	uint16_t slot;
	uint8_t n_indices;
	bool answered; /* by the next hop, ever */
	struct tokens initiations;
	mono_t valid_until; /* of the descriptor */
	mono_t answered_at;
	mono_t used_at;
};

struct circuit_index;

struct circuit_held {
	bool used;
	uint16_t slot;
	uint32_t session;
	mono_t at;
	uint8_t msg[WG_INITIATION_SIZE];
};

struct circuit_counters {
	uint64_t forwarded, returned;  /* messages */
	uint64_t bad_message;	       /* [P-4] not a well-formed WireGuard message, either way */
	uint64_t no_leg;	       /* forward: slot not open */
	uint64_t held;		       /* [P-19] of them initiations, kept for an Extend */
	uint64_t no_index;	       /* back: unknown pair, or type 1 */
	uint64_t collisions;	       /* [P-11] */
	uint64_t unanswered;	       /* [P-14] data to a next hop that never answered */
	uint64_t too_many_initiations; /* [P-14] */
	uint64_t expired;	       /* [P-16] */
	uint64_t legs_opened, legs_closed, legs_refused;
	uint64_t indices_evicted; /* a leg at its bound */
};

struct circuit {
	struct circuit_conf conf;
	struct table legs;    /* places of leg[]; chains unused, order of use */
	struct table indices; /* keyed by (endpoint, index) */
	struct circuit_leg *leg;
	struct circuit_index *idx;
	uint32_t *first_leg; /* by session */
	struct circuit_held held[CIRCUIT_HELD_MAX];
	uint32_t memo; /* index place of the last circuit_back: trains repeat it */
	struct circuit_counters n;
};

/* Bytes of memory that circuit_init needs; 0 if conf is out of bounds. */
size_t circuit_bytes(const struct circuit_conf *conf);
/* Borrows mem (8-aligned, circuit_bytes) for its life. key: secret, random. */
void circuit_init(struct circuit *c, const struct circuit_conf *conf, void *mem,
	const uint64_t key[static 2]);

/* Opens `slot` of `session` towards the node of d, which the caller has put through
 * descriptor_accept; valid_for: until it expires. IPv4 is preferred where both sides have it.
 * OK (also if it was open already), ERR_DENIED (no relay or exit, or ourselves, or the slot is open
 * towards another node), ERR_FULL (limits), ERR_UNAVAILABLE (no family in common). */
NODISCARD enum err circuit_extend(struct circuit *c, mono_t now, uint32_t session, uint16_t slot,
	const struct descriptor *d, dur_t valid_for);

/* A relay frame's inner message on its way out: the leg to send it by, as is, to leg->next.
 * ret_leg is borrowed until the next call that changes c. ERR_MALFORMED, ERR_NOT_FOUND (no such
 * leg), ERR_DENIED (collision, expired, not answered yet), ERR_FULL (too many initiations): drop;
 * it is counted. */
NODISCARD enum err circuit_forward(struct circuit *c, mono_t now, uint32_t session, uint16_t slot,
	const uint8_t *msg, size_t len, const struct circuit_leg **ret_leg);

/* [P-19] After circuit_extend said OK: the initiation that was too early for this slot, to be given
 * to circuit_forward now (WG_INITIATION_SIZE bytes); NULL if there is none. Handed out once;
 * borrowed until the next call that changes c. */
const uint8_t *circuit_take_held(struct circuit *c, mono_t now, uint32_t session, uint16_t slot);

/* A WireGuard message that came to the onward socket from `from`: the leg (session and slot) in
 * whose relay frame it goes back, as is. ERR_MALFORMED, ERR_NOT_FOUND: drop; it is counted. */
NODISCARD enum err circuit_back(struct circuit *c, mono_t now, const struct net_endpoint *from,
	const uint8_t *msg, size_t len, const struct circuit_leg **ret_leg);

/* NULL if the slot is not open. Borrowed until the next call that changes c. */
const struct circuit_leg *circuit_find(const struct circuit *c, uint32_t session, uint16_t slot);
/* Closing what is not open is fine (idempotent). */
void circuit_close(struct circuit *c, uint32_t session, uint16_t slot);
void circuit_session_gone(struct circuit *c, uint32_t session);
/* Expires indices and idle legs, a bounded number per call. Once a second is enough. */
void circuit_tick(struct circuit *c, mono_t now);

static inline uint32_t circuit_n_legs(const struct circuit *c)
{
	return c->legs.n_used;
}

static inline uint32_t circuit_n_indices(const struct circuit *c)
{
	return c->indices.n_used;
}

#endif
