/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/route.h"

/* What a route asked of its sink, in order, as text: one letter and the hop. */
struct bench {
	uint64_t used_bytes; /* as every hop's session counts */
	struct rng rng;
	struct route r, old;
	struct route_sink sink;
	mono_t now;
	char log[4096];
	size_t len;
	uint64_t nonce[ROUTE_HOPS_MAX];
	overlay_Control body;
	enum err err;
	unsigned int blamed;
	dur_t measured;
};

static void note(struct bench *b, char what, unsigned int hop)
{
	if (b->len + 3 < sizeof(b->log)) {
		b->log[b->len++] = what;
		b->log[b->len++] = (char)('0' + hop);
		b->log[b->len] = '\0';
	}
}

static void on_open(void *ctx, struct route *r, unsigned int hop, const struct route_target *target,
	const struct net_endpoint *ep)
{
	assert_ptr_equal(target, &r->hops[hop].target);
	assert_int_equal(ep == NULL, hop > 0);
	note(ctx, 'o', hop);
}

static void on_handshake(void *ctx, struct route *r, unsigned int hop)
{
	(void)r;
	note(ctx, 'h', hop);
}

static void on_request(void *ctx, struct route *r, unsigned int hop, overlay_Control *body,
	uint64_t tag, dur_t rtt, dur_t deadline)
{
	struct bench *b = ctx;

	(void)r, (void)rtt, (void)deadline;
	b->body = *body;
	if (tag == ROUTE_TAG_EXTEND)
		assert_int_equal(body->which_body, overlay_Control_extend_tag);
	if (tag == ROUTE_TAG_DETACH)
		assert_int_equal(body->which_body, overlay_Control_detach_tag);
	note(b, tag == ROUTE_TAG_EXTEND ? 'x' : tag == ROUTE_TAG_ATTACH ? 'a' : 'd', hop);
}

static void on_echo(void *ctx, struct route *r, unsigned int hop, uint64_t nonce)
{
	struct bench *b = ctx;

	(void)r;
	b->nonce[hop] = nonce;
	note(b, 'e', hop);
}

static void on_carry(void *ctx, struct route *r, struct route *from, const struct net_endpoint *ep)
{
	assert_int_equal(ep == NULL, r->n_hops > 1);
	assert_ptr_not_equal(r, from);
	note(ctx, 'm', r->n_hops - 1);
}

static void on_end(void *ctx, struct route *r, unsigned int hop)
{
	(void)r;
	note(ctx, 'z', hop);
}

static void on_built(void *ctx, struct route *r, dur_t build_time)
{
	(void)build_time;
	note(ctx, 'B', r->n_hops - 1);
}

static void on_failed(void *ctx, struct route *r, unsigned int hop, enum err err, const char *why)
{
	struct bench *b = ctx;

	(void)r;
	assert_non_null(why);
	b->err = err;
	b->blamed = hop;
	note(b, 'F', hop);
}

static uint64_t on_used(void *ctx, struct route *r, unsigned int hop)
{
	struct bench *b = ctx;

	(void)r, (void)hop;
	return b->used_bytes;
}

static void on_suspect(void *ctx, struct route *r, unsigned int hop)
{
	(void)r;
	note(ctx, 'S', hop);
}

static void on_dead(void *ctx, struct route *r, unsigned int hop)
{
	(void)r;
	note(ctx, 'D', hop);
}

static void on_closed(void *ctx, struct route *r)
{
	(void)r;
	note(ctx, 'C', 0);
}

static void on_measured(void *ctx, struct route *r, enum err err, dur_t rtt)
{
	struct bench *b = ctx;

	(void)r;
	b->err = err;
	b->measured = rtt;
	note(b, 'M', 0);
}

static void on_reopen(void *ctx, struct route *r, unsigned int hop, const struct route_target *target,
	const struct net_endpoint *ep)
{
	assert_ptr_equal(target, &r->hops[hop].target);
	assert_int_equal(ep == NULL, hop > 0);
	note(ctx, 'r', hop);
}

static const uint8_t seed[32] = {5};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	rng_init(&b->rng, seed);
	b->sink = (struct route_sink){b, on_used, on_open, on_handshake, on_request, on_echo, on_carry,
		on_end, on_built, on_failed, on_suspect, on_dead, on_closed, on_measured,
		on_reopen};
	b->now.ns = DUR_S(100).ns;
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static struct route_target target(uint8_t n)
{
	struct route_target t = {.roles = DESCRIPTOR_RELAY | DESCRIPTOR_EXIT4 | DESCRIPTOR_EXIT6};

	t.wg_pk[0] = n;
	t.ep4 = (struct net_endpoint){{NET_IP4, {192, 0, 2, n}}, 51820};
	t.policy_digest[0] = n;
	return t;
}

