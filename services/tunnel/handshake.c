/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Handshake messages. An initiation costs us four Diffie-Hellman operations, so it waits in a bounded
 * queue until all packets have been served; a long queue means load, and then only those are let in
 * who have shown by a cookie that they receive where they send from (paper, section 5.3). */
#include <string.h>

#include "overlay.h"
#include "worker.h"

static bool under_load(struct worker *w)
{
	if (w->n_handshakes >= UNDER_LOAD_AT)
		w->under_load_until = mono_add(w->now, UNDER_LOAD_FOR);
	return shed_works(&w->shed) || !mono_reached(w->under_load_until, w->now);
}

static void cookie_send(struct worker *w, const struct udp_path *from, const struct net_endpoint *source,
	const uint8_t *msg, uint32_t len)
{
	struct wg_cookie reply;

	cookie_reply_create(&w->checker, msg, len, source, &w->rng, w->now, &reply);
	w->n.cookies_sent++;
	output_raw(w, from, (const uint8_t *)&reply, sizeof(reply));
}

/* May this message cost us something? */
static bool admitted(struct worker *w, const struct udp_path *from, const uint8_t *msg, uint32_t len)
{
	const bool load = under_load(w);
	struct net_endpoint source;
	enum cookie_verdict v;

	udp_path_endpoint(from, &source);
	v = cookie_check(&w->checker, msg, len, &source, load, w->now);
	if (v == COOKIE_BAD) {
		w->n.rx_bad++;
		return false;
	}
	if (!load)
		return true;
	if (v == COOKIE_MAC1) {
		cookie_send(w, from, &source, msg, len);
		return false;
	}
	if (!rate_admit(&w->rate, &source.addr, w->now)) {
		w->n.handshakes_limited++;
		return false;
	}
	return true;
}

static void initiation_queue(struct worker *w, const struct origin *o, const uint8_t *msg, uint32_t len)
{
	struct handshake_item *it;

	/* Whoever answers us has no business beginning; who reaches us through a session neither. */
	if (o->from == NULL || o->from->kind != UDP_PUBLIC || !w->has_identity) {
		w->n.rx_bad++;
		return;
	}
	if (!udp_shed_count(&w->shed, w->now, o->from, msg) || !admitted(w, o->from, msg, len))
		return;
	if (w->n_handshakes == HANDSHAKES_MAX) {
		w->n.handshakes_full++;
		return;
	}
	it = &w->handshakes[(w->handshake_first + w->n_handshakes++) % HANDSHAKES_MAX];
	memcpy(it->msg, msg, WG_INITIATION_SIZE);
	it->from = *o->from;
}

static void path_follow(struct peer *p, const struct udp_path *from)
{
	if (!p->role->roams || from == NULL)
		return;
	if (!udp_path_same_remote(&p->carrier.path, from))
		again_moves(p);
	p->carrier.path = *from;
}

static void response_in(struct worker *w, const struct origin *o, const uint8_t *msg)
{
	struct peer *p = peer_by_index(w, wg_receiver_index(msg));
	struct cookie_checker checker;
	struct net_endpoint source = {0};
	bool good;

	if (p == NULL) {
		w->n.rx_no_index++;
		return;
	}
	/* Nested sessions have an identity each. */
	cookie_checker_init(&checker, p->session.identity);
	good = cookie_check(&checker, msg, WG_RESPONSE_SIZE, &source, false, w->now) != COOKIE_BAD;
	cookie_checker_done(&checker);
	if (!good) {
		w->n.rx_bad++;
		return;
	}
	peer_keypairs_ensure(w);
	/* The endpoint moves before ESTABLISHED sends what waited: only an authentic answer may do so,
	 * and one that is not authentic changes nothing but where we try. */
	struct carrier before = p->carrier;
	path_follow(p, o->from);
	if (session_response_accept(&p->session, &w->env, w->now, msg) != OK) {
		p->carrier = before;
		w->n.handshakes_denied++;
	}
	peer_touched(w, p);
}

