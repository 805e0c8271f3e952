/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Settlement: what becomes of winning tickets. One interface, chosen by [ledger] backend.
 *
 * `none`, a network in which nothing settles: the same tickets are signed, checked, drawn and counted,
 * and a win is only counted. It needs no chain. */
#ifndef LEDGER_BACKEND_H
#define LEDGER_BACKEND_H

#include "core/settle.h"

#define BACKEND_WHY_MAX 200

struct backend;

struct backend_status {
	uint64_t n_submitted; /* winning tickets handed over since start */
	uint64_t n_settled;   /* of these, done with */
	amount_t submitted;   /* their faces */
	char trouble[BACKEND_WHY_MAX];
};

struct backend_ops {
	const char *name;
	/* Where tickets are valid, what a claim costs now. */
	void (*terms)(struct backend *b, struct settle_terms *ret_t);
	/* Takes over winning tickets. They are already in the store's sums. */
	void (*submit)(struct backend *b, const struct claim *claims, size_t n);
	void (*status)(const struct backend *b, struct backend_status *ret_s);
	void (*close)(struct backend *b);
};

struct backend {
	const struct backend_ops *ops;
};

/* ERR_INVALID for a name that this build does not support; ret_why says what it does. Caller owns the
 * result: backend->ops->close. */
NODISCARD enum err backend_open(
	const char *name, struct backend **ret_b, char ret_why[static BACKEND_WHY_MAX]);

#endif
