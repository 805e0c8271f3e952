/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "payee.h"

#include <string.h>

#include "lib/bytes.h"
#include "value.h"


typedef peer_ledger_Reason reason_t;
#define ACCEPT peer_ledger_Reason_REASON_UNSPECIFIED
#define REFUSE(r) peer_ledger_Reason_REASON_##r

/* ---- tables ---- */

static struct payee_session *find(struct payee *p, uint64_t id)
{
	uint16_t i = index_find(&p->index, id);

	return i == INDEX_NONE ? NULL : &p->sessions[i];
}

const struct payee_session *payee_find(const struct payee *p, uint64_t session)
{
	uint16_t i = index_find(&p->index, session);

	return i == INDEX_NONE ? NULL : &p->sessions[i];
}

static struct payee_session *session_add(struct payee *p, uint64_t id)
{
	uint16_t i = 0;

	if (p->n_sessions == PAYEE_SESSIONS_MAX)
		return NULL;
	while (p->sessions[i].open)
		i++;
	struct payee_session *s = &p->sessions[i];
	memset(s, 0, sizeof(*s));
	s->open = true;
	s->account = INDEX_NONE;
	s->row.session = id;
	s->tokens = RATE_BURST;
	index_add(&p->index, id, i);
	p->n_sessions++;
	return s;
}

static void account_release(struct payee *p, struct payee_session *s)
{
	if (s->account != INDEX_NONE)
		p->accounts[s->account].refs--;
	s->account = INDEX_NONE;
}

static void session_drop(struct payee *p, struct payee_session *s)
{
	p->counters.closed_up_bytes += s->up_bytes;
	p->counters.closed_down_bytes += s->down_bytes;
	account_release(p, s);
	index_remove(&p->index, s->row.session);
	s->open = false;
	p->n_sessions--;
}

/* The account of `payer`, read from the store if no open session has it yet; referenced. There is
 * always room: at most one per session. */
static uint16_t account_get(
	struct payee *p, const uint8_t payer[static ADDRESS_SIZE], const struct payee_sink *sink)
{
	uint16_t room = INDEX_NONE;

	for (uint16_t i = 0; i < PAYEE_SESSIONS_MAX; i++) {
		if (p->accounts[i].refs == 0) {
			if (room == INDEX_NONE)
				room = i;
		} else if (memcmp(p->accounts[i].account.payer, payer, ADDRESS_SIZE) == 0) {
			p->accounts[i].refs++;
			return i;
		}
	}
	BUG_ON(room == INDEX_NONE);
	struct account *a = &p->accounts[room].account;
	if (!sink->account_load(sink->ctx, payer, a)) {
		memset(a, 0, sizeof(*a));
		memcpy(a->payer, payer, ADDRESS_SIZE);
	}
	p->accounts[room].refs = 1;
	p->accounts[room].staged = false;
	return room;
}

/* ---- staging: an image of what is about to change, once per batch ---- */

static void session_stage(struct payee *p, struct payee_session *s)
{
	struct payee_batch *b = &p->batch;

	if (s->staged)
		return;
	s->staged = true;
	b->sessions[b->n_sessions].at = (uint16_t)(s - p->sessions);
	b->sessions[b->n_sessions++].before = s->row;
}

static void account_stage(struct payee *p, uint16_t at)
{
	struct payee_batch *b = &p->batch;

	if (p->accounts[at].staged)
		return;
	p->accounts[at].staged = true;
	b->accounts[b->n_accounts].at = at;
	b->accounts[b->n_accounts++].before = p->accounts[at].account;
}

static void totals_stage(struct payee *p)
{
	if (!p->batch.totals_staged)
		p->batch.totals_before = p->totals;
	p->batch.totals_staged = true;
}

static void answer_stage(struct payee *p, uint64_t session, uint32_t request, uint64_t seq)
{
	p->batch.answers[p->batch.n_answers++] = (struct payee_answer){session, seq, request};
}

