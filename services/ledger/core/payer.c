/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "payer.h"

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "value.h"

typedef peer_ledger_Reason reason_t;
/* Why, when nothing came back. */
#define SILENT "it does not answer about payment"
#define REASON(r) peer_ledger_Reason_REASON_##r

/* ---- tables ---- */

static struct payer_session *find(struct payer *p, uint64_t id)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		if (p->sessions[i].open && p->sessions[i].row.session == id)
			return &p->sessions[i];
	return NULL;
}

const struct payer_session *payer_find(const struct payer *p, uint64_t session)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		if (p->sessions[i].open && p->sessions[i].row.session == session)
			return &p->sessions[i];
	return NULL;
}

static struct payer_session *session_add(struct payer *p, uint64_t id)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		struct payer_session *s = &p->sessions[i];

		if (s->open)
			continue;
		memset(s, 0, sizeof(*s));
		s->open = true;
		s->row.session = id;
		s->row.next_seq = 1;
		s->quantum = QUANTUM_MIN;
		return s;
	}
	return NULL;
}

static void session_drop(struct payer *p, struct payer_session *s)
{
	p->counters.closed_up_bytes += s->up_bytes;
	p->counters.closed_down_bytes += s->down_bytes;
	sodium_memzero(s, sizeof(*s));
}

void payer_init(struct payer *p, const struct keys *keys, const secp256k1_context *ctx,
	const struct ticket_domain *domain, const uint8_t seed[static 32])
{
	memset(p, 0, sizeof(*p));
	p->keys = keys;
	p->ctx = ctx;
	p->domain = *domain;
	rng_init(&p->rng, seed);
}

void payer_done(struct payer *p)
{
	sodium_memzero(p, sizeof(*p));
}

enum err payer_load(struct payer *p, const struct payer_row *row)
{
	struct payer_session *s;

	if (row->position >= PAYER_POSITIONS || find(p, row->session) != NULL)
		return ERR_INVALID;
	s = session_add(p, row->session);
	if (s == NULL)
		return ERR_FULL;
	s->row = *row;
	s->stored = true;
	return OK;
}

/* ---- staging ---- */

static void session_stage(struct payer *p, struct payer_session *s)
{
	if (!p->totals_staged)
		p->totals_before = p->totals;
	p->totals_staged = true;
	if (!s->staged)
		p->rows_before[s - p->sessions] = s->row;
	s->staged = true;
}

bool payer_staged(const struct payer *p)
{
	return p->totals_staged;
}

/* ---- figures ---- */

static uint64_t own_used(const struct payer_session *s)
{
	return s->up_bytes + s->down_bytes;
}

/* By how much a relay may count more: some of what it sent was lost on the way to us. [P-87] */
static uint64_t drift_max(const struct payer_session *s)
{
	return own_used(s) / 20 + QUANTUM_MAX;
}

uint64_t payer_used(const struct payer_session *s)
{
	uint64_t own = own_used(s);

	if (s->drift < 0) /* what we sent and has not arrived, or never will */
		return own - (own < (uint64_t)-s->drift ? own : (uint64_t)-s->drift);
	return own + ((uint64_t)s->drift < drift_max(s) ? (uint64_t)s->drift : drift_max(s));
}

uint64_t payer_paid_bytes(const struct payer_session *s)
{
	uint64_t sum = s->granted;

	for (size_t i = 0; i < PAYER_PIPELINE; i++)
		if (s->tickets[i].busy)
			sum += s->tickets[i].bytes;
	return sum;
}

static void trouble(struct payer_session *s, const struct payer_sink *sink, bool own_fault,
	const char *why)
{
	if (s->told)
		return;
	s->told = true;
	s->own_fault = own_fault;
	snprintf(s->why, sizeof(s->why), "%s", why);
	sink->trouble(sink->ctx, s->row.session, s->node_id, why, own_fault);
}

void payer_trouble_again(const struct payer *p, const struct payer_sink *sink)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		const struct payer_session *s = &p->sessions[i];

		if (s->open && s->told && !s->closing)
			sink->trouble(
				sink->ctx, s->row.session, s->node_id, s->why, s->own_fault);
	}
}

static void broken(struct payer_session *s, const struct payer_sink *sink, const char *why)
{
	s->phase = PAYER_BROKEN;
	trouble(s, sink, false, why);
}

