/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "pick.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "places.h"

#define RTT_FLOOR_MS 15.0
#define RTT_SCALE_MS 50.0
#define JITTER_SCALE_MS 20.0
#define GOODPUT_NEED_BPS 1e6
#define GOODPUT_CAP_BPS 2e7  /* more than a person uses */
#define PRICE_SCALE_GWEI 1e8 /* per GiB, where the user set no cap: a tenth of a coin */
#define FAMILY_PENALTY 1.0
#define TEMPERATURE 0.25
#define TEMPERATURE_STEP 1.25
#define TEMPERATURE_STEPS 40

struct weights {
	double latency, jitter, goodput, reliability, price;
};

/* One and two hops are asked for speed, three for balance. */
static const struct weights weights_for[POLICY_HOPS_MAX + 1] = {
	[1] = {1.5, 0.5, 1, 6, 0.5}, [2] = {1.5, 0.5, 1, 6, 0.5}, [3] = {1, 0.3, 1, 6, 0.5}};

struct candidate {
	const struct row *middle, *exit; /* middle NULL below three hops */
	uint32_t n_drawn;
	uint32_t rtt_us, jitter_us;
	double utility, p;
};

/* One attempt to choose under one set of concessions. */
struct draw {
	const struct view *v;
	const struct peers *t;
	const struct edge_memory *m;
	const struct pick_ask *ask;
	struct rng *rng;
	struct when now;
	const struct row *entry; /* NULL: one hop */
	const struct row *exit;	 /* NULL: choose */
	bool use_avoided, one_country;
	struct candidate all[PICK_CANDIDATES];
	size_t n;
	uint32_t n_drawn, n_apart; /* pairs drawn, and those refused for being too close */
};

double pick_utility(const struct pick_terms *terms)
{
	const struct weights *w = &weights_for[terms->n_hops];
	double cap = terms->price_cap_gwei > 0 ? terms->price_cap_gwei : PRICE_SCALE_GWEI;

	return -w->latency * log(fmax(terms->rtt_ms, RTT_FLOOR_MS) / RTT_SCALE_MS) -
	       w->jitter * log1p(terms->jitter_ms / JITTER_SCALE_MS) +
	       w->goodput * 0.5 *
		       log(fmin(terms->goodput_Bps, GOODPUT_CAP_BPS) / GOODPUT_NEED_BPS) +
	       w->reliability * terms->reliability_ln - w->price * terms->price_gwei / cap -
	       (terms->misses_family ? FAMILY_PENALTY : 0);
}

/* ---- rows ---- */

static const struct row *row_find(const struct view *v, uint32_t peer)
{
	/* Rows are in table order. */
	uint32_t lo = 0, hi = v->n_rows;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (v->at.rows[mid].peer < peer)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->n_rows && v->at.rows[lo].peer == peer ? &v->at.rows[lo] : NULL;
}

bool pick_entry_fits(const struct view *v, uint32_t entry)
{
	const struct row *r = row_find(v, entry);

	return r != NULL && r->weight[HOP_ENTRY] > 0;
}

static bool excluded(const struct draw *d, const struct row *r)
{
	for (size_t i = 0; i < d->ask->n_exclude; i++)
		if (d->ask->exclude[i] == r->peer)
			return true;
	return !d->use_avoided && r->avoid_until.ns > d->now.mono.ns;
}

static bool countries_differ(const struct row *a, const struct row *b)
{
	return a != NULL && b != NULL && a->country != 0 && b->country != 0 &&
	       a->country != b->country;
}

/* Running sums of the weights for `role` of what may stand beside the fixed hops. */
static double cum_fill(const struct draw *d, enum hop_role role, double *cum)
{
	double sum = 0;

	for (uint32_t i = 0; i < d->v->n_rows; i++) {
		const struct row *r = &d->v->at.rows[i];
		bool next_to_entry = d->v->policy.n_hops == 2 || role == HOP_MIDDLE;
		bool fits = r->weight[role] > 0 && !excluded(d, r) &&
			    (d->entry == NULL ||
				    (rows_apart(d->entry, r) &&
					    (!next_to_entry || rows_can_talk(d->entry, r)))) &&
			    (role != HOP_MIDDLE || d->exit == NULL ||
				    (rows_apart(d->exit, r) && rows_can_talk(d->exit, r)));

		sum += fits ? r->weight[role] : 0;
		cum[i] = sum;
	}
	return sum;
}

