/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "entropy.h"

#include <sodium.h>

void entropy_bytes(void *out, size_t len)
{
	randombytes_buf(out, len);
}

void entropy_rng(struct rng *r)
{
	uint8_t seed[32];

	randombytes_buf(seed, sizeof(seed));
	rng_init(r, seed);
	sodium_memzero(seed, sizeof(seed));
}
