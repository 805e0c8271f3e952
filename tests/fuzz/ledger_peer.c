/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Payer and payee with the input between them: it delivers, withholds, repeats, changes and forges
 * their messages, opens and closes sessions, fills the disk, moves the clock. After every step the
 * credit of each session is its allowance and what its tickets bought, totals are sums, and nothing
 * that was not written has left.
 *
 * Input: steps of one byte (what), one byte (which session), and for some a length and bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "services/ledger/core/payee.h"
#include "services/ledger/core/payer.h"
#include "services/ledger/core/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SESSIONS 3
#define WAITING_MAX 32
#define PRICE 1000000u
#define FREE_BYTES 100000u
#define WALL 1700000000

struct waiting {
	bool busy;
	uint64_t id, session;
	uint8_t payload[PEER_MESSAGE_MAX];
	size_t len;
};

struct world {
	const uint8_t *in;
	size_t left;
	secp256k1_context *ctx;
	struct keys payee_keys, payer_keys;
	struct payee *payee;
	struct payer *payer;
	struct payee_sink payee_sink;
	struct payer_sink payer_sink;
	mono_t now;
	wall_t wall;
	bool disk_full;
	struct waiting asks[WAITING_MAX], answers[WAITING_MAX];
	uint64_t next_id;
	uint8_t descriptor[DESCRIPTOR_SIZE];
};

/* Made once: keys and the descriptor cost more than a whole input. */
static struct world *the_world;

static uint8_t byte(struct world *w)
{
	if (w->left == 0)
		return 0;
	w->left--;
	return *w->in++;
}

static void wait_put(struct waiting *q, uint64_t id, uint64_t session, const uint8_t *p, size_t len)
{
	for (size_t i = 0; i < WAITING_MAX; i++) {
		if (q[i].busy)
			continue;
		q[i] = (struct waiting){.busy = true, .id = id, .session = session, .len = len};
		memcpy(q[i].payload, p, len);
		return;
	}
}

static void on_answer(void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	struct world *w = ctx;

	BUG_ON(len > PEER_MESSAGE_MAX);
	wait_put(w->answers, request, session, payload, len);
}

static bool on_grant(void *ctx, uint64_t session, uint64_t credit_bytes)
{
	struct world *w = ctx;
	const struct payee_session *s = payee_find(w->payee, session);

	BUG_ON(s == NULL || s->row.credit_bytes != credit_bytes);
	return (w->next_id & 1) != 0;
}

static bool on_account_load(void *ctx, const uint8_t payer[static ADDRESS_SIZE], struct account *ret_a)
{
	(void)ctx;
	(void)payer;
	(void)ret_a;
	return false;
}

static uint64_t on_ask(void *ctx, uint64_t session, const uint8_t *payload, size_t len)
{
	struct world *w = ctx;

	if (w->next_id % 7 == 6) { /* the link is down at times */
		w->next_id++;
		return 0;
	}
	wait_put(w->asks, ++w->next_id, session, payload, len);
	return w->next_id;
}

static void on_trouble(void *ctx, uint64_t session, const uint8_t node_id[static NODE_ID_SIZE],
	const char *why, bool own_fault)
{
	(void)ctx;
	(void)session;
	(void)node_id;
	(void)own_fault;
	BUG_ON(strlen(why) >= WHY_MAX);
}

static struct terms terms_of(const struct world *w, uint64_t price)
{
	struct terms t = {.price_gwei_per_gib = {price, price, 2 * price}, .free_bytes = FREE_BYTES};

	memcpy(t.payee, w->payee_keys.payee, ADDRESS_SIZE);
	return t;
}

static struct world *world_make(void)
{
	static const uint8_t a[32] = {[31] = 1}, b[32] = {[31] = 2};
	struct world *w = calloc(1, sizeof(*w));
	uint8_t seed[32] = {1}, sk[64];
	struct descriptor d = {.price_gwei_per_gib = {PRICE, PRICE, 2 * PRICE},
		.free_bytes = FREE_BYTES,
		.expires = {WALL + 1000}};

