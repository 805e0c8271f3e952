/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The payer against relays that lie, fall silent, or are right; its limits; what it never signs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/ledger/core/payer.h"
#include "services/ledger/core/value.h"

#define PRICE 1000000u /* gwei per GiB */
#define FREE_BYTES ((uint64_t)256 << 10)
#define SESSION 77u
#define WALL 1700000000
#define R(x) peer_ledger_Reason_REASON_##x

struct asked {
	uint64_t id, session;
	peer_ledger_Message m;
};

struct fixture {
	secp256k1_context *ctx;
	struct keys keys;
	struct ticket_domain domain;
	struct payer *payer;
	struct payer_sink sink;
	mono_t now;
	wall_t wall;
	bool disk_full, link_down;
	struct asked asked[64];
	size_t n_asked;
	uint64_t next_id;
	unsigned int n_troubles;
	bool own_fault;
	char why[WHY_MAX];
	uint8_t payee[ADDRESS_SIZE];
	uint8_t descriptor[DESCRIPTOR_SIZE];
};

static uint64_t on_ask(void *ctx, uint64_t session, const uint8_t *payload, size_t len)
{
	struct fixture *f = ctx;
	struct asked *a = &f->asked[f->n_asked % 64];

	if (f->link_down)
		return 0;
	f->n_asked++;
	a->id = ++f->next_id;
	a->session = session;
	assert_int_equal(peer_decode(payload, len, &a->m), OK);
	return a->id;
}

static void on_trouble(void *ctx, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
	const char *why, bool own_fault)
{
	struct fixture *f = ctx;

	assert_int_equal(session, SESSION);
	assert_memory_equal(node_id, f->descriptor + 4, NODE_ID_SIZE);
	f->n_troubles++;
	f->own_fault = own_fault;
	memset(f->why, 0, sizeof(f->why));
	memcpy(f->why, why, strlen(why));
}

static void descriptor_make(struct fixture *f, uint64_t relay, uint64_t exit, uint32_t chain_id)
{
	uint8_t seed[32] = {1}, sk[64];
	struct descriptor d = {.price_gwei_per_gib = {relay, relay, exit},
		.free_bytes = FREE_BYTES,
		.chain_id = chain_id,
		.expires = {WALL + 10}};

	crypto_sign_seed_keypair(d.node_id, sk, seed);
	memcpy(d.payee, f->payee, ADDRESS_SIZE);
	assert_int_equal(descriptor_sign(&d, sk, f->descriptor), OK);
}

static void payer_begin(struct fixture *f)
{
	static const uint8_t seed[32] = "payer";
	const struct payer_settings settings = {.pay = true};

	payer_init(f->payer, &f->keys, f->ctx, &f->domain, seed);
	payer_set(f->payer, &settings, f->now);
}

static int begin(void **state)
{
	static const uint8_t wallet[32] = {[31] = 1}, contract[ADDRESS_SIZE];
	struct fixture *f = calloc(1, sizeof(*f));

	f->ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	f->payer = calloc(1, sizeof(*f->payer));
	f->sink = (struct payer_sink){f, on_ask, on_trouble};
	f->now.ns = 1000000000u;
	f->wall.s = WALL;
	memset(f->payee, 0xab, sizeof(f->payee));
	ticket_domain_init(&f->domain, 0, contract);
	if (keys_init(&f->keys, f->ctx, wallet) != OK)
		return -1;
	payer_begin(f);
	descriptor_make(f, PRICE, 2 * PRICE, 0);
	*state = f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	payer_done(f->payer);
	secp256k1_context_destroy(f->ctx);
	free(f->payer);
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	payer_tick(f->payer, f->now, f->wall, &f->sink);
	if (payer_staged(f->payer))
		payer_committed(f->payer, f->now, !f->disk_full, &f->sink);
}

static const struct payer_session *session(const struct fixture *f)
{
	const struct payer_session *s = payer_find(f->payer, SESSION);

	assert_non_null(s);
	return s;
}

static void open_session(struct fixture *f)
{
	payer_on_opened(f->payer, f->now, SESSION, 0, false, f->descriptor, DESCRIPTOR_SIZE, &f->sink);
	turn(f);
}

/* The i-th from the end. */
static struct asked *last_asked(struct fixture *f, size_t i)
{
	assert_true(f->n_asked > i);
	return &f->asked[(f->n_asked - 1 - i) % 64];
}

