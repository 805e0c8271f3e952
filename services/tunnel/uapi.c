/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "uapi.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "core/uapi_set.h"
#include "lib/sys/clock.h"

/* --- set ---------------------------------------------------------------------------------------------------- */
static void key_set(void *d, const uint8_t sk[static WG_KEY_SIZE])
{
	device_key_set(d, sk);
}

static int port_set(void *d, uint16_t port)
{
	device_commit(d);
	return device_port_set(d, port);
}

static int mark_set(void *d, uint32_t mark)
{
	device_commit(d);
	return device_mark_set(d, mark);
}

static void peers_clear(void *d)
{
	device_peers_clear(d);
}

static bool is_self(void *ctx, const uint8_t pk[static WG_KEY_SIZE])
{
	const struct device *d = ctx;

	return d->has_key && memcmp(pk, d->static_pk, WG_KEY_SIZE) == 0;
}

static bool peer_find(void *d, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number)
{
	return device_peer_find(d, pk, ret_number);
}

static int peer_add(void *d, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number)
{
	return device_peer_add(d, pk, ret_number);
}

static void peer_remove(void *d, uint32_t number)
{
	device_peer_remove(d, number);
}

static void psk_set(void *d, uint32_t number, const uint8_t psk[static WG_KEY_SIZE])
{
	device_psk_set(d, number, psk);
}

static void endpoint_set(void *d, uint32_t number, const struct net_endpoint *to, uint32_t scope)
{
	struct udp_path path;

	udp_path_from(&path, to, UDP_PUBLIC);
	if (to->addr.family == NET_IP6)
		path.remote.in6.sin6_scope_id = scope;
	device_endpoint_set(d, number, &path);
}

static void keepalive_set(void *d, uint32_t number, uint16_t interval_s)
{
	device_keepalive_set(d, number, interval_s);
}

static void allowed_all_clear(void *d, uint32_t number)
{
	device_allowed_clear(d, number);
}

static int allowed_one_add(void *d, uint32_t number, const struct net_prefix *p)
{
	return device_allowed_add(d, number, p);
}

static void allowed_one_remove(void *d, uint32_t number, const struct net_prefix *p)
{
	device_allowed_remove(d, number, p);
}

static bool scope_find(void *d, const char *name, uint32_t *ret_scope)
{
	(void)d;
	*ret_scope = if_nametoindex(name);
	return *ret_scope != 0;
}

static const struct uapi_ops ops = {
	.key_set = key_set,
	.port_set = port_set,
	.mark_set = mark_set,
	.peers_clear = peers_clear,
	.is_self = is_self,
	.peer_find = peer_find,
	.peer_add = peer_add,
	.peer_remove = peer_remove,
	.psk_set = psk_set,
	.endpoint_set = endpoint_set,
	.keepalive_set = keepalive_set,
	.allowed_clear = allowed_all_clear,
	.allowed_add = allowed_one_add,
	.allowed_remove = allowed_one_remove,
	.scope_find = scope_find,
};

static int set(struct device *d, char *lines)
{
	const int e = uapi_set(&ops, d, lines);

	device_commit(d);
	return e;
}

/* --- get ---------------------------------------------------------------------------------------------------- */
static void key_show(FILE *f, const char *name, const uint8_t key[static WG_KEY_SIZE])
{
	char hex[2 * WG_KEY_SIZE + 1];

	sodium_bin2hex(hex, sizeof(hex), key, WG_KEY_SIZE);
	fprintf(f, "%s=%s\n", name, hex);
	sodium_memzero(hex, sizeof(hex));
}

static void endpoint_show(FILE *f, const struct udp_path *p)
{
	struct net_endpoint e;
	char text[NET_TEXT_MAX];
	const uint32_t scope = p->remote.sa.sa_family == AF_INET6 ? p->remote.in6.sin6_scope_id : 0;

	udp_path_endpoint(p, &e);
	if (e.addr.family == NET_NONE)
		return;
	if (scope != 0) {
		char name[IFNAMSIZ];

		if (if_indextoname(scope, name) == NULL)
			snprintf(name, sizeof(name), "%u", scope);
		fprintf(f, "endpoint=[%s%%%s]:%u\n", net_addr_show(&e.addr, text), name, e.port);
		return;
	}
	fprintf(f, "endpoint=%s\n", net_endpoint_show(&e, text));
}

static void handshake_show(FILE *f, mono_t last)
{
	uint64_t ns = last.ns == 0 ? 0 : wall_now_ns() - mono_since(last, mono_now()).ns;

	fprintf(f, "last_handshake_time_sec=%llu\nlast_handshake_time_nsec=%llu\n",
		(unsigned long long)(ns / 1000000000u), (unsigned long long)(ns % 1000000000u));
}

static void peer_show(struct device *d, uint32_t number, const struct device_view *v, FILE *f)
{
	const struct device_peer *p = &d->peers[number];
	struct net_prefix prefix;
	char text[NET_TEXT_MAX];

	key_show(f, "public_key", p->pk);
	key_show(f, "preshared_key", p->preshared_key);
	fprintf(f, "protocol_version=1\n");
	endpoint_show(f, &v->path);
	handshake_show(f, v->last_handshake);
	fprintf(f, "tx_bytes=%llu\nrx_bytes=%llu\npersistent_keepalive_interval=%u\n",
		(unsigned long long)v->tx_bytes, (unsigned long long)v->rx_bytes, p->keepalive_s);
	for (uint32_t c = 0; (c = allowed_next(d->allowed, number, c, &prefix)) != 0;)
		fprintf(f, "allowed_ip=%s/%u\n", net_addr_show(&prefix.addr, text), prefix.bits);
}

static int get(struct device *d, FILE *f)
{
	struct device_view *views = calloc(d->n_fresh + 1u, sizeof(*views));

	if (views == NULL)
		return -ENOMEM;
	device_view(d, views);
	if (d->has_key)
		key_show(f, "private_key", d->static_sk);
	if (d->port != 0)
		fprintf(f, "listen_port=%u\n", d->port);
	if (d->mark != 0)
		fprintf(f, "fwmark=%u\n", d->mark);
	for (uint32_t i = 0; i < d->n_fresh; i++)
		if (d->peers[i].used)
			peer_show(d, i, &views[i], f);
	free(views);
	return 0;
}

bool uapi_request(struct device *d, char *request, FILE *f)
{
	char *rest = strchr(request, '\n');
	int e;

	if (rest != NULL)
		*rest++ = '\0';
	if (strcmp(request, "get=1") == 0)
		e = rest == NULL || rest[0] == '\0' ? get(d, f) : -EINVAL;
	else if (strcmp(request, "set=1") == 0)
		e = rest == NULL ? 0 : set(d, rest);
	else
		return false;
	fprintf(f, "errno=%d\n\n", e);
	return true;
}
