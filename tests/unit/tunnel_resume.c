/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The client's wiring from one process to the next: what it leaves is what it took up, under the numbers and
 * with the counts of before, and router and ledger are told so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "lib/bytes.h"
#include "services/tunnel/overlay_internal.h"

#define SESSIONS 32
#define FLOWS 8
#define HOPS 4 /* of both routes */
#define ROOM 8192

static const uint8_t key[HANDOVER_KEY_SIZE] = {7};
static const uint8_t nonce[HANDOVER_NONCE_SIZE] = {1};
static const wall_t wall = {1800000000};
static const mono_t now = {5000000000000};

struct told {
	mvpn_RouterIn router[8];
	mvpn_LedgerIn ledger[16];
	unsigned int n_router, n_ledger;
};

struct bench {
	struct overlay *o;
	struct rng rng;
	struct told told;
	uint32_t n_sessions;
	struct noise_identity ids[SESSIONS];
	uint32_t parent[SESSIONS];
	char sent[64]; /* sessions that were initiated */
	uint8_t left[ROOM];
	size_t len;
};

static enum err op_session_open(void *ctx, const struct noise_identity *id, const uint8_t pk[static 32],
	const struct overlay_carrier *by, uint32_t *ret_session)
{
	struct bench *b = ctx;

	(void)pk;
	b->ids[b->n_sessions] = *id;
	b->parent[b->n_sessions] = by->nested ? by->parent : OVERLAY_NO_SESSION;
	*ret_session = b->n_sessions++;
	return OK;
}

static void op_session_end(void *ctx, uint32_t session)
{
	(void)ctx, (void)session;
}

static void op_session_handshake(void *ctx, uint32_t session)
{
	struct bench *b = ctx;
	size_t n = strlen(b->sent);

	b->sent[n] = (char)('0' + session);
	b->sent[n + 1] = '\0';
}

static void op_session_send(void *ctx, uint32_t session, const uint8_t *payload, size_t len)
{
	(void)ctx, (void)session, (void)payload, (void)len;
}

static bool op_tell(void *ctx, enum role to, const void *msg)
{
	struct bench *b = ctx;

	if (to == ROLE_ROUTER)
		b->told.router[b->told.n_router++] = *(const mvpn_RouterIn *)msg;
	else
		b->told.ledger[b->told.n_ledger++] = *(const mvpn_LedgerIn *)msg;
	return true;
}

static void descriptor_of(uint8_t who, uint8_t roles, uint8_t ret[static DESCRIPTOR_SIZE])
{
	memset(ret, 0, DESCRIPTOR_SIZE);
	ret[0] = 1;
	ret[1] = roles;
	ret[4] = who;
	memset(ret + 36, who, 32);
	memcpy(ret + 68, (uint8_t[]){192, 0, 2, who}, 4);
	le16_put(ret + 72, 51820);
	le64_put(ret + 220, 9);
	le64_put(ret + 228, (uint64_t)wall.s - 100000); /* it has run out, which does not end a route in use */
	le64_put(ret + 236, (uint64_t)wall.s - 50000);
}

static void hop_make(struct handover_hop *h, uint8_t who, bool exit)
{
	memset(h->static_sk, who, 32);
	h->static_sk[0] &= 248;
	h->static_sk[31] = (h->static_sk[31] & 127) | 64;
	descriptor_of(who, exit ? 3 : 1, h->descriptor);
	h->number = UINT64_C(0xabcdef0100000000) + who;
	h->up_bytes = 1000u + who;
	h->down_bytes = 50u << 20;
	h->credit_bytes = 1u << 20;
	h->next_request = 40u + who;
}