static void answer(struct fixture *f, uint64_t id, const peer_ledger_Message *m)
{
	uint8_t payload[PEER_MESSAGE_MAX];

	payer_on_answered(f->payer, f->now, id, OK, payload, peer_encode(m, payload), &f->sink);
	turn(f);
}

static peer_ledger_Message quoted(const struct fixture *f, const struct asked *a)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	peer_ledger_Quoted *q = &m.body.quoted;

	m.which_body = peer_ledger_Message_quoted_tag;
	q->terms_hash.size = q->commit.size = KECCAK_SIZE;
	memcpy(q->terms_hash.bytes, a->m.body.quote.terms_hash.bytes, KECCAK_SIZE);
	q->payee.size = ADDRESS_SIZE;
	memcpy(q->payee.bytes, f->payee, ADDRESS_SIZE);
	q->face_min.size = q->face_max.size = 16;
	amount_put(q->face_min.bytes, AMOUNT_GWEI(1000000 / 16)); /* 64 MiB */
	amount_put(q->face_max.bytes, AMOUNT_GWEI(4000000));
	q->ticket_life_s = 7200;
	q->ahead_max = 64 << 20;
	q->credit_bytes = FREE_BYTES;
	return m;
}

static void quote_it(struct fixture *f)
{
	peer_ledger_Message m;

	assert_int_equal(last_asked(f, 0)->m.which_body, peer_ledger_Message_quote_tag);
	m = quoted(f, last_asked(f, 0));
	answer(f, last_asked(f, 0)->id, &m);
}

static uint64_t worth(const struct asked *a, struct ticket *ret_t)
{
	uint64_t bytes = 0;

	assert_int_equal(a->m.which_body, peer_ledger_Message_pay_tag);
	assert_int_equal(ticket_decode(a->m.body.pay.ticket.bytes, TICKET_SIZE, ret_t), OK);
	assert_int_equal(value_bytes(value_expected(ret_t->face, ret_t->ratio), PRICE, &bytes), OK);
	return bytes;
}

static peer_ledger_Message paid(const struct asked *a, uint64_t credit)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	struct ticket t;

	worth(a, &t);
	m.which_body = peer_ledger_Message_paid_tag;
	m.body.paid.seq = t.seq;
	m.body.paid.credit_bytes = credit;
	m.body.paid.commit.size = KECCAK_SIZE;
	memcpy(m.body.paid.commit.bytes, t.commit, KECCAK_SIZE);
	return m;
}

static peer_ledger_Message refused(peer_ledger_Reason reason)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	m.which_body = peer_ledger_Message_refused_tag;
	m.body.refused.reason = reason;
	return m;
}

/* ---- what is right ---- */

static void a_free_relay_is_not_asked(void **state)
{
	struct fixture *f = *state;

	descriptor_make(f, 0, PRICE, 0);
	open_session(f);
	assert_int_equal(f->n_asked, 0);
	assert_int_equal(session(f)->phase, PAYER_IDLE);
	/* What tunnel begins with is no demand. */
	assert_true(payer_on_usage(f->payer, f->now, SESSION, 0, 0, 262144, &f->sink));
	assert_int_equal(f->n_troubles, 0);
	/* It asks all the same. */
	assert_true(payer_on_usage(f->payer, f->now, SESSION, 1, 1, 999, &f->sink));
	assert_int_equal(f->n_troubles, 1);
	assert_false(f->own_fault);
}

static void tickets_are_right_and_two_quanta_ahead(void **state)
{
	struct fixture *f = *state;
	uint64_t ahead = FREE_BYTES;
	uint8_t who[ADDRESS_SIZE], expected[ADDRESS_SIZE], sk[32], digest[32];
	struct ticket t;

	open_session(f);
	assert_int_equal(f->n_asked, 1);
	quote_it(f);
	/* 256 KiB free and 4 tickets of a quarter quantum. */
	assert_int_equal(f->n_asked, 1 + 4);
	keys_payer(&f->keys, f->ctx, 0, 0, sk);
	assert_int_equal(address_of_key(f->ctx, sk, expected), OK);
	for (size_t i = 0; i < 4; i++) {
		ahead += worth(last_asked(f, 3 - i), &t);
		assert_int_equal(t.seq, i + 1);
		assert_int_equal(t.expiry.s, WALL + PAYER_TICKET_LIFE_S);
		assert_memory_equal(t.payee, f->payee, ADDRESS_SIZE);
		assert_true(t.face.wei == AMOUNT_GWEI(1000000 / 16).wei);
		ticket_digest(&t, &f->domain, digest);
		assert_int_equal(
			ticket_recover(last_asked(f, 3 - i)->m.body.pay.ticket.bytes, digest, who), OK);
		assert_memory_equal(who, expected, ADDRESS_SIZE);
	}
	assert_in_range(ahead, 2 * QUANTUM_MIN, 2 * QUANTUM_MIN + 4);
	assert_true(payer_paid_bytes(session(f)) == ahead);
	/* No use, no more tickets. */
	f->now = mono_add(f->now, DUR_S(1));
	turn(f);
	assert_int_equal(f->n_asked, 5);
}

