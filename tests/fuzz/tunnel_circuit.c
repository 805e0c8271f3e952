/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Clients that open, close and use legs in any order, next hops that answer what they like, against
 * a slow model: what comes back goes to the leg whose initiation named that index, or nowhere. Frames and
 * messages are made here, or stand in the input byte by byte. */
#include <stdlib.h>
#include <string.h>

#include "services/tunnel/core/circuit.h"
#include "services/tunnel/core/frame.h"
#include "services/tunnel/core/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define SESSIONS 8
#define LEGS 24
#define NODES 4
#define INDICES 16
#define SLOTS 16
#define RAW 0xf8 /* steps from here on: (.., length, who, ..), bytes */

/* Who last had an initiation with this (node, index) forwarded, and until when it may be used. */
static struct {
	bool known;
	uint32_t session;
	uint16_t slot;
	uint64_t opened;		    /* incarnation of the leg */
	mono_t surely_until, at_most_until; /* the first answer prolongs it, at most once */
} model[NODES][INDICES];
static uint64_t incarnation[SESSIONS][SLOTS];

static struct circuit c;
static mono_t now;

static struct descriptor node(unsigned int n)
{
	struct descriptor d = {.roles = DESCRIPTOR_RELAY};

	d.wg_pk[0] = (uint8_t)(n + 1);
	d.ep4 = (struct net_endpoint){{NET_IP4, {192, 0, 2, (uint8_t)n}}, 51820};
	return d;
}

static size_t message(uint8_t m[static 160], unsigned int type, uint32_t index, unsigned int cut)
{
	static const size_t sizes[] = {
		10, WG_INITIATION_SIZE, WG_RESPONSE_SIZE, WG_COOKIE_SIZE, 32, 40};

	memset(m, 0, 160);
	m[0] = (uint8_t)type;
	le32_put(m + 4, index);
	le32_put(m + (type == WG_RESPONSE ? 8 : 4), index);
	return sizes[type % 6] - (cut == 7);
}

static void extend(uint8_t a, uint8_t b)
{
	uint32_t session = a % SESSIONS;
	uint16_t slot = b % SLOTS;
	struct descriptor d = node(b / SLOTS % NODES);
	bool was = circuit_find(&c, session, slot) != NULL;

	if (circuit_extend(&c, now, session, slot, &d, DUR_S(a)) == OK && !was)
		incarnation[session][slot]++;
}

/* [P-4], told apart from wg_message_type(). */
static bool well_formed(const uint8_t *m, size_t len)
{
	static const size_t sizes[] = {0, 148, 92, 64};

	if (len < 32 || m[1] != 0 || m[2] != 0 || m[3] != 0)
		return false;
	return m[0] == 4 || (m[0] >= 1 && m[0] <= 3 && len == sizes[m[0]]);
}

static void pass_forward(uint32_t session, uint16_t slot, const uint8_t *m, size_t len)
{
	const struct circuit_leg *leg;
	uint32_t index;
	unsigned int n;

	if (circuit_forward(&c, now, session, slot, m, len, &leg) != OK)
		return;
	if (leg->session != session || leg->slot != slot || !well_formed(m, len))
		abort();
	n = leg->next.addr.ip[3];
	index = m[0] == WG_INITIATION ? le32_get(m + 4) : INDICES;
	if (index >= INDICES)
		return;
	/* not taken from a leg that still had it */
	if (model[n][index].known && !mono_reached(model[n][index].surely_until, now) &&
		(model[n][index].session != session || model[n][index].slot != slot) &&
		circuit_find(&c, model[n][index].session, model[n][index].slot) != NULL &&
		model[n][index].opened ==
			incarnation[model[n][index].session][model[n][index].slot] &&
		c.n.indices_evicted == 0)
		abort();
	model[n][index].known = true;
	model[n][index].session = session;
	model[n][index].slot = slot;
	model[n][index].opened = incarnation[session][slot];
	model[n][index].surely_until = mono_add(now, CIRCUIT_INDEX_LIFE);
	model[n][index].at_most_until = mono_add(now, (dur_t){2 * CIRCUIT_INDEX_LIFE.ns});
}

