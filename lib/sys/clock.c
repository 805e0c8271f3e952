/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "clock.h"

#include <time.h>

mono_t mono_now(void)
{
	struct timespec t;

	/* Boot time, so that a laptop that slept knows that its keys are old. */
	clock_gettime(CLOCK_BOOTTIME, &t);
	return (mono_t){(uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec};
}

wall_t wall_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (wall_t){t.tv_sec};
}

uint64_t wall_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
