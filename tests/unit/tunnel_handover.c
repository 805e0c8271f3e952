/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "lib/bytes.h"
#include "services/tunnel/core/handover.h"

#define ROUTES 2
#define FLOWS 3

static const wall_t then = {1800000000};
static const uint8_t key[HANDOVER_KEY_SIZE] = {1, 2, 3};
static const uint8_t nonce[HANDOVER_NONCE_SIZE] = {9, 8, 7};
#define BODY_AT (24 + HANDOVER_NONCE_SIZE)

struct bench {
	struct handover h;
	size_t len;
	uint8_t *plain;
	uint8_t *buf; /* exactly len bytes, so that a sanitizer sees what lies beyond */
};

static struct flow_kept flow(uint32_t i)
{
	struct flow_kept k = {.key = {.remote_port = (uint16_t)(443 + i),
				      .local_port = (uint16_t)(40000 + i),
				      .family = i % 2 ? NET_IP6 : NET_IP4,
				      .proto = i % 2 ? PACKET_UDP : PACKET_TCP},
		.exit = (uint8_t)(i % 2 ? 5 : 0),
		.state = (uint8_t)(i % 3),
		.dns = i == 1,
		.fin_out = i == 2,
		.fin_in = i == 0,
		.idle = DUR_MS(1500 * i)};

	memset(k.key.remote, (int)i + 7, i % 2 ? 16 : 4);
	return k;
}

static struct handover_route route(unsigned int n)
{
	struct handover_route r = {.id = 100 + n,
		.n_hops = n + 1,
		.place = 5 * n,
		.draining = n == 1,
		.drain = DUR_MS(n * 90000),
		.rx_bytes = UINT64_C(1) << 40,
		.tx_bytes = 12 + n};

	r.lease = (struct route_lease){.ip4 = {NET_IP4, {100, 64, 0, (uint8_t)n}},
		.ip6 = {NET_IP6, {0xfd, [15] = (uint8_t)n}},
		.dns4 = {NET_IP4, {9, 9, 9, 9}},
		.mtu = 1348};
	for (unsigned int k = 0; k < r.n_hops; k++) {
		memset(r.hops[k].static_sk, (int)(16 * n + k + 1), 32);
		memset(r.hops[k].descriptor, (int)(16 * n + k + 3), DESCRIPTOR_SIZE);
		r.hops[k].number = UINT64_C(0x1122334400000000) + k;
		r.hops[k].up_bytes = k;
		r.hops[k].down_bytes = UINT64_MAX / 2;
		r.hops[k].credit_bytes = 1000 * k;
		r.hops[k].next_request = 77 + k;
	}
	return r;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->h = (struct handover){.written_at = then, .n_routes = ROUTES, .in_use = 1, .n_flows = FLOWS};
	b->len = handover_bytes(ROUTES, FLOWS);
	b->buf = malloc(b->len);
	for (unsigned int i = 0; i < ROUTES; i++)
		b->h.routes[i] = route(i);
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct flow_kept k = flow(i);

		handover_flow_put(b->buf, ROUTES, i, &k);
	}
	handover_seal(b->buf, &b->h, key, nonce);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	free(b->plain);
	free(b->buf);
	free(b);
	return 0;
}

/* Of a copy, for it decrypts in place; b->plain is what it found. */
static enum err open_by(struct bench *b, const uint8_t *by, size_t len, wall_t at, struct handover *ret)
{
	free(b->plain);
	b->plain = malloc(len + 1);
	memcpy(b->plain, b->buf, len);
	return handover_open(b->plain, len, by, at, ret);
}

static enum err open_copy(struct bench *b, struct handover *ret)
{
	return open_by(b, key, b->len, then, ret);
}

/* The plaintext `b->plain` as one that has the node's key could seal it. */
static void seal_plain(struct bench *b)
{
	uint8_t own[32];

	crypto_generichash(own, sizeof(own), (const uint8_t *)"mvpnhand", 8, key, sizeof(key));
	memcpy(b->buf, b->plain, BODY_AT);
	crypto_aead_xchacha20poly1305_ietf_encrypt(b->buf + BODY_AT, NULL, b->plain + BODY_AT, b->len - BODY_AT - 16,
		b->buf, 24, NULL, b->buf + 24, own);
}

