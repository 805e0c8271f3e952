/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeps CAP_NET_ADMIN (devices, routes, firewall, marks on sockets) and one key that it read at start; writes
 * no file but what it leaves to its successor (node_handover.c). */
#include "node.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "devices.h"
#include "lib/sys/clock.h"
#include "lib/sys/confine.h"
#include "lib/sys/log.h"
#include "lib/sys/resident.h"
#include "lib/sys/service.h"
#include "node_conf.h"
#include "node_internal.h"
#include "overlay_role.h"
#include "proto/discovery.pb.h"
#include "proto/gateway.pb.h"
#include "proto/ledger.pb.h"
#include "proto/router.pb.h"

#define STATE_EVERY DUR_S(1)

/* ---- facts of the workers go out ---- */

static void on_fact(void *main_state, enum role to, const void *msg)
{
	static const pb_msgdesc_t *const fields[ROLES] = {[ROLE_ROUTER] = mvpn_RouterIn_fields,
		[ROLE_LEDGER] = mvpn_LedgerIn_fields,
		[ROLE_DISCOVERY] = mvpn_DiscoveryIn_fields,
		[ROLE_GATEWAY] = mvpn_GatewayIn_fields};
	struct node *n = main_state;

	bus_tell(service_bus(n->service), to, fields[to], msg);
}

static void on_notes(void *ctx, int fd, uint32_t events)
{
	struct node *n = ctx;

	(void)fd;
	(void)events;
	plane_notes_run(&n->plane, n);
}

/* ---- what other services are told by the main thread ---- */

static void tell_listening(struct node *n)
{
	mvpn_DiscoveryIn m = {.which_body = mvpn_DiscoveryIn_listening_tag};
	mvpn_Listening *l = &m.body.listening;

	memcpy(l->wg_pk, n->identity.static_pk, sizeof(l->wg_pk));
	l->port = (uint32_t)n->conf->port;
	l->relay = n->share;
	l->exit4 = n->exit_up && n->share_exit && n->overlay_conf.pool4.addr.family != NET_NONE &&
		n->overlay_conf.have_ip4;
	l->exit6 = n->exit_up && n->share_exit && n->overlay_conf.pool6.addr.family != NET_NONE &&
		n->overlay_conf.have_ip6;
	if (l->exit4 || l->exit6) {
		l->policy_digest.size = 32;
		memcpy(l->policy_digest.bytes, n->policy_digest, 32);
	}
	bus_tell(service_bus(n->service), ROLE_DISCOVERY, mvpn_DiscoveryIn_fields, &m);
}

static void add_totals(struct worker *w, void *arg)
{
	struct overlay_totals *sum = arg, t = overlay_totals(w->overlay);

	sum->n_strangers += t.n_strangers;
	sum->n_routes += t.n_routes;
	sum->n_legs += t.n_legs;
	sum->n_leases += t.n_leases;
	sum->shared_bytes += t.shared_bytes;
	sum->route_in_use |= t.route_in_use;
}

struct overlay_totals node_totals(struct node *n)
{
	struct overlay_totals t = {0};

	plane_call(&n->plane, add_totals, &t);
	return t;
}

