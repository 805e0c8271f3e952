/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>

#include "noise.h"

static const char construction[] = "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
static const char identifier[] = "WireGuard v1 zx2c4 Jason@zx2c4.com";
static const char label_mac1[] = "mac1----";
static const char label_cookie[] = "cookie--";
#define LEN(text) (sizeof(text) - 1)

/* What both sides mix into while the handshake runs; hash and chain key of the Noise paper. */
struct mix {
	uint8_t *hash;
	uint8_t *chain_key;
};

/* --- Noise's symmetric state ----------------------------------------------------------------- */
static void mix_hash(struct mix m, const void *data, size_t len)
{
	hash_of(m.hash, m.hash, HASH_SIZE, data, len);
}

static void mix_key(struct mix m, const void *input, size_t len, uint8_t *ret_key)
{
	hash_kdf(m.chain_key, ret_key, NULL, m.chain_key, input, len);
}

/* Mixes a shared secret. ERR_DENIED for a low-order point, whose secret everybody knows. */
static enum err mix_dh(struct mix m, const uint8_t sk[static WG_KEY_SIZE],
	const uint8_t pk[static WG_KEY_SIZE], uint8_t *ret_key)
{
	uint8_t secret[WG_KEY_SIZE];
	enum err e = ERR_DENIED;

	if (crypto_scalarmult(secret, sk, pk) == 0) {
		mix_key(m, secret, sizeof(secret), ret_key);
		e = OK;
	}
	sodium_memzero(secret, sizeof(secret));
	return e;
}

static const uint8_t zero_nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

static void mix_seal(struct mix m, const uint8_t *key, uint8_t *ret, const void *plain, size_t len)
{
	crypto_aead_chacha20poly1305_ietf_encrypt(
		ret, NULL, plain, len, m.hash, HASH_SIZE, NULL, zero_nonce, key);
	mix_hash(m, ret, len + WG_TAG_SIZE);
}

static enum err mix_open(
	struct mix m, const uint8_t *key, uint8_t *ret, const uint8_t *sealed, size_t len)
{
	if (crypto_aead_chacha20poly1305_ietf_decrypt(ret, NULL, NULL, sealed, len + WG_TAG_SIZE,
		    m.hash, HASH_SIZE, zero_nonce, key) != 0)
		return ERR_DENIED;
	mix_hash(m, sealed, len + WG_TAG_SIZE);
	return OK;
}

static void mix_start(uint8_t *chain_key, uint8_t *hash, const uint8_t *responder_pk)
{
	uint8_t named[HASH_SIZE];

	hash_of(chain_key, construction, LEN(construction), NULL, 0);
	hash_of(named, chain_key, HASH_SIZE, identifier, LEN(identifier));
	hash_of(hash, named, HASH_SIZE, responder_pk, WG_KEY_SIZE);
}

static void mix_ephemeral(struct mix m, const uint8_t *pk)
{
	mix_hash(m, pk, WG_KEY_SIZE);
	mix_key(m, pk, WG_KEY_SIZE, NULL);
}

static void mix_psk(struct mix m, const uint8_t *psk, uint8_t *ret_key)
{
	uint8_t t[HASH_SIZE];

	hash_kdf(m.chain_key, t, ret_key, m.chain_key, psk, WG_KEY_SIZE);
	mix_hash(m, t, HASH_SIZE);
	sodium_memzero(t, sizeof(t));
}

static void clamp(uint8_t sk[static WG_KEY_SIZE])
{
	sk[0] &= 248;
	sk[31] = (sk[31] & 127) | 64;
}

static void ephemeral_make(
	struct rng *rng, uint8_t ret_sk[static WG_KEY_SIZE], uint8_t ret_pk[static WG_KEY_SIZE])
{
	rng_bytes(rng, ret_sk, WG_KEY_SIZE);
	clamp(ret_sk);
	crypto_scalarmult_base(ret_pk, ret_sk);
}

/* --- identities ------------------------------------------------------------------------------ */
static void keys_of(const uint8_t *pk, uint8_t *ret_mac1, uint8_t *ret_cookie)
{
	hash_of(ret_mac1, label_mac1, LEN(label_mac1), pk, WG_KEY_SIZE);
	hash_of(ret_cookie, label_cookie, LEN(label_cookie), pk, WG_KEY_SIZE);
}

