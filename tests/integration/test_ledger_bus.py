# SPDX-License-Identifier: GPL-2.0-or-later
"""Real ledgers of a client and of relays; this test plays everything around them.

     mvpn-ledger (client)      mvpn-ledger (relay 0)     mvpn-ledger (relay 1)
            |  bus                    |  bus                    |
     =================  this program: the tunnels (sessions, byte counters, credit,
                        requests carried across, with losses), gateways, routers, discoveries

It is a second implementation of the bus, of the ticket's wire form, of what a ticket is worth and of
the credit that must follow; every answer of a relay is held against it.
"""
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import time

import nacl.signing
import pytest
import zmq

from inbox import inbox
from waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin"))
MIB = 1 << 20
GIB = 1 << 30
FREE = 256 << 10
PRICE = 1234567  # gwei per GiB
ERR_TIMEOUT = -7
# The leak sanitizer attaches to its own process, which the services refuse.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0")


@pytest.fixture(scope="session")
def pb(tmp_path_factory):
    out = str(tmp_path_factory.mktemp("pb"))
    names = ["types", "tunnel", "discovery", "router", "gateway", "ledger", "peer_ledger"]
    subprocess.run(["protoc", "-I", f"{ROOT}/proto", "--python_out", out]
                   + [f"{ROOT}/proto/{n}.proto" for n in names], check=True)
    sys.path.insert(0, out)
    modules = {n: importlib.import_module(f"{n}_pb2") for n in names}
    sys.path.remove(out)
    return modules


def ticket_worth(wire, price):
    """Bytes that a ticket buys: floor(floor(face (ratio + 1) / 2^64) 2^30 / price)."""
    face = int.from_bytes(wire[20:36], "big")
    ratio = int.from_bytes(wire[36:44], "big")
    return (face * (ratio + 1) >> 64) * GIB // (price * 10**9)


def ticket_seq(wire):
    return int.from_bytes(wire[44:52], "big")


def descriptor_sign(payee, price, free=FREE):
    """A relay's signed descriptor as lib/descriptor.h lays it out; only the terms matter here."""
    key = nacl.signing.SigningKey(os.urandom(32))
    now = int(time.time())
    b = bytearray(264)
    b[0], b[1] = 1, 1
    b[4:36] = bytes(key.verify_key)
    b[132:156] = b"".join(p.to_bytes(8, "little") for p in (price, price, price))
    b[156:164] = free.to_bytes(8, "little")
    b[168:188] = payee
    b[220:244] = b"".join(n.to_bytes(8, "little") for n in (1, now, now + 86400))
    return bytes(b) + key.sign(b"mvpn descriptor v1" + bytes(b)).signature


class Link:
    """One role of a node that this test plays towards its ledger."""

    def __init__(self, node, role, in_cls, speaks):
        self.node, self.role, self.in_cls = node, role, in_cls
        self.pull = node.net.ctx.socket(zmq.PULL)
        self.pull.bind(inbox(node.dir, role, "ledger"))
        self.push, self.greeting, self.greeted = None, False, False
        self.instance = random.getrandbits(60)
        if speaks:
            self.push = node.net.ctx.socket(zmq.PUSH)
            for option, value in ((zmq.LINGER, 0), (zmq.RECONNECT_IVL, 20), (zmq.IMMEDIATE, 1)):
                self.push.setsockopt(option, value)
            self.push.connect(inbox(node.dir, "ledger", role))

    def send(self, m):
        try:
            self.push.send(m.SerializeToString(), zmq.DONTWAIT)
            return True
        except zmq.Again:
            return False  # the ledger is down: what it is owed is said again when it greets

    def greet(self):
        """Once our own link is up as well: Hello, then the snapshot."""
        m = self.node.net.pb["ledger"].LedgerIn()
        m.hello.instance, m.hello.version = self.instance, 1
        if self.send(m):
            self.greeting, self.greeted = False, True
            self.node.greeted(self.role)

    def read(self):
        m = self.in_cls()
        m.ParseFromString(self.pull.recv())
        if m.WhichOneof("body") != "hello":
            self.node.on(self.role, m)
            return
        self.greeting = self.push is not None and not m.hello.answer


