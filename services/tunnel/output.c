/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Out: super-packets and messages into sealed trains. Everything is made in the arena, at the place
 * from which it is sent; sockets are flushed before the arena begins anew. */
#include <stdlib.h>
#include <string.h>

#include "worker.h"

/* --- the arena ----------------------------------------------------------------------------------------- */
/* A train is being made between open and close; small things that are sent meanwhile use the reserve.
 * NULL: no room even so. */
static uint8_t *arena_take(struct worker *w, uint32_t n)
{
	const uint32_t limit = w->arena_open > 0 ? ARENA_SIZE : ARENA_SIZE - ARENA_RESERVE;
	uint8_t *p;

	n = (n + 63) & ~63u;
	if (w->arena_used + n > limit)
		worker_flush(w);
	if (w->arena_used + n > limit)
		return NULL;
	p = w->arena + w->arena_used;
	w->arena_used += n;
	return p;
}

/* --- layers and paths ---------------------------------------------------------------------------------- */
#define LAYER_ROOM (FRAME_HEADER_SIZE + WG_TRANSPORT_HEAD)

static unsigned int layers_of(const struct peer *p)
{
	unsigned int n = 1;

	for (; p->carrier.parent != NULL; p = p->carrier.parent)
		n++;
	return n;
}

static uint16_t headroom_of(unsigned int layers)
{
	return (uint16_t)(WG_TRANSPORT_HEAD + (layers - 1) * LAYER_ROOM);
}

/* Seals payloads at *t in up's session; *t becomes the messages. */
static bool seal(struct worker *w, struct peer *up, struct train *t)
{
	struct aead_op ops[CHUNK];

	for (uint32_t i = 0; i < t->n; i++)
		ops[i] = (struct aead_op){.buf = t->buf + (size_t)i * t->stride, .len = train_len(t, i)};
	if (session_seal_batch(&up->session, &w->env, &w->aead, w->now, ops, t->n) != OK) {
		peer_touched(w, up);
		w->n.tx_no_keys += t->n;
		return false;
	}
	peer_touched(w, up);
	t->buf -= WG_TRANSPORT_HEAD;
	t->len += WG_OVERHEAD;
	t->last_len += WG_OVERHEAD;
	return true;
}

/* Messages of *p into relay frames of its parent's session, and those of the parent into its own
 * parent's, until a peer that is reached by UDP: that is *p then. */
static bool wrap(struct worker *w, struct peer **p, struct train *t)
{
	for (; (*p)->carrier.parent != NULL; *p = (*p)->carrier.parent) {
		struct peer *up = (*p)->carrier.parent;
		const uint64_t bytes = (uint64_t)(t->n - 1) * t->len + t->last_len;

		t->buf -= FRAME_HEADER_SIZE;
		for (uint32_t i = 0; i < t->n; i++)
			frame_relay_put(t->buf + (size_t)i * t->stride, (*p)->carrier.slot);
		t->len += FRAME_HEADER_SIZE;
		t->last_len += FRAME_HEADER_SIZE;
		if (!seal(w, up, t))
			return false;
		peer_count(w, up, bytes, 0);
	}
	return true;
}

static struct udp_socket *socket_for(struct worker *w, const struct udp_path *path)
{
	const sa_family_t family = path->remote.sa.sa_family;
	struct udp_socket *s;

	if (family != AF_INET && family != AF_INET6)
		return NULL;
	s = &w->udp[path->kind][family == AF_INET ? UDP_V4 : UDP_V6];
	return s->fd >= 0 ? s : NULL;
}

static void root_send(struct worker *w, struct peer *root, const struct train *t, uint8_t tos)
{
	struct udp_socket *s = socket_for(w, &root->carrier.path);

	if (s != NULL)
		udp_send(s, &root->carrier.path, true, t, tos);
	else
		w->n.tx_no_path += t->n;
}

/* --- super-packets -------------------------------------------------------------------------------------- */
static void stage(struct worker *w, struct peer *p, const struct tun_kind *kind, const uint8_t *buf, size_t len)
{
	static const struct hold_limits max = {STAGED_MAX, STAGED_BYTES_MAX, STAGED_BYTES_MAX};

	/* The oldest gives way: it is the least use by now. */
	w->n.tx_no_keys += hold_put(&p->staged, &w->staged_bytes, &max, kind, buf, len, w->now);
}

void staged_drop(struct worker *w, struct peer *p)
{
	hold_drop(&p->staged, &w->staged_bytes);
}

void output_staged(struct worker *w, struct peer *p)
{
	/* Taken off first: what cannot be sent yet is staged anew. */
	struct hold all = p->staged;
	struct held *x;

	p->staged = (struct hold){0};
	while ((x = hold_take(&all, &w->staged_bytes)) != NULL) {
		struct offload_super s;

		if (tun_parse(x->kind, x->buf, x->len, &s) == OK)
			output_super(w, p, x->kind, &s, x->buf, x->len);
		free(x);
	}
}

/* Segments [first, first + n): cut, sealed, wrapped. ret: as they stand then. */
static bool chunk_make(struct worker *w, struct peer *p, const struct offload_super *s,
	const struct offload_layout *l, const struct offload_plan *plan, uint32_t first, uint32_t n,
	uint8_t *out, struct peer **ret_root, struct train *ret)
{
	const bool last = first + n == plan->n;
	struct peer *root = p;

	offload_cut(s, l, plan, first, n, out);
	*ret = (struct train){.buf = out + l->headroom,
		.n = n,
		.stride = plan->stride,
		.len = n == 1 && last ? plan->last_len : plan->len,
		.last_len = last ? plan->last_len : plan->len};
	if (!seal(w, p, ret) || !wrap(w, &root, ret))
		return false;
	*ret_root = root;
	return true;
}

