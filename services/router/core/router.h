/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The whole state of the router's core, and the orders that leave it.
 *
 * peers, edges, guards and reputation are knowledge; want is what the user asked for; paths are the
 * routes that the tunnel holds by our orders; vpn is the session as the user sees it. vpn_step()
 * looks at all of it and orders what is missing: it is driven by state, not by the order of events,
 * so any order of restarts and messages ends in the same place. */
#ifndef ROUTER_ROUTER_H
#define ROUTER_ROUTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/rng.h"
#include "edge.h"
#include "guards.h"
#include "peers.h"
#include "pick.h"
#include "weigh.h"
#include "when.h"

#define PATHS_MAX 16 /* live, spare, attempts, repairs and draining together */
#define PATHS_DRAINING_MAX 4
#define NOTE_MAX 160
#define BLAMES_MAX 8

enum path_state { PATH_FREE, PATH_BUILDING, PATH_PROBING, PATH_READY, PATH_DRAINING };
const char *path_state_text(enum path_state s);

enum path_use {
	PATH_FOR_USE,	/* to become the live one */
	PATH_FOR_SPARE, /* to stand by */
	PATH_FOR_REPAIR /* another way to the exit of a path that died before it */
};
const char *path_use_text(enum path_use u);

struct path_hop {
	uint8_t node_id[NODE_ID_SIZE];
	uint64_t session;
	uint32_t rtt_us, jitter_us, loss_ppm;
	uint8_t address[16];
	uint8_t address_len;
};

/* A route at the tunnel. */
struct path {
	uint32_t id; /* route number on the bus, never 0 */
	enum path_state state;
	enum path_use use;
	unsigned int n_hops;
	struct path_hop hops[POLICY_HOPS_MAX];
	uint32_t exit_of;
	bool dead;    /* does not answer; kept for its exit while that is repaired */
	bool adopted; /* was there when this process started */
	mono_t began, ready_at, deadline;
	dur_t patience; /* beyond this another attempt starts beside it */
	uint32_t expected_us;
	uint8_t ip4[4], ip6[16];
	uint8_t ip4_len, ip6_len;
	uint64_t rx_bytes, tx_bytes, rx_Bps, tx_Bps;
	mono_t sampled_at, credited_at, unused_since;
	uint32_t snapshot; /* the tunnel's last snapshot that named it, 0 none */
	char reasons[PICK_REASONS][PICK_REASON_MAX];
};

/* What the user wants, as gateway says it. */
struct want {
	bool known; /* said by gateway; otherwise taken from the live route after a restart */
	bool implied;
	bool on;
	unsigned int n_hops;
	char countries[POLICY_COUNTRIES_MAX][3];
	size_t n_countries;
	bool settings_known;
	bool pay;
	uint64_t price_max_gwei;
	uint32_t hop_interval_s;
	mono_t broke_until; /* the payer is out of money: only free relays until then */
};

/* Orders to the tunnel. Called from within vpn_step and vpn_on_*; must not call back. */
struct router_sink {
	void *ctx;
	/* Entry first; p->n_hops peers. */
	void (*build)(void *ctx, const struct path *p, const struct peer *const *hops);
	void (*use)(void *ctx, uint32_t route);
	void (*close)(void *ctx, uint32_t route, uint32_t drain_ms);
	void (*probe)(void *ctx, uint32_t route);
	void (*measure)(void *ctx, const struct peer *p);
};

enum phase { PHASE_OFF, PHASE_CONNECTING, PHASE_ON, PHASE_RECONNECTING, PHASE_FAILED };
const char *phase_text(enum phase p);

/* The search for a route while one is needed. */
struct seek {
	mono_t since, next_try, last_start;
	dur_t patience; /* of the attempt started last */
	unsigned int n_failed, n_started;
	bool impossible; /* the last choice found nothing that fits */
	char why[NOTE_MAX];
};

