/* SPDX-License-Identifier: GPL-2.0-or-later */
/* ChaCha20-Poly1305 for transport packets (RFC 8439; nonce: 4 zero bytes, then the packet counter
 * in little-endian; no associated data), in place, in batches, behind one table of back ends.
 *
 * Back ends: "lanes" (AVX-512 IFMA; several packets side by side, small batches to a library),
 * "ipsec-mb" (AVX-512, AVX2), "openssl" (libcrypto), "sodium" (portable; the reference).
 * aead_choose() checks each back end that this machine can run against libsodium, measures the
 * right ones for about 2 ms each, and takes the fastest. What it found is in the report, so that
 * the caller can say it.
 *
 * A struct aead belongs to one thread: the libraries keep scratch state in it. Keys are plain 32
 * bytes and belong to nobody: any number of keys, any struct aead. */
#ifndef TUNNEL_AEAD_H
#define TUNNEL_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/units.h"

#define AEAD_KEY_SIZE 32
#define AEAD_TAG_SIZE 16
/* Batches of more than this bring nothing; n of a call is not limited. */
#define AEAD_BATCH 64

struct aead_key {
	uint8_t secret_key[AEAD_KEY_SIZE];
};

/* One packet. Seal: buf holds len bytes of plaintext and has room for len + 16. Open: buf holds
 * len bytes of ciphertext followed by 16 of tag, len does not count the tag. */
struct aead_op {
	uint8_t *buf;
	uint32_t len;
	bool ok; /* open: set by the call; buf is garbage when false */
	uint64_t counter;
};

struct aead_backend {
	const char *name;
	/* Bytes of caller's memory (64-byte aligned) for the state; 0: cannot run on this machine.
	 */
	size_t (*state_size)(void);
	NODISCARD enum err (*init)(void *state);
	void (*done)(void *state);
	void (*seal)(void *state, const struct aead_key *key, struct aead_op *ops, size_t n);
	void (*open)(void *state, const struct aead_key *key, struct aead_op *ops, size_t n);
};

#define AEAD_BACKENDS_MAX 4
extern const struct aead_backend *const aead_backends[AEAD_BACKENDS_MAX]; /* NULL ends it early */

struct aead {
	const struct aead_backend *backend;
	void *state;
};

/* What aead_choose found, in the order of aead_backends. */
struct aead_report {
	size_t n;
	struct aead_finding {
		const char *name;
		bool available;
		bool right; /* agreed with libsodium on random batches */
		/* Per packet, seal and open averaged; 0: not measured. */
		uint32_t ns_1420; /* in batches of 16 */
		uint32_t ns_64;	  /* alone */
	} findings[AEAD_BACKENDS_MAX];
};

/* By name; NULL if there is none such. */
const struct aead_backend *aead_backend_find(const char *name);

/* Checks and measures with `clock` (any monotonic nanoseconds), using `seed` for the test data, or
 * only checks if `name` is not NULL and takes that back end. Allocates scratch memory through
 * alloc/release (64-byte aligned, as aligned_alloc and free). Call once per process, then
 * aead_init per thread. ERR_NOT_FOUND: no back end of that name, or it cannot run here;
 * ERR_DENIED: it computes wrongly. */
NODISCARD enum err aead_choose(const char *name, const uint8_t seed[static 32],
	uint64_t (*clock)(void), void *(*alloc)(size_t align, size_t size), void (*release)(void *),
	const struct aead_backend **ret_backend, struct aead_report *ret_report);

/* mem: backend->state_size() bytes, aligned to 64. Borrows mem until aead_done. ERR_UNAVAILABLE. */
NODISCARD enum err aead_init(struct aead *a, const struct aead_backend *backend, void *mem);
void aead_done(struct aead *a);

static inline void aead_seal(
	struct aead *a, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	a->backend->seal(a->state, key, ops, n);
}

static inline void aead_open(
	struct aead *a, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	a->backend->open(a->state, key, ops, n);
}

#endif
