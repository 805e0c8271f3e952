/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A network in which some relays lie, in every way that the protocol lets them try. */
#include "discovery_net.h"

#define N_HONEST 50
#define N_CLIENTS 6
#define N_SYBILS 3000 /* of each flooder; three times a table's room here */

static const enum node_kind liar_kinds[] = {LIAR_FORGER, LIAR_FORGER, LIAR_REPLAYER, LIAR_REPLAYER,
	LIAR_FLOODER, LIAR_FLOODER, LIAR_EQUIVOCATOR, LIAR_EQUIVOCATOR, LIAR_WITHHOLDER,
	LIAR_WITHHOLDER, LIAR_MASQUERADE, LIAR_MASQUERADE};
#define N_LIARS (sizeof(liar_kinds) / sizeof(liar_kinds[0]))

/* Signed descriptors of nodes that do not exist, in the order of ids; a flooder's own pool each,
 * since two that say the same are two witnesses. */
static uint8_t (*sybils[2])[DESCRIPTOR_SIZE];

/* ---- what liars have ready ---- */

static void sign_new(
	struct rng *rng, struct net_addr ip, const uint8_t *wg_pk, wall_t now, uint8_t *ret)
{
	struct descriptor d = {.roles = DESCRIPTOR_RELAY | DESCRIPTOR_EXIT4,
		.ep4 = {ip, 51820},
		.seq = 1,
		.not_before = now,
		.expires = {now.s + DESCRIPTOR_LIFE_MAX_S}};
	uint8_t seed[32], sk[64];

	rng_bytes(rng, seed, 32);
	crypto_sign_seed_keypair(d.node_id, sk, seed);
	if (wg_pk != NULL)
		memcpy(d.wg_pk, wg_pk, 32);
	else
		rng_bytes(rng, d.wg_pk, 32);
	assert_int_equal(descriptor_sign(&d, sk, ret), OK);
}

static int by_id(const void *a, const void *b)
{
	return memcmp((const uint8_t *)a + 4, (const uint8_t *)b + 4, NODE_ID_SIZE);
}

/* Half in prefixes of their own, half in those of honest relays, to crowd them out. */
static void sybils_make(struct net *net)
{
	const wall_t now = {WALL_START};

	for (int k = 0; k < 2; k++) {
		sybils[k] = calloc(N_SYBILS, DESCRIPTOR_SIZE);
		for (unsigned int i = 0; i < N_SYBILS; i++) {
			struct net_addr ip = {.family = NET_IP4, .ip = {198, 19}};

			rng_bytes(&net->rng, ip.ip + 2, 2);
			if (i % 2 == 0)
				ip = (struct net_addr){.family = NET_IP4,
					.ip = {198, 18, (uint8_t)(i % N_HONEST & ~1u), 200}};
			sign_new(&net->rng, ip, NULL, now, sybils[k][i]);
		}
		qsort(sybils[k], N_SYBILS, DESCRIPTOR_SIZE, by_id);
	}
}

static bool wants(const gossip_Page *p, const uint8_t *id)
{
	return (p->buckets.bytes[id[0] / 8] >> id[0] % 8 & 1) &&
	       (p->after.size == 0 || memcmp(id, p->after.bytes, NODE_ID_SIZE) > 0) &&
	       (p->until.size == 0 || memcmp(id, p->until.bytes, NODE_ID_SIZE) <= 0);
}

static void page_put(gossip_Paged *out, const uint8_t *bytes)
{
	if (out->records_count == 3)
		return;
	out->records[out->records_count].size = DESCRIPTOR_SIZE;
	memcpy(out->records[out->records_count++].bytes, bytes, DESCRIPTOR_SIZE);
}

/* Always more to come. */
static void page_more(gossip_Paged *out)
{
	if (out->records_count < 3)
		return;
	out->upto.size = NODE_ID_SIZE;
	memcpy(out->upto.bytes, out->records[2].bytes + 4, NODE_ID_SIZE);
}

/* ---- one lie each: up to three records for a page or a push ---- */

static void forge(struct net *net, const gossip_Page *p, gossip_Paged *out)
{
	for (size_t i = 0; i < 40 && out->records_count < 3; i++) {
		const struct publication *pub =
			&net->published[rng_below(&net->rng, net->n_published)];
		uint8_t b[DESCRIPTOR_SIZE];

		memcpy(b, pub->bytes, DESCRIPTOR_SIZE);
		if (p != NULL && !wants(p, b + 4))
			continue;
		/* a price, the key, the end, a number: something of each */
		b[(const size_t[]){132, 36, 236, 220}[i % 4]] ^= 1;
		if (i % 5 == 0)
			b[228] ^= 1;
		page_put(out, b);
	}
}

