/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>

#include "session_internal.h"

/* Keys into *place, from the pool; there is a free key pair. */
static void keypair_install(struct session_env *env, struct keypair **place,
	const struct noise_keys *keys, uint32_t local_index, bool initiator, mono_t now)
{
	struct keypair *k = env->keypairs->free;

	BUG_ON(k == NULL);
	env->keypairs->free = k->next_free;
	env->keypairs->n_free--;
	*k = (struct keypair){
		.send_key = keys->send,
		.receive_key = keys->receive,
		.born = now,
		.local_index = local_index,
		.remote_index = keys->remote_index,
		.initiator = initiator,
	};
	*place = k;
}

/* Wall clocks step back and two initiations may fall into one tick of the label: it grows anyway.
 */
#define LABEL_STEP_NS ((uint64_t)1 << 24)

static void label_next(struct session *s, uint64_t wall_ns, uint8_t ret[static TAI64N_SIZE])
{
	uint64_t least = s->timestamp_sent == 0 ? 0 : s->timestamp_sent + LABEL_STEP_NS;

	s->timestamp_sent = wall_ns > least ? wall_ns : least;
	tai64n_put(ret, s->timestamp_sent);
}

enum err session_initiation_create(struct session *s, struct session_env *env, mono_t now,
	uint64_t wall_ns, uint8_t ret_msg[static WG_INITIATION_SIZE])
{
	uint8_t label[TAI64N_SIZE];
	struct wg_initiation msg;
	uint32_t index;

	if (s->initiation_sent.ns != 0 &&
		!session_elapsed(s->initiation_sent, env->conf->rekey_timeout, now))
		return ERR_UNAVAILABLE;
	session_initiator_drop(s, env);
	if (!env->ops->index_new(env->ctx, s, &index))
		return ERR_FULL;
	label_next(s, wall_ns, label);
	if (noise_initiation_create(
		    &s->initiator, s->identity, &s->remote, index, label, env->rng, &msg) != OK) {
		env->ops->index_free(env->ctx, s, index);
		return ERR_DENIED;
	}
	memcpy(ret_msg, &msg, sizeof(msg));
	cookie_macs_put(&s->jar, &s->remote, ret_msg, WG_INITIATION_SIZE, now);
	s->initiation_sent = now;
	if (s->attempt_began.ns == 0)
		s->attempt_began = now;
	s->retransmit_at = session_retry_at(env, now);
	session_sent(s, now);
	s->stats.initiations_sent++;
	s->stats.tx_bytes += WG_INITIATION_SIZE;
	return OK;
}

/* May we answer, and have we what it takes? The responder's new pair replaces `next` and
 * `previous`. */
static enum err responder_ready(const struct session *s, const struct session_env *env, mono_t now)
{
	if (s->initiation_taken.ns != 0 &&
		!session_elapsed(s->initiation_taken, env->conf->initiation_gap, now))
		return ERR_FULL;
	return s->next != NULL || s->previous != NULL || env->keypairs->n_free > 0 ? OK : ERR_FULL;
}

enum err session_initiation_accept(struct session *s, struct session_env *env, mono_t now,
	struct noise_responder *re, uint8_t ret_msg[static WG_RESPONSE_SIZE])
{
	uint8_t timestamp[TAI64N_SIZE];
	struct noise_keys keys;
	struct wg_response msg;
	uint32_t index;
	enum err e;

	TRY(responder_ready(s, env, now));
	TRY(noise_initiation_finish(re, &s->remote));
	memcpy(timestamp, re->timestamp, TAI64N_SIZE);
	if (!env->ops->index_new(env->ctx, s, &index))
		return ERR_FULL;
	e = noise_response_create(re, &s->remote, index, env->rng, &msg, &keys);
	if (e != OK) {
		env->ops->index_free(env->ctx, s, index);
		return e;
	}
	memcpy(s->remote.last_timestamp, timestamp, TAI64N_SIZE);
	session_keypair_drop(s, env, &s->next);
	session_keypair_drop(s, env, &s->previous);
	keypair_install(env, &s->next, &keys, index, false, now);
	sodium_memzero(&keys, sizeof(keys));
	memcpy(ret_msg, &msg, sizeof(msg));
	cookie_macs_put(&s->jar, &s->remote, ret_msg, WG_RESPONSE_SIZE, now);
	s->initiation_taken = now;
	session_received(s, now);
	session_sent(s, now);
	s->stats.rx_bytes += WG_INITIATION_SIZE;
	s->stats.tx_bytes += WG_RESPONSE_SIZE;
	return OK;
}

/* The initiator's new pair is current at once; what was newest before it still opens. */
static void current_make_room(struct session *s, struct session_env *env)
{
	session_keypair_drop(s, env, &s->previous);
	if (s->next != NULL) {
		session_keypair_drop(s, env, &s->current);
		s->previous = s->next;
		s->next = NULL;
	} else {
		s->previous = s->current;
		s->current = NULL;
	}
}

enum err session_response_accept(struct session *s, struct session_env *env, mono_t now,
	const uint8_t msg[static WG_RESPONSE_SIZE])
{
	uint32_t index = s->initiator.local_index;
	struct wg_response resp;
	struct noise_keys keys;

	if (!s->initiator.waiting || wg_receiver_index(msg) != index)
		return ERR_NOT_FOUND;
	if (env->keypairs->n_free == 0 && s->previous == NULL &&
		(s->next == NULL || s->current == NULL))
		return ERR_FULL;
	memcpy(&resp, msg, sizeof(resp));
	TRY(noise_response_accept(&s->initiator, s->identity, &s->remote, &resp, &keys));
	current_make_room(s, env);
	keypair_install(env, &s->current, &keys, index, true, now);
	sodium_memzero(&keys, sizeof(keys));
	session_completed(s, now);
	session_received(s, now);
	s->stats.rx_bytes += WG_RESPONSE_SIZE;
	session_flush(s, env, SESSION_ESTABLISHED);
	/* The responder may not send before it has seen a packet under the new keys. */
	if (s->current != NULL && s->current->send_counter == 0)
		session_flush(s, env, SESSION_SEND_KEEPALIVE);
	return OK;
}

enum err session_cookie_accept(
	struct session *s, mono_t now, const uint8_t msg[static WG_COOKIE_SIZE])
{
	struct wg_cookie reply;

	memcpy(&reply, msg, sizeof(reply));
	TRY(cookie_reply_accept(&s->jar, &s->remote, &reply, now));
	s->stats.rx_bytes += WG_COOKIE_SIZE;
	return OK;
}
