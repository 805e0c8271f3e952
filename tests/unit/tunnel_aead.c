/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "services/tunnel/core/aead.h"
#include "services/tunnel/core/messages.h"
#include "tests/vectors/tunnel_handshake.h"

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
		cmocka_unit_test(choose_measures_all),
		cmocka_unit_test(choose_by_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
