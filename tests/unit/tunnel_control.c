/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/control.h"

#define SESSIONS 8
#define ANSWERS 6

struct bench {
	struct control_responder r;
	struct control_requester q;
	struct control_sink sink;
	void *mem;
	mono_t now;
	/* what the sink saw */
	uint8_t sent[CONTROL_FRAME_MAX];
	size_t sent_len;
	int n_sent, n_answered, n_failed, n_noticed, n_asked, n_extended;
	uint64_t tag, nonce;
	overlay_Control answer;
	overlay_Reason say; /* what verbs answer */
};

static const struct control_responder_conf conf = {SESSIONS, ANSWERS};
static const uint64_t key[2] = {1, 2};

static void on_send(void *ctx, uint32_t session, const uint8_t *frame, size_t len)
{
	struct bench *b = ctx;

	(void)session;
	memcpy(b->sent, frame, len);
	b->sent_len = len;
	b->n_sent++;
}

static void on_answered(void *ctx, uint32_t session, uint64_t tag, const overlay_Control *answer)
{
	struct bench *b = ctx;

	(void)session;
	b->n_answered++;
	b->tag = tag;
	b->answer = *answer;
}

static void on_failed(void *ctx, uint32_t session, uint64_t tag, enum err why)
{
	struct bench *b = ctx;

	(void)session;
	assert_int_equal(why, ERR_TIMEOUT);
	b->n_failed++;
	b->tag = tag;
}

static void on_echoed(void *ctx, uint32_t session, uint64_t nonce)
{
	(void)session;
	((struct bench *)ctx)->nonce = nonce;
}

static void on_noticed(void *ctx, uint32_t session, const overlay_Notice *notice)
{
	struct bench *b = ctx;

	(void)session;
	b->n_noticed++;
	assert_int_equal(notice->credit_bytes, 7);
	assert_int_equal(notice->used_bytes, 8);
}

static overlay_Reason do_extend(void *ctx, uint32_t session, const overlay_Extend *in)
{
	struct bench *b = ctx;

	(void)session, (void)in;
	b->n_extended++;
	return b->say;
}

static overlay_Reason do_attach(
	void *ctx, uint32_t session, const overlay_Attach *in, overlay_Attached *ret)
{
	(void)session;
	ret->mtu = in->want_ip4 ? 1400 : 1;
	return ((struct bench *)ctx)->say;
}

static overlay_Reason do_close(void *ctx, uint32_t session, const overlay_Close *in)
{
	(void)session, (void)in;
	return ((struct bench *)ctx)->say;
}

static overlay_Reason do_detach(void *ctx, uint32_t session)
{
	(void)session;
	return ((struct bench *)ctx)->say;
}

static overlay_Reason do_to_service(
	void *ctx, uint32_t session, uint32_t request, const overlay_ToService *in)
{
	struct bench *b = ctx;

	(void)session, (void)request, (void)in;
	b->n_asked++;
	return b->say;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	b->mem = malloc(control_responder_bytes(&conf));
	memset(b->mem, 0xa5, control_responder_bytes(&conf));
	control_responder_init(&b->r, &conf, b->mem, key);
	control_requester_init(&b->q);
	b->sink = (struct control_sink){b, on_send, on_answered, on_failed, on_echoed, on_noticed,
		do_extend, do_attach, do_close, do_detach, do_to_service};
	b->now.ns = DUR_S(50).ns;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	free(b->mem);
	free(b);
	return 0;
}

static overlay_Control request(pb_size_t which, uint32_t id)
{
	return (overlay_Control){.id = id, .which_body = which};
}

static void deliver(struct bench *b, uint32_t session, const overlay_Control *m)
{
	uint8_t frame[CONTROL_FRAME_MAX];
	size_t len;

	assert_int_equal(control_encode(m, frame, sizeof(frame), &len), OK);
	control_on_frame(&b->r, &b->q, b->now, session, frame, len, &b->sink);
}

static overlay_Control last_sent(struct bench *b)
{
	overlay_Control m;

	assert_int_equal(control_decode(b->sent, b->sent_len, &m), OK);
	return m;
}

