/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the gateway's own files share: the core's node, the store, the browser's edge, the bus. */
#ifndef GATEWAY_H
#define GATEWAY_H

#include "core/client.h"
#include "core/door.h"
#include "core/node.h"
#include "core/order.h"
#include "lib/net.h"
#include "lib/sys/service.h"

#define CLIENTS_MAX 16 /* pages open at once: tabs, the extension, a test or two */

struct gateway_conf {
	char name[24]; /* of the node */
	uint64_t port; /* 0: no page */
	struct net_addr listen;
	char page[512];
	struct settings first; /* used until the user changes something */
};

struct gateway_counters {
	uint64_t pages_opened, pages_closed, pages_stalled, pages_too_many;
	uint64_t bad_host, bad_origin, bad_token;
	uint64_t text_frames, too_large, malformed;
	uint64_t orders, orders_refused;
	uint64_t settings_stored, settings_not_stored;
};

struct web;

struct gateway {
	struct service *service;
	const struct gateway_conf *conf;
	char token[DOOR_TOKEN_LEN + 1];
	char page[512]; /* the folder in use */
	bool page_there;
	struct client_host host;
	struct node node;
	struct gateway_counters counters;
	struct web *web;
};

/* ---- gateway.c: what the user orders, from page or command line ---- */

/* Checks, stores, then has the services told. `switched`: by the switch, see node_apply. On error
 * nothing changed and ret_why says why (ERR_INVALID, ERR_FULL: cannot be stored). */
NODISCARD enum err gateway_change(struct gateway *g, const struct settings *s, bool switched,
	char ret_why[static CONF_WHY_MAX]);
/* Another route now. ERR_DENIED: not connected; ERR_UNAVAILABLE: no router. */
NODISCARD enum err gateway_new_route(struct gateway *g, char ret_why[static CONF_WHY_MAX]);
/* An order from a page; the answer is put into c. */
void gateway_order(struct gateway *g, struct client *c, const ui_Order *o);

/* ---- inbox.c, outbox.c ---- */
extern const struct bus_inbox gateway_inbox;
/* The core's decisions as messages. */
struct node_sink outbox_sink(struct gateway *g);
/* NewRoute to the router. */
NODISCARD enum err outbox_new_route(struct gateway *g);
/* Tells the core which links are up. */
void inbox_links(struct gateway *g, mono_t now);

/* ---- store.c: the settings file ---- */
/* Fills *ret_s from state/gateway/settings over what it holds. A file that cannot be used is set
 * aside as settings.bad and ret_notice says so ("" else). ERR_IO: it is there and cannot be read.
 */
NODISCARD enum err store_load(
	struct gateway *g, struct settings *ret_s, char ret_notice[static NODE_NOTICE_MAX]);
NODISCARD enum err store_save(
	struct gateway *g, const struct settings *s, char ret_why[static CONF_WHY_MAX]);

/* ---- web.c: the port, the page's files, the loop ---- */
/* Binds the port (none if it is 0). */
NODISCARD enum err web_open(struct gateway *g);
/* service_spec's run: libwebsockets waits for the bus as well. */
void web_run(struct service *s, void *state);
void web_close(struct gateway *g);
/* Page i that is connected; NULL past the last. */
const struct client *web_client(const struct gateway *g, size_t i);

/* ---- verbs.c ---- */
extern const struct ctl_verb gateway_verbs[];
extern const size_t gateway_n_verbs;

#endif