bool payee_staged(const struct payee *p)
{
	return p->batch.n_sessions + p->batch.n_accounts + p->batch.n_answers > 0;
}

bool payee_full(const struct payee *p)
{
	/* One event stages at most one of each. */
	return p->batch.n_sessions == PAYEE_BATCH_MAX || p->batch.n_answers == PAYEE_BATCH_MAX;
}

/* ---- answers ---- */

static uint64_t used_of(const struct payee_session *s)
{
	return s->up_bytes + s->down_bytes;
}

static void commit_of(const struct payee *p, const struct payee_session *s, uint32_t generation,
	uint8_t ret_commit[static KECCAK_SIZE])
{
	uint8_t reveal[32];

	keys_reveal(p->keys, s->row.session, s->row.nonce, generation, reveal);
	keccak256(reveal, sizeof(reveal), ret_commit);
}

static void send(const struct payee_sink *sink, uint64_t session, uint32_t request,
	const peer_ledger_Message *m)
{
	uint8_t payload[PEER_MESSAGE_MAX];

	sink->answer(sink->ctx, session, request, payload, peer_encode(m, payload));
}

static void refuse(struct payee *p, const struct payee_session *s, uint64_t session,
	uint32_t request, reason_t reason, uint64_t seq, const struct payee_sink *sink)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	peer_ledger_Refused *r = &m.body.refused;

	p->counters.refused[reason]++;
	m.which_body = peer_ledger_Message_refused_tag;
	r->reason = reason;
	r->seq = seq;
	if (s != NULL) {
		r->credit_bytes = s->row.credit_bytes;
		r->used_bytes = used_of(s);
	}
	if (s != NULL && s->row.quoted) {
		r->commit.size = KECCAK_SIZE;
		commit_of(p, s, s->row.commit_id, r->commit.bytes);
		r->commit_id = s->row.commit_id;
	}
	send(sink, session, request, &m);
}

static enum err face_bounds(
	const struct payee *p, uint64_t price, amount_t *ret_min, amount_t *ret_max)
{
	amount_t least;

	TRY(value_of_bytes(p->settle.face_min_bytes, price, &least));
	if (amount_cmp(least, p->settle.face_min) < 0)
		least = p->settle.face_min;
	*ret_min = least;
	*ret_max = least;
	TRY(amount_mul(ret_max, FACE_SPAN));
	if (ret_max->wei > FACE_MAX_WEI)
		ret_max->wei = FACE_MAX_WEI;
	return OK;
}

static void answer_quoted(const struct payee *p, const struct payee_session *s, uint32_t request,
	const struct payee_sink *sink)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	peer_ledger_Quoted *q = &m.body.quoted;
	amount_t least, most;

	if (face_bounds(p, s->row.price_gwei_per_gib, &least, &most) != OK)
		return; /* checked when it was quoted */
	m.which_body = peer_ledger_Message_quoted_tag;
	q->terms_hash.size = q->commit.size = KECCAK_SIZE;
	memcpy(q->terms_hash.bytes, s->row.terms_hash, KECCAK_SIZE);
	commit_of(p, s, s->row.commit_id, q->commit.bytes);
	q->commit_id = s->row.commit_id;
	q->payee.size = ADDRESS_SIZE;
	memcpy(q->payee.bytes, p->keys->payee, ADDRESS_SIZE);
	q->face_min.size = q->face_max.size = 16;
	amount_put(q->face_min.bytes, least);
	amount_put(q->face_max.bytes, most);
	q->ticket_life_s = TICKET_LIFE_S;
	q->ahead_max = PAYEE_AHEAD_MAX;
	q->credit_bytes = s->row.credit_bytes;
	q->used_bytes = used_of(s);
	send(sink, s->row.session, request, &m);
}

