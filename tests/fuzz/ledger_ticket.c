/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Bytes as a ticket: what decodes encodes to the same, and whoever signed it signed exactly that. */
#include <stdint.h>
#include <string.h>

#include "services/ledger/core/ticket.h"
#include "services/ledger/core/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static const uint8_t contract[ADDRESS_SIZE];
	uint8_t body[TICKET_BODY_SIZE], digest[KECCAK_SIZE], who[ADDRESS_SIZE] = {0};
	struct ticket_domain d;
	struct ticket t;
	uint64_t bytes;

	if (ticket_decode(data, len, &t) != OK)
		return 0;
	ticket_encode_body(&t, body);
	BUG_ON(memcmp(body, data, sizeof(body)) != 0);
	ticket_domain_init(&d, 0, contract);
	ticket_digest(&t, &d, digest);
	(void)!ticket_recover(data, digest, who);
	BUG_ON(value_expected(t.face, t.ratio).wei > t.face.wei);
	for (uint64_t price = 1; price <= PRICE_MAX_GWEI; price <<= 12)
		if (value_bytes(value_expected(t.face, t.ratio), price, &bytes) == OK) {
			amount_t back;

			/* So many bytes cost no more than what bought them. */
			BUG_ON(value_of_bytes(bytes, price, &back) == OK &&
				back.wei > value_expected(t.face, t.ratio).wei);
		}
	(void)ticket_wins(t.ratio, digest, digest);
	return 0;
}
