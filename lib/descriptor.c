/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "descriptor.h"

#include <string.h>

#include <sodium.h>

#include "bytes.h"

/* Layout, little-endian, one length for all. What it signs is the tag and the first SIGNED bytes.
 *
 *   0 version 1 | 1 roles 1 | 2 country 2 | 4 node_id 32 | 36 wg_pk 32 | 68 ip4 4 | 72 port4 2
 *   74 ip6 16 | 90 port6 2 | 92 family 16 | 108 name 24 | 132 price 3x8 | 156 free 8
 *   164 chain 4 | 168 payee 20 | 188 policy 32 | 220 seq 8 | 228 not_before 8 | 236 expires 8
 *   244 reserved 20 (zero) | 264 signature 64 */
enum {
	AT_VERSION = 0,
	AT_ROLES = 1,
	AT_COUNTRY = 2,
	AT_NODE = 4,
	AT_WG = 36,
	AT_IP4 = 68,
	AT_PORT4 = 72,
	AT_IP6 = 74,
	AT_PORT6 = 90,
	AT_FAMILY = 92,
	AT_NAME = 108,
	AT_PRICE = 132,
	AT_FREE = 156,
	AT_CHAIN = 164,
	AT_PAYEE = 168,
	AT_POLICY = 188,
	AT_SEQ = 220,
	AT_FROM = 228,
	AT_UNTIL = 236,
	AT_RESERVED = 244,
	AT_SIGNATURE = 264,
	VERSION = 1,
	RESERVED_SIZE = AT_SIGNATURE - AT_RESERVED
};
_Static_assert(AT_SIGNATURE + crypto_sign_BYTES == DESCRIPTOR_SIZE, "layout");

static const char domain_tag[] = "mvpn descriptor v1"; /* [P-20] */
#define TAG_SIZE (sizeof(domain_tag) - 1)

static bool country_ok(const char c[static 2])
{
	return (c[0] == 0 && c[1] == 0) ||
		(c[0] >= 'A' && c[0] <= 'Z' && c[1] >= 'A' && c[1] <= 'Z');
}

/* Printable ASCII, then zeros to the end. */
static bool name_ok(const char name[static 24])
{
	size_t len = strnlen(name, 24);

	if (len == 24)
		return false;
	for (size_t i = 0; i < 24; i++)
		if (i < len ? name[i] < 0x20 || name[i] > 0x7e : name[i] != 0)
			return false;
	return true;
}

static bool endpoint_ok(const struct net_endpoint *e, enum net_family family)
{
	if (e->addr.family == NET_NONE)
		return e->port == 0;
	return e->addr.family == family && e->port != 0;
}

static bool fields_ok(const struct descriptor *d)
{
	return (d->roles & ~(uint32_t)DESCRIPTOR_ROLES_ALL) == 0 && country_ok(d->country) &&
		name_ok(d->name) && endpoint_ok(&d->ep4, NET_IP4) && endpoint_ok(&d->ep6, NET_IP6) &&
		d->not_before.s >= 0 && d->expires.s >= d->not_before.s;
}

static void fields_put(const struct descriptor *d, uint8_t b[static AT_SIGNATURE])
{
	memset(b, 0, AT_SIGNATURE);
	b[AT_VERSION] = VERSION;
	b[AT_ROLES] = (uint8_t)d->roles;
	memcpy(b + AT_COUNTRY, d->country, 2);
	memcpy(b + AT_NODE, d->node_id, 32);
	memcpy(b + AT_WG, d->wg_pk, 32);
	memcpy(b + AT_IP4, d->ep4.addr.ip, 4);
	le16_put(b + AT_PORT4, d->ep4.port);
	memcpy(b + AT_IP6, d->ep6.addr.ip, 16);
	le16_put(b + AT_PORT6, d->ep6.port);
	memcpy(b + AT_FAMILY, d->family_id, 16);
	memcpy(b + AT_NAME, d->name, 24);
	for (int i = 0; i < HOP_ROLES; i++)
		le64_put(b + AT_PRICE + 8 * i, d->price_gwei_per_gib[i]);
	le64_put(b + AT_FREE, d->free_bytes);
	le32_put(b + AT_CHAIN, d->chain_id);
	memcpy(b + AT_PAYEE, d->payee, 20);
	memcpy(b + AT_POLICY, d->policy_digest, 32);
	le64_put(b + AT_SEQ, d->seq);
	le64_put(b + AT_FROM, (uint64_t)d->not_before.s);
	le64_put(b + AT_UNTIL, (uint64_t)d->expires.s);
}

