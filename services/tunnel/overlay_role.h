/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between a worker and its overlay: the roles of strangers and hops, the node's devices, what
 * arrives at the onward socket. */
#ifndef TUNNEL_OVERLAY_ROLE_H
#define TUNNEL_OVERLAY_ROLE_H

#include "overlay.h"
#include "worker.h"

/* In the worker's thread, before traffic: makes its overlay. A client's
 * worker has conf->flows_max > 0. on_fact runs in the main thread. */
NODISCARD enum err overlay_role_init(struct worker *w, const struct overlay_conf *conf,
	void (*on_fact)(void *main_state, enum role to, const void *msg));
void overlay_role_done(struct worker *w);

/* Messages of types 2 to 4 at an onward socket that are for no peer of this worker. */
void overlay_role_onward(struct worker *w, const struct udp_path *from, uint8_t *const *at,
	const uint32_t *len, uint32_t n);
/* Once per turn, and when the loop must wake for it. */
void overlay_role_tick(struct worker *w);
mono_t overlay_role_deadline(const struct worker *w);

/* plane->stranger of a node. */
struct peer *overlay_role_stranger(struct worker *w, const uint8_t pk[static WG_KEY_SIZE],
	const struct udp_path *from);

#endif
