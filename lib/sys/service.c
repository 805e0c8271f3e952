/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sodium.h>

#include "bus_tcp.h"
#include "clock.h"
#include "confine.h"
#include "log.h"
#include "resident.h"

#define FDS_MAX 64	      /* registered by one service; the tunnel's workers have their own */
#define CONF_FILE_MAX (1 << 20) /* bytes of node.ini */

struct fd_entry {
	int fd;
	uint32_t events;
	service_fd_fn *fn;
	void *ctx;
};

struct service {
	const struct service_spec *spec;
	char dir[512], run_dir[600], state_dir[600];
	void *conf, *state;
	struct bus_tcp tcp; /* .conf is always set, the keys if tcp_on */
	bool tcp_on;
	struct bus *bus;
	struct ctl_server *ctl;
	int signal_fd, lock_fd;
	mono_t now;
	bool stopping;
	struct fd_entry fds[FDS_MAX];
	size_t n_fds;
};

const char *service_dir(const struct service *s)
{
	return s->dir;
}

const char *service_state_dir(const struct service *s)
{
	return s->state_dir;
}

struct bus *service_bus(struct service *s)
{
	return s->bus;
}

mono_t service_now(const struct service *s)
{
	return s->now;
}

void service_stop(struct service *s)
{
	s->stopping = true;
}

bool service_stopping(const struct service *s)
{
	return s->stopping;
}

enum err service_fd_add(struct service *s, int fd, uint32_t events, service_fd_fn *fn, void *ctx)
{
	service_fd_del(s, fd);
	if (s->n_fds == FDS_MAX)
		return ERR_FULL;
	s->fds[s->n_fds++] = (struct fd_entry){fd, events, fn, ctx};
	return OK;
}

void service_fd_del(struct service *s, int fd)
{
	for (size_t i = 0; i < s->n_fds; i++) {
		if (s->fds[i].fd != fd)
			continue;
		s->fds[i] = s->fds[--s->n_fds];
		return;
	}
}

enum err service_key_load(const struct service *s, const char *name, uint8_t *ret_key, size_t len)
{
	char path[700], *text;
	struct stat st;
	size_t n, n_bin;
	enum err e;

	snprintf(path, sizeof(path), "%s/keys/%s", s->dir, name);
	e = file_read(path, 4096, &text, &n);
	if (e != OK) {
		log_error("keys/%s: %s; `mvpn init --dir DIR` makes it", name, err_str(e));
		return e;
	}
	if (stat(path, &st) != 0 || (st.st_mode & 077) != 0) {
		log_error("keys/%s may be read by others: chmod 600 it", name);
		e = ERR_DENIED;
	} else if (sodium_hex2bin(ret_key, len, text, n, "\n", &n_bin, NULL) != 0 || n_bin != len) {
		log_error("keys/%s is not %zu hexadecimal digits", name, 2 * len);
		e = ERR_INVALID;
	}
	sodium_memzero(text, n);
	free(text);
	return e;
}

/* ---- one turn ---- */

mono_t service_deadline(struct service *s)
{
	const mono_t own = s->spec->deadline == NULL ? MONO_NEVER : s->spec->deadline(s->state);

	return mono_min(own, bus_deadline(s->bus));
}

