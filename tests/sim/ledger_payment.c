/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A client that pays three relays, on a virtual clock: the real cores of payer and payee, a stand-in for
 * the tunnels between them (counters, credit, requests that are retransmitted until answered), and for
 * their stores (rows that survive a kill). The link loses, delays and reorders; disks fill; ledgers are
 * killed at any step; a liar replays whatever was sent to whatever session.
 *
 * After every step, per session: credit = allowance + the sum of what each acknowledged ticket is worth,
 * once each; grants only grow; use <= credit + one batch; the payer is never more than two quanta
 * ahead. At the end both sides agree to the byte and all sums add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <sodium.h>

#include "services/ledger/core/payee.h"
#include "services/ledger/core/payer.h"
#include "services/ledger/core/value.h"

#define HOPS 3
#define STEP DUR_MS(1)
#define BATCH_BYTES 65536u /* what a relay forwards between two looks at its credit */
#define FLIGHTS_MAX 65536
#define ASKS_MAX 256
#define PRICE 12345678u /* gwei per GiB: nothing divides evenly */
#define FREE_BYTES ((uint64_t)256 << 10)
#define WALL0 1700000000
#define SEQS_MAX 100000

/* ---- what a killed ledger finds again ---- */

struct disk {
	bool full;
	struct payee_row relay[16];
	size_t n_relay;
	struct account account[16];
	size_t n_account;
	struct payee_totals earned;
	struct payer_row client[16];
	size_t n_client;
	struct payer_totals spent;
};

struct link_conf {
	dur_t delay, jitter; /* one way */
	unsigned int loss_pct;
	unsigned int fail_pct; /* of requests: tunnel gives up at once, though it may have arrived */
	unsigned int data_loss_permille; /* of the traffic that is paid for */
};

struct flight {
	bool busy;
	mono_t at;
	bool answer, usage;
	int hop;
	uint64_t session, ask, bytes;
	uint8_t payload[PEER_MESSAGE_MAX];
	size_t len;
};

/* A request that the client's tunnel carries. */
struct ask {
	bool busy;
	int hop;
	uint64_t id;
	mono_t again, deadline;
	dur_t wait;
	uint8_t payload[PEER_MESSAGE_MAX];
	size_t len;
};

struct hop {
	struct world *w;
	struct payee *payee;
	struct keys keys;
	struct disk disk;
	uint8_t descriptor[DESCRIPTOR_SIZE];
	uint64_t session;	 /* the number on the relay; the client's is session + 1000 */
	bool open, used_once;
	/* the relay's tunnel */
	uint64_t credit, used, reported;
	mono_t reported_at;
	/* the client's tunnel */
	uint64_t got, got_reported;
	mono_t got_reported_at;
	uint64_t notice_credit;
	mono_t noticed_at;
	/* what must hold */
	uint64_t worth[SEQS_MAX]; /* of ticket seq, signed by the client; 0: none */
	uint8_t acknowledged[SEQS_MAX];
	uint64_t paid_bytes; /* of acknowledged ones */
	uint64_t rate_Bps;
	uint64_t n_stalled, n_moved; /* steps without credit, steps with traffic */
	double owed; /* bytes that want to move */
};

struct world {
	secp256k1_context *ctx;
	struct rng rng;
	mono_t now;
	struct link_conf link;
	struct payer *payer;
	struct keys keys;
	struct disk disk;
	struct hop hops[HOPS];
	struct flight *flights;
	size_t flights_top;
	struct ask asks[ASKS_MAX];
	uint64_t next_ask;
	bool liar;
	bool upload; /* the client sends and counts first, the relay what arrives */
	struct {
		uint8_t payload[PEER_MESSAGE_MAX];
		size_t len;
	} heard[64];
	size_t n_heard;
	unsigned int n_troubles, n_own_troubles;
	char last_trouble[WHY_MAX];
	bool payer_killed;
};

static wall_t wall(const struct world *w)
{
	return (wall_t){WALL0 + (int64_t)(w->now.ns / 1000000000u)};
}

/* ---- the link ---- */

static struct flight *fly(struct world *w, unsigned int loss_pct)
{
	if (rng_below(&w->rng, 100) < loss_pct)
		return NULL;
	for (size_t i = 0; i < FLIGHTS_MAX; i++) {
		struct flight *f = &w->flights[i];

		if (f->busy)
			continue;
		memset(f, 0, sizeof(*f));
		f->busy = true;
		f->at = mono_add(w->now, w->link.delay);
		if (w->link.jitter.ns > 0)
			f->at = mono_add(f->at, (dur_t){rng_below(&w->rng, w->link.jitter.ns)});
		if (i >= w->flights_top)
			w->flights_top = i + 1;
		return f;
	}
	fail_msg("the link is full");
	return NULL;
}

