/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources: linux Documentation/networking/tuntap.rst, linux/if_tun.h; bpf(2). */
#include "tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_tun.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
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

enum err tun_keep(int fd, bool on)
{
	return ioctl(fd, TUNSETPERSIST, on ? 1 : 0) == 0 ? OK : ERR_IO;
}

enum err tun_queue_use(int fd, bool on)
{
	struct ifreq r = {.ifr_flags = (short)(on ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE)};

	/* EINVAL: it is as it should be already. */
	return ioctl(fd, TUNSETQUEUE, &r) == 0 || errno == EINVAL ? OK : ERR_IO;
}

#define LOAD_BYTE(at) {.code = BPF_LD | BPF_ABS | BPF_B, .imm = (at)}

enum err tun_steer(int fd, unsigned int worker_bits)
{
	const struct bpf_insn code[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = BPF_REG_6, .src_reg = BPF_REG_1},
		LOAD_BYTE(0), /* version */
		{.code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = BPF_REG_0, .imm = 4},
		{.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_0, .imm = 6, .off = 2},
		LOAD_BYTE(19), /* last byte of the destination */
		{.code = BPF_JMP | BPF_JA, .off = 1},
		LOAD_BYTE(39),
		{.code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = BPF_REG_0, .imm = (1 << worker_bits) - 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	union bpf_attr a = {.prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
		.insns = (uintptr_t)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (uintptr_t)"GPL"};
	int prog = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a)), r;

	if (prog < 0)
		return ERR_UNAVAILABLE;
	r = ioctl(fd, TUNSETSTEERINGEBPF, &prog);
	close(prog); /* the device has it */
	return r == 0 ? OK : ERR_UNAVAILABLE;
}

ssize_t tun_read(struct tun *t, uint8_t *buf)
{
	ssize_t n = read(t->fd, buf, TUN_READ_MAX);

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
