/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mvpn-ledger: money. Privileges: none. It reads keys/wallet.key once, writes state/ledger/, and speaks
 * to the outside only through tunnel, in the control frames of sessions.
 *
 * A turn: messages change the cores and stage rows; tick lets the payer top up; then one commit, and
 * only after it the answers, grants and tickets leave. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "ledger.h"
#include "lib/sys/clock.h"
#include "lib/sys/entropy.h"
#include "lib/sys/log.h"

_Static_assert(PAYER_SPAN + PAYER_PIPELINE <= PAYEE_RECENT, "a repeated ticket is recognised");

#define KEY(name, kind, field, default_, low, high, words)                                    \
	{"ledger", name, kind, offsetof(struct ledger_conf, field),                           \
		sizeof(((struct ledger_conf *)0)->field), default_, low, high, words}

static const struct conf_key keys[] = {
	KEY("backend", CONF_TEXT, backend, "none", 0, 0,
		"settlement: `none` (tickets are signed and checked, and settle nowhere)"),
	KEY("pay", CONF_BOOL, pay, "yes", 0, 0,
		"pay relays that ask for it; the page's setting goes before"),
	KEY("earn", CONF_BOOL, earn, "yes", 0, 0,
		"ask to be paid by the prices below; the page's setting goes before"),
	KEY("entry_gwei_per_gib", CONF_U64, price_gwei_per_gib[HOP_ENTRY], "0", 0, PRICE_MAX_GWEI,
		"price of relaying; the higher of entry and middle counts for both"),
	KEY("middle_gwei_per_gib", CONF_U64, price_gwei_per_gib[HOP_MIDDLE], "0", 0, PRICE_MAX_GWEI,
		"price of relaying (a relay cannot tell entry from middle)"),
	KEY("exit_gwei_per_gib", CONF_U64, price_gwei_per_gib[HOP_EXIT], "0", 0, PRICE_MAX_GWEI,
		"price of being an exit"),
	KEY("free_bytes", CONF_U64, free_bytes, "256k", 0, (uint64_t)1 << 40,
		"what a session may use before its first ticket"),
	KEY("spend_max_gwei_per_day", CONF_U64, spend_max_gwei_per_day, "0", 0, PRICE_MAX_GWEI,
		"most that is paid in a day (UTC); 0: no limit"),
};

wall_t ledger_wall(void)
{
	return wall_now();
}

mono_t ledger_now(const struct ledger *l)
{
	return service_now(l->service);
}

const char *ledger_trouble(const struct ledger *l)
{
	if (l->store_trouble[0] != '\0')
		return l->store_trouble;
	for (size_t i = 0; i < PAYER_SESSIONS_MAX; i++)
		if (l->payer->sessions[i].open && l->payer->sessions[i].capped)
			return "the limit of what may be spent in a day is reached";
	return "";
}

/* ---- settings ---- */

/* Earning without a price of its own falls back on those of node.ini. */
static struct terms terms_of(const struct ledger *l, const struct store_settings *x)
{
	struct terms t = {.chain_id = l->settle.chain_id, .free_bytes = l->conf->free_bytes};
	bool own = false;

	memcpy(t.payee, l->keys.payee, ADDRESS_SIZE);
	for (int i = 0; i < HOP_ROLES; i++)
		own |= x->price_gwei_per_gib[i] != 0;
	for (int i = 0; x->earn && i < HOP_ROLES; i++)
		t.price_gwei_per_gib[i] =
			own ? x->price_gwei_per_gib[i] : l->conf->price_gwei_per_gib[i];
	return t;
}

static bool settings_eq(const struct store_settings *a, const struct store_settings *b)
{
	for (int i = 0; i < HOP_ROLES; i++)
		if (a->price_gwei_per_gib[i] != b->price_gwei_per_gib[i])
			return false;
	return a->set == b->set && a->pay == b->pay && a->earn == b->earn &&
		a->spend_max_gwei_per_day == b->spend_max_gwei_per_day;
}

static void settings_use(struct ledger *l, const struct store_settings *x)
{
	const struct payer_settings p = {
		.pay = x->pay,
		.spend_max_per_day = AMOUNT_GWEI(x->spend_max_gwei_per_day),
		.chain_id = l->settle.chain_id,
	};

	l->settings = *x;
	payer_set(l->payer, &p, ledger_now(l));
	l->wallet_due = true;
}