static dur_t retry_after(unsigned int n_failures)
{
	uint64_t ns = RETRY_FIRST.ns << (n_failures < 8 ? n_failures : 8);

	return ns < RETRY_MAX.ns ? (dur_t){ns} : RETRY_MAX;
}

static void failed(struct payer_session *s, mono_t now, const struct payer_sink *sink, const char *why)
{
	if (s->n_failures++ == 0)
		s->failing_since = now;
	if (s->n_failures >= FAILURES_MAX && mono_since(s->failing_since, now).ns >= FAILURES_FOR.ns)
		trouble(s, sink, false, why);
}

static void strike(
	struct payer_session *s, const struct payer_sink *sink, const char *what, const char *why)
{
	char text[WHY_MAX];

	snprintf(text, sizeof(text), "%s%s", what, why);
	if (++s->n_strikes >= STRIKES_MAX)
		broken(s, sink, text);
}

static void relay_used_take(struct payer_session *s, uint64_t used)
{
	if (used <= s->relay_used || used > UINT64_MAX / 2)
		return;
	s->relay_used = used;
	/* After our restart tunnel may not have said yet what we used. */
	s->drift = own_used(s) == 0 ? 0 : (int64_t)used - (int64_t)own_used(s);
}

/* ---- sessions ---- */

static void quote_at(struct payer_session *s, mono_t due)
{
	s->phase = PAYER_QUOTING;
	s->quote_request = 0;
	s->quote_due = due;
}

/* Begins to pay, or says why not. */
static void session_begin(struct payer *p, struct payer_session *s, mono_t now,
	const struct payer_sink *sink)
{
	s->phase = PAYER_IDLE;
	if (s->price_gwei_per_gib == 0)
		return;
	if (!p->settings.pay)
		trouble(s, sink, true, "this relay asks for payment and paying is switched off");
	else
		quote_at(s, now);
}

void payer_set(struct payer *p, const struct payer_settings *settings, mono_t now)
{
	p->settings = *settings;
	p->work = true;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		struct payer_session *s = &p->sessions[i];

		if (!s->open || s->phase == PAYER_WAITING || s->phase == PAYER_BROKEN)
			continue;
		s->capped = false;
		if (s->price_gwei_per_gib == 0)
			continue;
		if (!settings->pay) {
			s->phase = PAYER_IDLE;
		} else if (s->phase == PAYER_IDLE) {
			s->told = false;
			quote_at(s, now);
		}
	}
}

static enum err descriptor_take(struct payer *p, struct payer_session *s, bool is_exit,
	const uint8_t *bytes, size_t len, const struct payer_sink *sink)
{
	struct descriptor d;
	struct terms t;

	TRY(descriptor_decode(bytes, len, &d));
	memcpy(s->node_id, d.node_id, NODE_ID_SIZE);
	TRY(descriptor_verify(bytes));
	terms_of_descriptor(&d, &t);
	s->for_exit = is_exit;
	s->price_gwei_per_gib = terms_price(&t, is_exit);
	s->free_bytes = s->granted = t.free_bytes;
	if (terms_check(&t) != OK) {
		broken(s, sink, "its price is beyond any bound");
		return ERR_INVALID;
	}
	if (s->price_gwei_per_gib > 0 && t.chain_id != p->settings.chain_id) {
		broken(s, sink, "it wants to be paid on a chain that this node does not use");
		return ERR_INVALID;
	}
	memcpy(s->payee, t.payee, ADDRESS_SIZE);
	terms_hash(&t, s->terms_hash);
	return OK;
}

void payer_on_opened(struct payer *p, mono_t now, uint64_t session, uint32_t position, bool is_exit,
	const uint8_t *descriptor, size_t len, const struct payer_sink *sink)
{
	struct payer_session *s = find(p, session);

	p->work = true;
	if (s != NULL && s->phase != PAYER_WAITING) { /* told again: nothing new */
		s->listed = true;
		return;
	}
	if (s == NULL) {
		s = session_add(p, session);
		if (s == NULL) {
			p->counters.sessions_full++;
			return;
		}
		s->row.position = position < PAYER_POSITIONS ? position : PAYER_POSITIONS - 1;
		s->row.rotation = p->totals.rotation_next[s->row.position]++;
	}
	s->listed = true;
	keys_payer(p->keys, p->ctx, s->row.position, s->row.rotation, s->payer_sk);
	enum err e = descriptor_take(
		p, s, is_exit || position == PAYER_POSITIONS - 1, descriptor, len, sink);
	if (e == OK)
		session_begin(p, s, now, sink);
	else
		broken(s, sink, "its descriptor does not bear its signature");
}