/* An old number of a relay: what it signed before, and what was captured two days ago. */
static void replay(struct net *net, const gossip_Page *p, gossip_Paged *out)
{
	for (size_t i = 0; i < 40 && out->records_count < 3; i++) {
		size_t k = rng_below(&net->rng, net->n_published);
		const struct node *n = &net->nodes[net->published[k].node];
		uint8_t b[DESCRIPTOR_SIZE];
		struct descriptor d;

		memcpy(b, net->published[k].bytes, DESCRIPTOR_SIZE);
		if (p != NULL && !wants(p, b + 4))
			continue;
		if (i % 2 == 0 && descriptor_decode(b, sizeof(b), &d) == OK) {
			d.not_before.s = WALL_START - 2 * 86400;
			d.expires.s = d.not_before.s + DESCRIPTOR_LIFE_MAX_S;
			d.seq = (uint64_t)d.not_before.s;
			if (descriptor_sign(&d, n->sk, b) != OK)
				continue;
		}
		page_put(out, b);
	}
}

static void flood(struct net *net, unsigned int pool, const gossip_Page *p, gossip_Paged *out)
{
	size_t from = p == NULL ? rng_below(&net->rng, N_SYBILS) : 0;

	for (size_t i = from; i < N_SYBILS && out->records_count < 3; i++)
		if (p == NULL || wants(p, sybils[pool][i] + 4))
			page_put(out, sybils[pool][i]);
}

static void masquerade(struct net *net, const gossip_Page *p, gossip_Paged *out)
{
	for (int i = 0; i < 20 && out->records_count < 3; i++) {
		const struct node *victim = &net->nodes[rng_below(&net->rng, N_HONEST)];
		uint8_t b[DESCRIPTOR_SIZE];

		sign_new(&net->rng, victim->ip, victim->wg_pk,
			(wall_t){WALL_START + (int64_t)net_s(net)}, b);
		if (p == NULL || wants(p, b + 4))
			page_put(out, b);
	}
}

/* Its own descriptor and another with the same number. */
static void equivocate(struct node *liar, const gossip_Page *p, gossip_Paged *out)
{
	struct descriptor d = liar->d->own.out;
	uint8_t b[DESCRIPTOR_SIZE];

	d.free_bytes ^= 4096;
	if (!liar->d->own.is_out || descriptor_sign(&d, liar->sk, b) != OK ||
		(p != NULL && !wants(p, b + 4)))
		return;
	page_put(out, liar->net->order % 2 ? b : liar->d->own.out_bytes);
}

static void lie_records(struct net *net, struct node *liar, const gossip_Page *p, gossip_Paged *out)
{
	if (liar->kind == LIAR_FORGER)
		forge(net, p, out);
	else if (liar->kind == LIAR_REPLAYER)
		replay(net, p, out);
	else if (liar->kind == LIAR_FLOODER)
		flood(net, liar->i % 2, p, out);
	else if (liar->kind == LIAR_MASQUERADE)
		masquerade(net, p, out);
	else if (liar->kind == LIAR_EQUIVOCATOR)
		equivocate(liar, p, out);
}

static bool lie(struct net *net, struct node *liar, const gossip_Query *q, gossip_Answer *a)
{
	gossip_Paged *out = &a->body.paged;

	if (q->which_body == gossip_Query_greet_tag && liar->d->own.is_out) {
		a->which_body = gossip_Answer_greeted_tag;
		a->body.greeted.root = rng_u64(&net->rng);
		a->body.greeted.standing = gossip_Standing_STANDING_UNREACHABLE;
		a->body.greeted.record.size = DESCRIPTOR_SIZE;
		memcpy(a->body.greeted.record.bytes, liar->d->own.out_bytes, DESCRIPTOR_SIZE);
		return true;
	}
	if (q->which_body == gossip_Query_compare_tag) {
		a->which_body = gossip_Answer_compared_tag;
		a->body.compared.digests.size = 1024;
		rng_bytes(&net->rng, a->body.compared.digests.bytes, 1024);
		return true;
	}
	if (q->which_body != gossip_Query_page_tag)
		return false;
	a->which_body = gossip_Answer_paged_tag;
	lie_records(net, liar, &q->body.page, out);
	page_more(out);
	return true;
}

