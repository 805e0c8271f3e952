/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The WebSocket of the page: who may open one (core/door.h), orders in, events out. One binary
 * message holds one protobuf message; anything else closes the socket with a code that says why. */
#include "web.h"

#include <string.h>

#include <pb_encode.h>

static struct web *web_of(struct lws *wsi)
{
	return lws_context_user(lws_get_context(wsi));
}

/* Closing needs a writable socket, so the code waits for one. */
static void close_with(struct lws *wsi, struct ws_user *u, int code)
{
	if (u->close_code == 0)
		u->close_code = code;
	lws_callback_on_writable(wsi);
}

/* ---- the handshake ---- */

static bool origin_ok(struct gateway *g, struct lws *wsi)
{
	char origin[DOOR_HEADER_MAX];

	if (lws_hdr_copy(wsi, origin, sizeof(origin), WSI_TOKEN_ORIGIN) > 0 &&
		door_origin_ok(origin, (uint16_t)g->conf->port))
		return true;
	g->counters.bad_origin++;
	return false;
}

static int on_filter(struct lws *wsi, struct ws_user *u)
{
	struct gateway *g = web_of(wsi)->g;
	char protocols[DOOR_HEADER_MAX];
	int refused = 0;

	if (!web_host_ok(g, wsi))
		refused = 421;
	else if (!origin_ok(g, wsi))
		refused = HTTP_STATUS_FORBIDDEN;
	if (refused != 0) {
		lws_return_http_status(wsi, (unsigned int)refused, NULL);
		return -1;
	}
	u->token_ok = lws_hdr_copy(wsi, protocols, sizeof(protocols), WSI_TOKEN_PROTOCOL) > 0 &&
		      door_token_ok(protocols, g->token);
	memset(protocols, 0, sizeof(protocols));
	return 0;
}

static void on_established(struct lws *wsi, struct ws_user *u)
{
	struct web *w = web_of(wsi);
	struct gateway *g = w->g;

	if (!u->token_ok) {
		/* Refused only now, so that the page can read the code and say what is wrong. */
		g->counters.bad_token++;
		close_with(wsi, u, WS_CLOSE_TOKEN);
		return;
	}
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct page *p = &w->pages[i];

		if (p->wsi != NULL)
			continue;
		p->wsi = wsi;
		p->rx_len = 0;
		client_init(&p->client, &g->node);
		u->page = p;
		g->counters.pages_opened++;
		lws_callback_on_writable(wsi);
		return;
	}
	g->counters.pages_too_many++;
	close_with(wsi, u, WS_CLOSE_PAGES);
}

static void on_closed(struct lws *wsi, struct ws_user *u)
{
	if (u->page == NULL)
		return;
	web_of(wsi)->g->counters.pages_closed++;
	u->page->wsi = NULL;
	u->page = NULL;
}

/* ---- orders in ---- */

static void order_take(struct lws *wsi, struct ws_user *u)
{
	struct gateway *g = web_of(wsi)->g;
	struct page *p = u->page;
	ui_Order o;

	if (order_decode(p->rx, p->rx_len, &o) != OK) {
		g->counters.malformed++;
		close_with(wsi, u, LWS_CLOSE_STATUS_PROTOCOL_ERR);
		return;
	}
	gateway_order(g, &p->client, &o);
	lws_callback_on_writable(wsi);
	/* Not read further until it has read answers. */
	if (client_full(&p->client))
		lws_rx_flow_control(wsi, 0);
}

static void on_receive(struct lws *wsi, struct ws_user *u, const void *in, size_t len)
{
	struct gateway *g = web_of(wsi)->g;
	struct page *p = u->page;

	if (p == NULL || u->close_code != 0)
		return;
	if (!lws_frame_is_binary(wsi)) {
		g->counters.text_frames++;
		close_with(wsi, u, LWS_CLOSE_STATUS_UNACCEPTABLE_OPCODE);
		return;
	}
	if (lws_is_first_fragment(wsi))
		p->rx_len = 0;
	if (len > sizeof(p->rx) - p->rx_len) {
		g->counters.too_large++;
		close_with(wsi, u, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE);
		return;
	}
	if (len > 0)
		memcpy(p->rx + p->rx_len, in, len);
	p->rx_len += len;
	if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) > 0)
		return;
	if (client_full(&p->client)) {
		/* It was told to wait and did not: lws had read ahead. */
		g->counters.pages_stalled++;
		close_with(wsi, u, LWS_CLOSE_STATUS_POLICY_VIOLATION);
		return;
	}
	order_take(wsi, u);
}

/* ---- events out ---- */

static int event_write(struct web *w, struct lws *wsi, struct client *c)
{
	pb_ostream_t s = pb_ostream_from_buffer(w->tx + LWS_PRE, sizeof(w->tx) - LWS_PRE);

	if (!client_next(c, &w->g->node, &w->g->host, service_now(w->g->service), &w->event))
		return 0;
	BUG_ON(!pb_encode(&s, ui_Event_fields, &w->event));
	if (lws_write(wsi, w->tx + LWS_PRE, s.bytes_written, LWS_WRITE_BINARY) <
		(int)s.bytes_written)
		return -1;
	if (client_owed(c, &w->g->node))
		lws_callback_on_writable(wsi);
	return 0;
}

static int on_writeable(struct lws *wsi, struct ws_user *u)
{
	struct page *p = u->page;

	if (u->close_code != 0) {
		lws_close_reason(wsi, (enum lws_close_status)u->close_code, NULL, 0);
		return -1;
	}
	if (p == NULL)
		return 0;
	bool was_full = client_full(&p->client);
	int r = event_write(web_of(wsi), wsi, &p->client);
	if (r == 0 && was_full && !client_full(&p->client))
		lws_rx_flow_control(wsi, 1);
	return r;
}

int ws_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct ws_user *u = user;

	switch ((int)reason) {
	case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
		return on_filter(wsi, u);
	case LWS_CALLBACK_ESTABLISHED:
		on_established(wsi, u);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		on_receive(wsi, u, in, len);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return on_writeable(wsi, u);
	case LWS_CALLBACK_CLOSED:
		on_closed(wsi, u);
		return 0;
	default:
		return 0;
	}
}

void ws_push(struct web *w, mono_t now)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct page *p = &w->pages[i];

		if (p->wsi == NULL)
			continue;
		if (client_stalled(&p->client, &w->g->node, now)) {
			w->g->counters.pages_stalled++;
			p->client.owed_since = (mono_t){0};
			lws_set_timeout(p->wsi, PENDING_TIMEOUT_CLOSE_SEND, LWS_TO_KILL_ASYNC);
		} else if (client_owed(&p->client, &w->g->node)) {
			lws_callback_on_writable(p->wsi);
		}
	}
}

bool ws_farewell(struct web *w)
{
	bool left = false;

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct page *p = &w->pages[i];

		if (p->wsi == NULL)
			continue;
		left = true;
		if (!w->closing)
			close_with(p->wsi, lws_wsi_user(p->wsi), LWS_CLOSE_STATUS_GOINGAWAY);
	}
	w->closing = true;
	return left;
}
