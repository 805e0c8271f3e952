/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Poly1305 (RFC 8439, 2.5), 8 packets at a time, each in its own lane of 64 bits.
 *
 * A number modulo p = 2^130 - 5 is three limbs of 44, 44 and 42 bits (weights 2^0, 2^44, 2^88), for
 * the instruction that multiplies 52-bit numbers and adds the low or the high half of the product.
 * What overflows limb 2 comes back times 5; a product of weight 2^132 or 2^176 is 4 * 5 times one
 * of weight 2^0 or 2^44, so beside the limbs of a factor stand 20 times limbs 1 and 2.
 *
 * Four blocks make a step, with powers of r and only one reduction:
 *     h = (h + m1) r^4 + m2 r^3 + m3 r^2 + m4 r
 * The blocks of a packet (those of data, one of the lengths) are aligned at their END: all lanes
 * finish in the same step whatever their lengths, and the last block is the last of a step. A
 * shorter packet begins later; before that its lane has blocks that are zero, without the bit 2^128
 * that ends a block, and h stays zero. So lengths decide which bytes are loaded (masks, from
 * lengths that an observer knows anyway), and nothing else branches.
 *
 * Bounds: limbs of r and h are below 2^45, 20 times limbs below 2^50, each half product below 2^52;
 * a step adds twelve to an accumulator: below 2^56. */
#include "aead_lanes.h"

#ifdef __x86_64__

#include <immintrin.h>

#define LANES __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vbmi2")))
#define INLINE LANES __attribute__((always_inline)) static inline

typedef __m512i vec;

#define STEP 4 /* blocks */
#define BLOCK 16
#define STEP_BYTES (STEP * BLOCK)

struct number {
	vec limb[3];
};

/* The limbs, and 20 times limbs 1 and 2. */
struct factor {
	vec r0, r1, r2, s1, s2;
};

struct product {
	vec low[3], high[3];
};

INLINE vec times_5(vec a)
{
	return _mm512_add_epi64(a, _mm512_slli_epi64(a, 2));
}

INLINE struct factor factor_of(struct number a)
{
	return (struct factor){a.limb[0], a.limb[1], a.limb[2],
		_mm512_slli_epi64(times_5(a.limb[1]), 2), _mm512_slli_epi64(times_5(a.limb[2]), 2)};
}

INLINE void factor_put(uint64_t at[5][LANES_MACS], struct factor f)
{
	_mm512_store_si512(at[0], f.r0);
	_mm512_store_si512(at[1], f.r1);
	_mm512_store_si512(at[2], f.r2);
	_mm512_store_si512(at[3], f.s1);
	_mm512_store_si512(at[4], f.s2);
}

INLINE struct factor factor_get(uint64_t at[5][LANES_MACS])
{
	return (struct factor){_mm512_load_si512(at[0]), _mm512_load_si512(at[1]),
		_mm512_load_si512(at[2]), _mm512_load_si512(at[3]), _mm512_load_si512(at[4])};
}

INLINE void add_halves(vec *low, vec *high, vec a, vec b)
{
	*low = _mm512_madd52lo_epu64(*low, a, b);
	*high = _mm512_madd52hi_epu64(*high, a, b);
}

/* p += a f */
INLINE void multiply_add(struct product *p, struct number a, struct factor f)
{
	add_halves(&p->low[0], &p->high[0], a.limb[0], f.r0);
	add_halves(&p->low[1], &p->high[1], a.limb[0], f.r1);
	add_halves(&p->low[2], &p->high[2], a.limb[0], f.r2);
	add_halves(&p->low[0], &p->high[0], a.limb[1], f.s2);
	add_halves(&p->low[1], &p->high[1], a.limb[1], f.r0);
	add_halves(&p->low[2], &p->high[2], a.limb[1], f.r1);
	add_halves(&p->low[0], &p->high[0], a.limb[2], f.s1);
	add_halves(&p->low[1], &p->high[1], a.limb[2], f.s2);
	add_halves(&p->low[2], &p->high[2], a.limb[2], f.r0);
}

INLINE vec low_bits(vec a, int n)
{
	return _mm512_and_si512(a, _mm512_set1_epi64((int64_t)((1ull << n) - 1)));
}

/* A high half has weight 2^52, which is 2^8 of the next limb, 2^10 where the limb has 42 bits.
 * Afterwards limb 1 may be one bit longer than 44, which the bounds allow. */
