# SPDX-License-Identifier: GPL-2.0-or-later
"""Many strangers who send through one relay to a next hop:

    left: mvpn-tunnel --dir -- veth -- right: clients 10.64.0.0 + 64 i, the next hop 198.18.0.2

With both each client has a session; those with the next hop travel inside those with the relay.
"""
import shutil
import socket
import tempfile
import threading

import zmq

from bus import INBOX, PATIENCE_S, Node
from crowd import Crowd

RELAY_ADDRESS, NEXT_ADDRESS = "198.18.0.1", "198.18.0.2"


class RelayCrowd(Crowd):
    configured = False
    node = None

    def set_up(self, program):
        self.dir, self.ctx = tempfile.mkdtemp(prefix="mvpnb"), zmq.Context()
        self.node = Node(self.ctx, self.world.left, f"{self.dir}/relay", "relay", address=RELAY_ADDRESS,
                         sessions=self.n * 5 // 4, workers=1)
        self.watch(self.node.daemon.process.pid)
        self.ended, self.settled = threading.Event(), threading.Event()
        self.listener = threading.Thread(target=self.listen)
        self.listener.start()
        sink = self.world.right.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind((NEXT_ADDRESS, 0))
        self.start("relay", self.node.listening.port, self.node.listening.wg_pk, sink)

    def limit(self, rate_bps):
        """What the relay gives to strangers, bytes a second."""
        self.node.roles["gateway"].say(id=2, settings=dict(share=True, share_rate_Bps=rate_bps))
        assert self.settled.wait(PATIENCE_S)

    def listen(self):
        """The other services hear what the relay tells them."""
        while not self.ended.is_set():
            for name, role in self.node.roles.items():
                while role.pull.poll(0):
                    m = INBOX[name]()
                    m.ParseFromString(role.pull.recv())
                    if m.WhichOneof("body") == "done" and m.re == 2:
                        self.settled.set()
            self.ended.wait(0.05)

    def close(self):
        if self.node:
            self.ended.set()
            self.listener.join()
            self.node.close()
        super().close()
        self.ctx.term()
        shutil.rmtree(self.dir)
