/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom to ask: bootstraps, and the peers to compare views with.
 *
 * A bootstrap is any node that is up, by id, WireGuard key and endpoint: from node.ini, and each
 * relay of the last run whose descriptor has run out meanwhile. They are asked while no relay is
 * known, with growing pauses, and one by lot in BOOT_HEAL, so that two halves of a network that
 * bootstrapped apart find each other.
 *
 * A relay compares with a proven relay: of PARTNER_DRAWS drawn by lot the one that answered longest
 * ago, so every relay is asked again in the course of time. A client keeps to CLIENT_PEERS relays
 * (in different IPv4 /16 where it can), replaced when they fail, so that few learn of it. That is
 * the seam for asking through the guard's session: a contact is where a question goes (struct
 * contact), and only contacts_pick decides it. */
#ifndef DISCOVERY_CONTACTS_H
#define DISCOVERY_CONTACTS_H

#include "lib/net.h"
#include "lib/rng.h"
#include "directory.h"

#define BOOTS_MAX 64 /* configured and remembered together: one of them being up is enough */
#define BOOT_RETRY_FIRST DUR_S(1)
#define BOOT_RETRY_LAST DUR_S(60)
#define BOOT_HEAL DUR_S(600)
#define CLIENT_PEERS 4
#define CLIENT_PEER_FAILED_MAX 2
#define PARTNER_DRAWS 3

struct contact {
	uint8_t node_id[NODE_ID_SIZE];
	uint8_t wg_pk[32];
	struct net_endpoint ep4, ep6;
};

struct boot {
	struct contact to;
	mono_t next_try;
	uint8_t n_failed;
};

struct client_peer {
	uint8_t node_id[NODE_ID_SIZE];
	bool used;
	uint8_t n_failed;
};

struct contacts {
	struct boot boots[BOOTS_MAX];
	uint32_t n_boots;
	mono_t next_heal;
	struct client_peer peers[CLIENT_PEERS];
	uint32_t next_peer; /* turn */
};

/* False if the table is full or the contact is there already. */
bool contacts_add_boot(struct contacts *c, const struct contact *to);
struct contact contact_of(const struct relay *r);

/* Chooses whom to compare with now; false if there is nobody to ask at present. While nobody
 * answers, relays known and bootstraps take turns by lot. */
bool contacts_pick(struct contacts *c, const struct directory *dir, struct rng *rng, mono_t now,
	struct contact *ret_to);
/* A proven relay other than ourselves and `but` (may be NULL), by lot; NULL if there is none. */
const struct relay *contacts_draw(const struct directory *dir, struct rng *rng, const uint8_t *but);

void contacts_answered(struct contacts *c, const uint8_t node_id[static NODE_ID_SIZE]);
/* blame: others do answer, so it is not our own network that is down. */
void contacts_failed(
	struct contacts *c, const uint8_t node_id[static NODE_ID_SIZE], mono_t now, bool blame);
/* Everybody may be asked again at once: the way out is new. */
void contacts_reset(struct contacts *c);
/* When a bootstrap may be asked; MONO_NEVER without any. */
mono_t contacts_deadline(const struct contacts *c);

#endif
