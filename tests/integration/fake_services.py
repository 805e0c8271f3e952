# SPDX-License-Identifier: GPL-2.0-or-later
"""The other services of a node, as far as a gateway sees them: a second implementation of the bus
(lib/sys/bus.h) in Python, with generated messages.

    with Bus(node_dir) as bus:
        router = bus.service("router")
        router.tell(session_state=...)
"""
import os
import random
import subprocess
import sys
import threading
import time

import zmq
from zmq.utils.monitor import recv_monitor_message

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GEN = os.path.join(ROOT, "build", "gen", "py")
PROTOS = ("types", "gateway", "router", "tunnel", "discovery", "ledger", "ui")
BUS_VERSION = 1


def _generate():
    """build/gen/py/*_pb2.py, anew when a .proto is younger."""
    sources = [os.path.join(ROOT, "proto", f"{p}.proto") for p in PROTOS]
    made = [os.path.join(GEN, f"{p}_pb2.py") for p in PROTOS]
    if all(os.path.exists(m) for m in made):
        if min(map(os.path.getmtime, made)) > max(map(os.path.getmtime, sources)):
            return
    os.makedirs(GEN, exist_ok=True)
    subprocess.run(["protoc", "-I", os.path.join(ROOT, "proto"), f"--python_out={GEN}", *sources], check=True)


_generate()
sys.path.insert(0, GEN)
import discovery_pb2  # noqa: E402
import gateway_pb2  # noqa: E402
import ledger_pb2  # noqa: E402
import router_pb2  # noqa: E402
import tunnel_pb2  # noqa: E402
import types_pb2  # noqa: E402

from inbox import inbox  # noqa: E402

INBOX = {
    "router": router_pb2.RouterIn,
    "tunnel": tunnel_pb2.TunnelIn,
    "discovery": discovery_pb2.DiscoveryIn,
    "ledger": ledger_pb2.LedgerIn,
}
PHASE = types_pb2.Phase


class Service(threading.Thread):
    """One service's link with the gateway, in a thread of its own. `on_<message>(in)` methods of
    `brain` are called for what the gateway says; a bare order is answered by Done."""

    def __init__(self, node_dir, role, brain=None):
        super().__init__(daemon=True)
        self.role, self.brain = role, brain
        self.instance = random.getrandbits(60)
        self.taken = []  # (name, message) of all that came
        self.deaf = False  # takes, answers nothing
        self.refuse = None  # words for a Done that refuses
        self.lock = threading.Lock()
        self.ctx = zmq.Context()
        self.inbox = self.ctx.socket(zmq.PULL)
        self.inbox.linger = 0
        self.inbox.bind(inbox(node_dir, role, "gateway"))
        self.out = self.ctx.socket(zmq.PUSH)
        self.out.linger = 0
        self.out.setsockopt(zmq.IMMEDIATE, 1)
        self.out.setsockopt(zmq.RECONNECT_IVL, 20)
        self.monitor = self.out.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        self.fresh = self.up = self.greeted = False  # connected; Hello sent; the gateway's Hello came
        self.out.connect(inbox(node_dir, "gateway", role))
        self.wake_in = self.ctx.socket(zmq.PAIR)
        self.wake_in.bind(f"inproc://wake.{role}")
        self.wake_out = self.ctx.socket(zmq.PAIR)
        self.wake_out.connect(f"inproc://wake.{role}")
        self.ending = False
        self.start()

    # -- said from other threads --
    def tell(self, re=0, **body):
        """One GatewayIn, for example tell(session_state=SessionState(...))."""
        with self.lock:
            self.wake_out.send(gateway_pb2.GatewayIn(re=re, **body).SerializeToString())

    def tell_bytes(self, data):
        with self.lock:
            self.wake_out.send(data)

    def last(self, name):
        found = [m for n, m in list(self.taken) if n == name]
        return found[-1] if found else None

    def count(self, name):
        return sum(1 for n, _ in list(self.taken) if n == name)

    def end(self):
        self.ending = True
        with self.lock:
            self.wake_out.send(b"")
        self.join()
        self.ctx.destroy(linger=0)

    # -- the thread --
    def run(self):
        poller = zmq.Poller()
        for s in (self.inbox, self.monitor, self.wake_in):
            poller.register(s, zmq.POLLIN)
        while not self.ending:
            if self.fresh:
                self._greet()
            ready = dict(poller.poll(10 if self.fresh else None))
            if self.monitor in ready:
                self._link(recv_monitor_message(self.monitor)["event"] == zmq.EVENT_HANDSHAKE_SUCCEEDED)
            if self.inbox in ready:
                self._take(self.inbox.recv())
            if self.wake_in in ready:
                data = self.wake_in.recv()
                if data:
                    self._push(data)
        self.out.disable_monitor()

    def _push(self, data):
        """False: the gateway is away; it will be told when it is back."""
        try:
            self.out.send(data, zmq.DONTWAIT)
            return True
        except zmq.Again:
            return False

    def _send(self, re=0, **body):
        return self._push(gateway_pb2.GatewayIn(re=re, **body).SerializeToString())

    def _link(self, up):
        self.fresh, self.up = up, False
        if not up:
            self.greeted = False

    def _greet(self):
        """The pipe of a new connection may not be attached yet: then again in a moment."""
        if self._send(hello=types_pb2.Hello(instance=self.instance, version=BUS_VERSION)):
            self.fresh, self.up = False, True
            self._linked()

    def _linked(self):
        """Both sides can speak: the snapshot."""
        if self.up and self.greeted and hasattr(self.brain, "on_link"):
            self.brain.on_link(self)

    def _take(self, data):
        m = INBOX[self.role]()
        m.ParseFromString(data)
        name = m.WhichOneof("body")
        self.taken.append((name, m))
        if name == "hello":
            if not m.hello.answer:
                self._send(hello=types_pb2.Hello(instance=self.instance, version=BUS_VERSION, answer=True))
            self.greeted = True
            self._linked()
            return
        if self.deaf:
            return
        handler = getattr(self.brain, f"on_{name}", None)
        if handler is not None and handler(self, m):
            return
        if self.refuse is not None:
            self._send(re=m.id, done=types_pb2.Done(err=-10, why=self.refuse))
        else:
            self._send(re=m.id, done=types_pb2.Done())


