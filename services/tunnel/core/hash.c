/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <blake2.h>
#include <sodium.h>

#include "hash.h"
#include "lib/bytes.h"

#define BLOCK 64 /* of BLAKE2s, bytes */
#define LIBRARY_STACK 2048 /* at least what libb2 takes of the stack; it leaves its last hash there */

void hash_of(
	uint8_t ret[static HASH_SIZE], const void *a, size_t a_len, const void *b, size_t b_len)
{
	blake2s_state s;

	blake2s_init(&s, HASH_SIZE);
	blake2s_update(&s, a, a_len);
	if (b_len > 0)
		blake2s_update(&s, b, b_len);
	blake2s_final(&s, ret, HASH_SIZE);
	sodium_memzero(&s, sizeof(s));
}

void hash_mac(uint8_t ret[static HASH_MAC_SIZE], const void *key, size_t key_len, const void *data,
	size_t len)
{
	blake2s_state s;

	blake2s_init_key(&s, HASH_MAC_SIZE, key, key_len);
	blake2s_update(&s, data, len);
	blake2s_final(&s, ret, HASH_MAC_SIZE);
	sodium_memzero(&s, sizeof(s));
}

static void pad_start(blake2s_state *s, const uint8_t key[static HASH_SIZE], uint8_t fill)
{
	uint8_t pad[BLOCK];

	memset(pad, fill, BLOCK);
	for (unsigned int i = 0; i < HASH_SIZE; i++)
		pad[i] ^= key[i];
	blake2s_init(s, HASH_SIZE);
	blake2s_update(s, pad, BLOCK);
	sodium_memzero(pad, sizeof(pad));
}

void hash_hmac(uint8_t ret[static HASH_SIZE], const uint8_t key[static HASH_SIZE], const void *a,
	size_t a_len, const void *b, size_t b_len)
{
	uint8_t inner[HASH_SIZE];
	blake2s_state in, out;

	pad_start(&in, key, 0x36);
	pad_start(&out, key, 0x5c);
	if (a_len > 0)
		blake2s_update(&in, a, a_len);
	if (b_len > 0)
		blake2s_update(&in, b, b_len);
	blake2s_final(&in, inner, HASH_SIZE);
	blake2s_update(&out, inner, HASH_SIZE);
	blake2s_final(&out, ret, HASH_SIZE);
	sodium_memzero(inner, sizeof(inner));
	sodium_memzero(&in, sizeof(in));
	sodium_memzero(&out, sizeof(out));
}

void hash_kdf(uint8_t *ret_t1, uint8_t *ret_t2, uint8_t *ret_t3,
	const uint8_t key[static HASH_SIZE], const void *input, size_t len)
{
	uint8_t *const outs[3] = {ret_t1, ret_t2, ret_t3};
	uint8_t secret[HASH_SIZE], t[HASH_SIZE];
	size_t t_len = 0;

	hash_hmac(secret, key, input, len, NULL, 0);
	for (uint8_t i = 0; i < 3 && outs[i] != NULL; i++) {
		uint8_t n = i + 1;

		hash_hmac(t, secret, t, t_len, &n, 1);
		t_len = HASH_SIZE;
		memcpy(outs[i], t, HASH_SIZE);
	}
	sodium_memzero(secret, sizeof(secret));
	sodium_memzero(t, sizeof(t));
	sodium_stackzero(LIBRARY_STACK);
}

/* TAI64 counts from 2^62 at 1970 TAI, which was 10 s ahead of UTC; leap seconds since are left out,
 * as others do: the label only has to grow. */
#define TAI64_1970 (0x4000000000000000u + 10)
#define NS_PER_S 1000000000u
#define WHITEN_NS ((1u << 24) - 1)

void tai64n_put(uint8_t ret[static TAI64N_SIZE], uint64_t wall_ns)
{
	be64_put(ret, TAI64_1970 + wall_ns / NS_PER_S);
	be32_put(ret + 8, (uint32_t)(wall_ns % NS_PER_S) & ~WHITEN_NS);
}
