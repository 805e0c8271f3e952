/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole of discovery's state, and its events. Pure: time, randomness (the seed) and storage
 * come from the caller, decisions leave through the sink.
 *
 * Nouns: own (our descriptor), directory (what we hold), contacts (whom to ask), asks (questions
 * under way), sync (pulling a peer's view), reach (proving that a relay answers), rumour (passing
 * news on), serve (answering others), feed (telling router and gateway). Every question to another
 * node goes through ask_send and comes back through discovery_on_peer_answered. */
#ifndef DISCOVERY_DISCOVERY_H
#define DISCOVERY_DISCOVERY_H

#include "contacts.h"
#include "directory.h"
#include "message.h"
#include "own.h"

/* ---- questions under way ---- */

/* At one time, all kinds together; each costs tunnel a session. */
#define ASKS_MAX 64
#define ASKS_REACH_MAX 16
#define ASKS_RUMOUR_MAX 16
/* Tunnel gives up before this; ours is the net below it. */
#define ASK_TIME DUR_S(12)
/* For tunnel: later than this an answer is useless. */
#define ASK_DEADLINE_MS 10000

enum ask_why { ASK_FREE, ASK_SYNC, ASK_REACH, ASK_RUMOUR };

struct ask {
	uint64_t id;
	enum ask_why why;
	pb_size_t kind; /* gossip_Query's oneof tag */
	uint8_t sync;	/* ASK_SYNC: which */
	uint64_t salt, own_seq;
	struct contact to;
	mono_t deadline;
};

/* ---- pulling a view ---- */

#define SYNCS_MAX 4 /* at one time: enough to fill a fresh directory from several peers */
#define SYNC_EVERY DUR_S(30)
/* After a view since which one in SYNC_FRESH_SHARE was proven; doubled with each that was not so.
 */
#define SYNC_EVERY_FRESH DUR_S(2)
#define SYNC_FRESH_SHARE 20
/* A client asks the next peer soon if one in so many was new: they need a second voice. */
#define SYNC_VOICE_SHARE 200
/* While the first views are pulled, and while there is nobody. */
#define SYNC_EVERY_COLD DUR_MS(500)
/* Pages from one peer in one go (3 descriptors each): then others get their turn. */
#define SYNC_PAGES_MAX 4096
/* Pages in a row without anything that we could use. */
#define SYNC_USELESS_MAX 16

struct sync {
	bool active;
	struct contact with;
	uint32_t introducer;
	uint64_t salt;
	uint8_t wanted[RELAYS_BUCKETS / 8]; /* buckets that differ */
	unsigned int first_bucket;	    /* drawn, so that none is always last */
	bool second_half;		    /* buckets below first_bucket */
	uint8_t after[NODE_ID_SIZE], until[NODE_ID_SIZE];
	bool has_after, has_until;
	uint32_t n_pages, n_useless;
};

/* ---- passing news on ---- */

#define RUMOURS_MAX 256 /* beyond it the oldest is left to comparison */
/* Peers that each node tells of a piece of news: with 4, 98 % of a network know it when the rumour
 * has died down (1 - e^-4); comparison brings the rest. Our own news goes to more at once. */
#define RUMOUR_FANOUT 4
#define RUMOUR_FANOUT_OWN 8

struct rumour {
	uint8_t node_id[NODE_ID_SIZE];
	uint8_t n_left;
	bool proof; /* of equivocation, from bans */
};

struct rumours {
	struct rumour ring[RUMOURS_MAX];
	uint32_t first, n;
};

/* ---- answering ---- */

#define ASKERS_MAX 1024 /* sessions whose rate is remembered, by number modulo this */
#define ASKER_EVERY DUR_MS(50)
#define ASKER_BURST 100
/* All together: 500/s are a few per cent of a core. */
#define SERVE_EVERY DUR_MS(2)
#define SERVE_BURST 1000
/* New node ids that one session may introduce: its own and a few that it passes on. */
#define ASKER_NEW_EVERY DUR_S(10)
#define ASKER_NEW_BURST 64

struct asker {
	uint64_t session;
	struct meter all, fresh;
};

/* ---- telling ---- */

#define GONE_MAX 1024 /* not yet told to router; beyond it the snapshot is sent anew */
#define FEED_RETRY DUR_MS(50)
#define STATE_EVERY DUR_S(1)
/* A view is called complete after this long even if nobody could be asked. */
#define WARM_LATEST DUR_S(30)

struct directory_state {
	uint32_t n_relays, n_exits;
	bool published;
	const char *trouble; /* static, "" if none */
};

