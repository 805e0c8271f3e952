/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes from and to peer_ledger.Message, the payload that tunnel carries between two ledgers. Pure. */
#ifndef LEDGER_PEER_H
#define LEDGER_PEER_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "proto/peer_ledger.pb.h"
#include "ticket.h"

#define PEER_PAYLOAD_MAX 1100 /* bytes: what a control frame holds (overlay.ToService) */
/* Our own messages are far smaller: the largest is Quoted. */
#define PEER_MESSAGE_MAX 256
#define REASONS_MAX 18 /* peer_ledger.Reason: counters */

/* ERR_MALFORMED: does not parse, nothing in it, or a fixed-size field of another size. */
NODISCARD enum err peer_decode(const uint8_t *payload, size_t len, peer_ledger_Message *ret_m);
/* Returns the length. m must be well formed (ours). */
size_t peer_encode(const peer_ledger_Message *m, uint8_t ret_payload[static PEER_MESSAGE_MAX]);

/* What a reason means, in words for people. */
const char *peer_reason_show(peer_ledger_Reason r);

#endif
