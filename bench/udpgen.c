/* SPDX-License-Identifier: GPL-2.0-or-later */
/* UDP at a given rate, and what of it arrives; round trips, sleeping between them (ping spins when its
 * interval is short).
 *
 *	udpgen recv PORT SIZE			one line for each burst that was followed by silence: datagrams
 *	udpgen send ADDRESS PORT SIZE RATE MS	one line: datagrams sent, datagrams asked for
 *	udpgen ping ADDRESS COUNT		one line for each echo that came back: microseconds
 */
#include <arpa/inet.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#define BURST_MAX 64
#define SIZE_MAX_ 1400
#define GRO_MAX 65536
#define RCVBUF (16 << 20)
#define PACE_NS 100000
#define SILENCE_US 250000
#define PING_NS 10000000u
#define ECHO_SIZE 64

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static unsigned long number(const char *text)
{
	return strtoul(text, NULL, 10);
}

static _Noreturn void receive(uint16_t port, unsigned long size)
{
	static char buf[GRO_MAX];
	const struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	const struct timeval silence = {.tv_usec = SILENCE_US};
	const int on = 1, room = RCVBUF;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	uint64_t n = 0;

	if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof(silence)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)) != 0 ||
		setsockopt(fd, IPPROTO_UDP, UDP_GRO, &on, sizeof(on)) != 0)
		die("udpgen recv");
	for (;;) {
		ssize_t len = recv(fd, buf, sizeof(buf), 0);

		if (len > 0) {
			n += (uint64_t)len / size;
		} else if (n > 0) {
			printf("%llu\n", (unsigned long long)n);
			fflush(stdout);
			n = 0;
		}
	}
}

/* An answer that came: its number is the time at which it was sent. */
static void echo_read(int fd, uint16_t id)
{
	uint8_t buf[512];
	ssize_t len = recv(fd, buf, sizeof(buf), 0);
	const uint64_t now = now_ns();
	const size_t head = len > 0 ? (buf[0] & 15) * 4u : 0;
	struct icmphdr h;
	uint64_t sent;

	if (len < (ssize_t)(head + ECHO_SIZE))
		return;
	memcpy(&h, buf + head, sizeof(h));
	memcpy(&sent, buf + head + sizeof(h), sizeof(sent));
	if (h.type == ICMP_ECHOREPLY && h.un.echo.id == id)
		printf("%.1f\n", (double)(now - sent) / 1e3);
}

static void echo_send(int fd, uint16_t id, uint16_t number)
{
	uint16_t words[ECHO_SIZE / 2] = {0};
	struct icmphdr h = {.type = ICMP_ECHO, .un.echo = {.id = id, .sequence = number}};
	const uint64_t now = now_ns();
	uint32_t sum = 0;

	memcpy(words, &h, sizeof(h));
	memcpy(words + sizeof(h) / 2, &now, sizeof(now));
	for (size_t i = 0; i < ECHO_SIZE / 2; i++)
		sum += words[i];
	sum = (sum & 0xffff) + (sum >> 16);
	words[1] = (uint16_t)~(sum + (sum >> 16));
	if (send(fd, words, sizeof(words), 0) < 0)
		die("udpgen ping");
}

static void ping(int fd, unsigned long count)
{
	const uint16_t id = (uint16_t)now_ns();
	const uint64_t began = now_ns();

	for (unsigned long i = 0; i <= count + 100; i++) { /* then a second for the last ones */
		const uint64_t until = began + (i + 1) * PING_NS;

		if (i < count)
			echo_send(fd, id, (uint16_t)i);
		for (uint64_t now = now_ns(); now < until; now = now_ns()) {
			const struct timespec left = {.tv_nsec = (long)(until - now)};
			struct pollfd p = {.fd = fd, .events = POLLIN};

			if (ppoll(&p, 1, &left, NULL) > 0)
				echo_read(fd, id);
		}
	}
}

static void send_paced(int fd, unsigned long size, double rate, double ms)
{
	static char data[SIZE_MAX_];
	struct iovec iov = {data, size};
	struct mmsghdr m[BURST_MAX];
	const uint64_t began = now_ns();
	uint64_t sent = 0, ns;

	for (size_t i = 0; i < BURST_MAX; i++)
		m[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	while ((ns = now_ns() - began) < (uint64_t)(ms * 1e6)) {
		const uint64_t due = (uint64_t)(rate * (double)ns / 1e9);

		if (due <= sent) {
			nanosleep(&(struct timespec){.tv_nsec = PACE_NS}, NULL);
			continue;
		}
		int n = sendmmsg(fd, m, (unsigned int)(due - sent < BURST_MAX ? due - sent : BURST_MAX), 0);

		if (n < 0)
			die("udpgen send");
		sent += (uint64_t)n;
	}
	/* What the sender itself could not send in time counts as asked for. */
	printf("%llu %llu\n", (unsigned long long)sent, (unsigned long long)(rate * ms / 1e3));
}

int main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "recv") == 0)
		receive((uint16_t)number(argv[2]), number(argv[3]));
	if (argc == 7 && strcmp(argv[1], "send") == 0 && number(argv[4]) <= SIZE_MAX_) {
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[3]))};
		int fd = socket(AF_INET, SOCK_DGRAM, 0);

		prctl(PR_SET_TIMERSLACK, 1);
		if (inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || fd < 0 ||
			connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
			die("udpgen send");
		send_paced(fd, number(argv[4]), (double)number(argv[5]), (double)number(argv[6]));
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "ping") == 0) {
		struct sockaddr_in to = {.sin_family = AF_INET};
		int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);

		if (inet_pton(AF_INET, argv[2], &to.sin_addr) != 1 || fd < 0 ||
			connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0)
			die("udpgen ping");
		ping(fd, number(argv[3]));
		return 0;
	}
	fprintf(stderr, "usage: udpgen recv PORT SIZE | send ADDRESS PORT SIZE RATE MS | ping ADDRESS COUNT\n");
	return 2;
}
