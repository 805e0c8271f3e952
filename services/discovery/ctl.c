/* SPDX-License-Identifier: GPL-2.0-or-later */
/* discoveryctl: the debug command line of discovery. */
#include "verbs.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, ROLE_DISCOVERY, discovery_help,
		sizeof(discovery_help) / sizeof(discovery_help[0]));
}
