/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The handshake against transcripts of another implementation, byte for byte, and against
 * forgeries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <sodium.h>

#include "services/tunnel/core/cookie.h"
#include "services/tunnel/core/noise.h"
#include "tests/vectors/tunnel_handshake.h"

#define N_VECTORS (sizeof(vectors) / sizeof(vectors[0]))
#define BYTES(text) ((const uint8_t *)(text))

struct pair {
	struct noise_identity i_id, r_id;
	struct noise_remote r_of_i, i_of_r; /* the responder as the initiator sees it, and back */
	struct noise_initiator in;
	struct noise_responder re;
	struct noise_keys i_keys, r_keys;
	struct wg_initiation m1;
	struct wg_response m2;
};

/* A stream whose first bytes are these. */
static struct rng rng_giving(const char *bytes, size_t len)
{
	static const uint8_t seed[32] = {9};
	struct rng r;

	rng_init(&r, seed);
	r.n_used = (unsigned int)(sizeof(r.buf) - len);
	memcpy(r.buf + r.n_used, bytes, len);
	return r;
}

static void pair_init(struct pair *p, const struct vector *v)
{
	memset(p, 0, sizeof(*p));
	noise_identity_init(&p->i_id, BYTES(v->i_sk));
	noise_identity_init(&p->r_id, BYTES(v->r_sk));
	assert_memory_equal(p->i_id.static_pk, v->i_pk, 32);
	assert_int_equal(
		noise_remote_init(&p->r_of_i, &p->i_id, BYTES(v->r_pk), BYTES(v->psk)), OK);
	assert_int_equal(
		noise_remote_init(&p->i_of_r, &p->r_id, BYTES(v->i_pk), BYTES(v->psk)), OK);
}

static void initiation_make(struct pair *p, const struct vector *v)
{
	struct rng rng = rng_giving(v->ei_sk, 32);
	uint8_t stamp[TAI64N_SIZE];

	tai64n_put(stamp, v->wall_ns);
	assert_memory_equal(stamp, v->stamp, TAI64N_SIZE);
	assert_int_equal(noise_initiation_create(
				 &p->in, &p->i_id, &p->r_of_i, v->i_index, stamp, &rng, &p->m1),
		OK);
}

static void response_make(struct pair *p, const struct vector *v)
{
	struct rng rng = rng_giving(v->er_sk, 32);

	assert_int_equal(noise_initiation_open(&p->r_id, &p->m1, &p->re), OK);
	assert_memory_equal(p->re.remote_static, v->i_pk, 32);
	assert_int_equal(noise_initiation_finish(&p->re, &p->i_of_r), OK);
	assert_memory_equal(p->re.timestamp, v->stamp, TAI64N_SIZE);
	assert_int_equal(
		noise_response_create(&p->re, &p->i_of_r, v->r_index, &rng, &p->m2, &p->r_keys),
		OK);
}

static void transcripts_match(void **state)
{
	(void)state;
	for (size_t c = 0; c < N_VECTORS; c++) {
		const struct vector *v = &vectors[c];
		struct cookie_jar jar = {0};
		struct pair p;

		pair_init(&p, v);
		initiation_make(&p, v);
		response_make(&p, v);
		cookie_macs_put(&jar, &p.r_of_i, (uint8_t *)&p.m1, sizeof(p.m1), (mono_t){1});
		cookie_macs_put(&jar, &p.i_of_r, (uint8_t *)&p.m2, sizeof(p.m2), (mono_t){1});
		assert_memory_equal(&p.m1, v->m1, sizeof(p.m1));
		assert_memory_equal(&p.m2, v->m2, sizeof(p.m2));
		assert_int_equal(
			noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &p.m2, &p.i_keys), OK);
		assert_memory_equal(&p.i_keys.send, v->t_i, 32);
		assert_memory_equal(&p.i_keys.receive, v->t_r, 32);
		assert_memory_equal(&p.r_keys.receive, v->t_i, 32);
		assert_memory_equal(&p.r_keys.send, v->t_r, 32);
		assert_int_equal(p.i_keys.remote_index, v->r_index);
		assert_int_equal(p.r_keys.remote_index, v->i_index);
	}
}

/* Every single bit of the part that the handshake covers counts (mac fields are cookie's). */
static void initiation_bits_count(void **state)
{
	const struct vector *v = &vectors[1];
	struct pair p;

	(void)state;
	pair_init(&p, v);
	for (size_t bit = 8 * 8; bit < offsetof(struct wg_initiation, macs) * 8; bit += 3) {
		struct wg_initiation m;

		memcpy(&m, v->m1, sizeof(m));
		((uint8_t *)&m)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* X25519 ignores the top bit of a point, but the transcript does not */
		assert_true(noise_initiation_open(&p.r_id, &m, &p.re) != OK ||
			    noise_initiation_finish(&p.re, &p.i_of_r) != OK);
	}
}

static void response_bits_count(void **state)
{
	const struct vector *v = &vectors[1];
	struct wg_response m;
	struct pair p;

	(void)state;
	pair_init(&p, v);
	initiation_make(&p, v);
	for (size_t bit = 8 * 8; bit < offsetof(struct wg_response, macs) * 8; bit += 3) {
		memcpy(&m, v->m2, sizeof(m));
		((uint8_t *)&m)[bit / 8] ^= (uint8_t)(1 << bit % 8);
		assert_int_equal(noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &m, &p.i_keys),
			ERR_DENIED);
	}
	/* and the forgeries have not spoilt the wait for the true one, which counts once */
	memcpy(&m, v->m2, sizeof(m));
	assert_int_equal(noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &m, &p.i_keys), OK);
	assert_int_equal(
		noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &m, &p.i_keys), ERR_DENIED);
}

