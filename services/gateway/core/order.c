/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "order.h"

#include <stdio.h>
#include <string.h>

#include <pb_decode.h>

enum err order_decode(const uint8_t *bytes, size_t len, ui_Order *ret_o)
{
	pb_istream_t s = pb_istream_from_buffer(bytes, len);

	if (len > ORDER_BYTES_MAX)
		return ERR_MALFORMED;
	memset(ret_o, 0, sizeof(*ret_o));
	return pb_decode(&s, ui_Order_fields, ret_o) && ret_o->which_body != 0 ? OK : ERR_MALFORMED;
}

static void set_switched(const ui_Order *o, struct settings *s)
{
	s->on = o->body.switched.on;
}

static void set_route(const ui_Order *o, struct settings *s)
{
	const ui_Route *r = &o->body.route;
	size_t len = 0;

	s->n_hops = r->hops;
	s->hop_interval_s = r->hop_interval_s;
	memset(s->exit_countries, 0, sizeof(s->exit_countries));
	for (pb_size_t i = 0; i < r->exit_countries_count; i++)
		len += (size_t)snprintf(s->exit_countries + len, sizeof(s->exit_countries) - len,
			"%s%s", i > 0 ? "," : "", r->exit_countries[i]);
}

static void set_share(const ui_Order *o, struct settings *s)
{
	s->share = o->body.share.on;
	s->share_exit = o->body.share.exit;
}

static void set_pay(const ui_Order *o, struct settings *s)
{
	s->pay = o->body.pay.on;
	s->price_max_gwei_per_gib = o->body.pay.price_max_gwei_per_gib;
	s->spend_max_gwei_per_day = o->body.pay.spend_max_gwei_per_day;
}

static void set_prices(const ui_Order *o, struct settings *s)
{
	s->earn = o->body.prices.earn;
	s->entry_gwei_per_gib = o->body.prices.entry_gwei_per_gib;
	s->middle_gwei_per_gib = o->body.prices.middle_gwei_per_gib;
	s->exit_gwei_per_gib = o->body.prices.exit_gwei_per_gib;
}

enum err order_settings(const ui_Order *o, struct settings *s, char ret_why[static CONF_WHY_MAX])
{
	static const struct {
		pb_size_t tag;
		void (*set)(const ui_Order *o, struct settings *s);
	} orders[] = {
		{ui_Order_switched_tag, set_switched},
		{ui_Order_route_tag, set_route},
		{ui_Order_share_tag, set_share},
		{ui_Order_pay_tag, set_pay},
		{ui_Order_prices_tag, set_prices},
	};

	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		if (orders[i].tag != o->which_body)
			continue;
		orders[i].set(o, s);
		return settings_check(s, ret_why);
	}
	return ERR_NOT_FOUND;
}
