/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <sodium.h>

#include "session_internal.h"

const struct session_conf session_conf_wireguard = {
	.rekey_after = {120000000000},
	.reject_after = {180000000000},
	.rekey_attempt = {90000000000},
	.rekey_timeout = {5000000000},
	.rekey_jitter = {333000000},
	.keepalive_timeout = {10000000000},
	.initiation_gap = {20000000},
	.rekey_after_messages = (uint64_t)1 << 60,
	.reject_after_messages = UINT64_MAX - ((uint64_t)1 << 13),
};

static const mono_t unset = {0};

/* --- key pairs ------------------------------------------------------------------------------- */
void keypair_pool_add(struct keypair_pool *p, struct keypair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		pairs[i].next_free = p->free;
		p->free = &pairs[i];
	}
	p->n_free += n;
}

bool keypair_usable(const struct keypair *k, const struct session_conf *conf, mono_t now)
{
	return !session_elapsed(k->born, conf->reject_after, now);
}

/* Bytes below us in which ciphers may have left what they computed from keys (their registers' spills: lanes_poly
 * takes 7 kB). Only the thread that has the session used them. */
#define CIPHER_STACK (16u << 10)

void session_keypair_drop(struct session *s, struct session_env *env, struct keypair **k)
{
	if (*k == NULL)
		return;
	env->ops->index_free(env->ctx, s, (*k)->local_index);
	sodium_memzero(*k, sizeof(**k));
	sodium_stackzero(CIPHER_STACK);
	keypair_pool_add(env->keypairs, *k, 1);
	*k = NULL;
}

void session_initiator_drop(struct session *s, struct session_env *env)
{
	if (s->initiator.waiting)
		env->ops->index_free(env->ctx, s, s->initiator.local_index);
	noise_initiator_done(&s->initiator);
}

void session_confirm_next(struct session *s, struct session_env *env)
{
	session_keypair_drop(s, env, &s->previous);
	s->previous = s->current;
	s->current = s->next;
	s->next = NULL;
}

/* --- life ------------------------------------------------------------------------------------ */
enum err session_init(struct session *s, const struct noise_identity *id,
	const uint8_t pk[static WG_KEY_SIZE], const uint8_t *psk)
{
	memset(s, 0, sizeof(*s));
	s->identity = id;
	return noise_remote_init(&s->remote, id, pk, psk);
}

void session_clear(struct session *s, struct session_env *env)
{
	session_keypair_drop(s, env, &s->current);
	session_keypair_drop(s, env, &s->previous);
	session_keypair_drop(s, env, &s->next);
	session_initiator_drop(s, env);
	sodium_memzero(&s->jar, sizeof(s->jar));
	s->retransmit_at = s->keepalive_at = s->new_handshake_at = s->persistent_at = unset;
	s->attempt_began = s->initiation_sent = unset;
	s->late_rekey_sent = false;
}

void session_done(struct session *s, struct session_env *env)
{
	session_clear(s, env);
	sodium_memzero(s, sizeof(*s));
}

enum err session_identity_set(
	struct session *s, struct session_env *env, const struct noise_identity *id)
{
	struct noise_remote old = s->remote;
	enum err e;

	session_clear(s, env);
	s->identity = id;
	e = noise_remote_init(&s->remote, id, old.static_pk, old.preshared_key);
	memcpy(s->remote.last_timestamp, old.last_timestamp, TAI64N_SIZE);
	noise_remote_done(&old);
	return e;
}

void session_psk_set(struct session *s, const uint8_t *psk)
{
	if (psk != NULL)
		memcpy(s->remote.preshared_key, psk, WG_KEY_SIZE);
	else
		memset(s->remote.preshared_key, 0, WG_KEY_SIZE);
}

void session_persistent_set(struct session *s, struct session_env *env, mono_t now, dur_t interval)
{
	bool turned_on = s->persistent.ns == 0 && interval.ns != 0;

	s->persistent = interval;
	s->persistent_at = interval.ns != 0 ? mono_add(now, interval) : unset;
	session_flush(s, env, turned_on ? SESSION_SEND_KEEPALIVE : 0);
}

/* --- effects --------------------------------------------------------------------------------- */
void session_flush(struct session *s, struct session_env *env, unsigned int fx)
{
	static const enum session_effect order[] = {SESSION_SEND_INITIATION, SESSION_ESTABLISHED,
		SESSION_SEND_KEEPALIVE, SESSION_GAVE_UP, SESSION_EXPIRED};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
		if (fx & order[i])
			env->ops->emit(env->ctx, s, order[i]);
}

/* --- timers ---------------------------------------------------------------------------------- */
mono_t session_retry_at(struct session_env *env, mono_t now)
{
	const struct session_conf *c = env->conf;
	dur_t jitter = {c->rekey_jitter.ns != 0 ? rng_below(env->rng, c->rekey_jitter.ns) : 0};

	return mono_add(mono_add(now, c->rekey_timeout), jitter);
}

void session_demand(struct session *s, struct session_env *env, mono_t now, unsigned int *fx)
{
	s->attempt_began = now;
	if (s->initiation_sent.ns == 0 ||
		session_elapsed(s->initiation_sent, env->conf->rekey_timeout, now)) {
		s->retransmit_at = session_retry_at(env, now);
		*fx |= SESSION_SEND_INITIATION;
	} else if (s->retransmit_at.ns == 0) {
		s->retransmit_at = session_retry_at(env, s->initiation_sent);
	}
}

