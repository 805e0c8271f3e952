# SPDX-License-Identifier: GPL-2.0-or-later
"""Forged initiations as fast as this machine makes them, each from another address, with a right mac1."""
import base64
import json
import os
import statistics
import subprocess

import pytest

from world import OURS, TOOLS, World, reaches, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")
PER_SECOND = 600_000  # of 190 bytes with all heads: the line rate of gigabit Ethernet
ROUNDS = 7
QUIET_PORT = 9


@pytest.fixture
def world():
    w = World()
    # The forged addresses are behind the other side, where answers to them end.
    w.left.ip("route", "add", "10.64.0.0/10", "via", "198.18.0.2")
    w.right.ip("route", "add", "blackhole", "10.64.0.0/10")
    yield w
    w.close()


class Flood:
    def __init__(self, world, port, public):
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", world.right.name, f"{TOOLS}/flood", "198.18.0.1", str(port),
             base64.b64decode(public).hex(), str(PER_SECOND)], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.sent = int(self.process.communicate()[0])


def throughput(world):
    server = subprocess.Popen(["ip", "netns", "exec", world.left.name, "iperf3", "-s", "-1", "-B", "10.9.0.1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: world.left.run("ss", "-Htln", "sport = :5201").stdout, "iperf3 listens")
        p = world.right.run("iperf3", "-c", "10.9.0.1", "-t", "1", "-J")
    finally:
        server.terminate()
        server.wait()
    return json.loads(p.stdout)["end"]["sum_received"]["bits_per_second"]


def test_honest_traffic_hardly_notices(world):
    """By turns without a flood, with one at a socket beside ours which nobody reads, and with one at ours. The
    flooder and its packets' way through the kernel cost processor time of this machine too: ours is compared
    with the one beside."""
    a, b = world.pair(OURS, OURS)
    reaches(world.left, "10.9.0.2")
    quiet = world.left.socket(2, 2)
    quiet.bind(("198.18.0.1", QUIET_PORT))
    rates, sent = {None: [], QUIET_PORT: [], 5001: []}, {QUIET_PORT: 0, 5001: 0}
    for _ in range(ROUNDS):
        for port, list_ in rates.items():
            if port is None:
                list_.append(throughput(world))
                continue
            with Flood(world, port, a.public) as f:
                list_.append(throughput(world))
            sent[port] += f.sent
    quiet.close()
    none, beside, ours = (statistics.median(x) for x in rates.values())
    ratio = statistics.median(o / b for o, b in zip(rates[5001], rates[QUIET_PORT]))  # a round's are neighbours
    print(f"Gbit/s without a flood {none / 1e9:.2f}, beside it {beside / 1e9:.2f}, under it {ours / 1e9:.2f}: "
          f"{ratio:.2f} of what the machine leaves, {ours / none:.2f} of all; {sent}")
    assert min(sent.values()) > ROUNDS * 20_000, "that was no flood"
    assert ratio > 0.8, rates
    a.close()
    n = a.counters()
    assert n["sheds"] > 0 and n["cookies_sent"] > 0, n
