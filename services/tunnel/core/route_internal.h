/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between route.c (the life of a route), route_watch.c (its echoes) and route_resume.c; nobody else's. */
#ifndef TUNNEL_ROUTE_INTERNAL_H
#define TUNNEL_ROUTE_INTERNAL_H

#include "route.h"

dur_t route_clamp(dur_t d, dur_t low, dur_t high);
void route_rtt_sample(struct route_hop *h, dur_t rtt);
void route_report_dead(struct route *r, unsigned int hop, const struct route_sink *sink);

void route_echo_send(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink);
/* ROUTE_MEASURE: the next echo, or the end. */
void route_unpaid(struct route *r, mono_t now, unsigned int hop, const overlay_Notice *notice,
	const struct route_sink *sink);
void route_measure_next(struct route *r, mono_t now, const struct route_sink *sink);
/* A route that is up: echoes when they are due, and the verdict. */
void route_watch(struct route *r, mono_t now, const struct route_sink *sink);
mono_t route_watch_deadline(const struct route *r);

static inline unsigned int route_last(const struct route *r)
{
	return r->n_hops - 1;
}

const struct net_endpoint *route_entry_endpoint(const struct route *r);
void route_handshake_begins(struct route *r, mono_t now, unsigned int hop);
void route_handshake_again(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink);
/* Of hop: that it extends to the one after it. */
void route_ask_extend(struct route *r, unsigned int hop, const struct route_sink *sink);
void route_ask_attach(struct route *r, const struct route_sink *sink);
struct route_lease route_lease_from(const overlay_Attached *a);

/* HOP_RESUMING: its handshake is done; Attach was answered or refused; another try or the verdict is due. */
void route_resumed(struct route *r, mono_t now, unsigned int hop, const struct route_sink *sink);
void route_resumed_attached(struct route *r, const overlay_Control *a, const struct route_sink *sink);
void route_resume_tick(struct route *r, mono_t now, const struct route_sink *sink);
mono_t route_resume_deadline(const struct route *r);

/* May call closed(): nothing of r may be touched after it. */
void route_begin_closing(struct route *r, mono_t now, const struct route_sink *sink);

#endif