static void answer_paid(const struct payee *p, const struct payee_session *s,
	const struct payee_answer *a, const struct payee_sink *sink)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	peer_ledger_Paid *d = &m.body.paid;

	m.which_body = peer_ledger_Message_paid_tag;
	d->seq = a->seq;
	d->credit_bytes = s->row.credit_bytes;
	d->used_bytes = used_of(s);
	d->commit.size = KECCAK_SIZE;
	commit_of(p, s, s->row.commit_id, d->commit.bytes);
	d->commit_id = s->row.commit_id;
	send(sink, a->session, a->request, &m);
}

static void grant(struct payee *p, struct payee_session *s, const struct payee_sink *sink)
{
	s->grant_due = !sink->grant(sink->ctx, s->row.session, s->row.credit_bytes);
	p->work |= s->grant_due;
}

/* ---- sessions ---- */

void payee_init(struct payee *p, const struct keys *keys, const struct settle_terms *settle,
	const uint8_t seed[static 32])
{
	memset(p, 0, sizeof(*p));
	p->keys = keys;
	p->settle = *settle;
	ticket_domain_init(&p->domain, settle->chain_id, settle->contract);
	rng_init(&p->rng, seed);
	index_init(&p->index);
}

enum err payee_load(
	struct payee *p, const struct payee_row *row, const struct payee_sink *sink)
{
	struct payee_session *s;

	if (find(p, row->session) != NULL)
		return ERR_INVALID;
	s = session_add(p, row->session);
	if (s == NULL)
		return ERR_FULL;
	s->row = *row;
	s->stored = true;
	if (row->has_payer)
		s->account = account_get(p, row->payer, sink);
	return OK;
}

static const struct terms *terms_now(const struct payee *p)
{
	return &p->book.kept[0].terms;
}

static void credit_base_set(struct payee_session *s, uint64_t base)
{
	uint64_t paid = s->row.credit_bytes - s->row.base_bytes;

	s->row.base_bytes = base;
	if (__builtin_add_overflow(base, paid, &s->row.credit_bytes))
		s->row.credit_bytes = CREDIT_UNLIMITED;
}

/* [P-88] */
static void make_unlimited(
	struct payee *p, struct payee_session *s, const struct payee_sink *sink)
{
	/* A row holds what was paid; without one nothing needs to be kept: tunnel remembers. */
	if (s->row.quoted || s->row.credit_bytes == CREDIT_UNLIMITED)
		return;
	credit_base_set(s, CREDIT_UNLIMITED);
	grant(p, s, sink);
}

void payee_set_terms(
	struct payee *p, const struct terms *t, wall_t wall, const struct payee_sink *sink)
{
	bool was_free = p->book.n_kept > 0 && terms_free(terms_now(p));

	if (!terms_set(&p->book, t, day_of(wall)) || !was_free || terms_free(terms_now(p)))
		return;
	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++)
		if (p->sessions[i].open && !p->sessions[i].closing)
			make_unlimited(p, &p->sessions[i], sink);
}

void payee_storage_back(struct payee *p)
{
	p->storage_down = false;
	p->work = true;
}

/* A role that costs nothing needs no ticket. */
static void role_apply(struct payee *p, struct payee_session *s, const struct payee_sink *sink)
{
	if (p->book.n_kept > 0 && terms_price(terms_now(p), s->row.role == PAYEE_EXIT) == 0)
		make_unlimited(p, s, sink);
}

void payee_on_opened(struct payee *p, mono_t now, uint64_t session, bool is_exit,
	const struct payee_sink *sink)
{
	struct payee_session *s = find(p, session);

	if (s == NULL) {
		s = session_add(p, session);
		if (s == NULL) {
			p->counters.sessions_full++;
			return;
		}
		s->row.nonce = rng_u64(&p->rng);
		s->row.base_bytes = s->row.credit_bytes =
			p->book.n_kept > 0 ? terms_now(p)->free_bytes : 0;
		s->row.role = is_exit ? PAYEE_EXIT : PAYEE_RELAY;
		role_apply(p, s, sink);
	}
	if (!s->listed) { /* new, or back from the store */
		s->commit_since = now;
		s->grace_until = mono_add(now, GRACE_LIFE);
		s->grace_left = GRACE_TICKETS;
	}
	s->listed = true;
	/* The allowance alone tunnel has granted by itself. */
	if (s->row.credit_bytes > s->row.base_bytes)
		grant(p, s, sink);
}

