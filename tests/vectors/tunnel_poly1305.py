#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Packets whose Poly1305 sum ends at an edge of its arithmetic, for tests/unit/tunnel_aead.c:

    tunnel_poly1305.py > tunnel_poly1305.h

An AEAD's one-time key cannot be chosen, but who knows it can choose ciphertext: of three blocks the last is
solved for, so that what is left after the block of lengths is the number wanted. All in Python's integers."""
import struct

P = 2**130 - 5
ENDS = [0, 1, 4, 5, P - 1, P - 2, P - 5, P - 6, 2**128 - 1, 2**128, 2**128 + 1, 2**129, 2**129 - 1, 2**130 - 2**88,
        2**88 - 1, 2**88, 2**44 - 1, 2**44, 2**128 - 2**64, 2**64 - 1]


def rotl(x, n):
    return (x << n | x >> 32 - n) & 0xffffffff


def chacha20(key, counter, block):
    start = list(struct.unpack("<4I", b"expand 32-byte k") + struct.unpack("<8I", key)
                 + (block, 0, counter & 0xffffffff, counter >> 32))
    x = start[:]
    for _ in range(10):
        for a, b, c, d in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
                           (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            for p, q, s, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
                x[p] = (x[p] + x[q]) & 0xffffffff
                x[s] = rotl(x[s] ^ x[p], n)
    return struct.pack("<16I", *((u + v) & 0xffffffff for u, v in zip(x, start)))


def solve(key, counter, end):
    """48 bytes of ciphertext and their tag; None if no third block does it for this counter"""
    one_time = chacha20(key, counter, 0)
    r = int.from_bytes(one_time[:16], "little") & 0x0ffffffc0ffffffc0ffffffc0fffffff
    s = int.from_bytes(one_time[16:32], "little")
    inverse = pow(r, -1, P)
    first = [2**129 - 1, 2**128 + counter]
    h = ((first[0] * r + first[1]) * r) % P
    last = ((end * inverse - (2**128 + 48 * 2**64)) * inverse - h) % P
    if not 2**128 <= last < 2**129:
        return None
    text = b"".join((m - 2**128).to_bytes(16, "little") for m in first + [last])
    return text, ((end % P + s) % 2**128).to_bytes(16, "little")


def main():
    key = bytes(range(7, 39))
    print("/* SPDX-License-Identifier: GPL-2.0-or-later */\n/* Made by tunnel_poly1305.py. */")
    print("static const uint8_t poly_secret_key[32] = {" + ", ".join(map(str, key)) + "};")
    print("static const struct poly_packet {\n\tuint64_t counter;\n\tuint8_t sealed[64];\n} poly_packets[] = {")
    counter = 0
    for end in ENDS:
        while (found := solve(key, counter, end)) is None:
            counter += 1
        print(f"\t{{{counter}, {{" + ", ".join(map(str, found[0] + found[1])) + "}},")
        counter += 1
    print("};")


main()