static void signals_read(struct service *s)
{
	struct signalfd_siginfo info;

	while (read(s->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		service_stop(s);
}

bool service_turn(struct service *s)
{
	bool more;

	s->now = mono_now();
	signals_read(s);
	more = bus_turn(s->bus, s->now);
	more |= ctl_turn(s->ctl);
	if (s->spec->tick != NULL)
		s->spec->tick(s->state, s->now);
	return more;
}

size_t service_wake_fds(struct service *s, int *ret_fds, size_t max)
{
	size_t n = bus_fds(s->bus, ret_fds, max);

	if (n + 2 <= max) {
		ret_fds[n++] = ctl_fd(s->ctl);
		ret_fds[n++] = s->signal_fd;
	}
	return n;
}

/* Milliseconds until t, rounded up so that we do not wake just before it; -1: no end. */
static int wait_ms(mono_t t, mono_t now)
{
	uint64_t ns = mono_since(now, t).ns;

	if (t.ns == UINT64_MAX)
		return -1;
	return ns > 3600u * 1000000000ull ? 3600000 : (int)((ns + 999999) / 1000000);
}

static void fds_dispatch(struct service *s, const struct pollfd *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i].revents == 0)
			continue;
		/* A handler may have removed or added entries: find it anew. */
		for (size_t k = 0; k < s->n_fds; k++) {
			if (s->fds[k].fd != p[i].fd)
				continue;
			s->fds[k].fn(s->fds[k].ctx, p[i].fd, (uint32_t)(uint16_t)p[i].revents);
			break;
		}
	}
}

static void loop_run(struct service *s)
{
	int wake[4 * ROLES];
	size_t n_wake = service_wake_fds(s, wake, sizeof(wake) / sizeof(wake[0]));

	while (!s->stopping) {
		struct pollfd p[4 * ROLES + FDS_MAX];
		bool more = service_turn(s);
		int timeout;
		size_t n = 0;

		if (s->stopping)
			break;
		for (size_t i = 0; i < n_wake; i++)
			p[n++] = (struct pollfd){.fd = wake[i], .events = POLLIN};
		for (size_t i = 0; i < s->n_fds; i++)
			p[n++] = (struct pollfd){
				.fd = s->fds[i].fd, .events = (short)s->fds[i].events};
		timeout = more ? 0 : wait_ms(service_deadline(s), mono_now());
		if (poll(p, n, timeout) < 0 && errno != EINTR) {
			log_error("poll: %s", strerror(errno));
			return;
		}
		s->now = mono_now();
		fds_dispatch(s, p + n_wake, n - n_wake);
	}
}

/* ---- the ritual ---- */

static void usage_keys(const struct conf_key *keys, size_t n, FILE *f)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "  [%s] %s = %s\n      %s\n", keys[i].section + (keys[i].section[0] == '+'),
			keys[i].key, keys[i].def == NULL ? "" : keys[i].def, keys[i].help);
}

static void usage(const struct service_spec *spec, FILE *f)
{
	fprintf(f,
		"usage: mvpn-%s --dir DIR [--check] [--verbose]\n\n%s\n\n"
		"  --dir DIR   the node's folder (node.ini, keys/, state/, run/); `mvpn init` makes one\n"
		"  --check     parse DIR/node.ini, say what is wrong, and end\n"
		"  --verbose   log more (never addresses or names)\n"
		"  --version\n\nKeys of node.ini that this service reads:\n",
		role_name(spec->role), spec->what);
	usage_keys(spec->keys, spec->n_keys, f);
	usage_keys(bus_tcp_conf_keys, bus_tcp_conf_n_keys, f);
}

static enum err dirs_set(struct service *s, const char *dir)
{

	if (access(dir, X_OK) != 0) {
		log_error("--dir %s: %s; `mvpn init --dir %s` makes it", dir, strerror(errno), dir);
		return ERR_NOT_FOUND;
	}
	if ((size_t)snprintf(s->dir, sizeof(s->dir), "%s", dir) >= sizeof(s->dir))
		return ERR_TOO_LARGE;
	snprintf(s->run_dir, sizeof(s->run_dir), "%s/run", s->dir);
	snprintf(s->state_dir, sizeof(s->state_dir), "%s/state/%s", s->dir, role_name(s->spec->role));
	return OK;
}

static enum err state_dir_make(struct service *s)
{
	char parent[600];

	snprintf(parent, sizeof(parent), "%s/state", s->dir);
	if ((mkdir(parent, 0700) != 0 && errno != EEXIST) ||
		(mkdir(s->state_dir, 0700) != 0 && errno != EEXIST)) {
		log_error("state/%s: %s", role_name(s->spec->role), strerror(errno));
		return ERR_IO;
	}
	return OK;
}