static enum err init(struct bench *b, struct route *r, uint32_t id, unsigned int n_hops,
	uint8_t first, struct route *exit_of)
{
	struct route_target t[4] = {target(first), target((uint8_t)(first + 1)), target(99)};
	struct route_spec s = {.id = id,
		.purpose = ROUTE_TRAFFIC,
		.n_hops = n_hops,
		.targets = t,
		.have_ip4 = true,
		.exit_of = exit_of};

	t[n_hops - 1] = target(99);
	return route_init(r, &s, &b->rng);
}

/* What came since the last look. */
static const char *seen(struct bench *b)
{
	static char text[sizeof(b->log)];

	memcpy(text, b->log, b->len + 1);
	b->len = 0;
	b->log[0] = '\0';
	return text;
}

static overlay_Control attached(uint8_t digest)
{
	overlay_Control a = {.answer = true, .which_body = overlay_Control_attached_tag};

	a.body.attached.ip4.size = 4;
	memcpy(a.body.attached.ip4.bytes, (uint8_t[]){100, 64, 1, 20}, 4);
	a.body.attached.policy_digest.size = 32;
	memset(a.body.attached.policy_digest.bytes, 0, 32);
	a.body.attached.policy_digest.bytes[0] = digest;
	a.body.attached.mtu = 1368;
	return a;
}

static overlay_Control answer_of(pb_size_t which)
{
	return (overlay_Control){.answer = true, .which_body = which};
}

static void wait_ms(struct bench *b, uint64_t ms)
{
	b->now.ns += DUR_MS(ms).ns;
}

static void establish(struct bench *b, struct route *r, unsigned int hop, uint64_t ms)
{
	wait_ms(b, ms);
	route_on_established(r, b->now, hop, &b->sink);
}

/* Ready, RTT 50 ms per hop. */
static void build(struct bench *b, struct route *r, uint32_t id, unsigned int n_hops, uint8_t first)
{
	overlay_Control a = attached(99);

	assert_int_equal(init(b, r, id, n_hops, first, NULL), OK);
	route_start(r, b->now, &b->sink);
	for (unsigned int k = 0; k < n_hops; k++)
		establish(b, r, k, 50);
	wait_ms(b, 50);
	route_on_answer(r, b->now, n_hops - 1, ROUTE_TAG_ATTACH, &a, &b->sink);
	assert_int_equal(r->state, ROUTE_READY);
	seen(b);
}

/* [P-6] n hops, n handshake round trips; Extend right before the initiation */
static void hops_are_opened_one_after_the_other(void **state)
{
	static const char *const logs[] = {"o0a0B0", "o0x0o1a1B1", "o0x0o1x1o2a2B2"};
	struct bench *b = *state;

	for (unsigned int n = 1; n <= 3; n++) {
		overlay_Control a = attached(99);

		assert_int_equal(init(b, &b->r, n, n, 1, NULL), OK);
		route_start(&b->r, b->now, &b->sink);
		for (unsigned int k = 0; k < n; k++)
			establish(b, &b->r, k, 50);
		route_on_answer(&b->r, b->now, n - 1, ROUTE_TAG_ATTACH, &a, &b->sink);
		assert_string_equal(seen(b), logs[n - 1]);
		assert_int_equal(b->r.lease.mtu, 1368);
		assert_int_equal(b->r.lease.ip4.ip[3], 20);
		assert_int_equal(route_hop_stats(&b->r, 0).rtt_us, 50000);
	}
}

static void specs_that_make_no_route_are_refused(void **state)
{
	struct bench *b = *state;
	struct route_target t[3] = {target(1), target(2), target(3)};
	struct route_spec s = {
		.purpose = ROUTE_TRAFFIC, .n_hops = 3, .targets = t, .have_ip4 = true};

	assert_int_equal(route_init(&b->r, &s, &b->rng), OK);
	s.n_hops = 0;
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
	s.n_hops = 4;
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
	s.n_hops = 3;
	t[2] = target(1); /* twice the same */
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
	t[2] = target(3);
	t[2].roles = DESCRIPTOR_RELAY; /* no exit */
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
	t[2] = target(3);
	t[1].roles = DESCRIPTOR_EXIT4; /* no relay */
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
	t[1] = target(2);
	s.have_ip4 = false;
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_UNAVAILABLE);
	s.have_ip4 = true;
	s.purpose = ROUTE_MEASURE;
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
	s.purpose = ROUTE_TRAFFIC;
	s.exit_of = &b->old; /* not ready */
	assert_int_equal(route_init(&b->r, &s, &b->rng), ERR_INVALID);
}

