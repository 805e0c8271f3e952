/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Many WireGuard clients that send through one tunnel, and the sink behind it, in one process with one clock:
 * what each session sent, what arrived of it, and how long it took. Client 0 may be greedy: it sends as much as
 * this program can make; the others together send at a steady rate, in turn.
 *
 *	sessions peers N                                     their public keys and addresses, as UAPI text
 *	sessions run N ADDRESS PORT PUBLIC-KEY-HEX SINK-FD   SINK-FD: bound UDP socket behind the tunnel
 *	sessions relay N ADDRESS PORT PUBLIC-KEY-HEX NEXT-FD the server is a relay; NEXT-FD: bound UDP socket
 *	                                                     of the next hop, which is this program too
 *
 * Commands on stdin, an answer (JSON, one line) to each:
 *	connect WINDOW                            handshakes of all, WINDOW at a time
 *	send SECONDS PER-SECOND SIZE GREEDY-SIZE  PER-SECOND of all but client 0 together; sizes: inner IP
 *	                                          packets; GREEDY-SIZE 0: client 0 is silent
 * Every packet carries the time at which it was made; the kernel stamps it when it leaves the tunnel. */
#include <netinet/ip.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "lib/descriptor.h"
#include "services/tunnel/core/control.h"
#include "tests/harness/tunnel_clients.h"
#include "tests/harness/tunnel_pk.h"

#define INNER 0x0ac80000u /* 10.200.0.0: client i has INNER + i */
#define HEADS 28u	  /* IPv4, UDP */
#define PORT 10000	  /* first of the clients' ports */
#define SIZE_MIN (HEADS + 8)
#define SIZE_MAX_ 1420u
#define BURST 256u /* of the honest ones, before the greedy one has its turn */
#define NAP_NS 50000
#define QUIET_MS 300 /* nothing has arrived for so long: nothing will */
#define SINK_ITEMS 32
#define SINK_SIZE 65536
#define SINK_BUFFER (256 << 20)

struct tally {
	uint64_t sent, delivered, delay_ns; /* sum of those delivered */
};

static struct {
	int fd;
	struct sockaddr_in at;
	struct tally *of;   /* by client */
	uint32_t *delay_us; /* of each honest packet that came */
	uint32_t n_delays, delays_max;
	_Atomic uint64_t n; /* what came; written last */
	uint64_t overflow;  /* what the sink itself lost, since it was made */
	uint8_t *mem;
	struct clients *hop; /* its sessions if it is a next hop; NULL: plain datagrams come */
	struct noise_identity hop_id;
} sink;

/* --- sink --------------------------------------------------------------------------------------- */
struct arrival {
	uint64_t at_ns;
	uint32_t segment, overflow;
};

static struct arrival arrival_of(struct msghdr *h, uint32_t len)
{
	struct arrival a = {.segment = len};

	for (struct cmsghdr *m = CMSG_FIRSTHDR(h); m != NULL; m = CMSG_NXTHDR(h, m)) {
		if (m->cmsg_level == SOL_UDP && m->cmsg_type == UDP_GRO) {
			int v;

			memcpy(&v, CMSG_DATA(m), sizeof(v));
			a.segment = (uint32_t)v;
		} else if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SCM_TIMESTAMPNS) {
			struct timespec t;

			memcpy(&t, CMSG_DATA(m), sizeof(t));
			a.at_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
		} else if (m->cmsg_level == SOL_SOCKET && m->cmsg_type == SO_RXQ_OVFL) {
			memcpy(&a.overflow, CMSG_DATA(m), sizeof(a.overflow));
		}
	}
	return a;
}

static void sink_count(uint32_t client, const uint8_t *payload, uint64_t at_ns)
{
	const uint64_t sent_ns = le64_get(payload), delay_ns = at_ns > sent_ns ? at_ns - sent_ns : 0;

	sink.of[client].delivered++;
	sink.of[client].delay_ns += delay_ns;
	if (client != 0 && sink.n_delays < sink.delays_max)
		sink.delay_us[sink.n_delays++] = (uint32_t)(delay_ns / 1000);
}

