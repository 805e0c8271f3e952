# SPDX-License-Identifier: GPL-2.0-or-later
"""Every service against a bus that lies: garbage, oversize, the wrong role, another version.

Python speaks the bus here as a second implementation of it (pyzmq, no generated code: the bytes are
written by hand, so that they can be wrong in every way).
"""
import json
import os
import random
import subprocess

import pytest
import zmq

from inbox import inbox
from waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin"))

# receiver: the roles that have a socket to it
SENDERS = {
    "discovery": ["tunnel", "ledger", "gateway"],
    "router": ["gateway", "discovery", "tunnel", "ledger"],
    "ledger": ["tunnel", "gateway"],
    "gateway": ["router", "ledger", "discovery", "tunnel"],
}


def varint(n):
    out = b""
    while True:
        out += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
        n >>= 7
        if n == 0:
            return out


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def hello(instance, version=1):
    return field(4, varint(1 << 3) + varint(instance) + varint(2 << 3) + varint(version))


class Node:
    """One service alone in a folder of its own."""

    def __init__(self, tmp, service):
        self.dir = str(tmp)
        self.service = service
        subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "init", "--name", "t"], check=True, capture_output=True)
        # A gateway of the machine's own may hold the usual port.
        ini = open(f"{self.dir}/node.ini").read().replace("port = 8787", f"port = {random.randint(20000, 60000)}")
        with open(f"{self.dir}/node.ini", "w") as f:
            f.write(ini)
        self.log = open(f"{self.dir}/log", "w")
        self.process = subprocess.Popen([f"{BIN}/mvpn-{service}", "--dir", self.dir], stderr=self.log)
        wait_until(lambda: self.ctl("show", "bus") is not None, what=f"{service} answers")

    def ctl(self, *words):
        p = subprocess.run([f"{BIN}/{self.service}ctl", "--dir", self.dir, "--json", *words],
                           capture_output=True, text=True)
        return json.loads(p.stdout) if p.returncode == 0 else None

    def counters(self):
        return self.ctl("show", "bus")["bus"][0]

    def sender(self, ctx, role):
        s = ctx.socket(zmq.PUSH)
        s.linger = 1000
        s.connect(inbox(self.dir, self.service, role))
        return s

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def end(self):
        self.process.terminate()
        code = self.process.wait(20)
        self.log.close()
        return code


@pytest.fixture(params=sorted(SENDERS))
def node(request, tmp_path_factory):
    n = Node(tmp_path_factory.mktemp(request.param[0]), request.param)
    yield n
    if n.process.poll() is None:
        assert n.end() == 0, open(f"{n.dir}/log").read()


@pytest.fixture
def ctx():
    c = zmq.Context()
    yield c
    c.destroy(linger=0)


def test_garbage_is_counted_and_costs_nothing(node, ctx):
    rng = random.Random(1)
    s = node.sender(ctx, SENDERS[node.service][0])
    s.send(hello(1))
    before, rss = node.counters(), node.rss_kb()
    n = 1000
    for _ in range(n):
        s.send(b"\xff" + rng.randbytes(rng.randint(0, 300)))  # field number 31, wire type 7: never valid
    wait_until(lambda: node.counters()["bad_message"] >= before["bad_message"] + n, what="all were counted")
    assert node.rss_kb() < rss + 8192
    assert node.process.poll() is None


def test_mutated_messages_do_not_crash(node, ctx):
    rng = random.Random(2)
    s = node.sender(ctx, SENDERS[node.service][0])
    s.send(hello(2))
    for _ in range(1000):
        body = rng.randbytes(rng.randint(0, 80))
        m = bytearray(varint(1 << 3) + varint(rng.getrandbits(40)) + field(rng.randint(4, 24), body))
        for _ in range(rng.randint(0, 3)):
            m[rng.randrange(len(m))] ^= 1 << rng.randrange(8)
        s.send(bytes(m))
    c = node.counters
    wait_until(lambda: c()["bad_message"] + c()["bad_role"] + c()["received"] + c()["version_refused"] > 700,
               what="they were read")
    assert node.process.poll() is None


def test_oversize_is_refused_whole(node, ctx):
    s = node.sender(ctx, SENDERS[node.service][0])
    s.send(hello(3))
    before = node.counters()["bad_message"]
    s.send(field(30, bytes(65536)))  # an unknown field, well-formed, too long
    s.send_multipart([hello(3), b"more"])
    wait_until(lambda: node.counters()["bad_message"] == before + 2, what="both refused")
    s.send(field(30, bytes(1000)))  # short enough: decodes to no body, counted as such
    wait_until(lambda: node.counters()["bad_role"] >= 1, what="an empty message is refused")


