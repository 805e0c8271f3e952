/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "keccak.h"

#include <string.h>

#include "lib/bytes.h"

#define LANES 25
#define ROUNDS 24
#define RATE 136 /* bytes: 1600 bits less twice 256 */

static uint64_t rotl(uint64_t v, unsigned int n)
{
	return n == 0 ? v : v << n | v >> (64 - n);
}

static const uint64_t round_constants[ROUNDS] = {0x0000000000000001, 0x0000000000008082,
	0x800000000000808a, 0x8000000080008000, 0x000000000000808b, 0x0000000080000001,
	0x8000000080008081, 0x8000000000008009, 0x000000000000008a, 0x0000000000000088,
	0x0000000080008009, 0x000000008000000a, 0x000000008000808b, 0x800000000000008b,
	0x8000000000008089, 0x8000000000008003, 0x8000000000008002, 0x8000000000000080,
	0x000000000000800a, 0x800000008000000a, 0x8000000080008081, 0x8000000000008080,
	0x0000000080000001, 0x8000000080008008};

/* Rotation of lane x + 5y. */
static const uint8_t offsets[LANES] = {0, 1, 62, 28, 27, 36, 44, 6, 55, 20, 3, 10, 43, 25, 39, 41,
	45, 15, 21, 8, 18, 2, 61, 56, 14};

static void theta(uint64_t a[static LANES])
{
	uint64_t c[5];

	for (int x = 0; x < 5; x++)
		c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
	for (int i = 0; i < LANES; i++)
		a[i] ^= c[(i + 4) % 5] ^ rotl(c[(i + 1) % 5], 1);
}

/* Rho and pi together: lane (x, y) goes, rotated, to (y, 2x + 3y). Then chi. */
static void rho_pi_chi(uint64_t a[static LANES])
{
	uint64_t b[LANES];

	for (int x = 0; x < 5; x++)
		for (int y = 0; y < 5; y++)
			b[y + 5 * ((2 * x + 3 * y) % 5)] = rotl(a[x + 5 * y], offsets[x + 5 * y]);
	for (int y = 0; y < LANES; y += 5)
		for (int x = 0; x < 5; x++)
			a[x + y] = b[x + y] ^ (~b[(x + 1) % 5 + y] & b[(x + 2) % 5 + y]);
}

static void permute(uint64_t a[static LANES])
{
	for (int r = 0; r < ROUNDS; r++) {
		theta(a);
		rho_pi_chi(a);
		a[0] ^= round_constants[r];
	}
}

static void absorb(uint64_t a[static LANES], const uint8_t block[static RATE])
{
	for (int i = 0; i < RATE / 8; i++)
		a[i] ^= le64_get(block + 8 * i);
	permute(a);
}

void keccak256(const uint8_t *data, size_t len, uint8_t ret_hash[static KECCAK_SIZE])
{
	uint64_t a[LANES] = {0};
	uint8_t last[RATE] = {0};

	for (; len >= RATE; len -= RATE, data += RATE)
		absorb(a, data);
	if (len > 0)
		memcpy(last, data, len);
	last[len] = 0x01;
	last[RATE - 1] |= 0x80;
	absorb(a, last);
	for (int i = 0; i < KECCAK_SIZE / 8; i++)
		le64_put(ret_hash + 8 * i, a[i]);
}
