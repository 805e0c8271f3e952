/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/sys/clock.h"
#include "lib/sys/ctl.h"
#include "lib/sys/service.h"
#include "lib/sys/table.h"

struct report {
	struct table *table;
	const char *dir;
	bool bad;		/* something essential is missing */
	bool elsewhere[ROLES];	/* this folder is of a part of a node, without that role */
};

enum finding {
	FINE,
	HINT,	   /* works without, worse */
	ELSEWHERE, /* not to be judged from here */
	BAD
};

static void say(struct report *r, enum finding f, const char *what, const char *state, const char *mend)
{
	static const char *const words[] = {"ok", "hint", "elsewhere", "MISSING"};
	const struct ctl_field row[] = {
		{.key = "check", .type = CTL_TEXT, .text = what},
		{.key = "result", .type = CTL_TEXT, .text = words[f]},
		{.key = "state", .type = CTL_TEXT, .text = state},
		{.key = "mend", .type = CTL_TEXT, .text = f == FINE ? "" : mend},
	};

	r->bad |= f == BAD;
	table_row(r->table, "doctor", row, 4);
}

static bool key_there(const struct report *r, const char *name)
{
	char path[600];
	struct stat st;

	snprintf(path, sizeof(path), "%s/keys/%s", r->dir, name);
	return stat(path, &st) == 0;
}

/* Services that run apart (compose/) have each its own key pair of the bus, and the public halves of
 * the others'. A node that is whole has all pairs: what it lacks besides is missing. */
static void find_parts(struct report *r)
{
	char name[40];
	bool here[ROLES], any = false;

	for (enum role role = ROLE_TUNNEL; role < ROLES; role++) {
		snprintf(name, sizeof(name), "bus-%s.key", role_name(role));
		here[role] = key_there(r, name);
		any |= here[role];
	}
	for (enum role role = ROLE_TUNNEL; role < ROLES; role++) {
		snprintf(name, sizeof(name), "bus-%s.pub", role_name(role));
		r->elsewhere[role] = any && !here[role] && key_there(r, name);
	}
}

/* Is it the matter of a role that is not here? Then that is said. */
static bool left_to(struct report *r, enum role role, const char *what)
{
	char state[60], mend[60];

	if (!r->elsewhere[role])
		return false;
	snprintf(state, sizeof(state), "a matter of the %s, which runs elsewhere", role_name(role));
	snprintf(mend, sizeof(mend), "look where it runs: %sctl status", role_name(role));
	say(r, ELSEWHERE, what, state, mend);
	return true;
}

static void check_tun(struct report *r)
{
	int fd;

	if (left_to(r, ROLE_TUNNEL, "TUN device"))
		return;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	if (fd >= 0) {
		say(r, FINE, "TUN device", "/dev/net/tun opens", "");
		close(fd);
	} else if (errno == ENOENT || errno == ENODEV) {
		say(r, BAD, "TUN device", "not there",
			"modprobe tun; in a container give it --device /dev/net/tun");
	} else {
		say(r, BAD, "TUN device", strerror(errno),
			"run the tunnel as root, or chmod 0666 /dev/net/tun");
	}
}

static void check_capability(struct report *r)
{
	cap_flag_value_t set = CAP_CLEAR;
	cap_t have;

	if (left_to(r, ROLE_TUNNEL, "network rights"))
		return;
	have = cap_get_proc();
	if (have != NULL)
		cap_get_flag(have, CAP_NET_ADMIN, CAP_PERMITTED, &set);
	cap_free(have);
	if (set == CAP_SET)
		say(r, FINE, "network rights", "CAP_NET_ADMIN", "");
	else
		say(r, HINT, "network rights", "this shell has no CAP_NET_ADMIN",
			"start the tunnel as root, or inside `unshare -Urnm`");
}

