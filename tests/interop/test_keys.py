# SPDX-License-Identifier: GPL-2.0-or-later
"""No key of a session stays in the process: the other side is this test, which writes down every secret of the
handshake and then looks for it in all memory that the process can write."""
import base64
import os
import socket
import struct
import sys

import pytest

from test_dropin import memory_of
from world import OURS, ROOT, TOOLS, World, wait_until

sys.path.append(f"{ROOT}/tests/vectors")
import tunnel_handshake as wg  # noqa: E402

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")
SPEED = 20  # REJECT_AFTER_TIME is nine seconds then
OUR_INDEX = 0x11111111


@pytest.fixture
def world():
    w = World()
    yield w
    w.close()


class Responder:
    """Answers one initiation; self.secrets: name -> key."""

    def __init__(self, world, env):
        self.sk, psk = os.urandom(32), os.urandom(32)
        self.name = base64.b64encode(wg.pub(self.sk)).decode()
        self.socket = world.right.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("198.18.0.2", 5002))
        self.socket.settimeout(10)
        self.tunnel = world.interface(world.left, OURS, 1, env)
        self.tunnel.set("listen-port", "5001", "peer", self.name, "preshared-key", "/dev/stdin", "endpoint",
                        "198.18.0.2:5002", "allowed-ips", "10.9.0.2/32", input=base64.b64encode(psk).decode())
        self.tunnel.up()
        world.left.run("ping", "-c1", "-W0.1", "10.9.0.2", check=False)
        self.secrets = {"preshared key": psk}
        while (m := self.socket.recv(2000))[0] != 4:  # its latest initiation counts
            self.answer(m, psk)
        for counter in range(3):  # its receiving key is used
            self.send(struct.pack("<I", 4) + self.index + struct.pack("<Q", counter) +
                      wg.aead(self.secrets["receiving key"], counter, b"", b""))
        wait_until(lambda: int(self.tunnel.dump()[2][self.name]["rx"]) >= 92 + 3 * 32, "our keepalives came")

    def send(self, message):
        self.socket.sendto(message, ("198.18.0.1", 5001))

    def answer(self, m1, psk):
        """Paper, section 5.4.3, from the responder's side."""
        pk, s, ephemeral = base64.b64decode(self.tunnel.public), self.secrets, os.urandom(32)
        self.index, theirs, ours = m1[4:8], m1[8:40], wg.pub(ephemeral)
        c = wg.hash_(wg.CONSTRUCTION)
        h = wg.hash_(wg.hash_(c + wg.IDENTIFIER) + wg.pub(self.sk))
        for part in (theirs, m1[40:88], m1[88:116], ours):
            h = wg.hash_(h + part)
        c, = wg.kdf(1, c, theirs)
        for step, shared in (("es", wg.dh(self.sk, theirs)), ("ss", wg.dh(self.sk, pk))):
            s[step] = shared
            c, s[f"key after {step}"] = wg.kdf(2, c, shared)
            s[f"chain after {step}"] = c
        c, = wg.kdf(1, c, ours)
        for step, shared in (("ee", wg.dh(ephemeral, theirs)), ("se", wg.dh(ephemeral, pk))):
            s[step] = shared
            c, = wg.kdf(1, c, shared)
            s[f"chain after {step}"] = c
        c, t, s["key after psk"] = wg.kdf(3, c, psk)
        s["chain after psk"], s["hashed psk"] = c, t
        m2 = struct.pack("<II", 2, OUR_INDEX) + self.index + ours + wg.aead(s["key after psk"], 0, b"", wg.hash_(h + t))
        self.send(m2 + wg.mac(wg.hash_(b"mac1----" + pk), m2) + bytes(16))
        s["sending key"], s["receiving key"] = wg.kdf(2, c, b"")

    def found(self):
        halves = [(name, half) for name, key in self.secrets.items() for half in (key[:16], key[16:])]
        return {name for piece in memory_of(self.tunnel.process.pid) for name, half in halves if half in piece}


OF_PEER = {"preshared key", "ss"}  # what an initiation needs
OF_SESSION = {"sending key", "receiving key"}


@pytest.mark.parametrize("aead", ["ipsec-mb", "openssl", "sodium"])
def test_a_peer_that_is_removed_leaves_nothing(world, aead):
    r = Responder(world, {"MVPN_AEAD": aead})
    assert r.found() == OF_PEER | OF_SESSION, "of the handshake only what is needed"
    r.tunnel.set("peer", r.name, "remove")
    assert r.found() == set()


def test_session_keys_go_when_they_are_too_old(world):
    r = Responder(world, {"LD_PRELOAD": f"{TOOLS}/fast_clock.so", "TEST_CLOCK_SPEED": str(SPEED)})
    wait_until(lambda: r.found() == OF_PEER, "REJECT_AFTER_TIME")


def test_session_keys_go_with_the_interface_down(world):
    r = Responder(world, {})
    assert OF_SESSION < r.found()
    world.left.ip("link", "set", r.tunnel.name, "down")
    wait_until(lambda: r.found() == OF_PEER, "down")