static void message_fly(struct world *w, int hop, uint64_t ask, bool answer, uint64_t session,
	const uint8_t *payload, size_t len)
{
	struct flight *f = fly(w, w->link.loss_pct);

	if (f == NULL)
		return;
	f->hop = hop;
	f->ask = ask;
	f->answer = answer;
	f->session = session;
	memcpy(f->payload, payload, len);
	f->len = len;
}

/* ---- the relay's services ---- */

static void check_credit(struct hop *h)
{
	const struct payee_session *s = payee_find(h->payee, h->session);

	if (s == NULL || payee_staged(h->payee))
		return;
	assert_true(s->row.credit_bytes == FREE_BYTES + h->paid_bytes);
	assert_true(h->credit <= s->row.credit_bytes);
	assert_true(h->used <= h->credit + BATCH_BYTES);
}

static void note_paid(struct hop *h, const uint8_t *payload, size_t len)
{
	peer_ledger_Message m;

	assert_int_equal(peer_decode(payload, len, &m), OK);
	if (m.which_body != peer_ledger_Message_paid_tag)
		return;
	uint64_t seq = m.body.paid.seq;
	assert_true(seq < SEQS_MAX && h->worth[seq] > 0);
	if (!h->acknowledged[seq])
		h->paid_bytes += h->worth[seq];
	h->acknowledged[seq] = 1;
}

static void on_answer(void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	struct hop *h = ctx;

	if (session == h->session)
		note_paid(h, payload, len);
	if (request != 0) /* 0: the liar's */
		message_fly(h->w, (int)(h - h->w->hops), request, true, session, payload, len);
}

static bool on_grant(void *ctx, uint64_t session, uint64_t credit_bytes)
{
	struct hop *h = ctx;

	if (session == h->session && credit_bytes > h->credit)
		h->credit = credit_bytes;
	return true;
}

static bool on_account_load(void *ctx, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a)
{
	struct hop *h = ctx;

	for (size_t i = 0; i < h->disk.n_account; i++)
		if (memcmp(h->disk.account[i].payer, payer, ADDRESS_SIZE) == 0) {
			*ret_a = h->disk.account[i];
			return true;
		}
	return false;
}

static struct payee_sink payee_sink_of(struct hop *h)
{
	return (struct payee_sink){h, on_answer, on_grant, on_account_load};
}

#define ROW_PUT(rows, n, row, same)                            \
	do {                                                   \
		size_t i_ = 0;                                 \
		while (i_ < (n) && !(same))                    \
			i_++;                                  \
		assert_true(i_ < sizeof(rows) / sizeof((rows)[0])); \
		(rows)[i_] = (row);                            \
		(n) += i_ == (n);                              \
	} while (0)

static void payee_write(struct disk *d, const struct payee *p)
{
	for (size_t i = 0; i < p->batch.n_sessions; i++) {
		const struct payee_session *s = &p->sessions[p->batch.sessions[i].at];

		if (!s->removing)
			ROW_PUT(d->relay, d->n_relay, s->row, d->relay[i_].session == s->row.session);
		for (size_t k = 0; s->removing && k < d->n_relay; k++)
			if (d->relay[k].session == s->row.session)
				d->relay[k--] = d->relay[--d->n_relay];
	}
	for (size_t i = 0; i < p->batch.n_accounts; i++) {
		const struct account *a = &p->accounts[p->batch.accounts[i].at].account;

		ROW_PUT(d->account, d->n_account, *a,
			memcmp(d->account[i_].payer, a->payer, ADDRESS_SIZE) == 0);
	}
	if (p->batch.totals_staged)
		d->earned = p->totals;
}

