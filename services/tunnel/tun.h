/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TUN device: making it, its queues, and super-packets in and out of one queue.
 *
 * IFF_VNET_HDR with TSO and USO where the kernel has them; less where it has less, down to a device
 * without virtio header (handed in by WG_TUN_FD). One queue per worker (IFF_MULTI_QUEUE); the kernel
 * learns which queue a flow belongs to from what that queue writes. */
#ifndef TUNNEL_TUN_H
#define TUNNEL_TUN_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "core/offload.h"
#include "core/ring.h"

#define TUN_READ_MAX (OFFLOAD_VHDR + OFFLOAD_SUPER_MAX)
/* Bytes that wait for us, in our own queue: 1 MB is 1.7 ms at 5 Gbit/s. The device's own queue counts packets,
 * whether of 64 bytes or of 64 KB, so it is emptied into this one all the time. */
#define TUN_QUEUE_BYTES (1u << 20)
/* Packets up to this many bytes still find room where no super-packet does: they are not what fills it. */
#define TUN_SHORT 2048

/* What the device can do, the same for all its queues. */
struct tun_kind {
	char name[IFNAMSIZ];
	bool vnet;	   /* virtio header before each packet */
	bool multi_queue;
	unsigned int caps; /* enum offload_cap: may be written joined */
};

/* One queue. */
struct tun {
	const struct tun_kind *kind;
	int fd; /* -1: no queue here */
	uint64_t rx_full, tx_refused;
	struct offload_joiner joiner;
	struct ring queue;  /* what was read; TUN_QUEUE_BYTES */
	uint8_t *spare_buf; /* TUN_READ_MAX bytes for what is read to be dropped; shared by a worker's tuns */
};

/* Makes the device, or attaches to it if it is there and free; n queues. name may hold a %d. fds
 * are non-blocking. ERR_IO with errno: EPERM, EBUSY, ENOENT (/dev/net/tun). */
NODISCARD enum err tun_open(const char *name, unsigned int n, struct tun_kind *ret_kind, int *ret_fds);
/* Takes a descriptor that somebody made: what is it? ERR_INVALID: no TUN device. */
NODISCARD enum err tun_adopt(int fd, struct tun_kind *ret_kind);
/* Name now: it may have been renamed. ERR_UNAVAILABLE: the device is gone. */
NODISCARD enum err tun_name(int fd, char ret_name[static IFNAMSIZ]);
/* A queue that is set aside gets no packets. */
NODISCARD enum err tun_queue_use(int fd, bool on);

/* Reads at most `most` super-packets into the queue; when that is full, the newest are dropped and
 * counted. ERR_UNAVAILABLE: the device is gone or down (errno). */
NODISCARD enum err tun_drain(struct tun *t, unsigned int most);
/* Oldest super-packet in the queue, with the virtio header if there is one; NULL: none. It may be
 * changed in place until tun_release. */
uint8_t *tun_peek(struct tun *t, size_t *ret_len);
void tun_release(struct tun *t);
/* Header and packet as tun_peek gave it, or as another worker's queue did. */
NODISCARD enum err tun_parse(const struct tun_kind *k, const uint8_t *buf, size_t len, struct offload_super *ret);
/* Writes run i of t->joiner. iov: of offload_run_iov. */
void tun_write(struct tun *t, struct iovec *iov, size_t n_iov);

#endif