/* [P-3] */
static void codec_keeps_all_fields_and_ignores_padding(void **state)
{
	overlay_Control m = request(overlay_Control_extend_tag, 5), back;
	uint8_t frame[CONTROL_FRAME_MAX + 16];
	size_t len;

	(void)state;
	m.body.extend.slot = 65535;
	m.body.extend.descriptor.size = 328;
	memset(m.body.extend.descriptor.bytes, 0x5a, 328);
	assert_int_equal(control_encode(&m, frame, sizeof(frame), &len), OK);
	assert_int_equal(frame[0], 0x20);
	memset(frame + len, 0, 16);
	assert_int_equal(control_decode(frame, len + 16, &back), OK);
	assert_int_equal(back.id, 5);
	assert_int_equal(back.body.extend.slot, 65535);
	assert_int_equal(back.body.extend.descriptor.size, 328);
	for (size_t cut = 0; cut < len; cut++)
		assert_int_equal(control_decode(frame, cut, &back), ERR_MALFORMED);
	frame[1] = 1;
	assert_int_equal(control_decode(frame, len, &back), ERR_MALFORMED);
}

static void the_largest_message_fits_its_frame(void **state)
{
	overlay_Control m = request(overlay_Control_to_service_tag, UINT32_MAX);
	uint8_t frame[CONTROL_FRAME_MAX];
	size_t len;

	(void)state;
	m.body.to_service.payload.size = CONTROL_PAYLOAD_MAX;
	assert_int_equal(control_encode(&m, frame, sizeof(frame), &len), OK);
	assert_int_equal(control_encode(&m, frame, len - 1, &len), ERR_TOO_LARGE);
	m.which_body = 0;
	assert_int_equal(control_encode(&m, frame, sizeof(frame), &len), ERR_INVALID);
}

/* [P-30] */
static void shapes_that_make_no_sense_are_malformed(void **state)
{
	struct bad {
		pb_size_t which;
		bool answer;
		uint32_t id;
	} bad[] = {
		{overlay_Control_extend_tag, true, 1},
		{overlay_Control_extended_tag, false, 1},
		{overlay_Control_attach_tag, true, 1},
		{overlay_Control_attached_tag, false, 1},
		{overlay_Control_close_tag, true, 1},
		{overlay_Control_detach_tag, true, 1},
		{overlay_Control_ok_tag, false, 1},
		{overlay_Control_refused_tag, false, 1},
		{overlay_Control_notice_tag, true, 1},
		{overlay_Control_echo_tag, false, 0},
	};
	struct bench *b = *state;
	overlay_Control m;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		m = request(bad[i].which, bad[i].id);
		m.answer = bad[i].answer;
		deliver(b, 1, &m);
		assert_int_equal(b->r.n.malformed, i + 1);
	}
	m = request(overlay_Control_extend_tag, 1);
	m.body.extend.slot = 65536;
	deliver(b, 1, &m);
	m = request(overlay_Control_attached_tag, 1);
	m.answer = true;
	m.body.attached.ip4.size = 3;
	deliver(b, 1, &m);
	m = request(overlay_Control_echo_tag, 1);
	deliver(b, SESSIONS, &m); /* no such session */
	assert_int_equal(b->r.n.malformed, 13);
	assert_int_equal(b->n_sent, 0);
}

/* [P-31] */
static void request_is_answered_once(void **state)
{
	struct bench *b = *state;
	overlay_Control m = request(overlay_Control_attach_tag, 0), a;

	assert_int_equal(
		control_request(&b->q, b->now, 1, &m, 42, DUR_MS(0), DUR_S(5), &b->sink), OK);
	m = last_sent(b);
	a = request(overlay_Control_extended_tag, m.id); /* wrong kind */
	a.answer = true;
	deliver(b, 1, &a);
	a.which_body = overlay_Control_attached_tag;
	a.id = m.id + 1; /* wrong id */
	deliver(b, 1, &a);
	assert_int_equal(b->n_answered, 0);
	a.id = m.id;
	deliver(b, 1, &a);
	deliver(b, 1, &a);
	assert_int_equal(b->n_answered, 1);
	assert_int_equal(b->tag, 42);
	assert_int_equal(b->q.n_stray, 3);
	assert_int_equal(control_requester_deadline(&b->q).ns, MONO_NEVER.ns);
}

