/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The payee against every kind of ticket: what it takes, what it refuses and why, at the bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/ledger/core/payee.h"
#include "services/ledger/core/value.h"

#define PRICE 1000000u /* gwei per GiB */
#define FREE_BYTES 1000u
#define SESSION 77u
#define WALL 1700000000
#define FACE_BYTES ((uint64_t)4 << 20)
#define R(x) peer_ledger_Reason_REASON_##x

static const uint8_t payer_sk[32] = {[31] = 3}, other_sk[32] = {[31] = 4};

struct fixture {
	secp256k1_context *ctx;
	struct keys keys;
	struct payee *payee;
	struct payee_sink sink;
	mono_t now;
	wall_t wall;
	/* the last that left */
	peer_ledger_Message answer;
	unsigned int n_answers, n_grants;
	uint64_t granted;
	bool grant_fails;
	struct account stored; /* what the store knows of one payer */
	bool has_stored;
};

static void on_answer(void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	struct fixture *f = ctx;

	(void)session;
	(void)request;
	assert_int_equal(peer_decode(payload, len, &f->answer), OK);
	f->n_answers++;
}

static bool on_grant(void *ctx, uint64_t session, uint64_t credit_bytes)
{
	struct fixture *f = ctx;

	(void)session;
	f->n_grants++;
	f->granted = credit_bytes;
	return !f->grant_fails;
}

static bool on_account_load(void *ctx, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a)
{
	struct fixture *f = ctx;

	if (!f->has_stored || memcmp(f->stored.payer, payer, ADDRESS_SIZE) != 0)
		return false;
	*ret_a = f->stored;
	return true;
}

static struct terms terms_at(const struct fixture *f, uint64_t relay, uint64_t exit)
{
	struct terms t = {.price_gwei_per_gib = {relay, relay, exit}, .free_bytes = FREE_BYTES};

	memcpy(t.payee, f->keys.payee, ADDRESS_SIZE);
	return t;
}

static void payee_begin(struct fixture *f, const struct settle_terms *settle)
{
	static const uint8_t seed[32] = "payee";
	struct terms t = terms_at(f, PRICE, 2 * PRICE);

	payee_init(f->payee, &f->keys, settle, seed);
	payee_set_terms(f->payee, &t, f->wall, &f->sink);
}

static int begin(void **state)
{
	static const uint8_t wallet[32] = {[31] = 1};
	struct fixture *f = calloc(1, sizeof(*f));
	struct settle_terms settle = {.face_min = {1}, .face_min_bytes = FACE_BYTES};

	f->ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	f->payee = calloc(1, sizeof(*f->payee));
	f->sink = (struct payee_sink){f, on_answer, on_grant, on_account_load};
	f->now.ns = 1000000000u;
	f->wall.s = WALL;
	if (keys_init(&f->keys, f->ctx, wallet) != OK)
		return -1;
	payee_begin(f, &settle);
	*state = f;
	return 0;
}

static int end(void **state)
{
	struct fixture *f = *state;

	secp256k1_context_destroy(f->ctx);
	free(f->payee);
	free(f);
	return 0;
}

static void flush(struct fixture *f, bool ok)
{
	payee_tick(f->payee, &f->sink);
	if (payee_staged(f->payee))
		payee_committed(f->payee, ok, &f->sink);
}

static const struct payee_session *session(const struct fixture *f, uint64_t id)
{
	const struct payee_session *s = payee_find(f->payee, id);

	assert_non_null(s);
	return s;
}

static peer_ledger_Message *ask(struct fixture *f, uint64_t id, const peer_ledger_Message *m)
{
	uint8_t payload[PEER_MESSAGE_MAX];

	memset(&f->answer, 0, sizeof(f->answer));
	payee_on_asked(f->payee, f->now, f->wall, id, 1, payload, peer_encode(m, payload), &f->sink);
	flush(f, true);
	return &f->answer;
}

static peer_ledger_Message *quote_under(
	struct fixture *f, uint64_t id, bool exit, const struct terms *t)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	m.which_body = peer_ledger_Message_quote_tag;
	m.body.quote.exit = exit;
	m.body.quote.terms_hash.size = KECCAK_SIZE;
	terms_hash(t, m.body.quote.terms_hash.bytes);
	return ask(f, id, &m);
}

static peer_ledger_Message *quote(struct fixture *f, uint64_t id, bool exit)
{
	struct terms t = terms_at(f, PRICE, 2 * PRICE);

	return quote_under(f, id, exit, &t);
}

/* A right ticket for the session as it stands: worth 1 MiB, face of four. */
static struct ticket right_ticket(struct fixture *f, uint64_t id, uint64_t seq)
{
	const struct payee_session *s = session(f, id);
	struct ticket t = {.seq = seq, .expiry = {f->wall.s + 100}};
	amount_t expected;
	uint8_t reveal[32];

	memcpy(t.payee, f->keys.payee, ADDRESS_SIZE);
	keys_reveal(&f->keys, id, s->row.nonce, s->row.commit_id, reveal);
	keccak256(reveal, 32, t.commit);
	assert_int_equal(value_of_bytes(FACE_BYTES, s->row.price_gwei_per_gib, &t.face), OK);
	assert_int_equal(value_of_bytes(FACE_BYTES / 4, s->row.price_gwei_per_gib, &expected), OK);
	assert_int_equal(value_ratio(t.face, expected, &t.ratio), OK);
	t.salt[0] = (uint8_t)seq;
	t.salt[1] = (uint8_t)(seq >> 8);
	return t;
}

