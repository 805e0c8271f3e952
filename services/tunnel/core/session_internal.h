/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What session.c (life, timers), session_handshake.c and session_transport.c share. `fx` collects
 * effects, bits of enum session_effect, until session_flush. */
#ifndef TUNNEL_SESSION_INTERNAL_H
#define TUNNEL_SESSION_INTERNAL_H

#include "session.h"

static inline bool session_elapsed(mono_t since, dur_t d, mono_t now)
{
	return mono_reached(mono_add(since, d), now);
}

/* Emits what has gathered; the caller returns right after. */
void session_flush(struct session *s, struct session_env *env, unsigned int fx);

/* A new demand for keys: begins or prolongs an attempt. */
void session_demand(struct session *s, struct session_env *env, mono_t now, unsigned int *fx);
mono_t session_retry_at(struct session_env *env, mono_t now);

/* Timers of any authenticated message. */
void session_sent(struct session *s, mono_t now);
void session_received(struct session *s, mono_t now);
void session_completed(struct session *s, mono_t now);

bool keypair_usable(const struct keypair *k, const struct session_conf *conf, mono_t now);
/* Wipes, gives back, and clears *k; nothing if it is NULL. */
void session_keypair_drop(struct session *s, struct session_env *env, struct keypair **k);
void session_initiator_drop(struct session *s, struct session_env *env);

/* `next` has been confirmed: it becomes current. */
void session_confirm_next(struct session *s, struct session_env *env);

#endif
