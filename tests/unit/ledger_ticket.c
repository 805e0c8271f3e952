/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/ledger/core/keys.h"
#include "services/ledger/core/ticket.h"
#include "services/ledger/core/value.h"
#include "tests/vectors/ledger_tickets.h"

#define N(a) (sizeof(a) / sizeof((a)[0]))

static secp256k1_context *ctx;

static void hex(const char *text, uint8_t *out, size_t len)
{
	size_t n;

	assert_int_equal(sodium_hex2bin(out, len, text, strlen(text), NULL, &n, NULL), 0);
	assert_int_equal(n, len);
}

static struct ticket ticket_of(const struct ticket_vector *v, struct ticket_domain *d)
{
	uint8_t contract[ADDRESS_SIZE], face[16];
	struct ticket t;

	hex(v->contract, contract, sizeof(contract));
	ticket_domain_init(d, v->chain_id, contract);
	hex(v->payee, t.payee, sizeof(t.payee));
	hex(v->face, face, sizeof(face));
	t.face = amount_get(face);
	t.ratio = v->ratio;
	t.seq = v->seq;
	t.expiry.s = (int64_t)v->expiry;
	hex(v->salt, t.salt, sizeof(t.salt));
	hex(v->commit, t.commit, sizeof(t.commit));
	return t;
}

/* [P-71] [P-72] Digest, signature and wire form byte for byte as another implementation makes them. */
static void same_as_ethers(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(ticket_vectors); i++) {
		const struct ticket_vector *v = &ticket_vectors[i];
		uint8_t sk[32], digest[32], wire[TICKET_SIZE], expected[TICKET_SIZE], who[20], payer[20];
		struct ticket_domain d;
		struct ticket t = ticket_of(v, &d), back;

		hex(v->sk, sk, sizeof(sk));
		hex(v->payer, payer, sizeof(payer));
		ticket_digest(&t, &d, digest);
		hex(v->digest, expected, 32);
		assert_memory_equal(digest, expected, 32);
		assert_int_equal(ticket_sign(&t, &d, ctx, sk, wire), OK);
		hex(v->wire, expected, TICKET_SIZE);
		assert_memory_equal(wire, expected, TICKET_SIZE);
		assert_int_equal(ticket_recover(wire, digest, who), OK);
		assert_memory_equal(who, payer, 20);
		assert_int_equal(address_of_key(ctx, sk, who), OK);
		assert_memory_equal(who, payer, 20);
		assert_int_equal(ticket_decode(wire, sizeof(wire), &back), OK);
		ticket_encode_body(&back, wire);
		assert_memory_equal(wire, expected, TICKET_SIZE);
	}
}

/* [P-73] The draw is at most the ratio exactly from its own value on. */
static void draw_at_its_bound(void **state)
{
	(void)state;
	for (size_t i = 0; i < N(ticket_vectors); i++) {
		const struct ticket_vector *v = &ticket_vectors[i];
		uint8_t reveal[32], digest[32];

		hex(v->reveal, reveal, 32);
		hex(v->digest, digest, 32);
		assert_false(ticket_wins(v->draw - 1, reveal, digest));
		assert_true(ticket_wins(v->draw, reveal, digest));
		assert_true(ticket_wins(v->draw + 1, reveal, digest));
		assert_true(ticket_wins(RATIO_CERTAIN, reveal, digest));
		assert_false(ticket_wins(0, reveal, digest));
	}
}

static const uint8_t some_sk[32] = {[31] = 5};

static void some_ticket(uint8_t wire[TICKET_SIZE], uint8_t digest[32])
{
	static const uint8_t contract[ADDRESS_SIZE];
	struct ticket t = {.face = {1000}, .ratio = 9, .seq = 1, .expiry = {100}};
	struct ticket_domain d;

	ticket_domain_init(&d, 0, contract);
	ticket_digest(&t, &d, digest);
	assert_int_equal(ticket_sign(&t, &d, ctx, some_sk, wire), OK);
}

static void any_changed_bit_changes_the_signer(void **state)
{
	static const uint8_t contract[ADDRESS_SIZE];
	uint8_t wire[TICKET_SIZE], digest[32], payer[20], who[20];
	struct ticket_domain d;

	(void)state;
	ticket_domain_init(&d, 0, contract);
	some_ticket(wire, digest);
	assert_int_equal(ticket_recover(wire, digest, payer), OK);
	for (size_t bit = 0; bit < 8 * TICKET_SIZE; bit++) {
		struct ticket t;

		wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (ticket_decode(wire, sizeof(wire), &t) == OK) {
			ticket_digest(&t, &d, digest);
			if (ticket_recover(wire, digest, who) == OK)
				assert_memory_not_equal(who, payer, 20);
		}
		wire[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

/* [P-74] The other s of the same signature: n - s with the parity turned. */
static void high_s_is_refused(void **state)
{
	static const uint8_t order[32] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b,
		0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41};
	uint8_t wire[TICKET_SIZE], digest[32], who[20], *s = wire + TICKET_BODY_SIZE + 32;
	int borrow = 0;

	(void)state;
	some_ticket(wire, digest);
	assert_int_equal(ticket_recover(wire, digest, who), OK);
	for (int i = 31; i >= 0; i--) {
		int v = order[i] - s[i] - borrow;

		borrow = v < 0;
		s[i] = (uint8_t)(v + (borrow ? 256 : 0));
	}
	wire[TICKET_SIZE - 1] ^= 1;
	assert_int_equal(ticket_recover(wire, digest, who), ERR_DENIED);
}

static void bad_signatures_are_refused(void **state)
{
	uint8_t wire[TICKET_SIZE], digest[32], who[20];

	(void)state;
	some_ticket(wire, digest);
	memset(wire + TICKET_BODY_SIZE, 0, 64); /* r = s = 0 */
	assert_int_equal(ticket_recover(wire, digest, who), ERR_DENIED);
	memset(wire + TICKET_BODY_SIZE, 0xff, 32); /* r over the order */
	assert_int_equal(ticket_recover(wire, digest, who), ERR_DENIED);
	some_ticket(wire, digest);
	wire[TICKET_SIZE - 1] = 2;
	assert_int_equal(ticket_recover(wire, digest, who), ERR_DENIED);
}

static void form(void **state)
{
	uint8_t wire[TICKET_SIZE + 1] = {0};
	struct ticket t;

	(void)state;
	assert_int_equal(ticket_decode(wire, TICKET_SIZE - 1, &t), ERR_MALFORMED);
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), OK);
	assert_int_equal(ticket_decode(wire, TICKET_SIZE + 1, &t), ERR_MALFORMED);
	assert_int_equal(ticket_decode(wire, 0, &t), ERR_MALFORMED);
	wire[TICKET_SIZE - 1] = 1;
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), OK);
	wire[TICKET_SIZE - 1] = 2;
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), ERR_MALFORMED);
	wire[TICKET_SIZE - 1] = 0;
	memset(wire + 24, 0xff, 12); /* face: 2^96 - 1 */
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), OK);
	wire[23] = 1; /* 2^96 and more */
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), ERR_MALFORMED);
	wire[23] = 0;
	wire[52] = 0x80; /* expiry: negative */
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), ERR_MALFORMED);
	wire[52] = 0x7f;
	assert_int_equal(ticket_decode(wire, TICKET_SIZE, &t), OK);
}

