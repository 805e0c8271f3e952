# SPDX-License-Identifier: GPL-2.0-or-later
"""How long a route of 1, 2 and 3 hops takes to come up where each link has 40 ms one way (the lab's link emulator),
beside the round trips that it cannot do without: a handshake with each hop in turn, then Attach with the exit.

    setup.py [--rounds N]
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

import zmq

from bus import BIN, Node
from net import OUT, ROOT, wait_until
from report import Report
from world import Namespace

sys.path.insert(0, f"{ROOT}/lab")
import kernel  # noqa: E402
from linkctl import Links  # noqa: E402

LINK_MS = 40
HOSTS = ["client", "entry", "middle", "exit"]
MTU = 1500


class Internet:
    """Hosts with a link to each other, all of LINK_MS one way."""

    def __init__(self, directory):
        path = f"{directory}/links"
        self.emulator = subprocess.Popen([f"{BIN}/lab-linkem", "--control", path], stdin=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(path), "the link emulator")
        self.links = Links(path)
        self.links.ask(f"path 0 0 delay_us={LINK_MS * 1000}")
        self.hosts = []
        for i, name in enumerate(HOSTS):
            ns = Namespace(f"s{i}")
            self.hosts.append(ns)
            tun = ns.enter(lambda: kernel.tun_open("eth0"))
            ns.ip("link", "set", "eth0", "mtu", str(MTU), "up")
            ns.ip("addr", "add", f"{self.address(i)}/32", "dev", "eth0")
            ns.ip("route", "add", "default", "dev", "eth0", "src", self.address(i))
            self.links.ask(f"add {name} region=0 mtu={MTU}", fd=tun)
            self.links.ask(f"route {name} {self.address(i)}/32")
            os.close(tun)

    @staticmethod
    def address(i):
        return f"198.18.{i}.1"

    def close(self):
        self.links.close()
        self.emulator.terminate()
        self.emulator.wait()
        for ns in self.hosts:
            ns.close()


def floor_ms(hops):
    return sum(2 * LINK_MS * k for k in range(1, hops + 1)) + 2 * LINK_MS * hops


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=5)
    args = a.parse_args()
    os.makedirs(f"{OUT}/log", exist_ok=True)
    directory, ctx, nodes = tempfile.mkdtemp(prefix="mvpnb"), zmq.Context(), []
    net = Internet(directory)
    report = Report("setup")
    try:
        for i, name in enumerate(HOSTS):
            nodes.append(Node(ctx, net.hosts[i], f"{directory}/{name}", name, address=net.address(i) if i else None,
                              exit=i > 0))
        number = 0
        for round_ in range(1, args.rounds + 1):
            for hops in (1, 2, 3):
                number += 1
                took_ms = 1000 * nodes[0].connect(nodes[1:hops + 1], route=number)
                nodes[0].disconnect(number)
                report.add(f"route of {hops}", "mvpn", {"setup_ms": took_ms, "floor_ms": floor_ms(hops),
                                                        "over_floor_ms": took_ms - floor_ms(hops)}, round_)
    finally:
        for n in nodes:
            n.close()
        net.close()
        ctx.term()
        shutil.rmtree(directory)
    report.show()
    report.close()


main()
