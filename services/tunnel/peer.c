/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Peers of a worker: places, indices, timers, and what their sessions ask for. */
#include <stdlib.h>
#include <string.h>

#include "lib/sys/clock.h"
#include "worker.h"

#define KEYPAIRS_CHUNK 32 /* allocated together, about 36 KB; kept until the worker ends */
#define INDEX_TRIES 64

struct keypair_chunk {
	struct keypair_chunk *next;
	struct keypair pairs[KEYPAIRS_CHUNK];
};

/* --- places ------------------------------------------------------------------------------------------ */
static struct peer *place_take(struct worker *w)
{
	struct peer *p = w->free_peers;

	if (p != NULL) {
		w->free_peers = p->next;
		return p;
	}
	if (w->n_peers_fresh == w->peers_max)
		return NULL;
	p = &w->peers[w->n_peers_fresh];
	p->handle = w->n_peers_fresh++;
	return p;
}

static void place_give(struct worker *w, struct peer *p)
{
	const uint32_t handle = p->handle;

	memset(p, 0, sizeof(*p));
	p->handle = handle;
	p->next = w->free_peers;
	w->free_peers = p;
}

enum err peer_new(struct worker *w, const struct peer_role *role, const struct noise_identity *id,
	const uint8_t pk[static WG_KEY_SIZE], const uint8_t *psk, struct peer **ret_p)
{
	struct peer *p = place_take(w);
	enum err e;

	if (p == NULL)
		return ERR_FULL;
	e = session_init(&p->session, id, pk, psk);
	if (e != OK) {
		place_give(w, p);
		return e;
	}
	p->role = role;
	p->used = true;
	w->n_peers++;
	*ret_p = p;
	return OK;
}

void peer_end(struct worker *w, struct peer *p)
{
	if (p->doomed)
		return;
	p->doomed = true;
	if (w->joining == p)
		input_join_flush(w);
	p->next = w->doomed_peers;
	w->doomed_peers = p;
}

/* Nobody may be carried by it any more. Rare, and a worker's nested sessions are a few dozen. */
static void carried_drop(struct worker *w, const struct peer *p)
{
	for (uint32_t h = 0; h < w->n_peers_fresh && w->overlay != NULL; h++)
		if (w->peers[h].used && w->peers[h].carrier.parent == p)
			w->peers[h].carrier.parent = NULL;
}

void peers_free_doomed(struct worker *w)
{
	while (w->doomed_peers != NULL) {
		struct peer *p = w->doomed_peers;

		w->doomed_peers = p->next;
		p->next = NULL;
		staged_drop(w, p);
		again_drop(w, p);
		wheel_cancel(&w->wheel, &p->timer);
		carried_drop(w, p);
		if (p->role->gone != NULL)
			p->role->gone(w, p);
		session_done(&p->session, &w->env);
		w->n_peers--;
		place_give(w, p);
	}
}

struct peer *peer_by_handle(struct worker *w, uint32_t handle)
{
	if (handle >= w->n_peers_fresh || !w->peers[handle].used || w->peers[handle].doomed)
		return NULL;
	return &w->peers[handle];
}

struct peer *peer_by_index(struct worker *w, uint32_t index)
{
	return peer_by_handle(w, indices_find(&w->indices, index));
}

void peer_path_set(struct peer *p, const struct udp_path *path)
{
	p->carrier.parent = NULL;
	p->carrier.path = *path;
}

void peer_keypairs_ensure(struct worker *w)
{
	struct keypair_chunk *c;

	if (w->keypairs.n_free >= SESSION_KEYPAIRS)
		return;
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return;
	c->next = w->keypair_chunks;
	w->keypair_chunks = c;
	keypair_pool_add(&w->keypairs, c->pairs, KEYPAIRS_CHUNK);
}

void peer_keypairs_free(struct worker *w)
{
	struct keypair_chunk *next;

	for (struct keypair_chunk *c = w->keypair_chunks; c != NULL; c = next) {
		next = c->next;
		free(c);
	}
	w->keypair_chunks = NULL;
}

/* --- what sessions need ------------------------------------------------------------------------------ */
static void indices_make_room(struct worker *w)
{
	struct indices_entry *old = w->indices.entries;
	struct indices_entry *more;

	if (!indices_crowded(&w->indices))
		return;
	more = calloc(2 * (size_t)w->indices.size, sizeof(*more));
	if (more == NULL)
		return;
	indices_grow(&w->indices, more, 2 * w->indices.size);
	free(old);
}

static bool index_new(void *ctx, struct session *s, uint32_t *ret_index)
{
	struct worker *w = ctx;
	const uint32_t mask = (1u << w->plane->worker_bits) - 1;

	indices_make_room(w);
	for (int try = 0; try < INDEX_TRIES; try++) {
		uint32_t index = (rng_u32(&w->rng) & ~mask) | w->id;

		if (indices_add(&w->indices, index, ((struct peer *)s)->handle) == OK) {
			*ret_index = index;
			return true;
		}
	}
	return false;
}

static void index_free(void *ctx, struct session *s, uint32_t index)
{
	(void)s;
	indices_remove(&((struct worker *)ctx)->indices, index);
}

static void initiation_send(struct worker *w, struct peer *p)
{
	uint8_t msg[WG_INITIATION_SIZE];

	if (!p->role->initiates || (!w->has_identity && p->session.identity == &w->identity) ||
		(p->carrier.parent == NULL && p->carrier.path.remote.sa.sa_family == 0))
		return;
	if (session_initiation_create(&p->session, &w->env, w->now, wall_now_ns(), msg) == OK)
		output_message(w, p, msg, sizeof(msg));
}

static void emit(void *ctx, struct session *s, enum session_effect e)
{
	struct worker *w = ctx;
	struct peer *p = (struct peer *)s;

	if (p->doomed)
		return;
	switch (e) {
	case SESSION_SEND_INITIATION:
		initiation_send(w, p);
		break;
	case SESSION_ESTABLISHED:
		output_staged(w, p);
		if (p->role->established != NULL)
			p->role->established(w, p);
		if (p->again != NULL)
			again_say(w, p);
		break;
	case SESSION_SEND_KEEPALIVE:
		(void)!output_payload(w, p, NULL, 0);
		break;
	case SESSION_GAVE_UP:
		staged_drop(w, p);
		if (p->role->gave_up != NULL)
			p->role->gave_up(w, p);
		break;
	case SESSION_EXPIRED:
		break;
	}
}

const struct session_ops peer_session_ops = {.index_new = index_new, .index_free = index_free, .emit = emit};

/* --- time --------------------------------------------------------------------------------------------- */
void peers_tick(struct worker *w)
{
	struct wheel_entry *e;

	while ((e = wheel_expired(&w->wheel, w->now)) != NULL) {
		struct peer *p = (struct peer *)((uint8_t *)e - offsetof(struct peer, timer));

		if (p->doomed)
			continue;
		if (mono_reached(session_deadline(&p->session, w->plane->session_conf), w->now))
			session_tick(&p->session, &w->env, w->now);
		peer_touched(w, p);
	}
}

void peer_meter_due(struct worker *w, struct peer *p)
{
	if (p->role->metered != NULL)
		p->role->metered(w, p);
}
