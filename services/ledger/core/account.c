/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "account.h"

/* [P-76], [P-80] */
enum seq_fit account_seq_fit(const struct account *a, uint64_t seq)
{
	if (seq == 0)
		return SEQ_BEHIND;
	if (seq > a->seq_top)
		return SEQ_NEW;
	if (a->seq_top - seq >= SEQ_WINDOW)
		return SEQ_BEHIND;
	return (a->seq_bits >> (a->seq_top - seq) & 1) != 0 ? SEQ_TAKEN : SEQ_NEW;
}

void account_seq_take(struct account *a, uint64_t seq)
{
	if (seq <= a->seq_top) {
		a->seq_bits |= (uint64_t)1 << (a->seq_top - seq);
		return;
	}
	uint64_t ahead = seq - a->seq_top;
	a->seq_bits = ahead >= SEQ_WINDOW ? 1 : a->seq_bits << ahead | 1;
	a->seq_top = seq;
}

enum err sums_add(struct sums *s, const struct sums *more)
{
	struct sums sum = *s;

	if (__builtin_add_overflow(sum.n_tickets, more->n_tickets, &sum.n_tickets) ||
		__builtin_add_overflow(sum.n_wins, more->n_wins, &sum.n_wins))
		return ERR_OVERFLOW;
	TRY(amount_add(&sum.expected, more->expected));
	TRY(amount_add(&sum.won, more->won));
	*s = sum;
	return OK;
}

bool sums_eq(const struct sums *a, const struct sums *b)
{
	return a->n_tickets == b->n_tickets && a->n_wins == b->n_wins &&
		a->expected.wei == b->expected.wei && a->won.wei == b->won.wei;
}