bool payer_on_usage(struct payer *p, mono_t now, uint64_t session, uint64_t up, uint64_t down,
	uint64_t notice_credit, const struct payer_sink *sink)
{
	struct payer_session *s = find(p, session);
	uint64_t sum;

	if (s == NULL)
		return false;
	if (__builtin_add_overflow(up, down, &sum) || sum > UINT64_MAX / 2)
		return true;
	s->up_bytes = up > s->up_bytes ? up : s->up_bytes;
	s->down_bytes = down > s->down_bytes ? down : s->down_bytes;
	p->work = true;
	if (s->relay_used > own_used(s) + drift_max(s))
		trouble(s, sink, false, "it counts more traffic than passed");
	bool noticed = s->has_notice && notice_credit != s->notice_credit;
	s->has_notice = true; /* the first figure is only what tunnel began with */
	s->notice_credit = notice_credit;
	if (!noticed)
		return true;
	/* It says that it stops for payment, or soon will. Where do we differ? */
	if (s->phase == PAYER_IDLE && s->price_gwei_per_gib == 0)
		trouble(s, sink, false, "it asks for payment although its descriptor says free");
	else if (s->phase == PAYER_IDLE && p->settings.pay)
		quote_at(s, now);
	if (s->phase == PAYER_PAYING && s->quote_due.ns == 0)
		s->quote_due = mono_add(s->quoted_at, RESYNC_MIN);
	return true;
}

void payer_on_relay_used(struct payer *p, uint64_t session, uint64_t used)
{
	struct payer_session *s = find(p, session);

	if (s == NULL)
		return;
	relay_used_take(s, used);
	p->work = true;
}

bool payer_on_closed(struct payer *p, uint64_t session, uint64_t up, uint64_t down)
{
	struct payer_session *s = find(p, session);

	if (s == NULL)
		return false;
	s->up_bytes = up > s->up_bytes ? up : s->up_bytes;
	s->down_bytes = down > s->down_bytes ? down : s->down_bytes;
	s->closing = p->work = true;
	if (!s->stored && !s->staged)
		session_drop(p, s);
	return true;
}

void payer_on_tunnel_restarted(struct payer *p)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		p->sessions[i].listed = false;
}

void payer_on_complete(struct payer *p)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		struct payer_session *s = &p->sessions[i];

		if (s->open && !s->listed)
			payer_on_closed(p, s->row.session, s->up_bytes, s->down_bytes);
	}
}

/* ---- answers ---- */

static void commit_take(struct payer_session *s, const uint8_t *commit, size_t len, uint32_t id)
{
	if (len != KECCAK_SIZE || id < s->commit_id)
		return;
	memcpy(s->commit, commit, KECCAK_SIZE);
	s->commit_id = id;
}

/* NULL: the quote can be worked with. */
static const char *quote_fault(const struct payer_session *s, const peer_ledger_Quoted *q)
{
	amount_t least = amount_get(q->face_min.bytes), most = amount_get(q->face_max.bytes), bound;

	if (memcmp(q->terms_hash.bytes, s->terms_hash, KECCAK_SIZE) != 0)
		return "quotes other terms than its descriptor";
	if (memcmp(q->payee.bytes, s->payee, ADDRESS_SIZE) != 0)
		return "names another account than its descriptor";
	if (value_of_bytes(FACE_BYTES_MAX, s->price_gwei_per_gib, &bound) != OK ||
		least.wei == 0 || amount_cmp(least, most) > 0 || amount_cmp(least, bound) > 0)
		return "asks for draws that are too large";
	if (q->ticket_life_s < PAYER_TICKET_LIFE_MIN_S)
		return "asks for tickets that expire at once";
	if (q->ahead_max < 2 * TICKET_BYTES_MIN)
		return "takes no payment ahead";
	return NULL;
}

static bool ticket_on_the_way(const struct payer_session *s)
{
	for (size_t i = 0; i < PAYER_PIPELINE; i++)
		if (s->tickets[i].busy)
			return true;
	return false;
}

