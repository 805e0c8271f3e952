/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers from node.ini: the operator's own devices, which use this node as their exit with a WireGuard
 * that knows nothing of the overlay. They are no strangers: no admission, no payment, no circuits; the
 * exit policy holds for them as well.
 *
 * The k-th has host number k + 2 of the exit's pools (100.64.0.2 is the first one's with the usual
 * pool), which no lease uses; its low bits name the worker, as those of a lent address do. */
#ifndef TUNNEL_STOCK_H
#define TUNNEL_STOCK_H

#include "core/lease.h"
#include "worker.h"

#define STOCK_FIRST 2u /* host number; 1 is the exit's own */
#define STOCK_MAX (LEASE_RESERVED - STOCK_FIRST)

struct stock_conf {
	uint32_t n;
	uint8_t pk[STOCK_MAX][WG_KEY_SIZE];
	struct net_prefix pool4, pool6;
};

/* Public keys as WireGuard writes them (base64) or in hex, separated by commas. ERR_INVALID,
 * ERR_FULL: more than STOCK_MAX. */
NODISCARD enum err stock_parse(const char *list, struct stock_conf *ret);

/* In the worker's thread: makes those that are this worker's. */
NODISCARD enum err stock_setup(struct worker *w, const struct stock_conf *conf);
/* Whose address is the destination of this packet from the exit's TUN? NULL: nobody's here. */
struct peer *stock_by_destination(struct worker *w, const struct offload_super *s);
void stock_done(struct worker *w);

#endif
