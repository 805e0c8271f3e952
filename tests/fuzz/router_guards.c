/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guards file: whatever is read is bounded, and what is taken comes back the same. */
#include <stdlib.h>
#include <string.h>

#include "services/router/core/guards.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const struct when now = {{1}, {20000LL * DAY_S}};
	static char text[GUARDS_TEXT_MAX], again[GUARDS_TEXT_MAX];
	struct guards g, back;

	if (len >= sizeof(text))
		return 0;
	memcpy(text, data, len);
	text[len] = '\0';
	if (guards_decode(text, now, &g) != OK)
		return 0;
	if (g.n > GUARDS_MAX || guards_encode(&g, again) >= sizeof(again))
		abort();
	if (guards_decode(again, now, &back) != OK || back.n != g.n)
		abort();
	for (size_t i = 0; i < g.n; i++)
		if (memcmp(back.all[i].node_id, g.all[i].node_id, NODE_ID_SIZE) != 0 ||
			back.all[i].expires_day != g.all[i].expires_day)
			abort();
	return 0;
}