static const struct row *row_draw(struct draw *d, const double *cum, double sum)
{
	/* Below the sum even after rounding: rows behind the last that fits must not come up. */
	double x = fmin(rng_unit(d->rng) * sum, sum * (1 - 1e-12));
	uint32_t lo = 0, hi = d->v->n_rows - 1;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (cum[mid] > x)
			hi = mid;
		else
			lo = mid + 1;
	}
	return &d->v->at.rows[lo];
}

/* ---- candidates ---- */

static bool pair_fits(const struct row *middle, const struct row *exit)
{
	return middle == NULL || (rows_apart(middle, exit) && rows_can_talk(middle, exit));
}

static bool spans_two(const struct draw *d, const struct row *middle, const struct row *exit)
{
	return countries_differ(d->entry, exit) || countries_differ(d->entry, middle) ||
	       countries_differ(middle, exit);
}

static void candidate_add(struct draw *d, const struct row *middle, const struct row *exit)
{
	for (size_t i = 0; i < d->n; i++) {
		if (d->all[i].middle != middle || d->all[i].exit != exit)
			continue;
		d->all[i].n_drawn++;
		return;
	}
	if (d->n < PICK_CANDIDATES)
		d->all[d->n++] = (struct candidate){.middle = middle, .exit = exit, .n_drawn = 1};
}

static bool pair_take(struct draw *d, const struct row *middle, const struct row *exit)
{
	d->n_drawn++;
	if (!pair_fits(middle, exit)) {
		d->n_apart++;
		return false;
	}
	if (!d->one_country && d->v->policy.n_hops > 1 && !spans_two(d, middle, exit))
		return false;
	candidate_add(d, middle, exit);
	return true;
}

/* Drawing may miss the one pair that fits: try some exits with every middle. */
static void pairs_search(
	struct draw *d, const double *cum_middle, const double *cum_exit, double exits)
{
	uint32_t n_rows = d->v->n_rows;

	for (uint32_t k = 0; k < PICK_EXITS_SEARCHED && d->n == 0; k++) {
		const struct row *exit = d->exit;
		uint32_t from = (uint32_t)rng_below(d->rng, n_rows);

		if (exit == NULL && n_rows <= PICK_EXITS_SEARCHED) {
			exit = k < n_rows && cum_exit[k] > (k == 0 ? 0 : cum_exit[k - 1])
				       ? &d->v->at.rows[k]
				       : NULL;
		} else if (exit == NULL) {
			exit = row_draw(d, cum_exit, exits);
		}
		for (uint32_t i = 0; exit != NULL && i < n_rows && d->n < PICK_CANDIDATES; i++) {
			uint32_t j = (from + i) % n_rows;

			if (cum_middle[j] > (j == 0 ? 0 : cum_middle[j - 1]))
				(void)pair_take(d, &d->v->at.rows[j], exit);
		}
	}
}

static void candidates_draw(struct draw *d)
{
	bool three = d->v->policy.n_hops == 3;
	double *cum_middle = d->v->at.cum_middle, *cum_exit = d->v->at.cum_exit;
	double exits = d->exit != NULL ? 1 : cum_fill(d, HOP_EXIT, cum_exit);
	double middles = three ? cum_fill(d, HOP_MIDDLE, cum_middle) : 1;
	uint32_t n_taken = 0;

	d->n = 0;
	d->n_drawn = d->n_apart = 0;
	if (d->v->n_rows == 0 || exits <= 0 || middles <= 0)
		return;
	for (int i = 0; i < PICK_DRAWS_MAX && n_taken < PICK_CANDIDATES; i++) {
		const struct row *exit = d->exit != NULL ? d->exit : row_draw(d, cum_exit, exits);
		const struct row *middle = three ? row_draw(d, cum_middle, middles) : NULL;

		n_taken += pair_take(d, middle, exit);
	}
	if (d->n == 0 && three)
		pairs_search(d, cum_middle, cum_exit, exits);
}

/* ---- utility ---- */

static const uint8_t *id_of(const struct draw *d, const struct row *r)
{
	return d->t->all[r->peer].node_id;
}

static void leg_add(
	const struct draw *d, const struct row *a, const struct row *b, struct candidate *c)
{
	if (a == NULL || b == NULL)
		return;
	struct edge_guess g = edge_estimate(
		d->m, id_of(d, a), id_of(d, b), places_rtt_us(a->country, b->country));
	c->rtt_us += g.rtt_us;
	c->jitter_us += g.jitter_us;
}

