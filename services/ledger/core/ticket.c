/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ticket.h"

#include <string.h>

#include <secp256k1_recovery.h>

#include "lib/bytes.h"
#include "value.h"

enum {
	AT_PAYEE = 0,
	AT_FACE = 20,
	AT_RATIO = 36,
	AT_SEQ = 44,
	AT_EXPIRY = 52,
	AT_SALT = 60,
	AT_COMMIT = 84,
	AT_SIG = 116,
	AT_V = 180
};
_Static_assert(AT_SIG == TICKET_BODY_SIZE && AT_V == TICKET_SIZE - 1, "layout");

static const char domain_type[] =
	"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)";
static const char ticket_type[] = "Ticket(address payee,uint128 face,uint64 ratio,uint64 seq,"
				  "uint64 expiry,bytes24 salt,bytes32 commit)"; /* [P-71] */

#define WORD 32 /* bytes of one ABI word */

static void text_hash(const char *text, uint8_t ret[static KECCAK_SIZE])
{
	keccak256((const uint8_t *)text, strlen(text), ret);
}

void ticket_domain_init(
	struct ticket_domain *d, uint64_t chain_id, const uint8_t contract[static ADDRESS_SIZE])
{
	uint8_t words[5 * WORD] = {0};

	text_hash(domain_type, words);
	text_hash("mvpn", words + WORD);
	text_hash("1", words + 2 * WORD);
	be64_put(words + 4 * WORD - 8, chain_id);
	memcpy(words + 5 * WORD - ADDRESS_SIZE, contract, ADDRESS_SIZE);
	keccak256(words, sizeof(words), d->separator);
}

static void struct_hash(const struct ticket *t, uint8_t ret[static KECCAK_SIZE])
{
	uint8_t words[8 * WORD] = {0};

	text_hash(ticket_type, words);
	memcpy(words + 2 * WORD - ADDRESS_SIZE, t->payee, ADDRESS_SIZE);
	amount_put(words + 3 * WORD - 16, t->face);
	be64_put(words + 4 * WORD - 8, t->ratio);
	be64_put(words + 5 * WORD - 8, t->seq);
	be64_put(words + 6 * WORD - 8, (uint64_t)t->expiry.s);
	memcpy(words + 6 * WORD, t->salt, SALT_SIZE); /* bytes24: left-aligned */
	memcpy(words + 7 * WORD, t->commit, KECCAK_SIZE);
	keccak256(words, sizeof(words), ret);
}

/* [P-72], [P-75] The domain goes in first. */
void ticket_digest(const struct ticket *t, const struct ticket_domain *d,
	uint8_t ret_digest[static KECCAK_SIZE])
{
	uint8_t msg[2 + 2 * KECCAK_SIZE] = {0x19, 0x01};

	memcpy(msg + 2, d->separator, KECCAK_SIZE);
	struct_hash(t, msg + 2 + KECCAK_SIZE);
	keccak256(msg, sizeof(msg), ret_digest);
}

void ticket_encode_body(const struct ticket *t, uint8_t b[static TICKET_BODY_SIZE])
{
	memcpy(b + AT_PAYEE, t->payee, ADDRESS_SIZE);
	amount_put(b + AT_FACE, t->face);
	be64_put(b + AT_RATIO, t->ratio);
	be64_put(b + AT_SEQ, t->seq);
	be64_put(b + AT_EXPIRY, (uint64_t)t->expiry.s);
	memcpy(b + AT_SALT, t->salt, SALT_SIZE);
	memcpy(b + AT_COMMIT, t->commit, KECCAK_SIZE);
}

