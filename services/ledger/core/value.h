/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a ticket is worth, in money and in bytes of traffic. Integers only, every product checked or
 * bounded; rounding is always down, and payer and payee use these same functions, so that both
 * arrive at the same byte. Pure.
 *
 * A ticket of face f and ratio r wins if its 64-bit draw is <= r, that is (r + 1) times in 2^64. Its
 * expected value is floor(f * (r + 1) / 2^64) wei; r = 2^64 - 1 wins always and is worth f. */
#ifndef LEDGER_VALUE_H
#define LEDGER_VALUE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/units.h"

#define RATIO_CERTAIN UINT64_MAX
#define GIB ((uint64_t)1 << 30)

/* Largest face, wei: 2^96 - 1 (7.9e10 whole coins) keeps every product below inside 128 bits. */
#define FACE_MAX_WEI (((unsigned __int128)1 << 96) - 1)
/* Largest price, gwei per GiB: 2^48 (281,475 whole coins per GiB); the same reason. */
#define PRICE_MAX_GWEI ((uint64_t)1 << 48)
/* Longest text of an amount: 39 digits, a point, NUL. */
#define AMOUNT_TEXT_MAX 48

/* floor(face * (ratio + 1) / 2^64); never more than face. */
amount_t value_expected(amount_t face, uint64_t ratio);

/* The smallest ratio whose expected value is at least `expected`. ERR_INVALID if face is zero,
 * over FACE_MAX_WEI, or less than `expected`, or expected is zero. */
NODISCARD enum err value_ratio(amount_t face, amount_t expected, uint64_t *ret_ratio);

/* Bytes that `value` buys at a price per GiB, rounded down. ERR_INVALID if the price is zero or
 * over PRICE_MAX_GWEI; ERR_OVERFLOW if value is over FACE_MAX_WEI or the bytes exceed 64 bits. */
NODISCARD enum err value_bytes(amount_t value, uint64_t price_gwei_per_gib, uint64_t *ret_bytes);

/* The smallest value that buys `bytes`. ERR_INVALID: as above. ERR_OVERFLOW: over FACE_MAX_WEI. */
NODISCARD enum err value_of_bytes(
	uint64_t bytes, uint64_t price_gwei_per_gib, amount_t *ret_value);

/* Big-endian, 16 bytes. */
void amount_put(uint8_t p[static 16], amount_t a);
amount_t amount_get(const uint8_t p[static 16]);

/* Decimal wei, and decimal gwei with up to nine places, no trailing zeros. Return buf. */
const char *amount_show_wei(amount_t a, char buf[static AMOUNT_TEXT_MAX]);
const char *amount_show_gwei(amount_t a, char buf[static AMOUNT_TEXT_MAX]);
/* Decimal wei, digits only, at most 128 bits. ERR_MALFORMED. */
NODISCARD enum err amount_parse_wei(const char *s, amount_t *ret_a);

#endif
