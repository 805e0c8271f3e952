/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Proof that a relay is where its descriptor says: it is greeted at its WireGuard key and endpoint
 * and must answer with a descriptor of that id and that key. The question does not say which id is
 * expected, so one machine cannot answer for many; the answer comes out of a session that only the
 * holder of that key can have opened. A descriptor that points at somebody else's relay therefore
 * stays heard for ever, and so do its prices.
 *
 * Only a node that shares asks on its own (it has to, before it passes anything on); what a client
 * asks anyway for its views counts as proof as well. At most ASKS_REACH_MAX at a time: a flood of
 * invented relays costs each relay a trickle of handshakes, never more than what it received. */
#include "parts.h"

#include <string.h>

static bool due(const struct relay *r, mono_t now)
{
	bool open = r->state == RELAY_HEARD ||
		    (r->state == RELAY_PROVEN && (r->answered_at.ns == 0 || r->n_failed > 0));

	return open && !r->own && !r->asked && mono_reached(r->next_try, now);
}

/* When r will be due, were it time alone that it lacks. */
static mono_t due_at(const struct relay *r)
{
	struct relay later = *r;

	return due(&later, MONO_NEVER) ? r->next_try : MONO_NEVER;
}

static bool ask_one(struct discovery *d, struct moment now, struct relay *r)
{
	const struct ask mould = {.why = ASK_REACH};
	struct contact to = contact_of(r);

	if (ask_greet(d, now, &to, &mould) == NULL)
		return false;
	r->asked = true;
	return true;
}

void reach_tick(struct discovery *d, struct moment now)
{
	struct relays *t = &d->dir.relays;
	unsigned int room = ASKS_REACH_MAX - asks_count(d, ASK_REACH);

	if (d->dir.client || !mono_reached(d->next_reach, now.mono) || room == 0)
		return;
	d->next_reach = MONO_NEVER;
	for (uint32_t n = 0; n < t->n; n++) {
		struct relay *r = relays_at(t, d->reach_at++ % t->n);

		if (!due(r, now.mono)) {
			d->next_reach = mono_min(d->next_reach, due_at(r));
		} else if (!ask_one(d, now, r)) {
			d->next_reach = mono_add(now.mono, DUR_S(1));
			return;
		} else if (--room == 0) {
			d->next_reach = now.mono; /* go on when one has answered */
			return;
		}
	}
}

mono_t reach_deadline(const struct discovery *d)
{
	bool idle = d->dir.client || asks_count(d, ASK_REACH) == ASKS_REACH_MAX;

	return idle ? MONO_NEVER : d->next_reach;
}

void reach_on_silence(struct discovery *d, struct moment now, const struct contact *to)
{
	struct relay *r = relays_find(&d->dir.relays, to->node_id);

	contacts_failed(
		&d->contacts, to->node_id, now.mono, directory_network_up(&d->dir, now.mono));
	if (r == NULL)
		return;
	directory_unanswered(&d->dir, now, r);
	r = relays_find(&d->dir.relays, to->node_id);
	if (r != NULL)
		d->next_reach = mono_min(d->next_reach, r->next_try);
}

/* Does r say what the contact that answered is? A newer version may have come in meanwhile. */
static bool at_contact(const struct relay *r, const struct contact *to)
{
	bool same4 = r->d.ep4.addr.family != NET_NONE && net_endpoint_eq(&r->d.ep4, &to->ep4);
	bool same6 = r->d.ep6.addr.family != NET_NONE && net_endpoint_eq(&r->d.ep6, &to->ep6);

	return memcmp(r->d.wg_pk, to->wg_pk, 32) == 0 && (same4 || same6);
}

/* What the peer knows about us. */
static void standing_note(struct discovery *d, const struct ask *a, const gossip_Greeted *g)
{
	if (!d->own.is_out || a->own_seq != d->own.out.seq)
		return;
	if (g->standing == gossip_Standing_STANDING_PROVEN) {
		d->published = true;
		d->n_unreachable = 0;
	} else if (g->standing == gossip_Standing_STANDING_UNREACHABLE &&
		   d->n_unreachable < UINT8_MAX) {
		d->n_unreachable++;
	}
}

/* [P-92] */
static bool names_itself(const struct contact *to, const gossip_Greeted *g)
{
	struct descriptor said;

	return descriptor_decode(g->record.bytes, g->record.size, &said) == OK &&
	       memcmp(said.node_id, to->node_id, NODE_ID_SIZE) == 0 &&
	       memcmp(said.wg_pk, to->wg_pk, 32) == 0;
}

bool reach_on_greeted(
	struct discovery *d, struct moment now, const struct ask *a, const gossip_Greeted *g)
{
	const struct source from = {introducer_of(d, a->to.node_id), true};
	struct relay *r = relays_find(&d->dir.relays, a->to.node_id);

	d->next_reach = now.mono;
	if (g->record.size ==
		0) { /* it has nothing out, so it proves nothing; its view may serve */
		if (r != NULL && a->why == ASK_REACH)
			directory_unanswered(&d->dir, now, r);
		return true;
	}
	if (!names_itself(&a->to, g)) {
		d->counters.misnamed++;
		contacts_failed(&d->contacts, a->to.node_id, now.mono, true);
		if (r != NULL)
			directory_disproved(&d->dir, now, r);
		return false;
	}
	(void)discovery_take(d, now, g->record.bytes, g->record.size, from, &r);
	if (r != NULL && r->state != RELAY_GONE && at_contact(r, &a->to))
		(void)directory_answered(&d->dir, now, r);
	standing_note(d, a, g);
	return true;
}
