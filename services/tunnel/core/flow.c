/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "flow.h"

#include <string.h>

#include "lib/bytes.h"

#define DNS_PORT 53
/* `used_at` and the order of use are kept to this, to write less per packet. */
#define USED_GRAIN DUR_S(1)
/* A tick looks at a 16th of the table, at least so many: bounded, and all of it in 16 ticks. */
#define TICK_SHARE 16
#define TICK_MIN 1024
#define FLOWS_MAX (1u << 22)

enum flow_state {
	FLOW_OPENING, /* TCP: nothing came back yet */
	FLOW_OPEN,
	FLOW_CLOSING /* TCP: both sides said FIN, or one said RST */
};

struct flow_entry {
	struct flow_key key;
	uint8_t state;
	uint8_t exit;
	bool used;
	bool dns; /* the remote is the resolver's constant address */
	bool fin_out, fin_in;
	uint32_t generation; /* of the exit; another than the exit's: that exit is gone */
	mono_t used_at;
};

/* A packet in fragments, known by its first one. */
struct flow_fragment {
	uint8_t remote[16];
	uint32_t id;
	uint32_t generation;
	uint8_t family, proto;
	uint8_t exit;
	bool dns, out, used;
	mono_t at;
};

const char *flow_verdict_name(enum flow_verdict v)
{
	static const char *const names[FLOW_VERDICTS] = {
		"passed", "bad packet", "no route", "exit gone", "unknown flow"};

	return v < FLOW_VERDICTS ? names[v] : "?";
}

size_t flow_bytes(const struct flow_conf *conf)
{
	if (conf->flows_max == 0 || conf->flows_max > FLOWS_MAX)
		return 0;
	return table_bytes(conf->flows_max) + conf->flows_max * sizeof(struct flow_entry) +
	       FLOW_FRAGMENTS * sizeof(struct flow_fragment);
}

void flow_init(
	struct flow *f, const struct flow_conf *conf, void *mem, const uint64_t key[static 2])
{
	uint8_t *at = mem;

	*f = (struct flow){.conf = *conf, .in_use = FLOW_NO_EXIT};
	table_init(&f->table, conf->flows_max, at, key);
	at += table_bytes(conf->flows_max);
	f->entry = (void *)at;
	at += conf->flows_max * sizeof(*f->entry);
	f->fragment = (void *)at;
	for (uint32_t i = 0; i < conf->flows_max; i++)
		f->entry[i].used = false;
	for (int i = 0; i < FLOW_FRAGMENTS; i++)
		f->fragment[i].used = false;
}

/* ---- exits ---- */

enum err flow_exit_add(struct flow *f, const struct net_addr *ip4, const struct net_addr *ip6,
	const struct net_addr *dns4, const struct net_addr *dns6, unsigned int *ret_exit)
{
	unsigned int e = 0;
	uint32_t generation;

	while (e < FLOW_EXITS_MAX && f->exits[e].live)
		e++;
	if (e == FLOW_EXITS_MAX)
		return ERR_FULL;
	generation = f->exits[e].generation;
	f->exits[e] = (struct flow_exit){.ip4 = *ip4,
		.ip6 = *ip6,
		.dns4 = *dns4,
		.dns6 = *dns6,
		.generation = generation,
		.live = true};
	*ret_exit = e;
	return OK;
}

void flow_exit_del(struct flow *f, unsigned int exit)
{
	if (exit >= FLOW_EXITS_MAX || !f->exits[exit].live)
		return;
	f->exits[exit].live = false;
	f->exits[exit].generation++; /* what is bound to it learns when it is next used */
	f->exits[exit].n_flows = 0;
	if (f->in_use == exit)
		f->in_use = FLOW_NO_EXIT;
}

void flow_use(struct flow *f, unsigned int exit)
{
	f->in_use = exit < FLOW_EXITS_MAX && f->exits[exit].live ? exit : FLOW_NO_EXIT;
}

uint64_t flow_exit_flows(const struct flow *f, unsigned int exit)
{
	return exit < FLOW_EXITS_MAX ? f->exits[exit].n_flows : 0;
}

static bool exit_is(const struct flow *f, unsigned int exit, uint32_t generation)
{
	return f->exits[exit].live && f->exits[exit].generation == generation;
}

