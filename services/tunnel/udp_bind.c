/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making the sockets, and the program by which the kernel finds the owner of a message.
 * Sources: socket(7) SO_ATTACH_REUSEPORT_CBPF, SO_ATTACH_FILTER, linux/filter.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/udp.h>
#include <string.h>
#include <unistd.h>

#include "core/messages.h"
#include "udp.h"

#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define UDP_BUFFER (7 << 20) /* bytes: at 10 Gbit/s about 5 ms of being busy elsewhere */

static void option_try(int fd, int level, int name, int value)
{
	/* All of these only make it faster or finer; without them it still works. */
	(void)!setsockopt(fd, level, name, &value, sizeof(value));
}

enum err udp_mark(int fd, uint32_t mark)
{
	return fd < 0 || setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) == 0 ? OK : ERR_IO;
}

static void buffers_set(int fd)
{
	option_try(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER);
	option_try(fd, SOL_SOCKET, SO_SNDBUF, UDP_BUFFER);
	option_try(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER);
	option_try(fd, SOL_SOCKET, SO_SNDBUFFORCE, UDP_BUFFER);
	option_try(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	option_try(fd, SOL_UDP, UDP_GRO, 1);
}

static int socket_new(enum udp_family family, uint32_t mark)
{
	const int fd = socket(family == UDP_V4 ? AF_INET : AF_INET6,
		SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	buffers_set(fd);
	if (family == UDP_V4) {
		option_try(fd, IPPROTO_IP, IP_PKTINFO, 1);
		option_try(fd, IPPROTO_IP, IP_RECVTOS, 1);
		/* Whoever is on the way may cut our packets: what a path takes is not ours to learn. */
		option_try(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	} else {
		option_try(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
		option_try(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
		option_try(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
	}
	if (mark != 0 && udp_mark(fd, mark) != OK) {
		close(fd);
		return -1;
	}
	return fd;
}

static int bind_to(int fd, enum udp_family family, uint16_t port)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};

	return family == UDP_V4 ? bind(fd, (struct sockaddr *)&in4, sizeof(in4))
				: bind(fd, (struct sockaddr *)&in6, sizeof(in6));
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) != 0)
		return 0;
	return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
					    : ((struct sockaddr_in6 *)&a)->sin6_port);
}

/* Number in the group for a message: the low bits of its receiver index for types 2 to 4; for type 1
 * and all else the hash of where it comes from, so that a client's handshakes meet the same worker. */
static void steer(int fd, unsigned int n, unsigned int worker_bits, enum udp_family family)
{
	/* Words are loaded in network order: a message's type is in the highest byte. */
	const uint32_t net = (uint32_t)SKF_NET_OFF, mask = (1u << worker_bits) - 1;
	const uint32_t source = family == UDP_V4 ? 12 : 20, ports = family == UDP_V4 ? 20 : 40;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x04000000, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x03000000, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x02000000, 0, 5),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 8), /* a response's receiver index */
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 4),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask),
		BPF_STMT(BPF_RET | BPF_A, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + ports),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, net + source),
		BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, 0x9e3779b1),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 16),
		BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, n),
		BPF_STMT(BPF_RET | BPF_A, 0),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	/* Without it the kernel spreads by its own hash, and workers hand over what is not theirs. */
	(void)!setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program));
}

/* Offsets of the message from the UDP header, where a socket's filter begins. */
#define AT_MESSAGE 8u
#define AT_MAC2 (AT_MESSAGE + (uint32_t)offsetof(struct wg_initiation, macs.mac2))

void udp_shed(int fd, const struct shed *s)
{
	const struct shed_kind *plain = &s->kinds[false], *mac2 = &s->kinds[true];
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_MESSAGE),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0x01000000, 0, 24),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 0), /* source port */
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_MAC2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
		BPF_STMT(BPF_LDX | BPF_IMM, 0),
		/* All of an IPv4 source; of IPv6 the second word: whoever has a /64 has the rest. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_NET_OFF + 12),
		BPF_STMT(BPF_ALU | BPF_XOR | BPF_X, 0),
		BPF_STMT(BPF_ALU | BPF_MUL | BPF_K, s->salt),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 27),
		BPF_STMT(BPF_MISC | BPF_TAX, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, AT_MAC2),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 6, 0),
		BPF_STMT(BPF_LD | BPF_IMM, mac2->hot),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_X, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 9),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_RANDOM),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SHED_ALL - 1),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, mac2->keep, 7, 6),
		BPF_STMT(BPF_LD | BPF_IMM, plain->hot),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_X, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 1, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_RANDOM),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SHED_ALL - 1),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, plain->keep, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};
	const int unused = 0;

	/* Without it a full queue sheds, data as well. */
	if (fd >= 0 && shed_works(s))
		(void)!setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
	else if (fd >= 0)
		(void)!setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof(unused));
}

