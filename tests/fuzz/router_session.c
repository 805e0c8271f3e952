/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The session under any sequence of events: three bytes each, what, which, how long. Whatever came
 * before, a world in which everything answers ends with the session on. */
#include "tests/harness/router_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define EVENTS_MAX 200

/* A route number: one ordered lately, or one never heard of. */
static uint32_t route_of(const struct fuzz_world *w, uint8_t which)
{
	if (w->n_orders == 0 || which >= 0xf0)
		return which;
	uint32_t back = which % (w->n_orders < FUZZ_ROUTES ? w->n_orders : FUZZ_ROUTES);
	return w->orders[(w->n_orders - 1 - back) % FUZZ_ROUTES];
}

static struct path_facts facts(struct fuzz_world *w, uint32_t route, uint8_t which,
	struct path_hop room[static POLICY_HOPS_MAX])
{
	const struct path *p = path_find(&w->r, route);
	struct path_facts f = {
		.route = route, .hops = room, .n_hops = 3, .in_use = (which & 1) != 0};

	for (unsigned int k = 0; k < 3; k++) {
		room[k] = (struct path_hop){
			.rtt_us = 1000u * (k + 1) * which, .session = route * 4 + k};
		memcpy(room[k].node_id,
			p != NULL && k < p->n_hops ? p->hops[k].node_id
						   : w->ids[(which + k * 5u) % FUZZ_RELAYS],
			NODE_ID_SIZE);
	}
	return f;
}

static void event(struct fuzz_world *w, uint8_t what, uint8_t which)
{
	static const char countries[3][3] = {"CA", "CB", "XX"};
	struct router *r = &w->r;
	struct path_hop room[POLICY_HOPS_MAX];
	uint32_t route = route_of(w, which);
	struct path_facts f = facts(w, route, which, room);
	char why[NOTE_MAX];

	switch (what % 20) {
	case 0:
	case 1: {
		struct wish wish = {.on = which % 5 != 0,
			.hops = which % 4,
			.countries = &countries[which % 3],
			.n_countries = which & 1};
		(void)!vpn_on_set_session(r, &wish, w->now, why);
		break;
	}
	case 2:
		(void)!vpn_on_new_route(r, w->now);
		break;
	case 3:
		vpn_on_settings(
			r, (which & 1) != 0, which & 2 ? 500 : 0, which & 4 ? which : 0, w->now);
		break;
	case 4:
		vpn_on_link(r, which & 1, w->now);
		break;
	case 5:
		vpn_on_tunnel_hello(r, which & 1, w->now);
		break;
	case 6:
		f.draining = which & 2;
		vpn_on_lives(r, &f, w->now);
		break;
	case 7:
		vpn_on_lives_complete(r, w->now);
		break;
	case 8:
	case 9:
	case 10:
		vpn_on_built(r, &f, w->now);
		break;
	case 11:
		vpn_on_failed(r, route, which % 5, (enum err) - (which % 12), "x", w->now);
		break;
	case 12:
	case 13:
		vpn_on_probed(r, route, which % 4 != 0, w->now);
		break;
	case 14:
		vpn_on_dead(r, route, which % 5, w->now);
		break;
	case 15:
		vpn_on_closed(r, route, w->now);
		break;
	case 16:
		vpn_on_stats(r, &f, w->now);
		break;
	case 17:
		vpn_on_measured(r, w->ids[which % FUZZ_RELAYS], which & 64, which * 1000u, w->now);
		break;
	case 18:
		vpn_on_payment(
			r, route * 4 + which % 3, room[which % 3].node_id, which & 32, "x", w->now);
		break;
	default:
		if (which & 128)
			peers_gone(&r->peers, w->ids[which % FUZZ_RELAYS]);
		else
			(void)!peers_learn(&r->peers, w->descriptors[which % FUZZ_RELAYS],
				DESCRIPTOR_SIZE, w->now);
	}
}

/* Everything answers: every build succeeds after 100 ms, every probe too. */
static void all_is_well(struct fuzz_world *w)
{
	struct router *r = &w->r;
	struct wish wish = {.on = true, .hops = 3};
	struct path_hop room[POLICY_HOPS_MAX];
	char why[NOTE_MAX];

	for (unsigned int i = 0; i < FUZZ_RELAYS; i++)
		(void)!peers_learn(&r->peers, w->descriptors[i], DESCRIPTOR_SIZE, w->now);
	peers_snapshot_end(&r->peers, FUZZ_RELAYS);
	vpn_on_link(r, true, w->now);
	vpn_on_tunnel_hello(r, true, w->now);
	vpn_on_lives_complete(r, w->now);
	vpn_on_settings(r, true, 0, 0, w->now);
	CHECK(vpn_on_set_session(r, &wish, w->now, why) == OK);
	for (int i = 0; i < 300 && r->vpn.phase != PHASE_ON; i++) {
		w->now.mono = mono_add(w->now.mono, DUR_MS(100));
		for (size_t k = 0; k < PATHS_MAX; k++) {
			struct path *p = &r->paths[k];
			struct path_facts f = facts(w, p->id, 1, room);

			if (p->state == PATH_BUILDING)
				vpn_on_built(r, &f, w->now);
			else if (p->state == PATH_PROBING)
				vpn_on_probed(r, p->id, true, w->now);
		}
		vpn_step(r, w->now);
		fuzz_invariants(w);
	}
	CHECK(r->vpn.phase == PHASE_ON);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct fuzz_world *w = fuzz_world_get();

	for (size_t i = 0; i + 3 <= len && i < 3 * EVENTS_MAX; i += 3) {
		/* From a millisecond to half a minute, evenly by powers of two. */
		uint64_t ms = 1ull << (data[i + 2] & 15);

		w->now.mono = mono_add(w->now.mono, DUR_MS(data[i + 2] & 128 ? ms : 0));
		w->now.wall.s = 20000LL * DAY_S +
				(int64_t)((w->now.mono.ns - 1000000000000ull) / 1000000000u);
		event(w, data[i], data[i + 1]);
		vpn_step(&w->r, w->now);
		fuzz_invariants(w);
	}
	fuzz_report(w);
	all_is_well(w);
	return 0;
}