/* The smaller of a and b, but not below c. */
static uint64_t least(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t v = a < b ? a : b;

	return v > c ? v : c;
}

/* [P-86] */
static void the_quantum_grows_with_what_is_acknowledged(void **state)
{
	struct fixture *f = *state;
	uint64_t used = 0, credit = FREE_BYTES, quantum = QUANTUM_MIN;
	size_t n_answered = 1;

	open_session(f);
	quote_it(f);
	for (int i = 0; i < 200; i++) {
		struct asked *a = last_asked(f, f->n_asked - 1 - n_answered);
		struct ticket t;

		n_answered++;
		credit += worth(a, &t);
		peer_ledger_Message m = paid(a, credit);
		m.body.paid.used_bytes = used;
		answer(f, a->id, &m);
		quantum = least(quantum + quantum / 3, least(QUANTUM_MIN + 2 * used, QUANTUM_MAX, 0), quantum);
		assert_int_equal(session(f)->quantum, quantum);
		assert_true(payer_paid_bytes(session(f)) <= used + 2 * quantum + 8);
		assert_true(payer_paid_bytes(session(f)) - session(f)->granted <=
			PAYER_PIPELINE * (quantum / 2 + 1));
		if (n_answered == f->n_asked) {
			used = credit - quantum / 2;
			payer_on_usage(f->payer, f->now, SESSION, used / 2, used - used / 2, 0, &f->sink);
			turn(f);
		}
	}
	assert_int_equal(quantum, QUANTUM_MAX);
	assert_int_equal(f->n_troubles, 0);
	assert_true(session(f)->granted == credit);
}

static void positions_and_sessions_have_keys_of_their_own(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < 6; i++)
		payer_on_opened(f->payer, f->now, 100 + i, (uint32_t)(i % 3), false, f->descriptor,
			DESCRIPTOR_SIZE, &f->sink);
	for (uint64_t i = 0; i < 6; i++)
		for (uint64_t k = 0; k < i; k++)
			assert_memory_not_equal(payer_find(f->payer, 100 + i)->payer_sk,
				payer_find(f->payer, 100 + k)->payer_sk, 32);
	/* The last hop is charged as an exit. */
	assert_int_equal(payer_find(f->payer, 100)->price_gwei_per_gib, PRICE);
	assert_int_equal(payer_find(f->payer, 102)->price_gwei_per_gib, 2 * PRICE);
	/* A position that does not exist counts as the last. */
	payer_on_opened(f->payer, f->now, 200, 9, false, f->descriptor, DESCRIPTOR_SIZE, &f->sink);
	assert_int_equal(payer_find(f->payer, 200)->row.position, 2);
}

/* ---- what is never signed ---- */

/* [P-70] */
static void only_for_signed_terms(void **state)
{
	struct fixture *f = *state;

	f->descriptor[132] ^= 1; /* the price, after signing */
	open_session(f);
	assert_int_equal(f->n_asked, 0);
	assert_int_equal(f->n_troubles, 1);
	assert_false(f->own_fault);
	assert_int_equal(session(f)->phase, PAYER_BROKEN);
}

static void not_on_another_chain(void **state)
{
	struct fixture *f = *state;

	descriptor_make(f, PRICE, PRICE, 5);
	open_session(f);
	assert_int_equal(f->n_asked, 0);
	assert_non_null(strstr(f->why, "chain"));
}

