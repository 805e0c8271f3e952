/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tunnel's arithmetic costs on one core: AEAD by back end and size, handshakes beside the
 * arithmetic that they cannot do without, cutting and joining of super-packets. */
#include <sodium.h>

#include "bench/micro.h"
#include "services/tunnel/core/offload.h"
#include "tests/harness/tunnel_packets.h"
#include "tests/harness/tunnel_pair.h"

#define BATCH 64
#define SLOT 2048

/* Seals batches of fewer: a back end may spread a batch over lanes, a single packet it cannot. */
static void batch_rows(struct aead *a, uint8_t *buf)
{
	static const struct {
		uint32_t len;
		size_t n;
	} batches[] = {{64, 1}, {64, 8}, {64, 32}, {1420, 1}, {1420, 8}, {1420, 32}};
	struct aead_key key = {{1}};
	struct aead_op ops[BATCH];

	for (size_t k = 0; k < sizeof(batches) / sizeof(batches[0]); k++) {
		size_t n = batches[k].n;
		char what[32];

		for (size_t i = 0; i < n; i++)
			ops[i] = (struct aead_op){buf + i * SLOT, batches[k].len, false, i};
		snprintf(what, sizeof(what), "seal %zu at once", n);
		row(what, a->backend->name, batches[k].len,
			MEASURE(256, for (size_t i = 0; i < 256; i += n) aead_seal(a, &key, ops, n)));
	}
}

static void aead_rows(const struct aead_backend *b)
{
	static const uint32_t sizes[] = {0, 64, 256, 1420};
	static uint8_t buf[BATCH * SLOT], sealed[BATCH * SLOT];
	size_t size = (b->state_size() + 63) & ~(size_t)63;
	void *mem = size > 0 ? aligned_alloc(64, size) : NULL;
	struct aead_op ops[BATCH];
	struct aead_key key = {{1}};
	struct aead a;

	if (mem == NULL || aead_init(&a, b, mem) != OK) {
		free(mem);
		return;
	}
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		double seal_ns, open_ns;

		for (size_t i = 0; i < BATCH; i++)
			ops[i] = (struct aead_op){buf + i * SLOT, sizes[s], false, i};
		seal_ns = MEASURE(
			4 * BATCH, for (int k = 0; k < 4; k++) aead_seal(&a, &key, ops, BATCH));
		aead_seal(&a, &key, ops, BATCH);
		memcpy(sealed, buf, sizeof(buf));
		/* opening leaves plaintext, so the ciphertext is put back; that is not counted */
		open_ns = 1e18;
		for (int round = 0; round < ROUNDS; round++) {
			memcpy(buf, sealed, sizeof(buf));
			uint64_t began = cpu_ns();
			aead_open(&a, &key, ops, BATCH);
			double ns = (double)(cpu_ns() - began) / BATCH;
			open_ns = ns < open_ns ? ns : open_ns;
		}
		CHECK(ops[0].ok && ops[BATCH - 1].ok);
		row("seal", b->name, sizes[s], seal_ns);
		row("open", b->name, sizes[s], open_ns);
	}
	batch_rows(&a, buf);
	aead_done(&a);
	free(mem);
}

static void one_initiation(struct pair *p)
{
	p->a.s.initiation_sent = (mono_t){0};
	p->a.n_out = 0;
	p->wall_ns += 1u << 25;
	p->now.ns += 100000000;
	session_initiate(&p->a.s, &p->a.env, p->now);
}

/* As a worker does it: mac1 first. */
static void one_response(struct pair *p, struct cookie_checker *c)
{
	static const struct net_endpoint from = {{NET_IP4, {192, 0, 2, 1}}, 1};

	p->b.n_out = 0;
	CHECK(cookie_check(c, p->a.out[0].bytes, WG_INITIATION_SIZE, &from, false, p->now) == COOKIE_MAC1);
	CHECK(deliver(&p->a) == OK);
}

/* The arithmetic of a responder and nothing else, in the same order on inputs of the same lengths: one
 * key pair and three agreements (that of the two static keys is kept with the peer, and so is all that
 * follows from the keys alone), the hashes, the AEADs, both mac1. */
static void respond_floor(void)
{
	static const uint8_t nonce[12];
	static uint8_t h[HASH_SIZE], ck[HASH_SIZE], k[HASH_SIZE], t[HASH_SIZE], pk[32] = {9}, sk[32] = {8, 1},
		out[64], sealed[48], msg[WG_INITIATION_SIZE];

	hash_mac(out, k, sizeof(k), msg, WG_INITIATION_SIZE - sizeof(struct wg_macs));
	hash_of(ck, msg, 37, NULL, 0);
	for (int half = 0; half < 2; half++) { /* an ephemeral key of each side */
		if (half == 1)
			crypto_scalarmult_base(pk, sk);
		hash_of(h, h, HASH_SIZE, pk, sizeof(pk));
		hash_kdf(ck, NULL, NULL, ck, pk, sizeof(pk));
		if (half == 1)
			break;
		CHECK(crypto_scalarmult(out, sk, pk) == 0);
		hash_kdf(ck, k, NULL, ck, out, 32);
		(void)!crypto_aead_chacha20poly1305_ietf_decrypt(
			out, NULL, NULL, sealed, 48, h, HASH_SIZE, nonce, k);
		hash_of(h, h, HASH_SIZE, sealed, 48);
		hash_kdf(ck, k, NULL, ck, sk, sizeof(sk));
		(void)!crypto_aead_chacha20poly1305_ietf_decrypt(
			out, NULL, NULL, sealed, 28, h, HASH_SIZE, nonce, k);
		hash_of(h, h, HASH_SIZE, sealed, 28);
	}
	for (int i = 0; i < 2; i++) { /* with their ephemeral key, with their static key */
		CHECK(crypto_scalarmult(out, sk, pk) == 0);
		hash_kdf(ck, NULL, NULL, ck, out, 32);
	}
	hash_kdf(ck, t, k, ck, sk, sizeof(sk));
	hash_of(h, h, HASH_SIZE, t, sizeof(t));
	crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, NULL, 0, h, HASH_SIZE, NULL, nonce, k);
	hash_of(h, h, HASH_SIZE, sealed, 16);
	hash_kdf(t, k, NULL, ck, NULL, 0);
	hash_mac(out, k, sizeof(k), msg, WG_RESPONSE_SIZE - sizeof(struct wg_macs));
}