void payee_on_role(struct payee *p, uint64_t session, bool is_exit, const struct payee_sink *sink)
{
	struct payee_session *s = find(p, session);

	if (s == NULL) {
		p->counters.unknown_session++;
		return;
	}
	if (!is_exit || s->row.role == PAYEE_EXIT)
		return;
	if (s->row.quoted)
		session_stage(p, s);
	s->row.role = PAYEE_EXIT;
	role_apply(p, s, sink);
}

/* Cumulative figures only grow; an overflow cannot come from traffic. */
static void usage_set(struct payee_session *s, uint64_t up, uint64_t down)
{
	uint64_t sum;

	if (__builtin_add_overflow(up, down, &sum))
		return;
	s->up_bytes = up > s->up_bytes ? up : s->up_bytes;
	s->down_bytes = down > s->down_bytes ? down : s->down_bytes;
}

void payee_on_usage(struct payee *p, uint64_t session, uint64_t up_bytes, uint64_t down_bytes,
	uint64_t credit_bytes, const struct payee_sink *sink)
{
	struct payee_session *s = find(p, session);

	if (s == NULL) {
		p->counters.unknown_session++;
		return;
	}
	usage_set(s, up_bytes, down_bytes);
	if (credit_bytes > s->row.credit_bytes && !s->row.quoted)
		credit_base_set(s, credit_bytes);
	else if (credit_bytes < s->row.credit_bytes)
		grant(p, s, sink);
}

void payee_on_closed(struct payee *p, uint64_t session, uint64_t up_bytes, uint64_t down_bytes)
{
	struct payee_session *s = find(p, session);

	if (s == NULL) {
		p->counters.unknown_session++;
		return;
	}
	usage_set(s, up_bytes, down_bytes);
	s->closing = p->work = true;
	if (!s->stored && !s->staged)
		session_drop(p, s);
}

void payee_on_tunnel_restarted(struct payee *p)
{
	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++)
		p->sessions[i].listed = false;
}

void payee_on_complete(struct payee *p)
{
	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++) {
		struct payee_session *s = &p->sessions[i];

		if (s->open && !s->listed)
			payee_on_closed(p, s->row.session, s->up_bytes, s->down_bytes);
	}
}

/* ---- Quote ---- */

/* Are these terms good for this session? Its own stay good as long as it lives, and with the first
 * ticket they are fixed. */
static bool quote_price(const struct payee *p, const struct payee_session *s, wall_t wall,
	const peer_ledger_Quote *q, uint64_t *ret_price)
{
	const struct terms *t = terms_find(&p->book, q->terms_hash.bytes, day_of(wall));

	if (s->row.quoted && s->row.for_exit == q->exit &&
		memcmp(s->row.terms_hash, q->terms_hash.bytes, KECCAK_SIZE) == 0) {
		*ret_price = s->row.price_gwei_per_gib;
		return true;
	}
	if (t == NULL || s->row.sums.n_tickets > 0)
		return false;
	*ret_price = terms_price(t, q->exit);
	return true;
}

static bool role_fits(const struct payee_session *s, bool for_exit)
{
	return (s->row.role == PAYEE_EXIT) == for_exit;
}

static reason_t quote_check(const struct payee *p, const struct payee_session *s, wall_t wall,
	const peer_ledger_Quote *q, uint64_t *ret_price)
{
	amount_t least, most;

	if (!role_fits(s, q->exit))
		return REFUSE(ROLE);
	if (!quote_price(p, s, wall, q, ret_price))
		return REFUSE(TERMS);
	if (*ret_price == 0 || s->row.credit_bytes == CREDIT_UNLIMITED)
		return REFUSE(FREE);
	if (face_bounds(p, *ret_price, &least, &most) != OK)
		return REFUSE(TERMS);
	return ACCEPT;
}

