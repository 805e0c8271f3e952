/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Workers come to life, take orders, turn, and end. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <sodium.h>

#include "lib/sys/clock.h"
#include "lib/sys/entropy.h"
#include "lib/sys/log.h"
#include "overlay_role.h"
#include "worker.h"

#define EVENTS_MAX 16
#define U(n) ((unsigned long long)(n))
#define INDICES_FIRST 256u
#define RATE_SLOTS 4096 /* sources whose handshakes are counted, per worker */

/* What an event is about, as epoll's data. */
enum wake_kind {
	WAKE_ORDERS,
	WAKE_UDP, /* + kind * UDP_FAMILIES + family */
	WAKE_TUN = WAKE_UDP + UDP_KINDS * UDP_FAMILIES
};

void *pages_reserve(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

void pages_release(void *p, size_t bytes)
{
	if (p != NULL)
		munmap(p, bytes);
}

/* --- orders ----------------------------------------------------------------------------------------- */
void worker_wake(struct worker *w)
{
	const uint64_t one = 1;

	if (!atomic_exchange(&w->woken, true))
		(void)!write(w->wake_fd, &one, sizeof(one));
}

void worker_post(struct worker *w, struct order *o)
{
	o->next = NULL;
	pthread_mutex_lock(&w->inbox_mutex);
	*w->orders_end = o;
	w->orders_end = &o->next;
	pthread_mutex_unlock(&w->inbox_mutex);
	worker_wake(w);
}

static struct order *orders_take(struct worker *w)
{
	struct order *o;

	pthread_mutex_lock(&w->inbox_mutex);
	o = w->orders;
	w->orders = NULL;
	w->orders_end = &w->orders;
	pthread_mutex_unlock(&w->inbox_mutex);
	return o;
}

struct call {
	struct order order;
	void (*fn)(struct worker *w, void *arg);
	void *arg;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	bool done;
};

static void call_run(struct worker *w, struct order *o)
{
	struct call *c = (struct call *)o;

	c->fn(w, c->arg);
	pthread_mutex_lock(&c->mutex);
	c->done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->mutex);
}

void worker_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg)
{
	struct call c = {.order = {.run = call_run},
		.fn = fn,
		.arg = arg,
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER};

	worker_post(w, &c.order);
	pthread_mutex_lock(&c.mutex);
	while (!c.done)
		pthread_cond_wait(&c.cond, &c.mutex);
	pthread_mutex_unlock(&c.mutex);
	pthread_mutex_destroy(&c.mutex);
	pthread_cond_destroy(&c.cond);
}

void plane_call(struct plane *p, void (*fn)(struct worker *w, void *arg), void *arg)
{
	for (unsigned int i = 0; i < p->n_workers; i++)
		worker_call(p->workers[i], fn, arg);
}

/* --- notes ------------------------------------------------------------------------------------------ */
void plane_note(struct plane *p, struct note *n)
{
	const uint64_t one = 1;
	bool first, lost;

	n->next = NULL;
	pthread_mutex_lock(&p->notes_mutex);
	first = p->notes == NULL;
	lost = p->n_notes >= NOTES_MAX;
	if (lost) {
		p->notes_lost++;
	} else {
		*p->notes_end = n;
		p->notes_end = &n->next;
		p->n_notes++;
	}
	pthread_mutex_unlock(&p->notes_mutex);
	if (lost)
		free(n);
	else if (first)
		(void)!write(p->notes_fd, &one, sizeof(one));
}

void plane_notes_run(struct plane *p, void *main_state)
{
	struct note *n, *next;
	uint64_t count;

	(void)!read(p->notes_fd, &count, sizeof(count));
	pthread_mutex_lock(&p->notes_mutex);
	n = p->notes;
	p->notes = NULL;
	p->notes_end = &p->notes;
	p->n_notes = 0;
	pthread_mutex_unlock(&p->notes_mutex);
	for (; n != NULL; n = next) {
		next = n->next;
		n->run(main_state, n);
		free(n);
	}
}

