/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two sessions over a wire that loses, delays, reorders and duplicates, for a million random steps
 * on a virtual clock, each step compared with a slow model: a log of what happened, from which the
 * rules of the paper are read afresh every time. Effects must come when the model says, all of them
 * and no others, and the session's deadline must be the model's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/harness/tunnel_pair.h"

#define S 1000000000u
#define STEPS 1000000
#define LOG_MAX 8192 /* events kept; older ones no longer matter */

enum event {
	SENT_DATA,
	SENT_OTHER, /* keepalive or handshake message */
	SENT_INITIATION,
	GOT_DATA,
	GOT_OTHER,
	DEMANDED,
	COMPLETED,
	GAVE_UP,
	ASKED_IN_SILENCE, /* the new-handshake timer fired */
	KEEPALIVE_FIRED,
	PERSISTENT_FIRED,
	PERSISTENT_SET,
	RETRIED,
	EVENTS
};

struct key {
	uint64_t born; /* 0: none */
	bool initiator;
};

struct model {
	struct {
		uint64_t at;
		enum event e;
	} log[LOG_MAX];
	size_t n;
	struct key current, previous, next;
	bool waiting; /* for a response */
	bool late_asked;
	uint64_t persistent;
	uint32_t expect; /* effects that the running action must have */
};

static struct model models[2];
static struct pair *p;
static struct rng dice;

static struct model *model_of(const struct host *h)
{
	return &models[h == &p->b];
}

/* --- the log --------------------------------------------------------------------------------- */
static void note(struct model *m, enum event e)
{
	if (m->n == LOG_MAX) {
		memmove(m->log, m->log + LOG_MAX / 2, LOG_MAX / 2 * sizeof(m->log[0]));
		m->n = LOG_MAX / 2;
	}
	m->log[m->n].at = p->now.ns;
	m->log[m->n++].e = e;
}

/* Events as a set of bits. */
#define BIT(e) (1u << (e))
#define SENT_ANY (BIT(SENT_DATA) | BIT(SENT_OTHER) | BIT(SENT_INITIATION))
#define GOT_ANY (BIT(GOT_DATA) | BIT(GOT_OTHER))

static uint64_t last(const struct model *m, uint32_t set)
{
	for (size_t i = m->n; i-- > 0;)
		if (BIT(m->log[i].e) & set)
			return m->log[i].at;
	return 0;
}

/* First event of `set` since the last one of `since`. */
static uint64_t first_since(const struct model *m, uint32_t set, uint32_t since)
{
	uint64_t at = 0;

	for (size_t i = m->n; i-- > 0 && !(BIT(m->log[i].e) & since);)
		if (BIT(m->log[i].e) & set)
			at = m->log[i].at;
	return at;
}

/* --- the rules, from the log ----------------------------------------------------------------- */
static uint64_t after(uint64_t at, uint64_t d)
{
	return at == 0 ? UINT64_MAX : at + d;
}

static uint64_t keepalive_due(const struct model *m)
{
	return after(first_since(m, BIT(GOT_DATA), SENT_ANY | BIT(GAVE_UP) | BIT(KEEPALIVE_FIRED)),
		10ull * S);
}

static uint64_t silence_due(const struct model *m)
{
	return after(first_since(m, BIT(SENT_DATA), GOT_ANY | BIT(ASKED_IN_SILENCE)), 15ull * S);
}

static uint64_t persistent_due(const struct model *m)
{
	if (m->persistent == 0)
		return UINT64_MAX;
	return after(last(m, SENT_ANY | GOT_ANY | BIT(PERSISTENT_FIRED) | BIT(PERSISTENT_SET)),
		m->persistent);
}

static uint64_t attempt_began(const struct model *m)
{
	for (size_t i = m->n; i-- > 0;) {
		if (m->log[i].e == DEMANDED)
			return m->log[i].at;
		if (m->log[i].e == COMPLETED || m->log[i].e == GAVE_UP)
			return 0;
	}
	return 0;
}

