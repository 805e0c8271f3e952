/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "text.h"

#include <stdint.h>
#include <string.h>

/* Bytes of the valid character at s, 0 if there is none. The NUL at the end of the text is no
 * second or later byte, so nothing behind it is read. RFC 3629 section 4. */
static size_t character(const uint8_t *s)
{
	uint8_t low = 0x80, high = 0xbf; /* of the second byte */
	size_t n;

	if (s[0] < 0x80)
		return s[0] >= 0x20 && s[0] != 0x7f ? 1 : 0;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void text_clean(char *s, size_t size)
{
	if (size == 0)
		return;
	s[size - 1] = '\0';
	for (size_t i = 0; s[i] != '\0';) {
		size_t n = character((const uint8_t *)s + i);

		if (n == 0) {
			s[i] = '?';
			n = 1;
		}
		i += n;
	}
}
