/* SPDX-License-Identifier: GPL-2.0-or-later */
/* In: messages to sessions, payloads to what they are. */
#include <errno.h>
#include <string.h>

#include "lib/sys/clock.h"
#include "overlay_role.h"
#include "worker.h"

/* --- IP packets, to the TUN ------------------------------------------------------------------------------ */
void input_join_flush(struct worker *w)
{
	struct peer *p = w->joining;
	struct offload_joiner *j;

	if (p == NULL)
		return;
	w->joining = NULL;
	j = &w->tuns[p->role->tun].joiner;
	for (size_t i = 0; i < offload_runs(j); i++) {
		uint8_t vhdr[OFFLOAD_VHDR];
		struct iovec iov[OFFLOAD_IOVS];
		const uint32_t len = j->runs[i].len;
		const size_t n = offload_run_iov(j, i, vhdr, iov);

		if (p->role->ip(w, p, iov[1].iov_base, len, n > 2))
			tun_write(&w->tuns[p->role->tun], iov, n);
		else
			w->n.rx_denied++;
	}
	offload_joiner_reset(j);
}

/* RFC 6040: congestion met outside is told inside, if the inner packet can carry it. */
static void ecn_decap(uint8_t *pkt, const struct ip_packet *ip, uint8_t outer_tos)
{
	uint8_t old[2];

	if ((outer_tos & 3) != 3)
		return;
	if (ip->family == 6) {
		if ((pkt[1] & 0x30) != 0)
			pkt[1] |= 0x30;
		return;
	}
	if ((pkt[1] & 3) == 0)
		return;
	memcpy(old, pkt, 2);
	pkt[1] |= 3;
	ip_csum_update(pkt + 10, old, pkt, 2, false);
}

/* Bytes of IP packet, 0 if it is none. */
static uint32_t ip_in(struct worker *w, struct peer *p, uint8_t *pkt, uint32_t len, uint8_t tos)
{
	struct offload_joiner *j = &w->tuns[p->role->tun].joiner;
	struct ip_packet ip;

	if (ip_parse(pkt, len, &ip) != OK) {
		w->n.rx_bad_payload++;
		return 0;
	}
	ecn_decap(pkt, &ip, tos);
	if (w->joining != p)
		input_join_flush(w);
	if (offload_add(j, pkt, &ip) != OK) {
		input_join_flush(w);
		if (offload_add(j, pkt, &ip) != OK)
			return 0;
	}
	w->joining = p;
	return ip.len;
}

/* --- payloads of one batch -------------------------------------------------------------------------------- */
struct batch {
	struct peer *peer;
	uint8_t tos;
	unsigned int gate; /* kinds that are taken now */
	uint64_t bytes;	   /* counted payload */
	/* Inner messages of relay frames that go together. */
	uint16_t slot;
	uint32_t n;
	uint8_t *at[CHUNK];
	uint32_t len[CHUNK];
};

static void relay_flush(struct worker *w, struct batch *b)
{
	const uint32_t n = b->n;

	b->n = 0;
	if (n > 0 && !b->peer->doomed)
		b->peer->role->relay(w, b->peer, b->slot, b->at, b->len, n);
}

static void relay_in(struct worker *w, struct batch *b, uint8_t *plain, uint32_t len)
{
	const uint8_t *msg;
	uint16_t slot;
	size_t msg_len;

	if (!frame_relay_get(plain, len, &slot, &msg, &msg_len)) {
		w->n.rx_bad_payload++;
		return;
	}
	if (slot != b->slot)
		relay_flush(w, b);
	b->slot = slot;
	b->at[b->n] = plain + FRAME_HEADER_SIZE;
	b->len[b->n++] = (uint32_t)msg_len;
	b->bytes += msg_len;
}

static void payload_in(struct worker *w, struct batch *b, uint8_t *plain, uint32_t len)
{
	const enum frame_kind kind = frame_kind(plain, len);

	if (kind == FRAME_KEEPALIVE)
		return;
	if (kind == FRAME_BAD || (b->gate & 1u << kind) == 0) {
		w->n.rx_bad_payload++;
		return;
	}
	if (kind == FRAME_RELAY) {
		relay_in(w, b, plain, len);
	} else if (kind == FRAME_CONTROL) {
		/* Frames of a session are handled in order. */
		relay_flush(w, b);
		b->peer->role->control(w, b->peer, plain, len);
		b->gate = b->peer->role->gate(w, b->peer);
	} else {
		b->bytes += ip_in(w, b->peer, plain, len, b->tos);
	}
}

static void payloads_in(struct worker *w, struct peer *p, const struct aead_op *ops, uint32_t n, uint8_t tos)
{
	struct batch b = {.peer = p, .tos = tos, .gate = p->role->gate(w, p)};

	for (uint32_t i = 0; i < n && !p->doomed; i++)
		if (ops[i].ok)
			payload_in(w, &b, ops[i].buf, ops[i].len);
	relay_flush(w, &b);
	if (b.bytes > 0)
		peer_count(w, p, 0, b.bytes);
}

/* --- transport messages -------------------------------------------------------------------------------------- */
/* A message of another worker's session: the kernel's program did not run, or a train held messages of
 * several workers. */