class Node:
    def __init__(self, net, name, tmp, ini=""):
        self.net, self.name, self.dir = net, name, str(tmp)
        subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "init", "--name", name], check=True, capture_output=True)
        text = open(f"{self.dir}/node.ini").read().replace("backend = none\n", "backend = none\n" + ini)
        with open(f"{self.dir}/node.ini", "w") as f:
            f.write(text)
        os.makedirs(f"{self.dir}/run", mode=0o700, exist_ok=True)
        pb = net.pb
        self.links = {
            "tunnel": Link(self, "tunnel", pb["tunnel"].TunnelIn, True),
            "gateway": Link(self, "gateway", pb["gateway"].GatewayIn, True),
            "router": Link(self, "router", pb["router"].RouterIn, False),
            "discovery": Link(self, "discovery", pb["discovery"].DiscoveryIn, False),
        }
        for link in self.links.values():
            net.poller.register(link.pull, zmq.POLLIN)
            net.by_socket[link.pull] = link
        self.sessions = {}  # number -> Session; on a relay, and on the client
        self.allowance = self.terms = self.wallet = None
        self.troubles, self.done = [], []
        self.process = None
        self.log = open(f"{self.dir}/log", "a")

    def start(self):
        self.process = subprocess.Popen([f"{BIN}/mvpn-ledger", "--dir", self.dir], stderr=self.log)

    def kill(self):
        for link in self.links.values():
            link.greeted = False
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def ctl(self, *words, ok=True):
        p = subprocess.run([f"{BIN}/ledgerctl", "--dir", self.dir, "--json", *words], capture_output=True, text=True)
        assert not ok or p.returncode == 0, p.stdout + p.stderr
        return (json.loads(p.stdout) if p.stdout else {}), p.returncode

    def counters(self, side):
        return {c["what"]: c["n"] for c in self.ctl("show", "counters")[0]["counters"] if c["side"] == side}

    def shown(self, session):
        rows = self.ctl("show", "sessions")[0].get("sessions", [])
        return next((r for r in rows if r["session"] == f"{session:016x}"), None)

    def order(self, **settings):
        m = self.net.pb["ledger"].LedgerIn(id=random.getrandbits(40))
        for k, v in settings.items():
            setattr(m.settings, k, v)
        m.settings.SetInParent()
        link = self.links["gateway"]
        self.net.until(lambda: link.greeted and link.send(m), "the gateway can speak")
        self.net.until(lambda: any(d.re == m.id for d in self.done), "settings are answered")
        return next(d.done for d in self.done if d.re == m.id)

    # What its ledger says.
    def greeted(self, role):
        if role != "tunnel":
            return
        for s in self.sessions.values():
            s.tell(self)
        m = self.net.pb["ledger"].LedgerIn()
        m.sessions_complete.n_sessions = len(self.sessions)
        self.links["tunnel"].send(m)
        self.net.repeat(self)

    def on(self, role, m):
        kind = m.WhichOneof("body")
        handler = getattr(self, f"on_{kind}", None)
        assert handler is not None, f"{self.name}: {role} got {kind}"
        handler(m)

    def on_set_allowance(self, m):
        self.allowance = m.set_allowance

    def on_terms(self, m):
        self.terms = m.terms

    def on_payment_trouble(self, m):
        self.troubles.append(m.payment_trouble)

    def on_wallet_state(self, m):
        self.wallet = m.wallet_state

    def on_done(self, m):
        self.done.append(m)

    def on_grant_credit(self, m):
        s = self.sessions.get(m.grant_credit.session)
        if s is not None:
            s.granted(m.grant_credit.credit_bytes)

    def on_send_peer_request(self, m):
        self.net.carry(self, m)

    def on_answer_peer(self, m):
        self.net.carry_back(self, m.answer_peer)


