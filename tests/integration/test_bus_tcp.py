# SPDX-License-Identifier: GPL-2.0-or-later
"""The bus over TCP: five services with keys find each other; whoever lacks the one key gets nothing."""
import json
import os
import random
import socket
import subprocess

import nacl.public
import pytest
import zmq
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

from test_bus_hostile import BIN, SENDERS, hello
from waiting import wait_until

ROLES = ["none", "tunnel", "discovery", "router", "ledger", "gateway"]  # in the order of lib/sys/bus.h
SERVICES = sorted(SENDERS)  # those that run without privileges


def free_ports(n):
    """The first of n TCP ports that nobody has."""
    while True:
        first = random.randint(20000, 60000)
        try:
            for i in range(n):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", first + i))
            return first
        except OSError:
            continue


def section(port, roles=ROLES[1:]):
    return "\n[bus]\n" + "".join(f"{r} = 127.0.0.1\n" for r in roles) + f"port = {port}\n"


class Node:
    """A folder whose services speak TCP."""

    def __init__(self, tmp):
        self.dir = str(tmp)
        self.processes = {}
        self.port = free_ports(len(ROLES) ** 2)
        subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "init", "--name", "t"], check=True, capture_output=True)
        self.ini = open(f"{self.dir}/node.ini").read().replace("port = 8787", "port = 0")
        self.write(section(self.port))

    def write(self, bus):
        with open(f"{self.dir}/node.ini", "w") as f:
            f.write(self.ini + bus)

    def start(self, service):
        with open(f"{self.dir}/{service}.log", "w") as log:
            self.processes[service] = subprocess.Popen([f"{BIN}/mvpn-{service}", "--dir", self.dir], stderr=log)
        wait_until(lambda: self.ctl(service) is not None, what=f"{service} answers")

    def ctl(self, service):
        p = subprocess.run([f"{BIN}/{service}ctl", "--dir", self.dir, "--json", "show", "bus"],
                           capture_output=True, text=True)
        return json.loads(p.stdout) if p.returncode == 0 else None

    def counter(self, service, name):
        return self.ctl(service)["bus"][0][name]

    def key(self, role, half="key"):
        with open(f"{self.dir}/keys/bus-{role}.{half}") as f:
            return bytes.fromhex(f.read())

    def address(self, receiver, sender):
        return f"tcp://127.0.0.1:{self.port + ROLES.index(receiver) * len(ROLES) + ROLES.index(sender)}"

    def refusal(self, service):
        """How a service that does not start says why."""
        p = subprocess.Popen([f"{BIN}/mvpn-{service}", "--dir", self.dir], stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: p.poll() is not None, what=f"{service} ends")
        finally:
            p.kill()
            said = p.communicate()[1]
        assert p.returncode == 1
        return said

    def end(self):
        for p in self.processes.values():
            p.terminate()
        return {s: p.wait() for s, p in self.processes.items()}


@pytest.fixture
def node(tmp_path):
    n = Node(tmp_path)
    yield n
    assert set(n.end().values()) <= {0, -9}


@pytest.fixture
def ctx():
    c = zmq.Context()
    yield c
    c.destroy(linger=0)


def attempt(ctx, node, receiver, sender, secret, server=None):
    """A sender with this key (None: without); its socket, once it was let in ("in") or not ("out")."""
    s = ctx.socket(zmq.PUSH)
    s.linger = 0
    s.immediate = True  # nothing waits for a connection
    s.reconnect_ivl = -1  # once
    monitor = s.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
    if secret is not None:
        s.curve_secretkey = z85.encode(secret)
        s.curve_publickey = z85.encode(bytes(nacl.public.PrivateKey(secret).public_key))
        s.curve_serverkey = z85.encode(server or node.key(receiver, "pub"))
    s.connect(node.address(receiver, sender))
    event = recv_monitor_message(monitor)["event"]
    s.disable_monitor()
    return s, "in" if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else "out"


def test_five_services_find_each_other(node):
    for service in SERVICES:
        node.start(service)
    for service in SERVICES:
        others = {r for r in SERVICES if service in SENDERS[r]}
        wait_until(lambda: others <= {x["to"] for x in node.ctl(service)["links"] if x["up"]},
                   what=f"{service}: the links to {others}")
        assert node.ctl(service)["bus"][0]["over"] == "tcp"
        assert node.counter(service, "key_refused") == 0
    assert not [f for f in os.listdir(f"{node.dir}/run") if f.partition(".")[2] in ROLES], "no socket in the folder"


