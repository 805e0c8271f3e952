# SPDX-License-Identifier: GPL-2.0-or-later
"""mvpn-tunnel as a userspace WireGuard, against wireguard-go, wg and wg-quick as Debian has them."""
import base64
import hashlib
import os
import random
import re
import socket
import struct
import subprocess
import threading
import time

import pytest

from world import (OURS, THEIRS, TOOLS, BadWire, Capture, World, datagrams, genkey, ping, pubkey, reaches, run, transfer,
                   udp_of, wait_until)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")

SIDES = [(OURS, THEIRS), (THEIRS, OURS)]
MIB = 1 << 20


@pytest.fixture
def world():
    w = World()
    yield w
    w.close()


def names(pair):
    return "ours-theirs" if pair[0] == OURS else "theirs-ours"


# ---- packets ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("psk", [False, True], ids=["", "psk"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("sides", SIDES, ids=names)
def test_both_families_inside_and_outside(world, sides, family, psk):
    a, b = world.pair(*sides, family=family, psk=psk)
    reaches(world.left, "10.9.0.2")  # the left one initiates
    reaches(world.right, "10.9.0.1")
    reaches(world.left, "fd09::2")
    reaches(world.right, "fd09::1")
    assert int(a.peer(b)["handshake"]) > 0
    assert int(a.peer(b)["rx"]) > 0 and int(b.peer(a)["rx"]) > 0


def test_wrong_psk_gets_nowhere(world):
    a, b = world.pair(psk=True)
    a.set("peer", b.public, "preshared-key", "/dev/stdin", input=genkey())
    assert not any(ping(world.left, "10.9.0.2") for _ in range(3))
    assert a.peer(b)["handshake"] == "0"


@pytest.mark.parametrize("inner", ["10.9.0.2", "fd09::2"])
@pytest.mark.parametrize("sides", SIDES + [(OURS, OURS)], ids=["ours-theirs", "theirs-ours", "ours-ours"])
def test_streams_arrive_whole(world, sides, inner):
    world.pair(*sides)
    reaches(world.left, inner)
    back = {"10.9.0.2": "10.9.0.1", "fd09::2": "fd09::1"}[inner]
    transfer(world.left, world.right, inner, 20 * MIB)
    transfer(world.right, world.left, back, 20 * MIB)


@pytest.mark.parametrize("mtu", [1280, 1420, 9000])
@pytest.mark.parametrize("inner", ["10.9.0.2", "fd09::2"])
def test_datagrams_of_all_sizes(world, inner, mtu):
    world.pair(mtu=mtu)
    reaches(world.left, inner)
    datagrams(world.left, world.right, inner, [0, 1, 15, 16, 17, 500, 1200, 1372, 1393, 4000, 20000, 60000])


def test_many_streams_and_workers(world):
    a, b = world.pair(OURS, OURS, env={"MVPN_WORKERS": "4"})
    reaches(world.left, "10.9.0.2")
    world.right.run("iperf3", "-s", "-D", "-1", "-B", "10.9.0.2")
    wait_until(lambda: world.left.run("iperf3", "-c", "10.9.0.2", "-P", "8", "-n", "40M", check=False).returncode == 0,
               "iperf3")
    for i in (a, b):
        i.close()
        n = i.counters()
        assert n["moved_lost"] == 0 and n["rx_not_opened"] == 0, n