void noise_identity_init(struct noise_identity *ret, const uint8_t sk[static WG_KEY_SIZE])
{
	uint8_t chain_key[HASH_SIZE];

	memcpy(ret->static_sk, sk, WG_KEY_SIZE);
	clamp(ret->static_sk);
	crypto_scalarmult_base(ret->static_pk, ret->static_sk);
	mix_start(chain_key, ret->hash, ret->static_pk);
	keys_of(ret->static_pk, ret->mac1_key, ret->cookie_key);
}

void noise_identity_fresh(struct noise_identity *ret, struct rng *rng)
{
	uint8_t sk[WG_KEY_SIZE];

	rng_bytes(rng, sk, sizeof(sk));
	noise_identity_init(ret, sk);
	sodium_memzero(sk, sizeof(sk));
}

void noise_identity_done(struct noise_identity *id)
{
	sodium_memzero(id, sizeof(*id));
}

enum err noise_remote_init(struct noise_remote *ret, const struct noise_identity *id,
	const uint8_t pk[static WG_KEY_SIZE], const uint8_t *psk)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->static_pk, pk, WG_KEY_SIZE);
	if (psk != NULL)
		memcpy(ret->preshared_key, psk, WG_KEY_SIZE);
	keys_of(pk, ret->mac1_key, ret->cookie_key);
	return crypto_scalarmult(ret->shared_key, id->static_sk, pk) == 0 ? OK : ERR_INVALID;
}

void noise_remote_done(struct noise_remote *r)
{
	sodium_memzero(r, sizeof(*r));
}

void noise_initiator_done(struct noise_initiator *in)
{
	sodium_memzero(in, sizeof(*in));
}

void noise_responder_done(struct noise_responder *re)
{
	sodium_memzero(re, sizeof(*re));
}

/* --- type 1 ---------------------------------------------------------------------------------- */
enum err noise_initiation_create(struct noise_initiator *in, const struct noise_identity *id,
	const struct noise_remote *r, uint32_t local_index,
	const uint8_t timestamp[static TAI64N_SIZE], struct rng *rng, struct wg_initiation *ret_msg)
{
	struct mix m = {in->hash, in->chain_key};
	uint8_t key[HASH_SIZE];
	enum err e;

	memset(ret_msg, 0, sizeof(*ret_msg));
	le32_put(ret_msg->type, WG_INITIATION);
	le32_put(ret_msg->sender, local_index);
	mix_start(in->chain_key, in->hash, r->static_pk);
	ephemeral_make(rng, in->ephemeral_sk, ret_msg->ephemeral);
	mix_ephemeral(m, ret_msg->ephemeral);
	e = mix_dh(m, in->ephemeral_sk, r->static_pk, key); /* es */
	if (e == OK) {
		mix_seal(m, key, ret_msg->enc_static, id->static_pk, WG_KEY_SIZE);
		mix_key(m, r->shared_key, WG_KEY_SIZE, key); /* ss */
		mix_seal(m, key, ret_msg->enc_timestamp, timestamp, TAI64N_SIZE);
		in->local_index = local_index;
		in->waiting = true;
	} else {
		noise_initiator_done(in);
	}
	sodium_memzero(key, sizeof(key));
	return e;
}

enum err noise_initiation_open(const struct noise_identity *id, const struct wg_initiation *msg,
	struct noise_responder *ret)
{
	struct mix m = {ret->hash, ret->chain_key};
	uint8_t key[HASH_SIZE];
	enum err e;

	hash_of(ret->chain_key, construction, LEN(construction), NULL, 0);
	memcpy(ret->hash, id->hash, HASH_SIZE);
	mix_ephemeral(m, msg->ephemeral);
	e = mix_dh(m, id->static_sk, msg->ephemeral, key); /* es */
	if (e == OK)
		e = mix_open(m, key, ret->remote_static, msg->enc_static, WG_KEY_SIZE);
	sodium_memzero(key, sizeof(key));
	if (e != OK) {
		noise_responder_done(ret);
		return e;
	}
	memcpy(ret->remote_ephemeral, msg->ephemeral, WG_KEY_SIZE);
	memcpy(ret->enc_timestamp, msg->enc_timestamp, sizeof(ret->enc_timestamp));
	ret->remote_index = le32_get(msg->sender);
	return OK;
}