/* Every ticket is in its session, in its account, and in the total. */
static void books_balance(const struct disk *d)
{
	struct sums total = d->earned.pruned;

	for (size_t i = 0; i < d->n_account; i++) {
		struct sums sum = d->account[i].closed;

		for (size_t k = 0; k < d->n_relay; k++)
			if (d->relay[k].has_payer &&
				memcmp(d->relay[k].payer, d->account[i].payer, ADDRESS_SIZE) == 0)
				assert_int_equal(sums_add(&sum, &d->relay[k].sums), OK);
		assert_true(sums_eq(&sum, &d->account[i].all));
		assert_int_equal(sums_add(&total, &sum), OK);
	}
	assert_true(sums_eq(&total, &d->earned.all));
	total = d->spent.closed;
	for (size_t i = 0; i < d->n_client; i++)
		assert_int_equal(sums_add(&total, &d->client[i].sums), OK);
	assert_true(sums_eq(&total, &d->spent.all));
}

static void payee_flush(struct hop *h)
{
	const struct payee_sink sink = payee_sink_of(h);

	payee_tick(h->payee, &sink);
	if (payee_staged(h->payee)) {
		if (!h->disk.full)
			payee_write(&h->disk, h->payee);
		payee_committed(h->payee, !h->disk.full, &sink);
	}
	if (h->payee->storage_down && !h->disk.full)
		payee_storage_back(h->payee);
	books_balance(&h->disk);
	check_credit(h);
}

static struct terms terms_of(const struct hop *h)
{
	struct terms t = {.price_gwei_per_gib = {PRICE, PRICE, PRICE + 1}, .free_bytes = FREE_BYTES};

	memcpy(t.payee, h->keys.payee, ADDRESS_SIZE);
	return t;
}

static void payee_start(struct world *w, struct hop *h)
{
	const struct settle_terms settle = {.face_min = {1}, .face_min_bytes = (uint64_t)8 << 20};
	const struct payee_sink sink = payee_sink_of(h);
	const struct terms t = terms_of(h);
	uint8_t seed[32];

	rng_bytes(&w->rng, seed, sizeof(seed));
	payee_init(h->payee, &h->keys, &settle, seed);
	h->payee->totals = h->disk.earned;
	payee_set_terms(h->payee, &t, wall(w), &sink);
	for (size_t i = 0; i < h->disk.n_relay; i++)
		assert_int_equal(payee_load(h->payee, &h->disk.relay[i], &sink), OK);
	if (h->open) { /* tunnel's snapshot */
		payee_on_opened(h->payee, w->now, h->session, h == &w->hops[HOPS - 1], &sink);
		payee_on_usage(h->payee, h->session, 0, h->used, h->credit, &sink);
	}
	payee_on_complete(h->payee);
}

/* ---- the client's services ---- */

static uint64_t on_ask(void *ctx, uint64_t session, const uint8_t *payload, size_t len)
{
	struct world *w = ctx;

	for (size_t i = 0; i < ASKS_MAX; i++) {
		struct ask *a = &w->asks[i];

		if (a->busy)
			continue;
		*a = (struct ask){.busy = true, .hop = -1, .id = ++w->next_ask};
		for (int h = 0; h < HOPS; h++)
			if (w->hops[h].session + 1000 == session)
				a->hop = h;
		assert_int_not_equal(a->hop, -1);
		a->again = w->now;
		a->wait = DUR_MS(300);
		a->deadline = mono_add(w->now, DUR_MS(ASK_DEADLINE_MS));
		memcpy(a->payload, payload, len);
		a->len = len;
		return a->id;
	}
	return 0;
}

static void on_trouble(void *ctx, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
	const char *why, bool own_fault)
{
	struct world *w = ctx;

	(void)session;
	(void)node_id;
	w->n_troubles++;
	w->n_own_troubles += own_fault;
	strncpy(w->last_trouble, why, sizeof(w->last_trouble) - 1);
}

static const struct ticket_domain *domain(const struct world *w)
{
	return &w->hops[0].payee->domain;
}

static void payer_write(struct disk *d, const struct payer *p)
{
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++) {
		const struct payer_session *s = &p->sessions[i];

		if (!s->open || !s->staged)
			continue;
		if (!s->removing)
			ROW_PUT(d->client, d->n_client, s->row, d->client[i_].session == s->row.session);
		for (size_t k = 0; s->removing && k < d->n_client; k++)
			if (d->client[k].session == s->row.session)
				d->client[k--] = d->client[--d->n_client];
	}
	d->spent = p->totals;
}

