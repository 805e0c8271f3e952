/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/core/client.h"
#include "services/gateway/core/order.h"

static const mono_t t0 = {1000000000000ull};
static const struct client_host host = {.instance = 42, .version = "1.2.3", .name = "node\xff"};

struct bus {
	uint64_t next_id;
	unsigned int n_sections, n_asks;
	bool away;
};

static uint64_t send_section(void *ctx, enum section what)
{
	struct bus *b = ctx;

	(void)what;
	b->n_sections++;
	return ++b->next_id;
}

static uint64_t ask_exits(void *ctx)
{
	struct bus *b = ctx;

	if (b->away)
		return 0;
	b->n_asks++;
	return ++b->next_id;
}

static mono_t at(uint64_t ms)
{
	return mono_add(t0, DUR_MS(ms));
}

struct fixture {
	struct node node;
	struct bus bus;
	struct node_sink sink;
	struct client client;
	ui_Event event;
};

static int setup(void **state)
{
	static const struct settings s = {.version = 1, .n_hops = 3, .pay = true};
	struct fixture *f = calloc(1, sizeof(*f));

	f->sink = (struct node_sink){send_section, ask_exits, &f->bus};
	node_init(&f->node, &s, t0);
	client_init(&f->client, &f->node);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

/* The next event is of this kind. */
static void expect(struct fixture *f, pb_size_t which)
{
	assert_true(client_next(&f->client, &f->node, &host, t0, &f->event));
	assert_int_equal(f->event.which_body, which);
}

static void expect_nothing(struct fixture *f)
{
	assert_false(client_owed(&f->client, &f->node));
	assert_false(client_next(&f->client, &f->node, &host, t0, &f->event));
}

static void welcome_then_state(void **state)
{
	struct fixture *f = *state;

	expect(f, ui_Event_welcome_tag);
	assert_int_equal(f->event.body.welcome.instance, 42);
	assert_string_equal(f->event.body.welcome.name, "node?");
	expect(f, ui_Event_state_tag);
	assert_int_equal(f->event.body.state.services_count, PEERS);
	assert_int_equal(f->event.body.state.settings.route.hops, 3);
	assert_false(f->event.body.state.has_session);
	expect_nothing(f);
}

static void many_changes_one_state(void **state)
{
	struct fixture *f = *state;
	mvpn_SessionState s = {.phase = mvpn_Phase_PHASE_ON};

	expect(f, ui_Event_welcome_tag);
	expect(f, ui_Event_state_tag);
	node_on_link(&f->node, PEER_ROUTER, at(1));
	node_on_link(&f->node, PEER_TUNNEL, at(1));
	for (int i = 0; i < 1000; i++) {
		s.rx_bytes = (uint64_t)i;
		node_on_session(&f->node, &s, at(2));
	}
	expect(f, ui_Event_state_tag);
	assert_int_equal(f->event.body.state.session.rx_bytes, 999);
	assert_int_equal(f->event.body.state.phase, ui_Phase_PHASE_ON);
	expect_nothing(f);
}

static void answers_are_bounded_and_in_order(void **state)
{
	struct fixture *f = *state;

	expect(f, ui_Event_welcome_tag);
	for (uint32_t i = 0; i < CLIENT_ANSWERS_MAX; i++) {
		assert_false(client_full(&f->client));
		client_answer(&f->client, 100 + i, ui_Refusal_REFUSAL_INVALID, "no \xff");
	}
	assert_true(client_full(&f->client));
	for (uint32_t i = 0; i < CLIENT_ANSWERS_MAX; i++) {
		expect(f, ui_Event_done_tag);
		assert_int_equal(f->event.body.done.id, 100 + i);
		assert_string_equal(f->event.body.done.why, "no ?");
		assert_false(client_full(&f->client));
	}
	expect(f, ui_Event_state_tag);
	expect_nothing(f);
}

static void samples_are_caught_up(void **state)
{
	struct fixture *f = *state;
	size_t got = 0;
	int64_t want = 500;

	expect(f, ui_Event_welcome_tag);
	expect(f, ui_Event_state_tag);
	for (int64_t i = 0; i < HISTORY_S + 500; i++)
		history_add(&f->node.history, i, -1);
	while (client_owed(&f->client, &f->node)) {
		expect(f, ui_Event_samples_tag);
		const ui_Samples *s = &f->event.body.samples;
		assert_int_equal(s->rx_Bps_count, s->tx_Bps_count);
		for (pb_size_t i = 0; i < s->rx_Bps_count; i++)
			assert_int_equal(s->rx_Bps[i], want++);
		got += s->rx_Bps_count;
	}
	assert_int_equal(got, HISTORY_S); /* what is older is gone */
	history_add(&f->node.history, 7, 8);
	expect(f, ui_Event_samples_tag);
	assert_int_equal(f->event.body.samples.rx_Bps_count, 1);
	expect_nothing(f);
}

/* ---- the list of exits ---- */

static void list_arrives(struct fixture *f, unsigned int n, mono_t now)
{
	static mvpn_ExitList piece;
	const unsigned int room = sizeof(piece.exits) / sizeof(piece.exits[0]);

	do {
		memset(&piece, 0, sizeof(piece));
		for (; n > 0 && piece.exits_count < room; n--)
			memcpy(piece.exits[piece.exits_count++].country, "CH", 3);
		piece.more = n > 0;
		node_on_exits(&f->node, f->node.exits.id, &piece, now);
	} while (piece.more);
}

static size_t list_read(struct fixture *f)
{
	size_t got = 0;
	bool first = true;

	do {
		expect(f, ui_Event_exits_tag);
		assert_int_equal(f->event.body.exits.first, first);
		first = false;
		got += f->event.body.exits.list.exits_count;
	} while (f->event.body.exits.list.more);
	return got;
}

static void exits_in_pieces(void **state)
{
	static const unsigned int sizes[] = {0, 1, 63, 64, 65, 128, 200, EXITS_MAX, EXITS_MAX + 3};
	struct fixture *f = *state;

	expect(f, ui_Event_welcome_tag);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		mono_t now = at(10000 * (i + 1));

		node_on_link(&f->node, PEER_ROUTER, now);
		node_tick(&f->node, now, &f->sink);
		assert_int_equal(f->bus.n_asks, i + 1);
		list_arrives(f, sizes[i], now);
		expect(f, ui_Event_state_tag);
		client_wants_exits(&f->client);
		assert_int_equal(list_read(f), sizes[i] < EXITS_MAX ? sizes[i] : EXITS_MAX);
		while (client_next(&f->client, &f->node, &host, now, &f->event))
			;
		node_on_link_state(&f->node, PEER_ROUTER, false, now);
	}
	assert_int_equal(f->node.exits.n_left_out, 3);
}