static peer_ledger_Message *pay_wire(struct fixture *f, uint64_t id, const uint8_t wire[TICKET_SIZE])
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	m.which_body = peer_ledger_Message_pay_tag;
	m.body.pay.ticket.size = TICKET_SIZE;
	memcpy(m.body.pay.ticket.bytes, wire, TICKET_SIZE);
	return ask(f, id, &m);
}

static peer_ledger_Message *pay_as(
	struct fixture *f, uint64_t id, const struct ticket *t, const uint8_t sk[32])
{
	uint8_t wire[TICKET_SIZE];

	assert_int_equal(ticket_sign(t, &f->payee->domain, f->ctx, sk, wire), OK);
	return pay_wire(f, id, wire);
}

static peer_ledger_Message *pay(struct fixture *f, uint64_t id, const struct ticket *t)
{
	return pay_as(f, id, t, payer_sk);
}

static void refused(const peer_ledger_Message *m, peer_ledger_Reason reason)
{
	assert_int_equal(m->which_body, peer_ledger_Message_refused_tag);
	assert_int_equal(m->body.refused.reason, reason);
}

static void paid(const peer_ledger_Message *m)
{
	if (m->which_body == peer_ledger_Message_refused_tag)
		fail_msg("refused: %s", peer_reason_show(m->body.refused.reason));
	assert_int_equal(m->which_body, peer_ledger_Message_paid_tag);
}

static void open_quoted(struct fixture *f, uint64_t id)
{
	payee_on_opened(f->payee, f->now, id, false, &f->sink);
	assert_int_equal(quote(f, id, false)->which_body, peer_ledger_Message_quoted_tag);
}

/* A ticket that may win must not rotate the commit under a test that counts on it. */
static struct ticket losing_ticket(struct fixture *f, uint64_t id, uint64_t seq)
{
	struct ticket t = right_ticket(f, id, seq);
	uint8_t reveal[32], digest[32];

	keys_reveal(&f->keys, id, session(f, id)->row.nonce, session(f, id)->row.commit_id, reveal);
	do {
		t.salt[2]++;
		ticket_digest(&t, &f->payee->domain, digest);
	} while (ticket_wins(t.ratio, reveal, digest));
	return t;
}

static struct ticket winning_ticket(struct fixture *f, uint64_t id, uint64_t seq)
{
	struct ticket t = right_ticket(f, id, seq);

	t.ratio = RATIO_CERTAIN;
	return t;
}

/* ---- what is right ---- */

static void a_session_begins_with_its_allowance(void **state)
{
	struct fixture *f = *state;

	payee_on_opened(f->payee, f->now, SESSION, false, &f->sink);
	assert_int_equal(session(f, SESSION)->row.credit_bytes, FREE_BYTES);
	assert_int_equal(f->n_grants, 0); /* tunnel gave it by itself */
	payee_on_usage(f->payee, SESSION, 0, 0, FREE_BYTES - 1, &f->sink);
	assert_int_equal(f->granted, FREE_BYTES); /* it was told less */
	payee_on_usage(f->payee, SESSION, 0, 0, FREE_BYTES, &f->sink);
	assert_int_equal(f->n_grants, 1);
}

static void a_quote_says_what_tickets_must_be(void **state)
{
	struct fixture *f = *state;
	const peer_ledger_Quoted *q;
	amount_t face;

	payee_on_opened(f->payee, f->now, SESSION, false, &f->sink);
	payee_on_usage(f->payee, SESSION, 30, 12, FREE_BYTES, &f->sink);
	q = &quote(f, SESSION, false)->body.quoted;
	assert_int_equal(f->answer.which_body, peer_ledger_Message_quoted_tag);
	assert_memory_equal(q->payee.bytes, f->keys.payee, ADDRESS_SIZE);
	assert_int_equal(value_of_bytes(FACE_BYTES, PRICE, &face), OK);
	assert_true(amount_get(q->face_min.bytes).wei == face.wei);
	assert_true(amount_get(q->face_max.bytes).wei == face.wei * FACE_SPAN);
	assert_int_equal(q->credit_bytes, FREE_BYTES);
	assert_int_equal(q->used_bytes, 42);
	assert_int_equal(q->commit_id, 0);
	/* Twice the same. */
	uint8_t commit[KECCAK_SIZE];
	memcpy(commit, q->commit.bytes, KECCAK_SIZE);
	q = &quote(f, SESSION, false)->body.quoted;
	assert_memory_equal(q->commit.bytes, commit, KECCAK_SIZE);
	/* Another session, another commit. */
	open_quoted(f, SESSION + 1);
	assert_memory_not_equal(f->answer.body.quoted.commit.bytes, commit, KECCAK_SIZE);
}

/* [P-83] */
static void credit_is_the_expected_value_in_bytes(void **state)
{
	struct fixture *f = *state;
	uint64_t credit = FREE_BYTES;

	open_quoted(f, SESSION);
	for (uint64_t seq = 1; seq <= 40; seq++) {
		struct ticket t = right_ticket(f, SESSION, seq);
		uint64_t bytes;

		t.ratio += seq * 12345;
		assert_int_equal(value_bytes(value_expected(t.face, t.ratio), PRICE, &bytes), OK);
		credit += bytes;
		paid(pay(f, SESSION, &t));
		assert_int_equal(f->answer.body.paid.seq, seq);
		assert_int_equal(f->answer.body.paid.credit_bytes, credit);
		assert_int_equal(f->granted, credit);
	}
	assert_int_equal(session(f, SESSION)->row.sums.n_tickets, 40);
	assert_true(f->payee->totals.all.n_wins > 0);
	assert_int_equal(session(f, SESSION)->row.commit_id, f->payee->totals.all.n_wins);
}

