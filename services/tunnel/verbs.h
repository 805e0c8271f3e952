/* SPDX-License-Identifier: GPL-2.0-or-later */
/* tunnelctl's commands, as people read them. */
#ifndef TUNNEL_VERBS_H
#define TUNNEL_VERBS_H

#include "lib/sys/ctl.h"

static const struct ctl_help tunnel_help[] = {
	{"status", "devices, sharing, how much is carried"},
	{"show sessions", "WireGuard sessions, bytes and credit"},
	{"show routes", "own routes, hop by hop, and talks with other nodes"},
	{"show circuits", "onward legs of others' sessions"},
	{"show workers", "threads: packets, batches, handshakes, drops"},
	{"show counters", "what was refused and why"},
};

#endif
