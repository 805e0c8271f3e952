# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten thousand strangers through one relay: each has a circuit of its own and its share, whatever one of them does."""
import os
import sys

import pytest

sys.path.append(f"{os.path.dirname(os.path.abspath(__file__))}/../../bench")
from relay_crowd import RelayCrowd  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")
SESSIONS = 10_000
SIZE = 128
ACTIVE_BYTES_MAX = 8192
SHARED_BPS, HONEST_PER_S, GREEDY_SIZE = 10_000_000, 20_000, 1300  # the honest ones send a third of what is shared


@pytest.fixture(scope="module")
def crowd():
    c = RelayCrowd(SESSIONS)
    c.established = c.connect()["established"]
    yield c
    c.close()


def test_all_get_through(crowd):
    """What a session with the next hop carries arrives."""
    assert crowd.established == SESSIONS
    o = crowd.send(2, SESSIONS, SIZE)
    silent = [i for i, (s, d) in enumerate(zip(o.sent, o.delivered)) if s and not d]
    assert not silent, f"nothing came from {len(silent)}"
    assert o.honest_share() > 0.99, str(o)


def test_memory(crowd):
    active = (crowd.memory() - crowd.memory_empty) / SESSIONS
    print(f"a session: {active:.0f} bytes")
    assert active < ACTIVE_BYTES_MAX


def test_a_greedy_one_takes_only_its_share(crowd):
    crowd.limit(SHARED_BPS)
    beside = crowd.send(2, HONEST_PER_S, SIZE, GREEDY_SIZE)
    print(f"beside a greedy one: {beside}")
    assert beside.greedy_share() < 0.9, f"it was not greedy enough: {beside}"
    assert beside.honest_share() >= 0.95, str(beside)
    assert beside.fairness() >= 0.99, str(beside)
