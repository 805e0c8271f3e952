/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What wireguard-go sent to a peer whose keys are known: its handshakes in either role and what it sealed
 * after them, also over a rekey, opened by ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/cookie.h"
#include "services/tunnel/core/noise.h"
#include "tests/vectors/tunnel_wireguard_go.h"

#define N_VECTORS (sizeof(go_vectors) / sizeof(go_vectors[0]))
#define N_PACKETS (sizeof(go_vectors[0].packets) / sizeof(go_vectors[0].packets[0]))
#define BYTES(text) ((const uint8_t *)(text))

static struct noise_identity id;
static struct noise_remote remote;

static int start(void **state)
{
	(void)state;
	noise_identity_init(&id, BYTES(go_sk));
	return noise_remote_init(&remote, &id, BYTES(go_pk), BYTES(go_psk)) == OK ? 0 : -1;
}

/* A stream whose first bytes are the ephemeral key. */
static struct rng rng_giving(const char *ephemeral)
{
	static const uint8_t seed[32] = {9};
	struct rng r;

	rng_init(&r, seed);
	r.n_used = sizeof(r.buf) - WG_KEY_SIZE;
	memcpy(r.buf + r.n_used, ephemeral, WG_KEY_SIZE);
	return r;
}

/* Macs of what they sent are right; ours come out as those that they accepted. */
static void mac1_good(const char *msg, size_t len)
{
	const struct net_endpoint source = {0};
	struct cookie_checker c;

	cookie_checker_init(&c, &id);
	assert_int_equal(
		cookie_check(&c, BYTES(msg), len, &source, false, (mono_t){1}), COOKIE_MAC1);
}

static void sent_as(void *msg, size_t len, const char *want)
{
	struct cookie_jar jar = {0};

	cookie_macs_put(&jar, &remote, msg, len, (mono_t){1});
	assert_memory_equal(msg, want, len);
}

static void respond(const struct go_vector *v, struct noise_keys *ret_keys)
{
	struct rng rng = rng_giving(v->ephemeral);
	struct noise_responder re;
	struct wg_initiation m1;
	struct wg_response m2;

	mac1_good(v->m1, sizeof(m1));
	memcpy(&m1, v->m1, sizeof(m1));
	assert_int_equal(noise_initiation_open(&id, &m1, &re), OK);
	assert_memory_equal(re.remote_static, go_pk, WG_KEY_SIZE);
	assert_int_equal(noise_initiation_finish(&re, &remote), OK);
	assert_memory_not_equal(re.timestamp, remote.last_timestamp, TAI64N_SIZE);
	memcpy(remote.last_timestamp, re.timestamp, TAI64N_SIZE); /* the next one's is greater */
	assert_int_equal(noise_response_create(&re, &remote, v->index, &rng, &m2, ret_keys), OK);
	sent_as(&m2, sizeof(m2), v->m2);
}

static void initiate(const struct go_vector *v, struct noise_keys *ret_keys)
{
	struct rng rng = rng_giving(v->ephemeral);
	struct noise_initiator in;
	struct wg_initiation m1;
	struct wg_response m2;

	assert_int_equal(
		noise_initiation_create(&in, &id, &remote, v->index, BYTES(v->stamp), &rng, &m1), OK);
	sent_as(&m1, sizeof(m1), v->m1);
	mac1_good(v->m2, sizeof(m2));
	memcpy(&m2, v->m2, sizeof(m2));
	assert_int_equal(wg_receiver_index(BYTES(v->m2)), v->index);
	assert_int_equal(noise_response_accept(&in, &id, &remote, &m2, ret_keys), OK);
}

static void opens(struct aead *a, const struct noise_keys *k, const struct go_vector *v,
	const struct go_packet *p)
{
	uint8_t buf[2048];
	struct aead_op op = {.buf = buf + WG_TRANSPORT_HEAD,
		.len = (uint32_t)(p->message_len - WG_OVERHEAD)};

	memcpy(buf, p->message, p->message_len);
	assert_int_equal(wg_message_type(buf, p->message_len), WG_TRANSPORT);
	assert_int_equal(wg_receiver_index(buf), v->index);
	op.counter = le64_get(buf + 8);
	assert_int_equal(op.counter, p->counter);
	aead_open(a, &k->receive, &op, 1);
	assert_true(op.ok);
	assert_memory_equal(op.buf, p->plain, p->plain_len);
	for (size_t i = p->plain_len; i < op.len; i++)
		assert_int_equal(op.buf[i], 0);
	assert_in_range(op.len, p->plain_len, p->plain_len + WG_PADDING - 1);
}

static void vectors_open(bool initiator, size_t want)
{
	struct noise_keys keys;
	struct aead a;
	size_t n = 0;

	assert_int_equal(aead_init(&a, aead_backend_find("sodium"), NULL), OK);
	for (size_t c = 0; c < N_VECTORS; c++) {
		const struct go_vector *v = &go_vectors[c];

		if (v->initiator != initiator)
			continue;
		n++;
		(initiator ? initiate : respond)(v, &keys);
		for (size_t i = 0; i < N_PACKETS; i++)
			opens(&a, &keys, v, &v->packets[i]);
	}
	assert_int_equal(n, want);
}

static void it_begins_and_begins_anew(void **state)
{
	(void)state;
	vectors_open(false, 2);
}

static void it_answers(void **state)
{
	(void)state;
	vectors_open(true, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(it_begins_and_begins_anew, start),
		cmocka_unit_test_setup(it_answers, start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
