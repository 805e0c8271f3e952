/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One WireGuard peer: handshakes, key pairs, timers, counters, as a state machine that knows no
 * socket, no clock and no endpoint. The same struct serves a configured peer, a relay's session
 * with a stranger, and a client's nested session, whose messages travel inside another session.
 *
 * How it works. Three key pairs: `current` seals and opens; `previous` still opens what was under
 * way; `next` is what we derived as responder and may not seal with until the initiator has proved
 * by a first packet that it has the keys. What is to be done leaves through env->ops->emit(),
 * always as the last thing a function here does, so emit may call back into this session (but must
 * not free it: note it, and free it after the call that emitted has returned).
 *
 * Sending. seal_begin hands out the key and a range of counters for a batch, seal_end does timers
 * and counts once for the batch; session_seal_batch is both with the sealing between. Receiving
 * likewise: open_begin finds the key pair by our index, session_open_batch opens, judges replays in
 * order, and does timers once. Between _begin and _end no other call on the session.
 *
 * Timers (paper section 6, and the reference implementations where it is silent):
 *   initiation again    REKEY_TIMEOUT + jitter after one was sent, until REKEY_ATTEMPT_TIME is over
 *   passive keepalive   KEEPALIVE_TIMEOUT after data came and nothing was sent
 *   new handshake       KEEPALIVE_TIMEOUT + REKEY_TIMEOUT after data was sent and nothing came
 *   persistent          interval after the last authenticated packet in either direction
 *   rekey               initiator: when sending with keys older than REKEY_AFTER_TIME, or receiving
 *                       with keys older than REJECT - KEEPALIVE - REKEY_TIMEOUT; both: messages
 *   erasure             each key pair at REJECT_AFTER_TIME, when it stops being of use
 * session_deadline() is the earliest of them. It moves with nearly every batch; a timer wheel need
 * not follow when it moves later: tick early does nothing.
 *
 * An instant of 0 means never, so `now` is never 0.
 *
 * Differs from the paper: key pairs are wiped at REJECT_AFTER_TIME, not at three times that, and
 * the initiator's ephemeral when it gives up, so nothing is left to wipe later; both sides may
 * initiate at once and both handshakes complete (noise.h); one passive keepalive answers all data
 * that came before it.
 *
 * Sources: WireGuard paper sections 5 and 6; docs/protocol.md. */
#ifndef TUNNEL_SESSION_H
#define TUNNEL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/rng.h"
#include "lib/units.h"
#include "aead.h"
#include "cookie.h"
#include "messages.h"
#include "noise.h"
#include "replay.h"

struct session;

/* --- constants, as a struct so that tests can shorten them ----------------------------------- */
struct session_conf {
	dur_t rekey_after;	 /* REKEY_AFTER_TIME */
	dur_t reject_after;	 /* REJECT_AFTER_TIME */
	dur_t rekey_attempt;	 /* REKEY_ATTEMPT_TIME */
	dur_t rekey_timeout;	 /* REKEY_TIMEOUT: least time between two of our initiations */
	dur_t rekey_jitter;	 /* added to it when we retransmit, uniform in [0, this) */
	dur_t keepalive_timeout; /* KEEPALIVE_TIMEOUT */
	dur_t initiation_gap;	 /* least time between two initiations that we accept */
	uint64_t rekey_after_messages;
	uint64_t reject_after_messages;
};

/* The paper's: 120 s, 180 s, 90 s, 5 s, 333 ms, 10 s, 20 ms, 2^60, 2^64 - 2^13 - 1. */
extern const struct session_conf session_conf_wireguard;

/* --- key pairs come from a pool -------------------------------------------------------------- */
struct keypair {
	struct aead_key send_key;
	struct aead_key receive_key;
	uint64_t send_counter; /* next to be used */
	mono_t born;
	uint32_t local_index; /* what they put as receiver */
	uint32_t remote_index;
	bool initiator; /* we were */
	struct keypair *next_free;
	struct replay replay;
};

struct keypair_pool {
	struct keypair *free;
	size_t n_free;
};

/* At most this many per session. */
#define SESSION_KEYPAIRS 3

/* Adds n key pairs (uninitialised) to the pool, which starts zeroed. Borrows them for good. */
void keypair_pool_add(struct keypair_pool *p, struct keypair *pairs, size_t n);

