/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A bounded byte ring from one thread to another: how a packet changes worker.
 *
 * One producer, one consumer, records of any length up to half the ring, each in one piece. The two
 * share only `head` and `tail`; a record is complete when the other side sees it. Full: the producer
 * drops and counts. No system call, no lock; waking the consumer is the caller's business. Pure
 * but for the atomics. */
#ifndef TUNNEL_RING_H
#define TUNNEL_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct ring {
	uint8_t *mem;
	uint32_t size; /* power of two */
	/* Each on a cache line of its own: written by one side, read by the other. */
	_Alignas(64) atomic_uint head; /* bytes ever written, mod 2^32 */
	_Alignas(64) atomic_uint tail; /* bytes ever taken */
};

/* Borrows mem (size bytes, a power of two of at least 64, 8-aligned). */
void ring_init(struct ring *r, void *mem, uint32_t size);
/* Room for a record of len bytes to be written by the caller, NULL if the ring is full. */
uint8_t *ring_claim(struct ring *r, uint32_t len);
/* The record that was claimed last may be seen. */
void ring_publish(struct ring *r);
/* Oldest record, NULL if there is none. Borrowed until ring_release. */
const uint8_t *ring_peek(struct ring *r, uint32_t *ret_len);
void ring_release(struct ring *r);

#endif
