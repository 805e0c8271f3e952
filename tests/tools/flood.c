/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Forged WireGuard initiations at a steady rate, each from another address: type 1 with a right mac1,
 * which anyone can make who knows the public key, and nonsense inside. The worst that a stranger can
 * send. Ends on SIGTERM and says how many left.
 *
 *	flood ADDRESS PORT PUBLIC-KEY-HEX PER-SECOND */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <sodium.h>

#include "services/tunnel/core/hash.h"
#include "services/tunnel/core/messages.h"

#define FORGED 4096 /* different ones, sent over and over */
#define BATCH 64
#define SOURCES 0x0a400000u /* 10.64.0.0/10 */

struct packet {
	struct iphdr ip;
	struct udphdr udp;
	struct wg_initiation msg;
} __attribute__((packed));

static volatile sig_atomic_t stop;

static void on_signal(int n)
{
	(void)n;
	stop = 1;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void forge(struct packet *p, const struct sockaddr_in *to, const uint8_t mac1_key[static HASH_SIZE])
{
	uint8_t *m = (uint8_t *)&p->msg;
	const size_t mac1 = sizeof(p->msg) - sizeof(p->msg.macs);

	memset(p, 0, sizeof(*p));
	randombytes_buf(m, mac1);
	le32_put(m, WG_INITIATION);
	hash_mac(m + mac1, mac1_key, HASH_SIZE, m, mac1);
	p->ip = (struct iphdr){.version = 4,
		.ihl = 5,
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.tot_len = htons(sizeof(*p)),
		.saddr = htonl(SOURCES | (randombytes_random() & 0x3fffff)),
		.daddr = to->sin_addr.s_addr};
	/* Without a checksum, as IPv4 allows. */
	p->udp = (struct udphdr){.source = htons((uint16_t)(1024 + randombytes_uniform(60000))),
		.dest = to->sin_port,
		.len = htons(sizeof(p->udp) + sizeof(p->msg))};
}

static uint64_t run(int fd, struct packet *all, struct sockaddr_in *to, uint64_t per_s)
{
	const uint64_t began = now_ns();
	struct mmsghdr msgs[BATCH] = {0};
	struct iovec iov[BATCH];
	uint64_t sent = 0, due;

	while (!stop) {
		const struct timespec nap = {0, 200000};

		due = (now_ns() - began) / 1000 * per_s / 1000000;
		if (due < sent + BATCH) {
			nanosleep(&nap, NULL);
			continue;
		}
		for (int i = 0; i < BATCH; i++) {
			iov[i] = (struct iovec){&all[(sent + (unsigned int)i) % FORGED], sizeof(*all)};
			msgs[i].msg_hdr = (struct msghdr){.msg_name = to,
				.msg_namelen = sizeof(*to),
				.msg_iov = &iov[i],
				.msg_iovlen = 1};
		}
		int n = sendmmsg(fd, msgs, BATCH, 0);
		sent += n > 0 ? (uint64_t)n : 0;
	}
	return sent;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	uint8_t pk[WG_KEY_SIZE], mac1_key[HASH_SIZE], text[8 + WG_KEY_SIZE] = "mac1----";
	struct packet *all = calloc(FORGED, sizeof(*all));
	int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (argc != 5 || fd < 0 || all == NULL || sodium_init() < 0 ||
		inet_pton(AF_INET, argv[1], &to.sin_addr) != 1 ||
		sodium_hex2bin(pk, sizeof(pk), argv[3], strlen(argv[3]), NULL, NULL, NULL) != 0) {
		fprintf(stderr, "usage: flood ADDRESS PORT PUBLIC-KEY-HEX PER-SECOND (as root)\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)strtoul(argv[2], NULL, 10));
	memcpy(text + 8, pk, sizeof(pk));
	hash_of(mac1_key, text, sizeof(text), NULL, 0);
	for (int i = 0; i < FORGED; i++)
		forge(&all[i], &to, mac1_key);
	signal(SIGTERM, on_signal);
	printf("%llu\n", (unsigned long long)run(fd, all, &to, strtoull(argv[4], NULL, 10)));
	free(all);
	return 0;
}
