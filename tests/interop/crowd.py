# SPDX-License-Identifier: GPL-2.0-or-later
"""Many clients (tests/tools/sessions.c) before one tunnel with one worker:

    left [wg 10.9.0.1, a sink] -- veth -- right: clients 10.64.0.0 + 64 i, inside 10.200.0.0 + i

The tunnel has the first processor for itself, so that what it cannot do is its own limit; clients and sink share
the rest.
"""
import base64
import json
import os
import socket
import subprocess

from world import OURS, TOOLS, World

OUTER = "10.64.0.0/10"
INNER = "10.200.0.0/16"
PORT = 5001
CPUS = sorted(os.sched_getaffinity(0))
TICKS = os.sysconf("SC_CLK_TCK")


class Crowd:
    configured = True  # the sessions are known before they come

    def __init__(self, n, program=OURS):
        self.n = n
        self.world = World()
        self.tool = None
        try:
            self.world.right.ip("route", "add", "local", OUTER, "dev", "lo")
            self.world.left.ip("route", "add", OUTER, "via", "198.18.0.2")
            self.set_up(program)
        except BaseException:
            self.close()
            raise

    def set_up(self, program):
        left = self.world.left
        tunnel = self.world.interface(left, program, 1, env={"MVPN_WORKERS": "1"}, log="error")
        tunnel.up()
        left.ip("route", "add", INNER, "dev", tunnel.name)
        self.watch(tunnel.process.pid)
        peers = subprocess.run([f"{TOOLS}/sessions", "peers", str(self.n)], check=True, capture_output=True, text=True)
        answer = tunnel.uapi(f"set=1\nlisten_port={PORT}\n{peers.stdout}\n")
        assert answer == ["errno=0"], answer
        sink = left.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind(("10.9.0.1", 0))
        self.start("run", PORT, base64.b64decode(tunnel.public), sink)

    def watch(self, pid):
        """The process that is loaded; nothing has been configured yet."""
        self.pid = pid
        self.memory_empty = self.memory()
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), CPUS[:1])

    def start(self, mode, port, public_key, sink):
        self.tool = subprocess.Popen(
            ["ip", "netns", "exec", self.world.right.name, f"{TOOLS}/sessions", mode, str(self.n), "198.18.0.1",
             str(port), public_key.hex(), str(sink.fileno())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, pass_fds=[sink.fileno()])
        os.sched_setaffinity(self.tool.pid, CPUS[1:] or CPUS)
        sink.close()

    def ask(self, *words):
        print(*words, file=self.tool.stdin)
        line = self.tool.stdout.readline()
        assert line, f"sessions ended at {words}"
        return json.loads(line)

    def connect(self, window=32):
        """Handshakes of all, so few at a time that it is no load: no cookies."""
        return self.ask("connect", window)

    def send(self, seconds, per_second, size, greedy_size=0):
        return Outcome(self.ask("send", seconds, per_second, size, greedy_size))

    def memory(self):
        """Bytes of the process that are its own and resident."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon"))

    def cpu_s(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as f:
            words = f.read().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / TICKS

    def close(self):
        if self.tool:
            self.tool.stdin.close()
            self.tool.wait()
            self.tool.stdout.close()
        self.world.close()


class Outcome:
    """Of one load. Client 0 is the greedy one; the others are honest."""

    def __init__(self, answer):
        self.seconds, self.sink_lost, self.delay_us = answer["seconds"], answer["sink_lost"], answer["delay_us"]
        self.sent, self.delivered, self.delay_sum_ns = (answer[k] for k in ("sent", "delivered", "delay_sum_ns"))

    def honest_share(self):
        """Of what the honest ones sent, how much arrived."""
        return sum(self.delivered[1:]) / sum(self.sent[1:])

    def greedy_share(self):
        return self.delivered[0] / self.sent[0]

    def fairness(self):
        """Jain's index of the shares that arrived, among the honest: 1, all alike; 1/n, one has all."""
        shares = [d / s for d, s in zip(self.delivered[1:], self.sent[1:]) if s]
        squares = sum(x * x for x in shares)
        return sum(shares) ** 2 / (len(shares) * squares) if squares else 0.0

    def __str__(self):
        greedy = f"; the greedy one {self.greedy_share():.1%} of {self.sent[0]}" if self.sent[0] else ""
        return (f"of {sum(self.sent[1:])} honest packets {self.honest_share():.1%} came, fairness {self.fairness():.3f}, "
                f"delay p50 {self.delay_us['p50']} us, p99 {self.delay_us['p99']} us{greedy}, "
                f"{self.sink_lost} lost at the sink")
