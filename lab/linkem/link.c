/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "link.h"

#define NS_PER_S 1000000000u

void link_init(struct link *l)
{
	*l = (struct link){.set = {.up = true, .queue_bytes = LINK_QUEUE_BYTES}};
}

static dur_t time_on_wire(const struct link *l, size_t len)
{
	return (dur_t){(uint64_t)len * 8 * NS_PER_S / l->set.rate_bps};
}

/* Sets *ret_at to when the packet's last bit is on the wire. */
static enum err queue_enter(struct link *l, mono_t now, size_t len, mono_t *ret_at)
{
	*ret_at = now;
	if (l->set.rate_bps == 0)
		return OK;
	mono_t start = mono_reached(l->free_at, now) ? now : l->free_at;
	/* Both terms are bounded: a backlog lasts seconds, a rate is below 2^40. */
	unsigned __int128 backlog =
		(unsigned __int128)mono_since(now, start).ns * l->set.rate_bps / (8ull * NS_PER_S);
	if (backlog + len > l->set.queue_bytes)
		return ERR_FULL;
	l->free_at = mono_add(start, time_on_wire(l, len));
	*ret_at = l->free_at;
	return OK;
}

enum err link_enter(struct link *l, mono_t now, size_t len, struct rng *rng, mono_t *ret_at)
{
	mono_t at;

	if (!l->set.up) {
		l->n.cut++;
		return ERR_UNAVAILABLE;
	}
	if (l->set.loss_ppm > 0 && rng_below(rng, 1000000) < l->set.loss_ppm) {
		l->n.lost++;
		return ERR_DENIED;
	}
	if (queue_enter(l, now, len, &at) != OK) {
		l->n.overflowed++;
		return ERR_FULL;
	}
	at = mono_add(at, DUR_US(l->set.delay_us));
	if (l->set.jitter_us > 0)
		at = mono_add(at, DUR_US(rng_below(rng, (uint64_t)l->set.jitter_us + 1)));
	if (!l->set.reorder && !mono_reached(l->last_at, at))
		at = l->last_at;
	l->last_at = at;
	l->n.packets++;
	l->n.bytes += len;
	*ret_at = at;
	return OK;
}