/* --- sink as next hop: a responder for all clients ---------------------------------------------- */
static void hop_initiation(struct clients *h, const uint8_t *bytes)
{
	const uint32_t client = wg_sender_index(bytes) & 0xffff; /* clients_index_new */
	uint8_t answer[WG_RESPONSE_SIZE];
	struct noise_responder re;
	struct wg_initiation msg;

	memcpy(&msg, bytes, sizeof(msg));
	if (client >= h->n || noise_initiation_open(&sink.hop_id, &msg, &re) != OK)
		return;
	if (memcmp(re.remote_static, h->all[client].s.remote.static_pk, WG_KEY_SIZE) == 0 &&
		session_initiation_accept(&h->all[client].s, &h->env, h->now, &re, answer) == OK) {
		memcpy(clients_room(h, sizeof(answer)), answer, sizeof(answer));
		clients_commit(h, client, sizeof(answer), 1);
	}
	noise_responder_done(&re);
}

static void hop_message(struct clients *h, uint8_t *msg, uint32_t len, uint64_t at_ns)
{
	const unsigned int type = wg_message_type(msg, len);
	const uint32_t index = type == WG_TRANSPORT ? wg_receiver_index(msg) : 0, client = index & 0xffff;
	struct aead_op op = {.buf = msg + WG_TRANSPORT_HEAD, .len = len - WG_OVERHEAD};

	if (type == WG_INITIATION)
		hop_initiation(h, msg);
	if (type != WG_TRANSPORT || client >= h->n)
		return;
	op.counter = le64_get(msg + 8);
	if (session_open_batch(&h->all[client].s, &h->env, &h->aead, h->now, index, &op, 1) == 1 &&
		op.len >= SIZE_MIN)
		sink_count(client, op.buf + HEADS, at_ns);
}

static void sink_take(struct msghdr *h, uint32_t len, uint32_t clients)
{
	const struct sockaddr_in *from = h->msg_name;
	const uint32_t client = ntohl(from->sin_addr.s_addr) - INNER;
	const struct arrival a = arrival_of(h, len);
	uint8_t *bytes = h->msg_iov->iov_base;

	if (a.overflow != 0)
		sink.overflow = a.overflow;
	if (sink.hop != NULL) {
		sink.hop->to = *from;
		clients_time(sink.hop);
	}
	for (uint32_t at = 0; at + 8 <= len; at += a.segment) {
		const uint32_t n = len - at < a.segment ? len - at : a.segment;

		if (sink.hop != NULL)
			hop_message(sink.hop, bytes + at, n, a.at_ns);
		else if (client < clients)
			sink_count(client, bytes + at, a.at_ns);
	}
	if (sink.hop != NULL)
		clients_flush(sink.hop);
	atomic_fetch_add_explicit(&sink.n, 1, memory_order_release);
}

static void *sink_run(void *arg)
{
	const uint32_t clients = *(uint32_t *)arg;
	struct sockaddr_in from[SINK_ITEMS];
	_Alignas(8) uint8_t control[SINK_ITEMS][128];
	struct mmsghdr msgs[SINK_ITEMS];
	struct iovec iov[SINK_ITEMS];

	for (;;) {
		for (int i = 0; i < SINK_ITEMS; i++) {
			iov[i] = (struct iovec){sink.mem + (size_t)i * SINK_SIZE, SINK_SIZE};
			msgs[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
				.msg_namelen = sizeof(from[i]),
				.msg_iov = &iov[i],
				.msg_iovlen = 1,
				.msg_control = control[i],
				.msg_controllen = sizeof(control[i])};
		}
		int n = recvmmsg(sink.fd, msgs, SINK_ITEMS, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++)
			sink_take(&msgs[i].msg_hdr, msgs[i].msg_len, clients);
	}
	return NULL;
}

