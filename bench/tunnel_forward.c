/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A relay's way of a message without its sockets: opened, judged, forwarded; with the limits and counters of
 * its session, and without. */
#include "bench/micro.h"
#include "services/tunnel/core/admit.h"
#include "services/tunnel/core/circuit.h"
#include "services/tunnel/core/meter.h"
#include "tests/harness/tunnel_pair.h"

#define BATCHES 4
#define CHUNK 32 /* as in the worker */
#define SLOT 2048 /* bytes of a receive buffer */
#define SLOT_NUMBER 3

struct forward {
	struct pair *p;
	struct circuit circuit;
	struct admit admit;
	struct meter meter;
	struct bucket bucket;
	struct bucket_share share;
	void *mem[2]; /* of circuit, admit */
	uint8_t buf[BATCHES][CHUNK][SLOT];
	struct aead_op ops[BATCHES][CHUNK];
};

/* A leg to a next hop that has answered. */
static void leg_open(struct forward *f)
{
	static const struct descriptor next = {
		.roles = DESCRIPTOR_RELAY, .ep4 = {{NET_IP4, {192, 0, 2, 7}}, 51820}, .wg_pk = {7}};
	uint8_t m[WG_INITIATION_SIZE] = {WG_INITIATION, 0, 0, 0, 1}, answer[WG_RESPONSE_SIZE] = {WG_RESPONSE};
	const struct circuit_leg *leg;

	answer[8] = 1;
	CHECK(circuit_extend(&f->circuit, f->p->now, 0, SLOT_NUMBER, &next, DUR_S(86400)) == OK);
	CHECK(circuit_forward(&f->circuit, f->p->now, 0, SLOT_NUMBER, m, sizeof(m), &leg) == OK);
	CHECK(circuit_back(&f->circuit, f->p->now, &next.ep4, answer, sizeof(answer), &leg) == OK);
}

static struct forward *forward_new(void)
{
	static const uint64_t key[2] = {3, 5};
	const struct circuit_conf circuit = {.sessions_max = 16, .legs_max = 16, .have_ip4 = true};
	const struct admit_conf admit = {.sessions_max = 16, .strangers_max = 16, .prefixes_max = 16};
	struct forward *f = calloc(1, sizeof(*f));

	CHECK(f != NULL);
	f->p = pair_new(NULL);
	connect_pair(f->p);
	f->mem[0] = malloc(circuit_bytes(&circuit));
	f->mem[1] = malloc(admit_bytes(&admit));
	CHECK(f->mem[0] != NULL && f->mem[1] != NULL);
	circuit_init(&f->circuit, &circuit, f->mem[0], key);
	admit_init(&f->admit, &admit, f->mem[1], key);
	admit_session_new(&f->admit, f->p->now, 0);
	meter_init(&f->meter, f->p->now, 1ull << 60, true);
	bucket_init(&f->bucket, f->p->now, 1ull << 50, 1ull << 60);
	leg_open(f);
	return f;
}

static void forward_free(struct forward *f)
{
	pair_free(f->p);
	free(f->mem[0]);
	free(f->mem[1]);
	free(f);
}

/* The client's side: relay frames with a transport message of len bytes. */
static void forward_seal(struct forward *f, struct aead *a, uint32_t len)
{
	for (int b = 0; b < BATCHES; b++) {
		for (int i = 0; i < CHUNK; i++) {
			uint8_t *at = f->buf[b][i] + WG_TRANSPORT_HEAD;

			frame_relay_put(at, SLOT_NUMBER);
			wg_transport_head_put(at + FRAME_HEADER_SIZE, 9, (uint64_t)i);
			f->ops[b][i] = (struct aead_op){.buf = at, .len = FRAME_HEADER_SIZE + len};
		}
		CHECK(session_seal_batch(&f->p->a.s, &f->p->a.env, a, f->p->now, f->ops[b], CHUNK) == OK);
	}
}

/* What a relay asks before a batch of n bytes passes, and notes after it. */
static void forward_limits(struct forward *f, uint64_t n_bytes)
{
	CHECK(admit_may_send(&f->admit, 0, FRAME_RELAY));
	admit_session_used(&f->admit, f->p->now, 0);
	CHECK(meter_may(&f->meter) && bucket_take(&f->bucket, f->p->now, &f->share, n_bytes));
	meter_count(&f->meter, n_bytes, 0);
	(void)!meter_due(&f->meter, f->p->now);
}

/* CPU time of one message. */
static double forward_once(struct forward *f, struct aead *a, uint32_t len, bool limits)
{
	const uint32_t index = f->p->b.s.current->local_index;
	const struct circuit_leg *leg;
	uint64_t began;

	forward_seal(f, a, len);
	began = cpu_ns();
	for (int b = 0; b < BATCHES; b++) {
		CHECK(session_open_batch(&f->p->b.s, &f->p->b.env, a, f->p->now, index, f->ops[b], CHUNK) ==
			CHUNK);
		if (limits)
			forward_limits(f, (uint64_t)len * CHUNK);
		for (int i = 0; i < CHUNK; i++)
			CHECK(circuit_forward(&f->circuit, f->p->now, 0, SLOT_NUMBER,
				      f->ops[b][i].buf + FRAME_HEADER_SIZE, len, &leg) == OK);
	}
	return (double)(cpu_ns() - began) / (BATCHES * CHUNK);
}

static void forward_rows(struct aead *a)
{
	static const uint32_t sizes[] = {96, 1420};
	struct forward *f = forward_new();

	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		double bare = 1e18, limited = 1e18;

		for (int round = 0; round < 10 * ROUNDS; round++) {
			bare = least(bare, forward_once(f, a, sizes[s], false));
			limited = least(limited, forward_once(f, a, sizes[s], true));
		}
		row("forward", "bare", sizes[s], bare);
		row("forward", "limited", sizes[s], limited);
	}
	forward_free(f);
}

static void fastest(struct aead *a)
{
	static const uint8_t seed[32];
	const struct aead_backend *b;
	struct aead_report r;

	CHECK(aead_choose(NULL, seed, cpu_ns, aligned_alloc, free, &b, &r) == OK);
	CHECK(aead_init(a, b, aligned_alloc(64, (b->state_size() + 63) & ~(size_t)63)) == OK);
}

int main(void)
{
	struct aead a;

	head();
	fastest(&a);
	forward_rows(&a);
	aead_done(&a);
	free(a.state);
	return 0;
}
