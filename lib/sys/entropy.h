/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The only source of seeds and keys. */
#ifndef SYS_ENTROPY_H
#define SYS_ENTROPY_H

#include "lib/rng.h"

void entropy_bytes(void *out, size_t len);
/* Seeds r from the kernel. */
void entropy_rng(struct rng *r);

#endif
