/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The table against a plain model, and its digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "lib/rng.h"
#include "services/discovery/core/message.h"
#include "services/discovery/core/meter.h"
#include "services/discovery/core/relays.h"

#define ROOM 200

static struct relays table_new(uint32_t room)
{
	struct relays_storage s = {calloc(room, sizeof(struct relay)),
		calloc(room, sizeof(struct relay_mark)), calloc(room, sizeof(uint32_t)), room};
	struct relays t;

	assert_true(sodium_init() >= 0);
	relays_init(&t, &s);
	return t;
}

static void table_free(struct relays *t)
{
	free(t->slots);
	free(t->marks);
	free(t->order);
}

/* The table keeps bytes as they are: any will do here. */
static struct relay *put(struct relays *t, const uint8_t *id, uint8_t version)
{
	struct descriptor d = {.roles = 1};
	uint8_t bytes[DESCRIPTOR_SIZE] = {version};

	memcpy(d.node_id, id, 32);
	memcpy(bytes + 4, id, 32);
	return relays_insert(t, &d, bytes, 9);
}

static void order_and_buckets(const struct relays *t)
{
	uint32_t n_state[RELAY_STATES] = {0};

	for (uint32_t i = 0; i < t->n; i++) {
		const struct relay *r = relays_at(t, i);

		assert_true(i == 0 || memcmp(relays_at(t, i - 1)->d.node_id, r->d.node_id, 32) < 0);
		assert_ptr_equal(relays_find(t, r->d.node_id), r);
		assert_int_equal(relays_after(t, r->d.node_id), i + 1);
		assert_in_range(i, relays_bucket(t, r->d.node_id[0]),
			relays_bucket(t, r->d.node_id[0] + 1u) - 1);
		assert_int_equal(t->marks[r - t->slots].state, r->state);
		n_state[r->state]++;
	}
	for (int s = RELAY_HEARD; s < RELAY_STATES; s++)
		assert_int_equal(n_state[s], t->n_state[s]);
	assert_int_equal(relays_bucket(t, 256), t->n);
	assert_int_equal(relays_after(t, NULL), 0);
	assert_null(relays_at(t, t->n));
}

static void random_operations(void **state)
{
	struct relays t = table_new(ROOM);
	const uint8_t seed[32] = {8};
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	for (int i = 0; i < 5000; i++) {
		uint8_t id[32] = {0};
		bool full = t.n == ROOM;
		struct relay *r;

		id[0] = (uint8_t)rng_below(&rng, 4); /* crowded buckets */
		id[31] = (uint8_t)rng_below(&rng, 90);
		r = relays_find(&t, id);
		if (r == NULL)
			assert_true((put(&t, id, 1) == NULL) == full);
		else if (rng_below(&rng, 3) == 0)
			relays_remove(&t, r);
		else
			relays_set_state(&t, r, (enum relay_state)(1 + rng_below(&rng, 3)));
		if (i % 50 == 0)
			order_and_buckets(&t);
	}
	assert_true(t.n > 100 && t.n_touched <= ROOM);
	table_free(&t);
}

/* Same proven records, however they came to be: same digests. Anything else: different ones. */
static void digests_tell_what_differs(void **state)
{
	struct relays a = table_new(ROOM), b = table_new(ROOM);
	uint8_t da[1024], db[1024];

	(void)state;
	for (int i = 0; i < 50; i++) {
		uint8_t x[32] = {(uint8_t)(i * 5)}, y[32] = {(uint8_t)(245 - i * 5)};

		relays_set_state(&a, put(&a, x, 1), RELAY_PROVEN);
		relays_set_state(&b, put(&b, y, 1), RELAY_PROVEN);
	}
	assert_int_equal(relays_root(&a, 7), relays_root(&b, 7));
	assert_true(relays_root(&a, 7) != relays_root(&a, 8));
	/* heard and gone do not count */
	uint8_t id[32] = {100, 1};
	struct relay *r = put(&a, id, 1);
	assert_int_equal(relays_root(&a, 7), relays_root(&b, 7));
	relays_set_state(&a, r, RELAY_PROVEN);
	assert_true(relays_root(&a, 7) != relays_root(&b, 7));
	relays_digests(&a, 3, da);
	relays_digests(&b, 3, db);
	for (int k = 0; k < 256; k++)
		assert_int_equal(memcmp(da + 4 * k, db + 4 * k, 4) == 0, k != 100);
	relays_set_state(&b, put(&b, id, 2), RELAY_PROVEN); /* another version of it */
	assert_true(relays_root(&a, 7) != relays_root(&b, 7));
	uint64_t with = relays_root(&b, 7);
	relays_remove(&b, relays_find(&b, id));
	assert_true(relays_root(&b, 7) != with);
	relays_set_state(&b, put(&b, id, 1), RELAY_PROVEN);
	assert_int_equal(relays_root(&a, 7), relays_root(&b, 7));
	table_free(&a);
	table_free(&b);
}

