/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include <sys/mman.h>

#include "lib/rng.h"
#include "services/tunnel/core/aead.h"
#include "services/tunnel/core/messages.h"
#include "tests/vectors/tunnel_handshake.h"
#include "tests/vectors/tunnel_poly1305.h"

static const uint8_t seed[32] = {7};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

typedef void backend_test(struct aead *a);

static void each_backend(backend_test *test)
{
	int n = 0;

	for (size_t i = 0; i < AEAD_BACKENDS_MAX && aead_backends[i] != NULL; i++) {
		size_t size = aead_backends[i]->state_size();
		struct aead a;
		void *mem;

		if (size == 0)
			continue;
		mem = aligned_alloc(64, (size + 63) & ~(size_t)63);
		if (aead_init(&a, aead_backends[i], mem) == OK) {
			test(&a);
			aead_done(&a);
			n++;
		}
		free(mem);
	}
	assert_true(n >= 2); /* libsodium and libcrypto run everywhere */
}

/* Packets that another implementation made. */
static void vectors_with(struct aead *a)
{
	for (size_t c = 0; c < sizeof(vectors) / sizeof(vectors[0]); c++) {
		struct aead_key key;
		uint8_t buf[5][1500];
		struct aead_op ops[5];

		memcpy(&key, vectors[c].t_i, sizeof(key));
		for (int i = 0; i < 5; i++) {
			const struct vector_packet *p = &vectors[c].packets[i];

			memcpy(buf[i], p->plain, p->plain_len);
			ops[i] =
				(struct aead_op){buf[i], (uint32_t)p->plain_len, false, p->counter};
		}
		aead_seal(a, &key, ops, 5);
		for (int i = 0; i < 5; i++)
			assert_memory_equal(buf[i],
				vectors[c].packets[i].message + WG_TRANSPORT_HEAD,
				ops[i].len + AEAD_TAG_SIZE);
		aead_open(a, &key, ops, 5);
		for (int i = 0; i < 5; i++) {
			assert_true(ops[i].ok);
			assert_memory_equal(buf[i], vectors[c].packets[i].plain, ops[i].len);
		}
	}
}

static void seals_as_the_vectors(void **state)
{
	(void)state;
	each_backend(vectors_with);
}

static void refuse_with(struct aead *a)
{
	struct aead_key key = {{1}}, other = {{2}};

	for (unsigned int bit = 0; bit < (40 + AEAD_TAG_SIZE) * 8; bit++) {
		uint8_t buf[40 + AEAD_TAG_SIZE] = {0};
		struct aead_op op = {buf, 40, false, 5};

		aead_seal(a, &key, &op, 1);
		buf[bit / 8] ^= (uint8_t)(1 << bit % 8);
		op.ok = true;
		aead_open(a, &key, &op, 1);
		assert_false(op.ok);
	}
	for (int wrong = 0; wrong < 2; wrong++) {
		uint8_t buf[AEAD_TAG_SIZE];
		struct aead_op op = {buf, 0, false, 5};

		aead_seal(a, &key, &op, 1);
		op.counter += (uint64_t)wrong;
		aead_open(a, wrong ? &key : &other, &op, 1);
		assert_false(op.ok);
	}
}

static void refuses_what_was_changed(void **state)
{
	(void)state;
	each_backend(refuse_with);
}

