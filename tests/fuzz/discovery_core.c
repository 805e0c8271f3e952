/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A whole node against input: queries from strangers, answers to its own questions, settings, time.
 *
 * Input: a run of (operation 1 byte, length 2 bytes little-endian, payload). Descriptors inside are
 * signed for it where the operation says so, so that what lies behind the signature is reached.
 * After every operation the table must be in order and nothing proven that did not answer. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/bytes.h"
#include "services/discovery/core/discovery.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define ROOM 64
#define OPS_MAX 200
#define T0 1800000000

static struct {
	struct discovery d;
	struct relay slots[ROOM];
	struct relay_mark marks[ROOM];
	uint32_t order[ROOM];
	struct moment now;
	uint64_t next_id, asked[8]; /* the last questions */
	struct contact to[8];
} w;

static void hold(bool cond)
{
	if (!cond)
		abort();
}

static uint64_t sink_ask(void *ctx, const struct contact *to, const uint8_t *p, size_t len)
{
	gossip_Query q;

	(void)ctx;
	hold(query_decode(p, len, &q) == OK);
	w.next_id++;
	w.asked[w.next_id % 8] = w.next_id;
	w.to[w.next_id % 8] = *to;
	return w.next_id;
}

static void sink_answer(void *ctx, uint64_t session, uint32_t request, const uint8_t *p, size_t len)
{
	gossip_Answer a;

	(void)ctx;
	(void)session;
	(void)request;
	hold(answer_decode(p, len, &a) == OK);
}

static enum err sink_learned(void *ctx, const struct relay *r)
{
	(void)ctx;
	hold(r->state == RELAY_PROVEN && !r->own);
	return OK;
}

static enum err sink_gone(void *ctx, const uint8_t id[static NODE_ID_SIZE])
{
	(void)ctx;
	(void)id;
	return OK;
}

static enum err sink_complete(void *ctx, uint32_t n)
{
	(void)ctx;
	hold(n <= ROOM);
	return OK;
}

static enum err sink_state(void *ctx, const struct directory_state *s)
{
	(void)ctx;
	hold(s->trouble != NULL);
	return OK;
}

static enum err sink_seq(void *ctx, uint64_t seq)
{
	uint64_t *last = ctx;

	hold(seq > *last);
	*last = seq;
	return OK;
}

/* One of eight identities signs what stands at p, so that it passes as that node's. */
static void sign_at(uint8_t *p, unsigned int who)
{
	static const char tag[] = "mvpn descriptor v1";
	uint8_t seed[32] = {(uint8_t)(who % 8), 9}, pk[32], sk[64], msg[sizeof(tag) - 1 + 264];

	crypto_sign_seed_keypair(pk, sk, seed);
	memcpy(p + 4, pk, 32);
	memcpy(msg, tag, sizeof(tag) - 1);
	memcpy(msg + sizeof(tag) - 1, p, 264);
	crypto_sign_detached(p + 264, NULL, msg, sizeof(msg), sk);
}

/* Signs every run of 328 bytes that begins like a descriptor. */
static void sign_inside(uint8_t *p, size_t len)
{
	for (size_t i = 0; i + DESCRIPTOR_SIZE <= len; i++) {
		if (p[i] != 1 || p[i + 1] > DESCRIPTOR_ROLES_ALL)
			continue;
		sign_at(p + i, p[i + 4]);
		i += DESCRIPTOR_SIZE - 1;
	}
}

static void settings(const uint8_t *p, size_t len)
{
	const struct own_settings s = {len > 0 && p[0] & 1, len > 0 && p[0] & 2};
	const struct own_listening l = {.wg_pk = {5},
		.port = 51820,
		.relay = len > 0 && p[0] & 4,
		.exit4 = len > 0 && p[0] & 8};
	const struct own_terms t = {.free_bytes = len > 1 ? p[1] : 0};

	discovery_on_settings(&w.d, w.now, &s);
	discovery_on_listening(&w.d, w.now, &l);
	discovery_on_terms(&w.d, w.now, &t);
}

