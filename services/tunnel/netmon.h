/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Watches the interface of a TUN device by rtnetlink: up, down, MTU, gone, moved to another network namespace; and
 * whether routes or addresses of the machine change, here, where the UDP sockets are. Main thread.
 *
 * In another namespace it is looked at from time to time, through its TUN descriptor: a socket there, or
 * anything that stays open, would keep that namespace, and the interface in it, from ever ending. */
#ifndef TUNNEL_NETMON_H
#define TUNNEL_NETMON_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"

enum netmon_event {
	NETMON_LINK = 1,   /* m->up or m->mtu may have changed */
	NETMON_GONE = 2,   /* the interface is not in this namespace any more; index is 0 now */
	NETMON_ROUTES = 4  /* something about routes or addresses */
};

struct netmon {
	int fd;
	int index; /* 0: it is elsewhere */
	ino_t home; /* this namespace; 0: the kernel does not say */
	bool up;
	uint32_t mtu;
};

#define NETMON_LOOK_MS 250 /* between two looks: what is sent meanwhile waits */

/* For interface `name` in the caller's network namespace. Its state comes with the first events.
 * ERR_NOT_FOUND: no such interface. */
NODISCARD enum err netmon_open(struct netmon *m, const char *name, int tun_fd);
void netmon_close(struct netmon *m);
/* Reads what there is; enum netmon_event bits. */
unsigned int netmon_read(struct netmon *m);
/* While it is elsewhere, `name` there: m->up and m->mtu as they are now; or it is found to be back.
 * ERR_UNAVAILABLE: cannot be seen. */
NODISCARD enum err netmon_look(struct netmon *m, const char *name, int tun_fd);

#endif
