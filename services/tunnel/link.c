/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources: rtnetlink(7), RFC 3549; the rules are those of wg-quick(8). */
#include "link.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>

/* A netlink message of ours is under 200 bytes; the answer repeats it. */
#define LINK_BUF_SIZE 8192

enum err link_open(struct link *ret_l)
{
	struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);

	if (s == NULL)
		return ERR_IO;
	if (mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) != 0) {
		mnl_socket_close(s);
		return ERR_IO;
	}
	*ret_l = (struct link){.sock = s, .seq = 1};
	return OK;
}

void link_close(struct link *l)
{
	if (l->sock != NULL)
		mnl_socket_close(l->sock);
	l->sock = NULL;
}

int link_index(const char *name)
{
	return (int)if_nametoindex(name);
}

static unsigned char af_of(enum net_family f)
{
	return f == NET_IP4 ? AF_INET : AF_INET6;
}

/* Sends and waits for the acknowledgement; errno `fine` counts as done. */
static enum err talk(struct link *l, struct nlmsghdr *h, int fine)
{
	char buf[LINK_BUF_SIZE];
	ssize_t n;

	h->nlmsg_seq = ++l->seq;
	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (mnl_socket_sendto(l->sock, h, h->nlmsg_len) < 0)
		return ERR_IO;
	n = mnl_socket_recvfrom(l->sock, buf, sizeof(buf));
	if (n < 0)
		return ERR_IO;
	if (mnl_cb_run(buf, (size_t)n, l->seq, mnl_socket_get_portid(l->sock), NULL, NULL) >= 0)
		return OK;
	return errno == fine ? OK : ERR_IO;
}

enum err link_set(struct link *l, int index, bool up, uint32_t mtu, uint32_t txqlen)
{
	char buf[LINK_BUF_SIZE];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *i;

	h->nlmsg_type = RTM_NEWLINK;
	i = mnl_nlmsg_put_extra_header(h, sizeof(*i));
	i->ifi_index = index;
	i->ifi_change = up ? IFF_UP : 0;
	i->ifi_flags = up ? IFF_UP : 0;
	if (mtu != 0)
		mnl_attr_put_u32(h, IFLA_MTU, mtu);
	if (txqlen != 0)
		mnl_attr_put_u32(h, IFLA_TXQLEN, txqlen);
	return talk(l, h, 0);
}

enum err link_addr_add(struct link *l, int index, const struct net_prefix *p, uint32_t life_s)
{
	const struct ifa_cacheinfo life = {.ifa_prefered = life_s, .ifa_valid = life_s};
	char buf[LINK_BUF_SIZE];
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifaddrmsg *a;

	h->nlmsg_type = RTM_NEWADDR;
	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	a = mnl_nlmsg_put_extra_header(h, sizeof(*a));
	a->ifa_family = af_of(p->addr.family);
	a->ifa_prefixlen = p->bits;
	a->ifa_index = (unsigned int)index;
	a->ifa_flags = p->addr.family == NET_IP6 ? IFA_F_NODAD : 0;
	mnl_attr_put(h, IFA_LOCAL, net_ip_len(&p->addr), p->addr.ip);
	mnl_attr_put(h, IFA_ADDRESS, net_ip_len(&p->addr), p->addr.ip);
	if (life_s != 0)
		mnl_attr_put(h, IFA_CACHEINFO, sizeof(life), &life);
	return talk(l, h, EEXIST);
}

static struct nlmsghdr *route_put(char *buf, uint16_t type, int index, const struct net_prefix *p,
	uint32_t table, uint32_t metric)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct rtmsg *r;

	h->nlmsg_type = type;
	r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
	r->rtm_family = af_of(p->addr.family);
	r->rtm_dst_len = p->bits;
	r->rtm_table = table < 256 ? (unsigned char)table : RT_TABLE_UNSPEC;
	r->rtm_protocol = RTPROT_STATIC;
	r->rtm_scope = RT_SCOPE_LINK;
	r->rtm_type = RTN_UNICAST;
	if (p->bits > 0)
		mnl_attr_put(h, RTA_DST, net_ip_len(&p->addr), p->addr.ip);
	mnl_attr_put_u32(h, RTA_OIF, (uint32_t)index);
	mnl_attr_put_u32(h, RTA_TABLE, table);
	if (metric != 0)
		mnl_attr_put_u32(h, RTA_PRIORITY, metric);
	return h;
}

enum err link_route_add(
	struct link *l, int index, const struct net_prefix *p, uint32_t table, uint32_t metric)
{
	char buf[LINK_BUF_SIZE];
	struct nlmsghdr *h = route_put(buf, RTM_NEWROUTE, index, p, table, metric);

	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	return talk(l, h, EEXIST);
}

enum err link_default6_expire(struct link *l, int index, uint32_t table, uint32_t life_s)
{
	const struct net_prefix all = {.addr = {.family = NET_IP6}};
	char buf[LINK_BUF_SIZE];
	struct nlmsghdr *h = route_put(buf, RTM_NEWROUTE, index, &all, table, 0);

	h->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	mnl_attr_put_u32(h, RTA_EXPIRES, life_s);
	return talk(l, h, EEXIST);
}

enum err link_route_del(
	struct link *l, int index, const struct net_prefix *p, uint32_t table, uint32_t metric)
{
	char buf[LINK_BUF_SIZE];

	return talk(l, route_put(buf, RTM_DELROUTE, index, p, table, metric), ESRCH);
}

static struct nlmsghdr *rule_put(char *buf, uint16_t type, const struct link_rule *r)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct fib_rule_hdr *f;

	h->nlmsg_type = type;
	f = mnl_nlmsg_put_extra_header(h, sizeof(*f));
	f->family = af_of(r->family);
	f->action = FR_ACT_TO_TBL;
	f->flags = r->invert ? FIB_RULE_INVERT : 0;
	f->table = r->table < 256 ? (uint8_t)r->table : RT_TABLE_UNSPEC;
	mnl_attr_put_u32(h, FRA_PRIORITY, r->priority);
	mnl_attr_put_u32(h, FRA_TABLE, r->table);
	if (r->fwmark != 0)
		mnl_attr_put_u32(h, FRA_FWMARK, r->fwmark);
	if (r->suppress_default)
		mnl_attr_put_u32(h, FRA_SUPPRESS_PREFIXLEN, 0);
	if (r->to.addr.family != NET_NONE) {
		f->dst_len = r->to.bits;
		mnl_attr_put(h, FRA_DST, net_ip_len(&r->to.addr), r->to.addr.ip);
	}
	return h;
}

enum err link_rule_add(struct link *l, const struct link_rule *r)
{
	char buf[LINK_BUF_SIZE];
	struct nlmsghdr *h = rule_put(buf, RTM_NEWRULE, r);

	h->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	return talk(l, h, EEXIST);
}

enum err link_rule_del(struct link *l, const struct link_rule *r)
{
	char buf[LINK_BUF_SIZE];

	return talk(l, rule_put(buf, RTM_DELRULE, r), ENOENT);
}