static void not_for_a_quote_that_differs(void **state)
{
	struct fixture *f = *state;
	amount_t bound;
	enum { TERMS, PAYEE, FACE_ZERO, FACE_ORDER, FACE_HUGE, LIFE, AHEAD, RIGHT, CASES };

	assert_int_equal(value_of_bytes(FACE_BYTES_MAX, PRICE, &bound), OK);
	for (int i = 0; i < CASES; i++) {
		payer_begin(f);
		f->n_troubles = 0;
		open_session(f);
		for (int strike = 0; strike < STRIKES_MAX; strike++) {
			peer_ledger_Message m = quoted(f, last_asked(f, 0));
			peer_ledger_Quoted *q = &m.body.quoted;

			q->terms_hash.bytes[3] ^= i == TERMS;
			q->payee.bytes[3] ^= i == PAYEE;
			if (i == FACE_ZERO)
				amount_put(q->face_min.bytes, AMOUNT_ZERO);
			if (i == FACE_ORDER)
				amount_put(q->face_max.bytes, AMOUNT_GWEI(1));
			if (i == FACE_HUGE) {
				amount_put(q->face_min.bytes, (amount_t){bound.wei + 1});
				amount_put(q->face_max.bytes, (amount_t){bound.wei + 1});
			}
			if (i == LIFE)
				q->ticket_life_s = PAYER_TICKET_LIFE_MIN_S - 1;
			if (i == AHEAD)
				q->ahead_max = 2 * TICKET_BYTES_MIN - 1;
			size_t before = f->n_asked;
			answer(f, last_asked(f, 0)->id, &m);
			if (i == RIGHT)
				break;
			assert_int_equal(f->n_asked, before); /* nothing is signed */
			f->now = mono_add(f->now, RESYNC_MIN);
			turn(f);
		}
		assert_int_equal(f->n_troubles, i != RIGHT);
		assert_int_equal(session(f)->phase, i == RIGHT ? PAYER_PAYING : PAYER_BROKEN);
		assert_int_equal(session(f)->row.sums.n_tickets > 0, i == RIGHT);
	}
}

static void not_when_paying_is_off(void **state)
{
	struct fixture *f = *state;
	struct payer_settings off = {.pay = false}, on = {.pay = true};

	payer_set(f->payer, &off, f->now);
	open_session(f);
	assert_int_equal(f->n_asked, 0);
	assert_int_equal(f->n_troubles, 1);
	assert_true(f->own_fault);
	payer_trouble_again(f->payer, &f->sink);
	assert_int_equal(f->n_troubles, 2);
	payer_set(f->payer, &on, f->now);
	turn(f);
	assert_int_equal(f->n_asked, 1);
	quote_it(f);
	assert_int_equal(f->n_asked, 5);
	payer_set(f->payer, &off, f->now);
	payer_on_usage(f->payer, f->now, SESSION, 500000, 0, 0, &f->sink);
	turn(f);
	assert_int_equal(f->n_asked, 5);
}

static void not_beyond_the_limit_of_a_day(void **state)
{
	struct fixture *f = *state;
	/* Three tickets of 64 KiB: 61.03515625 gwei each. */
	struct payer_settings s = {.pay = true};
	amount_t one;

	assert_int_equal(value_of_bytes(QUANTUM_MIN / 4, PRICE, &one), OK);
	s.spend_max_per_day.wei = 3 * one.wei + 10; /* each may be a few wei over */
	payer_set(f->payer, &s, f->now);
	open_session(f);
	quote_it(f);
	assert_int_equal(session(f)->row.sums.n_tickets, 3);
	assert_int_equal(f->n_troubles, 1);
	assert_true(f->own_fault);
	assert_true(f->payer->totals.spent_today.wei <= s.spend_max_per_day.wei);
	f->wall.s += 86400;
	turn(f);
	assert_int_equal(session(f)->row.sums.n_tickets, 4);
	assert_int_equal(f->payer->totals.all.n_tickets, 4);
	assert_true(f->payer->totals.spent_today.wei < 2 * one.wei);
}

/* ---- silence, repetition, lies ---- */

static void silence_repeats_the_same_ticket(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[TICKET_SIZE];

	open_session(f);
	quote_it(f);
	memcpy(wire, last_asked(f, 3)->m.body.pay.ticket.bytes, TICKET_SIZE);
	uint64_t id = last_asked(f, 3)->id;
	payer_on_answered(f->payer, f->now, id, ERR_TIMEOUT, NULL, 0, &f->sink);
	turn(f);
	assert_int_equal(f->n_asked, 5);
	f->now = mono_add(f->now, RETRY_FIRST);
	turn(f);
	assert_int_equal(f->n_asked, 6);
	assert_memory_equal(last_asked(f, 0)->m.body.pay.ticket.bytes, wire, TICKET_SIZE);
	/* An answer to the first sending is not waited for any more. */
	peer_ledger_Message m = paid(last_asked(f, 0), FREE_BYTES + 200000);
	answer(f, id, &m);
	assert_int_equal(f->payer->counters.unasked_answers, 1);
	/* Not even tunnel answers: the same, after ASK_TIMEOUT. */
	f->now = mono_add(f->now, ASK_TIMEOUT);
	turn(f);
	assert_int_equal(f->n_asked, 6 + 4);
	assert_int_equal(session(f)->row.sums.n_tickets, 4);
	assert_int_equal(f->payer->counters.resent, 5);
	assert_int_equal(f->payer->counters.timeouts, 1 + 4);
}