static void the_exit_fee_is_charged_to_exits(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	payee_on_opened(f->payee, f->now, SESSION, true, &f->sink);
	refused(quote(f, SESSION, false), R(ROLE));
	assert_int_equal(quote(f, SESSION, true)->which_body, peer_ledger_Message_quoted_tag);
	t = right_ticket(f, SESSION, 1);
	paid(pay(f, SESSION, &t));
	assert_int_equal(session(f, SESSION)->row.price_gwei_per_gib, 2 * PRICE);
	/* A role that becomes known later must be the one that was quoted. */
	open_quoted(f, SESSION + 1);
	t = losing_ticket(f, SESSION + 1, 100);
	paid(pay(f, SESSION + 1, &t));
	payee_on_role(f->payee, SESSION + 1, false, &f->sink);
	t = losing_ticket(f, SESSION + 1, 101);
	paid(pay(f, SESSION + 1, &t));
	payee_on_role(f->payee, SESSION + 1, true, &f->sink);
	t = right_ticket(f, SESSION + 1, 102);
	refused(pay(f, SESSION + 1, &t), R(ROLE));
	/* Once an exit, always charged as one. */
	payee_on_role(f->payee, SESSION + 1, false, &f->sink);
	assert_int_equal(session(f, SESSION + 1)->row.role, PAYEE_EXIT);
}

/* ---- liars ---- */

/* One field of a right ticket is changed; signed all the same. */
static void every_wrong_field_is_refused(void **state)
{
	struct fixture *f = *state;
	amount_t least, most;

	open_quoted(f, SESSION);
	assert_int_equal(value_of_bytes(FACE_BYTES, PRICE, &least), OK);
	most.wei = least.wei * FACE_SPAN;
	const struct ticket right = losing_ticket(f, SESSION, 1);
	const struct {
		const char *what;
		peer_ledger_Reason reason; /* UNSPECIFIED: taken */
		amount_t face;
		uint64_t ratio;
		int64_t expiry;
		uint8_t flip_payee, flip_commit;
		uint64_t seq;
	} table[] = {
		{"payee", R(PAYEE), right.face, right.ratio, WALL + 100, 1, 0, 1},
		{"commit", R(COMMIT), right.face, right.ratio, WALL + 100, 0, 1, 1},
		{"ratio 0", R(RATIO), right.face, 0, WALL + 100, 0, 0, 1},
		{"ratio 1 buys nothing", R(WORTH), right.face, 1, WALL + 100, 0, 0, 1},
		{"face - 1", R(FACE), {least.wei - 1}, right.ratio, WALL + 100, 0, 0, 1},
		{"face", R(UNSPECIFIED), least, right.ratio, WALL + 100, 0, 0, 1},
		{"face + 1", R(UNSPECIFIED), {least.wei + 1}, right.ratio, WALL + 100, 0, 0, 2},
		{"largest face - 1", R(UNSPECIFIED), {most.wei - 1}, right.ratio >> 6, WALL + 100, 0, 0, 3},
		{"largest face", R(UNSPECIFIED), most, right.ratio >> 6, WALL + 100, 0, 0, 4},
		{"largest face + 1", R(FACE), {most.wei + 1}, right.ratio >> 6, WALL + 100, 0, 0, 5},
		{"largest of all", R(FACE), {FACE_MAX_WEI}, 1, WALL + 100, 0, 0, 5},
		{"face 0", R(FACE), {0}, right.ratio, WALL + 100, 0, 0, 5},
		{"expired", R(EXPIRY), right.face, right.ratio, WALL - 1, 0, 0, 5},
		{"expires now", R(EXPIRY), right.face, right.ratio, WALL, 0, 0, 5},
		{"expires next", R(UNSPECIFIED), right.face, right.ratio, WALL + 1, 0, 0, 5},
		{"lives long", R(UNSPECIFIED), right.face, right.ratio,
			WALL + TICKET_LIFE_S + TICKET_SKEW_S, 0, 0, 6},
		{"lives too long", R(EXPIRY), right.face, right.ratio,
			WALL + TICKET_LIFE_S + TICKET_SKEW_S + 1, 0, 0, 7},
		{"lives for ever", R(EXPIRY), right.face, right.ratio, INT64_MAX, 0, 0, 7},
		{"number 0", R(SEQUENCE), right.face, right.ratio, WALL + 100, 0, 0, 0},
		{"number used", R(SEQUENCE), right.face, right.ratio + 1, WALL + 100, 0, 0, 6},
		{"number far ahead", R(UNSPECIFIED), right.face, right.ratio, WALL + 100, 0, 0, 100},
		{"number at the edge", R(UNSPECIFIED), right.face, right.ratio, WALL + 100, 0, 0,
			100 - SEQ_WINDOW + 1},
		{"number behind", R(SEQUENCE), right.face, right.ratio, WALL + 100, 0, 0,
			100 - SEQ_WINDOW},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t before = session(f, SESSION)->row.credit_bytes;
		struct ticket t = losing_ticket(f, SESSION, table[i].seq);
		uint8_t commit[KECCAK_SIZE];

		/* A win on the way turns the commit; this table wants the one in force. */
		memcpy(commit, t.commit, sizeof(commit));
		t.face = table[i].face;
		t.ratio = table[i].ratio;
		t.expiry.s = table[i].expiry;
		t.payee[5] ^= table[i].flip_payee;
		t.commit[5] ^= table[i].flip_commit;
		pay(f, SESSION, &t);
		if (table[i].reason == R(UNSPECIFIED)) {
			if (f->answer.which_body != peer_ledger_Message_paid_tag)
				fail_msg("%s: %s", table[i].what,
					peer_reason_show(f->answer.body.refused.reason));
			assert_true(session(f, SESSION)->row.credit_bytes > before);
			continue;
		}
		if (f->answer.which_body != peer_ledger_Message_refused_tag ||
			f->answer.body.refused.reason != table[i].reason)
			fail_msg("%s: which %d reason %d", table[i].what, f->answer.which_body,
				f->answer.body.refused.reason);
		assert_int_equal(session(f, SESSION)->row.credit_bytes, before);
		assert_int_equal(f->payee->counters.refused[table[i].reason] > 0, 1);
	}
}

