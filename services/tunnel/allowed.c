/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Configured WireGuard peers: their prefixes (every worker has the same trie and finds the owner by
 * it) and their role. */
#include <stdlib.h>
#include <sys/mman.h>

#include "core/trie.h"
#include "worker.h"

#define TRIE_FIRST 64u /* nodes */

struct allowed {
	struct trie trie;
	struct trie_node *nodes;
	struct allowed_owner *owners; /* by number */
	uint32_t owners_max;
};

enum err allowed_new(struct allowed **ret_a, uint32_t owners_max)
{
	struct allowed *a = calloc(1, sizeof(*a));
	void *owners = mmap(NULL, owners_max * sizeof(struct allowed_owner), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (a != NULL)
		a->nodes = malloc(TRIE_FIRST * sizeof(*a->nodes));
	if (a == NULL || a->nodes == NULL || owners == MAP_FAILED) {
		free(a);
		return ERR_FULL;
	}
	a->owners = owners;
	a->owners_max = owners_max;
	trie_init(&a->trie, a->nodes, TRIE_FIRST);
	*ret_a = a;
	return OK;
}

void allowed_free(struct allowed **a)
{
	if (*a == NULL)
		return;
	munmap((*a)->owners, (*a)->owners_max * sizeof(struct allowed_owner));
	free((*a)->nodes);
	free(*a);
	*a = NULL;
}

struct allowed_owner *allowed_owner(struct allowed *a, uint32_t number)
{
	return &a->owners[number];
}

static enum err grow(struct allowed *a)
{
	const size_t n = 2 * (size_t)a->trie.n_nodes;
	struct trie_node *more = n > UINT32_MAX / 2 ? NULL : malloc(n * sizeof(*more));

	if (more == NULL)
		return ERR_FULL;
	if (trie_grow(&a->trie, more, n) != OK) {
		free(more);
		return ERR_FULL;
	}
	free(a->nodes);
	a->nodes = more;
	return OK;
}

enum err allowed_add(struct allowed *a, const struct net_prefix *p, uint32_t number)
{
	enum err e = trie_insert(&a->trie, p, &a->owners[number].owner);

	if (e != ERR_FULL)
		return e;
	TRY(grow(a));
	return trie_insert(&a->trie, p, &a->owners[number].owner);
}

enum err allowed_remove(struct allowed *a, const struct net_prefix *p, uint32_t number)
{
	return trie_remove(&a->trie, p, &a->owners[number].owner);
}

void allowed_clear(struct allowed *a, uint32_t number)
{
	trie_remove_owner(&a->trie, &a->owners[number].owner);
}

uint32_t allowed_next(const struct allowed *a, uint32_t number, uint32_t cursor, struct net_prefix *ret_p)
{
	return trie_next(&a->trie, &a->owners[number].owner, cursor, ret_p);
}

static struct allowed_owner *find(struct worker *w, uint8_t family, const uint8_t *ip)
{
	return (struct allowed_owner *)(family == 4 ? trie_find4(&w->allowed->trie, ip)
						    : trie_find6(&w->allowed->trie, ip));
}

/* --- the role ------------------------------------------------------------------------------------------ */
static unsigned int gate(struct worker *w, struct peer *p)
{
	(void)w;
	(void)p;
	return 1u << FRAME_IP4 | 1u << FRAME_IP6;
}

static bool source_allowed(struct worker *w, struct peer *p, uint8_t *pkt, uint32_t len, bool partial)
{
	const uint8_t family = pkt[0] >> 4;
	const struct allowed_owner *o = find(w, family, pkt + (family == 4 ? 12 : 8));

	(void)len;
	(void)partial;
	return o != NULL && o == &w->allowed->owners[p->number];
}

const struct peer_role role_configured = {
	.name = "configured",
	.roams = true,
	.initiates = true,
	.tun = TUN_DEVICE,
	.gate = gate,
	.ip = source_allowed,
};

/* --- from the TUN ---------------------------------------------------------------------------------------- */
static void move(struct worker *w, unsigned int to, const uint8_t *buf, size_t len)
{
	const struct moved head = {.kind = MOVED_TUN, .tun = TUN_DEVICE};
	uint8_t *r = moved_claim(w, to, &head, (uint32_t)len);

	if (r == NULL)
		return;
	memcpy(r, buf, len);
	moved_publish(w, to, MOVED_TUN);
}

void allowed_take(struct worker *w, const uint8_t *buf, size_t len, bool moved)
{
	const struct tun_kind *kind = &w->plane->tun_kinds[TUN_DEVICE];
	struct offload_super s;
	struct allowed_owner *o;
	struct peer *p;

	if (tun_parse(kind, buf, len, &s) != OK) {
		w->n.tun_bad++;
		return;
	}
	o = find(w, s.ip.family, s.pkt + s.ip.dst);
	if (o == NULL || (o->worker != w->id && moved)) {
		w->n.tun_no_peer++;
		return;
	}
	if (o->worker != w->id) {
		move(w, o->worker, buf, len);
		return;
	}
	p = peer_by_handle(w, o->handle);
	if (p != NULL)
		output_super(w, p, kind, &s, buf, len);
}