static const struct net_addr *lent(const struct flow_exit *e, uint8_t family)
{
	return family == NET_IP4 ? &e->ip4 : &e->ip6;
}

static const struct net_addr *exit_dns(const struct flow_exit *e, uint8_t family)
{
	return family == NET_IP4 ? &e->dns4 : &e->dns6;
}

static const struct net_addr *device(const struct flow *f, uint8_t family)
{
	return family == NET_IP4 ? &f->conf.device4 : &f->conf.device6;
}

static const struct net_addr *resolver(const struct flow *f, uint8_t family)
{
	return family == NET_IP4 ? &f->conf.resolver4 : &f->conf.resolver6;
}

static bool addr_is(const struct net_addr *a, const struct packet *p, const uint8_t *ip)
{
	return a->family == p->family && memcmp(a->ip, ip, p->addr_len) == 0;
}

/* The exit of new flows, if it serves this family; FLOW_NO_EXIT. */
static unsigned int exit_for_new(const struct flow *f, uint8_t family)
{
	if (f->in_use == FLOW_NO_EXIT || lent(&f->exits[f->in_use], family)->family == NET_NONE)
		return FLOW_NO_EXIT;
	return f->in_use;
}

/* ---- entries ---- */

static uint32_t key_hash(const struct flow *f, const struct flow_key *k)
{
	uint64_t who = table_hash(&f->table, be64_get(k->remote), be64_get(k->remote + 8));

	return table_hash(&f->table, who << 32 | (uint32_t)k->remote_port << 16 | k->local_port,
		(uint64_t)k->family << 8 | k->proto);
}

static bool key_eq(const struct flow_key *a, const struct flow_key *b)
{
	return memcmp(a->remote, b->remote, sizeof(a->remote)) == 0 &&
	       a->remote_port == b->remote_port && a->local_port == b->local_port &&
	       a->family == b->family && a->proto == b->proto;
}

static uint32_t entry_find(const struct flow *f, const struct flow_key *k)
{
	uint32_t i = table_first(&f->table, key_hash(f, k));

	while (i != TABLE_NONE && !key_eq(&f->entry[i].key, k))
		i = table_next(&f->table, i);
	return i;
}

/* [P-58] */
static dur_t idle_max(const struct flow_entry *e)
{
	if (e->key.proto == PACKET_TCP) {
		if (e->state == FLOW_CLOSING)
			return FLOW_TCP_CLOSING;
		return e->state == FLOW_OPEN ? FLOW_TCP_IDLE : FLOW_TCP_OPENING;
	}
	if (e->key.proto == PACKET_UDP)
		return e->dns ? FLOW_DNS_IDLE : FLOW_UDP_IDLE;
	return FLOW_ICMP_IDLE;
}

static bool entry_expired(const struct flow_entry *e, mono_t now)
{
	return mono_since(e->used_at, now).ns >= idle_max(e).ns;
}

static void entry_unbind(struct flow *f, struct flow_entry *e)
{
	if (exit_is(f, e->exit, e->generation))
		f->exits[e->exit].n_flows--;
}

static void entry_bind(struct flow *f, struct flow_entry *e, unsigned int exit)
{
	e->exit = (uint8_t)exit;
	e->generation = f->exits[exit].generation;
	f->exits[exit].n_flows++;
}

static void entry_drop(struct flow *f, uint32_t i)
{
	entry_unbind(f, &f->entry[i]);
	f->entry[i].used = false;
	table_drop(&f->table, i);
}

static uint32_t entry_open(
	struct flow *f, mono_t now, const struct flow_key *k, bool dns, unsigned int exit)
{
	uint32_t i;

	if (f->table.n_used == f->table.capacity) {
		entry_drop(f, table_oldest(&f->table));
		f->n.evicted++;
	}
	i = table_take(&f->table, key_hash(f, k));
	f->entry[i] = (struct flow_entry){.key = *k, .used = true, .dns = dns, .used_at = now};
	entry_bind(f, &f->entry[i], exit);
	f->n.opened++;
	return i;
}

static void entry_used(struct flow *f, uint32_t i, mono_t now)
{
	if (mono_since(f->entry[i].used_at, now).ns < USED_GRAIN.ns)
		return;
	f->entry[i].used_at = now;
	table_touch(&f->table, i);
}

