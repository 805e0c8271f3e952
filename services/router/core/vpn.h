/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session that the user wants, as a state machine.
 *
 *   off -> connecting -> on <-> reconnecting -> failed (with its reason; tries go on) -> on
 *
 * Events change what is known; vpn_step() compares it with what is wanted and orders what is
 * missing:
 * - no live route: attempts, each chosen anew, a second beside the first that has not answered
 * within 500 ms + 3 RTT, at most three of the last three seconds and six in all; the first whose
 * probe brought bytes back through the exit becomes live. After six failures or 20 s the phase is
 * `failed`; tries go on with back-off.
 * - a live route: a warm spare beside it (other middle and exit), renewed now and then. The spare
 * takes over at once when the exit dies, and at the next hop of the schedule or the user's wish.
 * - the entry or the middle died: another path to the same exit (exit_of), so that no flow is lost;
 * if that takes longer than a second the spare carries new flows meanwhile.
 * - a changed wish: the old route carries traffic until the new one is proven (make before break).
 * - the tunnel restarted: what its snapshot names goes on, all else is gone.
 * - this process restarted: the tunnel names its live routes; the one in use is adopted as it is,
 * whichever of gateway's order and tunnel's snapshot comes first, also if gateway is not there at
 * all. Bounds: PATHS_MAX, ATTEMPTS_MAX, back-off of at least a second after six failures. Pure. */
#ifndef ROUTER_VPN_H
#define ROUTER_VPN_H

#include "router.h"

#define ATTEMPTS_MAX 3 /* that are not overdue */
#define ATTEMPTS_MAX_ALL 6
#define REPAIRS_MAX 2 /* under way at once */
#define REPAIR_TRIES 4
#define REPAIR_PATIENCE DUR_S(8) /* then its exit is given up */
#define REPAIR_PATIENCE_ALONE DUR_S(60) /* while nobody answers */
#define REPAIR_EVERY_ALONE DUR_S(1)
#define REPAIR_GRACE DUR_MS(1000) /* new flows wait this long for the same exit */
#define SEEK_FAILS_SHOWN 6
#define SEEK_PATIENCE DUR_S(20)
#define SEEK_BACKOFF_MIN DUR_S(1)
#define SEEK_BACKOFF_MAX DUR_S(10)
#define NEW_ROUTE_TRIES 3
#define PROBE_DEADLINE DUR_S(4)
#define SPARE_DELAY DUR_MS(50) /* the first request goes before it */
#define SPARE_BACKOFF_MIN DUR_S(2)
#define SPARE_BACKOFF_MAX DUR_S(300)
#define SPARE_LIFE DUR_S(1800)
#define DRAIN_HOP DUR_S(3600) /* old flows after a hop */
#define SUSPECT_WATCHED DUR_S(3) /* a suspect that was gone round: is it dead? */
#define DRAIN_WISH DUR_S(60)  /* old flows after the user wished for something else */
#define DIRECTORY_PATIENCE DUR_S(3)
#define DIRECTORY_GROWS DUR_S(30) /* after the wish: then what is known is all there is */
/* While a network forms its nodes compare their views every 2 s or so, and what one has only heard of
 * comes here when it was asked itself: still for several of these rounds. */
#define DIRECTORY_STILL DUR_S(8)
#define DIRECTORY_STILL_SHARE 16 /* fewer than one relay in this many came or went: still */
#define SETTINGS_PATIENCE DUR_MS(300)
#define SNAPSHOT_PATIENCE DUR_S(2)
#define SETTLE_PATIENCE DUR_MS(1500)
#define MEASURE_PATIENCE DUR_MS(600)
#define MEASURE_CANDIDATES 4
#define BROKE_FOR DUR_S(60)
#define NOTE_SHOWN DUR_S(30)

/* ---- what the user wants ---- */
struct wish {
	bool on;
	uint32_t hops;
	const char (*countries)[3];
	size_t n_countries;
};
/* ERR_INVALID, nothing changed, why in words. */
NODISCARD enum err vpn_on_set_session(
	struct router *r, const struct wish *wish, struct when now, char ret_why[static NOTE_MAX]);
void vpn_on_settings(struct router *r, bool pay, uint64_t price_max_gwei, uint32_t hop_interval_s,
	struct when now);
/* ERR_UNAVAILABLE while off. */
NODISCARD enum err vpn_on_new_route(struct router *r, struct when now);

/* ---- what the tunnel tells; hops come in path order, ids of strangers are closed ---- */
struct path_facts {
	uint32_t route;
	const struct path_hop *hops;
	unsigned int n_hops;
	const uint8_t *ip4, *ip6;
	uint8_t ip4_len, ip6_len;
	uint64_t rx_bytes, tx_bytes, rx_Bps, tx_Bps;
	bool in_use, draining;
};
void vpn_on_tunnel_hello(struct router *r, bool restarted, struct when now);
void vpn_on_lives(struct router *r, const struct path_facts *f, struct when now);
void vpn_on_lives_complete(struct router *r, struct when now);
void vpn_on_built(struct router *r, const struct path_facts *f, struct when now);
void vpn_on_failed(struct router *r, uint32_t route, uint32_t hop, enum err err, const char *why,
	struct when now);
void vpn_on_probed(struct router *r, uint32_t route, bool ok, struct when now);
void vpn_on_suspect(struct router *r, uint32_t route, uint32_t hop, struct when now);
void vpn_on_dead(struct router *r, uint32_t route, uint32_t hop, struct when now);
void vpn_on_closed(struct router *r, uint32_t route, struct when now);
void vpn_on_stats(struct router *r, const struct path_facts *f, struct when now);
void vpn_on_measured(struct router *r, const uint8_t node_id[static NODE_ID_SIZE], bool ok,
	uint32_t rtt_us, struct when now);
void vpn_on_link(struct router *r, bool up, struct when now);

/* From ledger. */
void vpn_on_payment(struct router *r, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
	bool own_fault, const char *why, struct when now);

/* Is there something true to tell? Just after a start nobody has spoken yet, and a route that lives
 * must not be called off or sought meanwhile. */
bool vpn_settled(const struct router *r, struct when now);
/* Orders what is missing and sets the phase. Call after events and at r->wake. */
void vpn_step(struct router *r, struct when now);

#endif
