/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the plaintext of a transport message is, by its first bytes.
 *
 * - [P-1] The first nibble of the plaintext tells: empty keepalive, 4 or 6 an IP packet, 1 a relay
 * frame, 2 a control frame; anything else is dropped and counted.
 * - [P-2] Relay frame: 0x10, flags (zero; others are dropped), slot LE16, one whole WireGuard
 * message. It is never padded: its length is the message's length.
 * - [P-3] Control frame: 0x20, zero, length LE16, `length` bytes of overlay.Control; what follows
 * is padding and ignored, so control frames may be padded to 16 like IP packets.
 * - [P-4] Only well-formed WireGuard messages are relayed, in both directions: type 1 of 148 bytes,
 * type 2 of 92, type 3 of 64, type 4 of at least 32, the three reserved bytes zero
 * (wg_message_type).
 * Differs from overlay.md: the control header has a length, because a padded protobuf message would
 * not decode. Pure, header only. Source: docs/protocol.md. */
#ifndef TUNNEL_FRAME_H
#define TUNNEL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/bytes.h"

enum frame_kind { FRAME_KEEPALIVE, FRAME_IP4, FRAME_IP6, FRAME_RELAY, FRAME_CONTROL, FRAME_BAD };

#define FRAME_HEADER_SIZE 4

/* Kind of a decrypted payload. Looks at the first byte; the rest is the business of who takes it.
 */
static inline enum frame_kind frame_kind(const uint8_t *plain, size_t len)
{
	if (len == 0)
		return FRAME_KEEPALIVE;
	switch (plain[0] >> 4) {
	case 4:
		return FRAME_IP4;
	case 6:
		return FRAME_IP6;
	case 1:
		return FRAME_RELAY;
	case 2:
		return FRAME_CONTROL;
	}
	return FRAME_BAD;
}

static inline void frame_relay_put(uint8_t h[static FRAME_HEADER_SIZE], uint16_t slot)
{
	h[0] = 0x10;
	h[1] = 0;
	le16_put(h + 2, slot);
}

/* Slot and inner message of a relay frame; false if it is no good one. The message is borrowed from
 * plain and is not checked yet (circuit_forward does). */
static inline bool frame_relay_get(const uint8_t *plain, size_t len, uint16_t *ret_slot,
	const uint8_t **ret_msg, size_t *ret_len)
{
	if (len <= FRAME_HEADER_SIZE || plain[0] != 0x10 || plain[1] != 0)
		return false;
	*ret_slot = le16_get(plain + 2);
	*ret_msg = plain + FRAME_HEADER_SIZE;
	*ret_len = len - FRAME_HEADER_SIZE;
	return true;
}

#endif
