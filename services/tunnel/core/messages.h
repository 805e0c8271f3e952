/* SPDX-License-Identifier: GPL-2.0-or-later */
/* WireGuard's four messages as they stand on the wire. Only bytes, so any alignment will do.
 * Source: WireGuard paper, section 5.4; docs/protocol.md. */
#ifndef TUNNEL_MESSAGES_H
#define TUNNEL_MESSAGES_H

#include <stddef.h>
#include <stdint.h>

#include "lib/bytes.h"

enum wg_type { WG_INITIATION = 1, WG_RESPONSE = 2, WG_COOKIE = 3, WG_TRANSPORT = 4 };

#define WG_KEY_SIZE 32 /* X25519 keys, symmetric keys */
#define WG_TAG_SIZE 16 /* Poly1305 */
#define WG_MAC_SIZE 16 /* mac1, mac2, cookie */
#define WG_TAI64N_SIZE 12
#define WG_XNONCE_SIZE 24 /* XChaCha20, cookie reply */

struct wg_macs {
	uint8_t mac1[WG_MAC_SIZE];
	uint8_t mac2[WG_MAC_SIZE];
};

struct wg_initiation {
	uint8_t type[4]; /* enum wg_type, LE32: three reserved zero bytes */
	uint8_t sender[4];
	uint8_t ephemeral[WG_KEY_SIZE];
	uint8_t enc_static[WG_KEY_SIZE + WG_TAG_SIZE];
	uint8_t enc_timestamp[WG_TAI64N_SIZE + WG_TAG_SIZE];
	struct wg_macs macs;
};

struct wg_response {
	uint8_t type[4];
	uint8_t sender[4];
	uint8_t receiver[4];
	uint8_t ephemeral[WG_KEY_SIZE];
	uint8_t enc_nothing[WG_TAG_SIZE];
	struct wg_macs macs;
};

struct wg_cookie {
	uint8_t type[4];
	uint8_t receiver[4];
	uint8_t nonce[WG_XNONCE_SIZE];
	uint8_t enc_cookie[WG_MAC_SIZE + WG_TAG_SIZE];
};

struct wg_transport {
	uint8_t type[4];
	uint8_t receiver[4];
	uint8_t counter[8];
};

#define WG_INITIATION_SIZE 148
#define WG_RESPONSE_SIZE 92
#define WG_COOKIE_SIZE 64
#define WG_TRANSPORT_HEAD 16				   /* before the sealed payload */
#define WG_TRANSPORT_MIN (WG_TRANSPORT_HEAD + WG_TAG_SIZE) /* a keepalive */
#define WG_OVERHEAD (WG_TRANSPORT_HEAD + WG_TAG_SIZE)
#define WG_PADDING 16 /* payloads are padded to a multiple of this */

_Static_assert(sizeof(struct wg_initiation) == WG_INITIATION_SIZE, "paper 5.4.2");
_Static_assert(sizeof(struct wg_response) == WG_RESPONSE_SIZE, "paper 5.4.3");
_Static_assert(sizeof(struct wg_cookie) == WG_COOKIE_SIZE, "paper 5.4.7");
_Static_assert(sizeof(struct wg_transport) == WG_TRANSPORT_HEAD, "paper 5.4.6");

/* The type if len fits it exactly (transport: at least) and the reserved bytes are zero, else 0. */
static inline unsigned int wg_message_type(const uint8_t *msg, size_t len)
{
	uint32_t type = len >= 4 ? le32_get(msg) : 0;

	if ((type == WG_TRANSPORT && len >= WG_TRANSPORT_MIN) ||
		(type == WG_INITIATION && len == WG_INITIATION_SIZE) ||
		(type == WG_RESPONSE && len == WG_RESPONSE_SIZE) ||
		(type == WG_COOKIE && len == WG_COOKIE_SIZE))
		return type;
	return 0;
}

/* Where a returning message (types 2, 3, 4) says whom it is for: the index that the receiver
 * chose. msg has passed wg_message_type. */
static inline uint32_t wg_receiver_index(const uint8_t *msg)
{
	return le32_get(msg) == WG_RESPONSE ? le32_get(msg + 8) : le32_get(msg + 4);
}

/* The sender index of types 1 and 2. */
static inline uint32_t wg_sender_index(const uint8_t *msg)
{
	return le32_get(msg + 4);
}

static inline void wg_transport_head_put(uint8_t *msg, uint32_t receiver, uint64_t counter)
{
	le32_put(msg, WG_TRANSPORT);
	le32_put(msg + 4, receiver);
	le64_put(msg + 8, counter);
}

/* Payload length after padding; never beyond mtu unless len itself is (mtu 0: no limit). */
static inline size_t wg_padded_len(size_t len, size_t mtu)
{
	size_t padded = (len + WG_PADDING - 1) & ~(size_t)(WG_PADDING - 1);

	return mtu != 0 && padded > mtu ? (len > mtu ? len : mtu) : padded;
}

#endif
