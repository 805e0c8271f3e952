/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs of routerctl, for the tool and for the service. */
#ifndef ROUTER_VERBS_H
#define ROUTER_VERBS_H

#include "lib/sys/ctl.h"

static const struct ctl_help router_help[] = {
	{"status", "phase and reason, what is known, links to tunnel and Redis"},
	{"show session", "what the user wants and how it stands: live route, spare, hop schedule"},
	{"show routes", "every route at the tunnel: live, spare, attempts, draining"},
	{"show route [NUMBER]", "one route hop by hop; without a number the live one"},
	{"show peers [--country CC] [--all]", "the relays known; --all: also those that left"},
	{"show exits", "exits: price, round trip, reliability, and why one is not used"},
	{"show guards", "the few relays that may see this node, in order of use"},
	{"show reputation [--all]", "what was learned about relays; --all: also where nothing was"},
	{"show reasons", "why the live route was chosen, and what happened last"},
	{"show counters", "attempts, failures, refusals, Redis"},
	{"pick [--exit CC] [--hops N] [--n K]",
		"choose K routes as the router would, with reasons; builds nothing"},
};

#endif