/* All that a node has, whoever reads it. */
static const char *const node_sections[] = {
	"node", "bus", "tunnel", "discovery", "router", "ledger", "gateway"};

static enum err conf_take(struct service *s, const char *text, char *why)
{
	TRY(conf_sections(text, node_sections, sizeof(node_sections) / sizeof(node_sections[0]), why));
	TRY(conf_parse(text, s->spec->keys, s->spec->n_keys, s->conf, why));
	return conf_parse(text, bus_tcp_conf_keys, bus_tcp_conf_n_keys, &s->tcp.conf, why);
}

static enum err conf_read(struct service *s)
{
	char path[600], why[CONF_WHY_MAX], *text;
	size_t len;
	enum err e;

	snprintf(path, sizeof(path), "%s/node.ini", s->dir);
	e = file_read(path, CONF_FILE_MAX, &text, &len);
	if (e != OK) {
		log_error("node.ini: %s; `mvpn init --dir %s` writes one", err_str(e), s->dir);
		return e;
	}
	e = strlen(text) == len ? conf_take(s, text, why) : ERR_MALFORMED;
	if (e == ERR_MALFORMED)
		snprintf(why, sizeof(why), "holds a zero byte, so it is not text");
	if (e != OK)
		log_error("node.ini: %s", why);
	free(text);
	return e != OK ? e : bus_tcp_check(&s->tcp.conf, &s->tcp_on);
}

/* Over TCP there is no bus without keys: a file that is missing ends the service here. */
static enum err bus_keys_load(struct service *s)
{
	char name[32];

	if (!s->tcp_on)
		return OK;
	snprintf(name, sizeof(name), "bus-%s.key", role_name(s->spec->role));
	TRY(service_key_load(s, name, s->tcp.own_key, sizeof(s->tcp.own_key)));
	for (enum role r = ROLE_TUNNEL; r < ROLES; r++) {
		snprintf(name, sizeof(name), "bus-%s.pub", role_name(r));
		TRY(service_key_load(s, name, s->tcp.public_key[r], sizeof(s->tcp.public_key[r])));
	}
	return OK;
}

/* Signals by file descriptor; no core dumps (they hold keys); no SIGPIPE. */
static enum err process_prepare(struct service *s)
{
	const struct rlimit none = {0, 0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return ERR_IO;
	signal(SIGPIPE, SIG_IGN);
	s->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	umask(077);
	return s->signal_fd < 0 || sodium_init() < 0 ? ERR_IO : OK;
}

/* One process of a service per folder: a second one would take over the first one's sockets. */
static enum err lock_take(struct service *s)
{
	char path[700];

	if (mkdir(s->run_dir, 0700) != 0 && errno != EEXIST) {
		log_error("run/: %s", strerror(errno));
		return ERR_IO;
	}
	snprintf(path, sizeof(path), "%s/%s.lock", s->run_dir, role_name(s->spec->role));
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (s->lock_fd >= 0 && flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
		return OK;
	log_error("run/%s.lock: %s", role_name(s->spec->role),
		s->lock_fd >= 0 ? "this service already runs in this folder" : strerror(errno));
	return ERR_UNAVAILABLE;
}

/* `show bus`: every service has it. */
static enum err verb_show_bus(void *state, int argc, char *const *argv, struct ctl_out *o)
{
	struct service *s = state;
	const struct bus_counters *n = bus_counters(s->bus);

