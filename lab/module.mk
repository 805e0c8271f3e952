# SPDX-License-Identifier: GPL-2.0-or-later
# The lab: the link emulator, and the command `lab`.
$(BIN)/lab-linkem: $(call obj,$(wildcard lab/linkem/*.c)) $(B)/libsys.a $(B)/libpure.a
	@mkdir -p $(@D); echo "  ld  $@"
	@$(CC) $(ALLLDFLAGS) $^ -Wl,--as-needed -lsodium -o $@

# A wrapper that finds lab/ from where it lies, and tells it which programs to use: those beside it.
$(BIN)/lab: lab/module.mk
	@mkdir -p $(@D)
	@printf '#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-or-later\nhere=$$(cd "$$(dirname "$$0")" && pwd)\nMVPN_BIN=$$here exec /usr/bin/python3 -B "$$here/%s/lab/lab.py" "$$@"\n' \
		"$$(realpath --relative-to=$(@D) .)" >$@
	@chmod +x $@

PROGRAMS += $(BIN)/lab-linkem $(BIN)/lab
