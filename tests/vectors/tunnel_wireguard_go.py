#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Handshakes and transport packets as Debian's wireguard-go makes them, for the tunnel's unit tests.

wireguard-go runs in a network namespace; this script is its peer, with keys, ephemeral too, that it writes
down. What the packets held is what passed the interface. Keys are fresh each time. As root, half a minute:

    tests/vectors/tunnel_wireguard_go.py > tests/vectors/tunnel_wireguard_go.h
"""
import base64
import os
import socket
import struct
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../interop")]
import tunnel_handshake as wg  # noqa: E402
from world import THEIRS, Capture, World  # noqa: E402

SIZES = [0, 1, 3, 4, 20, 500, 1392]  # of datagrams; with their heads and padding every case of it
SK, PSK = wg.secret_key(77, "wireguard-go"), wg.draw(77, "wireguard-go psk")
# Ephemeral keys of ours: as responder, as responder to its rekey, as initiator.
EPHEMERALS = [wg.secret_key(77, f"ephemeral {n}") for n in range(3)]
INDICES = [0x11111111, 0x22222222, 0x33333333]


class Hashes:
    """Chaining key and hash of a handshake."""

    def __init__(self, responder_pk):
        self.c = wg.hash_(wg.CONSTRUCTION)
        self.h = wg.hash_(wg.hash_(self.c + wg.IDENTIFIER) + responder_pk)

    def mix_hash(self, x):
        self.h = wg.hash_(self.h + x)

    def mix(self, x, n=1):
        self.c, *rest = wg.kdf(n, self.c, x)
        return rest


def with_macs(message, pk):
    return message + wg.mac(wg.hash_(b"mac1----" + pk), message) + bytes(16)


def response(peer_pk, m1, ephemeral, index):
    """(type 2 to m1, key of what the peer sends)"""
    hashes, theirs = Hashes(wg.pub(SK)), m1[8:40]
    hashes.mix_hash(theirs)
    hashes.mix(theirs)
    hashes.mix(wg.dh(SK, theirs), 2)
    hashes.mix_hash(m1[40:88])
    hashes.mix(wg.dh(SK, peer_pk), 2)
    hashes.mix_hash(m1[88:116])
    ours = wg.pub(ephemeral)
    hashes.mix_hash(ours)
    hashes.mix(ours)
    hashes.mix(wg.dh(ephemeral, theirs))
    hashes.mix(wg.dh(ephemeral, peer_pk))
    t, k = hashes.mix(PSK, 3)
    hashes.mix_hash(t)
    m2 = struct.pack("<II", 2, index) + m1[4:8] + ours + wg.aead(k, 0, b"", hashes.h)
    return with_macs(m2, peer_pk), wg.kdf(2, hashes.c, b"")[0]


def initiation(peer_pk, stamp, ephemeral, index):
    """(type 1, what finishes it with type 2)"""
    hashes, ours = Hashes(peer_pk), wg.pub(ephemeral)
    hashes.mix_hash(ours)
    hashes.mix(ours)
    m1 = struct.pack("<II", 1, index) + ours
    for shared, plain in ((wg.dh(ephemeral, peer_pk), wg.pub(SK)), (wg.dh(SK, peer_pk), stamp)):
        k, = hashes.mix(shared, 2)
        sealed = wg.aead(k, 0, plain, hashes.h)
        hashes.mix_hash(sealed)
        m1 += sealed

    def finish(m2):
        """(key of what we send, key of what the peer sends)"""
        theirs = m2[12:44]
        hashes.mix_hash(theirs)
        hashes.mix(theirs)
        hashes.mix(wg.dh(ephemeral, theirs))
        hashes.mix(wg.dh(SK, theirs))
        hashes.mix(PSK, 3)
        return wg.kdf(2, hashes.c, b"")
    return with_macs(m1, peer_pk), finish


class Peer:
    """wireguard-go on the right, our socket on the left."""

    def __init__(self, world):
        self.world = world
        self.go = world.interface(world.right, THEIRS, 2)
        self.pk = base64.b64decode(self.go.public)
        self.go.set("listen-port", "5002", "peer", base64.b64encode(wg.pub(SK)).decode(), "preshared-key", "/dev/stdin",
                    "endpoint", "198.18.0.1:5001", "allowed-ips", "10.9.0.1/32", input=base64.b64encode(PSK).decode())
        self.go.up()
        self.inside = Capture(world.right, self.go.name, link=False)
        self.wire = world.left.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.wire.bind(("198.18.0.1", 5001))
        self.wire.settimeout(10)
        self.sender = world.right.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, message):
        self.wire.sendto(message, ("198.18.0.2", 5002))

    def next(self, kind):
        while True:
            m = self.wire.recv(65536)
            if m[0] == kind:
                return m

    def speak(self, size):
        self.sender.sendto(wg.draw(77, f"datagram {size}", size) if size else b"", ("10.9.0.1", 9))

    def packets(self, key, index, n):
        """The next n packets to that index, as (counter, what passed the interface, message)."""
        out, inner = [], []
        while len(out) < n:
            m = self.next(4)
            if int.from_bytes(m[4:8], "little") != index:
                continue  # of the keys before
            counter = int.from_bytes(m[8:16], "little")
            plain = wg.ChaCha20Poly1305(key).decrypt(struct.pack("<IQ", 0, counter), m[16:], b"")
            inner += self.inside.frames()
            whole = next((p for p in inner if plain == p.ljust(len(plain), b"\0")), b"")
            assert len(whole) > 0 or plain == b"", plain
            out.append((counter, whole, m))
        return out


def as_responder(p, number):
    """It begins, after silence for the second time, and sends."""
    p.speak(SIZES[0])
    m1 = p.next(1)
    m2, key = response(p.pk, m1, EPHEMERALS[number], INDICES[number])
    p.send(m2)
    packets = p.packets(key, INDICES[number], 1)  # it has the keys now
    for size in SIZES[1:]:
        p.speak(size)
    packets += p.packets(key, INDICES[number], len(SIZES) - 1)
    return dict(initiator=0, ephemeral=EPHEMERALS[number], index=INDICES[number], stamp=bytes(12), m1=m1, m2=m2,
                packets=packets)


def as_initiator(p, number):
    stamp = struct.pack(">QI", 0x400000000000000A + int(time.time()), 0)
    m1, finish = initiation(p.pk, stamp, EPHEMERALS[number], INDICES[number])
    p.send(m1)
    m2 = p.next(2)
    ours, theirs = finish(m2)
    p.send(struct.pack("<I", 4) + m2[4:8] + bytes(8) + wg.aead(ours, 0, b"", b""))
    for size in SIZES:
        p.speak(size)
    return dict(initiator=1, ephemeral=EPHEMERALS[number], index=INDICES[number], stamp=stamp, m1=m1, m2=m2,
                packets=p.packets(theirs, INDICES[number], len(SIZES)))


def show(cases, p):
    print("/* SPDX-License-Identifier: GPL-2.0-or-later */")
    print("/* Made by tests/vectors/tunnel_wireguard_go.py; do not edit. */")
    print("#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n")
    print("/* Of all: our static key, wireguard-go's public one, the preshared one. */")
    for name, value in (("sk", SK), ("pk", p.pk), ("psk", PSK)):
        print(f"static const char go_{name}[] = {wg.c_bytes(value)};")
    print("\nstruct go_packet {\n\tuint64_t counter;\n\tsize_t plain_len, message_len;\n"
          "\tconst char *plain; /* without padding */\n\tconst char *message;\n};\n")
    print("struct go_vector {\n\tbool initiator; /* we were */\n\tuint32_t index; /* ours */\n"
          "\tconst char *ephemeral, *stamp; /* ours */\n\tconst char *m1, *m2;\n"
          f"\tstruct go_packet packets[{len(SIZES)}]; /* it sent */\n}};\n")
    print("static const struct go_vector go_vectors[%d] = {" % len(cases))
    for c in cases:
        print(f"\t{{\n\t\t.initiator = {c['initiator']},\n\t\t.index = {c['index']:#x}u,")
        for name in ("ephemeral", "stamp", "m1", "m2"):
            print(f"\t\t.{name} = {wg.c_bytes(c[name])},")
        print("\t\t.packets = {")
        for counter, plain, m in c["packets"]:
            print(f"\t\t{{{counter}u, {len(plain)}, {len(m)},\n\t\t{wg.c_bytes(plain)},\n\t\t{wg.c_bytes(m)}}},")
        print("\t\t},\n\t},")
    print("};")


def main():
    world = World()
    try:
        p = Peer(world)
        cases = [as_responder(p, 0)]
        # We are silent, so it wants new keys 15 s after it last spoke.
        p.wire.settimeout(30)
        cases.append(as_responder(p, 1))
        cases.append(as_initiator(p, 2))
        show(cases, p)
    finally:
        world.close()


if __name__ == "__main__":
    main()
