# SPDX-License-Identifier: GPL-2.0-or-later
"""Waiting for a condition, never for a time."""
import time

PATIENCE_S = 60  # long beyond what anything here takes: a test's own verdicts come from conditions


def wait_until(condition, what, patience=PATIENCE_S, step=0.02):
    """Returns condition()'s first true value; fails with `what` when patience ends."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {patience} s: {what}")
        time.sleep(step)