static void left_make(struct bench *b)
{
	struct handover h = {.written_at = wall, .n_routes = 2, .in_use = 0, .n_flows = 2};

	for (unsigned int i = 0; i < 2; i++) {
		struct handover_route *r = &h.routes[i];
		const struct flow_kept f = {.key = {.remote = {203, 0, 113, 80},
						    .remote_port = 443,
						    .local_port = (uint16_t)(1000 + i),
						    .family = NET_IP4,
						    .proto = PACKET_TCP},
			.exit = (uint8_t)(i == 0 ? 6 : 3),
			.state = 1};

		r->id = 4711 + i;
		r->n_hops = i == 0 ? 3 : 1;
		r->place = f.exit;
		r->draining = i == 1;
		r->drain = DUR_S(i * 60);
		r->rx_bytes = 1u << 20;
		r->tx_bytes = 77;
		r->lease.ip4 = (struct net_addr){NET_IP4, {100, 64, 0, (uint8_t)(16 + i)}};
		r->lease.mtu = 1348;
		for (unsigned int k = 0; k < r->n_hops; k++)
			hop_make(&r->hops[k], (uint8_t)(10 * i + k + 1), k + 1 == r->n_hops);
		handover_flow_put(b->left, 2, i, &f);
	}
	b->len = handover_bytes(2, 2);
	handover_seal(b->left, &h, key, nonce);
}

static int setup(void **state)
{
	static const uint8_t seed[32] = {3};
	struct bench *b = calloc(1, sizeof(*b));
	const struct overlay_conf conf = {.sessions_max = SESSIONS,
		.strangers_max = 4,
		.legs_max = 4,
		.have_ip4 = true,
		.device4 = {NET_IP4, {100, 96, 0, 2}},
		.flows_max = FLOWS};
	const struct overlay_ops ops = {.ctx = b,
		.session_open = op_session_open,
		.session_end = op_session_end,
		.session_handshake = op_session_handshake,
		.session_send = op_session_send,
		.tell = op_tell};
	struct handover h;

	rng_init(&b->rng, seed);
	assert_int_equal(overlay_new(&b->o, &conf, &ops, &b->rng, now), OK);
	left_make(b);
	assert_int_equal(handover_open(b->left, b->len, key, wall, &h), OK);
	overlay_resume(b->o, now, &h, b->left);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	overlay_free(&b->o);
	free(b);
	return 0;
}

static void sessions_are_those_of_before(void **state)
{
	struct bench *b = *state;
	uint32_t session;

	assert_int_equal(b->n_sessions, HOPS);
	assert_string_equal(b->sent, "03"); /* both entries; the others when these have answered */
	assert_int_equal(b->parent[0], OVERLAY_NO_SESSION);
	assert_int_equal(b->parent[1], 0);
	assert_int_equal(b->parent[2], 1);
	for (uint8_t i = 0; i < HOPS; i++) {
		const uint8_t who = i < 3 ? (uint8_t)(i + 1) : 11;
		const struct session_record *rec =
			record_by_number(b->o, UINT64_C(0xabcdef0100000000) + who, &session);

		assert_non_null(rec);
		assert_int_equal(session, i);
		assert_int_equal(b->ids[i].static_sk[5], who); /* [P-5] its own key pair */
		assert_int_equal(rec->meter.up_bytes, 1000 + who);
		assert_int_equal(rec->meter.down_bytes, 50u << 20);
		assert_int_equal(rec->meter.credit_bytes, 1u << 20);
		assert_int_equal(rec->hop->asks.next_id, 40u + who);
	}
	assert_null(record_by_number(b->o, UINT64_C(0xabcdef0100000000) + 99, &session));
}

/* [P-33] A relay remembers its answers by number: the next process goes on counting. */
static void numbers_of_requests_are_not_used_again(void **state)
{
	struct bench *b = *state;

	overlay_on_established(b->o, now, 0); /* Extend is asked */
	assert_int_equal(b->o->records[0].hop->asks.pending[0].id, 41);
	assert_string_equal(b->sent, "031");
}

