/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accounts (ticket numbers, sums), terms, and the index of sessions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "lib/rng.h"
#include "services/ledger/core/account.h"
#include "services/ledger/core/index.h"
#include "services/ledger/core/terms.h"
#include "services/ledger/core/value.h"
#include "tests/vectors/ledger_tickets.h"

static const uint8_t seed[32] = "account";

/* [P-80] */
static void numbers_at_the_edges_of_the_window(void **state)
{
	struct account a = {0};

	(void)state;
	assert_int_equal(account_seq_fit(&a, 0), SEQ_BEHIND);
	assert_int_equal(account_seq_fit(&a, 1), SEQ_NEW);
	account_seq_take(&a, 1);
	assert_int_equal(account_seq_fit(&a, 1), SEQ_TAKEN);
	account_seq_take(&a, 100);
	assert_int_equal(account_seq_fit(&a, 100), SEQ_TAKEN);
	assert_int_equal(account_seq_fit(&a, 99), SEQ_NEW);
	assert_int_equal(account_seq_fit(&a, 100 - SEQ_WINDOW + 1), SEQ_NEW);
	assert_int_equal(account_seq_fit(&a, 100 - SEQ_WINDOW), SEQ_BEHIND);
	assert_int_equal(account_seq_fit(&a, 1), SEQ_BEHIND);
	account_seq_take(&a, 100 - SEQ_WINDOW + 1);
	assert_int_equal(account_seq_fit(&a, 100 - SEQ_WINDOW + 1), SEQ_TAKEN);
	assert_int_equal(account_seq_fit(&a, 100), SEQ_TAKEN);
	account_seq_take(&a, 163); /* the window moves by 63: 100 is its last */
	assert_int_equal(account_seq_fit(&a, 100), SEQ_TAKEN);
	assert_int_equal(account_seq_fit(&a, 99), SEQ_BEHIND);
	account_seq_take(&a, 227); /* by 64 */
	assert_int_equal(account_seq_fit(&a, 164), SEQ_NEW);
	assert_int_equal(account_seq_fit(&a, 163), SEQ_BEHIND);
	account_seq_take(&a, UINT64_MAX);
	assert_int_equal(account_seq_fit(&a, UINT64_MAX), SEQ_TAKEN);
	assert_int_equal(account_seq_fit(&a, UINT64_MAX - 1), SEQ_NEW);
}

/* Against a set that forgets nothing: no number is ever taken twice. */
static void no_number_twice(void **state)
{
	static uint8_t taken[4096];
	struct account a = {0};
	struct rng r;

	(void)state;
	rng_init(&r, seed);
	memset(taken, 0, sizeof(taken));
	for (int i = 0; i < 100000; i++) {
		uint64_t top = a.seq_top > 100 ? a.seq_top - 100 : 0;
		uint64_t seq = top + rng_below(&r, 110);

		if (seq >= sizeof(taken))
			break;
		enum seq_fit fit = account_seq_fit(&a, seq);
		if (seq > 0 && seq + SEQ_WINDOW > a.seq_top)
			assert_int_equal(fit, taken[seq] ? SEQ_TAKEN : SEQ_NEW);
		else
			assert_int_equal(fit, SEQ_BEHIND);
		if (fit == SEQ_NEW) {
			account_seq_take(&a, seq);
			taken[seq] = 1;
		}
	}
}

static void sums_check_overflow(void **state)
{
	struct sums max = {UINT64_MAX, {(unsigned __int128)-1}, UINT64_MAX, {(unsigned __int128)-1}};
	const struct sums ones[] = {{.n_tickets = 1}, {.expected = {1}}, {.n_wins = 1}, {.won = {1}}};

	(void)state;
	for (int i = 0; i < 4; i++) {
		struct sums s = max;

		assert_int_equal(sums_add(&s, &ones[i]), ERR_OVERFLOW);
		assert_true(sums_eq(&s, &max));
		s = (struct sums){0};
		assert_int_equal(sums_add(&s, &ones[i]), OK);
		assert_true(sums_eq(&s, &ones[i]));
		assert_false(sums_eq(&s, &ones[(i + 1) % 4]));
	}
}

static void terms_hash_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(terms_vectors) / sizeof(terms_vectors[0]); i++) {
		const struct terms_vector *v = &terms_vectors[i];
		struct terms t = {.chain_id = (uint32_t)v->chain_id,
			.price_gwei_per_gib = {v->entry, v->middle, v->exit},
			.free_bytes = v->free};
		uint8_t hash[32];
		char hex[65];

		sodium_hex2bin(t.payee, 20, v->payee, 40, NULL, NULL, NULL);
		terms_hash(&t, hash);
		assert_string_equal(sodium_bin2hex(hex, sizeof(hex), hash, 32), v->hash);
	}
}

