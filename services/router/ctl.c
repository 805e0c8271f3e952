/* SPDX-License-Identifier: GPL-2.0-or-later */
/* routerctl: the debug command line of the router. */
#include "verbs.h"

int main(int argc, char **argv)
{
	return ctl_main(
		argc, argv, ROLE_ROUTER, router_help, sizeof(router_help) / sizeof(router_help[0]));
}
