/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of this service share around the core. */
#ifndef DISCOVERY_SERVICE_H
#define DISCOVERY_SERVICE_H

#include "lib/geo.h"
#include "lib/sys/service.h"
#include "core/discovery.h"

#define BOOTSTRAP_LIST_MAX 10240 /* characters of the setting: about 60 nodes */

struct discovery_settings_file {
	char name[24];
	bool test_network;
	char geo[256];
	struct net_addr public4, public6;
	char bootstrap[BOOTSTRAP_LIST_MAX];
	char country[3];
	uint8_t family_id[16];
	uint64_t near_max;
};

struct state {
	struct service *service;
	struct discovery *d;
	struct relays_storage storage;
	struct geo geo;
	uint64_t saved_generation;
	mono_t next_save;
	bool save_failed;
	uint64_t refused_messages; /* of other services: a value that cannot be */
};

struct moment moment_of(const struct state *s);

/* outbox.c */
struct discovery_sink outbox_sink(struct state *s);
void outbox_done(struct state *s, enum role to, uint64_t re, enum err e, const char *why);

/* inbox.c */
extern const struct bus_inbox discovery_inbox;

/* memory.c: state/discovery/ */
enum err memory_seq_store(const struct state *s, uint64_t seq);
uint64_t memory_seq_load(const struct service *service);
void memory_relays_load(struct state *s);
/* Writes if something changed and the last time is long enough ago, or `now_or_never`. */
void memory_tick(struct state *s, mono_t now, bool now_or_never);
mono_t memory_deadline(const struct state *s);

/* verbs.c */
extern const struct ctl_verb discovery_verbs[];
extern const size_t n_discovery_verbs;

#endif
