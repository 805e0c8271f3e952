/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bus_tcp.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <sodium.h>
#include <zmq.h>

#include "log.h"

/* A peer that vanished without a word (its network was cut) is noticed after so long; one that does
 * not answer to a connection is given up after so long. */
#define HEARTBEAT_MS 1000
#define HEARTBEAT_TIMEOUT_MS 3000
#define CONNECT_TIMEOUT_MS 1000
#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_FRAME_MAX 255

#define AT(role) offsetof(struct bus_tcp_conf, at) + (role) * sizeof(struct net_addr)
#define ADDRESS(name, role)                                                                     \
	{"bus", name, CONF_ADDR, AT(role), 0, NULL, 0, 0,                                       \
		"address of its inboxes, if the bus goes over TCP; all five or none"}

const struct conf_key bus_tcp_conf_keys[] = {
	ADDRESS("tunnel", ROLE_TUNNEL),
	ADDRESS("discovery", ROLE_DISCOVERY),
	ADDRESS("router", ROLE_ROUTER),
	ADDRESS("ledger", ROLE_LEDGER),
	ADDRESS("gateway", ROLE_GATEWAY),
	{"bus", "port", CONF_U64, offsetof(struct bus_tcp_conf, port), 0, "7400", 1, 65535 - ROLES * ROLES,
		"first of its TCP ports"},
};
const size_t bus_tcp_conf_n_keys = sizeof(bus_tcp_conf_keys) / sizeof(bus_tcp_conf_keys[0]);

enum err bus_tcp_check(const struct bus_tcp_conf *conf, bool *ret_on)
{
	unsigned int n = 0;
	enum role missing = ROLE_NONE;

	for (enum role r = ROLE_TUNNEL; r < ROLES; r++) {
		if (conf->at[r].family != NET_NONE)
			n++;
		else
			missing = r;
	}
	if (n != 0 && missing != ROLE_NONE) {
		log_error("node.ini: [bus] %s: no address, but others have one: give all five, or none",
			role_name(missing));
		return ERR_INVALID;
	}
	*ret_on = n != 0;
	return OK;
}

void bus_tcp_address(
	const struct bus_tcp *t, enum role receiver, enum role sender, char ret[static BUS_TCP_ADDRESS_MAX])
{
	const struct net_addr *a = &t->conf.at[receiver];
	char host[NET_TEXT_MAX];
	bool v6 = a->family == NET_IP6;

	snprintf(ret, BUS_TCP_ADDRESS_MAX, "tcp://%s%s%s:%u", v6 ? "[" : "", net_addr_show(a, host),
		v6 ? "]" : "", (unsigned int)t->conf.port + receiver * ROLES + sender);
}

static enum err option_int(void *sock, int option, int value)
{
	return zmq_setsockopt(sock, option, &value, sizeof(value)) == 0 ? OK : ERR_IO;
}

static enum err option_key(void *sock, int option, const uint8_t key[BUS_KEY_SIZE])
{
	return zmq_setsockopt(sock, option, key, BUS_KEY_SIZE) == 0 ? OK : ERR_IO;
}

static enum err options_common(const struct bus_tcp *t, void *sock, enum role self)
{
	TRY(option_key(sock, ZMQ_CURVE_SECRETKEY, t->own_key));
	TRY(option_int(sock, ZMQ_IPV6, t->conf.at[self].family == NET_IP6));
	TRY(option_int(sock, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS));
	TRY(option_int(sock, ZMQ_HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS));
	return OK;
}

enum err bus_tcp_receiver(const struct bus_tcp *t, void *sock, enum role self, enum role from)
{
	const char *domain = role_name(from);
	int64_t longest = BUS_MESSAGE_MAX;

	TRY(options_common(t, sock, self));
	TRY(option_int(sock, ZMQ_CURVE_SERVER, 1));
	if (zmq_setsockopt(sock, ZMQ_ZAP_DOMAIN, domain, strlen(domain)) != 0)
		return ERR_IO;
	return zmq_setsockopt(sock, ZMQ_MAXMSGSIZE, &longest, sizeof(longest)) == 0 ? OK : ERR_IO;
}

