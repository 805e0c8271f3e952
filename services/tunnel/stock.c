/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "stock.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "overlay.h"

struct stock_peer {
	struct peer *peer; /* NULL: another worker's, or none */
	struct net_addr ip4, ip6;
};

struct stock {
	struct stock_peer by_number[LEASE_RESERVED];
};

static bool key_parse(const char *s, uint8_t ret[static WG_KEY_SIZE])
{
	const size_t len = strlen(s);
	size_t n;

	return (sodium_hex2bin(ret, WG_KEY_SIZE, s, len, NULL, &n, NULL) == 0 && n == WG_KEY_SIZE &&
		       len == 2 * WG_KEY_SIZE) ||
		(sodium_base642bin(ret, WG_KEY_SIZE, s, len, NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL) == 0 &&
			n == WG_KEY_SIZE);
}

enum err stock_parse(const char *list, struct stock_conf *ret)
{
	char word[96];

	ret->n = 0;
	while (*list != '\0') {
		size_t n = strcspn(list, ", ");

		if (n >= sizeof(word))
			return ERR_INVALID;
		memcpy(word, list, n);
		word[n] = '\0';
		list += n + strspn(list + n, ", ");
		if (n == 0)
			continue;
		if (ret->n == STOCK_MAX)
			return ERR_FULL;
		if (!key_parse(word, ret->pk[ret->n++]))
			return ERR_INVALID;
	}
	return OK;
}

/* --- the role --------------------------------------------------------------------------------------------- */
static unsigned int gate(struct worker *w, struct peer *p)
{
	(void)w;
	(void)p;
	return 1u << FRAME_IP4 | 1u << FRAME_IP6;
}

static bool ip(struct worker *w, struct peer *p, uint8_t *pkt, uint32_t len, bool partial)
{
	const struct stock_peer *s = p->own;

	(void)partial;
	if (pkt[0] >> 4 == 4 ? memcmp(pkt + 12, s->ip4.ip, 4) != 0 : memcmp(pkt + 8, s->ip6.ip, 16) != 0)
		return false;
	return overlay_policy_passes(w->overlay, pkt, len);
}

static const struct peer_role role_stock = {
	.name = "stock",
	.roams = true,
	.initiates = true,
	.tun = TUN_EXIT,
	.gate = gate,
	.ip = ip,
};

static struct net_addr address(const struct net_prefix *pool, uint32_t number)
{
	struct net_addr a = pool->addr;

	if (a.family != NET_NONE)
		a.ip[a.family == NET_IP4 ? 3 : 15] |= (uint8_t)number;
	return a;
}

enum err stock_setup(struct worker *w, const struct stock_conf *conf)
{
	const uint32_t mask = (1u << w->plane->worker_bits) - 1;

	w->stock = calloc(1, sizeof(*w->stock));
	if (w->stock == NULL)
		return ERR_FULL;
	for (uint32_t i = 0; i < conf->n; i++) {
		const uint32_t number = STOCK_FIRST + i;
		struct stock_peer *s = &w->stock->by_number[number];
		struct peer *p;

		/* Bits that name no worker are everybody's, and so the first one's. */
		if ((number & mask) != w->id && !(w->id == 0 && (number & mask) >= w->plane->n_workers))
			continue;
		TRY(peer_new(w, &role_stock, &w->identity, conf->pk[i], NULL, &p));
		s->peer = p;
		s->ip4 = address(&conf->pool4, number);
		s->ip6 = address(&conf->pool6, number);
		p->own = s;
		TRY(directory_add(&w->plane->directory, conf->pk[i], (uint16_t)w->id, p->handle));
	}
	return OK;
}

struct peer *stock_by_destination(struct worker *w, const struct offload_super *s)
{
	const uint8_t *dst = s->pkt + s->ip.dst;
	const struct stock_peer *p;

	if (w->stock == NULL)
		return NULL;
	p = &w->stock->by_number[dst[s->ip.addr_len - 1] % LEASE_RESERVED];
	if (p->peer == NULL || memcmp(dst, s->ip.family == 4 ? p->ip4.ip : p->ip6.ip, s->ip.addr_len) != 0)
		return NULL;
	return p->peer;
}

void stock_done(struct worker *w)
{
	free(w->stock);
	w->stock = NULL;
}