/* What each ticket that leaves is worth, by the relay's own formula. */
static void note_signed(struct world *w, const uint8_t *payload, size_t len, int hop)
{
	peer_ledger_Message m;
	struct ticket t;
	uint64_t bytes;

	assert_int_equal(peer_decode(payload, len, &m), OK);
	if (m.which_body != peer_ledger_Message_pay_tag)
		return;
	assert_int_equal(ticket_decode(m.body.pay.ticket.bytes, TICKET_SIZE, &t), OK);
	assert_int_equal(value_bytes(value_expected(t.face, t.ratio), hop == HOPS - 1 ? PRICE + 1 : PRICE,
				 &bytes),
		OK);
	assert_true(t.seq < SEQS_MAX);
	/* The same number always means the same ticket. */
	assert_true(w->hops[hop].worth[t.seq] == 0 || w->hops[hop].worth[t.seq] == bytes);
	w->hops[hop].worth[t.seq] = bytes;
}

static void payer_flush(struct world *w)
{
	const struct payer_sink sink = {w, on_ask, on_trouble};

	payer_tick(w->payer, w->now, wall(w), &sink);
	if (payer_staged(w->payer)) {
		if (!w->disk.full)
			payer_write(&w->disk, w->payer);
		payer_committed(w->payer, w->now, !w->disk.full, &sink);
	}
	if (w->payer->storage_down && !w->disk.full)
		payer_storage_back(w->payer);
	books_balance(&w->disk);
	for (int i = 0; i < HOPS; i++) {
		const struct hop *h = &w->hops[i];
		const struct payer_session *s = payer_find(w->payer, h->session + 1000);
		uint64_t paid = s == NULL ? 0 : payer_paid_bytes(s);

		/* Against what the relay really carried; on top comes what a report may be behind, and
		 * what traffic and answers may overtake each other. */
		uint64_t slack = 4 * BATCH_BYTES + h->rate_Bps * w->link.jitter.ns / 1000000000u +
			(w->upload ? h->rate_Bps * w->link.delay.ns / 500000000u : 0) +
			/* A payer that was killed does not know what it had on the way. */
			(w->payer_killed ? PAYER_PIPELINE * QUANTUM_MAX / 2 : 0);
		if (paid > FREE_BYTES)
			assert_true(paid <= h->used + 2 * QUANTUM_MAX + slack);
	}
}

static void payer_start(struct world *w)
{
	const struct payer_sink sink = {w, on_ask, on_trouble};
	const struct payer_settings settings = {.pay = true};
	uint8_t seed[32];

	rng_bytes(&w->rng, seed, sizeof(seed));
	payer_init(w->payer, &w->keys, w->ctx, domain(w), seed);
	w->payer->totals = w->disk.spent;
	for (size_t i = 0; i < w->disk.n_client; i++)
		assert_int_equal(payer_load(w->payer, &w->disk.client[i]), OK);
	payer_set(w->payer, &settings, w->now);
	for (int i = 0; i < HOPS; i++) {
		struct hop *h = &w->hops[i];

		if (!h->open)
			continue;
		payer_on_opened(w->payer, w->now, h->session + 1000, (uint32_t)i, i == HOPS - 1,
			h->descriptor, DESCRIPTOR_SIZE, &sink);
		payer_on_usage(w->payer, w->now, h->session + 1000, 0, h->got, h->notice_credit, &sink);
	}
	payer_on_complete(w->payer);
}

/* ---- tunnels ---- */

static void asks_step(struct world *w)
{
	const struct payer_sink sink = {w, on_ask, on_trouble};

	for (size_t i = 0; i < ASKS_MAX; i++) {
		struct ask *a = &w->asks[i];

		if (!a->busy)
			continue;
		if (mono_reached(a->deadline, w->now)) {
			a->busy = false;
			payer_on_answered(w->payer, w->now, a->id, ERR_TIMEOUT, NULL, 0, &sink);
		} else if (mono_reached(a->again, w->now)) {
			a->again = mono_add(w->now, a->wait);
			a->wait.ns *= 2;
			note_signed(w, a->payload, a->len, a->hop);
			if (w->hops[a->hop].open)
				message_fly(w, a->hop, a->id, false, w->hops[a->hop].session,
					a->payload, a->len);
			if (rng_below(&w->rng, 100) < w->link.fail_pct)
				a->deadline = w->now;
		}
	}
}

static void answer_deliver(struct world *w, const struct flight *f)
{
	const struct payer_sink sink = {w, on_ask, on_trouble};

	for (size_t i = 0; i < ASKS_MAX; i++) {
		if (!w->asks[i].busy || w->asks[i].id != f->ask)
			continue;
		w->asks[i].busy = false;
		payer_on_answered(w->payer, w->now, f->ask, OK, f->payload, f->len, &sink);
	}
}

