/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "verbs.h"

int main(int argc, char **argv)
{
	return ctl_main(argc, argv, ROLE_GATEWAY, gateway_help,
		sizeof(gateway_help) / sizeof(gateway_help[0]));
}