/* --- rings ------------------------------------------------------------------------------------------ */
static struct ring *ring_between(struct plane *p, unsigned int from, unsigned int to)
{
	return &p->rings[from * p->n_workers + to];
}

uint8_t *moved_claim(struct worker *w, unsigned int to, const struct moved *head, uint32_t len)
{
	uint8_t *r = ring_claim(ring_between(w->plane, w->id, to), (uint32_t)sizeof(*head) + len);

	if (r == NULL) {
		w->n.moved_lost++;
		return NULL;
	}
	memcpy(r, head, sizeof(*head));
	return r + sizeof(*head);
}

void moved_publish(struct worker *w, unsigned int to, enum moved_kind kind)
{
	ring_publish(ring_between(w->plane, w->id, to));
	w->n.moved_out[kind]++;
	worker_wake(w->plane->workers[to]);
}

#define RING_TURN 64 /* records of one ring per wake: fairness with what came here by itself */

/* True if there is more. */
static bool rings_drain(struct worker *w)
{
	bool more = false;

	for (unsigned int from = 0; from < w->plane->n_workers; from++) {
		struct ring *r = ring_between(w->plane, from, w->id);
		const uint8_t *record;
		uint32_t len;

		if (from == w->id)
			continue;
		for (int i = 0; i < RING_TURN && (record = ring_peek(r, &len)) != NULL; i++) {
			w->n.moved_in++;
			input_moved(w, record, len);
			ring_release(r);
		}
		more |= ring_peek(r, &len) != NULL;
	}
	input_join_flush(w);
	return more;
}

/* --- the loop --------------------------------------------------------------------------------------- */
void worker_flush(struct worker *w)
{
	for (int k = 0; k < UDP_KINDS; k++)
		for (int f = 0; f < UDP_FAMILIES; f++)
			if (udp_pending(&w->udp[k][f]))
				udp_flush(&w->udp[k][f]);
	if (w->arena_open == 0)
		w->arena_used = 0;
}

static void on_wake(struct worker *w)
{
	struct order *o, *next;
	uint64_t count;

	(void)!read(w->wake_fd, &count, sizeof(count));
	atomic_store(&w->woken, false);
	for (o = orders_take(w); o != NULL; o = next) {
		next = o->next; /* a call's order is gone once it has run */
		o->run(w, o);
	}
	if (rings_drain(w))
		worker_wake(w);
}

static void on_event(struct worker *w, uint32_t what)
{
	if (what == WAKE_ORDERS)
		on_wake(w);
	else if (what >= WAKE_TUN)
		backlog_tun(w, what - WAKE_TUN);
	else
		backlog_udp(w, &w->udp[(what - WAKE_UDP) / UDP_FAMILIES][(what - WAKE_UDP) % UDP_FAMILIES]);
}

static int wait_ms(struct worker *w)
{
	mono_t at = wheel_deadline(&w->wheel);
	uint64_t ns;

	if (w->n_handshakes > 0 || backlog_any(&w->backlog))
		return 0;
	at = mono_min(at, shed_deadline(&w->shed));
	if (w->overlay != NULL)
		at = mono_min(at, overlay_role_deadline(w));
	if (at.ns == UINT64_MAX)
		return -1;
	ns = mono_since(w->now, at).ns;
	return ns > 3600u * 1000000000ull ? 3600000 : (int)((ns + 999999) / 1000000);
}

static void turn(struct worker *w)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(w->epoll_fd, events, EVENTS_MAX, wait_ms(w));

	w->now = mono_now();
	for (int i = 0; i < n; i++)
		on_event(w, events[i].data.u32);
	worker_flush(w);
	backlog_work(w);
	handshakes_run(w);
	handshakes_shed(w);
	peers_tick(w);
	if (w->overlay != NULL)
		overlay_role_tick(w);
	input_join_flush(w);
	worker_flush(w);
	peers_free_doomed(w);
}

