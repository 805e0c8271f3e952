/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "redis.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <sodium.h>

#include "lib/sys/clock.h"
#include "lib/sys/log.h"

/* ARGV: version expected, day, text, seconds to live. The new version, or what stands there. */
static const char put_script[] =
	"local v=redis.call('HGET',KEYS[1],'v') "
	"if v and v~=ARGV[1] then return redis.call('HMGET',KEYS[1],'v','d','s') end "
	"local n=ARGV[1]+1 "
	"redis.call('HSET',KEYS[1],'v',n,'d',ARGV[2],'s',ARGV[3]) "
	"redis.call('EXPIRE',KEYS[1],ARGV[4]) "
	"return n";

enum request_kind { REQUEST_FREE, REQUEST_READ, REQUEST_WRITE };

struct request {
	struct redis *redis;
	enum request_kind kind;
	uint8_t node_id[NODE_ID_SIZE];
	mono_t at;
};

struct redis {
	struct service *service;
	struct peers *peers;
	char path[1024];
	uint8_t key[REDIS_KEY_SIZE];
	redisAsyncContext *ac;
	uint32_t events; /* poll events asked for */
	bool up, said_down;
	mono_t retry_at;
	dur_t retry;
	struct request requests[REDIS_IN_FLIGHT];
	unsigned int n_in_flight;
	uint32_t walk_at, walk_left; /* the lap under way */
	mono_t lap_at;
	bool settled;
	struct redis_counters count;
	struct when now;
};

/* ---- hiredis' wishes to the loop ---- */

static void on_poll(void *ctx, int fd, uint32_t poll_events)
{
	struct redis *r = ctx;

	(void)fd;
	if (r->ac != NULL && (poll_events & (POLLIN | POLLERR | POLLHUP)) != 0)
		redisAsyncHandleRead(r->ac);
	if (r->ac != NULL && (poll_events & POLLOUT) != 0)
		redisAsyncHandleWrite(r->ac);
}

static void events_set(struct redis *r, uint32_t events)
{
	int fd = r->ac->c.fd;

	r->events = events;
	if (events == 0)
		service_fd_del(r->service, fd);
	else if (service_fd_add(r->service, fd, events, on_poll, r) != OK)
		log_error("redis: no room for its socket in the loop");
}

static void read_add(void *ctx)
{
	struct redis *r = ctx;

	events_set(r, r->events | POLLIN);
}

static void read_del(void *ctx)
{
	struct redis *r = ctx;

	events_set(r, r->events & ~(uint32_t)POLLIN);
}

static void write_add(void *ctx)
{
	struct redis *r = ctx;

	events_set(r, r->events | POLLOUT);
}

static void write_del(void *ctx)
{
	struct redis *r = ctx;

	events_set(r, r->events & ~(uint32_t)POLLOUT);
}

static void cleanup(void *ctx)
{
	struct redis *r = ctx;

	if (r->ac != NULL)
		events_set(r, 0);
}

/* ---- the link ---- */

static void link_lost(struct redis *r)
{
	uint64_t next_ns = r->retry.ns * 2;

	if (r->up)
		r->count.losses++;
	if (!r->said_down) {
		log_warn("redis does not answer: reputation is kept in memory meanwhile");
		r->said_down = true;
	}
	if (r->ac != NULL)
		events_set(r, 0);
	r->ac = NULL;
	r->up = r->settled = false;
	r->walk_left = 0;
	r->retry_at = mono_add(r->now.mono, r->retry);
	r->retry.ns = next_ns < REDIS_RETRY_MAX.ns ? next_ns : REDIS_RETRY_MAX.ns;
}

/* Redis may have begun anew: read again what we have not, write again what we know. */
static void all_dirty(struct redis *r)
{
	for (uint32_t i = 0; i < r->peers->n_top; i++) {
		struct peer *p = &r->peers->all[i];

		p->reading = false;
		if (p->used && rep_known(&p->rep))
			p->dirty = true;
	}
	r->walk_left = r->peers->n_top;
	r->settled = false;
}

static void on_connect(const redisAsyncContext *ac, int status)
{
	struct redis *r = ac->data;

	if (status != REDIS_OK) {
		link_lost(r);
		return;
	}
	r->up = true;
	r->retry = REDIS_RETRY_MIN;
	r->count.connects++;
	if (r->said_down)
		log_info("redis answers again");
	r->said_down = false;
	all_dirty(r);
}

static void on_disconnect(const redisAsyncContext *ac, int status)
{
	(void)status;
	link_lost(ac->data);
}

