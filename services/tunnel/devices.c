/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "devices.h"

#include <errno.h>
#include <string.h>

#include "lib/sys/log.h"

static struct net_prefix host_prefix(const struct net_addr *a)
{
	return (struct net_prefix){.addr = *a, .bits = a->family == NET_IP4 ? 32 : 128};
}

static enum err said(const char *what, enum err e)
{
	if (e != OK)
		log_error("%s: %s", what, e == ERR_IO ? strerror(errno) : err_str(e));
	return e;
}

static enum err client_up(struct link *l, int index, const struct net_addr *ip4, const struct net_addr *ip6)
{
	struct net_prefix p4 = host_prefix(ip4), p6 = host_prefix(ip6);

	TRY(link_addr_add(l, index, &p4, 0));
	if (link_addr_add(l, index, &p6, 0) != OK)
		log_warn("this machine has no IPv6: the device gets none");
	return link_set(l, index, true, DEVICE_MTU, DEVICE_TXQUEUE);
}

enum err device_client_up(const char *name, const struct net_addr *ip4, const struct net_addr *ip6)
{
	struct link l;
	enum err e = link_open(&l);

	if (e == OK) {
		e = client_up(&l, link_index(name), ip4, ip6);
		link_close(&l);
	}
	return said("the client's device", e);
}

/* A family that the machine does not have is no reason to fail. */
static enum err family_route(struct link *l, int index, enum net_family f, bool on)
{
	struct link_rule main_rule = {
		.family = f, .priority = DEVICE_RULE_MAIN, .table = 254, .suppress_default = true};
	struct link_rule mark_rule = {.family = f,
		.priority = DEVICE_RULE_MARK,
		.table = DEVICE_TABLE,
		.fwmark = DEVICE_FWMARK,
		.invert = true};
	struct net_prefix all = {.addr = {.family = f}};

	if (!on) {
		enum err e = link_rule_del(l, &mark_rule);

		return e == OK ? link_rule_del(l, &main_rule) : e;
	}
	TRY(link_route_add(l, index, &all, DEVICE_TABLE, 0));
	TRY(link_rule_add(l, &main_rule));
	return link_rule_add(l, &mark_rule);
}

enum err device_client_route(const char *name, bool on)
{
	struct link l;
	enum err e = link_open(&l);

	if (e != OK)
		return said("rtnetlink", e);
	e = family_route(&l, link_index(name), NET_IP4, on);
	if (family_route(&l, link_index(name), NET_IP6, on) != OK && on)
		log_warn("IPv6 cannot be routed through the device: %s", strerror(errno));
	link_close(&l);
	return said(on ? "routing into the device" : "routing past the device", e);
}

enum err device_client_hold(const char *name, const struct net_addr *ip4, const struct net_addr *ip6, uint32_t life_s)
{
	struct net_prefix p4 = host_prefix(ip4), p6 = host_prefix(ip6);
	int index = link_index(name);
	struct link l;
	enum err e = link_open(&l);

	if (e != OK)
		return said("rtnetlink", e);
	e = link_addr_add(&l, index, &p4, life_s);
	/* A machine without IPv6 has no route of it to hold either. */
	if (link_addr_add(&l, index, &p6, life_s) == OK && e == OK)
		e = link_default6_expire(&l, index, DEVICE_TABLE, life_s);
	link_close(&l);
	return said("holding the client's device", e);
}

static enum err exit_addresses(struct link *l, int index, const struct firewall_exit *f)
{
	const struct net_prefix *pools[] = {&f->pool4, &f->pool6};

	for (size_t i = 0; i < 2; i++) {
		struct net_addr own = pools[i]->addr;
		struct net_prefix p;

		if (own.family == NET_NONE)
			continue;
		own.ip[own.family == NET_IP4 ? 3 : 15] |= 1;
		p = host_prefix(&own);
		TRY(link_addr_add(l, index, &p, 0));
	}
	TRY(link_set(l, index, true, DEVICE_MTU, 0));
	for (size_t i = 0; i < 2; i++)
		if (pools[i]->addr.family != NET_NONE)
			TRY(link_route_add(l, index, pools[i], 254, 0));
	return OK;
}

enum err device_exit_up(const struct firewall_exit *f)
{
	struct link l;
	enum err e = link_open(&l);

	if (e == OK) {
		e = exit_addresses(&l, link_index(f->tun), f);
		link_close(&l);
	}
	TRY(said("the exit's device", e));
	return firewall_exit_up(f);
}
