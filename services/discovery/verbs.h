/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs of discoveryctl, for the tool and for the service. */
#ifndef DISCOVERY_VERBS_H
#define DISCOVERY_VERBS_H

#include "lib/sys/ctl.h"

static const struct ctl_help discovery_help[] = {
	{"status", "how many relays are known, whether our descriptor is out, what is wrong"},
	{"show relays [--country CC] [--all]",
		"the directory; --all: also what is only heard or gone"},
	{"show relay ID", "one descriptor in full; the first digits of the node id suffice"},
	{"show self", "our own descriptor and what it is made of"},
	{"show peers", "bootstraps, a client's peers, questions under way"},
	{"show bans", "nodes that equivocated"},
	{"show counters", "what was asked, answered, taken and refused, and why"},
};

#endif