static void cookie_in(struct worker *w, const uint8_t *msg)
{
	struct peer *p = peer_by_index(w, wg_receiver_index(msg));

	if (p == NULL)
		w->n.rx_no_index++;
	else if (session_cookie_accept(&p->session, w->now, msg) != OK)
		w->n.rx_not_opened++;
}

void handshake_message(struct worker *w, const struct origin *o, const uint8_t *msg, uint32_t len)
{
	switch (wg_message_type(msg, len)) {
	case WG_INITIATION:
		initiation_queue(w, o, msg, len);
		break;
	case WG_RESPONSE:
		response_in(w, o, msg);
		break;
	case WG_COOKIE:
		cookie_in(w, msg);
		break;
	}
}

void handshakes_shed(struct worker *w)
{
	if (!shed_tick(&w->shed, w->now))
		return;
	w->n.sheds++;
	for (int f = 0; f < UDP_FAMILIES; f++)
		udp_shed(w->udp[UDP_PUBLIC][f].fd, &w->shed);
}

/* --- initiations ----------------------------------------------------------------------------------------- */
static void accept_here(struct worker *w, struct peer *p, struct noise_responder *re, const struct udp_path *from)
{
	uint8_t answer[WG_RESPONSE_SIZE];

	peer_keypairs_ensure(w);
	if (session_initiation_accept(&p->session, &w->env, w->now, re, answer) != OK) {
		w->n.handshakes_denied++;
		return;
	}
	path_follow(p, from);
	output_message(w, p, answer, sizeof(answer));
	peer_touched(w, p);
}

static void move(struct worker *w, unsigned int to, uint32_t handle, const struct noise_responder *re,
	const struct udp_path *from)
{
	const struct moved head = {.kind = MOVED_INITIATION, .handle = handle, .from = *from};
	uint8_t *r = moved_claim(w, to, &head, sizeof(*re));

	if (r == NULL)
		return;
	memcpy(r, re, sizeof(*re));
	moved_publish(w, to, MOVED_INITIATION);
}

void handshake_moved(struct worker *w, const struct noise_responder *re, const struct udp_path *from,
	uint32_t handle)
{
	struct peer *p = peer_by_handle(w, handle);
	struct noise_responder mine = *re;

	/* It may have gone meanwhile, and its place been given to another. */
	if (p != NULL && memcmp(p->session.remote.static_pk, re->remote_static, WG_KEY_SIZE) == 0)
		accept_here(w, p, &mine, from);
	noise_responder_done(&mine);
}

static void opened(struct worker *w, struct noise_responder *re, const struct udp_path *from)
{
	uint16_t owner;
	uint32_t handle;
	struct peer *p;

	if (directory_find(&w->plane->directory, re->remote_static, &owner, &handle) == OK) {
		if (owner != w->id)
			move(w, owner, handle, re, from);
		else
			handshake_moved(w, re, from, handle);
		return;
	}
	p = w->plane->stranger != NULL ? w->plane->stranger(w, re->remote_static, from) : NULL;
	if (p != NULL)
		accept_here(w, p, re, from);
	else
		w->n.handshakes_denied++;
}

/* [P-40] Before the first Diffie-Hellman. */
static bool affordable(struct worker *w, const struct udp_path *from)
{
	struct net_endpoint source;

	if (w->overlay == NULL)
		return true;
	udp_path_endpoint(from, &source);
	return overlay_admit(w->overlay, w->now, &source.addr) == OK;
}

void handshakes_run(struct worker *w)
{
	for (int i = 0; i < HANDSHAKES_TURN && w->n_handshakes > 0; i++) {
		struct handshake_item *it = &w->handshakes[w->handshake_first];
		struct wg_initiation msg;
		struct noise_responder re;

		w->handshake_first = (w->handshake_first + 1) % HANDSHAKES_MAX;
		w->n_handshakes--;
		memcpy(&msg, it->msg, sizeof(msg));
		if (!w->has_identity || !affordable(w, &it->from))
			continue;
		if (noise_initiation_open(&w->identity, &msg, &re) == OK)
			opened(w, &re, &it->from);
		else
			w->n.handshakes_denied++;
		noise_responder_done(&re);
	}
}
