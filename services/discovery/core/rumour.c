/* SPDX-License-Identifier: GPL-2.0-or-later */
/* News passed on: what became proven here, a tombstone of what was, the proof against an
 * equivocator, goes once to a few peers drawn by lot. It dies down by itself, since a node that has
 * it already does not pass it on again; comparison reaches whom it missed. */
#include "parts.h"

#include <string.h>

void offer_add(gossip_Offer *o, const uint8_t bytes[static DESCRIPTOR_SIZE])
{
	if (o->records_count == sizeof(o->records) / sizeof(o->records[0]))
		return;
	o->records[o->records_count].size = DESCRIPTOR_SIZE;
	memcpy(o->records[o->records_count++].bytes, bytes, DESCRIPTOR_SIZE);
}

void offer_send(
	struct discovery *d, struct moment now, const struct contact *to, const gossip_Offer *o)
{
	const struct ask mould = {.why = ASK_RUMOUR};
	gossip_Query q = {.which_body = gossip_Query_offer_tag, .body.offer = *o};

	if (ask_send(d, now, to, &q, &mould) != NULL)
		d->counters.rumours_sent += o->records_count;
}

static struct rumour *rumour_at(struct rumours *rs, uint32_t i)
{
	return &rs->ring[(rs->first + i) % RUMOURS_MAX];
}

void rumour_add(struct discovery *d, const uint8_t node_id[static NODE_ID_SIZE],
	unsigned int fanout, bool proof)
{
	struct rumours *rs = &d->rumours;
	struct rumour *r;

	for (uint32_t i = 0; i < rs->n; i++) {
		r = rumour_at(rs, i);
		if (r->proof == proof && memcmp(r->node_id, node_id, NODE_ID_SIZE) == 0) {
			r->n_left = (uint8_t)fanout;
			return;
		}
	}
	if (rs->n == RUMOURS_MAX) {
		rs->first = (rs->first + 1) % RUMOURS_MAX;
		rs->n--;
		d->counters.rumours_lost++;
	}
	r = rumour_at(rs, rs->n++);
	*r = (struct rumour){.n_left = (uint8_t)fanout, .proof = proof};
	memcpy(r->node_id, node_id, NODE_ID_SIZE);
}

/* Adds what r is about to o; false if it is no longer news. */
static bool rumour_load(
	struct discovery *d, struct moment now, const struct rumour *r, gossip_Offer *o)
{
	const struct relay *known = relays_find(&d->dir.relays, r->node_id);

	if (r->proof) {
		const struct ban *b = bans_find(&d->dir.bans, r->node_id, now.mono);

		if (b == NULL)
			return false;
		offer_add(o, b->proof[0]);
		offer_add(o, b->proof[1]);
		return true;
	}
	if (known == NULL || (known->state != RELAY_PROVEN && known->state != RELAY_GONE))
		return false;
	offer_add(o, known->bytes);
	return true;
}

/* Takes rumours from the front as far as one message goes, and puts those with further peers to
 * tell behind the others. A proof goes alone. */
static void batch_load(struct discovery *d, struct moment now, gossip_Offer *o)
{
	struct rumours *rs = &d->rumours;

	for (uint32_t n = rs->n; n > 0 && o->records_count < 3; n--) {
		struct rumour r = *rumour_at(rs, 0);

		if (r.proof && o->records_count > 0)
			return;
		rs->first = (rs->first + 1) % RUMOURS_MAX;
		rs->n--;
		if (!rumour_load(d, now, &r, o))
			continue;
		if (--r.n_left > 0)
			*rumour_at(rs, rs->n++) = r;
		if (r.proof)
			return;
	}
}

void rumour_tick(struct discovery *d, struct moment now)
{
	unsigned int room = ASKS_RUMOUR_MAX - asks_count(d, ASK_RUMOUR);

	for (; room > 0 && d->rumours.n > 0; room--) {
		const uint8_t *about = rumour_at(&d->rumours, 0)->node_id;
		const struct relay *r = contacts_draw(&d->dir, &d->rng, about);
		gossip_Offer o = gossip_Offer_init_zero;
		struct contact to;

		if (r == NULL) { /* nobody to tell: whoever comes will ask */
			d->rumours.n = 0;
			return;
		}
		to = contact_of(r);
		batch_load(d, now, &o);
		if (o.records_count > 0)
			offer_send(d, now, &to, &o);
	}
}

mono_t rumour_deadline(const struct discovery *d, struct moment now)
{
	bool can = d->rumours.n > 0 && asks_count(d, ASK_RUMOUR) < ASKS_RUMOUR_MAX;

	return can ? now.mono : MONO_NEVER;
}
