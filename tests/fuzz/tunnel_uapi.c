/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Set requests, several in a row (an empty line between them), for an interface that is a table. Whatever
 * they say: calls are only for peers that are there, values are in their bounds, nobody becomes his own
 * peer; and what stands in the table then, written as a request, makes the same table. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "services/tunnel/core/uapi_set.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define CHECK(x) ((x) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x), abort()))
#define PEERS 16
#define PREFIXES 16

struct prefix_of {
	struct net_prefix p;
	uint32_t owner; /* + 1; 0: free */
};

struct table {
	uint8_t sk[WG_KEY_SIZE];
	uint16_t port;
	uint32_t mark;
	struct entry {
		bool used;
		uint8_t pk[WG_KEY_SIZE], psk[WG_KEY_SIZE];
		struct net_endpoint to;
		uint32_t scope;
		uint16_t keepalive_s;
	} peers[PEERS];
	struct prefix_of prefixes[PREFIXES];
};

static struct entry *there(void *ctx, uint32_t number)
{
	struct table *t = ctx;

	CHECK(number < PEERS && t->peers[number].used);
	return &t->peers[number];
}

/* The public key of this world is the secret one with its first bit turned. */
static bool is_self(void *ctx, const uint8_t pk[static WG_KEY_SIZE])
{
	const struct table *t = ctx;
	uint8_t own[WG_KEY_SIZE];

	memcpy(own, t->sk, WG_KEY_SIZE);
	own[0] ^= 1;
	return !sodium_is_zero(t->sk, WG_KEY_SIZE) && memcmp(own, pk, WG_KEY_SIZE) == 0;
}

static bool peer_find(void *ctx, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret)
{
	struct table *t = ctx;

	for (uint32_t i = 0; i < PEERS; i++) {
		if (!t->peers[i].used || memcmp(t->peers[i].pk, pk, WG_KEY_SIZE) != 0)
			continue;
		*ret = i;
		return true;
	}
	return false;
}

static int peer_add(void *ctx, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret)
{
	struct table *t = ctx;
	uint32_t unused;

	CHECK(!peer_find(t, pk, &unused));
	CHECK(!is_self(t, pk));
	for (uint32_t i = 0; i < PEERS; i++) {
		if (t->peers[i].used)
			continue;
		t->peers[i].used = true;
		memcpy(t->peers[i].pk, pk, WG_KEY_SIZE);
		*ret = i;
		return 0;
	}
	return -ENOSPC;
}

static void allowed_clear(void *ctx, uint32_t number)
{
	struct table *t = ctx;

	there(ctx, number);
	for (int i = 0; i < PREFIXES; i++)
		if (t->prefixes[i].owner == number + 1)
			t->prefixes[i].owner = 0;
}

static void peer_remove(void *ctx, uint32_t number)
{
	allowed_clear(ctx, number);
	memset(there(ctx, number), 0, sizeof(struct entry));
}

static void peers_clear(void *ctx)
{
	struct table *t = ctx;

	for (uint32_t i = 0; i < PEERS; i++)
		if (t->peers[i].used)
			peer_remove(t, i);
}

static void key_set(void *ctx, const uint8_t sk[static WG_KEY_SIZE])
{
	struct table *t = ctx;

	memcpy(t->sk, sk, WG_KEY_SIZE);
	for (uint32_t i = 0; i < PEERS; i++)
		if (t->peers[i].used && is_self(t, t->peers[i].pk))
			peer_remove(t, i);
}

static int port_set(void *ctx, uint16_t port)
{
	((struct table *)ctx)->port = port;
	return port == 666 ? -EADDRINUSE : 0;
}

static int mark_set(void *ctx, uint32_t mark)
{
	((struct table *)ctx)->mark = mark;
	return 0;
}

static void psk_set(void *ctx, uint32_t number, const uint8_t psk[static WG_KEY_SIZE])
{
	memcpy(there(ctx, number)->psk, psk, WG_KEY_SIZE);
}

static void endpoint_set(void *ctx, uint32_t number, const struct net_endpoint *to, uint32_t scope)
{
	CHECK(to->addr.family == NET_IP4 || to->addr.family == NET_IP6);
	CHECK(scope == 0 || to->addr.family == NET_IP6);
	there(ctx, number)->to = *to;
	there(ctx, number)->scope = scope;
}

static void keepalive_set(void *ctx, uint32_t number, uint16_t interval_s)
{
	there(ctx, number)->keepalive_s = interval_s;
}

