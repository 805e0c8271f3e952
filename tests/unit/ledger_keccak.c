/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <nettle/sha3.h>
#include <sodium.h>

#include "lib/rng.h"
#include "services/ledger/core/keccak.h"
#include "tests/vectors/ledger_tickets.h"

static void published_and_ethers_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hash_vectors) / sizeof(hash_vectors[0]); i++) {
		const struct hash_vector *v = &hash_vectors[i];
		uint8_t text[4096], hash[KECCAK_SIZE];
		char hex[2 * KECCAK_SIZE + 1];
		size_t len = 0;

		for (unsigned int n = 0; n < v->n; n++)
			{
			memcpy(text + len, v->text, strlen(v->text));
			len += strlen(v->text);
		}
		keccak256(text, len, hash);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash)), v->hash);
	}
}

/* nettle knows SHA-3 only, but its permutation is public: the last block is padded here (0x01, not
 * 0x06). */
static void nettle_keccak(const uint8_t *p, size_t len, uint8_t *hash)
{
	struct sha3_256_ctx c;

	sha3_256_init(&c);
	sha3_256_update(&c, len, p);
	memset(c.block + c.index, 0, SHA3_256_BLOCK_SIZE - c.index);
	c.block[c.index] = 0x01;
	c.block[SHA3_256_BLOCK_SIZE - 1] |= 0x80;
	for (unsigned int i = 0; i < SHA3_256_BLOCK_SIZE / 8; i++) {
		uint64_t lane;

		memcpy(&lane, c.block + 8 * i, 8);
		c.state.a[i] ^= lane;
	}
	sha3_permute(&c.state);
	memcpy(hash, c.state.a, 32);
}

static void same_as_nettle_at_every_length(void **state)
{
	static const uint8_t seed[32] = "keccak";
	uint8_t data[600], ours[32], theirs[32];
	struct rng r;

	(void)state;
	rng_init(&r, seed);
	for (size_t len = 0; len <= sizeof(data); len++) {
		rng_bytes(&r, data, len);
		keccak256(data, len, ours);
		nettle_keccak(data, len, theirs);
		assert_memory_equal(ours, theirs, 32);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(published_and_ethers_vectors),
		cmocka_unit_test(same_as_nettle_at_every_length),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