static void silence_is_reported_once(void **state)
{
	struct fixture *f = *state;
	const mono_t begun = f->now;

	open_session(f);
	for (int i = 0; i < 3 * FAILURES_MAX; i++) {
		payer_on_answered(f->payer, f->now, last_asked(f, 0)->id, ERR_TIMEOUT, NULL, 0, &f->sink);
		assert_int_equal(f->n_troubles,
			i + 1 >= FAILURES_MAX && mono_since(begun, f->now).ns >= FAILURES_FOR.ns);
		assert_true(payer_deadline(f->payer).ns <= f->now.ns + RETRY_MAX.ns);
		f->now = payer_deadline(f->payer);
		turn(f);
		assert_int_equal(f->n_asked, i + 2);
	}
	assert_int_equal(f->n_troubles, 1);
	assert_false(f->own_fault);
}

static void garbage_in_an_answer_is_silence(void **state)
{
	static const uint8_t garbage[] = {0xff, 1, 2};
	struct fixture *f = *state;
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	open_session(f);
	payer_on_answered(f->payer, f->now, last_asked(f, 0)->id, OK, garbage, sizeof(garbage), &f->sink);
	assert_int_equal(f->payer->counters.bad_answers, 1);
	f->now = payer_deadline(f->payer);
	turn(f);
	/* A request in place of an answer; a reason that does not exist. */
	m.which_body = peer_ledger_Message_quote_tag;
	m.body.quote.terms_hash.size = KECCAK_SIZE;
	answer(f, last_asked(f, 0)->id, &m);
	f->now = payer_deadline(f->payer);
	turn(f);
	m = refused((peer_ledger_Reason)12345);
	answer(f, last_asked(f, 0)->id, &m);
	assert_int_equal(f->payer->counters.bad_answers, 2);
	f->now = payer_deadline(f->payer);
	turn(f);
	quote_it(f);
	assert_int_equal(session(f)->phase, PAYER_PAYING);
	/* An acknowledgement of another number is none. */
	m = paid(last_asked(f, 0), FREE_BYTES + 300000);
	m.body.paid.seq += 1;
	answer(f, last_asked(f, 0)->id, &m);
	assert_int_equal(session(f)->granted, FREE_BYTES);
	assert_int_equal(f->payer->counters.paid, 0);
}

static void credit_that_is_withheld_is_reported(void **state)
{
	struct fixture *f = *state;
	size_t n_asked;

	open_session(f);
	quote_it(f);
	for (size_t i = 0; i < STRIKES_MAX; i++) {
		struct asked a = f->asked[1 + i];
		peer_ledger_Message m = paid(&a, FREE_BYTES);

		assert_int_equal(f->n_troubles, 0);
		answer(f, a.id, &m);
	}
	n_asked = f->n_asked;
	assert_int_equal(f->n_troubles, 1);
	assert_false(f->own_fault);
	assert_int_equal(session(f)->phase, PAYER_BROKEN);
	/* And it is paid no more. */
	payer_on_usage(f->payer, f->now, SESSION, 0, 1 << 20, 0, &f->sink);
	f->now = mono_add(f->now, DUR_S(60));
	turn(f);
	assert_int_equal(f->n_asked, n_asked);
}

static void answers_that_overtake_each_other_are_no_lie(void **state)
{
	struct fixture *f = *state;
	uint64_t credit[5] = {FREE_BYTES};
	struct ticket t;

	open_session(f);
	quote_it(f);
	for (size_t i = 0; i < 4; i++)
		credit[i + 1] = credit[i] + worth(last_asked(f, 3 - i), &t);
	struct asked copies[4];
	for (size_t i = 0; i < 4; i++)
		copies[i] = *last_asked(f, 3 - i);
	for (size_t i = 4; i-- > 0;) {
		peer_ledger_Message m = paid(&copies[i], credit[i + 1]);
		answer(f, copies[i].id, &m);
	}
	assert_int_equal(session(f)->n_strikes, 0);
	assert_true(session(f)->granted >= credit[4]);
}

