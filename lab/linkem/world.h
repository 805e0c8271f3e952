/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The internet between the hosts: who owns which prefix, and what becomes of a packet.
 *
 * A packet crosses its sender's link upwards, the path between the two regions, and the receiver's
 * link downwards. One router is counted on the way (TTL), which answers with ICMP errors at a
 * bounded rate. A host is reached by the longest of the prefixes that belong to hosts. */
#ifndef LINKEM_WORLD_H
#define LINKEM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/rng.h"
#include "lib/units.h"
#include "ip.h"
#include "link.h"
#include "queue.h"

#define HOSTS_MAX 64   /* namespaces that one machine carries with ease */
#define ROUTES_MAX 256 /* four prefixes a host */
#define REGIONS_MAX 32
#define HOST_NAME_MAX_ 24
/* ICMP errors a second: what routers usually grant. */
#define ERRORS_PER_S 1000

struct host {
	uint64_t id; /* 0: free place; never used again */
	char name[HOST_NAME_MAX_];
	int tun_fd;
	uint8_t region;
	uint16_t mtu;
	struct link up, down; /* from the host, to the host */
	uint64_t n_write_failed;
};

struct route {
	struct net_prefix prefix;
	uint8_t host;
};

struct world_counters {
	uint64_t malformed, unrouted, expired, too_big, no_buffer, errors_sent, errors_held;
};

struct world {
	struct host hosts[HOSTS_MAX];
	uint64_t last_id;
	struct route routes[ROUTES_MAX]; /* longest first */
	size_t n_routes;
	uint32_t path_us[REGIONS_MAX][REGIONS_MAX];
	struct net_addr router4, router6; /* source of ICMP errors; family 0: none are sent */
	struct world_counters n;
	mono_t errors_since; /* begin of the second that errors_left is for */
	uint32_t errors_left;
	struct rng rng;
	struct queue *queue;
};

void world_init(struct world *w, struct queue *q, const uint8_t seed[static 32]);

struct host *host_find(struct world *w, const char *name);
/* Takes ownership of tun_fd. ERR_FULL, ERR_INVALID (name there already). */
NODISCARD enum err host_add(struct world *w, const char *name, int tun_fd, struct host **ret_h);
/* Closes its TUN; what is under way to it is dropped. */
void host_del(struct world *w, struct host *h);
NODISCARD enum err route_add(struct world *w, struct host *h, const struct net_prefix *p);

/* Packet p (p->len bytes) was read from host h. Takes ownership of p. */
void world_receive(struct world *w, struct host *h, struct packet *p, mono_t now);
/* Handles all that is due at `now`. */
void world_turn(struct world *w, mono_t now);

#endif
