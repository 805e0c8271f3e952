/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one signed instrument: a payment of `face` that counts only if a lottery is won.
 *
 * The payee first commits to a secret (commit = keccak(reveal)); the payer, knowing the commit, picks
 * a random salt and signs the ticket. draw = first 8 bytes (big-endian) of keccak(reveal, digest);
 * the ticket wins if draw <= ratio. Neither side can steer the draw: the payer does not know the
 * reveal, the payee fixed it before the salt. ratio 2^64 - 1 always wins: a plain voucher.
 *
 * Signed is the EIP-712 digest of
 *   Ticket(address payee,uint128 face,uint64 ratio,uint64 seq,uint64 expiry,bytes24 salt,bytes32 commit)
 * in the domain (name "mvpn", version "1", chainId, verifyingContract) with recoverable secp256k1,
 * s in the lower half only: the other s would be a second valid signature. For backend `none` the
 * chain id is 0 and the contract the zero address. Pure; signing needs a libsecp256k1 context that
 * the caller made, checking uses the library's static one.
 *
 * Wire form, 181 bytes, big-endian: payee 20, face 16, ratio 8, seq 8, expiry 8, salt 24, commit 32,
 * r 32, s 32, v 1 (0 or 1). docs/protocol.md [P-71]..[P-75]. Sources: EIP-712; SEC 1 4.1.6; EIP-2. */
#ifndef LEDGER_TICKET_H
#define LEDGER_TICKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <secp256k1.h>

#include "lib/units.h"
#include "keccak.h"

#define ADDRESS_SIZE 20
#define SALT_SIZE 24
#define TICKET_SIG_SIZE 65
#define TICKET_BODY_SIZE 116
#define TICKET_SIZE (TICKET_BODY_SIZE + TICKET_SIG_SIZE)

struct ticket {
	uint8_t payee[ADDRESS_SIZE];
	amount_t face;	 /* at most FACE_MAX_WEI (value.h) */
	uint64_t ratio;	 /* wins (ratio + 1) times in 2^64; 0 is refused */
	uint64_t seq;	 /* grows with each ticket of one payer key */
	wall_t expiry;	 /* worthless from this second on */
	uint8_t salt[SALT_SIZE];
	uint8_t commit[KECCAK_SIZE];
};

/* Where a ticket is valid: hashed once, signed with each. */
struct ticket_domain {
	uint8_t separator[KECCAK_SIZE];
};

void ticket_domain_init(struct ticket_domain *d, uint64_t chain_id,
	const uint8_t contract[static ADDRESS_SIZE]);

void ticket_digest(const struct ticket *t, const struct ticket_domain *d,
	uint8_t ret_digest[static KECCAK_SIZE]);

/* Signs with the payer's secret key and writes the wire form. ERR_INVALID if the key is not one or a
 * field cannot be represented. `ctx` is a context made for signing. */
NODISCARD enum err ticket_sign(const struct ticket *t, const struct ticket_domain *d,
	const secp256k1_context *ctx, const uint8_t payer_sk[static 32],
	uint8_t ret_bytes[static TICKET_SIZE]);

/* Form only, no signature: length, face bound, expiry not negative, v. ERR_MALFORMED. */
NODISCARD enum err ticket_decode(const uint8_t *bytes, size_t len, struct ticket *ret_t);
void ticket_encode_body(const struct ticket *t, uint8_t ret_bytes[static TICKET_BODY_SIZE]);

/* Who signed it. ERR_DENIED: high s, or no key fits. About 45 us. */
NODISCARD enum err ticket_recover(const uint8_t bytes[static TICKET_SIZE],
	const uint8_t digest[static KECCAK_SIZE], uint8_t ret_payer[static ADDRESS_SIZE]);

bool ticket_wins(uint64_t ratio, const uint8_t reveal[static 32],
	const uint8_t digest[static KECCAK_SIZE]);

/* Ethereum's address of a secret key. ERR_INVALID if the key is not one. */
NODISCARD enum err address_of_key(const secp256k1_context *ctx, const uint8_t sk[static 32],
	uint8_t ret_address[static ADDRESS_SIZE]);

#endif
