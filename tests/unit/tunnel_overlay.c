/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The wiring of a relay with ten thousand sessions: what they cost in memory, and what its ledger is told
 * when it comes up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/rng.h"
#include "proto/ledger.pb.h"
#include "services/tunnel/overlay_internal.h"
#include "services/tunnel/worker.h"

#define SESSIONS 10000u
#define PIECE 512u

static uint32_t n_opened, n_usage, n_other;
static unsigned int times[SESSIONS];
static struct rng rng;
static struct overlay *o;
static const mono_t now = {1000000000};
static bool there = true; /* the services that are told */
static overlay_Control sent;

static bool op_tell(void *ctx, enum role to, const void *msg)
{
	const mvpn_LedgerIn *m = msg;
	uint32_t session;

	(void)ctx;
	assert_int_equal(to, ROLE_LEDGER);
	if (m->which_body == mvpn_LedgerIn_session_opened_tag) {
		n_opened++;
		assert_non_null(record_by_number(o, m->body.session_opened.session, &session));
		times[session]++;
	} else if (m->which_body == mvpn_LedgerIn_session_usage_tag) {
		n_usage++;
	} else {
		n_other++;
	}
	return there;
}

static void op_send(void *ctx, uint32_t session, const uint8_t *payload, size_t len)
{
	(void)ctx;
	(void)session;
	assert_int_equal(control_decode(payload, len, &sent), OK);
}

static size_t rss_at_start;

static size_t rss(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int start(void **state)
{
	static const uint8_t seed[32] = {1};
	const struct overlay_conf conf = {
		.sessions_max = SESSIONS, .strangers_max = SESSIONS, .legs_max = SESSIONS, .have_ip4 = true};
	const struct overlay_ops ops = {.tell = op_tell, .session_send = op_send};

	(void)state;
	rng_init(&rng, seed);
	rss_at_start = rss();
	if (overlay_new(&o, &conf, &ops, &rng, now) != OK)
		return -1;
	for (uint32_t s = 0; s < SESSIONS; s++)
		overlay_stranger_new(o, now, s);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	overlay_free(&o);
	return 0;
}

static void forget(void)
{
	n_opened = n_usage = n_other = 0;
	memset(times, 0, sizeof(times));
}

static void who_never_asked_for_anything_is_not_told(void **state)
{
	uint32_t cursor = 0;

	(void)state;
	forget();
	assert_int_equal(overlay_snapshot(o, now, ROLE_LEDGER, &cursor, PIECE), 0);
	assert_int_equal(n_opened + n_usage + n_other, 0);
}

static void ten_thousand_sessions_are_told_in_pieces_once_each(void **state)
{
	uint32_t cursor = 0, n, pieces = 0, sum = 0;

	(void)state;
	for (uint32_t s = 0; s < SESSIONS; s++)
		stranger_tell_opened(o, s);
	forget();
	do {
		const uint32_t before = n_opened + n_usage;

		n = overlay_snapshot(o, now, ROLE_LEDGER, &cursor, PIECE);
		assert_int_equal(n_opened + n_usage - before, 2 * n);
		assert_true(n <= PIECE);
		sum += n;
		pieces++;
	} while (n == PIECE);
	assert_int_equal(sum, SESSIONS);
	assert_int_equal(pieces, SESSIONS / PIECE + 1);
	assert_int_equal(n_other, 0);
	for (uint32_t s = 0; s < SESSIONS; s++)
		assert_int_equal(times[s], 1);
}

static void a_piece_can_be_told_again(void **state)
{
	uint32_t cursor = 3 * PIECE, again = cursor;

	(void)state;
	forget();
	assert_int_equal(overlay_snapshot(o, now, ROLE_LEDGER, &cursor, PIECE), PIECE);
	assert_int_equal(overlay_snapshot(o, now, ROLE_LEDGER, &again, PIECE), PIECE);
	assert_int_equal(cursor, again);
	for (uint32_t s = 0; s < SESSIONS; s++)
		assert_int_equal(times[s], s >= 3 * PIECE && s < cursor ? 2 : 0);
}

/* A node that starts: its tunnel answers before its other services do. */
static void a_question_for_a_service_that_is_not_there_is_refused_and_can_be_asked_again(void **state)
{
	overlay_Control m = {.id = 7, .which_body = overlay_Control_to_service_tag};
	uint8_t frame[CONTROL_FRAME_MAX];
	size_t len;

	(void)state;
	forget();
	m.body.to_service.service = overlay_Service_SERVICE_LEDGER;
	m.body.to_service.payload.size = 3;
	assert_int_equal(control_encode(&m, frame, sizeof(frame), &len), OK);
	there = false;
	overlay_on_control(o, now, 5, frame, len);
	assert_int_equal(sent.id, 7);
	assert_int_equal(sent.which_body, overlay_Control_refused_tag);
	assert_int_equal(sent.body.refused.reason, overlay_Reason_REASON_BUSY);
	there = true;
	forget();
	sent = (overlay_Control){0};
	overlay_on_control(o, now, 5, frame, len);
	assert_int_equal(n_other, 1);
	assert_int_equal(sent.which_body, 0); /* its service will answer */
}

/* What the worker keeps besides: its place, indices and directory at the half load at which they grow. */
#define WORKER_IDLE (sizeof(struct peer) + 2 * sizeof(struct indices_entry) + 2 * sizeof(struct directory_entry))

static void memory_of_a_session(void **state)
{
	const size_t overlay = (rss() - rss_at_start) / SESSIONS;
	/* One that is idle has lost its keys; one that is active has all three pairs and goes on to two hops. */
	const size_t idle = overlay + WORKER_IDLE;
	const size_t active = idle + SESSION_KEYPAIRS * (sizeof(struct keypair) + 2 * sizeof(struct indices_entry)) +
		2 * sizeof(struct circuit_leg);

	(void)state;
	print_message("idle %zu bytes, active %zu bytes\n", idle, active);
	assert_true(overlay > sizeof(struct session_record)); /* it was measured */
	assert_true(idle < 2048);
	assert_true(active < 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_never_asked_for_anything_is_not_told),
		cmocka_unit_test(ten_thousand_sessions_are_told_in_pieces_once_each),
		cmocka_unit_test(a_piece_can_be_told_again),
		cmocka_unit_test(a_question_for_a_service_that_is_not_there_is_refused_and_can_be_asked_again),
		cmocka_unit_test(memory_of_a_session),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
