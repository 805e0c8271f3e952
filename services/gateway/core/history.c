/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "history.h"

void history_add(struct history *h, int64_t rx_Bps, int64_t tx_Bps)
{
	h->ring[h->end % HISTORY_S] = (struct history_sample){rx_Bps, tx_Bps};
	h->end++;
}

uint64_t history_begin(const struct history *h)
{
	return h->end > HISTORY_S ? h->end - HISTORY_S : 0;
}

size_t history_read(
	const struct history *h, uint64_t *next, int64_t *ret_rx, int64_t *ret_tx, size_t max)
{
	size_t n = 0;

	if (*next < history_begin(h))
		*next = history_begin(h);
	for (; n < max && *next < h->end; n++, (*next)++) {
		ret_rx[n] = h->ring[*next % HISTORY_S].rx_Bps;
		ret_tx[n] = h->ring[*next % HISTORY_S].tx_Bps;
	}
	return n;
}