/* Each liar pushes to some honest relays as well. */
static void liars_push(struct net *net)
{
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		struct node *liar = &net->nodes[i];

		for (int k = 0; liar->kind > CLIENT && k < 3; k++) {
			gossip_Query q = {.which_body = gossip_Query_offer_tag};
			gossip_Paged out = gossip_Paged_init_zero;
			uint8_t payload[PAYLOAD_MAX];
			size_t len;

			lie_records(net, liar, NULL, &out);
			if (out.records_count == 0)
				continue;
			q.body.offer.records_count = out.records_count;
			memcpy(q.body.offer.records, out.records, sizeof(out.records));
			assert_int_equal(query_encode(&q, payload, &len), OK);
			event_add(net, 30000000, EV_QUERY, i,
				(unsigned int)rng_below(&net->rng, N_HONEST), ++net->next_id,
				payload, len);
		}
	}
}

/* ---- what must hold ---- */

static const struct node *node_of_id(const struct net *net, const uint8_t *id)
{
	for (unsigned int i = 0; i < net->n_nodes; i++)
		if (memcmp(net->nodes[i].sk + 32, id, NODE_ID_SIZE) == 0)
			return &net->nodes[i];
	return NULL;
}

static void table_check(const struct net *net, const struct node *n)
{
	const struct relays *t = &n->d->dir.relays;

	assert_true(t->n <= NET_ROOM);
	for (uint32_t i = 0; i < t->n; i++) {
		const struct relay *r = relays_at(t, i);
		const struct node *of = node_of_id(net, r->d.node_id);

		if (of == NULL) /* nobody: kept at most as hearsay */
			assert_int_equal(r->state, RELAY_HEARD);
		else if (of->kind <= CLIENT) /* every byte as its owner signed it */
			assert_true(net_genuine(net, r->bytes));
		if (r->state == RELAY_PROVEN && of != NULL)
			assert_memory_equal(r->d.wg_pk, of->wg_pk, 32);
	}
}

static void all_check(const struct net *net)
{
	for (unsigned int i = 0; i < net->n_nodes; i++)
		if (net->nodes[i].up && net->nodes[i].kind <= CLIENT)
			table_check(net, &net->nodes[i]);
}

static void honest_nodes_are_not_misled(void **state)
{
	struct net *net = net_new(11, 20000);
	const struct node *boots[3] = {NULL};
	uint64_t before[NODES_MAX];
	double most = 0, sum = 0;
	uint32_t heard = 0;

	(void)state;
	for (unsigned int i = 0; i < N_HONEST + N_LIARS + N_CLIENTS; i++)
		(void)net_add(net, i < N_HONEST		    ? RELAY
				   : i < N_HONEST + N_LIARS ? liar_kinds[i - N_HONEST]
							    : CLIENT);
	sybils_make(net);
	net->lie = lie;
	/* One bootstrap in three is a liar. */
	boots[0] = &net->nodes[0];
	boots[1] = &net->nodes[1];
	boots[2] = &net->nodes[N_HONEST + 4];
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		net_start(&net->nodes[i], boots, 3);
		net_run(net, net_s(net) + 0.2);
	}
	for (int minute = 0; minute < 20; minute++) {
		if (minute == 5)
			for (unsigned int i = 0; i < net->n_nodes; i++)
				before[i] = net->nodes[i].d->counters.bytes_in +
					    net->nodes[i].d->counters.bytes_out;
		for (int k = 0; k < 12; k++) {
			liars_push(net);
			net_run(net, net_s(net) + 5);
		}
		all_check(net);
		if (minute == 4)
			assert_true(net_full_view(net));
	}
	assert_true(net_full_view(net));
	for (unsigned int i = 0; i < net->n_nodes; i++) {
		const struct node *n = &net->nodes[i];

		if (n->kind > CLIENT)
			continue;
		double rate =
			(double)(n->d->counters.bytes_in + n->d->counters.bytes_out - before[i]) /
			900;
		most = rate > most ? rate : most;
		sum += rate;
		heard = n->d->dir.relays.n_state[RELAY_HEARD] > heard
				? n->d->dir.relays.n_state[RELAY_HEARD]
				: heard;
		/* Who equivocates is out, at clients too. */
		for (unsigned int k = 0; k < net->n_nodes; k++)
			if (net->nodes[k].kind == LIAR_EQUIVOCATOR)
				assert_false(net_knows(n, &net->nodes[k]));
	}
	print_message("# %d honest, %zu liars, 20 minutes: honest nodes %.0f B/s (most %.0f), "
		      "hearsay at most %u records\n",
		N_HONEST + N_CLIENTS, N_LIARS, sum / (N_HONEST + N_CLIENTS), most, heard);
	assert_true(most < 5000);
	net_free(net);
	free(sybils[0]);
	free(sybils[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(honest_nodes_are_not_misled),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