static void link_open(struct redis *r)
{
	redisAsyncContext *ac = redisAsyncConnectUnix(r->path);

	if (ac == NULL || ac->err != 0) {
		if (ac != NULL)
			redisAsyncFree(ac);
		link_lost(r);
		return;
	}
	r->ac = ac;
	r->events = 0;
	ac->data = r;
	ac->ev.data = r;
	ac->ev.addRead = read_add;
	ac->ev.delRead = read_del;
	ac->ev.addWrite = write_add;
	ac->ev.delWrite = write_del;
	ac->ev.cleanup = cleanup;
	/* The callbacks are called by later turns, never from here. */
	if (redisAsyncSetDisconnectCallback(ac, on_disconnect) != REDIS_OK ||
		redisAsyncSetConnectCallback(ac, on_connect) != REDIS_OK) {
		r->ac = NULL;
		redisAsyncFree(ac);
		link_lost(r);
	}
}

/* ---- commands ---- */

void redis_key_text(const struct redis *r, const uint8_t node_id[static NODE_ID_SIZE],
	char ret_text[static REDIS_KEY_TEXT])
{
	uint8_t h[16];
	char hex[2 * sizeof(h) + 1];

	crypto_generichash(h, sizeof(h), node_id, NODE_ID_SIZE, r->key, sizeof(r->key));
	sodium_bin2hex(hex, sizeof(hex), h, sizeof(h));
	snprintf(ret_text, REDIS_KEY_TEXT, "mvpn:rep:%s", hex);
}

static struct request *request_take(struct redis *r, enum request_kind kind, const struct peer *p)
{
	for (size_t i = 0; i < REDIS_IN_FLIGHT; i++) {
		struct request *q = &r->requests[i];

		if (q->kind != REQUEST_FREE)
			continue;
		*q = (struct request){.redis = r, .kind = kind, .at = r->now.mono};
		memcpy(q->node_id, p->node_id, NODE_ID_SIZE);
		r->n_in_flight++;
		return q;
	}
	return NULL;
}

static void request_end(struct request *q)
{
	q->redis->n_in_flight--;
	q->kind = REQUEST_FREE;
}

static bool number_from(const redisReply *reply, uint32_t *ret_n)
{
	char *end;

	if (reply->type != REDIS_REPLY_STRING || reply->len == 0 || reply->len > 10 ||
		reply->str[0] < '0' || reply->str[0] > '9')
		return false;
	unsigned long long v = strtoull(reply->str, &end, 10);
	if (*end != '\0' || v > UINT32_MAX)
		return false;
	*ret_n = (uint32_t)v;
	return true;
}

/* [v, d, s] as stored; false if it is not ours to read (then it will be overwritten). */
static bool stored_take(struct redis *r, struct peer *p, const redisReply *reply)
{
	struct reputation stored;
	uint32_t version, day;

	if (reply->elements != 3 || !number_from(reply->element[0], &version))
		return false;
	p->version = version;
	if (!number_from(reply->element[1], &day) ||
		reply->element[2]->type != REDIS_REPLY_STRING ||
		rep_decode(reply->element[2]->str, day, when_day(r->now), r->now.mono, &stored) !=
			OK)
		return false;
	rep_merge(&p->rep, &stored, !p->synced);
	r->peers->serial++;
	return true;
}

static void read_done(struct redis *r, struct peer *p, const redisReply *reply)
{
	p->reading = false;
	if (reply == NULL || reply->type == REDIS_REPLY_ERROR)
		return;
	r->count.reads++;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3 &&
		reply->element[0]->type != REDIS_REPLY_NIL && !stored_take(r, p, reply))
		r->count.bad_values++;
	p->synced = true;
}

static void write_done(struct redis *r, struct peer *p, const redisReply *reply)
{
	p->reading = false;
	if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
		p->dirty = true;
		return;
	}
	if (reply->type == REDIS_REPLY_INTEGER) {
		p->version = (uint32_t)reply->integer;
		r->count.writes++;
		return;
	}
	r->count.conflicts++;
	if (reply->type == REDIS_REPLY_ARRAY && !stored_take(r, p, reply))
		r->count.bad_values++;
	p->dirty = true;
}

static void on_reply(redisAsyncContext *ac, void *reply, void *privdata)
{
	struct request *q = privdata;
	struct redis *r = q->redis;
	struct peer *p = peers_find(r->peers, q->node_id);

	(void)ac;
	if (p != NULL && q->kind == REQUEST_READ)
		read_done(r, p, reply);
	else if (p != NULL)
		write_done(r, p, reply);
	request_end(q);
}

