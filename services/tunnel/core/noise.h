/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s as WireGuard uses it.
 *
 *   initiator                                     responder
 *   noise_initiation_create  --- type 1 --->      noise_initiation_open    (who is it?)
 *                                                 ... caller finds or makes the remote ...
 *                                                 noise_initiation_finish  (is it fresh?)
 *   noise_response_accept    <--- type 2 ---      noise_response_create    (keys)
 *   (keys)
 *
 * The responder's work is cut in two because a relay admits unknown static keys: after _open the
 * caller knows the static key (decrypted and authenticated under our own public key, but not yet
 * proved fresh), and decides whether to go on. Responder state is kept apart from initiator state,
 * so when both sides initiate at once both handshakes succeed (the paper lets one overwrite the
 * other and waits for a retransmission; the wire is the same).
 *
 * mac1 and mac2 are not made or checked here: cookie.h.
 *
 * Random bytes come from the caller's rng; time (TAI64N) from the caller. Secrets are wiped as soon
 * as they are used up. Sources: paper section 5.4; Noise rev. 34, patterns IK, psk2. */
#ifndef TUNNEL_NOISE_H
#define TUNNEL_NOISE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/rng.h"
#include "aead.h"
#include "hash.h"
#include "messages.h"

/* Our own static key pair and what follows from it. */
struct noise_identity {
	uint8_t static_sk[WG_KEY_SIZE];
	uint8_t static_pk[WG_KEY_SIZE];
	uint8_t hash[HASH_SIZE]; /* of the handshakes in which we respond, before the first byte */
	uint8_t mac1_key[HASH_SIZE];   /* of mac1 on what others send us */
	uint8_t cookie_key[HASH_SIZE]; /* of cookie replies that we send */
};

/* Clamps sk. Public key in ret->static_pk. */
void noise_identity_init(struct noise_identity *ret, const uint8_t sk[static WG_KEY_SIZE]);
void noise_identity_done(struct noise_identity *id);
/* A fresh identity from the rng (a client makes one per hop and route). */
void noise_identity_fresh(struct noise_identity *ret, struct rng *rng);

/* The other side as one of our identities sees it. */
struct noise_remote {
	uint8_t static_pk[WG_KEY_SIZE];
	uint8_t shared_key[WG_KEY_SIZE];    /* X25519(our static, their static) */
	uint8_t preshared_key[WG_KEY_SIZE]; /* zero: none */
	uint8_t mac1_key[HASH_SIZE];
	uint8_t cookie_key[HASH_SIZE];
	uint8_t last_timestamp[TAI64N_SIZE]; /* greatest seen from them */
};

/* One X25519 (about 30 us). psk NULL: none. ERR_INVALID if pk is a low-order point. */
NODISCARD enum err noise_remote_init(struct noise_remote *ret, const struct noise_identity *id,
	const uint8_t pk[static WG_KEY_SIZE], const uint8_t *psk);
void noise_remote_done(struct noise_remote *r);

/* Initiator's state between type 1 and type 2. */
struct noise_initiator {
	uint8_t hash[HASH_SIZE];
	uint8_t chain_key[HASH_SIZE];
	uint8_t ephemeral_sk[WG_KEY_SIZE];
	uint32_t local_index;
	bool waiting; /* an initiation is out */
};

void noise_initiator_done(struct noise_initiator *in);

/* The keys of a finished handshake. Wipe after use. */
struct noise_keys {
	struct aead_key send;
	struct aead_key receive;
	uint32_t remote_index;
};

/* Type 1, without macs (zero). in->local_index is set from local_index. */
NODISCARD enum err noise_initiation_create(struct noise_initiator *in,
	const struct noise_identity *id, const struct noise_remote *r, uint32_t local_index,
	const uint8_t timestamp[static TAI64N_SIZE], struct rng *rng,
	struct wg_initiation *ret_msg);

/* Responder between the two halves and type 2; lives on the caller's stack. */
struct noise_responder {
	uint8_t hash[HASH_SIZE];
	uint8_t chain_key[HASH_SIZE];
	uint8_t remote_ephemeral[WG_KEY_SIZE];
	uint8_t remote_static[WG_KEY_SIZE]; /* who it claims and, being authenticated, is */
	uint8_t enc_timestamp[WG_TAI64N_SIZE + WG_TAG_SIZE];
	uint8_t timestamp[TAI64N_SIZE]; /* after _finish */
	uint32_t remote_index;
};

void noise_responder_done(struct noise_responder *re);

/* First half: decrypts the static key. mac1 has been checked by the caller. ERR_DENIED. */
NODISCARD enum err noise_initiation_open(const struct noise_identity *id,
	const struct wg_initiation *msg, struct noise_responder *ret);
/* Second half, with the remote whose static_pk is re->remote_static: decrypts the timestamp.
 * ERR_DENIED (does not decrypt), ERR_STALE (not greater than r->last_timestamp). Does not change
 * r: the caller commits re->timestamp when it accepts. */
NODISCARD enum err noise_initiation_finish(
	struct noise_responder *re, const struct noise_remote *r);
/* Type 2, without macs (zero), and the keys. ERR_DENIED on a low-order ephemeral. */
NODISCARD enum err noise_response_create(struct noise_responder *re, const struct noise_remote *r,
	uint32_t local_index, struct rng *rng, struct wg_response *ret_msg,
	struct noise_keys *ret_keys);

/* Type 2 arrives; macs and receiver index checked by the caller. ERR_DENIED leaves `in` as it was
 * (the true response may still come); OK wipes it. */
NODISCARD enum err noise_response_accept(struct noise_initiator *in,
	const struct noise_identity *id, const struct noise_remote *r,
	const struct wg_response *msg, struct noise_keys *ret_keys);

#endif
