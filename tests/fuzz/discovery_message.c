/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What decodes as a query or an answer has lengths that the core relies on, and survives encoding.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/descriptor.h"
#include "services/discovery/core/message.h"
#include "services/discovery/core/relays.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void hold(bool cond)
{
	if (!cond)
		abort();
}

static void query_check(const gossip_Query *q)
{
	uint8_t payload[PAYLOAD_MAX];
	gossip_Query again;
	size_t n;

	if (q->which_body == gossip_Query_page_tag)
		hold(q->body.page.buckets.size == 32 &&
			q->body.page.have.size % RELAYS_DIGEST_SIZE == 0);
	if (q->which_body == gossip_Query_offer_tag)
		hold(q->body.offer.records_count >= 1 && q->body.offer.records_count <= 3 &&
			q->body.offer.records[0].size == DESCRIPTOR_SIZE);
	hold(query_encode(q, payload, &n) == OK);
	hold(query_decode(payload, n, &again) == OK && again.which_body == q->which_body);
}

static void answer_check(const gossip_Answer *a)
{
	uint8_t payload[PAYLOAD_MAX];
	gossip_Answer again;
	size_t n;

	if (a->which_body == gossip_Answer_compared_tag)
		hold(a->body.compared.digests.size == RELAYS_BUCKETS * RELAYS_DIGEST_SIZE);
	hold(answer_encode(a, payload, &n) == OK);
	hold(answer_decode(payload, n, &again) == OK && again.which_body == a->which_body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	gossip_Query q;
	gossip_Answer a;

	if (query_decode(data, len, &q) == OK)
		query_check(&q);
	if (answer_decode(data, len, &a) == OK)
		answer_check(&a);
	return 0;
}
