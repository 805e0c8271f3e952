/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fixed start-up ritual and the loop of every service.
 *
 *   mvpn-<service> --dir DIR [--check] [--verbose] [--help] [--version]
 *
 * DIR holds node.ini (read by all), keys/ (one file per service that owns it, 0600), state/<service>/
 * (what it keeps), run/ (bus and ctl sockets, 0700). Ritual: log, parse DIR/node.ini (--check stops
 * here), init(), confine, open bus and ctl, "ready", loop; on SIGTERM or SIGINT stop(), close.
 *
 * One turn: wait until a socket or fd is readable or deadline(); read the clock once; drain the
 * inboxes with a budget; call fds' handlers; tick(); sleep again. */
#ifndef SYS_SERVICE_H
#define SYS_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/conf.h"
#include "lib/units.h"
#include "bus.h"
#include "ctl.h"

struct service;

typedef void service_fd_fn(void *ctx, int fd, uint32_t poll_events);

struct service_spec {
	enum role role;
	const char *what; /* one line for --help */
	const struct conf_key *keys;
	size_t n_keys;
	size_t conf_size; /* of the struct that keys fill */
	const struct bus_inbox *inbox;
	const struct ctl_verb *verbs;
	size_t n_verbs;
	/* Opens what the service needs; conf lives as long as the service. */
	enum err (*init)(struct service *s, const void *conf, void **ret_state);
	/* Drops privileges after init; NULL: confine(CONFINE_DEFAULT). */
	enum err (*confine)(struct service *s, void *state);
	void (*tick)(void *state, mono_t now);
	mono_t (*deadline)(void *state);
	void (*stop)(void *state);
	/* A service with its own poll loop (libwebsockets) sets this; it calls service_turn(). */
	void (*run)(struct service *s, void *state);
};

int service_main(int argc, char **argv, const struct service_spec *spec);

const char *service_dir(const struct service *s);
/* DIR/state/<service>, made 0700 at start. */
const char *service_state_dir(const struct service *s);
struct bus *service_bus(struct service *s);
/* The instant of this turn. */
mono_t service_now(const struct service *s);
/* poll(2) events; handler runs in the turn. Replaces an earlier registration of fd. */
NODISCARD enum err service_fd_add(struct service *s, int fd, uint32_t events, service_fd_fn *fn, void *ctx);
void service_fd_del(struct service *s, int fd);
void service_stop(struct service *s);
bool service_stopping(const struct service *s);

/* For own loops: fds to wake on, and one turn without sleeping. Returns true if more is waiting. */
size_t service_wake_fds(struct service *s, int *ret_fds, size_t max);
bool service_turn(struct service *s);
mono_t service_deadline(struct service *s);

/* Reads DIR/keys/<name>, exactly len bytes of hex text; refuses files that others may read. */
NODISCARD enum err service_key_load(const struct service *s, const char *name, uint8_t *ret_key, size_t len);

/* Whole file to a buffer; *ret_text is NUL-terminated. Caller frees. */
NODISCARD enum err file_read(const char *path, size_t max, char **ret_text, size_t *ret_len);
/* Writes path atomically (temporary file, fsync, rename, fsync of the folder), mode 0600. */
NODISCARD enum err file_write_atomic(const char *path, const void *data, size_t len);

#endif