static void forward(uint8_t a, uint8_t b, uint8_t kind)
{
	uint8_t m[160];
	size_t len = message(m, kind % 6, a / SESSIONS % INDICES, kind / 6 % 8);

	pass_forward(a % SESSIONS, b % SLOTS, m, len);
}

static void pass_back(unsigned int n, const uint8_t *m, size_t len)
{
	const struct net_endpoint from = node(n).ep4;
	const struct circuit_leg *leg;
	uint32_t index;

	if (circuit_back(&c, now, &from, m, len, &leg) != OK)
		return;
	if (!well_formed(m, len) || m[0] == WG_INITIATION || !net_endpoint_eq(&leg->next, &from))
		abort();
	index = wg_receiver_index(m);
	if (index < INDICES &&
		(!model[n][index].known || leg->session != model[n][index].session ||
			leg->slot != model[n][index].slot ||
			incarnation[leg->session][leg->slot] != model[n][index].opened ||
			mono_reached(model[n][index].at_most_until, now)))
		abort();
}

static void back(uint8_t a, uint8_t kind)
{
	uint8_t m[160];
	size_t len = message(m, kind % 6, a / NODES % INDICES, kind / 6 % 8);

	pass_back(a % NODES, m, len);
}

/* As it stands in the input: a payload of a client's, or what a next hop sends. */
static void raw(uint8_t who, const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);
	const uint8_t *m;
	uint16_t slot;
	size_t m_len;

	memcpy(copy, data, len);
	if ((who & 0x80) != 0)
		pass_back(who % NODES, copy, len);
	else if (frame_kind(copy, len) == FRAME_RELAY && frame_relay_get(copy, len, &slot, &m, &m_len) && slot < SLOTS)
		pass_forward(who % SESSIONS, slot, m, m_len);
	free(copy);
}

static void check(void)
{
	uint32_t n_legs = 0, n_indices = 0;

	for (uint32_t s = 0; s < SESSIONS; s++) {
		unsigned int of_session = 0;

		for (uint16_t slot = 0; slot < SLOTS; slot++) {
			const struct circuit_leg *leg = circuit_find(&c, s, slot);

			if (leg == NULL)
				continue;
			of_session++;
			n_indices += leg->n_indices;
			if (leg->n_indices > CIRCUIT_INDICES_PER_LEG)
				abort();
		}
		if (of_session > CIRCUIT_LEGS_PER_SESSION)
			abort();
		n_legs += of_session;
	}
	if (n_legs != circuit_n_legs(&c) || n_indices != circuit_n_indices(&c) || n_legs > LEGS)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static uint64_t mem[8192];
	const struct circuit_conf conf = {
		.sessions_max = SESSIONS, .legs_max = LEGS, .have_ip4 = true};
	const uint64_t key[2] = {1, 2};

	if (circuit_bytes(&conf) > sizeof(mem))
		abort();
	circuit_init(&c, &conf, mem, key);
	memset(model, 0, sizeof(model));
	memset(incarnation, 0, sizeof(incarnation));
	now.ns = DUR_S(100).ns;
	for (; len >= 4; data += 4, len -= 4) {
		if (data[0] >= RAW) {
			size_t n = data[1] < len - 4 ? data[1] : len - 4;

			raw(data[2], data + 4, n);
			data += n;
			len -= n;
			check();
			continue;
		}
		switch (data[0] % 8) {
		case 0:
			extend(data[1], data[2]);
			break;
		case 1:
		case 2:
			forward(data[1], data[2], data[3]);
			break;
		case 3:
		case 4:
			back(data[1], data[3]);
			break;
		case 5:
			circuit_close(&c, data[1] % SESSIONS, data[2] % SLOTS);
			break;
		case 6:
			if (data[1] < 32)
				circuit_session_gone(&c, data[1] % SESSIONS);
			else
				now.ns += DUR_MS(data[2] * 10).ns;
			break;
		case 7:
			now.ns += DUR_S(data[2] / 4).ns;
			circuit_tick(&c, now);
			break;
		}
		check();
	}
	return 0;
}
