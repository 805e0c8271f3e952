/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loaded before the C library (LD_PRELOAD) it makes a program's clock run TEST_CLOCK_SPEED times as fast
 * from the program's start on, and its waiting by epoll accordingly shorter. The wall clock is left alone. */
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

static int (*real_gettime)(clockid_t clock, struct timespec *ret);
static int (*real_wait)(int fd, struct epoll_event *events, int max, int timeout);
static uint64_t speed = 1, began;

static uint64_t ns_of(const struct timespec *t)
{
	return (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec;
}

__attribute__((constructor)) static void begin(void)
{
	const char *s = getenv("TEST_CLOCK_SPEED");
	struct timespec t;

	*(void **)&real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
	*(void **)&real_wait = dlsym(RTLD_NEXT, "epoll_wait");
	speed = s != NULL ? strtoull(s, NULL, 10) : 1;
	real_gettime(CLOCK_MONOTONIC, &t);
	began = ns_of(&t);
}

int clock_gettime(clockid_t clock, struct timespec *ret)
{
	const int e = real_gettime(clock, ret);
	uint64_t ns;

	if (e != 0 || (clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME))
		return e;
	ns = began + (ns_of(ret) - began) * speed;
	*ret = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
	return 0;
}

int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	return real_wait(fd, events, max, timeout > 0 ? (int)(((uint64_t)timeout + speed - 1) / speed) : timeout);
}