static void a_commit_may_turn_over_under_way(void **state)
{
	struct fixture *f = *state;
	peer_ledger_Message m = refused(R(COMMIT));
	struct ticket t;

	open_session(f);
	quote_it(f);
	m.body.refused.commit.size = KECCAK_SIZE;
	memset(m.body.refused.commit.bytes, 0x77, KECCAK_SIZE);
	m.body.refused.commit_id = 1;
	struct asked first = *last_asked(f, 3);
	answer(f, first.id, &m);
	assert_int_equal(session(f)->n_strikes, 0);
	worth(last_asked(f, 0), &t); /* the next is signed with it, under a new number */
	assert_int_equal(t.seq, 5);
	assert_int_equal(t.commit[9], 0x77);
	/* An older one does not come back. */
	memset(m.body.refused.commit.bytes, 0x66, KECCAK_SIZE);
	m.body.refused.commit_id = 0;
	answer(f, last_asked(f, 1)->id, &m);
	assert_int_equal(session(f)->commit[9], 0x77);
}

static void refusals_of_what_is_right_end_it(void **state)
{
	static const peer_ledger_Reason wrong[] = {R(PAYEE), R(RATIO), R(FACE), R(EXPIRY), R(WORTH),
		R(SIGNATURE), R(PAYER), R(SEQUENCE), R(TERMS), R(ROLE), R(MALFORMED)};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		peer_ledger_Message m = refused(wrong[i]);

		payer_begin(f);
		f->n_troubles = 0;
		f->n_asked = 0;
		open_session(f);
		quote_it(f);
		for (int strike = 0; strike < STRIKES_MAX; strike++) {
			struct asked *a = &f->asked[1 + strike];

			assert_int_equal(f->n_troubles, 0);
			payer_on_answered(f->payer, f->now, a->id, OK, NULL, 0, &f->sink); /* garbage first */
			f->now = mono_add(f->now, RETRY_MAX);
			turn(f);
			for (size_t k = 0; k < PAYER_PIPELINE; k++)
				if (session(f)->tickets[k].busy && session(f)->tickets[k].request != 0) {
					answer(f, session(f)->tickets[k].request, &m);
					break;
				}
		}
		assert_int_equal(f->n_troubles, 1);
		assert_int_equal(session(f)->phase, PAYER_BROKEN);
	}
}

static void a_full_relay_is_asked_again(void **state)
{
	static const peer_ledger_Reason later[] = {R(STORAGE), R(BUSY), R(RATE)};
	struct fixture *f = *state;

	open_session(f);
	quote_it(f);
	for (int i = 0; i < 3; i++) {
		peer_ledger_Message m = refused(later[i]);
		struct asked a = *last_asked(f, 0);
		struct ticket t, again;

		worth(&a, &t);
		answer(f, a.id, &m);
		f->now = mono_add(f->now, RETRY_MAX);
		turn(f);
		worth(last_asked(f, 0), &again);
		assert_int_equal(session(f)->row.sums.n_tickets, 4); /* no new one */
		assert_int_equal(session(f)->n_strikes, 0);
	}
}

/* ---- bounds ---- */

static void numbers_span_less_than_a_payee_remembers(void **state)
{
	struct fixture *f = *state;
	uint64_t credit = FREE_BYTES, first_seq;
	struct ticket t;

	open_session(f);
	quote_it(f);
	worth(last_asked(f, 3), &t);
	first_seq = t.seq;
	payer_on_usage(f->payer, f->now, SESSION, 0, (uint64_t)1 << 30, 0, &f->sink);
	turn(f);
	/* All are answered but the first: it must not be left too far behind. */
	for (size_t i = 2; i < f->n_asked && i < 60; i++) {
		struct asked a = f->asked[i];
		peer_ledger_Message m;

		credit += worth(&a, &t);
		m = paid(&a, credit + 140000);
		answer(f, a.id, &m);
		assert_true(session(f)->row.next_seq - first_seq <= PAYER_SPAN);
	}
	assert_int_equal(session(f)->row.next_seq, first_seq + PAYER_SPAN);
}

