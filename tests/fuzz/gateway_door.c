/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers of a browser's request, all three questions: nobody gets in without the token. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "services/gateway/core/door.h"
#include "services/gateway/core/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char token[] = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE";
	char header[DOOR_HEADER_MAX], parsed[DOOR_TOKEN_LEN + 1];
	size_t len = size < sizeof(header) - 1 ? size : sizeof(header) - 1;

	memcpy(header, data, len);
	header[len] = '\0';
	if (door_token_ok(header, token) && strstr(header, token) == NULL)
		abort();
	if (door_origin_ok(header, 8787) && !door_host_ok(header + strlen("http://"), 8787))
		abort();
	if (door_host_ok(header, 8787) && strstr(header, ":8787") == NULL)
		abort();
	if (door_token_parse(header, parsed) == OK && strlen(parsed) != DOOR_TOKEN_LEN)
		abort();
	text_clean(header, sizeof(header));
	if (strlen(header) != strnlen((const char *)data, len))
		abort();
	return 0;
}
