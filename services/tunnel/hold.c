/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Copies of super-packets, oldest first. */
#include <stdlib.h>
#include <string.h>

#include "worker.h"

struct held *hold_take(struct hold *h, uint32_t *all_bytes)
{
	struct held *x = h->first;

	if (x == NULL)
		return NULL;
	h->first = x->next;
	if (h->first == NULL)
		h->last = NULL;
	h->n--;
	h->bytes -= x->len;
	*all_bytes -= x->len;
	return x;
}

void hold_drop(struct hold *h, uint32_t *all_bytes)
{
	struct held *x;

	while ((x = hold_take(h, all_bytes)) != NULL)
		free(x);
}

uint32_t hold_put(struct hold *h, uint32_t *all_bytes, const struct hold_limits *max,
	const struct tun_kind *kind, const uint8_t *buf, size_t len, mono_t now)
{
	uint32_t n_lost = 0;
	struct held *x;

	if (len > max->bytes || *all_bytes + len > max->all_bytes)
		return 1;
	while (h->n == max->n || h->bytes + len > max->bytes) {
		free(hold_take(h, all_bytes));
		n_lost++;
	}
	x = malloc(sizeof(*x) + len);
	if (x == NULL)
		return n_lost + 1;
	*x = (struct held){.kind = kind, .at = now, .len = (uint32_t)len};
	memcpy(x->buf, buf, len);
	if (h->last != NULL)
		h->last->next = x;
	else
		h->first = x;
	h->last = x;
	h->n++;
	h->bytes += x->len;
	*all_bytes += x->len;
	return n_lost;
}
