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
#include <string.h>

#include "worker.h"

#define AGAIN_SILENT DUR_MS(200) /* the least retransmission time of the usual systems */
#define AGAIN_FOR DUR_S(30)	 /* what is older is not said again; below TIME-WAIT everywhere */
#define AGAIN_MAX 32		 /* super-packets of one peer */
#define AGAIN_BYTES 131072	 /* of one peer */
#define AGAIN_BYTES_MAX (4u << 20) /* of one worker; beyond it nothing new is kept */

struct kept {
	struct kept *next;
	const struct tun_kind *kind;
	mono_t at;
	uint32_t len;
	uint8_t buf[];
};

struct again {
	struct carrier by; /* the way that is silent */
	struct kept *first, **end;
	uint32_t n, bytes;
};

static void oldest_drop(struct worker *w, struct again *a)
{
	struct kept *k = a->first;

	a->first = k->next;
	if (a->first == NULL)
		a->end = &a->first;
	a->n--;
	a->bytes -= k->len;
	w->again_bytes -= k->len;
	free(k);
}

static void again_free(struct worker *w, struct again *a)
{
	while (a->first != NULL)
		oldest_drop(w, a);
	free(a);
}

void again_drop(struct worker *w, struct peer *p)
{
	if (p->again != NULL)
		again_free(w, p->again);
	p->again = NULL;
}

static struct again *again_of(struct peer *p)
{
	if (p->again == NULL) {
		p->again = calloc(1, sizeof(*p->again));
		if (p->again == NULL)
			return NULL;
		p->again->by = p->carrier;
		p->again->end = &p->again->first;
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
	struct again *a;
	struct kept *k;

	if (len > AGAIN_BYTES || w->again_bytes + len > AGAIN_BYTES_MAX)
		return;
	a = again_of(p);
	k = a == NULL ? NULL : malloc(sizeof(*k) + len);
	if (k == NULL)
		return;
	*k = (struct kept){.kind = kind, .at = w->now, .len = (uint32_t)len};
	memcpy(k->buf, buf, len);
	while (a->n == AGAIN_MAX || a->bytes + len > AGAIN_BYTES)
		oldest_drop(w, a);
	*a->end = k;
	a->end = &k->next;
	a->n++;
	a->bytes += k->len;
	w->again_bytes += k->len;
}

static bool same_way(const struct carrier *a, const struct carrier *b)
{
	if (a->parent != NULL || b->parent != NULL)
		return a->parent == b->parent && a->slot == b->slot;
	return udp_path_same_remote(&a->path, &b->path);
}

static void say(struct worker *w, struct peer *p, const struct kept *k)
{
	struct offload_super s;

	if (mono_since(k->at, w->now).ns >= AGAIN_FOR.ns || tun_parse(k->kind, k->buf, k->len, &s) != OK)
		return;
	w->n.tx_again++;
	output_super(w, p, k->kind, &s, k->buf, k->len);
}

void again_say(struct worker *w, struct peer *p)
{
	struct again *a = p->again;

	/* Taken off first: what is said now is not kept again. */
	p->again = NULL;
	for (const struct kept *k = a->first; k != NULL; k = k->next)
		say(w, p, k);
	again_free(w, a);
}

void again_heard(struct worker *w, struct peer *p)
{
	/* By the way that was silent: it was only slow, and what was sent by it may be there. */
	if (same_way(&p->again->by, &p->carrier))
		again_drop(w, p);
	else
		again_say(w, p);
}