static void what_is_left_is_found(void **state)
{
	struct bench *b = *state;
	struct handover got;

	assert_int_equal(open_copy(b, &got), OK);
	assert_int_equal(got.written_at.s, then.s);
	assert_int_equal(got.n_routes, ROUTES);
	assert_int_equal(got.in_use, 1);
	assert_int_equal(got.n_flows, FLOWS);
	for (unsigned int i = 0; i < ROUTES; i++) {
		const struct handover_route *r = &got.routes[i], want = route(i);

		assert_int_equal(r->id, want.id);
		assert_int_equal(r->n_hops, want.n_hops);
		assert_int_equal(r->place, want.place);
		assert_int_equal(r->draining, want.draining);
		assert_int_equal(r->drain.ns, want.drain.ns);
		assert_int_equal(r->rx_bytes, want.rx_bytes);
		assert_int_equal(r->tx_bytes, want.tx_bytes);
		assert_true(net_addr_eq(&r->lease.ip4, &want.lease.ip4));
		assert_true(net_addr_eq(&r->lease.ip6, &want.lease.ip6));
		assert_true(net_addr_eq(&r->lease.dns4, &want.lease.dns4));
		assert_int_equal(r->lease.dns6.family, NET_NONE);
		assert_int_equal(r->lease.mtu, want.lease.mtu);
		for (unsigned int k = 0; k < r->n_hops; k++) {
			assert_memory_equal(r->hops[k].static_sk, want.hops[k].static_sk, 32);
			assert_memory_equal(r->hops[k].descriptor, want.hops[k].descriptor, DESCRIPTOR_SIZE);
			assert_int_equal(r->hops[k].number, want.hops[k].number);
			assert_int_equal(r->hops[k].up_bytes, want.hops[k].up_bytes);
			assert_int_equal(r->hops[k].down_bytes, want.hops[k].down_bytes);
			assert_int_equal(r->hops[k].credit_bytes, want.hops[k].credit_bytes);
			assert_int_equal(r->hops[k].next_request, want.hops[k].next_request);
		}
	}
	for (uint32_t i = 0; i < FLOWS; i++) {
		struct flow_kept k, want = flow(i);

		handover_flow_get(b->plain, &got, i, &k);
		assert_memory_equal(k.key.remote, want.key.remote, 16);
		assert_int_equal(k.key.remote_port, want.key.remote_port);
		assert_int_equal(k.key.local_port, want.key.local_port);
		assert_int_equal(k.key.family, want.key.family);
		assert_int_equal(k.key.proto, want.key.proto);
		assert_int_equal(k.exit, want.exit);
		assert_int_equal(k.state, want.state);
		assert_int_equal(k.dns, want.dns);
		assert_int_equal(k.fin_out, want.fin_out);
		assert_int_equal(k.fin_in, want.fin_in);
		assert_int_equal(k.idle.ns, want.idle.ns);
	}
}

static void it_is_good_for_a_minute(void **state)
{
	static const struct {
		int64_t after_s;
		enum err want;
	} cases[] = {{-1, ERR_STALE}, {0, OK}, {HANDOVER_LIFE_S, OK}, {HANDOVER_LIFE_S + 1, ERR_STALE},
		{INT64_C(1) << 33, ERR_STALE}};
	struct bench *b = *state;
	struct handover got;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(open_by(b, key, b->len, (wall_t){then.s + cases[i].after_s}, &got),
			cases[i].want);
	assert_int_equal(got.n_routes > 0 ? got.routes[0].id : 0, 0); /* no key of it is unpacked */
}

static void torn_is_refused_at_every_length(void **state)
{
	struct bench *b = *state;
	struct handover got;

	for (size_t n = 0; n < b->len; n++)
		assert_int_equal(open_by(b, key, n, then, &got), ERR_MALFORMED);
}

static void no_bit_of_it_can_be_changed(void **state)
{
	struct bench *b = *state;
	struct handover got;

	for (size_t i = 0; i < b->len; i++) {
		b->buf[i] ^= 1;
		assert_int_not_equal(open_copy(b, &got), OK);
		b->buf[i] ^= 1;
	}
	assert_int_equal(open_copy(b, &got), OK);
}

static void that_of_another_node_is_refused(void **state)
{
	static const uint8_t other[HANDOVER_KEY_SIZE] = {3, 2, 1};
	struct bench *b = *state;
	struct handover got;

	assert_int_equal(open_by(b, other, b->len, then, &got), ERR_DENIED);
}

/* Whoever wrote it: what cannot be is refused, and no length in it is believed. */
static void lies_under_a_right_seal_are_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} cases[] = {
		{0, 'x'},			   /* magic */
		{8, HANDOVER_VERSION + 1},
		{10, HANDOVER_ROUTES_MAX + 1},	   /* routes */
		{10, ROUTES - 1},
		{11, ROUTES},			   /* in use */
		{12, FLOWS + 1},		   /* flows */
		{12, FLOWS - 1},
		{15, 0x80},
		{23, 0x80},			   /* time */
		{BODY_AT + 4, 0},		   /* hops */
		{BODY_AT + 4, ROUTE_HOPS_MAX + 1},
		{BODY_AT + 5, 5},		   /* the other's place */
		{BODY_AT + 5, FLOW_EXITS_MAX},
	};
	struct bench *b = *state;
	struct handover got;

	uint8_t *whole = malloc(b->len);

	assert_int_equal(open_copy(b, &got), OK);
	memcpy(whole, b->plain, b->len);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(b->plain, whole, b->len);
		b->plain[cases[i].at] = cases[i].value;
		seal_plain(b);
		assert_int_not_equal(open_copy(b, &got), OK);
		memcpy(b->plain, whole, b->len);
		seal_plain(b);
		assert_int_equal(open_copy(b, &got), OK);
	}
	memcpy(b->plain, whole, b->len);
	memcpy(b->plain + BODY_AT, (uint8_t[]){101, 0, 0, 0}, 4); /* two routes of one number */
	seal_plain(b);
	assert_int_equal(open_copy(b, &got), ERR_MALFORMED);
	free(whole);
}

/* Keys and destinations are not in the file for who reads it without the node's key. */
static void nothing_of_it_can_be_read(void **state)
{
	struct bench *b = *state;
	struct handover got;

	assert_int_equal(open_copy(b, &got), OK);
	for (size_t i = BODY_AT; i + 16 <= b->len - 16; i++)
		assert_null(memmem(b->buf + BODY_AT, b->len - BODY_AT, b->plain + i, 16));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(what_is_left_is_found),
		T(it_is_good_for_a_minute),
		T(torn_is_refused_at_every_length),
		T(no_bit_of_it_can_be_changed),
		T(that_of_another_node_is_refused),
		T(nothing_of_it_can_be_read),
		T(lies_under_a_right_seal_are_refused),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