static void time_pass(const uint8_t *p, size_t len)
{
	uint64_t ms = len >= 2 ? le16_get(p) : 1;

	ms *= len >= 3 && p[2] & 1 ? 10000 : 1;
	w.now.mono.ns += ms * 1000000;
	w.now.wall.s = T0 + (int64_t)(w.now.mono.ns / 1000000000);
}

static void operate(uint8_t op, uint8_t *p, size_t len)
{
	unsigned int k = op >> 4 & 7;

	if (op & 0x80)
		sign_inside(p, len);
	switch (op & 7) {
	case 0:
		discovery_on_peer_asked(&w.d, w.now, k, 1, p, len);
		break;
	case 1:
		discovery_on_peer_answered(&w.d, w.now, w.asked[k], OK, p, len);
		break;
	case 2:
		discovery_on_peer_answered(&w.d, w.now, w.asked[k], ERR_TIMEOUT, NULL, 0);
		break;
	case 3:
		time_pass(p, len);
		break;
	case 4:
		settings(p, len);
		break;
	case 5:
		discovery_on_router_link(&w.d, w.now);
		discovery_on_gateway_link(&w.d, w.now);
		break;
	case 6:
		discovery_on_tunnel_restart(&w.d, w.now);
		discovery_on_tunnel_link(&w.d, w.now);
		break;
	case 7:
		if (len >= DESCRIPTOR_SIZE)
			discovery_remember(&w.d, w.now, p, DESCRIPTOR_SIZE, k & 1);
		break;
	}
	discovery_tick(&w.d, w.now);
	(void)discovery_deadline(&w.d, w.now);
}

static void table_check(void)
{
	const struct relays *t = &w.d.dir.relays;
	uint32_t n_state[RELAY_STATES] = {0};

	hold(t->n <= ROOM && t->n_touched <= ROOM);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct relay *r = relays_at(t, i);

		hold(r->state != RELAY_FREE);
		hold(i == 0 || memcmp(relays_at(t, i - 1)->d.node_id, r->d.node_id, 32) < 0);
		hold(descriptor_verify(r->bytes) == OK);
		n_state[r->state]++;
	}
	for (int s = RELAY_HEARD; s < RELAY_STATES; s++)
		hold(n_state[s] == t->n_state[s]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint64_t seq = 0;
	const struct discovery_sink sink = {&seq, sink_ask, sink_answer, sink_learned, sink_gone,
		sink_complete, sink_state, sink_seq};
	struct discovery_conf conf = {.near_max = 4, .own.test_network = true, .seed = {1}};
	const struct relays_storage storage = {w.slots, w.marks, w.order, ROOM};
	uint8_t seed[32] = {77}, pk[32];
	uint8_t payload[PAYLOAD_MAX + 1];
	unsigned int n = 0;

	if (sodium_init() < 0)
		return 0;
	memset(&w, 0, sizeof(w));
	crypto_sign_seed_keypair(pk, conf.own.identity_sk, seed);
	conf.own.public4 = (struct net_addr){NET_IP4, {198, 18, 200, 1}};
	w.now = (struct moment){{1000000000}, {T0 + 1}};
	discovery_init(&w.d, &conf, &storage, &sink, w.now);
	discovery_on_tunnel_link(&w.d, w.now);
	while (len >= 3 && n++ < OPS_MAX) {
		uint8_t op = data[0];
		size_t size = le16_get(data + 1);

		data += 3;
		len -= 3;
		size = size > len ? len : size;
		size = size > sizeof(payload) ? sizeof(payload) : size;
		memcpy(payload, data, size);
		operate(op, payload, size);
		data += size;
		len -= size;
	}
	table_check();
	discovery_stop(&w.d, w.now);
	discovery_done(&w.d);
	return 0;
}
