/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text on its way to the page. A browser refuses a whole message for one bad byte in a string, and
 * nanopb does not look at strings, so each one is made valid UTF-8 without control characters.
 * Pure. */
#ifndef GATEWAY_TEXT_H
#define GATEWAY_TEXT_H

#include <stddef.h>

/* Replaces what is not valid UTF-8 (overlong forms, surrogates, past U+10FFFF, a cut sequence) and
 * control characters by '?', byte by byte; the length stays. `size` bytes at most are looked at and
 * the last of them becomes NUL if none is. */
void text_clean(char *s, size_t size);

#endif
