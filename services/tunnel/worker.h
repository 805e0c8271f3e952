/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The data plane: workers that share nothing, each running to completion.
 *
 *	UDP in                                              TUN out
 *	  udp_receive -> backlog -> input_messages -> session_open_batch -> payloads: IP -> joiner -> tun_write
 *	                                 ^                                            relay, control -> the role
 *	                                 '-- nested sessions' messages ---'
 *	TUN in                                              UDP out
 *	  tun_read -> backlog -> role's peer -> offload_cut, seal, wrap in parents' frames -> udp_send
 *
 * A worker owns its sockets, TUN queues, sessions, timers and buffers; no other thread touches them.
 * Others reach it by an order (worker_call, worker_post: rare, under a mutex) or by a ring (a packet
 * that came to the wrong worker: counted). What a worker has to tell goes to the main thread as a
 * note. Nothing is allocated and no lock is taken for a packet, unless it has to wait (output.c) or may have
 * to be sent twice (again.c).
 *
 * One code path: a configured WireGuard peer, a stranger's session on a relay and a hop of a client's
 * route are the same struct peer; what they do with a decrypted payload is their role (peer_role). */
#ifndef TUNNEL_WORKER_H
#define TUNNEL_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "lib/rng.h"
#include "lib/units.h"
#include "core/aead.h"
#include "core/cookie.h"
#include "core/fq.h"
#include "core/frame.h"
#include "core/indices.h"
#include "core/meter.h"
#include "core/ring.h"
#include "core/session.h"
#include "core/shed.h"
#include "core/trie.h"
#include "core/wheel.h"
#include "directory.h"
#include "tun.h"
#include "udp.h"

#define WORKERS_MAX 64
/* Messages opened or sealed together, through all layers: 16 of 1.4 kB stay in a first-level cache of 32 kB. */
#define CHUNK 16
#define ARENA_SIZE (1 << 20)	  /* bytes of outgoing trains between two flushes */
#define ARENA_RESERVE (64 << 10)  /* of it for handshakes and control while a train is being made */
#define SEND_HEADROOM 64	  /* for the heads of three layers */
#define SEND_TAILROOM 64
#define STAGED_MAX 128		  /* super-packets of one peer that wait for keys */
#define STAGED_BYTES_MAX (8u << 20) /* of one worker */
#define HANDSHAKES_MAX 512	  /* initiations that wait for the processor */
#define HANDSHAKES_TURN 4	  /* done per turn, after everything else */
#define UNDER_LOAD_AT (HANDSHAKES_MAX / 8)
#define UNDER_LOAD_FOR DUR_S(1)
#define RING_SIZE (512u << 10)
#define NOTES_MAX 65536

struct worker;
struct peer;
struct again;
struct keypair_chunk;
struct overlay;
struct stock;

enum tun_use {
	TUN_DEVICE, /* a WireGuard interface, or the client's device */
	TUN_EXIT,
	TUN_USES
};

/* ---- peers --------------------------------------------------------------------------------------- */
struct peer_role {
	const char *name;
	bool roams;	      /* the last authenticated source is the endpoint */
	bool initiates;	      /* asks for keys when it needs them */
	bool says_again;      /* its way may change, or end, unheard: again.c */
	enum tun_use tun;     /* where its IP packets go */
	/* Kinds of payload that are taken now, bits 1 << enum frame_kind. */
	unsigned int (*gate)(struct worker *w, struct peer *p);
	/* A decrypted run of IP packets (one, or joined: then len is of the whole, pkt only its first and
	 * the checksum `partial`): may it go to the TUN? May translate headers. */
	bool (*ip)(struct worker *w, struct peer *p, uint8_t *pkt, uint32_t len, bool partial);
	/* Inner messages of relay frames, all of one slot, as they lie in the receive buffer. */
	void (*relay)(struct worker *w, struct peer *p, uint16_t slot, uint8_t *const *at,
		const uint32_t *len, uint32_t n);
	void (*control)(struct worker *w, struct peer *p, const uint8_t *frame, size_t len);
	/* Once per batch of authentic messages. */
	void (*heard)(struct worker *w, struct peer *p);
	void (*established)(struct worker *w, struct peer *p);
	void (*gave_up)(struct worker *w, struct peer *p);
	void (*metered)(struct worker *w, struct peer *p); /* meter_due has something */
	void (*gone)(struct worker *w, struct peer *p);	   /* last call, keys are wiped after it */
};

