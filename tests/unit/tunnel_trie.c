/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/rng.h"
#include "services/tunnel/core/trie.h"

static struct net_prefix prefix(const char *text)
{
	struct net_prefix p;

	assert_int_equal(net_prefix_parse(text, &p), OK);
	return p;
}

static void insert(struct trie *t, const char *text, struct trie_owner *o)
{
	struct net_prefix p = prefix(text);

	assert_int_equal(trie_insert(t, &p, o), OK);
}

static enum err del(struct trie *t, const char *text, struct trie_owner *o)
{
	struct net_prefix p = prefix(text);

	return trie_remove(t, &p, o);
}

static struct trie_owner *find(const struct trie *t, const char *text)
{
	struct net_addr a;

	assert_int_equal(net_addr_parse(text, &a), OK);
	return a.family == NET_IP4 ? trie_find4(t, a.ip) : trie_find6(t, a.ip);
}

static void longest_prefix_wins(void **state)
{
	struct trie_node nodes[TRIE_NODES(20)];
	struct trie_owner a = {0}, b = {0}, c = {0}, d = {0};
	struct trie t;

	(void)state;
	trie_init(&t, nodes, TRIE_NODES(20));
	insert(&t, "192.168.4.0/24", &a);
	insert(&t, "192.168.4.4/32", &b);
	insert(&t, "192.168.0.0/16", &c);
	insert(&t, "0.0.0.0/0", &d);
	insert(&t, "2001:db8::/32", &a);
	insert(&t, "2001:db8::1/128", &b);
	assert_ptr_equal(find(&t, "192.168.4.20"), &a);
	assert_ptr_equal(find(&t, "192.168.4.4"), &b);
	assert_ptr_equal(find(&t, "192.168.200.182"), &c);
	assert_ptr_equal(find(&t, "10.0.0.1"), &d);
	assert_ptr_equal(find(&t, "2001:db8::2"), &a);
	assert_ptr_equal(find(&t, "2001:db8::1"), &b);
	assert_null(find(&t, "2001:db9::1"));
	assert_int_equal(t.n_prefixes, 6);
}

static void a_prefix_moves_to_its_new_owner(void **state)
{
	struct trie_node nodes[TRIE_NODES(4)];
	struct trie_owner a = {0}, b = {0};
	struct trie t;

	(void)state;
	trie_init(&t, nodes, TRIE_NODES(4));
	insert(&t, "10.0.0.0/8", &a);
	insert(&t, "10.0.0.0/8", &b);
	assert_ptr_equal(find(&t, "10.1.2.3"), &b);
	assert_int_equal(a.n_prefixes, 0);
	assert_int_equal(b.n_prefixes, 1);
	assert_int_equal(del(&t, "10.0.0.0/8", &a), ERR_NOT_FOUND);
	assert_int_equal(del(&t, "10.0.0.0/9", &b), ERR_NOT_FOUND);
	assert_int_equal(del(&t, "10.0.0.0/8", &b), OK);
	assert_null(find(&t, "10.1.2.3"));
}

static void host_bits_are_ignored(void **state)
{
	struct net_prefix p = {{NET_IP4, {10, 1, 2, 3}}, 8};
	struct trie_node nodes[TRIE_NODES(1)];
	struct trie_owner a = {0};
	struct net_prefix got;
	struct trie t;

	(void)state;
	trie_init(&t, nodes, TRIE_NODES(1));
	assert_int_equal(trie_insert(&t, &p, &a), OK);
	assert_ptr_equal(find(&t, "10.200.0.1"), &a);
	assert_int_not_equal(trie_next(&t, &a, 0, &got), 0);
	assert_int_equal(got.addr.ip[1], 0);
	assert_int_equal(got.bits, 8);
}

static void bad_prefixes_and_full_pool(void **state)
{
	struct trie_node nodes[4], more[TRIE_NODES(3)];
	struct net_prefix p = {{NET_IP4, {10}}, 33}, q = {{NET_NONE, {0}}, 0};
	struct trie_owner a = {0};
	struct trie t;

	(void)state;
	trie_init(&t, nodes, 4); /* three usable */
	assert_int_equal(trie_insert(&t, &p, &a), ERR_INVALID);
	assert_int_equal(trie_insert(&t, &q, &a), ERR_INVALID);
	insert(&t, "10.0.0.0/8", &a);
	insert(&t, "11.0.0.0/8", &a); /* takes a fork too */
	p = prefix("12.0.0.0/8");
	assert_int_equal(trie_insert(&t, &p, &a), ERR_FULL);
	assert_ptr_equal(find(&t, "11.0.0.1"), &a);
	assert_null(find(&t, "12.0.0.1"));
	assert_int_equal(trie_grow(&t, more, 3), ERR_INVALID);
	assert_int_equal(trie_grow(&t, more, TRIE_NODES(3)), OK);
	memset(nodes, 0xaa, sizeof(nodes));
	assert_int_equal(trie_insert(&t, &p, &a), OK);
	trie_init(&t, nodes, 3); /* two: room for the second prefix, but not for the fork */
	a = (struct trie_owner){0};
	insert(&t, "10.0.0.0/8", &a);
	assert_int_equal(trie_insert(&t, &p, &a), ERR_FULL);
	assert_int_equal(a.n_prefixes, 1);
	trie_init(&t, more, TRIE_NODES(3));
	a = (struct trie_owner){0};
	insert(&t, "10.0.0.0/8", &a);
	insert(&t, "12.0.0.0/8", &a);
	assert_ptr_equal(find(&t, "10.0.0.1"), &a);
	assert_ptr_equal(find(&t, "12.0.0.1"), &a);
}

