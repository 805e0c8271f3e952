/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "overlay_role.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sys/clock.h"
#include "lib/sys/log.h"
#include "proto/discovery.pb.h"
#include "proto/gateway.pb.h"
#include "proto/ledger.pb.h"
#include "proto/router.pb.h"
#include "stock.h"

/* ---- facts ---- */

struct fact_note {
	struct note note; /* first */
	void (*on_fact)(void *main_state, enum role to, const void *msg);
	enum role to;
	/* As large as its kind: the usage of all sessions may wait here at a time. */
	_Alignas(max_align_t) uint8_t msg[];
};

/* What the role knows besides the overlay; one per worker. */
struct role_state {
	struct overlay *overlay;
	struct worker *w;
	void (*on_fact)(void *main_state, enum role to, const void *msg);
};

static size_t message_size(enum role to)
{
	switch (to) {
	case ROLE_ROUTER:
		return sizeof(mvpn_RouterIn);
	case ROLE_LEDGER:
		return sizeof(mvpn_LedgerIn);
	case ROLE_DISCOVERY:
		return sizeof(mvpn_DiscoveryIn);
	case ROLE_GATEWAY:
		return sizeof(mvpn_GatewayIn);
	case ROLE_NONE:
	case ROLE_TUNNEL:
	case ROLES:
		break;
	}
	return 0;
}

static void fact_run(void *main_state, struct note *n)
{
	struct fact_note *f = (struct fact_note *)n;

	f->on_fact(main_state, f->to, f->msg);
}

static bool op_tell(void *ctx, enum role to, const void *msg)
{
	struct role_state *r = ctx;
	struct fact_note *f = calloc(1, sizeof(*f) + message_size(to));

	if (f == NULL)
		return false; /* facts are said again, or asked for */
	f->note.run = fact_run;
	f->on_fact = r->on_fact;
	f->to = to;
	memcpy(f->msg, msg, message_size(to));
	plane_note(r->w->plane, &f->note);
	return (atomic_load_explicit(&r->w->plane->services_up, memory_order_relaxed) & 1u << to) != 0;
}

/* ---- sessions that we begin ---- */

static const struct peer_role role_stranger, role_hop;

static struct peer *peer_of(struct role_state *r, uint32_t session)
{
	return peer_by_handle(r->w, session);
}

static void carrier_set(struct role_state *r, struct peer *p, const struct overlay_carrier *by)
{
	if (by->nested) {
		p->carrier.parent = peer_of(r, by->parent);
		p->carrier.slot = by->slot;
		return;
	}
	p->carrier.parent = NULL;
	/* Our own onward socket, so that the answers come back to this worker. */
	udp_path_from(&p->carrier.path, &by->to, UDP_ONWARD);
}

static enum err op_session_open(void *ctx, const struct noise_identity *id, const uint8_t pk[static 32],
	const struct overlay_carrier *by, uint32_t *ret_session)
{
	struct role_state *r = ctx;
	struct peer *p;

	TRY(peer_new(r->w, &role_hop, id, pk, NULL, &p));
	p->client = true;
	p->meter = overlay_meter(r->overlay, p->handle);
	carrier_set(r, p, by);
	*ret_session = p->handle;
	return OK;
}

static void op_session_end(void *ctx, uint32_t session)
{
	struct role_state *r = ctx;
	struct peer *p = peer_of(r, session);

	if (p != NULL)
		peer_end(r->w, p);
}

static void op_session_handshake(void *ctx, uint32_t session)
{
	struct role_state *r = ctx;
	struct peer *p = peer_of(r, session);

	if (p == NULL)
		return;
	session_initiate_anew(&p->session, &r->w->env, r->w->now);
	peer_touched(r->w, p);
}

static void op_session_carry(void *ctx, uint32_t session, const struct overlay_carrier *by)
{
	struct role_state *r = ctx;
	struct peer *p = peer_of(r, session);

	if (p != NULL)
		carrier_set(r, p, by);
}

static void op_session_send(void *ctx, uint32_t session, const uint8_t *payload, size_t len)
{
	struct role_state *r = ctx;
	struct peer *p = peer_of(r, session);

	/* Without keys it is lost; who cares retransmits. */
	if (p != NULL)
		(void)output_payload(r->w, p, payload, len);
}

static void op_session_relay(void *ctx, uint32_t session, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	struct role_state *r = ctx;
	struct peer *p = peer_of(r, session);

	if (p != NULL)
		output_relay(r->w, p, slot, at, len, n);
}

/* Runs of one length (the last may be shorter) leave as one train, gathered from the receive buffer, which
 * stays until they are flushed. A single message may lie anywhere, so it is copied. */
