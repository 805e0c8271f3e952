/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Receiving and sending. Sources: udp(7), ip(7), ipv6(7), recvmmsg(2). */
#include "udp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* --- paths -------------------------------------------------------------------------------------- */
void udp_path_from(struct udp_path *ret, const struct net_endpoint *e, enum udp_kind kind)
{
	memset(ret, 0, sizeof(*ret));
	ret->kind = (uint8_t)kind;
	if (e->addr.family == NET_IP4) {
		ret->remote.in4.sin_family = AF_INET;
		ret->remote.in4.sin_port = htons(e->port);
		memcpy(&ret->remote.in4.sin_addr, e->addr.ip, 4);
	} else if (e->addr.family == NET_IP6) {
		ret->remote.in6.sin6_family = AF_INET6;
		ret->remote.in6.sin6_port = htons(e->port);
		memcpy(&ret->remote.in6.sin6_addr, e->addr.ip, 16);
	}
}

void udp_path_endpoint(const struct udp_path *p, struct net_endpoint *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (p->remote.sa.sa_family == AF_INET) {
		ret->addr.family = NET_IP4;
		memcpy(ret->addr.ip, &p->remote.in4.sin_addr, 4);
		ret->port = ntohs(p->remote.in4.sin_port);
	} else if (p->remote.sa.sa_family == AF_INET6) {
		ret->addr.family = NET_IP6;
		memcpy(ret->addr.ip, &p->remote.in6.sin6_addr, 16);
		ret->port = ntohs(p->remote.in6.sin6_port);
	}
}

bool udp_path_same_remote(const struct udp_path *a, const struct udp_path *b)
{
	if (a->remote.sa.sa_family != b->remote.sa.sa_family)
		return false;
	if (a->remote.sa.sa_family == AF_INET)
		return a->remote.in4.sin_port == b->remote.in4.sin_port &&
			a->remote.in4.sin_addr.s_addr == b->remote.in4.sin_addr.s_addr;
	return a->remote.in6.sin6_port == b->remote.in6.sin6_port &&
		a->remote.in6.sin6_scope_id == b->remote.in6.sin6_scope_id &&
		memcmp(&a->remote.in6.sin6_addr, &b->remote.in6.sin6_addr, 16) == 0;
}

void udp_socket_set(struct udp_socket *s, int fd, enum udp_kind kind, enum udp_family family)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = fd;
	s->kind = (uint8_t)kind;
	s->family = (uint8_t)family;
	s->gso = fd >= 0;
	s->n = s->n_iovs = 0;
	s->overflow = 0;
}

/* --- in ------------------------------------------------------------------------------------------- */
static void local_get(struct udp_path *p, const struct cmsghdr *c)
{
	if (c->cmsg_level == IPPROTO_IP) {
		struct in_pktinfo i;

		memcpy(&i, CMSG_DATA(c), sizeof(i));
		memcpy(&p->local, &i.ipi_addr, 4);
		/* Answers to what came to a broadcast address cannot come from it. */
		p->sticky = memcmp(&i.ipi_addr, &i.ipi_spec_dst, 4) == 0;
	} else {
		struct in6_pktinfo i;

		memcpy(&i, CMSG_DATA(c), sizeof(i));
		p->local = i.ipi6_addr;
		p->sticky = !IN6_IS_ADDR_MULTICAST(&i.ipi6_addr);
	}
}

static void control_get(struct udp_socket *s, struct udp_item *it, struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		uint32_t v = 0;
		size_t n = c->cmsg_len - CMSG_LEN(0);

		memcpy(&v, CMSG_DATA(c), n < sizeof(v) ? n : sizeof(v));
		if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
			it->segment = v & 0xffff;
		} else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) ||
			(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)) {
			local_get(&it->from, c);
		} else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) ||
			(c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)) {
			it->tos = (uint8_t)v;
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
			s->counters.rx_overflow += v - s->overflow;
			s->overflow = v;
		}
	}
}