static void *worker_run(void *arg)
{
	struct worker *w = arg;

	w->now = mono_now();
	while (!w->stop) {
		turn(w);
		/* Where hops share a processor the next one has work now: in turns of the backlog's size a packet
		 * waits for each hop less long than in slices of the scheduler's. */
		sched_yield();
	}
	return NULL;
}

/* --- what it owns ----------------------------------------------------------------------------------- */
static void watch(struct worker *w, int fd, uint32_t what)
{
	struct epoll_event e = {.events = EPOLLIN, .data.u32 = what};

	if (fd >= 0 && epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, fd, &e) != 0)
		log_error("epoll: %s", strerror(errno));
}

void worker_udp_set(struct worker *w, enum udp_kind kind, enum udp_family family, int fd)
{
	worker_flush(w);
	udp_socket_set(&w->udp[kind][family], fd, kind, family); /* closing takes it out of epoll */
	if (kind == UDP_PUBLIC && shed_works(&w->shed))
		udp_shed(fd, &w->shed);
	watch(w, fd, WAKE_UDP + kind * UDP_FAMILIES + family);
}

void worker_tun_set(struct worker *w, enum tun_use use, int fd)
{
	struct tun *t = &w->tuns[use];

	input_join_flush(w);
	backlog_tun_drop(w, use);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = fd;
	t->kind = &w->plane->tun_kinds[use];
	offload_joiner_init(&t->joiner, t->kind->caps);
	watch(w, fd, WAKE_TUN + use);
}

void worker_tun_use(struct worker *w, enum tun_use use, bool on)
{
	const int fd = w->tuns[use].fd;

	if (fd < 0)
		return;
	/* A queue set aside is always in error to epoll. */
	if (!on)
		epoll_ctl(w->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	if (tun_queue_use(fd, on) != OK)
		log_warn("TUN queue: %s", strerror(errno));
	if (on)
		watch(w, fd, WAKE_TUN + use);
}

void worker_identity_set(struct worker *w, const struct noise_identity *id)
{
	noise_identity_done(&w->identity);
	cookie_checker_done(&w->checker);
	w->has_identity = id != NULL;
	if (id == NULL)
		return;
	w->identity = *id;
	cookie_checker_init(&w->checker, id);
}

static enum err worker_memory(struct worker *w, uint32_t peers_max)
{
	const size_t aead_size = (w->plane->aead->state_size() + 63) & ~(size_t)63;
	void *aead_mem = aligned_alloc(64, aead_size > 0 ? aead_size : 64);
	struct indices_entry *entries = calloc(INDICES_FIRST, sizeof(*entries));
	struct rate_slot *slots = pages_reserve(RATE_SLOTS * sizeof(*slots));

	w->arena = pages_reserve(ARENA_SIZE);
	w->handshakes = pages_reserve(HANDSHAKES_MAX * sizeof(*w->handshakes));
	w->peers = pages_reserve(peers_max * sizeof(*w->peers));
	w->peers_max = peers_max;
	if (aead_mem == NULL || entries == NULL || slots == NULL || w->arena == NULL || w->handshakes == NULL ||
		w->peers == NULL)
		return ERR_FULL;
	w->aead.state = aead_mem;
	TRY(aead_init(&w->aead, w->plane->aead, aead_mem));
	entropy_rng(&w->rng);
	TRY(backlog_init(&w->backlog, &w->rng));
	indices_init(&w->indices, entries, INDICES_FIRST, w->plane->worker_bits);
	rate_table_init(&w->rate, slots, RATE_SLOTS, &w->rng);
	shed_init(&w->shed, rng_u32(&w->rng));
	wheel_init(&w->wheel, mono_now());
	for (int i = 0; i < TUN_USES; i++) {
		w->tuns[i].kind = &w->plane->tun_kinds[i];
		offload_joiner_init(&w->tuns[i].joiner, 0);
	}
	w->env = (struct session_env){.conf = w->plane->session_conf,
		.ops = &peer_session_ops,
		.ctx = w,
		.rng = &w->rng,
		.keypairs = &w->keypairs};
	return OK;
}

static enum err worker_new(struct plane *p, unsigned int id, uint32_t peers_max)
{
	struct worker *w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);

	if (w == NULL)
		return ERR_FULL;
	memset(w, 0, sizeof(*w));
	p->workers[id] = w;
	for (int i = 0; i < UDP_KINDS * UDP_FAMILIES; i++)
		w->udp[i / UDP_FAMILIES][i % UDP_FAMILIES].fd = -1;
	for (int i = 0; i < TUN_USES; i++)
		w->tuns[i].fd = -1;
	w->plane = p;
	w->id = id;
	w->orders_end = &w->orders;
	pthread_mutex_init(&w->inbox_mutex, NULL);
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->epoll_fd < 0 || w->wake_fd < 0)
		return ERR_IO;
	watch(w, w->wake_fd, WAKE_ORDERS);
	return worker_memory(w, peers_max);
}

