/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/fq.h"

#define ITEMS 64u
#define KEYS 200u /* more than there can be flows */
#define STEPS 1000000u

struct packet {
	struct fq_item item;
	uint64_t key;
	uint32_t number; /* within its key */
};

static struct fq q;
static struct packet packets[ITEMS];

static int start(void **state)
{
	*state = calloc(1, fq_bytes(ITEMS));
	fq_init(&q, ITEMS, *state, 0x9e3779b97f4a7c15u);
	memset(packets, 0, sizeof(packets));
	return *state == NULL;
}

static int end(void **state)
{
	free(*state);
	return 0;
}

static void put(struct packet *p, uint64_t key, uint32_t bytes)
{
	p->key = key;
	p->item.bytes = bytes;
	fq_put(&q, key, &p->item);
}

static struct packet *get(void)
{
	return (struct packet *)fq_get(&q);
}

static void nothing_waits(void **state)
{
	(void)state;
	assert_null(fq_get(&q));
	assert_null(fq_shorten(&q));
	put(&packets[0], 1, 100);
	assert_int_equal(q.bytes, 100);
	assert_ptr_equal(get(), &packets[0]);
	assert_null(fq_get(&q));
	assert_int_equal(q.bytes, 0);
	assert_int_equal(q.n, 0);
}

static void who_sends_little_does_not_wait_behind_who_sends_much(void **state)
{
	(void)state;
	for (int i = 0; i < 20; i++)
		put(&packets[i], 1, 60000);
	assert_int_equal(get()->key, 1); /* it came first */
	put(&packets[30], 2, 100);
	assert_ptr_equal(get(), &packets[30]);
	assert_int_equal(get()->key, 1);
}

/* Coming back again and again in small pieces does not get a flow more than its share. */
static void a_flow_that_always_comes_back_is_not_always_new(void **state)
{
	uint64_t bytes[3] = {0};
	unsigned int used = 0;

	(void)state;
	for (; used < 30; used++)
		put(&packets[used], 1, 15000);
	for (int round = 0; round < 200; round++) {
		struct packet *p;

		put(&packets[40], 2, 15000);
		do {
			p = get();
			bytes[p->key] += p->item.bytes;
			if (p->key == 1)
				put(p, 1, 15000);
		} while (p->key != 2);
	}
	assert_true(bytes[1] * 10 >= bytes[2] * 9);
}

/* With packets of any sizes, all that always have something waiting get the same, but for a packet and
 * a quantum. */
static void shares_are_equal_in_bytes(void **state)
{
	static const uint32_t sizes[] = {200, 1500, 9000, 65000};
	uint64_t bytes[4] = {0};

	(void)state;
	for (unsigned int i = 0; i < 40; i++)
		put(&packets[i], i % 4, sizes[i % 4]);
	for (int i = 0; i < 100000; i++) {
		struct packet *p = get();

		bytes[p->key] += p->item.bytes;
		put(p, p->key, sizes[p->key]);
	}
	for (int a = 0; a < 4; a++)
		for (int b = 0; b < 4; b++)
			assert_true(bytes[a] <= bytes[b] + 2 * (65000 + FQ_QUANTUM));
}

static void who_has_most_loses_its_oldest(void **state)
{
	(void)state;
	put(&packets[0], 1, 3000);
	put(&packets[1], 2, 2000);
	put(&packets[2], 2, 2000);
	assert_ptr_equal(fq_shorten(&q), &packets[1]);
	assert_ptr_equal(fq_shorten(&q), &packets[0]);
	assert_ptr_equal(fq_shorten(&q), &packets[2]);
	assert_null(fq_shorten(&q));
}

/* Against a plain model: nothing is lost or made up, order within a flow is kept, what is shortened was
 * the longest; with far more keys than there is room for flows. */
static void like_the_model(void **state)
{
	static struct packet *idle[ITEMS];
	static uint64_t waiting[KEYS];
	static uint32_t put_n[KEYS], got_n[KEYS];
	unsigned int n_idle = 0;
	uint64_t total = 0;
	struct rng rng;

	(void)state;
	rng_init(&rng, (const uint8_t[32]){7});
	for (unsigned int i = 0; i < ITEMS; i++)
		idle[n_idle++] = &packets[i];
	for (uint32_t step = 0; step < STEPS; step++) {
		const bool shorten = rng_u32(&rng) % 8 == 0;
		struct packet *p;

		if (n_idle > 0 && rng_u32(&rng) % 2 == 0) {
			p = idle[--n_idle];
			p->key = rng_u32(&rng) % KEYS;
			p->number = put_n[p->key]++;
			put(p, p->key, 1 + rng_u32(&rng) % 70000);
			waiting[p->key] += p->item.bytes;
			total += p->item.bytes;
			continue;
		}
		p = shorten ? (struct packet *)fq_shorten(&q) : get();
		assert_int_equal(p == NULL, n_idle == ITEMS);
		if (p == NULL)
			continue;
		for (unsigned int k = 0; k < KEYS && shorten; k++)
			assert_true(waiting[k] <= waiting[p->key]);
		assert_int_equal(p->number, got_n[p->key]++);
		waiting[p->key] -= p->item.bytes;
		total -= p->item.bytes;
		idle[n_idle++] = p;
		assert_int_equal(q.bytes, total);
		assert_int_equal(q.n, ITEMS - n_idle);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_waits, start, end),
		cmocka_unit_test_setup_teardown(who_sends_little_does_not_wait_behind_who_sends_much, start, end),
		cmocka_unit_test_setup_teardown(a_flow_that_always_comes_back_is_not_always_new, start, end),
		cmocka_unit_test_setup_teardown(shares_are_equal_in_bytes, start, end),
		cmocka_unit_test_setup_teardown(who_has_most_loses_its_oldest, start, end),
		cmocka_unit_test_setup_teardown(like_the_model, start, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
