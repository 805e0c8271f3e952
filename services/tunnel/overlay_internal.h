/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the overlay share; nobody else includes it. */
#ifndef TUNNEL_OVERLAY_INTERNAL_H
#define TUNNEL_OVERLAY_INTERNAL_H

#include "overlay.h"

#include "proto/discovery.pb.h"
#include "proto/ledger.pb.h"
#include "proto/router.pb.h"
#include "services/tunnel/core/admit.h"
#include "services/tunnel/core/circuit.h"
#include "services/tunnel/core/control.h"
#include "services/tunnel/core/flow.h"
#include "services/tunnel/core/frame.h"
#include "services/tunnel/core/handover.h"
#include "services/tunnel/core/lease.h"
#include "services/tunnel/core/meter.h"
#include "services/tunnel/core/policy.h"
#include "services/tunnel/core/route.h"

/* Routes at a time: in use, spare, being built, draining, measured, and talks of discovery. */
#define ROUTES_MAX 48
#define TALKS_MAX (ROUTES_MAX - 16) /* of them talks: traffic never lacks a place for their sake */
#define HOPS_MAX (2 * ROUTES_MAX) /* most routes have one hop; more than this fails the newest */
#define ASKS_MAX 128		  /* requests of our services on their way to other nodes */
#define TALK_IDLE DUR_S(60)	  /* a session between two discoveries is kept this long unused */
#define ASK_PATIENCE DUR_S(8)	  /* when the service names no deadline */
/* control_request tags of our own, apart from those of route.c. */
#define TAG_ASK (UINT64_C(1) << 63)
#define BATCH_MAX 64 /* messages of one call that are grouped at a time */

enum session_kind {
	SESSION_NONE,
	SESSION_STRANGER,
	SESSION_HOP
};

struct hop;

/* One per handle. */
struct session_record {
	enum session_kind kind;
	bool told;    /* ledger knows of it */
	bool relays;  /* a stranger that extended */
	bool exits;   /* a stranger that attached */
	uint64_t number; /* what other services call it: random, with worker and handle in it */
	struct meter meter;
	struct bucket_share share; /* of the shared rate */
	struct policy_flows flows; /* stranger */
	struct hop *hop;
};

/* What a session that we began needs besides. */
struct hop {
	bool used;
	uint32_t session;
	struct noise_identity id;
	struct control_requester asks;
	struct live_route *route;
	unsigned int index;
};

struct probe {
	bool running;
	uint16_t dns_id, port;
	unsigned int n_sent;
	mono_t began, next;
};

/* A route and what the wiring keeps beside it. */
struct live_route {
	bool used;
	bool ended;	       /* closed or failed: reaped when the call that ended it has returned */
	bool failed_open[ROUTE_HOPS_MAX]; /* session could not be made: told to the route later */
	struct route r;
	struct hop *hops[ROUTE_HOPS_MAX];
	unsigned int exit_place; /* of the flow table, FLOW_NO_EXIT: none */
	uint64_t rx_bytes, tx_bytes;
	uint64_t rx_told, tx_told; /* at the last RouteStats */
	uint64_t request;	/* MeasureRelay: id on the bus */
	dur_t build_time;
	mono_t used_at;		/* talk */
	struct probe probe;
	const struct handover_route *kept; /* while it is being resumed */
};

/* A request of ledger or discovery to another node. */
struct ask {
	bool used, sent;
	enum role from;
	uint64_t id;		 /* on the bus */
	struct live_route *talk; /* waits for it, or NULL */
	uint32_t session;	 /* asked in it */
	uint64_t number;
	mono_t deadline;
	uint16_t len;
	uint8_t payload[CONTROL_PAYLOAD_MAX];
};

struct overlay_counters {
	uint64_t bad_frames;	 /* unknown nibble, bad relay frame */
	uint64_t not_admitted;	 /* [P-41] */
	uint64_t unpaid;	 /* credit used up */
	uint64_t over_rate;	 /* shared rate */
	uint64_t wrong_source;	 /* [P-52] */
	uint64_t no_holder;	 /* exit TUN: address lent to nobody */
	uint64_t refused[POLICY_VERDICTS];
	uint64_t asks_full, routes_full;
};

