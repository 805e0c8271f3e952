/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two endpoints, each behind its door (mac1, cookies under load, rates), a wire with somebody on it, and a
 * clock; the input is a programme: send, deliver in any order and from any source, lose, repeat, forge, let
 * time pass, be under load. He on the wire sees every message, also old ones, knows both public keys (so he
 * can make mac1), and neither secret. Whatever he does:
 *   - what is accepted was made by the other side, byte by byte where it counts, and is accepted once;
 *   - no key seals twice with one counter;
 *   - a mac2 is good only from where a cookie was sent to;
 *   - key pairs and indices are bounded and come back;
 *   - as soon as messages arrive unhindered, both sides hear each other again. */
#include "services/tunnel/core/cookie.h"
#include "tests/harness/tunnel_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define STEPS_MAX 400
#define MADE_MAX 2048 /* messages remembered by digest; enough for all that so many steps can make */
#define OLD_MAX 64    /* remembered whole, to be sent again */
#define SOURCES 4
#define INDICES_PER_SESSION 4

static const struct net_endpoint sources[SOURCES] = {
	{{NET_IP4, {192, 0, 2, 1}}, 7},
	{{NET_IP4, {192, 0, 2, 1}}, 8},
	{{NET_IP6, {0x20, 1, 0xd, 0xb8, [15] = 1}}, 7},
	{{NET_IP6, {0x20, 1, 0xd, 0xb8, [15] = 2}}, 7},
};

struct digest {
	uint8_t bytes[HASH_SIZE];
};

struct side {
	struct cookie_checker checker;
	struct rate_table rate;
	struct rate_slot slots[RATE_WAYS];
	bool load;
	bool cookie_sent_to[SOURCES];
	struct made {
		struct digest what;
		bool accepted;
	} made[MADE_MAX];
	struct digest sealed[MADE_MAX]; /* key and counter */
	size_t n_made, n_sealed;
	struct packet old[OLD_MAX];
	size_t n_old;
};

static struct side side[2];

static struct side *side_of(const struct host *h)
{
	return &side[h == &h->pair->b];
}

/* --- what was made --------------------------------------------------------------------------- */
/* What the protocol authenticates. Not covered: macs (whoever knows the public keys makes them), the
 * sender's index, which nobody but they vouch for, and receiver indices that only say which key to try. */
static struct digest digest_of(const uint8_t *m, size_t len)
{
	size_t from = 0, to = len;
	struct digest d;

	switch (wg_message_type(m, len)) {
	case WG_INITIATION:
		from = offsetof(struct wg_initiation, ephemeral);
		to = offsetof(struct wg_initiation, macs);
		break;
	case WG_RESPONSE:
		from = offsetof(struct wg_response, receiver);
		to = offsetof(struct wg_response, macs);
		break;
	case WG_COOKIE:
		from = offsetof(struct wg_cookie, nonce);
		break;
	case WG_TRANSPORT:
		from = offsetof(struct wg_transport, counter);
		break;
	}
	hash_of(d.bytes, m + from, to - from, m, 1);
	return d;
}

