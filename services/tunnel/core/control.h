/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control frames: the codec, the asking side and the answering side.
 *
 * Asking (struct control_requester, one per session that we initiated): a window of 8 requests,
 * each with an id of its own, retransmitted with doubling intervals until answered or its deadline
 * is over. Answering (struct control_responder, one per worker): decodes, calls the verb of the
 * request and sends its answer. Extend, Attach, Echo, Close and Detach are idempotent by themselves
 * and are done again; ToService is remembered by (session, id): while the service thinks, a
 * retransmission is swallowed; once it answered, it gets the same answer.
 *
 * - [P-30] Frame form: [P-3]; a frame that does not decode, has no body, or whose answer flag does
 * not suit its body is dropped and counted, never answered.
 * - [P-31] An answer repeats the id of its request. An answer to no outstanding request, or of a
 * kind that does not answer it (Refused answers all but Echo), is dropped and counted.
 * - [P-32] A request is retransmitted unchanged, after 300 ms (or 2 x RTT if known, 200 ms..1 s),
 * doubling up to 3 s, until answered or its deadline; at most 8 are outstanding, ids are not reused
 * in a session.
 * - [P-33] Every request is idempotent. ToService is delivered once per (session, id) within 30 s.
 * - [P-34] At most 4 ToService requests of a session are with services at a time; more are refused
 * as REASON_BUSY. So are those for a service that is not there. Without answer for 8 s: REASON_BUSY.
 * - [P-35] Requests of a session are limited to 100 tokens/s, burst 200; Extend costs 10 (it
 * verifies a signature). Above: dropped and counted, the retransmission may pass.
 * - [P-36] Notice is never answered. An Echo's answer carries its nonce.
 *
 * Bounded: CONTROL_FRAME_MAX per frame, fixed windows, one table of answers per worker with the
 * idle evicted first. Pure. Source: docs/protocol.md; proto/overlay.proto. */
#ifndef TUNNEL_CONTROL_H
#define TUNNEL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/err.h"
#include "lib/units.h"
#include "proto/overlay.pb.h"
#include "frame.h"
#include "table.h"
#include "tokens.h"

#define CONTROL_FRAME_MAX (FRAME_HEADER_SIZE + overlay_Control_size)
#define CONTROL_PAYLOAD_MAX 1100 /* of ToService, overlay.options */
#define CONTROL_WINDOW 8
#define CONTROL_RETRY_FIRST DUR_MS(300)
#define CONTROL_RETRY_MIN DUR_MS(200)
#define CONTROL_RETRY_FIRST_MAX DUR_MS(1000)
#define CONTROL_RETRY_MAX DUR_MS(3000)
#define CONTROL_SERVICE_PATIENCE DUR_S(8) /* below the ledgers' and discovery's own deadlines */
#define CONTROL_ANSWER_KEPT DUR_S(30)	  /* longer than any requester retries */
#define CONTROL_SERVICE_PER_SESSION 4
#define CONTROL_TOKENS_PER_S 100
#define CONTROL_TOKENS_BURST 200
#define CONTROL_TOKENS_EXTEND 10

/* ---- codec ---- */

/* m to a whole frame, header and all. ERR_TOO_LARGE, ERR_INVALID (no body). */
NODISCARD enum err control_encode(
	const overlay_Control *m, uint8_t *out, size_t max, size_t *ret_len);
/* A whole decrypted control frame (padding allowed) to ret_m. ERR_MALFORMED. */
NODISCARD enum err control_decode(const uint8_t *frame, size_t len, overlay_Control *ret_m);

/* ---- what both sides tell ---- */

/* All of it is called from within control_* functions; none may call back into the same
 * requester or responder, except control_request from `answered` and `failed`. `session` is the
 * worker's handle, passed through. */
struct control_sink {
	void *ctx;
	/* Seal and send this frame in the session. Borrowed for the call. */
	void (*send)(void *ctx, uint32_t session, const uint8_t *frame, size_t len);

	/* Asking side. tag: what control_request was given. */
	void (*answered)(void *ctx, uint32_t session, uint64_t tag, const overlay_Control *answer);
	void (*failed)(void *ctx, uint32_t session, uint64_t tag, enum err why); /* ERR_TIMEOUT */
	/* Echo answers are matched by their nonce, see control_echo. */
	void (*echoed)(void *ctx, uint32_t session, uint64_t nonce);
	void (*noticed)(void *ctx, uint32_t session, const overlay_Notice *notice);

