# SPDX-License-Identifier: GPL-2.0-or-later
"""Real discovery processes on a network that this test plays: their tunnels, ledgers, gateways, routers.

     node 0 (bootstrap)   node 1   ...   node 5 (relays)      node 6 (client)
        |                   |              |                    |
     mvpn-discovery      mvpn-discovery  ...                 mvpn-discovery
        |  bus              |              |                    |
     =====================  this program: carries SendPeerRequest to PeerAsked, AnswerPeer
                            to PeerAnswered, and reads what the routers are told

The bus and the descriptor are spoken by a second implementation here (pyzmq, protobuf, PyNaCl).
"""
import importlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import nacl.bindings
import nacl.exceptions
import nacl.signing
import pytest
import zmq

from inbox import inbox
from waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin"))
# A service is not dumpable, so the leak checker of a sanitizer build cannot look into it.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")
N_RELAYS = 6
DESCRIPTOR_SIZE = 328
ERR_TIMEOUT = -7


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("pb"))
    names = ["types", "tunnel", "discovery", "router", "gateway"]
    subprocess.run(["protoc", "-I", f"{ROOT}/proto", "--python_out", out]
                   + [f"{ROOT}/proto/{n}.proto" for n in names], check=True)
    sys.path.insert(0, out)
    modules = {n: importlib.import_module(f"{n}_pb2") for n in names}
    sys.path.remove(out)
    return modules


def descriptor_parse(b):
    """The layout as lib/descriptor.h documents it, checked with another Ed25519."""
    assert len(b) == DESCRIPTOR_SIZE
    nacl.signing.VerifyKey(b[4:36]).verify(b"mvpn descriptor v1" + b[:264], b[264:])
    seq, not_before, expires = struct.unpack("<QQQ", b[220:244])
    return {"node": b[4:36], "wg_pk": b[36:68], "roles": b[1], "seq": seq, "not_before": not_before,
            "expires": expires, "name": b[108:132].rstrip(b"\0").decode(), "ip4": socket.inet_ntoa(b[68:72])}


def descriptor_sign(sk_seed, **changes):
    key = nacl.signing.SigningKey(sk_seed)
    now = int(time.time())
    f = {"roles": 1, "wg_pk": os.urandom(32), "ip4": "198.18.77.1", "port": 51820, "seq": now,
         "not_before": now, "expires": now + 86400, "name": b""} | changes
    b = bytearray(264)
    b[0], b[1] = 1, f["roles"]
    b[4:36] = bytes(key.verify_key)
    b[36:68] = f["wg_pk"]
    b[68:72] = socket.inet_aton(f["ip4"])
    b[72:74] = struct.pack("<H", f["port"])
    b[108:108 + len(f["name"])] = f["name"]
    b[220:244] = struct.pack("<QQQ", f["seq"], f["not_before"], f["expires"])
    return bytes(b) + key.sign(b"mvpn descriptor v1" + bytes(b)).signature


class Link:
    """One role of a node's bus that this test plays towards its discovery."""

    def __init__(self, net, node, role, in_cls):
        self.net, self.node, self.role, self.in_cls = net, node, role, in_cls
        self.pull = net.ctx.socket(zmq.PULL)
        if in_cls is not None:
            self.pull.bind(inbox(node.dir, role, "discovery"))
            net.register(self.pull, self)
        self.push = net.ctx.socket(zmq.PUSH) if role != "router" else None
        self.instance = int.from_bytes(os.urandom(7), "little")
        if self.push is not None:
            self.push.setsockopt(zmq.LINGER, 0)
            self.push.setsockopt(zmq.RECONNECT_IVL, 20)
            self.push.setsockopt(zmq.IMMEDIATE, 1)
            self.push.connect(inbox(node.dir, "discovery", role))

    def hello(self, answer=False):
        m = self.net.pb["discovery"].DiscoveryIn()
        m.hello.instance, m.hello.version, m.hello.answer = self.instance, 1, answer
        self.send(m)

    def send(self, m):
        try:
            self.push.send(m.SerializeToString(), zmq.DONTWAIT)
        except zmq.Again:
            pass  # discovery is down: what it is owed is said again when it greets us

    def read(self):
        m = self.in_cls()
        m.ParseFromString(self.pull.recv())
        if m.WhichOneof("body") == "hello":
            if self.push is not None and not m.hello.answer:
                self.hello(answer=True)
            self.node.greeted(self.role)
        else:
            getattr(self.node, f"on_{m.WhichOneof('body')}")(m)

    def close(self):
        self.net.forget(self.pull)
        self.pull.close(0)
        if self.push is not None:
            self.push.close(0)


