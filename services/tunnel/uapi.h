/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration protocol of userspace WireGuard: text over a unix socket, by which `wg` gets and
 * sets everything. Source: wireguard.com/xplatform, "Configuration Protocol".
 *
 * A request is "get=1" or "set=1", lines key=value, and an empty line; several may follow on one
 * connection. A set is carried out line by line up to the first that is wrong; the answer ends with
 * errno=0 or a negative errno. */
#ifndef TUNNEL_UAPI_H
#define TUNNEL_UAPI_H

#include <stdio.h>

#include "device.h"

/* Answers one request (NUL-terminated, without its empty line; is taken apart) to f. */
void uapi_request(struct device *d, char *request, FILE *f);

#define UAPI_CONNECTIONS_MAX 16
#define UAPI_REQUEST_MAX (64u << 20) /* bytes: 65,536 peers with a dozen prefixes each */
#define UAPI_PATIENCE_S 5	     /* for a client that does not read its answer */

struct uapi_connection {
	int fd; /* -1: free */
	char *buf;
	size_t len, size;
};

struct uapi {
	int listen_fd;
	char path[128]; /* "": it has none */
	struct uapi_connection connections[UAPI_CONNECTIONS_MAX];
};

/* Listens at the usual place for `name`. ERR_UNAVAILABLE: somebody answers there. */
NODISCARD enum err uapi_listen(struct uapi *u, const char *name);
/* A listening socket that was handed in; from now on its file is ours. ERR_INVALID, with errno. */
NODISCARD enum err uapi_adopt(struct uapi *u, int fd);
void uapi_close(struct uapi *u);
void uapi_accept(struct uapi *u);
/* Something came on a connection. */
void uapi_read(struct uapi *u, struct uapi_connection *c, struct device *d);

#endif