	/* Answering side: do it, say why not, or overlay_Reason_REASON_UNSPECIFIED when done.
	 * May run again for a retransmission. A client-only node leaves the first four NULL:
	 * refused as NOT_OFFERED. After close of a session's own state by detach, the answer is
	 * still sent. */
	overlay_Reason (*extend)(void *ctx, uint32_t session, const overlay_Extend *in);
	overlay_Reason (*attach)(
		void *ctx, uint32_t session, const overlay_Attach *in, overlay_Attached *ret);
	overlay_Reason (*close)(void *ctx, uint32_t session, const overlay_Close *in);
	overlay_Reason (*detach)(void *ctx, uint32_t session);
	/* Hand the payload to the service (PeerAsked{session, request}); control_answer_service
	 * brings its answer. REASON_BUSY if it is not there now. */
	overlay_Reason (*to_service)(
		void *ctx, uint32_t session, uint32_t request, const overlay_ToService *in);
};

/* ---- asking side ---- */

struct control_pending {
	uint64_t tag;
	uint32_t id;	 /* 0: free */
	pb_size_t which; /* body tag of the request */
	uint16_t frame_len;
	mono_t next; /* when to send again */
	mono_t deadline;
	dur_t interval;
	uint8_t frame[CONTROL_FRAME_MAX];
};

struct control_requester {
	uint32_t next_id;
	struct control_pending
		pending[CONTROL_WINDOW];    /* about 11 kB in all: client sessions only */
	uint64_t n_sent, n_resent, n_stray; /* stray: answers that answer nothing */
};

void control_requester_init(struct control_requester *q);
/* Sends body (its id and answer fields are set here) and keeps it until answered. rtt: 0 if
 * unknown. ERR_FULL (window), ERR_TOO_LARGE, ERR_INVALID. */
NODISCARD enum err control_request(struct control_requester *q, mono_t now, uint32_t session,
	overlay_Control *body, uint64_t tag, dur_t rtt, dur_t deadline,
	const struct control_sink *sink);
/* An Echo, sent once and not retransmitted (its loss is the measurement); sink->echoed if it
 * returns. */
NODISCARD enum err control_echo(struct control_requester *q, uint32_t session, uint64_t nonce,
	const struct control_sink *sink);
/* Drops all requests without a word (the session is gone). */
void control_requester_cancel(struct control_requester *q);
void control_requester_tick(
	struct control_requester *q, mono_t now, uint32_t session, const struct control_sink *sink);
mono_t control_requester_deadline(const struct control_requester *q);

/* ---- answering side ---- */

struct control_responder_conf {
	uint32_t sessions_max;
	uint32_t answers_max; /* remembered ToService requests of all sessions; 1.2 kB each */
};

struct control_memory; /* one remembered ToService request */
struct control_budget;

struct control_counters {
	uint64_t requests, answers, refused, repeated;
	uint64_t malformed;    /* [P-30] */
	uint64_t over_budget;  /* [P-35] */
	uint64_t not_expected; /* an answer in a session where we ask nothing */
	uint64_t evicted;      /* answers forgotten early, for want of room */
};

struct control_responder {
	struct table answers;
	struct control_memory *memory;
	uint8_t *payloads;	       /* CONTROL_PAYLOAD_MAX by place: the answers */
	struct control_budget *budget; /* by session */
	uint32_t sessions_max;
	struct control_counters n;
	overlay_Control in, out; /* scratch: too large for the stack of a worker's deep call */
	uint8_t frame[CONTROL_FRAME_MAX];
};

size_t control_responder_bytes(const struct control_responder_conf *conf);
/* Borrows mem (8-aligned) for its life. key: secret, random. */
void control_responder_init(struct control_responder *r, const struct control_responder_conf *conf,
	void *mem, const uint64_t key[static 2]);

/* A decrypted control frame of `session`. q: its requester, NULL if we ask nothing in it. */
void control_on_frame(struct control_responder *r, struct control_requester *q, mono_t now,
	uint32_t session, const uint8_t *frame, size_t len, const struct control_sink *sink);
/* The service's answer to sink->to_service(session, request). ERR_NOT_FOUND if it came too late or
 * twice, ERR_TOO_LARGE. */
NODISCARD enum err control_answer_service(struct control_responder *r, mono_t now, uint32_t session,
	uint32_t request, const uint8_t *payload, size_t len, const struct control_sink *sink);
/* Sends an unasked Notice. */
void control_notice(struct control_responder *r, uint32_t session, overlay_Reason reason,
	uint64_t credit_bytes, uint64_t used_bytes, const struct control_sink *sink);
void control_session_gone(struct control_responder *r, uint32_t session);
/* Refuses what services left unanswered, forgets old answers. Once a second is enough. */
void control_responder_tick(
	struct control_responder *r, mono_t now, const struct control_sink *sink);

#endif