enum err bus_tcp_sender(const struct bus_tcp *t, void *sock, enum role self, enum role to)
{
	TRY(options_common(t, sock, self));
	TRY(option_key(sock, ZMQ_CURVE_PUBLICKEY, t->public_key[self]));
	TRY(option_key(sock, ZMQ_CURVE_SERVERKEY, t->public_key[to]));
	return option_int(sock, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS);
}

/* ---- who may come in ---- */

void *bus_tcp_judge_open(void *zmq)
{
	void *s = zmq_socket(zmq, ZMQ_REP);

	if (s != NULL && option_int(s, ZMQ_LINGER, 0) == OK && zmq_bind(s, ZAP_ENDPOINT) == 0)
		return s;
	if (s != NULL)
		zmq_close(s);
	return NULL;
}

/* A question is version, id, domain, address, identity, mechanism, credentials. */
enum { ZAP_VERSION, ZAP_ID, ZAP_DOMAIN, ZAP_ADDRESS, ZAP_IDENTITY, ZAP_MECHANISM, ZAP_KEY, ZAP_FRAMES };

struct frame {
	uint8_t data[ZAP_FRAME_MAX];
	size_t len;
};

/* False: nothing is asked. Frames past the last, and bytes past the longest, are not kept. */
static bool question_recv(void *judge, struct frame f[static ZAP_FRAMES], size_t *ret_n)
{
	size_t n = 0, len = sizeof(int);
	int more = 1;

	while (more != 0) {
		struct frame rest, *to = n < ZAP_FRAMES ? &f[n] : &rest;
		int got = zmq_recv(judge, to->data, sizeof(to->data), ZMQ_DONTWAIT);

		if (got < 0)
			return false;
		to->len = (size_t)got;
		n++;
		if (zmq_getsockopt(judge, ZMQ_RCVMORE, &more, &len) != 0)
			return false;
	}
	*ret_n = n;
	return true;
}

static bool frame_is(const struct frame *f, const char *text)
{
	return f->len == strlen(text) && memcmp(f->data, text, f->len) == 0;
}

/* The inbox's domain names the role that it is for: is this that role's key? */
static bool key_fits(const struct bus_tcp *t, const struct frame f[static ZAP_FRAMES], size_t n)
{
	if (n != ZAP_FRAMES || !frame_is(&f[ZAP_VERSION], "1.0") || !frame_is(&f[ZAP_MECHANISM], "CURVE") ||
		f[ZAP_KEY].len != BUS_KEY_SIZE)
		return false;
	for (enum role r = ROLE_TUNNEL; r < ROLES; r++)
		if (frame_is(&f[ZAP_DOMAIN], role_name(r)))
			return sodium_memcmp(f[ZAP_KEY].data, t->public_key[r], BUS_KEY_SIZE) == 0;
	return false;
}

unsigned int bus_tcp_judge(const struct bus_tcp *t, void *judge)
{
	struct frame f[ZAP_FRAMES] = {0};
	unsigned int refused = 0;
	size_t n;

	while (question_recv(judge, f, &n)) {
		bool fits = key_fits(t, f, n);

		refused += !fits;
		/* Version, id, status, words, user, metadata. */
		zmq_send(judge, "1.0", 3, ZMQ_SNDMORE);
		zmq_send(judge, f[ZAP_ID].data, n > ZAP_ID ? f[ZAP_ID].len : 0, ZMQ_SNDMORE);
		zmq_send(judge, fits ? "200" : "400", 3, ZMQ_SNDMORE);
		zmq_send(judge, "", 0, ZMQ_SNDMORE);
		zmq_send(judge, "", 0, ZMQ_SNDMORE);
		zmq_send(judge, "", 0, 0);
	}
	return refused;
}
