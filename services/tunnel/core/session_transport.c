/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "session_internal.h"

/* --- sealing --------------------------------------------------------------------------------- */
static bool can_seal(
	const struct session *s, const struct session_conf *conf, mono_t now, uint64_t n)
{
	const struct keypair *k = s->current;

	return k != NULL && keypair_usable(k, conf, now) &&
	       k->send_counter < conf->reject_after_messages &&
	       n <= conf->reject_after_messages - k->send_counter;
}

bool session_can_seal(const struct session *s, const struct session_conf *conf, mono_t now)
{
	return can_seal(s, conf, now, 1);
}

enum err session_seal_begin(struct session *s, struct session_env *env, mono_t now, uint32_t n,
	struct session_seal *ret)
{
	if (!can_seal(s, env->conf, now, n)) {
		session_initiate(s, env, now);
		return ERR_UNAVAILABLE;
	}
	*ret = (struct session_seal){
		.key = &s->current->send_key,
		.counter = s->current->send_counter,
		.receiver = s->current->remote_index,
	};
	s->current->send_counter += n;
	return OK;
}

/* Only the initiator renews by time, lest both do. */
static bool wants_rekey(const struct keypair *k, const struct session_conf *conf, mono_t now)
{
	return k->send_counter >= conf->rekey_after_messages ||
	       (k->initiator && session_elapsed(k->born, conf->rekey_after, now));
}

void session_seal_end(
	struct session *s, struct session_env *env, mono_t now, const struct session_tally *t)
{
	const struct session_conf *c = env->conf;
	unsigned int fx = 0;

	s->stats.tx_packets += t->n;
	s->stats.tx_payload += t->payload_bytes;
	s->stats.tx_bytes += t->payload_bytes + (uint64_t)t->n * WG_OVERHEAD;
	session_sent(s, now);
	if (t->n_data > 0 && s->new_handshake_at.ns == 0)
		s->new_handshake_at = mono_add(session_retry_at(env, now), c->keepalive_timeout);
	if (s->current != NULL && wants_rekey(s->current, c, now))
		session_demand(s, env, now, &fx);
	session_flush(s, env, fx);
}

enum err session_seal_batch(struct session *s, struct session_env *env, struct aead *a, mono_t now,
	struct aead_op *ops, uint32_t n)
{
	struct session_tally t = {.n = n};
	struct session_seal seal;

	TRY(session_seal_begin(s, env, now, n, &seal));
	for (uint32_t i = 0; i < n; i++) {
		ops[i].counter = seal.counter + i;
		wg_transport_head_put(
			ops[i].buf - WG_TRANSPORT_HEAD, seal.receiver, ops[i].counter);
		t.n_data += ops[i].len > 0;
		t.payload_bytes += ops[i].len;
	}
	aead_seal(a, seal.key, ops, n);
	session_seal_end(s, env, now, &t);
	return OK;
}

/* --- opening --------------------------------------------------------------------------------- */
enum err session_open_begin(struct session *s, struct session_env *env, mono_t now,
	uint32_t local_index, struct session_open *ret)
{
	struct keypair *const all[SESSION_KEYPAIRS] = {s->current, s->next, s->previous};

	for (int i = 0; i < SESSION_KEYPAIRS; i++) {
		if (all[i] == NULL || all[i]->local_index != local_index)
			continue;
		if (!keypair_usable(all[i], env->conf, now))
			return ERR_STALE;
		ret->keypair = all[i];
		return OK;
	}
	return ERR_NOT_FOUND;
}

/* An initiator that mostly receives renews in time for the other side's sending not to stop. */
static bool wants_late_rekey(const struct session *s, const struct session_conf *c, mono_t now)
{
	dur_t late = {c->reject_after.ns - c->keepalive_timeout.ns - c->rekey_timeout.ns};

	return !s->late_rekey_sent && s->current != NULL && s->current->initiator &&
	       session_elapsed(s->current->born, late, now);
}

void session_open_end(struct session *s, struct session_env *env, mono_t now,
	const struct session_open *o, const struct session_tally *t)
{
	unsigned int fx = 0;

	s->stats.rx_packets += t->n;
	s->stats.rx_payload += t->payload_bytes;
	s->stats.rx_bytes += t->payload_bytes + (uint64_t)t->n * WG_OVERHEAD;
	if (o->keypair == s->next) {
		session_confirm_next(s, env);
		session_completed(s, now);
		fx |= SESSION_ESTABLISHED;
	}
	session_received(s, now);
	if (t->n_data > 0 && s->keepalive_at.ns == 0)
		s->keepalive_at = mono_add(now, env->conf->keepalive_timeout);
	if (wants_late_rekey(s, env->conf, now)) {
		s->late_rekey_sent = true;
		session_demand(s, env, now, &fx);
	}
	session_flush(s, env, fx);
}

/* Opens up to AEAD_BATCH ops: those that are surely replays are not decrypted. */
static void open_some(const struct keypair *k, struct session *s, const struct session_conf *c,
	struct aead *a, struct aead_op *ops, uint32_t n)
{
	struct aead_op fresh[AEAD_BATCH];
	uint32_t from[AEAD_BATCH], n_fresh = 0;

	for (uint32_t i = 0; i < n; i++) {
		ops[i].ok = false;
		if (ops[i].counter >= c->reject_after_messages ||
			!replay_fresh(&k->replay, ops[i].counter)) {
			s->stats.dropped_replay++;
			continue;
		}
		from[n_fresh] = i;
		fresh[n_fresh++] = ops[i];
	}
	aead_open(a, &k->receive_key, fresh, n_fresh);
	for (uint32_t i = 0; i < n_fresh; i++) {
		ops[from[i]].ok = fresh[i].ok;
		s->stats.dropped_auth += !fresh[i].ok;
	}
}

uint32_t session_open_batch(struct session *s, struct session_env *env, struct aead *a, mono_t now,
	uint32_t local_index, struct aead_op *ops, uint32_t n)
{
	struct session_tally t = {0};
	struct session_open o;
	uint32_t n_authentic = 0;

	if (session_open_begin(s, env, now, local_index, &o) != OK) {
		for (uint32_t i = 0; i < n; i++)
			ops[i].ok = false;
		return 0;
	}
	for (uint32_t at = 0; at < n; at += AEAD_BATCH) {
		uint32_t some = n - at < AEAD_BATCH ? n - at : AEAD_BATCH;

		open_some(o.keypair, s, env->conf, a, ops + at, some);
		for (uint32_t i = at; i < at + some; i++)
			n_authentic += ops[i].ok;
		t.n += (uint32_t)replay_commit_batch(&o.keypair->replay, ops + at, some);
		for (uint32_t i = at; i < at + some; i++) {
			t.n_data += ops[i].ok && ops[i].len > 0;
			t.payload_bytes += ops[i].ok ? ops[i].len : 0;
		}
	}
	s->stats.dropped_replay += n_authentic - t.n;
	if (t.n > 0)
		session_open_end(s, env, now, &o, &t);
	return t.n;
}
