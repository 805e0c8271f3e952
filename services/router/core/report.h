/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The state in the gateway's words: SessionState and the list of exits. Pure. */
#ifndef ROUTER_REPORT_H
#define ROUTER_REPORT_H

#include "proto/gateway.pb.h"
#include "router.h"

void report_state(struct router *r, struct when now, mvpn_SessionState *ret);

/* Exits from entry *at of the table on, as many as fit one message; *at moves on. False when the
 * list is over: ret->more is set accordingly. Which are usable does not depend on the countries
 * that the user chose, or he could never choose another. */
bool report_exits(struct router *r, struct when now, uint32_t *at, mvpn_ExitList *ret);

#endif