static void track_tcp(struct flow_entry *e, const struct packet *p, bool out)
{
	if (p->proto != PACKET_TCP)
		return;
	if (!out && e->state == FLOW_OPENING)
		e->state = FLOW_OPEN;
	if (p->tcp_flags & PACKET_TCP_FIN)
		*(out ? &e->fin_out : &e->fin_in) = true;
	if ((p->tcp_flags & PACKET_TCP_RST) || (e->fin_out && e->fin_in))
		e->state = FLOW_CLOSING;
}

static bool is_syn(const struct packet *p)
{
	return p->proto == PACKET_TCP &&
	       (p->tcp_flags & (PACKET_TCP_SYN | PACKET_TCP_ACK)) == PACKET_TCP_SYN;
}

/* ---- keys ---- */

static struct flow_key key_of(
	const struct packet *p, const uint8_t *remote, uint16_t remote_port, uint16_t local_port)
{
	struct flow_key k = {.family = p->family, .proto = p->proto};

	memcpy(k.remote, remote, p->addr_len);
	k.local_port = local_port;
	if (p->proto == PACKET_TCP || p->proto == PACKET_UDP)
		k.remote_port = remote_port;
	return k;
}

static bool is_dns(const struct packet *p, uint16_t remote_port)
{
	return (p->proto == PACKET_TCP || p->proto == PACKET_UDP) && remote_port == DNS_PORT;
}

/* Key of a packet that goes from the device to `remote`. */
static struct flow_key key_out(
	const struct flow *f, const struct packet *p, const uint8_t *pkt, bool *ret_dns)
{
	const uint8_t *remote = pkt + p->dst_at;

	*ret_dns = is_dns(p, p->dst_port) && addr_is(resolver(f, p->family), p, remote);
	return key_of(p, remote, p->dst_port, p->src_port);
}

/* The flow of a remote as the exit sees it: what goes to the exit's resolver may have been meant
 * for the constant one. */
static uint32_t find_seen_by_exit(const struct flow *f, unsigned int exit, const struct packet *p,
	const uint8_t *remote, uint16_t remote_port, uint16_t local_port)
{
	struct flow_key k = key_of(p, remote, remote_port, local_port);
	uint32_t i = TABLE_NONE;

	if (is_dns(p, remote_port) && resolver(f, p->family)->family == p->family &&
		addr_is(exit_dns(&f->exits[exit], p->family), p, remote)) {
		struct flow_key d = k;

		memcpy(d.remote, resolver(f, p->family)->ip, p->addr_len);
		i = entry_find(f, &d);
	}
	return i != TABLE_NONE ? i : entry_find(f, &k);
}

/* ---- fragments ---- */

static struct flow_fragment *fragment_place(
	const struct flow *f, const struct packet *p, const uint8_t *remote, bool out)
{
	uint64_t high = p->family == NET_IP4 ? be32_get(remote) : be64_get(remote);
	uint64_t low = p->family == NET_IP4 ? 0 : be64_get(remote + 8);
	uint32_t who = table_hash(&f->table, high, low);

	return &f->fragment[table_hash(&f->table, (uint64_t)who << 32 | p->frag_id,
				    (uint64_t)p->proto << 8 | out) %
			    FLOW_FRAGMENTS];
}

static void fragment_put(struct flow *f, mono_t now, const struct packet *p, const uint8_t *remote,
	bool out, const struct flow_entry *e)
{
	struct flow_fragment *g = fragment_place(f, p, remote, out);

	*g = (struct flow_fragment){.id = p->frag_id,
		.generation = e->generation,
		.family = p->family,
		.proto = p->proto,
		.exit = e->exit,
		.dns = e->dns,
		.out = out,
		.used = true,
		.at = now};
	memcpy(g->remote, remote, p->addr_len);
}

static const struct flow_fragment *fragment_find(
	const struct flow *f, mono_t now, const struct packet *p, const uint8_t *remote, bool out)
{
	const struct flow_fragment *g = fragment_place(f, p, remote, out);

	if (!g->used || g->out != out || g->family != p->family || g->proto != p->proto ||
		g->id != p->frag_id || memcmp(g->remote, remote, p->addr_len) != 0 ||
		mono_since(g->at, now).ns > FLOW_FRAGMENT_LIFE.ns ||
		!exit_is(f, g->exit, g->generation))
		return NULL;
	return g;
}