static void sink_open(int fd, uint32_t clients)
{
	const int one = 1, buffer = SINK_BUFFER;
	socklen_t len = sizeof(sink.at);

	sink.fd = fd;
	sink.mem = malloc((size_t)SINK_ITEMS * SINK_SIZE);
	sink.of = calloc(clients, sizeof(*sink.of));
	if (sink.mem == NULL || sink.of == NULL || getsockname(fd, (struct sockaddr *)&sink.at, &len) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) != 0 ||
		setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &one, sizeof(one)) != 0 ||
		setsockopt(fd, SOL_UDP, UDP_GRO, &one, sizeof(one)) != 0)
		clients_fail("sink");
}

static void sink_start(uint32_t *clients)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, sink_run, clients) != 0)
		clients_fail("sink");
}

/* Waits until what is on the way has come. */
static void sink_settle(struct clients *c)
{
	uint64_t seen = UINT64_MAX;

	for (int quiet_ms = 0; quiet_ms < QUIET_MS; quiet_ms += 10) {
		const struct timespec nap = {0, 10000000};
		uint64_t n = atomic_load_explicit(&sink.n, memory_order_acquire);

		if (n != seen)
			quiet_ms = 0;
		seen = n;
		clients_turn(c);
		nanosleep(&nap, NULL);
	}
}

static void sink_clear(uint32_t clients, uint64_t delays_max)
{
	free(sink.delay_us);
	sink.delay_us = malloc((delays_max + 1) * sizeof(*sink.delay_us));
	if (sink.delay_us == NULL)
		clients_fail("memory");
	sink.delays_max = (uint32_t)delays_max;
	sink.n_delays = 0;
	memset(sink.of, 0, clients * sizeof(*sink.of));
}

/* --- load ---------------------------------------------------------------------------------------- */
struct load {
	double seconds;
	uint64_t per_s;
	uint32_t size, greedy_size;
};

struct packet_of {
	uint32_t client, size, padded;
	uint16_t port;
};

/* A UDP packet whose data are the time and zeros. Each is of another flow, so that the tunnel cannot join
 * them: they cost it most. */
static void packet_make(void *ctx, uint8_t *p, uint32_t i)
{
	struct packet_of *of = ctx;

	(void)i;
	memset(p, 0, of->padded);
	p[0] = 0x45;
	be16_put(p + 2, (uint16_t)of->size);
	p[6] = 0x40;
	p[8] = 64;
	p[9] = IPPROTO_UDP;
	be32_put(p + 12, INNER + of->client);
	memcpy(p + 16, &sink.at.sin_addr, 4);
	be16_put(p + 20, of->port++);
	memcpy(p + 22, &sink.at.sin_port, 2);
	be16_put(p + 24, (uint16_t)(of->size - 20));
	le64_put(p + HEADS, clients_clock());
	be16_put(p + 10, (uint16_t)~pk_sum(p, 20, 0));
	be16_put(p + 26, (uint16_t)~pk_sum(p + 20, SIZE_MIN - 20, pk_pseudo(p, of->size)));
}

static void send_of(struct clients *c, uint32_t client, uint32_t size, uint32_t n)
{
	struct packet_of of = {client, size, (uint32_t)wg_padded_len(size, 0), PORT};

	if (clients_send(c, client, of.padded, n, packet_make, &of))
		sink.of[client].sent += n;
}

static void send_greedy(struct clients *c, uint32_t size)
{
	const uint32_t heads = 2 * WG_OVERHEAD + FRAME_HEADER_SIZE;
	const uint32_t most = CLIENTS_TRAIN_BYTES / ((uint32_t)wg_padded_len(size, 0) + heads);

	send_of(c, 0, size, most < CLIENTS_BATCH ? most : CLIENTS_BATCH);
	clients_flush(c);
}

/* The honest ones that are due; their rate is held over the whole time. */
static uint32_t send_honest(struct clients *c, const struct load *l, uint64_t due, uint64_t *sent)
{
	uint32_t n = 0;

	for (; *sent < due && n < BURST; n++)
		send_of(c, 1 + (uint32_t)((*sent)++ % (c->n - 1)), l->size, 1);
	clients_flush(c);
	return n;
}