static void move_messages(struct worker *w, const struct origin *o, unsigned int to, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	const struct moved head = {.kind = MOVED_MESSAGE, .tos = o->tos, .from = *o->from};

	for (uint32_t i = 0; i < n; i++) {
		uint8_t *r = moved_claim(w, to, &head, len[i]);

		if (r == NULL)
			continue;
		memcpy(r, at[i], len[i]);
		moved_publish(w, to, MOVED_MESSAGE);
	}
}

/* n messages with the same receiver index. */
static void transport_in(struct worker *w, const struct origin *o, uint32_t index, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	struct peer *p = peer_by_index(w, index);
	struct aead_op ops[CHUNK];
	uint32_t n_ok;

	if (p == NULL) {
		w->n.rx_no_index += n;
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		ops[i] = (struct aead_op){.buf = at[i] + WG_TRANSPORT_HEAD,
			.len = len[i] - WG_OVERHEAD,
			.counter = le64_get(at[i] + 8)};
	n_ok = session_open_batch(&p->session, &w->env, &w->aead, w->now, index, ops, n);
	w->n.rx_not_opened += n - n_ok;
	if (n_ok == 0)
		return;
	if (p->role->roams && o->from != NULL)
		p->carrier.path = *o->from;
	if (p->again != NULL)
		again_heard(w, p);
	if (p->role->heard != NULL)
		p->role->heard(w, p);
	payloads_in(w, p, ops, n, o->tos);
	peer_touched(w, p);
}

/* What came to the onward socket and is for no session that we have there goes back into a circuit:
 * its index was chosen by somebody else, and may by chance or malice be one of ours. */
static bool is_foreign(struct worker *w, const struct origin *o, uint32_t index)
{
	const struct peer *p;

	if (o->from == NULL || o->from->kind != UDP_ONWARD || w->overlay == NULL)
		return false;
	p = peer_by_index(w, index);
	return p == NULL || p->carrier.parent != NULL || !udp_path_same_remote(&p->carrier.path, o->from);
}

static void group_in(struct worker *w, const struct origin *o, unsigned int type, uint32_t index,
	uint8_t *const *at, const uint32_t *len, uint32_t n)
{
	const unsigned int owner = index & ((1u << w->plane->worker_bits) - 1);

	if (type == 0) {
		w->n.rx_bad += n;
	} else if (type == WG_INITIATION) {
		for (uint32_t i = 0; i < n; i++)
			handshake_message(w, o, at[i], len[i]);
	} else if (is_foreign(w, o, index)) {
		overlay_role_onward(w, o->from, at, len, n);
	} else if (o->from != NULL && owner != w->id && o->from->kind == UDP_PUBLIC) {
		if (owner < w->plane->n_workers)
			move_messages(w, o, owner, at, len, n);
		else
			w->n.rx_no_index += n;
	} else if (type == WG_TRANSPORT) {
		transport_in(w, o, index, at, len, n);
	} else {
		for (uint32_t i = 0; i < n; i++)
			handshake_message(w, o, at[i], len[i]);
	}
}

void input_messages(struct worker *w, const struct origin *o, uint8_t *const *at, const uint32_t *len, uint32_t n)
{
	uint32_t i = 0;

	while (i < n) {
		const unsigned int type = wg_message_type(at[i], len[i]);
		const uint32_t index = type > WG_INITIATION ? wg_receiver_index(at[i]) : 0;
		uint32_t k = i + 1;

		while (k < n && wg_message_type(at[k], len[k]) == type &&
			(type <= WG_INITIATION || wg_receiver_index(at[k]) == index))
			k++;
		group_in(w, o, type, index, at + i, len + i, k - i);
		i = k;
	}
}

/* --- from the sockets ------------------------------------------------------------------------------------------ */
void input_train(struct worker *w, const struct udp_item *it)
{
	const struct origin o = {.from = &it->from, .tos = it->tos};
	uint8_t *at[CHUNK];
	uint32_t len[CHUNK], n = 0;

	for (uint32_t pos = 0; pos < it->len; pos += it->segment) {
		at[n] = it->buf + pos;
		len[n++] = it->len - pos < it->segment ? it->len - pos : it->segment;
		if (n == CHUNK) {
			input_messages(w, &o, at, len, n);
			n = 0;
		}
	}
	if (n > 0)
		input_messages(w, &o, at, len, n);
}

/* --- from other workers ----------------------------------------------------------------------------------------- */
void input_moved(struct worker *w, const uint8_t *record, uint32_t len)
{
	struct moved head;
	uint8_t msg[UDP_RX_SIZE]; /* opened in place; rare, so a copy does no harm */

	memcpy(&head, record, sizeof(head));
	record += sizeof(head);
	len -= (uint32_t)sizeof(head);
	switch ((enum moved_kind)head.kind) {
	case MOVED_TUN:
		if (w->tun_take[head.tun] != NULL)
			w->tun_take[head.tun](w, record, len, true);
		break;
	case MOVED_MESSAGE: {
		const struct origin o = {.from = &head.from, .tos = head.tos};
		uint8_t *at = msg;

		memcpy(msg, record, len);
		input_messages(w, &o, &at, &len, 1);
		input_join_flush(w);
		worker_flush(w); /* msg is on the stack */
		break;
	}
	case MOVED_INITIATION: {
		struct noise_responder re;

		memcpy(&re, record, sizeof(re));
		handshake_moved(w, &re, &head.from, head.handle);
		noise_responder_done(&re);
		break;
	}
	case MOVED_KINDS:
		break;
	}
}
