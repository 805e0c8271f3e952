/* SPDX-License-Identifier: GPL-2.0-or-later */
/* OpenSSL's libcrypto by EVP, one context per direction, kept. A fixed 400 ns per packet. */
#include <openssl/evp.h>

#include "aead_backends.h"

struct openssl_state {
	EVP_CIPHER_CTX *seal, *open;
};

static size_t state_size(void)
{
	return AEAD_STATE_MIN;
}

static void done(void *state)
{
	struct openssl_state *s = state;

	EVP_CIPHER_CTX_free(s->seal);
	EVP_CIPHER_CTX_free(s->open);
}

static enum err init(void *state)
{
	struct openssl_state *s = state;

	s->seal = EVP_CIPHER_CTX_new();
	s->open = EVP_CIPHER_CTX_new();
	if (s->seal != NULL && s->open != NULL &&
		EVP_CipherInit_ex(s->seal, EVP_chacha20_poly1305(), NULL, NULL, NULL, 1) == 1 &&
		EVP_CipherInit_ex(s->open, EVP_chacha20_poly1305(), NULL, NULL, NULL, 0) == 1)
		return OK;
	done(s);
	return ERR_UNAVAILABLE;
}

/* The key only once per batch. */
static bool start(EVP_CIPHER_CTX *c, const struct aead_key *key, size_t i, uint64_t counter)
{
	uint8_t nonce[12];

	aead_nonce_put(nonce, counter);
	return EVP_CipherInit_ex(c, NULL, NULL, i == 0 ? key->secret_key : NULL, nonce, -1) == 1;
}

/* A context keeps its key: another's in its place, so that none stays when its session is gone. */
static void forget(EVP_CIPHER_CTX *c)
{
	static const uint8_t nothing[AEAD_KEY_SIZE];

	BUG_ON(EVP_CipherInit_ex(c, NULL, NULL, nothing, NULL, -1) != 1);
}

static void seal(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	EVP_CIPHER_CTX *c = ((struct openssl_state *)state)->seal;

	for (size_t i = 0; i < n; i++) {
		uint8_t *b = ops[i].buf;
		int out, len = (int)ops[i].len;

		/* Cannot fail after init; going on would send plaintext. */
		BUG_ON(!start(c, key, i, ops[i].counter));
		BUG_ON(len > 0 && EVP_EncryptUpdate(c, b, &out, b, len) != 1);
		BUG_ON(EVP_EncryptFinal_ex(c, b + len, &out) != 1);
		BUG_ON(EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG_SIZE, b + len) != 1);
	}
	forget(c);
}

static void open(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	EVP_CIPHER_CTX *c = ((struct openssl_state *)state)->open;

	for (size_t i = 0; i < n; i++) {
		uint8_t *b = ops[i].buf, nothing[AEAD_TAG_SIZE];
		int out, len = (int)ops[i].len;

		ops[i].ok = start(c, key, i, ops[i].counter) &&
			    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG_SIZE, b + len) ==
				    1 &&
			    (len == 0 || EVP_DecryptUpdate(c, b, &out, b, len) == 1) &&
			    EVP_DecryptFinal_ex(c, nothing, &out) == 1;
	}
	forget(c);
}

const struct aead_backend aead_openssl = {"openssl", state_size, init, done, seal, open};
