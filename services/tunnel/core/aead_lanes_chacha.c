/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ChaCha20 (RFC 8439, 2.3), 16 blocks at a time: vector w holds word w of 16 blocks, so a quarter
 * round of all of them is twelve instructions and nothing moves between lanes until the end, when
 * a 16 by 16 transpose makes 1024 bytes of keystream of it. That is all shuffles, for which there
 * is one port of two, so the transpose of a pass is done among the rounds of the next.
 *
 * The blocks may be of any packets under one key: they differ in words 12 (block number), 14 and 15
 * (packet counter), and a lane takes these from its own packet. A train of 1420-byte packets is 24
 * blocks a packet, so two packets fill three passes and none of the work is thrown away. */
#include "aead_lanes.h"

#ifdef __x86_64__

#include <immintrin.h>

#define LANES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define INLINE LANES __attribute__((always_inline)) static inline

typedef __m512i vec;

/* --- which block goes to which lane ----------------------------------------------------------- */
struct lanes_pick {
	vec packet, block;
	uint32_t row; /* lanes taken */
	size_t n_runs;
};

static uint32_t blocks_of(uint32_t len)
{
	return len / LANES_BLOCK + (len % LANES_BLOCK > 0);
}

/* Blocks of one packet to the lanes from p->row on; what the later lanes got is overwritten. */
INLINE void take(struct lanes_pick *p, uint32_t packet, uint32_t block, uint32_t n)
{
	const vec lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	__mmask16 rest = (__mmask16)(0xffffu << p->row);

	p->packet = _mm512_mask_set1_epi32(p->packet, rest, (int)packet);
	p->block = _mm512_mask_add_epi32(
		p->block, rest, lane, _mm512_set1_epi32((int)(block - p->row)));
	p->row += n;
}

INLINE void take_keys(struct lanes_pick *p, struct lanes_walk *w)
{
	p->packet = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	p->row = w->n;
	w->block = 1;
}

INLINE void take_data(struct lanes_pick *p, struct lanes_walk *w, struct lanes_run *runs)
{
	const struct aead_op *op = &w->ops[w->packet];
	uint32_t left = blocks_of(op->len) - (w->block - 1), room = LANES_GROUP - p->row;
	uint32_t n = left < room ? left : room, from = (w->block - 1) * LANES_BLOCK;
	bool ends = n == left;

	if (n > 0) {
		runs[p->n_runs++] = (struct lanes_run){op->buf + from,
			ends ? op->len - from : n * LANES_BLOCK, p->row};
		take(p, w->packet, w->block, n);
	}
	w->block = ends ? 1 : w->block + n;
	w->packet += ends;
}

INLINE void pick(struct lanes_pick *p, struct lanes_walk *w, struct lanes_run *runs)
{
	p->packet = p->block = _mm512_setzero_si512();
	p->row = 0;
	p->n_runs = 0;
	if (w->block == 0)
		take_keys(p, w);
	while (p->row < LANES_GROUP && w->packet < w->n)
		take_data(p, w, runs);
}

/* --- the cipher ------------------------------------------------------------------------------- */
INLINE void quarter(vec *a, vec *b, vec *c, vec *d)
{
	*a = _mm512_add_epi32(*a, *b);
	*d = _mm512_rol_epi32(_mm512_xor_si512(*d, *a), 16);
	*c = _mm512_add_epi32(*c, *d);
	*b = _mm512_rol_epi32(_mm512_xor_si512(*b, *c), 12);
	*a = _mm512_add_epi32(*a, *b);
	*d = _mm512_rol_epi32(_mm512_xor_si512(*d, *a), 8);
	*c = _mm512_add_epi32(*c, *d);
	*b = _mm512_rol_epi32(_mm512_xor_si512(*b, *c), 7);
}

INLINE void double_round(vec x[16])
{
	quarter(&x[0], &x[4], &x[8], &x[12]);
	quarter(&x[1], &x[5], &x[9], &x[13]);
	quarter(&x[2], &x[6], &x[10], &x[14]);
	quarter(&x[3], &x[7], &x[11], &x[15]);
	quarter(&x[0], &x[5], &x[10], &x[15]);
	quarter(&x[1], &x[6], &x[11], &x[12]);
	quarter(&x[2], &x[7], &x[8], &x[13]);
	quarter(&x[3], &x[4], &x[9], &x[14]);
}

/* Four vectors of words, w to w + 3 of each block, become four in whose quarters the four words of
 * one block stand together. */
INLINE void transpose_words(uint8_t *words)
{
	vec a = _mm512_load_si512(words), b = _mm512_load_si512(words + 64),
	    c = _mm512_load_si512(words + 128), d = _mm512_load_si512(words + 192);
	vec ab = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
	vec cd = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

	_mm512_store_si512(words, _mm512_unpacklo_epi64(ab, cd));
	_mm512_store_si512(words + 64, _mm512_unpackhi_epi64(ab, cd));
	_mm512_store_si512(words + 128, _mm512_unpacklo_epi64(ab_high, cd_high));
	_mm512_store_si512(words + 192, _mm512_unpackhi_epi64(ab_high, cd_high));
}