class Session:
    """A client's session with a relay: the two tunnels' counters, and what the credit must be."""

    def __init__(self, client, relay, position, price=PRICE, free=FREE):
        self.client, self.relay, self.position, self.price, self.free = client, relay, position, price, free
        self.ours, self.theirs = random.getrandbits(62), random.getrandbits(62)
        self.descriptor = descriptor_sign(relay.terms.payee, price, free)
        self.credit = free  # held by the relay's tunnel
        self.used = 0       # counted by both tunnels: this link loses no traffic
        self.worth = {}     # of tickets that the client sent
        self.killed = False # a ledger was killed while tickets were under way
        self.paid = set()   # numbers that the relay acknowledged
        client.sessions[self.ours] = self
        relay.sessions[self.theirs] = self
        self.tell(client)
        self.tell(relay)

    def tell(self, node):
        m = node.net.pb["ledger"].LedgerIn()
        o = m.session_opened
        o.session, o.payer = (self.ours, True) if node is self.client else (self.theirs, False)
        if node is self.client:
            o.position, o.descriptor = self.position, self.descriptor
        o.is_exit = self.position == 2
        node.links["tunnel"].send(m)
        self.report(node)

    def report(self, node):
        m = node.net.pb["ledger"].LedgerIn()
        u = m.session_usage
        u.session = self.ours if node is self.client else self.theirs
        u.down_bytes = self.used
        u.credit_bytes = self.credit if node is self.relay else 0
        node.links["tunnel"].send(m)

    def close(self):
        for node, number in ((self.client, self.ours), (self.relay, self.theirs)):
            m = node.net.pb["ledger"].LedgerIn()
            m.session_closed.session, m.session_closed.down_bytes = number, self.used
            node.links["tunnel"].send(m)
            del node.sessions[number]

    def granted(self, credit):
        """Before the answers, after the commit: never more than all tickets that were sent."""
        self.credit = max(self.credit, credit)
        if self.price > 0:
            assert self.credit <= self.free + sum(self.worth.values()), "credit that no ticket bought"

    def expected_credit(self):
        return self.free + sum(self.worth[seq] for seq in self.paid)

    def download(self, n, patience=60, unless=lambda: False):
        """Moves n bytes as the relay's tunnel would, only while used < credit; ends early if unless()."""
        end = self.used + n
        deadline = time.monotonic() + patience
        while self.used < end and not unless():
            if self.used < self.credit:
                self.used = min(end, self.used + (64 << 10))
                self.report(self.client)
                self.report(self.relay)
            self.client.net.pump(0 if self.used < self.credit else 10)
            assert time.monotonic() < deadline, f"stuck at {self.used} of {end}, credit {self.credit}"

    def explained(self):
        """The credit is what acknowledged tickets bought, and perhaps some whose acknowledgement died
        with a process that was killed."""
        sums = {self.expected_credit()}
        for seq, worth in self.worth.items():
            if seq not in self.paid:
                sums |= {n + worth for n in sums if n + worth <= self.credit}
        return self.credit in sums

    def agreed(self):
        c, r = self.client.shown(self.ours), self.relay.shown(self.theirs)
        return (c and r and c["used_bytes"] == r["used_bytes"] == self.used and c["on_the_way_bytes"] == 0
                and c["credit_bytes"] == r["credit_bytes"] == self.credit
                and (self.credit == self.expected_credit() or self.killed and self.explained()))