bool udp_shed_count(struct shed *s, mono_t now, const struct udp_path *from, const uint8_t *msg)
{
	const bool v4 = from->remote.sa.sa_family == AF_INET;
	const uint32_t source = v4 ? ntohl(from->remote.in4.sin_addr.s_addr)
				   : be32_get(from->remote.in6.sin6_addr.s6_addr + 4);
	const uint16_t port = ntohs(v4 ? from->remote.in4.sin_port : from->remote.in6.sin6_port);

	const bool mac2 = le32_get(msg + AT_MAC2 - AT_MESSAGE) != 0;

	return shed_on_initiation(s, now, mac2, shed_bucket(s, source, mac2 ? 0 : port));
}

static void close_all(unsigned int n, int (*fds)[UDP_FAMILIES], enum udp_family family)
{
	for (unsigned int i = 0; i < n; i++) {
		if (fds[i][family] >= 0)
			close(fds[i][family]);
		fds[i][family] = -1;
	}
}

/* The first binds alone, so that a port in use is seen; then it lets the others join. */
static enum err family_bind(unsigned int n, unsigned int worker_bits, enum udp_family family,
	uint16_t port, uint32_t mark, int (*fds)[UDP_FAMILIES], uint16_t *ret_port)
{
	const int on = 1;
	int e;

	for (unsigned int i = 0; i < n; i++) {
		int fd = fds[i][family] = socket_new(family, mark);

		if (fd < 0)
			goto fail;
		if (i > 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
			goto fail;
		if (bind_to(fd, family, port) != 0)
			goto fail;
		if (i == 0 && n > 1 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
			goto fail;
		port = port_of(fd);
	}
	if (n > 1)
		steer(fds[0][family], n, worker_bits, family);
	*ret_port = port;
	return OK;
fail:
	e = errno;
	close_all(n, fds, family);
	errno = e;
	return e == EAFNOSUPPORT ? ERR_NOT_FOUND : ERR_UNAVAILABLE;
}

#define UDP_BIND_TRIES 100 /* a free IPv4 port may be taken in IPv6 */

enum err udp_bind(unsigned int n_workers, unsigned int worker_bits, uint16_t port, uint32_t mark,
	int (*ret_fds)[UDP_FAMILIES], uint16_t *ret_port)
{
	for (int try = 0;; try++) {
		uint16_t got = port, got6;
		enum err e4, e6;

		for (unsigned int i = 0; i < n_workers; i++)
			ret_fds[i][UDP_V4] = ret_fds[i][UDP_V6] = -1;
		e4 = family_bind(n_workers, worker_bits, UDP_V4, port, mark, ret_fds, &got);
		if (e4 != OK && e4 != ERR_NOT_FOUND)
			return e4;
		got6 = got;
		e6 = family_bind(n_workers, worker_bits, UDP_V6, got, mark, ret_fds, &got6);
		if (e6 == OK || (e6 == ERR_NOT_FOUND && e4 == OK)) {
			*ret_port = got6;
			return OK;
		}
		int e = errno;
		close_all(n_workers, ret_fds, UDP_V4);
		errno = e;
		if (port != 0 || e != EADDRINUSE || try == UDP_BIND_TRIES)
			return e6;
	}
}

enum err udp_bind_onward(uint32_t mark, int ret_fds[static UDP_FAMILIES])
{
	ret_fds[UDP_V4] = socket_new(UDP_V4, mark);
	ret_fds[UDP_V6] = socket_new(UDP_V6, mark);
	for (int f = 0; f < UDP_FAMILIES; f++) {
		if (ret_fds[f] >= 0 && bind_to(ret_fds[f], f, 0) != 0) {
			close(ret_fds[f]);
			ret_fds[f] = -1;
		}
	}
	return ret_fds[UDP_V4] >= 0 || ret_fds[UDP_V6] >= 0 ? OK : ERR_UNAVAILABLE;
}
