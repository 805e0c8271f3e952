/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each record: length (LE32), 4 bytes unused, content, padding to 8. A record that would wrap is put at
 * the beginning, with SKIP at the end to say so. */
#include "ring.h"

#include "lib/bytes.h"
#include "lib/err.h"

#define HEAD 8u
#define SKIP UINT32_MAX

static uint32_t whole(uint32_t len)
{
	return HEAD + ((len + 7u) & ~7u);
}

void ring_init(struct ring *r, void *mem, uint32_t size)
{
	BUG_ON(size < 64 || (size & (size - 1)) != 0);
	r->mem = mem;
	r->size = size;
	atomic_init(&r->head, 0);
	atomic_init(&r->tail, 0);
}

uint8_t *ring_claim(struct ring *r, uint32_t len)
{
	const uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	const uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
	const uint32_t at = head & (r->size - 1);
	uint32_t skip, need;

	if (len > r->size / 2 - HEAD)
		return NULL;
	need = whole(len);
	skip = r->size - at < need ? r->size - at : 0;
	if (r->size - (head - tail) < skip + need)
		return NULL;
	if (skip > 0) {
		le32_put(r->mem + at, SKIP);
		atomic_store_explicit(&r->head, head + skip, memory_order_release);
	}
	le32_put(r->mem + ((head + skip) & (r->size - 1)), len);
	return r->mem + ((head + skip) & (r->size - 1)) + HEAD;
}

void ring_publish(struct ring *r)
{
	const uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	const uint32_t len = le32_get(r->mem + (head & (r->size - 1)));

	atomic_store_explicit(&r->head, head + whole(len), memory_order_release);
}

const uint8_t *ring_peek(struct ring *r, uint32_t *ret_len)
{
	for (;;) {
		const uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
		const uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
		const uint32_t at = tail & (r->size - 1);

		if (head == tail)
			return NULL;
		*ret_len = le32_get(r->mem + at);
		if (*ret_len != SKIP)
			return r->mem + at + HEAD;
		atomic_store_explicit(&r->tail, tail + (r->size - at), memory_order_release);
	}
}

void ring_release(struct ring *r)
{
	const uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	const uint32_t len = le32_get(r->mem + (tail & (r->size - 1)));

	atomic_store_explicit(&r->tail, tail + whole(len), memory_order_release);
}
