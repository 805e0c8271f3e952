/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The node's two devices in the kernel: the client's, to which all traffic is routed while a route is in
 * use, and the exit's, from which clients' packets go out. Main thread only. */
#ifndef TUNNEL_DEVICES_H
#define TUNNEL_DEVICES_H

#include <stdbool.h>

#include "link.h"
#include "firewall.h"

/* The largest inner packet that fits three hops over IPv6 (docs/protocol.md, sizes): both devices use
 * it, so that a change of route never meets a packet that is too large. */
#define DEVICE_MTU 1348
/* A TUN queue holds super-packets: more than a few are only delay. */
#define DEVICE_TXQUEUE 128
/* Sockets of the tunnel carry it, so that its own messages do not go into the device. */
#define DEVICE_FWMARK 51820u
#define DEVICE_TABLE 51820u
#define DEVICE_RULE_MAIN 1000u /* priorities: before the kernel's own 32766 */
#define DEVICE_RULE_MARK 1001u

/* Addresses, MTU, up; no traffic is routed to it yet. */
NODISCARD enum err device_client_up(const char *name, const struct net_addr *ip4, const struct net_addr *ip6);
/* All traffic but our own goes into the device (policy rules as wg-quick's), or no more. */
NODISCARD enum err device_client_route(const char *name, bool on);

/* This process ends and another shall go on: what is routed into the device stays there and is dropped
 * (tun_keep), but for life_s at most. Then the kernel takes addresses and routes away by itself, and the machine
 * is as it is without a tunnel. */
NODISCARD enum err device_client_hold(
	const char *name, const struct net_addr *ip4, const struct net_addr *ip6, uint32_t life_s);

/* The exit's own addresses (first of each pool), up, firewall, forwarding. */
NODISCARD enum err device_exit_up(const struct firewall_exit *f);

#endif
