/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/hash.h"

/* Expected values: RFC 7693 appendix B; the rest by Python's hashlib and hmac. */

static void hash_of_abc(void **state)
{
	uint8_t h[HASH_SIZE];

	(void)state;
	hash_of(h, "a", 1, "bc", 2);
	assert_memory_equal(h,
		"\x50\x8c\x5e\x8c\x32\x7c\x14\xe2\xe1\xa7\x2b\xa3\x4e\xeb\x45\x2f"
		"\x37\x45\x8b\x20\x9e\xd6\x3a\x29\x4d\x99\x9b\x4c\x86\x67\x59\x82",
		32);
	hash_of(h, "abc", 3, NULL, 0);
	assert_int_equal(h[0], 0x50);
}

static void mac_keyed(void **state)
{
	uint8_t key[32], m[HASH_MAC_SIZE];

	(void)state;
	for (uint8_t i = 0; i < 32; i++)
		key[i] = i;
	hash_mac(m, key, 32, "data", 4);
	assert_memory_equal(
		m, "\x64\xc1\xd1\x21\x3d\x2b\xdf\x38\x61\x4a\xde\xad\x8f\x49\x8a\xb1", 16);
	hash_mac(m, key, 16, "data", 4);
	assert_memory_equal(
		m, "\xc7\x50\x02\x25\x18\xb8\xa9\x40\xa3\xfd\x4e\xf3\xdb\x7b\x38\xc6", 16);
}

static void hmac_and_kdf(void **state)
{
	uint8_t key[32], t1[32], t2[32], t3[32];

	(void)state;
	for (uint8_t i = 0; i < 32; i++)
		key[i] = i;
	hash_hmac(t1, key, "da", 2, "ta", 2);
	assert_memory_equal(t1,
		"\x45\xd0\x4c\xa1\x2c\xc4\x4a\xde\x40\xf4\x7b\xbd\xd8\xaf\xb9\x03"
		"\x80\x9f\x54\x95\xb3\xfa\x3b\x35\x76\xc9\x35\x88\xfb\xa3\x14\xce",
		32);
	hash_kdf(t1, t2, t3, key, "input", 5);
	assert_memory_equal(t1,
		"\x87\xb7\xf7\x0b\x24\x18\x3c\x6d\xb5\xdc\x4f\x6d\x9f\x4c\x47\xcd"
		"\xb2\x03\x32\x1a\xa2\xa0\xbe\xf7\x14\x89\x6a\xdb\x31\x07\xa0\x40",
		32);
	assert_memory_equal(t2,
		"\x53\x8a\x02\xe1\xeb\x2e\x31\xb7\xe4\xd4\xb8\x24\x76\xd1\xfe\x2a"
		"\xcf\x50\x08\x5d\x3f\xb5\x84\x53\x72\x79\x19\x5f\x5d\x1f\x58\x24",
		32);
	assert_memory_equal(t3,
		"\x9a\xd8\x58\x02\x55\x93\xbe\x88\xde\x0f\x94\x42\xa5\x89\xcf\xe8"
		"\x4a\x88\xdc\x19\xe4\x75\x3d\x93\x68\x4d\x1c\x5e\xfc\x48\x37\xf9",
		32);
	hash_kdf(key, NULL, NULL, key, "input", 5); /* in place */
	assert_memory_equal(key, t1, 32);
}

static void tai64n_grows_and_whitens(void **state)
{
	uint8_t a[TAI64N_SIZE], b[TAI64N_SIZE];

	(void)state;
	tai64n_put(a, 1500000000u * (uint64_t)1000000000);
	assert_memory_equal(a, "\x40\0\0\0\x59\x68\x2f\x0a\0\0\0\0", TAI64N_SIZE);
	tai64n_put(b, 1500000000u * (uint64_t)1000000000 + (1 << 24) - 1);
	assert_memory_equal(a, b, TAI64N_SIZE);
	tai64n_put(b, 1500000000u * (uint64_t)1000000000 + (1 << 24));
	assert_true(memcmp(a, b, TAI64N_SIZE) < 0);
	tai64n_put(a, 1500000000u * (uint64_t)1000000000 + 999999999);
	tai64n_put(b, 1500000001u * (uint64_t)1000000000);
	assert_true(memcmp(a, b, TAI64N_SIZE) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_of_abc),
		cmocka_unit_test(mac_keyed),
		cmocka_unit_test(hmac_and_kdf),
		cmocka_unit_test(tai64n_grows_and_whitens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
