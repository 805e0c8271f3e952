/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control frames from a stranger, several in a row (each: 2 bytes of length, 1 of what else
 * happens, the frame), to a node that answers and asks. What decodes must encode to what decodes to
 * the same. */
#include <stdlib.h>
#include <string.h>

#include "services/tunnel/core/control.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SESSIONS 4

static struct control_responder r;
static struct control_requester q;
static int n_in_service;
static const struct control_responder_conf conf = {SESSIONS, 8};

static void on_send(void *ctx, uint32_t session, const uint8_t *frame, size_t len)
{
	overlay_Control m;

	(void)ctx;
	if (session >= SESSIONS || control_decode(frame, len, &m) != OK)
		abort(); /* we send only what we would take */
}

static void on_answered(void *ctx, uint32_t session, uint64_t tag, const overlay_Control *answer)
{
	(void)ctx, (void)session, (void)tag;
	if (!answer->answer || answer->which_body == overlay_Control_notice_tag)
		abort();
}

static void on_failed(void *ctx, uint32_t session, uint64_t tag, enum err why)
{
	(void)ctx, (void)session, (void)tag, (void)why;
}

static void on_echoed(void *ctx, uint32_t session, uint64_t nonce)
{
	(void)ctx, (void)session, (void)nonce;
}

static void on_noticed(void *ctx, uint32_t session, const overlay_Notice *notice)
{
	(void)ctx, (void)session, (void)notice;
}

static overlay_Reason on_extend(void *ctx, uint32_t session, const overlay_Extend *in)
{
	(void)ctx, (void)session;
	if (in->slot > UINT16_MAX || in->descriptor.size > sizeof(in->descriptor.bytes))
		abort();
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_attach(
	void *ctx, uint32_t session, const overlay_Attach *in, overlay_Attached *ret)
{
	(void)ctx, (void)session;
	ret->mtu = 1280;
	return in->want_ip4 ? overlay_Reason_REASON_UNSPECIFIED : overlay_Reason_REASON_LIMIT;
}

static overlay_Reason on_close(void *ctx, uint32_t session, const overlay_Close *in)
{
	(void)ctx, (void)session;
	if (in->slot > UINT16_MAX)
		abort();
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_detach(void *ctx, uint32_t session)
{
	(void)ctx, (void)session;
	return overlay_Reason_REASON_UNSPECIFIED;
}

static overlay_Reason on_to_service(
	void *ctx, uint32_t session, uint32_t request, const overlay_ToService *in)
{
	(void)ctx, (void)session, (void)request;
	if (in->payload.size > CONTROL_PAYLOAD_MAX)
		abort();
	n_in_service++;
	return overlay_Reason_REASON_UNSPECIFIED;
}

static const struct control_sink sink = {NULL, on_send, on_answered, on_failed, on_echoed,
	on_noticed, on_extend, on_attach, on_close, on_detach, on_to_service};

static void check_codec(const uint8_t *frame, size_t len)
{
	static overlay_Control a, b;
	uint8_t one[CONTROL_FRAME_MAX], two[CONTROL_FRAME_MAX];
	size_t one_len, two_len;

	if (control_decode(frame, len, &a) != OK)
		return;
	if (control_encode(&a, one, sizeof(one), &one_len) != OK ||
		control_decode(one, one_len, &b) != OK ||
		control_encode(&b, two, sizeof(two), &two_len) != OK || one_len != two_len ||
		memcmp(one, two, one_len) != 0)
		abort();
}

static void other(uint8_t what, mono_t now)
{
	overlay_Control m = {.which_body = overlay_Control_attach_tag};
	uint32_t session = what % SESSIONS;

	switch (what >> 2 & 7) {
	case 0:
		(void)!control_request(&q, now, 0, &m, what, DUR_MS(0), DUR_S(8), &sink);
		break;
	case 1:
		control_requester_tick(&q, now, 0, &sink);
		break;
	case 2:
		control_responder_tick(&r, now, &sink);
		break;
	case 3:
		control_session_gone(&r, session);
		break;
	case 4:
		(void)!control_answer_service(
			&r, now, session, what >> 5, (const uint8_t *)"answer", 6, &sink);
		break;
	default:
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint64_t mem[8192];
	const uint64_t key[2] = {1, 2};
	mono_t now = {DUR_S(100).ns};

	if (control_responder_bytes(&conf) > sizeof(mem))
		abort();
	control_responder_init(&r, &conf, mem, key);
	control_requester_init(&q);
	check_codec(data, len);
	while (len >= 3) {
		size_t n = le16_get(data);
		uint8_t what = data[2];

		data += 3;
		len -= 3;
		n = n < len ? n : len;
		other(what, now);
		control_on_frame(&r, what & 0x80 ? &q : NULL, now, what % SESSIONS, data, n, &sink);
		if (r.answers.n_used > r.answers.capacity)
			abort();
		data += n;
		len -= n;
		now.ns += DUR_MS(what).ns * 10;
	}
	return 0;
}
