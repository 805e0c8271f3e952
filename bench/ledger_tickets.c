/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Tickets per second and core: signed; checked without and with the payee around it; hashed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/micro.h"
#include "services/ledger/core/payee.h"
#include "services/ledger/core/value.h"

#define TICKETS 4000

static uint8_t wires[TICKETS][TICKET_SIZE];
static uint64_t n_paid;

static double cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void say(const char *what, double s, unsigned int n)
{
	row("tickets", what, 0, s * 1e9 / n);
}

static void on_answer(void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	peer_ledger_Message m;

	(void)ctx;
	(void)session;
	(void)request;
	if (peer_decode(payload, len, &m) == OK && m.which_body == peer_ledger_Message_paid_tag)
		n_paid++;
}

static bool on_grant(void *ctx, uint64_t session, uint64_t credit_bytes)
{
	(void)ctx;
	(void)session;
	(void)credit_bytes;
	return true;
}

static bool on_account_load(void *ctx, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a)
{
	(void)ctx;
	(void)payer;
	(void)ret_a;
	return false;
}

static const struct payee_sink sink = {NULL, on_answer, on_grant, on_account_load};

static void ask(struct payee *p, mono_t now, wall_t wall, const peer_ledger_Message *m)
{
	uint8_t payload[PEER_MESSAGE_MAX];

	payee_on_asked(p, now, wall, 1, 1, payload, peer_encode(m, payload), &sink);
	payee_committed(p, true, &sink);
}

static struct payee *payee_make(const struct keys *keys, struct terms *t)
{
	static const uint8_t seed[32];
	const struct settle_terms settle = {.face_min = {1}, .face_min_bytes = 64 << 20};
	struct payee *p = calloc(1, sizeof(*p));
	peer_ledger_Message m = peer_ledger_Message_init_zero;

	if (p == NULL)
		abort();
	payee_init(p, keys, &settle, seed);
	memcpy(t->payee, keys->payee, ADDRESS_SIZE);
	payee_set_terms(p, t, (wall_t){0}, &sink);
	payee_on_opened(p, (mono_t){1}, 1, false, &sink);
	m.which_body = peer_ledger_Message_quote_tag;
	m.body.quote.terms_hash.size = KECCAK_SIZE;
	terms_hash(t, m.body.quote.terms_hash.bytes);
	ask(p, (mono_t){1}, (wall_t){0}, &m);
	return p;
}

static double sign_all(const struct payee *p, const secp256k1_context *ctx)
{
	uint8_t reveal[32], sk[32] = {[31] = 9};
	struct ticket t = {.expiry = {1000}};
	double begun = cpu_s();

	memcpy(t.payee, p->keys->payee, ADDRESS_SIZE);
	keys_reveal(p->keys, 1, payee_find(p, 1)->row.nonce, 0, reveal);
	keccak256(reveal, sizeof(reveal), t.commit);
	if (value_of_bytes(64 << 20, payee_find(p, 1)->row.price_gwei_per_gib, &t.face) != OK)
		abort();
	t.ratio = (uint64_t)1 << 44; /* rarely wins: one commit for all */
	for (unsigned int i = 0; i < TICKETS; i++) {
		t.seq = i + 1;
		memcpy(t.salt, &i, sizeof(i));
		if (ticket_sign(&t, &p->domain, ctx, sk, wires[i]) != OK)
			abort();
	}
	return cpu_s() - begun;
}

static double check_all(const struct payee *p)
{
	double begun = cpu_s();

	for (unsigned int i = 0; i < TICKETS; i++) {
		uint8_t digest[KECCAK_SIZE], who[ADDRESS_SIZE];
		struct ticket t;

		if (ticket_decode(wires[i], TICKET_SIZE, &t) != OK)
			abort();
		ticket_digest(&t, &p->domain, digest);
		if (ticket_recover(wires[i], digest, who) != OK)
			abort();
	}
	return cpu_s() - begun;
}

static double take_all(struct payee *p)
{
	peer_ledger_Message m = peer_ledger_Message_init_zero;
	mono_t now = {1};
	double begun = cpu_s();

	m.which_body = peer_ledger_Message_pay_tag;
	m.body.pay.ticket.size = TICKET_SIZE;
	for (unsigned int i = 0; i < TICKETS; i++) {
		now = mono_add(now, DUR_MS(10));
		memcpy(m.body.pay.ticket.bytes, wires[i], TICKET_SIZE);
		ask(p, now, (wall_t){0}, &m);
	}
	return cpu_s() - begun;
}

static double hash_all(void)
{
	uint8_t hash[KECCAK_SIZE] = {0}, text[66] = {0};
	double begun = cpu_s();

	for (unsigned int i = 0; i < 100000; i++) {
		memcpy(text, hash, KECCAK_SIZE);
		keccak256(text, sizeof(text), hash);
	}
	return cpu_s() - begun;
}

int main(void)
{
	static const uint8_t wallet[32] = {[31] = 1};
	secp256k1_context *ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	struct terms t = {.price_gwei_per_gib = {1000000, 1000000, 1000000}};
	struct keys keys;

	if (keys_init(&keys, ctx, wallet) != OK)
		return 1;
	struct payee *p = payee_make(&keys, &t);
	head();
	say("signed", sign_all(p, ctx), TICKETS);
	say("checked", check_all(p), TICKETS);
	say("taken", take_all(p), TICKETS);
	say("keccak256 of 66 B", hash_all(), 100000);
	free(p);
	secp256k1_context_destroy(ctx);
	return n_paid != TICKETS;
}
