/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>
#include <string.h>

#include "aead_backends.h"
#include "lib/rng.h"

const struct aead_backend *const aead_backends[AEAD_BACKENDS_MAX] = {
#ifdef __x86_64__
	&aead_lanes,
	&aead_ipsec_mb,
#endif
	&aead_openssl,
	&aead_sodium,
};

const struct aead_backend *aead_backend_find(const char *name)
{
	for (size_t i = 0; i < AEAD_BACKENDS_MAX && aead_backends[i] != NULL; i++)
		if (strcmp(aead_backends[i]->name, name) == 0)
			return aead_backends[i];
	return NULL;
}

enum err aead_init(struct aead *a, const struct aead_backend *backend, void *mem)
{
	TRY(backend->init(mem));
	a->backend = backend;
	a->state = mem;
	return OK;
}

void aead_done(struct aead *a)
{
	a->backend->done(a->state);
}

/* --- is it right? ---------------------------------------------------------------------------- */
#define CHECK_ROUNDS 192
#define CHECK_LEN_MAX 2048u /* with 64-byte blocks: every tail, every number of wide blocks */
#define SLOT (CHECK_LEN_MAX + AEAD_TAG_SIZE)

struct bench {
	struct aead a;
	struct aead_key key;
	struct aead_op ops[AEAD_BATCH], want_ops[AEAD_BATCH];
	uint8_t buf[AEAD_BATCH * SLOT], want[AEAD_BATCH * SLOT], plain[AEAD_BATCH * SLOT];
};

static uint32_t len_draw(struct rng *rng)
{
	return (uint32_t)rng_below(rng, rng_below(rng, 2) ? CHECK_LEN_MAX + 1 : 130);
}

/* Half of the batches are trains: equal lengths but for the last. */
static void batch_draw(struct bench *b, struct rng *rng, size_t n)
{
	uint32_t len = len_draw(rng);
	bool train = rng_below(rng, 2) == 0;

	rng_bytes(rng, &b->key, sizeof(b->key));
	rng_bytes(rng, b->plain, n * SLOT);
	memcpy(b->buf, b->plain, n * SLOT);
	memcpy(b->want, b->plain, n * SLOT);
	for (size_t i = 0; i < n; i++) {
		if (!train || i + 1 == n)
			len = len_draw(rng);
		b->ops[i] = (struct aead_op){b->buf + i * SLOT, len, false, rng_u64(rng)};
		b->want_ops[i] = b->ops[i];
		b->want_ops[i].buf = b->want + i * SLOT;
	}
}

/* 1 to AEAD_BATCH, small ones more often: they cost less, and a back end may treat them apart. */
static size_t n_draw(struct rng *rng)
{
	return 1 + rng_below(rng, 1u << rng_below(rng, 7));
}
_Static_assert(AEAD_BATCH == 1 << 6, "n_draw");

/* Seals as libsodium does, opens what it sealed, refuses a flipped bit; touches nothing beyond. */
static bool round_right(struct bench *b, struct rng *rng)
{
	size_t n = n_draw(rng), forged = rng_below(rng, n);
	bool ok;

	batch_draw(b, rng, n);
	aead_sodium.seal(NULL, &b->key, b->want_ops, n);
	aead_seal(&b->a, &b->key, b->ops, n);
	ok = memcmp(b->buf, b->want, n * SLOT) == 0;
	b->ops[forged].buf[rng_below(rng, b->ops[forged].len + AEAD_TAG_SIZE)] ^=
		(uint8_t)(1u << rng_below(rng, 8));
	aead_open(&b->a, &b->key, b->ops, n);
	for (size_t i = 0; i < n; i++)
		ok &= b->ops[i].ok == (i != forged) &&
		      (i == forged ||
			      memcmp(b->ops[i].buf, b->plain + i * SLOT, b->ops[i].len) == 0);
	return ok;
}

