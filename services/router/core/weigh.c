/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "weigh.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A view is made anew when the table changed, and after this in any case: estimates decay. */
#define VIEW_AGE_MAX DUR_S(30)

/* Exits are spared as middles when they carry less than this part of all goodput. */
#define EXIT_SCARCE_SHARE (1.0 / 3)
#define EXIT_AS_MIDDLE_MIN 0.1

const char *rule_text(enum rule r)
{
	switch (r) {
	case RULE_FITS:
		return "";
	case RULE_UNLISTED:
		return "is not in the directory now";
	case RULE_ROLE:
		return "does not offer this";
	case RULE_COUNTRY:
		return "is in another country";
	case RULE_COUNTRY_UNKNOWN:
		return "its country is not known here";
	case RULE_PAY_OFF:
		return "asks for payment, and payment is off";
	case RULE_PRICE_CAP:
		return "asks more than your price cap";
	case RULES:
		break;
	}
	return "";
}

void view_init(struct view *v, const struct weigh_storage *at, uint32_t capacity)
{
	*v = (struct view){.at = *at, .capacity = capacity};
}

/* ---- rules ---- */

static enum rule rule_for_price(const struct policy *policy, uint64_t price_gwei)
{
	if (policy->free_only && price_gwei > 0)
		return RULE_PAY_OFF;
	if (policy->price_max_gwei > 0 && price_gwei > policy->price_max_gwei)
		return RULE_PRICE_CAP;
	return RULE_FITS;
}

static enum rule rule_for_country(const struct policy *policy, const char *country)
{
	for (size_t i = 0; i < policy->n_countries; i++)
		if (strcmp(policy->countries[i], country) == 0)
			return RULE_FITS;
	if (policy->n_countries == 0)
		return RULE_FITS;
	return country[0] == '\0' ? RULE_COUNTRY_UNKNOWN : RULE_COUNTRY;
}

enum rule rule_for_relay(
	const struct policy *policy, const struct peer *p, enum hop_role role, struct when now)
{
	const uint32_t exit_bits = DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6;
	uint32_t need = role == HOP_EXIT ? exit_bits : DESCRIPTOR_RELAY;

	if (!peer_listed(p, now))
		return RULE_UNLISTED;
	if ((p->roles & need) == 0)
		return RULE_ROLE;
	return rule_for_price(policy, p->price_gwei[role]);
}

enum rule rule_for_exit(const struct policy *policy, const struct peer *p, struct when now)
{
	enum rule r = rule_for_relay(policy, p, HOP_EXIT, now);

	if (r == RULE_UNLISTED || r == RULE_ROLE)
		return r;
	enum rule c = rule_for_country(policy, p->country);
	return c != RULE_FITS ? c : r;
}

/* ---- rows ---- */

/* The first `bits` of an address as a number that is not 0. */
static uint64_t prefix_key(const struct net_addr *a, unsigned int bits)
{
	uint64_t k = 0;

	for (unsigned int i = 0; i < 8; i++)
		k = k << 8 | a->ip[i];
	k &= ~0ull << (64 - bits);
	return k | (a->family == NET_IP6 ? 2 : 1);
}

static uint64_t bytes_key(const uint8_t *p, size_t n)
{
	uint64_t k = 0, v = 0;

	for (size_t at = 0; at < n; at += sizeof(v)) {
		size_t len = n - at < sizeof(v) ? n - at : sizeof(v);

		v = 0;
		memcpy(&v, p + at, len);
		k = (k << 7 | k >> 57) ^ v;
	}
	return k;
}

static void row_fill_groups(struct row *r, const struct peer *p, bool test_network)
{
	const struct net_addr *a = peer_addr(p);
	bool four = a->family == NET_IP4;

	r->net4 = p->addr4.family == NET_NONE ? 0 : prefix_key(&p->addr4, 16);
	r->net6 = p->addr6.family == NET_NONE ? 0 : prefix_key(&p->addr6, test_network ? 48 : 32);
	/* An unknown AS is taken for the network that the address says. */
	r->key[GROUP_AS] = p->asn != 0 ? (uint64_t)p->asn << 8 : (four ? r->net4 : r->net6);
	r->key[GROUP_BLOCK] = prefix_key(a, four ? 24 : 48);
	r->family = bytes_key(p->family_id, sizeof(p->family_id));
	r->payee = bytes_key(p->payee, sizeof(p->payee));
	r->key[GROUP_OPERATOR] = r->family != 0 ? r->family : r->payee;
	if (r->key[GROUP_OPERATOR] == 0)
		r->key[GROUP_OPERATOR] = bytes_key(p->node_id, sizeof(p->node_id));
}

void row_fill(struct row *r, const struct peers *t, uint32_t peer, const struct policy *policy,
	struct when now)
{
	const struct peer *p = &t->all[peer];