/* ---- from the device ---- */

static bool is_multicast(const struct packet *p, const uint8_t *ip)
{
	return p->family == NET_IP4 ? ip[0] >= 224 : ip[0] == 0xff;
}

static void write_out(const struct flow *f, unsigned int exit, uint8_t *pkt, const struct packet *p,
	bool dns, bool partial)
{
	const struct flow_exit *e = &f->exits[exit];

	packet_set_src(pkt, p, lent(e, p->family)->ip, partial);
	if (dns && exit_dns(e, p->family)->family == p->family)
		packet_set_dst(pkt, p, exit_dns(e, p->family)->ip, partial);
}

/* An existing flow's exit may be gone: all but a TCP connection under way can move. */
static enum flow_verdict rebind(
	struct flow *f, mono_t now, struct flow_entry *e, const struct packet *p)
{
	unsigned int exit = exit_for_new(f, p->family);

	if (e->key.proto == PACKET_TCP && !is_syn(p)) {
		e->state = FLOW_CLOSING;
		e->used_at = now;
		return FLOW_EXIT_GONE;
	}
	if (exit == FLOW_NO_EXIT)
		return FLOW_NO_ROUTE;
	entry_bind(f, e, exit);
	f->n.moved++;
	return FLOW_PASS;
}

/* Entry of an outgoing packet, made or bound anew as need be. */
static enum flow_verdict entry_for_out(
	struct flow *f, mono_t now, const struct packet *p, const uint8_t *pkt, uint32_t *ret_i)
{
	bool dns;
	const struct flow_key k = key_out(f, p, pkt, &dns);
	uint32_t i = entry_find(f, &k);

	if (i != TABLE_NONE && (entry_expired(&f->entry[i], now) ||
				       (f->entry[i].state == FLOW_CLOSING && is_syn(p)))) {
		entry_drop(f, i);
		f->n.expired++;
		i = TABLE_NONE;
	}
	if (i == TABLE_NONE) {
		unsigned int exit = exit_for_new(f, p->family);

		if (exit == FLOW_NO_EXIT)
			return FLOW_NO_ROUTE;
		i = entry_open(f, now, &k, dns, exit);
	}
	*ret_i = i;
	if (!exit_is(f, f->entry[i].exit, f->entry[i].generation))
		return rebind(f, now, &f->entry[i], p);
	return FLOW_PASS;
}

static enum flow_verdict out_whole(struct flow *f, mono_t now, uint8_t *pkt, const struct packet *p,
	bool partial, unsigned int *ret_exit)
{
	uint32_t i;
	enum flow_verdict v = entry_for_out(f, now, p, pkt, &i);

	if (v != FLOW_PASS)
		return v;
	entry_used(f, i, now);
	track_tcp(&f->entry[i], p, true);
	if (p->fragment)
		fragment_put(f, now, p, pkt + p->dst_at, true, &f->entry[i]);
	*ret_exit = f->entry[i].exit;
	write_out(f, *ret_exit, pkt, p, f->entry[i].dns, partial);
	return FLOW_PASS;
}

static enum flow_verdict out_later_fragment(
	struct flow *f, mono_t now, uint8_t *pkt, const struct packet *p, unsigned int *ret_exit)
{
	const struct flow_fragment *g = fragment_find(f, now, p, pkt + p->dst_at, true);
	unsigned int exit = g != NULL ? g->exit : exit_for_new(f, p->family);

	if (exit == FLOW_NO_EXIT)
		return FLOW_NO_ROUTE;
	*ret_exit = exit;
	write_out(f, exit, pkt, p, g != NULL && g->dns, false);
	return FLOW_PASS;
}

/* Parses the packet inside an ICMP error. */
static bool parse_cause(
	const uint8_t *pkt, const struct packet *p, size_t *ret_at, struct packet *ret_in)
{
	size_t at = (size_t)p->l4 + 8;

	*ret_at = at;
	return at < p->len && packet_parse(pkt + at, p->len - at, true, ret_in) == OK &&
	       ret_in->family == p->family && ret_in->first && !ret_in->icmp_error;
}

/* The device complains about a packet that came in: it holds the remote as source, us as
 * destination. */
