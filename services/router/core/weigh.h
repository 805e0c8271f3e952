/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How often each relay is to be proposed, by position: the table seen through a policy.
 *
 * weigh() walks the table once and keeps a row for each relay that passes the hard filters of at
 * least one position, with all that choosing needs. Per position a relay weighs
 * goodput * reliability * age / sqrt(sum of goodput * reliability in its AS): the square root
 * applies to the AS, and inside it shares are linear, so that splitting one relay into many gains
 * nothing. Then shares are capped: AS 5 %, address block (/24, /48) 2 %, operator 2 %, relay 1.25
 * %. In a network too small for these a group may have up to twice its equal share.
 *
 * Exits weigh less as middles when exits are scarce, so that they are not spent there.
 *
 * Differs from Tor's weights in not trusting any claim, and from a square root per relay, which
 * rewards splitting. Source: design study of peer-to-peer VPNs (route selection). Pure; storage is
 * the caller's. */
#ifndef ROUTER_WEIGH_H
#define ROUTER_WEIGH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "peers.h"
#include "when.h"

#define WEIGH_CAP_AS 0.05
#define WEIGH_CAP_BLOCK 0.02
#define WEIGH_CAP_OPERATOR 0.02
#define WEIGH_CAP_RELAY 0.0125
#define WEIGH_CAP_SMALL 2.0 /* times the equal share, where that is more than the cap */
#define WEIGH_CAP_ROUNDS 40 /* capping one group raises the share of others; converges in a few */

#define POLICY_COUNTRIES_MAX 16
#define POLICY_HOPS_MAX 3

/* What the user and the network's rules allow. */
struct policy {
	unsigned int n_hops;			 /* 1..3 */
	char countries[POLICY_COUNTRIES_MAX][3]; /* of the exit; none: any */
	size_t n_countries;
	bool free_only;
	uint64_t price_max_gwei; /* per GiB and hop; 0: no cap */
	bool test_network; /* IPv6 networks are told apart by /48: all of them lie in 2001:db8::/32
			    */
};

/* Why a relay cannot serve. */
enum rule {
	RULE_FITS,
	RULE_UNLISTED,
	RULE_ROLE,
	RULE_COUNTRY,
	RULE_COUNTRY_UNKNOWN,
	RULE_PAY_OFF,
	RULE_PRICE_CAP,
	RULES
};
/* For people: "is not an exit"... "" for RULE_FITS. */
const char *rule_text(enum rule r);

enum row_group { GROUP_AS, GROUP_BLOCK, GROUP_OPERATOR, GROUPS };

struct row {
	uint32_t peer;		/* index in the table */
	uint32_t group[GROUPS]; /* dense numbers, for the caps */
	uint64_t key[GROUPS];	/* ASN or prefix; /24 or /48; family or payee */
	uint64_t net4, net6;	/* what two hops may not share; 0: no such address */
	uint64_t family, payee; /* 0: none */
	uint32_t country;	/* two letters, 0 unknown */
	uint8_t roles;
	bool has4, has6;
	float reliability, goodput_Bps, age;
	mono_t avoid_until;
	uint64_t price_gwei[HOP_ROLES];
	double weight[HOP_ROLES]; /* 0: not fit for the position */
};

struct keyed_row {
	uint64_t key;
	uint32_t row;
};

struct weigh_storage {
	struct row *rows;
	struct keyed_row *order; /* work space; all arrays have as many entries */
	double *sums;
	double *cum_middle, *cum_exit; /* for pick.c */
};

struct view {
	struct weigh_storage at;
	uint32_t capacity, n_rows;
	struct policy policy;
	uint64_t serial; /* of the table when made */
	mono_t made;
	bool valid;
	uint32_t n_fit[HOP_ROLES]; /* rows with a weight */
	/* For the reason when nothing can be chosen: exits by the rule that kept them out. */
	uint32_t n_exits_out[RULES], n_relays_out[RULES];
	uint32_t n_listed, n_exit_countries;
	uint32_t n_groups[HOP_ROLES][GROUPS];
};

/* Borrows the arrays, each of `capacity` entries. */
void view_init(struct view *v, const struct weigh_storage *at, uint32_t capacity);
void weigh(struct view *v, const struct peers *t, const struct policy *policy, struct when now);
/* Was it made for this policy? From the table as it is, and lately? */
bool view_for(const struct view *v, const struct policy *policy);
bool view_fresh(
	const struct view *v, const struct peers *t, const struct policy *policy, struct when now);

enum rule rule_for_exit(const struct policy *policy, const struct peer *p, struct when now);
enum rule rule_for_relay(
	const struct policy *policy, const struct peer *p, enum hop_role role, struct when now);
/* A row without weights, for a relay that a rule keeps out but that is in use. */
void row_fill(struct row *r, const struct peers *t, uint32_t peer, const struct policy *policy,
	struct when now);
/* May both be on one route? Next to each other or not. */
bool rows_apart(const struct row *a, const struct row *b);
bool rows_can_talk(const struct row *a, const struct row *b);

#endif
