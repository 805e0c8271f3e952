/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The server's side of tunnelctl: each table is collected in the threads that own it, while the main
 * thread waits. */
#include "lib/sys/clock.h"
#include "node_internal.h"

static void status_device(struct ctl_out *out, const char *use, const char *name, bool there, bool active)
{
	ctl_row(out, "devices");
	ctl_text(out, "use", use);
	ctl_text(out, "name", there ? name : "");
	ctl_flag(out, "there", there);
	ctl_flag(out, "active", active);
}

static enum err verb_status(void *state, int argc, char *const *argv, struct ctl_out *out)
{
	struct node *n = state;
	struct overlay_totals t = node_totals(n);

	(void)argc;
	(void)argv;
	ctl_row(out, "status");
	ctl_text(out, "state", "running");
	ctl_number(out, "port", (int64_t)n->conf->port);
	ctl_number(out, "workers", n->plane.n_workers);
	ctl_text(out, "aead", n->plane.aead->name);
	ctl_flag(out, "share", n->share);
	ctl_flag(out, "share_exit", n->share_exit && n->exit_up);
	ctl_number(out, "sessions_of_others", t.n_strangers);
	ctl_number(out, "circuits", t.n_legs);
	ctl_number(out, "exit_clients", t.n_leases);
	ctl_number(out, "shared_bytes", (int64_t)t.shared_bytes);
	ctl_number(out, "routes", t.n_routes);
	ctl_flag(out, "route_in_use", t.route_in_use);
	ctl_text(out, "trouble", n->trouble);
	status_device(out, "client", n->client_kind.name, n->client_there, n->client_routed);
	status_device(out, "exit", n->exit_kind.name, n->exit_there, n->exit_up);
	return OK;
}

static void run_sessions(struct worker *w, void *arg)
{
	overlay_show_sessions(w->overlay, arg);
}

static void run_routes(struct worker *w, void *arg)
{
	overlay_show_routes(w->overlay, mono_now(), arg);
}

static void run_circuits(struct worker *w, void *arg)
{
	overlay_show_circuits(w->overlay, mono_now(), arg);
}

static void run_workers(struct worker *w, void *arg)
{
	struct ctl_out *out = arg;

	ctl_row(out, "workers");
	ctl_number(out, "worker", w->id);
	ctl_number(out, "sessions", w->n_peers);
	ctl_number(out, "rx_bad", (int64_t)w->n.rx_bad);
	ctl_number(out, "rx_no_index", (int64_t)w->n.rx_no_index);
	ctl_number(out, "rx_not_opened", (int64_t)w->n.rx_not_opened);
	ctl_number(out, "rx_bad_payload", (int64_t)w->n.rx_bad_payload);
	ctl_number(out, "rx_denied", (int64_t)w->n.rx_denied);
	ctl_number(out, "tun_bad", (int64_t)w->n.tun_bad);
	ctl_number(out, "tun_no_peer", (int64_t)w->n.tun_no_peer);
	ctl_number(out, "tx_no_keys", (int64_t)w->n.tx_no_keys);
	ctl_number(out, "tx_no_path", (int64_t)w->n.tx_no_path);
	ctl_number(out, "tx_again", (int64_t)w->n.tx_again);
	ctl_number(out, "handshakes_full", (int64_t)w->n.handshakes_full);
	ctl_number(out, "handshakes_limited", (int64_t)w->n.handshakes_limited);
	ctl_number(out, "handshakes_denied", (int64_t)w->n.handshakes_denied);
	ctl_number(out, "cookies_sent", (int64_t)w->n.cookies_sent);
	ctl_number(out, "moved_tun", (int64_t)w->n.moved_out[MOVED_TUN]);
	ctl_number(out, "moved_messages", (int64_t)w->n.moved_out[MOVED_MESSAGE]);
	ctl_number(out, "moved_initiations", (int64_t)w->n.moved_out[MOVED_INITIATION]);
	ctl_number(out, "moved_in", (int64_t)w->n.moved_in);
	ctl_number(out, "moved_lost", (int64_t)w->n.moved_lost);
}

static void run_counters(struct worker *w, void *arg)
{
	overlay_show_counters(w->overlay, arg);
}

#define VERB_ALL(name)                                                                              \
	static enum err verb_##name(void *state, int argc, char *const *argv, struct ctl_out *out) \
	{                                                                                           \
		(void)argc;                                                                         \
		(void)argv;                                                                         \
		plane_call(&((struct node *)state)->plane, run_##name, out);                        \
		return OK;                                                                          \
	}
VERB_ALL(sessions)
VERB_ALL(routes)
VERB_ALL(circuits)
VERB_ALL(workers)
VERB_ALL(counters)

const struct ctl_verb node_verbs[] = {
	{"status", verb_status},
	{"show sessions", verb_sessions},
	{"show routes", verb_routes},
	{"show circuits", verb_circuits},
	{"show workers", verb_workers},
	{"show counters", verb_counters},
};
const size_t node_n_verbs = sizeof(node_verbs) / sizeof(node_verbs[0]);
