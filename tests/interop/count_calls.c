/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preloaded (LD_PRELOAD): says at the end how often memory was asked for, a lock taken, packets moved. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static atomic_ulong n_allocations, n_locks, n_moves;

void *malloc(size_t n)
{
	n_allocations++;
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	n_allocations++;
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	n_allocations++;
	return __libc_realloc(p, n);
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
	static int (*_Atomic real)(pthread_mutex_t *);

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "pthread_mutex_lock");
	n_locks++;
	return real(m);
}

#define MOVES(type, name, parameters, ...)                      \
	type name parameters                                    \
	{                                                       \
		static type(*_Atomic real) parameters;          \
                                                                \
		if (real == NULL)                               \
			*(void **)&real = dlsym(RTLD_NEXT, #name); \
		n_moves++;                                      \
		return real(__VA_ARGS__);                       \
	}
MOVES(ssize_t, read, (int fd, void *p, size_t n), fd, p, n)
MOVES(ssize_t, writev, (int fd, const struct iovec *v, int n), fd, v, n)
MOVES(int, recvmmsg, (int fd, struct mmsghdr *m, unsigned int n, int flags, struct timespec *t), fd, m, n, flags, t)
MOVES(int, sendmmsg, (int fd, struct mmsghdr *m, unsigned int n, int flags), fd, m, n, flags)

__attribute__((destructor)) static void say(void)
{
	fprintf(stderr, "count_calls: allocations=%lu locks=%lu moves=%lu\n", n_allocations, n_locks, n_moves);
}