static enum flow_verdict out_error(
	struct flow *f, mono_t now, uint8_t *pkt, const struct packet *p, unsigned int *ret_exit)
{
	size_t at;
	struct packet in;
	struct flow_key k;
	uint32_t i;
	const struct flow_entry *e;
	const struct flow_exit *x;

	(void)now;
	if (!parse_cause(pkt, p, &at, &in))
		return FLOW_BAD_PACKET;
	k = key_of(&in, pkt + at + in.src_at, in.src_port, in.dst_port);
	i = entry_find(f, &k);
	if (i == TABLE_NONE || !exit_is(f, f->entry[i].exit, f->entry[i].generation))
		return FLOW_UNKNOWN;
	e = &f->entry[i];
	x = &f->exits[e->exit];
	packet_set_embedded(pkt, p, at, &in, e->dns ? exit_dns(x, p->family)->ip : NULL,
		lent(x, p->family)->ip);
	*ret_exit = e->exit;
	write_out(f, e->exit, pkt, p, e->dns && addr_is(resolver(f, p->family), p, pkt + p->dst_at),
		false);
	return FLOW_PASS;
}

static enum flow_verdict out(
	struct flow *f, mono_t now, uint8_t *pkt, size_t len, bool partial, unsigned int *ret_exit)
{
	struct packet p;

	if (packet_parse(pkt, len, false, &p) != OK ||
		!addr_is(device(f, p.family), &p, pkt + p.src_at) ||
		is_multicast(&p, pkt + p.dst_at))
		return FLOW_BAD_PACKET;
	if (!p.first)
		return out_later_fragment(f, now, pkt, &p, ret_exit);
	if (p.icmp_error)
		return out_error(f, now, pkt, &p, ret_exit);
	return out_whole(f, now, pkt, &p, partial, ret_exit);
}

enum flow_verdict flow_out(
	struct flow *f, mono_t now, uint8_t *pkt, size_t len, bool partial, unsigned int *ret_exit)
{
	enum flow_verdict v = out(f, now, pkt, len, partial, ret_exit);

	f->n.n[v]++;
	return v;
}

/* ---- from an exit ---- */

static void write_in(
	const struct flow *f, uint8_t *pkt, const struct packet *p, bool dns, bool partial)
{
	packet_set_dst(pkt, p, device(f, p->family)->ip, partial);
	if (dns)
		packet_set_src(pkt, p, resolver(f, p->family)->ip, partial);
}

/* Of this exit, and not past its time. [P-59] */
static bool entry_of(const struct flow *f, uint32_t i, unsigned int exit, mono_t now)
{
	return i != TABLE_NONE && f->entry[i].exit == exit &&
	       f->entry[i].generation == f->exits[exit].generation &&
	       !entry_expired(&f->entry[i], now);
}

static enum flow_verdict in_whole(struct flow *f, mono_t now, unsigned int exit, uint8_t *pkt,
	const struct packet *p, bool partial)
{
	uint32_t i = find_seen_by_exit(f, exit, p, pkt + p->src_at, p->src_port, p->dst_port);

	if (!entry_of(f, i, exit, now))
		return FLOW_UNKNOWN;
	entry_used(f, i, now);
	track_tcp(&f->entry[i], p, false);
	if (p->fragment)
		fragment_put(f, now, p, pkt + p->src_at, false, &f->entry[i]);
	write_in(f, pkt, p, f->entry[i].dns, partial);
	return FLOW_PASS;
}

/* Without its first fragment it comes to nothing, so it needs no flow. */
static enum flow_verdict in_later_fragment(
	struct flow *f, mono_t now, unsigned int exit, uint8_t *pkt, const struct packet *p)
{
	const struct flow_fragment *g = fragment_find(f, now, p, pkt + p->src_at, false);

	write_in(f, pkt, p, g != NULL && g->exit == exit && g->dns, false);
	return FLOW_PASS;
}

/* A router or the remote complains about a packet of ours: it holds the lent address as source. */
static enum flow_verdict in_error(
	struct flow *f, mono_t now, unsigned int exit, uint8_t *pkt, const struct packet *p)
{
	const struct flow_exit *x = &f->exits[exit];
	size_t at;
	struct packet in;
	uint32_t i;
	bool dns;

