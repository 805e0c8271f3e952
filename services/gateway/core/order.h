/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Orders from a page, as changes of the settings. Pure. */
#ifndef GATEWAY_ORDER_H
#define GATEWAY_ORDER_H

#include "lib/err.h"
#include "proto/ui.pb.h"
#include "settings.h"

#define ORDER_BYTES_MAX 1024 /* encoded; ours have at most ui_Order_size, room for later fields */

/* One WebSocket message. ERR_MALFORMED: it does not decode or orders nothing. */
NODISCARD enum err order_decode(const uint8_t *bytes, size_t len, ui_Order *ret_o);

/* Changes *s as ordered and checks the whole. ERR_NOT_FOUND: the order is not about settings (*s
 * untouched). ERR_INVALID: ret_why says why, *s is not to be used. */
NODISCARD enum err order_settings(
	const ui_Order *o, struct settings *s, char ret_why[static CONF_WHY_MAX]);

#endif
