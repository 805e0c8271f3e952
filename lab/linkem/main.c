/* SPDX-License-Identifier: GPL-2.0-or-later */
/* lab-linkem: the internet of the lab in one process.
 *
 * Every host hands it a TUN device of its namespace; what a host sends is routed to the host that
 * owns the destination, after the delay, jitter, loss and rate that the links are set to. Hosts and
 * links come and go by the control socket (control.h). One thread, one epoll; no privileges needed:
 * the descriptors are passed to it. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/bytes.h"
#include "lib/sys/clock.h"
#include "control.h"

#define CLIENTS_MAX 16
/* Packets taken from one host before the next has its turn. */
#define BATCH 64
/* Packets due this soon go with those due now: fewer wake-ups for an error far below any jitter. */
#define GRAIN DUR_US(50)
#define EVENTS_MAX 64

struct loop {
	int epoll_fd, listen_fd;
	struct queue *queue;
	struct world world;
	struct control control;
	struct control_client clients[CLIENTS_MAX];
};

/* What an epoll event is about: bits 32.. say the kind, the rest which one. */
enum kind { KIND_LISTEN, KIND_CLIENT, KIND_HOST };

static void watch(struct loop *l, int fd, enum kind kind, size_t place)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)kind << 32 | place};

	if (epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		fprintf(stderr, "lab-linkem: epoll: %s\n", strerror(errno));
}

static void on_host(void *ctx, struct host *h)
{
	struct loop *l = ctx;

	if (fcntl(h->tun_fd, F_SETFL, O_NONBLOCK) != 0)
		fprintf(stderr, "lab-linkem: %s: %s\n", h->name, strerror(errno));
	watch(l, h->tun_fd, KIND_HOST, (size_t)(h - l->world.hosts));
}

static void on_connection(struct loop *l)
{
	int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const int room = CONTROL_REPLY_MAX * 2;

	for (size_t i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		if (l->clients[i].fd >= 0)
			continue;
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		control_client_init(&l->clients[i], fd);
		watch(l, fd, KIND_CLIENT, i);
		return;
	}
	if (fd >= 0)
		close(fd);
}

/* A TUN that ended (its namespace is gone) takes its host with it. */
static void on_packets(struct loop *l, struct host *h, mono_t now)
{
	for (int i = 0; h->id != 0 && i < BATCH; i++) {
		struct packet *p = packet_take(l->queue);

		if (p == NULL) {
			uint8_t lost[PACKET_MAX];

			if (read(h->tun_fd, lost, sizeof(lost)) <= 0)
				return;
			l->world.n.no_buffer++;
			continue;
		}
		ssize_t n = read(h->tun_fd, p->data, sizeof(p->data));
		if (n <= 0) {
			packet_drop(l->queue, p);
			if (n == 0 || (errno != EAGAIN && errno != EINTR && errno != EIO))
				host_del(&l->world, h);
			return;
		}
		p->len = (uint16_t)n;
		world_receive(&l->world, h, p, now);
	}
}

static void on_event(struct loop *l, uint64_t what, mono_t now)
{
	size_t place = (uint32_t)what;

	switch ((enum kind)(what >> 32)) {
	case KIND_LISTEN:
		on_connection(l);
		break;
	case KIND_CLIENT:
		if (l->clients[place].fd >= 0 &&
			!control_client_turn(&l->control, &l->clients[place]))
			control_client_done(&l->clients[place]);
		break;
	case KIND_HOST:
		on_packets(l, &l->world.hosts[place], now);
		break;
	}
}

static int wait_events(struct loop *l, struct epoll_event *events)
{
	mono_t next = queue_next(l->queue);
	struct timespec t, *timeout = NULL;

	if (next.ns != UINT64_MAX) {
		uint64_t ns = mono_since(mono_now(), next).ns;

		t = (struct timespec){(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
		timeout = &t;
	}
	return epoll_pwait2(l->epoll_fd, events, EVENTS_MAX, timeout, NULL);
}

static int loop_run(struct loop *l)
{
	struct epoll_event events[EVENTS_MAX];

	for (;;) {
		int n = wait_events(l, events);

		if (n < 0 && errno != EINTR) {
			fprintf(stderr, "lab-linkem: epoll: %s\n", strerror(errno));
			return 1;
		}
		mono_t now = mono_now();
		for (int i = 0; i < n; i++)
			on_event(l, events[i].data.u64, now);
		world_turn(&l->world, mono_add(mono_now(), GRAIN));
	}
}

static int listen_at(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (strlen(path) >= sizeof(a.sun_path)) {
		fprintf(stderr, "lab-linkem: --control: path longer than %zu\n",
			sizeof(a.sun_path) - 1);
		return -1;
	}
	memcpy(a.sun_path, path, strlen(path));
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 ||
		listen(fd, CLIENTS_MAX) != 0) {
		fprintf(stderr, "lab-linkem: %s: %s\n", path, strerror(errno));
		return -1;
	}
	return fd;
}

static int usage(FILE *f, int code)
{
	fputs("usage: lab-linkem --control SOCKET [--seed N]\n\n"
	      "The internet of the lab: carries packets between TUN devices that are handed to it "
	      "over\n"
	      "SOCKET, with delay, jitter, loss and rate. Commands: lab/linkem/control.h.\n",
		f);
	return code;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"control", required_argument, NULL, 'c'},
		{"seed", required_argument, NULL, 's'}, {"help", no_argument, NULL, 'h'}, {0}};
	static struct loop l; /* the packet heap is too large for a stack */
	const char *control = NULL;
	uint8_t seed[32] = {0};
	int c;

	while ((c = getopt_long(argc, argv, "c:s:h", options, NULL)) != -1) {
		if (c == 'c')
			control = optarg;
		else if (c == 's')
			le64_put(seed, strtoull(optarg, NULL, 10));
		else
			return usage(c == 'h' ? stdout : stderr, c == 'h' ? 0 : 2);
	}
	if (control == NULL || optind != argc)
		return usage(stderr, 2);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_TIMERSLACK, 20000ul);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		l.clients[i].fd = -1;
	l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	l.listen_fd = listen_at(control);
	if (l.epoll_fd < 0 || l.listen_fd < 0 || queue_new(&l.queue) != OK)
		return 1;
	world_init(&l.world, l.queue, seed);
	l.control = (struct control){&l.world, on_host, &l};
	watch(&l, l.listen_fd, KIND_LISTEN, 0);
	return loop_run(&l);
}