static void hop_add(const struct row *r, enum hop_role role, struct pick_terms *terms)
{
	if (r == NULL)
		return;
	terms->goodput_Bps = fmin(terms->goodput_Bps, (double)r->goodput_Bps);
	terms->reliability_ln += log((double)r->reliability);
	terms->price_gwei += (double)r->price_gwei[role];
}

static void candidate_weigh(const struct draw *d, struct candidate *c)
{
	const uint32_t both = DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6;
	struct pick_terms terms = {.goodput_Bps = GOODPUT_CAP_BPS,
		.n_hops = d->v->policy.n_hops,
		.price_cap_gwei = (double)d->v->policy.price_max_gwei * d->v->policy.n_hops,
		.misses_family = (c->exit->roles & both) != both};

	leg_add(d, d->entry, c->middle != NULL ? c->middle : c->exit, c);
	leg_add(d, c->middle, c->exit, c);
	hop_add(d->entry, HOP_ENTRY, &terms);
	hop_add(c->middle, HOP_MIDDLE, &terms);
	hop_add(c->exit, HOP_EXIT, &terms);
	terms.rtt_ms = c->rtt_us / 1e3;
	terms.jitter_ms = c->jitter_us / 1e3;
	c->utility = pick_utility(&terms);
}

/* ---- the choice ---- */

/* p by exp(U / T) times how often it was drawn, none above PICK_RATIO_MAX times the mean. */
static void softmax(struct draw *d, double temperature)
{
	double top = -INFINITY;
	uint32_t n_drawn = 0;

	for (size_t i = 0; i < d->n; i++) {
		top = fmax(top, d->all[i].utility);
		n_drawn += d->all[i].n_drawn;
	}
	for (size_t i = 0; i < d->n; i++)
		d->all[i].p = exp((d->all[i].utility - top) / temperature);
	bool over = true;
	for (int round = 0; over && round < WEIGH_CAP_ROUNDS; round++) {
		double mean = 0;

		over = false;
		for (size_t i = 0; i < d->n; i++)
			mean += d->all[i].p * d->all[i].n_drawn / n_drawn;
		for (size_t i = 0; i < d->n; i++) {
			over |= d->all[i].p > PICK_RATIO_MAX * mean * 1.001;
			d->all[i].p = fmin(d->all[i].p, PICK_RATIO_MAX * mean);
		}
	}
	double sum = 0;
	for (size_t i = 0; i < d->n; i++)
		sum += d->all[i].p * d->all[i].n_drawn;
	for (size_t i = 0; i < d->n; i++)
		d->all[i].p *= d->all[i].n_drawn / sum;
}

static double effective(const struct draw *d)
{
	double h = 0;

	for (size_t i = 0; i < d->n; i++)
		if (d->all[i].p > 0)
			h -= d->all[i].p * log(d->all[i].p);
	return exp(h);
}

static double effective_drawn(const struct draw *d)
{
	double h = 0, n = 0;

	for (size_t i = 0; i < d->n; i++)
		n += d->all[i].n_drawn;
	for (size_t i = 0; i < d->n; i++)
		h -= d->all[i].n_drawn / n * log(d->all[i].n_drawn / n);
	return exp(h);
}

static const struct candidate *choose(struct draw *d, struct pick *pick)
{
	double floor = fmin(PICK_EFFECTIVE_MIN, 0.9 * effective_drawn(d)), x;

	pick->temperature = TEMPERATURE;
	for (size_t i = 0; i < d->n; i++)
		candidate_weigh(d, &d->all[i]);
	softmax(d, pick->temperature);
	for (int i = 0; i < TEMPERATURE_STEPS && effective(d) < floor; i++) {
		pick->temperature *= TEMPERATURE_STEP;
		softmax(d, pick->temperature);
	}
	pick->effective = effective(d);
	x = rng_unit(d->rng);
	for (size_t i = 0; i + 1 < d->n; i++) {
		x -= d->all[i].p;
		if (x < 0)
			return &d->all[i];
	}
	return &d->all[d->n - 1];
}

/* ---- reasons ---- */

static void reason_exit(const struct draw *d, const struct peer *exit, char *ret)
{
	const struct view *v = d->v;
	const char *where = exit->country[0] == '\0' ? "an unknown country" : exit->country;

	if (d->exit != NULL)
		snprintf(ret, PICK_REASON_MAX, "exit in %s kept, so that connections live on",
			where);
	else if (v->policy.n_countries > 0)
		snprintf(ret, PICK_REASON_MAX, "exit in %s as you asked; %u %s", where,
			v->n_fit[HOP_EXIT], v->n_fit[HOP_EXIT] == 1 ? "exit fits" : "exits fit");
	else
		snprintf(ret, PICK_REASON_MAX, "exit in %s, from %u in %u %s", where,
			v->n_fit[HOP_EXIT], v->n_exit_countries,
			v->n_exit_countries == 1 ? "country" : "countries");
}

