/* SPDX-License-Identifier: GPL-2.0-or-later */
/* BLAKE2s in the forms that WireGuard uses (RFC 7693; paper section 5.4): hash, keyed MAC, HMAC,
 * HKDF; and TAI64N labels. Pure. */
#ifndef TUNNEL_HASH_H
#define TUNNEL_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_SIZE 32
#define HASH_MAC_SIZE 16
#define TAI64N_SIZE 12

/* HASH(a || b). b may be NULL when b_len is 0. ret may be a or b. */
void hash_of(
	uint8_t ret[static HASH_SIZE], const void *a, size_t a_len, const void *b, size_t b_len);

/* MAC(key, data): BLAKE2s keyed, 16 bytes out; key_len 1..32. */
void hash_mac(uint8_t ret[static HASH_MAC_SIZE], const void *key, size_t key_len, const void *data,
	size_t len);

/* HMAC(key, a || b) over BLAKE2s-256, 32-byte keys. */
void hash_hmac(uint8_t ret[static HASH_SIZE], const uint8_t key[static HASH_SIZE], const void *a,
	size_t a_len, const void *b, size_t b_len);

/* KDF1..3(key, input): the outputs that are not NULL, in order (t2 needs t1, t3 needs t2). An
 * output may be the key itself. */
void hash_kdf(uint8_t *ret_t1, uint8_t *ret_t2, uint8_t *ret_t3,
	const uint8_t key[static HASH_SIZE], const void *input, size_t len);

/* Label of a wall-clock instant, nanoseconds since 1970 UTC, cut down to about 17 ms (2^24 ns) so
 * that it tells nothing about the caller's clock beyond that. */
void tai64n_put(uint8_t ret[static TAI64N_SIZE], uint64_t wall_ns);

#endif
