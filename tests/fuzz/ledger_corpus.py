#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the seeds of the ledger's fuzz targets: tests/fuzz/corpus/ledger_{ticket,peer}/."""
import os
import re

HERE = os.path.dirname(os.path.abspath(__file__))


def save(target, name, data):
    d = f"{HERE}/corpus/{target}"
    os.makedirs(d, exist_ok=True)
    with open(f"{d}/{name}", "wb") as f:
        f.write(data)


def tickets():
    text = open(f"{HERE}/../vectors/ledger_tickets.h").read()
    wires = [bytes.fromhex(h) for h in re.findall(r'"([0-9a-f]{362})"', text)]
    for i, w in enumerate(wires[:12]):
        save("ledger_ticket", f"right-{i}", w)
    w = wires[0]
    save("ledger_ticket", "short", w[:-1])
    save("ledger_ticket", "long", w + b"\0")
    save("ledger_ticket", "parity", w[:-1] + b"\x02")
    save("ledger_ticket", "face-96-bit", w[:20] + bytes(4) + b"\xff" * 12 + w[36:])
    save("ledger_ticket", "face-97-bit", w[:20] + bytes(3) + b"\x01" + bytes(12) + w[36:])
    save("ledger_ticket", "certain", w[:36] + b"\xff" * 8 + w[44:])
    save("ledger_ticket", "high-s", w[:148] + b"\xff" * 32 + w[180:])




def opened(i):
    return bytes([0, i, 0]) + bytes([1, i, i])


REQUEST = bytes([4, 0, 0, 1, 1])        # the next request, as it is, to its session
REPEATED = bytes([3, 0, 0, 1, 1])       # and it stays to be delivered again
CHANGED = bytes([3, 0, 0, 4, 1, 40, 7, 1])
ELSEWHERE = bytes([3, 1, 0, 1, 4])
REPLY = bytes([6, 0, 0, 1])
FULL, ROOM = bytes([11, 0, 1]), bytes([11, 0, 0])


def used(i, n):
    return bytes([9, i, n, n, 0]) + bytes([10, i, n, n, 0])


def peers():
    begin = opened(0) + REQUEST + REPLY
    round_ = (REQUEST + REPLY) * 5
    save("ledger_peer", "begin", begin)
    save("ledger_peer", "pays", begin + b"".join(round_ + used(0, n) for n in range(10, 100, 10)))
    save("ledger_peer", "repeats", begin + (REPEATED + REPLY) * 8 + used(0, 40) + (REPEATED + REPEATED + REPLY) * 8)
    save("ledger_peer", "changes", begin + (CHANGED + REPLY) * 8 + round_)
    save("ledger_peer", "elsewhere", opened(0) + opened(1) + (REQUEST + REPLY) * 2 + (ELSEWHERE + REPLY) * 9)
    save("ledger_peer", "full", begin + FULL + round_ + ROOM + round_ + used(0, 50) + FULL + round_ + bytes([13, 0, 1]) + ROOM + round_)
    save("ledger_peer", "closes", begin + round_ + bytes([13, 0, 1]) + bytes([13, 0, 0]) + begin + round_)
    save("ledger_peer", "roles", begin + round_ + bytes([14, 0, 1]) + used(0, 30) + round_ * 2)
    save("ledger_peer", "terms", begin + round_ + bytes([15, 0, 8]) + opened(1) + (REQUEST + REPLY) * 4 + bytes([15, 0, 0]) + opened(2) + round_)
    save("ledger_peer", "silence", begin + b"".join(bytes([8, 0, 0, 12, 0, i, 0]) for i in range(16)) + round_)
    save("ledger_peer", "days", begin + round_ + bytes([12, 0, 19, 1]) * 3 + used(0, 90) + round_)
    save("ledger_peer", "three", opened(0) + opened(1) + opened(2) + (REQUEST + REPLY) * 12 + used(0, 9) + used(1, 30) + used(2, 60) + round_ * 3)
    save("ledger_peer", "forged", opened(0) + bytes([2, 0, 4, 10, 2, 8, 1]) + bytes([7, 0, 0, 4, 34, 2, 8, 1]) + REQUEST + REPLY)


tickets()
peers()
