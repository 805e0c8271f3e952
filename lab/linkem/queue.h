/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packets under way: a bounded pool of buffers and a heap ordered by the instant at which each is
 * next to be handled (of equal instants: in the order they came). */
#ifndef LINKEM_QUEUE_H
#define LINKEM_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/units.h"

/* Largest IP packet carried, bytes: above any MTU that the lab gives its links. */
#define PACKET_MAX 2000
/* Packets under way at once: 300 Mbit/s of full packets for more than a second. Only what was
 * once in use takes memory. */
#define PACKETS_MAX 32768

enum stage {
	STAGE_ARRIVE, /* at the receiver's link */
	STAGE_DELIVER /* to the receiver */
};

struct packet {
	uint64_t to_id; /* struct host's id: a host may go while packets are under way */
	uint8_t to;	/* its place in the table */
	uint8_t stage;
	uint16_t len;
	uint32_t next_free;
	uint8_t data[PACKET_MAX];
};

struct queue;

NODISCARD enum err queue_new(struct queue **ret_q);
void queue_free(struct queue **q);

/* An empty packet, NULL when all are under way. Give back with queue_put or packet_drop. */
struct packet *packet_take(struct queue *q);
void packet_drop(struct queue *q, struct packet *p);

/* Takes ownership of p. */
void queue_put(struct queue *q, struct packet *p, mono_t at);
/* MONO_NEVER: nothing under way. */
mono_t queue_next(const struct queue *q);
/* The earliest packet if its instant is not after `now`; NULL if none. Caller owns it. */
struct packet *queue_take(struct queue *q, mono_t now, mono_t *ret_at);
size_t queue_count(const struct queue *q);

#endif
