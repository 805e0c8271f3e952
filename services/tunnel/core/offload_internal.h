/* SPDX-License-Identifier: GPL-2.0-or-later */
/* virtio_net_hdr and TCP header facts that both halves of offload use. */
#ifndef TUNNEL_OFFLOAD_INTERNAL_H
#define TUNNEL_OFFLOAD_INTERNAL_H

#include <stdint.h>

struct virtio_header { /* virtio 1.2, 5.1.6; host byte order for a TUN device */
	uint8_t flags;
	uint8_t gso_type;
	uint16_t hdr_len;
	uint16_t gso_size;
	uint16_t csum_start;
	uint16_t csum_offset;
};

_Static_assert(sizeof(struct virtio_header) == 10, "as the kernel has it");

#define VIRTIO_NEEDS_CSUM 1

enum virtio_gso {
	VIRTIO_GSO_NONE = 0,
	VIRTIO_GSO_TCP4 = 1,
	VIRTIO_GSO_TCP6 = 4,
	VIRTIO_GSO_UDP_L4 = 5,
	VIRTIO_GSO_ECN = 0x80 /* with TCP: CWR is set */
};

#define TCP_FLAGS 13
#define TCP_FIN 0x01
#define TCP_PSH 0x08
#define TCP_ACK 0x10
#define TCP_CWR 0x80
#define TCP_CSUM 16
#define UDP_CSUM 6

#endif