INLINE struct number reduce(struct product p)
{
	vec carry = _mm512_add_epi64(
		_mm512_slli_epi64(p.high[0], 8), _mm512_srli_epi64(p.low[0], 44));
	vec a0 = low_bits(p.low[0], 44), a1 = _mm512_add_epi64(p.low[1], carry), a2;

	carry = _mm512_add_epi64(_mm512_slli_epi64(p.high[1], 8), _mm512_srli_epi64(a1, 44));
	a1 = low_bits(a1, 44);
	a2 = _mm512_add_epi64(p.low[2], carry);
	carry = _mm512_add_epi64(_mm512_slli_epi64(p.high[2], 10), _mm512_srli_epi64(a2, 42));
	a2 = low_bits(a2, 42);
	a0 = _mm512_add_epi64(a0, times_5(carry));
	a1 = _mm512_add_epi64(a1, _mm512_srli_epi64(a0, 44));
	return (struct number){{low_bits(a0, 44), a1, a2}};
}

INLINE struct product nothing(void)
{
	vec z = _mm512_setzero_si512();

	return (struct product){{z, z, z}, {z, z, z}};
}

INLINE struct number zero(void)
{
	vec z = _mm512_setzero_si512();

	return (struct number){{z, z, z}};
}

INLINE struct number multiply(struct number a, struct factor f)
{
	struct product p = nothing();

	multiply_add(&p, a, f);
	return reduce(p);
}

/* 128 bits and what stands above them, already at its place in limb 2. */
INLINE struct number number_of(vec low, vec high, vec above)
{
	return (struct number){{low_bits(low, 44), low_bits(_mm512_shrdi_epi64(low, high, 44), 44),
		_mm512_or_si512(_mm512_srli_epi64(high, 24), above)}};
}

/* Rows of 64 bytes, one a lane, to vectors of their words, in three stages of shuffles: in place,
 * over distances of 1, 2 and 4 vectors. */
INLINE void transpose_1(vec x[8])
{
	for (int i = 0; i < 8; i += 2) {
		vec a = x[i], b = x[i + 1];

		x[i] = _mm512_unpacklo_epi64(a, b);
		x[i + 1] = _mm512_unpackhi_epi64(a, b);
	}
}

INLINE void transpose_2(vec x[8])
{
	for (int i = 0; i < 8; i += i % 2 == 0 ? 1 : 3) {
		vec a = x[i], b = x[i + 2];

		x[i] = _mm512_shuffle_i64x2(a, b, 0x88);
		x[i + 2] = _mm512_shuffle_i64x2(a, b, 0xdd);
	}
}

INLINE void transpose_3(vec x[8])
{
	for (int i = 0; i < 4; i++) {
		vec a = x[i], b = x[i + 4];

		x[i] = _mm512_shuffle_i64x2(a, b, 0x88);
		x[i + 4] = _mm512_shuffle_i64x2(a, b, 0xdd);
	}
}

INLINE void transpose(vec x[8])
{
	transpose_1(x);
	transpose_2(x);
	transpose_3(x);
}

/* --- keys and tags ---------------------------------------------------------------------------- */
struct sum { /* what is added last: 128 bits */
	vec low, high;
};

/* Powers 1 to 4 of the clamped r, and s. */
INLINE struct sum key_load(uint64_t powers[4][5][LANES_MACS], const uint8_t *keys, size_t n)
{
	const vec clamp_low = _mm512_set1_epi64(0x0ffffffc0fffffff),
		  clamp_high = _mm512_set1_epi64(0x0ffffffc0ffffffc);
	struct number r, square;
	vec x[8];

	for (size_t i = 0; i < LANES_MACS; i++)
		x[i] = _mm512_load_si512(keys + (i < n ? i : 0) * 64);
	transpose(x);
	r = number_of(_mm512_and_si512(x[0], clamp_low), _mm512_and_si512(x[1], clamp_high),
		_mm512_setzero_si512());
	factor_put(powers[0], factor_of(r));
	square = multiply(r, factor_of(r));
	factor_put(powers[1], factor_of(square));
	factor_put(powers[2], factor_of(multiply(square, factor_of(r))));
	factor_put(powers[3], factor_of(multiply(square, factor_of(square))));
	return (struct sum){x[2], x[3]};
}

INLINE struct number carried(struct number h)
{
	vec a1 = _mm512_add_epi64(h.limb[1], _mm512_srli_epi64(h.limb[0], 44)),
	    a2 = _mm512_add_epi64(h.limb[2], _mm512_srli_epi64(a1, 44));

	return (struct number){{low_bits(h.limb[0], 44), low_bits(a1, 44), a2}};
}

/* The one number below p that h is equal to: what is beyond 130 bits comes back, then p goes off
 * if h + 5 reaches 2^130. */