static void reason_latency(const struct draw *d, const struct candidate *c, char *ret)
{
	uint32_t least = UINT32_MAX, most = 0;

	for (size_t i = 0; i < d->n; i++) {
		least = d->all[i].rtt_us < least ? d->all[i].rtt_us : least;
		most = d->all[i].rtt_us > most ? d->all[i].rtt_us : most;
	}
	if (d->v->policy.n_hops == 1)
		snprintf(ret, PICK_REASON_MAX, "%zu %s weighed by goodput and reliability", d->n,
			d->n == 1 ? "relay" : "relays");
	else
		snprintf(ret, PICK_REASON_MAX,
			"about %u ms behind the entry; %zu %s weighed, %u to %u ms",
			(c->rtt_us + 500) / 1000, d->n, d->n == 1 ? "path" : "paths", least / 1000,
			(most + 999) / 1000);
}

static void reason_rules(const struct draw *d, char *ret)
{
	if (d->use_avoided)
		snprintf(ret, PICK_REASON_MAX,
			"a relay that failed lately is in it: no other path is possible");
	else if (d->one_country && d->v->policy.n_hops > 1)
		snprintf(ret, PICK_REASON_MAX,
			"may stay in one country: no path over two is possible");
	else if (d->n_apart > 0)
		snprintf(ret, PICK_REASON_MAX,
			"%u of %u paths ruled out: one operator or network twice", d->n_apart,
			d->n_drawn);
	else if (d->v->policy.n_hops > 1)
		snprintf(ret, PICK_REASON_MAX,
			"every hop in another network and of another operator");
	else
		ret[0] = '\0';
}

/* ---- when there is none ---- */

static void countries_show(const struct policy *policy, char *buf, size_t len)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < policy->n_countries && at + 8 < len; i++)
		at += (size_t)snprintf(
			buf + at, len - at, "%s%s", i == 0 ? "" : ", ", policy->countries[i]);
}

static void why_no_exit(const struct view *v, char ret_why[static PICK_WHY_MAX])
{
	char where[96];

	countries_show(&v->policy, where, sizeof(where));
	if (v->n_listed == 0)
		snprintf(ret_why, PICK_WHY_MAX, "no relay is known yet");
	else if (v->n_exits_out[RULE_PAY_OFF] > 0)
		snprintf(ret_why, PICK_WHY_MAX,
			"every exit%s%s asks for payment, and payment is off",
			where[0] == '\0' ? "" : " in ", where);
	else if (v->n_exits_out[RULE_PRICE_CAP] > 0)
		snprintf(ret_why, PICK_WHY_MAX, "every exit%s%s asks more than your price cap",
			where[0] == '\0' ? "" : " in ", where);
	else if (v->n_exits_out[RULE_COUNTRY] + v->n_exits_out[RULE_COUNTRY_UNKNOWN] > 0)
		snprintf(ret_why, PICK_WHY_MAX, "no exit in %s is known", where);
	else
		snprintf(ret_why, PICK_WHY_MAX, "no exit is known among %u relays", v->n_listed);
}

void pick_why_none(const struct view *v, bool exit_given, char ret_why[static PICK_WHY_MAX])
{
	if (v->n_fit[HOP_EXIT] == 0 && !exit_given)
		why_no_exit(v, ret_why);
	else if (v->policy.n_hops > 1 && v->n_fit[HOP_ENTRY] == 0 &&
		 v->n_relays_out[RULE_PAY_OFF] > 0)
		snprintf(ret_why, PICK_WHY_MAX, "every relay asks for payment, and payment is off");
	else if (v->policy.n_hops > 1 && v->n_fit[HOP_ENTRY] == 0 &&
		 v->n_relays_out[RULE_PRICE_CAP] > 0)
		snprintf(ret_why, PICK_WHY_MAX, "every relay asks more than your price cap");
	else
		snprintf(ret_why, PICK_WHY_MAX,
			"no %u relays that fit are in different networks and of different "
			"operators",
			v->policy.n_hops);
}

/* ---- entry points ---- */