	(void)argc;
	(void)argv;
	ctl_row(o, "bus");
	ctl_text(o, "over", s->tcp_on ? "tcp" : "ipc");
	ctl_number(o, "sent", (int64_t)n->sent);
	ctl_number(o, "received", (int64_t)n->received);
	ctl_number(o, "dropped_full", (int64_t)n->dropped_full);
	ctl_number(o, "bad_message", (int64_t)n->bad_message);
	ctl_number(o, "bad_role", (int64_t)n->bad_role);
	ctl_number(o, "version_refused", (int64_t)n->version_refused);
	ctl_number(o, "key_refused", (int64_t)n->key_refused);
	for (enum role r = ROLE_TUNNEL; r < ROLES; r++) {
		if (!bus_pair_allowed(r, s->spec->role))
			continue;
		ctl_row(o, "links");
		ctl_text(o, "to", role_name(r));
		ctl_flag(o, "up", bus_link_up(s->bus, r));
	}
	return OK;
}

static const struct ctl_verb common_verbs[] = {{"show bus", verb_show_bus}};

static enum err open_all(struct service *s)
{
	const struct service_spec *spec = s->spec;
	const struct ctl_verbs common = {common_verbs, 1, s};

	TRY(lock_take(s));
	TRY(state_dir_make(s));
	TRY(bus_keys_load(s));
	s->now = mono_now();
	TRY(spec->init(s, s->conf, &s->state));
	/* Before the bus, so that ZeroMQ's threads begin with as little. */
	TRY(spec->confine != NULL ? spec->confine(s, s->state) : confine(CONFINE_DEFAULT));
	enum err e = bus_open(&s->bus, spec->role, s->run_dir, s->tcp_on ? &s->tcp : NULL, spec->inbox,
		s->state);
	sodium_memzero(s->tcp.own_key, sizeof(s->tcp.own_key));
	const struct ctl_verbs own = {spec->verbs, spec->n_verbs, s->state};
	if (e == OK)
		e = ctl_open(&s->ctl, spec->role, s->run_dir, &own, &common);
	if (e != OK) {
		log_error("run/: the bus cannot be opened: %s (%s)", e == ERR_IO ? strerror(errno) : err_str(e),
			s->tcp_on ? "node.ini: [bus] is the address of this service one of this machine?"
				  : "socket paths hold at most 107 characters: is --dir too long?");
	}
	return e;
}

static int run(struct service *s)
{
	enum err e = open_all(s);

	if (e == OK) {
		resident_trim(); /* of what the start took */
		log_info("ready");
		if (s->spec->run != NULL)
			s->spec->run(s, s->state);
		else
			loop_run(s);
		log_info("stopping");
	}
	if (s->state != NULL && s->spec->stop != NULL)
		s->spec->stop(s->state);
	ctl_close(&s->ctl);
	bus_close(&s->bus);
	return e == OK ? 0 : 1;
}

int service_main(int argc, char **argv, const struct service_spec *spec)
{
	static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
		{"check", no_argument, NULL, 'c'}, {"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	struct service *s = calloc(1, sizeof(*s));
	const char *dir = NULL;
	bool check = false, verbose = false;
	int c, code = 2;

	if (s == NULL)
		return 1;
	s->spec = spec;
	s->conf = calloc(1, spec->conf_size > 0 ? spec->conf_size : 1);
	while ((c = getopt_long(argc, argv, "d:cvh", options, NULL)) != -1) {
		if (c == 'd')
			dir = optarg;
		else if (c == 'c')
			check = true;
		else if (c == 'v')
			verbose = true;
		else if (c == 'V') {
			printf("mvpn-%s %s\n", role_name(spec->role), MVPN_VERSION);
			code = 0;
			goto out;
		} else {
			usage(spec, c == 'h' ? stdout : stderr);
			code = c == 'h' ? 0 : 2;
			goto out;
		}
	}
	if (dir == NULL || optind != argc || s->conf == NULL) {
		usage(spec, stderr);
		goto out;
	}
	log_init(role_name(spec->role), verbose ? LOG_DEBUG_ : LOG_INFO_);
	code = 1;
	if (process_prepare(s) != OK || dirs_set(s, dir) != OK || conf_read(s) != OK)
		goto out;
	code = check ? 0 : run(s);
out:
	sodium_memzero(&s->tcp, sizeof(s->tcp));
	free(s->conf);
	free(s);
	return code;
}
