# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts in a row, each a network namespace, a veth between neighbours:

    c 198.18.1.1 -- 198.18.1.2 r1 198.18.2.1 -- 198.18.2.2 r2 ... -- 198.18.N.2 s
"""
import itertools
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{ROOT}/tests/interop")
from world import Namespace, run, wait_until  # noqa: E402

OUT = f"{ROOT}/build/bench"
_numbers = itertools.count(1)
TICKS = os.sysconf("SC_CLK_TCK")


class Row:
    def __init__(self, n_hosts):
        self.number = next(_numbers)
        self.hosts = [Namespace(f"b{self.number}x{i}") for i in range(n_hosts)]
        for i, (a, b) in enumerate(zip(self.hosts, self.hosts[1:]), 1):
            a.ip("link", "add", f"v{i}", "type", "veth", "peer", "name", f"v{i}", "netns", b.name)
            for ns, n in ((a, 1), (b, 2)):
                ns.ip("addr", "add", f"198.18.{i}.{n}/24", "dev", f"v{i}")
                ns.ip("link", "set", f"v{i}", "up")

    def address(self, i):
        """Where host i > 0 is reached by its neighbour before it."""
        return f"198.18.{i}.2"

    def forwards(self, i):
        self.hosts[i].run("sysctl", "-qw", "net.ipv4.ip_forward=1")

    def close(self):
        for ns in self.hosts:
            ns.close()


class Daemon:
    """A process on a host; its own CPU time and memory."""

    def __init__(self, ns, *argv, env=None, cwd=None):
        os.makedirs(f"{OUT}/log", exist_ok=True)
        self.log = open(f"{OUT}/log/{ns.name}-{os.path.basename(argv[0])}", "w", encoding="utf-8")
        self.process = subprocess.Popen(["ip", "netns", "exec", ns.name, *argv], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, env={**os.environ, **(env or {})}, cwd=cwd)

    def cpu_s(self):
        """User and system time of all its threads."""
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            words = f.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def memory_mb(self):
        """(resident, of it its own: without pages of files, which all processes share)"""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            kb = dict(line.split(":", 1) for line in f)
        return tuple(int(kb[k].split()[0]) / 1024 for k in ("VmRSS", "RssAnon"))

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def reaches(ns, address, patience=20):
    wait_until(lambda: run("ip", "netns", "exec", ns.name, "ping", "-qc1", "-W1", address, check=False).returncode == 0,
               f"{address} answers", patience)