static double run_load(struct clients *c, const struct load *l)
{
	const uint64_t began = clients_clock(), lasts = (uint64_t)(l->seconds * 1e9);
	const struct timespec nap = {0, NAP_NS};
	uint64_t sent = 0, now;

	for (unsigned int turn = 0; (now = clients_clock() - began) < lasts; turn++) {
		uint32_t n = send_honest(c, l, (uint64_t)((double)now / 1e9 * (double)l->per_s), &sent);

		if (l->greedy_size != 0)
			send_greedy(c, l->greedy_size);
		else if (n < BURST)
			nanosleep(&nap, NULL);
		if (turn % 16 == 0)
			clients_turn(c);
		clients_time(c);
	}
	return (double)now / 1e9;
}

/* --- answers -------------------------------------------------------------------------------------- */
static int by_size(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t delay_at(double share)
{
	return sink.n_delays == 0 ? 0 : sink.delay_us[(uint32_t)(share * (sink.n_delays - 1))];
}

static void print_counts(const char *name, uint32_t clients, size_t offset)
{
	printf(", \"%s\": [", name);
	for (uint32_t i = 0; i < clients; i++) {
		uint64_t v;

		memcpy(&v, (const uint8_t *)&sink.of[i] + offset, sizeof(v));
		printf("%s%llu", i > 0 ? ", " : "", (unsigned long long)v);
	}
	printf("]");
}

static void answer_send(uint32_t clients, double seconds, uint64_t overflow)
{
	qsort(sink.delay_us, sink.n_delays, sizeof(*sink.delay_us), by_size);
	printf("{\"seconds\": %.6f, \"sink_lost\": %llu, \"delay_us\": {\"p50\": %u, \"p99\": %u, \"max\": %u}", seconds,
		(unsigned long long)(sink.overflow - overflow), delay_at(0.5), delay_at(0.99), delay_at(1));
	print_counts("sent", clients, offsetof(struct tally, sent));
	print_counts("delivered", clients, offsetof(struct tally, delivered));
	print_counts("delay_sum_ns", clients, offsetof(struct tally, delay_ns));
	printf("}\n");
}

/* --- commands -------------------------------------------------------------------------------------- */
static void do_connect(struct clients *c, uint32_t window)
{
	const uint64_t began = clients_clock();

	clients_connect(c, window);
	printf("{\"seconds\": %.6f, \"established\": %u}\n", (double)(clients_clock() - began) / 1e9, c->n_established);
}

static void do_send(struct clients *c, const struct load *l)
{
	const uint64_t overflow = sink.overflow;
	double seconds;

	sink_clear(c->n, (uint64_t)((double)l->per_s * (l->seconds + 1)));
	seconds = run_load(c, l);
	sink_settle(c);
	answer_send(c->n, seconds, overflow);
}

static bool obey(struct clients *c, const char *line)
{
	uint32_t window;
	struct load l;

	if (sscanf(line, "connect %u", &window) == 1)
		do_connect(c, window);
	else if (sscanf(line, "send %lf %lu %u %u", &l.seconds, &l.per_s, &l.size, &l.greedy_size) == 4 &&
		l.size >= SIZE_MIN && l.size <= SIZE_MAX_ && l.greedy_size <= SIZE_MAX_ &&
		(l.greedy_size == 0 || l.greedy_size >= SIZE_MIN))
		do_send(c, &l);
	else
		return false;
	return fflush(stdout) == 0;
}

static void print_peers(const struct clients *c)
{
	for (uint32_t i = 0; i < c->n; i++) {
		const struct in_addr inner = {htonl(INNER + i)};
		char hex[2 * WG_KEY_SIZE + 1];

		sodium_bin2hex(hex, sizeof(hex), c->all[i].id.static_pk, WG_KEY_SIZE);
		printf("public_key=%s\nallowed_ip=%s/32\n", hex, inet_ntoa(inner));
	}
}

/* Timers go on between commands. */
static int serve(struct clients *c)
{
	struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
	char line[256];

	for (;;) {
		if (poll(&p, 1, 100) == 0) {
			clients_turn(c);
			continue;
		}
		if (fgets(line, sizeof(line), stdin) == NULL)
			return 0;
		if (!obey(c, line)) {
			fprintf(stderr, "not understood: %s", line);
			return 2;
		}
	}
}

/* --- through a relay --------------------------------------------------------------------------- */
/* Opens a slot towards the next hop. */
static void extend_make(struct clients *c)
{
	struct descriptor d = {.roles = DESCRIPTOR_RELAY, .seq = 1};
	overlay_Control m = overlay_Control_init_zero;
	uint8_t identity_sk[crypto_sign_SECRETKEYBYTES];
	const int64_t now_s = (int64_t)(clients_clock() / 1000000000u);
	size_t len = 0;

	crypto_sign_keypair(d.node_id, identity_sk);
	memcpy(d.wg_pk, sink.hop_id.static_pk, sizeof(d.wg_pk));
	d.ep4 = (struct net_endpoint){.addr.family = NET_IP4, .port = ntohs(sink.at.sin_port)};
	memcpy(d.ep4.addr.ip, &sink.at.sin_addr, 4);
	d.not_before.s = now_s - 1;
	d.expires.s = now_s + 3600;
	m.id = 1;
	m.which_body = overlay_Control_extend_tag;
	m.body.extend.slot = CLIENTS_SLOT;
	m.body.extend.descriptor.size = DESCRIPTOR_SIZE;
	if (descriptor_sign(&d, identity_sk, m.body.extend.descriptor.bytes) != OK ||
		control_encode(&m, c->extend, sizeof(c->extend), &len) != OK)
		clients_fail("extend");
	c->extend_len = (uint32_t)wg_padded_len(len, 0);
}

/* All clients also with the next hop, which is ours too: its sessions are the sink's. */
static struct clients *nest(struct clients *relay)
{
	static struct clients nested, hop;
	uint8_t sk[WG_KEY_SIZE];

	randombytes_buf(sk, sizeof(sk));
	noise_identity_init(&sink.hop_id, sk);
	clients_init(&nested, relay->n);
	clients_nest(&nested, relay, sink.hop_id.static_pk);
	extend_make(&nested);
	clients_init(&hop, relay->n);
	clients_prepare(&hop, sink.fd);
	hop.one_address = true;
	for (uint32_t i = 0; i < hop.n; i++)
		clients_session(&hop, i, &sink.hop_id, hop.all[i].id.static_pk);
	sink.hop = &hop;
	return &nested;
}

static int usage(void)
{
	fprintf(stderr, "usage: sessions peers N | sessions run|relay N ADDRESS PORT PUBLIC-KEY-HEX FD\n");
	return 2;
}

int main(int argc, char **argv)
{
	const uint32_t n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 0;
	struct sockaddr_in to = {.sin_family = AF_INET};
	static struct clients c;
	struct clients *all = &c;
	uint8_t pk[WG_KEY_SIZE];
	bool relay;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (n < 2 || n > CLIENTS_MAX || sodium_init() < 0)
		return usage();
	clients_init(&c, n);
	if (argc == 3 && strcmp(argv[1], "peers") == 0) {
		print_peers(&c);
		return 0;
	}
	relay = strcmp(argv[1], "relay") == 0;
	if (argc != 7 || (!relay && strcmp(argv[1], "run") != 0) || inet_pton(AF_INET, argv[3], &to.sin_addr) != 1 ||
		sodium_hex2bin(pk, sizeof(pk), argv[5], strlen(argv[5]), NULL, NULL, NULL) != 0)
		return usage();
	to.sin_port = htons((uint16_t)strtoul(argv[4], NULL, 10));
	clients_start(&c, &to, pk);
	sink_open((int)strtol(argv[6], NULL, 10), c.n);
	if (relay)
		all = nest(&c);
	sink_start(&c.n);
	setvbuf(stdin, NULL, _IONBF, 0); /* poll sees what is there */
	return serve(all);
}