static struct terms at_price(uint64_t price)
{
	return (struct terms){.price_gwei_per_gib = {price, price, price + 1}};
}

static void old_terms_are_honoured_to_the_end_of_the_next_day(void **state)
{
	struct terms_book b = {0};
	struct terms t = at_price(10), u = at_price(20);
	uint8_t hash[32];

	(void)state;
	terms_hash(&t, hash);
	assert_true(terms_set(&b, &t, 100));
	assert_false(terms_set(&b, &t, 101)); /* nothing new */
	assert_true(terms_set(&b, &u, 101));
	assert_non_null(terms_find(&b, hash, 101));
	assert_non_null(terms_find(&b, hash, 102));
	assert_null(terms_find(&b, hash, 103));
	/* Back in force: no end, and only once in the book. */
	assert_true(terms_set(&b, &t, 101));
	assert_non_null(terms_find(&b, hash, 1000));
	assert_int_equal(b.n_kept, 2);
}

static void the_book_is_bounded(void **state)
{
	struct terms_book b = {0};

	(void)state;
	for (uint64_t i = 1; i <= 3 * TERMS_KEPT; i++) {
		struct terms t = at_price(i);

		assert_true(terms_set(&b, &t, 5));
		assert_in_range(b.n_kept, 1, TERMS_KEPT);
	}
	assert_int_equal(b.n_kept, TERMS_KEPT);
	struct terms t = at_price(99);
	assert_true(terms_set(&b, &t, 7)); /* all others ended on day 6 */
	assert_int_equal(b.n_kept, 1 + 1); /* and the one that was in force until now */
}

/* [P-76] */
static void entry_and_middle_cost_the_higher_of_both(void **state)
{
	struct terms_book b = {0};
	struct terms t = {.price_gwei_per_gib = {3, 7, 2}};

	(void)state;
	assert_int_equal(terms_price(&t, false), 7);
	assert_int_equal(terms_price(&t, true), 2);
	assert_true(terms_set(&b, &t, 1));
	assert_int_equal(b.kept[0].terms.price_gwei_per_gib[HOP_ENTRY], 7);
	assert_int_equal(b.kept[0].terms.price_gwei_per_gib[HOP_MIDDLE], 7);
	assert_false(terms_free(&t));
	t = (struct terms){.price_gwei_per_gib = {0, 0, 1}};
	assert_false(terms_free(&t));
	t = (struct terms){0};
	assert_true(terms_free(&t));
	t.price_gwei_per_gib[HOP_EXIT] = PRICE_MAX_GWEI;
	assert_int_equal(terms_check(&t), OK);
	t.price_gwei_per_gib[HOP_EXIT]++;
	assert_int_equal(terms_check(&t), ERR_INVALID);
}

/* Colliding keys, removals in any order, against a plain array. */
static void index_finds_what_is_in_it(void **state)
{
	static struct index x;
	static uint64_t keys[INDEX_ROWS_MAX];
	static uint8_t in[INDEX_ROWS_MAX];
	struct rng r;
	unsigned int n = 0;

	(void)state;
	rng_init(&r, seed);
	index_init(&x);
	for (int i = 0; i < INDEX_ROWS_MAX; i++)
		keys[i] = (uint64_t)i << 32 | rng_below(&r, 64); /* 64 homes for all */
	for (int step = 0; step < 20000; step++) {
		uint16_t i = (uint16_t)rng_below(&r, 300);

		assert_int_equal(index_find(&x, keys[i]), in[i] ? i : INDEX_NONE);
		if (in[i])
			index_remove(&x, keys[i]);
		else
			index_add(&x, keys[i], i);
		in[i] = !in[i];
		n += in[i] ? 1 : 0;
	}
	assert_true(n > 1000);
	for (uint16_t i = 0; i < 300; i++)
		assert_int_equal(index_find(&x, keys[i]), in[i] ? i : INDEX_NONE);
	index_remove(&x, 12345); /* absent: nothing */
	for (uint16_t i = 300; i < INDEX_ROWS_MAX; i++)
		index_add(&x, keys[i], i);
	for (uint16_t i = 300; i < INDEX_ROWS_MAX; i++)
		assert_int_equal(index_find(&x, keys[i]), i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_at_the_edges_of_the_window),
		cmocka_unit_test(no_number_twice),
		cmocka_unit_test(sums_check_overflow),
		cmocka_unit_test(terms_hash_vectors),
		cmocka_unit_test(old_terms_are_honoured_to_the_end_of_the_next_day),
		cmocka_unit_test(the_book_is_bounded),
		cmocka_unit_test(entry_and_middle_cost_the_higher_of_both),
		cmocka_unit_test(index_finds_what_is_in_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
