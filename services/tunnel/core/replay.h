/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sliding window against replays: RFC 6479 with 8192 bits (128 words used as a ring; one word is
 * being refilled, so 8128 counters behind the newest are still judged).
 *
 * Check before decryption (cheap), commit after authentication: only an authenticated packet may
 * move the window. Pure; one owner, no locks. */
#ifndef TUNNEL_REPLAY_H
#define TUNNEL_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aead.h"

#define REPLAY_BITS 8192
#define REPLAY_WORDS (REPLAY_BITS / 64)
#define REPLAY_WINDOW (REPLAY_BITS - 64)

struct replay {
	uint64_t newest_plus_1; /* 0: nothing seen */
	uint64_t seen[REPLAY_WORDS];
};

void replay_init(struct replay *r);
/* Not seen, and not too old to tell? Changes nothing. */
bool replay_fresh(const struct replay *r, uint64_t counter);
/* The same, and marks it. False: seen or too old. counter < UINT64_MAX. */
bool replay_commit(struct replay *r, uint64_t counter);
/* Commits the ops that are ok, in order; clears ok of those that are not fresh (also within the
 * batch). Returns how many stay ok. */
size_t replay_commit_batch(struct replay *r, struct aead_op *ops, size_t n);

#endif
