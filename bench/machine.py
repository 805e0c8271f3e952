# SPDX-License-Identifier: GPL-2.0-or-later
"""What every benchmark does to the machine it runs on."""
import contextlib
import fcntl
import os
import signal
import sys

from net import OUT

PRIORITY = -15  # of all that is measured: what else runs on the machine disturbs less


def prepare():
    os.makedirs(f"{OUT}/log", exist_ok=True)
    with contextlib.suppress(PermissionError):
        os.nice(PRIORITY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))  # hosts are taken down


@contextlib.contextmanager
def machine():
    """BENCH_LOCK names a file that is locked while something is measured, for machines on which others measure too."""
    path = os.environ.get("BENCH_LOCK")
    if not path:
        yield
        return
    with open(path, "a", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