static void lost_initiation_is_tried_anew(void **state)
{
	struct bench *b = *state;
	static const uint64_t after_ms[] = {500, 500, 500, 1000, 1500, 1500, 1500, 1500};

	assert_int_equal(init(b, &b->r, 1, 2, 1, NULL), OK);
	route_start(&b->r, b->now, &b->sink);
	seen(b);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(route_deadline(&b->r).ns, b->now.ns + DUR_MS(after_ms[i]).ns);
		wait_ms(b, after_ms[i]);
		b->now.ns--;
		route_tick(&b->r, b->now, &b->sink);
		assert_string_equal(seen(b), "");
		b->now.ns++;
		route_tick(&b->r, b->now, &b->sink);
		assert_string_equal(seen(b), "h0");
	}
	wait_ms(b, 1500); /* 10 s in all */
	route_tick(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "F0z0C0");
	assert_int_equal(b->err, ERR_TIMEOUT);
	assert_true(b->r.failed);
}

static void refusals_fail_the_route_and_blame_the_right_hop(void **state)
{
	static const struct {
		overlay_Reason why;
		unsigned int blamed;
	} cases[] = {
		{overlay_Reason_REASON_LIMIT, 0},
		{overlay_Reason_REASON_NOT_OFFERED, 0},
		{overlay_Reason_REASON_DESCRIPTOR, 1},
		{overlay_Reason_REASON_UNREACHABLE, 1},
		{overlay_Reason_REASON_PAYMENT, 0},
		{(overlay_Reason)77, 0},
	};
	struct bench *b = *state;
	overlay_Control a = answer_of(overlay_Control_refused_tag);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(init(b, &b->r, 1, 3, 1, NULL), OK);
		route_start(&b->r, b->now, &b->sink);
		establish(b, &b->r, 0, 50);
		seen(b);
		a.body.refused.reason = cases[i].why;
		route_on_answer(&b->r, b->now, 0, ROUTE_TAG_EXTEND, &a, &b->sink);
		assert_int_equal(b->blamed, cases[i].blamed);
		assert_int_equal(b->err, ERR_DENIED);
		assert_int_equal(b->r.state, ROUTE_CLOSING);
		route_abort(&b->r, &b->sink);
		assert_string_equal(seen(b) + 2, "d0z1z0C0");
	}
}

/* [P-7] */
static void exit_that_answers_with_another_policy_is_not_used(void **state)
{
	struct bench *b = *state;
	overlay_Control a = attached(98);

	for (int i = 0; i < 3; i++) {
		assert_int_equal(init(b, &b->r, 1, 1, 1, NULL), OK);
		route_start(&b->r, b->now, &b->sink);
		establish(b, &b->r, 0, 50);
		seen(b);
		if (i == 1) { /* an address that is not ours to have */
			a = attached(99);
			memcpy(a.body.attached.ip4.bytes, (uint8_t[]){192, 168, 1, 1}, 4);
		} else if (i == 2) { /* none at all */
			a = attached(99);
			a.body.attached.ip4.size = 0;
		}
		route_on_answer(&b->r, b->now, 0, ROUTE_TAG_ATTACH, &a, &b->sink);
		assert_string_equal(seen(b), "F0d0");
		assert_int_equal(b->err, i == 0 ? ERR_DENIED : ERR_MALFORMED);
	}
}

/* Ticks by the route's own deadlines for `ms`; hops below `alive` answer echoes after 50 ms each.
 * Data is sent all the time if `traffic`. */
static void run(struct bench *b, struct route *r, uint64_t ms, unsigned int alive, bool traffic)
{
	struct {
		mono_t at;
		uint64_t nonce;
		unsigned int hop;
	} due[64];
	size_t n_due = 0;
	mono_t end = mono_add(b->now, DUR_MS(ms));

	while (b->now.ns < end.ns && r->state == ROUTE_READY) {
		b->now.ns += DUR_MS(1).ns;
		if (traffic)
			route_on_sent(r, b->now);
		if (mono_reached(route_deadline(r), b->now)) {
			for (unsigned int k = 0; k < r->n_hops; k++)
				b->nonce[k] = 0;
			route_tick(r, b->now, &b->sink);
			for (unsigned int k = 0; k < r->n_hops && k < alive; k++) {
				if (b->nonce[k] == 0)
					continue;
				assert_true(n_due < 64);
				due[n_due].at = mono_add(b->now, DUR_MS(50 * (k + 1)));
				due[n_due].nonce = b->nonce[k];
				due[n_due++].hop = k;
			}
		}
		for (size_t i = 0; i < n_due;) {
			if (!mono_reached(due[i].at, b->now)) {
				i++;
				continue;
			}
			route_on_echo(r, b->now, due[i].hop, due[i].nonce, &b->sink);
			due[i] = due[--n_due];
		}
	}
}

