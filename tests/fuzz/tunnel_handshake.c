/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handshake messages from outside. The first byte says what is done: a message is taken as it is,
 * or a true one (initiation, response, cookie reply) is changed at the places that the input names
 * (offset, xor) and then delivered. What was changed must be refused, and the session must still
 * come up with the true one. */
#include "tests/harness/tunnel_pair.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const struct net_endpoint source = {{NET_IP4, {192, 0, 2, 1}}, 7};

/* Straight into each decoder, as a stranger could. Nothing of it can be genuine. */
static void raw(struct pair *p, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1), seed[32];
	unsigned int type;

	memcpy(copy, data, len);
	type = wg_message_type(copy, len);
	/* Ephemeral keys that depend on the input: a fuzzer that watches comparisons finds fixed
	 * ones. */
	hash_of(seed, data, len, "raw", 3);
	rng_init(&p->a.rng, seed);
	session_initiate(&p->a.s, &p->a.env, p->now); /* so that it waits for a response */
	if (type == WG_INITIATION || type == WG_RESPONSE) {
		struct cookie_checker c;
		struct wg_cookie reply;

		cookie_checker_init(&c, &p->a.id);
		CHECK(cookie_check(&c, copy, len, &source, true, p->now) == COOKIE_BAD);
		cookie_reply_create(&c, copy, len, &source, &p->a.rng, p->now, &reply);
	}
	if (type == WG_RESPONSE) /* let it be for the right index */
		le32_put(copy + 8, p->a.s.initiator.local_index);
	CHECK(host_receive(&p->a, copy, len) != OK);
	CHECK(host_receive(&p->b, copy, len) != OK);
	free(copy);
}

/* Applies (offset, xor) pairs; true if anything differs afterwards. */
static bool change(uint8_t *msg, size_t size, const uint8_t *data, size_t len)
{
	uint8_t before[WG_INITIATION_SIZE];

	memcpy(before, msg, size);
	for (size_t i = 0; i + 1 < len; i += 2)
		msg[data[i] % size] ^= data[i + 1];
	return memcmp(before, msg, size) != 0;
}

/* Index fields and macs are not covered by the handshake itself; mac1 covers the indices. */
static bool covered(const uint8_t *a, const uint8_t *b, size_t from, size_t to)
{
	return memcmp(a + from, b + from, to - from) != 0;
}

static void changed_initiation(struct pair *p, const uint8_t *data, size_t len)
{
	struct packet good, bad;
	struct cookie_checker c;
	enum cookie_verdict v;
	bool changed;

	cookie_checker_init(&c, &p->b.id);
	session_initiate(&p->a.s, &p->a.env, p->now);
	good = bad = wire_take(&p->a, 0);
	changed = change(bad.bytes, bad.len, data, len);
	v = cookie_check(&c, bad.bytes, bad.len, &source, false, p->now);
	CHECK((v == COOKIE_BAD) == covered(good.bytes, bad.bytes, 0, bad.len - WG_MAC_SIZE));
	if (changed && covered(good.bytes, bad.bytes, 8, offsetof(struct wg_initiation, macs))) {
		CHECK(host_receive(&p->b, bad.bytes, bad.len) != OK);
		CHECK(host_receive(&p->b, good.bytes, good.len) == OK);
	}
}

static void changed_response(struct pair *p, const uint8_t *data, size_t len)
{
	struct packet good, bad;

	session_initiate(&p->a.s, &p->a.env, p->now);
	CHECK(deliver(&p->a) == OK);
	good = bad = wire_take(&p->b, 0);
	change(bad.bytes, bad.len, data, len);
	if (covered(good.bytes, bad.bytes, 0, 4) ||
		covered(good.bytes, bad.bytes, 8, offsetof(struct wg_response, macs)))
		CHECK(host_receive(&p->a, bad.bytes, bad.len) != OK);
	else
		good = bad; /* the sender index is covered by mac1 only */
	CHECK(host_receive(&p->a, good.bytes, good.len) == OK);
	CHECK(p->a.s.current != NULL);
}

static void changed_cookie(struct pair *p, const uint8_t *data, size_t len)
{
	struct cookie_checker c;
	struct wg_cookie good, bad;
	struct packet m;

	cookie_checker_init(&c, &p->b.id);
	session_initiate(&p->a.s, &p->a.env, p->now);
	m = wire_take(&p->a, 0);
	cookie_reply_create(&c, m.bytes, m.len, &source, &p->b.rng, p->now, &good);
	bad = good;
	change((uint8_t *)&bad, sizeof(bad), data, len);
	if (covered((uint8_t *)&good, (uint8_t *)&bad, 8, sizeof(good)))
		CHECK(session_cookie_accept(&p->a.s, p->now, (uint8_t *)&bad) == ERR_DENIED);
	CHECK(session_cookie_accept(&p->a.s, p->now, (uint8_t *)&good) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const kinds[])(struct pair *, const uint8_t *, size_t) = {
		raw, changed_initiation, changed_response, changed_cookie};
	struct pair *p;

	if (len < 1 || len > PACKET_MAX)
		return 0;
	p = pair_new(NULL);
	kinds[data[0] % 4](p, data + 1, len - 1);
	p->a.n_out = p->b.n_out = 0;
	pass(p, DUR_S(1000), false);
	pair_free(p);
	return 0;
}
