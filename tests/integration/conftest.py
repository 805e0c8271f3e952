# SPDX-License-Identifier: GPL-2.0-or-later
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from labkit import Client, Lab, wait_ready  # noqa: E402

RELAYS = 8


@pytest.fixture(scope="session")
def bare_lab(tmp_path_factory):
    """The lab as it comes up; its nodes may still be finding each other."""
    lab = Lab(tmp_path_factory.mktemp("lab"), RELAYS)
    yield lab
    lab.end()


@pytest.fixture(scope="session")
def lab(bare_lab):
    """The lab, once the client knows every relay."""
    wait_ready(bare_lab, RELAYS)
    return bare_lab


@pytest.fixture
def client(lab):
    """The client node; whatever a test left on is switched off after it."""
    c = Client(lab, "client")
    yield c
    c.mvpn("disconnect", check=False)


@pytest.fixture
def fresh_client(tmp_path):
    """The client of a lab of its own, in which nothing was sent before: no retransmission of another
    test's connection is in its captures."""
    own = Lab(tmp_path, RELAYS, name=f"f{os.getpid()}")
    try:
        wait_ready(own, RELAYS)
        yield Client(own, "client")
    finally:
        own.end()