void session_sent(struct session *s, mono_t now)
{
	s->keepalive_at = unset;
	if (s->persistent.ns != 0)
		s->persistent_at = mono_add(now, s->persistent);
}

void session_received(struct session *s, mono_t now)
{
	s->last_received = now;
	s->new_handshake_at = unset;
	if (s->persistent.ns != 0)
		s->persistent_at = mono_add(now, s->persistent);
}

void session_completed(struct session *s, mono_t now)
{
	s->retransmit_at = unset;
	s->attempt_began = unset;
	s->late_rekey_sent = false;
	s->last_handshake = now;
	s->stats.handshakes++;
}

static void on_retransmit(struct session *s, struct session_env *env, mono_t now, unsigned int *fx)
{
	if (!session_elapsed(s->attempt_began, env->conf->rekey_attempt, now)) {
		s->retransmit_at = session_retry_at(env, now);
		*fx |= SESSION_SEND_INITIATION;
		return;
	}
	session_initiator_drop(s, env);
	s->attempt_began = unset;
	s->keepalive_at = unset;
	*fx |= SESSION_GAVE_UP;
}

static void on_keepalive(struct session *s, struct session_env *env, mono_t now, unsigned int *fx)
{
	(void)s;
	(void)env;
	(void)now;
	*fx |= SESSION_SEND_KEEPALIVE;
}

static void on_persistent(struct session *s, struct session_env *env, mono_t now, unsigned int *fx)
{
	(void)env;
	s->persistent_at = mono_add(now, s->persistent);
	*fx |= SESSION_SEND_KEEPALIVE;
}

typedef void timer_fn(struct session *s, struct session_env *env, mono_t now, unsigned int *fx);

static void timer_run(struct session *s, struct session_env *env, mono_t now, mono_t *at,
	timer_fn *fn, unsigned int *fx)
{
	if (at->ns == 0 || !mono_reached(*at, now))
		return;
	*at = unset;
	fn(s, env, now, fx);
}

static void reap(struct session *s, struct session_env *env, mono_t now, unsigned int *fx)
{
	struct keypair **const all[SESSION_KEYPAIRS] = {&s->current, &s->previous, &s->next};
	bool any = false, left = false;

	for (int i = 0; i < SESSION_KEYPAIRS; i++) {
		if (*all[i] != NULL && !keypair_usable(*all[i], env->conf, now)) {
			session_keypair_drop(s, env, all[i]);
			any = true;
		}
		left |= *all[i] != NULL;
	}
	if (any && !left)
		*fx |= SESSION_EXPIRED;
}

/* A handshake that the other side's initiation has overtaken: when its answer need not be awaited.
 */
static mono_t overtaken_until(const struct session *s, const struct session_conf *conf)
{
	bool overtaken = s->initiator.waiting && s->attempt_began.ns == 0;

	return overtaken ? mono_add(s->initiation_sent, conf->rekey_attempt) : unset;
}

static void on_overtaken(struct session *s, struct session_env *env, mono_t now, unsigned int *fx)
{
	(void)now;
	(void)fx;
	session_initiator_drop(s, env);
}

void session_tick(struct session *s, struct session_env *env, mono_t now)
{
	mono_t overtaken_at = overtaken_until(s, env->conf);
	unsigned int fx = 0;

	reap(s, env, now, &fx);
	timer_run(s, env, now, &overtaken_at, on_overtaken, &fx);
	timer_run(s, env, now, &s->retransmit_at, on_retransmit, &fx);
	timer_run(s, env, now, &s->keepalive_at, on_keepalive, &fx);
	timer_run(s, env, now, &s->new_handshake_at, session_demand, &fx);
	timer_run(s, env, now, &s->persistent_at, on_persistent, &fx);
	session_flush(s, env, fx);
}

static mono_t earlier(mono_t deadline, mono_t at)
{
	return at.ns != 0 ? mono_min(deadline, at) : deadline;
}

static mono_t earlier_key(mono_t deadline, const struct keypair *k, const struct session_conf *conf)
{
	return k != NULL ? mono_min(deadline, mono_add(k->born, conf->reject_after)) : deadline;
}

mono_t session_deadline(const struct session *s, const struct session_conf *conf)
{
	mono_t d = MONO_NEVER;

	d = earlier(d, s->retransmit_at);
	d = earlier(d, s->keepalive_at);
	d = earlier(d, s->new_handshake_at);
	d = earlier(d, s->persistent_at);
	d = earlier(d, overtaken_until(s, conf));
	d = earlier_key(d, s->current, conf);
	d = earlier_key(d, s->previous, conf);
	return earlier_key(d, s->next, conf);
}

void session_initiate(struct session *s, struct session_env *env, mono_t now)
{
	unsigned int fx = 0;

	session_demand(s, env, now, &fx);
	session_flush(s, env, fx);
}

void session_initiate_anew(struct session *s, struct session_env *env, mono_t now)
{
	s->initiation_sent = unset;
	session_initiate(s, env, now);
}