static uint64_t ip_bytes(const struct offload_plan *plan)
{
	return (uint64_t)(plan->n - 1) * plan->ip_len + plan->last_ip_len;
}

/* ECN of the inner packet goes outside, nothing else (RFC 6040, section 4.1). */
static uint8_t ecn_of(const struct offload_super *s)
{
	return (s->ip.family == 4 ? s->pkt[1] : (uint8_t)(s->pkt[1] >> 4)) & 3;
}

void output_super(struct worker *w, struct peer *p, const struct tun_kind *kind, const struct offload_super *s,
	const uint8_t *buf, size_t len)
{
	const unsigned int layers = layers_of(p);
	const struct offload_layout l = {.headroom = headroom_of(layers),
		.tailroom = (uint16_t)(WG_TAG_SIZE * layers),
		.pad_to = WG_PADDING,
		.mtu = (uint16_t)w->mtu[p->role->tun]};
	struct offload_plan plan;
	struct train whole = {0}, t;
	struct peer *root = NULL;
	uint8_t *out;

	if (!session_can_seal(&p->session, w->plane->session_conf, w->now)) {
		stage(w, p, kind, buf, len);
		session_initiate(&p->session, &w->env, w->now);
		peer_touched(w, p);
		return;
	}
	if (again_wanted(w, p, s))
		again_keep(w, p, kind, buf, len);
	offload_plan(s, &l, &plan);
	out = arena_take(w, plan.total);
	if (out == NULL) {
		w->n.tx_no_keys += plan.n;
		return;
	}
	w->arena_open++;
	for (uint32_t at = 0; at < plan.n; at += CHUNK) {
		const uint32_t n = plan.n - at < CHUNK ? plan.n - at : CHUNK;

		if (!chunk_make(w, p, s, &l, &plan, at, n, out + (size_t)at * plan.stride, &root, &t))
			break;
		if (at == 0)
			whole = t;
		else
			whole.n += t.n;
		whole.last_len = t.last_len;
	}
	if (whole.n > 0) {
		peer_count(w, p, ip_bytes(&plan), 0);
		root_send(w, root, &whole, ecn_of(s));
	}
	w->arena_open--;
}

/* --- single messages -------------------------------------------------------------------------------------- */
void output_message(struct worker *w, struct peer *p, const uint8_t *msg, size_t len)
{
	uint8_t *out = arena_take(w, (uint32_t)len + SEND_HEADROOM + SEND_TAILROOM);
	struct train t;

	if (out == NULL)
		return;
	t = (struct train){out + SEND_HEADROOM, 1, 0, (uint32_t)len, (uint32_t)len};
	memcpy(t.buf, msg, len);
	if (wrap(w, &p, &t))
		/* Expedited, as the kernel's WireGuard marks its handshakes (AF41). */
		root_send(w, p, &t, 0x88);
}

bool output_payload(struct worker *w, struct peer *p, const uint8_t *payload, size_t len)
{
	const size_t padded = wg_padded_len(len, 0);
	uint8_t *out = arena_take(w, (uint32_t)padded + SEND_HEADROOM + SEND_TAILROOM);
	struct train t;

	if (out == NULL)
		return false;
	t = (struct train){out + SEND_HEADROOM, 1, 0, (uint32_t)padded, (uint32_t)padded};
	if (len > 0)
		memcpy(t.buf, payload, len);
	memset(t.buf + len, 0, padded - len);
	if (!seal(w, p, &t) || !wrap(w, &p, &t))
		return false;
	root_send(w, p, &t, 0);
	return true;
}

void output_relay(struct worker *w, struct peer *p, uint16_t slot, uint8_t *const *at, const uint32_t *len,
	uint32_t n)
{
	const uint32_t stride = len[0] + LAYER_ROOM + WG_TAG_SIZE;
	uint8_t *out = arena_take(w, stride * n);
	struct train t;
	uint64_t bytes = 0;

	if (out == NULL) {
		w->n.tx_no_keys += n;
		return;
	}
	t = (struct train){out + WG_TRANSPORT_HEAD, n, stride, len[0] + FRAME_HEADER_SIZE,
		len[n - 1] + FRAME_HEADER_SIZE};
	w->arena_open++;
	for (uint32_t i = 0; i < n; i++) {
		uint8_t *frame = t.buf + (size_t)i * stride;

		frame_relay_put(frame, slot);
		memcpy(frame + FRAME_HEADER_SIZE, at[i], len[i]);
		bytes += len[i];
	}
	if (seal(w, p, &t) && wrap(w, &p, &t)) {
		peer_count(w, p, bytes, 0);
		root_send(w, p, &t, 0);
	}
	w->arena_open--;
}

void output_raw(struct worker *w, const struct udp_path *to, const uint8_t *msg, size_t len)
{
	struct udp_socket *s = socket_for(w, to);
	uint8_t *out = arena_take(w, (uint32_t)len);

	if (s == NULL || out == NULL)
		return;
	memcpy(out, msg, len);
	udp_send(s, &(struct udp_path){.remote = to->remote, .local = to->local, .sticky = to->sticky}, false,
		&(struct train){out, 1, 0, (uint32_t)len, (uint32_t)len}, 0);
}

void output_tun(struct worker *w, enum tun_use use, uint8_t *pkt, size_t len)
{
	uint8_t vhdr[OFFLOAD_VHDR] = {0};
	struct iovec iov[2] = {{vhdr, sizeof(vhdr)}, {pkt, len}};

	tun_write(&w->tuns[use], iov, 2);
}