static void pick_fill(const struct draw *d, const struct candidate *c, struct pick *ret)
{
	const struct peer *first = d->entry != NULL ? &d->t->all[d->entry->peer] : NULL;

	ret->n_hops = 0;
	if (d->entry != NULL)
		ret->peers[ret->n_hops++] = d->entry->peer;
	if (c->middle != NULL)
		ret->peers[ret->n_hops++] = c->middle->peer;
	ret->peers[ret->n_hops++] = c->exit->peer;
	ret->rtt_us = c->rtt_us + (first != NULL && first->rep.n_rtt > 0 ? first->rep.srtt_us : 0);
	ret->n_candidates = (unsigned int)d->n;
	ret->one_country = d->one_country;
	ret->avoided_used = d->use_avoided;
	reason_exit(d, &d->t->all[c->exit->peer], ret->reasons[0]);
	reason_latency(d, c, ret->reasons[1]);
	reason_rules(d, ret->reasons[2]);
}

static bool draw_prepare(struct draw *d, struct row *exit_room)
{
	if (d->v->policy.n_hops > 1) {
		d->entry = d->ask->entry == PICK_NONE ? NULL : row_find(d->v, d->ask->entry);
		if (d->entry == NULL || d->entry->weight[HOP_ENTRY] <= 0)
			return false;
	}
	if (d->ask->exit == PICK_NONE)
		return true;
	/* The exit in use may have left the directory or the user's wishes; it is kept as it is. */
	row_fill(exit_room, d->t, d->ask->exit, &d->v->policy, d->now);
	d->exit = exit_room;
	return d->entry == NULL ||
	       (rows_apart(d->entry, d->exit) &&
		       (d->v->policy.n_hops != 2 || rows_can_talk(d->entry, d->exit)));
}

enum err pick_route(const struct view *v, const struct peers *t, const struct edge_memory *m,
	const struct pick_ask *ask, struct rng *rng, struct when now, struct pick *ret_pick,
	char ret_why[static PICK_WHY_MAX])
{
	struct draw d = {.v = v, .t = t, .m = m, .ask = ask, .rng = rng, .now = now};
	struct row exit_room;

	if (!draw_prepare(&d, &exit_room)) {
		pick_why_none(v, d.exit != NULL, ret_why);
		return ERR_NOT_FOUND;
	}
	for (int level = 0; level < (ask->strict ? 2 : 4); level++) {
		d.one_country = (level & 1) != 0;
		d.use_avoided = (level & 2) != 0;
		candidates_draw(&d);
		if (d.n == 0)
			continue;
		struct pick pick = {0};
		const struct candidate *c = choose(&d, &pick);

		pick_fill(&d, c, &pick);
		*ret_pick = pick;
		return OK;
	}
	pick_why_none(v, d.exit != NULL, ret_why);
	return ERR_NOT_FOUND;
}

static bool entry_taken(const struct view *v, const struct row *r, const uint32_t *peers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row *o = row_find(v, peers[i]);

		if (peers[i] == r->peer || (o != NULL && o->key[GROUP_AS] == r->key[GROUP_AS]))
			return true;
	}
	return false;
}

static double entries_cum(const struct view *v, const struct draw *d, const uint32_t *exclude,
	size_t n_exclude, const uint32_t *taken, size_t n_taken)
{
	double sum = 0;

	for (uint32_t i = 0; i < v->n_rows; i++) {
		const struct row *r = &v->at.rows[i];
		bool fits = r->weight[HOP_ENTRY] > 0 && !excluded(d, r) &&
			    !entry_taken(v, r, taken, n_taken);

		for (size_t k = 0; fits && k < n_exclude; k++)
			fits = exclude[k] != r->peer;
		sum += fits ? r->weight[HOP_ENTRY] : 0;
		v->at.cum_exit[i] = sum;
	}
	return sum;
}

size_t pick_entries(const struct view *v, const uint32_t *exclude, size_t n_exclude,
	struct rng *rng, struct when now, uint32_t *ret_peers, size_t n)
{
	static const struct pick_ask nothing = {.n_exclude = 0};
	struct draw d = {.v = v, .ask = &nothing, .rng = rng, .now = now};
	size_t got = 0;

	while (got < n) {
		double sum = entries_cum(v, &d, exclude, n_exclude, ret_peers, got);

		if (sum > 0)
			ret_peers[got++] = row_draw(&d, v->at.cum_exit, sum)->peer;
		else if (got == 0 && !d.use_avoided)
			d.use_avoided = true;
		else
			break;
	}
	return got;
}
