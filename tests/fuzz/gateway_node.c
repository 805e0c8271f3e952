/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The gateway's core under any sequence of bus messages, orders of pages, links and time. Always:
 * what a page is told can be encoded and is valid UTF-8, the loop never spins, answers keep their
 * bound, and "on" is shown only if the router just said so. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <pb_decode.h>
#include <pb_encode.h>

#include "services/gateway/core/client.h"
#include "services/gateway/core/order.h"
#include "services/gateway/core/text.h"

#define STEPS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct world {
	struct node node;
	struct client client;
	mono_t now;
	uint64_t next_id;
	bool away;
	const uint8_t *p;
	size_t left;
	mvpn_GatewayIn in;
	ui_Event event;
	uint8_t out[ui_Event_size];
};

static uint8_t byte(struct world *w)
{
	if (w->left == 0)
		return 0;
	w->left--;
	return *w->p++;
}

static uint64_t id_or_none(struct world *w)
{
	return w->away ? 0 : ++w->next_id;
}

static uint64_t send_section(void *ctx, enum section what)
{
	(void)what;
	return id_or_none(ctx);
}

static uint64_t ask_exits(void *ctx)
{
	return id_or_none(ctx);
}

static void clean(const char *s, size_t size)
{
	char copy[512];

	if (memchr(s, '\0', size) == NULL)
		abort();
	memcpy(copy, s, size);
	text_clean(copy, size);
	if (strcmp(copy, s) != 0)
		abort();
}

/* A message of the bus, decoded as the bus does. */
static void on_message(struct world *w)
{
	size_t len = byte(w);
	pb_istream_t s = pb_istream_from_buffer(w->p, len < w->left ? len : w->left);
	bool good = pb_decode(&s, mvpn_GatewayIn_fields, &w->in);

	len = len < w->left ? len : w->left;
	w->p += len;
	w->left -= len;
	if (!good)
		return;
	if (w->in.which_body == mvpn_GatewayIn_session_state_tag)
		node_on_session(&w->node, &w->in.body.session_state, w->now);
	else if (w->in.which_body == mvpn_GatewayIn_wallet_state_tag)
		node_on_wallet(&w->node, &w->in.body.wallet_state, w->now);
	else if (w->in.which_body == mvpn_GatewayIn_directory_state_tag)
		node_on_directory(&w->node, &w->in.body.directory_state, w->now);
	else if (w->in.which_body == mvpn_GatewayIn_tunnel_state_tag)
		node_on_tunnel(&w->node, &w->in.body.tunnel_state, w->now);
	else if (w->in.which_body == mvpn_GatewayIn_done_tag)
		node_on_done(
			&w->node, w->in.re, w->in.body.done.err == 0, w->in.body.done.why, w->now);
	else if (w->in.which_body == mvpn_GatewayIn_exit_list_tag)
		node_on_exits(&w->node, (w->in.re & 1) != 0 ? w->node.exits.id : w->in.re,
			&w->in.body.exit_list, w->now);
}

static void on_order(struct world *w)
{
	size_t len = byte(w);
	struct settings s = w->node.settings;
	char why[CONF_WHY_MAX] = "";
	ui_Order o;

	len = len < w->left ? len : w->left;
	if (order_decode(w->p, len, &o) == OK && !client_full(&w->client)) {
		if (o.which_body == ui_Order_list_exits_tag)
			client_wants_exits(&w->client);
		else if (order_settings(&o, &s, why) == OK)
			node_apply(&w->node, &s, o.which_body == ui_Order_switched_tag, w->now);
		client_answer(&w->client, o.id, ui_Refusal_REFUSAL_NONE, why);
	}
	w->p += len;
	w->left -= len;
}

static void read_event(struct world *w)
{
	static const struct client_host host = {1, "0", "fuzz"};
	pb_ostream_t s = pb_ostream_from_buffer(w->out, sizeof(w->out));

	if (!client_next(&w->client, &w->node, &host, w->now, &w->event))
		return;
	if (!pb_encode(&s, ui_Event_fields, &w->event))
		abort();
	if (w->event.which_body != ui_Event_state_tag)
		return;
	const ui_State *st = &w->event.body.state;
	clean(st->reason, sizeof(st->reason));
	clean(st->session.reason, sizeof(st->session.reason));
	clean(st->wallet.trouble, sizeof(st->wallet.trouble));
	clean(st->directory.trouble, sizeof(st->directory.trouble));
	clean(st->tunnel.trouble, sizeof(st->tunnel.trouble));
	for (pb_size_t i = 0; i < st->services_count; i++)
		clean(st->services[i].refused, sizeof(st->services[i].refused));
	for (pb_size_t i = 0; i < st->session.hops_count; i++)
		clean(st->session.hops[i].name, sizeof(st->session.hops[i].name));
}

static void pass_time(struct world *w)
{
	const struct node_sink sink = {send_section, ask_exits, w};
	const struct report *r = &w->node.report;

	w->now = mono_add(w->now, DUR_MS(40 * (uint64_t)byte(w)));
	node_tick(&w->node, w->now, &sink);
	if (node_deadline(&w->node).ns <= w->now.ns)
		abort();
	if (r->shown.phase == ui_Phase_PHASE_ON &&
		(!r->session_known || r->services[PEER_ROUTER].health != ui_Health_HEALTH_UP ||
			(r->session.phase != mvpn_Phase_PHASE_ON) ||
			mono_since(r->session_at, w->now).ns > REPORT_STALE.ns))
		abort();
	client_stalled(&w->client, &w->node, w->now);
}

static void on_link_event(struct world *w)
{
	uint8_t b = byte(w);
	enum peer p = (enum peer)(b % PEERS);

	if ((b & 0x80) != 0)
		node_on_link(&w->node, p, w->now);
	else if ((b & 0x40) != 0)
		node_on_restart(&w->node, p);
	else
		node_on_link_state(&w->node, p, false, w->now);
	w->away = (b & 0x20) != 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const events[])(struct world * w) = {
		on_message, on_order, read_event, pass_time, on_link_event};
	static const struct settings first = {.version = 1, .n_hops = 3};
	static struct world *w;

	if (w == NULL)
		w = calloc(1, sizeof(*w));
	if (w == NULL)
		abort();
	memset(&w->node, 0, offsetof(struct node, exits)); /* the lists are large */
	w->now = (mono_t){1000000000000ull};
	w->next_id = 0;
	w->away = false;
	w->p = data;
	w->left = size;
	node_init(&w->node, &first, w->now);
	client_init(&w->client, &w->node);
	for (int i = 0; i < STEPS_MAX && w->left > 0; i++)
		events[byte(w) % (sizeof(events) / sizeof(events[0]))](w);
	return 0;
}
