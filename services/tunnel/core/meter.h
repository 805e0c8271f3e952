/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counting what a session uses, against its credit, and sharing a rate.
 *
 * - [P-44] Counted are authenticated payload bytes, both directions: the inner WireGuard message of
 * a relay frame without its 4-byte header, and IP packets. Keepalives, control frames and
 * handshakes of the session itself are not counted. Relay and client count alike.
 * - [P-45] Up is what the client sends. Numbers are cumulative per session and never go back.
 * - [P-46] A relay forwards while used < credit; what passes last may overshoot by one batch.
 * Credit is cumulative: a grant below what is held changes nothing.
 * - [P-47] Notice tells the client when less than a quarter of the last grant (at least 256 KiB) is
 * left, and when it is used up, at most once a second; after a new handshake at once.
 *
 * struct meter lives in the session's record. Per batch: meter_may, then meter_count, then
 * meter_due. Pure; inline where it is hot. */
#ifndef TUNNEL_METER_H
#define TUNNEL_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/units.h"

#define METER_REPORT_MIN (64u << 10)  /* bytes: not more often than this */
#define METER_REPORT_MAX (1u << 20)   /* bytes: at least this often, where they cost */
#define METER_REPORT_EVERY DUR_S(1)   /* if anything was used */
#define METER_NOTICE_MIN (256u << 10) /* bytes left */
#define METER_NOTICE_EVERY DUR_S(1)

struct meter {
	uint64_t up_bytes, down_bytes;
	uint64_t credit_bytes; /* cumulative */
	uint64_t low_bytes;    /* used at which to warn */
	uint64_t report_bytes; /* used at which to report */
	uint64_t reported_bytes;
	mono_t reported_at, noticed_at;
	bool priced; /* false: everything is free */
};

enum meter_due {
	METER_REPORT = 1, /* tell the ledger: SessionUsage */
	METER_NOTICE = 2  /* tell the client: Notice(PAYMENT, credit, used) */
};

/* free_bytes: allowance before the first ticket. On the paying side: priced as in the descriptor,
 * credit follows Notice and Paid by meter_grant; it does not stop us from sending. */
void meter_init(struct meter *m, mono_t now, uint64_t free_bytes, bool priced);
/* [P-46] */
void meter_grant(struct meter *m, uint64_t credit_bytes);

static inline uint64_t meter_used(const struct meter *m)
{
	return m->up_bytes + m->down_bytes;
}

/* May the next batch pass? */
static inline bool meter_may(const struct meter *m)
{
	return !m->priced || m->up_bytes + m->down_bytes < m->credit_bytes;
}

static inline void meter_count(struct meter *m, uint64_t up_bytes, uint64_t down_bytes)
{
	m->up_bytes += up_bytes;
	m->down_bytes += down_bytes;
}

/* What is due now, enum meter_due bits, as if done: call once per batch and once a second. */
unsigned int meter_due(struct meter *m, mono_t now);

/* A notice that was given may not have arrived: the next meter_due gives it anew if it still holds. */
void meter_notice_again(struct meter *m);

/* Token bucket for a shared rate (share_rate_Bps divided by the number of workers). While it is fuller
 * than half, who comes takes. Below that only a session that has had less than its part of the rate in
 * this window: so one that wants all gets what the others leave, and those who want less than their part
 * find tokens. */
#define BUCKET_WINDOW DUR_MS(100)

struct bucket {
	uint64_t rate_Bps; /* 0: no limit */
	uint64_t burst_bytes;
	int64_t tokens; /* bytes; below 0: in debt */
	mono_t at;
	mono_t window_began;
	uint32_t window;
	uint32_t n_sessions, n_before; /* seen in this window, in the one before */
};

/* One session's, in its record; starts zeroed. */
struct bucket_share {
	uint32_t window;
	uint32_t n_bytes; /* taken in it */
};

/* burst_bytes 0: 50 ms of the rate, at least two 64 KiB super-packets. */
void bucket_init(struct bucket *b, mono_t now, uint64_t rate_Bps, uint64_t burst_bytes);
/* Takes n tokens for a session if there are any for it (a batch larger than what is left goes into debt
 * up to one batch); false: drop. */
bool bucket_take(struct bucket *b, mono_t now, struct bucket_share *s, uint64_t n_bytes);

#endif
