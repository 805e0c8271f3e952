/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LEDGER_VERBS_H
#define LEDGER_VERBS_H

#include "lib/sys/ctl.h"

static const struct ctl_help ledger_help[] = {
	{"status", "settings, totals, and what is wrong if anything is"},
	{"show sessions", "both sides: role, price, use, credit, tickets"},
	{"show tickets", "how many are in which state"},
	{"show accounts", "payers that this node took tickets from (at most 1000)"},
	{"show terms", "the prices in force and those still honoured"},
	{"show counters", "everything that is counted, refusals by reason"},
	{"check", "recompute all sums from the rows and compare; fails if one differs"},
};
#define LEDGER_N_HELP (sizeof(ledger_help) / sizeof(ledger_help[0]))

#endif