def test_sessions_stay_with_their_workers(world):
    """Eight peers over four workers: what a worker gets is its own, or is handed over and counted."""
    hub = world.interface(world.left, OURS, 1, {"MVPN_WORKERS": "4"})
    hub.set("listen-port", "5001")
    spokes = []
    for n in range(2, 10):
        s = world.interface(world.right, OURS if n % 2 else THEIRS, n)
        world.right.ip("addr", "flush", "dev", s.name)
        world.right.ip("addr", "add", f"10.9.0.{n}/32", "dev", s.name)
        s.set("peer", hub.public, "endpoint", "198.18.0.1:5001", "allowed-ips", "10.9.0.1/32")
        hub.set("peer", s.public, "allowed-ips", f"10.9.0.{n}/32")
        s.up()
        spokes.append(s)
    hub.up()
    for n, s in enumerate(spokes, 2):
        wait_until(lambda s=s, n=n: world.right.run("ping", "-I", s.name, "-c1", "-W1", "10.9.0.1",
                                                    check=False).returncode == 0, f"spoke {n} reaches the hub")
    world.right.ip("route", "flush", "10.9.0.0/24", check=False)
    for n, s in enumerate(spokes, 2):
        p = world.right.run("ping", "-I", s.name, "-c", "50", "-i", "0.002", "-q", "10.9.0.1")
        assert " 0% packet loss" in p.stdout
    hub.close()
    n = hub.counters()
    assert n["rx_no_index"] == 0 and n["moved_lost"] == 0 and n["rx_not_opened"] == 0
    assert n["moved_in"] == n["moved_tun"] + n["moved_messages"] + n["moved_initiations"]
    # Each of eight initiations may land elsewhere; echo replies follow their requests' queue.
    assert n["moved_messages"] == 0 and n["moved_tun"] + n["moved_initiations"] <= 8 * 8, n


