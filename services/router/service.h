/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this service share around the core. */
#ifndef ROUTER_SERVICE_H
#define ROUTER_SERVICE_H

#include "lib/geo.h"
#include "lib/sys/service.h"
#include "core/router.h"
#include "redis.h"

#define PATH_SIZE 700

struct router_settings_file {
	bool test_network;
	char geo[256];
	char redis[108]; /* a socket path holds no more */
};

struct state {
	struct service *service;
	struct router *r;
	struct router_storage storage;
	struct router_storage rehearsal; /* a second view, for routerctl pick */
	struct router_sink sink;
	struct geo geo;
	struct redis *redis;
	mono_t told_at;	      /* the gateway, last */
	mono_t guards_try_at; /* when writing them failed */
	bool guards_failed;
	uint64_t refused_messages;
};

struct when when_of(const struct state *s);

/* outbox.c */
struct router_sink outbox_sink(struct state *s);
void outbox_done(struct state *s, enum role to, uint64_t re, enum err e, const char *why);
void outbox_exits(struct state *s, uint64_t re);
/* Tells the gateway how the session stands: at once if it changed, else once a second while on. */
void outbox_state(struct state *s, bool now_or_never);
mono_t outbox_deadline(const struct state *s);

/* inbox.c */
extern const struct bus_inbox router_inbox;

/* memory.c: state/router/guards */
void memory_guards_load(struct state *s);
void memory_tick(struct state *s);

/* verbs.c */
extern const struct ctl_verb router_verbs[];
extern const size_t n_router_verbs;

#endif