enum err ledger_apply(
	struct ledger *l, const struct store_settings *x, char ret_why[static STORE_WHY_MAX])
{
	const struct terms t = terms_of(l, x);
	struct terms_book next = l->payee->book;
	bool changed = terms_set(&next, &t, day_of(ledger_wall()));
	enum err e = terms_check(&t);

	if (e != OK) {
		snprintf(ret_why, STORE_WHY_MAX, "a price is over %llu gwei per GiB",
			(unsigned long long)PRICE_MAX_GWEI);
		return e;
	}
	if (changed)
		e = store_terms_save(l->store, &next);
	if (e == OK && !settings_eq(x, &l->settings))
		e = store_settings_save(l->store, x);
	if (e != OK) {
		snprintf(ret_why, STORE_WHY_MAX, "%s", store_why(l->store));
		return e;
	}
	payee_set_terms(l->payee, &t, ledger_wall(), &l->payee_sink);
	settings_use(l, x);
	if (changed && service_bus(l->service) != NULL) {
		tell_allowance(l);
		tell_terms(l);
	}
	return OK;
}

/* What the gateway said last, else node.ini. Needs no write unless the terms changed. */
static enum err settings_begin(struct ledger *l, const struct store_settings *stored)
{
	struct store_settings x = {.pay = l->conf->pay,
		.earn = l->conf->earn,
		.spend_max_gwei_per_day = l->conf->spend_max_gwei_per_day};
	struct terms t;

	if (stored->set)
		x = *stored;
	t = terms_of(l, &x);
	if (terms_set(&l->payee->book, &t, day_of(ledger_wall())) &&
		store_terms_save(l->store, &l->payee->book) != OK)
		snprintf(l->store_trouble, sizeof(l->store_trouble), "%s", store_why(l->store));
	settings_use(l, &x);
	return OK;
}

/* ---- the store ---- */

static void store_failed(struct ledger *l)
{
	if (l->store_trouble[0] == '\0')
		log_error("%s; payments wait until it can be written again", store_why(l->store));
	snprintf(l->store_trouble, sizeof(l->store_trouble), "%s", store_why(l->store));
	l->store_retry_at = mono_add(ledger_now(l), STORE_RETRY);
	l->n_commits_failed++;
	l->wallet_due = true;
}

static void store_retry(struct ledger *l, mono_t now)
{
	if (l->store_trouble[0] == '\0' || !mono_reached(l->store_retry_at, now))
		return;
	if (store_probe(l->store) != OK) {
		store_failed(l);
		return;
	}
	log_info("the database can be written again");
	l->store_trouble[0] = '\0';
	l->wallet_due = true;
	payee_storage_back(l->payee);
	payer_storage_back(l->payer);
}

void ledger_flush(struct ledger *l)
{
	bool ok;

	if (!payee_staged(l->payee) && !payer_staged(l->payer))
		return;
	ok = store_commit(l->store, l->payee, l->payer) == OK;
	if (ok) {
		l->n_commits++;
		if (l->payee->batch.n_claims > 0)
			l->backend->ops->submit(l->backend, l->payee->batch.claims,
				l->payee->batch.n_claims);
	} else {
		store_failed(l);
	}
	payee_committed(l->payee, ok, &l->payee_sink);
	payer_committed(l->payer, ledger_now(l), ok, &l->payer_sink);
	l->wallet_due = true;
}

static void prune(struct ledger *l, mono_t now)
{
	size_t n = 0;

	if (!mono_reached(l->prune_at, now) || l->store_trouble[0] != '\0')
		return;
	l->prune_at = mono_add(now, PRUNE_EVERY);
	if (store_prune(l->store, day_of(ledger_wall()), &l->payee->totals, &n) != OK)
		store_failed(l);
	else if (n > 0)
		l->prune_at = now; /* there may be more */
}

/* ---- the loop ---- */

static void tick(void *state, mono_t now)
{
	struct ledger *l = state;

	store_retry(l, now);
	payee_tick(l->payee, &l->payee_sink);
	payer_tick(l->payer, now, ledger_wall(), &l->payer_sink);
	ledger_flush(l);
	prune(l, now);
	if (l->wallet_due && mono_reached(mono_add(l->wallet_at, WALLET_EVERY), now)) {
		l->wallet_due = false;
		l->wallet_at = now;
		tell_wallet(l);
	}
}