class Node:
    def __init__(self, net, i, boots, share):
        self.net, self.i, self.share = net, i, share
        self.dir = f"{net.tmp}/n{i}"
        self.ip = f"198.18.{i}.1"
        out = subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "init", "--name", f"n{i}"],
                             check=True, capture_output=True, text=True).stdout
        words = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
        self.id, self.wg_pk = bytes.fromhex(words["node_id"]), bytes.fromhex(words["wg_pk"])
        with open(f"{self.dir}/node.ini", "w") as f:
            f.write(f"[node]\nname = n{i}\ntest_network = yes\n[tunnel]\nport = 51820\npublic4 = {self.ip}\n"
                    "[discovery]\n" + "".join(f"bootstrap = {b.word()}\n" for b in boots))
        os.makedirs(f"{self.dir}/run", mode=0o700, exist_ok=True)
        self.relays, self.complete, self.state, self.done = {}, False, None, []
        self.requests = {}
        self.links = {}
        pb = net.pb
        for role, cls in [("tunnel", pb["tunnel"].TunnelIn), ("router", pb["router"].RouterIn),
                          ("gateway", pb["gateway"].GatewayIn), ("ledger", None)]:
            self.links[role] = Link(net, self, role, cls)
        self.process = None

    def word(self):
        return f"{self.id.hex()}@{self.wg_pk.hex()}@{self.ip}:51820"

    def start(self):
        self.log = open(f"{self.dir}/log", "a")
        self.process = subprocess.Popen([f"{BIN}/mvpn-discovery", "--dir", self.dir], stderr=self.log)
        self.net.wait(lambda: self.ctl("status")["discovery"], f"discovery {self.i} answers")
        for link in self.links.values():
            if link.push is not None:
                self.net.wait(lambda l=link: l.push.poll(0, zmq.POLLOUT), "the bus link")
                link.hello()
        self.greeted("ledger")

    def ctl(self, *words):
        import json
        p = subprocess.run([f"{BIN}/discoveryctl", "--dir", self.dir, "--json", *words],
                           capture_output=True, text=True)
        return json.loads(p.stdout) if p.returncode == 0 else {"discovery": None}

    def status(self):
        return self.ctl("status")["discovery"][0]

    def counters(self, table="counters"):
        return {r["counter"]: r["n"] for r in self.ctl("show", "counters")[table]}

    # what this node's other services say when they are greeted
    def greeted(self, role):
        m = self.net.pb["discovery"].DiscoveryIn()
        if role == "tunnel":
            m.listening.wg_pk, m.listening.port = self.wg_pk, 51820
            m.listening.relay, m.listening.exit4 = self.share, self.share
            m.listening.policy_digest = bytes(32)
        elif role == "ledger":
            m.terms.free_bytes = 1 << 20
        elif role == "gateway":
            m.id = 7
            m.settings.share = self.share
            m.settings.share_exit = self.share and self.i % 2 == 0
        else:
            self.relays, self.complete = {}, False  # router: a snapshot begins
            return
        self.links[role].send(m)

    # from discovery to tunnel
    def on_send_peer_request(self, m):
        self.net.carry(self, m)

    def on_answer_peer(self, m):
        self.net.carry_back(self, m)

    # to router
    def on_relay_learned(self, m):
        d = descriptor_parse(m.relay_learned.descriptor)  # raises if the signature is not good
        assert d["expires"] > time.time()
        self.relays[d["node"]] = d

    def on_relay_gone(self, m):
        self.relays.pop(m.relay_gone.node_id, None)

    def on_directory_complete(self, m):
        self.complete = True

    # to gateway
    def on_directory_state(self, m):
        self.state = m.directory_state

    def on_done(self, m):
        self.done.append((m.re, m.done.err))

    def stop(self, how=signal.SIGTERM):
        if self.process is None:
            return 0
        self.process.send_signal(how)
        self.net.wait(lambda: self.process.poll() is not None, "discovery ends")
        code, self.process = self.process.returncode, None
        self.log.close()
        return code

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        for link in self.links.values():
            link.close()