static void hear(struct world *w, const uint8_t *payload, size_t len)
{
	size_t at = w->n_heard++ % 64;

	memcpy(w->heard[at].payload, payload, len);
	w->heard[at].len = len;
}

static void deliver(struct world *w)
{
	for (size_t i = 0; i < w->flights_top; i++) {
		struct flight *f = &w->flights[i];
		struct hop *h = &w->hops[f->hop];
		const struct payee_sink sink = payee_sink_of(h);

		if (!f->busy || !mono_reached(f->at, w->now))
			continue;
		f->busy = false;
		if (f->usage && !w->upload) {
			h->got += f->bytes;
		} else if (f->usage) {
			h->n_stalled += h->used >= h->credit;
			h->used += h->used < h->credit ? f->bytes : 0;
		} else if (f->answer) {
			answer_deliver(w, f);
		} else {
			hear(w, f->payload, f->len);
			payee_on_asked(h->payee, w->now, wall(w), f->session, (uint32_t)f->ask,
				f->payload, f->len, &sink);
		}
	}
	while (w->flights_top > 0 && !w->flights[w->flights_top - 1].busy)
		w->flights_top--;
}

/* Whatever was heard, to whatever session of whatever relay, sometimes with a bit turned. */
static void lie(struct world *w)
{
	struct hop *h = &w->hops[rng_below(&w->rng, HOPS)];
	const struct payee_sink sink = payee_sink_of(h);
	size_t at = rng_below(&w->rng, 64);
	uint8_t payload[PEER_MESSAGE_MAX];

	if (w->heard[at].len == 0)
		return;
	memcpy(payload, w->heard[at].payload, w->heard[at].len);
	if (rng_below(&w->rng, 2) == 0)
		payload[rng_below(&w->rng, w->heard[at].len)] ^= (uint8_t)(1 << rng_below(&w->rng, 8));
	/* A session of the liar's own beside the honest one: nothing that it replays earns there. */
	uint64_t session = 500 + rng_below(&w->rng, 2);
	if (payee_find(h->payee, session) == NULL)
		payee_on_opened(h->payee, w->now, session, false, &sink);
	payee_on_asked(h->payee, w->now, wall(w), session, 0, payload, w->heard[at].len, &sink);
	const struct payee_session *s = payee_find(h->payee, session);
	assert_int_equal(s->row.sums.n_tickets, 0);
	assert_true(s->row.credit_bytes == FREE_BYTES);
}

static void report(uint64_t used, uint64_t left, uint64_t *reported, mono_t *at, mono_t now, bool *due)
{
	uint64_t step = left / 8 < 65536 ? 65536 : left / 8 > (1 << 20) ? 1 << 20 : left / 8;

	*due = used - *reported >= step || (used != *reported && mono_since(*at, now).ns >= DUR_S(1).ns);
	if (*due) {
		*reported = used;
		*at = now;
	}
}

/* One step of traffic through a hop: the relay counts what it sends, the client what arrives. */
static void traffic(struct world *w, struct hop *h)
{
	const struct payee_sink sink = payee_sink_of(h);
	const struct payer_sink psink = {w, on_ask, on_trouble};
	bool due;

	if (!h->open)
		return;
	h->owed += (double)h->rate_Bps * 1e-9 * (double)STEP.ns;
	while (h->owed >= 1400) {
		uint64_t n = h->owed > BATCH_BYTES ? BATCH_BYTES : (uint64_t)h->owed;

		if (!w->upload && h->used >= h->credit) {
			h->n_stalled++;
			h->owed = 0; /* the sender backs off */
			if (mono_since(h->noticed_at, w->now).ns >= DUR_S(1).ns) {
				h->noticed_at = w->now;
				h->notice_credit = h->credit;
				payer_on_usage(w->payer, w->now, h->session + 1000, 0, h->got,
					h->notice_credit, &psink);
			}
			break;
		}
		h->owed -= (double)n;
		*(w->upload ? &h->got : &h->used) += n;
		h->n_moved++;
		if (rng_below(&w->rng, 1000) < w->link.data_loss_permille)
			continue;
		struct flight *f = fly(w, 0);
		f->usage = true;
		f->hop = (int)(h - w->hops);
		f->bytes = n;
	}
	report(h->used, h->credit > h->used ? h->credit - h->used : 0, &h->reported, &h->reported_at,
		w->now, &due);
	if (due)
		payee_on_usage(h->payee, h->session, 0, h->used, h->credit, &sink);
	report(h->got, 0, &h->got_reported, &h->got_reported_at, w->now, &due);
	if (due)
		payer_on_usage(w->payer, w->now, h->session + 1000, 0, h->got, h->notice_credit, &psink);
}

