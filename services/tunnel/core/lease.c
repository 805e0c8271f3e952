/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "lease.h"

#include <string.h>

#include "lib/bytes.h"

struct lease_place {
	uint32_t session; /* LEASE_NONE: free */
	uint32_t next;	  /* in the line of free places */
	mono_t free_from; /* end of quarantine */
};

#define SESSIONS_MAX (1u << 24)

bool lease_pools_ok(const struct net_prefix *pool4, const struct net_prefix *pool6)
{
	static const struct net_prefix shared4 = {{NET_IP4, {100, 64}}, 10};
	static const struct net_prefix ula6 = {{NET_IP6, {0xfc}}, 7};

	return net_prefix_has(&shared4, &pool4->addr) && pool4->bits >= 10 && pool4->bits <= 24 &&
	       net_prefix_has(&ula6, &pool6->addr) && pool6->bits >= 7 && pool6->bits <= 96;
}

/* Host number of place p: the low bits name the worker, the first LEASE_RESERVED are skipped. */
static uint32_t host_of(const struct lease_conf *c, uint32_t p)
{
	uint32_t skip = (LEASE_RESERVED + (1u << c->worker_bits) - 1) >> c->worker_bits;

	return (p + skip) << c->worker_bits | c->worker;
}

static uint32_t place_of_host(const struct lease_conf *c, uint32_t host)
{
	uint32_t skip = (LEASE_RESERVED + (1u << c->worker_bits) - 1) >> c->worker_bits;

	if ((host & ((1u << c->worker_bits) - 1)) != c->worker || host >> c->worker_bits < skip)
		return LEASE_NONE;
	return (host >> c->worker_bits) - skip;
}

/* As many as are asked for and as the IPv4 pool holds, less its broadcast address. */
static uint32_t places_for(const struct lease_conf *c)
{
	uint32_t last = (1u << (32 - c->pool4.bits)) - 1;
	uint32_t n = ((last - c->worker) >> c->worker_bits) -
		     ((LEASE_RESERVED + (1u << c->worker_bits) - 1) >> c->worker_bits);

	return n < c->leases_max ? n : c->leases_max;
}

size_t lease_bytes(const struct lease_conf *c)
{
	if (!lease_pools_ok(&c->pool4, &c->pool6) || c->worker_bits > 6 || c->worker >= 1u << c->worker_bits ||
		c->leases_max == 0 || c->sessions_max == 0 || c->sessions_max > SESSIONS_MAX)
		return 0;
	return places_for(c) * sizeof(struct lease_place) + c->sessions_max * sizeof(uint32_t);
}

void lease_init(struct lease *l, const struct lease_conf *conf, void *mem)
{
	*l = (struct lease){.conf = *conf, .n_places = places_for(conf), .place = mem};
	l->of_session = (uint32_t *)(void *)(l->place + l->n_places);
	for (uint32_t s = 0; s < conf->sessions_max; s++)
		l->of_session[s] = LEASE_NONE;
	for (uint32_t p = 0; p < l->n_places; p++)
		l->place[p] = (struct lease_place){
			.session = LEASE_NONE, .next = p + 1 < l->n_places ? p + 1 : LEASE_NONE};
	l->free_head = 0;
	l->free_tail = l->n_places - 1;
}

static void addresses(
	const struct lease *l, uint32_t p, struct net_addr *ret4, struct net_addr *ret6)
{
	uint32_t host = host_of(&l->conf, p);

	*ret4 = l->conf.pool4.addr;
	be32_put(ret4->ip, be32_get(ret4->ip) | host);
	*ret6 = l->conf.pool6.addr;
	be32_put(ret6->ip + 12, host);
}

/* [P-51] */
static uint32_t free_take(struct lease *l, mono_t now)
{
	uint32_t p = l->free_head;

	if (p == LEASE_NONE || !mono_reached(l->place[p].free_from, now))
		return LEASE_NONE;
	l->free_head = l->place[p].next;
	if (l->free_head == LEASE_NONE)
		l->free_tail = LEASE_NONE;
	return p;
}

enum err lease_take(struct lease *l, mono_t now, uint32_t session, struct net_addr *ret_ip4,
	struct net_addr *ret_ip6)
{
	uint32_t p;

	if (session >= l->conf.sessions_max)
		return ERR_FULL;
	p = l->of_session[session];
	if (p == LEASE_NONE) {
		p = free_take(l, now);
		if (p == LEASE_NONE)
			return ERR_FULL;
		l->place[p].session = session;
		l->of_session[session] = p;
		l->n_used++;
	}
	addresses(l, p, ret_ip4, ret_ip6);
	return OK;
}

void lease_return(struct lease *l, mono_t now, uint32_t session)
{
	uint32_t p = session < l->conf.sessions_max ? l->of_session[session] : LEASE_NONE;

	if (p == LEASE_NONE)
		return;
	l->of_session[session] = LEASE_NONE;
	l->place[p] = (struct lease_place){.session = LEASE_NONE,
		.next = LEASE_NONE,
		.free_from = mono_add(now, LEASE_QUARANTINE)};
	if (l->free_tail == LEASE_NONE)
		l->free_head = p;
	else
		l->place[l->free_tail].next = p;
	l->free_tail = p;
	l->n_used--;
}

static uint32_t holder(const struct lease *l, uint32_t host)
{
	uint32_t p = place_of_host(&l->conf, host);

	return p < l->n_places ? l->place[p].session : LEASE_NONE;
}

uint32_t lease_holder4(const struct lease *l, const uint8_t ip[static 4])
{
	uint32_t host = be32_get(ip) ^ be32_get(l->conf.pool4.addr.ip);

	if (host >> (32 - l->conf.pool4.bits) != 0)
		return LEASE_NONE;
	return holder(l, host);
}

uint32_t lease_holder6(const struct lease *l, const uint8_t ip[static 16])
{
	if (memcmp(ip, l->conf.pool6.addr.ip, 12) != 0)
		return LEASE_NONE;
	return holder(l, be32_get(ip + 12));
}

uint32_t lease_holder_of_packet(
	const struct lease *l, const uint8_t *packet, size_t len, bool by_src)
{
	if (len >= 20 && packet[0] >> 4 == 4)
		return lease_holder4(l, packet + (by_src ? 12 : 16));
	if (len >= 40 && packet[0] >> 4 == 6)
		return lease_holder6(l, packet + (by_src ? 8 : 24));
	return LEASE_NONE;
}
