# SPDX-License-Identifier: GPL-2.0-or-later
LIBS-tunnel-core := -lIPSec_MB -lcrypto -lb2 -lsodium
LIBS-tunnel := -lnftables -lmnl $(LIBS-tunnel-core) -lpthread
# Short loops over vectors that must be unrolled.
CFLAGS-services/tunnel/core/aead_lanes_chacha.c := -O3
CFLAGS-services/tunnel/core/aead_lanes_poly.c := -O3
