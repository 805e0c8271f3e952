# SPDX-License-Identifier: GPL-2.0-or-later
# The overlay's wiring with nothing below it.
$(B)/tests/unit/tunnel_overlay $(B)/tests/unit/tunnel_resume: $(call obj,$(addprefix services/tunnel/overlay,.c _ask.c \
	_client.c _handover.c _stranger.c))

$(B)/tests/unit/tunnel_steer: $(call obj,services/tunnel/tun.c)
$(B)/tests/unit/tunnel_filter: $(call obj,$(addprefix services/tunnel/udp,.c _bind.c))

# What tests need beside the programs: tests/tools/<name>.c is a program, tests/tools/<name>.so.c a
# library to be loaded before others. The tests find them in build/rel/tests/tools.
TEST_TOOLS := $(patsubst tests/%.c,$(B)/tests/%,$(filter-out %.so.c,$(wildcard tests/tools/*.c)))
TEST_LIBS := $(patsubst tests/%.so.c,$(B)/tests/%.so,$(wildcard tests/tools/*.so.c))
$(TEST_TOOLS): $(B)/tests/tools/%: $(B)/tests/tools/%.o $(B)/libtunnel-core.a $(B)/libpb.a $(B)/libpure.a
	@$(CC) $(ALLLDFLAGS) $^ $(LIBS-tunnel-core) $(LIBS-pure) -o $@
$(TEST_LIBS): $(B)/tests/tools/%.so: tests/tools/%.so.c
	@mkdir -p $(@D)
	@$(CC) $(CPPFLAGS) $(ALLCFLAGS) -fPIC -shared $< -ldl -o $@
PROGRAMS += $(TEST_TOOLS) $(TEST_LIBS)
