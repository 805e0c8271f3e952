/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libsodium: runs everywhere; what the others are checked against. */
#include <sodium.h>

#include "aead_backends.h"

static size_t state_size(void)
{
	return AEAD_STATE_MIN;
}

static enum err init(void *state)
{
	(void)state;
	return sodium_init() >= 0 ? OK : ERR_UNAVAILABLE;
}

static void done(void *state)
{
	(void)state;
}

static void seal(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	uint8_t nonce[12];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		uint8_t *b = ops[i].buf;

		aead_nonce_put(nonce, ops[i].counter);
		crypto_aead_chacha20poly1305_ietf_encrypt_detached(b, b + ops[i].len, NULL, b,
			ops[i].len, NULL, 0, NULL, nonce, key->secret_key);
	}
}

static void open(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	uint8_t nonce[12];

	(void)state;
	for (size_t i = 0; i < n; i++) {
		uint8_t *b = ops[i].buf;

		aead_nonce_put(nonce, ops[i].counter);
		ops[i].ok =
			crypto_aead_chacha20poly1305_ietf_decrypt_detached(b, NULL, b, ops[i].len,
				b + ops[i].len, NULL, 0, nonce, key->secret_key) == 0;
	}
}

const struct aead_backend aead_sodium = {"sodium", state_size, init, done, seal, open};
