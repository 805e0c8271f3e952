/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <sodium.h>

enum change_kind {
	CHANGE_KEY,
	CHANGE_PEER_ADD,
	CHANGE_PEER_REMOVE,
	CHANGE_PSK,
	CHANGE_ENDPOINT,
	CHANGE_KEEPALIVE,
	CHANGE_ALLOWED_ADD,
	CHANGE_ALLOWED_REMOVE,
	CHANGE_ALLOWED_CLEAR,
	CHANGE_QUEUE,
	CHANGES
};

struct change {
	enum change_kind kind;
	uint32_t number; /* peer; of CHANGE_QUEUE the worker */
	union {
		struct {
			bool has_key;
			struct noise_identity id;
		} key;
		struct {
			uint16_t worker;
			uint8_t pk[WG_KEY_SIZE];
		} peer;
		uint8_t preshared_key[WG_KEY_SIZE];
		struct udp_path path;
		uint16_t interval_s;
		struct net_prefix prefix;
		bool on;
	};
};

#define CHANGES_AT_ONCE 4096 /* committed early beyond that: bounds memory */

static struct change *change_new(struct device *d, enum change_kind kind, uint32_t number)
{
	struct change *c;

	if (d->n_changes == CHANGES_AT_ONCE)
		device_commit(d);
	c = &d->changes[d->n_changes++];
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->number = number;
	return c;
}

/* --- in the workers ---------------------------------------------------------------------------------------- */
static struct peer *mine(struct worker *w, uint32_t number)
{
	const struct allowed_owner *o = allowed_owner(w->allowed, number);

	return o->used && o->worker == w->id ? peer_by_handle(w, o->handle) : NULL;
}

static void on_key(struct worker *w, const struct change *c)
{
	worker_identity_set(w, &c->key.id);
	w->has_identity = c->key.has_key;
	for (uint32_t h = 0; h < w->n_peers_fresh; h++) {
		struct peer *p = peer_by_handle(w, h);

		if (p == NULL || p->role != &role_configured)
			continue;
		/* A peer whose key is no point of the curve can never be spoken to; it stays listed. */
		(void)!session_identity_set(&p->session, &w->env, &w->identity);
		peer_touched(w, p);
	}
}

static void on_peer_add(struct worker *w, const struct change *c)
{
	struct allowed_owner *o = allowed_owner(w->allowed, c->number);
	struct peer *p;

	o->worker = c->peer.worker;
	o->used = true;
	o->handle = UINT32_MAX;
	if (c->peer.worker != w->id ||
		peer_new(w, &role_configured, &w->identity, c->peer.pk, NULL, &p) != OK)
		return;
	p->number = c->number;
	o->handle = p->handle;
	if (directory_add(&w->plane->directory, c->peer.pk, (uint16_t)w->id, p->handle) != OK)
		peer_end(w, p);
}

static void on_peer_remove(struct worker *w, const struct change *c)
{
	struct peer *p = mine(w, c->number);

	allowed_clear(w->allowed, c->number);
	allowed_owner(w->allowed, c->number)->used = false;
	if (p == NULL)
		return;
	directory_remove(&w->plane->directory, p->session.remote.static_pk, (uint16_t)w->id, p->handle);
	peer_end(w, p);
	peers_free_doomed(w); /* a change behind this one may bring the same key back */
}

static void on_psk(struct worker *w, const struct change *c)
{
	struct peer *p = mine(w, c->number);

	if (p != NULL)
		session_psk_set(&p->session, c->preshared_key);
}

static void on_endpoint(struct worker *w, const struct change *c)
{
	struct peer *p = mine(w, c->number);

	if (p != NULL)
		peer_path_set(p, &c->path);
}

static void on_keepalive(struct worker *w, const struct change *c)
{
	struct peer *p = mine(w, c->number);

	if (p == NULL)
		return;
	session_persistent_set(&p->session, &w->env, w->now, DUR_S(c->interval_s));
	peer_touched(w, p);
}

static void on_allowed_add(struct worker *w, const struct change *c)
{
	if (allowed_add(w->allowed, &c->prefix, c->number) != OK)
		w->n.tun_no_peer++; /* no memory: its packets will find nobody */
}

static void on_allowed_remove(struct worker *w, const struct change *c)
{
	(void)!allowed_remove(w->allowed, &c->prefix, c->number);
}

static void on_allowed_clear(struct worker *w, const struct change *c)
{
	allowed_clear(w->allowed, c->number);
}