	BUG_ON(w == NULL);
	w->ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	w->payee = calloc(1, sizeof(*w->payee));
	w->payer = calloc(1, sizeof(*w->payer));
	BUG_ON(w->payee == NULL || w->payer == NULL);
	BUG_ON(keys_init(&w->payee_keys, w->ctx, a) != OK || keys_init(&w->payer_keys, w->ctx, b) != OK);
	crypto_sign_seed_keypair(d.node_id, sk, seed);
	memcpy(d.payee, w->payee_keys.payee, ADDRESS_SIZE);
	BUG_ON(descriptor_sign(&d, sk, w->descriptor) != OK);
	w->payee_sink = (struct payee_sink){w, on_answer, on_grant, on_account_load};
	w->payer_sink = (struct payer_sink){w, on_ask, on_trouble};
	return w;
}

static void world_reset(struct world *w, const uint8_t *data, size_t len)
{
	static const uint8_t seed[32] = "fuzz";
	const struct settle_terms settle = {.face_min = {1}, .face_min_bytes = 1 << 20};
	const struct payer_settings pay = {.pay = true};
	struct terms t = terms_of(w, PRICE);

	w->in = data;
	w->left = len;
	w->now.ns = 1000000000u;
	w->wall.s = WALL;
	w->disk_full = false;
	w->next_id = 0;
	memset(w->asks, 0, sizeof(w->asks));
	memset(w->answers, 0, sizeof(w->answers));
	payee_init(w->payee, &w->payee_keys, &settle, seed);
	payee_set_terms(w->payee, &t, w->wall, &w->payee_sink);
	payer_init(w->payer, &w->payer_keys, w->ctx, &w->payee->domain, seed);
	payer_set(w->payer, &pay, w->now);
}

static void check(const struct world *w)
{
	struct sums open = {0}, spent = w->payer->totals.closed;

	for (uint64_t id = 0; id < SESSIONS; id++) {
		const struct payee_session *s = payee_find(w->payee, id);
		uint64_t bytes = 0;

		if (s == NULL)
			continue;
		BUG_ON(s->row.credit_bytes < s->row.base_bytes);
		BUG_ON(sums_add(&open, &s->row.sums) != OK);
		BUG_ON(s->row.sums.n_tickets > 0 && s->account == INDEX_NONE);
		if (s->row.sums.n_tickets == 0) {
			BUG_ON(s->row.credit_bytes != s->row.base_bytes);
			continue;
		}
		BUG_ON(value_bytes(s->row.sums.expected, s->row.price_gwei_per_gib, &bytes) != OK);
		BUG_ON(s->row.credit_bytes - s->row.base_bytes > bytes);
		BUG_ON(bytes - (s->row.credit_bytes - s->row.base_bytes) > s->row.sums.n_tickets);
	}
	BUG_ON(open.n_tickets > w->payee->totals.all.n_tickets);
	for (uint64_t id = 0; id < SESSIONS; id++) {
		const struct payer_session *s = payer_find(w->payer, id + 100);

		if (s != NULL)
			BUG_ON(sums_add(&spent, &s->row.sums) != OK);
	}
	BUG_ON(!sums_eq(&spent, &w->payer->totals.all));
}

static void flush(struct world *w)
{
	payee_tick(w->payee, &w->payee_sink);
	payer_tick(w->payer, w->now, w->wall, &w->payer_sink);
	if (payee_staged(w->payee))
		payee_committed(w->payee, !w->disk_full, &w->payee_sink);
	if (payer_staged(w->payer))
		payer_committed(w->payer, w->now, !w->disk_full, &w->payer_sink);
	if (!w->disk_full && (w->payee->storage_down || w->payer->storage_down)) {
		payee_storage_back(w->payee);
		payer_storage_back(w->payer);
	}
	check(w);
}

static struct waiting *pick(struct world *w, struct waiting *q)
{
	size_t at = byte(w) % WAITING_MAX;

	for (size_t i = 0; i < WAITING_MAX; i++)
		if (q[(at + i) % WAITING_MAX].busy)
			return &q[(at + i) % WAITING_MAX];
	return NULL;
}

