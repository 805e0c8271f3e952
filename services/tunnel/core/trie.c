/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "trie.h"

#define NONE 0

void trie_init(struct trie *t, struct trie_node *nodes, size_t n)
{
	memset(t, 0, sizeof(*t));
	t->nodes = nodes;
	t->n_nodes = (uint32_t)n;
	t->n_fresh = 1;
}

enum err trie_grow(struct trie *t, struct trie_node *nodes, size_t n)
{
	if (n < t->n_nodes || n > UINT32_MAX)
		return ERR_INVALID;
	memcpy(nodes, t->nodes, t->n_fresh * sizeof(*nodes));
	t->nodes = nodes;
	t->n_nodes = (uint32_t)n;
	return OK;
}

/* --- bits ------------------------------------------------------------------------------------ */
static inline unsigned int bit_at(const uint8_t *bits, unsigned int i)
{
	return bits[i / 8] >> (7 - i % 8) & 1;
}

static void mask(uint8_t bits[static 16], unsigned int cidr)
{
	unsigned int whole = cidr / 8;

	if (cidr % 8 != 0) {
		bits[whole] &= (uint8_t)(0xff00 >> cidr % 8);
		whole++;
	}
	memset(bits + whole, 0, 16 - whole);
}

/* Leading bits that a and b share, at most max. */
static unsigned int common(const uint8_t *a, const uint8_t *b, unsigned int max)
{
	for (unsigned int i = 0; i * 8 < max; i++) {
		unsigned int diff = a[i] ^ b[i];

		if (diff != 0) {
			unsigned int n = i * 8 + (unsigned int)__builtin_clz(diff) - 24;

			return n < max ? n : max;
		}
	}
	return max;
}

/* --- nodes ----------------------------------------------------------------------------------- */
static uint32_t node_take(
	struct trie *t, const uint8_t bits[static 16], unsigned int cidr, uint8_t family)
{
	uint32_t i = t->free;

	if (i != NONE)
		t->free = t->nodes[i].next;
	else
		i = t->n_fresh++;
	t->nodes[i] = (struct trie_node){.cidr = (uint8_t)cidr, .family = family};
	memcpy(t->nodes[i].bits, bits, 16);
	mask(t->nodes[i].bits, cidr);
	return i;
}

static bool nodes_left(const struct trie *t, unsigned int n)
{
	uint32_t fresh = t->n_nodes - t->n_fresh;

	for (uint32_t i = t->free; fresh < n && i != NONE; i = t->nodes[i].next)
		fresh++;
	return fresh >= n;
}

static void node_put(struct trie *t, uint32_t i)
{
	t->nodes[i] = (struct trie_node){.next = t->free};
	t->free = i;
}

static void own(struct trie *t, uint32_t i, struct trie_owner *owner)
{
	struct trie_node *n = &t->nodes[i];

	n->owner = owner;
	n->prev = NONE;
	n->next = owner->first;
	if (owner->first != NONE)
		t->nodes[owner->first].prev = i;
	owner->first = i;
	owner->n_prefixes++;
	t->n_prefixes++;
}

static void disown(struct trie *t, uint32_t i)
{
	struct trie_node *n = &t->nodes[i];

	if (n->prev != NONE)
		t->nodes[n->prev].next = n->next;
	else
		n->owner->first = n->next;
	if (n->next != NONE)
		t->nodes[n->next].prev = n->prev;
	n->owner->n_prefixes--;
	t->n_prefixes--;
	n->owner = NULL;
	n->prev = n->next = NONE;
}

static uint32_t *root_of(struct trie *t, uint8_t family)
{
	return family == NET_IP4 ? &t->root4 : &t->root6;
}

/* The place that points at node i. */
static uint32_t *link_of(struct trie *t, uint32_t i)
{
	const struct trie_node *n = &t->nodes[i];

	if (n->parent == NONE)
		return root_of(t, n->family);
	struct trie_node *p = &t->nodes[n->parent];
	return &p->child[p->child[1] == i];
}

static void hang(struct trie *t, uint32_t *link, uint32_t parent, uint32_t i)
{
	*link = i;
	t->nodes[i].parent = parent;
}

/* Puts i below p, on the side that its bits say. */
static void hang_below(struct trie *t, uint32_t p, uint32_t i)
{
	struct trie_node *n = &t->nodes[p];

	hang(t, &n->child[bit_at(t->nodes[i].bits, n->cidr)], p, i);
}

/* --- insert ---------------------------------------------------------------------------------- */
static bool prefix_ok(const struct net_prefix *p)
{
	return (p->addr.family == NET_IP4 && p->bits <= 32) ||
	       (p->addr.family == NET_IP6 && p->bits <= 128);
}

