/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The settings file: what is accepted is written back and read again as the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/gateway/core/settings.h"

#define TEXT_MAX 8192

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct settings a = {.n_hops = 3, .pay = true}, b = a;
	char text[TEXT_MAX], again[SETTINGS_TEXT_MAX], why[CONF_WHY_MAX];
	size_t len = size < sizeof(text) - 1 ? size : sizeof(text) - 1;

	memcpy(text, data, len);
	text[len] = '\0';
	if (settings_parse(text, &a, why) != OK)
		return 0;
	settings_show(&a, again);
	if (settings_parse(again, &b, why) != OK)
		abort();
	a.version = b.version = SETTINGS_VERSION;
	if (memcmp(&a, &b, sizeof(a)) != 0)
		abort();
	return 0;
}
