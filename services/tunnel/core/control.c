/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control_internal.h"

#include <string.h>

#define PATIENCE CONTROL_SERVICE_PATIENCE

/* ---- asking side ---- */

void control_requester_init(struct control_requester *q)
{
	control_requester_cancel(q);
	q->next_id = 1;
	q->n_sent = q->n_resent = q->n_stray = 0;
}

void control_requester_cancel(struct control_requester *q)
{
	for (int i = 0; i < CONTROL_WINDOW; i++)
		q->pending[i].id = 0;
}

static struct control_pending *pending_find(struct control_requester *q, uint32_t id)
{
	for (int i = 0; i < CONTROL_WINDOW; i++)
		if (q->pending[i].id == id)
			return &q->pending[i];
	return NULL;
}

/* 0 marks what is free, so it is never an id, not even after 2^32 requests. */
static uint32_t take_id(struct control_requester *q)
{
	uint32_t id = q->next_id++;

	if (q->next_id == 0)
		q->next_id = 1;
	return id;
}

/* [P-32] */
static dur_t first_interval(dur_t rtt)
{
	dur_t twice = {2 * rtt.ns};

	if (rtt.ns == 0)
		return CONTROL_RETRY_FIRST;
	if (twice.ns < CONTROL_RETRY_MIN.ns)
		return CONTROL_RETRY_MIN;
	return twice.ns > CONTROL_RETRY_FIRST_MAX.ns ? CONTROL_RETRY_FIRST_MAX : twice;
}

enum err control_request(struct control_requester *q, mono_t now, uint32_t session,
	overlay_Control *body, uint64_t tag, dur_t rtt, dur_t deadline,
	const struct control_sink *sink)
{
	struct control_pending *p = pending_find(q, 0);
	size_t len;

	if (p == NULL)
		return ERR_FULL;
	body->id = q->next_id;
	body->answer = false;
	if (!control_sensible(body))
		return ERR_INVALID;
	TRY(control_encode(body, p->frame, sizeof(p->frame), &len));
	p->id = take_id(q);
	p->tag = tag;
	p->which = body->which_body;
	p->frame_len = (uint16_t)len;
	p->interval = first_interval(rtt);
	p->next = mono_add(now, p->interval);
	p->deadline = mono_add(now, deadline);
	q->n_sent++;
	sink->send(sink->ctx, session, p->frame, len);
	return OK;
}

enum err control_echo(struct control_requester *q, uint32_t session, uint64_t nonce,
	const struct control_sink *sink)
{
	overlay_Control m = {.id = q->next_id, .which_body = overlay_Control_echo_tag};
	uint8_t frame[CONTROL_FRAME_MAX];
	size_t len;

	m.body.echo.nonce = nonce;
	TRY(control_encode(&m, frame, sizeof(frame), &len));
	(void)take_id(q);
	q->n_sent++;
	sink->send(sink->ctx, session, frame, len);
	return OK;
}

/* Tags of finished requests leave first, so that `failed` and `answered` may ask anew. */
static void pending_tick(struct control_requester *q, struct control_pending *p, mono_t now,
	uint32_t session, const struct control_sink *sink)
{
	if (mono_reached(p->deadline, now)) {
		p->id = 0;
		sink->failed(sink->ctx, session, p->tag, ERR_TIMEOUT);
		return;
	}
	if (!mono_reached(p->next, now))
		return;
	p->interval.ns *= 2;
	if (p->interval.ns > CONTROL_RETRY_MAX.ns)
		p->interval = CONTROL_RETRY_MAX;
	p->next = mono_add(now, p->interval);
	q->n_resent++;
	sink->send(sink->ctx, session, p->frame, p->frame_len);
}

void control_requester_tick(
	struct control_requester *q, mono_t now, uint32_t session, const struct control_sink *sink)
{
	for (int i = 0; i < CONTROL_WINDOW; i++)
		if (q->pending[i].id != 0)
			pending_tick(q, &q->pending[i], now, session, sink);
}

mono_t control_requester_deadline(const struct control_requester *q)
{
	mono_t d = MONO_NEVER;

	for (int i = 0; i < CONTROL_WINDOW; i++)
		if (q->pending[i].id != 0)
			d = mono_min(d, mono_min(q->pending[i].next, q->pending[i].deadline));
	return d;
}

/* [P-31] */
static bool answers(const struct control_pending *p, const overlay_Control *m)
{
	return m->which_body == overlay_Control_refused_tag ||
	       m->which_body == control_shape_of(p->which)->answered_by;
}

