# SPDX-License-Identifier: GPL-2.0-or-later
"""What a drop-in for wireguard-go must do beside speaking its protocol."""
import base64
import itertools
import os
import random
import re
import socket
import struct
import subprocess

import pytest

from world import (OURS, THEIRS, Capture, World, datagrams, genkey, ping, pubkey, reaches, run, transfer, udp_of,
                   wait_until)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")
MIB = 1 << 20


@pytest.fixture
def world():
    w = World()
    yield w
    w.close()


# ---- environment -------------------------------------------------------------------------------------

@pytest.mark.parametrize("flags", [0, 0x4000, 0x0100], ids=["plain", "vnet", "multi-queue"])
def test_descriptors_are_taken_over(world, flags):
    a, b = world.pair(handed=flags, mtu=None)
    assert a.process.poll() is None, "WG_PROCESS_FOREGROUND"
    assert "mtu 1420" in a.link()
    reaches(world.left, "10.9.0.2")
    datagrams(world.left, world.right, "10.9.0.2", [0, 1200, 4000, 60000])
    transfer(world.left, world.right, "10.9.0.2", 5 * MIB)
    transfer(world.right, world.left, "fd09::1", 5 * MIB)
    os.unlink(a.socket_path)
    assert a.process.wait(20) == 0
    assert not a.there()


@pytest.mark.parametrize("env", [{"WG_TUN_FD": "x"}, {"WG_TUN_FD": "0"}, {"WG_TUN_FD": "77"}, {"WG_UAPI_FD": "x"},
                                 {"WG_UAPI_FD": "0"}, {"WG_UAPI_FD": "77"}], ids=str)
def test_descriptors_that_are_none(world, env):
    p = world.left.run(OURS, "-f", "wgnone", env={**os.environ, **env}, check=False, stdin=subprocess.DEVNULL)
    assert p.returncode == 1 and "wgnone" in p.stderr
    assert world.left.ip("link", "show", "wgnone", check=False).returncode != 0


@pytest.mark.parametrize("level, says_error, says_more", [
    ("verbose", True, True), ("debug", True, True), ("error", True, False), ("", True, False), ("silent", False, False)])
def test_log_level(world, level, says_error, says_more):
    holder = world.interface(world.left, THEIRS, 1)
    holder.set("listen-port", "5001")
    holder.up()
    wait_until(lambda: world.left.run("ss", "-Huln", "sport = :5001").stdout, "it has the port")
    i = world.interface(world.left, OURS, 2, log=level)
    i.set("listen-port", "5001")
    i.up()
    i.uapi("get=1\n\n")  # answered after the news that it is up
    i.close()
    assert ("port cannot be bound" in i.log()) == says_error
    assert ("worker 0" in i.log()) == says_more
    assert level != "silent" or i.log() == ""


@pytest.mark.parametrize("flags", [[], ["multi_queue"], ["vnet_hdr"], ["pi"]], ids=" ".join)
def test_a_device_that_is_there_already(world, flags):
    """Made by `ip tuntap`, perhaps long ago: taken as it is; it stays up, and stays when we end."""
    world.left.ip("tuntap", "add", "wgthere", "mode", "tun", *flags)
    world.left.ip("link", "set", "wgthere", "up")
    a = world.interface(world.left, OURS, 1, {"MVPN_WORKERS": "2"}, name="wgthere")
    assert "UP" in a.link() and "mtu 1420" in a.link()
    b = world.interface(world.right, THEIRS, 2)
    a.set("listen-port", "5001", "peer", b.public, "allowed-ips", "10.9.0.2/32")
    b.set("peer", a.public, "endpoint", "198.18.0.1:5001", "allowed-ips", "10.9.0.1/32")
    b.up()
    reaches(world.right, "10.9.0.1")
    a.close()
    assert "UP" in a.link()


def test_a_second_one_of_the_same_name_does_no_harm(world):
    a, _ = world.pair(mtu=1380, env={"MVPN_WORKERS": "2"})
    reaches(world.left, "10.9.0.2")
    with subprocess.Popen(["ip", "netns", "exec", world.left.name, "ping", "-q", "-i", "0.01", "-c", "200", "10.9.0.2"],
                          stdout=subprocess.PIPE, text=True) as traffic:
        for _ in range(20):
            p = world.left.run(OURS, "-f", a.name, check=False, timeout=30, env={**os.environ, "MVPN_WORKERS": "2"})
            assert p.returncode == 1 and a.name in p.stderr
        assert "200 received" in traffic.communicate()[0]
    assert "UP" in a.link() and "mtu 1380" in a.link()