static void a_list_that_changes_begins_anew(void **state)
{
	struct fixture *f = *state;

	expect(f, ui_Event_welcome_tag);
	expect(f, ui_Event_state_tag);
	node_on_link(&f->node, PEER_ROUTER, at(0));
	node_tick(&f->node, at(0), &f->sink);
	list_arrives(f, 100, at(0));
	client_wants_exits(&f->client);
	expect(f, ui_Event_state_tag);
	expect(f, ui_Event_exits_tag);
	assert_true(f->event.body.exits.list.more);
	exits_look(&f->node.exits, at(5000));
	node_tick(&f->node, at(5000), &f->sink);
	assert_int_equal(f->bus.n_asks, 2);
	list_arrives(f, 10, at(5000));
	while (client_next(&f->client, &f->node, &host, at(5000), &f->event))
		if (f->event.which_body == ui_Event_exits_tag)
			break;
	assert_true(f->event.body.exits.first);
	assert_false(f->event.body.exits.list.more);
	assert_int_equal(f->event.body.exits.list.exits_count, 10);
}

static void lists_that_do_not_come(void **state)
{
	struct fixture *f = *state;
	static const mvpn_ExitList empty = {.more = false};

	node_on_link(&f->node, PEER_ROUTER, at(0));
	f->bus.away = true;
	node_tick(&f->node, at(0), &f->sink);
	assert_true(exits_deadline(&f->node.exits).ns == at(1000).ns);
	f->bus.away = false;
	node_tick(&f->node, at(1000), &f->sink);
	assert_int_equal(f->bus.n_asks, 1);
	/* Answers to somebody else's question, and to one that was given up. */
	uint64_t id = f->node.exits.id;
	node_on_exits(&f->node, id + 1, &empty, at(1001));
	assert_int_equal(f->node.exits.generation, 0);
	node_tick(&f->node, at(4999), &f->sink);
	assert_int_equal(f->bus.n_asks, 1);
	node_tick(&f->node, at(5000), &f->sink);
	assert_int_equal(f->bus.n_asks, 2);
	node_on_exits(&f->node, id, &empty, at(5001));
	assert_int_equal(f->node.exits.generation, 0);
	node_on_exits(&f->node, f->node.exits.id, &empty, at(5002));
	assert_int_equal(f->node.exits.generation, 1);
	/* A router that restarted answers nothing of before; and at most one list a second. */
	for (int i = 0; i < 50; i++)
		exits_want(&f->node.exits, at(5003));
	node_tick(&f->node, at(5003), &f->sink);
	assert_int_equal(f->bus.n_asks, 2);
	node_tick(&f->node, at(6002), &f->sink);
	assert_int_equal(f->bus.n_asks, 3);
	node_on_restart(&f->node, PEER_ROUTER);
	assert_int_equal(f->node.exits.id, 0);
}

