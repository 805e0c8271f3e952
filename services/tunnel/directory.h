/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who owns the session of a static key: the only thing that workers share and change.
 *
 * An initiation may reach any worker; the session stays where it began. Used once per handshake and
 * when peers come and go, never per packet, so a mutex does. Growing is the only allocation. */
#ifndef TUNNEL_DIRECTORY_H
#define TUNNEL_DIRECTORY_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"
#include "core/messages.h"

struct directory_entry {
	uint8_t pk[WG_KEY_SIZE];
	uint32_t handle;
	uint16_t worker;
	bool used;
};

struct directory {
	pthread_mutex_t mutex;
	struct directory_entry *entries;
	uint32_t size, n; /* size: power of two */
	uint64_t key[2];  /* strangers choose their keys: chains must not be aimed */
};

NODISCARD enum err directory_init(struct directory *d);
void directory_done(struct directory *d);
/* ERR_DENIED: the key is there already (and stays as it is). ERR_FULL: no memory. */
NODISCARD enum err directory_add(struct directory *d, const uint8_t pk[static WG_KEY_SIZE],
	uint16_t worker, uint32_t handle);
/* Does nothing unless the key is there with just this owner. */
void directory_remove(struct directory *d, const uint8_t pk[static WG_KEY_SIZE], uint16_t worker,
	uint32_t handle);
/* ERR_NOT_FOUND. */
NODISCARD enum err directory_find(struct directory *d, const uint8_t pk[static WG_KEY_SIZE],
	uint16_t *ret_worker, uint32_t *ret_handle);

#endif
