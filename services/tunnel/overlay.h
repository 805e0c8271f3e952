/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The overlay as one worker runs it: the wiring between the pure cores (circuit, control, admit, lease,
 * flow, policy, meter, route) and what moves packets.
 *
 * The worker owns sockets, sessions and buffers and knows sessions by dense handles. It offers struct
 * overlay_ops and calls overlay_on_*; the overlay decides. A drop-in WireGuard has no overlay, and the
 * packet path is the same. Sessions are of two kinds here: strangers that use us as relay or exit, and
 * hops, sessions that we began as a client. Configured peers of a stock WireGuard never come here.
 *
 * All functions run in the worker's thread. `now` is the instant of the batch. */
#ifndef TUNNEL_OVERLAY_H
#define TUNNEL_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/rng.h"
#include "lib/sys/bus.h"
#include "lib/sys/ctl.h"
#include "lib/units.h"
#include "proto/tunnel.pb.h"
#include "services/tunnel/core/noise.h"

#define OVERLAY_NO_SESSION UINT32_MAX

/* How the messages of a session that we began travel. */
struct overlay_carrier {
	bool nested;		  /* in relay frames of `slot` inside session `parent` */
	uint32_t parent;
	uint16_t slot;
	struct net_endpoint to;	  /* else over UDP to here */
};

struct meter;

enum overlay_tun {
	OVERLAY_TUN_CLIENT,
	OVERLAY_TUN_EXIT
};

/* What the worker does for the overlay. None may call back into the overlay. */
struct overlay_ops {
	void *ctx;
	/* Begins a session with pk; id is borrowed until session_end. Does not initiate. */
	enum err (*session_open)(void *ctx, const struct noise_identity *id, const uint8_t pk[static 32],
		const struct overlay_carrier *by, uint32_t *ret_session);
	/* Wipes and frees; the handle may be used anew at once. */
	void (*session_end)(void *ctx, uint32_t session);
	/* Sends another initiation now, whatever the timers say. */
	void (*session_handshake)(void *ctx, uint32_t session);
	void (*session_carry)(void *ctx, uint32_t session, const struct overlay_carrier *by);
	/* Seals one payload and sends it; dropped if there are no keys. */
	void (*session_send)(void *ctx, uint32_t session, const uint8_t *payload, size_t len);
	/* Seals each whole WireGuard message in a relay frame of slot and sends them, in order. */
	void (*session_relay)(void *ctx, uint32_t session, uint16_t slot, uint8_t *const *at,
		const uint32_t *len, uint32_t n);
	/* Sends the messages as they are by the onward socket. */
	void (*onward)(void *ctx, const struct net_endpoint *to, uint8_t *const *at, const uint32_t *len,
		uint32_t n);
	/* WireGuard messages that came in relay frames of (session, slot): for the session nested
	 * there. */
	void (*nested)(void *ctx, uint32_t session, uint16_t slot, uint8_t *const *at,
		const uint32_t *len, uint32_t n);
	/* A fact for another service; msg is a YIn of the receiver and is copied. False: it is not there
	 * now, so the fact is lost. */
	bool (*tell)(void *ctx, enum role to, const void *msg);
};

struct overlay_conf {
	uint32_t sessions_max;	/* handles are below this */
	uint32_t strangers_max;
	uint32_t legs_max;
	uint8_t worker, worker_bits;
	uint64_t rate_Bps;	/* shared rate of this worker, 0: no limit */
	bool have_ip4, have_ip6; /* uplink families */
	bool test_network;
	uint8_t self_wg_pk[32];
	/* exit */
	struct net_prefix pool4, pool6;
	struct net_addr resolver4, resolver6;
	struct net_prefix own[16]; /* own addresses and LAN: refused as destinations */
	size_t n_own;
	uint32_t exit_mtu;
	bool stock;		 /* there are peers from the configuration (stock.h) */
	/* client: constant addresses of the device */
	struct net_addr device4, device6, device_dns4, device_dns6;
	uint32_t flows_max;
};

struct overlay;

/* Caller owns the result (overlay_free). ERR_INVALID: conf does not hold together; ERR_FULL: memory. */
NODISCARD enum err overlay_new(struct overlay **ret_o, const struct overlay_conf *conf,
	const struct overlay_ops *ops, struct rng *rng, mono_t now);
void overlay_free(struct overlay **o);
/* ops->ctx as it was given. */
void *overlay_ops_ctx(const struct overlay *o);

/* ---- strangers ---- */
/* Before the expensive part of an initiation of an unknown key. OK, or drop it. */
NODISCARD enum err overlay_admit(struct overlay *o, mono_t now, const struct net_addr *src);
/* Room for one more stranger, and do we share at all? On OK end *ret_victim first unless it is OVERLAY_NO_SESSION. */
NODISCARD enum err overlay_room(struct overlay *o, mono_t now, uint32_t *ret_victim);
void overlay_stranger_new(struct overlay *o, mono_t now, uint32_t session);