/* [P-79] A forged signature changes nothing: not even who the payer is. */
static void forged_signatures(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[TICKET_SIZE];
	struct ticket t;

	open_quoted(f, SESSION);
	t = losing_ticket(f, SESSION, 1);
	assert_int_equal(ticket_sign(&t, &f->payee->domain, f->ctx, payer_sk, wire), OK);
	memset(wire + TICKET_BODY_SIZE, 0xff, 32);
	refused(pay_wire(f, SESSION, wire), R(SIGNATURE));
	memset(wire + TICKET_BODY_SIZE, 0, 64);
	refused(pay_wire(f, SESSION, wire), R(SIGNATURE));
	wire[TICKET_SIZE - 1] = 9;
	refused(pay_wire(f, SESSION, wire), R(MALFORMED));
	assert_false(session(f, SESSION)->row.has_payer);
	assert_int_equal(session(f, SESSION)->account, INDEX_NONE);
	/* Signed for another chain: somebody else's signature here, nobody's money. */
	struct ticket_domain elsewhere;
	static const uint8_t contract[ADDRESS_SIZE] = {1};
	paid(pay(f, SESSION, &t));
	ticket_domain_init(&elsewhere, 1, contract);
	t = losing_ticket(f, SESSION, 2);
	assert_int_equal(ticket_sign(&t, &elsewhere, f->ctx, payer_sk, wire), OK);
	refused(pay_wire(f, SESSION, wire), R(PAYER));
}

/* [P-74] */
static void the_other_s_is_no_second_ticket(void **state)
{
	static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b,
		0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
	struct fixture *f = *state;
	uint8_t wire[TICKET_SIZE], *s = wire + TICKET_BODY_SIZE + 32;
	struct ticket t;
	int borrow = 0;

	open_quoted(f, SESSION);
	t = losing_ticket(f, SESSION, 1);
	assert_int_equal(ticket_sign(&t, &f->payee->domain, f->ctx, payer_sk, wire), OK);
	for (int i = 31; i >= 0; i--) {
		int v = order[i] - s[i] - borrow;

		borrow = v < 0;
		s[i] = (uint8_t)(v + (borrow ? 256 : 0));
	}
	wire[TICKET_SIZE - 1] ^= 1;
	refused(pay_wire(f, SESSION, wire), R(SIGNATURE));
	assert_int_equal(session(f, SESSION)->row.credit_bytes, FREE_BYTES);
}

static void one_payer_key_per_session(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	t = losing_ticket(f, SESSION, 1);
	paid(pay(f, SESSION, &t));
	t = losing_ticket(f, SESSION, 2);
	refused(pay_as(f, SESSION, &t, other_sk), R(PAYER));
	paid(pay(f, SESSION, &t));
}

/* [P-78] A ticket is worth something in one session of one node only. */
static void replays_across_sessions(void **state)
{
	struct fixture *f = *state;
	uint8_t wire[TICKET_SIZE];
	struct ticket t;
	uint64_t credit;

	open_quoted(f, SESSION);
	open_quoted(f, SESSION + 1);
	t = losing_ticket(f, SESSION, 1);
	assert_int_equal(ticket_sign(&t, &f->payee->domain, f->ctx, payer_sk, wire), OK);
	paid(pay_wire(f, SESSION, wire));
	credit = session(f, SESSION)->row.credit_bytes;
	for (int i = 0; i < 3; i++) {
		/* Again in its own: acknowledged, not counted. */
		paid(pay_wire(f, SESSION, wire));
		assert_int_equal(f->answer.body.paid.credit_bytes, credit);
		refused(pay_wire(f, SESSION + 1, wire), R(COMMIT));
	}
	assert_int_equal(session(f, SESSION)->row.credit_bytes, credit);
	assert_int_equal(session(f, SESSION)->row.sums.n_tickets, 1);
	assert_int_equal(f->payee->counters.repeated, 3);
	/* The session ends, another takes its number: not even then. */
	payee_on_closed(f->payee, SESSION, 0, 0);
	flush(f, true);
	assert_null(payee_find(f->payee, SESSION));
	open_quoted(f, SESSION);
	refused(pay_wire(f, SESSION, wire), R(COMMIT));
}