def test_endpoint_roams(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    # Ours moves; theirs follows.
    world.left.ip("addr", "del", "198.18.0.1/24", "dev", "wire")
    world.left.ip("addr", "add", "198.18.0.11/24", "dev", "wire")
    reaches(world.left, "10.9.0.2")
    assert b.peer(a)["endpoint"] == "198.18.0.11:5001"
    # Theirs moves, port and all; ours follows.
    b.set("listen-port", "5022")
    reaches(world.right, "10.9.0.1")
    assert a.peer(b)["endpoint"] == "198.18.0.2:5022"
    reaches(world.left, "10.9.0.2")


def test_answers_come_from_where_they_were_asked(world):
    """Sticky source: a second address of ours that is not the one that routing would choose."""
    a, b = world.pair()
    world.left.ip("addr", "add", "198.18.0.77/24", "dev", "wire")
    b.set("peer", a.public, "endpoint", "198.18.0.77:5001")
    reaches(world.right, "10.9.0.1")
    reaches(world.left, "10.9.0.2")
    assert b.peer(a)["endpoint"] == "198.18.0.77:5001"
    # The address goes away: another is used.
    world.left.ip("addr", "del", "198.18.0.77/24", "dev", "wire")
    b.set("peer", a.public, "endpoint", "198.18.0.1:5001")
    reaches(world.left, "10.9.0.2")
    wait_until(lambda: b.peer(a)["endpoint"] == "198.18.0.1:5001", "the endpoint followed")


@pytest.mark.parametrize("sides", SIDES, ids=names)
def test_persistent_keepalive(world, sides):
    a, b = world.pair(*sides)
    a.set("peer", b.public, "persistent-keepalive", "1")
    wait_until(lambda: int(b.peer(a)["rx"]) >= 148 + 3 * 32, "a handshake and keepalives came, though nobody spoke")
    assert a.peer(b)["keepalive"] == "1"
    a.set("peer", b.public, "persistent-keepalive", "off")
    assert a.peer(b)["keepalive"] == "off"


def test_allowed_ips_move(world):
    """One address, two peers on their side: traffic goes where the prefix is, and only from there."""
    hub = world.interface(world.left, OURS, 1)
    hub.set("listen-port", "5001")
    two = []
    for _ in range(2):
        i = world.interface(world.right, THEIRS, 2)
        i.set("peer", hub.public, "endpoint", "198.18.0.1:5001", "allowed-ips", "10.9.0.1/32",
              "persistent-keepalive", "1")
        hub.set("peer", i.public)
        i.up()
        two.append(i)
    hub.up()
    wait_until(lambda: all(p["endpoint"] != "(none)" for p in hub.dump()[2].values()), "both have shaken hands")
    for owner, other in (two, two[::-1]):
        hub.set("peer", owner.public, "allowed-ips", "10.9.0.0/24")
        assert hub.peer(other)["allowed"] == "(none)"
        before = int(hub.peer(owner)["tx"]), int(hub.peer(other)["tx"])
        for _ in range(3):
            world.left.run("ping", "-c1", "-W0.2", "-s", "1000", "10.9.0.2", check=False)
        assert int(hub.peer(owner)["tx"]) >= before[0] + 3000
        assert int(hub.peer(other)["tx"]) < before[1] + 1000
    # The longest prefix wins.
    hub.set("peer", two[1].public, "allowed-ips", "10.9.0.2/32")
    hub.set("peer", two[0].public, "allowed-ips", "10.9.0.0/24")
    before = int(hub.peer(two[1])["tx"])
    world.left.run("ping", "-c1", "-W0.2", "-s", "1000", "10.9.0.2", check=False)
    assert int(hub.peer(two[1])["tx"]) >= before + 1000


def test_a_source_that_is_not_allowed_is_dropped(world):
    a, b = world.pair()
    reaches(world.right, "10.9.0.1")
    world.right.ip("addr", "add", "10.9.0.99/32", "dev", b.name)
    assert world.right.run("ping", "-I", "10.9.0.99", "-c2", "-W1", "10.9.0.1", check=False).returncode != 0
    a.close()
    assert a.counters()["rx_denied"] >= 2


def test_replays_and_garbage_are_dropped(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    s = world.right.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for n in (0, 1, 3, 4, 31, 32, 64, 92, 148, 1400):
        for kind in (0, 1, 2, 3, 4, 5, 255):
            s.sendto(bytes([kind, 0, 0, 0])[:n] + os.urandom(max(0, n - 4)), ("198.18.0.1", 5001))
    assert reaches(world.left, "10.9.0.2")
    a.close()
    n = a.counters()
    assert n["rx_bad"] + n["rx_no_index"] >= 50


def test_a_hostile_wire(world):
    """What arrives is right and once, whatever the wire repeats, changes, cuts or invents."""
    a, b = world.pair(OURS, OURS, env={"MVPN_WORKERS": "2"})
    wire = BadWire(world.right, 6000, ("198.18.0.2", 5002), seed=4)
    try:
        a.set("peer", b.public, "endpoint", "198.18.0.2:6000")
        reaches(world.left, "10.9.0.2")
        p = world.left.run("ping", "-c", "300", "-i", "0.005", "-W", "2", "10.9.0.2")
        assert "duplicates" not in p.stdout
        datagrams(world.left, world.right, "10.9.0.2", [0, 100, 1300] * 10)
        transfer(world.left, world.right, "10.9.0.2", 2 * MIB)
    finally:
        wire.close()
    assert wire.n_bad > 100
    for i in (a, b):
        i.close()
        assert i.counters()["rx_not_opened"] > 20


def forged_initiation(public, sender):
    """Type 1 with a right mac1 (which anyone can make who knows the public key) and nonsense inside."""
    msg = struct.pack("<II", 1, sender) + os.urandom(108)
    key = hashlib.blake2s(b"mac1----" + base64.b64decode(public)).digest()
    return msg + hashlib.blake2s(msg, key=key, digest_size=16).digest() + bytes(16)


def test_cookies_under_a_flood(world):
    """Forged initiations cost little, are answered with cookies, and who takes the cookie gets in."""
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    flood = world.right.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood.settimeout(0)
    messages = [forged_initiation(a.public, n) for n in range(2000)]
    stop = threading.Event()

    def run_flood():
        while not stop.is_set():
            for m in messages:
                flood.sendto(m, ("198.18.0.1", 5001))
    t = threading.Thread(target=run_flood)
    t.start()
    try:
        # What has keys goes on.
        p = world.left.run("ping", "-c", "100", "-i", "0.01", "-W", "2", "10.9.0.2")
        assert int(re.search(r"(\d+) received", p.stdout).group(1)) >= 80
        # A new handshake of theirs gets through by its cookie.
        b.set("peer", a.public, "remove")
        b.set("peer", a.public, "endpoint", "198.18.0.1:5001", "allowed-ips", "10.9.0.1/32")
        reaches(world.right, "10.9.0.1")
    finally:
        stop.set()
        t.join()
    cookies = 0
    try:
        while len(flood.recv(200)) == 64:
            cookies += 1
    except BlockingIOError:
        pass
    flood.close()
    assert cookies > 0
    a.close()
    n = a.counters()
    assert n["cookies_sent"] > 1000 and n["handshakes_denied"] > 0, n


def test_random_requests(world):
    """The configuration socket against nonsense: an errno each time, and it goes on."""
    i = world.interface(world.left, OURS, 1)
    rng = random.Random(3)
    keys = ["private_key", "listen_port", "fwmark", "replace_peers", "public_key", "remove", "update_only",
            "preshared_key", "endpoint", "persistent_keepalive_interval", "replace_allowed_ips", "allowed_ip",
            "protocol_version", "", "x"]
    values = ["true", "false", "", "0", "1", "-1", "65535", "65536", "99999999999999999999", "11" * 32, "00" * 32,
              "10.0.0.0/8", "10.0.0.0/99", "::/0", "-10.0.0.0/8", "1.2.3.4:5", "[::1]:5", "[fe80::1%lo]:9", "[::1%]:1",
              "=", "%s%n", "a" * 5000]
    for _ in range(400):
        lines = [f"{rng.choice(keys)}={rng.choice(values)}" for _ in range(rng.randrange(12))]
        if rng.random() < 0.1:
            lines.insert(0, rng.choice(values))
        # A port of another's, or one that may not be bound, is an answer as well.
        assert i.uapi("set=1\n" + "\n".join(lines) + "\n\n")[-1].startswith("errno=")
    assert i.uapi("get=1\n\n")[-1] == "errno=0"
    # Half a request, then the end; many connections at once.
    for n in range(40):
        s = socket.socket(socket.AF_UNIX)
        s.connect(i.socket_path)
        s.sendall(b"set=1\nprivate_key=" if n % 2 else b"\0" * n)
        s.close()
    assert i.uapi("get=1\n\n")[-1] == "errno=0"


# ---- configuration --------------------------------------------------------------------------------

def test_every_key_is_set_and_got(world):
    i = world.interface(world.left, OURS, 1)
    peer, psk = pubkey(genkey()), genkey()
    i.set("listen-port", "4242", "fwmark", "0x1234", "peer", peer, "preshared-key", "/dev/stdin", "endpoint",
          "[2001:db8::77]:1000", "persistent-keepalive", "25", "allowed-ips", "10.1.2.3/16,::/0", input=psk)
    i.up()
    port, mark, peers = i.dump()
    assert (port, mark) == (4242, "0x1234")
    p = peers[peer]
    assert p["psk"] == psk and p["endpoint"] == "[2001:db8::77]:1000" and p["keepalive"] == "25"
    assert sorted(p["allowed"].split(",")) == ["10.1.0.0/16", "::/0"]
    assert i.ns.run("wg", "show", i.name, "private-key").stdout.strip() == i.private
    i.set("peer", peer, "remove")
    assert i.dump()[2] == {}


def test_conf_files(world, tmp_path):
    i = world.interface(world.left, OURS, 1).up()
    keys = [pubkey(genkey()) for _ in range(3)]
    conf = tmp_path / "c.conf"

    def write(peers, port=6001):
        conf.write_text(f"[Interface]\nPrivateKey = {i.private}\nListenPort = {port}\n" + "".join(
            f"[Peer]\nPublicKey = {k}\nAllowedIPs = {ip}\n" for k, ip in peers))

    write([(keys[0], "10.1.0.0/16"), (keys[1], "10.2.0.0/16")])
    i.ns.run("wg", "setconf", i.name, str(conf))
    assert set(i.dump()[2]) == set(keys[:2])
    write([(keys[2], "10.3.0.0/16")])
    i.ns.run("wg", "addconf", i.name, str(conf))
    assert set(i.dump()[2]) == set(keys)
    write([(keys[0], "10.2.0.0/16"), (keys[2], "10.3.0.0/16")], port=6002)
    i.ns.run("wg", "syncconf", i.name, str(conf))
    port, _, peers = i.dump()
    assert port == 6002 and {k: p["allowed"] for k, p in peers.items()} == {
        keys[0]: "10.2.0.0/16", keys[2]: "10.3.0.0/16"}


@pytest.mark.parametrize("request_text, errno", [
    ("set=1\n\n", 0),
    ("set=1\nlisten_port=70000\n\n", -22),
    ("set=1\nlisten_port=x\n\n", -22),
    ("set=1\nprivate_key=00\n\n", -22),
    ("set=1\nnonsense=1\n\n", -22),
    ("set=1\nno equals sign\n\n", -71),
    ("set=1\nallowed_ip=10.0.0.0/8\n\n", -22),  # of no peer
    ("set=1\npublic_key=" + "zz" * 32 + "\n\n", -22),
    ("set=1\npublic_key=" + "11" * 32 + "\nallowed_ip=10.0.0.0/33\n\n", -22),
    ("set=1\npublic_key=" + "11" * 32 + "\nendpoint=nowhere\n\n", -22),
    ("set=1\npublic_key=" + "11" * 32 + "\npersistent_keepalive_interval=65536\n\n", -22),
    ("set=1\npublic_key=" + "11" * 32 + "\nprotocol_version=2\n\n", -22),
    ("set=1\npublic_key=" + "11" * 32 + "\nremove=maybe\n\n", -22),
    ("get=1\nlisten_port=1\n\n", -22),
])
def test_errno(world, request_text, errno):
    i = world.interface(world.left, OURS, 1)
    assert i.uapi(request_text)[-1] == f"errno={errno}"
    assert i.uapi("get=1\n\n")[-1] == "errno=0"


def test_update_only_and_own_key(world):
    i = world.interface(world.left, OURS, 1)
    k = "11" * 32
    assert i.uapi(f"set=1\npublic_key={k}\nupdate_only=true\nallowed_ip=10.0.0.0/8\n\n") == ["errno=0"]
    assert not any(line.startswith("public_key=") for line in i.uapi("get=1\n\n"))
    own = run("sh", "-c", f"echo {i.public} | base64 -d | xxd -p -c 32").stdout.strip()
    assert i.uapi(f"set=1\npublic_key={own}\nallowed_ip=10.0.0.0/8\n\n") == ["errno=0"]
    assert not any(line.startswith("public_key=") for line in i.uapi("get=1\n\n"))
    assert i.uapi(f"set=1\npublic_key={k}\n\n") == ["errno=0"]
    assert f"public_key={k}" in i.uapi("get=1\n\n")


def test_port_in_use(world):
    a = world.interface(world.left, OURS, 1, {"MVPN_WORKERS": "4"})
    b = world.interface(world.left, OURS, 2, {"MVPN_WORKERS": "4"})
    a.set("listen-port", "5001")
    a.up()
    wait_until(lambda: a.dump()[0] == 5001, "bound")
    b.up()
    wait_until(lambda: b.dump()[0] != 0, "a port of its own")
    assert b.uapi("set=1\nlisten_port=5001\n\n") == ["errno=-98"]
    # One that could not have its port when it came up takes the next that it is given.
    c = world.interface(world.left, OURS, 3)
    c.set("listen-port", "5001")
    c.up()
    assert c.uapi("set=1\nlisten_port=5001\n\n") == ["errno=-98"]
    c.set("listen-port", "5003")
    assert world.left.run("ss", "-Huln", "sport = :5003").stdout != ""


def test_thousands_of_peers(world, tmp_path):
    i = world.interface(world.left, OURS, 1, {"MVPN_WORKERS": "4"})
    n = 5000
    text = "set=1\n" + "".join(
        f"public_key={os.urandom(32).hex()}\nendpoint=198.18.0.2:{1 + k}\nallowed_ip=10.{k >> 8}.{k & 255}.0/24\n"
        f"allowed_ip=fd00:{k:x}::/64\n" for k in range(n))
    assert i.uapi(text + "\n")[-1] == "errno=0"
    _, _, peers = i.dump()
    assert len(peers) == n and all(p["allowed"].count(",") == 1 for p in peers.values())
    assert i.uapi("set=1\nreplace_peers=true\n\n")[-1] == "errno=0"
    assert i.dump()[2] == {}


# ---- life -------------------------------------------------------------------------------------------

def test_down_and_up(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    world.left.ip("link", "set", a.name, "down")
    wait_until(lambda: world.left.run("ss", "-Huln", "sport = :5001").stdout == "", "the port is given up")
    world.left.ip("link", "set", a.name, "up")
    reaches(world.left, "10.9.0.2")


def test_renamed_and_moved(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    world.left.ip("link", "set", a.name, "down")
    world.left.ip("link", "set", a.name, "name", "wgnew")
    world.left.ip("link", "set", "wgnew", "up")
    reaches(world.left, "10.9.0.2")
    def sockets():
        return world.left.run("ss", "-Huln", "sport = :5001").stdout != ""

    # Into another namespace: the UDP socket stays where it was made.
    inside = world.left.name + "i"
    run("ip", "netns", "add", inside)
    try:
        world.left.ip("link", "set", "wgnew", "netns", inside)
        run("ip", "-n", inside, "addr", "add", "10.9.0.1/24", "dev", "wgnew")
        run("ip", "-n", inside, "link", "set", "wgnew", "up")
        wait_until(lambda: run("ip", "netns", "exec", inside, "ping", "-c1", "-W1", "10.9.0.2",
                               check=False).returncode == 0, "reached from inside",
                   4)  # what was begun before it was seen to be up is begun anew, not after REKEY_TIMEOUT
        assert sockets()
        run("ip", "-n", inside, "link", "set", "wgnew", "down")
        wait_until(lambda: not sockets(), "it is seen to be down there")
        run("ip", "-n", inside, "link", "set", "wgnew", "up")
        wait_until(sockets, "it is seen to be up there")
        # Back, and away again.
        run("ip", "-n", inside, "link", "set", "wgnew", "netns", world.left.name)
        world.left.ip("addr", "add", "10.9.0.1/24", "dev", "wgnew")
        world.left.ip("link", "set", "wgnew", "up")
        reaches(world.left, "10.9.0.2")
        world.left.ip("link", "set", "wgnew", "down")
        wait_until(lambda: not sockets(), "it is seen to be down here")
        world.left.ip("link", "set", "wgnew", "netns", inside)
    finally:
        run("ip", "netns", "del", inside)
    assert a.process.wait(20) == 0, "it keeps no namespace alive, and ends with its interface"


def test_moved_to_where_it_may_not_look(world, tmp_path):
    """Without CAP_SYS_ADMIN no namespace can be entered: it is taken to be up there, and its end is seen."""
    weak = tmp_path / "weak"
    weak.write_text(f'#!/bin/sh\nexec setpriv --bounding-set -sys_admin {OURS} "$@"\n')
    weak.chmod(0o755)
    a, _ = world.pair(left=str(weak))
    reaches(world.left, "10.9.0.2")
    inside = world.left.name + "i"
    run("ip", "netns", "add", inside)
    try:
        world.left.ip("link", "set", a.name, "netns", inside)
        run("ip", "-n", inside, "addr", "add", "10.9.0.1/24", "dev", a.name)
        run("ip", "-n", inside, "link", "set", a.name, "up")
        wait_until(lambda: run("ip", "netns", "exec", inside, "ping", "-c1", "-W1", "10.9.0.2",
                               check=False).returncode == 0, "reached from inside")
    finally:
        run("ip", "netns", "del", inside)
    assert a.process.wait(20) == 0


def test_ends_with_its_interface(world):
    i = world.interface(world.left, OURS, 1).up()
    world.left.ip("link", "del", i.name)
    assert i.process.wait(20) == 0
    assert not os.path.exists(i.socket_path)


def test_ends_with_its_socket(world):
    i = world.interface(world.left, OURS, 1).up()
    os.unlink(i.socket_path)
    assert i.process.wait(20) == 0
    assert not i.there()


def test_into_the_background(world):
    name = f"w{os.getpid()}bg"[:15]
    p = world.left.run(OURS, name, env={k: v for k, v in os.environ.items() if k != "LOG_LEVEL"}, timeout=30)
    assert p.stdout == "" and p.stderr == ""
    try:
        assert world.left.ip("link", "show", name).returncode == 0
        assert world.left.run("wg", "show", "interfaces").stdout.split().count(name) == 1
        # A second one for the same interface says what is wrong.
        again = world.left.run(OURS, "-f", name, check=False, timeout=30)
        assert again.returncode == 1 and name in again.stderr
    finally:
        world.left.ip("link", "del", name)
    wait_until(lambda: not os.path.exists(f"/var/run/wireguard/{name}.sock"), "it is gone")


def test_usage():
    assert subprocess.run([OURS], capture_output=True).returncode == 1
    assert b"INTERFACE-NAME" in subprocess.run([OURS, "-x"], capture_output=True).stderr
    assert subprocess.run([OURS, "--version"], capture_output=True).stdout.startswith(b"mvpn-tunnel ")


# ---- time -----------------------------------------------------------------------------------------------

SPEED = 60  # REKEY_AFTER_TIME is two seconds then


def pings_by_a_fast_clock(world):
    """What ping said of 800 pings from left to right, and how many times 120 s of our clock they took."""
    start = time.monotonic()
    p = world.left.run("ping", "-c", "800", "-i", "0.01", "-W", "2", "-q", "10.9.0.2")
    return p.stdout, (time.monotonic() - start) * SPEED / 120


def test_rekeys_under_traffic(world):
    """Our clock runs sixty times as fast as theirs: keys are renewed every 120 s of it, more than three
    times, and no packet is lost for that."""
    a, b = world.pair(env={"LD_PRELOAD": f"{TOOLS}/fast_clock.so", "TEST_CLOCK_SPEED": str(SPEED)})
    reaches(world.left, "10.9.0.2")
    capture = Capture(world.right, "wire")
    said, intervals = pings_by_a_fast_clock(world)
    assert " 0% packet loss" in said, said
    begun = [u for u in map(udp_of, capture.frames()) if u and u[5][0] == 1]
    capture.close()
    assert {u[3] for u in begun} == {5001}, "who began renews"
    assert 3 <= len(begun) <= intervals + 1, (len(begun), intervals)
    a.close()
    assert a.counters()["tx_no_keys"] == 0 and a.counters()["rx_not_opened"] == 0


def test_who_did_not_begin_renews_in_time(world):
    """They began, and their clock is slow: when their keys are too old for us we ask for new ones."""
    a, b = world.pair(env={"LD_PRELOAD": f"{TOOLS}/fast_clock.so", "TEST_CLOCK_SPEED": str(SPEED)})
    reaches(world.right, "10.9.0.1")
    capture = Capture(world.right, "wire")
    said, intervals = pings_by_a_fast_clock(world)
    assert int(re.search(r"(\d+) received", said).group(1)) >= 790, said
    begun = [u for u in map(udp_of, capture.frames()) if u and u[3] == 5001 and u[5][0] == 1]
    assert 3 <= len(begun) <= intervals + 2, (len(begun), intervals)
    capture.close()


def test_our_cookies_open_their_door(world):
    """Theirs is flooded, answers our initiation with a cookie, and lets us in with it."""
    a, b = world.pair()
    world.right.ip("route", "add", "10.64.0.0/10", "via", "198.18.0.1")
    world.left.ip("route", "add", "blackhole", "10.64.0.0/10")
    capture = Capture(world.left, "wire")
    with subprocess.Popen(["ip", "netns", "exec", world.left.name, f"{TOOLS}/flood", "198.18.0.2", "5002",
                           base64.b64decode(b.public).hex(), "20000"], stdout=subprocess.PIPE) as flood:
        try:
            # Under load it answers with cookies only.
            wait_until(lambda: any(u and u[3] == 5002 and u[5][0] == 3 for u in map(udp_of, capture.frames())),
                       "it is under load")
            a.set("peer", b.public, "persistent-keepalive", "1")
            wait_until(lambda: any(u and u[3] == 5002 and u[4] == 5001 and u[5][0] == 3
                                   for u in map(udp_of, capture.frames())), "our cookie")
            wait_until(lambda: a.peer(b)["handshake"] != "0", "we are let in")
        finally:
            flood.terminate()
    capture.close()
    reaches(world.left, "10.9.0.2")
