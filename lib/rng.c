/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "rng.h"

#include <string.h>

#include <sodium.h>

void rng_init(struct rng *r, const uint8_t seed[static 32])
{
	memcpy(r->seed_key, seed, 32);
	r->block = 0;
	r->n_used = sizeof(r->buf);
}

static void rng_refill(struct rng *r)
{
	static const uint8_t nonce[8] = {0};

	memset(r->buf, 0, sizeof(r->buf));
	crypto_stream_chacha20_xor_ic(
		r->buf, r->buf, sizeof(r->buf), nonce, r->block++, r->seed_key);
	r->n_used = 0;
}

void rng_bytes(struct rng *r, void *out, size_t len)
{
	uint8_t *p = out;

	while (len > 0) {
		if (r->n_used == sizeof(r->buf))
			rng_refill(r);
		size_t n = sizeof(r->buf) - r->n_used;
		if (n > len)
			n = len;
		memcpy(p, r->buf + r->n_used, n);
		memset(r->buf + r->n_used, 0, n); /* given out once, not kept */
		r->n_used += (unsigned int)n;
		p += n;
		len -= n;
	}
}

uint32_t rng_u32(struct rng *r)
{
	uint32_t v;

	rng_bytes(r, &v, sizeof(v));
	return v;
}

uint64_t rng_u64(struct rng *r)
{
	uint64_t v;

	rng_bytes(r, &v, sizeof(v));
	return v;
}

uint64_t rng_below(struct rng *r, uint64_t n)
{
	uint64_t limit = UINT64_MAX - UINT64_MAX % n;
	uint64_t v;

	do
		v = rng_u64(r);
	while (v >= limit);
	return v % n;
}

double rng_unit(struct rng *r)
{
	return (double)(rng_u64(r) >> 11) * 0x1.0p-53;
}
