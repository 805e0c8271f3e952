/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A TUN device: making it, its queues, and super-packets in and out of one queue.
 *
 * IFF_VNET_HDR with TSO and USO where the kernel has them; less where it has less, down to a device
 * without virtio header (handed in by WG_TUN_FD). One queue per worker (IFF_MULTI_QUEUE). The exit's device
 * has a program that finds the queue by the destination (tun_steer); without it the kernel learns which
 * queue a flow belongs to from what that queue writes. */
#ifndef TUNNEL_TUN_H
#define TUNNEL_TUN_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/err.h"
#include "core/offload.h"

#define TUN_READ_MAX (OFFLOAD_VHDR + OFFLOAD_SUPER_MAX)
/* Packets that wait in the device: all fragments of the largest datagram fit, and few more, for what
 * waits here is latency: all flows wait behind each other. One TCP stream, RTT of others meanwhile (median, by turns):
 * 16 packets 4.8 Gbit/s and 1.3 ms, but 8,000 retransmissions and no datagram of 43 fragments; 128 packets 5.7 and
 * 1.7 ms without one; 128 and fair queues behind (backlog.c) 5.3 and 0.8 ms. */
#define TUN_QUEUE_LEN 128

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
	uint64_t rx_bad, tx_refused;
	struct offload_joiner joiner;
};

/* Makes the device, or attaches to it if it is there and free; n queues. name may hold a %d. fds
 * are non-blocking. ERR_IO with errno: EPERM, EBUSY, ENOENT (/dev/net/tun). */
NODISCARD enum err tun_open(const char *name, unsigned int n, struct tun_kind *ret_kind, int *ret_fds);
/* Takes a descriptor that somebody made: what is it? ERR_INVALID: no TUN device. */
NODISCARD enum err tun_adopt(int fd, struct tun_kind *ret_kind);
/* Name now: it may have been renamed. ERR_UNAVAILABLE: the device is gone. */
NODISCARD enum err tun_name(int fd, char ret_name[static IFNAMSIZ]);
/* Does the device outlive its last descriptor? What comes to it then is dropped. */
NODISCARD enum err tun_keep(int fd, bool on);
/* A queue that is set aside gets no packets. */
NODISCARD enum err tun_queue_use(int fd, bool on);
/* Each packet of fd's device goes to the queue that the low worker_bits of its destination name. ERR_UNAVAILABLE:
 * not with this kernel or these privileges (errno); then the kernel goes by flows, as it learns them. */
NODISCARD enum err tun_steer(int fd, unsigned int worker_bits);

/* Next super-packet into buf (TUN_READ_MAX bytes); bytes with the virtio header if there is one. 0: none now;
 * below 0: the device is gone or down (errno). */
ssize_t tun_read(struct tun *t, uint8_t *buf);
/* Header and packet as tun_read left it, or as another worker's queue gave it. */
NODISCARD enum err tun_parse(const struct tun_kind *k, const uint8_t *buf, size_t len, struct offload_super *ret);
/* Writes run i of t->joiner. iov: of offload_run_iov. */
void tun_write(struct tun *t, struct iovec *iov, size_t n_iov);

#endif
