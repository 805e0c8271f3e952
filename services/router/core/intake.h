/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bus messages to events: every field is checked here, whoever sent it. Pure. */
#ifndef ROUTER_INTAKE_H
#define ROUTER_INTAKE_H

#include "proto/router.pb.h"
#include "router.h"

/* Applies one message; vpn_step is the caller's to call. For those that are answered by Done the
 * result and its words; for the others what was wrong, to be counted. Hello and ListExits are the
 * bus's and outbox's: ERR_INVALID here. */
NODISCARD enum err intake(
	struct router *r, const mvpn_RouterIn *in, struct when now, char ret_why[static NOTE_MAX]);

#endif
