/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "node_conf.h"

#include <stdio.h>
#include <string.h>

#include "core/lease.h"
#include "devices.h"
#include "lib/sys/log.h"
#include "stock.h"

#define AT(field) offsetof(struct node_conf, field)

const struct conf_key node_conf_keys[] = {
	{"node", "test_network", CONF_BOOL, AT(test_network), 0, "no", 0, 0,
		"documentation and benchmark address ranges count as public (a lab)"},
	{"tunnel", "port", CONF_U64, AT(port), 0, "51820", 1, 65535, "UDP port of the node"},
	{"tunnel", "workers", CONF_U64, AT(n_workers), 0, "0", 0, 64,
		"threads that move packets; 0: one per core it may use"},
	{"tunnel", "client_tun", CONF_TEXT, AT(client_tun), IFNAMSIZ, "mvpn0", 0, 0,
		"device of the client; empty: this node never connects"},
	{"tunnel", "exit_tun", CONF_TEXT, AT(exit_tun), IFNAMSIZ, "mvpnx0", 0, 0,
		"device of the exit; empty: this node is never an exit"},
	{"tunnel", "public4", CONF_ADDR, AT(public4), 0, NULL, 0, 0,
		"IPv4 address at which others reach this node"},
	{"tunnel", "public6", CONF_ADDR, AT(public6), 0, NULL, 0, 0, "the same for IPv6"},
	{"tunnel", "resolver4", CONF_ADDR, AT(resolver4), 0, NULL, 0, 0,
		"DNS resolver that clients of this exit use"},
	{"tunnel", "resolver6", CONF_ADDR, AT(resolver6), 0, NULL, 0, 0, "the same over IPv6"},
	{"tunnel", "pool4", CONF_PREFIX, AT(pool4), 0, "100.64.0.0/11", 0, 0,
		"inner addresses that this exit lends, inside 100.64.0.0/10"},
	{"tunnel", "pool6", CONF_PREFIX, AT(pool6), 0, "fd6d:7670:6e00::/64", 0, 0,
		"inner IPv6 addresses that this exit lends, inside fc00::/7"},
	{"tunnel", "own", CONF_LIST, AT(own), 512, "", 0, 0,
		"own networks that clients of this exit never reach, prefixes"},
	{"tunnel", "peers", CONF_LIST, AT(peers), 1024, "", 0, 0,
		"WireGuard keys of own devices that use this node as their exit; the first has the address "
		"2 of the pools, the second 3, ..."},
	{"tunnel", "sessions", CONF_U64, AT(sessions_max), 0, "4096", 16, 65536,
		"sessions at a time, of all workers together"},
	{"tunnel", "aead", CONF_TEXT, AT(aead), 16, "", 0, 0,
		"lanes, ipsec-mb, openssl or sodium; empty: the fastest that computes rightly"},
};
const size_t node_conf_n_keys = sizeof(node_conf_keys) / sizeof(node_conf_keys[0]);

static enum err own_take(const struct node_conf *conf, struct overlay_conf *ret)
{
	char list[sizeof(conf->own)], *save = NULL;

	memcpy(list, conf->own, sizeof(list));
	for (char *p = strtok_r(list, ", ", &save); p != NULL; p = strtok_r(NULL, ", ", &save)) {
		if (ret->n_own == sizeof(ret->own) / sizeof(ret->own[0]) ||
			net_prefix_parse(p, &ret->own[ret->n_own]) != OK) {
			log_error("node.ini: own: '%.60s' is no prefix such as 192.0.2.0/24, or more than %zu",
				p, sizeof(ret->own) / sizeof(ret->own[0]));
			return ERR_INVALID;
		}
		ret->n_own++;
	}
	return OK;
}

enum err node_stock_conf(const struct node_conf *conf, struct stock_conf *ret)
{
	enum err e = stock_parse(conf->peers, ret);

	if (e != OK)
		log_error("node.ini: peers: key %u is no WireGuard public key, or there are more than %u", ret->n,
			STOCK_MAX);
	ret->pool4 = conf->pool4;
	ret->pool6 = conf->pool6;
	return e;
}

static bool family_ok(const char *key, const struct net_addr *a, enum net_family want)
{
	if (a->family == NET_NONE || a->family == want)
		return true;
	log_error("node.ini: %s: not an %s address", key, want == NET_IP4 ? "IPv4" : "IPv6");
	return false;
}

static enum err addresses_check(const struct node_conf *conf)
{
	if (!family_ok("public4", &conf->public4, NET_IP4) || !family_ok("public6", &conf->public6, NET_IP6) ||
		!family_ok("resolver4", &conf->resolver4, NET_IP4) ||
		!family_ok("resolver6", &conf->resolver6, NET_IP6))
		return ERR_INVALID;
	if (lease_pools_ok(&conf->pool4, &conf->pool6))
		return OK;
	log_error("node.ini: pool4 has to lie inside 100.64.0.0/10 and be /10 to /24, pool6 inside fc00::/7 "
		  "and be /7 to /96");
	return ERR_INVALID;
}

enum err node_overlay_conf(const struct node_conf *conf, struct overlay_conf *ret)
{
	*ret = (struct overlay_conf){.have_ip4 = conf->public4.family == NET_IP4,
		.have_ip6 = conf->public6.family == NET_IP6,
		.test_network = conf->test_network,
		.resolver4 = conf->resolver4,
		.resolver6 = conf->resolver6,
		.exit_mtu = DEVICE_MTU,
		.stock = conf->peers[0] != '\0'};
	TRY(addresses_check(conf));
	if (conf->exit_tun[0] != '\0') {
		ret->pool4 = conf->pool4;
		ret->pool6 = conf->pool6;
	}
	TRY(net_addr_parse(NODE_DEVICE4, &ret->device4));
	TRY(net_addr_parse(NODE_DEVICE6, &ret->device6));
	TRY(net_addr_parse(NODE_DEVICE_DNS4, &ret->device_dns4));
	TRY(net_addr_parse(NODE_DEVICE_DNS6, &ret->device_dns6));
	/* A client behind NAT names no address of its own; it still has IPv4. */
	if (!ret->have_ip4 && !ret->have_ip6)
		ret->have_ip4 = true;
	return own_take(conf, ret);
}
