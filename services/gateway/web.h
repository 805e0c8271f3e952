/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared by the two halves of the browser's edge: web.c (port, files, loop), ws.c (WebSockets). */
#ifndef GATEWAY_WEB_H
#define GATEWAY_WEB_H

#include <libwebsockets.h>

#include "gateway.h"

/* Close codes of our own, for the page to tell them apart (RFC 6455: 4000 to 4999 are private). */
enum {
	WS_CLOSE_TOKEN = 4401, /* no token or a wrong one */
	WS_CLOSE_PAGES = 4429, /* CLIENTS_MAX pages are open */
};

/* One open WebSocket with a good token. */
struct page {
	struct lws *wsi; /* NULL: free */
	struct client client;
	uint8_t rx[ORDER_BYTES_MAX];
	size_t rx_len;
};

struct web {
	struct gateway *g;
	struct lws_context *lws;
	struct lws_vhost *vhost;
	lws_sorted_usec_list_t timer;
	struct page pages[CLIENTS_MAX];
	bool closing; /* pages are being told that we go */
	ui_Event event;
	uint8_t tx[LWS_PRE + ui_Event_size];
};

/* lws keeps this for each WebSocket from its handshake on. */
struct ws_user {
	bool token_ok;
	int close_code; /* 0: stays open */
	struct page *page;
};

/* The Host header names us. Counted if not. */
bool web_host_ok(struct gateway *g, struct lws *wsi);

int ws_callback(
	struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
/* After each turn: whoever is owed something gets to write; whoever stalls is given up. */
void ws_push(struct web *w, mono_t now);
/* Tells all pages that we go. True while some are still there. */
bool ws_farewell(struct web *w);

#endif