/* First line of a file below /proc, or "". */
static void line_read(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");

	buf[0] = '\0';
	if (f == NULL)
		return;
	if (fgets(buf, (int)size, f) == NULL)
		buf[0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	fclose(f);
}

static void check_namespaces(struct report *r)
{
	char max[32], clone[32];

	line_read("/proc/sys/user/max_user_namespaces", max, sizeof(max));
	line_read("/proc/sys/kernel/unprivileged_userns_clone", clone, sizeof(clone));
	if (strcmp(max, "0") == 0 || strcmp(clone, "0") == 0)
		say(r, HINT, "user namespaces", "forbidden",
			"sysctl user.max_user_namespaces=10000 (or run the lab as root)");
	else
		say(r, FINE, "user namespaces", "allowed", "");
}

static void check_forwarding(struct report *r)
{
	char v4[8], v6[8], state[64];

	if (left_to(r, ROLE_TUNNEL, "forwarding"))
		return;
	line_read("/proc/sys/net/ipv4/ip_forward", v4, sizeof(v4));
	line_read("/proc/sys/net/ipv6/conf/all/forwarding", v6, sizeof(v6));
	snprintf(state, sizeof(state), "IPv4 %s, IPv6 %s", v4[0] == '1' ? "on" : "off",
		v6[0] == '1' ? "on" : "off");
	say(r, v4[0] == '1' ? FINE : HINT, "forwarding", state,
		"only an exit needs it: sysctl net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1");
}

static bool program_there(const char *name)
{
	char path[4096];
	const char *dirs = getenv("PATH");

	for (const char *p = dirs == NULL ? "/usr/sbin:/usr/bin" : dirs; *p != '\0';) {
		size_t len = strcspn(p, ":");

		snprintf(path, sizeof(path), "%.*s/%s", (int)len, p, name);
		if (access(path, X_OK) == 0)
			return true;
		p += len + (p[len] == ':');
	}
	return false;
}

static void check_redis(struct report *r)
{
	bool there;

	if (left_to(r, ROLE_ROUTER, "Redis"))
		return;
	there = program_there("redis-server");
	say(r, there ? FINE : HINT, "Redis", there ? "installed" : "redis-server is not installed",
		"apt-get install redis-server; without it reputation is kept in memory only");
}

static void check_clock(struct report *r)
{
	/* Descriptors live a day: a clock before this program was built cannot be right. */
	if (wall_now().s < 1760000000)
		say(r, BAD, "clock", "years behind", "set the date: descriptors of others look expired");
	else
		say(r, FINE, "clock", "plausible", "");
}

static bool check_folder(struct report *r)
{
	static const struct {
		const char *name;
		enum role role; /* whose it is alone */
	} files[] = {{"node.ini", ROLE_NONE}, {"keys/identity.key", ROLE_DISCOVERY},
		{"keys/tunnel.key", ROLE_TUNNEL}, {"keys/wallet.key", ROLE_LEDGER},
		{"keys/ui.token", ROLE_GATEWAY}};
	char path[600], mend[200];
	struct stat st;

	snprintf(mend, sizeof(mend), "mvpn init --dir %.150s", r->dir);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", r->dir, files[i].name);
		if (stat(path, &st) != 0) {
			if (left_to(r, files[i].role, files[i].name))
				continue;
			say(r, BAD, files[i].name, strerror(errno), mend);
			return false;
		}
		if (files[i].role != ROLE_NONE && (st.st_mode & 077) != 0)
			say(r, BAD, files[i].name, "others may read it", "chmod 600 it");
	}
	say(r, FINE, "node folder", "complete", "");
	return true;
}

static void check_service(struct report *r, enum role role)
{
	static const char *const words[] = {"status"};
	struct ctl_client *c = NULL;
	char name[40], mend[100], why[200];
	enum err e;

	snprintf(name, sizeof(name), "service %s", role_name(role));
	if (left_to(r, role, name))
		return;
	e = ctl_connect(&c, r->dir, role);
	if (e == OK)
		e = ctl_ask(c, words, 1, DUR_S(1), NULL, NULL, why);
	ctl_disconnect(&c);
	snprintf(mend, sizeof(mend), "start it: mvpn-%s --dir DIR; its log says what is wrong",
		role_name(role));
	say(r, e == OK ? FINE : BAD, name, e == OK ? "answers" : "does not answer", mend);
}

static void gateway_row(void *ctx, const char *table, const struct ctl_field *f, size_t n)
{
	struct report *r = ctx;

	if (strcmp(table, "doctor") != 0)
		return;
	for (size_t i = 0; i < n; i++)
		if (strcmp(f[i].key, "result") == 0 && f[i].text != NULL)
			r->bad |= strcmp(f[i].text, "MISSING") == 0;
	table_row(r->table, table, f, n);
}

/* What only the running node can see: links between services, peers, money. */
static void check_from_inside(struct report *r)
{
	static const char *const words[] = {"doctor"};
	struct ctl_client *c = NULL;
	char why[200];

	if (r->elsewhere[ROLE_GATEWAY])
		return;
	if (ctl_connect(&c, r->dir, ROLE_GATEWAY) == OK &&
		ctl_ask(c, words, 1, DUR_S(1), gateway_row, r, why) != OK)
		say(r, HINT, "inside", "the gateway does not say", "start the gateway");
	ctl_disconnect(&c);
}

int doctor(const char *dir, bool json)
{
	struct report r = {.table = table_new(json), .dir = dir};

	if (r.table == NULL)
		return 1;
	find_parts(&r);
	check_tun(&r);
	check_capability(&r);
	check_namespaces(&r);
	check_forwarding(&r);
	check_redis(&r);
	check_clock(&r);
	if (check_folder(&r)) {
		for (enum role role = ROLE_TUNNEL; role < ROLES; role++)
			check_service(&r, role);
		check_from_inside(&r);
	}
	table_print(r.table, stdout);
	table_free(r.table);
	return r.bad ? 1 : 0;
}
