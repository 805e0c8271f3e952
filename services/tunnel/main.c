/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn-tunnel: with --dir the data plane of a node (node.c), with the name of an interface a userspace
 * WireGuard (dropin.c). What it may do: UDP, TUN, netlink and nftables, for which it keeps
 * CAP_NET_ADMIN; it writes no file but what the first form leaves to its successor (node_handover.c) and the second's
 * configuration socket. */
#include <stdio.h>
#include <string.h>

#include "dropin.h"
#include "node.h"

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--version") == 0) {
		printf("mvpn-tunnel %s\n", MVPN_VERSION);
		return 0;
	}
	for (int i = 1; i < argc; i++)
		if (strncmp(argv[i], "--dir", 5) == 0 || strcmp(argv[i], "--help") == 0)
			return node_main(argc, argv);
	return dropin_main(argc, argv);
}