class Net:
    def __init__(self, pb, tmp_path_factory):
        self.pb, self.tmp = pb, tmp_path_factory
        self.ctx = zmq.Context()
        self.poller = zmq.Poller()
        self.by_socket, self.nodes = {}, []
        self.asked = {}  # (relay, session, request) -> (client, id, payload)
        self.next_request = 0
        self.loss = 0.0
        self.rng = random.Random(4)
        self.captured = []

    def node(self, name, ini="", start=True):
        n = Node(self, name, self.tmp.mktemp(name[0]), ini)
        self.nodes.append(n)
        if start:
            n.start()
        return n

    def relay(self, name="relay", price=PRICE):
        n = self.node(name, f"entry_gwei_per_gib = {price}\nmiddle_gwei_per_gib = {price}\nexit_gwei_per_gib = {price}\n")
        self.until(lambda: n.terms is not None and n.allowance is not None, "the relay says its terms")
        return n

    def pump(self, timeout_ms=10):
        for link in self.by_socket.values():
            if link.greeting:
                link.greet()
        for socket, _ in self.poller.poll(timeout_ms):
            for _ in range(100):
                self.by_socket[socket].read()
                if not socket.get(zmq.EVENTS) & zmq.POLLIN:
                    break

    def until(self, condition, what, patience=60):
        def turn():
            self.pump(5)
            return condition()
        return wait_until(turn, what, patience, step=0)

    def carry(self, client, m):
        """A request: lost at times (then it is a time-out at once, as after many repetitions)."""
        s = client.sessions.get(m.send_peer_request.session)
        if s is None or self.rng.random() < self.loss:
            self.fail(client, m.id)
            return
        payload = m.send_peer_request.payload
        x = self.pb["peer_ledger"].Message()
        x.ParseFromString(payload)
        if x.WhichOneof("body") == "pay":
            self.captured.append(payload)
            s.worth[ticket_seq(x.pay.ticket)] = ticket_worth(x.pay.ticket, s.price)
        self.next_request += 1
        self.asked[(s.relay, s.theirs, self.next_request)] = (client, m.id, payload)
        self.ask(s.relay, s.theirs, payload, self.next_request)

    def repeat(self, relay):
        """A tunnel repeats what was not answered."""
        for (node, session, request), (_, _, payload) in self.asked.items():
            if node is relay:
                self.ask(relay, session, payload, request)

    def ask(self, relay, session, payload, request=0):
        q = self.pb["ledger"].LedgerIn()
        q.peer_asked.session, q.peer_asked.request, q.peer_asked.payload = session, request, payload
        relay.links["tunnel"].send(q)

    def fail(self, client, request_id):
        a = self.pb["ledger"].LedgerIn(re=request_id)
        a.peer_answered.err = ERR_TIMEOUT
        client.links["tunnel"].send(a)

    def carry_back(self, relay, a):
        x = self.pb["peer_ledger"].Message()
        x.ParseFromString(a.payload)
        s = relay.sessions.get(a.session)
        self.last_answer = x
        if s is not None and x.WhichOneof("body") == "paid":
            s.paid.add(x.paid.seq)
            assert x.paid.credit_bytes <= s.expected_credit() + sum(
                w for seq, w in s.worth.items() if seq not in s.paid), "more credit than tickets"
        client, request_id, _ = self.asked.pop((relay, a.session, a.request), (None, 0, b""))
        if client is None:
            return
        if self.rng.random() < self.loss:
            self.fail(client, request_id)
            return
        m = self.pb["ledger"].LedgerIn(re=request_id)
        m.peer_answered.payload = a.payload
        client.links["tunnel"].send(m)

    def agree(self, *sessions):
        for s in sessions:
            self.until(s.agreed, "both ledgers and both counters agree to the byte")

    def end(self):
        for n in self.nodes:
            if n.process is not None and n.process.poll() is None:
                n.process.terminate()
                assert n.process.wait(20) == 0
            n.log.close()
        self.ctx.destroy(linger=0)


@pytest.fixture
def net(pb, tmp_path_factory):
    n = Net(pb, tmp_path_factory)
    yield n
    n.end()


@pytest.fixture
def pair(net):
    return net.node("client"), net.relay()


def test_terms_reach_tunnel_and_discovery(net):
    relay, free = net.relay(), net.node("free")
    assert relay.allowance.priced and relay.allowance.free_bytes == FREE
    t = relay.terms
    assert (t.entry_gwei_per_gib, t.middle_gwei_per_gib, t.exit_gwei_per_gib) == (PRICE,) * 3
    assert t.free_bytes == FREE and t.chain_id == 0 and len(t.payee) == 20 and any(t.payee)
    net.until(lambda: free.terms is not None and free.allowance is not None, "a free relay says so")
    assert not free.allowance.priced and free.terms.exit_gwei_per_gib == 0


def test_a_download_is_paid_to_the_byte(net, pair):
    client, relay = pair
    sessions = [Session(client, relay, position) for position in range(3)]
    for s in sessions:
        s.download(20 * MIB)
    net.agree(*sessions)
    assert sum(len(s.paid) for s in sessions) == relay.ctl("status")[0]["status"][0]["tickets_taken"]
    assert relay.ctl("status")[0]["status"][0]["wins"] >= 0
    # Never more than two quanta ahead.
    assert all(s.credit - s.used <= 8 * MIB + MIB for s in sessions)
    # A payer key of its own for each session.
    assert len(relay.ctl("show", "accounts")[0]["accounts"]) == 3
    for node in (client, relay):
        assert node.ctl("check")[1] == 0
    net.until(lambda: client.wallet is not None and client.wallet.tickets_issued == sum(len(s.worth) for s in sessions),
              "the wallet's state follows")
    hops = {h.session: h for h in client.wallet.hops}
    assert all(hops[s.ours].credit_bytes == s.credit and float(hops[s.ours].paid) > 0 for s in sessions)
    spent = client.wallet.spent
    for s in sessions:
        s.close()
    net.until(lambda: not relay.ctl("show", "sessions")[0].get("sessions"), "closed sessions are forgotten")
    net.until(lambda: not client.wallet.hops, "and are paid no more")
    assert client.wallet.spent == spent == relay.ctl("status")[0]["status"][0]["earned_gwei"]
    for node in (client, relay):
        assert node.ctl("check")[1] == 0


