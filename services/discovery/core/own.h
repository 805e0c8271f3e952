/* SPDX-License-Identifier: GPL-2.0-or-later */
/* This node's own descriptor: whether there is one, what it says, when it is signed anew.
 *
 * It is made of what tunnel offers (Listening), what ledger asks (Terms), what the user allows
 * (DiscoverySettings) and node.ini. A node that does not share has none: clients publish nothing.
 * Signed for 24 h, renewed at half of it (less a random part of an hour, so that nodes do not renew
 * in step) or when its content changes: not sooner than SETTLE after the change, at most
 * PUBLISH_BURST times at once and then one in PUBLISH_EVERY, which is within what others take from
 * one node.
 *
 * The sequence number is max(last + 1, seconds of the wall clock). The last one is stored durably
 * before the descriptor leaves; if that file is lost the clock still makes it grow; if a higher one
 * under our own signature comes back from the network (file lost and clock behind), we go above it.
 * So it never goes back, and we never sign two descriptors with one number. */
#ifndef DISCOVERY_OWN_H
#define DISCOVERY_OWN_H

#include "lib/descriptor.h"
#include "meter.h"
#include "moment.h"

#define OWN_SETTLE DUR_MS(200)
#define OWN_PUBLISH_EVERY DUR_S(40)
#define OWN_PUBLISH_BURST 4
#define OWN_RENEW_S (DESCRIPTOR_LIFE_MAX_S / 2)
#define OWN_RENEW_SPREAD_S 3600
/* Numbers leave room above: a peer cannot push us (with what only we can sign) to the end. */
#define OWN_SEQ_MAX (UINT64_MAX - 1)

struct own_conf {
	uint8_t identity_sk[64]; /* Ed25519, libsodium's form: seed and public key */
	char name[24];
	char country[3]; /* claim; "" for none */
	uint8_t family_id[16];
	struct net_addr public4, public6;
	bool test_network;
};

struct own_listening {
	uint8_t wg_pk[32];
	uint16_t port;
	bool relay, exit4, exit6;
	uint8_t policy_digest[32];
};

struct own_terms {
	uint64_t price_gwei_per_gib[HOP_ROLES];
	uint64_t free_bytes;
	uint32_t chain_id;
	uint8_t payee[20];
};

struct own_settings {
	bool share, share_exit;
};

struct own {
	struct own_conf conf;
	struct own_listening listening;
	struct own_terms terms;
	struct own_settings settings;
	bool has_listening, has_terms, has_settings;
	uint64_t seq; /* of the last one signed, now or in an earlier life */
	bool is_out;  /* `out` is live, not a tombstone */
	struct descriptor out;
	uint8_t out_bytes[DESCRIPTOR_SIZE];
	bool changed;
	mono_t settled_at; /* when a change may be signed */
	int64_t renew_s;   /* wall clock */
	struct meter pace;
	uint64_t n_published;
};

void own_init(struct own *o, const struct own_conf *conf, uint64_t seq);
void own_done(struct own *o); /* wipes the key */

void own_on_listening(struct own *o, mono_t now, const struct own_listening *l);
void own_on_terms(struct own *o, mono_t now, const struct own_terms *t);
void own_on_settings(struct own *o, mono_t now, const struct own_settings *s);
/* A descriptor of ours with this number was seen: go above it if it is not the one we have out. */
void own_on_seq_seen(struct own *o, mono_t now, uint64_t seq);

/* Does this node take part as a relay: answer, probe, pass on? */
bool own_shares(const struct own *o);
/* Do we know yet whether this node shares? */
bool own_decided(const struct own *o);
/* Why there is no descriptor although the user shares, in words; NULL if nothing is missing. */
const char *own_lacks(const struct own *o);

/* If something is to be signed now: the number that it will carry, else 0. Store it, then sign. */
uint64_t own_due(struct own *o, struct moment now);
/* Signs under seq; out and out_bytes are then the new descriptor or tombstone. `spread` in [0,1)
 * moves the renewal. */
void own_sign(struct own *o, struct moment now, uint64_t seq, double spread);
/* Signs a tombstone at once if a descriptor is out; false if none is. */
bool own_retire(struct own *o, struct moment now);
/* When own_due may next say yes. */
mono_t own_deadline(const struct own *o, struct moment now);

#endif