static void on_quoted(struct payer_session *s, mono_t now, const peer_ledger_Quoted *q,
	const struct payer_sink *sink)
{
	const char *fault = quote_fault(s, q);

	if (fault != NULL) {
		strike(s, sink, "it ", fault);
		if (s->phase != PAYER_BROKEN)
			quote_at(s, mono_add(now, RESYNC_MIN));
		return;
	}
	commit_take(s, q->commit.bytes, q->commit.size, q->commit_id);
	s->face_min = amount_get(q->face_min.bytes);
	s->face_max = amount_get(q->face_max.bytes);
	s->life_s = q->ticket_life_s < PAYER_TICKET_LIFE_S ? q->ticket_life_s : PAYER_TICKET_LIFE_S;
	s->ahead_max = q->ahead_max;
	relay_used_take(s, q->used_bytes);
	/* Its word counts when nothing is on the way: after our restart, or a lost ticket. */
	if (!ticket_on_the_way(s))
		s->granted = s->relay_credit = q->credit_bytes;
	s->quoted_at = now;
	s->n_failures = 0;
	s->phase = PAYER_PAYING;
}

/* [P-86] */
/* With use, not with payment alone: a session that idles stays cheap. */
static void quantum_grow(struct payer_session *s)
{
	uint64_t most = QUANTUM_MIN + 2 * payer_used(s);

	most = most < QUANTUM_MAX ? most : QUANTUM_MAX;
	if (s->quantum < most)
		s->quantum = s->quantum + s->quantum / 3 < most ? s->quantum + s->quantum / 3 : most;
}

static void on_paid(struct payer *p, struct payer_session *s, struct payer_ticket *t,
	const peer_ledger_Paid *d, const struct payer_sink *sink)
{
	if (d->seq != t->seq) {
		p->counters.bad_answers++;
		return; /* its time-out sends it again */
	}
	t->busy = false;
	s->granted += t->bytes;
	s->n_failures = 0;
	p->counters.paid++;
	commit_take(s, d->commit.bytes, d->commit.size, d->commit_id);
	relay_used_take(s, d->used_bytes);
	/* Answers may overtake each other, so the highest is what it granted. */
	if (d->credit_bytes > s->relay_credit)
		s->relay_credit = d->credit_bytes;
	if (s->relay_credit < s->granted)
		strike(s, sink, "it ", "took a ticket and did not credit it");
	else
		quantum_grow(s);
	if (s->relay_credit < s->granted || !ticket_on_the_way(s))
		s->granted = s->relay_credit;
}

static bool try_again(reason_t r)
{
	return r == REASON(RATE) || r == REASON(STORAGE) || r == REASON(BUSY);
}

/* The ticket is void, or is sent again later. */
static void on_ticket_refused(struct payer *p, struct payer_session *s, struct payer_ticket *t,
	mono_t now, const peer_ledger_Refused *r, const struct payer_sink *sink)
{
	t->request = 0;
	if (try_again(r->reason)) {
		t->due = mono_add(now, retry_after(s->n_failures));
		failed(s, now, sink, "it cannot take payment now");
		return;
	}
	t->busy = false;
	s->quantum = QUANTUM_MIN;
	if (r->reason == REASON(SEQUENCE)) {
		session_stage(p, s);
		s->row.next_seq += SEQ_WINDOW;
	}
	/* A commit may turn over while tickets are on the way; that is nobody's fault. */
	if (r->reason == REASON(COMMIT) && r->commit.size == KECCAK_SIZE && r->commit_id > 0)
		return;
	strike(s, sink, "it refuses tickets: ", peer_reason_show(r->reason));
	if (s->phase == PAYER_PAYING)
		quote_at(s, mono_add(now, RETRY_FIRST));
}

static void on_quote_refused(struct payer_session *s, mono_t now, const peer_ledger_Refused *r,
	const struct payer_sink *sink)
{
	if (r->reason == REASON(FREE)) {
		s->phase = PAYER_IDLE;
		return;
	}
	/* Its ledger may hear of the session, and of its role, a little later than ours. */
	if (try_again(r->reason) || r->reason == REASON(SESSION) || r->reason == REASON(ROLE))
		failed(s, now, sink, "it cannot take payment now");
	else
		strike(s, sink, "it does not quote: ", peer_reason_show(r->reason));
	if (s->phase != PAYER_BROKEN)
		quote_at(s, mono_add(now, retry_after(s->n_failures)));
}