def test_a_link_returns_with_its_service(node):
    for service in ("gateway", "router"):
        node.start(service)
    up = lambda: [x["up"] for x in node.ctl("gateway")["links"] if x["to"] == "router"] == [True]
    wait_until(up, what="the link")
    node.processes["router"].kill()
    node.processes["router"].wait()
    wait_until(lambda: not up(), what="the link is missed")
    node.start("router")
    wait_until(up, what="the link is back")


def test_a_refused_sender_tries_again(node):
    """The router was given another gateway's key; once it has the true one the gateway need not be restarted."""
    public = f"{node.dir}/keys/bus-gateway.pub"
    with open(public) as f:
        true = f.read()
    with open(public, "w") as f:
        f.write(bytes(nacl.public.PrivateKey.generate().public_key).hex())
    node.start("router")
    with open(public, "w") as f:
        f.write(true)
    node.start("gateway")
    wait_until(lambda: node.counter("router", "key_refused") > 1, what="it was refused more than once")
    with open(f"{node.dir}/gateway.log") as f:
        assert f.read().count("router refuses this service's key") == 1
    node.processes["router"].terminate()
    node.processes["router"].wait()
    node.start("router")
    for a, b in (("gateway", "router"), ("router", "gateway")):
        wait_until(lambda: [x["up"] for x in node.ctl(a)["links"] if x["to"] == b] == [True], what=f"{a} to {b}")


@pytest.mark.parametrize("receiver", SERVICES)
def test_each_inbox_takes_its_senders_key_alone(node, ctx, receiver):
    node.start(receiver)
    sender = SENDERS[receiver][0]
    wrong = [None, os.urandom(32)] + [node.key(r) for r in ROLES[1:] if r != sender]
    for secret in wrong:
        s, where = attempt(ctx, node, receiver, sender, secret)
        assert where == "out"
        with pytest.raises(zmq.Again):  # nothing is connected that could take it
            s.send(hello(1), zmq.DONTWAIT)
    before = node.counter(receiver, "key_refused")
    assert before >= len(wrong) - 1  # without CURVE nobody is even asked about a key
    assert node.counter(receiver, "bad_role") == 0
    s, where = attempt(ctx, node, receiver, sender, node.key(sender))
    assert where == "in"
    s.send(b"")  # a message that says nothing: taken, counted
    wait_until(lambda: node.counter(receiver, "bad_role") == 1, what="what the right key says is heard")
    assert node.counter(receiver, "key_refused") == before


def test_a_receiver_with_another_key_is_told_nothing(node, ctx):
    """Whoever took the router's address: the gateway speaks to the router's key alone."""
    node.start("gateway")
    false_router = ctx.socket(zmq.PULL)
    false_router.linger = 0
    false_router.curve_server = True
    false_router.curve_secretkey = z85.encode(os.urandom(32))
    monitor = false_router.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
    false_router.bind(node.address("router", "gateway"))
    assert recv_monitor_message(monitor)["event"] != zmq.EVENT_HANDSHAKE_SUCCEEDED
    false_router.disable_monitor()
    assert not [x for x in node.ctl("gateway")["links"] if x["up"]]


def test_a_role_without_an_inbox_for_it_has_no_port(node):
    node.start("ledger")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(node.address("ledger", "router").rpartition(":")[2])))


@pytest.mark.parametrize("service", SERVICES)
def test_no_keys_no_start(node, service):
    for missing in (f"bus-{service}.key", "bus-tunnel.pub"):
        kept = open(f"{node.dir}/keys/{missing}").read()
        os.unlink(f"{node.dir}/keys/{missing}")
        assert f"keys/{missing}" in node.refusal(service)
        assert "mvpn init" in node.refusal(service)
        with os.fdopen(os.open(f"{node.dir}/keys/{missing}", os.O_WRONLY | os.O_CREAT, 0o600), "w") as f:
            f.write(kept)
    os.chmod(f"{node.dir}/keys/bus-{service}.key", 0o644)
    assert "may be read by others" in node.refusal(service)


def test_half_a_bus_is_refused(node):
    node.write(section(node.port, [r for r in ROLES[1:] if r != "ledger"]))
    assert "[bus] ledger" in node.refusal("router")


def test_init_keeps_keys_and_makes_lost_ones(node):
    before = {r: node.key(r) for r in ROLES[1:]}
    os.unlink(f"{node.dir}/keys/bus-ledger.key")
    subprocess.run([f"{BIN}/mvpn", "--dir", node.dir, "init"], check=True, capture_output=True)
    for r in ROLES[1:]:
        assert (node.key(r) == before[r]) == (r != "ledger")
        assert node.key(r, "pub") == bytes(nacl.public.PrivateKey(node.key(r)).public_key)