/* How messages reach the other side. */
struct carrier {
	struct peer *parent; /* NULL: by UDP */
	uint16_t slot;	     /* of the relay frames in the parent's session */
	struct udp_path path;
};

/* A copy of a super-packet, and a queue of them. */
struct held {
	struct held *next;
	const struct tun_kind *kind;
	mono_t at; /* when it came in */
	uint32_t len;
	uint8_t buf[];
};

struct hold {
	struct held *first, *last;
	uint32_t n, bytes;
};

struct peer {
	struct session session; /* first: emit gets a pointer to it */
	const struct peer_role *role;
	struct wheel_entry timer;
	struct carrier carrier;
	struct meter *meter;	/* NULL: not counted */
	bool client;		/* we are the client in it: what we send counts as up */
	bool used, doomed;
	uint32_t handle;	/* its place in the worker */
	uint32_t number;	/* of the role: configured peers are numbered over all workers */
	uint64_t id;		/* what other services know it by */
	void *own;		/* of the role */
	struct hold staged;	/* waits for keys */
	struct again *again;	/* NULL: nothing was sent into silence */
	struct peer *next;	/* free, or doomed */
};

/* ---- allowed IPs (configured peers) --------------------------------------------------------------- */
struct allowed_owner {
	struct trie_owner owner; /* first */
	uint32_t handle;	 /* in its worker */
	uint16_t worker;
	bool used;
};

struct allowed;

/* ---- worker ----------------------------------------------------------------------------------------- */
/* What is handed to the worker that owns it. */
enum moved_kind {
	MOVED_TUN,	 /* super-packet of TUN `tun` */
	MOVED_MESSAGE,	 /* type 2 to 4 */
	MOVED_INITIATION, /* opened half way */
	MOVED_KINDS
};

struct worker_counters {
	uint64_t rx_bad;	 /* no WireGuard message, or of a type that has no place there */
	uint64_t rx_no_index;	 /* receiver index of nobody */
	uint64_t rx_not_opened;	 /* forged, replayed, or keys too old */
	uint64_t rx_bad_payload; /* decrypted, but no frame that this session may send */
	uint64_t rx_shortened;	 /* dropped, as too much waited, of those who had most */
	uint64_t rx_denied;	 /* IP packets that the role refused */
	uint64_t tun_bad;	 /* from the TUN: not usable */
	uint64_t tun_no_peer;
	uint64_t tx_no_keys;	 /* dropped: nothing to seal with, no room to wait */
	uint64_t tx_no_path;	 /* no endpoint known */
	uint64_t tx_again;	 /* super-packets sent a second time, by another way */
	uint64_t handshakes_full;
	uint64_t handshakes_limited; /* under load: with a cookie, but too many of its source */
	uint64_t handshakes_denied;
	uint64_t cookies_sent;
	uint64_t sheds;		 /* times that the kernel was told what to drop of a flood */
	uint64_t moved_out[MOVED_KINDS]; /* handed to the owning worker */
	uint64_t moved_in;
	uint64_t moved_lost;	 /* its ring was full */
};

/* ---- what waits for the processor ------------------------------------------------------------------- */
#define BACKLOG_SLOTS 512u
/* Bytes of a slot: whatever a socket or a device gives at once; whole pages. */
#define BACKLOG_SLOT_SIZE (68u << 10)
#define BACKLOG_BYTES (1u << 20) /* wait in a queue before no more are taken in */
#define BACKLOG_TURN (128u << 10) /* bytes of each queue done per turn: what is new waits no longer */
#define BACKLOG_MESSAGE 512	 /* bytes that a message costs beside its own */
#define BACKLOG_CROWDED_FOR DUR_S(1)

enum backlog_queue { BACKLOG_UDP, BACKLOG_TUN, BACKLOG_QUEUES };

/* A train or a super-packet that was taken in. */
struct slot {
	struct fq_item item; /* first */
	struct slot *next;   /* free, or done with */
	struct udp_item udp; /* its buf is the slot's memory, for a super-packet too */
	uint32_t tun_len;
	enum tun_use tun;
};

/* Queues of a worker: sessions get their turns in one, flows (an exit's: clients) in the other. */
struct backlog {
	struct fq fq[BACKLOG_QUEUES];
	struct slot *slots, *free;
	uint8_t *mem;
	void *fq_mem[BACKLOG_QUEUES];
	mono_t crowded_until; /* more comes than can be done: who has most here loses, not who comes last */
};