static void quote_answered(struct payer *p, struct payer_session *s, mono_t now, enum err e,
	const peer_ledger_Message *m, const struct payer_sink *sink)
{
	s->quote_request = 0;
	s->quote_due = (mono_t){0};
	if (e == OK && m->which_body == peer_ledger_Message_quoted_tag) {
		on_quoted(s, now, &m->body.quoted, sink);
	} else if (e == OK && m->which_body == peer_ledger_Message_refused_tag) {
		p->counters.refused[m->body.refused.reason]++;
		on_quote_refused(s, now, &m->body.refused, sink);
	} else {
		p->counters.timeouts++;
		failed(s, now, sink, SILENT);
		s->quote_due = mono_add(now, retry_after(s->n_failures));
	}
}

static void ticket_answered(struct payer *p, struct payer_session *s, struct payer_ticket *t,
	mono_t now, enum err e, const peer_ledger_Message *m, const struct payer_sink *sink)
{
	if (e == OK && m->which_body == peer_ledger_Message_paid_tag) {
		on_paid(p, s, t, &m->body.paid, sink);
		return;
	}
	if (e == OK && m->which_body == peer_ledger_Message_refused_tag) {
		const peer_ledger_Refused *r = &m->body.refused;

		p->counters.refused[r->reason]++;
		commit_take(s, r->commit.bytes, r->commit.size, r->commit_id);
		relay_used_take(s, r->used_bytes);
		on_ticket_refused(p, s, t, now, r, sink);
		return;
	}
	p->counters.timeouts++;
	t->request = 0;
	t->due = mono_add(now, retry_after(s->n_failures));
	failed(s, now, sink, SILENT);
}

void payer_on_answered(struct payer *p, mono_t now, uint64_t request, enum err e,
	const uint8_t *payload, size_t len, const struct payer_sink *sink)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	p->work = true;
	if (e == OK && (peer_decode(payload, len, &m) != OK ||
			       (m.which_body == peer_ledger_Message_refused_tag &&
				       (unsigned int)m.body.refused.reason >= REASONS_MAX))) {
		p->counters.bad_answers++;
		e = ERR_MALFORMED;
	}
	for (size_t i = 0; request != 0 && i < PAYER_SESSIONS_MAX; i++) {
		struct payer_session *s = &p->sessions[i];

		if (!s->open)
			continue;
		if (s->quote_request == request) {
			quote_answered(p, s, now, e, &m, sink);
			return;
		}
		for (size_t k = 0; k < PAYER_PIPELINE; k++) {
			if (!s->tickets[k].busy || s->tickets[k].request != request)
				continue;
			ticket_answered(p, s, &s->tickets[k], now, e, &m, sink);
			return;
		}
	}
	p->counters.unasked_answers++;
}

/* ---- asking ---- */

static void quote_send(
	struct payer *p, struct payer_session *s, mono_t now, const struct payer_sink *sink)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	uint8_t payload[PEER_MESSAGE_MAX];

	m.which_body = peer_ledger_Message_quote_tag;
	m.body.quote.terms_hash.size = KECCAK_SIZE;
	memcpy(m.body.quote.terms_hash.bytes, s->terms_hash, KECCAK_SIZE);
	m.body.quote.exit = s->for_exit;
	s->quote_request = sink->ask(sink->ctx, s->row.session, payload, peer_encode(&m, payload));
	s->quote_due = mono_add(now, s->quote_request != 0 ? ASK_TIMEOUT : RETRY_FIRST);
	p->counters.quotes++;
}

static void ticket_send(struct payer_session *s, struct payer_ticket *t, mono_t now,
	const struct payer_sink *sink)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	uint8_t payload[PEER_MESSAGE_MAX];

	m.which_body = peer_ledger_Message_pay_tag;
	m.body.pay.ticket.size = TICKET_SIZE;
	memcpy(m.body.pay.ticket.bytes, t->wire, TICKET_SIZE);
	t->request = sink->ask(sink->ctx, s->row.session, payload, peer_encode(&m, payload));
	t->due = mono_add(now, t->request != 0 ? ASK_TIMEOUT : RETRY_FIRST);
}

static struct payer_ticket *ticket_room(struct payer_session *s)
{
	struct payer_ticket *room = NULL;

	for (size_t i = 0; i < PAYER_PIPELINE; i++) {
		struct payer_ticket *t = &s->tickets[i];

		if (!t->busy)
			room = t;
		else if (s->row.next_seq - t->seq >= PAYER_SPAN)
			return NULL;
	}
	return room;
}