static struct net_endpoint endpoint_get(const uint8_t *ip, size_t len, const uint8_t *port)
{
	struct net_endpoint e = {0};

	e.port = le16_get(port);
	if (e.port != 0)
		e.addr = net_addr_from_bytes(ip, len);
	return e;
}

enum err descriptor_sign(const struct descriptor *d, const uint8_t identity_sk[static 64],
	uint8_t ret_bytes[static DESCRIPTOR_SIZE])
{
	uint8_t msg[TAG_SIZE + AT_SIGNATURE];

	if (!fields_ok(d) || memcmp(identity_sk + 32, d->node_id, 32) != 0)
		return ERR_INVALID;
	memcpy(msg, domain_tag, TAG_SIZE);
	fields_put(d, msg + TAG_SIZE);
	crypto_sign_detached(ret_bytes + AT_SIGNATURE, NULL, msg, sizeof(msg), identity_sk);
	memcpy(ret_bytes, msg + TAG_SIZE, AT_SIGNATURE);
	return OK;
}

enum err descriptor_decode(const uint8_t *b, size_t len, struct descriptor *ret_d)
{
	struct descriptor d = {0};
	uint8_t again[AT_SIGNATURE];

	if (len != DESCRIPTOR_SIZE || b[AT_VERSION] != VERSION)
		return ERR_MALFORMED;
	d.roles = b[AT_ROLES];
	memcpy(d.country, b + AT_COUNTRY, 2);
	memcpy(d.node_id, b + AT_NODE, 32);
	memcpy(d.wg_pk, b + AT_WG, 32);
	d.ep4 = endpoint_get(b + AT_IP4, 4, b + AT_PORT4);
	d.ep6 = endpoint_get(b + AT_IP6, 16, b + AT_PORT6);
	memcpy(d.family_id, b + AT_FAMILY, 16);
	memcpy(d.name, b + AT_NAME, 24);
	for (int i = 0; i < HOP_ROLES; i++)
		d.price_gwei_per_gib[i] = le64_get(b + AT_PRICE + 8 * i);
	d.free_bytes = le64_get(b + AT_FREE);
	d.chain_id = le32_get(b + AT_CHAIN);
	memcpy(d.payee, b + AT_PAYEE, 20);
	memcpy(d.policy_digest, b + AT_POLICY, 32);
	d.seq = le64_get(b + AT_SEQ);
	d.not_before.s = (int64_t)le64_get(b + AT_FROM);
	d.expires.s = (int64_t)le64_get(b + AT_UNTIL);
	if (!fields_ok(&d))
		return ERR_MALFORMED;
	/* Canonical: exactly the bytes that encoding d gives, reserved bytes zero. [P-21] */
	fields_put(&d, again);
	if (memcmp(again, b, AT_SIGNATURE) != 0)
		return ERR_MALFORMED;
	*ret_d = d;
	return OK;
}

enum err descriptor_valid_at(const struct descriptor *d, wall_t now, bool test_network)
{
	/* [P-22] */
	if (d->not_before.s > now.s + DESCRIPTOR_SKEW_S || d->expires.s <= now.s ||
		d->expires.s - d->not_before.s > DESCRIPTOR_LIFE_MAX_S)
		return ERR_STALE;
	/* [P-23] */
	if (d->ep4.addr.family == NET_NONE && d->ep6.addr.family == NET_NONE)
		return ERR_DENIED;
	if (d->ep4.addr.family != NET_NONE && !net_is_public(&d->ep4.addr, test_network))
		return ERR_DENIED;
	if (d->ep6.addr.family != NET_NONE && !net_is_public(&d->ep6.addr, test_network))
		return ERR_DENIED;
	return OK;
}

enum err descriptor_verify(const uint8_t bytes[static DESCRIPTOR_SIZE])
{
	uint8_t msg[TAG_SIZE + AT_SIGNATURE];

	memcpy(msg, domain_tag, TAG_SIZE);
	memcpy(msg + TAG_SIZE, bytes, AT_SIGNATURE);
	if (crypto_sign_verify_detached(
		    bytes + AT_SIGNATURE, msg, sizeof(msg), bytes + AT_NODE) != 0)
		return ERR_DENIED;
	return OK;
}

enum err descriptor_accept(
	const uint8_t *bytes, size_t len, wall_t now, bool test_network, struct descriptor *ret_d)
{
	struct descriptor d;

	TRY(descriptor_decode(bytes, len, &d));
	TRY(descriptor_valid_at(&d, now, test_network));
	TRY(descriptor_verify(bytes));
	*ret_d = d;
	return OK;
}