def test_a_session_that_is_not_paid_keeps_its_allowance_only(net):
    relay = net.relay()
    client = net.node("client", "pay = no\n")
    s = Session(client, relay, 0)
    net.until(lambda: client.troubles, "the router hears why")
    assert client.troubles[0].own_fault and "switched off" in client.troubles[0].why
    with pytest.raises(AssertionError, match="stuck"):
        s.download(MIB, patience=1)
    assert s.used == s.credit == FREE
    # Switched on, it pays.
    assert client.order(pay=True).err == 0
    s.download(MIB)
    net.agree(s)


def test_free_relays_take_no_tickets(net):
    client, relay = net.node("client"), net.node("relay")
    net.until(lambda: relay.terms is not None and relay.allowance is not None, "terms")
    s = Session(client, relay, 2, price=0)
    net.until(lambda: client.shown(s.ours) is not None and relay.shown(s.theirs) is not None, "both know the session")
    assert client.shown(s.ours)["state"] == "free"
    assert relay.shown(s.theirs)["credit_bytes"] == -1  # without end
    assert not net.captured and not client.troubles
    # When it begins to charge, who came before stays free.
    assert relay.order(earn=True, entry_gwei_per_gib=5, middle_gwei_per_gib=7, exit_gwei_per_gib=9).err == 0
    net.until(lambda: relay.terms.exit_gwei_per_gib == 9 and relay.allowance.priced, "new terms are told")
    assert relay.terms.entry_gwei_per_gib == relay.terms.middle_gwei_per_gib == 7
    assert relay.shown(s.theirs)["credit_bytes"] == -1
    # ... and a ledger that starts again remembers what it was told.
    relay.terms = None
    relay.kill()
    relay.start()
    net.until(lambda: relay.terms is not None and relay.terms.exit_gwei_per_gib == 9, "prices survive a kill")
    assert relay.order(earn=True, exit_gwei_per_gib=2**48 + 1).err != 0
    assert relay.order(earn=False).err == 0
    net.until(lambda: not relay.allowance.priced and relay.terms.exit_gwei_per_gib == 0, "free again")


def test_old_terms_are_honoured(net, pair):
    client, relay = pair
    assert relay.order(earn=True, entry_gwei_per_gib=3 * PRICE, middle_gwei_per_gib=3 * PRICE, exit_gwei_per_gib=3 * PRICE).err == 0
    old = Session(client, relay, 0)  # its descriptor still bears the price of before
    new = Session(client, relay, 1, price=3 * PRICE)
    never = Session(client, relay, 2, price=PRICE - 1)
    old.download(2 * MIB)
    new.download(2 * MIB)
    net.agree(old, new)
    net.until(lambda: client.troubles, "terms that were never said are refused")
    assert not client.troubles[0].own_fault and "terms" in client.troubles[0].why
    assert client.troubles[0].session == never.ours and not never.paid