/* --- what the session needs from, and tells, its surroundings -------------------------------- */
enum session_effect {
	SESSION_SEND_INITIATION = 1
				  << 0, /* call session_initiation_create and send what it makes */
	SESSION_ESTABLISHED = 1 << 1,	/* new keys, may seal with them: send what was waiting */
	SESSION_SEND_KEEPALIVE = 1
				 << 2, /* seal an empty payload (session_seal_batch) and send it */
	SESSION_GAVE_UP = 1 << 3,      /* REKEY_ATTEMPT_TIME without an answer: drop what waits */
	SESSION_EXPIRED = 1 << 4       /* the last key pair is wiped: nothing can be received */
};

struct session_ops {
	/* A fresh, unused, unguessable index for s (its low bits name the worker). False: none
	 * left. */
	bool (*index_new)(void *ctx, struct session *s, uint32_t *ret_index);
	/* The index means nothing any more. */
	void (*index_free)(void *ctx, struct session *s, uint32_t index);
	void (*emit)(void *ctx, struct session *s, enum session_effect e);
};

/* One per worker (and per session_conf), borrowed by each call. */
struct session_env {
	const struct session_conf *conf;
	const struct session_ops *ops;
	void *ctx; /* of ops */
	struct rng *rng;
	struct keypair_pool *keypairs;
};

struct session_stats {
	uint64_t tx_packets, rx_packets; /* transport messages, keepalives too; rx authenticated */
	uint64_t tx_bytes, rx_bytes;	 /* whole messages of all types, as `wg` counts */
	uint64_t tx_payload, rx_payload; /* plaintext bytes of transport messages */
	uint64_t handshakes;		 /* completed */
	uint64_t initiations_sent;
	uint64_t dropped_replay, dropped_auth; /* received transport messages */
};

/* Private but for stats, last_handshake, last_received, remote and identity (read only). */
struct session {
	const struct noise_identity *identity; /* borrowed for the session's life */
	struct noise_remote remote;
	struct noise_initiator initiator;
	struct cookie_jar jar;
	struct keypair *current, *previous, *next;
	uint64_t timestamp_sent; /* wall ns of our latest initiation: they must grow */
	mono_t last_handshake;	 /* completed; 0: never */
	mono_t last_received;	 /* authenticated packet; 0: never */
	mono_t initiation_sent;	 /* 0: never */
	mono_t initiation_taken; /* latest that we accepted */
	mono_t attempt_began;	 /* first initiation of the running attempt; 0: none runs */
	dur_t persistent;	 /* 0: off */
	/* timers; 0: not set */
	mono_t retransmit_at;
	mono_t keepalive_at;
	mono_t new_handshake_at;
	mono_t persistent_at;
	bool late_rekey_sent; /* one initiation on receipt with old keys is enough */
	struct session_stats stats;
};

/* --- life ------------------------------------------------------------------------------------ */
/* pk: the peer's static key; psk NULL: none. One X25519. Borrows id until session_done or
 * session_identity_set. ERR_INVALID: pk is no usable key. */
NODISCARD enum err session_init(struct session *s, const struct noise_identity *id,
	const uint8_t pk[static WG_KEY_SIZE], const uint8_t *psk);
/* Wipes all, gives back key pairs and indices. Emits nothing. */
void session_done(struct session *s, struct session_env *env);
/* Drops keys, handshake and timers, keeps identity, counters and the greatest timestamp: an
 * interface goes down. Emits nothing. */
void session_clear(struct session *s, struct session_env *env);
/* Our static key changed: drops the keys. ERR_INVALID as session_init; then the session is
 * unusable. */
NODISCARD enum err session_identity_set(
	struct session *s, struct session_env *env, const struct noise_identity *id);
/* For handshakes from now on. NULL: none. */
void session_psk_set(struct session *s, const uint8_t *psk);
/* 0: off. When switched on, sends one at once if keys are there or can be had (emits). */
void session_persistent_set(struct session *s, struct session_env *env, mono_t now, dur_t interval);

/* --- time ------------------------------------------------------------------------------------ */
mono_t session_deadline(const struct session *s, const struct session_conf *conf);
void session_tick(struct session *s, struct session_env *env, mono_t now);

/* --- handshake ------------------------------------------------------------------------------- */
/* We want keys (something waits to be sent): begins an attempt, or gives the running one another
 * REKEY_ATTEMPT_TIME; an initiation goes out now if the last is older than REKEY_TIMEOUT. */
void session_initiate(struct session *s, struct session_env *env, mono_t now);
/* The same at once, whatever was sent before and however fresh the keys are. For the overlay: while
 * a route is built a lost message must not cost REKEY_TIMEOUT, and a session that moves to a new
 * path begins there with an initiation. The caller limits the rate (route.h does). */
