/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The filter of a socket (udp_shed) and the program count initiations in the same buckets: what the
 * program finds crowded is what the kernel drops, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sys/socket.h>
#include <unistd.h>

#include "services/tunnel/udp.h"
#include "services/tunnel/core/messages.h"

#define PORTS 64

struct ends {
	int to, from;
	struct udp_path source; /* of `from` */
};

static struct udp_path loopback(int family)
{
	const struct net_endpoint e4 = {{NET_IP4, {127, 0, 0, 1}}, 0}, e6 = {{NET_IP6, {[15] = 1}}, 0};
	struct udp_path p;

	udp_path_from(&p, family == AF_INET ? &e4 : &e6, UDP_PUBLIC);
	return p;
}

static socklen_t name_len(int family)
{
	return family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static int bound(int family, struct udp_path *ret_name)
{
	socklen_t len = name_len(family);
	int fd = socket(family, SOCK_DGRAM, 0);

	*ret_name = loopback(family);
	assert_int_equal(bind(fd, &ret_name->remote.sa, len), 0);
	assert_int_equal(getsockname(fd, &ret_name->remote.sa, &len), 0);
	return fd;
}

static struct ends ends_new(int family, int to, const struct udp_path *target)
{
	struct ends e = {.to = to};

	e.from = bound(family, &e.source);
	assert_int_equal(connect(e.from, &target->remote.sa, name_len(family)), 0);
	return e;
}

static void message(uint8_t m[static WG_INITIATION_SIZE], bool mac2)
{
	memset(m, 0, WG_INITIATION_SIZE);
	m[0] = WG_INITIATION;
	m[WG_INITIATION_SIZE - 1] = m[WG_INITIATION_SIZE - WG_MAC_SIZE] = mac2;
}

static uint32_t bucket_of(const struct ends *e, bool mac2, uint32_t salt)
{
	uint8_t m[WG_INITIATION_SIZE];
	struct shed s;
	uint32_t b = 0;

	shed_init(&s, salt);
	message(m, mac2);
	assert_true(udp_shed_count(&s, (mono_t){1}, &e->source, m));
	assert_int_equal(s.kinds[mac2].n, 1);
	while (s.kinds[mac2].seen[b] == 0)
		b++;
	return b;
}

static bool arrives(const struct ends *e, const uint8_t *m, size_t len)
{
	uint8_t got[WG_INITIATION_SIZE];

	assert_int_equal(send(e->from, m, len, 0), len);
	return recv(e->to, got, sizeof(got), MSG_DONTWAIT) == (ssize_t)len;
}

static bool initiation_arrives(const struct ends *e, bool mac2)
{
	uint8_t m[WG_INITIATION_SIZE];

	message(m, mac2);
	return arrives(e, m, sizeof(m));
}

/* One bucket is hot; of all ports exactly those that fall into it are dropped. */
static unsigned int dropped(int family, bool mac2, uint32_t salt)
{
	struct udp_path target;
	const int to = bound(family, &target);
	unsigned int n = 0;
	struct shed s;

	shed_init(&s, salt);
	for (int i = 0; i < PORTS; i++) {
		struct ends e = ends_new(family, to, &target);
		const uint32_t b = bucket_of(&e, mac2, salt);
		const uint8_t data[WG_INITIATION_SIZE] = {WG_TRANSPORT};

		if (i == 0) {
			s.kinds[mac2].hot = 1u << b;
			s.kinds[mac2].keep = 0;
			udp_shed(to, &s);
		}
		assert_int_equal(initiation_arrives(&e, mac2), (s.kinds[mac2].hot >> b & 1) == 0);
		assert_true(initiation_arrives(&e, !mac2));
		assert_true(arrives(&e, data, sizeof(data)));
		n += s.kinds[mac2].hot >> b & 1;
		close(e.from);
	}
	close(to);
	return n;
}

static void without_a_cookie_by_address_and_port(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++)
		assert_in_range(dropped(family ? AF_INET6 : AF_INET, false, 0x9e3779b1), 1, PORTS / 2);
}

/* There is a cookie for each port: whoever has one may take many, and is one source. */
static void with_a_cookie_by_address_alone(void **state)
{
	(void)state;
	for (int family = 0; family < 2; family++)
		assert_int_equal(dropped(family ? AF_INET6 : AF_INET, true, 0x9e3779b1), PORTS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_cookie_by_address_and_port),
		cmocka_unit_test(with_a_cookie_by_address_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