static void tell_state(struct node *n)
{
	mvpn_GatewayIn m = {.which_body = mvpn_GatewayIn_tunnel_state_tag};
	mvpn_TunnelState *s = &m.body.tunnel_state;
	struct overlay_totals t = node_totals(n);

	s->tun_up = n->client_routed;
	s->n_sessions = t.n_strangers;
	s->shared_bytes = t.shared_bytes;
	snprintf(s->trouble, sizeof(s->trouble), "%s", n->trouble);
	bus_tell(service_bus(n->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &m);
}

/* ---- orders ---- */

struct order_call {
	enum role from;
	const mvpn_TunnelIn *in;
	wall_t wall;
};

static void run_order(struct worker *w, void *arg)
{
	const struct order_call *c = arg;

	overlay_order(w->overlay, mono_now(), c->wall, c->from, c->in);
	worker_flush(w);
}

/* The worker that owns a session is in its number (overlay.c); 0: the client's. */
static struct worker *worker_of(struct node *n, uint64_t session)
{
	unsigned int id = (session >> 24) & 0xff;

	return n->plane.workers[id < n->plane.n_workers ? id : 0];
}

static void order_to(struct node *n, struct worker *w, enum role from, const mvpn_TunnelIn *in)
{
	struct order_call c = {from, in, wall_now()};

	if (w == NULL)
		plane_call(&n->plane, run_order, &c);
	else
		worker_call(w, run_order, &c);
}

static void on_route(void *state, enum role from, const void *msg)
{
	struct node *n = state;

	order_to(n, n->plane.workers[0], from, msg);
}

static void on_use_route(void *state, enum role from, const void *msg)
{
	struct node *n = state;
	const mvpn_TunnelIn *in = msg;
	bool on = in->body.use_route.route != 0;

	order_to(n, n->plane.workers[0], from, in);
	if (!n->client_there || on == n->client_routed)
		return;
	if (device_client_route(n->client_kind.name, on) == OK)
		n->client_routed = on;
	else
		snprintf(n->trouble, sizeof(n->trouble), "traffic cannot be routed into the device");
}

static void on_credit(void *state, enum role from, const void *msg)
{
	struct node *n = state;
	const mvpn_TunnelIn *in = msg;

	order_to(n, worker_of(n, in->body.grant_credit.session), from, in);
}

static void on_allowance(void *state, enum role from, const void *msg)
{
	order_to(state, NULL, from, msg);
}

static void on_send_peer(void *state, enum role from, const void *msg)
{
	struct node *n = state;
	const mvpn_TunnelIn *in = msg;

	order_to(n, worker_of(n, in->body.send_peer_request.session), from, in);
}

static void on_answer_peer(void *state, enum role from, const void *msg)
{
	struct node *n = state;
	const mvpn_TunnelIn *in = msg;

	order_to(n, worker_of(n, in->body.answer_peer.session), from, in);
}

static void exit_start(struct node *n)
{
	struct firewall_exit f = {.tun = n->exit_kind.name,
		.pool4 = n->overlay_conf.pool4,
		.pool6 = n->overlay_conf.pool6,
		.test_network = n->conf->test_network};

	if (n->exit_up || !n->exit_there)
		return;
	for (size_t i = 0; i < n->overlay_conf.n_own && f.n_own < FIREWALL_OWN_MAX; i++)
		f.own[f.n_own++] = n->overlay_conf.own[i];
	n->exit_up = device_exit_up(&f) == OK;
	resident_trim(); /* a set of rules is much text and code */
	if (!n->exit_up)
		snprintf(n->trouble, sizeof(n->trouble), "this node cannot be an exit: see its log");
}

static void on_settings(void *state, enum role from, const void *msg)
{
	struct node *n = state;
	const mvpn_TunnelIn *in = msg;
	mvpn_GatewayIn done = {.re = in->id, .which_body = mvpn_GatewayIn_done_tag};

	n->share = in->body.settings.share;
	n->share_exit = n->share && in->body.settings.share_exit;
	if (n->share_exit)
		exit_start(n);
	if (n->share_exit && !n->exit_up) {
		done.body.done.err = ERR_UNAVAILABLE;
		snprintf(done.body.done.why, sizeof(done.body.done.why), "%s",
			n->trouble[0] != '\0' ? n->trouble : "no device for the exit");
	}
	order_to(n, NULL, from, in);
	tell_listening(n);
	bus_tell(service_bus(n->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &done);
}

/* ---- links ---- */

/* The workers do not take in questions for a service that is not there. */
static void services_note(struct node *n)
{
	unsigned int up = 0;

	for (int to = 0; to < ROLES; to++)
		if (bus_link_up(service_bus(n->service), to))
			up |= 1u << to;
	atomic_store_explicit(&n->plane.services_up, up, memory_order_relaxed);
}

static void on_link(void *state, enum role to)
{
	struct node *n = state;

	services_note(n);
	if (to == ROLE_DISCOVERY)
		tell_listening(n);
	if (to == ROLE_GATEWAY)
		tell_state(n);
	if (to == ROLE_ROUTER || to == ROLE_LEDGER)
		node_snapshot_begin(n, to);
}

static void run_gone(struct worker *w, void *arg)
{
	overlay_service_gone(w->overlay, mono_now(), *(const enum role *)arg);
}

static void on_hello(void *state, enum role from, bool restarted)
{
	struct node *n = state;

	if (restarted)
		plane_call(&n->plane, run_gone, &from);
}

static const struct bus_handler handlers[] = {
	{mvpn_TunnelIn_build_route_tag, FROM(ROLE_ROUTER), on_route},
	{mvpn_TunnelIn_use_route_tag, FROM(ROLE_ROUTER), on_use_route},
	{mvpn_TunnelIn_close_route_tag, FROM(ROLE_ROUTER), on_route},
	{mvpn_TunnelIn_probe_route_tag, FROM(ROLE_ROUTER), on_route},
	{mvpn_TunnelIn_measure_relay_tag, FROM(ROLE_ROUTER), on_route},
	{mvpn_TunnelIn_grant_credit_tag, FROM(ROLE_LEDGER), on_credit},
	{mvpn_TunnelIn_set_allowance_tag, FROM(ROLE_LEDGER), on_allowance},
	{mvpn_TunnelIn_send_peer_request_tag, FROM(ROLE_LEDGER) | FROM(ROLE_DISCOVERY), on_send_peer},
	{mvpn_TunnelIn_answer_peer_tag, FROM(ROLE_LEDGER) | FROM(ROLE_DISCOVERY), on_answer_peer},
	{mvpn_TunnelIn_settings_tag, FROM(ROLE_GATEWAY), on_settings},
};

static const struct bus_inbox inbox = {.fields = mvpn_TunnelIn_fields,
	.size = sizeof(mvpn_TunnelIn),
	.which_offset = offsetof(mvpn_TunnelIn, which_body),
	.handlers = handlers,
	.n_handlers = sizeof(handlers) / sizeof(handlers[0]),
	.on_link = on_link,
	.on_hello = on_hello};

/* ---- start ---- */

static enum err sockets_open(struct node *n)
{
	uint16_t port = (uint16_t)n->conf->port;
	enum err e = udp_bind(n->plane.n_workers, n->plane.worker_bits, port, DEVICE_FWMARK, n->public_fds,
		&port);

	if (e != OK) {
		log_error("UDP port %u: %s; another program has it, or [tunnel] port is wrong", port,
			strerror(errno));
		return e;
	}
	for (unsigned int i = 0; i < n->plane.n_workers; i++)
		TRY(udp_bind_onward(DEVICE_FWMARK, n->onward_fds[i]));
	return OK;
}

/* A device that cannot be made is trouble, not the end: the node may still relay. */
static bool device_open(struct node *n, const char *name, unsigned int n_queues, struct tun_kind *kind, int *fds)
{
	if (name[0] == '\0')
		return false;
	if (tun_open(name, n_queues, kind, fds) == OK)
		return true;
	snprintf(n->trouble, sizeof(n->trouble), "device %.15s cannot be made: %.60s", name, strerror(errno));
	log_error("%s; `mvpn doctor` says what is missing", n->trouble);
	return false;
}

/* Where traffic goes until the router speaks: into the device, if a route is in use that goes on. */
static void client_route_begin(struct node *n)
{
	const struct left_behind *b = &n->left_behind;
	const bool on = b->buf != NULL && b->h.in_use != HANDOVER_NONE;

	/* It goes with us, unless we say otherwise. */
	if (tun_keep(n->client_fds[0], false) != OK)
		log_warn("device %s: %s", n->client_kind.name, strerror(errno));
	/* Off: rules of a tunnel that was killed lead nowhere without its device. */
	n->client_routed = device_client_route(n->client_kind.name, on) == OK && on;
}

static void devices_open(struct node *n)
{
	n->client_there = device_open(n, n->conf->client_tun, 1, &n->client_kind, n->client_fds) &&
		device_client_up(n->client_kind.name, &n->overlay_conf.device4, &n->overlay_conf.device6) ==
			OK;
	n->exit_there = device_open(n, n->conf->exit_tun, n->plane.n_workers, &n->exit_kind, n->exit_fds);
	if (n->client_there) {
		n->plane.tun_kinds[TUN_DEVICE] = n->client_kind;
		client_route_begin(n);
	}
	if (n->exit_there) {
		n->plane.tun_kinds[TUN_EXIT] = n->exit_kind;
		if (n->plane.n_workers > 1 && tun_steer(n->exit_fds[0], n->plane.worker_bits) != OK)
			log_info("the kernel steers %s by flows: %s", n->exit_kind.name, strerror(errno));
	}
}

static enum err node_init(struct service *s, const void *conf, void **ret_state)
{
	struct node *n = calloc(1, sizeof(*n));
	const struct node_conf *c = conf;
	struct plane_conf plane = {.n_workers = (unsigned int)c->n_workers};
	uint8_t key[32];

	if (n == NULL)
		return ERR_FULL;
	*ret_state = n;
	n->service = s;
	n->conf = c;
	plane.aead = c->aead[0] == '\0' ? NULL : c->aead;
	plane.peers_max = (uint32_t)c->sessions_max;
	TRY(node_overlay_conf(c, &n->overlay_conf));
	TRY(node_stock_conf(c, &n->stock_conf));
	TRY(service_key_load(s, "tunnel.key", key, sizeof(key)));
	noise_identity_init(&n->identity, key);
	sodium_memzero(key, sizeof(key));
	memcpy(n->overlay_conf.self_wg_pk, n->identity.static_pk, 32);
	TRY(plane_init(&n->plane, &plane));
	n->plane_made = true;
	n->plane.stranger = overlay_role_stranger;
	TRY(sockets_open(n));
	node_handover_take(n);
	devices_open(n);
	if (n->stock_conf.n > 0)
		exit_start(n);
	return service_fd_add(s, n->plane.notes_fd, POLLIN, on_notes, n);
}

struct setup_call {
	struct node *n;
	enum err err;
};

/* In each worker's thread: its sockets, queues, identity, overlay. */
static void run_setup(struct worker *w, void *arg)
{
	struct setup_call *c = arg;
	struct node *n = c->n;
	struct overlay_conf conf = n->overlay_conf;
	bool client = w->id == 0 && n->client_there;

	conf.worker = (uint8_t)w->id;
	conf.worker_bits = (uint8_t)n->plane.worker_bits;
	conf.sessions_max = w->peers_max;
	conf.strangers_max = w->peers_max - w->peers_max / 8; /* the rest: own routes */
	conf.legs_max = w->peers_max * 2;
	conf.flows_max = client ? NODE_FLOWS_MAX : 0;
	if (!n->exit_there)
		conf.pool4 = conf.pool6 = (struct net_prefix){0};
	c->err = overlay_role_init(w, &conf, on_fact);
	if (c->err != OK)
		return;
	worker_identity_set(w, &n->identity);
	c->err = stock_setup(w, &n->stock_conf);
	if (c->err != OK)
		return;
	for (int f = 0; f < UDP_FAMILIES; f++) {
		worker_udp_set(w, UDP_PUBLIC, f, n->public_fds[w->id][f]);
		worker_udp_set(w, UDP_ONWARD, f, n->onward_fds[w->id][f]);
	}
	w->mtu[TUN_DEVICE] = w->mtu[TUN_EXIT] = DEVICE_MTU;
	if (client) {
		node_handover_resume(n, w);
		worker_tun_set(w, TUN_DEVICE, n->client_fds[0]);
	}
	if (n->exit_there)
		worker_tun_set(w, TUN_EXIT, n->exit_fds[w->id]);
	overlay_policy_digest(w->overlay, n->policy_digest);
}

/* A route that was left could not be taken up: what is routed into the device would lead nowhere. */
static void client_route_check(struct node *n)
{
	if (n->client_routed && !node_totals(n).route_in_use)
		n->client_routed = device_client_route(n->client_kind.name, false) != OK;
}

/* Threads begin with what is left of the privileges. */
static enum err node_confine(struct service *s, void *state)
{
	struct setup_call c = {.n = state};

	(void)s;
	TRY(confine(CONFINE_NET_ADMIN));
	TRY(plane_start(&c.n->plane));
	for (unsigned int i = 0; i < c.n->plane.n_workers && c.err == OK; i++)
		worker_call(c.n->plane.workers[i], run_setup, &c);
	node_handover_forget(c.n);
	client_route_check(c.n);
	if (c.err != OK)
		log_error("the workers cannot be set up: %s", err_str(c.err));
	return c.err;
}

static void node_tick(void *state, mono_t now)
{
	struct node *n = state;

	plane_notes_run(&n->plane, n);
	services_note(n);
	node_snapshots_tick(n, now);
	if (!mono_reached(n->state_at, now))
		return;
	n->state_at = mono_add(now, STATE_EVERY);
	tell_state(n);
}

static mono_t node_deadline(void *state)
{
	const struct node *n = state;

	return mono_min(n->state_at, node_snapshots_deadline(n));
}

static void node_stop(void *state)
{
	struct node *n = state;
	const bool left = node_handover_leave(n);

	if (n->client_routed && !left)
		(void)!device_client_route(n->client_kind.name, false);
	if (n->exit_up)
		firewall_exit_down(n->exit_kind.name);
	if (n->plane_made)
		plane_done(&n->plane);
	node_handover_forget(n);
	noise_identity_done(&n->identity);
	free(n);
}

int node_main(int argc, char **argv)
{
	static struct service_spec spec = {.role = ROLE_TUNNEL,
		.what = "Moves packets: WireGuard sessions, circuits, the exit, the client's device.\n"
			"With the name of an interface instead it is a WireGuard in user space; -h says more.",
		.conf_size = sizeof(struct node_conf),
		.inbox = &inbox,
		.init = node_init,
		.confine = node_confine,
		.tick = node_tick,
		.deadline = node_deadline,
		.stop = node_stop};

	spec.keys = node_conf_keys;
	spec.n_keys = node_conf_n_keys;
	spec.verbs = node_verbs;
	spec.n_verbs = node_n_verbs;
	return service_main(argc, argv, &spec);
}
