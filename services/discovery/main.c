/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn-discovery: the directory of relays.
 *
 * May: read keys/identity.key and the geography file at start; write state/discovery/; talk to the
 * node's own bus. It has no socket to the network: what nodes say to each other is carried by
 * tunnel. Needs no capability. */
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "lib/sys/clock.h"
#include "lib/sys/entropy.h"
#include "lib/sys/geo_load.h"
#include "lib/sys/log.h"
#include "service.h"

/* Relays in one IPv4 /24 or IPv6 /48, unless node.ini says otherwise: in the open network few
 * operators have more; a test network is a handful of prefixes. */
#define NEAR_MAX_DEFAULT 8
#define NEAR_MAX_TEST 256

#define AT(field) offsetof(struct discovery_settings_file, field)
#define SIZE(field) sizeof(((struct discovery_settings_file *)0)->field)

static const struct conf_key keys[] = {
	{"node", "name", CONF_TEXT, AT(name), SIZE(name), "", 0, 0,
		"what the operator calls this node; published while it shares"},
	{"node", "test_network", CONF_BOOL, AT(test_network), 0, "no", 0, 0,
		"documentation and benchmark addresses count as public"},
	{"node", "geo", CONF_TEXT, AT(geo), SIZE(geo), "", 0, 0,
		"geography file: prefix,country,asn,name"},
	{"+tunnel", "public4", CONF_ADDR, AT(public4), 0, NULL, 0, 0,
		"IPv4 address under which others reach this node"},
	{"+tunnel", "public6", CONF_ADDR, AT(public6), 0, NULL, 0, 0,
		"IPv6 address under which others reach this node"},
	{"discovery", "bootstrap", CONF_LIST, AT(bootstrap), SIZE(bootstrap), "", 0, 0,
		"nodes to begin with: <node id>@<WireGuard key>@<address:port>, by commas or "
		"lines"},
	{"discovery", "country", CONF_TEXT, AT(country), SIZE(country), "", 0, 0,
		"country claimed in the descriptor (two letters); default: what geo says of "
		"public4/6"},
	{"discovery", "family", CONF_HEX, AT(family_id), SIZE(family_id), NULL, 0, 0,
		"16 bytes that all nodes of one operator share: no route uses two of them"},
	{"discovery", "relays_per_prefix", CONF_U64, AT(near_max), 0, "0", 0, RELAYS_MAX,
		"relays taken from one IPv4 /24 or IPv6 /48; 0: 8, in a test network 256"},
};

struct moment moment_of(const struct state *s)
{
	return (struct moment){service_now(s->service), wall_now()};
}

/* ---- settings ---- */

static enum err contact_parse(const char *word, struct contact *ret_to)
{
	struct contact to = {0};
	const char *end = NULL;
	struct net_endpoint ep;
	size_t n;

	if (sodium_hex2bin(to.node_id, 32, word, strlen(word), NULL, &n, &end) != 0 || n != 32 ||
		*end != '@')
		return ERR_INVALID;
	word = end + 1;
	if (sodium_hex2bin(to.wg_pk, 32, word, strlen(word), NULL, &n, &end) != 0 || n != 32 ||
		*end != '@')
		return ERR_INVALID;
	TRY(net_endpoint_parse(end + 1, &ep));
	if (ep.addr.family == NET_IP4)
		to.ep4 = ep;
	else
		to.ep6 = ep;
	*ret_to = to;
	return OK;
}

static enum err boots_add(struct discovery *d, const char *list)
{
	char words[BOOTSTRAP_LIST_MAX], *rest;
	unsigned int i = 0;

	memcpy(words, list, sizeof(words));
	for (char *w = strtok_r(words, ", \t", &rest); w != NULL;
		w = strtok_r(NULL, ", \t", &rest)) {
		struct contact to;

		i++;
		if (contact_parse(w, &to) != OK) {
			log_error("node.ini: [discovery] bootstrap, entry %u: not <node "
				  "id>@<WireGuard key>@"
				  "<address:port> with 64 hexadecimal digits each (`mvpn word` "
				  "prints it)",
				i);
			return ERR_INVALID;
		}
		discovery_add_boot(d, &to);
	}
	return OK;
}

static enum err name_check(const char *name)
{
	for (const char *p = name; *p != '\0'; p++)
		if (*p < 0x20 || *p > 0x7e) {
			log_error("node.ini: [node] name: only printable ASCII can be published");
			return ERR_INVALID;
		}
	return OK;
}