static void remove_owner_gives_all_nodes_back(void **state)
{
	struct trie_node nodes[TRIE_NODES(50)];
	struct trie_owner a = {0};
	struct trie t;

	(void)state;
	trie_init(&t, nodes, TRIE_NODES(50));
	for (int round = 0; round < 100; round++) { /* leaks would fill the pool */
		for (int i = 0; i < 50; i++) {
			struct net_prefix p = {{NET_IP4, {10, (uint8_t)(i * 37), (uint8_t)round}},
				(uint8_t)(16 + i % 9)};

			assert_int_equal(trie_insert(&t, &p, &a), OK);
		}
		trie_remove_owner(&t, &a);
		assert_int_equal(t.n_prefixes, 0);
		assert_int_equal(t.root4, 0);
	}
}

/* --- against the slow model: a list of prefixes, tried one by one ---------------------------- */
#define OWNERS 8
#define PREFIXES 300

struct model {
	struct net_prefix p[PREFIXES];
	struct trie_owner *owner[PREFIXES];
	size_t n;
};

static size_t model_at(const struct model *m, const struct net_prefix *p)
{
	size_t i;

	for (i = 0; i < m->n; i++)
		if (m->p[i].bits == p->bits &&
			memcmp(&m->p[i].addr, &p->addr, sizeof(p->addr)) == 0)
			break;
	return i;
}

static void model_del(struct model *m, size_t i)
{
	m->n--;
	m->p[i] = m->p[m->n];
	m->owner[i] = m->owner[m->n];
}

static struct trie_owner *model_find(const struct model *m, const struct net_addr *a)
{
	struct trie_owner *best = NULL;
	int bits = -1;

	for (size_t i = 0; i < m->n; i++) {
		if (m->p[i].bits > bits && net_prefix_has(&m->p[i], a)) {
			bits = m->p[i].bits;
			best = m->owner[i];
		}
	}
	return best;
}

/* Few distinct bits, so that prefixes nest and meet often. */
static struct net_addr draw_addr(struct rng *rng)
{
	struct net_addr a = {.family = rng_below(rng, 2) ? NET_IP4 : NET_IP6};

	for (size_t i = 0; i < net_ip_len(&a); i++)
		a.ip[i] = rng_below(rng, 3) ? 0 : (uint8_t)(0x80 >> rng_below(rng, 8));
	return a;
}

static struct net_prefix draw_prefix(struct rng *rng)
{
	struct net_prefix p = {.addr = draw_addr(rng)};
	unsigned int max = p.addr.family == NET_IP4 ? 32 : 128;

	p.bits = (uint8_t)rng_below(rng, max + 1);
	for (unsigned int i = p.bits; i < max; i++)
		p.addr.ip[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
	return p;
}

static void check_owner(const struct trie *t, const struct model *m, const struct trie_owner *o)
{
	struct net_prefix p;
	size_t n = 0, want = 0;

	for (uint32_t c = 0; (c = trie_next(t, o, c, &p)) != 0; n++) {
		size_t i = model_at(m, &p);

		assert_true(i < m->n);
		assert_ptr_equal(m->owner[i], o);
	}
	for (size_t i = 0; i < m->n; i++)
		want += m->owner[i] == o;
	assert_int_equal(n, want);
	assert_int_equal(o->n_prefixes, want);
}

static void step(struct trie *t, struct model *m, struct trie_owner *owners, struct rng *rng)
{
	struct trie_owner *o = &owners[rng_below(rng, OWNERS)];
	struct net_prefix p = draw_prefix(rng);
	size_t i = model_at(m, &p);

	switch (rng_below(rng, 2000) == 0 ? 9 : rng_below(rng, 3)) {
	case 0:
		if (i == m->n && m->n == PREFIXES)
			return;
		assert_int_equal(trie_insert(t, &p, o), OK);
		m->p[i] = p;
		m->owner[i] = o;
		m->n += i == m->n;
		return;
	case 1:
		if (rng_below(rng, 2) && m->n > 0) { /* one that is there */
			i = rng_below(rng, m->n);
			p = m->p[i];
			o = m->owner[i];
		}
		assert_int_equal(
			trie_remove(t, &p, o), i < m->n && m->owner[i] == o ? OK : ERR_NOT_FOUND);
		if (i < m->n && m->owner[i] == o)
			model_del(m, i);
		return;
	case 9:
		trie_remove_owner(t, o);
		for (i = m->n; i-- > 0;)
			if (m->owner[i] == o)
				model_del(m, i);
		return;
	}
	struct net_addr a = draw_addr(rng);
	assert_ptr_equal(
		a.family == NET_IP4 ? trie_find4(t, a.ip) : trie_find6(t, a.ip), model_find(m, &a));
}

static void agrees_with_a_list(void **state)
{
	static const uint8_t seed[32] = {5};
	static struct trie_node nodes[TRIE_NODES(PREFIXES)];
	static struct model m;
	struct trie_owner owners[OWNERS] = {0};
	struct trie t;
	struct rng rng;

	(void)state;
	rng_init(&rng, seed);
	trie_init(&t, nodes, TRIE_NODES(PREFIXES));
	for (int i = 0; i < 1000000; i++) {
		step(&t, &m, owners, &rng);
		if (i % 10000 == 0)
			for (int o = 0; o < OWNERS; o++)
				check_owner(&t, &m, &owners[o]);
	}
	assert_true(m.n > 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(longest_prefix_wins),
		cmocka_unit_test(a_prefix_moves_to_its_new_owner),
		cmocka_unit_test(host_bits_are_ignored),
		cmocka_unit_test(bad_prefixes_and_full_pool),
		cmocka_unit_test(remove_owner_gives_all_nodes_back),
		cmocka_unit_test(agrees_with_a_list),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