static reason_t on_quote(struct payee *p, struct payee_session *s, wall_t wall, uint32_t request,
	const peer_ledger_Quote *q)
{
	uint64_t price = 0;
	reason_t r = quote_check(p, s, wall, q, &price);

	if (r != ACCEPT)
		return r;
	p->counters.quotes++;
	if (!s->row.quoted || s->row.for_exit != q->exit ||
		memcmp(s->row.terms_hash, q->terms_hash.bytes, KECCAK_SIZE) != 0) {
		session_stage(p, s);
		s->row.quoted = true;
		s->row.for_exit = q->exit;
		s->row.price_gwei_per_gib = price;
		memcpy(s->row.terms_hash, q->terms_hash.bytes, KECCAK_SIZE);
	}
	answer_stage(p, s->row.session, request, 0);
	return ACCEPT;
}

/* ---- Pay ---- */

static bool rate_ok(struct payee_session *s, mono_t now)
{
	uint64_t more = mono_since(s->tokens_at, now).ns / (1000000000u / RATE_PER_S);

	if (more > 0) {
		s->tokens = more >= RATE_BURST - s->tokens ? RATE_BURST : s->tokens + (uint32_t)more;
		s->tokens_at = now;
	}
	if (s->tokens == 0)
		return false;
	s->tokens--;
	return true;
}

/* The live generation that t was made for. [P-78] */
static bool commit_find(struct payee *p, struct payee_session *s, mono_t now,
	const struct ticket *t, uint32_t *ret_generation)
{
	uint8_t commit[KECCAK_SIZE];

	commit_of(p, s, s->row.commit_id, commit);
	if (memcmp(commit, t->commit, KECCAK_SIZE) == 0) {
		*ret_generation = s->row.commit_id;
		return true;
	}
	if (s->row.commit_id == 0 || s->grace_left == 0 || mono_reached(s->grace_until, now))
		return false;
	commit_of(p, s, s->row.commit_id - 1, commit);
	if (memcmp(commit, t->commit, KECCAK_SIZE) != 0)
		return false;
	*ret_generation = s->row.commit_id - 1;
	return true;
}

static bool expiry_ok(wall_t expiry, wall_t wall)
{
	return expiry.s > wall.s && expiry.s - wall.s <= TICKET_LIFE_S + TICKET_SKEW_S;
}

static bool face_ok(const struct payee *p, const struct payee_session *s, amount_t face)
{
	amount_t least, most, cost = p->settle.claim_cost;

	return face_bounds(p, s->row.price_gwei_per_gib, &least, &most) == OK &&
		amount_cmp(face, least) >= 0 && amount_cmp(face, most) <= 0 &&
		amount_mul(&cost, 10) == OK && amount_cmp(cost, face) <= 0;
}

/* What the ticket buys: its expected value less that of the claim's cost. */
static bool worth_of(const struct payee *p, const struct payee_session *s, const struct ticket *t,
	uint64_t *ret_bytes)
{
	amount_t net = t->face;
	uint64_t bytes, credit;

	if (amount_sub(&net, p->settle.claim_cost) != OK ||
		value_bytes(value_expected(net, t->ratio), s->row.price_gwei_per_gib, &bytes) != OK ||
		bytes == 0 || __builtin_add_overflow(s->row.credit_bytes, bytes, &credit))
		return false;
	*ret_bytes = bytes;
	return credit <= used_of(s) || credit - used_of(s) <= PAYEE_AHEAD_MAX;
}