# ---- a router and the rest that behave as the real ones do, with made-up figures ------------------

def node_id(n):
    return bytes([n]) * 32


HOPS = [
    dict(name="relay1", country="CH", asn=64500, rtt_us=18300, jitter_us=900, loss_ppm=0,
         price_gwei_per_gib=20000, address=bytes([198, 18, 1, 7])),
    dict(name="relay4", country="SE", asn=64510, rtt_us=41200, jitter_us=2100, loss_ppm=1200,
         price_gwei_per_gib=15000, address=bytes([198, 18, 40, 4])),
    dict(name="relay7", country="JP", asn=64530, rtt_us=187500, jitter_us=5400, loss_ppm=400,
         price_gwei_per_gib=60000, address=bytes([203, 0, 113, 77])),
]
EXITS = [("relay7", "JP", 64530, 60000, 187500, True, ""), ("relay3", "CH", 64501, 40000, 21000, True, ""),
         ("relay5", "SE", 64510, 45000, 44000, True, ""), ("relay6", "SE", 64511, 0, 0, True, ""),
         ("relay8", "US", 64540, 90000, 95000, False, "over the price cap")]


class Router:
    """Takes SetSession, says connecting, then on; a new route on demand."""

    def __init__(self):
        self.want = None
        self.phase = PHASE.PHASE_OFF
        self.reason = "switched off"
        self.shift = 0
        self.rx = self.tx = 0
        self.slow = False  # stay connecting until told
        self.fail = None  # words: answer by failed
        self.more_exits = 0  # beyond EXITS
        self.began = time.monotonic()

    def on_link(self, s):
        s._send(session_state=self.state())

    def hops(self):
        n = self.want.hops or 3 if self.want else 3
        order = HOPS[-n:] if n < 3 else HOPS
        order = order[self.shift % len(order):] + order[:self.shift % len(order)]
        return [types_pb2.HopInfo(node_id=node_id(h["asn"] % 250), session=100 + i, **h) for i, h in enumerate(order)]

    def state(self):
        m = gateway_pb2.SessionState(phase=self.phase, reason=self.reason, n_exits=len(EXITS), n_relays=8,
                                     since_s=int(time.monotonic() - self.began))
        if self.phase == PHASE.PHASE_ON:
            m.hops.extend(self.hops())
            m.connect_ms = 840
            m.ip4 = bytes([10, 92, 0, 2])
            m.exit_address = m.hops[-1].address
            m.reasons.extend(["lowest latency in 3 countries", "97 % reliable"])
            m.rx_bytes, m.tx_bytes, m.rx_Bps, m.tx_Bps = self.rx, self.tx, 1_450_000, 96_000
        return m

    def settle(self, s):
        self.began = time.monotonic()
        if self.want is None or not self.want.on:
            self.phase, self.reason = PHASE.PHASE_OFF, "switched off"
        elif self.fail:
            self.phase, self.reason = PHASE.PHASE_FAILED, self.fail
        else:
            self.phase, self.reason = PHASE.PHASE_ON, "bytes came back through the exit"
        s._send(session_state=self.state())

    def on_set_session(self, s, m):
        changed = self.want is None or m.set_session != self.want or self.fail is not None
        self.want = m.set_session
        s._send(re=m.id, done=types_pb2.Done())
        if changed:
            if self.want.on:
                self.phase, self.reason = PHASE.PHASE_CONNECTING, "building a route"
                s._send(session_state=self.state())
            if not self.slow:
                self.settle(s)
        return True

    def on_new_route(self, s, m):
        self.shift += 1
        s._send(re=m.id, done=types_pb2.Done())
        s._send(session_state=self.state())
        return True

    def on_list_exits(self, s, m):
        made = [gateway_pb2.Exit(node_id=node_id(i), name=n, country=c, asn=a, price_gwei_per_gib=p, rtt_us=r,
                                 reliability_pct=97, usable=u, why_not=w)
                for i, (n, c, a, p, r, u, w) in enumerate(EXITS)]
        s._send(re=m.id, exit_list=gateway_pb2.ExitList(exits=made[:3], more=True))
        for _ in range(0, self.more_exits, 64):
            s._send(re=m.id, exit_list=gateway_pb2.ExitList(exits=made[3:4] * 64, more=True))
        s._send(re=m.id, exit_list=gateway_pb2.ExitList(exits=made[3:], more=False))
        return True


