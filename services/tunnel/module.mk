# SPDX-License-Identifier: GPL-2.0-or-later
LIBS-tunnel-core := -lIPSec_MB -lcrypto -lb2 -lsodium
LIBS-tunnel := -lnftables -lmnl $(LIBS-tunnel-core) -lpthread