def test_the_limit_of_a_day(net, pair):
    client, relay = pair
    # Enough for 4 MiB at this price.
    assert client.order(pay=True, spend_max_gwei_per_day=4 * MIB * PRICE // GIB).err == 0
    s = Session(client, relay, 0)
    with pytest.raises(AssertionError, match="stuck"):
        s.download(20 * MIB, patience=5)
    assert 3 * MIB <= s.used - FREE <= 4 * MIB
    assert client.troubles and client.troubles[0].own_fault and "day" in client.troubles[0].why
    net.until(lambda: client.wallet.trouble, "the wallet says it")
    assert client.order(pay=True).err == 0
    s.download(4 * MIB)
    net.agree(s)


def test_liars_earn_nothing(net, pair):
    client, relay = pair
    other = net.relay("other")
    s, elsewhere = Session(client, relay, 0), Session(client, other, 1)
    s.download(4 * MIB)
    elsewhere.download(MIB)
    net.agree(s, elsewhere)
    rng = random.Random(5)
    victim = random.getrandbits(62)  # a stranger's session on each, with a quote
    quote = net.pb["peer_ledger"].Message()
    quote.quote.terms_hash = bytes(32)
    n_sent = 0
    for node in (relay, other):
        m = net.pb["ledger"].LedgerIn()
        m.session_opened.session = victim
        node.links["tunnel"].send(m)
        for payload in net.captured:
            for _ in range(3):
                p = bytearray(payload)
                if rng.random() < 0.7:
                    p[rng.randrange(len(p))] ^= 1 << rng.randrange(8)
                net.ask(node, rng.choice([victim, s.theirs, elsewhere.theirs, 12345]), bytes(p))
                n_sent += 1
        for _ in range(300):
            net.ask(node, rng.choice([victim, s.theirs]), rng.randbytes(rng.randint(0, 1100)))
            n_sent += 1
    before = s.credit, elsewhere.credit
    # Their own tickets, again, are acknowledged and not counted: the credit stays.
    net.until(lambda: sum(sum(v for k, v in n.counters("payee").items() if k.startswith("refused") or k == "tickets repeated")
                          for n in (relay, other)) >= n_sent * 0.99, "all are refused and counted")
    net.agree(s, elsewhere)
    assert (s.credit, elsewhere.credit) == before
    assert relay.shown(victim)["tickets"] == 0 and relay.shown(victim)["credit_bytes"] == FREE
    for node in (relay, other):
        assert node.ctl("check")[1] == 0
    s.download(4 * MIB)  # and honest business goes on
    net.agree(s)


def test_kill_9_in_the_middle_of_payments(net, pair):
    client, relay = pair
    net.loss = 0.05
    sessions = [Session(client, relay, position) for position in range(3)]
    rng = random.Random(6)
    for round_ in range(40):
        for s in sessions:
            s.download(rng.randint(1, 2 * MIB))
        victim = (client, relay)[round_ % 2]
        for s in sessions:  # more work is under way when it dies
            s.used, s.killed = min(s.credit, s.used + MIB), True
            s.report(client)
            s.report(relay)
        for _ in range(rng.randint(0, 30)):
            net.pump(1)
        victim.kill()
        victim.start()
    for s in sessions:
        s.download(4 * MIB)
    net.loss = 0
    net.agree(*sessions)
    for node in (client, relay):
        assert node.ctl("check")[1] == 0
    taken = relay.ctl("status")[0]["status"][0]["tickets_taken"]
    acknowledged = sum(len(s.paid) for s in sessions)
    assert acknowledged <= taken <= acknowledged + 40 * 3
    # What the client signed in vain is little: what was under way when something died.
    assert client.ctl("status")[0]["status"][0]["tickets_issued"] <= taken + 40 * 3 * 4


def test_sessions_that_ended_while_it_was_down_are_forgotten(net, pair):
    client, relay = pair
    s, stays = Session(client, relay, 0), Session(client, relay, 1)
    s.download(MIB)
    stays.download(MIB)
    net.agree(s, stays)
    for node in pair:
        node.kill()
    del client.sessions[s.ours], relay.sessions[s.theirs]
    for node in pair:
        node.start()
    net.until(lambda: relay.shown(stays.theirs) and relay.shown(stays.theirs)["state"] == "paid", "the other one lives")
    net.until(lambda: relay.shown(s.theirs) is None and client.shown(s.ours) is None, "forgotten")
    stays.download(9 * MIB)
    net.agree(stays)
    for node in pair:
        assert node.ctl("check")[1] == 0


@pytest.fixture
def small_disk(tmp_path):
    d = str(tmp_path / "disk")
    os.makedirs(d)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", d], capture_output=True).returncode != 0:
        pytest.skip("a small disk needs the right to mount one")
    yield d
    subprocess.run(["umount", "-l", d], check=True)


@pytest.mark.parametrize("side", ["relay", "client"])
def test_full_disk(net, pair, small_disk, side):
    client, relay = pair
    node = relay if side == "relay" else client
    node.kill()
    state = f"{node.dir}/state"
    subprocess.run(["cp", "-a", state, f"{small_disk}/state"], check=True)
    subprocess.run(["rm", "-r", state], check=True)
    os.symlink(f"{small_disk}/state", state)
    node.start()
    s = Session(client, relay, 0)
    s.download(2 * MIB)
    net.agree(s)
    with open(f"{small_disk}/filler", "wb", buffering=0) as f:
        with pytest.raises(OSError):
            while True:
                f.write(bytes(4096))
    # The log has room of its own, so payments go on for a while; then they wait.
    full = lambda: node.wallet is not None and "disk" in node.wallet.trouble  # noqa: E731
    s.download(4000 * MIB, unless=full)
    assert full(), "the page is told"
    s.download(100 * MIB, unless=lambda: s.used >= s.credit)
    assert s.used >= s.credit, "what was paid is used up, and no more comes"
    assert "disk" in node.ctl("status")[0]["status"][0]["trouble"]
    if side == "relay":
        assert node.counters("payee")["refused: it cannot write the ticket down"] > 0
    assert node.ctl("check")[1] == 0
    assert node.order(pay=True, earn=False).err != 0  # settings that cannot be kept are refused
    os.unlink(f"{small_disk}/filler")
    net.until(lambda: not node.wallet.trouble, "space is back")
    s.download(20 * MIB)
    net.agree(s)
    for n in pair:
        assert n.ctl("check")[1] == 0


def test_check_finds_a_changed_row(net, pair):
    client, relay = pair
    s = Session(client, relay, 0)
    s.download(3 * MIB)
    net.agree(s)
    for node, sql in ((relay, "UPDATE account SET tickets = tickets + 1"),
                      (relay, "UPDATE relay_session SET credit = credit + 1048576"),
                      (relay, "UPDATE total SET expected = '1' WHERE name = 'earned'"),
                      (client, "UPDATE client_session SET expected = '7'"),
                      (client, "DELETE FROM client_session")):
        db = f"{node.dir}/state/ledger/ledger.sqlite"
        assert node.ctl("check")[1] == 0
        subprocess.run(["sqlite3", db, "VACUUM INTO '" + node.dir + "/before'"], check=True)
        subprocess.run(["sqlite3", db, ".timeout 2000", sql], check=True)
        rows, code = node.ctl("check", ok=False)
        assert code == 1, sql
        # Put it back as it was.
        node.kill()
        for end in ("", "-wal", "-shm"):
            if os.path.exists(db + end):
                os.unlink(db + end)
        os.rename(f"{node.dir}/before", db)
        node.start()
        net.until(lambda: node.ctl("status", ok=False)[1] == 0, "back")
        net.agree(s)


def test_what_is_on_disk_names_nobody(net, pair):
    client, relay = pair
    s = Session(client, relay, 0)
    s.download(3 * MIB)
    net.agree(s)
    schema = subprocess.run(["sqlite3", f"{relay.dir}/state/ledger/ledger.sqlite", ".schema"],
                            capture_output=True, text=True, check=True).stdout
    assert not any(word in schema.lower() for word in ("time", "date", "address", "used", "ip4", "node"))
    assert all("day" in w for w in schema.replace(",", " ").split() if "keep" in w or "last" in w)
    node_id = s.descriptor[4:36]
    for node in pair:
        for end in ("", "-wal"):
            blob = open(f"{node.dir}/state/ledger/ledger.sqlite{end}", "rb").read()
            assert node_id not in blob and s.descriptor[168:188] not in (blob if node is client else b"")
            key = bytes.fromhex(open(f"{node.dir}/keys/wallet.key").read().strip())
            assert key not in blob
        log = open(f"{node.dir}/log").read()
        assert str(s.ours) not in log and str(s.theirs) not in log


@pytest.mark.parametrize("ini, words", [
    ("backend = evm\n", "supports only `none`"),
    ("backend = dev\n", "supports only `none`"),
    ("backend = none\nexit_gwei_per_gib = 281474976710657\n", "exit_gwei_per_gib"),
    ("backend = none\nprice = 1\n", "price"),
])
def test_settings_that_cannot_be(tmp_path, ini, words):
    d = str(tmp_path / "n")
    subprocess.run([f"{BIN}/mvpn", "--dir", d, "init"], check=True, capture_output=True)
    text = open(f"{d}/node.ini").read().replace("backend = none\n", ini)
    with open(f"{d}/node.ini", "w") as f:
        f.write(text)
    p = subprocess.run([f"{BIN}/mvpn-ledger", "--dir", d], capture_output=True, text=True, timeout=30)
    assert p.returncode == 1 and words in p.stderr, p.stderr


def test_a_database_that_is_none(tmp_path):
    d = str(tmp_path / "n")
    subprocess.run([f"{BIN}/mvpn", "--dir", d, "init"], check=True, capture_output=True)
    os.makedirs(f"{d}/state/ledger")
    with open(f"{d}/state/ledger/ledger.sqlite", "wb") as f:
        f.write(b"this is no database, but long enough to be looked at " * 100)
    p = subprocess.run([f"{BIN}/mvpn-ledger", "--dir", d], capture_output=True, text=True, timeout=30)
    assert p.returncode == 1 and "ledger.sqlite" in p.stderr
