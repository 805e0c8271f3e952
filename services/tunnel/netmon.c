/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source: rtnetlink(7). */
#include "netmon.h"

#include <errno.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#ifndef TUNGETDEVNETNS
#define TUNGETDEVNETNS _IO('T', 227)
#endif

#define NETMON_BUF 32768 /* what the kernel puts into one datagram at most */

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

/* Descriptor of the namespace of a TUN device, or -1. */
static int netns_of(int tun_fd, ino_t *ret_ino)
{
	int fd = ioctl(tun_fd, TUNGETDEVNETNS);
	struct stat st;

	*ret_ino = fd >= 0 && fstat(fd, &st) == 0 ? st.st_ino : 0;
	return fd;
}

enum err netmon_open(struct netmon *m, const char *name, int tun_fd)
{
	const struct sockaddr_nl a = {.nl_family = AF_NETLINK,
		.nl_groups = RTMGRP_LINK | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE | RTMGRP_IPV4_IFADDR |
			RTMGRP_IPV6_IFADDR};
	int netns_fd;

	*m = (struct netmon){.index = (int)if_nametoindex(name)};
	m->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
	if (m->fd < 0 || bind(m->fd, (const struct sockaddr *)&a, sizeof(a)) != 0 || m->index == 0) {
		netmon_close(m);
		return m->index == 0 ? ERR_NOT_FOUND : ERR_IO;
	}
	netns_fd = netns_of(tun_fd, &m->home);
	if (netns_fd >= 0)
		close(netns_fd);
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

	if (mnl_nlmsg_get_payload_len(h) < sizeof(*i) || i->ifi_index != m->index || m->index == 0)
		return 0;
	if (h->nlmsg_type == RTM_DELLINK) {
		m->index = 0;
		return NETMON_GONE;
	}
	m->up = (i->ifi_flags & IFF_UP) != 0;
	(void)!mnl_attr_parse(h, sizeof(*i), on_attr, m);
	return NETMON_LINK;
}

static unsigned int on_none(struct netmon *m)
{
	m->index = 0;
	return NETMON_GONE;
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
			else if (h->nlmsg_type == NLMSG_ERROR) /* we asked for one that is not there */
				events |= on_none(m);
			else if (h->nlmsg_type >= RTM_NEWADDR && h->nlmsg_type <= RTM_DELROUTE)
				events |= NETMON_ROUTES;
		}
	}
	if (n < 0 && errno == ENOBUFS) { /* some were lost: look again */
		if (m->index != 0)
			ask(m);
		events |= NETMON_ROUTES;
	}
	return events;
}

/* --- elsewhere -------------------------------------------------------------------------------------------- */
struct look {
	const char *name;
	int netns_fd;
	bool seen, up;
	uint32_t mtu;
};

/* A thread of its own: setns is for the calling thread only. */
static void *look_in(void *arg)
{
	struct look *l = arg;
	struct ifreq flags = {0}, mtu = {0};
	int fd = setns(l->netns_fd, CLONE_NEWNET) == 0 ? socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) : -1;

	if (fd < 0)
		return NULL;
	memcpy(flags.ifr_name, l->name, strnlen(l->name, IFNAMSIZ - 1));
	memcpy(mtu.ifr_name, flags.ifr_name, IFNAMSIZ);
	l->seen = ioctl(fd, SIOCGIFFLAGS, &flags) == 0 && ioctl(fd, SIOCGIFMTU, &mtu) == 0;
	l->up = (flags.ifr_flags & IFF_UP) != 0;
	l->mtu = (uint32_t)mtu.ifr_mtu;
	close(fd);
	return NULL;
}

enum err netmon_look(struct netmon *m, const char *name, int tun_fd)
{
	struct look l = {.name = name};
	pthread_t t;
	ino_t where;

	l.netns_fd = netns_of(tun_fd, &where);
	if (l.netns_fd < 0)
		return ERR_UNAVAILABLE;
	if (where == m->home) {
		m->index = (int)if_nametoindex(name);
		ask(m);
	} else if (pthread_create(&t, NULL, look_in, &l) == 0) {
		pthread_join(t, NULL);
	}
	close(l.netns_fd);
	if (!l.seen)
		return m->index != 0 ? OK : ERR_UNAVAILABLE;
	m->up = l.up;
	m->mtu = l.mtu;
	return OK;
}
