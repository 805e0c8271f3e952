/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Admission: how many handshakes a source may cost us, how many strangers may stay, and who goes
 * first.
 *
 * - [P-40] Initiations that would cost a Diffie-Hellman are admitted by token buckets per source
 * prefix, all of which must have one: IPv4 /32 and /24, IPv6 /64 and /48. Default 4/s burst 16
 * narrow, 32/s burst 128 wide. Under load the cookie check comes first, so that a forged source
 * spends nobody's tokens.
 * - [P-41] A stranger's session has no allowed IPs: its IP packets pass only after Attach succeeded
 * (admit_may_send), its relay frames only by a leg that Extend opened ([P-10]).
 * - [P-42] Sessions of strangers are capped. A newcomer displaces an idle one: first unpaid, idle
 * 10 s, then paid, idle 180 s (its keys are dead then); else it is refused.
 * - [P-43] A session idle for 240 s is forgotten, its keys wiped.
 *
 * Two bounded tables in caller's memory: prefixes (idle, that is refilled, evicted first; a table
 * full of busy ones refuses) and sessions, by the worker's dense handle. Stock peers from the
 * configuration are not strangers and do not appear here. One per worker. Pure. */
#ifndef TUNNEL_ADMIT_H
#define TUNNEL_ADMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/net.h"
#include "lib/units.h"
#include "table.h"

#define ADMIT_NARROW_PER_S 4
#define ADMIT_NARROW_BURST 16
#define ADMIT_WIDE_PER_S 32
#define ADMIT_WIDE_BURST 128
#define ADMIT_UNPAID_IDLE DUR_S(10)
#define ADMIT_PAID_IDLE DUR_S(180)
#define ADMIT_FORGET DUR_S(240)
#define ADMIT_NONE UINT32_MAX

struct admit_conf {
	uint32_t sessions_max;	/* handles are below this */
	uint32_t strangers_max; /* may be lowered at run time with admit_set_cap */
	uint32_t prefixes_max;
	uint32_t narrow_per_s, narrow_burst; /* 0: the defaults */
	uint32_t wide_per_s, wide_burst;
};

struct admit_prefix;
struct admit_session;

struct admit_counters {
	uint64_t admitted;
	uint64_t over_rate;	/* no token */
	uint64_t prefixes_full; /* the table of prefixes is full of busy ones */
	uint64_t sessions_full; /* nobody idle to displace */
	uint64_t displaced, forgotten;
};

struct admit {
	struct admit_conf conf;
	struct table prefixes;
	struct admit_prefix *prefix;
	struct admit_session *session; /* by handle */
	uint32_t oldest[2], newest[2]; /* order of use: unpaid, paid */
	uint32_t n_strangers;
	struct admit_counters n;
};

size_t admit_bytes(const struct admit_conf *conf);
void admit_init(
	struct admit *a, const struct admit_conf *conf, void *mem, const uint64_t key[static 2]);
void admit_set_cap(struct admit *a, uint32_t strangers_max);

/* Before the expensive part of an initiation from src. OK or ERR_FULL (drop, counted). */
NODISCARD enum err admit_handshake(struct admit *a, mono_t now, const struct net_addr *src);
/* Is there room for one more stranger? OK; if *ret_victim is not ADMIT_NONE, end that session first
 * (admit_session_gone follows from that). ERR_FULL: nobody may be displaced, refuse. */
NODISCARD enum err admit_room(struct admit *a, mono_t now, uint32_t *ret_victim);
/* A stranger's session was made with this handle. */
void admit_session_new(struct admit *a, mono_t now, uint32_t session);
void admit_session_gone(struct admit *a, uint32_t session);
/* Once per batch received from it; cheap (moves it in the order at most once a second). */
void admit_session_used(struct admit *a, mono_t now, uint32_t session);
/* It paid, or what it uses is free: it is displaced last. */
void admit_session_paid(struct admit *a, uint32_t session, bool paid);
/* Attach succeeded (or the session was detached): it may (not) send IP packets. */
void admit_session_role(struct admit *a, uint32_t session, bool may_exit);
/* [P-41] May a stranger's session send this? kind: enum frame_kind of the decrypted payload. */
bool admit_may_send(const struct admit *a, uint32_t session, int kind);
/* Next session that has been idle for ADMIT_FORGET: end it and ask again; ADMIT_NONE if none. */
uint32_t admit_idle(struct admit *a, mono_t now);
mono_t admit_deadline(const struct admit *a);

#endif