struct handshake_item {
	uint8_t msg[WG_INITIATION_SIZE];
	struct udp_path from;
};

struct order {
	struct order *next;
	void (*run)(struct worker *w, struct order *o); /* owns o */
};

struct plane;

struct worker {
	struct plane *plane;
	unsigned int id;
	pthread_t thread;
	int epoll_fd, wake_fd;
	mono_t now;
	bool stop;
	struct rng rng;
	struct aead aead;
	struct session_env env;
	struct keypair_pool keypairs;
	struct keypair_chunk *keypair_chunks;

	bool has_identity;
	struct noise_identity identity;
	struct cookie_checker checker;
	struct rate_table rate;
	struct shed shed;
	mono_t under_load_until;
	struct handshake_item *handshakes; /* HANDSHAKES_MAX, a queue */
	uint32_t handshake_first, n_handshakes;

	struct wheel wheel;
	struct indices indices;
	struct peer *peers; /* by handle */
	uint32_t peers_max, n_peers_fresh, n_peers;
	struct peer *free_peers, *doomed_peers;
	uint32_t staged_bytes, again_bytes;

	struct udp_socket udp[UDP_KINDS][UDP_FAMILIES];
	struct tun tuns[TUN_USES];
	struct backlog backlog;
	uint32_t mtu[TUN_USES]; /* padding does not go beyond it */
	/* A super-packet from a TUN (or handed over): to its peer. */
	void (*tun_take[TUN_USES])(struct worker *w, const uint8_t *buf, size_t len, bool moved);
	struct peer *joining; /* whose packets are in the joiner of its role's TUN */
	uint8_t *arena;
	uint32_t arena_used;
	unsigned int arena_open; /* trains being made: it may not be reset */

	struct allowed *allowed; /* configured peers */
	struct overlay *overlay; /* NULL: drop-in */
	struct stock *stock;	 /* peers of a node's configuration; NULL: drop-in */

	struct worker_counters n;

	pthread_mutex_t inbox_mutex;
	struct order *orders, **orders_end;
	atomic_bool woken;
};

/* Told to the main thread. */
struct note {
	struct note *next;
	void (*run)(void *main_state, struct note *n); /* does not free it */
};

/* What all workers share; constant once they run, but for directory and notes. */
struct plane {
	unsigned int n_workers, worker_bits;
	struct worker *workers[WORKERS_MAX];
	struct ring *rings; /* [from * n_workers + to] */
	const struct aead_backend *aead;
	const struct session_conf *session_conf;
	struct directory directory;
	struct tun_kind tun_kinds[TUN_USES];
	/* An unknown static key has sent a good initiation: a peer for it, or NULL. NULL: refuse all. */
	struct peer *(*stranger)(struct worker *w, const uint8_t pk[static WG_KEY_SIZE],
		const struct udp_path *from);

	atomic_uint services_up; /* bits 1 << enum role: their links, as the main thread sees them */

	pthread_mutex_t notes_mutex;
	struct note *notes, **notes_end;
	uint32_t n_notes;
	uint64_t notes_lost;
	int notes_fd; /* eventfd: there are some */
};

/* ---- plane.c: life ---------------------------------------------------------------------------------- */
struct plane_conf {
	unsigned int n_workers;	 /* 0: one per allowed core */
	uint32_t peers_max;	 /* per worker */
	const char *aead;	 /* back end by name, NULL: the fastest */
};

/* How many workers conf means. */
unsigned int plane_workers(const struct plane_conf *conf);
/* Makes the workers (in *p, whose tun_kinds may be filled in already) without starting them. ERR_FULL, ERR_INVALID. */
NODISCARD enum err plane_init(struct plane *p, const struct plane_conf *conf);
NODISCARD enum err plane_start(struct plane *p);
/* Stops and joins all, wipes keys, closes what they own. */
void plane_done(struct plane *p);
/* Main thread: takes the notes out and runs them. */
void plane_notes_run(struct plane *p, void *main_state);
/* Takes ownership of n (malloc). Any thread. */
void plane_note(struct plane *p, struct note *n);

/* Any thread but a worker: waits until fn has run in w's thread. */
void worker_call(struct worker *w, void (*fn)(struct worker *w, void *arg), void *arg);
void plane_call(struct plane *p, void (*fn)(struct worker *w, void *arg), void *arg);
/* Any thread: o->run will run. Takes ownership of o. */
void worker_post(struct worker *w, struct order *o);
void worker_wake(struct worker *w);