static enum err country_set(
	const struct state *s, const struct discovery_settings_file *f, char country[3])
{
	const struct geo_row *row = NULL;

	if (f->country[0] != '\0') {
		memcpy(country, f->country, 3);
		if (country[0] >= 'A' && country[0] <= 'Z' && country[1] >= 'A' &&
			country[1] <= 'Z')
			return OK;
		log_error("node.ini: [discovery] country: '%.2s' is not two capital letters",
			f->country);
		return ERR_INVALID;
	}
	if (f->public4.family != NET_NONE)
		row = geo_find(&s->geo, &f->public4);
	if (row == NULL && f->public6.family != NET_NONE)
		row = geo_find(&s->geo, &f->public6);
	if (row != NULL)
		memcpy(country, row->country, 3);
	return OK;
}

static enum err geo_open(struct state *s, const char *path)
{
	char why[200];

	if (path[0] == '\0' || geo_load(path, &s->geo, why) == OK)
		return OK;
	log_error("node.ini: [node] geo: %s", why);
	return ERR_INVALID;
}

static enum err conf_make(
	struct state *s, const struct discovery_settings_file *f, struct discovery_conf *ret)
{
	struct discovery_conf c = {.near_max = (uint32_t)f->near_max};
	uint8_t seed[32], pk[32];

	if (c.near_max == 0)
		c.near_max = f->test_network ? NEAR_MAX_TEST : NEAR_MAX_DEFAULT;
	TRY(name_check(f->name));
	TRY(geo_open(s, f->geo));
	TRY(country_set(s, f, c.own.country));
	memcpy(c.own.name, f->name, sizeof(c.own.name));
	memcpy(c.own.family_id, f->family_id, sizeof(c.own.family_id));
	c.own.public4 = f->public4;
	c.own.public6 = f->public6;
	c.own.test_network = f->test_network;
	c.seq = memory_seq_load(s->service);
	entropy_bytes(c.seed, sizeof(c.seed));
	TRY(service_key_load(s->service, "identity.key", seed, sizeof(seed)));
	crypto_sign_seed_keypair(pk, c.own.identity_sk, seed);
	sodium_memzero(seed, sizeof(seed));
	*ret = c;
	sodium_memzero(&c, sizeof(c));
	return OK;
}

/* ---- the service ---- */

/* Zeroed pages that are touched only as relays come. */
static enum err storage_make(struct relays_storage *st)
{
	st->room = RELAYS_MAX;
	st->slots = calloc(RELAYS_MAX, sizeof(*st->slots));
	st->marks = calloc(RELAYS_MAX, sizeof(*st->marks));
	st->order = calloc(RELAYS_MAX, sizeof(*st->order));
	return st->slots != NULL && st->marks != NULL && st->order != NULL ? OK : ERR_FULL;
}

static void state_free(struct state *s)
{
	if (s->d != NULL)
		discovery_done(s->d);
	free(s->d);
	free(s->storage.slots);
	free(s->storage.marks);
	free(s->storage.order);
	geo_done(&s->geo);
	free(s);
}

static enum err init(struct service *service, const void *conf, void **ret_state)
{
	const struct discovery_settings_file *f = conf;
	struct state *s = calloc(1, sizeof(*s));
	struct discovery_conf c = {0};
	struct discovery_sink sink;
	enum err e = ERR_FULL;

	if (s == NULL)
		return ERR_FULL;
	s->service = service;
	sink = outbox_sink(s);
	s->d = calloc(1, sizeof(*s->d));
	if (s->d == NULL || storage_make(&s->storage) != OK)
		goto fail;
	e = conf_make(s, f, &c);
	if (e != OK)
		goto fail;
	discovery_init(s->d, &c, &s->storage, &sink, moment_of(s));
	sodium_memzero(&c, sizeof(c));
	e = boots_add(s->d, f->bootstrap);
	if (e != OK)
		goto fail;
	memory_relays_load(s);
	*ret_state = s;
	return OK;
fail:
	state_free(s);
	return e;
}

static void tick(void *state, mono_t now)
{
	struct state *s = state;

	discovery_tick(s->d, (struct moment){now, wall_now()});
	memory_tick(s, now, false);
}

static mono_t deadline(void *state)
{
	struct state *s = state;

	return mono_min(discovery_deadline(s->d, moment_of(s)), memory_deadline(s));
}

static void stop(void *state)
{
	struct state *s = state;

	if (service_bus(s->service) != NULL)
		discovery_stop(s->d, moment_of(s));
	memory_tick(s, service_now(s->service), true);
	state_free(s);
}

int main(int argc, char **argv)
{
	const struct service_spec spec = {
		.role = ROLE_DISCOVERY,
		.what = "The directory of relays: signed descriptors, found and kept without a "
			"server.",
		.keys = keys,
		.n_keys = sizeof(keys) / sizeof(keys[0]),
		.conf_size = sizeof(struct discovery_settings_file),
		.inbox = &discovery_inbox,
		.verbs = discovery_verbs,
		.n_verbs = n_discovery_verbs,
		.init = init,
		.tick = tick,
		.deadline = deadline,
		.stop = stop,
	};

	return service_main(argc, argv, &spec);
}
