/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What was sent into silence is said again when there is a way.
 *
 * When a relay dies, the way round it takes about a second, and so does a tunnel that restarts; in it both
 * ends' TCP goes on into the void, doubling its retransmission time: after a second without a way it
 * waits two before it tries again. So of what is sent in a session that has been silent for a while, a
 * copy of the latest is kept, and sent when the session is heard by another way or has new keys: the
 * acknowledgement restarts the sender's clock (RFC 6298, section 5). TCP alone, as a segment that
 * comes twice does no harm. Bounded; the oldest gives way. */
#include <stdlib.h>

#include "worker.h"

#define AGAIN_SILENT DUR_MS(200) /* the least retransmission time of the usual systems */
#define AGAIN_FOR DUR_S(30)	 /* what is older is not said again; below TIME-WAIT everywhere */

/* Of one peer, and of one worker. */
static const struct hold_limits again_max = {.n = 32, .bytes = 128u << 10, .all_bytes = 4u << 20};

struct again {
	struct carrier by; /* the way that is silent */
	struct hold kept;
};

void again_drop(struct worker *w, struct peer *p)
{
	if (p->again == NULL)
		return;
	hold_drop(&p->again->kept, &w->again_bytes);
	free(p->again);
	p->again = NULL;
}

/* NULL: no memory. */
static struct again *again_of(struct peer *p)
{
	if (p->again == NULL) {
		p->again = calloc(1, sizeof(*p->again));
		if (p->again != NULL)
			p->again->by = p->carrier;
	}
	return p->again;
}

bool again_wanted(const struct worker *w, const struct peer *p, const struct offload_super *s)
{
	const mono_t heard = p->session.last_received;

	if (!p->role->says_again || s->ip.proto != IP_PROTO_TCP || heard.ns == 0)
		return false;
	/* An initiation breaks the silence, but until its keys are confirmed what we send is lost. */
	return p->again != NULL || mono_since(heard, w->now).ns >= AGAIN_SILENT.ns;
}

void again_moves(struct peer *p)
{
	if (p->role->says_again && p->carrier.path.remote.sa.sa_family != 0)
		(void)again_of(p);
}

void again_keep(struct worker *w, struct peer *p, const struct tun_kind *kind, const uint8_t *buf, size_t len)
{
	struct again *a = again_of(p);

	if (a != NULL)
		(void)hold_put(&a->kept, &w->again_bytes, &again_max, kind, buf, len, w->now);
}

static bool same_way(const struct carrier *a, const struct carrier *b)
{
	if (a->parent != NULL || b->parent != NULL)
		return a->parent == b->parent && a->slot == b->slot;
	return udp_path_same_remote(&a->path, &b->path);
}

void again_say(struct worker *w, struct peer *p)
{
	struct again *a = p->again;
	struct held *x;

	/* Taken off first: what is said now is not kept again. */
	p->again = NULL;
	while ((x = hold_take(&a->kept, &w->again_bytes)) != NULL) {
		struct offload_super s;

		if (mono_since(x->at, w->now).ns < AGAIN_FOR.ns && tun_parse(x->kind, x->buf, x->len, &s) == OK) {
			w->n.tx_again++;
			output_super(w, p, x->kind, &s, x->buf, x->len);
		}
		free(x);
	}
	free(a);
}

void again_heard(struct worker *w, struct peer *p)
{
	/* By the way that was silent: it was only slow, and what was sent by it may be there. */
	if (same_way(&p->again->by, &p->carrier))
		again_drop(w, p);
	else
		again_say(w, p);
}