/* Changes some bytes of what waits: count, then (place, xor) each. */
static void change(struct world *w, struct waiting *x)
{
	for (unsigned int n = byte(w) % 8; n > 0 && x->len > 0; n--) {
		size_t at = byte(w) % x->len;

		x->payload[at] ^= byte(w);
	}
}

static size_t raw(struct world *w, uint8_t *out, size_t max)
{
	size_t n = byte(w);

	n = n > max ? max : n;
	for (size_t i = 0; i < n; i++)
		out[i] = byte(w);
	return n;
}

static void step(struct world *w)
{
	uint8_t what = byte(w), payload[PEER_PAYLOAD_MAX];
	uint64_t id = byte(w) % SESSIONS;
	struct waiting *x;
	struct terms t;
	size_t n;

	switch (what % 16) {
	case 0:
		payee_on_opened(w->payee, w->now, id, (byte(w) & 1) != 0, &w->payee_sink);
		break;
	case 1:
		payer_on_opened(w->payer, w->now, id + 100, byte(w), false, w->descriptor,
			DESCRIPTOR_SIZE, &w->payer_sink);
		break;
	case 2: /* forged request */
		n = raw(w, payload, sizeof(payload));
		payee_on_asked(w->payee, w->now, w->wall, id, 1, payload, n, &w->payee_sink);
		break;
	case 3: /* a request arrives, as it is or changed, here or elsewhere */
	case 4:
		x = pick(w, w->asks);
		if (x == NULL)
			break;
		x->busy = what % 2 == 0; /* or again later */
		if (byte(w) % 4 == 0)
			change(w, x);
		payee_on_asked(w->payee, w->now, w->wall, byte(w) % 4 == 0 ? id : x->session - 100,
			(uint32_t)x->id, x->payload, x->len, &w->payee_sink);
		break;
	case 5: /* an answer arrives */
	case 6:
		x = pick(w, w->answers);
		if (x == NULL)
			break;
		x->busy = what % 2 == 0;
		if (byte(w) % 4 == 0)
			change(w, x);
		payer_on_answered(w->payer, w->now, x->id, OK, x->payload, x->len, &w->payer_sink);
		break;
	case 7: /* forged answer */
		x = pick(w, w->asks);
		n = raw(w, payload, sizeof(payload));
		payer_on_answered(w->payer, w->now, x == NULL ? 1 : x->id, OK, payload, n, &w->payer_sink);
		break;
	case 8:
		x = pick(w, w->asks);
		if (x != NULL)
			payer_on_answered(w->payer, w->now, x->id, ERR_TIMEOUT, NULL, 0, &w->payer_sink);
		break;
	case 9:
		payee_on_usage(w->payee, id, (uint64_t)byte(w) << 14, (uint64_t)byte(w) << 14,
			(uint64_t)byte(w) << 10, &w->payee_sink);
		break;
	case 10:
		payer_on_usage(w->payer, w->now, id + 100, (uint64_t)byte(w) << 14,
			(uint64_t)byte(w) << 14, byte(w), &w->payer_sink);
		break;
	case 11:
		w->disk_full = (byte(w) & 1) != 0;
		break;
	case 12:
		w->now = mono_add(w->now, DUR_MS(1u << byte(w) % 20));
		w->wall.s += byte(w) % 2 == 0 ? 1 : 40000;
		break;
	case 13:
		if ((byte(w) & 1) != 0)
			payee_on_closed(w->payee, id, 1, 1);
		else
			payer_on_closed(w->payer, id + 100, 1, 1);
		break;
	case 14:
		payee_on_role(w->payee, id, (byte(w) & 1) != 0, &w->payee_sink);
		break;
	case 15:
		t = terms_of(w, (uint64_t)byte(w) * PRICE / 2);
		payee_set_terms(w->payee, &t, w->wall, &w->payee_sink);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	if (the_world == NULL)
		the_world = world_make();
	world_reset(the_world, data, len > 4096 ? 4096 : len);
	while (the_world->left > 0) {
		step(the_world);
		flush(the_world);
	}
	return 0;
}
