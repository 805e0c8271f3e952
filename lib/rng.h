/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Deterministic random stream for pure cores; the caller seeds it (lib/sys/entropy.h does, tests
 * use literals). ChaCha20 keystream, so it is fit for keys when the seed is. Pure. */
#ifndef LIB_RNG_H
#define LIB_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
	uint8_t seed_key[32];
	uint64_t block;	     /* next 64-byte block of the stream */
	uint8_t buf[64];     /* current block */
	unsigned int n_used; /* bytes of buf already given out, 64: all */
};

void rng_init(struct rng *r, const uint8_t seed[static 32]);
void rng_bytes(struct rng *r, void *out, size_t len);
uint32_t rng_u32(struct rng *r);
uint64_t rng_u64(struct rng *r);
/* Uniform in [0, n), n > 0, without modulo bias. */
uint64_t rng_below(struct rng *r, uint64_t n);
/* Uniform in [0, 1). */
double rng_unit(struct rng *r);

#endif
