/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "world.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void world_init(struct world *w, struct queue *q, const uint8_t seed[static 32])
{
	*w = (struct world){.queue = q};
	rng_init(&w->rng, seed);
}

/* ---- hosts and routes ---- */

struct host *host_find(struct world *w, const char *name)
{
	for (size_t i = 0; i < HOSTS_MAX; i++)
		if (w->hosts[i].id != 0 && strcmp(w->hosts[i].name, name) == 0)
			return &w->hosts[i];
	return NULL;
}

enum err host_add(struct world *w, const char *name, int tun_fd, struct host **ret_h)
{
	if (host_find(w, name) != NULL || strlen(name) >= HOST_NAME_MAX_ || name[0] == '\0')
		return ERR_INVALID;
	for (size_t i = 0; i < HOSTS_MAX; i++) {
		struct host *h = &w->hosts[i];

		if (h->id != 0)
			continue;
		*h = (struct host){.id = ++w->last_id, .tun_fd = tun_fd, .mtu = 1500};
		snprintf(h->name, sizeof(h->name), "%s", name);
		link_init(&h->up);
		link_init(&h->down);
		*ret_h = h;
		return OK;
	}
	return ERR_FULL;
}

void host_del(struct world *w, struct host *h)
{
	uint8_t place = (uint8_t)(h - w->hosts);
	size_t kept = 0;

	for (size_t i = 0; i < w->n_routes; i++)
		if (w->routes[i].host != place)
			w->routes[kept++] = w->routes[i];
	w->n_routes = kept;
	close(h->tun_fd);
	*h = (struct host){.tun_fd = -1};
}

enum err route_add(struct world *w, struct host *h, const struct net_prefix *p)
{
	size_t i = w->n_routes;

	if (i == ROUTES_MAX)
		return ERR_FULL;
	for (; i > 0 && w->routes[i - 1].prefix.bits < p->bits; i--)
		w->routes[i] = w->routes[i - 1];
	w->routes[i] = (struct route){*p, (uint8_t)(h - w->hosts)};
	w->n_routes++;
	return OK;
}

static struct host *route_find(struct world *w, const struct net_addr *dst)
{
	for (size_t i = 0; i < w->n_routes; i++)
		if (net_prefix_has(&w->routes[i].prefix, dst))
			return &w->hosts[w->routes[i].host];
	return NULL;
}

/* ---- ICMP errors ---- */

static bool error_admitted(struct world *w, mono_t now)
{
	if (mono_since(w->errors_since, now).ns >= DUR_S(1).ns) {
		w->errors_since = now;
		w->errors_left = ERRORS_PER_S;
	}
	if (w->errors_left == 0) {
		w->n.errors_held++;
		return false;
	}
	w->errors_left--;
	return true;
}

/* Turns p, which came from h, into an error about itself, on its way back to h. */
static void error_answer(struct world *w, struct host *h, struct packet *p, const struct ip_view *v,
	enum ip_error what, uint16_t mtu, mono_t now)
{
	uint8_t buf[IP_ERROR_MAX];
	const struct net_addr *from = v->dst.family == NET_IP4 ? &w->router4 : &w->router6;

	if (v->is_error || from->family == NET_NONE || !error_admitted(w, now)) {
		packet_drop(w->queue, p);
		return;
	}
	size_t len = ip_error_build(p->data, p->len, what, from, mtu, buf);
	memcpy(p->data, buf, len);
	p->len = (uint16_t)len;
	p->to = (uint8_t)(h - w->hosts);
	p->to_id = h->id;
	p->stage = STAGE_ARRIVE;
	w->n.errors_sent++;
	queue_put(w->queue, p, now);
}

/* ---- packets ---- */

static void send_on(
	struct world *w, struct host *from, struct host *to, struct packet *p, mono_t now)
{
	mono_t at;

	if (link_enter(&from->up, now, p->len, &w->rng, &at) != OK) {
		packet_drop(w->queue, p);
		return;
	}
	ip_age(p->data);
	p->to = (uint8_t)(to - w->hosts);
	p->to_id = to->id;
	p->stage = STAGE_ARRIVE;
	queue_put(w->queue, p, mono_add(at, DUR_US(w->path_us[from->region][to->region])));
}

void world_receive(struct world *w, struct host *h, struct packet *p, mono_t now)
{
	struct ip_view v;
	struct host *to;

	if (ip_read(p->data, p->len, &v) != OK) {
		w->n.malformed++;
		packet_drop(w->queue, p);
		return;
	}
	to = route_find(w, &v.dst);
	if (to == NULL) {
		w->n.unrouted++;
		error_answer(w, h, p, &v, IP_UNREACHABLE, 0, now);
	} else if (v.ttl <= 1) {
		w->n.expired++;
		error_answer(w, h, p, &v, IP_TIME_EXCEEDED, 0, now);
	} else if (p->len > to->mtu) {
		/* The router does not cut packets: without DF they are only counted. */
		w->n.too_big++;
		if (v.may_fragment)
			packet_drop(w->queue, p);
		else
			error_answer(w, h, p, &v, IP_TOO_BIG, to->mtu, now);
	} else {
		send_on(w, h, to, p, now);
	}
}

static void deliver(struct world *w, struct host *h, struct packet *p)
{
	if (write(h->tun_fd, p->data, p->len) != (ssize_t)p->len)
		h->n_write_failed++;
	packet_drop(w->queue, p);
}

static void arrive(struct world *w, struct host *h, struct packet *p, mono_t at, mono_t now)
{
	mono_t out;

	if (link_enter(&h->down, at, p->len, &w->rng, &out) != OK) {
		packet_drop(w->queue, p);
	} else if (mono_reached(out, now)) {
		deliver(w, h, p);
	} else {
		p->stage = STAGE_DELIVER;
		queue_put(w->queue, p, out);
	}
}

void world_turn(struct world *w, mono_t now)
{
	struct packet *p;
	mono_t at;

	while ((p = queue_take(w->queue, now, &at)) != NULL) {
		struct host *h = &w->hosts[p->to];

		if (h->id != p->to_id)
			packet_drop(w->queue, p);
		else if (p->stage == STAGE_ARRIVE)
			arrive(w, h, p, at, now);
		else if (h->down.set.up)
			deliver(w, h, p);
		else
			packet_drop(w->queue, p);
	}
}