struct overlay {
	struct overlay_conf conf;
	struct overlay_ops ops;
	struct rng *rng;
	struct session_record *records;
	struct circuit circuit;
	struct admit admit;
	struct control_responder responder;
	struct lease lease;
	struct policy policy;
	struct flow flow;
	struct bucket bucket;
	void *mem[6];
	bool have_lease, have_flow;
	bool share, share_exit;
	uint64_t free_bytes;
	bool priced;
	wall_t wall;
	mono_t now;		   /* of the call under way */
	struct control_sink control_sink;
	struct route_sink route_sink;
	struct live_route routes[ROUTES_MAX];
	struct hop hops[HOPS_MAX];
	struct ask asks[ASKS_MAX];
	struct live_route *by_place[FLOW_EXITS_MAX];
	struct live_route *in_use;
	uint64_t shared_bytes;
	uint64_t flow_key;
	mono_t second;		   /* next once-a-second round */
	struct overlay_counters n;
};

/* overlay_stranger.c: control verbs of strangers, packets between them and the world. */
void stranger_sink_set(struct control_sink *s);
void stranger_relay(struct overlay *o, uint32_t session, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n);
/* May n bytes pass for this session, by credit and by the shared rate? Counts the refusal. */
bool stranger_may_pass(struct overlay *o, uint32_t session, uint64_t n_bytes);
bool stranger_ip(struct overlay *o, uint32_t session, const uint8_t *pkt, uint32_t len);
void stranger_unpaid(struct overlay *o, uint32_t session);
void stranger_tell_opened(struct overlay *o, uint32_t session);

/* overlay_client.c: routes, hops, flows. */
void client_sink_set(struct route_sink *s);
bool client_ip(struct overlay *o, uint32_t session, uint8_t *pkt, uint32_t len, bool partial);
void client_tick(struct overlay *o);
mono_t client_deadline(const struct overlay *o);
void client_second(struct overlay *o);
void client_reap(struct overlay *o);
void client_order_build(struct overlay *o, const mvpn_TunnelIn *in);
void client_order_use(struct overlay *o, const mvpn_TunnelIn *in);
void client_order_close(struct overlay *o, const mvpn_TunnelIn *in);
void client_order_probe(struct overlay *o, const mvpn_TunnelIn *in);
void client_order_measure(struct overlay *o, const mvpn_TunnelIn *in);
void client_tell_opened(struct overlay *o, uint32_t session);
struct live_route *client_talk(struct overlay *o, const mvpn_NodeAddress *node);
void client_tell_lives(struct overlay *o, const struct live_route *l);
/* A free place for a route, or NULL. */
struct live_route *client_live_take(struct overlay *o);

/* overlay_ask.c: requests between the services of two nodes. */
void ask_order_send(struct overlay *o, enum role from, const mvpn_TunnelIn *in);
void ask_order_answer(struct overlay *o, const mvpn_TunnelIn *in);
void ask_answered(struct overlay *o, uint64_t tag, const overlay_Control *answer);
void ask_failed(struct overlay *o, uint64_t tag, enum err why);
void ask_talk_ready(struct overlay *o, struct live_route *l);
void ask_talk_ended(struct overlay *o, struct live_route *l, enum err why);
void ask_session_gone(struct overlay *o, uint32_t session);
void ask_role_gone(struct overlay *o, enum role who);
void ask_tick(struct overlay *o);

/* overlay.c */
struct session_record *record_of(struct overlay *o, uint32_t session);
/* NULL if no session has this number now. */
struct session_record *record_by_number(struct overlay *o, uint64_t number, uint32_t *ret_session);
void record_new(struct overlay *o, uint32_t session, enum session_kind kind, uint64_t free_bytes,
	bool priced);
void record_free(struct overlay *o, uint32_t session);
/* relay_used_bytes: what a Notice has just said, else 0. */
void tell_usage(struct overlay *o, uint32_t session, uint64_t relay_used_bytes);

#endif