/* The same with quarters: blocks b, b + 4, b + 8 and b + 12 are complete. */
INLINE void transpose_quarters(uint8_t *block, const uint8_t *words)
{
	vec a = _mm512_load_si512(words), b = _mm512_load_si512(words + 256),
	    c = _mm512_load_si512(words + 512), d = _mm512_load_si512(words + 768);
	vec ab = _mm512_shuffle_i32x4(a, b, 0x44), ab_high = _mm512_shuffle_i32x4(a, b, 0xee);
	vec cd = _mm512_shuffle_i32x4(c, d, 0x44), cd_high = _mm512_shuffle_i32x4(c, d, 0xee);

	_mm512_store_si512(block, _mm512_shuffle_i32x4(ab, cd, 0x88));
	_mm512_store_si512(block + 256, _mm512_shuffle_i32x4(ab, cd, 0xdd));
	_mm512_store_si512(block + 512, _mm512_shuffle_i32x4(ab_high, cd_high, 0x88));
	_mm512_store_si512(block + 768, _mm512_shuffle_i32x4(ab_high, cd_high, 0xdd));
}

INLINE void start(vec x[16], const struct lanes_walk *w, const struct aead_key *key,
	const struct lanes_pick *p)
{
	static const uint32_t sigma[4] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};

	for (int i = 0; i < 4; i++)
		x[i] = _mm512_set1_epi32((int)sigma[i]);
	for (int i = 0; i < 8; i++)
		x[4 + i] = _mm512_set1_epi32((int)le32_get(key->secret_key + 4 * i));
	x[12] = p->block;
	x[13] = _mm512_setzero_si512();
	x[14] = _mm512_permutexvar_epi32(p->packet, _mm512_load_si512(w->low));
	x[15] = _mm512_permutexvar_epi32(p->packet, _mm512_load_si512(w->high));
}

LANES size_t lanes_chacha(struct lanes_walk *w, const struct aead_key *key,
	uint8_t words[static LANES_PASS], uint8_t stream[static LANES_PASS],
	struct lanes_run runs[static LANES_GROUP])
{
	struct lanes_pick p;
	vec first[16], x[16];

	pick(&p, w, runs);
	start(first, w, key, &p);
	for (int i = 0; i < 16; i++)
		x[i] = first[i];
	for (int i = 0; i < 4; i++) {
		double_round(x);
		transpose_words(words + 256 * i);
	}
	for (int i = 0; i < 4; i++) {
		double_round(x);
		transpose_quarters(stream + 64 * i, words + 64 * i);
	}
	for (int i = 0; i < 2; i++)
		double_round(x);
	for (int i = 0; i < 16; i++)
		_mm512_store_si512(words + 64 * i, _mm512_add_epi32(x[i], first[i]));
	return p.n_runs;
}

LANES void lanes_chacha_end(uint8_t words[static LANES_PASS], uint8_t stream[static LANES_PASS])
{
	for (int i = 0; i < 4; i++)
		transpose_words(words + 256 * i);
	for (int i = 0; i < 4; i++)
		transpose_quarters(stream + 64 * i, words + 64 * i);
}

/* --- data ------------------------------------------------------------------------------------- */
INLINE void xor_run(uint8_t *at, const uint8_t *stream, uint32_t bytes)
{
	for (; bytes >= LANES_BLOCK; bytes -= LANES_BLOCK) {
		_mm512_storeu_si512(at, _mm512_xor_si512(_mm512_loadu_si512(at),
						_mm512_load_si512(stream)));
		at += LANES_BLOCK;
		stream += LANES_BLOCK;
	}
	if (bytes > 0) {
		__mmask64 m = UINT64_MAX >> (LANES_BLOCK - bytes);

		_mm512_mask_storeu_epi8(at, m, _mm512_xor_si512(_mm512_maskz_loadu_epi8(m, at),
						       _mm512_load_si512(stream)));
	}
}

LANES void lanes_xor(
	const uint8_t stream[static LANES_PASS], const struct lanes_run *runs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		xor_run(runs[i].at, stream + runs[i].row * LANES_BLOCK, runs[i].bytes);
}

bool lanes_can_run(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
	       __builtin_cpu_supports("avx512ifma") && __builtin_cpu_supports("avx512vbmi2");
}

void lanes_walk_init(struct lanes_walk *w, const struct aead_op *ops, size_t n)
{
	w->ops = ops;
	w->n = (uint32_t)n;
	w->packet = w->block = 0;
	for (size_t i = 0; i < LANES_GROUP; i++) {
		uint64_t counter = ops[i < n ? i : 0].counter;

		w->low[i] = (uint32_t)counter;
		w->high[i] = (uint32_t)(counter >> 32);
	}
}

#endif