static void step(struct world *w)
{
	w->now = mono_add(w->now, STEP);
	deliver(w);
	if (w->liar)
		lie(w);
	for (int i = 0; i < HOPS; i++) {
		traffic(w, &w->hops[i]);
		payee_flush(&w->hops[i]);
	}
	asks_step(w);
	payer_flush(w);
}

static void run(struct world *w, dur_t how_long)
{
	mono_t end = mono_add(w->now, how_long);

	while (!mono_reached(end, w->now))
		step(w);
}

/* ---- the world ---- */

static void hop_init(struct world *w, int i, uint64_t rate_Bps)
{
	struct hop *h = &w->hops[i];
	uint8_t seed[32] = {(uint8_t)i}, sk[64], wallet[32] = {[0] = 7, [31] = (uint8_t)(i + 1)};
	struct descriptor d = {.price_gwei_per_gib = {PRICE, PRICE, PRICE + 1},
		.free_bytes = FREE_BYTES,
		.expires = {WALL0 + 3600}};

	h->w = w;
	h->session = (uint64_t)i + 1;
	h->rate_Bps = rate_Bps;
	h->open = true;
	h->credit = FREE_BYTES;
	assert_int_equal(keys_init(&h->keys, w->ctx, wallet), OK);
	crypto_sign_seed_keypair(d.node_id, sk, seed);
	memcpy(d.payee, h->keys.payee, ADDRESS_SIZE);
	assert_int_equal(descriptor_sign(&d, sk, h->descriptor), OK);
	h->payee = calloc(1, sizeof(*h->payee));
	payee_start(w, h);
}

static struct world *world_new(uint64_t rate_Bps, struct link_conf link)
{
	static const uint8_t seed[32] = "payment", wallet[32] = {[0] = 9, [31] = 9};
	struct world *w = calloc(1, sizeof(*w));

	w->ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	rng_init(&w->rng, seed);
	w->now.ns = 1000000000u;
	w->link = link;
	w->flights = calloc(FLIGHTS_MAX, sizeof(*w->flights));
	assert_int_equal(keys_init(&w->keys, w->ctx, wallet), OK);
	for (int i = 0; i < HOPS; i++)
		hop_init(w, i, rate_Bps);
	w->payer = calloc(1, sizeof(*w->payer));
	payer_start(w);
	return w;
}

static void world_free(struct world *w)
{
	for (int i = 0; i < HOPS; i++)
		free(w->hops[i].payee);
	payer_done(w->payer);
	free(w->payer);
	free(w->flights);
	secp256k1_context_destroy(w->ctx);
	free(w);
}

/* Traffic ends, what is on the way arrives; then both sides must say the same. */
static void settle_and_compare(struct world *w)
{
	for (int i = 0; i < HOPS; i++)
		w->hops[i].rate_Bps = 0;
	w->link.loss_pct = w->link.fail_pct = 0;
	run(w, DUR_S(15));
	for (int i = 0; i < HOPS; i++) {
		struct hop *h = &w->hops[i];
		const struct payer_session *c = payer_find(w->payer, h->session + 1000);
		const struct payee_session *r = payee_find(h->payee, h->session);

		assert_non_null(c);
		assert_non_null(r);
		assert_int_equal(c->phase, PAYER_PAYING);
		assert_true(payer_paid_bytes(c) == c->granted); /* nothing on the way */
		assert_true(c->granted == r->row.credit_bytes);
		assert_true(h->credit == r->row.credit_bytes);
		assert_true(r->up_bytes + r->down_bytes == h->used);
		assert_true(c->up_bytes + c->down_bytes == h->got);
		/* An honest payer is never told that it used a number before. */
		assert_int_equal(w->payer->counters.refused[peer_ledger_Reason_REASON_SEQUENCE], 0);
		assert_true(c->row.sums.n_tickets >= r->row.sums.n_tickets);
		assert_true(c->row.sums.expected.wei >= r->row.sums.expected.wei);
		assert_true(r->row.sums.n_tickets > 0);
	}
}