static void the_list_follows_the_number_of_exits(void **state)
{
	struct fixture *f = *state;
	mvpn_SessionState s = {.n_exits = 3};
	mvpn_DirectoryState d = {.n_exits = 3};

	node_on_link(&f->node, PEER_ROUTER, at(0));
	node_tick(&f->node, at(0), &f->sink);
	list_arrives(f, 3, at(0));
	node_on_session(&f->node, &s, at(2000)); /* its first word */
	node_tick(&f->node, at(2000), &f->sink);
	assert_int_equal(f->bus.n_asks, 2);
	list_arrives(f, 3, at(2000));
	node_on_session(&f->node, &s, at(4000)); /* the same number */
	node_tick(&f->node, at(4000), &f->sink);
	assert_int_equal(f->bus.n_asks, 2);
	s.n_exits = 4;
	node_on_session(&f->node, &s, at(6000));
	node_tick(&f->node, at(6000), &f->sink);
	assert_int_equal(f->bus.n_asks, 3);
	list_arrives(f, 4, at(6000));
	node_on_directory(&f->node, &d, at(8000));
	node_tick(&f->node, at(8000), &f->sink);
	assert_int_equal(f->bus.n_asks, 4);
}

/* ---- stalls, seconds, orders ---- */

static void a_page_that_does_not_read(void **state)
{
	struct fixture *f = *state;

	assert_false(client_stalled(&f->client, &f->node, at(0)));
	assert_false(client_stalled(&f->client, &f->node, at(19999)));
	assert_true(client_stalled(&f->client, &f->node, at(20000)));
	/* Taking one thing is a sign of life. */
	expect(f, ui_Event_welcome_tag);
	assert_false(client_stalled(&f->client, &f->node, at(20001)));
	assert_false(client_stalled(&f->client, &f->node, at(40000)));
	expect(f, ui_Event_state_tag);
	expect_nothing(f);
	assert_false(client_stalled(&f->client, &f->node, at(40001)));
	assert_false(client_stalled(&f->client, &f->node, at(99999)));
}

static void a_sample_each_second(void **state)
{
	struct fixture *f = *state;
	mvpn_SessionState s = {.phase = mvpn_Phase_PHASE_ON, .rx_Bps = 11, .tx_Bps = 22};
	const struct history *h = &f->node.history;

	node_tick(&f->node, at(999), &f->sink);
	assert_int_equal(h->end, 0);
	node_tick(&f->node, at(1000), &f->sink);
	assert_int_equal(h->end, 1);
	assert_int_equal(h->ring[0].rx_Bps, HISTORY_UNKNOWN); /* no router */
	node_on_link(&f->node, PEER_ROUTER, at(1500));
	node_on_link(&f->node, PEER_TUNNEL, at(1500));
	node_on_session(&f->node, &s, at(1500));
	node_tick(&f->node, at(2000), &f->sink);
	assert_int_equal(h->ring[1].rx_Bps, 11);
	assert_int_equal(h->ring[1].tx_Bps, 22);
	s.phase = mvpn_Phase_PHASE_OFF;
	node_on_session(&f->node, &s, at(2500));
	node_tick(&f->node, at(3000), &f->sink);
	assert_int_equal(h->ring[2].rx_Bps, 0);
	/* Asleep for an hour: one sample, not 3600. */
	node_tick(&f->node, at(3603000), &f->sink);
	assert_int_equal(h->end, 4);
	assert_true(f->node.second_at.ns > at(3603000).ns);
}

