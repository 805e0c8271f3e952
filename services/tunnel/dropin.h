/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn-tunnel [-f] IFNAME: userspace WireGuard as wireguard-go is: same command line, environment and
 * configuration socket. */
#ifndef TUNNEL_DROPIN_H
#define TUNNEL_DROPIN_H

int dropin_main(int argc, char **argv);

#endif