static bool backend_right(struct bench *b, const uint8_t seed[static 32])
{
	struct rng rng;
	bool ok = true;

	rng_init(&rng, seed);
	for (int i = 0; ok && i < CHECK_ROUNDS; i++)
		ok = round_right(b, &rng);
	return ok;
}

/* --- how fast? ------------------------------------------------------------------------------- */
#define MEASURE_NS 1000000u /* per size: 2 ms in all */
#define TRAIN 16 /* packets that a worker seals or opens at once, when there are many */

/* Per packet of batches of n. */
static uint32_t measure(struct bench *b, uint32_t len, size_t n, uint64_t (*clock)(void))
{
	uint64_t began = clock(), best = UINT64_MAX;

	for (uint64_t t = began; t - began < MEASURE_NS;) {
		for (size_t i = 0; i < n; i++)
			b->ops[i] = (struct aead_op){b->buf + i * SLOT, len, false, i};
		aead_seal(&b->a, &b->key, b->ops, n);
		aead_open(&b->a, &b->key, b->ops, n);

		uint64_t end = clock();

		best = end - t < best ? end - t : best; /* the least disturbed */
		t = end;
	}
	return (uint32_t)(best / (2 * n)) + 1;
}

static void examine(const struct aead_backend *backend, const uint8_t seed[static 32],
	uint64_t (*clock)(void), struct bench *b, void *mem, struct aead_finding *f)
{
	*f = (struct aead_finding){.name = backend->name};
	f->available = mem != NULL && aead_init(&b->a, backend, mem) == OK;
	if (!f->available)
		return;
	f->right = backend_right(b, seed);
	if (f->right && clock != NULL) {
		f->ns_1420 = measure(b, 1420, TRAIN, clock);
		f->ns_64 = measure(b, 64, 1, clock);
	}
	aead_done(&b->a);
}

/* Full packets come in trains and carry the bytes; small ones, alone, in the same number
 * (acknowledgements, what is typed). */
static uint32_t cost(const struct aead_finding *f)
{
	return f->right ? f->ns_1420 + f->ns_64 : UINT32_MAX;
}

static size_t round_up(size_t size)
{
	return (size + 63) & ~(size_t)63;
}

static void examine_all(const char *name, const uint8_t seed[static 32], uint64_t (*clock)(void),
	void *(*alloc)(size_t align, size_t size), void (*release)(void *), struct bench *b,
	struct aead_report *ret)
{
	ret->n = 0;
	for (size_t i = 0; i < AEAD_BACKENDS_MAX && aead_backends[i] != NULL; i++) {
		const struct aead_backend *backend = aead_backends[i];
		size_t size = round_up(backend->state_size());
		void *mem;

		if (name != NULL && strcmp(name, backend->name) != 0)
			continue;
		mem = size > 0 ? alloc(64, size) : NULL;
		examine(backend, seed, name == NULL ? clock : NULL, b, mem,
			&ret->findings[ret->n++]);
		if (mem != NULL)
			release(mem);
	}
}

enum err aead_choose(const char *name, const uint8_t seed[static 32], uint64_t (*clock)(void),
	void *(*alloc)(size_t align, size_t size), void (*release)(void *),
	const struct aead_backend **ret_backend, struct aead_report *ret_report)
{
	const struct aead_finding *best = NULL;
	struct bench *b;

	if (name != NULL && aead_backend_find(name) == NULL)
		return ERR_NOT_FOUND;
	if (sodium_init() < 0 || (b = alloc(64, round_up(sizeof(*b)))) == NULL)
		return ERR_UNAVAILABLE;
	examine_all(name, seed, clock, alloc, release, b, ret_report);
	release(b);
	for (size_t i = 0; i < ret_report->n; i++)
		if (best == NULL || cost(&ret_report->findings[i]) < cost(best))
			best = &ret_report->findings[i];
	if (best == NULL || !best->available)
		return ERR_NOT_FOUND;
	if (!best->right)
		return ERR_DENIED;
	*ret_backend = aead_backend_find(best->name);
	return OK;
}