/* And when the sessions end, their rows go and the sums stay. */
static void close_and_compare(struct world *w)
{
	amount_t spent = w->payer->totals.all.expected;

	for (int i = 0; i < HOPS; i++) {
		struct hop *h = &w->hops[i];

		h->open = false;
		payee_on_closed(h->payee, h->session, 0, h->used);
		assert_true(payer_on_closed(w->payer, h->session + 1000, 0, h->got));
	}
	w->liar = false;
	run(w, DUR_MS(10));
	for (int i = 0; i < HOPS; i++) {
		assert_null(payee_find(w->hops[i].payee, w->hops[i].session));
		for (size_t k = 0; k < w->hops[i].disk.n_relay; k++)
			assert_false(w->hops[i].disk.relay[k].session == w->hops[i].session);
		assert_int_equal(w->hops[i].disk.n_account, 1);
	}
	assert_int_equal(w->disk.n_client, 0);
	assert_true(w->disk.spent.all.expected.wei == spent.wei);
	assert_true(sums_eq(&w->disk.spent.all, &w->disk.spent.closed));
}

/* ---- stories ---- */

static uint64_t mbit(uint64_t n)
{
	return n * 125000;
}

/* [P-86] Tickets come fast enough that a download never waits for one. */
static void fast_and_far_never_stalls(void **state)
{
	static const struct {
		uint64_t mbit;
		unsigned int rtt_ms;
	} table[] = {{300, 40}, {300, 100}, {400, 100}, {1000, 40}};

	(void)state;
	for (size_t t = 0; t < sizeof(table) / sizeof(table[0]); t++) {
		/* As TCP does it: it doubles with each round trip until it fills the path. */
		struct world *w = world_new(mbit(1), (struct link_conf){.delay = DUR_MS(table[t].rtt_ms / 2)});

		for (uint64_t rate = 1; rate < table[t].mbit; rate = rate * 2 < table[t].mbit ? rate * 2 : table[t].mbit) {
			for (int i = 0; i < HOPS; i++)
				w->hops[i].rate_Bps = mbit(rate);
			run(w, DUR_MS(table[t].rtt_ms));
		}
		for (int i = 0; i < HOPS; i++)
			w->hops[i].rate_Bps = mbit(table[t].mbit);
		run(w, DUR_S(4));
		for (int i = 0; i < HOPS; i++) {
			assert_int_equal(w->hops[i].n_stalled, 0);
			assert_true(w->hops[i].n_moved > 1000);
		}
		assert_int_equal(w->n_troubles, 0);
		settle_and_compare(w);
		/* Nothing was lost on the way, so not one ticket was signed in vain. */
		for (int i = 0; i < HOPS; i++)
			assert_true(payer_find(w->payer, w->hops[i].session + 1000)->row.sums.n_tickets ==
				payee_find(w->hops[i].payee, w->hops[i].session)->row.sums.n_tickets);
		close_and_compare(w);
		world_free(w);
	}
}

static void lossy_and_reordering(void **state)
{
	struct world *w = world_new(mbit(50),
		(struct link_conf){
			.delay = DUR_MS(30), .jitter = DUR_MS(40), .loss_pct = 15, .fail_pct = 8});

	(void)state;
	w->liar = true;
	run(w, DUR_S(20));
	for (int i = 0; i < HOPS; i++) {
		assert_true(w->hops[i].payee->counters.repeated > 0); /* answers were lost */
		assert_true(w->hops[i].n_moved > 3 * w->hops[i].n_stalled);
		/* Draws happened, so commits were replaced under way. */
		assert_true(w->hops[i].payee->totals.all.n_wins > 3);
	}
	assert_int_equal(w->n_troubles, 0);
	settle_and_compare(w);
	close_and_compare(w);
	world_free(w);
}

/* [P-87] The relay counts what it sent, the client what arrived: the difference is paid, and no session
 * dies of it. */
static void lost_traffic_is_paid_for(void **state)
{
	struct world *w = world_new(mbit(100),
		(struct link_conf){.delay = DUR_MS(20), .jitter = DUR_MS(5), .data_loss_permille = 30});

	(void)state;
	run(w, DUR_S(1)); /* from nothing to 100 Mbit/s at once: the window has to grow */
	for (int i = 0; i < HOPS; i++)
		w->hops[i].n_stalled = 0;
	run(w, DUR_S(20));
	for (int i = 0; i < HOPS; i++) {
		assert_true(w->hops[i].used - w->hops[i].got > 3 * QUANTUM_MAX / 2);
		assert_true(w->hops[i].n_stalled == 0);
	}
	assert_int_equal(w->n_troubles, 0);
	settle_and_compare(w);
	world_free(w);
}

