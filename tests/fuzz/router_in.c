/* SPDX-License-Identifier: GPL-2.0-or-later */
/* RouterIn from bytes: decoded as the bus does, taken in, stepped. Several messages in one input,
 * each after two bytes of length. */
#include <pb_decode.h>

#include "tests/harness/router_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MESSAGES_MAX 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_world *w = fuzz_world_get();
	char why[NOTE_MAX];

	vpn_on_link(&w->r, true, w->now);
	for (int i = 0; i < MESSAGES_MAX && len >= 2; i++) {
		static mvpn_RouterIn in;
		size_t n = data[0] | (size_t)data[1] << 8;

		data += 2;
		len -= 2;
		n = n < len ? n : len;
		memset(&in, 0, sizeof(in));
		pb_istream_t s = pb_istream_from_buffer(data, n);
		if (pb_decode(&s, mvpn_RouterIn_fields, &in)) {
			(void)!intake(&w->r, &in, w->now, why);
			CHECK(memchr(why, 0, sizeof(why)) != NULL);
		}
		data += n;
		len -= n;
		w->now.mono = mono_add(w->now.mono, DUR_MS(300));
		vpn_step(&w->r, w->now);
		fuzz_invariants(w);
	}
	fuzz_report(w);
	return 0;
}
