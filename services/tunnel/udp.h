/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The UDP sockets of one worker: trains of messages in (recvmmsg, UDP_GRO) and out (sendmmsg,
 * UDP_SEGMENT), with sticky source addresses and the ECN bits.
 *
 * The public port is one reuseport group over all workers, in which the kernel finds the owner by the
 * receiver index (udp_bind); an onward socket is a worker's own, on a port of its own. Where the
 * kernel lacks an offload, or a device refuses it, messages go one by one. Nothing here blocks: what
 * the kernel does not take is dropped and counted. */
#ifndef TUNNEL_UDP_H
#define TUNNEL_UDP_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/err.h"
#include "lib/net.h"
#include "core/shed.h"

enum udp_kind {
	UDP_PUBLIC, /* messages to us */
	UDP_ONWARD, /* answers to what we sent on, or sent as a client */
	UDP_KINDS
};

/* IPv4 and IPv6, as index. */
enum udp_family {
	UDP_V4,
	UDP_V6,
	UDP_FAMILIES
};

/* Where messages come from and go to. */
struct udp_path {
	union {
		struct sockaddr sa;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} remote; /* sa_family 0: nowhere */
	struct in6_addr local; /* our address, if sticky; IPv4 in the first 4 bytes */
	bool sticky;
	uint8_t kind; /* enum udp_kind */
};

void udp_path_from(struct udp_path *ret, const struct net_endpoint *e, enum udp_kind kind);
void udp_path_endpoint(const struct udp_path *p, struct net_endpoint *ret);
bool udp_path_same_remote(const struct udp_path *a, const struct udp_path *b);

/* n messages, `stride` bytes apart, all of `len` but the last. */
struct train {
	uint8_t *buf;
	uint32_t n;
	uint32_t stride;
	uint32_t len;
	uint32_t last_len; /* at most len */
};

static inline uint32_t train_len(const struct train *t, uint32_t i)
{
	return i + 1 == t->n ? t->last_len : t->len;
}

/* ---- in ---- */
#define UDP_RX_ITEMS 16
#define UDP_RX_SIZE 65536u /* whole: a shorter buffer truncates the longest trains */

/* A train: messages one behind the other. */
struct udp_item {
	uint8_t *buf; /* UDP_RX_SIZE bytes */
	uint32_t len; /* 0: nothing usable came */
	uint32_t segment; /* bytes of each message but the last */
	uint8_t tos;
	struct udp_path from;
};

/* ---- out ---- */
#define UDP_TX_MESSAGES 64
#define UDP_TX_IOVS 1024
#define UDP_GSO_SEGMENTS 64   /* what every kernel with UDP_SEGMENT takes */
#define UDP_GSO_BYTES 65440u  /* below 65535 less the headers of either family */
#define UDP_CONTROL 128

struct udp_counters {
	uint64_t rx_overflow;  /* lost in the receive queue */
	uint64_t rx_truncated;
	uint64_t tx_dropped;   /* the kernel did not take them */
	uint64_t tx_resent;    /* trains sent again one by one */
};

/* A message to the kernel: pieces of one length, the last one perhaps shorter, to one address. */
struct udp_train {
	uint32_t segment; /* bytes of a piece */
	uint32_t n;
	bool full;	  /* the last piece too: more may follow */
	uint8_t tos;
	struct udp_path *origin; /* whose source address may turn out stale; NULL: nobody's */
};

struct udp_socket {
	int fd; /* -1: closed */
	uint8_t kind, family;
	bool gso;
	unsigned int n, n_iovs;
	uint32_t overflow; /* last SO_RXQ_OVFL */
	struct udp_counters counters;
	struct mmsghdr msgs[UDP_TX_MESSAGES];
	struct udp_train trains[UDP_TX_MESSAGES]; /* what is in each */
	struct iovec iovs[UDP_TX_IOVS];
	union {
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} names[UDP_TX_MESSAGES];
	_Alignas(8) uint8_t control[UDP_TX_MESSAGES][UDP_CONTROL];
};

/* One socket per worker on the same port, for both families where the machine has them. port 0: any
 * free one. A port that another process has is ERR_UNAVAILABLE, with errno. fds of a family that is
 * not there are -1. mark 0: none. worker_bits: low bits of a receiver index that name the worker. */
NODISCARD enum err udp_bind(unsigned int n_workers, unsigned int worker_bits, uint16_t port, uint32_t mark,
	int (*ret_fds)[UDP_FAMILIES], uint16_t *ret_port);
/* A worker's onward sockets, each on a port of the kernel's choice. */
NODISCARD enum err udp_bind_onward(uint32_t mark, int ret_fds[static UDP_FAMILIES]);
NODISCARD enum err udp_mark(int fd, uint32_t mark);

/* Has the kernel drop initiations as s says; a train goes as its first message does. fd -1: nothing. */
void udp_shed(int fd, const struct shed *s);
/* shed_on_initiation for msg, with the bucket that the kernel computes too. */
bool udp_shed_count(struct shed *s, mono_t now, const struct udp_path *from, const uint8_t *msg);

/* Takes over fd (-1: closes). */
void udp_socket_set(struct udp_socket *s, int fd, enum udp_kind kind, enum udp_family family);

/* Reads what is there into UDP_RX_ITEMS items; how many were used. */
unsigned int udp_receive(struct udp_socket *s, struct udp_item *const items[static UDP_RX_ITEMS]);
/* Is what waits in the kernel more than half of what it takes? False where it does not say. */
bool udp_queue_half_full(const struct udp_socket *s);
/* Queues a train, with one before it if they fit; its bytes must stay until udp_flush. *to may lose its sticky source in udp_flush,
 * and must live until then, if `lasting`; else it is copied. */
void udp_send(struct udp_socket *s, struct udp_path *to, bool lasting, const struct train *t, uint8_t tos);
/* The same for messages that lie anywhere: at[i] of len[i]. All but the last have the same length. */
void udp_send_scattered(struct udp_socket *s, const struct udp_path *to, uint8_t *const *at,
	const uint32_t *len, uint32_t n);
void udp_flush(struct udp_socket *s);
/* Is there anything to flush? */
static inline bool udp_pending(const struct udp_socket *s)
{
	return s->n > 0;
}

#endif
