/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The emulator's control socket: a line in, lines out, the last one `ok` or `error WHY`.
 *
 *   add NAME [region=R] [mtu=N]      the host's TUN descriptor comes with the line (SCM_RIGHTS)
 *   del NAME
 *   route NAME PREFIX                PREFIX is reached at NAME
 *   link NAME [dir=up|down|both] [state=up|down] [delay_us=N] [jitter_us=N] [loss_ppm=N]
 *        [rate_bps=N] [queue_bytes=N] [reorder=0|1]
 *   path R R delay_us=N              between two regions, both ways
 *   router ADDRESS                   source of ICMP errors
 *   show                             settings and counters */
#ifndef LINKEM_CONTROL_H
#define LINKEM_CONTROL_H

#include <stdbool.h>
#include <stddef.h>

#include "world.h"

#define CONTROL_LINE_MAX 1024
/* A host of `show` takes some 500 bytes. */
#define CONTROL_REPLY_MAX 65536

struct control_client {
	int fd; /* -1: free place */
	int passed_fd;
	size_t len;
	char line[CONTROL_LINE_MAX];
};

/* New hosts are told to the loop, which reads their TUN. */
struct control {
	struct world *world;
	void (*on_host)(void *ctx, struct host *h);
	void *ctx;
};

void control_client_init(struct control_client *c, int fd);
void control_client_done(struct control_client *c);
/* Reads what came and answers each line; false: the client is gone or does not keep to the lines.
 */
bool control_client_turn(struct control *k, struct control_client *c);

#endif