static void unfit_tickets_are_not_signed(void **state)
{
	static const uint8_t contract[ADDRESS_SIZE], zero_sk[32];
	uint8_t wire[TICKET_SIZE];
	struct ticket t = {.face = {FACE_MAX_WEI}};
	struct ticket_domain d;

	(void)state;
	ticket_domain_init(&d, 0, contract);
	assert_int_equal(ticket_sign(&t, &d, ctx, some_sk, wire), OK);
	assert_int_equal(ticket_sign(&t, &d, ctx, zero_sk, wire), ERR_INVALID);
	t.face.wei++;
	assert_int_equal(ticket_sign(&t, &d, ctx, some_sk, wire), ERR_INVALID);
	t.face.wei = 1;
	t.expiry.s = -1;
	assert_int_equal(ticket_sign(&t, &d, ctx, some_sk, wire), ERR_INVALID);
}

/* [P-75] Another chain or contract is another domain. */
static void domains_differ(void **state)
{
	uint8_t a[ADDRESS_SIZE] = {0}, b[ADDRESS_SIZE] = {1};
	struct ticket_domain x, y, z;

	(void)state;
	ticket_domain_init(&x, 0, a);
	ticket_domain_init(&y, 1, a);
	ticket_domain_init(&z, 0, b);
	assert_memory_not_equal(&x, &y, sizeof(x));
	assert_memory_not_equal(&x, &z, sizeof(x));
	assert_memory_not_equal(&y, &z, sizeof(x));
}

static void keys_are_apart(void **state)
{
	struct keys k, other;
	uint8_t wallet[32] = {[31] = 1}, a[32], b[32], zero[32] = {0};

	(void)state;
	assert_int_equal(keys_init(&k, ctx, zero), ERR_INVALID);
	assert_int_equal(keys_init(&k, ctx, wallet), OK);
	/* The address of key 1 is known to everybody. */
	static const uint8_t known[20] = {0x7e, 0x5f, 0x45, 0x52, 0x09, 0x1a, 0x69, 0x12, 0x5d, 0x5d,
		0xfc, 0xb7, 0xb8, 0xc2, 0x65, 0x90, 0x29, 0x39, 0x5b, 0xdf};
	assert_memory_equal(k.payee, known, 20);
	keys_payer(&k, ctx, 0, 0, a);
	keys_payer(&k, ctx, 1, 0, b);
	assert_memory_not_equal(a, b, 32);
	keys_payer(&k, ctx, 0, 1, b);
	assert_memory_not_equal(a, b, 32);
	keys_payer(&k, ctx, 0, 0, b);
	assert_memory_equal(a, b, 32);
	keys_reveal(&k, 1, 2, 3, a);
	keys_reveal(&k, 1, 2, 4, b);
	assert_memory_not_equal(a, b, 32);
	keys_reveal(&k, 1, 3, 3, b);
	assert_memory_not_equal(a, b, 32);
	keys_reveal(&k, 2, 2, 3, b);
	assert_memory_not_equal(a, b, 32);
	wallet[31] = 2;
	assert_int_equal(keys_init(&other, ctx, wallet), OK);
	keys_reveal(&other, 1, 2, 3, b);
	assert_memory_not_equal(a, b, 32);
	keys_done(&k);
	assert_true(sodium_is_zero((const uint8_t *)&k, sizeof(k)));
}

static int begin(void **state)
{
	(void)state;
	ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	return ctx == NULL;
}

static int end(void **state)
{
	(void)state;
	secp256k1_context_destroy(ctx);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_as_ethers),
		cmocka_unit_test(draw_at_its_bound),
		cmocka_unit_test(any_changed_bit_changes_the_signer),
		cmocka_unit_test(high_s_is_refused),
		cmocka_unit_test(bad_signatures_are_refused),
		cmocka_unit_test(form),
		cmocka_unit_test(unfit_tickets_are_not_signed),
		cmocka_unit_test(domains_differ),
		cmocka_unit_test(keys_are_apart),
	};
	return cmocka_run_group_tests(tests, begin, end);
}