enum err noise_initiation_finish(struct noise_responder *re, const struct noise_remote *r)
{
	struct mix m = {re->hash, re->chain_key};
	uint8_t key[HASH_SIZE];
	enum err e;

	mix_key(m, r->shared_key, WG_KEY_SIZE, key); /* ss */
	e = mix_open(m, key, re->timestamp, re->enc_timestamp, TAI64N_SIZE);
	sodium_memzero(key, sizeof(key));
	if (e == OK && memcmp(re->timestamp, r->last_timestamp, TAI64N_SIZE) <= 0)
		e = ERR_STALE;
	return e;
}

/* --- type 2 ---------------------------------------------------------------------------------- */
static void keys_derive(struct mix m, bool initiator, struct noise_keys *ret)
{
	struct aead_key *first = initiator ? &ret->send : &ret->receive;
	struct aead_key *second = initiator ? &ret->receive : &ret->send;

	hash_kdf(first->secret_key, second->secret_key, NULL, m.chain_key, NULL, 0);
}

enum err noise_response_create(struct noise_responder *re, const struct noise_remote *r,
	uint32_t local_index, struct rng *rng, struct wg_response *ret_msg,
	struct noise_keys *ret_keys)
{
	struct mix m = {re->hash, re->chain_key};
	uint8_t sk[WG_KEY_SIZE], key[HASH_SIZE];
	enum err e;

	memset(ret_msg, 0, sizeof(*ret_msg));
	le32_put(ret_msg->type, WG_RESPONSE);
	le32_put(ret_msg->sender, local_index);
	le32_put(ret_msg->receiver, re->remote_index);
	ephemeral_make(rng, sk, ret_msg->ephemeral);
	mix_ephemeral(m, ret_msg->ephemeral);
	e = mix_dh(m, sk, re->remote_ephemeral, NULL); /* ee */
	if (e == OK)
		e = mix_dh(m, sk, re->remote_static, NULL); /* se */
	if (e == OK) {
		mix_psk(m, r->preshared_key, key);
		mix_seal(m, key, ret_msg->enc_nothing, NULL, 0);
		keys_derive(m, false, ret_keys);
		ret_keys->remote_index = re->remote_index;
	}
	sodium_memzero(sk, sizeof(sk));
	sodium_memzero(key, sizeof(key));
	noise_responder_done(re);
	return e;
}

enum err noise_response_accept(struct noise_initiator *in, const struct noise_identity *id,
	const struct noise_remote *r, const struct wg_response *msg, struct noise_keys *ret_keys)
{
	uint8_t hash[HASH_SIZE], chain_key[HASH_SIZE], key[HASH_SIZE], nothing[1];
	struct mix m = {hash, chain_key}; /* a copy: a forged response must not spoil the state */
	enum err e = ERR_DENIED;

	if (!in->waiting || le32_get(msg->receiver) != in->local_index)
		return ERR_DENIED;
	memcpy(hash, in->hash, HASH_SIZE);
	memcpy(chain_key, in->chain_key, HASH_SIZE);
	mix_ephemeral(m, msg->ephemeral);
	e = mix_dh(m, in->ephemeral_sk, msg->ephemeral, NULL); /* ee */
	if (e == OK)
		e = mix_dh(m, id->static_sk, msg->ephemeral, NULL); /* se */
	if (e == OK) {
		mix_psk(m, r->preshared_key, key);
		e = mix_open(m, key, nothing, msg->enc_nothing, 0);
	}
	if (e == OK) {
		keys_derive(m, true, ret_keys);
		ret_keys->remote_index = le32_get(msg->sender);
		noise_initiator_done(in);
	}
	sodium_memzero(hash, sizeof(hash));
	sodium_memzero(chain_key, sizeof(chain_key));
	sodium_memzero(key, sizeof(key));
	return e;
}
