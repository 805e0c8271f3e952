/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "uapi.h"

#include <errno.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/sys/clock.h"

/* --- values ---------------------------------------------------------------------------------------------- */
static bool key_parse(const char *s, uint8_t ret[static WG_KEY_SIZE])
{
	size_t n;

	return strlen(s) == 2 * WG_KEY_SIZE &&
		sodium_hex2bin(ret, WG_KEY_SIZE, s, 2 * WG_KEY_SIZE, NULL, &n, NULL) == 0 && n == WG_KEY_SIZE;
}

static bool number_parse(const char *s, uint32_t max, uint32_t *ret)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (s[0] < '0' || s[0] > '9' || *end != '\0' || errno != 0 || v > max)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* "192.0.2.1:51820", "[2001:db8::1]:51820", "[fe80::1%eth0]:51820". */
static bool endpoint_parse(const char *s, struct udp_path *ret)
{
	char text[NET_TEXT_MAX + IFNAMSIZ], *scope, *end;
	struct net_endpoint e;
	uint32_t scope_id = 0;

	if (snprintf(text, sizeof(text), "%s", s) >= (int)sizeof(text))
		return false;
	scope = strchr(text, '%');
	if (scope != NULL) {
		end = strchr(scope, ']');
		if (end == NULL)
			return false;
		*end = '\0';
		scope_id = if_nametoindex(scope + 1);
		if (scope_id == 0 && !number_parse(scope + 1, UINT32_MAX, &scope_id))
			return false;
		*end = ']';
		memmove(scope, end, strlen(end) + 1);
	}
	if (net_endpoint_parse(text, &e) != OK)
		return false;
	udp_path_from(ret, &e, UDP_PUBLIC);
	if (e.addr.family == NET_IP6)
		ret->remote.in6.sin6_scope_id = scope_id;
	return true;
}

/* Host bits may be set: they are cleared. */
static bool prefix_parse(const char *s, struct net_prefix *ret)
{
	char text[NET_TEXT_MAX], *slash;
	uint32_t bits;

	if (snprintf(text, sizeof(text), "%s", s) >= (int)sizeof(text) || (slash = strchr(text, '/')) == NULL)
		return false;
	*slash = '\0';
	if (net_addr_parse(text, &ret->addr) != OK ||
		!number_parse(slash + 1, 8 * (uint32_t)net_ip_len(&ret->addr), &bits))
		return false;
	ret->bits = (uint8_t)bits;
	for (uint32_t i = bits; i < 8 * net_ip_len(&ret->addr); i++)
		ret->addr.ip[i / 8] &= (uint8_t)~(0x80 >> i % 8);
	return true;
}

/* --- set ---------------------------------------------------------------------------------------------------- */
struct setting {
	struct device *d;
	bool in_peer;
	/* The peer of the section. */
	uint8_t pk[WG_KEY_SIZE];
	bool exists;
	bool ignored; /* ourselves, removed, or absent with update_only */
	bool update_only;
	uint32_t number;
};

static int on_private_key(struct setting *s, const char *v)
{
	uint8_t sk[WG_KEY_SIZE];

	if (!key_parse(v, sk))
		return -EINVAL;
	device_key_set(s->d, sk);
	sodium_memzero(sk, sizeof(sk));
	return 0;
}

static int on_listen_port(struct setting *s, const char *v)
{
	uint32_t port;

	if (!number_parse(v, UINT16_MAX, &port))
		return -EINVAL;
	device_commit(s->d);
	return device_port_set(s->d, (uint16_t)port);
}

static int on_fwmark(struct setting *s, const char *v)
{
	uint32_t mark = 0;

	if (v[0] != '\0' && !number_parse(v, UINT32_MAX, &mark))
		return -EINVAL;
	device_commit(s->d);
	return device_mark_set(s->d, mark);
}

static int on_replace_peers(struct setting *s, const char *v)
{
	if (strcmp(v, "true") != 0)
		return -EINVAL;
	device_peers_clear(s->d);
	return 0;
}

static int on_public_key(struct setting *s, const char *v)
{
	struct device *d = s->d;

	if (!key_parse(v, s->pk))
		return -EINVAL;
	*s = (struct setting){.d = d, .in_peer = true};
	if (!key_parse(v, s->pk))
		return -EINVAL;
	s->ignored = d->has_key && memcmp(s->pk, d->static_pk, WG_KEY_SIZE) == 0;
	s->exists = !s->ignored && device_peer_find(d, s->pk, &s->number);
	return 0;
}