/* What message i brought. */
static void item_finish(struct udp_socket *s, struct udp_item *it, struct mmsghdr *m)
{
	const bool truncated = (m->msg_hdr.msg_flags & MSG_TRUNC) != 0;

	it->len = truncated ? 0 : m->msg_len;
	s->counters.rx_truncated += truncated;
	it->segment = 0;
	it->tos = 0;
	it->from.sticky = false;
	it->from.kind = s->kind;
	control_get(s, it, &m->msg_hdr);
	if (it->segment == 0 || it->segment > it->len)
		it->segment = it->len;
}

unsigned int udp_receive(struct udp_socket *s, struct udp_item *const items[static UDP_RX_ITEMS])
{
	_Alignas(8) uint8_t control[UDP_RX_ITEMS][UDP_CONTROL + 64];
	struct mmsghdr msgs[UDP_RX_ITEMS];
	struct iovec iov[UDP_RX_ITEMS];
	int n;

	for (unsigned int i = 0; i < UDP_RX_ITEMS; i++) {
		iov[i] = (struct iovec){items[i]->buf, UDP_RX_SIZE};
		msgs[i].msg_hdr = (struct msghdr){
			.msg_name = &items[i]->from.remote,
			.msg_namelen = sizeof(items[i]->from.remote),
			.msg_iov = &iov[i],
			.msg_iovlen = 1,
			.msg_control = control[i],
			.msg_controllen = sizeof(control[i]),
		};
	}
	n = recvmmsg(s->fd, msgs, UDP_RX_ITEMS, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++)
		item_finish(s, items[i], &msgs[i]);
	return n > 0 ? (unsigned int)n : 0;
}

bool udp_queue_half_full(const struct udp_socket *s)
{
	uint32_t info[SK_MEMINFO_VARS] = {0};
	socklen_t len = sizeof(info);

	if (getsockopt(s->fd, SOL_SOCKET, SO_MEMINFO, info, &len) != 0)
		return false;
	return info[SK_MEMINFO_RMEM_ALLOC] > info[SK_MEMINFO_RCVBUF] / 2;
}

/* --- out ------------------------------------------------------------------------------------------ */
static void control_add(struct msghdr *h, int level, int type, const void *data, size_t len)
{
	struct cmsghdr *c = (struct cmsghdr *)((uint8_t *)h->msg_control + h->msg_controllen);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(len);
	memcpy(CMSG_DATA(c), data, len);
	h->msg_controllen += CMSG_SPACE(len);
}

static void local_put(struct msghdr *h, const struct udp_path *to)
{
	if (to->remote.sa.sa_family == AF_INET) {
		struct in_pktinfo i = {0};

		memcpy(&i.ipi_spec_dst, &to->local, 4);
		control_add(h, IPPROTO_IP, IP_PKTINFO, &i, sizeof(i));
	} else {
		struct in6_pktinfo i = {.ipi6_addr = to->local};

		control_add(h, IPPROTO_IPV6, IPV6_PKTINFO, &i, sizeof(i));
	}
}

/* A new message; its pieces follow. */
static void message_begin(struct udp_socket *s, const struct udp_path *to, uint8_t tos, uint32_t segment,
	struct udp_path *origin)
{
	struct msghdr *h;
	const int tos_word = tos;

	if (s->n == UDP_TX_MESSAGES)
		udp_flush(s);
	h = &s->msgs[s->n].msg_hdr;
	*h = (struct msghdr){
		.msg_name = &s->names[s->n],
		.msg_iov = &s->iovs[s->n_iovs],
		.msg_control = s->control[s->n],
	};
	if (s->family == UDP_V4) {
		s->names[s->n].in4 = to->remote.in4;
		h->msg_namelen = sizeof(struct sockaddr_in);
	} else {
		s->names[s->n].in6 = to->remote.in6;
		h->msg_namelen = sizeof(struct sockaddr_in6);
	}
	/* First, so that the source can be left off when the address is gone (control_strip). */
	if (tos != 0 && s->family == UDP_V4)
		control_add(h, IPPROTO_IP, IP_TOS, &tos_word, sizeof(tos_word));
	else if (tos != 0)
		control_add(h, IPPROTO_IPV6, IPV6_TCLASS, &tos_word, sizeof(tos_word));
	if (to->sticky)
		local_put(h, to);
	s->trains[s->n] = (struct udp_train){.segment = segment, .tos = tos, .origin = origin};
	s->n++;
}

