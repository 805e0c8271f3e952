# SPDX-License-Identifier: GPL-2.0-or-later
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from kit import Deployment  # noqa: E402


def deployment(project, *files):
    d = Deployment(project, *files)
    try:
        d.up()
        yield d
    finally:
        d.down("-v")


@pytest.fixture(scope="module")
def ipc():
    yield from deployment("mvpn")


@pytest.fixture(scope="module")
def tcp():
    yield from deployment("mvpntcp", "tcp.yml")