/* --- the plane -------------------------------------------------------------------------------------- */
static uint64_t clock_ns(void)
{
	return mono_now().ns;
}

static enum err aead_pick(struct plane *p, const char *name)
{
	struct aead_report report;
	uint8_t seed[32];
	enum err e;

	entropy_bytes(seed, sizeof(seed));
	e = aead_choose(name, seed, clock_ns, aligned_alloc, free, &p->aead, &report);
	for (size_t i = 0; i < report.n && e == OK; i++)
		if (report.findings[i].available && !report.findings[i].right)
			log_error("%s computes ChaCha20-Poly1305 wrongly here; it is not used",
				report.findings[i].name);
	if (e != OK)
		log_error("aead '%.20s' is not there or computes wrongly; use lanes, ipsec-mb, openssl or sodium, or none "
			  "for the fastest",
			name == NULL ? "" : name);
	return e;
}

static unsigned int cores_allowed(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

	return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (unsigned int)n;
}

static enum err rings_make(struct plane *p)
{
	const size_t n = (size_t)p->n_workers * p->n_workers;

	p->rings = aligned_alloc(64, n * sizeof(*p->rings));
	uint8_t *mem = n > 1 ? pages_reserve(n * RING_SIZE) : NULL;
	if (p->rings == NULL || (n > 1 && mem == NULL))
		return ERR_FULL;
	for (size_t i = 0; i < n && n > 1; i++)
		ring_init(&p->rings[i], mem + i * RING_SIZE, RING_SIZE);
	return OK;
}

unsigned int plane_workers(const struct plane_conf *conf)
{
	return conf->n_workers != 0 ? conf->n_workers : cores_allowed();
}

enum err plane_init(struct plane *p, const struct plane_conf *conf)
{
	p->n_workers = plane_workers(conf);
	if (p->n_workers > WORKERS_MAX)
		return ERR_INVALID;
	while (1u << p->worker_bits < p->n_workers)
		p->worker_bits++;
	p->session_conf = &session_conf_wireguard;
	p->notes_end = &p->notes;
	pthread_mutex_init(&p->notes_mutex, NULL);
	p->notes_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->notes_fd < 0)
		return ERR_IO;
	TRY(aead_pick(p, conf->aead));
	TRY(directory_init(&p->directory));
	TRY(rings_make(p));
	for (unsigned int i = 0; i < p->n_workers; i++)
		TRY(worker_new(p, i, conf->peers_max));
	return OK;
}

enum err plane_start(struct plane *p)
{
	sigset_t all, before;
	enum err e = OK;

