/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Rows for tunnelctl. Numbers of sessions are random and local; no address of a client is shown. */
#include "overlay_internal.h"

#include <stdio.h>

void overlay_show_sessions(const struct overlay *o, struct ctl_out *out)
{
	for (uint32_t s = 0; s < o->conf.sessions_max; s++) {
		const struct session_record *rec = &o->records[s];

		if (rec->kind == SESSION_NONE)
			continue;
		ctl_row(out, "sessions");
		ctl_id(out, "session", rec->number);
		ctl_text(out, "role", rec->kind == SESSION_HOP ? "hop" : rec->told ? "relay" : "stranger");
		ctl_flag(out, "relays", rec->relays);
		ctl_flag(out, "exits", rec->exits);
		ctl_number(out, "up_bytes", (int64_t)rec->meter.up_bytes);
		ctl_number(out, "down_bytes", (int64_t)rec->meter.down_bytes);
		ctl_flag(out, "priced", rec->meter.priced);
		ctl_number(out, "credit_bytes", (int64_t)rec->meter.credit_bytes);
		ctl_number(out, "worker", o->conf.worker);
	}
}

static const char *purpose_name(enum route_purpose p)
{
	switch (p) {
	case ROUTE_TRAFFIC:
		return "traffic";
	case ROUTE_MEASURE:
		return "measure";
	case ROUTE_TALK:
		return "talk";
	}
	return "?";
}

void overlay_show_routes(const struct overlay *o, mono_t now, struct ctl_out *out)
{
	(void)now;
	for (size_t i = 0; i < ROUTES_MAX; i++) {
		const struct live_route *l = &o->routes[i];

		if (!l->used)
			continue;
		ctl_row(out, l->r.purpose == ROUTE_TRAFFIC ? "routes" : "talks");
		ctl_number(out, "route", l->r.id);
		ctl_text(out, "purpose", purpose_name(l->r.purpose));
		ctl_text(out, "state", route_state_name(l->r.state));
		ctl_flag(out, "in_use", o->in_use == l);
		ctl_flag(out, "dead", l->r.dead);
		ctl_number(out, "hops", l->r.n_hops);
		ctl_number(out, "flows", l->exit_place == FLOW_NO_EXIT
				? 0
				: (int64_t)flow_exit_flows(&o->flow, l->exit_place));
		ctl_number(out, "rx_bytes", (int64_t)l->rx_bytes);
		ctl_number(out, "tx_bytes", (int64_t)l->tx_bytes);
		for (unsigned int k = 0; k < l->r.n_hops; k++) {
			struct route_hop_stats s = route_hop_stats(&l->r, k);
			char key[24];

			snprintf(key, sizeof(key), "hop%u", k + 1);
			ctl_hex(out, key, l->r.hops[k].target.node_id, 4);
			snprintf(key, sizeof(key), "rtt%u_ms", k + 1);
			ctl_real(out, key, s.rtt_us / 1000.0);
			snprintf(key, sizeof(key), "loss%u_ppm", k + 1);
			ctl_number(out, key, s.loss_ppm);
		}
	}
}

void overlay_show_circuits(const struct overlay *o, mono_t now, struct ctl_out *out)
{
	for (uint32_t s = 0; s < o->conf.sessions_max; s++) {
		if (o->records[s].kind != SESSION_STRANGER)
			continue;
		for (uint32_t slot = 0; slot <= CIRCUIT_LEGS_PER_SESSION; slot++) {
			const struct circuit_leg *leg = circuit_find(&o->circuit, s, (uint16_t)slot);

			if (leg == NULL)
				continue;
			ctl_row(out, "circuits");
			ctl_id(out, "session", o->records[s].number);
			ctl_number(out, "slot", leg->slot);
			ctl_hex(out, "next_wg_pk", leg->next_wg_pk, 4);
			ctl_flag(out, "answered", leg->answered);
			ctl_number(out, "indices", leg->n_indices);
			ctl_number(out, "idle_s", (int64_t)(mono_since(leg->used_at, now).ns / 1000000000u));
		}
	}
}

void overlay_show_counters(const struct overlay *o, struct ctl_out *out)
{
	const struct {
		const char *name;
		uint64_t n;
	} rows[] = {
		{"bad_frames", o->n.bad_frames}, {"not_admitted", o->n.not_admitted},
		{"unpaid", o->n.unpaid}, {"over_rate", o->n.over_rate},
		{"wrong_source", o->n.wrong_source}, {"no_holder", o->n.no_holder},
		{"asks_full", o->n.asks_full}, {"routes_full", o->n.routes_full},
		{"circuit_forwarded", o->circuit.n.forwarded}, {"circuit_returned", o->circuit.n.returned},
		{"circuit_bad_message", o->circuit.n.bad_message}, {"circuit_no_leg", o->circuit.n.no_leg},
		{"circuit_no_index", o->circuit.n.no_index}, {"circuit_collisions", o->circuit.n.collisions},
		{"circuit_unanswered", o->circuit.n.unanswered}, {"circuit_expired", o->circuit.n.expired},
		{"circuit_too_many_initiations", o->circuit.n.too_many_initiations},
		{"legs_opened", o->circuit.n.legs_opened}, {"legs_refused", o->circuit.n.legs_refused},
		{"admitted", o->admit.n.admitted}, {"handshakes_over_rate", o->admit.n.over_rate},
		{"sessions_full", o->admit.n.sessions_full}, {"displaced", o->admit.n.displaced},
		{"forgotten", o->admit.n.forgotten}, {"control_requests", o->responder.n.requests},
		{"control_refused", o->responder.n.refused}, {"control_repeated", o->responder.n.repeated},
		{"control_malformed", o->responder.n.malformed},
		{"control_over_budget", o->responder.n.over_budget},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		ctl_row(out, "counters");
		ctl_text(out, "counter", rows[i].name);
		ctl_number(out, "n", (int64_t)rows[i].n);
	}
	for (unsigned int v = 1; v < POLICY_VERDICTS; v++) {
		char name[32];

		snprintf(name, sizeof(name), "exit_%.20s", policy_verdict_name(v));
		ctl_row(out, "counters");
		ctl_text(out, "counter", name);
		ctl_number(out, "n", (int64_t)o->n.refused[v]);
	}
	for (unsigned int v = 1; o->have_flow && v < FLOW_VERDICTS; v++) {
		char name[32];

		snprintf(name, sizeof(name), "flow_%.20s", flow_verdict_name(v));
		ctl_row(out, "counters");
		ctl_text(out, "counter", name);
		ctl_number(out, "n", (int64_t)o->flow.n.n[v]);
	}
}