static void op_onward(void *ctx, const struct net_endpoint *to, uint8_t *const *at, const uint32_t *len,
	uint32_t n)
{
	struct role_state *r = ctx;
	struct udp_socket *s = &r->w->udp[UDP_ONWARD][to->addr.family == NET_IP4 ? UDP_V4 : UDP_V6];
	struct udp_path path;

	udp_path_from(&path, to, UDP_ONWARD);
	if (n == 1)
		output_raw(r->w, &path, at[0], len[0]);
	for (uint32_t first = 0, k; n > 1 && s->fd >= 0 && first < n; first += k) {
		for (k = 1; first + k < n && len[first + k - 1] == len[first] &&
			len[first + k] <= len[first];)
			k++;
		udp_send_scattered(s, &path, at + first, len + first, k);
	}
}

static void op_nested(void *ctx, uint32_t session, uint16_t slot, uint8_t *const *at, const uint32_t *len,
	uint32_t n)
{
	struct role_state *r = ctx;
	struct origin o = {.parent = peer_of(r, session), .slot = slot};

	if (o.parent != NULL)
		input_messages(r->w, &o, at, len, n);
}

static const struct overlay_ops ops_template = {.session_open = op_session_open,
	.session_end = op_session_end,
	.session_handshake = op_session_handshake,
	.session_carry = op_session_carry,
	.session_send = op_session_send,
	.session_relay = op_session_relay,
	.onward = op_onward,
	.nested = op_nested,
	.tell = op_tell};

/* ---- roles ---- */

static unsigned int on_gate(struct worker *w, struct peer *p)
{
	return overlay_gate(w->overlay, p->handle);
}

static bool on_ip(struct worker *w, struct peer *p, uint8_t *pkt, uint32_t len, bool partial)
{
	return overlay_on_ip(w->overlay, w->now, p->handle, pkt, len, partial);
}

static void on_relay(struct worker *w, struct peer *p, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	overlay_on_relay(w->overlay, w->now, p->handle, slot, at, len, n);
}

static void on_control(struct worker *w, struct peer *p, const uint8_t *frame, size_t len)
{
	overlay_on_control(w->overlay, w->now, p->handle, frame, len);
}

static void on_heard(struct worker *w, struct peer *p)
{
	overlay_on_heard(w->overlay, w->now, p->handle);
}

static void on_established(struct worker *w, struct peer *p)
{
	overlay_on_established(w->overlay, w->now, p->handle);
}

static void on_gave_up(struct worker *w, struct peer *p)
{
	overlay_on_dead(w->overlay, w->now, p->handle);
}

static void on_metered(struct worker *w, struct peer *p)
{
	overlay_on_metered(w->overlay, w->now, p->handle, meter_due(p->meter, w->now));
}

static void on_gone(struct worker *w, struct peer *p)
{
	overlay_session_gone(w->overlay, w->now, p->handle);
}

static void on_stranger_gone(struct worker *w, struct peer *p)
{
	directory_remove(&w->plane->directory, p->session.remote.static_pk, (uint16_t)w->id, p->handle);
	on_gone(w, p);
}

static const struct peer_role role_stranger = {.name = "stranger",
	.roams = true,
	.initiates = false,
	.says_again = true,
	.tun = TUN_EXIT,
	.gate = on_gate,
	.ip = on_ip,
	.relay = on_relay,
	.control = on_control,
	.heard = on_heard,
	.established = NULL,
	.gave_up = NULL,
	.metered = on_metered,
	.gone = on_stranger_gone};

static const struct peer_role role_hop = {.name = "hop",
	.roams = false,
	.initiates = true,
	.says_again = true,
	.tun = TUN_DEVICE,
	.gate = on_gate,
	.ip = on_ip,
	.relay = on_relay,
	.control = on_control,
	.heard = on_heard,
	.established = on_established,
	.gave_up = on_gave_up,
	.metered = on_metered,
	.gone = on_gone};

struct peer *overlay_role_stranger(struct worker *w, const uint8_t pk[static WG_KEY_SIZE],
	const struct udp_path *from)
{
	uint32_t victim = OVERLAY_NO_SESSION;
	struct peer *p;

	(void)from; /* its prefixes have paid before the key was opened (handshake.c) */
	if (w->overlay == NULL || overlay_room(w->overlay, w->now, &victim) != OK)
		return NULL;
	if (victim != OVERLAY_NO_SESSION && peer_by_handle(w, victim) != NULL) {
		overlay_session_gone(w->overlay, w->now, victim);
		peer_end(w, peer_by_handle(w, victim));
	}
	if (peer_new(w, &role_stranger, &w->identity, pk, NULL, &p) != OK)
		return NULL;
	/* Its next initiation, by whatever path and worker, finds this session. */
	if (directory_add(&w->plane->directory, pk, (uint16_t)w->id, p->handle) != OK) {
		peer_end(w, p);
		return NULL;
	}
	overlay_stranger_new(w->overlay, w->now, p->handle);
	p->meter = overlay_meter(w->overlay, p->handle);
	return p;
}

/* ---- devices ---- */

