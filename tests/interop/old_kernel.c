/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Preloaded (LD_PRELOAD): the kernel answers as one does that lacks what OLD_KERNEL names:
 * "uso", "tso" (nothing joined at a TUN), "gro", "gso" (datagrams one by one). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define GRO 104
#define SEGMENT 103
#define USO 0x60

static bool lacks(const char *what)
{
	const char *all = getenv("OLD_KERNEL");

	return all != NULL && strstr(all, what) != NULL;
}

static int refuse(int e)
{
	errno = e;
	return -1;
}

int ioctl(int fd, unsigned long request, ...)
{
	int (*real)(int, unsigned long, ...);
	va_list v;
	void *arg;

	*(void **)&real = dlsym(RTLD_NEXT, "ioctl");
	va_start(v, request);
	arg = va_arg(v, void *);
	va_end(v);
	if (request == TUNSETOFFLOAD && (lacks("tso") || (lacks("uso") && ((unsigned long)arg & USO) != 0)))
		return refuse(EINVAL);
	return real(fd, request, arg);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int (*real)(int, int, int, const void *, socklen_t);

	*(void **)&real = dlsym(RTLD_NEXT, "setsockopt");
	if (level == IPPROTO_UDP && name == GRO && lacks("gro"))
		return refuse(ENOPROTOOPT);
	return real(fd, level, name, value, len);
}

/* A device without checksums in hardware refuses trains with EIO. */
static bool is_train(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == SEGMENT)
			return true;
	return false;
}

int sendmmsg(int fd, struct mmsghdr *m, unsigned int n, int flags)
{
	int (*real)(int, struct mmsghdr *, unsigned int, int);
	unsigned int good = 0;

	*(void **)&real = dlsym(RTLD_NEXT, "sendmmsg");
	while (good < n && !(lacks("gso") && is_train(&m[good].msg_hdr)))
		good++;
	return good > 0 ? real(fd, m, good, flags) : refuse(EIO);
}
