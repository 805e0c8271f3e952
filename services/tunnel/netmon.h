/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches one interface by rtnetlink: up, down, MTU, gone, moved to another network namespace; and
 * whether routes or addresses of the machine change. Main thread. */
#ifndef TUNNEL_NETMON_H
#define TUNNEL_NETMON_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/err.h"

enum netmon_event {
	NETMON_LINK = 1,   /* m->up or m->mtu may have changed */
	NETMON_GONE = 2,   /* the interface is not in this namespace any more */
	NETMON_ROUTES = 4  /* something about routes or addresses */
};

struct netmon {
	int fd;
	int index;
	bool up;
	uint32_t mtu;
};

/* For interface `name` in the caller's network namespace, or, netns_fd >= 0, in that one. Its state
 * comes with the first events. ERR_NOT_FOUND: no such interface. */
NODISCARD enum err netmon_open(struct netmon *m, const char *name, int netns_fd);
void netmon_close(struct netmon *m);
/* Reads what there is; enum netmon_event bits. */
unsigned int netmon_read(struct netmon *m);

#endif
