# SPDX-License-Identifier: GPL-2.0-or-later
"""The other services of a node, as far as its tunnel needs them to carry traffic: gateway (share), ledger
(nothing has a price), discovery (hears what to put into the descriptor), router (the route)."""
import os
import random
import socket
import struct
import sys
import time

import nacl.signing
import zmq

from net import ROOT, Daemon, run

sys.path.insert(0, f"{ROOT}/tests/integration")
import fake_services as fake  # noqa: E402  (generates the messages)
from inbox import inbox  # noqa: E402

BIN = os.environ.get("MVPN_BIN", f"{ROOT}/bin")
INBOX = {"gateway": fake.gateway_pb2.GatewayIn, "router": fake.router_pb2.RouterIn,
         "ledger": fake.ledger_pb2.LedgerIn, "discovery": fake.discovery_pb2.DiscoveryIn}
PATIENCE_S = 20
RELAY, EXIT4 = 1, 2


class Role:
    """One role's side of the bus towards the tunnel."""

    def __init__(self, ctx, node_dir, role):
        self.role = role
        self.pull = ctx.socket(zmq.PULL)
        self.pull.bind(inbox(node_dir, role, "tunnel"))
        self.push = ctx.socket(zmq.PUSH)
        self.push.setsockopt(zmq.LINGER, 0)
        self.push.connect(inbox(node_dir, "tunnel", role))
        self.say(hello=dict(instance=random.getrandbits(60), version=1))

    def say(self, **body):
        self.push.send(fake.tunnel_pb2.TunnelIn(**body).SerializeToString())

    def await_(self, *names):
        """The next message of one of these names."""
        end = time.monotonic() + PATIENCE_S
        while self.pull.poll(max(0, 1000 * (end - time.monotonic()))):
            m = INBOX[self.role]()
            m.ParseFromString(self.pull.recv())
            name = m.WhichOneof("body")
            if name == "hello" and not m.hello.answer:
                self.say(hello=dict(instance=random.getrandbits(60), version=1, answer=True))
            if name in names:
                return m
        raise TimeoutError(f"no {' or '.join(names)} from the tunnel")

    def close(self):
        self.pull.close()
        self.push.close()


class Node:
    """mvpn-tunnel in node mode, alone with the roles that we play."""

    def __init__(self, ctx, ns, directory, name, address=None, exit=False, sessions=64, workers=0):
        run(f"{BIN}/mvpn", "--dir", directory, "init", "--name", name)
        with open(f"{directory}/node.ini", "w", encoding="ascii") as f:
            f.write("[node]\ntest_network = yes\n[tunnel]\n"
                    f"workers = {workers}\nsessions = {sessions}\n" +
                    (f"public4 = {address}\nclient_tun =\n" if address else "") +
                    ("" if exit else "exit_tun =\n"))
        os.makedirs(f"{directory}/run", mode=0o700, exist_ok=True)
        self.address, self.exit = address, exit
        self.daemon = Daemon(ns, f"{BIN}/mvpn-tunnel", "--dir", directory)
        self.roles = {r: Role(ctx, directory, r) for r in INBOX}
        self.listening = self.roles["discovery"].await_("listening").listening
        if address:
            self.roles["gateway"].say(id=1, settings=dict(share=True, share_exit=exit))
            done = self.roles["gateway"].await_("done").done
            assert done.err == 0, done.why
            self.roles["ledger"].say(set_allowance=dict(priced=False))
            if exit:
                self.listening = self.roles["discovery"].await_("listening").listening

    def descriptor(self):
        key = nacl.signing.SigningKey(os.urandom(32))
        now = int(time.time())
        b = bytearray(264)
        b[0], b[1] = 1, RELAY | (EXIT4 if self.exit else 0)
        b[4:36] = bytes(key.verify_key)
        b[36:68] = self.listening.wg_pk
        b[68:72] = socket.inet_aton(self.address)
        b[72:74] = struct.pack("<H", self.listening.port)
        b[188:188 + len(self.listening.policy_digest)] = self.listening.policy_digest
        b[220:244] = struct.pack("<Qqq", now, now - 1, now + 86400 - 2)
        return bytes(b) + key.sign(b"mvpn descriptor v1" + bytes(b)).signature

    def connect(self, relays, route=1):
        """Builds the route over these nodes and uses it; seconds that building took."""
        router = self.roles["router"]
        router.say(build_route=dict(route=route, descriptors=[r.descriptor() for r in relays]))
        m = router.await_("route_built", "route_failed")
        assert m.WhichOneof("body") == "route_built", m
        router.say(use_route=dict(route=route))
        return m.route_built.build_us / 1e6

    def disconnect(self, route):
        router = self.roles["router"]
        router.say(close_route=dict(route=route, drain_ms=0))
        router.await_("route_closed")

    def close(self):
        for r in self.roles.values():
            r.close()
        self.daemon.close()
