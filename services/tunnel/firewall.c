/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sources: nft(8), libnftables(3); the refused ranges are RFC 6890's. */
#include "firewall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <nftables/libnftables.h>

#include "lib/sys/log.h"

/* Room for the whole transaction: the fixed rules and FIREWALL_OWN_MAX prefixes. */
#define SCRIPT_MAX 8192

static const char never4[] =
	"0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, "
	"192.0.0.0/24, 192.168.0.0/16, 224.0.0.0/3";
static const char test4[] = ", 192.0.2.0/24, 198.18.0.0/15, 198.51.100.0/24, 203.0.113.0/24";
static const char never6[] = "::/3, fc00::/7, fe80::/10, ff00::/8, 2002::/16";
static const char test6[] = ", 2001:db8::/32";

struct script {
	char text[SCRIPT_MAX];
	size_t len;
};

__attribute__((format(printf, 2, 3))) static void put(struct script *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(s->text + s->len, sizeof(s->text) - s->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		s->len += (size_t)n;
	BUG_ON(s->len >= sizeof(s->text));
}

static const char *prefix_show(const struct net_prefix *p, char buf[static NET_TEXT_MAX])
{
	char addr[NET_TEXT_MAX];

	snprintf(buf, NET_TEXT_MAX, "%.50s/%u", net_addr_show(&p->addr, addr), p->bits);
	return buf;
}

static void put_refusals(struct script *s, const struct firewall_exit *f)
{
	char buf[NET_TEXT_MAX];

	put(s, "  iifname \"%s\" ip daddr { %s%s } drop\n", f->tun, never4,
		f->test_network ? "" : test4);
	put(s, "  iifname \"%s\" ip6 daddr { %s%s } drop\n", f->tun, never6,
		f->test_network ? "" : test6);
	for (size_t i = 0; i < f->n_own; i++)
		put(s, "  iifname \"%s\" %s daddr %s drop\n", f->tun,
			f->own[i].addr.family == NET_IP4 ? "ip" : "ip6", prefix_show(&f->own[i], buf));
	put(s, "  iifname \"%s\" tcp dport { 25, 465, 587 } drop\n", f->tun);
}

static void script_make(struct script *s, const struct firewall_exit *f)
{
	char buf[NET_TEXT_MAX];

	/* Add, then delete: deleting alone fails where there is none. */
	put(s, "table inet mvpn_%s {}\ndelete table inet mvpn_%s\n", f->tun, f->tun);
	put(s, "table inet mvpn_%s {\n", f->tun);
	put(s, " chain input { type filter hook input priority filter;\n");
	put(s, "  iifname \"%s\" drop\n }\n", f->tun); /* clients do not talk to this machine */
	put(s, " chain forward { type filter hook forward priority filter;\n");
	put_refusals(s, f);
	put(s, "  oifname \"%s\" ct state established,related accept\n", f->tun);
	put(s, "  oifname \"%s\" drop\n }\n", f->tun); /* nobody dials in to a client */
	put(s, " chain postrouting { type nat hook postrouting priority srcnat;\n");
	if (f->pool4.addr.family != NET_NONE)
		put(s, "  ip saddr %s oifname != \"%s\" masquerade\n", prefix_show(&f->pool4, buf), f->tun);
	if (f->pool6.addr.family != NET_NONE)
		put(s, "  ip6 saddr %s oifname != \"%s\" masquerade\n", prefix_show(&f->pool6, buf), f->tun);
	put(s, " }\n}\n");
}

static enum err script_run(const char *text)
{
	struct nft_ctx *nft = nft_ctx_new(NFT_CTX_DEFAULT);
	enum err e = OK;

	if (nft == NULL)
		return ERR_FULL;
	nft_ctx_buffer_error(nft);
	nft_ctx_buffer_output(nft);
	if (nft_run_cmd_from_buffer(nft, text) != 0) {
		log_error("nftables refused: %.300s", nft_ctx_get_error_buffer(nft));
		e = ERR_IO;
	}
	nft_ctx_free(nft);
	return e;
}

/* "1" into a switch below /proc/sys/net; already on is fine even where it may not be written. */
static enum err sysctl_on(const char *name)
{
	char path[128], now = 0;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? OK : ERR_IO; /* the family is not there */
	n = read(fd, &now, 1);
	close(fd);
	if (n == 1 && now != '0')
		return OK;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : write(fd, "1", 1);
	if (n != 1)
		log_error("%s cannot be switched on: %s; an exit needs it (sysctl)", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return n == 1 ? OK : ERR_IO;
}

enum err firewall_exit_up(const struct firewall_exit *f)
{
	static struct script s; /* 8 KiB, main thread only */

	s.len = 0;
	script_make(&s, f);
	TRY(script_run(s.text));
	TRY(sysctl_on("ipv4/ip_forward"));
	return sysctl_on("ipv6/conf/all/forwarding");
}

void firewall_exit_down(const char *tun)
{
	char text[160];

	snprintf(text, sizeof(text), "table inet mvpn_%.15s {}\ndelete table inet mvpn_%.15s\n", tun, tun);
	if (script_run(text) != OK)
		log_warn("the firewall table of the exit could not be removed");
}