static void on_queue(struct worker *w, const struct change *c)
{
	if (c->number == w->id)
		worker_tun_use(w, TUN_DEVICE, c->on);
}

static void apply(struct worker *w, void *arg)
{
	static void (*const how[CHANGES])(struct worker *w, const struct change *c) = {
		[CHANGE_KEY] = on_key,
		[CHANGE_PEER_ADD] = on_peer_add,
		[CHANGE_PEER_REMOVE] = on_peer_remove,
		[CHANGE_PSK] = on_psk,
		[CHANGE_ENDPOINT] = on_endpoint,
		[CHANGE_KEEPALIVE] = on_keepalive,
		[CHANGE_ALLOWED_ADD] = on_allowed_add,
		[CHANGE_ALLOWED_REMOVE] = on_allowed_remove,
		[CHANGE_ALLOWED_CLEAR] = on_allowed_clear,
		[CHANGE_QUEUE] = on_queue,
	};
	const struct device *d = arg;

	for (uint32_t i = 0; i < d->n_changes; i++)
		how[d->changes[i].kind](w, &d->changes[i]);
}

/* Only queues of workers that have peers: else the kernel would give packets to workers which can but
 * hand them on. Worker 0's always, so that the device has one. */
static void queues_choose(struct device *d)
{
	for (unsigned int i = 0; i < d->plane->n_workers && d->plane->tun_kinds[TUN_DEVICE].multi_queue; i++) {
		const bool use = i == 0 || d->n_of_worker[i] > 0;

		if (use == d->queue_used[i])
			continue;
		d->queue_used[i] = use;
		change_new(d, CHANGE_QUEUE, i)->on = use;
	}
}

void device_commit(struct device *d)
{
	if (d->n_changes < CHANGES_AT_ONCE)
		queues_choose(d);
	if (d->n_changes == 0)
		return;
	plane_call(d->plane, apply, d);
	sodium_memzero(d->changes, d->n_changes * sizeof(*d->changes));
	d->n_changes = 0;
	d->removes = false;
}

/* --- key, port, mark --------------------------------------------------------------------------------------- */
void device_key_set(struct device *d, const uint8_t sk[static WG_KEY_SIZE])
{
	struct noise_identity id;
	uint32_t number;
	struct change *c;

	if (d->has_key && memcmp(sk, d->static_sk, WG_KEY_SIZE) == 0)
		return;
	noise_identity_init(&id, sk);
	d->has_key = !sodium_is_zero(sk, WG_KEY_SIZE);
	memcpy(d->static_sk, id.static_sk, WG_KEY_SIZE);
	memcpy(d->static_pk, id.static_pk, WG_KEY_SIZE);
	/* Nobody is a peer of himself. */
	if (d->has_key && device_peer_find(d, d->static_pk, &number))
		device_peer_remove(d, number);
	c = change_new(d, CHANGE_KEY, 0);
	c->key.has_key = d->has_key;
	c->key.id = id;
	noise_identity_done(&id);
}

static void take_sockets(struct worker *w, void *arg)
{
	int(*fds)[UDP_FAMILIES] = arg;

	for (int f = 0; f < UDP_FAMILIES; f++)
		worker_udp_set(w, UDP_PUBLIC, f, fds[w->id][f]);
}

static void sockets_close(struct device *d)
{
	for (unsigned int i = 0; i < d->plane->n_workers; i++)
		d->fds[i][UDP_V4] = d->fds[i][UDP_V6] = -1;
	plane_call(d->plane, take_sockets, d->fds);
}

static int sockets_open(struct device *d)
{
	uint16_t port;

	sockets_close(d);
	if (udp_bind(d->plane->n_workers, d->plane->worker_bits, d->port, d->mark, d->fds, &port) != OK) {
		int e = errno;

		sockets_close(d);
		return -e;
	}
	d->port = port;
	plane_call(d->plane, take_sockets, d->fds);
	return 0;
}

int device_port_set(struct device *d, uint16_t port)
{
	d->port = port;
	if (d->up)
		return sockets_open(d);
	return d->wanted_up ? device_up(d) : 0;
}

int device_mark_set(struct device *d, uint32_t mark)
{
	d->mark = mark;
	for (unsigned int i = 0; i < d->plane->n_workers; i++)
		for (int f = 0; f < UDP_FAMILIES; f++)
			if (udp_mark(d->fds[i][f], mark) != OK)
				return -errno;
	device_sources_forget(d);
	return 0;
}

static void forget_sources(struct worker *w, void *arg)
{
	(void)arg;
	for (uint32_t h = 0; h < w->n_peers_fresh; h++)
		w->peers[h].carrier.path.sticky = false;
}

