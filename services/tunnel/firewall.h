/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The exit's part of the kernel: forwarding, and an nftables table of our own with masquerade and a
 * second line of the exit policy. Nothing outside that table is touched, and one transaction makes or
 * replaces it. */
#ifndef TUNNEL_FIREWALL_H
#define TUNNEL_FIREWALL_H

#include <stdbool.h>

#include "lib/err.h"
#include "lib/net.h"

#define FIREWALL_OWN_MAX 16 /* own networks that an exit never reaches, each family */

struct firewall_exit {
	const char *tun;	/* interface name of the exit's TUN */
	struct net_prefix pool4; /* addresses given to clients; family 0: none */
	struct net_prefix pool6;
	bool test_network;	/* documentation and benchmark ranges may be reached */
	struct net_prefix own[FIREWALL_OWN_MAX]; /* own LAN and addresses: refused */
	size_t n_own;
};

/* Makes or replaces table inet mvpn_<tun> and switches forwarding on. ERR_IO with the reason logged. */
NODISCARD enum err firewall_exit_up(const struct firewall_exit *f);
/* Removes the table. Forwarding stays as it is: others may use it. */
void firewall_exit_down(const char *tun);

#endif
