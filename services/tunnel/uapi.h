/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration protocol of userspace WireGuard: text over a unix socket, by which `wg` gets and
 * sets everything. Source: wireguard.com/xplatform, "Configuration Protocol".
 *
 * A request is "get=1" or "set=1", lines key=value, and an empty line; several may follow on one
 * connection. A set is carried out line by line up to the first that is wrong; the answer ends with
 * errno=0 or a negative errno. As with wireguard-go, what is no request ends the connection, and the end of
 * what a client says ends a set as an empty line does (but a line that was cut off is not guessed at). */
#ifndef TUNNEL_UAPI_H
#define TUNNEL_UAPI_H

#include <stdbool.h>
#include <stdio.h>

#include "device.h"

/* Answers one request (NUL-terminated, without its empty line; is taken apart) to f. False: it is neither,
 * and nothing was answered. */
bool uapi_request(struct device *d, char *request, FILE *f);

#define UAPI_CONNECTIONS_MAX 256 /* one more takes the place of the one that has been silent for longest */
#define UAPI_REQUEST_MAX (64u << 20) /* bytes: 65,536 peers with a dozen prefixes each */

struct uapi_text {
	char *buf;
	size_t len, size;
};

struct uapi_connection {
	int fd; /* -1: free */
	char *buf; /* what was heard and is not answered */
	size_t len, size;
	size_t heard; /* so much of it has no empty line */
	bool ended; /* nothing more will be heard */
	struct uapi_text out; /* an answer that the client has not read yet, and how much of it has */
	size_t sent;
	uint64_t turn; /* of uapi's, when it was heard last */
};

struct uapi {
	int listen_fd;
	char path[128]; /* "": it has none */
	uint64_t turn;
	struct uapi_connection connections[UAPI_CONNECTIONS_MAX];
};

/* Somebody answers at the usual place for `name`. */
bool uapi_taken(const char *name);
/* Listens at the usual place for `name`. ERR_UNAVAILABLE: somebody answers there. */
NODISCARD enum err uapi_listen(struct uapi *u, const char *name);
/* A listening socket that was handed in; from now on its file is ours. ERR_INVALID, with errno. */
NODISCARD enum err uapi_adopt(struct uapi *u, int fd);
void uapi_close(struct uapi *u);
void uapi_accept(struct uapi *u);
/* POLLIN or POLLOUT. */
short uapi_waits_for(const struct uapi_connection *c);
/* A connection has what it waits for. */
void uapi_serve(struct uapi *u, struct uapi_connection *c, struct device *d);

#endif
