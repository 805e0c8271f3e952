/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "replay.h"

void replay_init(struct replay *r)
{
	memset(r, 0, sizeof(*r));
}

static inline bool too_old(const struct replay *r, uint64_t counter)
{
	return r->newest_plus_1 > REPLAY_WINDOW && counter < r->newest_plus_1 - REPLAY_WINDOW;
}

static inline uint64_t *word_of(struct replay *r, uint64_t counter)
{
	return &r->seen[(counter / 64) % REPLAY_WORDS];
}

bool replay_fresh(const struct replay *r, uint64_t counter)
{
	if (counter >= r->newest_plus_1)
		return counter != UINT64_MAX;
	return !too_old(r, counter) &&
	       (r->seen[(counter / 64) % REPLAY_WORDS] >> (counter % 64) & 1) == 0;
}

/* Words between the newest and counter begin their next life: empty. */
static void slide(struct replay *r, uint64_t counter)
{
	uint64_t from = r->newest_plus_1 == 0 ? 0 : (r->newest_plus_1 - 1) / 64, to = counter / 64;

	if (to - from >= REPLAY_WORDS)
		memset(r->seen, 0, sizeof(r->seen));
	else
		for (uint64_t w = from + 1; w <= to; w++)
			r->seen[w % REPLAY_WORDS] = 0;
	r->newest_plus_1 = counter + 1;
}

bool replay_commit(struct replay *r, uint64_t counter)
{
	if (!replay_fresh(r, counter))
		return false;
	if (counter >= r->newest_plus_1)
		slide(r, counter);
	*word_of(r, counter) |= (uint64_t)1 << (counter % 64);
	return true;
}

size_t replay_commit_batch(struct replay *r, struct aead_op *ops, size_t n)
{
	size_t n_ok = 0;

	for (size_t i = 0; i < n; i++) {
		if (ops[i].ok)
			ops[i].ok = replay_commit(r, ops[i].counter);
		n_ok += ops[i].ok;
	}
	return n_ok;
}
