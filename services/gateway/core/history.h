/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Throughput of the last hour, a value a second, in memory only: what the page's chart starts with.
 *
 * Seconds are numbered from the start of the gateway; a reader keeps the number it wants next, so a
 * page that fell behind catches up from here instead of from a queue of its own. Pure. */
#ifndef GATEWAY_HISTORY_H
#define GATEWAY_HISTORY_H

#include <stddef.h>
#include <stdint.h>

#define HISTORY_S 3600		    /* seconds kept */
#define HISTORY_UNKNOWN INT64_C(-1) /* nobody could tell in that second */

struct history_sample {
	int64_t rx_Bps, tx_Bps;
};

struct history {
	uint64_t end; /* number of the next sample to come */
	struct history_sample ring[HISTORY_S];
};

void history_add(struct history *h, int64_t rx_Bps, int64_t tx_Bps);
/* Number of the oldest sample kept. */
uint64_t history_begin(const struct history *h);
/* Up to max samples from *next on, which moves behind them (and over what is no longer kept).
 * Returns how many. */
size_t history_read(
	const struct history *h, uint64_t *next, int64_t *ret_rx, int64_t *ret_tx, size_t max);

#endif
