# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab as tests see it: hosts to run commands on, links and services to break, captures.

A lab lives while its `lab up --foreground` does, and that while our end of its standard input is open:
however the test run ends, nothing of the lab stays.
"""
import ipaddress
import json
import os
import shlex
import struct
import subprocess
import sys
import threading
import time

from waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin")))
PYTHON = "/usr/bin/python3"
READER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reader.py")
MIB = 1 << 20
# Words of the sanitizers, of lib/bug.c and of the C library's own checks.
FAULTS = ("ERROR: AddressSanitizer", "runtime error:", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
          "BUG ", "*** buffer overflow", "*** stack smashing", "malloc(): ", "free(): ")


class Failed(AssertionError):
    """A command that had to work did not; its words are in the message."""


def run(argv, timeout=120, check=True, **more):
    p = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False,
                       **more)
    if check and p.returncode != 0:
        raise Failed(f"{shlex.join(argv)}: exit status {p.returncode}\n{p.stdout[-2000:]}{p.stderr[-4000:]}")
    return p


def packets(path):
    """(source, destination, bytes) of each IP packet of a pcap file of a layer 3 device."""
    with open(path, "rb") as f:
        data = f.read()
    magic, link = struct.unpack("<I", data[:4])[0], struct.unpack("<I", data[20:24])[0]
    assert magic in (0xA1B2C3D4, 0xA1B23C4D), "pcap"
    assert link in (12, 101, 228, 229), f"raw IP link type, not {link}"
    at = 24
    while at + 16 <= len(data):
        n = struct.unpack("<I", data[at + 8:at + 12])[0]
        p = data[at + 16:at + 16 + n]
        at += 16 + n
        if p[0] >> 4 == 4:
            yield ipaddress.ip_address(p[12:16]), ipaddress.ip_address(p[16:20]), p
        else:
            yield ipaddress.ip_address(p[8:24]), ipaddress.ip_address(p[24:40]), p


class Capture:
    """What passes a host's link, from construction to stop()."""

    def __init__(self, argv, path):
        self.path = path
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "capturing\n"

    def stop(self):
        """Ends it; returns the path of the pcap file."""
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()
        return self.path


class Lab:
    def __init__(self, tmp, relays=8, name=None):
        self.tmp = str(tmp)
        self.log_dir = os.path.join(self.tmp, "logs")
        os.makedirs(self.log_dir, exist_ok=True)
        # A name of its own: a `lab down` beside the tests does not mean this one.
        name = name or f"t{os.getpid()}"
        self.process = subprocess.Popen(
            [f"{BIN}/lab", "--name", name, "--json", "up", "--foreground", "--relays", str(relays), "--keep-logs", self.log_dir],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"lab up: {self.process.stderr.read()}")
        self.state = json.loads(line)
        self.name, self.run_dir = self.state["name"], self.state["run"]
        self.n_captures = 0

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()
        self.process.stderr.close()
        self.check_logs()

    def check_logs(self):
        """No service may have died of a fault of its own, whatever the tests did to it."""
        found = []
        for folder, _, names in os.walk(self.log_dir):
            for name in names:
                with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as f:
                    found += [f"{os.path.relpath(folder, self.log_dir)}: {line.strip()}" for line in f
                              if any(w in line for w in FAULTS)]
        if found:
            raise Failed("services report faults:\n" + "\n".join(found[:40]))

    # ---- the command ----

    def argv(self, *words):
        return [f"{BIN}/lab", "--name", self.name, *map(str, words)]

    def lab(self, *words, **more):
        return run(self.argv(*words), **more).stdout

    def exec(self, host, *command, **more):
        """Runs on the host; the completed process. check=False where failing is an answer."""
        return run(self.argv("exec", host, *command), **more)

    def sh(self, host, script, **more):
        return self.exec(host, "sh", "-c", script, **more).stdout

    def popen(self, host, *command, **more):
        return subprocess.Popen(self.argv("exec", host, *command), text=True, **more)

    # ---- hosts and their services ----

    def hosts(self):
        return json.loads(self.lab("--json", "hosts"))

    def host(self, name):
        return next(h for h in self.hosts() if h["name"] == name)

    def dir(self, host):
        return os.path.join(self.run_dir, host)

    def ctl(self, host, service, *words):
        """What <service>ctl answers, as {table: rows}; None if it refuses or does not answer."""
        p = run([f"{BIN}/{service}ctl", "--dir", self.dir(host), "--json", *words], check=False)
        return json.loads(p.stdout) if p.returncode == 0 else None

    def node(self, host):
        return Node(self, host)

    def kill(self, host, service, signal="KILL"):
        """runit starts it again."""
        self.lab("kill", host, service, "--signal", signal)

    def stop(self, host, service, kill=False):
        self.lab("stop", host, service, *(["--kill"] if kill else []))

    def start(self, host, service):
        self.lab("start", host, service)

    def pid(self, host, service):
        """Inside the lab's process namespace; None while it is not running."""
        try:
            with open(f"{self.dir(host)}/service/{service}/supervise/pid", encoding="ascii") as f:
                return int(f.read())
        except (FileNotFoundError, ValueError):
            return None

    def restart(self, host, service):
        """In order: SIGTERM, and runit starts it again."""
        before = self.pid(host, service)
        self.kill(host, service, "TERM")
        wait_until(lambda: self.pid(host, service) not in (None, before), what=f"{service} of {host} is a new process")

    def logs(self, host, service=None):
        return self.lab("logs", host, *([service] if service else []))

    # ---- breaking things ----

    def link(self, host, *words):
        """link("relay3", "--delay", 80, "--loss", 2), ("relay3", "--down")..."""
        return self.lab("link", host, *words)

    def counters(self, host):
        return json.loads(self.lab("--json", "link", host))

    def kill_host(self, host):
        """As if the power failed. Returns when, on time.monotonic()."""
        self.link(host, "--down")
        when = time.monotonic()
        self.stop(host, "all", kill=True)
        return when

    def restore_host(self, host):
        self.link(host, "--up")
        self.start(host, "all")

    def capture(self, host, device="eth0"):
        self.n_captures += 1
        path = os.path.join(self.tmp, f"{self.n_captures}-{host}.pcap")
        return Capture(self.argv("capture", host, path, "--device", device), path)


