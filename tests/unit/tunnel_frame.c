/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "services/tunnel/core/frame.h"

/* [P-1] */
static void first_nibble_tells_the_kind(void **state)
{
	static const enum frame_kind kinds[16] = {FRAME_BAD, FRAME_RELAY, FRAME_CONTROL, FRAME_BAD,
		FRAME_IP4, FRAME_BAD, FRAME_IP6, FRAME_BAD, FRAME_BAD, FRAME_BAD, FRAME_BAD,
		FRAME_BAD, FRAME_BAD, FRAME_BAD, FRAME_BAD, FRAME_BAD};

	(void)state;
	assert_int_equal(frame_kind(NULL, 0), FRAME_KEEPALIVE);
	for (int first = 0; first < 256; first++) {
		uint8_t b = (uint8_t)first;

		assert_int_equal(frame_kind(&b, 1), kinds[first >> 4]);
	}
}

/* [P-2] */
static void relay_frame_is_header_slot_and_message(void **state)
{
	uint8_t f[FRAME_HEADER_SIZE + 3] = {0};
	const uint8_t *msg;
	uint16_t slot;
	size_t len;

	(void)state;
	frame_relay_put(f, 0xabcd);
	assert_memory_equal(f, ((uint8_t[]){0x10, 0, 0xcd, 0xab}), 4);
	assert_true(frame_relay_get(f, sizeof(f), &slot, &msg, &len));
	assert_int_equal(slot, 0xabcd);
	assert_ptr_equal(msg, f + 4);
	assert_int_equal(len, 3);
	for (size_t n = 0; n <= FRAME_HEADER_SIZE; n++)
		assert_false(frame_relay_get(f, n, &slot, &msg, &len));
	f[1] = 1; /* a flag that nobody knows yet */
	assert_false(frame_relay_get(f, sizeof(f), &slot, &msg, &len));
	f[1] = 0;
	f[0] = 0x11;
	assert_false(frame_relay_get(f, sizeof(f), &slot, &msg, &len));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_nibble_tells_the_kind),
		cmocka_unit_test(relay_frame_is_header_slot_and_message),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
