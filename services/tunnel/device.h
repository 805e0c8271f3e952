/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A WireGuard interface as its user configures it: key, port, mark, peers. Main thread only.
 *
 * What is configured stands here; what a worker needs of it is gathered as changes and carried to all
 * workers by device_commit, in order, so that a configuration of 65,536 peers costs one visit. Errors
 * are negative errno values, as the configuration protocol wants them. */
#ifndef TUNNEL_DEVICE_H
#define TUNNEL_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "directory.h"
#include "worker.h"

#define DEVICE_PEERS_MAX 65536u

struct device_peer {
	bool used;
	uint16_t worker;
	uint16_t keepalive_s;
	uint8_t pk[WG_KEY_SIZE];
	uint8_t preshared_key[WG_KEY_SIZE];
};

struct change;

struct device {
	struct plane *plane;
	bool up;
	bool wanted_up; /* and not up: its port was not to be had */
	bool has_key;
	uint8_t static_sk[WG_KEY_SIZE], static_pk[WG_KEY_SIZE];
	uint16_t port; /* wanted, and the one in use while up */
	uint32_t mark;
	int fds[WORKERS_MAX][UDP_FAMILIES]; /* the workers own them; known here for the mark */
	struct device_peer *peers; /* by number */
	uint32_t n_fresh, n_peers;
	uint32_t *free; /* numbers given back */
	uint32_t n_free;
	uint32_t n_of_worker[WORKERS_MAX];
	bool queue_used[WORKERS_MAX];
	struct directory numbers; /* static key -> number */
	struct allowed *allowed;  /* as every worker has it, to be shown */
	struct change *changes;
	uint32_t n_changes;
	bool removes; /* one of them removes a peer */
};

/* tun_fds: one for each worker, handed on to them. The plane runs. */
NODISCARD enum err device_init(struct device *d, struct plane *p, const int *tun_fds);
void device_done(struct device *d);

/* sk all zero: none. */
void device_key_set(struct device *d, const uint8_t sk[static WG_KEY_SIZE]);
/* The next two take effect at once. -EADDRINUSE and others. */
int device_port_set(struct device *d, uint16_t port);
int device_mark_set(struct device *d, uint32_t mark);
/* Sockets are bound while the interface is up. */
int device_up(struct device *d);
void device_down(struct device *d);
void device_mtu_set(struct device *d, uint32_t mtu);
/* Routes or addresses of the machine changed: sticky sources may be wrong. */
void device_sources_forget(struct device *d);

/* False: none such. */
bool device_peer_find(struct device *d, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number);
/* -EINVAL: no room, as wireguard-go has it. */
int device_peer_add(struct device *d, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number);
void device_peer_remove(struct device *d, uint32_t number);
void device_peers_clear(struct device *d);
void device_psk_set(struct device *d, uint32_t number, const uint8_t psk[static WG_KEY_SIZE]);
void device_endpoint_set(struct device *d, uint32_t number, const struct udp_path *to);
void device_keepalive_set(struct device *d, uint32_t number, uint16_t interval_s);
void device_allowed_clear(struct device *d, uint32_t number);
int device_allowed_add(struct device *d, uint32_t number, const struct net_prefix *p);
void device_allowed_remove(struct device *d, uint32_t number, const struct net_prefix *p);
/* Carries what was changed to the workers. */
void device_commit(struct device *d);

/* What a worker knows of a peer now. */
struct device_view {
	struct udp_path path;
	mono_t last_handshake;
	uint64_t rx_bytes, tx_bytes;
};

/* views: one for each number below d->n_fresh, zeroed. */
void device_view(struct device *d, struct device_view *views);

#endif