static int count(const char *log, const char *what)
{
	int n = 0;

	for (; *log != '\0'; log += 2)
		n += log[0] == what[0] && log[1] == what[1];
	return n;
}

static void quiet_route_echoes_each_hop_every_two_seconds(void **state)
{
	struct bench *b = *state;
	const char *log;

	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 20100, 3, false);
	log = seen(b);
	for (int k = 0; k < 3; k++)
		assert_int_equal(count(log, (char[]){'e', (char)('0' + k), 0}), 10);
	assert_int_equal(strlen(log), 60);
	assert_in_range(route_hop_stats(&b->r, 2).rtt_us, 100000, 150000);
	assert_int_equal(route_hop_stats(&b->r, 2).loss_ppm, 0);
}

static void dead_hop_is_noticed_within_1200_ms_under_traffic(void **state)
{
	struct bench *b = *state;

	for (unsigned int dead = 0; dead < 3; dead++) {
		const char *log;

		build(b, &b->r, 1, 3, 1);
		run(b, &b->r, 5000, 3, false);
		seen(b);
		run(b, &b->r, 1250, dead, true);
		log = seen(b);
		for (unsigned int k = 0; k < 3; k++)
			assert_int_equal(count(log, (char[]){'D', (char)('0' + k), 0}), k == dead);
		run(b, &b->r, 5000, dead, true); /* said once */
		log = seen(b);
		assert_null(strchr(log, 'D'));
		assert_true(strlen(log) < 60); /* and the pace is slow again */
	}
}

/* A silent middle is suspect well before the verdict; not while the entry is silent as well (that
 * may be our own uplink), and the exit has no way round. */
static void silent_middle_is_suspect_before_it_is_dead(void **state)
{
	struct bench *b = *state;

	for (unsigned int dead = 0; dead < 3; dead++) {
		build(b, &b->r, 1, 3, 1);
		run(b, &b->r, 5000, 3, false);
		seen(b);
		run(b, &b->r, 700, dead, true);
		assert_int_equal(count(seen(b), "S1"), dead == 1);
		run(b, &b->r, 5000, dead, true);
		assert_null(strchr(seen(b), 'S'));
	}
	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 5000, 3, false);
	seen(b);
	for (int i = 0; i < 3; i++) { /* it comes back each time: each silence is told */
		run(b, &b->r, 620, 1, true);
		run(b, &b->r, 3100, 3, false);
		const char *log = seen(b);

		assert_int_equal(count(log, "S1"), 1);
		assert_null(strchr(log, 'D'));
	}
}

/* The entry waits for its payment and passes nothing: those behind it are not to blame, for a while. */
static void silence_for_want_of_payment_is_excused(void **state)
{
	struct bench *b = *state;
	const overlay_Notice want = {overlay_Reason_REASON_PAYMENT, 8 << 20, 7 << 20};
	int told = 0;

	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 5000, 3, false);
	seen(b);
	for (int s = 0; s < 13; s++) {
		const char *log;

		route_on_notice(&b->r, b->now, 0, &want, &b->sink);
		b->used_bytes += 1 << 20;
		run(b, &b->r, 1000, 1, true);
		log = seen(b);
		told += count(log, "S1") + count(log, "D1");
		assert_true(s >= 10 || told == 0);
	}
	assert_int_equal(told, 2);
}

/* It may still pass a MiB, or was paid and passed more: then it is not for that. */
static void silence_before_and_after_payment_counts(void **state)
{
	struct bench *b = *state;
	const overlay_Notice want = {overlay_Reason_REASON_PAYMENT, 8 << 20, 7 << 20};

	for (int passed = 0; passed <= 2; passed += 2) {
		build(b, &b->r, 1, 3, 1);
		run(b, &b->r, 5000, 3, false);
		seen(b);
		route_on_notice(&b->r, b->now, 0, &want, &b->sink);
		b->used_bytes += (uint64_t)passed << 20;
		run(b, &b->r, 700, 1, true);
		assert_int_equal(count(seen(b), "S1"), 1);
	}
}

static void dead_hop_is_noticed_without_traffic_too(void **state)
{
	struct bench *b = *state;

	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 4010, 3, false);
	seen(b);
	run(b, &b->r, 3300, 1, false);
	assert_int_equal(count(seen(b), "D1"), 1);
}

