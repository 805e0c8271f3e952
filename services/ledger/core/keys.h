/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Every key of the ledger, derived from the wallet key by Keccak-256 with a tag per purpose.
 *
 * The payee account is the wallet key's own address. Payer keys are one per hop position and
 * rotation, so that no two hops, and with rotation no two sessions, can be tied to each other by who
 * signs. Reveals are bound to a session, its nonce and a generation; they need no storage. Pure. */
#ifndef LEDGER_KEYS_H
#define LEDGER_KEYS_H

#include "ticket.h"

struct keys {
	uint8_t payer_master_sk[32];
	uint8_t reveal_master_sk[32];
	uint8_t payee[ADDRESS_SIZE];
};

/* ERR_INVALID if wallet_sk is not a key of the curve. The caller wipes its copy. */
NODISCARD enum err keys_init(
	struct keys *k, const secp256k1_context *ctx, const uint8_t wallet_sk[static 32]);
void keys_done(struct keys *k);

/* Secret key of the payer at a hop position (0 entry, 1 middle, 2 exit) and rotation. */
void keys_payer(const struct keys *k, const secp256k1_context *ctx, uint32_t position,
	uint64_t rotation, uint8_t ret_sk[static 32]);

void keys_reveal(const struct keys *k, uint64_t session, uint64_t nonce, uint32_t generation,
	uint8_t ret_reveal[static 32]);

#endif
