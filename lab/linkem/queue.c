/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "queue.h"

#include <stdlib.h>
#include <sys/mman.h>

#define NONE UINT32_MAX

struct entry {
	mono_t at;
	uint64_t order;
	uint32_t packet;
};

struct queue {
	struct packet *packets;
	uint32_t free_head; /* last given back first: the working set stays small */
	uint32_t n_touched; /* packets ever used; those above are fresh */
	uint64_t order;
	size_t n;
	struct entry heap[PACKETS_MAX];
};

enum err queue_new(struct queue **ret_q)
{
	struct queue *q = calloc(1, sizeof(*q));

	if (q == NULL)
		return ERR_FULL;
	q->packets = mmap(NULL, PACKETS_MAX * sizeof(struct packet), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (q->packets == MAP_FAILED) {
		free(q);
		return ERR_FULL;
	}
	q->free_head = NONE;
	*ret_q = q;
	return OK;
}

void queue_free(struct queue **q)
{
	munmap((*q)->packets, PACKETS_MAX * sizeof(struct packet));
	free(*q);
	*q = NULL;
}

struct packet *packet_take(struct queue *q)
{
	if (q->free_head != NONE) {
		struct packet *p = &q->packets[q->free_head];

		q->free_head = p->next_free;
		return p;
	}
	return q->n_touched == PACKETS_MAX ? NULL : &q->packets[q->n_touched++];
}

void packet_drop(struct queue *q, struct packet *p)
{
	p->next_free = q->free_head;
	q->free_head = (uint32_t)(p - q->packets);
}

static int before(const struct entry *a, const struct entry *b)
{
	return a->at.ns != b->at.ns ? a->at.ns < b->at.ns : a->order < b->order;
}

void queue_put(struct queue *q, struct packet *p, mono_t at)
{
	struct entry e = {at, q->order++, (uint32_t)(p - q->packets)};
	size_t i = q->n++;

	for (size_t up; i > 0 && before(&e, &q->heap[up = (i - 1) / 2]); i = up)
		q->heap[i] = q->heap[up];
	q->heap[i] = e;
}

mono_t queue_next(const struct queue *q)
{
	return q->n == 0 ? MONO_NEVER : q->heap[0].at;
}

struct packet *queue_take(struct queue *q, mono_t now, mono_t *ret_at)
{
	if (q->n == 0 || !mono_reached(q->heap[0].at, now))
		return NULL;
	struct entry first = q->heap[0], last = q->heap[--q->n];
	size_t i = 0;

	for (size_t kid; (kid = 2 * i + 1) < q->n; i = kid) {
		if (kid + 1 < q->n && before(&q->heap[kid + 1], &q->heap[kid]))
			kid++;
		if (!before(&q->heap[kid], &last))
			break;
		q->heap[i] = q->heap[kid];
	}
	q->heap[i] = last;
	*ret_at = first.at;
	return &q->packets[first.packet];
}

size_t queue_count(const struct queue *q)
{
	return q->n;
}