/* Everything that needs no signature, cheapest first. [P-77], [P-79] */
static reason_t ticket_check(struct payee *p, struct payee_session *s, mono_t now, wall_t wall,
	const struct ticket *t, uint32_t *ret_generation, uint64_t *ret_bytes)
{
	if (memcmp(t->payee, p->keys->payee, ADDRESS_SIZE) != 0)
		return REFUSE(PAYEE);
	if (!commit_find(p, s, now, t, ret_generation))
		return REFUSE(COMMIT);
	if (t->ratio == 0)
		return REFUSE(RATIO);
	if (!face_ok(p, s, t->face))
		return REFUSE(FACE);
	if (!expiry_ok(t->expiry, wall))
		return REFUSE(EXPIRY);
	if (!role_fits(s, s->row.for_exit))
		return REFUSE(ROLE);
	return worth_of(p, s, t, ret_bytes) ? ACCEPT : REFUSE(WORTH);
}

static bool recent_has(const struct payee_session *s, const uint8_t digest[static KECCAK_SIZE])
{
	uint32_t n = s->row.n_recent < PAYEE_RECENT ? s->row.n_recent : PAYEE_RECENT;

	for (uint32_t i = 0; i < n; i++)
		if (s->row.recent[i] == be64_get(digest))
			return true;
	return false;
}

/* [P-83] */
static void commit_rotate(struct payee_session *s, mono_t now)
{
	s->row.commit_id++;
	s->commit_since = now;
	s->grace_until = mono_add(now, GRACE_LIFE);
	s->grace_left = GRACE_TICKETS;
}

/* Did it win? Then the face is owed to us and the commit is spent. */
static bool draw(struct payee *p, struct payee_session *s, const struct ticket *t,
	const uint8_t *wire, const uint8_t digest[static KECCAK_SIZE], uint32_t generation)
{
	uint8_t reveal[32];

	keys_reveal(p->keys, s->row.session, s->row.nonce, generation, reveal);
	if (!ticket_wins(t->ratio, reveal, digest))
		return false;
	struct claim *c = &p->batch.claims[p->batch.n_claims++];
	memcpy(c->ticket, wire, TICKET_SIZE);
	memcpy(c->payer, s->row.payer, ADDRESS_SIZE);
	memcpy(c->reveal, reveal, sizeof(reveal));
	c->face = t->face;
	return true;
}

/* Adds to session, account and totals alike, or to none. */
static bool sums_count(struct payee *p, struct payee_session *s, const struct sums *one)
{
	struct account *a = &p->accounts[s->account].account;
	struct sums sum_s = s->row.sums, sum_a = a->all, sum_t = p->totals.all;

	if (sums_add(&sum_s, one) != OK || sums_add(&sum_a, one) != OK ||
		sums_add(&sum_t, one) != OK)
		return false;
	s->row.sums = sum_s;
	a->all = sum_a;
	p->totals.all = sum_t;
	return true;
}

static reason_t ticket_take(struct payee *p, struct payee_session *s, mono_t now,
	const struct ticket *t, const uint8_t *wire, const uint8_t digest[static KECCAK_SIZE],
	uint32_t generation, uint64_t bytes)
{
	struct account *a = &p->accounts[s->account].account;
	struct sums one = {.n_tickets = 1, .expected = value_expected(t->face, t->ratio)};

	session_stage(p, s);
	account_stage(p, s->account);
	totals_stage(p);
	if (draw(p, s, t, wire, digest, generation)) {
		one.n_wins = 1;
		one.won = t->face;
	}
	if (!sums_count(p, s, &one)) {
		p->batch.n_claims -= one.n_wins;
		return REFUSE(WORTH);
	}
	account_seq_take(a, t->seq);
	if (day_of(t->expiry) > a->keep_day)
		a->keep_day = day_of(t->expiry);
	s->row.credit_bytes += bytes;
	s->row.recent[s->row.n_recent++ % PAYEE_RECENT] = be64_get(digest);
	if (generation != s->row.commit_id)
		s->grace_left--;
	else if (one.n_wins > 0 || mono_since(s->commit_since, now).ns >= COMMIT_LIFE.ns)
		commit_rotate(s, now);
	return ACCEPT;
}