static uint32_t pieces_at_once(const struct udp_socket *s, uint32_t len)
{
	uint32_t n = UDP_GSO_BYTES / len;

	if (!s->gso || n == 0)
		return 1;
	return n < UDP_GSO_SEGMENTS ? n : UDP_GSO_SEGMENTS;
}

static bool same_name(const struct udp_socket *s, const struct udp_path *to)
{
	const struct sockaddr_in *a4 = &s->names[s->n - 1].in4;
	const struct sockaddr_in6 *a6 = &s->names[s->n - 1].in6;

	if (s->family == UDP_V4)
		return a4->sin_addr.s_addr == to->remote.in4.sin_addr.s_addr &&
			a4->sin_port == to->remote.in4.sin_port;
	return a6->sin6_port == to->remote.in6.sin6_port && a6->sin6_scope_id == to->remote.in6.sin6_scope_id &&
		memcmp(&a6->sin6_addr, &to->remote.in6.sin6_addr, 16) == 0;
}

/* Pieces of this kind that the last message still takes. Only trains of one peer are joined, or
 * such as go out by whatever address the kernel takes. */
static uint32_t room_in_last(const struct udp_socket *s, const struct udp_path *to, uint8_t tos,
	uint32_t segment, const struct udp_path *origin)
{
	const uint32_t most = pieces_at_once(s, segment);
	const struct udp_train *t;

	if (s->n == 0)
		return 0;
	t = &s->trains[s->n - 1];
	if (!t->full || t->segment != segment || t->tos != tos || t->origin != origin ||
		(origin == NULL && to->sticky) || !same_name(s, to))
		return 0;
	return most > t->n ? most - t->n : 0;
}

/* Room for some of n pieces in the last message, or in a new one that becomes the last. */
static uint32_t room_make(struct udp_socket *s, const struct udp_path *to, uint8_t tos, uint32_t segment,
	uint32_t n, struct udp_path *origin)
{
	uint32_t room;

	if (s->n_iovs + (n < UDP_GSO_SEGMENTS ? n : UDP_GSO_SEGMENTS) > UDP_TX_IOVS)
		udp_flush(s);
	room = room_in_last(s, to, tos, segment, origin);
	if (room == 0) {
		message_begin(s, to, tos, segment, origin);
		room = pieces_at_once(s, segment);
	}
	return n < room ? n : room;
}

static void pieces_add(struct udp_socket *s, uint8_t *buf, size_t bytes, uint32_t n, uint32_t last)
{
	struct udp_train *t = &s->trains[s->n - 1];

	s->iovs[s->n_iovs++] = (struct iovec){buf, bytes};
	s->msgs[s->n - 1].msg_hdr.msg_iovlen++;
	t->n += n;
	t->full = last == t->segment;
}

void udp_send(struct udp_socket *s, struct udp_path *to, bool lasting, const struct train *t, uint8_t tos)
{
	uint32_t n;

	for (uint32_t i = 0; i < t->n; i += n) {
		n = room_make(s, to, tos, t->len, t->n - i, lasting ? to : NULL);
		if (t->stride == t->len || n == 1) {
			const uint32_t last = train_len(t, i + n - 1);

			pieces_add(s, t->buf + (size_t)i * t->stride, (size_t)(n - 1) * t->len + last, n, last);
			continue;
		}
		for (uint32_t k = i; k < i + n; k++)
			pieces_add(s, t->buf + (size_t)k * t->stride, train_len(t, k), 1, train_len(t, k));
	}
}