/* Memory that is there when it is touched; NULL: none. */
void *pages_reserve(size_t bytes);
void pages_release(void *p, size_t bytes);

/* In the worker's thread. fd -1 closes. */
void worker_udp_set(struct worker *w, enum udp_kind kind, enum udp_family family, int fd);
void worker_tun_set(struct worker *w, enum tun_use use, int fd);
/* Sets its queue aside, or takes it up again. */
void worker_tun_use(struct worker *w, enum tun_use use, bool on);
void worker_identity_set(struct worker *w, const struct noise_identity *id); /* NULL: none */
/* Ends all peers now. */
void worker_peers_end(struct worker *w);
/* Everything queued for UDP leaves; the arena begins anew (unless a train is being made). */
void worker_flush(struct worker *w);

/* ---- peer.c ------------------------------------------------------------------------------------------- */
extern const struct session_ops peer_session_ops;

/* ERR_FULL: no place; ERR_INVALID: no good key. */
NODISCARD enum err peer_new(struct worker *w, const struct peer_role *role, const struct noise_identity *id,
	const uint8_t pk[static WG_KEY_SIZE], const uint8_t *psk, struct peer **ret_p);
/* Ends it at the end of this turn; until then it does nothing any more. */
void peer_end(struct worker *w, struct peer *p);
void peers_free_doomed(struct worker *w);
/* NULL if there is none. */
struct peer *peer_by_handle(struct worker *w, uint32_t handle);
struct peer *peer_by_index(struct worker *w, uint32_t index);
/* Its deadline may have come nearer. */
static inline void peer_touched(struct worker *w, struct peer *p)
{
	wheel_set(&w->wheel, &p->timer, session_deadline(&p->session, w->plane->session_conf));
}
void peers_tick(struct worker *w);
/* Key pairs for one handshake are there, or it will be refused. */
void peer_keypairs_ensure(struct worker *w);
void peer_keypairs_free(struct worker *w);
void peer_path_set(struct peer *p, const struct udp_path *path);
/* Bytes of payload went through it; reports when due. */
void peer_meter_due(struct worker *w, struct peer *p);
static inline void peer_count(struct worker *w, struct peer *p, uint64_t sent, uint64_t received)
{
	if (p->meter == NULL)
		return;
	if (p->client)
		meter_count(p->meter, sent, received);
	else
		meter_count(p->meter, received, sent);
	peer_meter_due(w, p);
}

/* ---- hold.c ------------------------------------------------------------------------------------------- */
struct hold_limits {
	uint32_t n, bytes;  /* of one queue: the oldest gives way */
	uint32_t all_bytes; /* of all that count in *all_bytes: the newest is not taken */
};

/* Copied. How many were lost by it: those that gave way, or itself. buf, len: as tun_read (tun_parse) had it. */
uint32_t hold_put(struct hold *h, uint32_t *all_bytes, const struct hold_limits *max,
	const struct tun_kind *kind, const uint8_t *buf, size_t len, mono_t now);
/* The oldest, the caller's to free; NULL: none. */
struct held *hold_take(struct hold *h, uint32_t *all_bytes);
void hold_drop(struct hold *h, uint32_t *all_bytes);

/* ---- output.c ----------------------------------------------------------------------------------------- */
/* A super-packet to p: cut, sealed, wrapped, queued; or kept until there are keys. buf, len: as tun_read
 * (tun_parse) had it, for keeping. */
void output_super(struct worker *w, struct peer *p, const struct tun_kind *kind, const struct offload_super *s,
	const uint8_t *buf, size_t len);
void output_staged(struct worker *w, struct peer *p);
void staged_drop(struct worker *w, struct peer *p);
/* One message of p's own (handshake), as it is. Copied. */
void output_message(struct worker *w, struct peer *p, const uint8_t *msg, size_t len);
/* One payload, sealed in p's session; len 0: a keepalive. Copied. False: no keys (then asked for). */
bool output_payload(struct worker *w, struct peer *p, const uint8_t *payload, size_t len);
/* Messages into relay frames of p's session, in order; copied. All but the last of one length. */
void output_relay(struct worker *w, struct peer *p, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n);
/* To an address that is no peer's (a cookie). Copied. */
void output_raw(struct worker *w, const struct udp_path *to, const uint8_t *msg, size_t len);
/* One IP packet to the TUN, not joined. */
void output_tun(struct worker *w, enum tun_use use, uint8_t *pkt, size_t len);