/* [P-32] */
static void request_is_retransmitted_with_doubling_until_its_deadline(void **state)
{
	struct bench *b = *state;
	overlay_Control m = request(overlay_Control_detach_tag, 0);
	static const uint64_t at_ms[] = {300, 900, 2100, 4500, 7500}; /* 300 600 1200 2400 3000 */
	mono_t start = b->now;

	assert_int_equal(
		control_request(&b->q, b->now, 1, &m, 1, DUR_MS(0), DUR_S(8), &b->sink), OK);
	m = last_sent(b);
	for (int i = 0; i < 5; i++) {
		b->now.ns = start.ns + DUR_MS(at_ms[i]).ns;
		assert_int_equal(control_requester_deadline(&b->q).ns, b->now.ns);
		b->now.ns--;
		control_requester_tick(&b->q, b->now, 1, &b->sink);
		assert_int_equal(b->n_sent, 1 + i);
		b->now.ns++;
		control_requester_tick(&b->q, b->now, 1, &b->sink);
		assert_int_equal(b->n_sent, 2 + i);
		assert_int_equal(last_sent(b).id, m.id);
	}
	b->now.ns = start.ns + DUR_S(8).ns;
	control_requester_tick(&b->q, b->now, 1, &b->sink);
	assert_int_equal(b->n_failed, 1);
	assert_int_equal(b->n_sent, 6);
}

/* [P-32] */
static void first_interval_follows_the_rtt(void **state)
{
	static const uint64_t cases[][2] = {
		{1, 200}, {100, 200}, {150, 300}, {500, 1000}, {900, 1000}};
	struct bench *b = *state;

	for (size_t i = 0; i < 5; i++) {
		overlay_Control m = request(overlay_Control_detach_tag, 0);

		control_requester_cancel(&b->q);
		assert_int_equal(control_request(&b->q, b->now, 1, &m, 1, DUR_MS(cases[i][0]),
					 DUR_S(8), &b->sink),
			OK);
		assert_int_equal(
			control_requester_deadline(&b->q).ns - b->now.ns, DUR_MS(cases[i][1]).ns);
	}
}

/* [P-32] */
static void window_is_bounded_and_ids_differ(void **state)
{
	struct bench *b = *state;
	uint32_t last = 0;

	for (int i = 0; i < CONTROL_WINDOW; i++) {
		overlay_Control m = request(overlay_Control_detach_tag, 0);

		assert_int_equal(
			control_request(&b->q, b->now, 1, &m, 1, DUR_MS(0), DUR_S(8), &b->sink),
			OK);
		assert_true(last_sent(b).id > last);
		last = last_sent(b).id;
	}
	overlay_Control m = request(overlay_Control_detach_tag, 0);
	assert_int_equal(
		control_request(&b->q, b->now, 1, &m, 1, DUR_MS(0), DUR_S(8), &b->sink), ERR_FULL);
}

/* [P-36] */
static void echo_returns_its_nonce(void **state)
{
	struct bench *b = *state;
	overlay_Control a;

	assert_int_equal(control_echo(&b->q, 1, 777, &b->sink), OK);
	control_on_frame(&b->r, NULL, b->now, 1, b->sent, b->sent_len, &b->sink);
	a = last_sent(b);
	assert_true(a.answer);
	assert_int_equal(a.body.echo.nonce, 777);
	control_on_frame(&b->r, &b->q, b->now, 1, b->sent, b->sent_len, &b->sink);
	assert_int_equal(b->nonce, 777);
	assert_int_equal(
		control_requester_deadline(&b->q).ns, MONO_NEVER.ns); /* nothing to repeat */
}

