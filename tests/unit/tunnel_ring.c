/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/ring.h"

#define SIZE 4096u

static _Alignas(64) uint8_t memory[SIZE];
static struct ring ring;

static int start(void **state)
{
	(void)state;
	ring_init(&ring, memory, SIZE);
	return 0;
}

static void empty_and_full(void **state)
{
	uint32_t len, n = 0;

	(void)state;
	assert_null(ring_peek(&ring, &len));
	assert_null(ring_claim(&ring, SIZE / 2 - 7));
	assert_non_null(ring_claim(&ring, SIZE / 2 - 8));
	while (ring_claim(&ring, 8) != NULL) {
		ring_publish(&ring);
		n++;
	}
	assert_int_equal(n, SIZE / 16);
	ring_peek(&ring, &len);
	ring_release(&ring);
	assert_non_null(ring_claim(&ring, 8));
}

static void what_was_not_published_is_not_seen(void **state)
{
	uint32_t len;

	(void)state;
	assert_non_null(ring_claim(&ring, 100));
	assert_null(ring_peek(&ring, &len));
	assert_non_null(ring_claim(&ring, 50)); /* thought better of it */
	ring_publish(&ring);
	assert_non_null(ring_peek(&ring, &len));
	assert_int_equal(len, 50);
}

#define RECORDS 200000u

static uint32_t length_of(uint32_t i)
{
	return i * 2654435761u >> 21; /* 0..2047 */
}

static void *produce(void *arg)
{
	(void)arg;
	for (uint32_t i = 0; i < RECORDS; i++) {
		const uint32_t len = length_of(i) > SIZE / 2 - 8 ? SIZE / 2 - 8 : length_of(i);
		uint8_t *p;

		while ((p = ring_claim(&ring, len)) == NULL)
			sched_yield();
		memset(p, (int)(i & 0xff), len);
		ring_publish(&ring);
	}
	return NULL;
}

static void two_threads(void **state)
{
	pthread_t t;

	(void)state;
	assert_int_equal(pthread_create(&t, NULL, produce, NULL), 0);
	for (uint32_t i = 0; i < RECORDS; i++) {
		const uint32_t want = length_of(i) > SIZE / 2 - 8 ? SIZE / 2 - 8 : length_of(i);
		const uint8_t *p;
		uint32_t len;

		while ((p = ring_peek(&ring, &len)) == NULL)
			sched_yield();
		assert_int_equal(len, want);
		for (uint32_t k = 0; k < len; k += 97)
			assert_int_equal(p[k], i & 0xff);
		if (len > 0)
			assert_int_equal(p[len - 1], i & 0xff);
		ring_release(&ring);
	}
	pthread_join(t, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(empty_and_full, start),
		cmocka_unit_test_setup(what_was_not_published_is_not_seen, start),
		cmocka_unit_test_setup(two_threads, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