class Net:
    def __init__(self, tmp, pb):
        self.tmp, self.pb = tmp, pb
        self.ctx, self.poller, self.links = zmq.Context(), zmq.Poller(), {}
        self.nodes, self.waiting, self.next_request = [], {}, 1
        self.outsiders = {}  # (wg_pk, ip4) -> function(payload) -> payload: nodes that the test plays whole

    def register(self, sock, link):
        self.links[sock] = link
        self.poller.register(sock, zmq.POLLIN)

    def forget(self, sock):
        if self.links.pop(sock, None) is not None:
            self.poller.unregister(sock)

    def pump(self, ms=20):
        for sock, _ in self.poller.poll(ms):
            link = self.links.get(sock)
            if link is not None:
                link.read()

    def wait(self, condition, what, patience=60):
        def look():
            self.pump()
            return condition()
        return wait_until(look, what, patience, step=0)

    # the tunnels and what is between them
    def carry(self, from_node, m):
        spr = m.send_peer_request
        key = (spr.node.wg_pk, socket.inet_ntoa(spr.node.ip4))
        if key in self.outsiders:
            self.answer(from_node, m.id, 0, self.outsiders[key](spr.payload))
            return
        for n in self.nodes:
            if (n.wg_pk, n.ip) == key and n.process is not None:
                request, self.next_request = self.next_request, self.next_request + 1
                self.waiting[request] = (from_node, m.id)
                self.ask(n, 1000 + from_node.i, request, spr.payload)
                return
        self.answer(from_node, m.id, ERR_TIMEOUT, b"")

    def ask(self, node, session, request, payload):
        q = self.pb["discovery"].DiscoveryIn()
        q.peer_asked.session, q.peer_asked.request, q.peer_asked.payload = session, request, payload
        node.links["tunnel"].send(q)

    def carry_back(self, from_node, m):
        to = self.waiting.pop(m.answer_peer.request, None)
        if to is not None:
            self.answer(to[0], to[1], 0, m.answer_peer.payload)

    def answer(self, node, re, err, payload):
        a = self.pb["discovery"].DiscoveryIn()
        a.re, a.peer_answered.err, a.peer_answered.payload = re, err, payload
        node.links["tunnel"].send(a)

    def add(self, boots, share=True):
        n = Node(self, len(self.nodes), boots, share)
        self.nodes.append(n)
        n.start()
        return n

    def relays_up(self):
        return [n for n in self.nodes if n.process is not None and n.share]

    def full_view(self):
        return all(set(n.relays) == {r.id for r in self.relays_up() if r is not n} and n.complete
                   for n in self.nodes if n.process is not None)

    def close(self):
        for n in self.nodes:
            n.close()
        self.ctx.destroy(0)


@pytest.fixture
def net(tmp_path_factory, pb):
    # Socket paths hold 107 characters: a short folder.
    import tempfile
    with tempfile.TemporaryDirectory(prefix="dsc") as tmp:
        n = Net(tmp, pb)
        yield n
        n.close()


def grown(net):
    boot = net.add([])
    for _ in range(N_RELAYS - 1):
        net.add([boot])
    net.add([boot], share=False)
    net.wait(net.full_view, "every router holds all the others")
    return boot


