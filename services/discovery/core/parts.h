/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the core call in each other; not for outside. */
#ifndef DISCOVERY_PARTS_H
#define DISCOVERY_PARTS_H

#include "discovery.h"

/* discovery.c: a descriptor from outside, through the accept rule, with what follows from it. */
enum verdict discovery_take(struct discovery *d, struct moment now, const uint8_t *bytes,
	size_t len, struct source from, struct relay **ret_r);
uint32_t introducer_of(const struct discovery *d, const uint8_t node_id[static NODE_ID_SIZE]);

/* asks.c */
/* NULL if there is no room or tunnel does not take it. `mould` gives why, sync, salt. */
struct ask *ask_send(struct discovery *d, struct moment now, const struct contact *to,
	const gossip_Query *q, const struct ask *mould);
unsigned int asks_count(const struct discovery *d, enum ask_why why);
void asks_tick(struct discovery *d, struct moment now);
void asks_forget(struct discovery *d, struct moment now);
mono_t asks_deadline(const struct discovery *d);
/* A Greet with our own descriptor, if one is out. */
struct ask *ask_greet(
	struct discovery *d, struct moment now, const struct contact *to, const struct ask *mould);

/* reach.c */
void reach_tick(struct discovery *d, struct moment now);
mono_t reach_deadline(const struct discovery *d);
/* The answer to a Greet, whatever it was for; false if it is not that node. */
bool reach_on_greeted(
	struct discovery *d, struct moment now, const struct ask *a, const gossip_Greeted *g);
void reach_on_silence(struct discovery *d, struct moment now, const struct contact *to);

/* sync.c */
void sync_tick(struct discovery *d, struct moment now);
mono_t sync_deadline(const struct discovery *d);
/* answer NULL: none came. */
void sync_on_answer(
	struct discovery *d, struct moment now, const struct ask *a, const gossip_Answer *answer);
void sync_reset(struct discovery *d, struct moment now);

/* rumour.c */
void rumour_add(struct discovery *d, const uint8_t node_id[static NODE_ID_SIZE],
	unsigned int fanout, bool proof);
void rumour_tick(struct discovery *d, struct moment now);
mono_t rumour_deadline(const struct discovery *d, struct moment now);
/* Tells one peer of up to three descriptors. */
void offer_send(
	struct discovery *d, struct moment now, const struct contact *to, const gossip_Offer *o);
void offer_add(gossip_Offer *o, const uint8_t bytes[static DESCRIPTOR_SIZE]);

/* serve.c */
void serve_query(struct discovery *d, struct moment now, uint64_t session, uint32_t request,
	const gossip_Query *q);

/* feed.c */
void feed_on_news(struct discovery *d, const struct relay *r);
void feed_on_lost(struct discovery *d, struct relay *r);
void feed_on_router_link(struct discovery *d);
void feed_tick(struct discovery *d, struct moment now);
mono_t feed_deadline(const struct discovery *d);

#endif