	memset(r, 0, sizeof(*r));
	r->peer = peer;
	r->country = p->country[0] == '\0'
			     ? 0
			     : (uint32_t)(uint8_t)p->country[0] << 8 | (uint8_t)p->country[1];
	r->roles = (uint8_t)p->roles;
	r->has4 = p->addr4.family != NET_NONE;
	r->has6 = p->addr6.family != NET_NONE;
	r->reliability = (float)rep_reliability(&p->rep, now.mono);
	r->goodput_Bps = (float)rep_goodput_Bps(&p->rep);
	r->age = (float)rep_age(&p->rep);
	r->avoid_until = p->avoid_until;
	memcpy(r->price_gwei, p->price_gwei, sizeof(r->price_gwei));
	row_fill_groups(r, p, policy->test_network);
}

static bool shared(uint64_t a, uint64_t b)
{
	return a != 0 && a == b;
}

bool rows_apart(const struct row *a, const struct row *b)
{
	return a->peer != b->peer && a->key[GROUP_AS] != b->key[GROUP_AS] &&
	       !shared(a->net4, b->net4) && !shared(a->net6, b->net6) &&
	       !shared(a->family, b->family) && !shared(a->payee, b->payee);
}

bool rows_can_talk(const struct row *a, const struct row *b)
{
	return (a->has4 && b->has4) || (a->has6 && b->has6);
}

/* ---- weights ---- */

static int keyed_cmp(const void *x, const void *y)
{
	const struct keyed_row *a = x, *b = y;

	if (a->key != b->key)
		return a->key < b->key ? -1 : 1;
	return (a->row > b->row) - (a->row < b->row);
}

/* Numbers the groups from 0, so that sums need no look-up. */
static void groups_number(struct view *v, enum row_group g)
{
	struct keyed_row *order = v->at.order;
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->n_rows; i++)
		order[i] = (struct keyed_row){v->at.rows[i].key[g], i};
	qsort(order, v->n_rows, sizeof(order[0]), keyed_cmp);
	for (uint32_t i = 0; i < v->n_rows; i++) {
		n += i > 0 && order[i].key != order[i - 1].key;
		v->at.rows[order[i].row].group[g] = n;
	}
}

static void sums_by_group(struct view *v, enum row_group g, enum hop_role role, double *ret_total)
{
	double total = 0;

	memset(v->at.sums, 0, v->n_rows * sizeof(v->at.sums[0]));
	for (uint32_t i = 0; i < v->n_rows; i++) {
		v->at.sums[v->at.rows[i].group[g]] += v->at.rows[i].weight[role];
		total += v->at.rows[i].weight[role];
	}
	*ret_total = total;
}

static double scarce_factor(double exits, double all)
{
	double share = all > 0 ? exits / all : 1;

	return share >= EXIT_SCARCE_SHARE ? 1 : fmax(share / EXIT_SCARCE_SHARE, EXIT_AS_MIDDLE_MIN);
}

/* weight is goodput * reliability on entry; see the head of weigh.h for what it becomes. */
static void weights_by_as(struct view *v, enum hop_role role)
{
	double all, exits = 0;

	sums_by_group(v, GROUP_AS, role, &all);
	for (uint32_t i = 0; i < v->n_rows; i++)
		if (v->at.rows[i].weight[HOP_EXIT] > 0)
			exits += v->at.rows[i].weight[role];
	double spare = role == HOP_EXIT ? 1 : scarce_factor(exits, all);
	for (uint32_t i = 0; i < v->n_rows; i++) {
		struct row *r = &v->at.rows[i];

		if (r->weight[role] <= 0)
			continue;
		r->weight[role] *= (double)r->age / sqrt(v->at.sums[r->group[GROUP_AS]]);
		if (r->weight[HOP_EXIT] > 0)
			r->weight[role] *= spare;
	}
}

static uint32_t groups_count(struct view *v, enum row_group g, enum hop_role role)
{
	double total;
	uint32_t n = 0;

	sums_by_group(v, g, role, &total);
	for (uint32_t i = 0; i < v->n_rows; i++)
		n += v->at.sums[i] > 0;
	return n;
}

static double cap_for(double cap, uint32_t n)
{
	return n == 0 ? 1 : fmin(fmax(cap, WEIGH_CAP_SMALL / n), 1);
}

/* Scales down groups above `cap` of the total; true if there was one (by more than rounding). */
static bool cap_groups(struct view *v, enum row_group g, enum hop_role role, double cap)
{
	double total;
	bool over = false;

	sums_by_group(v, g, role, &total);
	for (uint32_t i = 0; i < v->n_rows; i++) {
		struct row *r = &v->at.rows[i];
		double sum = v->at.sums[r->group[g]];

		if (sum <= cap * total)
			continue;
		over |= sum > cap * total * 1.001;
		r->weight[role] *= cap * total / sum;
	}
	return over;
}