/* [P-80] One payer key in two sessions: its numbers are used once all the same. */
static void numbers_count_across_sessions_of_a_payer(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	open_quoted(f, SESSION + 1);
	t = losing_ticket(f, SESSION, 5);
	paid(pay(f, SESSION, &t));
	t = losing_ticket(f, SESSION + 1, 5);
	refused(pay(f, SESSION + 1, &t), R(SEQUENCE));
	t = losing_ticket(f, SESSION + 1, 6);
	paid(pay(f, SESSION + 1, &t));
	/* And what the store remembers of a payer who was here before. */
	f->has_stored = true;
	assert_int_equal(address_of_key(f->ctx, other_sk, f->stored.payer), OK);
	f->stored.seq_top = 50;
	f->stored.seq_bits = 1;
	open_quoted(f, SESSION + 2);
	t = losing_ticket(f, SESSION + 2, 50);
	refused(pay_as(f, SESSION + 2, &t, other_sk), R(SEQUENCE));
	assert_int_equal(session(f, SESSION + 2)->account, INDEX_NONE); /* a refused one leaves nothing */
	t = losing_ticket(f, SESSION + 2, 51);
	paid(pay_as(f, SESSION + 2, &t, other_sk));
}

/* An account is kept until the day after the last expiry that it was given. */
static void an_account_is_kept_as_long_as_its_tickets_live(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	t = losing_ticket(f, SESSION, 1);
	f->wall.s = t.expiry.s - 1;
	paid(pay(f, SESSION, &t));
	uint16_t at = session(f, SESSION)->account;
	assert_int_equal(f->payee->accounts[at].account.keep_day, t.expiry.s / 86400);
	t = losing_ticket(f, SESSION, 2);
	t.expiry.s = (f->wall.s / 86400 + 1) * 86400; /* the first second of tomorrow */
	f->wall.s = t.expiry.s - 10;
	paid(pay(f, SESSION, &t));
	assert_int_equal(f->payee->accounts[at].account.keep_day, t.expiry.s / 86400);
	t = losing_ticket(f, SESSION, 3);
	t.expiry.s = f->wall.s + 1; /* still today: the later day stays */
	paid(pay(f, SESSION, &t));
	assert_int_equal(f->payee->accounts[at].account.keep_day, f->wall.s / 86400 + 1);
}

static void without_a_quote_nothing_is_taken(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	payee_on_opened(f->payee, f->now, SESSION, false, &f->sink);
	t = (struct ticket){.face = {1}, .ratio = RATIO_CERTAIN, .seq = 1, .expiry = {WALL + 100}};
	refused(pay(f, SESSION, &t), R(SESSION));
	refused(pay(f, 12345, &t), R(SESSION)); /* nobody's session */
	refused(quote(f, 12345, false), R(SESSION));
}

static void garbage_is_refused_and_counted(void **state)
{
	static const uint8_t garbage[] = {0xff, 0xff, 0xff};
	struct fixture *f = *state;
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	open_quoted(f, SESSION);
	payee_on_asked(f->payee, f->now, f->wall, SESSION, 1, garbage, sizeof(garbage), &f->sink);
	refused(&f->answer, R(MALFORMED));
	payee_on_asked(f->payee, f->now, f->wall, SESSION, 1, garbage, 0, &f->sink);
	refused(&f->answer, R(MALFORMED));
	/* Answers are no questions. */
	m.which_body = peer_ledger_Message_paid_tag;
	m.body.paid.commit.size = KECCAK_SIZE;
	refused(ask(f, SESSION, &m), R(MALFORMED));
	/* A ticket of another length. */
	m = (peer_ledger_Message)peer_ledger_Message_init_zero;
	m.which_body = peer_ledger_Message_pay_tag;
	m.body.pay.ticket.size = TICKET_SIZE - 1;
	refused(ask(f, SESSION, &m), R(MALFORMED));
	assert_int_equal(f->payee->counters.refused[R(MALFORMED)], 4);
}

/* ---- bounds ---- */

static void tickets_per_second_are_limited(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	t = right_ticket(f, SESSION, 1);
	t.ratio = 0; /* refused, but after the rate was counted */
	for (int i = 0; i < RATE_BURST; i++)
		refused(pay(f, SESSION, &t), R(RATIO));
	refused(pay(f, SESSION, &t), R(RATE));
	f->now = mono_add(f->now, (dur_t){1000000000u / RATE_PER_S});
	refused(pay(f, SESSION, &t), R(RATIO));
	refused(pay(f, SESSION, &t), R(RATE));
	f->now = mono_add(f->now, DUR_S(100)); /* no more than the burst is saved up */
	for (int i = 0; i < RATE_BURST; i++)
		refused(pay(f, SESSION, &t), R(RATIO));
	refused(pay(f, SESSION, &t), R(RATE));
}

static void no_more_than_64_mib_ahead(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	for (uint64_t seq = 1; seq < 16; seq++) {
		t = winning_ticket(f, SESSION, seq); /* 4 MiB each */
		paid(pay(f, SESSION, &t));
	}
	assert_int_equal(session(f, SESSION)->row.credit_bytes, FREE_BYTES + 15 * FACE_BYTES);
	t = winning_ticket(f, SESSION, 16);
	refused(pay(f, SESSION, &t), R(WORTH)); /* the allowance is in the way */
	payee_on_usage(f->payee, SESSION, FREE_BYTES - 1, 0, 0, &f->sink);
	refused(pay(f, SESSION, &t), R(WORTH));
	payee_on_usage(f->payee, SESSION, FREE_BYTES, 0, 0, &f->sink);
	paid(pay(f, SESSION, &t));
}