def test_another_version_is_shut_out(node, ctx):
    s = node.sender(ctx, SENDERS[node.service][0])
    s.send(hello(4, version=99))
    wait_until(lambda: node.counters()["version_refused"] >= 1, what="version refused")
    assert "bus version 99" in open(f"{node.dir}/log").read()


def test_a_role_outside_the_table_has_no_socket(node):
    run = f"{node.dir}/run"
    for role in ("tunnel", "discovery", "router", "ledger", "gateway"):
        inbox_there = os.path.exists(f"{run}/{node.service}.{role}/inbox")
        assert inbox_there == (role in SENDERS[node.service])
    for folder in [run] + [f"{run}/{node.service}.{role}" for role in SENDERS[node.service]]:
        assert os.stat(folder).st_mode & 0o777 == 0o700


def test_only_one_process_per_folder(node):
    p = subprocess.run([f"{BIN}/mvpn-{node.service}", "--dir", node.dir], capture_output=True, text=True, timeout=60)
    assert p.returncode == 1
    assert "already runs" in p.stderr
    assert node.counters() is not None


@pytest.mark.parametrize("service", sorted(SENDERS) + ["tunnel"])
def test_bad_configuration_says_what_to_do(service, tmp_path):
    d = str(tmp_path / "n")
    subprocess.run([f"{BIN}/mvpn", "--dir", d, "init"], check=True, capture_output=True)
    args = [f"{BIN}/mvpn-{service}", "--dir", d, "--check"]
    assert subprocess.run(args, capture_output=True).returncode == 0
    for text, words in (("[node\n", "line 1"), (f"[{service}]\nfrobnicate = 1\n", "has no key 'frobnicate'"),
                        ("[tunel]\nmtu = 1\n", "did you mean [tunnel]?"),
                        ("junk\n", "neither [section] nor key"), ("[node]\0", "zero byte")):
        with open(f"{d}/node.ini", "w") as f:
            f.write(text)
        p = subprocess.run(args, capture_output=True, text=True)
        assert p.returncode == 1
        assert words in p.stderr, p.stderr
    os.unlink(f"{d}/node.ini")
    p = subprocess.run(args, capture_output=True, text=True)
    assert p.returncode == 1 and "mvpn init" in p.stderr
    assert subprocess.run(args + ["--frobnicate"], capture_output=True).returncode == 2


@pytest.mark.parametrize("line, words", [
    ("pool4 = 10.0.0.0/8", "pool4"), ("pool4 = 100.64.0.0/32", "pool4"), ("pool6 = 2001:db8::/64", "pool6"),
    ("public4 = 2001:db8::1", "public4: not an IPv4"), ("resolver6 = 192.0.2.1", "resolver6: not an IPv6"),
    ("aead = rot13", "aead 'rot13'"), ("own = bogus", "own: 'bogus'"), ("peers = bogus", "peers: key 1")])
def test_a_tunnel_that_cannot_be_names_the_key(line, words, tmp_path):
    d = str(tmp_path / "n")
    subprocess.run([f"{BIN}/mvpn", "--dir", d, "init"], check=True, capture_output=True)
    with open(f"{d}/node.ini", "w") as f:
        f.write(f"[tunnel]\n{line}\n")
    p = subprocess.run([f"{BIN}/mvpn-tunnel", "--dir", d], capture_output=True, text=True)
    assert p.returncode == 1
    assert words in p.stderr, p.stderr


def test_keys_that_others_may_read_are_refused(tmp_path):
    d = str(tmp_path / "n")
    subprocess.run([f"{BIN}/mvpn", "--dir", d, "init"], check=True, capture_output=True)
    for service, key in (("discovery", "identity.key"), ("ledger", "wallet.key")):
        os.chmod(f"{d}/keys/{key}", 0o644)
        p = subprocess.run([f"{BIN}/mvpn-{service}", "--dir", d], capture_output=True, text=True, timeout=60)
        assert p.returncode == 1 and "chmod 600" in p.stderr
        os.chmod(f"{d}/keys/{key}", 0o600)
        with open(f"{d}/keys/{key}", "w") as f:
            f.write("not a key\n")
        p = subprocess.run([f"{BIN}/mvpn-{service}", "--dir", d], capture_output=True, text=True, timeout=60)
        assert p.returncode == 1 and "hexadecimal" in p.stderr
