#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes the seed inputs of tests/fuzz/tunnel_handover.c, by another implementation of the form than the one
under test. Nonce and tag are empty: the target encrypts them."""
import os
import struct

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus", "tunnel_handover")
NOW = 1800000000
VERSION = 1
RELAY, EXIT = 1, 3


def descriptor(who, roles):
    """Unsigned, which nobody asks of a route that was up."""
    b = bytearray(328)
    b[0], b[1], b[4] = 1, roles, who
    b[36:68] = bytes([who]) * 32
    b[68:72], b[72:74] = bytes((192, 0, 2, who)), struct.pack("<H", 51820)
    b[220:244] = struct.pack("<QQQ", 100, NOW - 3600, NOW + 3600)
    return bytes(b)


def hop(who, roles):
    return bytes([who]) * 32 + descriptor(who, roles) + struct.pack("<QQQQI", 1 << 32 | who, 1000, 50 << 20, 1 << 20, 9)


def address(ip):
    return bytes([{0: 0, 4: 4, 16: 6}[len(ip)]]) + ip.ljust(16, b"\0")


def route(number, n_hops, place, draining=False):
    hops = [hop(1 + k, EXIT if k == n_hops - 1 else RELAY) for k in range(n_hops)]
    return (struct.pack("<IBBHIIQQ", number, n_hops, place, draining, 90000 if draining else 0, 1348, 1 << 30, 1 << 20)
            + address(bytes((100, 64, 0, 16))) + address(b"") + address(bytes((9, 9, 9, 9))) + address(b"")
            + b"".join(hops).ljust(3 * 396, b"\0"))


def flow(port, place, proto=6, state=1):
    return bytes((93, 184, 216, 34)).ljust(16, b"\0") + struct.pack("<HHBBBBI", 443, port, 4, proto, place, state, 250)


def whole(routes, flows, in_use=0, version=VERSION, at=NOW, n_routes=None, n_flows=None):
    head = b"mvpnhand" + struct.pack("<HBBIq", version, len(routes) if n_routes is None else n_routes, in_use,
                                     len(flows) if n_flows is None else n_flows, at)
    return head + bytes(24) + b"".join(routes) + b"".join(flows) + bytes(16)


def main():
    two = [route(7, 3, 0), route(8, 1, 2, draining=True)]
    flows = [flow(40000, 0), flow(40001, 2, 17), flow(40002, 0, state=2), flow(40003, 5)]
    files = {
        "whole": whole(two, flows),
        "empty": whole([], [], in_use=255),
        "one-route": whole([route(7, 2, 1)], []),
        "many-flows": whole(two, [flow(40000 + i, 2 * (i % 2)) for i in range(20)]),
        "torn": whole(two, flows)[:900],
        "another-version": whole(two, flows, version=VERSION + 1),
        "more-routes-than-there-are": whole(two, flows, n_routes=3),
        "more-flows-than-there-are": whole(two, flows, n_flows=0xffffffff),
        "in-use-is-none-of-them": whole(two, flows, in_use=2),
        "same-place": whole([route(7, 3, 0), route(8, 1, 0)], flows),
        "no-hops": whole([route(7, 0, 0)], flows),
        "four-hops": whole([struct.pack("<IBB", 7, 4, 0) + route(7, 3, 0)[6:]], flows),
        "same-hop-twice": whole([route(7, 2, 0)[:100] + hop(1, RELAY) + hop(1, EXIT) + bytes(396)], []),
        "of-long-ago": whole(two, flows, at=-(1 << 63)),
    }
    os.makedirs(OUT, exist_ok=True)
    for name, data in files.items():
        with open(os.path.join(OUT, name), "wb") as f:
            f.write(data)


if __name__ == "__main__":
    main()
