/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "table.h"

static uint32_t heads_for(uint32_t capacity)
{
	uint32_t n = 2;

	while (n < capacity)
		n *= 2;
	return n;
}

size_t table_bytes(uint32_t capacity)
{
	if (capacity == 0 || capacity > TABLE_CAPACITY_MAX)
		return 0;
	return capacity * sizeof(struct table_node) + heads_for(capacity) * sizeof(uint32_t);
}

void table_init(struct table *t, uint32_t capacity, void *mem, const uint64_t key[static 2])
{
	*t = (struct table){
		.nodes = mem,
		.heads = (uint32_t *)(void *)((struct table_node *)mem + capacity),
		.mask = heads_for(capacity) - 1,
		.capacity = capacity,
		.oldest = TABLE_NONE,
		.newest = TABLE_NONE,
		.key = {key[0], key[1]},
	};
	for (uint32_t i = 0; i <= t->mask; i++)
		t->heads[i] = TABLE_NONE;
	for (uint32_t i = 0; i < capacity; i++)
		t->nodes[i].chain = i + 1 < capacity ? i + 1 : TABLE_NONE;
}

static uint64_t fold_multiply(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Two rounds of multiply and fold, keyed before each; as strong as is needed for chains that an
 * attacker can neither see nor time. */
uint32_t table_hash(const struct table *t, uint64_t a, uint64_t b)
{
	uint64_t h = fold_multiply(a ^ t->key[0], b ^ t->key[1]);

	h = fold_multiply(h ^ t->key[1] ^ 0x9e3779b97f4a7c15u, t->key[0] | 1);
	return (uint32_t)(h ^ h >> 32);
}

static uint32_t same_hash(const struct table *t, uint32_t place, uint32_t hash)
{
	while (place != TABLE_NONE && t->nodes[place].hash != hash)
		place = t->nodes[place].chain;
	return place;
}

uint32_t table_first(const struct table *t, uint32_t hash)
{
	return same_hash(t, t->heads[hash & t->mask], hash);
}

uint32_t table_next(const struct table *t, uint32_t place)
{
	return same_hash(t, t->nodes[place].chain, t->nodes[place].hash);
}

static void order_append(struct table *t, uint32_t place)
{
	struct table_node *n = &t->nodes[place];

	n->older = t->newest;
	n->newer = TABLE_NONE;
	if (t->newest == TABLE_NONE)
		t->oldest = place;
	else
		t->nodes[t->newest].newer = place;
	t->newest = place;
}

static void order_remove(struct table *t, uint32_t place)
{
	struct table_node *n = &t->nodes[place];

	if (n->older == TABLE_NONE)
		t->oldest = n->newer;
	else
		t->nodes[n->older].newer = n->newer;
	if (n->newer == TABLE_NONE)
		t->newest = n->older;
	else
		t->nodes[n->newer].older = n->older;
}

uint32_t table_take(struct table *t, uint32_t hash)
{
	uint32_t place = t->free;
	struct table_node *n = &t->nodes[place];

	if (t->n_used == t->capacity)
		return TABLE_NONE;
	t->free = n->chain;
	t->n_used++;
	n->hash = hash;
	n->chain = t->heads[hash & t->mask];
	t->heads[hash & t->mask] = place;
	order_append(t, place);
	return place;
}

void table_drop(struct table *t, uint32_t place)
{
	struct table_node *n = &t->nodes[place];
	uint32_t *at = &t->heads[n->hash & t->mask];

	while (*at != place)
		at = &t->nodes[*at].chain;
	*at = n->chain;
	order_remove(t, place);
	n->chain = t->free;
	t->free = place;
	t->n_used--;
}

void table_touch(struct table *t, uint32_t place)
{
	if (t->newest == place)
		return;
	order_remove(t, place);
	order_append(t, place);
}