INLINE struct number smallest(struct number h)
{
	struct number less;
	__mmask8 reaches;

	h = carried(h);
	for (int i = 0; i < 2; i++) {
		h.limb[0] = _mm512_add_epi64(
			h.limb[0], times_5(_mm512_srli_epi64(h.limb[2], 42)));
		h.limb[2] = low_bits(h.limb[2], 42);
		h = carried(h);
	}
	less = h;
	less.limb[0] = _mm512_add_epi64(less.limb[0], _mm512_set1_epi64(5));
	less = carried(less);
	reaches = _mm512_test_epi64_mask(less.limb[2], _mm512_set1_epi64(1ll << 42));
	for (int i = 0; i < 3; i++)
		h.limb[i] = _mm512_mask_mov_epi64(h.limb[i], reaches, less.limb[i]);
	return h;
}

/* Modulo 2^128: bits 128 and above of limb 2 are shifted out. */
INLINE void tags_put(uint8_t ret[LANES_MACS][AEAD_TAG_SIZE], struct number h, struct sum s)
{
	vec low, high, a, b;

	h = smallest(h);
	low = _mm512_or_si512(h.limb[0], _mm512_slli_epi64(h.limb[1], 44));
	high = _mm512_or_si512(_mm512_srli_epi64(h.limb[1], 20), _mm512_slli_epi64(h.limb[2], 24));
	low = _mm512_add_epi64(low, s.low);
	high = _mm512_add_epi64(high, s.high);
	high = _mm512_mask_add_epi64(high, _mm512_cmplt_epu64_mask(low, s.low), high,
		_mm512_set1_epi64(1));
	a = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11), high);
	b = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15), high);
	_mm512_storeu_si512(ret, a);
	_mm512_storeu_si512(ret + 4, b);
}

/* --- blocks ----------------------------------------------------------------------------------- */
/* Eight packets. Windows of 64 bytes move over them, one a step. at: where that of step 0 is, which
 * may be before the packet: a number, as no pointer may be there. */
struct lanes {
	uintptr_t at[LANES_MACS];
	alignas(64) int64_t before[LANES_MACS]; /* bytes from there to the packet */
	alignas(64) int64_t len[LANES_MACS];
	alignas(64) uint64_t masks[LANES_MACS];
	uint32_t first_full; /* in this step and after it, but for the last, windows are full */
};

static uint32_t blocks_of(uint32_t len)
{
	return len / BLOCK + (len % BLOCK > 0);
}

uint32_t lanes_poly_steps(const struct aead_op *ops, size_t n)
{
	uint32_t most = 0;

	for (size_t i = 0; i < n; i++)
		most = ops[i].len > most ? ops[i].len : most;
	return blocks_of(most) / STEP + 1; /* with the block of the lengths */
}

/* Lanes without a packet repeat the first. */
static void lanes_init(struct lanes *l, const struct aead_op *ops, size_t n, uint32_t steps)
{
	int64_t most_before = 0;

	for (size_t i = 0; i < LANES_MACS; i++) {
		const struct aead_op *op = &ops[i < n ? i : 0];

		l->before[i] = (int64_t)steps * STEP_BYTES -
			       (int64_t)(blocks_of(op->len) + 1) * BLOCK;
		l->at[i] = (uintptr_t)op->buf - (uintptr_t)l->before[i];
		l->len[i] = op->len;
		most_before = l->before[i] > most_before ? l->before[i] : most_before;
	}
	l->first_full = (uint32_t)((most_before + STEP_BYTES - 1) / STEP_BYTES);
}

INLINE const void *window(const struct lanes *l, size_t i, uint32_t s)
{
	return (const void *)(l->at[i] + (uintptr_t)s * STEP_BYTES);
}

/* Which bytes of each window are its packet's, and which of its blocks are there (above: 2^128).
 * A shift by 64 or more leaves nothing, as it must. */
INLINE void masks_of(struct lanes *l, uint32_t s, vec above[STEP])
{
	const vec all = _mm512_set1_epi64(-1), none = _mm512_setzero_si512();
	vec from = _mm512_sub_epi64(
		_mm512_set1_epi64((int64_t)s * STEP_BYTES), _mm512_load_si512(l->before));
	vec left = _mm512_sub_epi64(_mm512_load_si512(l->len), from);
	vec behind = _mm512_max_epi64(
		_mm512_sub_epi64(_mm512_set1_epi64(STEP_BYTES), left), none);
	vec before = _mm512_max_epi64(_mm512_sub_epi64(none, from), none);

	_mm512_store_si512(l->masks, _mm512_and_si512(_mm512_srlv_epi64(all, behind),
					     _mm512_sllv_epi64(all, before)));
	for (int k = 0; k < STEP; k++)
		above[k] = _mm512_maskz_set1_epi64(
			_mm512_cmpge_epi64_mask(from, _mm512_set1_epi64(-k * BLOCK)), 1ll << 40);
}

