/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "gateway.h"

#include <stdio.h>

enum err gateway_change(struct gateway *g, const struct settings *s, bool switched,
	char ret_why[static CONF_WHY_MAX])
{
	struct settings checked = *s;

	TRY(settings_check(&checked, ret_why));
	if (sections_changed(&g->node.settings, &checked) != 0) {
		TRY(store_save(g, &checked, ret_why));
		g->node.notice[0] = '\0';
	}
	node_apply(&g->node, &checked, switched, service_now(g->service));
	return OK;
}

enum err gateway_new_route(struct gateway *g, char ret_why[static CONF_WHY_MAX])
{
	if (!g->node.settings.on) {
		snprintf(ret_why, CONF_WHY_MAX, "not connected: there is no route to change");
		return ERR_DENIED;
	}
	if (outbox_new_route(g) == OK)
		return OK;
	snprintf(ret_why, CONF_WHY_MAX, "the router is not running");
	return ERR_UNAVAILABLE;
}

static ui_Refusal refusal(enum err e)
{
	switch (e) {
	case OK:
		return ui_Refusal_REFUSAL_NONE;
	case ERR_DENIED:
		return ui_Refusal_REFUSAL_NOT_ON;
	case ERR_UNAVAILABLE:
		return ui_Refusal_REFUSAL_AWAY;
	case ERR_FULL:
		return ui_Refusal_REFUSAL_STORAGE;
	case ERR_MALFORMED:
	case ERR_STALE:
	case ERR_TOO_LARGE:
	case ERR_IO:
	case ERR_TIMEOUT:
	case ERR_NOT_FOUND:
	case ERR_INVALID:
	case ERR_OVERFLOW:
		break;
	}
	return ui_Refusal_REFUSAL_INVALID;
}

static enum err order_settings_take(struct gateway *g, const ui_Order *o, char *why)
{
	struct settings s = g->node.settings;

	TRY(order_settings(o, &s, why));
	return gateway_change(g, &s, o->which_body == ui_Order_switched_tag, why);
}

void gateway_order(struct gateway *g, struct client *c, const ui_Order *o)
{
	char why[CONF_WHY_MAX] = "";
	enum err e = OK;

	g->counters.orders++;
	if (o->which_body == ui_Order_new_route_tag) {
		e = gateway_new_route(g, why);
	} else if (o->which_body == ui_Order_list_exits_tag) {
		exits_look(&g->node.exits, service_now(g->service));
		client_wants_exits(c);
	} else {
		e = order_settings_take(g, o, why);
	}
	g->counters.orders_refused += e != OK;
	client_answer(c, o->id, refusal(e), why);
}