static void wrong_psk_fails_at_response(void **state)
{
	const struct vector *v = &vectors[1];
	struct wg_response m;
	struct pair p;

	(void)state;
	pair_init(&p, v);
	initiation_make(&p, v);
	p.r_of_i.preshared_key[0] ^= 1;
	memcpy(&m, v->m2, sizeof(m));
	assert_int_equal(
		noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &m, &p.i_keys), ERR_DENIED);
}

static void replayed_initiation_is_stale(void **state)
{
	const struct vector *v = &vectors[0];
	struct wg_initiation m;
	struct pair p;

	(void)state;
	pair_init(&p, v);
	memcpy(&m, v->m1, sizeof(m));
	memcpy(p.i_of_r.last_timestamp, v->stamp, TAI64N_SIZE);
	assert_int_equal(noise_initiation_open(&p.r_id, &m, &p.re), OK);
	assert_int_equal(noise_initiation_finish(&p.re, &p.i_of_r), ERR_STALE);
	p.i_of_r.last_timestamp[TAI64N_SIZE - 1]--; /* one below: fresh again */
	p.i_of_r.last_timestamp[8] -= p.i_of_r.last_timestamp[TAI64N_SIZE - 1] == 0xff;
	assert_int_equal(noise_initiation_open(&p.r_id, &m, &p.re), OK);
	assert_int_equal(noise_initiation_finish(&p.re, &p.i_of_r), OK);
}

static void low_order_points_refused(void **state)
{
	static const uint8_t points[][32] = {{0}, {1},
		{0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f,
			0xc4, 0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62,
			0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00}};
	const struct vector *v = &vectors[0];
	struct noise_remote r;
	struct wg_initiation m1;
	struct wg_response m2;
	struct pair p;

	(void)state;
	pair_init(&p, v);
	initiation_make(&p, v);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(noise_remote_init(&r, &p.i_id, points[i], NULL), ERR_INVALID);
		memcpy(&m1, v->m1, sizeof(m1));
		memcpy(m1.ephemeral, points[i], 32);
		assert_int_equal(noise_initiation_open(&p.r_id, &m1, &p.re), ERR_DENIED);
		memcpy(&m2, v->m2, sizeof(m2));
		memcpy(m2.ephemeral, points[i], 32);
		assert_int_equal(noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &m2, &p.i_keys),
			ERR_DENIED);
	}
}

/* One who does the arithmetic right, with a point whose shared secret everybody knows. */
static void low_order_handshake_is_refused_though_it_decrypts(void **state)
{
	const struct vector *v = &vectors[0];
	uint8_t chain_key[32], hash[32], key[32], zero[32] = {0};
	unsigned long long n;
	struct noise_responder re;
	struct wg_initiation m;
	struct pair p;

	(void)state;
	pair_init(&p, v);
	memset(&m, 0, sizeof(m));
	hash_of(chain_key, "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", 37, NULL, 0);
	hash_of(hash, p.r_id.hash, 32, m.ephemeral, 32);
	hash_kdf(chain_key, NULL, NULL, chain_key, m.ephemeral, 32);
	hash_kdf(chain_key, key, NULL, chain_key, zero, 32);
	crypto_aead_chacha20poly1305_ietf_encrypt(
		m.enc_static, &n, p.i_id.static_pk, 32, hash, 32, NULL, zero, key);
	assert_int_equal(noise_initiation_open(&p.r_id, &m, &re), ERR_DENIED);
}

static bool holds(const void *hay, size_t len, const void *needle)
{
	return memmem(hay, len, needle, 32) != NULL;
}

static void secrets_are_wiped(void **state)
{
	static const uint8_t zero[sizeof(struct noise_responder)];
	const struct vector *v = &vectors[0];
	struct pair p;

	(void)state;
	pair_init(&p, v);
	initiation_make(&p, v);
	assert_true(holds(&p.in, sizeof(p.in), v->ei_sk));
	response_make(&p, v);
	assert_memory_equal(&p.re, zero, sizeof(p.re));
	assert_int_equal(noise_response_accept(&p.in, &p.i_id, &p.r_of_i, &p.m2, &p.i_keys), OK);
	assert_memory_equal(&p.in, zero, sizeof(p.in));
	noise_remote_done(&p.i_of_r);
	noise_identity_done(&p.r_id);
	assert_false(holds(&p.i_of_r, sizeof(p.i_of_r), v->i_pk));
	assert_memory_equal(&p.r_id, zero, sizeof(p.r_id));
}

static void fresh_identities_differ(void **state)
{
	struct rng rng = rng_giving("", 0);
	struct noise_identity a, b;

	(void)state;
	noise_identity_fresh(&a, &rng);
	noise_identity_fresh(&b, &rng);
	assert_memory_not_equal(a.static_pk, b.static_pk, 32);
	assert_int_equal(a.static_sk[0] & 7, 0);
	assert_int_equal(a.static_sk[31] & 0xc0, 0x40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(transcripts_match),
		cmocka_unit_test(initiation_bits_count),
		cmocka_unit_test(response_bits_count),
		cmocka_unit_test(wrong_psk_fails_at_response),
		cmocka_unit_test(replayed_initiation_is_stale),
		cmocka_unit_test(low_order_points_refused),
		cmocka_unit_test(low_order_handshake_is_refused_though_it_decrypts),
		cmocka_unit_test(secrets_are_wiped),
		cmocka_unit_test(fresh_identities_differ),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