def test_full_view_restart_and_end(net):
    grown(net)
    client = net.nodes[-1]

    # a client publishes nothing, a relay says that it is out; settings are answered
    net.wait(lambda: all(r.state and r.state.published for r in net.relays_up()), "all are published")
    assert not client.state.published and client.status()["mode"] == "client"
    net.wait(lambda: (client.state.n_relays, client.state.n_exits) == (N_RELAYS, N_RELAYS // 2), "its page knows")
    assert all((7, 0) in n.done for n in net.nodes)
    for n in net.nodes:
        assert client.id not in n.relays

    # kill -9: back with the whole view at once from its own memory, with a higher number
    victim = net.nodes[2]
    before = net.nodes[3].relays[victim.id]["seq"]
    net.wait(lambda: os.path.exists(f"{victim.dir}/state/discovery/relays")
             and os.path.getsize(f"{victim.dir}/state/discovery/relays") == 22 + (N_RELAYS - 1) * DESCRIPTOR_SIZE,
             "its memory is on disk")
    victim.stop(signal.SIGKILL)
    victim.start()
    net.wait(net.full_view, "the view after kill -9", patience=20)
    net.wait(lambda: all(n.relays[victim.id]["seq"] > before for n in net.relays_up() if n is not victim),
             "its new descriptor is at every relay", patience=30)

    # orderly end: gone from the relays within seconds
    leaver = net.nodes[4]
    assert leaver.stop() == 0
    net.wait(lambda: all(leaver.id not in n.relays for n in net.relays_up()), "the leaver is forgotten", patience=30)

    # share off: the descriptor is withdrawn; a client hears of both with its next comparison
    back = net.nodes[3]
    back.share = False
    back.greeted("gateway")
    net.wait(net.full_view, "who shares no more is forgotten", patience=100)
    assert back.status()["mode"] == "client" and not back.status()["signed"]


def test_memory_serves_as_bootstrap(net):
    boot = grown(net)
    client = net.nodes[-1]
    net.wait(lambda: os.path.exists(f"{client.dir}/state/discovery/relays"), "memory on disk")
    client.stop()
    boot.stop()  # the only configured bootstrap is no more
    net.wait(net.full_view, "the bootstrap is forgotten", patience=100)
    client.start()
    net.wait(net.full_view, "a full view without the bootstrap", patience=100)


def varint(n):
    out = b""
    while True:
        out += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
        n >>= 7
        if n == 0:
            return out


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def offer(*records):
    return field(4, b"".join(field(1, r) for r in records))


def greeted(record):
    return field(1, field(1, record))


def test_hostile_peers(net):
    grown(net)
    target = net.nodes[1]
    known = dict(target.relays)
    now = int(time.time())
    seed = bytes(range(32))
    good = descriptor_sign(seed)
    request = iter(range(10**6, 10**7))

    def push(*records):
        net.ask(target, 99, next(request), offer(*records))

    refused = target.counters("refused")
    push(good[:250] + b"\xff" + good[251:])                            # a reserved byte
    push(good[:-1] + bytes([good[-1] ^ 1]))                            # signature
    push(descriptor_sign(seed, not_before=now - 90000, expires=now - 10))  # ran out
    push(descriptor_sign(seed, not_before=now + 4000, expires=now + 5000))  # not yet
    push(descriptor_sign(seed, expires=now + 200000))                  # lives too long
    push(descriptor_sign(seed, ip4="10.0.0.1"))                        # nobody's address
    push(descriptor_sign(seed, expires=now, not_before=now))           # tombstone of nobody
    push(descriptor_sign(seed, wg_pk=target.wg_pk))                    # names our key
    net.ask(target, 99, next(request), b"")
    net.ask(target, 99, next(request), b"\xff" * 1100)
    net.ask(target, 99, next(request), offer(good[:-1]))
    net.wait(lambda: target.counters()["queries_malformed"] == 3, "malformed ones are counted")
    after = target.counters("refused")
    grew = {k: after[k] - refused[k] for k in after if after[k] != refused[k]}
    assert grew == {"malformed": 1, "signature": 1, "date": 3, "address": 1,
                    "tombstone_of_unknown": 1, "own_key": 1}, grew
    assert len(target.ctl("show", "relays", "--all")["relays"]) == N_RELAYS

    # Signed and in date, but nobody is there: heard, never told to a router, never passed on.
    push(good)
    net.wait(lambda: target.status()["heard"] == 1, "heard")
    net.wait(lambda: target.ctl("show", "relay", good[4:36].hex())["standing"][0]["failed"] > 0, "tried in vain")

    # It names the key and place of a real relay: that one answers, with its own name.
    victim = net.nodes[2]
    push(descriptor_sign(b"m" * 32, wg_pk=victim.wg_pk, ip4=victim.ip))
    net.wait(lambda: target.counters()["misnamed"] == 1, "unmasked")
    assert victim.id in target.relays

    # One that does answer is taken, and known everywhere soon; then it equivocates.
    wg = os.urandom(32)
    real = descriptor_sign(b"r" * 32, wg_pk=wg, ip4="198.18.200.1")
    net.outsiders[(wg, "198.18.200.1")] = lambda payload: greeted(real)
    push(real)
    net.wait(lambda: all(real[4:36] in n.relays for n in net.nodes), "the newcomer is known", patience=100)
    twin = descriptor_sign(b"r" * 32, wg_pk=wg, ip4="198.18.200.1", name=b"twin",
                           seq=struct.unpack("<Q", real[220:228])[0])
    push(twin)
    net.wait(lambda: all(real[4:36] not in n.relays for n in net.nodes), "banned by all, the client too", patience=120)
    assert target.status()["banned"] == 1
    banned = target.counters("refused")["banned"]
    push(real)
    net.wait(lambda: target.counters("refused")["banned"] > banned, "and stays out")
    assert {k: v["seq"] for k, v in target.relays.items()} == {k: v["seq"] for k, v in known.items()}


def test_hostile_bus(net):
    n = net.add([])
    tunnel, gateway = n.links["tunnel"], n.links["gateway"]
    net.wait(lambda: n.status()["signed"], "a descriptor is signed")
    m = net.pb["discovery"].DiscoveryIn()
    m.listening.wg_pk, m.listening.port, m.listening.relay = n.wg_pk, 70000, True
    tunnel.send(m)  # no such port
    m.listening.port, m.listening.policy_digest = 51820, b"short"
    tunnel.send(m)
    gateway.send(m)  # not its to say
    gateway.push.send(b"\xff" * 70000)
    for re in (0, 1, 2**63):  # answers to what was never asked
        net.answer(n, re, 0, b"x")
    net.answer(n, 5, 77777, b"")
    net.wait(lambda: n.counters()["answers_late"] == 4 and n.counters()["messages_refused"] == 2, "all are counted")
    assert n.status()["signed"]


def settings_refused(tmp, ini):
    d = f"{tmp}/bad"
    subprocess.run([f"{BIN}/mvpn", "--dir", d, "init", "--name", "x"], check=True, capture_output=True)
    with open(f"{d}/node.ini", "w") as f:
        f.write(ini)
    p = subprocess.run([f"{BIN}/mvpn-discovery", "--dir", d], capture_output=True, text=True, timeout=20)
    assert p.returncode == 1, p
    return p.stderr


@pytest.mark.parametrize("ini, words", [
    ("[discovery]\nbootstrap = abc\n", "bootstrap, entry 1"),
    ("[discovery]\nbootstrap = %s@%s@192.0.2.1\n" % ("0" * 64, "0" * 64), "bootstrap, entry 1"),
    ("[discovery]\nboostrap = x\n", "did you mean 'bootstrap'"),
    ("[discovery]\ncountry = xy\n", "two capital letters"),
    ("[node]\nname = \xe4\n", "printable ASCII"),
    ("[node]\ngeo = /nowhere/geo.csv\n", "geo"),
    ("[tunnel]\npublic4 = 300.1.1.1\n", "public4"),
    ("[discovery]\nrelays_per_prefix = -1\n", "relays_per_prefix"),
])
def test_bad_settings_are_said(tmp_path, ini, words):
    assert words in settings_refused(tmp_path, ini)
