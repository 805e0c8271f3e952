# SPDX-License-Identifier: GPL-2.0-or-later
"""What a packet costs besides its processing: no allocation, no lock; and what its trains spare."""
import os
import re

import pytest

from world import OURS, World, datagrams, reaches, transfer

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")

MIB = 1 << 20


def calls(preload, n_bytes, lacks=""):
    """(allocations, locks, system calls that move packets) of both ends of a tunnel that carried n_bytes there and back."""
    w = World()
    try:
        pair = w.pair(OURS, OURS, env={"LD_PRELOAD": preload, "OLD_KERNEL": lacks, "MVPN_WORKERS": "2"})
        reaches(w.left, "10.9.0.2")
        transfer(w.left, w.right, "10.9.0.2", n_bytes)
        transfer(w.right, w.left, "10.9.0.1", n_bytes)
        out = [0, 0, 0]
        for i in pair:
            i.close()
            found = re.search(r"count_calls: allocations=(\d+) locks=(\d+) moves=(\d+)", i.log())
            out = [a + int(b) for a, b in zip(out, found.groups())]
        return out
    finally:
        w.close()


def test_no_allocation_and_no_lock_for_a_packet(counting):
    """200 MiB are 150,000 packets; they cost no more calls than 2 MiB but for what the clock causes."""
    few, many = calls(counting, 1 * MIB), calls(counting, 100 * MIB)
    assert few[0] > 0 and few[1] > 0  # it counts
    assert many[0] - few[0] < 500, (few, many)
    assert many[1] - few[1] < 500, (few, many)
    # A packet is sealed, sent, received, opened and written to a device: four calls, if each went alone.
    packets = 2 * 99 * MIB // 1368
    assert many[2] - few[2] < packets, (few, many)


def test_offloads_are_what_spares_calls(counting, old_kernel):
    """Without any, each packet goes alone: so the next test tests what it says."""
    preload = f"{counting} {old_kernel}"
    assert calls(preload, 5 * MIB, "tso gro gso")[2] > 4 * calls(preload, 5 * MIB)[2]


@pytest.mark.parametrize("lacks", ["", "uso", "tso", "gro", "gso", "tso gro gso"])
def test_without_an_offload(old_kernel, lacks):
    """Whatever the kernel lacks, all arrives whole."""
    w = World()
    try:
        w.pair(OURS, OURS, env={"LD_PRELOAD": old_kernel, "OLD_KERNEL": lacks})
        for there, back in (("10.9.0.2", "10.9.0.1"), ("fd09::2", "fd09::1")):
            reaches(w.left, there)
            transfer(w.left, w.right, there, 5 * MIB)
            transfer(w.right, w.left, back, 5 * MIB)
            datagrams(w.left, w.right, there, [0, 1, 1372, 1393, 20000, 60000])
    finally:
        w.close()