void device_sources_forget(struct device *d)
{
	plane_call(d->plane, forget_sources, NULL);
}

/* --- up and down ------------------------------------------------------------------------------------------- */
static void wake_peers(struct worker *w, void *arg)
{
	(void)arg;
	for (uint32_t h = 0; h < w->n_peers_fresh; h++) {
		struct peer *p = peer_by_handle(w, h);
		dur_t interval;

		if (p == NULL)
			continue;
		interval = p->session.persistent;
		session_clear(&p->session, &w->env); /* what was begun without a socket went nowhere */
		session_persistent_set(&p->session, &w->env, w->now, DUR_S(0));
		session_persistent_set(&p->session, &w->env, w->now, interval);
		if (p->staged.n > 0)
			session_initiate(&p->session, &w->env, w->now);
		peer_touched(w, p);
	}
}

static void clear_peers(struct worker *w, void *arg)
{
	(void)arg;
	for (uint32_t h = 0; h < w->n_peers_fresh; h++) {
		struct peer *p = peer_by_handle(w, h);

		if (p == NULL)
			continue;
		staged_drop(w, p);
		session_clear(&p->session, &w->env);
	}
}

int device_up(struct device *d)
{
	int e;

	d->wanted_up = true;
	if (d->up)
		return 0;
	e = sockets_open(d);
	if (e != 0)
		return e;
	d->up = true;
	plane_call(d->plane, wake_peers, NULL);
	return 0;
}

void device_down(struct device *d)
{
	d->wanted_up = false;
	if (!d->up)
		return;
	d->up = false;
	plane_call(d->plane, clear_peers, NULL);
	sockets_close(d);
}

static void take_mtu(struct worker *w, void *arg)
{
	w->mtu[TUN_DEVICE] = *(const uint32_t *)arg;
}

void device_mtu_set(struct device *d, uint32_t mtu)
{
	/* Only padding looks at it, in 16 bits. */
	uint32_t m = mtu > OFFLOAD_SUPER_MAX ? 0 : mtu;

	plane_call(d->plane, take_mtu, &m);
}

/* --- peers --------------------------------------------------------------------------------------------------- */
bool device_peer_find(struct device *d, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number)
{
	uint16_t unused;

	return directory_find(&d->numbers, pk, &unused, ret_number) == OK;
}

static uint16_t least_loaded(const struct device *d)
{
	uint16_t best = 0;

	for (uint16_t i = 1; i < d->plane->n_workers; i++)
		if (d->n_of_worker[i] < d->n_of_worker[best])
			best = i;
	return best;
}

int device_peer_add(struct device *d, const uint8_t pk[static WG_KEY_SIZE], uint32_t *ret_number)
{
	uint32_t number = d->n_free > 0 ? d->free[d->n_free - 1] : d->n_fresh;
	struct device_peer *p;
	struct change *c;

	/* Workers apply one after the other: a key that comes back in another worker must have left first. */
	if (d->removes)
		device_commit(d);
	if (number == DEVICE_PEERS_MAX || directory_add(&d->numbers, pk, 0, number) != OK)
		return -EINVAL;
	if (d->n_free > 0)
		d->n_free--;
	else
		d->n_fresh++;
	p = &d->peers[number];
	*p = (struct device_peer){.used = true, .worker = least_loaded(d)};
	memcpy(p->pk, pk, WG_KEY_SIZE);
	d->n_of_worker[p->worker]++;
	d->n_peers++;
	c = change_new(d, CHANGE_PEER_ADD, number);
	c->peer.worker = p->worker;
	memcpy(c->peer.pk, pk, WG_KEY_SIZE);
	*ret_number = number;
	return 0;
}

void device_peer_remove(struct device *d, uint32_t number)
{
	struct device_peer *p = &d->peers[number];

	change_new(d, CHANGE_PEER_REMOVE, number);
	d->removes = true;
	allowed_clear(d->allowed, number);
	directory_remove(&d->numbers, p->pk, 0, number);
	d->n_of_worker[p->worker]--;
	d->n_peers--;
	d->free[d->n_free++] = number;
	sodium_memzero(p, sizeof(*p));
}

void device_peers_clear(struct device *d)
{
	for (uint32_t i = 0; i < d->n_fresh; i++)
		if (d->peers[i].used)
			device_peer_remove(d, i);
}