static void answered_data_keeps_the_alarm_off(void **state)
{
	struct bench *b = *state;

	build(b, &b->r, 1, 3, 1);
	for (int i = 0; i < 1900; i++) {
		wait_ms(b, 1);
		route_on_sent(&b->r, b->now);
		if (i % 140 == 0)
			route_on_heard(&b->r, b->now, 2);
		if (mono_reached(route_deadline(&b->r), b->now))
			route_tick(&b->r, b->now, &b->sink);
	}
	assert_string_equal(seen(b), "");
}

/* Traffic without answers (a broadcast upwards): echoes come fast, nobody is declared dead. */
static void silence_of_the_destination_is_not_death(void **state)
{
	struct bench *b = *state;
	const char *log;

	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 60000, 3, true);
	log = seen(b);
	assert_null(strchr(log, 'D'));
	assert_true(strlen(log) < 60 * 3 * 2 * 7);
}

static void own_sleep_is_not_taken_for_death(void **state)
{
	struct bench *b = *state;

	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 1000, 0, true); /* all echoes were sent, the verdict is due soon */
	assert_int_equal(b->r.hops[0].silent_echoes, ROUTE_SILENT_ECHOES);
	seen(b);
	wait_ms(b, 60000);
	route_tick(&b->r, b->now, &b->sink);
	assert_null(strchr(seen(b), 'D'));
	run(b, &b->r, 3000, 3, true);
	assert_null(strchr(seen(b), 'D'));
}

static void loss_and_jitter_show_in_the_stats(void **state)
{
	struct bench *b = *state;

	build(b, &b->r, 1, 1, 1);
	for (int i = 0; i < 32; i++) {
		b->now = route_deadline(&b->r);
		b->nonce[0] = 0;
		route_tick(&b->r, b->now, &b->sink);
		if (b->nonce[0] == 0 || i % 4 == 0)
			continue;
		wait_ms(b, i % 2 ? 20 : 60);
		route_on_echo(&b->r, b->now, 0, b->nonce[0], &b->sink);
		route_on_echo(&b->r, b->now, 0, b->nonce[0], &b->sink); /* twice counts once */
		route_on_echo(&b->r, b->now, 0, 12345, &b->sink);
	}
	assert_in_range(route_hop_stats(&b->r, 0).loss_ppm, 100000, 400000);
	assert_in_range(route_hop_stats(&b->r, 0).jitter_us, 5000, 30000);
	assert_int_equal(b->r.dead, false);
}

/* [P-9] */
static void closing_speaks_from_the_far_end_then_ends_all(void **state)
{
	struct bench *b = *state;
	overlay_Control ok = answer_of(overlay_Control_ok_tag);

	build(b, &b->r, 1, 3, 1);
	route_close(&b->r, b->now, DUR_S(10), &b->sink);
	assert_int_equal(b->r.state, ROUTE_DRAINING);
	assert_string_equal(seen(b), "");
	route_on_idle(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "d2");
	route_on_answer(&b->r, b->now, 2, ROUTE_TAG_DETACH, &ok, &b->sink);
	assert_string_equal(seen(b), "d1");
	route_on_answer(&b->r, b->now, 2, ROUTE_TAG_DETACH, &ok, &b->sink); /* again */
	assert_string_equal(seen(b), "");
	route_on_no_answer(&b->r, b->now, 1, ROUTE_TAG_DETACH, ERR_TIMEOUT, &b->sink);
	assert_string_equal(seen(b), "d0");
	route_on_answer(&b->r, b->now, 0, ROUTE_TAG_DETACH, &ok, &b->sink);
	assert_string_equal(seen(b), "z2z1z0C0");
	assert_int_equal(route_deadline(&b->r).ns, MONO_NEVER.ns);
	route_abort(&b->r, &b->sink); /* nothing more */
	assert_string_equal(seen(b), "");

	build(b, &b->r, 2, 3, 1);
	route_close(&b->r, b->now, DUR_S(1), &b->sink);
	wait_ms(b, 1000); /* drain over; and nobody answers */
	route_tick(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "d2");
	wait_ms(b, 500);
	route_tick(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "z2d1z1d0z0C0");

	build(b, &b->r, 3, 1, 1);
	route_close(&b->r, b->now, DUR_S(0), &b->sink);
	assert_string_equal(seen(b), "d0");
	route_abort(&b->r, &b->sink);
	assert_string_equal(seen(b), "z0C0");
}

static void closing_a_dead_route_tells_only_who_hears(void **state)
{
	struct bench *b = *state;
	overlay_Control ok = answer_of(overlay_Control_ok_tag);

	build(b, &b->r, 1, 3, 1);
	run(b, &b->r, 3000, 1, true);
	assert_int_equal(count(seen(b), "D1"), 1);
	route_close(&b->r, b->now, DUR_S(0), &b->sink);
	assert_string_equal(seen(b), "d0");
	route_on_answer(&b->r, b->now, 0, ROUTE_TAG_DETACH, &ok, &b->sink);
	assert_string_equal(seen(b), "z2z1z0C0");
}