/* [P-87] */
static void a_relay_may_count_a_little_more(void **state)
{
	struct fixture *f = *state;
	peer_ledger_Message m;
	const uint64_t own = 100 << 20, most = own + own / 20 + QUANTUM_MAX;

	open_session(f);
	payer_on_usage(f->payer, f->now, SESSION, 0, own, 0, &f->sink);
	m = quoted(f, last_asked(f, 0));
	m.body.quoted.credit_bytes = 1 << 30;
	m.body.quoted.used_bytes = most;
	answer(f, last_asked(f, 0)->id, &m);
	payer_on_usage(f->payer, f->now, SESSION, 0, own, 0, &f->sink);
	assert_true(payer_used(session(f)) == most);
	assert_int_equal(f->n_troubles, 0);
	/* It says that it stops: the payer asks where it stands, once a second at most. */
	size_t before = f->n_asked;
	payer_on_usage(f->payer, f->now, SESSION, 0, own, 0, &f->sink);
	turn(f);
	f->now = mono_add(f->now, (dur_t){RESYNC_MIN.ns / 2});
	payer_on_usage(f->payer, f->now, SESSION, 0, own, 5, &f->sink);
	turn(f);
	assert_int_equal(f->n_asked, before);
	f->now = mono_add(f->now, RESYNC_MIN);
	turn(f);
	assert_int_equal(f->n_asked, before + 1);
	m = quoted(f, last_asked(f, 0));
	m.body.quoted.credit_bytes = 1 << 30;
	m.body.quoted.used_bytes = most + 1;
	answer(f, last_asked(f, 0)->id, &m);
	payer_on_usage(f->payer, f->now, SESSION, 0, own, 5, &f->sink);
	assert_true(payer_used(session(f)) == most);
	assert_int_equal(f->n_troubles, 1);
	/* And it may count less: what did not arrive is not paid. */
	payer_begin(f);
	open_session(f);
	payer_on_usage(f->payer, f->now, SESSION, own, 0, 0, &f->sink);
	m = quoted(f, last_asked(f, 0));
	m.body.quoted.credit_bytes = 1 << 30;
	m.body.quoted.used_bytes = own / 2;
	answer(f, last_asked(f, 0)->id, &m);
	assert_true(payer_used(session(f)) == own / 2);
	payer_on_usage(f->payer, f->now, SESSION, own + 1000, 0, 0, &f->sink);
	assert_true(payer_used(session(f)) == own / 2 + 1000);
}

/* What was lost on a dead path is used up at the relay; its Notice says so, and tickets follow. */
static void a_notice_of_more_use_is_paid_without_a_quote(void **state)
{
	struct fixture *f = *state;
	uint64_t credit = FREE_BYTES, paid_before;
	struct ticket t;

	open_session(f);
	quote_it(f);
	for (size_t i = 1; i < f->n_asked; i++) {
		struct asked a = f->asked[i];
		peer_ledger_Message m;

		credit += worth(&a, &t);
		m = paid(&a, credit);
		answer(f, a.id, &m);
	}
	paid_before = payer_paid_bytes(session(f));
	assert_true(paid_before == credit);
	payer_on_relay_used(f->payer, SESSION, 0);
	turn(f);
	assert_true(payer_paid_bytes(session(f)) == paid_before);
	payer_on_usage(f->payer, f->now, SESSION, 0, 1000, 0, &f->sink);
	payer_on_relay_used(f->payer, SESSION, paid_before);
	turn(f);
	assert_true(payer_used(session(f)) == paid_before);
	assert_true(payer_paid_bytes(session(f)) > paid_before);
	payer_on_relay_used(f->payer, SESSION + 1, 5); /* nobody's */
}