/* --- known answers ----------------------------------------------------------------------------- */
/* RFC 8439, 2.4.2: the AEAD's data begins with block 1, as that example does. */
static void rfc_with(struct aead *a)
{
	static const char plain[] = "Ladies and Gentlemen of the class of '99: If I could offer you "
				    "only one tip for the future, sunscreen would be it.";
	static const uint8_t cipher[114] = {0x6e, 0x2e, 0x35, 0x9a, 0x25, 0x68, 0xf9, 0x80, 0x41, 0xba,
		0x07, 0x28, 0xdd, 0x0d, 0x69, 0x81, 0xe9, 0x7e, 0x7a, 0xec, 0x1d, 0x43, 0x60, 0xc2,
		0x0a, 0x27, 0xaf, 0xcc, 0xfd, 0x9f, 0xae, 0x0b, 0xf9, 0x1b, 0x65, 0xc5, 0x52, 0x47,
		0x33, 0xab, 0x8f, 0x59, 0x3d, 0xab, 0xcd, 0x62, 0xb3, 0x57, 0x16, 0x39, 0xd6, 0x24,
		0xe6, 0x51, 0x52, 0xab, 0x8f, 0x53, 0x0c, 0x35, 0x9f, 0x08, 0x61, 0xd8, 0x07, 0xca,
		0x0d, 0xbf, 0x50, 0x0d, 0x6a, 0x61, 0x56, 0xa3, 0x8e, 0x08, 0x8a, 0x22, 0xb6, 0x5e,
		0x52, 0xbc, 0x51, 0x4d, 0x16, 0xcc, 0xf8, 0x06, 0x81, 0x8c, 0xe9, 0x1a, 0xb7, 0x79,
		0x37, 0x36, 0x5a, 0xf9, 0x0b, 0xbf, 0x74, 0xa3, 0x5b, 0xe6, 0xb4, 0x0b, 0x8e, 0xed,
		0xf2, 0x78, 0x5e, 0x42, 0x87, 0x4d};
	struct aead_key key;
	uint8_t buf[20][114 + AEAD_TAG_SIZE];
	struct aead_op ops[20];

	for (uint8_t i = 0; i < 32; i++)
		key.secret_key[i] = i;
	for (size_t n = 1; n <= 20; n++) {
		for (size_t i = 0; i < n; i++) {
			memcpy(buf[i], plain, 114);
			ops[i] = (struct aead_op){buf[i], 114, false, 0x4a000000};
		}
		aead_seal(a, &key, ops, n);
		for (size_t i = 0; i < n; i++)
			assert_memory_equal(buf[i], cipher, 114);
	}
}

static void seals_as_the_rfc(void **state)
{
	(void)state;
	each_backend(rfc_with);
}

#define N_POLY (sizeof(poly_packets) / sizeof(poly_packets[0]))

/* Sums at the edges of Poly1305's arithmetic, each in every lane. */
static void edges_with(struct aead *a)
{
	struct aead_key key;

	memcpy(&key, poly_secret_key, sizeof(key));
	for (size_t shift = 0; shift < N_POLY; shift++) {
		uint8_t buf[N_POLY][48 + AEAD_TAG_SIZE];
		struct aead_op ops[N_POLY];

		for (size_t i = 0; i < N_POLY; i++) {
			const struct poly_packet *p = &poly_packets[(i + shift) % N_POLY];

			memcpy(buf[i], p->sealed, sizeof(buf[i]));
			ops[i] = (struct aead_op){buf[i], 48, false, p->counter};
		}
		aead_open(a, &key, ops, N_POLY);
		for (size_t i = 0; i < N_POLY; i++)
			assert_true(ops[i].ok);
		aead_seal(a, &key, ops, N_POLY);
		for (size_t i = 0; i < N_POLY; i++)
			assert_memory_equal(buf[i], poly_packets[(i + shift) % N_POLY].sealed,
				sizeof(buf[i]));
	}
}

static void adds_up_at_the_edges(void **state)
{
	(void)state;
	each_backend(edges_with);
}

/* --- against libsodium ------------------------------------------------------------------------- */
#define BATCH 40

/* Memory of one packet, at any offset, and what libsodium makes of the same. */
struct batch {
	struct aead_key key;
	struct aead_op ops[BATCH], want[BATCH];
	size_t n;
};

static uint8_t memory[BATCH][65536 + 64], memory_want[BATCH][65536 + 64], kept[BATCH][65536];

static void packet_draw(struct batch *b, struct rng *rng, size_t i, uint32_t len)
{
	uint64_t counter = rng_u64(rng);
	size_t at = rng_below(rng, 64);

	b->ops[i] = (struct aead_op){memory[i] + at, len, false, counter};
	b->want[i] = (struct aead_op){memory_want[i] + at, len, false, counter};
	rng_bytes(rng, kept[i], len);
	memcpy(b->want[i].buf, kept[i], len);
}

/* A packet of which every byte is 0xff once it is sealed. */
static void packet_of_ones(struct batch *b, size_t i)
{
	struct aead sodium = {aead_backend_find("sodium"), NULL};

	memset(b->want[i].buf, 0, b->want[i].len);
	aead_seal(&sodium, &b->key, &b->want[i], 1);
	for (uint32_t k = 0; k < b->want[i].len; k++)
		kept[i][k] = b->want[i].buf[k] ^ 0xff;
	memcpy(b->want[i].buf, kept[i], b->want[i].len);
}