/* Five seconds after the last initiation, or after the last time that it was tried. */
static uint64_t retry_due(const struct model *m)
{
	return attempt_began(m) == 0
		       ? UINT64_MAX
		       : after(last(m, BIT(SENT_INITIATION) | BIT(RETRIED)), 5ull * S);
}

static uint64_t overtaken_due(const struct model *m)
{
	return m->waiting && attempt_began(m) == 0 ? after(last(m, BIT(SENT_INITIATION)), 90ull * S)
						   : UINT64_MAX;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t model_deadline(const struct model *m)
{
	uint64_t d = least(
		least(keepalive_due(m), silence_due(m)), least(persistent_due(m), retry_due(m)));

	d = least(d, overtaken_due(m));
	d = least(
		d, least(after(m->current.born, 180ull * S), after(m->previous.born, 180ull * S)));
	return least(d, after(m->next.born, 180ull * S));
}

static void demand(struct model *m)
{
	uint64_t sent = last(m, BIT(SENT_INITIATION));

	note(m, DEMANDED);
	if (sent == 0 || p->now.ns - sent >= 5ull * S)
		m->expect |= SESSION_SEND_INITIATION;
}

static bool key_usable(const struct key *k)
{
	return k->born != 0 && p->now.ns - k->born < 180ull * S;
}

static void model_tick(struct model *m)
{
	struct key *const all[] = {&m->current, &m->previous, &m->next};
	uint64_t now = p->now.ns, keepalive = keepalive_due(m), silence = silence_due(m);
	uint64_t persistent = persistent_due(m), retry = retry_due(m), overtaken = overtaken_due(m);
	bool any = false, left = false;

	for (int i = 0; i < 3; i++) {
		if (all[i]->born != 0 && !key_usable(all[i])) {
			*all[i] = (struct key){0};
			any = true;
		}
		left |= all[i]->born != 0;
	}
	m->expect |= any && !left ? SESSION_EXPIRED : 0;
	if (overtaken <= now)
		m->waiting = false;
	if (retry <= now && now - attempt_began(m) >= 90ull * S) {
		m->waiting = false;
		m->expect |= SESSION_GAVE_UP;
		note(m, GAVE_UP);
		keepalive = UINT64_MAX;
	} else if (retry <= now) {
		note(m, RETRIED);
		m->expect |= SESSION_SEND_INITIATION;
	}
	if (keepalive <= now) {
		note(m, KEEPALIVE_FIRED);
		m->expect |= SESSION_SEND_KEEPALIVE;
	}
	if (silence <= now) {
		note(m, ASKED_IN_SILENCE);
		demand(m);
	}
	if (persistent <= now) {
		note(m, PERSISTENT_FIRED);
		m->expect |= SESSION_SEND_KEEPALIVE;
	}
}

/* --- actions: do it, note it, compare -------------------------------------------------------- */
static void settle(struct host *h);

static void send_payload(struct host *h, uint32_t len)
{
	struct model *m = model_of(h);
	bool usable = key_usable(&m->current);
	uint64_t born = m->current.born;
	enum err e = host_seal(h, len);

	CHECK((e == OK) == usable);
	if (e == OK) {
		note(m, len > 0 ? SENT_DATA : SENT_OTHER);
		if (m->current.initiator && p->now.ns - born >= 120ull * S)
			demand(m);
	} else {
		h->waiting += len > 0;
		demand(m);
	}
	settle(h);
}

static void send_initiation(struct host *h)
{
	struct model *m = model_of(h);
	size_t before = h->n_out;

	host_send_initiation(h);
	CHECK(h->last_err == OK);
	CHECK(h->n_out == before + 1 || before == WIRE_MAX);
	note(m, SENT_INITIATION);
	m->waiting = true;
	settle(h);
}

/* What a real host does with the effects; they must be what the model expected. */
static void settle(struct host *h)
{
	struct model *m = model_of(h);
	uint32_t fx = h->fx_new;

	if (fx != m->expect)
		fprintf(stderr, "%s at %.3f s: effects %x, model %x\n", h->name,
			(double)p->now.ns / S, fx, m->expect);
	CHECK(fx == m->expect);
	h->fx_new = m->expect = 0;
	if (fx & SESSION_SEND_INITIATION)
		send_initiation(h);
	if (fx & SESSION_ESTABLISHED)
		for (; h->waiting > 0; h->waiting--)
			send_payload(h, PAYLOAD);
	if (fx & SESSION_SEND_KEEPALIVE)
		send_payload(h, 0);
	if (fx & SESSION_GAVE_UP)
		h->waiting = 0;
	if (host_deadline(h).ns != model_deadline(m))
		fprintf(stderr, "%s at %.3f s: deadline %.3f, model %.3f\n", h->name,
			(double)p->now.ns / S, (double)host_deadline(h).ns / S,
			(double)model_deadline(m) / S);
	CHECK(host_deadline(h).ns == model_deadline(m));
}

static void got_initiation(struct model *m)
{
	m->next = (struct key){p->now.ns, false};
	m->previous = (struct key){0};
	note(m, GOT_OTHER);
	note(m, SENT_OTHER);
}

static void got_response(struct model *m)
{
	m->previous = m->next.born != 0 ? m->next : m->current;
	m->next = (struct key){0};
	m->current = (struct key){p->now.ns, true};
	m->waiting = false;
	m->late_asked = false;
	note(m, COMPLETED);
	note(m, GOT_OTHER);
	m->expect |= SESSION_ESTABLISHED |
		     SESSION_SEND_KEEPALIVE; /* effects are worked off afterwards */
}

static void got_transport(struct model *m, bool confirms, bool data)
{
	if (confirms) {
		m->previous = m->current;
		m->current = m->next;
		m->next = (struct key){0};
		m->late_asked = false;
		note(m, COMPLETED);
		m->expect |= SESSION_ESTABLISHED;
	}
	note(m, data ? GOT_DATA : GOT_OTHER);
	if (!m->late_asked && m->current.initiator && p->now.ns - m->current.born >= 165ull * S) {
		m->late_asked = true;
		demand(m);
	}
}

static uint64_t n_delivered, n_refused;

static void arrive(struct host *h, struct packet m)
{
	struct model *model = model_of(h);
	unsigned int type = wg_message_type(m.bytes, m.len);
	bool confirms = h->s.next != NULL && type == WG_TRANSPORT &&
			wg_receiver_index(m.bytes) == h->s.next->local_index;
	enum err e = host_receive(h, m.bytes, m.len);

	n_delivered += e == OK;
	n_refused += e != OK;
	if (e != OK) {
		settle(h);
		return;
	}
	if (type == WG_INITIATION)
		got_initiation(model);
	else if (type == WG_RESPONSE)
		got_response(model);
	else
		got_transport(model, confirms, m.len > WG_OVERHEAD);
	CHECK(h->rx_newest <= h->peer->tx_number);
	settle(h);
}

static void tick_host(struct host *h)
{
	model_tick(model_of(h));
	session_tick(&h->s, &h->env, p->now);
	settle(h);
}

/* --- the world ------------------------------------------------------------------------------- */
struct weather {
	uint32_t loss_a, loss_b; /* percent, by direction */
	uint32_t keep, copy;
	uint32_t data_a, data_b; /* percent of steps in which it sends */
};

static void weather_change(struct weather *w)
{
	static const uint32_t losses[] = {0, 0, 5, 30, 100};

	w->loss_a = w->loss_b = losses[rng_below(&dice, 5)];
	if (rng_below(&dice, 3) == 0)
		w->loss_b = losses[rng_below(&dice, 5)];
	w->keep = rng_below(&dice, 3) == 0 ? 40 : 0;
	w->copy = rng_below(&dice, 3) == 0 ? 20 : 0;
	w->data_a = (uint32_t)rng_below(&dice, 3) * 30;
	w->data_b = (uint32_t)rng_below(&dice, 3) * 30;
}

static void wire_move(struct host *h, const struct weather *w)
{
	uint32_t loss = h == &p->a ? w->loss_a : w->loss_b;

	for (size_t i = 0; i < h->n_out;) {
		if (rng_below(&dice, 100) < w->keep) {
			i++;
			continue;
		}
		struct packet m = wire_take(h, i);

		if (rng_below(&dice, 100) < loss)
			continue;
		if (rng_below(&dice, 100) < w->copy)
			arrive(h->peer, m);
		arrive(h->peer, m);
	}
}

static dur_t draw_pause(void)
{
	uint64_t r = rng_below(&dice, 1000);
	uint64_t max = r < 960 ? S / 5 : r < 999 ? 20ull * S : 400ull * S;

	return (dur_t){rng_below(&dice, max)};
}

static void pass_time(const struct weather *w, dur_t d)
{
	mono_t until = mono_add(p->now, d);

	for (;;) {
		mono_t next = mono_min(host_deadline(&p->a), host_deadline(&p->b));

		if (next.ns > until.ns)
			break;
		clock_set(p, next);
		tick_host(&p->a);
		tick_host(&p->b);
		CHECK(mono_min(host_deadline(&p->a), host_deadline(&p->b)).ns > p->now.ns);
		wire_move(&p->a, w);
		wire_move(&p->b, w);
	}
	clock_set(p, until);
}

static void persistent_toggle(struct host *h)
{
	struct model *m = model_of(h);
	uint64_t interval = rng_below(&dice, 2) ? (5 + rng_below(&dice, 60)) * S : 0;

	m->expect |= m->persistent == 0 && interval != 0 ? SESSION_SEND_KEEPALIVE : 0;
	m->persistent = interval;
	note(m, PERSISTENT_SET);
	session_persistent_set(&h->s, &h->env, p->now, (dur_t){interval});
	settle(h);
}

static void one_step(struct weather *w)
{
	if (rng_below(&dice, 500) == 0)
		weather_change(w);
	if (rng_below(&dice, 5000) == 0)
		persistent_toggle(rng_below(&dice, 2) ? &p->a : &p->b);
	if (rng_below(&dice, 100) < w->data_a)
		send_payload(&p->a, PAYLOAD);
	if (rng_below(&dice, 100) < w->data_b)
		send_payload(&p->b, PAYLOAD);
	wire_move(&p->a, w);
	wire_move(&p->b, w);
	pass_time(w, draw_pause());
}

/* A good wire brings any state back to a working session, by the silence timer at the latest. */
static void heals(void)
{
	struct weather good = {0};
	uint32_t got = p->b.n_got;

	p->a.n_out = p->b.n_out = 0;
	for (int i = 0; i < 30 && p->b.n_got == got; i++) {
		send_payload(&p->a, PAYLOAD);
		wire_move(&p->a, &good);
		wire_move(&p->b, &good);
		pass_time(&good, DUR_S(1));
	}
	CHECK(p->b.n_got > got);
}

static void follows_the_model_for_a_million_steps(void **state)
{
	static const uint8_t seed[32] = {77};
	struct weather w = {0};

	(void)state;
	rng_init(&dice, seed);
	p = pair_new(NULL);
	for (int i = 0; i < 2; i++) {
		struct host *h = i ? &p->b : &p->a;

		h->deaf = true; /* effects are carried out by settle() */
		h->conf.rekey_jitter = (dur_t){0};
		h->conf.initiation_gap = (dur_t){0};
	}
	for (int i = 0; i < STEPS; i++) {
		one_step(&w);
		if (i % 100000 == 99999)
			heals();
	}
	assert_true(p->a.s.stats.handshakes > 500 && p->b.s.stats.handshakes > 500);
	for (int i = 0; i < FX_KINDS; i++)
		assert_true(p->a.n_fx[i] > 20 && p->b.n_fx[i] > 20);
	assert_true(n_delivered > 100000 && n_refused > 1000);
	print_message("handshakes %u, delivered %u, refused %u, gave up %u\n",
		(unsigned int)p->a.s.stats.handshakes, (unsigned int)n_delivered,
		(unsigned int)n_refused, p->a.n_fx[fx_bit(SESSION_GAVE_UP)]);
	pair_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(follows_the_model_for_a_million_steps)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