struct feed {
	bool router_up, gateway_up;
	bool snapshot; /* complete is owed */
	uint32_t at;   /* where the walk for untold records stands */
	bool walk;     /* there may be untold records */
	uint8_t gone[GONE_MAX][NODE_ID_SIZE];
	uint32_t n_gone;
	mono_t next_try, next_state;
	struct directory_state said;
	bool state_said;
};

struct discovery_sink {
	void *ctx;
	/* Sends a question by way of tunnel; returns its id, 0 if it cannot be sent now. */
	uint64_t (*ask)(void *ctx, const struct contact *to, const uint8_t *payload, size_t len);
	void (*answer)(
		void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len);
	/* To router and gateway; ERR_FULL: later, ERR_UNAVAILABLE: when its link is up again. */
	enum err (*learned)(void *ctx, const struct relay *r);
	enum err (*gone)(void *ctx, const uint8_t node_id[static NODE_ID_SIZE]);
	enum err (*complete)(void *ctx, uint32_t n_relays);
	enum err (*state)(void *ctx, const struct directory_state *s);
	/* Durably, before it is used. */
	enum err (*seq_store)(void *ctx, uint64_t seq);
};

struct discovery_counters {
	uint64_t asked, answered, timeouts, ask_unsent, answers_late, answers_malformed;
	uint64_t misnamed;	  /* another node than expected answered */
	uint64_t out_of_question; /* a page with what was not asked for */
	uint64_t peers_busy;
	uint64_t queries, queries_malformed, queries_busy, queries_ignored;
	uint64_t syncs, syncs_agreed, pages, rumours_sent, rumours_lost;
	uint64_t bytes_out, bytes_in; /* payloads */
};

struct discovery {
	struct discovery_sink sink;
	struct rng rng;
	uint8_t introducer_key[16];
	struct own own;
	struct directory dir;
	struct contacts contacts;
	struct ask asks[ASKS_MAX];
	struct sync syncs[SYNCS_MAX];
	dur_t sync_every;
	uint32_t n_fresh;	/* heard anew since the last view was taken in */
	uint64_t proven_before; /* counter at that time */
	bool hurried;
	mono_t started_at, next_sync, next_reach, next_expire;
	uint32_t reach_at; /* where the walk for relays to be proven stands */
	uint32_t n_views;  /* peers whose view was taken in since start */
	bool warm;	   /* what is not in the directory may be called gone */
	struct rumours rumours;
	struct asker askers[ASKERS_MAX];
	struct meter serve;
	struct feed feed;
	bool published;	       /* a peer holds our present descriptor as proven */
	uint8_t n_unreachable; /* peers in a row that could not reach us */
	bool seq_unstored;
	struct discovery_counters counters;
};

struct discovery_conf {
	struct own_conf own;
	uint32_t near_max;
	uint64_t seq; /* the last that was stored, 0: none */
	uint8_t seed[32];
};

/* Borrows storage as long as d lives. d is about 350 kB: the caller's heap. */
void discovery_init(struct discovery *d, const struct discovery_conf *conf,
	const struct relays_storage *storage, const struct discovery_sink *sink, struct moment now);
void discovery_done(struct discovery *d);

/* Before the first tick: what node.ini and the state file hold. */
void discovery_add_boot(struct discovery *d, const struct contact *to);
void discovery_remember(
	struct discovery *d, struct moment now, const uint8_t *bytes, size_t len, bool recent);

void discovery_on_listening(struct discovery *d, struct moment now, const struct own_listening *l);
void discovery_on_terms(struct discovery *d, struct moment now, const struct own_terms *t);
void discovery_on_settings(struct discovery *d, struct moment now, const struct own_settings *s);

/* Tunnel can carry questions now (again). */
void discovery_on_tunnel_link(struct discovery *d, struct moment now);
/* Tunnel restarted: what it carried is lost. */
void discovery_on_tunnel_restart(struct discovery *d, struct moment now);
void discovery_on_router_link(struct discovery *d, struct moment now);
void discovery_on_gateway_link(struct discovery *d, struct moment now);

/* Another node asks; the answer, if any, leaves through the sink before this returns. */
void discovery_on_peer_asked(struct discovery *d, struct moment now, uint64_t session,
	uint32_t request, const uint8_t *payload, size_t len);
/* e: what became of question `id`; payload only if OK. */
void discovery_on_peer_answered(struct discovery *d, struct moment now, uint64_t id, enum err e,
	const uint8_t *payload, size_t len);

void discovery_tick(struct discovery *d, struct moment now);
mono_t discovery_deadline(const struct discovery *d, struct moment now);
/* Orderly end: a tombstone is told to some peers. */
void discovery_stop(struct discovery *d, struct moment now);

/* Relays and exits proven, without ourselves. */
struct directory_state discovery_state(const struct discovery *d);

#endif
