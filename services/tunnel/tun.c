/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: linux Documentation/networking/tuntap.rst, linux/if_tun.h. */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

static unsigned int offloads_set(int fd)
{
	const unsigned int tso = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	if (ioctl(fd, TUNSETOFFLOAD, tso | TUN_F_USO4 | TUN_F_USO6) == 0)
		return OFFLOAD_CAP_TCP4 | OFFLOAD_CAP_TCP6 | OFFLOAD_CAP_UDP4 | OFFLOAD_CAP_UDP6;
	if (ioctl(fd, TUNSETOFFLOAD, tso) == 0)
		return OFFLOAD_CAP_TCP4 | OFFLOAD_CAP_TCP6;
	return 0;
}

static int queue_open(const char *name, bool multi_queue, char ret_name[IFNAMSIZ])
{
	struct ifreq r = {0};
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	memcpy(r.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	r.ifr_flags = (short)(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (multi_queue ? IFF_MULTI_QUEUE : 0));
	if (ioctl(fd, TUNSETIFF, &r) != 0) {
		int e = errno;

		close(fd);
		errno = e;
		return -1;
	}
	memcpy(ret_name, r.ifr_name, IFNAMSIZ);
	return fd;
}

enum err tun_open(const char *name, unsigned int n, struct tun_kind *ret_kind, int *ret_fds)
{
	*ret_kind = (struct tun_kind){.vnet = true, .multi_queue = n > 1};
	for (unsigned int i = 0; i < n; i++) {
		ret_fds[i] = queue_open(i == 0 ? name : ret_kind->name, n > 1, ret_kind->name);
		if (ret_fds[i] < 0) {
			int e = errno;

			while (i-- > 0)
				close(ret_fds[i]);
			errno = e;
			return ERR_IO;
		}
	}
	ret_kind->caps = offloads_set(ret_fds[0]);
	return OK;
}

enum err tun_adopt(int fd, struct tun_kind *ret_kind)
{
	struct ifreq r = {0};

	if (ioctl(fd, TUNGETIFF, &r) != 0 || (r.ifr_flags & IFF_TUN) == 0 || (r.ifr_flags & IFF_NO_PI) == 0 ||
		fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
		return ERR_INVALID;
	*ret_kind = (struct tun_kind){.vnet = (r.ifr_flags & IFF_VNET_HDR) != 0};
	memcpy(ret_kind->name, r.ifr_name, IFNAMSIZ);
	if (ret_kind->vnet)
		ret_kind->caps = offloads_set(fd);
	return OK;
}

enum err tun_name(int fd, char ret_name[static IFNAMSIZ])
{
	struct ifreq r = {0};

	if (ioctl(fd, TUNGETIFF, &r) != 0)
		return ERR_UNAVAILABLE;
	memcpy(ret_name, r.ifr_name, IFNAMSIZ);
	return OK;
}

enum err tun_queue_use(int fd, bool on)
{
	struct ifreq r = {.ifr_flags = (short)(on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE)};

	/* EINVAL: it is as it should be already. */
	return ioctl(fd, TUNSETQUEUE, &r) == 0 || errno == EINVAL ? OK : ERR_IO;
}

ssize_t tun_read(struct tun *t)
{
	ssize_t n = read(t->fd, t->read_buf, TUN_READ_MAX);

	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : n;
}

enum err tun_parse(const struct tun_kind *k, const uint8_t *buf, size_t len, struct offload_super *ret)
{
	return k->vnet ? offload_parse(buf, len, ret) : offload_parse_plain(buf, len, ret);
}

void tun_write(struct tun *t, struct iovec *iov, size_t n_iov)
{
	const size_t skip = t->kind->vnet ? 0 : 1; /* a device without virtio header has no joined runs */

	if (t->fd < 0 || writev(t->fd, iov + skip, (int)(n_iov - skip)) < 0)
		t->tx_refused++;
}
