/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the files of the node share; nobody else includes it. */
#ifndef TUNNEL_NODE_INTERNAL_H
#define TUNNEL_NODE_INTERNAL_H

#include "core/handover.h"
#include "lib/sys/ctl.h"
#include "lib/sys/service.h"
#include "node_conf.h"
#include "overlay.h"
#include "stock.h"
#include "worker.h"

/* Flows of the client's device at a time: a browser with a hundred tabs holds a few thousand. */
#define NODE_FLOWS_MAX 32768

/* What a service that came up is told in pieces: sessions or routes, worker by worker. */
struct snapshot {
	bool on;
	unsigned int worker;
	uint32_t cursor; /* in the worker */
	uint32_t n;	 /* told so far */
	mono_t at;	 /* of the next piece */
};

/* What the process before left (core/handover.h); buf NULL: nothing. */
struct left_behind {
	uint8_t *buf;
	size_t len;
	struct handover h;
};

struct node {
	struct service *service;
	const struct node_conf *conf;
	struct overlay_conf overlay_conf;
	struct stock_conf stock_conf;
	struct noise_identity identity;
	struct plane plane;
	bool plane_made;
	int public_fds[WORKERS_MAX][UDP_FAMILIES];
	int onward_fds[WORKERS_MAX][UDP_FAMILIES];
	struct tun_kind client_kind, exit_kind;
	int client_fds[1], exit_fds[WORKERS_MAX];
	bool client_there, exit_there; /* the devices exist */
	bool client_routed;	       /* all traffic goes into the client's device */
	bool exit_up;		       /* firewall and forwarding are set */
	bool share, share_exit;
	uint8_t policy_digest[32];
	char trouble[160];	       /* in words for the user, or "" */
	mono_t state_at;	       /* when to tell gateway next */
	struct snapshot snapshots[ROLES];
	struct left_behind left_behind; /* until the client's worker has it */
};

extern const struct ctl_verb node_verbs[];
extern const size_t node_n_verbs;

/* Sums over the workers. */
struct overlay_totals node_totals(struct node *n);

/* node_handover.c: takes what the process before left, and removes it; before the devices are opened. */
void node_handover_take(struct node *n);
void node_handover_forget(struct node *n);
/* In the client's worker. */
void node_handover_resume(struct node *n, struct worker *w);
/* Ends the overlays. True: a successor can go on, and the client's device stays for it. */
bool node_handover_leave(struct node *n);

/* The link to `to` (router or ledger) came up. */
void node_snapshot_begin(struct node *n, enum role to);
void node_snapshots_tick(struct node *n, mono_t now);
mono_t node_snapshots_deadline(const struct node *n);

#endif
