/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gateway's debug verbs; `mvpn` uses the second half of them. */
#ifndef GATEWAY_VERBS_H
#define GATEWAY_VERBS_H

#include "lib/sys/ctl.h"

static const struct ctl_help gateway_help[] = {
	{"status", "port, page, what is wanted, which services answer"},
	{"show settings", "all settings, as in the settings file"},
	{"show services", "link, health and settings of each service"},
	{"show clients", "pages that are connected, and what they are owed"},
	{"show counters", "what came in by the browser's door"},
	{"set SECTION KEY VALUE", "change one setting (show settings lists them)"},
	{"session", "the session and its hops"},
	{"connect [--exit CC] [--hops N]",
		"switch on; CC: CH or CH,SE or any; as set before if not given"},
	{"disconnect", "switch off"},
	{"hop", "another route now"},
	{"exits", "exits that the router knows"},
	{"share [on|off] [--exit on|off]", "relay for others; be an exit for others"},
	{"pay [on|off]", "what was paid and earned; pay relays or use free ones only"},
	{"url", "address of the web page, with its token"},
	{"doctor", "what this node lacks, seen from inside"},
};

#endif
