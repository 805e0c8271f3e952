/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the settlement backend tells the cores: where tickets are valid and what a claim costs. */
#ifndef LEDGER_SETTLE_H
#define LEDGER_SETTLE_H

#include "ticket.h"

struct settle_terms {
	uint32_t chain_id; /* 0: backend `none` */
	uint8_t contract[ADDRESS_SIZE];
	amount_t claim_cost; /* of one winning ticket */
	amount_t face_min;   /* from the claim's cost: smaller wins are not worth claiming */
	/* And from traffic: a win is worth at least this much, so that claims are rare. */
	uint64_t face_min_bytes;
};

/* A winning ticket and what proves it: what a backend needs to collect the face. */
struct claim {
	uint8_t ticket[TICKET_SIZE];
	uint8_t payer[ADDRESS_SIZE];
	uint8_t reveal[32];
	amount_t face;
};

#endif
