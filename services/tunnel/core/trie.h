/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Allowed IPs: longest prefix match from an address to its owner (a peer), IPv4 and IPv6.
 *
 * A path-compressed binary trie per family over one pool of nodes that the caller hands in (and may
 * replace by a larger one); n prefixes need at most 2n nodes. A prefix belongs to one owner at a
 * time: inserting it for another moves it. Pure, no allocation. */
#ifndef TUNNEL_TRIE_H
#define TUNNEL_TRIE_H

#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"

/* Embedded in whatever owns prefixes. Zero-initialised: owns none. */
struct trie_owner {
	uint32_t first; /* its list of nodes; internal */
	uint32_t n_prefixes;
};

struct trie_node {
	uint8_t bits[16]; /* network order, host bits zero */
	uint32_t child[2];
	uint32_t parent;
	uint32_t prev, next; /* in the owner's list; next also in the free list */
	uint8_t cidr;
	uint8_t family;
	struct trie_owner *owner; /* NULL: a fork only */
};

struct trie {
	struct trie_node *nodes; /* index 0 is not used: it means none */
	uint32_t n_nodes;	 /* of the pool */
	uint32_t n_fresh;	 /* nodes never used begin here */
	uint32_t free;
	uint32_t root4, root6;
	uint32_t n_prefixes;
};

/* Nodes that are enough for n prefixes. */
#define TRIE_NODES(n) (2 * (size_t)(n) + 1)

/* Borrows nodes (n >= 1, uninitialised) until trie_grow replaces them or the trie is gone. */
void trie_init(struct trie *t, struct trie_node *nodes, size_t n);
/* Copies into a larger pool; afterwards the old one is the caller's again. ERR_INVALID if smaller.
 */
NODISCARD enum err trie_grow(struct trie *t, struct trie_node *nodes, size_t n);

/* ERR_FULL: the pool is used up (grow and try again; nothing changed). ERR_INVALID: no such prefix
 * (family, length). Host bits are ignored. */
NODISCARD enum err trie_insert(
	struct trie *t, const struct net_prefix *p, struct trie_owner *owner);
/* ERR_NOT_FOUND if that owner does not have exactly this prefix. */
NODISCARD enum err trie_remove(
	struct trie *t, const struct net_prefix *p, struct trie_owner *owner);
void trie_remove_owner(struct trie *t, struct trie_owner *owner);

/* The owner of the longest prefix around ip, NULL if none. Borrows from the caller's own. */
struct trie_owner *trie_find4(const struct trie *t, const uint8_t ip[static 4]);
struct trie_owner *trie_find6(const struct trie *t, const uint8_t ip[static 16]);

/* Walks an owner's prefixes, newest first: cursor 0 to begin; returns the next cursor, 0 after the
 * last. The trie must not change meanwhile.
 *	for (uint32_t c = 0; (c = trie_next(t, owner, c, &p)) != 0;) ... */
uint32_t trie_next(const struct trie *t, const struct trie_owner *owner, uint32_t cursor,
	struct net_prefix *ret_prefix);

#endif
