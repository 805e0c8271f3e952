/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control frames to and from bytes, and what of it makes sense. */
#include <pb_decode.h>
#include <pb_encode.h>

#include "control_internal.h"

enum err control_encode(const overlay_Control *m, uint8_t *out, size_t max, size_t *ret_len)
{
	pb_ostream_t s;

	if (m->which_body == 0)
		return ERR_INVALID;
	if (max < FRAME_HEADER_SIZE)
		return ERR_TOO_LARGE;
	s = pb_ostream_from_buffer(out + FRAME_HEADER_SIZE, max - FRAME_HEADER_SIZE);
	if (!pb_encode(&s, overlay_Control_fields, m))
		return ERR_TOO_LARGE;
	out[0] = 0x20;
	out[1] = 0;
	le16_put(out + 2, (uint16_t)s.bytes_written);
	*ret_len = FRAME_HEADER_SIZE + s.bytes_written;
	return OK;
}

static bool size_is(pb_size_t size, pb_size_t a, pb_size_t b)
{
	return size == a || size == b;
}

static bool attached_ok(const overlay_Attached *a)
{
	return size_is(a->ip4.size, 0, 4) && size_is(a->ip6.size, 0, 16) &&
	       size_is(a->dns4.size, 0, 4) && size_is(a->dns6.size, 0, 16) &&
	       size_is(a->policy_digest.size, 0, 32);
}

static const struct control_shape shapes[] = {
	{overlay_Control_extend_tag, true, false, overlay_Control_extended_tag},
	{overlay_Control_extended_tag, false, true, 0},
	{overlay_Control_attach_tag, true, false, overlay_Control_attached_tag},
	{overlay_Control_attached_tag, false, true, 0},
	{overlay_Control_echo_tag, true, true, overlay_Control_echo_tag},
	{overlay_Control_close_tag, true, false, overlay_Control_ok_tag},
	{overlay_Control_detach_tag, true, false, overlay_Control_ok_tag},
	{overlay_Control_ok_tag, false, true, 0},
	{overlay_Control_refused_tag, false, true, 0},
	{overlay_Control_notice_tag, true, false, 0},
	{overlay_Control_to_service_tag, true, true, overlay_Control_to_service_tag},
};

const struct control_shape *control_shape_of(pb_size_t body)
{
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (shapes[i].body == body)
			return &shapes[i];
	return NULL;
}

/* [P-30] */
bool control_sensible(const overlay_Control *m)
{
	const struct control_shape *s = control_shape_of(m->which_body);

	if (s == NULL || !(m->answer ? s->answer : s->request))
		return false;
	if (m->id == 0 && m->which_body != overlay_Control_notice_tag)
		return false;
	if (m->which_body == overlay_Control_extend_tag)
		return m->body.extend.slot <= UINT16_MAX;
	if (m->which_body == overlay_Control_close_tag)
		return m->body.close.slot <= UINT16_MAX;
	if (m->which_body == overlay_Control_attached_tag)
		return attached_ok(&m->body.attached);
	return true;
}

enum err control_decode(const uint8_t *frame, size_t len, overlay_Control *ret_m)
{
	size_t body_len;
	pb_istream_t s;

	if (len < FRAME_HEADER_SIZE || frame[0] != 0x20 || frame[1] != 0)
		return ERR_MALFORMED;
	body_len = le16_get(frame + 2);
	if (body_len > len - FRAME_HEADER_SIZE || body_len > overlay_Control_size)
		return ERR_MALFORMED;
	s = pb_istream_from_buffer(frame + FRAME_HEADER_SIZE, body_len);
	if (!pb_decode(&s, overlay_Control_fields, ret_m) || !control_sensible(ret_m))
		return ERR_MALFORMED;
	return OK;
}