static void router_and_ledger_are_told_what_lives(void **state)
{
	struct bench *b = *state;
	uint32_t cursor = 0;

	assert_int_equal(overlay_snapshot(b->o, now, ROLE_ROUTER, &cursor, 64), 2);
	assert_int_equal(b->told.n_router, 2);
	for (unsigned int i = 0; i < 2; i++) {
		const mvpn_RouteLives *l = &b->told.router[i].body.route_lives;

		assert_int_equal(b->told.router[i].which_body, mvpn_RouterIn_route_lives_tag);
		assert_int_equal(l->route, 4711 + i);
		assert_int_equal(l->in_use, i == 0);
		assert_int_equal(l->draining, i == 1);
		assert_int_equal(l->hops_count, i == 0 ? 3 : 1);
		assert_int_equal(l->hops[0].session, UINT64_C(0xabcdef0100000000) + (i == 0 ? 1 : 11));
		assert_int_equal(l->ip4.bytes[3], 16 + i);
	}
	cursor = 0;
	assert_int_equal(overlay_snapshot(b->o, now, ROLE_LEDGER, &cursor, 64), HOPS);
	assert_int_equal(b->told.n_ledger, 2 * HOPS);
	for (unsigned int i = 0; i < HOPS; i++) {
		assert_int_equal(b->told.ledger[2 * i].which_body, mvpn_LedgerIn_session_opened_tag);
		assert_int_equal(b->told.ledger[2 * i].body.session_opened.payer, true);
		assert_int_equal(b->told.ledger[2 * i + 1].body.session_usage.down_bytes, 50u << 20);
	}
}

static void flows_find_their_exit_at_its_new_place(void **state)
{
	struct bench *b = *state;

	assert_ptr_equal(b->o->in_use, &b->o->routes[0]);
	assert_true(overlay_totals(b->o).route_in_use);
	for (unsigned int i = 0; i < 2; i++) {
		const struct live_route *l = &b->o->routes[i];

		assert_int_equal(l->exit_place, i);
		assert_ptr_equal(b->o->by_place[i], l);
		assert_int_equal(flow_exit_flows(&b->o->flow, i), 1);
	}
	assert_int_equal(b->o->flow.in_use, 0);
}

/* Restarted once more before a hop has answered: nothing is lost by that. */
static void what_it_leaves_is_what_it_took_up(void **state)
{
	struct bench *b = *state;
	static uint8_t buf[ROOM];
	struct handover was, is;
	const size_t len = overlay_keep(b->o, now, wall, key, buf, sizeof(buf));

	assert_int_equal(len, b->len);
	left_make(b);
	assert_int_equal(handover_open(b->left, b->len, key, wall, &was), OK);
	assert_int_equal(handover_open(buf, len, key, wall, &is), OK);
	assert_int_equal(is.in_use, was.in_use);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(is.routes[i].id, was.routes[i].id);
		assert_int_equal(is.routes[i].place, i);
		assert_int_equal(is.routes[i].draining, was.routes[i].draining);
		assert_int_equal(is.routes[i].drain.ns, was.routes[i].drain.ns);
		assert_int_equal(is.routes[i].rx_bytes, was.routes[i].rx_bytes);
		assert_memory_equal(is.routes[i].hops, was.routes[i].hops, sizeof(is.routes[i].hops));
	}
	/* Where there is no room for all flows some are missing, never the routes. */
	assert_int_equal(overlay_keep(b->o, now, wall, key, buf, len - 1), handover_bytes(2, 1));
	assert_int_equal(overlay_keep(b->o, now, wall, key, buf, handover_bytes(2, 0) - 1), 0);
}

static void a_dead_route_is_not_left(void **state)
{
	struct bench *b = *state;
	uint8_t buf[ROOM];

	overlay_on_dead(b->o, now, 1); /* the middle */
	assert_int_equal(overlay_keep(b->o, now, wall, key, buf, sizeof(buf)), handover_bytes(1, 1));
	overlay_on_dead(b->o, now, 3);
	assert_int_equal(overlay_keep(b->o, now, wall, key, buf, sizeof(buf)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(sessions_are_those_of_before),
		T(numbers_of_requests_are_not_used_again),
		T(router_and_ledger_are_told_what_lives),
		T(flows_find_their_exit_at_its_new_place),
		T(what_it_leaves_is_what_it_took_up),
		T(a_dead_route_is_not_left),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