static void verbs_answer_or_refuse_with_the_id_of_the_request(void **state)
{
	static const pb_size_t pairs[][2] = {
		{overlay_Control_extend_tag, overlay_Control_extended_tag},
		{overlay_Control_attach_tag, overlay_Control_attached_tag},
		{overlay_Control_close_tag, overlay_Control_ok_tag},
		{overlay_Control_detach_tag, overlay_Control_ok_tag},
	};
	struct bench *b = *state;

	for (uint32_t i = 0; i < 4; i++) {
		overlay_Control m = request(pairs[i][0], 100 + i);

		m.body.attach.want_ip4 = pairs[i][0] == overlay_Control_attach_tag;
		b->say = overlay_Reason_REASON_UNSPECIFIED;
		deliver(b, 1, &m);
		assert_int_equal(last_sent(b).which_body, pairs[i][1]);
		assert_int_equal(last_sent(b).id, 100 + i);
		if (m.body.attach.want_ip4)
			assert_int_equal(last_sent(b).body.attached.mtu, 1400);
		b->say = overlay_Reason_REASON_LIMIT;
		deliver(b, 1, &m);
		assert_int_equal(last_sent(b).which_body, overlay_Control_refused_tag);
		assert_int_equal(last_sent(b).body.refused.reason, overlay_Reason_REASON_LIMIT);
	}
	b->sink.extend = NULL;
	overlay_Control m = request(overlay_Control_extend_tag, 9);
	deliver(b, 1, &m);
	assert_int_equal(last_sent(b).body.refused.reason, overlay_Reason_REASON_NOT_OFFERED);
}

static overlay_Control to_service(uint32_t id)
{
	overlay_Control m = request(overlay_Control_to_service_tag, id);

	m.body.to_service.service = overlay_Service_SERVICE_LEDGER;
	m.body.to_service.payload.size = 3;
	memcpy(m.body.to_service.payload.bytes, "abc", 3);
	return m;
}

/* [P-33] */
static void to_service_is_delivered_once_and_answered_alike(void **state)
{
	struct bench *b = *state;
	overlay_Control m = to_service(5);

	deliver(b, 1, &m);
	deliver(b, 1, &m);
	assert_int_equal(b->n_asked, 1);
	assert_int_equal(b->n_sent, 0);
	assert_int_equal(
		control_answer_service(&b->r, b->now, 2, 5, NULL, 0, &b->sink), ERR_NOT_FOUND);
	assert_int_equal(
		control_answer_service(&b->r, b->now, 1, 5, (const uint8_t *)"xyz", 3, &b->sink),
		OK);
	assert_int_equal(
		control_answer_service(&b->r, b->now, 1, 5, (const uint8_t *)"xyz", 3, &b->sink),
		ERR_NOT_FOUND);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(b->n_sent, 1 + i);
		assert_memory_equal(last_sent(b).body.to_service.payload.bytes, "xyz", 3);
		assert_int_equal(
			last_sent(b).body.to_service.service, overlay_Service_SERVICE_LEDGER);
		deliver(b, 1, &m);
	}
	assert_int_equal(b->n_asked, 1);
	deliver(b, 2, &m); /* another session: another request */
	assert_int_equal(b->n_asked, 2);
	/* a new session in the same place knows nothing of it */
	control_session_gone(&b->r, 1);
	deliver(b, 1, &m);
	assert_int_equal(b->n_asked, 3);
	control_responder_tick(&b->r, b->now, &b->sink); /* forgets what the old one asked */
	assert_int_equal(b->r.answers.n_used, 2);
}

/* [P-33] [P-34] */
static void service_that_is_silent_is_busy_and_answers_are_forgotten(void **state)
{
	struct bench *b = *state;
	overlay_Control m = to_service(5);

	deliver(b, 1, &m);
	b->now.ns += CONTROL_SERVICE_PATIENCE.ns - 1;
	control_responder_tick(&b->r, b->now, &b->sink);
	assert_int_equal(b->n_sent, 0);
	b->now.ns += 1;
	control_responder_tick(&b->r, b->now, &b->sink);
	assert_int_equal(last_sent(b).body.refused.reason, overlay_Reason_REASON_BUSY);
	assert_int_equal(last_sent(b).id, 5);
	assert_int_equal(
		control_answer_service(&b->r, b->now, 1, 5, NULL, 0, &b->sink), ERR_NOT_FOUND);

	deliver(b, 1, &m);
	assert_int_equal(control_answer_service(&b->r, b->now, 1, 5, NULL, 0, &b->sink), OK);
	b->now.ns += CONTROL_ANSWER_KEPT.ns - 1;
	control_responder_tick(&b->r, b->now, &b->sink);
	deliver(b, 1, &m);
	assert_int_equal(b->n_asked, 2);
	b->now.ns += 1;
	control_responder_tick(&b->r, b->now, &b->sink);
	deliver(b, 1, &m);
	assert_int_equal(b->n_asked, 3);
}