/* [P-78] */
static void a_win_turns_the_commit_and_the_old_one_has_its_grace(void **state)
{
	struct fixture *f = *state;
	struct ticket old[GRACE_TICKETS + 2], t;
	uint8_t commit[KECCAK_SIZE];

	open_quoted(f, SESSION);
	for (uint64_t i = 0; i < GRACE_TICKETS + 2; i++)
		old[i] = losing_ticket(f, SESSION, 10 + i);
	memcpy(commit, old[0].commit, KECCAK_SIZE);
	t = winning_ticket(f, SESSION, 1);
	paid(pay(f, SESSION, &t));
	assert_int_equal(f->answer.body.paid.commit_id, 1);
	assert_memory_not_equal(f->answer.body.paid.commit.bytes, commit, KECCAK_SIZE);
	assert_int_equal(session(f, SESSION)->row.sums.n_wins, 1);
	assert_true(session(f, SESSION)->row.sums.won.wei == t.face.wei);
	for (uint64_t i = 0; i < GRACE_TICKETS; i++) /* what was under way */
		paid(pay(f, SESSION, &old[i]));
	refused(pay(f, SESSION, &old[GRACE_TICKETS]), R(COMMIT));
	assert_int_equal(f->answer.body.refused.commit_id, 1); /* sign anew with this one */
	assert_int_equal(f->answer.body.refused.commit.size, KECCAK_SIZE);
	/* The time of grace. */
	t = winning_ticket(f, SESSION, 40);
	old[0] = losing_ticket(f, SESSION, 41);
	old[1] = losing_ticket(f, SESSION, 42);
	paid(pay(f, SESSION, &t));
	f->now = mono_add(f->now, (dur_t){GRACE_LIFE.ns - 1});
	paid(pay(f, SESSION, &old[0]));
	f->now = mono_add(f->now, (dur_t){1});
	refused(pay(f, SESSION, &old[1]), R(COMMIT));
	/* Two generations back is never good. */
	old[0] = losing_ticket(f, SESSION, 50);
	t = winning_ticket(f, SESSION, 51);
	paid(pay(f, SESSION, &t));
	t = winning_ticket(f, SESSION, 52);
	paid(pay(f, SESSION, &t));
	refused(pay(f, SESSION, &old[0]), R(COMMIT));
}

static void an_old_commit_is_replaced_with_the_next_ticket(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	f->now = mono_add(f->now, (dur_t){COMMIT_LIFE.ns - 1});
	t = losing_ticket(f, SESSION, 1);
	paid(pay(f, SESSION, &t));
	assert_int_equal(session(f, SESSION)->row.commit_id, 0);
	f->now = mono_add(f->now, (dur_t){1});
	t = losing_ticket(f, SESSION, 2);
	paid(pay(f, SESSION, &t));
	assert_int_equal(session(f, SESSION)->row.commit_id, 1);
}

/* A claim costs: face and credit must carry it. */
static void the_cost_of_a_claim_is_taken_off(void **state)
{
	struct fixture *f = *state;
	struct settle_terms settle = {.face_min = {1}, .face_min_bytes = FACE_BYTES};
	uint64_t bytes;
	amount_t net;
	struct ticket t;

	assert_int_equal(value_of_bytes(FACE_BYTES, PRICE, &net), OK);
	settle.claim_cost.wei = net.wei / 10;
	payee_begin(f, &settle);
	open_quoted(f, SESSION);
	t = right_ticket(f, SESSION, 1);
	net.wei = t.face.wei - settle.claim_cost.wei;
	assert_int_equal(value_bytes(value_expected(net, t.ratio), PRICE, &bytes), OK);
	paid(pay(f, SESSION, &t));
	assert_int_equal(session(f, SESSION)->row.credit_bytes, FREE_BYTES + bytes);
	/* More than a tenth of the face: refused. */
	settle.claim_cost.wei = t.face.wei / 10 + 1;
	payee_begin(f, &settle);
	open_quoted(f, SESSION);
	t = right_ticket(f, SESSION, 1);
	refused(pay(f, SESSION, &t), R(FACE));
}

static void sessions_are_bounded(void **state)
{
	struct fixture *f = *state;

	for (uint64_t i = 0; i < PAYEE_SESSIONS_MAX; i++)
		payee_on_opened(f->payee, f->now, 1000 + i, false, &f->sink);
	assert_int_equal(f->payee->n_sessions, PAYEE_SESSIONS_MAX);
	assert_int_equal(f->payee->counters.sessions_full, 0);
	payee_on_opened(f->payee, f->now, 1, false, &f->sink);
	assert_int_equal(f->payee->counters.sessions_full, 1);
	assert_null(payee_find(f->payee, 1));
	payee_on_closed(f->payee, 1005, 0, 0);
	payee_on_opened(f->payee, f->now, 1, false, &f->sink);
	assert_non_null(payee_find(f->payee, 1));
	payee_on_complete(f->payee); /* all were listed: all stay */
	assert_int_equal(f->payee->n_sessions, PAYEE_SESSIONS_MAX);
	payee_on_tunnel_restarted(f->payee);
	payee_on_opened(f->payee, f->now, 7, false, &f->sink); /* still full */
	payee_on_complete(f->payee);
	assert_int_equal(f->payee->n_sessions, 0);
}

