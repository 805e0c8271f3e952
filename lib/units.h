/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Quantities that must not be mixed up: instants, durations, money. Pure. */
#ifndef LIB_UNITS_H
#define LIB_UNITS_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

/* A monotonic instant, nanoseconds since an arbitrary origin. 0 means never/unset. */
typedef struct {
	uint64_t ns;
} mono_t;

/* A duration in nanoseconds. */
typedef struct {
	uint64_t ns;
} dur_t;

/* Wall-clock time, seconds since 1970-01-01 UTC. Only for what crosses nodes (expiry dates). */
typedef struct {
	int64_t s;
} wall_t;

#define DUR_US(n) ((dur_t){(uint64_t)(n) * 1000u})
#define DUR_MS(n) ((dur_t){(uint64_t)(n) * 1000000u})
#define DUR_S(n) ((dur_t){(uint64_t)(n) * 1000000000u})

#define MONO_NEVER ((mono_t){UINT64_MAX})

static inline mono_t mono_add(mono_t t, dur_t d)
{
	return (mono_t){t.ns > UINT64_MAX - d.ns ? UINT64_MAX : t.ns + d.ns};
}

/* b - a, 0 if b is before a. */
static inline dur_t mono_since(mono_t a, mono_t b)
{
	return (dur_t){b.ns > a.ns ? b.ns - a.ns : 0};
}

static inline bool mono_reached(mono_t deadline, mono_t now)
{
	return now.ns >= deadline.ns;
}

static inline mono_t mono_min(mono_t a, mono_t b)
{
	return a.ns < b.ns ? a : b;
}

/* Money in the smallest unit of the chain (wei); never negative, never floating. */
typedef struct {
	unsigned __int128 wei;
} amount_t;

#define AMOUNT_ZERO ((amount_t){0})
/* Prices travel in nano-coins (1e9 wei, "gwei"). */
#define AMOUNT_GWEI(n) ((amount_t){(unsigned __int128)(n) * 1000000000u})

NODISCARD static inline enum err amount_add(amount_t *a, amount_t b)
{
	return __builtin_add_overflow(a->wei, b.wei, &a->wei) ? ERR_OVERFLOW : OK;
}

NODISCARD static inline enum err amount_sub(amount_t *a, amount_t b)
{
	return __builtin_sub_overflow(a->wei, b.wei, &a->wei) ? ERR_OVERFLOW : OK;
}

NODISCARD static inline enum err amount_mul(amount_t *a, uint64_t n)
{
	return __builtin_mul_overflow(a->wei, (unsigned __int128)n, &a->wei) ? ERR_OVERFLOW : OK;
}

static inline int amount_cmp(amount_t a, amount_t b)
{
	return a.wei < b.wei ? -1 : a.wei > b.wei;
}

#endif
