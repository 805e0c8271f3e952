/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A set request of WireGuard's configuration protocol: its lines, in order, up to the first that is
 * wrong, as calls to whoever has the interface. Source: wireguard.com/xplatform, "Configuration
 * Protocol"; where that is silent, wireguard-go.
 *
 * A peer's section finds its peer or makes it, with the first key that needs it or at its end; ourselves,
 * one removed in its section, and one that is not there with update_only, are passed over. */
#ifndef TUNNEL_UAPI_SET_H
#define TUNNEL_UAPI_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/net.h"
#include "messages.h"

#define UAPI_SCOPE_MAX 16 /* name of an interface */

/* int: 0 or a negative errno, which ends the request and is its answer. number: as peer_find or peer_add
 * gave it, of a peer that is there. */
struct uapi_ops {
	void (*key_set)(void *ctx, const uint8_t sk[static WG_KEY_SIZE]);
	int (*port_set)(void *ctx, uint16_t port);
	int (*mark_set)(void *ctx, uint32_t mark);
	void (*peers_clear)(void *ctx);
	bool (*is_self)(void *ctx, const uint8_t pk[static WG_KEY_SIZE]);
	bool (*peer_find)(void *ctx, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number);
	int (*peer_add)(void *ctx, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number);
	void (*peer_remove)(void *ctx, uint32_t number);
	void (*psk_set)(void *ctx, uint32_t number, const uint8_t psk[static WG_KEY_SIZE]);
	void (*endpoint_set)(void *ctx, uint32_t number, const struct net_endpoint *to, uint32_t scope);
	void (*keepalive_set)(void *ctx, uint32_t number, uint16_t interval_s);
	void (*allowed_clear)(void *ctx, uint32_t number);
	int (*allowed_add)(void *ctx, uint32_t number, const struct net_prefix *p);
	void (*allowed_remove)(void *ctx, uint32_t number, const struct net_prefix *p);
	/* The number of an interface by name. */
	bool (*scope_find)(void *ctx, const char *name, uint32_t *ret_scope);
};

/* Where a request has come to. */
struct uapi_setting {
	const struct uapi_ops *ops;
	void *ctx;
	bool in_peer;
	/* The peer of the section. */
	uint8_t pk[WG_KEY_SIZE];
	bool exists;
	bool ignored; /* ourselves, removed, or absent with update_only */
	bool update_only;
	uint32_t number;
};

/* lines: what follows "set=1\n", NUL-terminated; is taken apart. 0 or a negative errno. */
int uapi_set(const struct uapi_ops *ops, void *ctx, char *lines);

#endif
