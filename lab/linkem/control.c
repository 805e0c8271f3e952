/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORDS_MAX 16
#define RATE_MAX_BPS (1ull << 40) /* keeps the queue's arithmetic far from its limits */
#define DELAY_MAX_US 60000000u
#define QUEUE_MAX_BYTES (64u << 20)

struct command {
	struct control *k;
	struct control_client *client;
	char *words[WORDS_MAX];
	size_t n_words;
	char *out; /* CONTROL_REPLY_MAX */
	size_t n_out;
	char why[128];
};

static void say(struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct command *c, const char *fmt, ...)
{
	size_t room = CONTROL_REPLY_MAX - c->n_out;
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(c->out + c->n_out, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		c->n_out += (size_t)n < room ? (size_t)n : room - 1;
}

static enum err refuse(struct command *c, const char *what, const char *word)
{
	snprintf(c->why, sizeof(c->why), "%s: %.60s", what, word);
	return ERR_INVALID;
}

/* ---- words ---- */

static enum err number(struct command *c, const char *text, uint64_t max, uint64_t *ret_n)
{
	char *end;

	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	if (*text == '\0' || *text == '-' || *end != '\0' || errno != 0 || n > max)
		return refuse(c, "not a number in its range", text);
	*ret_n = n;
	return OK;
}

/* Splits word `key=value` in place. */
static char *value_of(char *word)
{
	char *eq = strchr(word, '=');

	if (eq == NULL)
		return NULL;
	*eq = '\0';
	return eq + 1;
}

static enum err host_named(struct command *c, struct host **ret_h)
{
	struct host *h = c->n_words < 2 ? NULL : host_find(c->k->world, c->words[1]);

	if (h == NULL)
		return refuse(c, "no such host", c->n_words < 2 ? "" : c->words[1]);
	*ret_h = h;
	return OK;
}

/* ---- commands ---- */

static enum err host_settings(struct command *c, struct host *h)
{
	for (size_t i = 2; i < c->n_words; i++) {
		char *value = value_of(c->words[i]);
		uint64_t n;

		if (value != NULL && strcmp(c->words[i], "region") == 0) {
			TRY(number(c, value, REGIONS_MAX - 1, &n));
			h->region = (uint8_t)n;
		} else if (value != NULL && strcmp(c->words[i], "mtu") == 0) {
			TRY(number(c, value, PACKET_MAX, &n));
			h->mtu = (uint16_t)n;
		} else {
			return refuse(c, "no such setting of a host", c->words[i]);
		}
	}
	return OK;
}

static enum err on_add(struct command *c)
{
	struct host *h;

	if (c->n_words < 2 || c->client->passed_fd < 0)
		return refuse(c, "add NAME needs a name and the descriptor of its TUN", "");
	if (host_add(c->k->world, c->words[1], c->client->passed_fd, &h) != OK)
		return refuse(c, "name in use, too long, or too many hosts", c->words[1]);
	c->client->passed_fd = -1;
	enum err e = host_settings(c, h);
	if (e != OK)
		host_del(c->k->world, h);
	else
		c->k->on_host(c->k->ctx, h);
	return e;
}

static enum err on_del(struct command *c)
{
	struct host *h;

	TRY(host_named(c, &h));
	host_del(c->k->world, h);
	return OK;
}

static enum err on_route(struct command *c)
{
	struct net_prefix p;
	struct host *h;

	TRY(host_named(c, &h));
	if (c->n_words < 3 || net_prefix_parse(c->words[2], &p) != OK)
		return refuse(c, "not a prefix", c->n_words < 3 ? "" : c->words[2]);
	return route_add(c->k->world, h, &p) == OK ? OK : refuse(c, "too many routes", c->words[2]);
}

static enum err state_set(struct command *c, const char *value, struct link_settings *s)
{
	if (strcmp(value, "up") != 0 && strcmp(value, "down") != 0)
		return refuse(c, "state is up or down", value);
	s->up = strcmp(value, "up") == 0;
	return OK;
}

static enum err link_set(
	struct command *c, const char *key, const char *value, struct link_settings *s)
{
	uint64_t n;

	if (strcmp(key, "state") == 0)
		return state_set(c, value, s);
	if (strcmp(key, "rate_bps") == 0)
		return number(c, value, RATE_MAX_BPS, &s->rate_bps);
	if (strcmp(key, "reorder") == 0) {
		TRY(number(c, value, 1, &n));
		s->reorder = n == 1;
		return OK;
	}
	const struct {
		const char *key;
		uint32_t *field;
		uint32_t max;
	} fields[] = {{"delay_us", &s->delay_us, DELAY_MAX_US},
		{"jitter_us", &s->jitter_us, DELAY_MAX_US}, {"loss_ppm", &s->loss_ppm, 1000000},
		{"queue_bytes", &s->queue_bytes, QUEUE_MAX_BYTES}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		if (strcmp(key, fields[i].key) != 0)
			continue;
		TRY(number(c, value, fields[i].max, &n));
		*fields[i].field = (uint32_t)n;
		return OK;
	}
	return refuse(c, "no such setting of a link", key);
}

/* All words or none: settings are tried on copies. */
static enum err on_link(struct command *c)
{
	struct host *h;
	bool up = true, down = true;

	TRY(host_named(c, &h));
	struct link_settings new_up = h->up.set, new_down = h->down.set;
	for (size_t i = 2; i < c->n_words; i++) {
		const char *value = value_of(c->words[i]);

		if (value == NULL)
			return refuse(c, "not key=value", c->words[i]);
		if (strcmp(c->words[i], "dir") == 0) {
			up = strcmp(value, "down") != 0;
			down = strcmp(value, "up") != 0;
			continue;
		}
		if (up)
			TRY(link_set(c, c->words[i], value, &new_up));
		if (down)
			TRY(link_set(c, c->words[i], value, &new_down));
	}
	h->up.set = new_up;
	h->down.set = new_down;
	/* A queue that was filled at another rate would block the new one. */
	h->up.free_at = h->down.free_at = (mono_t){0};
	return OK;
}

static enum err on_path(struct command *c)
{
	uint64_t a, b, us;
	const char *value = c->n_words == 4 ? value_of(c->words[3]) : NULL;

	if (value == NULL || strcmp(c->words[3], "delay_us") != 0)
		return refuse(c, "path REGION REGION delay_us=N", "");
	TRY(number(c, c->words[1], REGIONS_MAX - 1, &a));
	TRY(number(c, c->words[2], REGIONS_MAX - 1, &b));
	TRY(number(c, value, DELAY_MAX_US, &us));
	c->k->world->path_us[a][b] = c->k->world->path_us[b][a] = (uint32_t)us;
	return OK;
}

static enum err on_router(struct command *c)
{
	struct net_addr a;

	if (c->n_words < 2 || net_addr_parse(c->words[1], &a) != OK)
		return refuse(c, "not an address", c->n_words < 2 ? "" : c->words[1]);
	*(a.family == NET_IP4 ? &c->k->world->router4 : &c->k->world->router6) = a;
	return OK;
}

static void link_show(struct command *c, const char *name, const char *dir, const struct link *l)
{
	say(c,
		"link %s dir=%s state=%s delay_us=%u jitter_us=%u loss_ppm=%u rate_bps=%llu "
		"queue_bytes=%u reorder=%d packets=%llu bytes=%llu lost=%llu overflowed=%llu "
		"cut=%llu\n",
		name, dir, l->set.up ? "up" : "down", l->set.delay_us, l->set.jitter_us,
		l->set.loss_ppm, (unsigned long long)l->set.rate_bps, l->set.queue_bytes,
		l->set.reorder, (unsigned long long)l->n.packets, (unsigned long long)l->n.bytes,
		(unsigned long long)l->n.lost, (unsigned long long)l->n.overflowed,
		(unsigned long long)l->n.cut);
}

static enum err on_show(struct command *c)
{
	struct world *w = c->k->world;
	const struct world_counters *n = &w->n;

	for (size_t i = 0; i < HOSTS_MAX; i++) {
		const struct host *h = &w->hosts[i];

		if (h->id == 0)
			continue;
		say(c, "host %s region=%u mtu=%u write_failed=%llu\n", h->name, h->region, h->mtu,
			(unsigned long long)h->n_write_failed);
		link_show(c, h->name, "up", &h->up);
		link_show(c, h->name, "down", &h->down);
	}
	say(c,
		"world under_way=%zu malformed=%llu unrouted=%llu expired=%llu too_big=%llu "
		"no_buffer=%llu errors_sent=%llu errors_held=%llu\n",
		queue_count(w->queue), (unsigned long long)n->malformed,
		(unsigned long long)n->unrouted, (unsigned long long)n->expired,
		(unsigned long long)n->too_big, (unsigned long long)n->no_buffer,
		(unsigned long long)n->errors_sent, (unsigned long long)n->errors_held);
	return OK;
}

static enum err run(struct command *c)
{
	static const struct {
		const char *word;
		enum err (*run)(struct command *c);
	} commands[] = {{"add", on_add}, {"del", on_del}, {"route", on_route}, {"link", on_link},
		{"path", on_path}, {"router", on_router}, {"show", on_show}};

	for (size_t i = 0; c->n_words > 0 && i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(c->words[0], commands[i].word) == 0)
			return commands[i].run(c);
	return refuse(c, "no such command", c->n_words > 0 ? c->words[0] : "");
}

/* ---- lines ---- */

static bool line_answer(struct control *k, struct control_client *client, char *line)
{
	static char out[CONTROL_REPLY_MAX]; /* one thread, one line at a time */
	struct command c = {.k = k, .client = client, .out = out};
	char *save = NULL;

	for (char *w = strtok_r(line, " \t\r", &save); w != NULL && c.n_words < WORDS_MAX;
		w = strtok_r(NULL, " \t\r", &save))
		c.words[c.n_words++] = w;
	if (run(&c) == OK)
		say(&c, "ok\n");
	else
		say(&c, "error %s\n", c.why);
	if (client->passed_fd >= 0)
		close(client->passed_fd);
	client->passed_fd = -1;
	/* The answer fits the socket's buffer or the client is not reading it. */
	return send(client->fd, out, c.n_out, MSG_NOSIGNAL) == (ssize_t)c.n_out;
}

void control_client_init(struct control_client *c, int fd)
{
	*c = (struct control_client){.fd = fd, .passed_fd = -1};
}

void control_client_done(struct control_client *c)
{
	if (c->passed_fd >= 0)
		close(c->passed_fd);
	close(c->fd);
	c->fd = c->passed_fd = -1;
}

static ssize_t receive(struct control_client *c)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} extra;
	struct iovec iov = {c->line + c->len, sizeof(c->line) - 1 - c->len};
	struct msghdr m = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = extra.buf,
		.msg_controllen = sizeof(extra.buf)};
	ssize_t n = recvmsg(c->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	if (h != NULL && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
		if (c->passed_fd >= 0)
			close(c->passed_fd);
		memcpy(&c->passed_fd, CMSG_DATA(h), sizeof(int));
	}
	return n;
}

bool control_client_turn(struct control *k, struct control_client *c)
{
	ssize_t n = receive(c);
	char *begin = c->line, *end;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	c->len += (size_t)n;
	while ((end = memchr(begin, '\n', c->len - (size_t)(begin - c->line))) != NULL) {
		*end = '\0';
		if (!line_answer(k, c, begin))
			return false;
		begin = end + 1;
	}
	c->len -= (size_t)(begin - c->line);
	memmove(c->line, begin, c->len);
	return c->len < sizeof(c->line) - 1;
}