/* [P-34] */
static void requests_in_service_are_bounded_per_session_and_in_all(void **state)
{
	struct bench *b = *state;

	for (uint32_t i = 0; i < CONTROL_SERVICE_PER_SESSION + 1; i++) {
		overlay_Control m = to_service(10 + i);
		deliver(b, 1, &m);
	}
	assert_int_equal(b->n_asked, CONTROL_SERVICE_PER_SESSION);
	assert_int_equal(last_sent(b).body.refused.reason, overlay_Reason_REASON_BUSY);
	for (uint32_t i = 0; i < 3; i++) {
		overlay_Control m = to_service(10 + i);
		deliver(b, 2, &m);
	}
	assert_int_equal(b->n_asked, ANSWERS); /* the table is full of requests under way */
	assert_int_equal(control_answer_service(&b->r, b->now, 2, 10, NULL, 0, &b->sink), OK);
	overlay_Control m = to_service(50);
	deliver(b, 3, &m); /* takes the place of the answered one */
	assert_int_equal(b->n_asked, ANSWERS + 1);
	assert_int_equal(b->r.n.evicted, 1);
}

static void service_that_is_not_there_may_be_asked_again(void **state)
{
	struct bench *b = *state;
	overlay_Control m = to_service(5);

	b->say = overlay_Reason_REASON_BUSY;
	deliver(b, 1, &m);
	assert_int_equal(last_sent(b).body.refused.reason, overlay_Reason_REASON_BUSY);
	b->say = overlay_Reason_REASON_UNSPECIFIED;
	deliver(b, 1, &m);
	assert_int_equal(b->n_asked, 2);
	assert_int_equal(control_answer_service(&b->r, b->now, 1, 5, NULL, 0, &b->sink), OK);
	m = to_service(6);
	m.body.to_service.service = (overlay_Service)9;
	deliver(b, 1, &m);
	assert_int_equal(last_sent(b).body.refused.reason, overlay_Reason_REASON_MALFORMED);
}

/* [P-35] */
static void requests_cost_tokens_and_extend_more(void **state)
{
	struct bench *b = *state;
	overlay_Control m = request(overlay_Control_extend_tag, 1);

	for (int i = 0; i < 25; i++)
		deliver(b, 1, &m);
	assert_int_equal(b->n_extended, CONTROL_TOKENS_BURST / CONTROL_TOKENS_EXTEND);
	assert_int_equal(b->r.n.over_budget, 5);
	deliver(b, 2, &m); /* another session's budget */
	assert_int_equal(b->n_extended, 21);
	b->now.ns += DUR_MS(100).ns;
	deliver(b, 1, &m);
	deliver(b, 1, &m);
	assert_int_equal(b->n_extended, 22);
}

/* [P-36] */
static void notice_is_told_and_not_answered(void **state)
{
	struct bench *b = *state;

	control_notice(&b->r, 1, overlay_Reason_REASON_PAYMENT, 7, 8, &b->sink);
	assert_int_equal(b->n_sent, 1);
	control_on_frame(&b->r, &b->q, b->now, 1, b->sent, b->sent_len, &b->sink);
	assert_int_equal(b->n_noticed, 1);
	assert_int_equal(b->n_sent, 1);
	control_on_frame(&b->r, NULL, b->now, 1, b->sent, b->sent_len, &b->sink);
	assert_int_equal(b->r.n.not_expected, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(codec_keeps_all_fields_and_ignores_padding),
		T(the_largest_message_fits_its_frame),
		T(shapes_that_make_no_sense_are_malformed),
		T(request_is_answered_once),
		T(request_is_retransmitted_with_doubling_until_its_deadline),
		T(first_interval_follows_the_rtt),
		T(window_is_bounded_and_ids_differ),
		T(echo_returns_its_nonce),
		T(verbs_answer_or_refuse_with_the_id_of_the_request),
		T(to_service_is_delivered_once_and_answered_alike),
		T(service_that_is_silent_is_busy_and_answers_are_forgotten),
		T(requests_in_service_are_bounded_per_session_and_in_all),
		T(service_that_is_not_there_may_be_asked_again),
		T(requests_cost_tokens_and_extend_more),
		T(notice_is_told_and_not_answered),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