	if (!parse_cause(pkt, p, &at, &in) ||
		!addr_is(lent(x, p->family), &in, pkt + at + in.src_at))
		return FLOW_UNKNOWN;
	i = find_seen_by_exit(f, exit, &in, pkt + at + in.dst_at, in.dst_port, in.src_port);
	if (!entry_of(f, i, exit, now))
		return FLOW_UNKNOWN;
	dns = f->entry[i].dns;
	packet_set_embedded(
		pkt, p, at, &in, device(f, p->family)->ip, dns ? resolver(f, p->family)->ip : NULL);
	write_in(f, pkt, p, dns && addr_is(exit_dns(x, p->family), p, pkt + p->src_at), false);
	return FLOW_PASS;
}

static enum flow_verdict in(
	struct flow *f, mono_t now, unsigned int exit, uint8_t *pkt, size_t len, bool partial)
{
	struct packet p;

	if (exit >= FLOW_EXITS_MAX || !f->exits[exit].live ||
		packet_parse(pkt, len, false, &p) != OK ||
		!addr_is(lent(&f->exits[exit], p.family), &p, pkt + p.dst_at) ||
		device(f, p.family)->family == NET_NONE)
		return FLOW_BAD_PACKET;
	if (!p.first)
		return in_later_fragment(f, now, exit, pkt, &p);
	if (p.icmp_error)
		return in_error(f, now, exit, pkt, &p);
	return in_whole(f, now, exit, pkt, &p, partial);
}

enum flow_verdict flow_in(
	struct flow *f, mono_t now, unsigned int exit, uint8_t *pkt, size_t len, bool partial)
{
	enum flow_verdict v = in(f, now, exit, pkt, len, partial);

	f->n.n[v]++;
	return v;
}

/* ---- from one process to the next ---- */

bool flow_keep(const struct flow *f, mono_t now, uint32_t *cursor, struct flow_kept *ret)
{
	uint32_t i = *cursor == 0 ? table_oldest(&f->table) : *cursor - 1;

	if (*cursor == TABLE_NONE)
		return false;
	while (i != TABLE_NONE && (!exit_is(f, f->entry[i].exit, f->entry[i].generation) ||
					  entry_expired(&f->entry[i], now)))
		i = table_newer(&f->table, i);
	if (i == TABLE_NONE)
		return false;
	*ret = (struct flow_kept){.key = f->entry[i].key,
		.exit = f->entry[i].exit,
		.state = f->entry[i].state,
		.dns = f->entry[i].dns,
		.fin_out = f->entry[i].fin_out,
		.fin_in = f->entry[i].fin_in,
		.idle = mono_since(f->entry[i].used_at, now)};
	i = table_newer(&f->table, i);
	*cursor = i == TABLE_NONE ? TABLE_NONE : i + 1;
	return true;
}

static bool kept_ok(const struct flow *f, const struct flow_kept *k)
{
	return (k->key.family == NET_IP4 || k->key.family == NET_IP6) && k->state <= FLOW_CLOSING &&
	       k->exit < FLOW_EXITS_MAX && f->exits[k->exit].live;
}

enum err flow_restore(struct flow *f, mono_t now, const struct flow_kept *k)
{
	struct flow_entry *e;

	if (!kept_ok(f, k) || entry_find(f, &k->key) != TABLE_NONE)
		return ERR_INVALID;
	if (f->table.n_used == f->table.capacity)
		return ERR_FULL;
	e = &f->entry[entry_open(f, now, &k->key, k->dns, k->exit)];
	e->state = k->state;
	e->fin_out = k->fin_out;
	e->fin_in = k->fin_in;
	e->used_at.ns = now.ns > k->idle.ns ? now.ns - k->idle.ns : 0;
	return OK;
}

/* ---- time ---- */

void flow_tick(struct flow *f, mono_t now)
{
	uint32_t n = f->conf.flows_max / TICK_SHARE;

	if (n < TICK_MIN)
		n = TICK_MIN < f->conf.flows_max ? TICK_MIN : f->conf.flows_max;
	for (; n > 0; n--, f->hand = (f->hand + 1) % f->conf.flows_max) {
		if (f->entry[f->hand].used && entry_expired(&f->entry[f->hand], now)) {
			entry_drop(f, f->hand);
			f->n.expired++;
		}
	}
}