/* Face, ratio and what it will buy; false if the price allows none. */
static bool ticket_price(const struct payer_session *s, uint64_t bytes, struct ticket *t,
	uint64_t *ret_bytes, amount_t *ret_expected)
{
	amount_t wanted;

	if (value_of_bytes(bytes, s->price_gwei_per_gib, &wanted) != OK)
		return false;
	t->face = amount_cmp(s->face_min, wanted) > 0 ? s->face_min : wanted;
	if (amount_cmp(t->face, s->face_max) > 0 || value_ratio(t->face, wanted, &t->ratio) != OK)
		return false;
	if (t->ratio == 0)
		t->ratio = 1;
	*ret_expected = value_expected(t->face, t->ratio);
	return value_bytes(*ret_expected, s->price_gwei_per_gib, ret_bytes) == OK;
}

static bool under_cap(const struct payer *p, amount_t more)
{
	amount_t cap = p->settings.spend_max_per_day, sum = p->totals.spent_today;

	return amount_add(&sum, more) == OK && (cap.wei == 0 || amount_cmp(sum, cap) <= 0);
}

static bool ticket_count(struct payer *p, struct payer_session *s, amount_t expected)
{
	const struct sums one = {.n_tickets = 1, .expected = expected};
	struct payer_totals sum = p->totals;
	struct sums sum_s = s->row.sums;

	if (sums_add(&sum.all, &one) != OK || sums_add(&sum_s, &one) != OK ||
		amount_add(&sum.spent_today, expected) != OK)
		return false;
	p->totals = sum;
	s->row.sums = sum_s;
	return true;
}

/* One more ticket, staged; false if none can or may be made now. */
static bool ticket_issue(struct payer *p, struct payer_session *s, wall_t wall, uint64_t bytes,
	const struct payer_sink *sink)
{
	struct payer_ticket *room = ticket_room(s);
	struct ticket t;
	uint64_t worth;
	amount_t expected;

	if (room == NULL)
		return false;
	if (!ticket_price(s, bytes, &t, &worth, &expected)) {
		broken(s, sink, "its price and its least draw do not fit together");
		return false;
	}
	if (!under_cap(p, expected)) {
		s->capped = true;
		trouble(s, sink, true, "the limit of what may be spent in a day is reached");
		return false;
	}
	memcpy(t.payee, s->payee, ADDRESS_SIZE);
	memcpy(t.commit, s->commit, KECCAK_SIZE);
	rng_bytes(&p->rng, t.salt, SALT_SIZE);
	t.seq = s->row.next_seq;
	t.expiry = (wall_t){wall.s + s->life_s};
	if (ticket_sign(&t, &p->domain, p->ctx, s->payer_sk, room->wire) != OK)
		return false;
	session_stage(p, s);
	if (!ticket_count(p, s, expected))
		return false;
	s->row.next_seq++;
	room->busy = room->staged = true;
	room->request = 0;
	room->seq = t.seq;
	room->bytes = worth;
	return true;
}

/* Tops up to two quanta ahead of use. */
static void pump(struct payer *p, struct payer_session *s, wall_t wall, const struct payer_sink *sink)
{
	uint64_t target = 2 * s->quantum < s->ahead_max ? 2 * s->quantum : s->ahead_max;
	uint64_t piece = s->quantum / (s->quantum < PIECE_SMALL ? 4 : 2);

	piece = piece < target / 2 ? piece : target / 2;

	while (s->phase == PAYER_PAYING && !s->capped) {
		uint64_t paid = payer_paid_bytes(s), used = payer_used(s);

		if (paid > used && paid - used + piece > target)
			return;
		if (!ticket_issue(p, s, wall, piece, sink))
			return;
	}
}

static void tickets_tick(
	struct payer *p, struct payer_session *s, mono_t now, const struct payer_sink *sink)
{
	for (size_t i = 0; i < PAYER_PIPELINE; i++) {
		struct payer_ticket *t = &s->tickets[i];

		if (!t->busy || t->staged || !mono_reached(t->due, now))
			continue;
		if (t->request != 0) { /* not even tunnel answered */
			p->counters.timeouts++;
			failed(s, now, sink, SILENT);
		}
		p->counters.resent++;
		ticket_send(s, t, now, sink);
	}
}

static void session_tick(struct payer *p, struct payer_session *s, mono_t now, wall_t wall,
	const struct payer_sink *sink)
{
	bool active = s->phase == PAYER_QUOTING || s->phase == PAYER_PAYING;

	if (!active || s->closing)
		return;
	if (s->quote_due.ns != 0 && mono_reached(s->quote_due, now)) {
		if (s->quote_request != 0) {
			p->counters.timeouts++;
			failed(s, now, sink, SILENT);
		}
		quote_send(p, s, now, sink);
	}
	tickets_tick(p, s, now, sink);
	if (!p->storage_down)
		pump(p, s, wall, sink);
}