static bool same(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static struct made *made_find(struct side *s, const uint8_t *m, size_t len)
{
	struct digest d = digest_of(m, len);

	for (size_t i = 0; i < s->n_made; i++)
		if (same(&s->made[i].what, &d))
			return &s->made[i];
	return NULL;
}

static const struct keypair *sealed_with(const struct session *s, uint32_t receiver)
{
	CHECK(s->current != NULL && s->current->remote_index == receiver);
	return s->current;
}

static void sealed_note(struct host *h, const uint8_t *m)
{
	const struct keypair *k = sealed_with(&h->s, wg_receiver_index(m));
	struct side *s = side_of(h);
	struct digest d;

	hash_of(d.bytes, k->send_key.secret_key, sizeof(k->send_key.secret_key), m + 8, 8);
	for (size_t i = 0; i < s->n_sealed; i++)
		CHECK(!same(&s->sealed[i], &d));
	CHECK(s->n_sealed < MADE_MAX);
	s->sealed[s->n_sealed++] = d;
}

static void made_note(struct host *h, const uint8_t *m, size_t len)
{
	struct side *s = side_of(h);
	struct packet *old = &s->old[s->n_old++ % OLD_MAX];

	if (wg_message_type(m, len) == WG_TRANSPORT)
		sealed_note(h, m);
	CHECK(s->n_made < MADE_MAX);
	s->made[s->n_made++] = (struct made){.what = digest_of(m, len)};
	old->len = len;
	memcpy(old->bytes, m, len);
}

/* --- the door -------------------------------------------------------------------------------- */
static bool let_in(struct host *h, const struct packet *m, unsigned int source)
{
	const mono_t now = h->pair->now;
	struct side *s = side_of(h);
	struct wg_cookie reply;
	enum wg_type type = wg_message_type(m->bytes, m->len);
	const bool load = s->load && type == WG_INITIATION;

	if (type != WG_INITIATION && type != WG_RESPONSE)
		return true;
	switch (cookie_check(&s->checker, m->bytes, m->len, &sources[source], load, now)) {
	case COOKIE_BAD:
		return false;
	case COOKIE_MAC1:
		if (!load)
			return true;
		cookie_reply_create(
			&s->checker, m->bytes, m->len, &sources[source], &h->rng, now, &reply);
		s->cookie_sent_to[source] = true;
		wire_put(h, (uint8_t *)&reply, sizeof(reply));
		return false;
	case COOKIE_MAC2:
		CHECK(s->cookie_sent_to[source]);
		return rate_admit(&s->rate, &sources[source].addr, now);
	}
	return false;
}

static void arrive(struct host *h, struct packet m, unsigned int source)
{
	struct packet before = m;
	struct made *made;

	if (!let_in(h, &m, source) || host_receive(h, m.bytes, m.len) != OK)
		return;
	made = made_find(side_of(h->peer), before.bytes, before.len);
	CHECK(made != NULL);
	CHECK(!made->accepted);
	made->accepted = true;
}

/* --- steps ----------------------------------------------------------------------------------- */
typedef void step_fn(struct host *h, struct reader *r);

static void s_send(struct host *h, struct reader *r)
{
	(void)r;
	host_send(h);
}

static void s_deliver(struct host *h, struct reader *r)
{
	const uint8_t x = next(r);

	if (h->n_out > 0)
		arrive(h->peer, wire_take(h, (x >> 2) % h->n_out), x % SOURCES);
}

static void s_exchange(struct host *h, struct reader *r)
{
	(void)r;
	for (int i = 0; i < 100 && (h->n_out > 0 || h->peer->n_out > 0); i++) {
		if (h->n_out > 0)
			arrive(h->peer, wire_take(h, 0), 0);
		if (h->peer->n_out > 0)
			arrive(h, wire_take(h->peer, 0), 0);
	}
}

static void s_lose(struct host *h, struct reader *r)
{
	const uint8_t x = next(r);

	if (h->n_out > 0)
		wire_take(h, x % h->n_out);
}

static const struct packet *old_pick(const struct host *h, struct reader *r)
{
	const struct side *s = side_of(h);
	const size_t n = s->n_old < OLD_MAX ? s->n_old : OLD_MAX;
	const uint8_t x = next(r);

	return n == 0 ? NULL : &s->old[x % n];
}

static void s_repeat(struct host *h, struct reader *r)
{
	const struct packet *m = old_pick(h, r);

	if (m != NULL)
		arrive(h->peer, *m, next(r) % SOURCES);
}

static void s_reflect(struct host *h, struct reader *r)
{
	const struct packet *m = old_pick(h, r);

	if (m != NULL)
		arrive(h, *m, next(r) % SOURCES);
}

static void mac1_put(const struct host *to, struct packet *m)
{
	const size_t at = m->len - sizeof(struct wg_macs);

	if (wg_message_type(m->bytes, m->len) == WG_INITIATION ||
		wg_message_type(m->bytes, m->len) == WG_RESPONSE)
		hash_mac(m->bytes + at, to->id.mac1_key, HASH_SIZE, m->bytes, at);
}

/* A message with bytes changed, cut, or joined with another's, and a right mac1 if so wished. */
static void s_forge(struct host *h, struct reader *r)
{
	const struct packet *one = old_pick(h, r), *other = old_pick(h, r);
	const uint8_t how = next(r);
	struct packet m;

	if (one == NULL)
		return;
	m = *one;
	if (how & 1)
		m.bytes[next(r) % m.len] ^= next(r);
	if (how & 2) {
		size_t at = next(r) % m.len;

		memcpy(m.bytes + at, other->bytes + at, m.len - at);
	}
	if (how & 4)
		m.len = next(r) % (m.len + 1);
	if (how & 8)
		mac1_put(h->peer, &m);
	if (how & 16 && h->peer->s.current != NULL)
		le32_put(m.bytes + 4, h->peer->s.current->local_index);
	arrive(h->peer, m, next(r) % SOURCES);
}

static void s_pass(struct host *h, struct reader *r)
{
	let_pass_drawn(h->pair, next(r));
}

static void s_load(struct host *h, struct reader *r)
{
	side_of(h)->load = next(r) & 1;
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

static void s_anew(struct host *h, struct reader *r)
{
	(void)r;
	session_initiate_anew(&h->s, &h->env, h->pair->now);
}

static void s_persistent(struct host *h, struct reader *r)
{
	session_persistent_set(&h->s, &h->env, h->pair->now, DUR_S(next(r)));
}

/* --- all of it ------------------------------------------------------------------------------- */
static void side_init(struct host *h)
{
	struct side *s = side_of(h);

	memset(s, 0, sizeof(*s));
	cookie_checker_init(&s->checker, &h->id);
	rate_table_init(&s->rate, s->slots, RATE_WAYS, &h->rng);
}

static void bounds_check(const struct host *h)
{
	CHECK(host_indices(h) <= INDICES_PER_SESSION);
	CHECK(h->pool.n_free <= SESSION_KEYPAIRS);
	CHECK(h->n_got <= h->peer->tx_number);
}

/* Under load too, if that is how it was left: a cookie is one more way there and back. */
static void recovers(struct pair *p, struct reader *r)
{
	const uint32_t got_a = p->a.n_got, got_b = p->b.n_got;

	for (int i = 0; i < 2; i++) {
		struct host *h = i ? &p->b : &p->a;

		h->no_index = false;
		h->n_out = h->waiting = 0;
	}
	for (int i = 0; i < 12 && (p->a.n_got == got_a || p->b.n_got == got_b); i++) {
		let_pass(p, DUR_S(6));
		host_send(&p->a);
		host_send(&p->b);
		s_exchange(&p->a, r);
	}
	CHECK(p->a.n_got > got_a && p->b.n_got > got_b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static step_fn *const steps[16] = {s_send, s_send, s_deliver, s_deliver, s_exchange, s_exchange,
		s_lose, s_repeat, s_reflect, s_forge, s_forge, s_pass, s_load, s_starve, s_clear, s_anew};
	struct reader r = {data, data + len};
	struct pair *p = pair_new(NULL);

	side_init(&p->a);
	side_init(&p->b);
	p->on_made = made_note;
	for (int i = 0; i < STEPS_MAX && r.p < r.end; i++) {
		const uint8_t op = next(&r);
		struct host *h = op & 16 ? &p->b : &p->a;

		if (op == 255)
			s_persistent(h, &r);
		else
			steps[op & 15](h, &r);
		bounds_check(&p->a);
		bounds_check(&p->b);
	}
	recovers(p, &r);
	pair_free(p);
	return 0;
}
