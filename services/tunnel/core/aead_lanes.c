/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A batch of packets under one key, computed side by side in the lanes of AVX-512 vectors: what no
 * library offers, as their interfaces take one packet. docs/adr/0007-aead-lanes.md says why.
 *
 * In groups of up to 16 packets: one pass of ChaCha20 makes the Poly1305 keys of all (and first
 * blocks of keystream where fewer than 16 leave lanes free), further passes the keystream, 16
 * blocks of whatever packets each; Poly1305 takes the packets of a group eight to a vector, while
 * their ciphertext is in the first cache.
 *
 * What is not worth it (few packets, or one long among short ones) goes to the best library that is
 * here, whose state lies behind ours. Only the number and the lengths of packets decide it.
 *
 * Constant time: no branch and no address depends on keys, keystream or data; tags are compared in
 * two words. What is derived of a key lies in the state, and is wiped when the call ends; what the
 * compiler spills from registers is wiped with the key pair (session_keypair_drop). */
#include "aead_lanes.h"

#ifdef __x86_64__

#include <sodium.h>

struct lanes_state {
	struct lanes_scratch scratch;
	const struct aead_backend *library;
	alignas(64) uint8_t library_state[];
};

/* The fastest first. */
static const struct aead_backend *const libraries[] = {&aead_ipsec_mb, &aead_openssl, &aead_sodium};
#define N_LIBRARIES (sizeof(libraries) / sizeof(libraries[0]))

static size_t state_size(void)
{
	size_t most = 0;

	for (size_t i = 0; i < N_LIBRARIES; i++) {
		size_t size = libraries[i]->state_size();

		most = size > most ? size : most;
	}
	return sizeof(struct lanes_state) + most;
}

static enum err init(void *state)
{
	struct lanes_state *s = state;

	if (!lanes_can_run())
		return ERR_UNAVAILABLE;
	memset(&s->scratch, 0, sizeof(s->scratch));
	for (size_t i = 0; i < N_LIBRARIES; i++) {
		s->library = libraries[i];
		if (s->library->state_size() > 0 && s->library->init(s->library_state) == OK)
			return OK;
	}
	return ERR_UNAVAILABLE;
}

static void done(void *state)
{
	struct lanes_state *s = state;

	s->library->done(s->library_state);
	sodium_memzero(&s->scratch, sizeof(s->scratch));
}

/* --- worth it? -------------------------------------------------------------------------------- */
/* Nanoseconds, measured on a Xeon of 2023 at 2.9 GHz; only their proportions count. */
#define COST_PASS 205 /* 16 blocks of ChaCha20 */
#define COST_VECTOR 150 /* Poly1305 of up to 8 packets: keys, powers, tags */
#define COST_STEP 36 /* four blocks of each */
#define COST_STEP_PARTLY 20 /* more, as long as the shortest has not begun */
#define COST_LIBRARY_PACKET 130
#define COST_LIBRARY_BLOCK 18 /* 64 bytes */

static uint64_t cost_lanes(const struct aead_op *ops, size_t n)
{
	uint64_t blocks = n, vectors = (n + LANES_MACS - 1) / LANES_MACS;
	uint64_t steps = lanes_poly_steps(ops, n), least = steps;

	for (size_t i = 0; i < n; i++) {
		uint64_t own = lanes_poly_steps(&ops[i], 1);

		blocks += (ops[i].len + LANES_BLOCK - 1) / LANES_BLOCK;
		least = own < least ? own : least;
	}
	return (blocks + LANES_GROUP - 1) / LANES_GROUP * COST_PASS +
	       vectors * (COST_VECTOR + steps * COST_STEP + (steps - least) * COST_STEP_PARTLY);
}

static uint64_t cost_library(const struct aead_op *ops, size_t n)
{
	uint64_t cost = 0;

	for (size_t i = 0; i < n; i++)
		cost += COST_LIBRARY_PACKET + (uint64_t)ops[i].len / LANES_BLOCK * COST_LIBRARY_BLOCK;
	return cost;
}