static void a_batch_is_bounded(void **state)
{
	struct fixture *f = *state;
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	struct terms t = terms_at(f, PRICE, 2 * PRICE);
	uint8_t payload[PEER_MESSAGE_MAX];
	size_t len;

	m.which_body = peer_ledger_Message_quote_tag;
	m.body.quote.terms_hash.size = KECCAK_SIZE;
	terms_hash(&t, m.body.quote.terms_hash.bytes);
	len = peer_encode(&m, payload);
	for (uint64_t i = 0; i < PAYEE_BATCH_MAX + 1; i++) {
		payee_on_opened(f->payee, f->now, 1000 + i, false, &f->sink);
		assert_int_equal(payee_full(f->payee), i == PAYEE_BATCH_MAX);
		payee_on_asked(f->payee, f->now, f->wall, 1000 + i, 1, payload, len, &f->sink);
	}
	refused(&f->answer, R(BUSY));
	assert_int_equal(f->n_answers, 1);
	flush(f, true);
	assert_int_equal(f->n_answers, 1 + PAYEE_BATCH_MAX);
	assert_false(payee_full(f->payee));
}

/* ---- store, then answer ---- */

/* [P-84] */
static void nothing_leaves_before_the_commit(void **state)
{
	struct fixture *f = *state;
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	uint8_t payload[PEER_MESSAGE_MAX];
	struct ticket t;
	size_t len;

	open_quoted(f, SESSION);
	t = winning_ticket(f, SESSION, 1);
	m.which_body = peer_ledger_Message_pay_tag;
	m.body.pay.ticket.size = TICKET_SIZE;
	assert_int_equal(
		ticket_sign(&t, &f->payee->domain, f->ctx, payer_sk, m.body.pay.ticket.bytes), OK);
	len = peer_encode(&m, payload);
	f->n_answers = f->n_grants = 0;
	payee_on_asked(f->payee, f->now, f->wall, SESSION, 1, payload, len, &f->sink);
	assert_int_equal(f->n_answers + f->n_grants, 0);
	assert_int_equal(f->payee->batch.n_claims, 1);
	/* It could not be written: as if it had not come. */
	payee_committed(f->payee, false, &f->sink);
	refused(&f->answer, R(STORAGE));
	assert_int_equal(f->n_grants, 0);
	assert_int_equal(session(f, SESSION)->row.credit_bytes, FREE_BYTES);
	assert_int_equal(session(f, SESSION)->row.commit_id, 0);
	assert_int_equal(session(f, SESSION)->account, INDEX_NONE);
	assert_int_equal(f->payee->totals.all.n_tickets, 0);
	assert_int_equal(f->payee->batch.n_claims, 0);
	/* While it cannot be written, refused at once. */
	f->n_answers = 0;
	payee_on_asked(f->payee, f->now, f->wall, SESSION, 1, payload, len, &f->sink);
	assert_int_equal(f->n_answers, 1);
	refused(&f->answer, R(STORAGE));
	assert_false(payee_staged(f->payee));
	/* Then the same ticket counts, once. */
	payee_storage_back(f->payee);
	payee_on_asked(f->payee, f->now, f->wall, SESSION, 1, payload, len, &f->sink);
	payee_on_asked(f->payee, f->now, f->wall, SESSION, 1, payload, len, &f->sink);
	flush(f, true);
	paid(&f->answer);
	assert_int_equal(session(f, SESSION)->row.credit_bytes, FREE_BYTES + FACE_BYTES);
	assert_int_equal(session(f, SESSION)->row.sums.n_tickets, 1);
	assert_int_equal(f->payee->totals.all.n_wins, 1);
}

static void a_session_is_closed_when_its_row_is_gone(void **state)
{
	struct fixture *f = *state;
	struct ticket t;

	open_quoted(f, SESSION);
	t = losing_ticket(f, SESSION, 1);
	paid(pay(f, SESSION, &t));
	payee_on_closed(f->payee, SESSION, 5, 6);
	refused(pay(f, SESSION, &t), R(SESSION)); /* pay() flushes: it is gone then */
	assert_null(payee_find(f->payee, SESSION));
	assert_int_equal(f->payee->counters.closed_up_bytes, 5);
	assert_int_equal(f->payee->counters.closed_down_bytes, 6);
	/* With a full disk it stays until it can be removed; sums move to the account once. */
	open_quoted(f, SESSION);
	t = losing_ticket(f, SESSION, 2);
	paid(pay(f, SESSION, &t));
	payee_on_closed(f->payee, SESSION, 5, 6);
	flush(f, false);
	assert_non_null(payee_find(f->payee, SESSION));
	flush(f, true); /* still down: nothing is tried */
	assert_non_null(payee_find(f->payee, SESSION));
	payee_storage_back(f->payee);
	flush(f, true);
	assert_null(payee_find(f->payee, SESSION));
	assert_int_equal(f->payee->totals.all.n_tickets, 2);
}

static void a_grant_that_did_not_leave_is_repeated(void **state)
{
	struct fixture *f = *state;

	f->grant_fails = true;
	payee_on_opened(f->payee, f->now, SESSION, false, &f->sink);
	payee_on_usage(f->payee, SESSION, 0, 0, 0, &f->sink);
	assert_true(f->payee->work);
	f->grant_fails = false;
	f->granted = 0;
	payee_tick(f->payee, &f->sink);
	assert_int_equal(f->granted, FREE_BYTES);
	f->granted = 0;
	payee_tick(f->payee, &f->sink);
	assert_int_equal(f->granted, 0);
	payee_grant_all(f->payee, &f->sink);
	assert_int_equal(f->granted, FREE_BYTES);
}

/* ---- free ---- */