static void batch_agrees(struct aead *a, struct batch *b)
{
	struct aead sodium = {aead_backend_find("sodium"), NULL};

	for (size_t i = 0; i < b->n; i++) {
		memcpy(b->ops[i].buf, kept[i], b->ops[i].len);
		b->ops[i].buf[b->ops[i].len + AEAD_TAG_SIZE] = 0x5a;
	}
	aead_seal(&sodium, &b->key, b->want, b->n);
	aead_seal(a, &b->key, b->ops, b->n);
	for (size_t i = 0; i < b->n; i++) {
		assert_memory_equal(
			b->ops[i].buf, b->want[i].buf, b->ops[i].len + AEAD_TAG_SIZE);
		assert_int_equal(b->ops[i].buf[b->ops[i].len + AEAD_TAG_SIZE], 0x5a);
	}
	aead_open(a, &b->key, b->ops, b->n);
	for (size_t i = 0; i < b->n; i++) {
		assert_true(b->ops[i].ok);
		assert_memory_equal(b->ops[i].buf, kept[i], b->ops[i].len);
	}
}

/* rounds batches of up to n_max packets, up to len_max; trains, mixed lengths, sealed 0xff. */
static void random_batches(
	struct aead *a, struct rng *rng, int rounds, size_t n_max, uint32_t len_max)
{
	struct batch b;

	for (int round = 0; round < rounds; round++) {
		uint32_t len = (uint32_t)rng_below(rng, len_max + 1);
		uint64_t kind = rng_below(rng, 8);

		b.n = 1 + rng_below(rng, n_max);
		rng_bytes(rng, &b.key, sizeof(b.key));
		for (size_t i = 0; i < b.n; i++) {
			if (kind >= 4 || i + 1 == b.n)
				len = (uint32_t)rng_below(rng, len_max + 1);
			packet_draw(&b, rng, i, len);
			if (kind == 0)
				packet_of_ones(&b, i);
		}
		batch_agrees(a, &b);
	}
}

/* 10^5 batches for our own arithmetic, a sample for the libraries'. */
static void random_with(struct aead *a)
{
	int share = strcmp(a->backend->name, "lanes") == 0 ? 1 : 50;
	struct rng rng;

	rng_init(&rng, seed);
	random_batches(a, &rng, 60000 / share, 8, 48);
	random_batches(a, &rng, 35000 / share, 20, 130);
	random_batches(a, &rng, 5000 / share, BATCH, 200);
	random_batches(a, &rng, 600 / share, BATCH, 2048);
	random_batches(a, &rng, 2, BATCH, 65519);
}

static void agrees_with_libsodium(void **state)
{
	(void)state;
	each_backend(random_with);
}

/* Every length, in trains of every number, and the largest. */
static void lengths_with(struct aead *a)
{
	struct batch b = {.key = {{3}}};
	struct rng rng;

	rng_init(&rng, seed);
	for (uint32_t len = 0; len <= 330; len++) {
		b.n = len <= 130 ? 1 + len % 33 : 16;
		for (size_t i = 0; i < b.n; i++)
			packet_draw(&b, &rng, i, len);
		batch_agrees(a, &b);
	}
	b.n = 9;
	for (size_t i = 0; i < b.n; i++)
		packet_draw(&b, &rng, i, i == 4 ? 1 : 65519);
	batch_agrees(a, &b);
}

static void agrees_at_every_length(void **state)
{
	(void)state;
	each_backend(lengths_with);
}

/* --- bounds ------------------------------------------------------------------------------------ */
#define GUARDED 17
#define ROOM 4096u

