# SPDX-License-Identifier: GPL-2.0-or-later
"""Payloads of every size there is, end to end, in every kind of packet that an offload treats in its own way.

A seeded draw gives each size to one of the worlds below, one direction, and plain packets or such with
options or an extension header; several flows of a world run at once."""
import hashlib
import itertools
import os
import random
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest

from world import OURS, PATIENCE_S, THEIRS, World, reaches

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")

LARGEST = 65535
DATA = hashlib.shake_128(b"payload").digest(2 * LARGEST)
NOTHING = "tso gro gso"
# Sides, what the kernel lacks on our side, MTU (odd ones, the least, more than a page), share of the sizes:
# what is slow gets fewer.
WORLDS = {"all": (OURS, OURS, "", 1420, 5), "none": (OURS, OURS, NOTHING, 1281, 2),
          "no gro": (OURS, OURS, "gro", 1399, 2), "no gso": (OURS, OURS, "gso", 4097, 2),
          "no tso": (OURS, OURS, "tso", 1280, 2), "no uso": (OURS, OURS, "uso", 8999, 2),
          "ours-theirs": (OURS, THEIRS, "", 1283, 1), "ours-theirs, none": (OURS, THEIRS, NOTHING, 1420, 1)}
OPTIONS = 8  # bytes of IPv4 options or of an extension header
UDP_SEGMENT = 103
WINDOW, WINDOW_BYTES = 32, 100_000  # datagrams of a flow under way at most, and their bytes
AT_ONCE = 3  # flows
LOST_S = 0.5
TRIES = 40


def payload(n):
    """n bytes, others for each size."""
    return DATA[n:2 * n]


def largest(address, extended):
    """Payload of one IP packet behind a head of UDP or ICMP. IPv4 counts its own head; Linux leaves
    room for the one of IPv6's fragments beside options."""
    if ":" in address:
        return LARGEST - 8 - 2 * OPTIONS * extended
    return LARGEST - 8 - 20 - OPTIONS * extended


def open_pair(w, address, kind, protocol=0, extended=False):
    """(sender, receiver at address); each packet of them has an extension header, or IPv4 options."""
    there, here = (w.right, w.left) if address in ("10.9.0.2", "fd09::2") else (w.left, w.right)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    out = []
    for ns in (here, there):
        s = ns.enter(lambda: socket.socket(family, kind, protocol))
        s.settimeout(LOST_S)
        if extended and family == socket.AF_INET6:
            s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DSTOPTS, b"\0\0\1\4\0\0\0\0")
        elif extended:
            s.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, b"\1" * OPTIONS)
        # A stream must not fill the queues that all share; datagrams are counted out by exchange().
        s.setsockopt(socket.SOL_SOCKET, 33, 128 << 10 if kind == socket.SOCK_STREAM else 8 << 20)  # SO_RCVBUFFORCE
        out.append(s)
    return out


def windows(sizes):
    part, n_bytes = [], 0
    for n in sizes:
        if part and (len(part) == WINDOW or n_bytes + n > WINDOW_BYTES):
            yield part
            part, n_bytes = [], 0
        part.append(n)
        n_bytes += n
    yield part


def exchange(sizes, send, receive):
    """What got lost is sent again; what came must be one of those under way, unchanged (receive sees to it)."""
    for part in windows(sizes):
        missing = set(part)
        for _ in range(TRIES):
            for n in missing:
                send(n)
            try:
                while missing:
                    missing.discard(receive())
            except TimeoutError:
                continue
            break
        assert not missing, missing


def udp(w, address, sizes, extended, mtu):
    """Whole datagrams: those above the MTU are fragments."""
    a, b = open_pair(w, address, socket.SOCK_DGRAM, 0, extended)
    with a, b:
        b.bind((address, 0))
        a.connect(b.getsockname()[:2])

        def receive():
            got = b.recv(65536)
            assert got == payload(len(got)), len(got)
            return len(got)
        exchange([n for n in sizes if n <= largest(address, extended)], lambda n: a.send(payload(n)), receive)