/* No message, however full, is longer than what one control frame carries. */
static void messages_fit(void **state)
{
	uint8_t payload[PAYLOAD_MAX];
	gossip_Query q;
	gossip_Answer a;
	size_t len;

	(void)state;
	memset(&q, 0xff, sizeof(q));
	q.which_body = gossip_Query_page_tag;
	q.body.page.buckets.size = q.body.page.after.size = q.body.page.until.size = 32;
	q.body.page.have.size = sizeof(q.body.page.have.bytes);
	assert_int_equal(query_encode(&q, payload, &len), OK);
	assert_int_equal(query_decode(payload, len, &q), OK);
	assert_int_equal(query_decode(payload, len - 1, &q), ERR_MALFORMED);
	memset(&q, 0xff, sizeof(q));
	q.which_body = gossip_Query_offer_tag;
	q.body.offer.records_count = 3;
	for (int i = 0; i < 3; i++)
		q.body.offer.records[i].size = DESCRIPTOR_SIZE;
	assert_int_equal(query_encode(&q, payload, &len), OK);
	q.body.offer.records[1].size--;
	assert_int_equal(query_encode(&q, payload, &len), OK);
	assert_int_equal(query_decode(payload, len, &q), ERR_MALFORMED);
	memset(&a, 0xff, sizeof(a));
	a.which_body = gossip_Answer_paged_tag;
	a.body.paged.records_count = 3;
	for (int i = 0; i < 3; i++)
		a.body.paged.records[i].size = DESCRIPTOR_SIZE;
	a.body.paged.upto.size = 32;
	assert_int_equal(answer_encode(&a, payload, &len), OK);
	assert_int_equal(answer_decode(payload, len, &a), OK);
	memset(&a, 0xff, sizeof(a));
	a.which_body = gossip_Answer_compared_tag;
	a.body.compared.digests.size = 1024;
	assert_int_equal(answer_encode(&a, payload, &len), OK);
	a.body.compared.digests.size = 1023;
	assert_int_equal(answer_encode(&a, payload, &len), OK);
	assert_int_equal(answer_decode(payload, len, &a), ERR_MALFORMED);
	assert_int_equal(answer_decode(payload, 0, &a), ERR_MALFORMED);
	assert_int_equal(query_decode(payload, 0, &q), ERR_MALFORMED);
}

static void a_meter_at_its_bounds(void **state)
{
	struct meter m = {0};
	mono_t now = {5000000000};

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_true(meter_take(&m, now, DUR_S(10), 4));
	assert_false(meter_take(&m, now, DUR_S(10), 4));
	assert_int_equal(meter_ready(&m, now, DUR_S(10), 4).ns, mono_add(now, DUR_S(10)).ns);
	assert_false(meter_take(&m, (mono_t){mono_add(now, DUR_S(10)).ns - 1}, DUR_S(10), 4));
	assert_true(meter_take(&m, mono_add(now, DUR_S(10)), DUR_S(10), 4));
	assert_false(meter_take(&m, mono_add(now, DUR_S(10)), DUR_S(10), 4));
	now = mono_add(now, DUR_S(1000));
	for (int i = 0; i < 4; i++)
		assert_true(meter_take(&m, now, DUR_S(10), 4));
	assert_false(meter_take(&m, now, DUR_S(10), 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
		cmocka_unit_test(digests_tell_what_differs),
		cmocka_unit_test(messages_fit),
		cmocka_unit_test(a_meter_at_its_bounds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
