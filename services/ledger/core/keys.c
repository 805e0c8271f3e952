/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "keys.h"

#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"

#define TAG_SIZE 24

/* keccak(tag, padded with zeros to 24 bytes || master || a || b || c, big-endian) */
static void derive(const char *tag, const uint8_t master[static 32], uint64_t a, uint64_t b,
	uint64_t c, uint8_t ret[static 32])
{
	uint8_t msg[TAG_SIZE + 32 + 24] = {0};

	memcpy(msg, tag, strnlen(tag, TAG_SIZE));
	memcpy(msg + TAG_SIZE, master, 32);
	be64_put(msg + TAG_SIZE + 32, a);
	be64_put(msg + TAG_SIZE + 40, b);
	be64_put(msg + TAG_SIZE + 48, c);
	keccak256(msg, sizeof(msg), ret);
	sodium_memzero(msg, sizeof(msg));
}

enum err keys_init(struct keys *k, const secp256k1_context *ctx, const uint8_t wallet_sk[static 32])
{
	TRY(address_of_key(ctx, wallet_sk, k->payee));
	derive("mvpn payer keys v1", wallet_sk, 0, 0, 0, k->payer_master_sk);
	derive("mvpn reveals v1", wallet_sk, 0, 0, 0, k->reveal_master_sk);
	return OK;
}

void keys_done(struct keys *k)
{
	sodium_memzero(k, sizeof(*k));
}

void keys_payer(const struct keys *k, const secp256k1_context *ctx, uint32_t position,
	uint64_t rotation, uint8_t ret_sk[static 32])
{
	uint64_t attempt = 0;

	/* One hash in 2^128 is no key. */
	do
		derive("mvpn payer key v1", k->payer_master_sk, position, rotation, attempt++, ret_sk);
	while (!secp256k1_ec_seckey_verify(ctx, ret_sk));
}

void keys_reveal(const struct keys *k, uint64_t session, uint64_t nonce, uint32_t generation,
	uint8_t ret_reveal[static 32])
{
	derive("mvpn reveal v1", k->reveal_master_sk, session, nonce, generation, ret_reveal);
}