static void close_stage(struct payer *p, struct payer_session *s)
{
	session_stage(p, s);
	s->removing = true;
	if (sums_add(&p->totals.closed, &s->row.sums) != OK)
		p->totals.closed = p->totals.all;
}

static void day_turn(struct payer *p, wall_t wall)
{
	if (p->totals.day == day_of(wall))
		return;
	p->totals.day = day_of(wall);
	p->totals.spent_today = AMOUNT_ZERO;
	p->work = true;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		p->sessions[i].capped = false;
}

void payer_tick(struct payer *p, mono_t now, wall_t wall, const struct payer_sink *sink)
{
	if (!p->totals_staged)
		day_turn(p, wall);
	if (!p->work && !mono_reached(payer_deadline(p), now))
		return;
	p->work = false;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		struct payer_session *s = &p->sessions[i];

		if (!s->open)
			continue;
		if (s->closing && !s->staged && !p->storage_down)
			close_stage(p, s);
		else
			session_tick(p, s, now, wall, sink);
		p->work |= s->closing && !p->storage_down;
	}
}

static mono_t session_deadline(const struct payer_session *s)
{
	mono_t t = s->quote_due.ns != 0 ? s->quote_due : MONO_NEVER;

	for (size_t i = 0; i < PAYER_PIPELINE; i++)
		if (s->tickets[i].busy && !s->tickets[i].staged)
			t = mono_min(t, s->tickets[i].due);
	return t;
}

mono_t payer_deadline(const struct payer *p)
{
	mono_t t = MONO_NEVER;

	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		const struct payer_session *s = &p->sessions[i];

		if (s->open && !s->closing &&
			(s->phase == PAYER_QUOTING || s->phase == PAYER_PAYING))
			t = mono_min(t, session_deadline(s));
	}
	return t;
}

/* ---- batch ---- */

static struct payer_ticket *staged_first(struct payer_session *s)
{
	struct payer_ticket *first = NULL;

	for (size_t i = 0; i < PAYER_PIPELINE; i++) {
		struct payer_ticket *t = &s->tickets[i];

		if (t->staged && (first == NULL || t->seq < first->seq))
			first = t;
	}
	return first;
}

/* In the order of their numbers. */
static void tickets_settle(
	struct payer *p, struct payer_session *s, mono_t now, bool ok, const struct payer_sink *sink)
{
	for (struct payer_ticket *t; (t = staged_first(s)) != NULL;) {
		t->staged = false;
		t->busy = ok;
		if (!ok)
			continue;
		p->counters.issued++;
		ticket_send(s, t, now, sink);
	}
}

/* What was not written did not happen; only payer keys are never given out twice. */
static void totals_undo(struct payer *p)
{
	struct payer_totals now = p->totals;

	p->totals = p->totals_before;
	memcpy(p->totals.rotation_next, now.rotation_next, sizeof(now.rotation_next));
}

void payer_committed(struct payer *p, mono_t now, bool ok, const struct payer_sink *sink)
{
	p->storage_down = !ok;
	if (!p->totals_staged)
		return;
	if (!ok)
		totals_undo(p);
	p->totals_staged = false;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		struct payer_session *s = &p->sessions[i];

		if (!s->open || !s->staged)
			continue;
		s->staged = false;
		if (!ok)
			s->row = p->rows_before[i];
		tickets_settle(p, s, now, ok, sink);
		s->stored |= ok;
		if (ok && s->removing)
			session_drop(p, s);
		else
			s->removing = false;
	}
}

void payer_storage_back(struct payer *p)
{
	p->storage_down = false;
	p->work = true;
}

const char *payer_phase_show(const struct payer_session *s)
{
	if (s->closing)
		return "closing";
	switch (s->phase) {
	case PAYER_WAITING:
		return "waiting";
	case PAYER_IDLE:
		return s->price_gwei_per_gib == 0 ? "free" : "not paying";
	case PAYER_QUOTING:
		return "quoting";
	case PAYER_PAYING:
		return s->capped ? "day's limit" : "paying";
	case PAYER_BROKEN:
		return "broken";
	}
	return "?";
}
