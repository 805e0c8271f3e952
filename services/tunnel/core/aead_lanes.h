/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The two halves of the back end "lanes" (aead_lanes.c says how they go together). Both compute on
 * vectors of 512 bits and run only where lanes_can_run(). */
#ifndef TUNNEL_AEAD_LANES_H
#define TUNNEL_AEAD_LANES_H

#include <stdalign.h>

#include "aead_backends.h"

#define LANES_GROUP 16 /* packets at a time: 23 kB of full ones, which the first cache holds */
#define LANES_BLOCK 64u /* of ChaCha20; a pass makes 16 */
#define LANES_PASS (16 * LANES_BLOCK)
#define LANES_MACS 8 /* packets to a Poly1305 vector */

/* Of what one call computes: secret, wiped when it ends. */
struct lanes_scratch {
	alignas(64) uint8_t words_key[LANES_PASS]; /* keystream of a pass, not yet in order */
	uint8_t stream_key[LANES_PASS];	 /* keystream of a pass */
	uint8_t macs_key[LANES_PASS];	 /* of the group's first: a row of 64 bytes a block */
	uint64_t powers_key[LANES_GROUP / LANES_MACS][4][5][LANES_MACS]; /* of r, see aead_lanes_poly.c */
};

/* Where a walk over the blocks of a group stands. The first n blocks are number 0 of each packet
 * (its Poly1305 key), then come the blocks of data, packet by packet. */
struct lanes_walk {
	alignas(64) uint32_t low[LANES_GROUP], high[LANES_GROUP]; /* halves of each packet's counter */
	const struct aead_op *ops;
	uint32_t n;	  /* 1 to LANES_GROUP */
	uint32_t packet;  /* the next block is of this one, n: none is left */
	uint32_t block;	  /* its number: 0 the keys, 1 the first of data */
};

/* What a pass made for one packet: `bytes` of keystream from row `row` on belong to `at`. */
struct lanes_run {
	uint8_t *at;
	uint32_t bytes, row;
};

bool lanes_can_run(void);

void lanes_walk_init(struct lanes_walk *w, const struct aead_op *ops, size_t n);
/* Computes the next up to 16 blocks into words, and meanwhile puts what the call before left there
 * into stream, as bytes. Returns how many runs of data are among the new blocks. */
size_t lanes_chacha(struct lanes_walk *w, const struct aead_key *key,
	uint8_t words[static LANES_PASS], uint8_t stream[static LANES_PASS],
	struct lanes_run runs[static LANES_GROUP]);
/* What the last call left, into stream. */
void lanes_chacha_end(uint8_t words[static LANES_PASS], uint8_t stream[static LANES_PASS]);
void lanes_xor(const uint8_t stream[static LANES_PASS], const struct lanes_run *runs, size_t n);

/* Steps of four blocks that the longest of n packets takes. */
uint32_t lanes_poly_steps(const struct aead_op *ops, size_t n);
/* Tags of 1 to LANES_GROUP packets of ciphertext; keys: a row of 64 bytes a packet, of which the
 * first 32 are r and s. */
void lanes_poly(const struct aead_op *ops, size_t n, const uint8_t *keys,
	struct lanes_scratch *scratch, uint8_t ret_tags[static LANES_GROUP][AEAD_TAG_SIZE]);

#endif