static void on_answer(struct control_requester *q, uint32_t session, const overlay_Control *m,
	const struct control_sink *sink)
{
	struct control_pending *p = pending_find(q, m->id);

	if (m->which_body == overlay_Control_echo_tag) {
		sink->echoed(sink->ctx, session, m->body.echo.nonce);
		return;
	}
	if (p == NULL || !answers(p, m)) {
		q->n_stray++;
		return;
	}
	p->id = 0;
	sink->answered(sink->ctx, session, p->tag, m);
}

/* ---- answering side ---- */

/* One ToService request: with the service, or answered (its payload is kept aside). Of an earlier
 * session of the same handle if the generation differs: forgotten by the next tick. */
struct control_memory {
	uint32_t session, id, generation;
	uint16_t len;
	uint8_t service;
	bool answered;
	mono_t at;
};

struct control_budget {
	struct tokens tokens;
	uint32_t generation;
	uint8_t n_in_service;
	bool started; /* tokens are filled at the first request */
};

size_t control_responder_bytes(const struct control_responder_conf *conf)
{
	size_t table = table_bytes(conf->answers_max);

	if (table == 0 || conf->sessions_max == 0 || conf->sessions_max > TABLE_CAPACITY_MAX)
		return 0;
	return table + conf->sessions_max * sizeof(struct control_budget) +
	       conf->answers_max * (sizeof(struct control_memory) + CONTROL_PAYLOAD_MAX);
}

void control_responder_init(struct control_responder *r, const struct control_responder_conf *conf,
	void *mem, const uint64_t key[static 2])
{
	uint8_t *at = mem;

	memset(r, 0, sizeof(*r));
	r->sessions_max = conf->sessions_max;
	table_init(&r->answers, conf->answers_max, at, key);
	at += table_bytes(conf->answers_max);
	r->budget = (void *)at;
	memset(r->budget, 0, conf->sessions_max * sizeof(*r->budget));
	at += conf->sessions_max * sizeof(*r->budget);
	r->memory = (void *)at;
	r->payloads = at + conf->answers_max * sizeof(*r->memory);
}

static void respond(struct control_responder *r, uint32_t session, const struct control_sink *sink)
{
	size_t len;

	/* Our own answers are within their bounds by type. */
	BUG_ON(control_encode(&r->out, r->frame, sizeof(r->frame), &len) != OK);
	if (r->out.which_body == overlay_Control_refused_tag)
		r->n.refused++;
	else
		r->n.answers++;
	sink->send(sink->ctx, session, r->frame, len);
}

static void respond_refused(struct control_responder *r, uint32_t session, uint32_t id,
	overlay_Reason why, const struct control_sink *sink)
{
	r->out = (overlay_Control){.id = id, .answer = true};
	r->out.which_body = overlay_Control_refused_tag;
	r->out.body.refused.reason = why;
	respond(r, session, sink);
}

/* One function per request: does r->in, fills r->out. */
typedef overlay_Reason verb_fn(
	struct control_responder *r, uint32_t session, const struct control_sink *sink);

static overlay_Reason on_extend(
	struct control_responder *r, uint32_t session, const struct control_sink *sink)
{
	if (sink->extend == NULL)
		return overlay_Reason_REASON_NOT_OFFERED;
	return sink->extend(sink->ctx, session, &r->in.body.extend);
}

static overlay_Reason on_attach(
	struct control_responder *r, uint32_t session, const struct control_sink *sink)
{
	if (sink->attach == NULL)
		return overlay_Reason_REASON_NOT_OFFERED;
	return sink->attach(sink->ctx, session, &r->in.body.attach, &r->out.body.attached);
}

/* [P-36] */
static overlay_Reason on_echo(
	struct control_responder *r, uint32_t session, const struct control_sink *sink)
{
	(void)session, (void)sink;
	r->out.body.echo.nonce = r->in.body.echo.nonce;
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_close(
	struct control_responder *r, uint32_t session, const struct control_sink *sink)
{
	if (sink->close == NULL)
		return overlay_Reason_REASON_NOT_OFFERED;
	return sink->close(sink->ctx, session, &r->in.body.close);
}

static overlay_Reason on_detach(
	struct control_responder *r, uint32_t session, const struct control_sink *sink)
{
	(void)r;
	if (sink->detach == NULL)
		return overlay_Reason_REASON_NOT_OFFERED;
	return sink->detach(sink->ctx, session);
}

struct verb {
	pb_size_t request;
	uint32_t tokens;
	verb_fn *on;
};

static const struct verb verbs[] = {
	{overlay_Control_extend_tag, CONTROL_TOKENS_EXTEND, on_extend},
	{overlay_Control_attach_tag, 1, on_attach}, {overlay_Control_echo_tag, 1, on_echo},
	{overlay_Control_close_tag, 1, on_close}, {overlay_Control_detach_tag, 1, on_detach},
	{overlay_Control_to_service_tag, 1, NULL}, /* answered later: on_to_service */
};

static const struct verb *verb_of(pb_size_t request)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (verbs[i].request == request)
			return &verbs[i];
	return NULL;
}

