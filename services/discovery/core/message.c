/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "message.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "lib/descriptor.h"
#include "relays.h"

static enum err encode(const pb_msgdesc_t *fields, const void *msg, uint8_t ret[static PAYLOAD_MAX],
	size_t *ret_len)
{
	pb_ostream_t s = pb_ostream_from_buffer(ret, PAYLOAD_MAX);

	if (!pb_encode(&s, fields, msg))
		return ERR_TOO_LARGE;
	*ret_len = s.bytes_written;
	return OK;
}

enum err query_encode(const gossip_Query *q, uint8_t ret[static PAYLOAD_MAX], size_t *ret_len)
{
	return encode(gossip_Query_fields, q, ret, ret_len);
}

enum err answer_encode(const gossip_Answer *a, uint8_t ret[static PAYLOAD_MAX], size_t *ret_len)
{
	return encode(gossip_Answer_fields, a, ret, ret_len);
}

static bool optional(size_t size, size_t want)
{
	return size == 0 || size == want;
}

static bool page_ok(const gossip_Page *p)
{
	return p->buckets.size == RELAYS_BUCKETS / 8 && optional(p->after.size, NODE_ID_SIZE) &&
	       optional(p->until.size, NODE_ID_SIZE) && p->have.size % RELAYS_DIGEST_SIZE == 0;
}

static bool query_ok(const gossip_Query *q)
{
	switch (q->which_body) {
	case gossip_Query_greet_tag:
		return optional(q->body.greet.record.size, DESCRIPTOR_SIZE);
	case gossip_Query_compare_tag:
		return true;
	case gossip_Query_page_tag:
		return page_ok(&q->body.page);
	case gossip_Query_offer_tag:
		for (pb_size_t i = 0; i < q->body.offer.records_count; i++)
			if (q->body.offer.records[i].size != DESCRIPTOR_SIZE)
				return false;
		return q->body.offer.records_count > 0;
	}
	return false;
}

static bool paged_ok(const gossip_Paged *p)
{
	for (pb_size_t i = 0; i < p->records_count; i++)
		if (p->records[i].size != DESCRIPTOR_SIZE)
			return false;
	return optional(p->upto.size, NODE_ID_SIZE);
}

static bool answer_ok(const gossip_Answer *a)
{
	switch (a->which_body) {
	case gossip_Answer_greeted_tag:
		return optional(a->body.greeted.record.size, DESCRIPTOR_SIZE);
	case gossip_Answer_compared_tag:
		return a->body.compared.digests.size == RELAYS_BUCKETS * RELAYS_DIGEST_SIZE;
	case gossip_Answer_paged_tag:
		return paged_ok(&a->body.paged);
	case gossip_Answer_offered_tag:
	case gossip_Answer_busy_tag:
		return true;
	}
	return false;
}

enum err query_decode(const uint8_t *payload, size_t len, gossip_Query *ret_q)
{
	pb_istream_t s = pb_istream_from_buffer(payload, len);

	if (len > PAYLOAD_MAX || !pb_decode(&s, gossip_Query_fields, ret_q) || !query_ok(ret_q))
		return ERR_MALFORMED;
	return OK;
}

enum err answer_decode(const uint8_t *payload, size_t len, gossip_Answer *ret_a)
{
	pb_istream_t s = pb_istream_from_buffer(payload, len);

	if (len > PAYLOAD_MAX || !pb_decode(&s, gossip_Answer_fields, ret_a) || !answer_ok(ret_a))
		return ERR_MALFORMED;
	return OK;
}