static void tun_take(struct worker *w, enum tun_use use, const uint8_t *buf, size_t len)
{
	enum overlay_tun which = use == TUN_EXIT ? OVERLAY_TUN_EXIT : OVERLAY_TUN_CLIENT;
	const struct tun_kind *kind = &w->plane->tun_kinds[use];
	uint8_t reset[60];
	size_t reset_len = 0;
	struct offload_super s;
	struct peer *p = NULL;
	uint32_t session;

	if (tun_parse(kind, buf, len, &s) != OK) {
		w->n.tun_bad++;
		return;
	}
	p = use == TUN_EXIT ? stock_by_destination(w, &s) : NULL;
	if (p != NULL) {
		output_super(w, p, kind, &s, buf, len);
		return;
	}
	/* The packet lies in our own read buffer: its addresses are changed in place. */
	uint8_t *pkt = (uint8_t *)(uintptr_t)s.pkt;
	session = overlay_on_tun(w->overlay, w->now, which, pkt, len - (size_t)(s.pkt - buf), s.needs_csum,
		reset, &reset_len);
	if (reset_len > 0)
		output_tun(w, use, reset, reset_len);
	if (session != OVERLAY_NO_SESSION)
		p = peer_by_handle(w, session);
	if (p == NULL) {
		w->n.tun_no_peer++;
		return;
	}
	output_super(w, p, kind, &s, buf, len);
}

static void tun_take_client(struct worker *w, const uint8_t *buf, size_t len, bool moved)
{
	(void)moved;
	tun_take(w, TUN_DEVICE, buf, len);
}

/* The overlay has ended: what still comes is dropped. */
static void tun_take_none(struct worker *w, const uint8_t *buf, size_t len, bool moved)
{
	(void)buf;
	(void)len;
	(void)moved;
	w->n.tun_no_peer++;
}

/* The low bits of a lent address name its worker. */
static unsigned int exit_owner(const struct worker *w, const uint8_t *buf, size_t len)
{
	size_t at = w->plane->tun_kinds[TUN_EXIT].vnet ? OFFLOAD_VHDR : 0;
	unsigned int mask = (1u << w->plane->worker_bits) - 1;

	if (len >= at + 20 && buf[at] >> 4 == 4)
		return buf[at + 19] & mask;
	if (len >= at + 40 && buf[at] >> 4 == 6)
		return buf[at + 39] & mask;
	return w->id;
}

static void tun_take_exit(struct worker *w, const uint8_t *buf, size_t len, bool moved)
{
	unsigned int owner = exit_owner(w, buf, len);
	struct moved head = {.kind = MOVED_TUN, .tun = TUN_EXIT};
	uint8_t *room;

	if (owner >= w->plane->n_workers)
		owner = 0; /* a configured peer's, or nobody's */
	if (moved || owner == w->id) {
		tun_take(w, TUN_EXIT, buf, len);
		return;
	}
	room = moved_claim(w, owner, &head, (uint32_t)len);
	if (room == NULL)
		return;
	memcpy(room, buf, len);
	moved_publish(w, owner, MOVED_TUN);
}

void overlay_role_onward(struct worker *w, const struct udp_path *from, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	struct net_endpoint src;

	udp_path_endpoint(from, &src);
	overlay_on_onward(w->overlay, w->now, &src, at, len, n);
}

/* ---- life ---- */

void overlay_role_tick(struct worker *w)
{
	if (!mono_reached(overlay_deadline(w->overlay), w->now))
		return;
	overlay_wall(w->overlay, wall_now());
	overlay_tick(w->overlay, w->now);
}

mono_t overlay_role_deadline(const struct worker *w)
{
	return overlay_deadline(w->overlay);
}

enum err overlay_role_init(struct worker *w, const struct overlay_conf *conf,
	void (*on_fact)(void *main_state, enum role to, const void *msg))
{
	struct overlay_ops ops = ops_template;
	struct role_state *r = calloc(1, sizeof(*r));
	enum err e;

	if (r == NULL)
		return ERR_FULL;
	r->w = w;
	r->on_fact = on_fact;
	ops.ctx = r;
	w->now = mono_now();
	e = overlay_new(&r->overlay, conf, &ops, &w->rng, w->now);
	if (e != OK) {
		free(r);
		return e;
	}
	overlay_wall(r->overlay, wall_now());
	w->overlay = r->overlay;
	if (conf->flows_max > 0)
		w->tun_take[TUN_DEVICE] = tun_take_client;
	w->tun_take[TUN_EXIT] = tun_take_exit;
	return OK;
}

void overlay_role_done(struct worker *w)
{
	if (w->overlay == NULL)
		return;
	w->tun_take[TUN_DEVICE] = w->tun_take[TUN_EXIT] = tun_take_none;
	worker_peers_end(w);
	stock_done(w);
	free(overlay_ops_ctx(w->overlay));
	overlay_free(&w->overlay);
}
