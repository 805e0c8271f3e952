/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two sessions; the input is a programme for them and for the wire between: send, deliver, lose,
 * repeat, reorder, change, let time pass, starve. Whatever it does: no number is delivered twice,
 * no changed packet is taken, timers end, memory and indices come back. */
#include "tests/harness/tunnel_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define NUMBERS 4096 /* payload numbers watched per direction */
#define STEPS_MAX 600

static uint8_t delivered[2][NUMBERS];

/* Receives; a data packet may arrive once only, and only if it was sent. */
static enum err take(struct host *h, struct packet m)
{
	uint32_t before = h->n_got;
	enum err e = host_receive(h, m.bytes, m.len);

	if (h->n_got != before) {
		uint8_t *seen = &delivered[h == &h->pair->b][h->rx_newest % NUMBERS];

		CHECK(h->rx_newest <= h->peer->tx_number);
		CHECK(*seen == 0);
		*seen = 1;
	}
	return e;
}

typedef void step_fn(struct host *h, struct reader *r);

static void s_send(struct host *h, struct reader *r)
{
	(void)r;
	if (h->tx_number + h->waiting + 70 < NUMBERS)
		host_send(h);
}

static void s_deliver(struct host *h, struct reader *r)
{
	size_t n = h->n_out;

	if (n > 0)
		(void)!take(h->peer, wire_take(h, next(r) % n));
}

static void s_deliver_all(struct host *h, struct reader *r)
{
	(void)r;
	for (int i = 0; i < 100 && (h->n_out > 0 || h->peer->n_out > 0); i++) {
		if (h->n_out > 0)
			(void)!take(h->peer, wire_take(h, 0));
		if (h->peer->n_out > 0)
			(void)!take(h, wire_take(h->peer, 0));
	}
}

static void s_lose(struct host *h, struct reader *r)
{
	size_t n = h->n_out;

	if (n > 0)
		wire_take(h, next(r) % n);
}

static void s_repeat(struct host *h, struct reader *r)
{
	size_t n = h->n_out;

	if (n > 0)
		(void)!take(h->peer, h->out[next(r) % n]);
}

static void s_change(struct host *h, struct reader *r)
{
	size_t n = h->n_out, at;
	struct packet m;
	uint8_t x;

	if (n == 0)
		return;
	m = h->out[next(r) % n];
	at = next(r) % m.len;
	x = next(r);
	m.bytes[at] ^= x;
	if (x == 0)
		return;
	/* the sender index of types 1 and 2, and macs, are not the session's to check */
	bool transport = wg_message_type(m.bytes, m.len) == WG_TRANSPORT;
	uint32_t got = h->peer->n_opened;
	enum err e = host_receive(h->peer, m.bytes, m.len);

	if (transport)
		CHECK(e != OK && h->peer->n_opened == got);
}

static void s_raw(struct host *h, struct reader *r)
{
	struct packet m = {.len = 32u + next(r) % 120};

	for (size_t i = 0; i < m.len; i++)
		m.bytes[i] = next(r);
	if (h->peer->s.current != NULL && next(r) & 1)
		le32_put(m.bytes + 4, h->peer->s.current->local_index);
	CHECK(host_receive(h->peer, m.bytes, m.len) != OK);
}

static void s_pass(struct host *h, struct reader *r)
{
	let_pass_drawn(h->pair, next(r));
}

static void s_persistent(struct host *h, struct reader *r)
{
	session_persistent_set(&h->s, &h->env, h->pair->now, DUR_S(next(r)));
}

static void s_starve(struct host *h, struct reader *r)
{
	h->no_index = next(r) & 1;
}

static void s_clear(struct host *h, struct reader *r)
{
	(void)r;
	session_clear(&h->s, &h->env);
	h->waiting = 0;
}

static void s_late(struct host *h, struct reader *r)
{
	(void)r;
	if (h->s.current != NULL)
		h->s.current->send_counter += 5000; /* as if so many had been lost */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static step_fn *const steps[16] = {s_send, s_send, s_send, s_deliver, s_deliver,
		s_deliver_all, s_deliver_all, s_lose, s_repeat, s_change, s_raw, s_pass, s_pass,
		s_persistent, s_starve, s_clear};
	struct reader r = {data, data + len};
	struct pair *p = pair_new(NULL);

	memset(delivered, 0, sizeof(delivered));
	for (int i = 0; i < STEPS_MAX && r.p < r.end; i++) {
		uint8_t op = next(&r);
		struct host *h = op & 16 ? &p->b : &p->a;

		if (op == 255)
			s_late(h, &r);
		else
			steps[op & 15](h, &r);
	}
	/* a good wire heals everything */
	p->a.no_index = p->b.no_index = false;
	p->a.n_out = p->b.n_out = 0;
	p->a.waiting = p->b.waiting = 0;
	let_pass(p, DUR_S(6));
	p->a.n_out = p->b.n_out = 0;
	uint32_t got = p->b.n_got;
	for (int i = 0; i < 6 && p->b.n_got == got;
		i++) { /* it may take the silence timer's 15 s */
		host_send(&p->a);
		s_deliver_all(&p->a, &r);
		let_pass(p, DUR_S(6));
	}
	CHECK(p->b.n_got > got);
	pair_free(p);
	return 0;
}
