/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keccak-256 as Ethereum uses it: the sponge of FIPS 202 with rate 136 bytes and the padding of the
 * original submission (0x01, not SHA-3's 0x06). Whole messages only, no streaming. Pure.
 * Source: Bertoni et al., "The Keccak reference" 3.0; FIPS 202 for rounds and offsets. */
#ifndef LEDGER_KECCAK_H
#define LEDGER_KECCAK_H

#include <stddef.h>
#include <stdint.h>

#define KECCAK_SIZE 32

void keccak256(const uint8_t *data, size_t len, uint8_t ret_hash[static KECCAK_SIZE]);

#endif
