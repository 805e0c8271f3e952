# SPDX-License-Identifier: GPL-2.0-or-later
# Figures, not tests: what the tunnel's arithmetic costs on this machine, as CSV.
$(B)/tests/bench/tunnel_crypto: $(B)/tests/bench/tunnel_crypto.o $(B)/libtunnel-core.a $(B)/libpb.a $(B)/libpure.a
	@$(CC) $(ALLLDFLAGS) $^ $(LIBS-tunnel-core) $(LIBS-pure) -o $@

bench-crypto: $(B)/tests/bench/tunnel_crypto
	@$<

.PHONY: bench-crypto

# The overlay's wiring with nothing below it.
$(B)/tests/unit/tunnel_overlay: $(call obj,$(addprefix services/tunnel/overlay,.c _ask.c _client.c _stranger.c))

$(B)/tests/unit/tunnel_steer: $(call obj,services/tunnel/tun.c)