static bool node_covers(const struct trie_node *n, const uint8_t *bits, unsigned int cidr)
{
	return n->cidr <= cidr && common(n->bits, bits, n->cidr) == n->cidr;
}

/* The deepest node that covers the prefix (NONE if none does); *ret_link is where to go on. */
static uint32_t descend(struct trie *t, const struct net_prefix *p, uint32_t **ret_link)
{
	uint32_t *link = root_of(t, p->addr.family), at = NONE;

	while (*link != NONE && node_covers(&t->nodes[*link], p->addr.ip, p->bits)) {
		at = *link;
		if (t->nodes[at].cidr == p->bits)
			break;
		link = &t->nodes[at].child[bit_at(p->addr.ip, t->nodes[at].cidr)];
	}
	*ret_link = link;
	return at;
}

enum err trie_insert(struct trie *t, const struct net_prefix *p, struct trie_owner *owner)
{
	uint32_t *link, at, below, new;
	unsigned int shared;

	if (!prefix_ok(p))
		return ERR_INVALID;
	at = descend(t, p, &link);
	if (at != NONE && t->nodes[at].cidr == p->bits) {
		if (t->nodes[at].owner != NULL)
			disown(t, at);
		own(t, at, owner);
		return OK;
	}
	if (!nodes_left(t, 2))
		return ERR_FULL;
	below = *link;
	new = node_take(t, p->addr.ip, p->bits, p->addr.family);
	own(t, new, owner);
	if (below == NONE) {
		hang(t, link, at, new);
		return OK;
	}
	shared = common(t->nodes[below].bits, t->nodes[new].bits, p->bits);
	if (shared == p->bits) { /* the new one covers what was here */
		hang(t, link, at, new);
		hang_below(t, new, below);
	} else {
		uint32_t fork = node_take(t, p->addr.ip, shared, p->addr.family);

		hang(t, link, at, fork);
		hang_below(t, fork, new);
		hang_below(t, fork, below);
	}
	return OK;
}

/* --- remove ---------------------------------------------------------------------------------- */
/* Takes nodes out that own nothing and do not fork; at most i and its parent. */
static void prune(struct trie *t, uint32_t i)
{
	while (i != NONE) {
		struct trie_node *n = &t->nodes[i];
		uint32_t parent = n->parent,
			 child = n->child[0] != NONE ? n->child[0] : n->child[1];

		if (n->owner != NULL || (n->child[0] != NONE && n->child[1] != NONE))
			return;
		*link_of(t, i) = child;
		if (child != NONE)
			t->nodes[child].parent = parent;
		node_put(t, i);
		if (child != NONE)
			return;
		i = parent;
	}
}

enum err trie_remove(struct trie *t, const struct net_prefix *p, struct trie_owner *owner)
{
	uint32_t *link, at;

	if (!prefix_ok(p))
		return ERR_NOT_FOUND;
	at = descend(t, p, &link);
	if (at == NONE || t->nodes[at].cidr != p->bits || t->nodes[at].owner != owner)
		return ERR_NOT_FOUND;
	disown(t, at);
	prune(t, at);
	return OK;
}

void trie_remove_owner(struct trie *t, struct trie_owner *owner)
{
	while (owner->first != NONE) {
		uint32_t i = owner->first;

		disown(t, i);
		prune(t, i);
	}
}

/* --- find ------------------------------------------------------------------------------------ */
static struct trie_owner *find(
	const struct trie *t, uint32_t i, const uint8_t *ip, unsigned int bits)
{
	struct trie_owner *best = NULL;

	while (i != NONE) {
		const struct trie_node *n = &t->nodes[i];

		if (common(n->bits, ip, n->cidr) != n->cidr)
			break;
		if (n->owner != NULL)
			best = n->owner;
		if (n->cidr == bits)
			break;
		i = n->child[bit_at(ip, n->cidr)];
	}
	return best;
}

struct trie_owner *trie_find4(const struct trie *t, const uint8_t ip[static 4])
{
	return find(t, t->root4, ip, 32);
}

struct trie_owner *trie_find6(const struct trie *t, const uint8_t ip[static 16])
{
	return find(t, t->root6, ip, 128);
}

uint32_t trie_next(const struct trie *t, const struct trie_owner *owner, uint32_t cursor,
	struct net_prefix *ret_prefix)
{
	uint32_t i = cursor == 0 ? owner->first : t->nodes[cursor].next;

	if (i != NONE) {
		const struct trie_node *n = &t->nodes[i];

		*ret_prefix = (struct net_prefix){.addr = {.family = n->family}, .bits = n->cidr};
		memcpy(ret_prefix->addr.ip, n->bits, sizeof(ret_prefix->addr.ip));
	}
	return i;
}