/* Who signed, and may this one pay here under this number? */
static reason_t payer_check(struct payee *p, struct payee_session *s, const struct ticket *t,
	const uint8_t payer[static ADDRESS_SIZE], const struct payee_sink *sink)
{
	if (s->row.has_payer && memcmp(s->row.payer, payer, ADDRESS_SIZE) != 0)
		return REFUSE(PAYER);
	if (s->account == INDEX_NONE)
		s->account = account_get(p, payer, sink);
	if (account_seq_fit(&p->accounts[s->account].account, t->seq) != SEQ_NEW)
		return REFUSE(SEQUENCE);
	if (!s->row.has_payer) {
		session_stage(p, s);
		s->row.has_payer = true;
		memcpy(s->row.payer, payer, ADDRESS_SIZE);
	}
	return ACCEPT;
}

static reason_t on_pay(struct payee *p, struct payee_session *s, mono_t now, wall_t wall,
	uint32_t request, const peer_ledger_Pay *pay, uint64_t *ret_seq, const struct payee_sink *sink)
{
	uint8_t digest[KECCAK_SIZE], payer[ADDRESS_SIZE];
	const uint8_t *wire = pay->ticket.bytes;
	struct ticket t;
	uint32_t generation = 0;
	uint64_t bytes = 0;

	if (ticket_decode(wire, pay->ticket.size, &t) != OK)
		return REFUSE(MALFORMED);
	*ret_seq = t.seq;
	if (!s->row.quoted)
		return REFUSE(SESSION);
	if (!rate_ok(s, now))
		return REFUSE(RATE);
	ticket_digest(&t, &p->domain, digest);
	if (recent_has(s, digest)) {
		p->counters.repeated++;
		answer_stage(p, s->row.session, request, t.seq);
		return ACCEPT;
	}
	reason_t r = ticket_check(p, s, now, wall, &t, &generation, &bytes);
	if (r != ACCEPT)
		return r;
	if (ticket_recover(wire, digest, payer) != OK)
		return REFUSE(SIGNATURE);
	r = payer_check(p, s, &t, payer, sink);
	if (r == ACCEPT)
		r = ticket_take(p, s, now, &t, wire, digest, generation, bytes);
	if (!s->row.has_payer)
		account_release(p, s);
	if (r != ACCEPT)
		return r;
	p->counters.taken++;
	answer_stage(p, s->row.session, request, t.seq);
	return ACCEPT;
}

static reason_t on_message(struct payee *p, struct payee_session *s, mono_t now, wall_t wall,
	uint32_t request, const peer_ledger_Message *m, uint64_t *ret_seq,
	const struct payee_sink *sink)
{
	if (s == NULL || s->closing)
		return REFUSE(SESSION);
	if (p->storage_down)
		return REFUSE(STORAGE);
	if (payee_full(p))
		return REFUSE(BUSY);
	if (m->which_body == peer_ledger_Message_quote_tag)
		return on_quote(p, s, wall, request, &m->body.quote);
	if (m->which_body == peer_ledger_Message_pay_tag)
		return on_pay(p, s, now, wall, request, &m->body.pay, ret_seq, sink);
	return REFUSE(MALFORMED);
}

void payee_on_asked(struct payee *p, mono_t now, wall_t wall, uint64_t session, uint32_t request,
	const uint8_t *payload, size_t len, const struct payee_sink *sink)
{
	struct payee_session *s = find(p, session);
	peer_ledger_Message m;
	uint64_t seq = 0;
	reason_t r;

	if (peer_decode(payload, len, &m) != OK)
		r = REFUSE(MALFORMED);
	else
		r = on_message(p, s, now, wall, request, &m, &seq, sink);
	if (r != ACCEPT)
		refuse(p, s, session, request, r, seq, sink);
}

/* ---- batch ---- */

