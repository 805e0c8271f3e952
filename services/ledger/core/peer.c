/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "peer.h"

#include <pb_decode.h>
#include <pb_encode.h>

_Static_assert(REASONS_MAX == _peer_ledger_Reason_MAX + 1, "one counter per reason");

static bool quoted_ok(const peer_ledger_Quoted *q)
{
	return q->terms_hash.size == KECCAK_SIZE && q->payee.size == ADDRESS_SIZE &&
		q->commit.size == KECCAK_SIZE && q->face_min.size == 16 && q->face_max.size == 16;
}

static bool body_ok(const peer_ledger_Message *m)
{
	switch (m->which_body) {
	case peer_ledger_Message_quote_tag:
		return m->body.quote.terms_hash.size == KECCAK_SIZE;
	case peer_ledger_Message_quoted_tag:
		return quoted_ok(&m->body.quoted);
	case peer_ledger_Message_pay_tag:
		return m->body.pay.ticket.size == TICKET_SIZE;
	case peer_ledger_Message_paid_tag:
		return m->body.paid.commit.size == KECCAK_SIZE;
	case peer_ledger_Message_refused_tag:
		return m->body.refused.commit.size == 0 ||
			m->body.refused.commit.size == KECCAK_SIZE;
	}
	return false;
}

enum err peer_decode(const uint8_t *payload, size_t len, peer_ledger_Message *ret_m)
{
	pb_istream_t s = pb_istream_from_buffer(payload, len);

	*ret_m = (peer_ledger_Message)peer_ledger_Message_init_zero;
	if (len > PEER_PAYLOAD_MAX || !pb_decode(&s, peer_ledger_Message_fields, ret_m) ||
		!body_ok(ret_m))
		return ERR_MALFORMED;
	return OK;
}

size_t peer_encode(const peer_ledger_Message *m, uint8_t ret_payload[static PEER_MESSAGE_MAX])
{
	pb_ostream_t s = pb_ostream_from_buffer(ret_payload, PEER_MESSAGE_MAX);

	BUG_ON(!pb_encode(&s, peer_ledger_Message_fields, m));
	return s.bytes_written;
}

const char *peer_reason_show(peer_ledger_Reason r)
{
	switch (r) {
	case peer_ledger_Reason_REASON_UNSPECIFIED:
		break;
	case peer_ledger_Reason_REASON_MALFORMED:
		return "it cannot read our message";
	case peer_ledger_Reason_REASON_SESSION:
		return "it does not know the session";
	case peer_ledger_Reason_REASON_RATE:
		return "too many tickets a second";
	case peer_ledger_Reason_REASON_PAYEE:
		return "made out to another account";
	case peer_ledger_Reason_REASON_COMMIT:
		return "not the live commit";
	case peer_ledger_Reason_REASON_RATIO:
		return "a ticket that cannot win";
	case peer_ledger_Reason_REASON_FACE:
		return "face out of bounds";
	case peer_ledger_Reason_REASON_EXPIRY:
		return "expired, or too far ahead";
	case peer_ledger_Reason_REASON_WORTH:
		return "worth no byte, or too many ahead";
	case peer_ledger_Reason_REASON_SIGNATURE:
		return "bad signature";
	case peer_ledger_Reason_REASON_PAYER:
		return "another payer key";
	case peer_ledger_Reason_REASON_SEQUENCE:
		return "ticket number used before";
	case peer_ledger_Reason_REASON_TERMS:
		return "terms no longer honoured";
	case peer_ledger_Reason_REASON_ROLE:
		return "quoted for another role";
	case peer_ledger_Reason_REASON_FREE:
		return "nothing to pay";
	case peer_ledger_Reason_REASON_STORAGE:
		return "it cannot write the ticket down";
	case peer_ledger_Reason_REASON_BUSY:
		return "it is at a limit";
	}
	return "a reason that this version does not know";
}