def test_one_begins_where_another_is_just_ending(world):
    for where in range(2):
        i = world.interface(world.left, OURS, 1)
        if where:
            world.left.ip("link", "set", i.name, "netns", world.right.name)
        else:
            i.up()
        (world.right if where else world.left).ip("link", "del", i.name)
        world.interface(world.left, OURS, 1, name=i.name)
        assert i.process.wait(20) == 0


def test_what_was_killed_begins_again(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    a.process.kill()
    a.process.wait()
    assert os.path.exists(a.socket_path) and not a.there()
    again = world.interface(world.left, OURS, 1, name=a.name)
    again.set("listen-port", "5001", "peer", b.public, "endpoint", "198.18.0.2:5002", "allowed-ips", "10.9.0.2/32")
    b.set("peer", again.public, "allowed-ips", "10.9.0.1/32")
    again.up()
    reaches(world.left, "10.9.0.2")


def test_arguments():
    for argv in ([], ["-f"], ["--foreground"], ["wg0", "wg1"], ["-x", "wg0"], ["n" * 16], [""]):
        p = subprocess.run([OURS, *argv], capture_output=True, text=True)
        assert p.returncode == 1 and "usage:" in p.stderr, argv


# ---- the configuration socket, beside wireguard-go's ----------------------------------------------------

def canonical(lines):
    """The answer to get=1 without what time and machine decide: device lines, and each peer's, sorted."""
    device, peers = [], []
    for line in lines:
        if line.startswith("public_key="):
            peers.append([line])
        elif not re.match(r"errno=|last_handshake|[rt]x_bytes", line):
            (peers[-1] if peers else device).append(line)
    return sorted(device), sorted(sorted(p) for p in peers)


def test_requests_are_answered_as_by_wireguard_go(world):
    """Keys of a section in wg's order: in others wireguard-go forgets what was said before update_only."""
    rng = random.Random(7)
    ours, theirs = world.interface(world.left, OURS, 1), world.interface(world.right, THEIRS, 1)
    private = [os.urandom(32) for _ in range(3)]
    publics = [base64.b64decode(pubkey(base64.b64encode(k).decode())).hex() for k in private]
    publics += [os.urandom(32).hex() for _ in range(6)]
    of_device = {
        "private_key": [k.hex() for k in private] + ["00" * 32, "11" * 31, "zz" * 32, ""],
        "listen_port": ["5001", "5002", "65536", "-1", "x"],
        "fwmark": ["0", "7", "4294967295", "4294967296", "x"],
        "replace_peers": ["true", "true", "false", ""],
        "nonsense": ["1"],
    }
    of_peer = {
        "remove": ["true", "false"],
        "update_only": ["true", "x"],
        "preshared_key": [os.urandom(32).hex(), "00" * 32, "11"],
        "endpoint": ["192.0.2.1:51820", "[2001:db8::1]:51820", "192.0.2.1", "nowhere:1", "192.0.2.1:65536", ""],
        "persistent_keepalive_interval": ["0", "25", "65535", "65536", "off"],
        "replace_allowed_ips": ["true", "false"],
        "allowed_ip": ["10.0.0.0/8", "10.1.2.3/8", "10.1.0.0/16", "0.0.0.0/0", "::/0", "2001:db8::/32", "10.0.0.0/33",
                       "10.0.0.0", "x/8"],
        "protocol_version": ["1", "2"],
        "listen_port": ["1"],
    }
    for i in (ours, theirs):
        i.uapi(f"set=1\nprivate_key={private[0].hex()}\nlisten_port=5001\n\n")
    good, history = 0, []
    for step in range(400):
        # One mistake ends a request: mostly none, so that the rest of it matters.
        lines = [f"{k}={rng.choice(v[:3 if k == 'private_key' else 2])}" for k, v in of_device.items()
                 if k != "nonsense" and rng.random() < 0.3]
        for _ in range(rng.randrange(4)):
            lines.append(f"public_key={rng.choice(publics)}")
            keys = [k for k in of_peer if k != "listen_port" and rng.random() < (0.1 if k == "remove" else 0.4)]
            keys = keys[:1] if keys[:1] == ["remove"] else keys
            lines += [f"{k}={rng.choice(of_peer[k][:1 if of_peer[k][0] in ('true', '1') else 2])}" for k in keys]
        if rng.random() < 0.4:
            values = rng.choice([of_device, of_peer])
            key = rng.choice([k for k in values if k not in ("remove", "update_only")])
            lines.append(f"{key}={rng.choice(values[key])}")
        request = "set=1\n" + "".join(line + "\n" for line in lines) + "\n"
        answers = ours.uapi(request)[-1], theirs.uapi(request)[-1]
        assert answers[0] == answers[1], (step, request, answers)
        good += answers[0] == "errno=0"
        if answers[0] != "errno=0":  # how much of it was done is not promised
            for i in (ours, theirs):
                i.uapi("set=1\nfwmark=0\nlisten_port=5001\nreplace_peers=true\n\n")
        states = canonical(ours.uapi("get=1\n\n")), canonical(theirs.uapi("get=1\n\n"))
        history.append(request)
        assert states[0] == states[1], "\n".join(history[-3:])
    assert 150 < good < 390, good


def said(i, data):
    """All that comes back when that was said and no more will be, until the end."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(20)
        s.connect(i.socket_path)
        s.sendall(data)
        s.shutdown(socket.SHUT_WR)
        got = b""
        while more := s.recv(65536):
            got += more
    return got


def test_whatever_is_said_on_the_socket(world):
    """Not only requests: what ends a connection, and what an end ends."""
    pair = world.interface(world.left, OURS, 1), world.interface(world.right, THEIRS, 1)
    peer = b"public_key=" + b"22" * 32
    whole = [peer, peer + b"\nallowed_ip=10.0.0.0/8", b"fwmark=7", b"fwmark=", b"fwmark=0x7", b"fwmark=+7", b"fwmark=007",
             b"listen_port=", b"listen_port=+1", b"private_key=", b"private_key=" + b"aB" * 32,
             b"private_key=" + b"ab" * 33, b"replace_peers", b"replace_peers=True", b"", b"=", b"=x", b" fwmark=7",
             b"FWMARK=7", b"fwmark=7=7", b"errno=0", b"last_handshake_time_sec=1",
             peer + b"\nremove=true\nallowed_ip=x", peer + b"\nallowed_ip=10.0.0.0/8\nremove=true\n" + peer,
             peer + b"\npreshared_key=" + b"aB" * 32, *(peer + b"\nallowed_ip=" + x for x in (
                 b"+10.0.0.0/8", b"10.0.0.0/08", b"10.0.0.0/", b"/8", b"010.0.0.0/8", b"10/8", b"::ffff:10.1.2.3/100",
                 b"::/129", b"fe80::1%lo/64", b"2001:DB8::/32", b" ::/0", b"::/0 ")),
             *(peer + b"\nendpoint=" + x for x in (
                 b"192.0.2.1:0", b"192.0.2.1:", b"192.0.2.1:007", b"192.0.2.1:+7", b":7", b"0.0.0.0:7", b"192.0.2:7",
                 b"01.0.2.1:7", b"[192.0.2.1]:7", b"::1:7", b"[::1]", b"[::ffff:192.0.2.1]:7", b"[fe80::1%]:7",
                 b"[fe80::1%nosuch]:7", b"[2001:DB8::A]:7", b"192.0.2.1%lo:7", b"localhost:7", b"192.0.2.1:7 "))]
    cases = [b"", b"\n", b"\n\n", b"get", b"get=1", b"get=1\n", b"get=1\n\n", b"get=1\nx=1\n\n", b"get=1\n\nget=1\n\n",
             b"get=2\n\n", b"hello\n\n", b"get=1\n\nhello\n\nget=1\n\n", b"set=1", b"set=1\n", b"set=1\n\n", b"set=1\n\n\n",
             b"set=2\n\n", b"set=1\nfwmark=7\n", b"set=1\nfwmark=x\n",
             *(b"set=1\n" + x + b"\n\n" for x in whole)]
    for case in cases:
        for i in pair:
            i.uapi("set=1\nprivate_key=" + "51" * 32 + "\nlisten_port=5001\nfwmark=0\nreplace_peers=true\n\n")
        answers = [[canonical(part.split("\n")) + tuple(re.findall("errno=.*", part))
                    for part in said(i, case).decode().split("\n\n")] for i in pair]
        assert answers[0] == answers[1], case
        if "errno=-" not in str(answers):  # how much of a refused request was done is not promised
            assert canonical(pair[0].uapi("get=1\n\n")) == canonical(pair[1].uapi("get=1\n\n")), case


def test_hundreds_of_connections(world):
    """All that say nothing for long, and one more: it is heard."""
    i = world.interface(world.left, OURS, 1)
    silent = [socket.socket(socket.AF_UNIX) for _ in range(600)]
    try:
        for s in silent:
            s.connect(i.socket_path)
        assert i.dump()[0] == 0
        for s in silent[-200:]:
            s.settimeout(20)
            s.sendall(b"get=1\n\n")
            assert s.recv(4096).endswith(b"errno=0\n\n")
    finally:
        for s in silent:
            s.close()


def test_who_does_not_read_holds_up_nobody(world):
    i = world.interface(world.left, OURS, 1).up()
    i.uapi("set=1\n" + "".join(f"public_key={os.urandom(32).hex()}\n" for _ in range(2000)) + "\n")
    n = 30
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(i.socket_path)
        s.sendall(b"get=1\n\n" * n)
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as other:
                other.settimeout(3)
                other.connect(i.socket_path)
                other.sendall(b"set=1\n\n")
                assert other.recv(100) == b"errno=0\n\n"
        # It reads after all: all is there.
        s.settimeout(20)
        got = b""
        while got.count(b"errno=0\n\n") < n:
            more = s.recv(1 << 20)
            assert more
            got += more
        assert got.count(b"public_key=") == 2000 * n


def test_peers_that_are_set_again_are_the_same(world, tmp_path):
    """A whole configuration over itself: keys come back at once, perhaps in another worker."""
    a, b = world.pair(env={"MVPN_WORKERS": "2"})
    for n in range(4):
        a.set("peer", pubkey(genkey()), "endpoint", "198.18.0.2:9", "allowed-ips", f"10.10.{n}.0/24")
    conf = tmp_path / "c.conf"
    for _ in range(3):
        head, *peers = a.ns.run("wg", "showconf", a.name).stdout.split("[Peer]")
        conf.write_text("[Peer]".join([head, *peers[1:], peers[0]]))  # others come first: others' workers are free
        a.ns.run("wg", "setconf", a.name, str(conf))
        assert all(p["endpoint"] != "(none)" for p in a.dump()[2].values())
    reaches(world.left, "10.9.0.2")


# ---- keys are forgotten ---------------------------------------------------------------------------------

PAGE = 4096


def memory_of(pid):
    """All that the process can write and has touched, in pieces: pages that are there, as they lie together."""
    with (open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/pagemap", "rb") as pagemap,
          open(f"/proc/{pid}/mem", "rb", buffering=0) as mem):
        for line in maps:
            where, mode = line.split()[:2]
            if "w" not in mode:
                continue
            begin, end = (int(x, 16) for x in where.split("-"))
            pagemap.seek(begin // PAGE * 8)
            there = [n >> 62 for n, in struct.iter_unpack("<Q", pagemap.read((end - begin) // PAGE * 8))]
            for is_there, pages in itertools.groupby(range(len(there)), key=lambda i: there[i] > 0):
                pages = list(pages)
                if is_there:
                    mem.seek(begin + pages[0] * PAGE)
                    yield mem.read(len(pages) * PAGE)


def forms(key):
    """The key and halves of it, as bytes, hex and base64."""
    clamped = bytes([key[0] & 248]) + key[1:31] + bytes([key[31] & 127 | 64])
    return [key[:16], key[16:], clamped[16:], key.hex().encode()[:32], key.hex().encode()[32:]]


def test_keys_leave_no_trace(world):
    a, b = world.pair(psk=True)
    reaches(world.left, "10.9.0.2")
    psk = base64.b64decode(a.peer(b)["psk"])
    secrets = {"private key": forms(base64.b64decode(a.private)), "preshared key": forms(psk)}
    pid = world.left.run("sh", "-c", f"pgrep -f -x 'ip netns exec {world.left.name} {OURS} -f {a.name}|{OURS} -f {a.name}'"
                         ).stdout.split()[-1]

    def found():
        out = set()
        for piece in memory_of(pid):
            out |= {name for name, all_ in secrets.items() for f in all_ if f in piece}
        return out

    assert found() == set(secrets), "they are there while they are used: the search works"
    for _ in range(3):
        a.uapi("get=1\n\n")
    a.set("peer", b.public, "remove")
    assert found() == {"private key"}
    a.uapi("set=1\nprivate_key=" + "00" * 32 + "\n\n")
    assert found() == set()


# ---- marks, ports, MTU ----------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_fwmark(world, family):
    a, b = world.pair(family=family)
    world.left.run("nft", "-f", "-", input="table inet t { chain c { type filter hook output priority 0; "
                   "udp dport 5002 meta mark != 0x77 drop; }; }")
    assert not ping(world.left, "10.9.0.2")
    a.set("fwmark", "0x77")
    reaches(world.left, "10.9.0.2")
    a.set("listen-port", "5011")  # new sockets have it too
    reaches(world.left, "10.9.0.2")
    a.set("fwmark", "off")
    wait_until(lambda: not ping(world.left, "10.9.0.2"), "unmarked packets are refused")
    a.set("fwmark", "0x77")
    reaches(world.left, "10.9.0.2")


def test_listen_port_changes_under_way(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    for port in ("5011", "0", "5001"):
        a.set("listen-port", port)
        now = a.dump()[0]
        assert now == int(port) or port == "0" and now != 0
        reaches(world.left, "10.9.0.2")
        assert b.peer(a)["endpoint"] == f"198.18.0.1:{now}"
        assert world.left.run("ss", "-Huln", f"sport = :{now}").stdout.count("\n") >= 2  # both families


def test_mtu_changes_under_way(world):
    a, b = world.pair()
    reaches(world.left, "10.9.0.2")
    capture = Capture(world.right, "wire")
    for mtu in (1000, 1421, 576, 9000, 65000, 1420):
        for i in (a, b):
            i.ns.ip("link", "set", i.name, "mtu", str(mtu))
        datagrams(world.left, world.right, "10.9.0.2", [0, mtu - 29, mtu - 28, mtu - 27, 1500, 9001, 30000])
        transfer(world.left, world.right, "10.9.0.2", MIB)
    # Padding does not go beyond the MTU: 1 + 28 bytes less than 1420 stay what they are.
    capture.frames()
    datagrams(world.left, world.right, "10.9.0.2", [1420 - 28 - 1])
    sizes = {len(u[5]) for u in map(udp_of, capture.frames()) if u and u[4] == 5002 and u[5][0] == 4}
    capture.close()
    assert max(sizes) == 1420 + 32, sizes


@pytest.mark.parametrize("family", [4, 6])
def test_path_mtu_is_left_alone(world, family):
    """A path that takes less than the interface says: packets are cut on the way, not refused, and the
    source address stays the one that was spoken to."""
    a, b = world.pair(family=family)
    stuck = {4: "198.18.0.77", 6: "2001:db8::77"}[family]
    world.left.ip("addr", "add", stuck + {4: "/24", 6: "/64"}[family], "dev", "wire", *(["nodad"] if family == 6 else []))
    endpoint = {4: f"{stuck}:5001", 6: f"[{stuck}]:5001"}[family]
    b.set("peer", a.public, "endpoint", endpoint)
    reaches(world.right, "10.9.0.1")
    for ns in (world.left, world.right):
        ns.ip("link", "set", "wire", "mtu", "1300")
    capture = Capture(world.right, "wire")
    reaches(world.left, "10.9.0.2")
    datagrams(world.left, world.right, "10.9.0.2", [0, 1200, 1392, 4000, 60000])
    transfer(world.left, world.right, "10.9.0.2", 2 * MIB)
    transfer(world.right, world.left, "fd09::1", 2 * MIB)
    assert b.peer(a)["endpoint"] == endpoint
    sent = [u for u in map(udp_of, capture.frames()) if u and u[3] == 5001]
    capture.close()
    assert sent and all(u[2] for u in sent), "Don't Fragment is set"


# ---- TOS and ECN ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("outer", [4, 6])
@pytest.mark.parametrize("inner", ["10.9.0.2", "fd09::2"])
def test_tos_and_ecn(world, outer, inner):
    """RFC 6040: ECN is told outside and inside, the rest of TOS stays where it is."""
    a, b = world.pair(OURS, OURS, family=outer)
    wire = Capture(world.right, "wire")
    reaches(world.left, inner)
    first = [u for u in map(udp_of, wire.frames()) if u and u[5][0] in (1, 2)]
    assert {u[1] for u in first} == {0x88}, "handshakes are marked AF41"
    inside = Capture(world.right, b.name, link=False)

    def seen(tos):
        wire.frames(), inside.frames()
        assert ping_tos(world.left, inner, tos)
        out = {u[1] for u in map(udp_of, wire.frames()) if u and u[3] == 5001 and u[5][0] == 4 and len(u[5]) > 100}
        got = [p for p in inside.frames()
               if (p[0] >> 4 == 4 and p[9] == 1 and p[20] == 8) or (p[0] >> 4 == 6 and p[6] == 58 and p[40] == 128)]
        return out, {p[1] if p[0] >> 4 == 4 else (p[0] & 15) << 4 | p[1] >> 4 for p in got}

    for ecn in range(4):
        assert seen(0xB8 | ecn) == ({ecn}, {0xB8 | ecn})
    # A router on the way marks everything.
    world.left.run("nft", "-f", "-", input="table inet t { chain c { type filter hook output priority 0; "
                   "udp dport 5002 ip ecn set ce; udp dport 5002 ip6 ecn set ce; }; }")
    for ecn in range(4):
        assert seen(0x20 | ecn) == ({3}, {0x20 if ecn == 0 else 0x23})
    wire.close()
    inside.close()


def ping_tos(ns, address, tos):
    return ns.run("ping", "-c1", "-W5", "-Q", str(tos), "-s", "200", address, check=False).returncode == 0


# ---- 2^16 peers --------------------------------------------------------------------------------------------

def resident_kb(tunnel):
    with open(f"/proc/{tunnel.process.pid}/status", encoding="ascii") as f:
        return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1))


def test_65536_peers(world):
    a, b = world.pair(env={"MVPN_WORKERS": "2"})
    reaches(world.left, "10.9.0.2")
    before = resident_kb(a)
    n = 65535
    keys = [os.urandom(32).hex() for _ in range(n + 1)]
    text = "set=1\n" + "".join(
        f"public_key={keys[k]}\nendpoint=198.18.0.2:{1 + k % 60000}\nallowed_ip=10.{128 | k >> 9 & 127}.{k >> 1 & 255}."
        f"{k << 7 & 255}/25\nallowed_ip=fd00:{k:x}::/64\n" for k in range(n))
    assert a.uapi(text + "\n")[-1] == "errno=0"
    after = resident_kb(a)
    print(f"{(after - before) / n:.2f} KiB for each idle peer")
    # The session, and the prefixes as each of two workers and the main thread has them.
    assert after - before < 3 * (n + 1)
    _, _, peers = a.dump()
    assert len(peers) == n + 1 and sum(p["allowed"].count(",") == 1 for p in peers.values()) == n + 1
    # One more is refused, and nothing is broken by it.
    assert a.uapi(f"set=1\npublic_key={keys[n]}\n\n")[-1] == "errno=-22"
    reaches(world.left, "10.9.0.2")
    transfer(world.left, world.right, "10.9.0.2", 5 * MIB)
    assert a.uapi(f"set=1\npublic_key={keys[5]}\nremove=true\npublic_key={keys[n]}\n\n")[-1] == "errno=0"
    assert a.uapi("set=1\nreplace_peers=true\n\n")[-1] == "errno=0"
    assert a.dump()[2] == {}


# ---- memory ------------------------------------------------------------------------------------------------

def test_what_the_start_took_is_let_go(world):
    a, _ = world.pair(env={"MVPN_WORKERS": "2"})
    reaches(world.left, "10.9.0.2")
    assert resident_kb(a) < 12 << 10
