/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tunnelctl: the tunnel of a node, looked at from inside. */
#include "verbs.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, ROLE_TUNNEL, tunnel_help, sizeof(tunnel_help) / sizeof(tunnel_help[0]));
}