/* The section's peer is wanted: makes it if it is not there. False: it is ignored. */
static bool peer_wanted(struct setting *s, int *ret_errno)
{
	*ret_errno = 0;
	if (!s->in_peer || s->ignored || s->exists)
		return s->in_peer && !s->ignored;
	if (s->update_only)
		return false;
	*ret_errno = device_peer_add(s->d, s->pk, &s->number);
	s->exists = *ret_errno == 0;
	return s->exists;
}

static int on_remove(struct setting *s, const char *v)
{
	if (strcmp(v, "true") != 0)
		return -EINVAL;
	if (s->exists)
		device_peer_remove(s->d, s->number);
	s->exists = false;
	s->ignored = true;
	return 0;
}

static int on_update_only(struct setting *s, const char *v)
{
	if (strcmp(v, "true") != 0)
		return -EINVAL;
	s->update_only = true;
	return 0;
}

static int on_preshared_key(struct setting *s, const char *v)
{
	uint8_t psk[WG_KEY_SIZE];
	int e;

	if (!key_parse(v, psk))
		return -EINVAL;
	if (peer_wanted(s, &e))
		device_psk_set(s->d, s->number, psk);
	sodium_memzero(psk, sizeof(psk));
	return e;
}

static int on_endpoint(struct setting *s, const char *v)
{
	struct udp_path path;
	int e;

	if (!endpoint_parse(v, &path))
		return -EINVAL;
	if (peer_wanted(s, &e))
		device_endpoint_set(s->d, s->number, &path);
	return e;
}

static int on_keepalive(struct setting *s, const char *v)
{
	uint32_t interval;
	int e;

	if (!number_parse(v, UINT16_MAX, &interval))
		return -EINVAL;
	if (peer_wanted(s, &e))
		device_keepalive_set(s->d, s->number, (uint16_t)interval);
	return e;
}

static int on_replace_allowed_ips(struct setting *s, const char *v)
{
	int e;

	if (strcmp(v, "true") != 0)
		return -EINVAL;
	if (peer_wanted(s, &e))
		device_allowed_clear(s->d, s->number);
	return e;
}

static int on_allowed_ip(struct setting *s, const char *v)
{
	const bool remove = v[0] == '-';
	struct net_prefix p;
	int e;

	if (!prefix_parse(v + (v[0] == '-' || v[0] == '+'), &p))
		return -EINVAL;
	if (!peer_wanted(s, &e))
		return e;
	if (!remove)
		return device_allowed_add(s->d, s->number, &p);
	device_allowed_remove(s->d, s->number, &p);
	return 0;
}

static int on_protocol_version(struct setting *s, const char *v)
{
	(void)s;
	return strcmp(v, "1") == 0 ? 0 : -EINVAL;
}

static const struct {
	const char *key;
	bool of_peer;
	int (*set)(struct setting *s, const char *value);
} keys[] = {
	{"private_key", false, on_private_key},
	{"listen_port", false, on_listen_port},
	{"fwmark", false, on_fwmark},
	{"replace_peers", false, on_replace_peers},
	{"remove", true, on_remove},
	{"update_only", true, on_update_only},
	{"preshared_key", true, on_preshared_key},
	{"endpoint", true, on_endpoint},
	{"persistent_keepalive_interval", true, on_keepalive},
	{"replace_allowed_ips", true, on_replace_allowed_ips},
	{"allowed_ip", true, on_allowed_ip},
	{"protocol_version", true, on_protocol_version},
};

static int line_set(struct setting *s, char *line)
{
	char *value = strchr(line, '=');
	int e = 0;

	if (value == NULL)
		return -EPROTO;
	*value++ = '\0';
	if (strcmp(line, "public_key") == 0) {
		/* A section with nothing in it makes a peer as well. */
		if (s->in_peer)
			(void)peer_wanted(s, &e);
		return e != 0 ? e : on_public_key(s, value);
	}
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (strcmp(keys[i].key, line) == 0 && keys[i].of_peer == s->in_peer)
			return keys[i].set(s, value);
	return -EINVAL;
}

static int set(struct device *d, char *lines)
{
	struct setting s = {.d = d};
	char *save = NULL;
	int e = 0;

	for (char *l = strtok_r(lines, "\n", &save); l != NULL && e == 0; l = strtok_r(NULL, "\n", &save))
		e = line_set(&s, l);
	if (e == 0 && s.in_peer)
		(void)peer_wanted(&s, &e);
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

void uapi_request(struct device *d, char *request, FILE *f)
{
	char *rest = strchr(request, '\n');
	int e = -EPROTO;

	if (rest != NULL)
		*rest++ = '\0';
	if (strcmp(request, "get=1") == 0)
		e = rest == NULL || rest[0] == '\0' ? get(d, f) : -EPROTO;
	else if (strcmp(request, "set=1") == 0)
		e = rest == NULL ? 0 : set(d, rest);
	fprintf(f, "errno=%d\n\n", e);
}
