/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The interface and its socket are made before the process goes to the background, so that what is
 * wrong is said where it was typed. Threads begin after it. */
#include "dropin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <sodium.h>

#include "device.h"
#include "lib/sys/log.h"
#include "lib/sys/resident.h"
#include "link.h"
#include "netmon.h"
#include "uapi.h"

struct dropin {
	char name[IFNAMSIZ];
	bool foreground;
	unsigned int n_workers;
	int tun_fds[WORKERS_MAX];
	int tun_fd; /* our own copy of the first */
	int ready_fd; /* the process that waits in the foreground; -1: none */
	int signal_fd, inotify_fd;
	struct plane plane;
	struct device device;
	struct uapi uapi;
	struct netmon netmon;
	bool stop;
};

/* --- starting ------------------------------------------------------------------------------------------------- */
static int usage(const char *self)
{
	fprintf(stderr,
		"usage: %s [-f/--foreground] INTERFACE-NAME    userspace WireGuard\n"
		"       %s --dir DIR                           tunnel of a node (--dir DIR --help says more)\n"
		"\n"
		"Environment of the first form: LOG_LEVEL=verbose|error|silent, WG_TUN_FD, WG_UAPI_FD,\n"
		"WG_PROCESS_FOREGROUND=1; MVPN_WORKERS (threads; default one per core it may use),\n"
		"MVPN_AEAD=lanes|ipsec-mb|openssl|sodium (default: the fastest).\n",
		self, self);
	return 1;
}

/* NULL: not set, or empty, which is the same. */
static const char *env_text(const char *name)
{
	const char *s = getenv(name);

	return s != NULL && s[0] != '\0' ? s : NULL;
}

static enum log_level level_of(const char *s)
{
	if (s != NULL && (strcmp(s, "verbose") == 0 || strcmp(s, "debug") == 0))
		return LOG_DEBUG_;
	return s != NULL && strcmp(s, "info") == 0 ? LOG_INFO_ : LOG_ERROR_;
}

static int env_number(const char *name, int max, int otherwise)
{
	const char *s = env_text(name);
	char *end;
	long v;

	if (s == NULL)
		return otherwise;
	v = strtol(s, &end, 10);
	return *end == '\0' && v >= 0 && v <= max ? (int)v : -1;
}

#define ENDING_MS 1000	/* so long another of the same name may take to end */
#define DROPIN_MTU 1420 /* fits 1500 with IPv6 outside, as wireguard-go has it */

/* Best effort: it works with what the kernel chose, only with more delay. queue_len 0: as it is. */
static void tun_settle(const char *name, uint32_t queue_len)
{
	struct link l;

	if (link_open(&l) != OK)
		return;
	if (link_set(&l, link_index(name), false, DROPIN_MTU, queue_len) != OK)
		log_warn("MTU and queue length of %s stay as they are", name);
	link_close(&l);
}

static int tun_begin(struct dropin *d)
{
	const int fd = env_number("WG_TUN_FD", 1 << 20, -1);
	struct tun_kind *kind = &d->plane.tun_kinds[TUN_DEVICE];
	char name[IFNAMSIZ];
	enum err e;

	memcpy(name, d->name, sizeof(name));
	if (env_text("WG_TUN_FD") != NULL) {
		d->plane.n_workers = 1; /* one queue was handed in, so there is one */
		d->tun_fds[0] = fd;
		e = fd < 0 ? ERR_INVALID : tun_adopt(fd, kind);
		errno = EINVAL;
	} else {
		e = tun_open(name, d->plane.n_workers, kind, d->tun_fds);
		if (e != OK && errno == EINVAL && d->plane.n_workers > 1) { /* it is there, with one queue */
			d->plane.n_workers = 1;
			e = tun_open(name, 1, kind, d->tun_fds);
		}
	}
	if (e != OK) {
		fprintf(stderr, "mvpn-tunnel: the TUN device %s cannot be made: %s\n", d->name, strerror(errno));
		return 1;
	}
	memcpy(d->name, kind->name, sizeof(d->name));
	tun_settle(d->name, env_text("WG_TUN_FD") != NULL ? 0 : TUN_QUEUE_LEN);
	d->tun_fd = fcntl(d->tun_fds[0], F_DUPFD_CLOEXEC, 3);
	return d->tun_fd < 0;
}