void session_initiate_anew(struct session *s, struct session_env *env, mono_t now);

/* Makes type 1, macs filled in. wall_ns: wall clock, ns since 1970. Only in answer to
 * SESSION_SEND_INITIATION (or once after session_initiate). ERR_FULL: no index left (tried again by
 * the timer); ERR_UNAVAILABLE: one was sent less than REKEY_TIMEOUT ago. */
NODISCARD enum err session_initiation_create(struct session *s, struct session_env *env, mono_t now,
	uint64_t wall_ns, uint8_t ret_msg[static WG_INITIATION_SIZE]);

/* Type 1 came, mac1 was checked, noise_initiation_open said that re->remote_static is this peer.
 * On OK ret_msg is type 2 to be sent back where it came from (and that is now the endpoint).
 * ERR_STALE (replayed), ERR_DENIED, ERR_FULL (too soon after the last, no index, no key pair). */
NODISCARD enum err session_initiation_accept(struct session *s, struct session_env *env, mono_t now,
	struct noise_responder *re, uint8_t ret_msg[static WG_RESPONSE_SIZE]);

/* Type 2 came with an index of ours, mac1 checked. OK: authenticated, the source is the endpoint;
 * emits SESSION_ESTABLISHED, then SESSION_SEND_KEEPALIVE if that did not lead to anything being
 * sealed. ERR_DENIED, ERR_NOT_FOUND (the index is of no waiting initiation), ERR_FULL. */
NODISCARD enum err session_response_accept(struct session *s, struct session_env *env, mono_t now,
	const uint8_t msg[static WG_RESPONSE_SIZE]);

/* Type 3 came with an index of ours. The next initiation carries mac2. ERR_DENIED. */
NODISCARD enum err session_cookie_accept(
	struct session *s, mono_t now, const uint8_t msg[static WG_COOKIE_SIZE]);

/* --- transport ------------------------------------------------------------------------------- */
/* Are there keys to seal with now? */
bool session_can_seal(const struct session *s, const struct session_conf *conf, mono_t now);

struct session_seal {
	const struct aead_key *key;
	uint64_t counter;  /* of the first packet; n follow each other */
	uint32_t receiver; /* index for the transport head */
};

struct session_tally {
	uint32_t n;		/* packets (authenticated ones when received), keepalives too */
	uint32_t n_data;	/* of them with a payload */
	uint64_t payload_bytes; /* plaintext */
};

/* n packets will be sealed. ERR_UNAVAILABLE: no keys (then a handshake has been asked for: keep the
 * packets until SESSION_ESTABLISHED or SESSION_GAVE_UP). Counters once handed out are never reused.
 */
NODISCARD enum err session_seal_begin(struct session *s, struct session_env *env, mono_t now,
	uint32_t n, struct session_seal *ret);
/* They were sealed (and are being sent). */
void session_seal_end(
	struct session *s, struct session_env *env, mono_t now, const struct session_tally *t);

/* Both, with the work between: each op's buf points at len bytes of (padded) payload, with
 * WG_TRANSPORT_HEAD bytes before it and WG_TAG_SIZE after it to be filled in. len 0: a keepalive.
 * The message to send is buf - 16, len + 32. Errors as session_seal_begin. */
NODISCARD enum err session_seal_batch(struct session *s, struct session_env *env, struct aead *a,
	mono_t now, struct aead_op *ops, uint32_t n);

struct session_open {
	struct keypair *keypair;
};

/* Finds the key pair of our index. ERR_NOT_FOUND: not this session's; ERR_STALE: too old, or spent.
 */
NODISCARD enum err session_open_begin(struct session *s, struct session_env *env, mono_t now,
	uint32_t local_index, struct session_open *ret);
/* t->n packets were authenticated and fresh (call only if > 0: otherwise the key pair of `o` must
 * not be touched). New endpoint, confirmation of `next` (emits SESSION_ESTABLISHED), timers. */
void session_open_end(struct session *s, struct session_env *env, mono_t now,
	const struct session_open *o, const struct session_tally *t);

/* Both, with the work between, for n messages with the same receiver index: each op's buf points
 * behind the transport head, len without the tag, counter from the head. Sets ok of each: opened
 * and fresh. Returns how many are ok: if any is, the source is authenticated. Errors of _begin: 0,
 * none ok. */
uint32_t session_open_batch(struct session *s, struct session_env *env, struct aead *a, mono_t now,
	uint32_t local_index, struct aead_op *ops, uint32_t n);

#endif