static struct prefix_of *prefix_at(struct table *t, const struct net_prefix *p)
{
	struct prefix_of *place = NULL;

	CHECK(p->addr.family == NET_IP4 || p->addr.family == NET_IP6);
	CHECK(p->bits <= 8 * net_ip_len(&p->addr));
	for (size_t i = p->bits; i < 8 * net_ip_len(&p->addr); i++)
		CHECK((p->addr.ip[i / 8] & 0x80 >> i % 8) == 0);
	for (int i = 0; i < PREFIXES; i++) {
		struct prefix_of *q = &t->prefixes[i];

		if (q->owner != 0 && q->p.bits == p->bits && memcmp(&q->p.addr, &p->addr, sizeof(p->addr)) == 0)
			return q;
		if (q->owner == 0 && place == NULL)
			place = q;
	}
	return place;
}

static int allowed_add(void *ctx, uint32_t number, const struct net_prefix *p)
{
	struct prefix_of *q = prefix_at(ctx, p);

	there(ctx, number);
	if (q == NULL)
		return -ENOMEM;
	*q = (struct prefix_of){.p = *p, .owner = number + 1};
	return 0;
}

static void allowed_remove(void *ctx, uint32_t number, const struct net_prefix *p)
{
	struct prefix_of *q = prefix_at(ctx, p);

	there(ctx, number);
	if (q != NULL && q->owner == number + 1)
		q->owner = 0;
}

static bool scope_find(void *ctx, const char *name, uint32_t *ret)
{
	(void)ctx;
	*ret = 1;
	return strcmp(name, "lo") == 0;
}

static const struct uapi_ops ops = {key_set, port_set, mark_set, peers_clear, is_self, peer_find, peer_add,
	peer_remove, psk_set, endpoint_set, keepalive_set, allowed_clear, allowed_add, allowed_remove, scope_find};

/* --- the table as a request -------------------------------------------------------------------------------- */
static void hex_show(FILE *f, const char *name, const uint8_t key[static WG_KEY_SIZE])
{
	char hex[2 * WG_KEY_SIZE + 1];

	fprintf(f, "%s=%s\n", name, sodium_bin2hex(hex, sizeof(hex), key, WG_KEY_SIZE));
}

static void entry_show(FILE *f, const struct table *t, uint32_t i)
{
	const struct entry *p = &t->peers[i];
	char text[NET_TEXT_MAX];

	hex_show(f, "public_key", p->pk);
	hex_show(f, "preshared_key", p->psk);
	if (p->to.addr.family == NET_IP6 && p->scope != 0)
		fprintf(f, "endpoint=[%s%%%u]:%u\n", net_addr_show(&p->to.addr, text), p->scope, p->to.port);
	else if (p->to.addr.family != NET_NONE)
		fprintf(f, "endpoint=%s\n", net_endpoint_show(&p->to, text));
	fprintf(f, "persistent_keepalive_interval=%u\n", p->keepalive_s);
	for (int k = 0; k < PREFIXES; k++)
		if (t->prefixes[k].owner == i + 1)
			fprintf(f, "allowed_ip=%s/%u\n", net_addr_show(&t->prefixes[k].p.addr, text),
				t->prefixes[k].p.bits);
}

static char *table_show(const struct table *t)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	hex_show(f, "private_key", t->sk);
	fprintf(f, "listen_port=%u\nfwmark=%u\n", t->port == 666 ? 0 : t->port, t->mark);
	for (uint32_t i = 0; i < PEERS; i++)
		if (t->peers[i].used)
			entry_show(f, t, i);
	fclose(f);
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char *all = malloc(len + 1), *request = all, *end, *said, *again, *copy;
	struct table t = {0}, second = {0};

	memcpy(all, data, len);
	all[len] = '\0'; /* the socket lets no NUL in: what is behind one is not read */
	for (; request != NULL; request = end) {
		int e;

		end = strstr(request, "\n\n");
		if (end != NULL) {
			*end = '\0';
			end += 2;
		}
		e = uapi_set(&ops, &t, request);
		CHECK(e == 0 || e == -EINVAL || e == -EPROTO || e == -ENOSPC || e == -ENOMEM || e == -EADDRINUSE);
	}
	said = table_show(&t);
	copy = strdup(said);
	CHECK(uapi_set(&ops, &second, copy) == 0);
	again = table_show(&second);
	CHECK(strcmp(said, again) == 0);
	free(copy);
	free(again);
	free(said);
	free(all);
	return 0;
}