static bool worth_it(const struct aead_op *ops, size_t n)
{
	return n > 1 && cost_lanes(ops, n) < cost_library(ops, n);
}

/* --- a group ---------------------------------------------------------------------------------- */
/* The keystream of a pass, and where it goes. */
struct pass {
	struct lanes_run runs[LANES_GROUP];
	size_t n_runs;
};

/* The first pass: keys of all, into macs_key, and what keystream found a free lane. */
static void keys_make(struct lanes_scratch *s, struct lanes_walk *w, const struct aead_key *key,
	struct pass *ret_first)
{
	ret_first->n_runs = lanes_chacha(w, key, s->words_key, s->stream_key, ret_first->runs);
	lanes_chacha_end(s->words_key, s->macs_key);
}

/* The others; each pass puts the keystream of the one before in order. */
static void crypt(struct lanes_scratch *s, struct lanes_walk *w, const struct aead_key *key,
	const struct pass *first)
{
	struct pass passes[2];
	unsigned int now = 0;

	lanes_xor(s->macs_key, first->runs, first->n_runs);
	if (w->packet >= w->n)
		return;
	passes[now].n_runs = lanes_chacha(w, key, s->words_key, s->stream_key, passes[now].runs);
	while (w->packet < w->n) {
		struct pass *before = &passes[now];

		now = !now;
		passes[now].n_runs =
			lanes_chacha(w, key, s->words_key, s->stream_key, passes[now].runs);
		lanes_xor(s->stream_key, before->runs, before->n_runs);
	}
	lanes_chacha_end(s->words_key, s->stream_key);
	lanes_xor(s->stream_key, passes[now].runs, passes[now].n_runs);
}

static void group_seal(
	struct lanes_scratch *s, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	uint8_t tags[LANES_GROUP][AEAD_TAG_SIZE];
	struct lanes_walk w;
	struct pass first;

	lanes_walk_init(&w, ops, n);
	keys_make(s, &w, key, &first);
	crypt(s, &w, key, &first);
	lanes_poly(ops, n, s->macs_key, s, tags);
	for (size_t i = 0; i < n; i++)
		memcpy(ops[i].buf + ops[i].len, tags[i], AEAD_TAG_SIZE);
}

/* The tags first, which are over what came; forged packets are decrypted to garbage like others. */
static void group_open(
	struct lanes_scratch *s, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	uint8_t tags[LANES_GROUP][AEAD_TAG_SIZE];
	struct lanes_walk w;
	struct pass first;

	lanes_walk_init(&w, ops, n);
	keys_make(s, &w, key, &first);
	lanes_poly(ops, n, s->macs_key, s, tags);
	for (size_t i = 0; i < n; i++)
		ops[i].ok = aead_tag_equal(tags[i], ops[i].buf + ops[i].len);
	crypt(s, &w, key, &first);
	sodium_memzero(tags, sizeof(tags)); /* the right ones for what may be forged */
}

/* --- a batch ---------------------------------------------------------------------------------- */
typedef void group_fn(
	struct lanes_scratch *s, const struct aead_key *key, struct aead_op *ops, size_t n);
typedef void library_fn(void *state, const struct aead_key *key, struct aead_op *ops, size_t n);

static void run(struct lanes_state *s, const struct aead_key *key, struct aead_op *ops, size_t n,
	group_fn *group, library_fn *library)
{
	bool wipe = false;

	for (size_t i = 0; i < n; i += LANES_GROUP) {
		size_t m = n - i < LANES_GROUP ? n - i : LANES_GROUP;

		if (worth_it(ops + i, m)) {
			group(&s->scratch, key, ops + i, m);
			wipe = true;
		} else {
			library(s->library_state, key, ops + i, m);
		}
	}
	if (wipe)
		sodium_memzero(&s->scratch, sizeof(s->scratch));
}

static void seal(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	struct lanes_state *s = state;

	run(s, key, ops, n, group_seal, s->library->seal);
}

static void open(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	struct lanes_state *s = state;

	run(s, key, ops, n, group_open, s->library->open);
}

const struct aead_backend aead_lanes = {"lanes", state_size, init, done, seal, open};

#endif