/* [P-8] only the initiation goes by the new path; the session follows when it is answered, and the
 * old route keeps the rest and goes quietly */
static void exit_moves_to_a_new_path(void **state)
{
	struct bench *b = *state;

	build(b, &b->old, 1, 3, 1);
	assert_int_equal(init(b, &b->r, 2, 3, 11, &b->old), OK);
	route_start(&b->r, b->now, &b->sink);
	establish(b, &b->r, 0, 50);
	establish(b, &b->r, 1, 50);
	assert_string_equal(seen(b), "o0x0o1x1m2h2m2");
	assert_false(b->old.exit_lent);
	assert_int_equal(b->r.state, ROUTE_BUILDING);
	establish(b, &b->old, 2, 80);
	assert_string_equal(seen(b), "m2B2"); /* without Attach */
	assert_true(b->old.exit_lent);
	assert_int_equal(b->r.lease.ip4.ip[3], 20);
	assert_int_equal(route_hop_stats(&b->r, 2).rtt_us, 80000);
	route_close(&b->old, b->now, DUR_S(10), &b->sink);
	assert_string_equal(seen(b), "d1"); /* not the exit: it lives on */
	wait_ms(b, 500);
	route_tick(&b->old, b->now, &b->sink);
	assert_string_equal(seen(b), "z1d0z0C0");
	/* later handshakes of it are of no moment */
	establish(b, &b->r, 2, 80);
	route_close(&b->r, b->now, DUR_S(0), &b->sink);
	assert_string_equal(seen(b), "d2");
}

static void exit_that_does_not_follow_stays(void **state)
{
	struct bench *b = *state;

	build(b, &b->old, 1, 2, 1);
	assert_int_equal(init(b, &b->r, 2, 2, 11, &b->old), OK);
	route_start(&b->r, b->now, &b->sink);
	establish(b, &b->r, 0, 50);
	assert_string_equal(seen(b), "o0x0m1h1m1");
	b->now = b->r.hops[1].retry_at;
	route_tick(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "m1h1m1");
	b->now = b->r.build_deadline;
	route_tick(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "F1d0");
	assert_false(b->old.exit_lent);
	establish(b, &b->old, 1, 10); /* too late: an ordinary rekey */
	assert_string_equal(seen(b), "");
	route_abort(&b->r, &b->sink);
	assert_string_equal(seen(b), "z0C0"); /* not the exit's */
	route_close(&b->old, b->now, DUR_S(0), &b->sink);
	assert_string_equal(seen(b), "d1");
}

static void only_one_route_waits_for_an_exit(void **state)
{
	struct bench *b = *state;
	struct route *third = calloc(1, sizeof(*third));

	build(b, &b->old, 1, 2, 1);
	assert_int_equal(init(b, &b->r, 2, 2, 11, &b->old), OK);
	assert_int_equal(init(b, third, 3, 2, 21, &b->old), OK);
	route_start(&b->r, b->now, &b->sink);
	route_start(third, b->now, &b->sink);
	establish(b, &b->r, 0, 50);
	seen(b);
	route_on_established(third, b->now, 0, &b->sink);
	assert_string_equal(seen(b), "x0F1d0");
	establish(b, &b->old, 1, 10);
	assert_string_equal(seen(b), "m1B1");
	free(third);
}

static void old_route_that_went_away_meanwhile_cannot_lend(void **state)
{
	struct bench *b = *state;

	build(b, &b->old, 1, 2, 1);
	assert_int_equal(init(b, &b->r, 2, 2, 11, &b->old), OK);
	route_start(&b->r, b->now, &b->sink);
	route_abort(&b->old, &b->sink);
	seen(b);
	build(b, &b->old, 3, 2, 1); /* its place is used anew */
	route_on_established(&b->r, b->now, 0, &b->sink);
	assert_string_equal(seen(b), "x0F1d0");
	assert_int_equal(b->err, ERR_UNAVAILABLE);
	route_abort(&b->r, &b->sink);
	/* or it closes while the other waits: seen at the next tick */
	assert_int_equal(init(b, &b->r, 4, 2, 11, &b->old), OK);
	route_start(&b->r, b->now, &b->sink);
	establish(b, &b->r, 0, 50);
	route_close(&b->old, b->now, DUR_S(0), &b->sink);
	seen(b);
	b->now = route_deadline(&b->r);
	route_tick(&b->r, b->now, &b->sink);
	assert_string_equal(seen(b), "F1d0");
	route_abort(&b->r, &b->sink);
	assert_string_equal(seen(b), "z0C0");
}