def train(w, address, sizes, extended, mtu):
    """Trains of an odd segment size: the kernel, or we, cut them; the last is short."""
    a, b = open_pair(w, address, socket.SOCK_DGRAM, 0, extended)
    segment = (mtu - 100) // 3 | 1
    with a, b:
        b.bind((address, 0))
        a.connect(b.getsockname()[:2])
        a.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
        for n in sizes[::8]:
            if n > min(largest(address, extended), 60 * segment):
                continue
            want = sorted(payload(n)[i:i + segment] for i in range(0, n, segment))
            for _ in range(TRIES):
                a.send(payload(n))
                got = []
                try:
                    while len(got) < len(want):
                        got.append(b.recv(65536))
                        assert got[-1] in want, n
                except TimeoutError:
                    continue
                break
            assert sorted(got) == want, n


def read(s, n):
    """n bytes of a stream."""
    got = bytearray(n)
    view, at = memoryview(got), 0
    while at < n:
        more = s.recv_into(view[at:])
        assert more, "closed"
        at += more
    return got


def tcp(w, address, sizes, extended, mtu):
    """Each size as one write of one connection."""
    a, b = open_pair(w, address, socket.SOCK_STREAM, 0, extended)
    with a, b:
        b.bind((address, 0))
        b.listen()
        for s in (a, b):
            s.settimeout(PATIENCE_S)
        a.connect(b.getsockname()[:2])
        a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c = b.accept()[0]
        c.settimeout(PATIENCE_S)

        def write():
            try:
                for n in sizes:
                    a.sendall(payload(n))
            except ConnectionError:
                pass  # the reader has seen why
        t = threading.Thread(target=write)
        t.start()
        try:
            with c:
                for n in sizes:
                    assert read(c, n) == payload(n), n
        finally:
            t.join()


def checksum(data):
    return 0xFFFF - int.from_bytes(data + b"\0" * (len(data) % 2), "big") % 0xFFFF


identifiers = itertools.count(os.getpid())


def icmp(w, address, sizes, extended, mtu):
    """Echoes: the other kernel judges the checksum, and sends all back."""
    six = ":" in address
    protocol = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    a, b = open_pair(w, address, socket.SOCK_RAW, protocol, extended)
    b.close()
    number = next(identifiers) & 0xFFFF
    request, reply = (128, 129) if six else (8, 0)

    def send(n):
        tail = struct.pack(">HH", number, n) + payload(n)
        sum_ = 0 if six else checksum(struct.pack(">BBH", request, 0, 0) + tail)  # the kernel fills that of IPv6
        a.send(struct.pack(">BBH", request, 0, sum_) + tail)

    def receive():
        while True:
            got = a.recv(65536)
            got = got[0 if six else (got[0] & 15) * 4:]
            if got[0] == reply and got[4:6] == struct.pack(">H", number):
                n = int.from_bytes(got[6:8], "big")
                assert got[8:] == payload(n), n
                return n
    with a:
        a.connect((address, 0))
        exchange([n for n in sizes if n <= largest(address, extended)], send, receive)


def parts(sizes, weights):
    """Pieces of the list in these proportions; none is left out."""
    ends = [len(sizes) * n // sum(weights) for n in itertools.accumulate(weights)]
    return [sizes[a:b] for a, b in zip([0, *ends], ends)]


def flows(world):
    """(kind, address, sizes, extended) of a world. Each size over both families; an echo, which goes there
    and back, over one."""
    rng, share = random.Random(1), list(WORLDS).index(world)
    cases = list(itertools.product(("10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"), (False, True)))
    out = []
    for kind, orders in ((tcp, 2), (udp, 2), (train, 2), (icmp, 1)):
        sizes = rng.sample(range(1, LARGEST + 1), LARGEST)
        mine = parts(parts(sizes, [x[-1] for x in WORLDS.values()])[share], [1] * len(cases))
        for order in (cases, cases[4:] + cases[:4])[:orders]:
            out += [(kind, address, part, extended) for part, (address, extended) in zip(mine, order)]
    rng.shuffle(out)
    return out


@pytest.mark.parametrize("world", WORLDS)
def test_every_size_in_every_kind_of_packet(old_kernel, world):
    left, right, lacks, mtu, _ = WORLDS[world]
    w = World()
    try:
        # wireguard-go is one static program: nothing can be preloaded there.
        w.pair(left, right, mtu=mtu, env={"LD_PRELOAD": old_kernel, "OLD_KERNEL": lacks})
        reaches(w.left, "10.9.0.2")
        reaches(w.left, "fd09::2")
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for f in as_completed([pool.submit(kind, w, *flow, mtu) for kind, *flow in flows(world)]):
                f.result()
        finally:
            pool.shutdown(cancel_futures=True)
    finally:
        w.close()
