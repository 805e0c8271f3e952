/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Super-packets of a TUN device with IFF_VNET_HDR: cut into wire segments on the way out, joined
 * from decrypted packets on the way in. Worth a factor of 19 per packet.
 *
 * Out: offload_parse reads the virtio header and the packet (and trusts neither: hdr_len is
 * computed anew), offload_plan says how many segments of which size, offload_cut writes them,
 * headers and checksums made right, each at its final place in the buffer that will be sealed and
 * sent:
 *
 *   |<------------------- stride ------------------->|
 *   [headroom][IP packet][zero padding][tailroom][headroom][IP packet]...      (last one shorter)
 *
 * In: offload_add takes decrypted packets in order and joins runs of the same TCP flow (headers
 * equal, sequence contiguous, equal length, a shorter one or PSH ends it) or UDP flow (equal
 * length); offload_run_iov gives each run as virtio header + first packet + payloads, all in place,
 * for one writev. A packet whose inner checksum is wrong is never joined: joining would give it a
 * valid one. Fragments, IPv4 options, IPv6 extension headers, and other protocols pass through
 * alone. Order within a flow is kept.
 *
 * Pure. Source: virtio 1.2 section 5.1.6 (struct virtio_net_hdr, 10 bytes, host order). */
#ifndef TUNNEL_OFFLOAD_H
#define TUNNEL_OFFLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "lib/err.h"
#include "ip.h"

#define OFFLOAD_VHDR 10		/* bytes of the virtio header before each packet */
#define OFFLOAD_SUPER_MAX 65535 /* bytes of IP packet in one super-packet */
/* Segments of one super-packet: below this payload size a sender is not served well anyway. */
#define OFFLOAD_SEGMENTS_MAX 1024

enum offload_kind { OFFLOAD_SINGLE, OFFLOAD_TCP, OFFLOAD_UDP };

/* --- out: TUN to wire ------------------------------------------------------------------------ */
struct offload_super {
	const uint8_t *pkt; /* borrows the caller's buffer */
	struct ip_packet ip;
	enum offload_kind kind;
	uint32_t head_len;   /* IP and transport header, when cut */
	uint32_t gso_size;   /* payload bytes per segment, when cut */
	uint32_t n_segments; /* 1 for OFFLOAD_SINGLE */
	bool needs_csum;     /* the transport checksum is to be completed */
	uint16_t csum_start, csum_offset;
};

/* buf: virtio header, then the packet, len bytes in all. ERR_MALFORMED: not usable, drop;
 * ERR_TOO_LARGE: more than OFFLOAD_SEGMENTS_MAX segments. */
NODISCARD enum err offload_parse(const uint8_t *buf, size_t len, struct offload_super *ret);
/* The same for a device without virtio headers. */
NODISCARD enum err offload_parse_plain(const uint8_t *pkt, size_t len, struct offload_super *ret);

struct offload_layout {
	uint16_t headroom, tailroom;
	uint16_t pad_to; /* IP packets are padded with zeros to a multiple of this, 1: not */
	uint16_t mtu;	 /* padding does not go beyond this, 0: no limit */
};

struct offload_plan {
	uint32_t n;		      /* segments */
	uint32_t stride;	      /* bytes from one to the next */
	uint32_t len;		      /* padded IP bytes of every segment but the last */
	uint32_t last_len;	      /* of the last */
	uint32_t ip_len, last_ip_len; /* without padding */
	uint32_t total; /* bytes of output: (n - 1) * stride + headroom + last_len + tailroom */
};

void offload_plan(
	const struct offload_super *s, const struct offload_layout *l, struct offload_plan *ret);
/* Writes segments [first, first + n) of the plan; segment `first` begins at out. out has room for n
 * strides (the last one of the plan needs less: headroom + last_len + tailroom). Headroom and
 * tailroom bytes are left untouched. */
void offload_cut(const struct offload_super *s, const struct offload_layout *l,
	const struct offload_plan *p, uint32_t first, uint32_t n, uint8_t *out);

/* --- in: wire to TUN ------------------------------------------------------------------------- */
#define OFFLOAD_PACKETS 512	/* joined at once: a few UDP_GRO datagrams */
#define OFFLOAD_RUN_PACKETS 128 /* in one run; with the virtio header that many iovecs + 1 */
#define OFFLOAD_SETS 32		/* flows told apart at once: sets of */
#define OFFLOAD_WAYS 4		/* this many; more flows only join less */

enum offload_cap { /* what the device takes */
	OFFLOAD_CAP_TCP4 = 1 << 0,
	OFFLOAD_CAP_TCP6 = 1 << 1,
	OFFLOAD_CAP_UDP4 = 1 << 2,
	OFFLOAD_CAP_UDP6 = 1 << 3
};

struct offload_piece {
	uint8_t *pkt;
	uint16_t len;  /* of IP */
	uint16_t next; /* in its run; OFFLOAD_NONE ends */
};

#define OFFLOAD_NONE UINT16_MAX

struct offload_run {
	uint16_t first, last; /* pieces */
	uint16_t n;
	uint16_t head_len;
	uint16_t l4;
	uint16_t gso_size; /* payload of the first */
	uint8_t kind;	   /* enum offload_kind; SINGLE: never grows */
	uint8_t family;
	bool open;	   /* may grow */
	bool verified;	   /* the first one's checksum is right */
	uint32_t len;	   /* IP bytes of the joined packet */
	uint32_t next_seq; /* TCP */
	uint32_t hash;	   /* of the flow */
};

/* About 20 KB; one per worker. */
struct offload_joiner {
	unsigned int caps;
	uint16_t n_pieces, n_runs;
	uint16_t recent[OFFLOAD_SETS][OFFLOAD_WAYS]; /* newest run of a flow, by hash */
	struct offload_piece pieces[OFFLOAD_PACKETS];
	struct offload_run runs[OFFLOAD_PACKETS];
};

void offload_joiner_init(struct offload_joiner *j, unsigned int caps);
/* One decrypted IP packet, parsed by ip_parse. Borrows pkt (and writes its headers) until
 * offload_joiner_reset. ERR_FULL: write out and reset first. */
NODISCARD enum err offload_add(struct offload_joiner *j, uint8_t *pkt, const struct ip_packet *ip);

static inline size_t offload_runs(const struct offload_joiner *j)
{
	return j->n_runs;
}

#define OFFLOAD_IOVS (OFFLOAD_RUN_PACKETS + 1)
/* Run i (in order of arrival) as iovecs: virtio header (in vhdr), first packet with its headers
 * made right, further payloads. Returns how many iovecs. Once per run: it changes the headers in
 * place. */
size_t offload_run_iov(struct offload_joiner *j, size_t i, uint8_t vhdr[static OFFLOAD_VHDR],
	struct iovec iov[static OFFLOAD_IOVS]);
void offload_joiner_reset(struct offload_joiner *j);

#endif
