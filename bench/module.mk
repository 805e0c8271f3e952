# SPDX-License-Identifier: GPL-2.0-or-later
# Figures, not tests: nothing here fails because something is slow. ROUNDS=1 for a quick look.
ROUNDS ?= 5
OUT-bench := build/bench
BENCH_C := $(addprefix $(B)/bench/,tunnel_crypto tunnel_forward tunnel_limits ledger_tickets)

$(BENCH_C): $(B)/bench/%: $(B)/bench/%.o $(CORE_ALL) $(B)/libpb.a $(B)/libpure.a
	@$(CC) $(ALLLDFLAGS) $^ $(B)/libpure.a $(LIBS-cores) $(LIBS-pure) -o $@

$(OUT-bench)/udpgen: $(B)/bench/udpgen.o
	@mkdir -p $(@D)
	@$(CC) $(ALLLDFLAGS) $^ -o $@

bench-deps:
	@tools/deps.sh bench
	@tools/fetch_deb.sh bookworm-backports wireguard-go usr/bin/wireguard-go $(OUT-bench)/backports || \
		echo "bench: wireguard-go with offloads is left out of the comparison" >&2

bench: bench-deps
	@$(MAKE) --no-print-directory bench-crypto bench-setup bench-sessions bench-tunnels bench-profile

bench-crypto: $(BENCH_C)
	@mkdir -p $(OUT-bench)
	@$(PY) -B bench/micro.py $^

# BENCH_ARGS: see bench/tunnels.py --help
bench-tunnels: programs $(OUT-bench)/udpgen
	@$(PY) -B bench/tunnels.py --rounds $(ROUNDS) $(BENCH_ARGS)

bench-setup: programs
	@$(PY) -B bench/setup.py --rounds $(ROUNDS)

bench-sessions: programs
	@$(PY) -B bench/sessions.py --rounds $(ROUNDS)

bench-profile: programs
	@$(PY) -B bench/profile.py

# The tables of docs/performance.md, from what was measured last.
bench-page:
	@$(PY) -B bench/report.py docs/performance.md

.PHONY: bench bench-deps bench-crypto bench-tunnels bench-setup bench-sessions bench-profile bench-page