static bool cap_relays(struct view *v, enum hop_role role, double cap)
{
	double total = 0;
	bool over = false;

	for (uint32_t i = 0; i < v->n_rows; i++)
		total += v->at.rows[i].weight[role];
	for (uint32_t i = 0; i < v->n_rows; i++) {
		double *w = &v->at.rows[i].weight[role];

		over |= *w > cap * total * 1.001;
		if (*w > cap * total)
			*w = cap * total;
	}
	return over;
}

static void weights_cap(struct view *v, enum hop_role role)
{
	static const double caps[GROUPS] = {WEIGH_CAP_AS, WEIGH_CAP_BLOCK, WEIGH_CAP_OPERATOR};
	bool over = true;

	for (int g = 0; g < GROUPS; g++)
		v->n_groups[role][g] = groups_count(v, g, role);
	for (int round = 0; over && round < WEIGH_CAP_ROUNDS; round++) {
		over = cap_relays(v, role, cap_for(WEIGH_CAP_RELAY, v->n_fit[role]));
		for (int g = 0; g < GROUPS; g++)
			over |= cap_groups(v, g, role, cap_for(caps[g], v->n_groups[role][g]));
	}
}

/* ---- the view ---- */

static void row_add(struct view *v, const struct peers *t, uint32_t i, struct when now)
{
	const struct peer *p = &t->all[i];
	struct row *r = &v->at.rows[v->n_rows];
	enum rule rules[HOP_ROLES];

	rules[HOP_ENTRY] = rule_for_relay(&v->policy, p, HOP_ENTRY, now);
	rules[HOP_MIDDLE] = rule_for_relay(&v->policy, p, HOP_MIDDLE, now);
	rules[HOP_EXIT] = rule_for_exit(&v->policy, p, now);
	v->n_exits_out[rules[HOP_EXIT]]++;
	v->n_relays_out[rules[HOP_MIDDLE]]++;
	v->n_listed += rules[HOP_EXIT] != RULE_UNLISTED;
	if (rules[0] != RULE_FITS && rules[1] != RULE_FITS && rules[2] != RULE_FITS)
		return;
	row_fill(r, t, i, &v->policy, now);
	for (int role = 0; role < HOP_ROLES; role++) {
		if (rules[role] != RULE_FITS)
			continue;
		r->weight[role] = (double)r->goodput_Bps * (double)r->reliability;
		v->n_fit[role]++;
	}
	v->n_rows++;
}

/* Distinct countries among the exits that fit; at most 26 * 26 of them exist. */
static uint32_t exit_countries_count(const struct view *v)
{
	uint8_t seen[26 * 26 / 8 + 1] = {0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < v->n_rows; i++) {
		uint32_t c = v->at.rows[i].country;

		if (c == 0 || v->at.rows[i].weight[HOP_EXIT] <= 0)
			continue;
		uint32_t bit = ((c >> 8) - 'A') * 26 + ((c & 0xff) - 'A');
		if (bit >= 26 * 26 || (seen[bit / 8] & 1 << bit % 8) != 0)
			continue;
		seen[bit / 8] |= (uint8_t)(1 << bit % 8);
		n++;
	}
	return n;
}

void weigh(struct view *v, const struct peers *t, const struct policy *policy, struct when now)
{
	BUG_ON(t->capacity > v->capacity);
	*v = (struct view){.at = v->at,
		.capacity = v->capacity,
		.policy = *policy,
		.serial = t->serial,
		.made = now.mono,
		.valid = true};
	for (uint32_t i = 0; i < t->n_top; i++)
		if (t->all[i].used)
			row_add(v, t, i, now);
	for (int g = 0; g < GROUPS; g++)
		groups_number(v, g);
	v->n_exit_countries = exit_countries_count(v);
	/* Entry and middle ask whether a relay is fit as exit: exit last. */
	for (int role = 0; role < HOP_ROLES; role++) {
		weights_by_as(v, role);
		weights_cap(v, role);
	}
}

static bool policy_eq(const struct policy *a, const struct policy *b)
{
	if (a->n_hops != b->n_hops || a->n_countries != b->n_countries ||
		a->free_only != b->free_only || a->price_max_gwei != b->price_max_gwei ||
		a->test_network != b->test_network)
		return false;
	return memcmp(a->countries, b->countries, a->n_countries * sizeof(a->countries[0])) == 0;
}

bool view_for(const struct view *v, const struct policy *policy)
{
	return v->valid && policy_eq(&v->policy, policy);
}

bool view_fresh(
	const struct view *v, const struct peers *t, const struct policy *policy, struct when now)
{
	return view_for(v, policy) && v->serial == t->serial &&
	       mono_since(v->made, now.mono).ns < VIEW_AGE_MAX.ns;
}
