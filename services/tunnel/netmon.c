/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: rtnetlink(7). */
#include "netmon.h"

#include <errno.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#define NETMON_BUF 32768 /* what the kernel puts into one datagram at most */

struct opening {
	const char *name;
	int netns_fd;
	int fd, index;
};

/* A thread of its own where the namespace is another: setns is for the calling thread only. */
static void *open_in(void *arg)
{
	struct opening *o = arg;
	struct sockaddr_nl a = {.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_IFADDR |
			RTMGRP_IPV6_IFADDR};

	o->fd = -1;
	if (o->netns_fd >= 0 && setns(o->netns_fd, CLONE_NEWNET) != 0)
		return NULL;
	o->index = (int)if_nametoindex(o->name);
	o->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (o->fd >= 0 && bind(o->fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
		close(o->fd);
		o->fd = -1;
	}
	return NULL;
}

/* Its state now; the answer is read like any event. */
static void ask(const struct netmon *m)
{
	struct {
		struct nlmsghdr h;
		struct ifinfomsg i;
	} q = {.h = {.nlmsg_len = sizeof(q), .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
		.i = {.ifi_index = m->index}};

	(void)!send(m->fd, &q, sizeof(q), 0);
}

enum err netmon_open(struct netmon *m, const char *name, int netns_fd)
{
	struct opening o = {.name = name, .netns_fd = netns_fd};
	pthread_t t;

	if (netns_fd < 0)
		open_in(&o);
	else if (pthread_create(&t, NULL, open_in, &o) != 0 || pthread_join(t, NULL) != 0)
		return ERR_FULL;
	if (o.fd < 0)
		return ERR_IO;
	*m = (struct netmon){.fd = o.fd, .index = o.index};
	if (m->index == 0) {
		netmon_close(m);
		return ERR_NOT_FOUND;
	}
	ask(m);
	return OK;
}

void netmon_close(struct netmon *m)
{
	if (m->fd >= 0)
		close(m->fd);
	m->fd = -1;
}

static int on_attr(const struct nlattr *a, void *data)
{
	struct netmon *m = data;

	if (mnl_attr_get_type(a) == IFLA_MTU && mnl_attr_validate(a, MNL_TYPE_U32) >= 0)
		m->mtu = mnl_attr_get_u32(a);
	return MNL_CB_OK;
}

static unsigned int on_link(struct netmon *m, const struct nlmsghdr *h)
{
	const struct ifinfomsg *i = mnl_nlmsg_get_payload(h);

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*i) || i->ifi_index != m->index)
		return 0;
	if (h->nlmsg_type == RTM_DELLINK)
		return NETMON_GONE;
	m->up = (i->ifi_flags & IFF_UP) != 0;
	(void)!mnl_attr_parse(h, sizeof(*i), on_attr, m);
	return NETMON_LINK;
}

unsigned int netmon_read(struct netmon *m)
{
	_Alignas(8) char buf[NETMON_BUF];
	unsigned int events = 0;
	ssize_t n;

	while ((n = recv(m->fd, buf, sizeof(buf), 0)) > 0) {
		const struct nlmsghdr *h = (const struct nlmsghdr *)buf;

		for (int left = (int)n; mnl_nlmsg_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
			if (h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_DELLINK)
				events |= on_link(m, h);
			else if (h->nlmsg_type >= RTM_NEWADDR && h->nlmsg_type <= RTM_DELROUTE)
				events |= NETMON_ROUTES;
		}
	}
	if (n < 0 && errno == ENOBUFS) { /* some were lost: look again */
		ask(m);
		events |= NETMON_ROUTES;
	}
	return events;
}