/* [P-88] */
static void what_costs_nothing_needs_no_ticket(void **state)
{
	struct fixture *f = *state;
	struct terms free_terms = terms_at(f, 0, 0), half = terms_at(f, 0, PRICE);

	payee_set_terms(f->payee, &half, f->wall, &f->sink);
	payee_on_opened(f->payee, f->now, SESSION, false, &f->sink);
	assert_true(f->granted == CREDIT_UNLIMITED);
	refused(quote_under(f, SESSION, false, &half), R(FREE));
	f->granted = 0;
	payee_on_opened(f->payee, f->now, SESSION + 1, true, &f->sink);
	assert_int_equal(f->granted, 0);
	assert_int_equal(session(f, SESSION + 1)->row.credit_bytes, FREE_BYTES);
	payee_set_terms(f->payee, &free_terms, f->wall, &f->sink);
	payee_on_opened(f->payee, f->now, SESSION + 2, true, &f->sink);
	assert_true(f->granted == CREDIT_UNLIMITED);
	/* It begins to charge: who came while it was free stays so. */
	struct terms t = terms_at(f, PRICE, PRICE);
	payee_on_opened(f->payee, f->now, SESSION + 3, false, &f->sink);
	payee_set_terms(f->payee, &t, f->wall, &f->sink);
	assert_true(session(f, SESSION + 3)->row.credit_bytes == CREDIT_UNLIMITED);
	payee_on_opened(f->payee, f->now, SESSION + 4, false, &f->sink);
	assert_int_equal(session(f, SESSION + 4)->row.credit_bytes, FREE_BYTES);
	/* What tunnel holds for a session that we have no row of is taken over. */
	payee_on_usage(f->payee, SESSION + 4, 1, 1, CREDIT_UNLIMITED, &f->sink);
	assert_true(session(f, SESSION + 4)->row.credit_bytes == CREDIT_UNLIMITED);
}

/* [P-77] */
static void the_terms_of_a_session_stay(void **state)
{
	struct fixture *f = *state;
	struct terms old = terms_at(f, PRICE, 2 * PRICE), dear = terms_at(f, 5 * PRICE, 5 * PRICE);
	struct terms never = terms_at(f, 1, 1);
	struct ticket t;

	open_quoted(f, SESSION);
	refused(quote_under(f, SESSION, false, &never), R(TERMS));
	payee_set_terms(f->payee, &dear, f->wall, &f->sink);
	payee_on_opened(f->payee, f->now, SESSION + 1, false, &f->sink);
	assert_int_equal(quote_under(f, SESSION + 1, false, &old)->which_body, peer_ledger_Message_quoted_tag);
	assert_int_equal(session(f, SESSION + 1)->row.price_gwei_per_gib, PRICE);
	t = losing_ticket(f, SESSION, 1);
	paid(pay(f, SESSION, &t));
	refused(quote_under(f, SESSION, false, &dear), R(TERMS)); /* fixed by its first ticket */
	f->wall.s += 3 * 86400; /* old descriptors have expired */
	assert_int_equal(quote_under(f, SESSION, false, &old)->which_body, peer_ledger_Message_quoted_tag);
	payee_on_opened(f->payee, f->now, SESSION + 2, false, &f->sink);
	refused(quote_under(f, SESSION + 2, false, &old), R(TERMS));
}

static void usage_only_grows(void **state)
{
	struct fixture *f = *state;

	open_quoted(f, SESSION);
	payee_on_usage(f->payee, SESSION, 100, 200, 0, &f->sink);
	payee_on_usage(f->payee, SESSION, 50, 300, 0, &f->sink);
	assert_int_equal(session(f, SESSION)->up_bytes, 100);
	assert_int_equal(session(f, SESSION)->down_bytes, 300);
	payee_on_usage(f->payee, SESSION, UINT64_MAX, 1, 0, &f->sink); /* no sum: ignored */
	assert_int_equal(session(f, SESSION)->up_bytes, 100);
	payee_on_usage(f->payee, 999, 1, 1, 0, &f->sink);
	payee_on_role(f->payee, 999, true, &f->sink);
	payee_on_closed(f->payee, 999, 1, 1);
	assert_int_equal(f->payee->counters.unknown_session, 3);
}

#define TEST(x) cmocka_unit_test_setup_teardown(x, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_session_begins_with_its_allowance),
		TEST(a_quote_says_what_tickets_must_be),
		TEST(credit_is_the_expected_value_in_bytes),
		TEST(the_exit_fee_is_charged_to_exits),
		TEST(every_wrong_field_is_refused),
		TEST(forged_signatures),
		TEST(the_other_s_is_no_second_ticket),
		TEST(one_payer_key_per_session),
		TEST(replays_across_sessions),
		TEST(numbers_count_across_sessions_of_a_payer),
		TEST(an_account_is_kept_as_long_as_its_tickets_live),
		TEST(without_a_quote_nothing_is_taken),
		TEST(garbage_is_refused_and_counted),
		TEST(tickets_per_second_are_limited),
		TEST(no_more_than_64_mib_ahead),
		TEST(a_win_turns_the_commit_and_the_old_one_has_its_grace),
		TEST(an_old_commit_is_replaced_with_the_next_ticket),
		TEST(the_cost_of_a_claim_is_taken_off),
		TEST(sessions_are_bounded),
		TEST(a_batch_is_bounded),
		TEST(nothing_leaves_before_the_commit),
		TEST(a_session_is_closed_when_its_row_is_gone),
		TEST(a_grant_that_did_not_leave_is_repeated),
		TEST(what_costs_nothing_needs_no_ticket),
		TEST(the_terms_of_a_session_stay),
		TEST(usage_only_grows),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
