/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "shed.h"

#include <string.h>

void shed_init(struct shed *s, uint32_t salt)
{
	memset(s, 0, sizeof(*s));
	s->salt = salt | 1;
	for (uint32_t k = 0; k < SHED_KINDS; k++)
		s->kinds[k].keep = SHED_ALL;
}

bool shed_on_initiation(struct shed *s, mono_t now, bool mac2, uint32_t bucket)
{
	struct shed_kind *k = &s->kinds[mac2];

	if (s->began.ns == 0)
		s->began = now;
	k->seen[bucket]++;
	return ++k->n <= SHED_AT;
}

mono_t shed_deadline(const struct shed *s)
{
	return s->began.ns == 0 ? MONO_NEVER : mono_add(s->began, SHED_WINDOW);
}

/* How many came in the window, of which the filter let through what we saw. */
static uint64_t came(const struct shed_kind *k, uint32_t bucket)
{
	const uint64_t seen = k->seen[bucket];

	return k->hot >> bucket & 1 ? seen * SHED_ALL / k->keep : seen;
}

/* at, to: SHED_AT and SHED_TO of the time that passed. dealt: buckets will mean other sources. */
static bool judge(struct shed_kind *k, uint64_t at, uint64_t to, bool dealt)
{
	const uint32_t hot_before = k->hot, keep_before = k->keep;
	uint64_t all = 0, of_hot = 0, keep = SHED_ALL;
	uint32_t hot = 0;

	for (uint32_t b = 0; b < SHED_BUCKETS; b++) {
		const uint64_t n = came(k, b);

		all += n;
		if (n <= at / SHED_BUCKETS)
			continue;
		hot |= 1u << b;
		of_hot += n;
	}
	if (dealt && hot != 0) {
		hot = UINT32_MAX;
		of_hot = all;
	}
	if (all <= at)
		hot = 0;
	else
		keep = to * SHED_ALL / of_hot;
	k->hot = hot;
	k->keep = keep < 1 ? 1 : keep > SHED_ALL ? SHED_ALL : (uint32_t)keep;
	k->n = 0;
	memset(k->seen, 0, sizeof(k->seen));
	return k->hot != hot_before || k->keep != keep_before;
}

/* The next salt says nothing to whoever does not know the first. */
static bool deal(struct shed *s)
{
	if (!shed_works(s) || ++s->n_windows < SHED_DEAL)
		return false;
	s->n_windows = 0;
	s->salt = (s->salt * 0x915f77f5u + 0x6b79d8aau) | 1;
	return true;
}

bool shed_tick(struct shed *s, mono_t now)
{
	uint64_t passed;
	bool dealt, changed;

	if (!mono_reached(shed_deadline(s), now))
		return false;
	passed = mono_since(s->began, now).ns; /* we may have been busy elsewhere */
	changed = dealt = deal(s);
	for (uint32_t k = 0; k < SHED_KINDS; k++)
		changed |= judge(&s->kinds[k], SHED_AT * passed / SHED_WINDOW.ns,
			SHED_TO * passed / SHED_WINDOW.ns, dealt);
	s->began = shed_works(s) ? now : (mono_t){0};
	return changed;
}
