/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What node.ini says to the tunnel. */
#ifndef TUNNEL_NODE_CONF_H
#define TUNNEL_NODE_CONF_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/conf.h"
#include "lib/net.h"
#include "overlay.h"

struct node_conf {
	bool test_network;
	uint64_t port;
	uint64_t n_workers; /* 0: one per allowed core */
	char client_tun[IFNAMSIZ]; /* "": this node is no client */
	char exit_tun[IFNAMSIZ];   /* "": this node is no exit */
	struct net_addr public4, public6; /* where the node is reached */
	struct net_addr resolver4, resolver6; /* named to an exit's clients */
	struct net_prefix pool4, pool6;
	char own[512]; /* list of prefixes */
	char peers[1024]; /* stock.h */
	uint64_t sessions_max;
	char aead[16]; /* "": the fastest */
};

extern const struct conf_key node_conf_keys[];
extern const size_t node_conf_n_keys;

/* Addresses of the client's device, the same on every node and route. 100.96.0.0/11 is the half of
 * the shared range (RFC 6598) that exits do not lend from. */
#define NODE_DEVICE4 "100.96.0.2"
#define NODE_DEVICE_DNS4 "100.96.0.1"
#define NODE_DEVICE6 "fd6d:7670:6e01::2"
#define NODE_DEVICE_DNS6 "fd6d:7670:6e01::1"

struct stock_conf;
/* The peers. ERR_INVALID is logged. */
NODISCARD enum err node_stock_conf(const struct node_conf *conf, struct stock_conf *ret);
/* conf to what each worker's overlay wants (worker and worker_bits are left to the caller).
 * ERR_INVALID is logged. */
NODISCARD enum err node_overlay_conf(const struct node_conf *conf, struct overlay_conf *ret);

#endif