static void the_switch_orders_even_without_a_change(void **state)
{
	struct fixture *f = *state;
	struct settings s = f->node.settings;
	mvpn_SessionState said = {.phase = mvpn_Phase_PHASE_FAILED};

	node_on_link(&f->node, PEER_ROUTER, at(0));
	node_on_link(&f->node, PEER_TUNNEL, at(0));
	node_on_session(&f->node, &said, at(0));
	s.on = true;
	node_apply(&f->node, &s, true, at(1));
	node_tick(&f->node, at(1), &f->sink);
	assert_int_equal(f->node.report.shown.phase, ui_Phase_PHASE_CONNECTING);
	node_on_done(&f->node, f->node.sections.at[SECTION_SESSION].id, true, "", at(2));
	node_on_session(&f->node, &said, at(2));
	assert_int_equal(f->node.report.shown.phase, ui_Phase_PHASE_FAILED);
	/* Failed, and the user tries again. */
	unsigned int sent = f->bus.n_sections;
	node_apply(&f->node, &s, true, at(3));
	node_tick(&f->node, at(3), &f->sink);
	assert_int_equal(f->bus.n_sections, sent + 1);
	assert_int_equal(f->node.report.shown.phase, ui_Phase_PHASE_CONNECTING);
	/* While it is on, the same again does not flicker. */
	said.phase = mvpn_Phase_PHASE_ON;
	node_on_done(&f->node, f->node.sections.at[SECTION_SESSION].id, true, "", at(4));
	node_on_session(&f->node, &said, at(4));
	node_apply(&f->node, &s, true, at(5));
	assert_int_equal(f->node.report.shown.phase, ui_Phase_PHASE_ON);
	/* Another country does. */
	memcpy(s.exit_countries, "CH", 3);
	node_apply(&f->node, &s, false, at(6));
	assert_int_equal(f->node.report.shown.phase, ui_Phase_PHASE_CONNECTING);
}

static void deadlines_lie_ahead(void **state)
{
	struct fixture *f = *state;
	mono_t now = at(0);

	/* Whatever happens, a tick leaves nothing due: the loop never spins. */
	for (int i = 0; i < 400; i++) {
		if (i == 20 || i == 200)
			for (int p = 0; p < PEERS; p++)
				node_on_link(&f->node, (enum peer)p, now);
		if (i == 150)
			for (int p = 0; p < PEERS; p++)
				node_on_link_state(&f->node, (enum peer)p, false, now);
		if (i % 37 == 0)
			exits_look(&f->node.exits, now);
		f->bus.away = i % 3 == 0;
		node_tick(&f->node, now, &f->sink);
		mono_t next = node_deadline(&f->node);
		assert_true(next.ns > now.ns);
		now = next;
	}
}

static void orders_decode(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
		enum err e;
	} cases[] = {
		{"", 0, ERR_MALFORMED}, {"\x08\x01", 2, ERR_MALFORMED}, /* an id and no order */
		{"\x08\x01\x12\x02\x08\x01", 6, OK},			/* switch on */
		{"\x12\x02\x08\x01", 4, OK},				/* without an id: 0 */
		{"\x08\x01\x12\x02\x08", 5, ERR_MALFORMED},		/* cut */
		{"\x08\x01\x12\x7f\x08\x01", 6, ERR_MALFORMED},		/* lies about its length */
		{"\xff\xff\xff\xff", 4, ERR_MALFORMED},
		{"\x1a\x05\x12\x03"
		 "CHE",
			7, ERR_MALFORMED},		 /* a country too long */
		{"\x08\x01\x12\x00\xf8\x07\x01", 7, OK}, /* an unknown field is skipped */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		ui_Order o;

		assert_int_equal(order_decode((const uint8_t *)cases[i].bytes, cases[i].len, &o),
			cases[i].e);
	}
	/* A switch and an unknown field of many bytes: at the bound, and one over it. */
	for (size_t len = ORDER_BYTES_MAX; len <= ORDER_BYTES_MAX + 1; len++) {
		uint8_t bytes[ORDER_BYTES_MAX + 1] = {0x12, 0x00, 0xfa, 0x01};
		size_t field = len - 6;
		ui_Order o;

		bytes[4] = (uint8_t)(0x80 | (field & 0x7f));
		bytes[5] = (uint8_t)(field >> 7);
		assert_int_equal(
			order_decode(bytes, len, &o), len == ORDER_BYTES_MAX ? OK : ERR_MALFORMED);
	}
}