/* ---- ToService ---- */

static uint32_t memory_hash(const struct control_responder *r, uint32_t session, uint32_t id)
{
	return table_hash(&r->answers, (uint64_t)session << 32 | id, r->budget[session].generation);
}

static uint32_t memory_find(const struct control_responder *r, uint32_t session, uint32_t id)
{
	uint32_t i = table_first(&r->answers, memory_hash(r, session, id));

	while (i != TABLE_NONE && (r->memory[i].session != session || r->memory[i].id != id ||
					  r->memory[i].generation != r->budget[session].generation))
		i = table_next(&r->answers, i);
	return i;
}

static bool memory_current(const struct control_responder *r, const struct control_memory *m)
{
	return m->generation == r->budget[m->session].generation;
}

static void memory_drop(struct control_responder *r, uint32_t i)
{
	struct control_memory *m = &r->memory[i];

	if (!m->answered && memory_current(r, m))
		r->budget[m->session].n_in_service--;
	table_drop(&r->answers, i);
}

/* Makes room by forgetting the oldest answer; what is with a service stays. */
static bool memory_make_room(struct control_responder *r)
{
	uint32_t i = table_oldest(&r->answers);

	if (r->answers.n_used < r->answers.capacity)
		return true;
	while (i != TABLE_NONE && !r->memory[i].answered && memory_current(r, &r->memory[i]))
		i = table_newer(&r->answers, i);
	if (i == TABLE_NONE)
		return false;
	memory_drop(r, i);
	r->n.evicted++;
	return true;
}

static void respond_service(
	struct control_responder *r, uint32_t i, const struct control_sink *sink)
{
	const struct control_memory *m = &r->memory[i];
	overlay_ToService *to = &r->out.body.to_service;

	r->out = (overlay_Control){.id = m->id, .answer = true};
	r->out.which_body = overlay_Control_to_service_tag;
	to->service = (overlay_Service)m->service;
	to->payload.size = m->len;
	memcpy(to->payload.bytes, r->payloads + (size_t)i * CONTROL_PAYLOAD_MAX, m->len);
	respond(r, m->session, sink);
}

static overlay_Reason ask_service(
	struct control_responder *r, mono_t now, uint32_t session, const struct control_sink *sink)
{
	const overlay_ToService *to = &r->in.body.to_service;
	struct control_budget *b = &r->budget[session];
	overlay_Reason why;
	uint32_t i;

	if (to->service != overlay_Service_SERVICE_DISCOVERY &&
		to->service != overlay_Service_SERVICE_LEDGER)
		return overlay_Reason_REASON_MALFORMED;
	if (sink->to_service == NULL)
		return overlay_Reason_REASON_NOT_OFFERED;
	if (b->n_in_service == CONTROL_SERVICE_PER_SESSION || !memory_make_room(r)) /* [P-34] */
		return overlay_Reason_REASON_BUSY;
	why = sink->to_service(sink->ctx, session, r->in.id, to);
	if (why != overlay_Reason_REASON_UNSPECIFIED)
		return why;
	i = table_take(&r->answers, memory_hash(r, session, r->in.id));
	r->memory[i] = (struct control_memory){.session = session,
		.id = r->in.id,
		.generation = b->generation,
		.service = (uint8_t)to->service,
		.at = now};
	b->n_in_service++;
	return overlay_Reason_REASON_UNSPECIFIED;
}

/* [P-33] */
static void on_to_service(
	struct control_responder *r, mono_t now, uint32_t session, const struct control_sink *sink)
{
	uint32_t i = memory_find(r, session, r->in.id);
	overlay_Reason why;

	if (i != TABLE_NONE) {
		r->n.repeated++;
		if (r->memory[i].answered)
			respond_service(r, i, sink);
		return;
	}
	why = ask_service(r, now, session, sink);
	if (why != overlay_Reason_REASON_UNSPECIFIED)
		respond_refused(r, session, r->in.id, why, sink);
}