static int uapi_begin(struct dropin *d)
{
	const int fd = env_number("WG_UAPI_FD", 1 << 20, -1);

	if (env_text("WG_UAPI_FD") == NULL ? uapi_listen(&d->uapi, d->name) == OK : uapi_adopt(&d->uapi, fd) == OK)
		return 0;
	fprintf(stderr, "mvpn-tunnel: the configuration socket of %s cannot be made: %s\n", d->name,
		strerror(errno));
	return 1;
}

/* Into the background. Returns twice: in the child 0; in the parent the exit code, once the child is
 * ready or dead. -1: could not. */
static int background(struct dropin *d, bool *ret_parent)
{
	int p[2];
	char ready = 0;
	pid_t pid;

	*ret_parent = false;
	if (pipe2(p, O_CLOEXEC) != 0 || (pid = fork()) < 0)
		return -1;
	if (pid > 0) {
		*ret_parent = true;
		close(p[1]);
		return read(p[0], &ready, 1) == 1 ? 0 : 1;
	}
	close(p[0]);
	d->ready_fd = p[1];
	setsid();
	(void)!chdir("/");
	return 0;
}

/* What is wrong has been said: from here on only what LOG_LEVEL asks for. Without it a process in the
 * background says nothing. */
static void output_settle(const struct dropin *d)
{
	const char *level = env_text("LOG_LEVEL");
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (!d->foreground)
		dup2(null, STDIN_FILENO);
	if (level == NULL ? d->foreground : strcmp(level, "silent") != 0)
		return;
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
}

