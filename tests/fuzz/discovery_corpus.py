#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the seed inputs of the discovery fuzz targets (tests/fuzz/corpus/discovery_*), by another
implementation of the messages than the one under test."""
import os
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
T0 = 1800000000


def gossip():
    with tempfile.TemporaryDirectory() as d:
        subprocess.run(["protoc", "-I", f"{ROOT}/proto", "--python_out", d,
                        f"{ROOT}/proto/peer_discovery.proto"], check=True)
        sys.path.insert(0, d)
        import peer_discovery_pb2
        return peer_discovery_pb2


def descriptor(who, seq=100, life=3600, roles=1, start=T0, ip=(198, 18, 1, 1), wg=1):
    """Unsigned: the target signs as identity `who` (byte 4) what begins like this."""
    b = bytearray(328)
    b[0], b[1], b[4] = 1, roles, who
    b[36:68] = bytes([wg]) * 32
    b[68:72], b[72:74] = bytes(ip), struct.pack("<H", 51820)
    b[220:244] = struct.pack("<QQQ", seq, start, start + life)
    return bytes(b)


def op(code, payload=b"", k=0, sign=False):
    return bytes([code | k << 4 | (0x80 if sign else 0)]) + struct.pack("<H", len(payload)) + payload


def main():
    g = gossip()
    q = {n: g.Query() for n in ("greet", "compare", "page", "offer", "greet_record")}
    q["greet"].greet.salt = 1
    q["greet_record"].greet.record = descriptor(1)
    q["compare"].compare.salt = 2
    q["page"].page.buckets = b"\xff" * 32
    q["page"].page.have = bytes(8)
    q["page"].page.after = bytes(32)
    q["page"].page.until = b"\xff" * 32
    q["offer"].offer.records.extend([descriptor(1), descriptor(2, wg=2, ip=(198, 18, 2, 1)), descriptor(1, seq=101, life=0)])
    a = {n: g.Answer() for n in ("greeted", "compared", "paged", "offered", "busy", "paged_more")}
    a["greeted"].greeted.root = 3
    a["greeted"].greeted.record = descriptor(1)
    a["compared"].compared.digests = bytes(1024)
    a["paged"].paged.records.append(descriptor(3, wg=3, ip=(198, 18, 3, 1)))
    a["paged_more"].paged.records.append(descriptor(3, wg=3, ip=(198, 18, 3, 1)))
    a["paged_more"].paged.upto = b"\x40" * 32
    a["offered"].offered.n_new = 1
    a["busy"].busy.SetInParent()
    q = {n: m.SerializeToString() for n, m in q.items()}
    a = {n: m.SerializeToString() for n, m in a.items()}
    write("discovery_message", q | a | {"empty": b"", "truncated": a["paged"][:-1]})

    share, client = op(4, b"\x0f\x01"), op(4, b"\x00")
    tick, long = op(3, struct.pack("<H", 600)), op(3, struct.pack("<HB", 60000, 1))
    twin = g.Query()
    twin.offer.records.extend([descriptor(1), descriptor(1, life=3601)])
    sequences = {
        "prove": share + tick + op(0, q["offer"], sign=True) + tick
        + b"".join(op(1, a["greeted"], k=k, sign=True) for k in range(8)) + op(5) + tick
        + op(0, q["page"]) + op(0, q["compare"]) + op(0, q["greet_record"], sign=True) + long,
        "equivocate": share + tick + op(0, twin.SerializeToString(), sign=True) + tick + op(0, q["page"]),
        "client": client + op(7, descriptor(1), k=1, sign=True) + op(7, descriptor(2, wg=2, ip=(198, 18, 2, 1)), k=1, sign=True)
        + tick + b"".join(op(1, a["greeted"], k=k, sign=True) for k in range(8))
        + b"".join(op(1, a["compared"], k=k) for k in range(8))
        + b"".join(op(1, a["paged"], k=k, sign=True) + op(1, a["paged_more"], k=k, sign=True) for k in range(8)) + op(5) + long,
        "silence": share + op(7, descriptor(1), k=1, sign=True) + tick + b"".join(op(2, k=k) for k in range(8)) + long + tick + op(6),
        "share_off_on": share + tick + client + tick + share + long + long,
        "garbage": share + op(0, b"\xff" * 40) + op(1, b"\x08") + op(0, q["offer"][:-3]),
    }
    write("discovery_core", sequences)


def write(target, inputs):
    folder = f"{ROOT}/tests/fuzz/corpus/{target}"
    os.makedirs(folder, exist_ok=True)
    for name, data in inputs.items():
        with open(f"{folder}/{name}", "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
