/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "lib/descriptor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What decodes is canonical: only its exact bytes say it (signing is over those bytes). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct descriptor d;

	if (descriptor_decode(data, len, &d) != OK)
		return 0;
	if (len != DESCRIPTOR_SIZE || strlen(d.name) > 23 || strlen(d.country) > 2)
		abort();
	(void)!descriptor_valid_at(&d, (wall_t){1800000000}, true);
	(void)!descriptor_verify(data);
	return 0;
}
