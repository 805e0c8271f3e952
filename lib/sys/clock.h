/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only readers of clocks. */
#ifndef SYS_CLOCK_H
#define SYS_CLOCK_H

#include "lib/units.h"

mono_t mono_now(void);
wall_t wall_now(void);

#endif