void device_psk_set(struct device *d, uint32_t number, const uint8_t psk[static WG_KEY_SIZE])
{
	memcpy(d->peers[number].preshared_key, psk, WG_KEY_SIZE);
	memcpy(change_new(d, CHANGE_PSK, number)->preshared_key, psk, WG_KEY_SIZE);
}

void device_endpoint_set(struct device *d, uint32_t number, const struct udp_path *to)
{
	change_new(d, CHANGE_ENDPOINT, number)->path = *to;
}

void device_keepalive_set(struct device *d, uint32_t number, uint16_t interval_s)
{
	d->peers[number].keepalive_s = interval_s;
	change_new(d, CHANGE_KEEPALIVE, number)->interval_s = interval_s;
}

void device_allowed_clear(struct device *d, uint32_t number)
{
	allowed_clear(d->allowed, number);
	change_new(d, CHANGE_ALLOWED_CLEAR, number);
}

int device_allowed_add(struct device *d, uint32_t number, const struct net_prefix *p)
{
	enum err e = allowed_add(d->allowed, p, number);

	if (e != OK)
		return e == ERR_INVALID ? -EINVAL : -ENOMEM;
	change_new(d, CHANGE_ALLOWED_ADD, number)->prefix = *p;
	return 0;
}

void device_allowed_remove(struct device *d, uint32_t number, const struct net_prefix *p)
{
	(void)!allowed_remove(d->allowed, p, number);
	change_new(d, CHANGE_ALLOWED_REMOVE, number)->prefix = *p;
}

/* --- what is seen -------------------------------------------------------------------------------------------- */
static void look(struct worker *w, void *arg)
{
	struct device_view *views = arg;

	for (uint32_t h = 0; h < w->n_peers_fresh; h++) {
		const struct peer *p = peer_by_handle(w, h);

		if (p == NULL || p->role != &role_configured)
			continue;
		views[p->number] = (struct device_view){.path = p->carrier.path,
			.last_handshake = p->session.last_handshake,
			.rx_bytes = p->session.stats.rx_bytes,
			.tx_bytes = p->session.stats.tx_bytes};
	}
}

void device_view(struct device *d, struct device_view *views)
{
	plane_call(d->plane, look, views);
}

/* --- life ---------------------------------------------------------------------------------------------------- */
struct begin {
	const int *tun_fds;
	const struct noise_identity *nobody;
	enum err e;
};

static void begin(struct worker *w, void *arg)
{
	struct begin *b = arg;

	if (b->e == OK)
		b->e = allowed_new(&w->allowed, DEVICE_PEERS_MAX);
	if (b->e != OK)
		return;
	w->tun_take[TUN_DEVICE] = allowed_take;
	worker_identity_set(w, b->nobody);
	w->has_identity = false;
	worker_tun_set(w, TUN_DEVICE, b->tun_fds[w->id]);
}

enum err device_init(struct device *d, struct plane *p, const int *tun_fds)
{
	struct noise_identity nobody;
	const uint8_t no_key[WG_KEY_SIZE] = {0};
	struct begin b = {.tun_fds = tun_fds, .nobody = &nobody};
	void *peers = mmap(NULL, DEVICE_PEERS_MAX * sizeof(*d->peers), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	void *spare = mmap(NULL, DEVICE_PEERS_MAX * sizeof(*d->free), PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	memset(d, 0, sizeof(*d));
	d->plane = p;
	d->peers = peers;
	d->free = spare;
	memset(d->fds, 0xff, sizeof(d->fds));
	d->changes = calloc(CHANGES_AT_ONCE + WORKERS_MAX, sizeof(*d->changes));
	if (peers == MAP_FAILED || spare == MAP_FAILED || d->changes == NULL)
		return ERR_FULL;
	TRY(directory_init(&d->numbers));
	TRY(allowed_new(&d->allowed, DEVICE_PEERS_MAX));
	noise_identity_init(&nobody, no_key);
	for (unsigned int i = 0; i < p->n_workers; i++)
		d->queue_used[i] = true;
	plane_call(p, begin, &b);
	if (b.e == OK)
		device_commit(d);
	return b.e;
}

void device_done(struct device *d)
{
	directory_done(&d->numbers);
	allowed_free(&d->allowed);
	sodium_memzero(d->static_sk, sizeof(d->static_sk));
	for (uint32_t i = 0; i < d->n_fresh; i++)
		sodium_memzero(&d->peers[i], sizeof(d->peers[i]));
	munmap(d->peers, DEVICE_PEERS_MAX * sizeof(*d->peers));
	munmap(d->free, DEVICE_PEERS_MAX * sizeof(*d->free));
	free(d->changes);
}
