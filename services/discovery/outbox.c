/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The core's decisions, carried out on the bus. */
#include <stdio.h>
#include <string.h>

#include "proto/gateway.pb.h"
#include "proto/router.pb.h"
#include "proto/tunnel.pb.h"
#include "service.h"

static void address_set(const struct contact *to, mvpn_NodeAddress *n)
{
	memcpy(n->wg_pk, to->wg_pk, sizeof(n->wg_pk));
	if (to->ep4.addr.family == NET_IP4) {
		n->ip4.size = 4;
		memcpy(n->ip4.bytes, to->ep4.addr.ip, 4);
		n->port4 = to->ep4.port;
	}
	if (to->ep6.addr.family == NET_IP6) {
		n->ip6.size = 16;
		memcpy(n->ip6.bytes, to->ep6.addr.ip, 16);
		n->port6 = to->ep6.port;
	}
}

static uint64_t ask(void *ctx, const struct contact *to, const uint8_t *payload, size_t len)
{
	struct state *s = ctx;
	struct bus *bus = service_bus(s->service);
	mvpn_TunnelIn out = {
		.deadline_ms = ASK_DEADLINE_MS, .which_body = mvpn_TunnelIn_send_peer_request_tag};
	mvpn_SendPeerRequest *m = &out.body.send_peer_request;

	if (!bus_link_up(bus, ROLE_TUNNEL))
		return 0;
	out.id = bus_next_id(bus);
	m->has_node = true;
	address_set(to, &m->node);
	m->payload.size = (pb_size_t)len;
	memcpy(m->payload.bytes, payload, len);
	return bus_send(bus, ROLE_TUNNEL, mvpn_TunnelIn_fields, &out) == OK ? out.id : 0;
}

static void answer(
	void *ctx, uint64_t session, uint32_t request, const uint8_t *payload, size_t len)
{
	struct state *s = ctx;
	mvpn_TunnelIn out = {.which_body = mvpn_TunnelIn_answer_peer_tag};
	mvpn_AnswerPeer *m = &out.body.answer_peer;

	m->session = session;
	m->request = request;
	m->payload.size = (pb_size_t)len;
	memcpy(m->payload.bytes, payload, len);
	/* The asker asks again if this is lost. */
	bus_tell(service_bus(s->service), ROLE_TUNNEL, mvpn_TunnelIn_fields, &out);
}

static enum err router_send(const struct state *s, const mvpn_RouterIn *out)
{
	return bus_send(service_bus(s->service), ROLE_ROUTER, mvpn_RouterIn_fields, out);
}

static enum err learned(void *ctx, const struct relay *r)
{
	mvpn_RouterIn out = {.which_body = mvpn_RouterIn_relay_learned_tag};

	out.body.relay_learned.descriptor.size = DESCRIPTOR_SIZE;
	memcpy(out.body.relay_learned.descriptor.bytes, r->bytes, DESCRIPTOR_SIZE);
	return router_send(ctx, &out);
}

static enum err gone(void *ctx, const uint8_t node_id[static NODE_ID_SIZE])
{
	mvpn_RouterIn out = {.which_body = mvpn_RouterIn_relay_gone_tag};

	memcpy(out.body.relay_gone.node_id, node_id, NODE_ID_SIZE);
	return router_send(ctx, &out);
}

static enum err complete(void *ctx, uint32_t n_relays)
{
	const mvpn_RouterIn out = {.which_body = mvpn_RouterIn_directory_complete_tag,
		.body.directory_complete.n_relays = n_relays};

	return router_send(ctx, &out);
}

static enum err state_say(void *ctx, const struct directory_state *d)
{
	struct state *s = ctx;
	mvpn_GatewayIn out = {.which_body = mvpn_GatewayIn_directory_state_tag};
	mvpn_DirectoryState *m = &out.body.directory_state;

	m->n_relays = d->n_relays;
	m->n_exits = d->n_exits;
	m->published = d->published;
	snprintf(m->trouble, sizeof(m->trouble), "%s", d->trouble);
	return bus_send(service_bus(s->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &out);
}

static enum err seq_store(void *ctx, uint64_t seq)
{
	return memory_seq_store(ctx, seq);
}

struct discovery_sink outbox_sink(struct state *s)
{
	return (struct discovery_sink){.ctx = s,
		.ask = ask,
		.answer = answer,
		.learned = learned,
		.gone = gone,
		.complete = complete,
		.state = state_say,
		.seq_store = seq_store};
}

void outbox_done(struct state *s, enum role to, uint64_t re, enum err e, const char *why)
{
	mvpn_GatewayIn out = {.re = re, .which_body = mvpn_GatewayIn_done_tag};

	if (to != ROLE_GATEWAY || re == 0)
		return;
	out.body.done.err = e;
	snprintf(out.body.done.why, sizeof(out.body.done.why), "%s", why);
	bus_tell(service_bus(s->service), ROLE_GATEWAY, mvpn_GatewayIn_fields, &out);
}