enum err ticket_sign(const struct ticket *t, const struct ticket_domain *d,
	const secp256k1_context *ctx, const uint8_t payer_sk[static 32],
	uint8_t ret_bytes[static TICKET_SIZE])
{
	secp256k1_ecdsa_recoverable_signature sig;
	uint8_t digest[KECCAK_SIZE];
	int v;

	if (t->face.wei > FACE_MAX_WEI || t->expiry.s < 0)
		return ERR_INVALID;
	ticket_digest(t, d, digest);
	if (!secp256k1_ecdsa_sign_recoverable(ctx, &sig, digest, payer_sk, NULL, NULL))
		return ERR_INVALID;
	ticket_encode_body(t, ret_bytes);
	secp256k1_ecdsa_recoverable_signature_serialize_compact(ctx, ret_bytes + AT_SIG, &v, &sig);
	/* v 2 and 3 (r at or over the group order) do not occur: once in 2^127. */
	ret_bytes[AT_V] = (uint8_t)v;
	return v > 1 ? ERR_INVALID : OK;
}

enum err ticket_decode(const uint8_t *b, size_t len, struct ticket *ret_t)
{
	if (len != TICKET_SIZE || b[AT_V] > 1)
		return ERR_MALFORMED;
	amount_t face = amount_get(b + AT_FACE);
	uint64_t expiry = be64_get(b + AT_EXPIRY);
	if (face.wei > FACE_MAX_WEI || expiry > INT64_MAX)
		return ERR_MALFORMED;
	memcpy(ret_t->payee, b + AT_PAYEE, ADDRESS_SIZE);
	ret_t->face = face;
	ret_t->ratio = be64_get(b + AT_RATIO);
	ret_t->seq = be64_get(b + AT_SEQ);
	ret_t->expiry.s = (int64_t)expiry;
	memcpy(ret_t->salt, b + AT_SALT, SALT_SIZE);
	memcpy(ret_t->commit, b + AT_COMMIT, KECCAK_SIZE);
	return OK;
}

static void address_of_pubkey(const secp256k1_pubkey *pk, uint8_t ret[static ADDRESS_SIZE])
{
	uint8_t point[65], hash[KECCAK_SIZE];
	size_t len = sizeof(point);

	secp256k1_ec_pubkey_serialize(
		secp256k1_context_static, point, &len, pk, SECP256K1_EC_UNCOMPRESSED);
	keccak256(point + 1, 64, hash);
	memcpy(ret, hash + KECCAK_SIZE - ADDRESS_SIZE, ADDRESS_SIZE);
}

/* [P-74] */
static bool s_is_low(const uint8_t rs[static 64])
{
	secp256k1_ecdsa_signature sig;

	return secp256k1_ecdsa_signature_parse_compact(secp256k1_context_static, &sig, rs) &&
		!secp256k1_ecdsa_signature_normalize(secp256k1_context_static, NULL, &sig);
}

enum err ticket_recover(const uint8_t b[static TICKET_SIZE],
	const uint8_t digest[static KECCAK_SIZE], uint8_t ret_payer[static ADDRESS_SIZE])
{
	const secp256k1_context *ctx = secp256k1_context_static;
	secp256k1_ecdsa_recoverable_signature sig;
	secp256k1_pubkey pk;

	if (b[AT_V] > 1 || !s_is_low(b + AT_SIG) ||
		!secp256k1_ecdsa_recoverable_signature_parse_compact(
			ctx, &sig, b + AT_SIG, b[AT_V]) ||
		!secp256k1_ecdsa_recover(ctx, &pk, &sig, digest))
		return ERR_DENIED;
	address_of_pubkey(&pk, ret_payer);
	return OK;
}

/* [P-73] */
bool ticket_wins(
	uint64_t ratio, const uint8_t reveal[static 32], const uint8_t digest[static KECCAK_SIZE])
{
	uint8_t msg[64], hash[KECCAK_SIZE];

	memcpy(msg, reveal, 32);
	memcpy(msg + 32, digest, 32);
	keccak256(msg, sizeof(msg), hash);
	return be64_get(hash) <= ratio;
}

enum err address_of_key(const secp256k1_context *ctx, const uint8_t sk[static 32],
	uint8_t ret_address[static ADDRESS_SIZE])
{
	secp256k1_pubkey pk;

	if (!secp256k1_ec_pubkey_create(ctx, &pk, sk))
		return ERR_INVALID;
	address_of_pubkey(&pk, ret_address);
	return OK;
}