static void measuring_gives_the_round_trip_and_ends(void **state)
{
	struct bench *b = *state;
	struct route_target t = target(1);
	struct route_spec s = {
		.id = 9, .purpose = ROUTE_MEASURE, .n_hops = 1, .targets = &t, .have_ip4 = true};

	assert_int_equal(route_init(&b->r, &s, &b->rng), OK);
	route_start(&b->r, b->now, &b->sink);
	establish(b, &b->r, 0, 40);
	for (int i = 0; i < ROUTE_MEASURE_ECHOES; i++) {
		wait_ms(b, 40);
		route_on_echo(&b->r, b->now, 0, b->nonce[0], &b->sink);
		b->now = mono_min(route_deadline(&b->r), mono_add(b->now, DUR_MS(60)));
		route_tick(&b->r, b->now, &b->sink);
	}
	assert_string_equal(seen(b), "o0e0e0e0e0e0M0d0");
	assert_int_equal(b->err, OK);
	assert_int_equal(b->measured.ns, DUR_MS(40).ns);

	assert_int_equal(route_init(&b->r, &s, &b->rng), OK);
	route_start(&b->r, b->now, &b->sink);
	establish(b, &b->r, 0, 40);
	while (b->r.state == ROUTE_BUILDING) {
		b->now = route_deadline(&b->r);
		route_tick(&b->r, b->now, &b->sink);
	}
	assert_int_equal(b->err, ERR_TIMEOUT);
	seen(b);

	assert_int_equal(route_init(&b->r, &s, &b->rng), OK);
	route_start(&b->r, b->now, &b->sink);
	route_on_session_failed(&b->r, b->now, 0, ERR_IO, &b->sink);
	assert_string_equal(seen(b), "o0M0z0C0");
	assert_int_equal(b->err, ERR_IO);
}

static void talk_is_built_by_the_handshake_and_not_watched(void **state)
{
	struct bench *b = *state;
	struct route_target t = target(1);
	struct route_spec s = {
		.id = 9, .purpose = ROUTE_TALK, .n_hops = 1, .targets = &t, .have_ip4 = true};

	t.roles = 0; /* discovery knows an address, not a descriptor */
	assert_int_equal(route_init(&b->r, &s, &b->rng), OK);
	route_start(&b->r, b->now, &b->sink);
	establish(b, &b->r, 0, 40);
	assert_string_equal(seen(b), "o0B0");
	assert_int_equal(route_deadline(&b->r).ns, MONO_NEVER.ns);
	route_close(&b->r, b->now, DUR_S(0), &b->sink);
	assert_string_equal(seen(b), "d0");
}

static void draining_relay_and_failed_session_are_told_as_dead(void **state)
{
	struct bench *b = *state;
	overlay_Notice n = {.reason = overlay_Reason_REASON_PAYMENT};

	build(b, &b->r, 1, 3, 1);
	route_on_notice(&b->r, b->now, 1, &n, &b->sink);
	assert_string_equal(seen(b), "");
	n.reason = overlay_Reason_REASON_DRAINING;
	route_on_notice(&b->r, b->now, 1, &n, &b->sink);
	route_on_notice(&b->r, b->now, 1, &n, &b->sink);
	assert_string_equal(seen(b), "D1");
	build(b, &b->r, 1, 3, 1);
	route_on_session_failed(&b->r, b->now, 2, ERR_TIMEOUT, &b->sink);
	assert_string_equal(seen(b), "D2");
	route_on_session_failed(&b->r, b->now, 7, ERR_TIMEOUT, &b->sink);
}

/* ---- resumed ---- */

static struct route_lease lease_before(void)
{
	return (struct route_lease){.ip4 = {NET_IP4, {100, 64, 1, 20}}, .mtu = 1368};
}

static void resume(struct bench *b, unsigned int n_hops)
{
	const struct route_lease lease = lease_before();

	assert_int_equal(init(b, &b->r, 1, n_hops, 1, NULL), OK);
	route_resume(&b->r, b->now, &lease, &b->sink);
}

/* [P-15] Extend is said again, for a relay that has lost its leg. */
static void resumed_route_is_ready_and_makes_its_hops_anew(void **state)
{
	struct bench *b = *state;
	overlay_Control a = attached(99);

	resume(b, 3);
	assert_int_equal(b->r.state, ROUTE_READY);
	assert_true(route_resumable(&b->r));
	assert_string_equal(seen(b), "r0r1r2h0");
	establish(b, &b->r, 0, 50);
	assert_string_equal(seen(b), "x0h1");
	establish(b, &b->r, 1, 60);
	assert_string_equal(seen(b), "x1h2");
	establish(b, &b->r, 2, 70);
	assert_string_equal(seen(b), "a2");
	assert_int_equal(route_hop_stats(&b->r, 2).rtt_us, 70000);
	route_on_answer(&b->r, b->now, 2, ROUTE_TAG_ATTACH, &a, &b->sink);
	assert_string_equal(seen(b), "");
	/* and is watched as any other */
	assert_int_equal(route_deadline(&b->r).ns, b->now.ns - DUR_MS(130).ns + ROUTE_ECHO_EVERY.ns);
}