class Node:
    """One node's tools."""

    def __init__(self, lab, host):
        self.lab, self.host = lab, host

    def ctl(self, service, *words):
        return self.lab.ctl(self.host, service, *words)

    def mvpn(self, *words, check=True):
        return run([f"{BIN}/mvpn", "--dir", self.lab.dir(self.host), *words], check=check).stdout

    def json(self, tool, *words):
        """tool: mvpn or one of the *ctl."""
        p = run([f"{BIN}/{tool}", "--dir", self.lab.dir(self.host), "--json", *words], check=False)
        return json.loads(p.stdout) if p.returncode == 0 else {}

    def session(self):
        rows = self.json("mvpn", "status").get("session", [])
        return rows[0] if rows else {"phase": ""}

    def hops(self):
        """The route in use, entry first."""
        return self.json("mvpn", "route").get("hops", [])


class Client(Node):
    """The client node and what its user does."""

    def connect(self, hops=3, exit="any"):
        return self.mvpn("connect", "--hops", str(hops), "--exit", exit)

    def disconnect(self):
        return self.mvpn("disconnect")

    def sh(self, script, **more):
        return self.lab.sh(self.host, script, **more)

    def curl(self, *words, **more):
        return self.lab.exec(self.host, "curl", "-sS", "--fail", "--max-time", "60", *words, **more).stdout

    def answers(self, url):
        return self.lab.exec(self.host, "curl", "-s", "--fail", "--max-time", "3", "-o", "/dev/null", url,
                             check=False).returncode == 0

    def first_answer_after(self, when, url):
        """Seconds from `when` (time.monotonic) until a fresh connection got its answer. A new one is
        tried every 0.1 s, so a lost packet of one does not count for the next."""
        p = self.lab.exec(self.host, PYTHON, "-B", READER, "first", url)
        return float(p.stdout.split()[-1]) - when

    def download(self, n_bytes, rate_Bps=0, seed=1, url="http://web.test"):
        return Download(self, f"{url}/blob?bytes={n_bytes}&seed={seed}&rate={rate_Bps}",
                        f"/blob-sha256?bytes={n_bytes}&seed={seed}", n_bytes)


class Datagrams:
    """A UDP flow: one socket whose datagrams the web server sends back."""

    def __init__(self, client, address):
        self.process = client.lab.popen(client.host, PYTHON, "-B", READER, "datagrams", address,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.n = 0  # answers so far
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        for _ in self.process.stdout:
            self.n += 1

    def more(self):
        """Until another one is answered; fails if the socket had an error."""
        before = self.n
        wait_until(lambda: self.n > before or self.process.poll() is not None, what="a datagram comes back")
        return self.n > before

    def end(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.thread.join(10)
        self.process.stdout.close()


class Download:
    """A download under way. Its checksum is compared with what the web server says, locally there."""

    def __init__(self, client, url, check_path, n_bytes):
        self.client, self.check_path, self.n_bytes = client, check_path, n_bytes
        self.process = client.lab.popen(client.host, PYTHON, "-B", READER, "read", url, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.samples = []  # (time.monotonic, bytes so far)
        self.last = ""
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def _follow(self):
        for line in self.process.stdout:
            words = line.split()
            if len(words) == 2 and words[1].isdigit() and words[0].replace(".", "").isdigit():
                self.samples.append((float(words[0]), int(words[1])))
            else:
                self.last = line.strip()  # the checksum, or the last line of why there is none

    def received(self):
        return self.samples[-1][1] if self.samples else 0

    def finish(self, timeout=180):
        """True if all bytes came and are right."""
        self.process.wait(timeout)
        self.thread.join(10)
        self.process.stdout.close()
        want = self.client.lab.sh("web", f"curl -sS --fail 'http://[::1]{self.check_path}'").strip()
        if self.last != f"sha256 {want}":
            print(f"download: {self.received()} of {self.n_bytes} bytes, then: {self.last}", file=sys.stderr)
        return self.last == f"sha256 {want}"

    def longest_pause(self):
        return max((b[0] - a[0] for a, b in zip(self.samples, self.samples[1:])), default=0.0)


def wait_ready(lab, n_relays):
    """Until the client knows all relays."""
    def known():
        status = lab.ctl("client", "router", "status")
        return status and status["router"][0]["relays"] >= n_relays
    wait_until(known, what=f"the client knows {n_relays} relays")
