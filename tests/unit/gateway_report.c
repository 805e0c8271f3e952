/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/gateway/core/report.h"

static const mono_t t0 = {1000000000000ull};

static mono_t at(uint64_t ms)
{
	return mono_add(t0, DUR_MS(ms));
}

static void says(struct report *v, mvpn_Phase phase, uint64_t ms)
{
	mvpn_SessionState s = {.phase = phase, .reason = "router's words", .since_s = 7};

	report_on_session(v, &s, at(ms));
}

static void shows(struct report *v, uint64_t ms, ui_Phase phase, ui_Cause cause)
{
	report_update(v, at(ms));
	assert_int_equal(v->shown.phase, phase);
	assert_int_equal(v->shown.cause, cause);
}

/* Router and tunnel are there, the router said `phase`. */
static void begin(struct report *v, mvpn_Phase phase)
{
	report_init(v, at(0));
	report_on_health(v, PEER_ROUTER, ui_Health_HEALTH_UP, at(0));
	report_on_health(v, PEER_TUNNEL, ui_Health_HEALTH_UP, at(0));
	says(v, phase, 0);
}

static void the_routers_word_is_shown(void **state)
{
	static const struct {
		mvpn_Phase said;
		ui_Phase shown;
		const char *name;
	} cases[] = {
		{mvpn_Phase_PHASE_OFF, ui_Phase_PHASE_OFF, "off"},
		{mvpn_Phase_PHASE_CONNECTING, ui_Phase_PHASE_CONNECTING, "connecting"},
		{mvpn_Phase_PHASE_ON, ui_Phase_PHASE_ON, "on"},
		{mvpn_Phase_PHASE_RECONNECTING, ui_Phase_PHASE_RECONNECTING, "reconnecting"},
		{mvpn_Phase_PHASE_FAILED, ui_Phase_PHASE_FAILED, "failed"},
		{(mvpn_Phase)77, ui_Phase_PHASE_UNKNOWN, "unknown"},
	};
	struct report v;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(&v, cases[i].said);
		shows(&v, 100, cases[i].shown, ui_Cause_CAUSE_ROUTER);
		assert_string_equal(v.shown.reason, "router's words");
		assert_string_equal(report_phase_name(v.shown.phase), cases[i].name);
		assert_true(v.shown.since.ns == at(100).ns - DUR_S(7).ns);
	}
}

static void never_a_stale_on(void **state)
{
	struct report v;

	(void)state;
	begin(&v, mvpn_Phase_PHASE_ON);
	shows(&v, 4999, ui_Phase_PHASE_ON, ui_Cause_CAUSE_ROUTER);
	shows(&v, 5000, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY);
	says(&v, mvpn_Phase_PHASE_ON, 6000);
	shows(&v, 6000, ui_Phase_PHASE_ON, ui_Cause_CAUSE_ROUTER);
	/* The link breaks: at once. */
	report_on_health(&v, PEER_ROUTER, ui_Health_HEALTH_DOWN, at(6001));
	shows(&v, 6001, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY);
	assert_true(v.shown.since.ns == at(6001).ns);
	shows(&v, 9000, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY);
	assert_true(v.shown.since.ns == at(6001).ns);
	/* A new router that has said nothing yet does not bring the old "on" back. */
	report_forget(&v, PEER_ROUTER);
	report_on_health(&v, PEER_ROUTER, ui_Health_HEALTH_UP, at(9001));
	shows(&v, 9001, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY);
	says(&v, mvpn_Phase_PHASE_RECONNECTING, 9002);
	shows(&v, 9002, ui_Phase_PHASE_RECONNECTING, ui_Cause_CAUSE_ROUTER);
	/* One that hangs. */
	says(&v, mvpn_Phase_PHASE_ON, 9003);
	report_on_health(&v, PEER_ROUTER, ui_Health_HEALTH_SILENT, at(9004));
	shows(&v, 9004, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_ROUTER_AWAY);
	/* "Off" needs no repetition. */
	begin(&v, mvpn_Phase_PHASE_OFF);
	shows(&v, 100000, ui_Phase_PHASE_OFF, ui_Cause_CAUSE_ROUTER);
}

static void the_tunnel_goes(void **state)
{
	struct report v;

	(void)state;
	begin(&v, mvpn_Phase_PHASE_ON);
	report_on_health(&v, PEER_TUNNEL, ui_Health_HEALTH_DOWN, at(1));
	shows(&v, 1, ui_Phase_PHASE_RECONNECTING, ui_Cause_CAUSE_TUNNEL_AWAY);
	report_on_health(&v, PEER_ROUTER, ui_Health_HEALTH_DOWN, at(2));
	shows(&v, 2, ui_Phase_PHASE_UNKNOWN, ui_Cause_CAUSE_TUNNEL_AWAY);
	report_on_health(&v, PEER_TUNNEL, ui_Health_HEALTH_UP, at(3));
	report_on_health(&v, PEER_ROUTER, ui_Health_HEALTH_UP, at(3));
	shows(&v, 3, ui_Phase_PHASE_ON, ui_Cause_CAUSE_ROUTER);
	/* Off without a tunnel is off. */
	begin(&v, mvpn_Phase_PHASE_OFF);
	report_on_health(&v, PEER_TUNNEL, ui_Health_HEALTH_DOWN, at(1));
	shows(&v, 1, ui_Phase_PHASE_OFF, ui_Cause_CAUSE_ROUTER);
	/* While we start it is given two seconds to be seen. */
	report_init(&v, at(0));
	report_on_health(&v, PEER_ROUTER, ui_Health_HEALTH_UP, at(0));
	says(&v, mvpn_Phase_PHASE_ON, 0);
	shows(&v, 1999, ui_Phase_PHASE_ON, ui_Cause_CAUSE_ROUTER);
	shows(&v, 2000, ui_Phase_PHASE_RECONNECTING, ui_Cause_CAUSE_TUNNEL_AWAY);
}