static bool read_send(struct redis *r, struct peer *p)
{
	struct request *q = request_take(r, REQUEST_READ, p);
	char key[REDIS_KEY_TEXT];

	if (q == NULL)
		return false;
	redis_key_text(r, p->node_id, key);
	if (redisAsyncCommand(r->ac, on_reply, q, "HMGET %s v d s", key) != REDIS_OK) {
		request_end(q);
		return false;
	}
	p->reading = true;
	return true;
}

static bool write_send(struct redis *r, struct peer *p)
{
	struct request *q = request_take(r, REQUEST_WRITE, p);
	char key[REDIS_KEY_TEXT], text[REP_TEXT_MAX];

	if (q == NULL)
		return false;
	redis_key_text(r, p->node_id, key);
	rep_encode(&p->rep, r->now.mono, text);
	if (redisAsyncCommand(r->ac, on_reply, q, "EVAL %s 1 %s %u %u %s %u", put_script, key,
		    p->version, when_day(r->now), text, REDIS_KEEP_DAYS * DAY_S) != REDIS_OK) {
		request_end(q);
		return false;
	}
	p->reading = true;
	p->dirty = false;
	return true;
}

/* ---- laps over the table ---- */

static bool peer_serve(struct redis *r, struct peer *p)
{
	if (!p->used || p->reading)
		return true;
	if (!p->synced)
		return read_send(r, p);
	return !p->dirty || write_send(r, p);
}

static void lap_walk(struct redis *r)
{
	uint32_t n = r->peers->n_top;

	for (int i = 0; i < REDIS_WALK && r->walk_left > 0 && n > 0; i++) {
		if (!peer_serve(r, &r->peers->all[r->walk_at % n]))
			return;
		r->walk_at = (r->walk_at + 1) % n;
		r->walk_left--;
	}
	if (r->walk_left == 0 && r->n_in_flight == 0)
		r->settled = true;
}

static bool stuck(const struct redis *r)
{
	for (size_t i = 0; i < REDIS_IN_FLIGHT; i++)
		if (r->requests[i].kind != REQUEST_FREE &&
			mono_since(r->requests[i].at, r->now.mono).ns >= REDIS_PATIENCE.ns)
			return true;
	return false;
}

void redis_tick(struct redis *r, struct when now)
{
	r->now = now;
	if (r->path[0] == '\0')
		return;
	if (r->ac == NULL) {
		if (mono_reached(r->retry_at, now.mono))
			link_open(r);
		return;
	}
	if (stuck(r)) {
		redisAsyncFree(
			r->ac); /* calls on_reply for each; on_disconnect if it was connected */
		if (r->ac != NULL) {
			r->events = 0;
			r->ac = NULL;
			link_lost(r);
		}
		return;
	}
	if (!r->up)
		return;
	if (r->walk_left == 0 && mono_reached(r->lap_at, now.mono)) {
		r->walk_left = r->peers->n_top;
		r->lap_at = mono_add(now.mono, REDIS_LAP_EVERY);
	}
	lap_walk(r);
}

mono_t redis_deadline(const struct redis *r)
{
	if (r->path[0] == '\0')
		return MONO_NEVER;
	if (r->ac == NULL)
		return r->retry_at;
	/* Replies wake us by the socket; what remains is to notice that none comes. */
	if (!r->up || r->n_in_flight > 0)
		return mono_add(r->now.mono, DUR_S(1));
	return r->walk_left > 0 ? r->now.mono : r->lap_at;
}

/* ---- the rest ---- */

enum err redis_open(struct redis **ret_r, struct service *s, const char *path,
	const uint8_t key[static REDIS_KEY_SIZE], struct peers *peers)
{
	struct redis *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_FULL;
	r->service = s;
	r->peers = peers;
	r->retry = REDIS_RETRY_MIN;
	memcpy(r->key, key, sizeof(r->key));
	if (path[0] != '\0' && path[0] != '/')
		snprintf(r->path, sizeof(r->path), "%s/%s", service_dir(s), path);
	else
		snprintf(r->path, sizeof(r->path), "%s", path);
	*ret_r = r;
	return OK;
}

void redis_close(struct redis **r)
{
	if (*r == NULL)
		return;
	if ((*r)->ac != NULL)
		redisAsyncFree((*r)->ac);
	sodium_memzero((*r)->key, sizeof((*r)->key));
	free(*r);
	*r = NULL;
}

bool redis_up(const struct redis *r)
{
	return r->up;
}

bool redis_settled(const struct redis *r)
{
	return r->up && r->settled;
}

const struct redis_counters *redis_counters(const struct redis *r)
{
	return &r->count;
}
