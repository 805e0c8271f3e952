# SPDX-License-Identifier: GPL-2.0-or-later
import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kit import COMPOSE, Deployment  # noqa: E402


def deployment(*words, major):
    """With the docker-compose of that major version; with the other where it is not to be had."""
    d = Deployment(*words, major=major if shutil.which(COMPOSE[major]) else 3 - major)
    try:
        d.up()
        yield d
    finally:
        d.down("-v")


@pytest.fixture(scope="module")
def ipc():
    yield from deployment("mvpn", major=2)


@pytest.fixture(scope="module")
def tcp():
    yield from deployment("mvpntcp", "tcp.yml", major=1)
