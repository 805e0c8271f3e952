/* SPDX-License-Identifier: GPL-2.0-or-later */
/* proto/peer_discovery.proto to and from the payload of a peer request. */
#ifndef DISCOVERY_MESSAGE_H
#define DISCOVERY_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "proto/peer_discovery.pb.h"

/* What one control frame carries (proto/overlay.options). */
#define PAYLOAD_MAX 1100

/* Largest of each kind fits by the bounds in peer_discovery.options; a unit test says so. */
NODISCARD enum err query_encode(
	const gossip_Query *q, uint8_t ret[static PAYLOAD_MAX], size_t *ret_len);
NODISCARD enum err answer_encode(
	const gossip_Answer *a, uint8_t ret[static PAYLOAD_MAX], size_t *ret_len);
/* ERR_MALFORMED: does not parse, no known body, or a field of a length that it cannot have. */
NODISCARD enum err query_decode(const uint8_t *payload, size_t len, gossip_Query *ret_q);
NODISCARD enum err answer_decode(const uint8_t *payload, size_t len, gossip_Answer *ret_a);

#endif
