/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "uapi_set.h"

#include <errno.h>
#include <string.h>

#include <sodium.h>

/* --- values ---------------------------------------------------------------------------------------------- */
static bool key_parse(const char *s, uint8_t ret[static WG_KEY_SIZE])
{
	size_t n;

	return strlen(s) == 2 * WG_KEY_SIZE &&
		sodium_hex2bin(ret, WG_KEY_SIZE, s, 2 * WG_KEY_SIZE, NULL, &n, NULL) == 0 && n == WG_KEY_SIZE;
}

static bool number_parse(const char *s, uint32_t max, uint32_t *ret)
{
	uint64_t v = 0;

	if (*s == '\0')
		return false;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return false;
		v = 10 * v + (uint64_t)(*s - '0');
		if (v > max)
			return false;
	}
	*ret = (uint32_t)v;
	return true;
}

/* "192.0.2.1:51820", "[2001:db8::1]:51820", "[fe80::1%eth0]:51820". */
static bool endpoint_parse(const struct uapi_setting *s, const char *v, struct net_endpoint *ret, uint32_t *ret_scope)
{
	char text[NET_TEXT_MAX + UAPI_SCOPE_MAX], *scope, *end;

	*ret_scope = 0;
	if (strlen(v) >= sizeof(text))
		return false;
	memcpy(text, v, strlen(v) + 1);
	scope = strchr(text, '%');
	if (scope != NULL) {
		end = strchr(scope, ']');
		if (end == NULL)
			return false;
		*end = '\0';
		if (!s->ops->scope_find(s->ctx, scope + 1, ret_scope) &&
			!number_parse(scope + 1, UINT32_MAX, ret_scope))
			return false;
		*end = ']';
		memmove(scope, end, strlen(end) + 1);
	}
	return net_endpoint_parse(text, ret) == OK && (scope == NULL || ret->addr.family == NET_IP6);
}

/* Host bits may be set: they are cleared. */
static bool prefix_parse(const char *s, struct net_prefix *ret)
{
	char text[NET_TEXT_MAX], *slash;
	uint32_t bits;

	if (strlen(s) >= sizeof(text))
		return false;
	memcpy(text, s, strlen(s) + 1);
	slash = strchr(text, '/');
	if (slash == NULL)
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

/* --- keys ------------------------------------------------------------------------------------------------- */
static int on_private_key(struct uapi_setting *s, const char *v)
{
	uint8_t sk[WG_KEY_SIZE];

	if (!key_parse(v, sk))
		return -EINVAL;
	s->ops->key_set(s->ctx, sk);
	sodium_memzero(sk, sizeof(sk));
	return 0;
}

static int on_listen_port(struct uapi_setting *s, const char *v)
{
	uint32_t port;

	if (!number_parse(v, UINT16_MAX, &port))
		return -EINVAL;
	return s->ops->port_set(s->ctx, (uint16_t)port);
}

static int on_fwmark(struct uapi_setting *s, const char *v)
{
	uint32_t mark;

	if (!number_parse(v, UINT32_MAX, &mark))
		return -EINVAL;
	return s->ops->mark_set(s->ctx, mark);
}

static int on_replace_peers(struct uapi_setting *s, const char *v)
{
	if (strcmp(v, "true") != 0)
		return -EINVAL;
	s->ops->peers_clear(s->ctx);
	return 0;
}

static int on_public_key(struct uapi_setting *s, const char *v)
{
	*s = (struct uapi_setting){.ops = s->ops, .ctx = s->ctx, .in_peer = true};
	if (!key_parse(v, s->pk))
		return -EINVAL;
	s->ignored = s->ops->is_self(s->ctx, s->pk);
	s->exists = !s->ignored && s->ops->peer_find(s->ctx, s->pk, &s->number);
	return 0;
}

/* The section's peer is wanted: makes it if it is not there. False: it is ignored. */
static bool peer_wanted(struct uapi_setting *s, int *ret_errno)
{
	*ret_errno = 0;
	if (!s->in_peer || s->ignored || s->exists)
		return s->in_peer && !s->ignored;
	if (s->update_only)
		return false;
	*ret_errno = s->ops->peer_add(s->ctx, s->pk, &s->number);
	s->exists = *ret_errno == 0;
	return s->exists;
}

static int on_remove(struct uapi_setting *s, const char *v)
{
	if (strcmp(v, "true") != 0)
		return -EINVAL;
	if (s->exists)
		s->ops->peer_remove(s->ctx, s->number);
	s->exists = false;
	s->ignored = true;
	return 0;
}

static int on_update_only(struct uapi_setting *s, const char *v)
{
	if (strcmp(v, "true") != 0)
		return -EINVAL;
	s->update_only = true;
	return 0;
}

static int on_preshared_key(struct uapi_setting *s, const char *v)
{
	uint8_t psk[WG_KEY_SIZE];
	int e;

	if (!key_parse(v, psk))
		return -EINVAL;
	if (peer_wanted(s, &e))
		s->ops->psk_set(s->ctx, s->number, psk);
	sodium_memzero(psk, sizeof(psk));
	return e;
}

static int on_endpoint(struct uapi_setting *s, const char *v)
{
	struct net_endpoint to;
	uint32_t scope;
	int e;

	if (!endpoint_parse(s, v, &to, &scope))
		return -EINVAL;
	if (peer_wanted(s, &e))
		s->ops->endpoint_set(s->ctx, s->number, &to, scope);
	return e;
}

static int on_keepalive(struct uapi_setting *s, const char *v)
{
	uint32_t interval;
	int e;

	if (!number_parse(v, UINT16_MAX, &interval))
		return -EINVAL;
	if (peer_wanted(s, &e))
		s->ops->keepalive_set(s->ctx, s->number, (uint16_t)interval);
	return e;
}

static int on_replace_allowed_ips(struct uapi_setting *s, const char *v)
{
	int e;

	if (strcmp(v, "true") != 0)
		return -EINVAL;
	if (peer_wanted(s, &e))
		s->ops->allowed_clear(s->ctx, s->number);
	return e;
}

static int on_allowed_ip(struct uapi_setting *s, const char *v)
{
	const bool remove = v[0] == '-';
	struct net_prefix p;
	int e;

	if (!prefix_parse(v + remove, &p))
		return -EINVAL;
	if (!peer_wanted(s, &e))
		return e;
	if (!remove)
		return s->ops->allowed_add(s->ctx, s->number, &p);
	s->ops->allowed_remove(s->ctx, s->number, &p);
	return 0;
}

static int on_protocol_version(struct uapi_setting *s, const char *v)
{
	(void)s;
	return strcmp(v, "1") == 0 ? 0 : -EINVAL;
}

static const struct {
	const char *key;
	bool of_peer;
	int (*set)(struct uapi_setting *s, const char *value);
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

static int line_set(struct uapi_setting *s, char *line)
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

int uapi_set(const struct uapi_ops *ops, void *ctx, char *lines)
{
	struct uapi_setting s = {.ops = ops, .ctx = ctx};
	int e = 0;

	for (char *line = lines, *end; *line != '\0' && e == 0; line = end) {
		end = strchr(line, '\n');
		if (end == NULL)
			end = line + strlen(line);
		else
			*end++ = '\0';
		if (*line != '\0')
			e = line_set(&s, line);
	}
	if (e == 0 && s.in_peer)
		(void)peer_wanted(&s, &e);
	return e;
}