enum err control_answer_service(struct control_responder *r, mono_t now, uint32_t session,
	uint32_t request, const uint8_t *payload, size_t len, const struct control_sink *sink)
{
	uint32_t i = session < r->sessions_max ? memory_find(r, session, request) : TABLE_NONE;

	if (len > CONTROL_PAYLOAD_MAX)
		return ERR_TOO_LARGE;
	if (i == TABLE_NONE || r->memory[i].answered)
		return ERR_NOT_FOUND;
	if (len > 0)
		memcpy(r->payloads + (size_t)i * CONTROL_PAYLOAD_MAX, payload, len);
	r->memory[i].len = (uint16_t)len;
	r->memory[i].answered = true;
	r->memory[i].at = now;
	r->budget[session].n_in_service--;
	table_touch(&r->answers, i);
	respond_service(r, i, sink);
	return OK;
}

/* ---- both ---- */

static void on_request(
	struct control_responder *r, mono_t now, uint32_t session, const struct control_sink *sink)
{
	const struct verb *v = verb_of(r->in.which_body);
	struct control_budget *b = &r->budget[session];
	overlay_Reason why;

	if (!b->started)
		tokens_init(&b->tokens, now, CONTROL_TOKENS_BURST);
	b->started = true;
	if (!tokens_take(&b->tokens, now, CONTROL_TOKENS_PER_S, CONTROL_TOKENS_BURST, v->tokens)) {
		r->n.over_budget++; /* [P-35] */
		return;
	}
	r->n.requests++;
	if (v->on == NULL) {
		on_to_service(r, now, session, sink);
		return;
	}
	r->out = (overlay_Control){.id = r->in.id, .answer = true};
	r->out.which_body = control_shape_of(v->request)->answered_by;
	why = v->on(r, session, sink);
	if (why != overlay_Reason_REASON_UNSPECIFIED)
		respond_refused(r, session, r->in.id, why, sink);
	else
		respond(r, session, sink);
}

void control_on_frame(struct control_responder *r, struct control_requester *q, mono_t now,
	uint32_t session, const uint8_t *frame, size_t len, const struct control_sink *sink)
{
	if (session >= r->sessions_max || control_decode(frame, len, &r->in) != OK) {
		r->n.malformed++;
		return;
	}
	if (!r->in.answer && r->in.which_body != overlay_Control_notice_tag)
		on_request(r, now, session, sink);
	else if (q == NULL)
		r->n.not_expected++;
	else if (r->in.answer)
		on_answer(q, session, &r->in, sink);
	else
		sink->noticed(sink->ctx, session, &r->in.body.notice);
}

void control_notice(struct control_responder *r, uint32_t session, overlay_Reason reason,
	uint64_t credit_bytes, uint64_t used_bytes, const struct control_sink *sink)
{
	size_t len;

	r->out = (overlay_Control){.which_body = overlay_Control_notice_tag};
	r->out.body.notice.reason = reason;
	r->out.body.notice.credit_bytes = credit_bytes;
	r->out.body.notice.used_bytes = used_bytes;
	BUG_ON(control_encode(&r->out, r->frame, sizeof(r->frame), &len) != OK);
	sink->send(sink->ctx, session, r->frame, len);
}

void control_session_gone(struct control_responder *r, uint32_t session)
{
	if (session >= r->sessions_max)
		return;
	r->budget[session] =
		(struct control_budget){.generation = r->budget[session].generation + 1};
}

static void memory_tick(
	struct control_responder *r, uint32_t i, mono_t now, const struct control_sink *sink)
{
	const struct control_memory m = r->memory[i];
	dur_t age = mono_since(m.at, now);

	if (!memory_current(r, &m) || (m.answered && age.ns >= CONTROL_ANSWER_KEPT.ns)) {
		memory_drop(r, i);
	} else if (!m.answered && age.ns >= PATIENCE.ns) { /* [P-34] */
		memory_drop(r, i);
		respond_refused(r, m.session, m.id, overlay_Reason_REASON_BUSY, sink);
	}
}

void control_responder_tick(
	struct control_responder *r, mono_t now, const struct control_sink *sink)
{
	uint32_t newer;

	for (uint32_t i = table_oldest(&r->answers); i != TABLE_NONE; i = newer) {
		newer = table_newer(&r->answers, i);
		memory_tick(r, i, now, sink);
	}
}