/* What a step takes, one window a lane. */
struct windows {
	vec x[8], above[STEP];
};

/* Still to be transposed. */
INLINE void load(struct lanes *l, uint32_t s, bool last, struct windows *w)
{
	if (s >= l->first_full && !last) {
		for (size_t i = 0; i < LANES_MACS; i++)
			w->x[i] = _mm512_loadu_si512(window(l, i, s));
		for (int k = 0; k < STEP; k++)
			w->above[k] = _mm512_set1_epi64(1ll << 40);
	} else {
		masks_of(l, s, w->above);
		for (size_t i = 0; i < LANES_MACS; i++)
			w->x[i] = _mm512_maskz_loadu_epi8(l->masks[i], window(l, i, s));
	}
}

/* h comes last: all before it can be computed while the step before is reduced. Between the
 * products stand the shuffles of the windows that come next, for the port that they all need. */
INLINE void step(struct number *h, uint64_t powers[4][5][LANES_MACS], const struct windows *w,
	struct windows *next)
{
	const vec *x = w->x;
	struct product p = nothing();
	struct number m = number_of(x[0], x[1], w->above[0]);

	multiply_add(&p, number_of(x[2], x[3], w->above[1]), factor_get(powers[2]));
	transpose_1(next->x);
	multiply_add(&p, number_of(x[4], x[5], w->above[2]), factor_get(powers[1]));
	transpose_2(next->x);
	multiply_add(&p, number_of(x[6], x[7], w->above[3]), factor_get(powers[0]));
	transpose_3(next->x);
	for (int i = 0; i < 3; i++)
		m.limb[i] = _mm512_add_epi64(m.limb[i], h->limb[i]);
	multiply_add(&p, m, factor_get(powers[3]));
	*h = reduce(p);
}

/* Eight packets on their way. */
struct sum_of_eight {
	struct lanes l;
	struct number h;
	struct sum last;
	uint64_t (*powers)[5][LANES_MACS];
};

INLINE void begin(struct sum_of_eight *e, const struct aead_op *ops, size_t n, const uint8_t *keys,
	uint64_t powers[4][5][LANES_MACS], uint32_t steps)
{
	lanes_init(&e->l, ops, n, steps);
	e->h = zero();
	e->powers = powers;
	e->last = key_load(powers, keys, n);
}

/* Step s of e, while `next` is made ready for the step that f does in its turn, if it has one. */
INLINE void turn(struct sum_of_eight *e, uint32_t s, uint32_t steps, struct windows *now,
	struct sum_of_eight *f, uint32_t s_next, struct windows *next)
{
	if (s + 1 == steps)
		now->x[7] = _mm512_load_si512(e->l.len);
	if (s_next < steps)
		load(&f->l, s_next, s_next + 1 == steps, next);
	step(&e->h, e->powers, now, next);
}

INLINE void run_one(struct sum_of_eight *e, uint32_t steps)
{
	struct windows now, next;

	load(&e->l, 0, steps == 1, &now);
	next = now;
	transpose(now.x);
	for (uint32_t s = 0; s < steps; s++) {
		turn(e, s, steps, &now, e, s + 1, &next);
		now = next;
	}
}

/* Two in turn wait less for themselves. */
INLINE void run_two(struct sum_of_eight *e, struct sum_of_eight *f, uint32_t steps)
{
	struct windows now, next;

	load(&e->l, 0, steps == 1, &now);
	next = now;
	transpose(now.x);
	for (uint32_t s = 0; s < steps; s++) {
		turn(e, s, steps, &now, f, s, &next);
		turn(f, s, steps, &next, e, s + 1, &now);
	}
}

LANES void lanes_poly(const struct aead_op *ops, size_t n, const uint8_t *keys,
	struct lanes_scratch *scratch, uint8_t ret_tags[static LANES_GROUP][AEAD_TAG_SIZE])
{
	const uint32_t steps = lanes_poly_steps(ops, n);
	struct sum_of_eight e, f;

	begin(&e, ops, n, keys, scratch->powers_key[0], steps);
	if (n > LANES_MACS) {
		begin(&f, ops + LANES_MACS, n - LANES_MACS, keys + LANES_MACS * 64,
			scratch->powers_key[1], steps);
		run_two(&e, &f, steps);
		tags_put(ret_tags + LANES_MACS, f.h, f.last);
	} else {
		run_one(&e, steps);
	}
	tags_put(ret_tags, e.h, e.last);
}

#endif
