/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "value.h"

#include <string.h>

#include "lib/bytes.h"

#define WEI_PER_GWEI 1000000000u

amount_t value_expected(amount_t face, uint64_t ratio)
{
	if (ratio == RATIO_CERTAIN)
		return face;
	uint64_t times = ratio + 1;
	uint64_t high = (uint64_t)(face.wei >> 64), low = (uint64_t)face.wei;
	unsigned __int128 v = (unsigned __int128)low * times >> 64;

	/* No overflow: the sum is at most face. */
	return (amount_t){v + (unsigned __int128)high * times};
}

/* floor(num * 2^64 / den) for num < den <= FACE_MAX_WEI: long division, bit by bit. */
static uint64_t quotient64(unsigned __int128 num, unsigned __int128 den, bool *ret_exact)
{
	uint64_t q = 0;

	for (int i = 0; i < 64; i++) {
		num <<= 1;
		q <<= 1;
		if (num >= den) {
			num -= den;
			q |= 1;
		}
	}
	*ret_exact = num == 0;
	return q;
}

enum err value_ratio(amount_t face, amount_t expected, uint64_t *ret_ratio)
{
	bool exact;

	if (face.wei == 0 || face.wei > FACE_MAX_WEI || expected.wei == 0 ||
		expected.wei > face.wei)
		return ERR_INVALID;
	if (expected.wei == face.wei) {
		*ret_ratio = RATIO_CERTAIN;
		return OK;
	}
	/* Smallest t with face * t >= expected * 2^64 is ratio + 1. */
	uint64_t t = quotient64(expected.wei, face.wei, &exact);
	*ret_ratio = exact ? t - 1 : t;
	return OK;
}

static bool price_ok(uint64_t price)
{
	return price > 0 && price <= PRICE_MAX_GWEI;
}

enum err value_bytes(amount_t value, uint64_t price, uint64_t *ret_bytes)
{
	if (!price_ok(price))
		return ERR_INVALID;
	if (value.wei > FACE_MAX_WEI)
		return ERR_OVERFLOW;
	unsigned __int128 bytes = value.wei * GIB / AMOUNT_GWEI(price).wei;
	if (bytes > UINT64_MAX)
		return ERR_OVERFLOW;
	*ret_bytes = (uint64_t)bytes;
	return OK;
}

enum err value_of_bytes(uint64_t bytes, uint64_t price, amount_t *ret_value)
{
	amount_t v = {bytes};

	if (!price_ok(price))
		return ERR_INVALID;
	TRY(amount_mul(&v, price));
	TRY(amount_mul(&v, WEI_PER_GWEI));
	v.wei = v.wei / GIB + (v.wei % GIB != 0);
	if (v.wei > FACE_MAX_WEI)
		return ERR_OVERFLOW;
	*ret_value = v;
	return OK;
}

void amount_put(uint8_t p[static 16], amount_t a)
{
	be64_put(p, (uint64_t)(a.wei >> 64));
	be64_put(p + 8, (uint64_t)a.wei);
}

amount_t amount_get(const uint8_t p[static 16])
{
	return (amount_t){(unsigned __int128)be64_get(p) << 64 | be64_get(p + 8)};
}

/* Decimal digits of v, at least min_digits; returns how many. */
static size_t digits_put(unsigned __int128 v, size_t min_digits, char *out)
{
	char reversed[40];
	size_t n = 0;

	do
		reversed[n++] = (char)('0' + (int)(v % 10));
	while ((v /= 10) > 0 || n < min_digits);
	for (size_t i = 0; i < n; i++)
		out[i] = reversed[n - 1 - i];
	return n;
}

const char *amount_show_wei(amount_t a, char buf[static AMOUNT_TEXT_MAX])
{
	buf[digits_put(a.wei, 1, buf)] = '\0';
	return buf;
}

const char *amount_show_gwei(amount_t a, char buf[static AMOUNT_TEXT_MAX])
{
	size_t n = digits_put(a.wei / WEI_PER_GWEI, 1, buf);
	unsigned __int128 rest = a.wei % WEI_PER_GWEI;

	if (rest > 0) {
		buf[n++] = '.';
		n += digits_put(rest, 9, buf + n);
		while (buf[n - 1] == '0')
			n--;
	}
	buf[n] = '\0';
	return buf;
}

enum err amount_parse_wei(const char *s, amount_t *ret_a)
{
	amount_t a = AMOUNT_ZERO;

	if (*s == '\0')
		return ERR_MALFORMED;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9' || amount_mul(&a, 10) != OK ||
			amount_add(&a, (amount_t){(unsigned __int128)(*s - '0')}) != OK)
			return ERR_MALFORMED;
	}
	*ret_a = a;
	return OK;
}
