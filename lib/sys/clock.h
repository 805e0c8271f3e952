/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only readers of clocks. */
#ifndef SYS_CLOCK_H
#define SYS_CLOCK_H

#include <stdint.h>

#include "lib/units.h"

mono_t mono_now(void);
wall_t wall_now(void);
/* Nanoseconds since 1970, for WireGuard's handshake labels. */
uint64_t wall_now_ns(void);

#endif