/* What was lost before the relay is not paid for, and an upload does not wait either. */
static void uploads(void **state)
{
	struct world *w = world_new(mbit(1),
		(struct link_conf){.delay = DUR_MS(50), .data_loss_permille = 10});

	(void)state;
	w->upload = true;
	for (uint64_t rate = 1; rate <= 256; rate *= 2) {
		for (int i = 0; i < HOPS; i++)
			w->hops[i].rate_Bps = mbit(rate);
		run(w, DUR_MS(100));
	}
	run(w, DUR_S(60));
	for (int i = 0; i < HOPS; i++) {
		assert_int_equal(w->hops[i].n_stalled, 0);
		assert_true(w->hops[i].got - w->hops[i].used > 3 * QUANTUM_MAX);
	}
	assert_int_equal(w->n_troubles, 0);
	settle_and_compare(w);
	world_free(w);
}

/* A relay whose counter runs away gets no more than the bound, and is reported. */
static void an_overcharging_relay_is_reported(void **state)
{
	struct world *w = world_new(mbit(50), (struct link_conf){.delay = DUR_MS(20), .data_loss_permille = 300});

	(void)state;
	run(w, DUR_S(20));
	assert_true(w->n_troubles >= HOPS);
	assert_int_equal(w->n_own_troubles, 0);
	assert_non_null(strstr(w->last_trouble, "more traffic"));
	for (int i = 0; i < HOPS; i++) {
		struct hop *h = &w->hops[i];

		assert_true(h->credit <= FREE_BYTES + h->got + h->got / 20 + 3 * QUANTUM_MAX);
	}
	world_free(w);
}

/* [P-84] Nothing is acknowledged that could not be written; nothing is lost when space is back. */
static void full_disks(void **state)
{
	struct world *w = world_new(mbit(20), (struct link_conf){.delay = DUR_MS(20), .jitter = DUR_MS(10), .loss_pct = 3});

	(void)state;
	for (int round = 0; round < 6; round++) {
		run(w, DUR_MS(700));
		w->hops[round % HOPS].disk.full = true;
		w->disk.full = round % 2 == 0;
		run(w, DUR_MS(900));
		w->hops[round % HOPS].disk.full = false;
		w->disk.full = false;
	}
	run(w, DUR_S(5));
	uint64_t n_refused = 0;
	for (int i = 0; i < HOPS; i++)
		n_refused += w->hops[i].payee->counters.refused[peer_ledger_Reason_REASON_STORAGE];
	assert_true(n_refused > 0);
	for (int i = 0; i < HOPS; i++)
		w->hops[i].n_moved = 0;
	run(w, DUR_S(1));
	for (int i = 0; i < HOPS; i++)
		assert_true(w->hops[i].n_moved > 0);
	settle_and_compare(w);
	close_and_compare(w);
	world_free(w);
}

/* Killed at any step, in the middle of anything: what was acknowledged is there, nothing counts twice. */
static void kill_story(uint8_t seed)
{
	struct world *w = world_new(mbit(50), (struct link_conf){
		.delay = DUR_MS(15), .jitter = DUR_MS(30), .loss_pct = 5, .fail_pct = 5});

	rng_init(&w->rng, (const uint8_t[32]){'k', seed});
	w->liar = true;
	for (int round = 0; round < 60; round++) {
		run(w, (dur_t){rng_below(&w->rng, 400) * 1000000u});
		w->payer_killed = true;
		if (round % 3 == 2)
			payer_start(w);
		else
			payee_start(w, &w->hops[rng_below(&w->rng, HOPS)]);
	}
	for (int i = 0; i < HOPS; i++)
		w->hops[i].n_moved = 0;
	run(w, DUR_S(5));
	for (int i = 0; i < HOPS; i++)
		assert_true(w->hops[i].n_moved > 100);
	settle_and_compare(w);
	close_and_compare(w);
	world_free(w);
}

static void ledgers_are_killed(void **state)
{
	(void)state;
	for (uint8_t seed = 0; seed < 6; seed++)
		kill_story(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fast_and_far_never_stalls),
		cmocka_unit_test(lossy_and_reordering),
		cmocka_unit_test(lost_traffic_is_paid_for),
		cmocka_unit_test(uploads),
		cmocka_unit_test(an_overcharging_relay_is_reported),
		cmocka_unit_test(full_disks),
		cmocka_unit_test(ledgers_are_killed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