/* Another way to the exit of a path that died before it. */
struct repair {
	uint32_t of; /* path id; 0: none */
	mono_t since, last_start;
	dur_t patience;
	unsigned int n_failed, n_started;
	bool alone; /* nobody at all answers: then it may be our own network */
};

struct vpn {
	enum phase phase;
	mono_t phase_since;
	char reason[NOTE_MAX]; /* of the phase */
	char note[NOTE_MAX];   /* what last happened to the route */
	mono_t note_until;
	bool changed;	 /* something to tell; the caller clears it */
	mono_t asked_at; /* the order that the present connecting answers */
	uint32_t connect_ms;
	bool was_on;	      /* since asked_at */
	uint32_t live, spare; /* path ids, 0 none */
	bool want_new;	      /* another route though this one works: timer or user */
	bool want_new_by_user;
	mono_t hop_at;
	mono_t spare_at;
	unsigned int spare_fails;
	struct seek seek;
	struct repair repair;
	uint64_t rx_done, tx_done; /* of paths that are gone */
	mono_t measuring_until;	   /* the first sample is being measured */
	mono_t remeasure_at;
};

struct tunnel_view {
	bool link_up, synced;
	bool restarted; /* and its snapshot has not come since */
	mono_t up_at;
	uint32_t snapshot; /* number of the one that comes or comes next, from 1 */
};

/* A relay that did not answer as entry: its fault only if another one answers. */
struct blame {
	uint8_t node_id[NODE_ID_SIZE];
	mono_t at; /* 0: free */
	double weight;
};

struct router {
	struct peers peers;
	struct edge_memory edges;
	struct guards guards;
	struct view view;
	struct rng rng;
	const struct router_sink *sink; /* borrowed */
	bool test_network;
	struct want want;
	struct tunnel_view tunnel;
	struct path paths[PATHS_MAX];
	uint32_t next_id;
	struct vpn vpn;
	struct blame blames[BLAMES_MAX];
	mono_t wake; /* when the next step has something to do */
	mono_t reviewed_at;
	mono_t started_at;
	uint32_t n_listed_seen;
	uint32_t n_listed_still; /* relays when their number last changed by a notable share, and when */
	mono_t listed_moved_at;
	struct {
		uint64_t built, failed, probed_bad, dead, timed_out, promoted, repaired, hops_done,
			orphans, bad_message;
	} count;
};

/* storage as for peers_init and view_init, for `capacity` relays; geo and sink are borrowed. */
struct router_storage {
	struct peer *peers;
	uint32_t *index;
	struct weigh_storage weigh;
	uint32_t capacity;
};
void router_init(struct router *r, const struct router_storage *storage, const struct geo *geo,
	bool test_network, const uint8_t seed[static 32], const struct router_sink *sink,
	struct when now);

/* The view for what the user wants now, made anew if need be. */
const struct view *router_view(struct router *r, struct when now);
/* The same for counts that people look at: in a large network it may be a few seconds old. */
const struct view *router_view_shown(struct router *r, struct when now);
struct policy router_policy(const struct router *r, struct when now);

/* ---- paths ---- */
struct path *path_find(struct router *r, uint32_t id); /* NULL for 0 and unknown */
/* A free entry with a fresh id; NULL when the table is full. */
struct path *path_new(struct router *r, struct when now);
/* Keeps its byte counts and forgets it. */
void path_free(struct router *r, struct path *p);
const struct path_hop *path_exit(const struct path *p);
bool path_has(const struct path *p, const uint8_t node_id[static NODE_ID_SIZE]);
/* Index in the peer table, PICK_NONE if not known now. */
uint32_t path_peer(struct router *r, const struct path *p, unsigned int hop);
/* Does it answer what the user wants? What is not known speaks for it. */
bool path_fits(struct router *r, const struct path *p, struct when now);
enum hop_role path_role(const struct path *p, unsigned int hop);

#endif
