/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The other four services of this node, as the gateway's core numbers them. */
#ifndef GATEWAY_PEERS_H
#define GATEWAY_PEERS_H

enum peer {
	PEER_TUNNEL,
	PEER_DISCOVERY,
	PEER_ROUTER,
	PEER_LEDGER,
	PEERS,
};

#endif
