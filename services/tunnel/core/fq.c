/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fq.h"

/* A flow that is empty keeps its place for one round: so there may be more flows than items. */
static uint32_t flows_for(uint32_t n_items)
{
	return 2 * n_items;
}

static uint32_t buckets_for(uint32_t n_items)
{
	uint32_t n = 1;

	while (n < flows_for(n_items))
		n *= 2;
	return n;
}

size_t fq_bytes(uint32_t n_items)
{
	return flows_for(n_items) * sizeof(struct fq_flow) + buckets_for(n_items) * sizeof(struct fq_flow *);
}

static void list_init(struct fq_list *l)
{
	l->first = NULL;
	l->end = &l->first;
}

static void list_add(struct fq_list *l, struct fq_flow *f)
{
	f->next = NULL;
	*l->end = f;
	l->end = &f->next;
}

static struct fq_flow *list_take(struct fq_list *l)
{
	struct fq_flow *f = l->first;

	l->first = f->next;
	if (l->first == NULL)
		l->end = &l->first;
	return f;
}

void fq_init(struct fq *q, uint32_t n_items, void *mem, uint64_t seed)
{
	struct fq_flow *flows = mem;

	*q = (struct fq){.bucket = (struct fq_flow **)(flows + flows_for(n_items)),
		.mask = buckets_for(n_items) - 1,
		.seed = seed | 1};
	list_init(&q->fresh);
	list_init(&q->waiting);
	for (uint32_t i = 0; i < flows_for(n_items); i++) {
		flows[i].chain = q->free;
		q->free = &flows[i];
	}
}

/* --- flows ------------------------------------------------------------------------------------ */
static struct fq_flow **bucket_of(const struct fq *q, uint64_t key)
{
	return &q->bucket[((key ^ key >> 29) * q->seed >> 32) & q->mask];
}

static void forget(struct fq *q, struct fq_flow *f)
{
	struct fq_flow **at = bucket_of(q, f->key);

	while (*at != f)
		at = &(*at)->chain;
	*at = f->chain;
	f->chain = q->free;
	q->free = f;
}

/* All flows that have nothing are forgotten: at least half of them, for there are as many items as half. */
static void forget_empty(struct fq *q, struct fq_list *l)
{
	struct fq_list old = *l;

	if (old.first == NULL)
		return;
	list_init(l);
	while (old.first != NULL) {
		struct fq_flow *f = old.first;

		old.first = f->next;
		if (f->first == NULL)
			forget(q, f);
		else
			list_add(l, f);
	}
}

static struct fq_flow *flow_of(struct fq *q, uint64_t key)
{
	struct fq_flow **b = bucket_of(q, key), *f;

	for (f = *b; f != NULL; f = f->chain)
		if (f->key == key)
			return f;
	if (q->free == NULL) {
		forget_empty(q, &q->fresh);
		forget_empty(q, &q->waiting);
	}
	f = q->free;
	q->free = f->chain;
	*f = (struct fq_flow){.key = key, .deficit = FQ_QUANTUM, .chain = *b};
	f->end = &f->first;
	*b = f;
	list_add(&q->fresh, f);
	return f;
}

/* --- items ------------------------------------------------------------------------------------ */
void fq_put(struct fq *q, uint64_t key, struct fq_item *i)
{
	struct fq_flow *f = flow_of(q, key);

	i->next = NULL;
	*f->end = i;
	f->end = &i->next;
	f->bytes += i->bytes;
	q->bytes += i->bytes;
	q->n++;
}

static struct fq_item *flow_take(struct fq *q, struct fq_flow *f)
{
	struct fq_item *i = f->first;

	f->first = i->next;
	if (f->first == NULL)
		f->end = &f->first;
	f->bytes -= i->bytes;
	q->bytes -= i->bytes;
	q->n--;
	return i;
}

struct fq_item *fq_get(struct fq *q)
{
	while (q->n > 0) {
		struct fq_list *l = q->fresh.first != NULL ? &q->fresh : &q->waiting;
		struct fq_flow *f = l->first;

		if (f->deficit <= 0) {
			f->deficit += FQ_QUANTUM;
			list_add(&q->waiting, list_take(l));
		} else if (f->first != NULL) {
			f->deficit -= (int32_t)f->first->bytes;
			return flow_take(q, f);
		} else if (l == &q->fresh) {
			/* Not forgotten yet: coming back at once would make it new again. */
			list_add(&q->waiting, list_take(l));
		} else {
			forget(q, list_take(l));
		}
	}
	return NULL;
}

static struct fq_flow *fattest(struct fq_flow *f, struct fq_flow *best)
{
	for (; f != NULL; f = f->next)
		if (f->first != NULL && (best == NULL || f->bytes > best->bytes))
			best = f;
	return best;
}

struct fq_item *fq_shorten(struct fq *q)
{
	struct fq_flow *f = fattest(q->waiting.first, fattest(q->fresh.first, NULL));

	return f == NULL ? NULL : flow_take(q, f);
}