/* Its sums go over to the account's closed ones; account and session are staged together. */
static void close_stage(struct payee *p, struct payee_session *s)
{
	struct sums *closed;

	session_stage(p, s);
	s->removing = true;
	if (s->account == INDEX_NONE)
		return;
	account_stage(p, s->account);
	closed = &p->accounts[s->account].account.closed;
	/* Never more than account.all; if the store was tampered with, its check will say so. */
	if (sums_add(closed, &s->row.sums) != OK)
		*closed = p->accounts[s->account].account.all;
}

void payee_tick(struct payee *p, const struct payee_sink *sink)
{
	if (!p->work)
		return;
	p->work = false;
	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++) {
		struct payee_session *s = &p->sessions[i];

		if (!s->open)
			continue;
		if (s->grant_due && !s->closing)
			grant(p, s, sink);
		/* A session that changed in this batch is closed in the next: never two images. */
		if (s->closing && !s->staged && !p->storage_down && !payee_full(p) &&
			p->batch.n_accounts < PAYEE_BATCH_MAX)
			close_stage(p, s);
		p->work |= s->closing;
	}
}

void payee_grant_all(struct payee *p, const struct payee_sink *sink)
{
	for (size_t i = 0; i < PAYEE_SESSIONS_MAX; i++)
		if (p->sessions[i].open && !p->sessions[i].closing && p->sessions[i].listed)
			grant(p, &p->sessions[i], sink);
}

static void answers_send(struct payee *p, bool ok, const struct payee_sink *sink)
{
	struct payee_batch *b = &p->batch;

	for (size_t i = 0; i < b->n_answers; i++) {
		const struct payee_answer *a = &b->answers[i];
		struct payee_session *s = find(p, a->session);

		if (s == NULL)
			continue;
		if (!ok)
			refuse(p, s, a->session, a->request, REFUSE(STORAGE), a->seq, sink);
		else if (a->seq == 0)
			answer_quoted(p, s, a->request, sink);
		else
			answer_paid(p, s, a, sink);
	}
}

static void rows_undo(struct payee *p)
{
	struct payee_batch *b = &p->batch;

	for (size_t i = 0; i < b->n_accounts; i++)
		p->accounts[b->accounts[i].at].account = b->accounts[i].before;
	if (b->totals_staged)
		p->totals = b->totals_before;
	for (size_t i = 0; i < b->n_sessions; i++) {
		struct payee_session *s = &p->sessions[b->sessions[i].at];

		uint32_t role = s->row.role; /* a fact from tunnel, not ours to undo */

		s->row = b->sessions[i].before;
		s->row.role = role;
		s->removing = false;
		if (!s->row.has_payer)
			account_release(p, s);
	}
}

/* Written: grant what grew, and let the closed ones go. */
static void rows_settle(struct payee *p, const struct payee_sink *sink)
{
	struct payee_batch *b = &p->batch;

	for (size_t i = 0; i < b->n_sessions; i++) {
		struct payee_session *s = &p->sessions[b->sessions[i].at];

		s->stored = s->row.quoted;
		if (s->row.credit_bytes > b->sessions[i].before.credit_bytes)
			grant(p, s, sink);
	}
}

void payee_committed(struct payee *p, bool ok, const struct payee_sink *sink)
{
	struct payee_batch *b = &p->batch;

	p->storage_down = !ok;
	if (ok)
		rows_settle(p, sink);
	else
		rows_undo(p);
	for (size_t i = 0; i < b->n_accounts; i++)
		p->accounts[b->accounts[i].at].staged = false;
	answers_send(p, ok, sink);
	for (size_t i = 0; i < b->n_sessions; i++) {
		struct payee_session *s = &p->sessions[b->sessions[i].at];

		s->staged = false;
		if (s->removing)
			session_drop(p, s);
	}
	b->n_sessions = b->n_accounts = b->n_answers = b->n_claims = 0;
	b->totals_staged = false;
}
