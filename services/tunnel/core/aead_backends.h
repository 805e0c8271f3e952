/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The back ends, one file each: aead_<name>.c. */
#ifndef TUNNEL_AEAD_BACKENDS_H
#define TUNNEL_AEAD_BACKENDS_H

#include "aead.h"
#include "lib/bytes.h"

#define AEAD_STATE_MIN 64 /* aead.h: never 0 for a back end that can run */

extern const struct aead_backend aead_lanes;
extern const struct aead_backend aead_ipsec_mb;
extern const struct aead_backend aead_openssl;
extern const struct aead_backend aead_sodium;

static inline void aead_nonce_put(uint8_t nonce[static 12], uint64_t counter)
{
	le32_put(nonce, 0);
	le64_put(nonce + 4, counter);
}

/* Constant time, inline: two words. */
static inline bool aead_tag_equal(
	const uint8_t a[static AEAD_TAG_SIZE], const uint8_t b[static AEAD_TAG_SIZE])
{
	return ((le64_get(a) ^ le64_get(b)) | (le64_get(a + 8) ^ le64_get(b + 8))) == 0;
}

#endif
