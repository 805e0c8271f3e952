/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who may come in by the browser's door: three questions about a request's headers.
 *
 * Host: is it us that was meant? A page of a stranger whose name resolves to 127.0.0.1 (DNS
 * rebinding) says its own name there. Origin: is it our page that asks? Token: does it come from
 * somebody who can read the node's folder, compared in constant time? The token travels as a
 * second WebSocket subprotocol, `mvpn.ui.1, auth.<token>`, since a browser can set no other header;
 * it is never echoed. Pure. Source: RFC 6454, RFC 6455 section 4.2. */
#ifndef GATEWAY_DOOR_H
#define GATEWAY_DOOR_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

#define DOOR_PROTOCOL "mvpn.ui.1"
#define DOOR_TOKEN_LEN 43   /* base64url of 32 bytes, without padding */
#define DOOR_HEADER_MAX 256 /* bytes of a header that is looked at; ours are far shorter */

/* The file keys/ui.token: 43 characters and a newline or none. ERR_INVALID. */
NODISCARD enum err door_token_parse(const char *text, char ret_token[static DOOR_TOKEN_LEN + 1]);

/* A loopback name with our port: 127.0.0.1, localhost or [::1]. */
bool door_host_ok(const char *host, uint16_t port);
/* The same behind http://. */
bool door_origin_ok(const char *origin, uint16_t port);
/* The value of Sec-WebSocket-Protocol names our protocol and carries the token. */
bool door_token_ok(const char *protocols, const char token[static DOOR_TOKEN_LEN + 1]);

#endif