/* No core dumps: they hold keys. Signals by descriptor. */
static enum err process_prepare(struct dropin *d)
{
	const struct rlimit none = {0, 0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return ERR_IO;
	signal(SIGPIPE, SIG_IGN);
	d->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	d->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (d->uapi.path[0] != '\0')
		inotify_add_watch(d->inotify_fd, d->uapi.path, IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF);
	setrlimit(RLIMIT_CORE, &none);
	prctl(PR_SET_DUMPABLE, 0);
	return d->signal_fd < 0 || sodium_init() < 0 ? ERR_IO : OK;
}

/* --- running ---------------------------------------------------------------------------------------------------- */
static void link_follow(struct dropin *d)
{
	int e;

	if (d->netmon.mtu != 0)
		device_mtu_set(&d->device, d->netmon.mtu);
	if (!d->netmon.up) {
		device_down(&d->device);
		return;
	}
	e = device_up(&d->device);
	if (e != 0)
		log_error("the port cannot be bound: %s", strerror(-e));
}

/* It left this namespace: deleted, or moved to another, where we look after it (the sockets stay). */
static void device_look(struct dropin *d)
{
	const struct netmon before = d->netmon;

	if (tun_name(d->tun_fd, d->name) != OK) {
		d->stop = true;
		return;
	}
	if (netmon_look(&d->netmon, d->name, d->tun_fd) != OK)
		d->netmon.up = true; /* without the right to look: better a socket too many than none */
	if (before.up != d->netmon.up || before.mtu != d->netmon.mtu)
		link_follow(d);
}

static void on_netmon(struct dropin *d)
{
	const unsigned int events = netmon_read(&d->netmon);

	if ((events & NETMON_ROUTES) != 0)
		device_sources_forget(&d->device);
	if ((events & NETMON_LINK) != 0)
		link_follow(d);
}

/* The socket's file was removed: that is how to tell wireguard-go to end. */
static void on_inotify(struct dropin *d)
{
	char buf[1024];

	while (read(d->inotify_fd, buf, sizeof(buf)) > 0)
		;
	if (access(d->uapi.path, F_OK) != 0)
		d->stop = true;
}

enum {
	FD_SIGNAL,
	FD_INOTIFY,
	FD_NETMON,
	FD_TUN,
	FD_UAPI,
	FD_CONNECTIONS,
	FDS = FD_CONNECTIONS + UAPI_CONNECTIONS_MAX
};

static void loop(struct dropin *d)
{
	while (!d->stop) {
		struct pollfd p[FDS];

		p[FD_SIGNAL] = (struct pollfd){d->signal_fd, POLLIN, 0};
		p[FD_INOTIFY] = (struct pollfd){d->inotify_fd, POLLIN, 0};
		p[FD_NETMON] = (struct pollfd){d->netmon.fd, POLLIN, 0};
		/* Elsewhere its end is heard here; at home by netmon, and packets wake one the less. */
		p[FD_TUN] = (struct pollfd){d->netmon.index == 0 ? d->tun_fd : -1, 0, 0};
		p[FD_UAPI] = (struct pollfd){d->uapi.listen_fd, POLLIN, 0};
		for (int i = 0; i < UAPI_CONNECTIONS_MAX; i++)
			p[FD_CONNECTIONS + i] = (struct pollfd){
				d->uapi.connections[i].fd, uapi_waits_for(&d->uapi.connections[i]), 0};
		if (poll(p, FDS, d->netmon.index == 0 ? NETMON_LOOK_MS : -1) < 0 && errno != EINTR)
			return;
		if (p[FD_SIGNAL].revents != 0 || p[FD_TUN].revents != 0)
			d->stop = true;
		if (p[FD_INOTIFY].revents != 0)
			on_inotify(d);
		if (p[FD_NETMON].revents != 0)
			on_netmon(d);
		if (d->netmon.index == 0)
			device_look(d);
		for (int i = 0; i < UAPI_CONNECTIONS_MAX; i++)
			if (p[FD_CONNECTIONS + i].revents != 0)
				uapi_serve(&d->uapi, &d->uapi.connections[i], &d->device);
		if (p[FD_UAPI].revents != 0)
			uapi_accept(&d->uapi);
	}
}

static int run(struct dropin *d)
{
	enum err e = process_prepare(d);

	if (e == OK)
		e = plane_start(&d->plane);
	if (e == OK)
		e = device_init(&d->device, &d->plane, d->tun_fds);
	if (e == OK)
		e = netmon_open(&d->netmon, d->name, d->tun_fd);
	if (e != OK) {
		log_error("cannot start: %s", err_str(e));
		return 1;
	}
	if (d->ready_fd >= 0) {
		(void)!write(d->ready_fd, "r", 1);
		close(d->ready_fd);
	}
	resident_trim(); /* the AEAD libraries' tests of themselves, and ours of them */
	log_info("ready, %u workers, ChaCha20-Poly1305 by %s", d->plane.n_workers, d->plane.aead->name);
	loop(d);
	log_info("stopping");
	plane_done(&d->plane);
	device_done(&d->device);
	return 0;
}

/* One whose interface has just been deleted is about to end. */
static bool name_taken(const char *name)
{
	for (int i = 0; i < ENDING_MS / 10; i++) {
		if (!uapi_taken(name))
			return false;
		if (link_index(name) != 0)
			return true;
		poll(NULL, 0, 10);
	}
	return true;
}

static int begin(struct dropin *d)
{
	const int n_workers = env_number("MVPN_WORKERS", WORKERS_MAX, 0);
	const struct plane_conf conf = {.n_workers = n_workers < 0 ? 0 : (unsigned int)n_workers,
		.peers_max = DEVICE_PEERS_MAX,
		.aead = getenv("MVPN_AEAD")};
	bool parent;
	int code;
	enum err e;

	/* Before its device is touched: to open that is to take packets of another who has it. */
	if (env_text("WG_UAPI_FD") == NULL && name_taken(d->name)) {
		fprintf(stderr, "mvpn-tunnel: somebody has %s already\n", d->name);
		return 1;
	}
	/* The workers are made with the number of queues that the TUN device has. */
	d->plane.n_workers = env_text("WG_TUN_FD") != NULL ? 1 : plane_workers(&conf);
	if (tun_begin(d) != 0 || uapi_begin(d) != 0)
		return 1;
	if (!d->foreground) {
		code = background(d, &parent);
		if (code != 0 || parent)
			return code < 0 ? 1 : code;
	}
	output_settle(d);
	e = plane_init(&d->plane, &(struct plane_conf){.n_workers = d->plane.n_workers,
						 .peers_max = conf.peers_max,
						 .aead = conf.aead});
	if (e != OK)
		log_error("cannot start: %s", err_str(e));
	code = e == OK ? run(d) : 1;
	uapi_close(&d->uapi);
	return code;
}

int dropin_main(int argc, char **argv)
{
	struct dropin *d = calloc(1, sizeof(*d));
	const char *name = NULL, *fg = getenv("WG_PROCESS_FOREGROUND");
	int code;

	if (d == NULL)
		return 1;
	d->ready_fd = -1;
	d->foreground = fg != NULL && strcmp(fg, "1") == 0;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-f") == 0 || strcmp(argv[i], "--foreground") == 0)
			d->foreground = true;
		else if (argv[i][0] != '-' && name == NULL)
			name = argv[i];
		else
			name = "";
	}
	if (name == NULL || name[0] == '\0' || strlen(name) >= IFNAMSIZ) {
		free(d);
		return usage(argv[0]);
	}
	memcpy(d->name, name, strlen(name));
	log_init("tunnel", level_of(env_text("LOG_LEVEL")));
	code = begin(d);
	free(d);
	return code;
}