	/* Signals are the main thread's business. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (unsigned int i = 0; i < p->n_workers && e == OK; i++) {
		char name[16] = "worker ";

		if (pthread_create(&p->workers[i]->thread, NULL, worker_run, p->workers[i]) != 0) {
			p->workers[i]->thread = 0;
			e = ERR_FULL;
			break;
		}
		name[7] = (char)('0' + i / 10);
		name[8] = (char)('0' + i % 10);
		pthread_setname_np(p->workers[i]->thread, name);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return e;
}

void worker_peers_end(struct worker *w)
{
	for (uint32_t h = 0; h < w->n_peers_fresh; h++)
		if (w->peers[h].used)
			peer_end(w, &w->peers[h]);
	worker_flush(w);
	peers_free_doomed(w);
}

static void stop_it(struct worker *w, void *arg)
{
	(void)arg;
	worker_peers_end(w);
	worker_identity_set(w, NULL);
	w->stop = true;
}

/* What was dropped and why, once it is over. */
static void counters_say(const struct worker *w)
{
	const struct worker_counters *n = &w->n;

	log_debug("worker %u: rx_bad=%llu rx_no_index=%llu rx_not_opened=%llu rx_bad_payload=%llu "
		  "rx_denied=%llu tun_bad=%llu tun_no_peer=%llu tx_no_keys=%llu tx_no_path=%llu tx_again=%llu "
		  "rx_shortened=%llu handshakes_full=%llu handshakes_limited=%llu handshakes_denied=%llu cookies_sent=%llu sheds=%llu "
		  "moved_tun=%llu moved_messages=%llu moved_initiations=%llu moved_in=%llu moved_lost=%llu",
		w->id, U(n->rx_bad), U(n->rx_no_index), U(n->rx_not_opened), U(n->rx_bad_payload),
		U(n->rx_denied), U(n->tun_bad), U(n->tun_no_peer), U(n->tx_no_keys), U(n->tx_no_path), U(n->tx_again),
		U(n->rx_shortened), U(n->handshakes_full), U(n->handshakes_limited), U(n->handshakes_denied),
		U(n->cookies_sent), U(n->sheds),
		U(n->moved_out[MOVED_TUN]), U(n->moved_out[MOVED_MESSAGE]), U(n->moved_out[MOVED_INITIATION]),
		U(n->moved_in), U(n->moved_lost));
}

static void memory_free(struct worker *w)
{
	pages_release(w->arena, ARENA_SIZE);
	pages_release(w->handshakes, HANDSHAKES_MAX * sizeof(*w->handshakes));
	pages_release(w->peers, w->peers_max * sizeof(*w->peers));
	backlog_free(&w->backlog);
	pages_release(w->rate.slots, RATE_SLOTS * sizeof(*w->rate.slots));
	free(w->indices.entries);
	free(w->aead.state);
	peer_keypairs_free(w);
	allowed_free(&w->allowed);
}

static void worker_free(struct worker *w)
{
	counters_say(w);
	for (int k = 0; k < UDP_KINDS; k++)
		for (int f = 0; f < UDP_FAMILIES; f++)
			udp_socket_set(&w->udp[k][f], -1, k, f);
	for (int i = 0; i < TUN_USES; i++)
		if (w->tuns[i].fd >= 0)
			close(w->tuns[i].fd);
	if (w->aead.backend != NULL)
		aead_done(&w->aead);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	if (w->wake_fd >= 0)
		close(w->wake_fd);
	memory_free(w);
	sodium_memzero(w, sizeof(*w));
	free(w);
}

/* Notes that nobody will read. */
static void notes_drop(struct plane *p)
{
	struct note *next;

	for (struct note *n = p->notes; n != NULL; n = next) {
		next = n->next;
		free(n);
	}
	p->notes = NULL;
}

void plane_done(struct plane *p)
{
	const size_t n_rings = (size_t)p->n_workers * p->n_workers;

	for (unsigned int i = 0; i < WORKERS_MAX; i++) {
		if (p->workers[i] == NULL)
			continue;
		if (p->workers[i]->thread != 0) {
			worker_call(p->workers[i], stop_it, NULL);
			pthread_join(p->workers[i]->thread, NULL);
		}
	}
	for (unsigned int i = 0; i < WORKERS_MAX; i++) {
		if (p->workers[i] != NULL)
			worker_free(p->workers[i]);
		p->workers[i] = NULL;
	}
	if (n_rings > 1 && p->rings != NULL)
		pages_release(p->rings[0].mem, n_rings * RING_SIZE);
	free(p->rings);
	directory_done(&p->directory);
	notes_drop(p);
	if (p->notes_fd > 0)
		close(p->notes_fd);
}
