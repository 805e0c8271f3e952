# SPDX-License-Identifier: GPL-2.0-or-later
"""Ten thousand sessions through one tunnel: each has its share, whatever one of them does."""
import os

import pytest

from crowd import Crowd

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")
SESSIONS = 10_000
SIZE = 128
IDLE_BYTES_MAX, ACTIVE_BYTES_MAX = 2048, 8192


@pytest.fixture(scope="module")
def crowd():
    c = Crowd(SESSIONS)
    c.memory_idle = c.memory()
    c.established = c.connect()["established"]
    yield c
    c.close()


def test_all_get_through(crowd):
    assert crowd.established == SESSIONS
    o = crowd.send(2, SESSIONS, SIZE)
    silent = [i for i, (s, d) in enumerate(zip(o.sent, o.delivered)) if s and not d]
    assert not silent, f"nothing came from {len(silent)}"
    assert o.honest_share() > 0.99, str(o)


def test_memory(crowd):
    """All have keys and have sent."""
    crowd.send(1, SESSIONS, SIZE)
    idle, active = ((m - crowd.memory_empty) / SESSIONS for m in (crowd.memory_idle, crowd.memory()))
    print(f"a session: idle {idle:.0f} bytes, active {active:.0f}")
    assert idle < IDLE_BYTES_MAX and active < ACTIVE_BYTES_MAX


@pytest.mark.parametrize("greedy_size", [64, 1300])
def test_a_greedy_one_takes_only_its_share(crowd, greedy_size):
    """The honest ones together send a tenth of what the tunnel can do: each far less than its fair share."""
    flat_out = crowd.send(1, 10 ** 7, SIZE)
    per_second = int(sum(flat_out.delivered) / flat_out.seconds / 10)
    alone = crowd.send(2, per_second, SIZE)
    beside = crowd.send(2, per_second, SIZE, greedy_size)
    print(f"alone: {alone}\nbeside a greedy one: {beside}")
    assert alone.honest_share() > 0.99, str(alone)
    assert beside.greedy_share() < 0.9, f"it was not greedy enough: {beside}"
    assert beside.honest_share() >= 0.95, str(beside)
    assert beside.fairness() >= 0.99, str(beside)