static void sessions_are_bounded(void **state)
{
	struct fixture *f = *state;

	descriptor_make(f, 0, 0, 0);
	for (uint64_t i = 0; i < PAYER_SESSIONS_MAX + 1; i++) {
		assert_int_equal(f->payer->counters.sessions_full, 0);
		payer_on_opened(f->payer, f->now, 100 + i, 0, false, f->descriptor, DESCRIPTOR_SIZE, &f->sink);
	}
	assert_int_equal(f->payer->counters.sessions_full, 1);
	assert_false(payer_on_closed(f->payer, 100 + PAYER_SESSIONS_MAX, 0, 0));
	assert_true(payer_on_closed(f->payer, 100, 0, 0));
	assert_null(payer_find(f->payer, 100));
	payer_on_tunnel_restarted(f->payer);
	payer_on_complete(f->payer);
	for (uint64_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		assert_null(payer_find(f->payer, 100 + i));
}

/* ---- store, then send ---- */

static void nothing_leaves_before_the_commit(void **state)
{
	struct fixture *f = *state;

	open_session(f);
	f->disk_full = true;
	quote_it(f);
	assert_int_equal(f->n_asked, 1);
	assert_int_equal(f->payer->totals.all.n_tickets, 0);
	assert_int_equal(session(f)->row.next_seq, 1);
	assert_true(payer_paid_bytes(session(f)) == FREE_BYTES);
	/* It does not try again by itself, the store says when. */
	f->now = mono_add(f->now, DUR_S(10));
	turn(f);
	assert_false(payer_staged(f->payer));
	f->disk_full = false;
	payer_storage_back(f->payer);
	turn(f);
	assert_int_equal(f->n_asked, 5);
	assert_int_equal(f->payer->totals.all.n_tickets, 4);
}

/* After a restart: the same key goes on, with the next number, from what the relay says it has. */
static void a_session_goes_on_after_a_restart(void **state)
{
	struct fixture *f = *state;
	uint8_t sk[32];
	struct payer_row row;
	struct payer_totals totals;
	peer_ledger_Message m;
	struct ticket t;

	open_session(f);
	quote_it(f);
	memcpy(sk, session(f)->payer_sk, 32);
	row = session(f)->row;
	totals = f->payer->totals;
	payer_begin(f);
	f->payer->totals = totals;
	assert_int_equal(payer_load(f->payer, &row), OK);
	assert_int_equal(payer_load(f->payer, &row), ERR_INVALID);
	assert_int_equal(session(f)->phase, PAYER_WAITING);
	turn(f);
	assert_int_equal(f->n_asked, 5); /* tunnel has not told of it */
	open_session(f);
	assert_int_equal(f->n_asked, 6);
	assert_memory_equal(session(f)->payer_sk, sk, 32);
	m = quoted(f, last_asked(f, 0));
	m.body.quoted.credit_bytes = FREE_BYTES + 140000; /* one ticket had arrived */
	answer(f, last_asked(f, 0)->id, &m);
	worth(last_asked(f, 0), &t);
	assert_true(t.seq >= 5);
	assert_true(payer_paid_bytes(session(f)) > 2 * QUANTUM_MIN - QUANTUM_MIN / 4);
	/* A session of which there is no row gets a key that was never used. */
	payer_on_opened(f->payer, f->now, 500, 0, false, f->descriptor, DESCRIPTOR_SIZE, &f->sink);
	assert_memory_not_equal(payer_find(f->payer, 500)->payer_sk, sk, 32);
}

static void a_link_that_is_down_is_tried_again(void **state)
{
	struct fixture *f = *state;

	f->link_down = true;
	open_session(f);
	assert_int_equal(f->n_asked, 0);
	f->link_down = false;
	f->now = mono_add(f->now, RETRY_FIRST);
	turn(f);
	assert_int_equal(f->n_asked, 1);
	f->link_down = true;
	quote_it(f);
	assert_int_equal(f->n_asked, 1);
	f->link_down = false;
	f->now = mono_add(f->now, RETRY_FIRST);
	turn(f);
	assert_int_equal(f->n_asked, 5);
	assert_int_equal(f->payer->totals.all.n_tickets, 4);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_free_relay_is_not_asked),
		TEST(tickets_are_right_and_two_quanta_ahead),
		TEST(the_quantum_grows_with_what_is_acknowledged),
		TEST(positions_and_sessions_have_keys_of_their_own),
		TEST(only_for_signed_terms),
		TEST(not_on_another_chain),
		TEST(not_for_a_quote_that_differs),
		TEST(not_when_paying_is_off),
		TEST(not_beyond_the_limit_of_a_day),
		TEST(silence_repeats_the_same_ticket),
		TEST(silence_is_reported_once),
		TEST(garbage_in_an_answer_is_silence),
		TEST(credit_that_is_withheld_is_reported),
		TEST(answers_that_overtake_each_other_are_no_lie),
		TEST(a_commit_may_turn_over_under_way),
		TEST(refusals_of_what_is_right_end_it),
		TEST(a_full_relay_is_asked_again),
		TEST(numbers_span_less_than_a_payee_remembers),
		TEST(a_relay_may_count_a_little_more),
		TEST(a_notice_of_more_use_is_paid_without_a_quote),
		TEST(sessions_are_bounded),
		TEST(nothing_leaves_before_the_commit),
		TEST(a_session_goes_on_after_a_restart),
		TEST(a_link_that_is_down_is_tried_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
