/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Each queue of the exit's device gets the packets for its worker's addresses, and no others. Needs
 * root: a device in a network namespace of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/tunnel/tun.h"

#define WORKER_BITS 2
#define QUEUES (1 << WORKER_BITS)
#define HOSTS 64
#define PORT 7 /* nobody's */

static struct tun_kind kind;
static int queues[QUEUES];

static int start(void **state)
{
	struct ifreq r = {0};
	struct sockaddr_in *a = (struct sockaddr_in *)&r.ifr_addr;
	int s;

	(void)state;
	if (unshare(CLONE_NEWNET) != 0 || tun_open("steer%d", QUEUES, &kind, queues) != OK)
		return 0; /* the test says so */
	s = socket(AF_INET, SOCK_DGRAM, 0);
	memcpy(r.ifr_name, kind.name, IFNAMSIZ);
	a->sin_family = AF_INET;
	inet_pton(AF_INET, "100.64.0.1", &a->sin_addr);
	if (ioctl(s, SIOCSIFADDR, &r) != 0)
		return -1;
	inet_pton(AF_INET, "255.255.0.0", &a->sin_addr);
	if (ioctl(s, SIOCSIFNETMASK, &r) != 0)
		return -1;
	r.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(s, SIOCSIFFLAGS, &r) != 0)
		return -1;
	close(s);
	return 0;
}

static void datagrams_send(void)
{
	const int s = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(PORT)};

	for (uint32_t host = 2; host < 2 + HOSTS; host++) {
		to.sin_addr.s_addr = htonl(0x64400000u | host);
		assert_int_equal(sendto(s, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)), 1);
	}
	close(s);
}

/* Datagrams that waited in queue q, all but those to `owner`s' addresses in *ret_strays. */
static unsigned int datagrams_take(unsigned int q, unsigned int *ret_strays)
{
	uint8_t buf[2048];
	const uint8_t *pkt = buf + OFFLOAD_VHDR;
	unsigned int n = 0;

	while (read(queues[q], buf, sizeof(buf)) > 0) {
		if (pkt[0] >> 4 != 4 || pkt[9] != IPPROTO_UDP)
			continue;
		n++;
		*ret_strays += pkt[19] % QUEUES != q;
	}
	return n;
}

static void each_queue_gets_its_workers_addresses(void **state)
{
	unsigned int strays = 0, sum = 0;

	(void)state;
	if (kind.name[0] == '\0' || tun_steer(queues[0], WORKER_BITS) != OK)
		skip();
	datagrams_send();
	for (unsigned int q = 0; q < QUEUES; q++) {
		const unsigned int n = datagrams_take(q, &strays);

		assert_int_equal(n, HOSTS / QUEUES);
		sum += n;
	}
	assert_int_equal(sum, HOSTS);
	assert_int_equal(strays, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_queue_gets_its_workers_addresses),
	};

	return cmocka_run_group_tests(tests, start, NULL);
}