static void lost_initiations_of_a_resumed_route_are_tried_anew_then_the_hop_is_dead(void **state)
{
	struct bench *b = *state;

	resume(b, 2);
	establish(b, &b->r, 0, 10);
	assert_string_equal(seen(b), "r0r1h0x0h1");
	for (int i = 0; i < ROUTE_RESUME_TRIES - 1; i++) {
		const char *events;

		do { /* the entry is asked how it is meanwhile */
			b->now = route_deadline(&b->r);
			route_tick(&b->r, b->now, &b->sink);
			route_on_heard(&b->r, b->now, 0);
			events = seen(b);
		} while (strcmp(events, "e0") == 0);
		assert_non_null(strstr(events, "h1"));
		assert_false(b->r.dead);
	}
	for (int i = 0; i < 9 && !b->r.dead; i++) {
		route_on_heard(&b->r, b->now, 0); /* the entry answers all the while */
		b->now = route_deadline(&b->r);
		route_tick(&b->r, b->now, &b->sink);
	}
	assert_non_null(strstr(seen(b), "D1"));
	assert_false(route_resumable(&b->r));
}

static void exit_that_lends_something_else_to_a_resumed_route_is_dead(void **state)
{
	struct bench *b = *state;
	overlay_Control a = attached(99), no = answer_of(overlay_Control_refused_tag);

	for (int refused = 0; refused < 2; refused++) {
		resume(b, 1);
		establish(b, &b->r, 0, 10);
		seen(b);
		a.body.attached.ip4.bytes[3] = 21;
		route_on_answer(&b->r, b->now, 0, ROUTE_TAG_ATTACH, refused ? &no : &a, &b->sink);
		assert_string_equal(seen(b), "D0");
	}
}

/* A dead entry does not take the flows along: the exit's session goes by another path, as ever. */
static void exit_of_a_resumed_route_moves_to_a_new_path(void **state)
{
	struct bench *b = *state;

	resume(b, 3);
	assert_int_equal(init(b, &b->old, 2, 3, 11, &b->r), OK);
	route_start(&b->old, b->now, &b->sink);
	establish(b, &b->old, 0, 50);
	establish(b, &b->old, 1, 50);
	seen(b);
	route_on_established(&b->r, b->now, 2, &b->sink); /* by the knock */
	assert_string_equal(seen(b), "m2B2");
	assert_int_equal(b->old.lease.ip4.ip[3], 20);
	assert_false(route_resumable(&b->r)); /* its exit is the other's now */
	assert_true(route_resumable(&b->old));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(hops_are_opened_one_after_the_other),
		T(specs_that_make_no_route_are_refused),
		T(lost_initiation_is_tried_anew),
		T(closing_a_dead_route_tells_only_who_hears),
		T(refusals_fail_the_route_and_blame_the_right_hop),
		T(exit_that_answers_with_another_policy_is_not_used),
		T(quiet_route_echoes_each_hop_every_two_seconds),
		T(dead_hop_is_noticed_within_1200_ms_under_traffic),
		T(silent_middle_is_suspect_before_it_is_dead),
		T(silence_for_want_of_payment_is_excused),
		T(silence_before_and_after_payment_counts),
		T(dead_hop_is_noticed_without_traffic_too),
		T(answered_data_keeps_the_alarm_off),
		T(silence_of_the_destination_is_not_death),
		T(own_sleep_is_not_taken_for_death),
		T(loss_and_jitter_show_in_the_stats),
		T(closing_speaks_from_the_far_end_then_ends_all),
		T(exit_moves_to_a_new_path),
		T(exit_that_does_not_follow_stays),
		T(only_one_route_waits_for_an_exit),
		T(old_route_that_went_away_meanwhile_cannot_lend),
		T(measuring_gives_the_round_trip_and_ends),
		T(talk_is_built_by_the_handshake_and_not_watched),
		T(draining_relay_and_failed_session_are_told_as_dead),
		T(resumed_route_is_ready_and_makes_its_hops_anew),
		T(lost_initiations_of_a_resumed_route_are_tried_anew_then_the_hop_is_dead),
		T(exit_that_lends_something_else_to_a_resumed_route_is_dead),
		T(exit_of_a_resumed_route_moves_to_a_new_path),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