/* ---- again.c ------------------------------------------------------------------------------------------ */
/* Is s, about to be sent, something to keep a copy of? */
bool again_wanted(const struct worker *w, const struct peer *p, const struct offload_super *s);
/* Copied, if there is room. buf, len: as tun_read (tun_parse) had it. */
void again_keep(struct worker *w, struct peer *p, const struct tun_kind *kind, const uint8_t *buf, size_t len);
/* An initiation came by another way than p's, to which it moves now: from here on all is kept. */
void again_moves(struct peer *p);
/* p, with p->again, was heard: what was kept is sent if the way is another one, and forgotten. */
void again_heard(struct worker *w, struct peer *p);
/* p, with p->again, has new keys: what was kept is sent, and forgotten. */
void again_say(struct worker *w, struct peer *p);
void again_drop(struct worker *w, struct peer *p);

/* ---- input.c ------------------------------------------------------------------------------------------ */
/* Where messages came from: a path, or a slot of a parent's session. */
struct origin {
	const struct udp_path *from; /* NULL: nested */
	struct peer *parent;
	uint16_t slot;
	uint8_t tos;
};

/* Messages in order of arrival; n up to CHUNK. They are decrypted in place. */
void input_messages(struct worker *w, const struct origin *o, uint8_t *const *at, const uint32_t *len,
	uint32_t n);
void input_train(struct worker *w, const struct udp_item *it);
/* What waits in the joiner goes to the TUN. */
void input_join_flush(struct worker *w);
/* A message that another worker received. */
void input_moved(struct worker *w, const uint8_t *record, uint32_t len);

/* ---- backlog.c ---------------------------------------------------------------------------------------- */
NODISCARD enum err backlog_init(struct backlog *b, struct rng *rng);
void backlog_free(struct backlog *b);
/* Takes in what is there, as far as there is room. */
void backlog_udp(struct worker *w, struct udp_socket *s);
void backlog_tun(struct worker *w, enum tun_use use);
/* Forgets what came from this device. */
void backlog_tun_drop(struct worker *w, enum tun_use use);
/* One turn's share of both queues. */
void backlog_work(struct worker *w);
static inline bool backlog_any(const struct backlog *b)
{
	return b->fq[BACKLOG_UDP].n + b->fq[BACKLOG_TUN].n > 0;
}

/* ---- handshake.c -------------------------------------------------------------------------------------- */
/* Types 1 to 3; type and length were checked. */
void handshake_message(struct worker *w, const struct origin *o, const uint8_t *msg, uint32_t len);
void handshakes_run(struct worker *w);
/* A flood is measured anew. */
void handshakes_shed(struct worker *w);
void handshake_moved(struct worker *w, const struct noise_responder *re, const struct udp_path *from,
	uint32_t handle);

/* ---- moving between workers --------------------------------------------------------------------------- */
struct moved {
	uint8_t kind, tun, tos;
	uint32_t handle;
	struct udp_path from;
	/* content follows */
};

/* Room for `len` bytes after the head in the ring to worker `to`, NULL if it is full (counted). */
uint8_t *moved_claim(struct worker *w, unsigned int to, const struct moved *head, uint32_t len);
void moved_publish(struct worker *w, unsigned int to, enum moved_kind kind);

/* ---- allowed.c: configured peers' prefixes, the same in every worker ---------------------------------- */
extern const struct peer_role role_configured;
NODISCARD enum err allowed_new(struct allowed **ret_a, uint32_t owners_max);
void allowed_free(struct allowed **a);
struct allowed_owner *allowed_owner(struct allowed *a, uint32_t number);
NODISCARD enum err allowed_add(struct allowed *a, const struct net_prefix *p, uint32_t number);
/* ERR_NOT_FOUND. */
NODISCARD enum err allowed_remove(struct allowed *a, const struct net_prefix *p, uint32_t number);
void allowed_clear(struct allowed *a, uint32_t number);
/* Next prefix of `number`, as trie_next. */
uint32_t allowed_next(const struct allowed *a, uint32_t number, uint32_t cursor, struct net_prefix *ret_p);
/* The TUN of configured peers. */
void allowed_take(struct worker *w, const uint8_t *buf, size_t len, bool moved);

#endif
