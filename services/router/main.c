/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn-router: the session that the user wants, and the routes that carry it.
 *
 * May: read keys/reputation.key and the geography file at start; write state/router/guards; talk to
 * the node's own bus and to Redis by a unix socket. It has no socket to the network. Needs no
 * capability. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "core/vpn.h"
#include "lib/sys/clock.h"
#include "lib/sys/entropy.h"
#include "lib/sys/geo_load.h"
#include "lib/sys/log.h"
#include "service.h"

#define AT(field) offsetof(struct router_settings_file, field)
#define SIZE(field) sizeof(((struct router_settings_file *)0)->field)

static const struct conf_key keys[] = {
	{"+node", "test_network", CONF_BOOL, AT(test_network), 0, "no", 0, 0,
		"documentation and benchmark addresses count as public"},
	{"+node", "geo", CONF_TEXT, AT(geo), SIZE(geo), "", 0, 0,
		"geography file: prefix,country,asn,name; without it no country can be chosen"},
	{"router", "redis", CONF_TEXT, AT(redis), SIZE(redis), "run/redis.sock", 0, 0,
		"unix socket of the node's Redis, from DIR if relative; empty: none"},
};

struct when when_of(const struct state *s)
{
	return (struct when){service_now(s->service), wall_now()};
}

/* Zeroed pages that are touched only as relays come. */
static enum err weigh_storage_make(struct weigh_storage *w, uint32_t n)
{
	w->rows = calloc(n, sizeof(*w->rows));
	w->order = calloc(n, sizeof(*w->order));
	w->sums = calloc(n, sizeof(*w->sums));
	w->cum_middle = calloc(n, sizeof(*w->cum_middle));
	w->cum_exit = calloc(n, sizeof(*w->cum_exit));
	return w->rows != NULL && w->order != NULL && w->sums != NULL && w->cum_middle != NULL &&
			       w->cum_exit != NULL
		       ? OK
		       : ERR_FULL;
}

static void weigh_storage_free(struct weigh_storage *w)
{
	free(w->rows);
	free(w->order);
	free(w->sums);
	free(w->cum_middle);
	free(w->cum_exit);
}

static enum err storage_make(struct state *s)
{
	struct router_storage *st = &s->storage;

	st->capacity = PEERS_CAPACITY;
	st->peers = calloc(PEERS_CAPACITY, sizeof(*st->peers));
	st->index = calloc((size_t)PEERS_CAPACITY * PEERS_INDEX_FACTOR, sizeof(*st->index));
	if (st->peers == NULL || st->index == NULL)
		return ERR_FULL;
	TRY(weigh_storage_make(&st->weigh, PEERS_CAPACITY));
	return weigh_storage_make(&s->rehearsal.weigh, PEERS_CAPACITY);
}

static void state_free(struct state *s)
{
	redis_close(&s->redis);
	weigh_storage_free(&s->storage.weigh);
	weigh_storage_free(&s->rehearsal.weigh);
	free(s->storage.peers);
	free(s->storage.index);
	geo_done(&s->geo);
	if (s->r != NULL)
		sodium_memzero(&s->r->rng, sizeof(s->r->rng));
	free(s->r);
	free(s);
}

static enum err geo_open(struct state *s, const char *path)
{
	char why[200];

	if (path[0] == '\0') {
		log_warn("node.ini: [node] geo is not set: countries and networks of relays are "
			 "unknown");
		return OK;
	}
	if (geo_load(path, &s->geo, why) == OK)
		return OK;
	log_error("node.ini: [node] geo: %s", why);
	return ERR_INVALID;
}

static enum err core_make(struct state *s, const struct router_settings_file *f)
{
	uint8_t seed[32];

	s->r = calloc(1, sizeof(*s->r));
	if (s->r == NULL)
		return ERR_FULL;
	entropy_bytes(seed, sizeof(seed));
	s->sink = outbox_sink(s);
	router_init(s->r, &s->storage, &s->geo, f->test_network, seed, &s->sink, when_of(s));
	sodium_memzero(seed, sizeof(seed));
	return OK;
}

static enum err redis_make(struct state *s, const struct router_settings_file *f)
{
	uint8_t key[REDIS_KEY_SIZE];

	TRY(service_key_load(s->service, "reputation.key", key, sizeof(key)));
	enum err e = redis_open(&s->redis, s->service, f->redis, key, &s->r->peers);
	sodium_memzero(key, sizeof(key));
	return e;
}

static enum err init(struct service *service, const void *conf, void **ret_state)
{
	const struct router_settings_file *f = conf;
	struct state *s = calloc(1, sizeof(*s));
	enum err e;

	if (s == NULL)
		return ERR_FULL;
	s->service = service;
	e = storage_make(s);
	if (e == OK)
		e = geo_open(s, f->geo);
	if (e == OK)
		e = core_make(s, f);
	if (e == OK)
		e = redis_make(s, f);
	if (e != OK) {
		state_free(s);
		return e;
	}
	memory_guards_load(s);
	*ret_state = s;
	return OK;
}

static void tick(void *state, mono_t now)
{
	struct state *s = state;

	(void)now;
	vpn_on_link(s->r, bus_link_up(service_bus(s->service), ROLE_TUNNEL), when_of(s));
	vpn_step(s->r, when_of(s));
	outbox_state(s, false);
	memory_tick(s);
	redis_tick(s->redis, when_of(s));
}

static mono_t deadline(void *state)
{
	struct state *s = state;
	mono_t t = mono_min(s->r->wake, outbox_deadline(s));

	if (s->r->guards.changed)
		t = mono_min(t, s->guards_try_at);
	return mono_min(t, redis_deadline(s->redis));
}

static void stop(void *state)
{
	struct state *s = state;

	memory_tick(s);
	state_free(s);
}

int main(int argc, char **argv)
{
	const struct service_spec spec = {
		.role = ROLE_ROUTER,
		.what = "Chooses routes and keeps the session that the user wants.",
		.keys = keys,
		.n_keys = sizeof(keys) / sizeof(keys[0]),
		.conf_size = sizeof(struct router_settings_file),
		.inbox = &router_inbox,
		.verbs = router_verbs,
		.n_verbs = n_router_verbs,
		.init = init,
		.tick = tick,
		.deadline = deadline,
		.stop = stop,
	};

	return service_main(argc, argv, &spec);
}