static void handshake_rows(void)
{
	struct pair *p = pair_new(NULL);
	double initiate = 1e18, respond = 1e18, accept = 1e18, floor = 1e18;
	struct cookie_checker c;

	cookie_checker_init(&c, &p->b.id);
	for (int i = 0; i < 400; i++) {
		uint64_t t0 = cpu_ns(), t1, t2, t3, t4;

		one_initiation(p);
		t1 = cpu_ns();
		one_response(p, &c);
		t2 = cpu_ns();
		CHECK(deliver(&p->b) == OK);
		t3 = cpu_ns();
		respond_floor();
		t4 = cpu_ns();
		initiate = least(initiate, (double)(t1 - t0));
		respond = least(respond, (double)(t2 - t1));
		accept = least(accept, (double)(t3 - t2));
		floor = least(floor, (double)(t4 - t3));
	}
	row("handshake", "initiation_create", 0, initiate);
	row("handshake", "respond", 0, respond);
	row("handshake", "respond_floor", 0, floor);
	row("handshake", "response_accept", 0, accept);
	pair_free(p);
}

static void curve_rows(void)
{
	uint8_t sk[32] = {8, 1}, pk[32], shared[32];

	row("x25519", "key_pair", 0, MEASURE(10, for (int i = 0; i < 10; i++) crypto_scalarmult_base(pk, sk)));
	row("x25519", "agreement", 0,
		MEASURE(10, for (int i = 0; i < 10; i++) CHECK(crypto_scalarmult(shared, sk, pk) == 0)));
}

static void mac1_row(void)
{
	static const struct net_endpoint from = {{NET_IP4, {192, 0, 2, 1}}, 1};
	struct pair *p = pair_new(NULL);
	struct cookie_checker c;
	uint8_t junk[WG_INITIATION_SIZE] = {1};

	cookie_checker_init(&c, &p->a.id);
	row("flood", "mac1_check", 0,
		MEASURE(1000, for (int i = 0; i < 1000; i++)
				      CHECK(cookie_check(&c, junk, sizeof(junk), &from, false,
						    p->now) == COOKIE_BAD)));
	pair_free(p);
}

static void replay_row(void)
{
	static struct replay r;
	uint64_t next = 0;

	replay_init(&r);
	row("replay", "commit", 0,
		MEASURE(100000, for (int i = 0; i < 100000; i++) CHECK(replay_commit(&r, next++))));
}

/* One super-packet of 45 segments out, the same segments in. */
static void offload_rows(void)
{
	static const struct offload_layout l = {16, 16, 16, 1420};
	static struct offload_joiner j;
	static uint8_t buf[70000], out[80000], kept[80000];
	struct build b = BUILD_TCP4;
	size_t len = build_packet(&b, buf + OFFLOAD_VHDR, 45 * 1360);
	struct offload_super s;
	struct offload_plan p;

	memcpy(buf, (uint16_t[]){0x0101, 0, 1360, 20, 16}, OFFLOAD_VHDR);
	CHECK(offload_parse(buf, OFFLOAD_VHDR + len, &s) == OK);
	offload_plan(&s, &l, &p);
	row("offload", "cut_45", len,
		MEASURE(10, for (int k = 0; k < 10; k++) offload_cut(&s, &l, &p, 0, p.n, out)));
	memcpy(kept, out, sizeof(out));
	row("offload", "join_45", len, MEASURE(1, {
		uint8_t vhdr[OFFLOAD_VHDR];
		struct iovec iov[OFFLOAD_IOVS];

		memcpy(out, kept, 100);
		offload_joiner_init(&j, OFFLOAD_CAP_TCP4);
		for (uint32_t i = 0; i < p.n; i++) {
			uint8_t *pkt = out + (size_t)i * p.stride + l.headroom;
			struct ip_packet ip;

			CHECK(ip_parse(pkt, i + 1 == p.n ? p.last_len : p.len, &ip) == OK);
			CHECK(offload_add(&j, pkt, &ip) == OK);
		}
		CHECK(offload_runs(&j) == 1);
		offload_run_iov(&j, 0, vhdr, iov);
	}));
}

int main(void)
{
	head();
	for (size_t i = 0; i < AEAD_BACKENDS_MAX && aead_backends[i] != NULL; i++)
		aead_rows(aead_backends[i]);
	handshake_rows();
	curve_rows();
	mac1_row();
	replay_row();
	offload_rows();
	return 0;
}