/* Pages of our own, between such that may not be touched. */
static uint8_t *guarded(void)
{
	uint8_t *p = mmap(NULL, 3 * ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	assert_int_equal(mprotect(p + ROOM, ROOM, PROT_READ | PROT_WRITE), 0);
	return p + ROOM;
}

static void bounds_with(struct aead *a)
{
	struct aead_key key = {{5}};
	uint8_t *pages[GUARDED];

	for (size_t i = 0; i < GUARDED; i++)
		pages[i] = guarded();
	for (uint32_t len = 0; len <= 1500; len += len < 200 ? 1 : 61)
		for (uint32_t kind = 0; kind < 3; kind++) {
			struct aead_op ops[GUARDED];

			for (uint32_t i = 0; i < GUARDED; i++) {
				uint32_t n = kind == 2 ? len * (i + 1) / GUARDED : len;

				ops[i] = (struct aead_op){
					pages[i] + (kind == 0 ? 0 : ROOM - AEAD_TAG_SIZE - n), n,
					false, i};
			}
			aead_seal(a, &key, ops, GUARDED);
			aead_open(a, &key, ops, GUARDED);
			for (size_t i = 0; i < GUARDED; i++)
				assert_true(ops[i].ok);
		}
	for (size_t i = 0; i < GUARDED; i++)
		munmap(pages[i] - ROOM, 3 * ROOM);
}

static void touches_nothing_else(void **state)
{
	(void)state;
	each_backend(bounds_with);
}

/* A bit of one packet of a batch, the others are good. */
static void forgeries_with(struct aead *a)
{
	enum { N = 24, LEN = 80 };
	uint8_t sealed[N][LEN + AEAD_TAG_SIZE], buf[N][LEN + AEAD_TAG_SIZE];
	struct aead_key key = {{6}};
	struct aead_op ops[N];

	memset(sealed, 1, sizeof(sealed));
	for (size_t i = 0; i < N; i++)
		ops[i] = (struct aead_op){sealed[i], LEN, false, i};
	aead_seal(a, &key, ops, N);
	for (size_t bit = 0; bit < (LEN + AEAD_TAG_SIZE) * 8; bit++)
		for (size_t forged = bit % 2; forged < N; forged += bit < LEN * 8 ? 5 : 1) {
			memcpy(buf, sealed, sizeof(buf));
			buf[forged][bit / 8] ^= (uint8_t)(1 << bit % 8);
			for (size_t i = 0; i < N; i++)
				ops[i] = (struct aead_op){buf[i], LEN, i == forged, i};
			aead_open(a, &key, ops, N);
			for (size_t i = 0; i < N; i++)
				assert_int_equal(ops[i].ok, i != forged);
		}
}

static void refuses_one_of_many(void **state)
{
	(void)state;
	each_backend(forgeries_with);
}

static void choose_measures_all(void **state)
{
	const struct aead_backend *b = NULL;
	struct aead_report r;
	uint32_t best = UINT32_MAX;

	(void)state;
	assert_int_equal(aead_choose(NULL, seed, clock_ns, aligned_alloc, free, &b, &r), OK);
	assert_int_equal(r.n, 4);
	for (size_t i = 0; i < r.n; i++) {
		if (!r.findings[i].available)
			continue;
		assert_true(r.findings[i].right);
		assert_true(r.findings[i].ns_1420 > 0 && r.findings[i].ns_64 > 0);
		if (r.findings[i].ns_1420 + r.findings[i].ns_64 < best)
			best = r.findings[i].ns_1420 + r.findings[i].ns_64;
	}
	for (size_t i = 0; i < r.n; i++)
		if (strcmp(r.findings[i].name, b->name) == 0)
			assert_int_equal(r.findings[i].ns_1420 + r.findings[i].ns_64, best);
}

static void choose_by_name(void **state)
{
	const struct aead_backend *b = NULL;
	struct aead_report r;

	(void)state;
	assert_int_equal(aead_choose("sodium", seed, clock_ns, aligned_alloc, free, &b, &r), OK);
	assert_string_equal(b->name, "sodium");
	assert_int_equal(r.n, 1);
	assert_int_equal(
		aead_choose("rot13", seed, clock_ns, aligned_alloc, free, &b, &r), ERR_NOT_FOUND);
	assert_null(aead_backend_find("rot13"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seals_as_the_vectors),
		cmocka_unit_test(refuses_what_was_changed),
		cmocka_unit_test(seals_as_the_rfc),
		cmocka_unit_test(adds_up_at_the_edges),
		cmocka_unit_test(agrees_with_libsodium),
		cmocka_unit_test(agrees_at_every_length),
		cmocka_unit_test(touches_nothing_else),
		cmocka_unit_test(refuses_one_of_many),
		cmocka_unit_test(choose_measures_all),
		cmocka_unit_test(choose_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
