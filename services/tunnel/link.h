/* SPDX-License-Identifier: GPL-2.0-or-later */
/* rtnetlink orders: interfaces, addresses, routes, policy rules. Blocking, for set-up and teardown
 * from the main thread only. Every "add" succeeds when the thing is there already, every "del" when
 * it is gone already. */
#ifndef TUNNEL_LINK_H
#define TUNNEL_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"

struct link {
	struct mnl_socket *sock;
	uint32_t seq;
};

NODISCARD enum err link_open(struct link *ret_l);
void link_close(struct link *l);

/* 0: no such interface. */
int link_index(const char *name);

/* mtu 0, txqlen 0: leave as it is. */
NODISCARD enum err link_set(struct link *l, int index, bool up, uint32_t mtu, uint32_t txqlen);
/* life_s: the kernel takes it away after so long; 0: never. When the last IPv4 address of a device goes, its
 * IPv4 routes go too. */
NODISCARD enum err link_addr_add(struct link *l, int index, const struct net_prefix *p, uint32_t life_s);
/* The IPv6 default route of a table for life_s from now on. */
NODISCARD enum err link_default6_expire(struct link *l, int index, uint32_t table, uint32_t life_s);

/* A route to p through the device in a table (254: main); metric 0: the kernel's default. */
NODISCARD enum err link_route_add(
	struct link *l, int index, const struct net_prefix *p, uint32_t table, uint32_t metric);
NODISCARD enum err link_route_del(
	struct link *l, int index, const struct net_prefix *p, uint32_t table, uint32_t metric);

struct link_rule {
	enum net_family family;
	uint32_t priority;
	uint32_t table;
	uint32_t fwmark;	 /* 0: no condition on the mark */
	bool invert;		 /* not fwmark */
	bool suppress_default;	 /* use the table, but not its default route */
	struct net_prefix to;	 /* family NET_NONE: any */
};
NODISCARD enum err link_rule_add(struct link *l, const struct link_rule *r);
NODISCARD enum err link_rule_del(struct link *l, const struct link_rule *r);

#endif