/* ---- events of sessions ---- */
void overlay_on_established(struct overlay *o, mono_t now, uint32_t session);
/* Handshakes were given up, or the last keys expired. The worker ends strangers itself. */
void overlay_on_dead(struct overlay *o, mono_t now, uint32_t session);
/* The worker ended it (not called for session_end). */
void overlay_session_gone(struct overlay *o, mono_t now, uint32_t session);

/* ---- packets ---- */
/* Kinds of payload that the session may send now, bits 1 << enum frame_kind. */
unsigned int overlay_gate(struct overlay *o, uint32_t session);
/* Once per batch of authentic messages, before them. */
void overlay_on_heard(struct overlay *o, mono_t now, uint32_t session);
/* Inner messages of relay frames of one slot. */
void overlay_on_relay(struct overlay *o, mono_t now, uint32_t session, uint16_t slot, uint8_t *const *at,
	const uint32_t *len, uint32_t n);
/* An IP packet, or a joined run of one flow (len of the whole, pkt its first, checksum partial). May
 * change its addresses. True: it goes to the device. */
bool overlay_on_ip(struct overlay *o, mono_t now, uint32_t session, uint8_t *pkt, uint32_t len, bool partial);
void overlay_on_control(struct overlay *o, mono_t now, uint32_t session, const uint8_t *frame, size_t len);
/* Messages from one source at the onward socket that are for no session of ours. */
void overlay_on_onward(struct overlay *o, mono_t now, const struct net_endpoint *from, uint8_t *const *at,
	const uint32_t *len, uint32_t n);
/* A packet (or super-packet; partial: its checksum is still a pseudo-header sum) read from a device,
 * changed in place: the session that carries it, or OVERLAY_NO_SESSION: drop. reset: room for a TCP
 * reset of 60 bytes to be written back to the device, *ret_reset_len is 0 if none is due. */
uint32_t overlay_on_tun(struct overlay *o, mono_t now, enum overlay_tun which, uint8_t *pkt, size_t len,
	bool partial, uint8_t reset[static 60], size_t *ret_reset_len);

/* Does the exit's policy let this packet of a configured peer out? Counted if not. */
bool overlay_policy_passes(struct overlay *o, const uint8_t *pkt, uint32_t len);

/* The session's meter, which the worker counts in: inner messages of relay frames and IP packets, both
 * ways. Valid while the session lives. */
struct meter *overlay_meter(struct overlay *o, uint32_t session);
/* meter_due said `due` (enum meter_due bits). */
void overlay_on_metered(struct overlay *o, mono_t now, uint32_t session, unsigned int due);

/* ---- time ---- */
void overlay_tick(struct overlay *o, mono_t now);
mono_t overlay_deadline(const struct overlay *o);

/* ---- control, from the main thread while it waits ---- */
/* A message of the bus. */
void overlay_order(struct overlay *o, mono_t now, wall_t wall, enum role from, const mvpn_TunnelIn *in);
/* The link to `to` came up: tell it what it should know, at most `most` sessions or routes from *cursor on
 * (0: from the first), which moves on. Returns how many were told; fewer than `most`: that was all. */
uint32_t overlay_snapshot(struct overlay *o, mono_t now, enum role to, uint32_t *cursor, uint32_t most);
/* A service restarted: what it asked for is void. */
void overlay_service_gone(struct overlay *o, mono_t now, enum role who);
/* Takes wall time along for descriptors (once a second is enough). */
void overlay_wall(struct overlay *o, wall_t wall);

/* ---- from one process to the next (core/handover.h) ---- */
struct handover;
/* Writes the client's routes and flows to buf; 0: there is no route to go on with, or no room. */
size_t overlay_keep(struct overlay *o, mono_t now, wall_t wall, const uint8_t key[static 32], uint8_t *buf,
	size_t max);
/* Goes on with them: h as handover_open gave it, buf what it opened. Before anything else is asked of the
 * overlay. */
void overlay_resume(struct overlay *o, mono_t now, const struct handover *h, const uint8_t *buf);

struct overlay_totals {
	uint32_t n_strangers, n_routes, n_legs, n_leases;
	uint64_t shared_bytes; /* carried for others since start */
	bool route_in_use;
	uint32_t mtu;	       /* of the route in use */
};
struct overlay_totals overlay_totals(const struct overlay *o);

/* Rows for tunnelctl. */
void overlay_show_sessions(const struct overlay *o, struct ctl_out *out);
void overlay_show_routes(const struct overlay *o, mono_t now, struct ctl_out *out);
void overlay_show_circuits(const struct overlay *o, mono_t now, struct ctl_out *out);
void overlay_show_counters(const struct overlay *o, struct ctl_out *out);

/* The exit policy's digest, for the descriptor. */
void overlay_policy_digest(const struct overlay *o, uint8_t ret_digest[static 32]);

#endif