static mono_t deadline(void *state)
{
	struct ledger *l = state;
	mono_t t = mono_min(payer_deadline(l->payer), l->prune_at);

	if (l->store_trouble[0] != '\0')
		t = mono_min(t, l->store_retry_at);
	if (l->wallet_due)
		t = mono_min(t, mono_add(l->wallet_at, WALLET_EVERY));
	if (l->payee->work || l->payer->work)
		t = mono_min(t, mono_add(ledger_now(l), DUR_MS(10)));
	return t;
}

/* ---- start and end ---- */

static void stop(void *state)
{
	struct ledger *l = state;

	store_close(&l->store);
	if (l->backend != NULL)
		l->backend->ops->close(l->backend);
	if (l->payer != NULL)
		payer_done(l->payer);
	if (l->ctx != NULL)
		secp256k1_context_destroy(l->ctx);
	keys_done(&l->keys);
	free(l->payer);
	free(l->payee);
	free(l);
}

static enum err keys_open(struct ledger *l)
{
	uint8_t wallet_sk[32], blind[32];
	enum err e;

	TRY(service_key_load(l->service, "wallet.key", wallet_sk, sizeof(wallet_sk)));
	l->ctx = secp256k1_context_create(SECP256K1_CONTEXT_NONE);
	entropy_bytes(blind, sizeof(blind));
	/* Blinds signing against side channels; fails only for a context that cannot sign. */
	(void)!secp256k1_context_randomize(l->ctx, blind);
	e = keys_init(&l->keys, l->ctx, wallet_sk);
	sodium_memzero(wallet_sk, sizeof(wallet_sk));
	if (e != OK)
		log_error("keys/wallet.key is not a key of the curve secp256k1 (zero, or too large); "
			  "`mvpn init` makes one");
	return e;
}

static enum err cores_open(struct ledger *l)
{
	uint8_t seed[32];

	l->payee = calloc(1, sizeof(*l->payee));
	l->payer = calloc(1, sizeof(*l->payer));
	if (l->payee == NULL || l->payer == NULL)
		return ERR_FULL;
	entropy_bytes(seed, sizeof(seed));
	payee_init(l->payee, &l->keys, &l->settle, seed);
	entropy_bytes(seed, sizeof(seed));
	payer_init(l->payer, &l->keys, l->ctx, &l->payee->domain, seed);
	ledger_sinks_init(l);
	return OK;
}

static enum err store_begin(struct ledger *l)
{
	struct store_settings stored = {0};
	char why[STORE_WHY_MAX];
	enum err e = store_open(&l->store, service_state_dir(l->service), why);

	if (e == OK)
		e = store_load(l->store, l->payee, &l->payee_sink, l->payer, &stored, why);
	if (e != OK) {
		log_error("state/ledger/ledger.sqlite: %s", why);
		return e;
	}
	return settings_begin(l, &stored);
}

static enum err backend_begin(struct ledger *l)
{
	char why[BACKEND_WHY_MAX];
	enum err e = backend_open(l->conf->backend, &l->backend, why);

	if (e != OK)
		log_error("node.ini: %s", e == ERR_INVALID ? why : err_str(e));
	else
		l->backend->ops->terms(l->backend, &l->settle);
	return e;
}

static enum err init(struct service *s, const void *conf, void **ret_state)
{
	struct ledger *l = calloc(1, sizeof(*l));
	enum err e;

	if (l == NULL)
		return ERR_FULL;
	l->service = s;
	l->conf = conf;
	l->wallet_due = true;
	l->prune_at = service_now(s);
	e = backend_begin(l);
	if (e == OK)
		e = keys_open(l);
	if (e == OK)
		e = cores_open(l);
	if (e == OK)
		e = store_begin(l);
	if (e != OK) {
		stop(l);
		return e;
	}
	*ret_state = l;
	return OK;
}

int main(int argc, char **argv)
{
	const struct service_spec spec = {
		.role = ROLE_LEDGER,
		.what = "Pays the relays that this node uses and checks what others pay it.",
		.keys = keys,
		.n_keys = sizeof(keys) / sizeof(keys[0]),
		.conf_size = sizeof(struct ledger_conf),
		.inbox = &ledger_inbox,
		.verbs = ledger_verbs,
		.n_verbs = ledger_n_verbs,
		.init = init,
		.tick = tick,
		.deadline = deadline,
		.stop = stop,
	};

	return service_main(argc, argv, &spec);
}