static void an_order_is_shown_until_answered(void **state)
{
	struct report v;

	(void)state;
	begin(&v, mvpn_Phase_PHASE_FAILED);
	report_on_order(&v, true, at(10));
	shows(&v, 10, ui_Phase_PHASE_CONNECTING, ui_Cause_CAUSE_ORDERED);
	/* What the router said before it took the order is of before the order. */
	says(&v, mvpn_Phase_PHASE_FAILED, 11);
	shows(&v, 11, ui_Phase_PHASE_CONNECTING, ui_Cause_CAUSE_ORDERED);
	report_on_order_done(&v, true, "", at(12));
	shows(&v, 12, ui_Phase_PHASE_CONNECTING, ui_Cause_CAUSE_ORDERED);
	says(&v, mvpn_Phase_PHASE_CONNECTING, 13);
	shows(&v, 13, ui_Phase_PHASE_CONNECTING, ui_Cause_CAUSE_ROUTER);
	/* Nothing new to say: after a moment the last word counts again. */
	report_on_order(&v, true, at(20));
	report_on_order_done(&v, true, "", at(21));
	assert_true(report_deadline(&v).ns == at(321).ns);
	shows(&v, 320, ui_Phase_PHASE_CONNECTING, ui_Cause_CAUSE_ORDERED);
	shows(&v, 321, ui_Phase_PHASE_CONNECTING, ui_Cause_CAUSE_ROUTER);
	assert_true(report_deadline(&v).ns == MONO_NEVER.ns);
	/* Off: what is, until it is off. */
	says(&v, mvpn_Phase_PHASE_ON, 400);
	report_on_order(&v, false, at(401));
	shows(&v, 401, ui_Phase_PHASE_ON, ui_Cause_CAUSE_ORDERED);
	report_on_order_done(&v, true, "", at(402));
	says(&v, mvpn_Phase_PHASE_OFF, 403);
	shows(&v, 403, ui_Phase_PHASE_OFF, ui_Cause_CAUSE_ROUTER);
}

static void an_order_is_refused(void **state)
{
	struct report v;

	(void)state;
	begin(&v, mvpn_Phase_PHASE_OFF);
	report_on_order(&v, true, at(1));
	report_on_order_done(&v, false, "no such country", at(2));
	shows(&v, 2, ui_Phase_PHASE_FAILED, ui_Cause_CAUSE_REFUSED);
	assert_string_equal(v.shown.reason, "no such country");
	report_on_order(&v, false, at(3));
	report_on_order_done(&v, true, "", at(4));
	says(&v, mvpn_Phase_PHASE_OFF, 5);
	shows(&v, 5, ui_Phase_PHASE_OFF, ui_Cause_CAUSE_ROUTER);
}

static void text_is_cleaned(void **state)
{
	mvpn_SessionState s = {.phase = mvpn_Phase_PHASE_ON, .hops_count = 1, .reasons_count = 1};
	mvpn_WalletState w = {.trouble = "disk \xff", .hops_count = 1};
	struct report v;

	(void)state;
	memset(s.reason, 0xc3, sizeof(s.reason)); /* not even ended */
	memcpy(s.hops[0].name, "a\nb", 4);
	memcpy(s.reasons[0], "\xed\xa0\x80", 4);
	report_init(&v, at(0));
	report_on_session(&v, &s, at(0));
	assert_int_equal(strlen(v.session.reason), sizeof(s.reason) - 1);
	assert_int_equal(strspn(v.session.reason, "?"), sizeof(s.reason) - 1);
	assert_string_equal(v.session.hops[0].name, "a?b");
	assert_string_equal(v.session.reasons[0], "???");
	memcpy(w.hops[0].paid, "1\x80", 3);
	report_on_wallet(&v, &w);
	assert_string_equal(v.wallet.trouble, "disk ?");
	assert_string_equal(v.wallet.hops[0].paid, "1?");
}

static void payments_by_session(void **state)
{
	mvpn_WalletState w = {.hops_count = 2};
	struct report v;

	(void)state;
	report_init(&v, at(0));
	assert_null(report_payment(&v, 5));
	w.hops[1].session = 5;
	w.hops[1].tickets = 3;
	report_on_wallet(&v, &w);
	assert_int_equal(report_payment(&v, 5)->tickets, 3);
	assert_null(report_payment(&v, 0)); /* no session, not the first without one */
	assert_null(report_payment(&v, 6));
	report_forget(&v, PEER_LEDGER);
	assert_null(report_payment(&v, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_routers_word_is_shown),
		cmocka_unit_test(never_a_stale_on),
		cmocka_unit_test(the_tunnel_goes),
		cmocka_unit_test(an_order_is_shown_until_answered),
		cmocka_unit_test(an_order_is_refused),
		cmocka_unit_test(text_is_cleaned),
		cmocka_unit_test(payments_by_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