static void orders_change_their_section_only(void **state)
{
	const struct settings before = {.version = 1, .n_hops = 3, .pay = true, .earn = true};
	ui_Order o = {.which_body = ui_Order_route_tag};
	struct settings s = before;
	char why[CONF_WHY_MAX] = "";

	(void)state;
	o.body.route =
		(ui_Route){.hops = 2, .exit_countries_count = 2, .exit_countries = {"se", "CH"}};
	assert_int_equal(order_settings(&o, &s, why), OK);
	assert_int_equal(s.n_hops, 2);
	assert_string_equal(s.exit_countries, "SE,CH");
	assert_true(s.pay && s.earn && !s.on);

	o.body.route.exit_countries_count = 0;
	assert_int_equal(order_settings(&o, &s, why), OK);
	assert_string_equal(s.exit_countries, "");

	o.body.route.hops = 0;
	assert_int_equal(order_settings(&o, &s, why), ERR_INVALID);
	assert_non_null(strstr(why, "hops"));
	o.body.route.hops = 3;
	o.body.route.exit_countries_count = 1;
	memcpy(o.body.route.exit_countries[0], "?", 2);
	assert_int_equal(order_settings(&o, &s, why), ERR_INVALID);

	o = (ui_Order){.which_body = ui_Order_prices_tag};
	o.body.prices.exit_gwei_per_gib = SETTINGS_GWEI_MAX;
	s = before;
	assert_int_equal(order_settings(&o, &s, why), OK);
	assert_false(s.earn);
	o.body.prices.exit_gwei_per_gib++;
	assert_int_equal(order_settings(&o, &s, why), ERR_INVALID);

	o = (ui_Order){.which_body = ui_Order_share_tag, .body.share = {true, true}};
	s = before;
	assert_int_equal(order_settings(&o, &s, why), OK);
	assert_true(s.share && s.share_exit);
	o = (ui_Order){.which_body = ui_Order_pay_tag, .body.pay = {false, 5, 6}};
	assert_int_equal(order_settings(&o, &s, why), OK);
	assert_true(!s.pay && s.price_max_gwei_per_gib == 5 && s.spend_max_gwei_per_day == 6);
	o = (ui_Order){.which_body = ui_Order_switched_tag, .body.switched = {true}};
	assert_int_equal(order_settings(&o, &s, why), OK);
	assert_true(s.on);
	o = (ui_Order){.which_body = ui_Order_new_route_tag};
	assert_int_equal(order_settings(&o, &s, why), ERR_NOT_FOUND);
}

int main(void)
{
#define WITH_NODE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		WITH_NODE(welcome_then_state),
		WITH_NODE(many_changes_one_state),
		WITH_NODE(answers_are_bounded_and_in_order),
		WITH_NODE(samples_are_caught_up),
		WITH_NODE(exits_in_pieces),
		WITH_NODE(a_list_that_changes_begins_anew),
		WITH_NODE(lists_that_do_not_come),
		WITH_NODE(the_list_follows_the_number_of_exits),
		WITH_NODE(a_page_that_does_not_read),
		WITH_NODE(a_sample_each_second),
		WITH_NODE(the_switch_orders_even_without_a_change),
		WITH_NODE(deadlines_lie_ahead),
		cmocka_unit_test(orders_decode),
		cmocka_unit_test(orders_change_their_section_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