class Ledger:
    def __init__(self):
        self.tickets = 4

    def state(self, hops):
        return gateway_pb2.WalletState(
            pay=True, backend="none", spent="18350", earned="0", spent_today="2210", tickets_issued=3 * self.tickets,
            hops=[gateway_pb2.HopPayment(session=h.session, node_id=h.node_id, position=i, tickets=self.tickets + i,
                                         paid=str(1200 * (i + 1)), used_bytes=53_000_000, credit_bytes=64 << 20)
                  for i, h in enumerate(hops)])


class Node:
    """A whole node around a real gateway: router, ledger, tunnel and discovery that please it."""

    def __init__(self, node_dir):
        self.dir = node_dir
        self.router = Router()
        self.ledger = Ledger()
        self.links = {}
        for role in ("tunnel", "discovery", "ledger", "router"):
            self.begin(role)

    def begin(self, role):
        brain = {"router": self.router, "ledger": self, "tunnel": self, "discovery": self}[role]
        self.links[role] = Service(self.dir, role, brain)

    def end(self, role):
        self.links.pop(role).end()

    def close(self):
        for role in list(self.links):
            self.end(role)

    def on_link(self, s):
        if s.role == "ledger":
            s._send(wallet_state=self.ledger.state(self.router.hops() if self.router.want else []))
        elif s.role == "tunnel":
            s._send(tunnel_state=gateway_pb2.TunnelState(tun_up=True, n_sessions=2, shared_bytes=7_340_032))
        elif s.role == "discovery":
            s._send(directory_state=gateway_pb2.DirectoryState(n_relays=8, n_exits=5))

    def second(self):
        """What a live node says once a second."""
        if self.router.phase == PHASE.PHASE_ON and "router" in self.links:
            self.router.rx += 1_450_000
            self.router.tx += 96_000
            self.links["router"].tell(session_state=self.router.state())
            if "ledger" in self.links:
                self.links["ledger"].tell(wallet_state=self.ledger.state(self.router.hops()))