void udp_send_scattered(struct udp_socket *s, const struct udp_path *to, uint8_t *const *at,
	const uint32_t *len, uint32_t n)
{
	uint32_t some;

	for (uint32_t i = 0; i < n; i += some) {
		some = room_make(s, to, 0, len[i], n - i, NULL);
		for (uint32_t k = i; k < i + some; k++)
			pieces_add(s, at[k], len[k], 1, len[k]);
	}
}

/* Says how trains are to be cut: known only now, for they may have grown. */
static void messages_finish(struct udp_socket *s)
{
	for (unsigned int i = 0; i < s->n; i++) {
		struct msghdr *h = &s->msgs[i].msg_hdr;
		const uint16_t segment = (uint16_t)s->trains[i].segment;

		if (s->trains[i].n > 1)
			control_add(h, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment));
		if (h->msg_controllen == 0)
			h->msg_control = NULL;
	}
}

/* --- what the kernel says to it ------------------------------------------------------------------- */
/* Control data of h without the segment size, and without the source address if it is stale. */
static void control_strip(struct msghdr *h, bool stale_source)
{
	struct cmsghdr *c;
	size_t keep = 0;

	for (c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
		bool source = c->cmsg_type == (c->cmsg_level == IPPROTO_IP ? IP_PKTINFO : IPV6_PKTINFO);

		if (c->cmsg_level == SOL_UDP || (source && stale_source))
			break;
		keep += CMSG_SPACE(c->cmsg_len - CMSG_LEN(0));
	}
	h->msg_controllen = keep;
	if (keep == 0)
		h->msg_control = NULL;
}

static bool has_source(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c))
		if (c->cmsg_type == (c->cmsg_level == IPPROTO_IP ? IP_PKTINFO : IPV6_PKTINFO) &&
			c->cmsg_level != SOL_UDP)
			return true;
	return false;
}

/* One by one what was to go as a train. */
static void send_singly(struct udp_socket *s, struct msghdr *h, uint16_t segment)
{
	struct msghdr one = *h;

	for (size_t v = 0; v < h->msg_iovlen; v++) {
		const struct iovec all = h->msg_iov[v];

		for (size_t at = 0; at < all.iov_len; at += segment) {
			struct iovec iov = {(uint8_t *)all.iov_base + at,
				all.iov_len - at < segment ? all.iov_len - at : segment};

			one.msg_iov = &iov;
			one.msg_iovlen = 1;
			if (sendmsg(s->fd, &one, MSG_DONTWAIT) < 0)
				s->counters.tx_dropped++;
		}
	}
}

static bool source_may_be_stale(int e)
{
	return e == EINVAL || e == ENETUNREACH || e == EHOSTUNREACH || e == EADDRNOTAVAIL;
}

/* Message i was refused with errno e: send it in a form that may pass, or count it. */
static void refused(struct udp_socket *s, unsigned int i, int e)
{
	struct msghdr *h = &s->msgs[i].msg_hdr;
	const uint16_t segment = s->trains[i].n > 1 ? (uint16_t)s->trains[i].segment : 0;
	const bool stale = source_may_be_stale(e) && has_source(h);

	if (e == EIO && segment != 0)
		s->gso = false; /* the device cannot do it */
	if (segment == 0 && !stale) {
		s->counters.tx_dropped++;
		return;
	}
	if (stale && s->trains[i].origin != NULL)
		s->trains[i].origin->sticky = false;
	control_strip(h, stale);
	s->counters.tx_resent++;
	send_singly(s, h, segment != 0 ? segment : UINT16_MAX);
}

void udp_flush(struct udp_socket *s)
{
	unsigned int done = 0;

	messages_finish(s);
	while (done < s->n) {
		int n = sendmmsg(s->fd, s->msgs + done, s->n - done, MSG_DONTWAIT);

		if (n > 0) {
			done += (unsigned int)n;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno == EAGAIN || errno == ENOBUFS) {
			s->counters.tx_dropped += s->n - done;
			break;
		}
		refused(s, done++, errno);
	}
	s->n = s->n_iovs = 0;
}
