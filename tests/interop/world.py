# SPDX-License-Identifier: GPL-2.0-or-later
"""Two machines with a wire between them, as network namespaces, and a WireGuard interface on each.

    left [wg 10.9.0.1, fd09::1] -- veth 198.18.0.1 / 2001:db8::1 -- 2001:db8::2 / 198.18.0.2 -- [wg 10.9.0.2, fd09::2] right
"""
import ctypes
import fcntl
import hashlib
import itertools
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin"))
OURS = f"{BIN}/mvpn-tunnel"
TOOLS = os.path.join(ROOT, "build/rel/tests/tools")
THEIRS = "wireguard-go"
PATIENCE_S = 40

_numbers = itertools.count(1)
_libc = ctypes.CDLL(None, use_errno=True)


def wait_until(condition, what, patience=PATIENCE_S):
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.05)


def run(*argv, check=True, **more):
    p = subprocess.run(argv, capture_output=True, text=True, **more)
    assert not check or p.returncode == 0, f"{' '.join(argv)}: {p.stdout}{p.stderr}"
    return p


def genkey():
    return run("wg", "genkey").stdout.strip()


def pubkey(private):
    return run("wg", "pubkey", input=private).stdout.strip()


def tun_open(name, flags):
    """A TUN device of that name; flags beside IFF_TUN | IFF_NO_PI."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1001 | flags))  # TUNSETIFF
    return fd


def uapi_open(path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    return s.detach()


class Capture:
    """Frames of a device of a namespace, both ways, as they pass; link: with their Ethernet heads."""

    def __init__(self, ns, device, link=True):
        self.socket = ns.socket(socket.AF_PACKET, socket.SOCK_RAW if link else socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind((device, 3))  # ETH_P_ALL
        self.socket.settimeout(0)

    def frames(self):
        out = []
        try:
            while True:
                out.append(self.socket.recv(65536))
        except BlockingIOError:
            return out

    def close(self):
        self.socket.close()


def udp_of(frame):
    """(family, TOS, may be cut, source port, destination port, payload) of an Ethernet frame, or None."""
    kind, ip = frame[12:14], frame[14:]
    if kind == b"\x08\x00" and ip[9] == 17 and not ip[6] & 0x1F and not ip[7]:
        head = (ip[0] & 15) * 4
        return 4, ip[1], not ip[6] & 0x40, *struct.unpack(">HH", ip[head:head + 4]), ip[head + 8:]
    if kind == b"\x86\xdd" and ip[6] == 17:
        return 6, (ip[0] & 15) << 4 | ip[1] >> 4, True, *struct.unpack(">HH", ip[40:44]), ip[48:]
    return None


class Namespace:
    def __init__(self, name):
        self.name = f"wgt{os.getpid()}{name}"
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")

    def run(self, *argv, **more):
        return run("ip", "netns", "exec", self.name, *argv, **more)

    def ip(self, *argv, **more):
        return run("ip", "-n", self.name, *argv, **more)

    def enter(self, work):
        """Runs work() in a thread of this namespace; returns its value."""
        out = {}

        def body():
            fd = os.open(f"/var/run/netns/{self.name}", os.O_RDONLY)
            try:
                assert _libc.setns(fd, 0x40000000) == 0, os.strerror(ctypes.get_errno())
                out["value"] = work()
            except BaseException as e:  # handed on below
                out["error"] = e
            finally:
                os.close(fd)
        t = threading.Thread(target=body)
        t.start()
        t.join()
        if "error" in out:
            raise out["error"]
        return out["value"]

    def socket(self, family, kind):
        return self.enter(lambda: socket.socket(family, kind))

    def close(self):
        run("ip", "netns", "del", self.name, check=False)


class Interface:
    """A userspace WireGuard in a namespace. program: OURS or THEIRS."""

    def __init__(self, ns, program, inner, env=None, log="verbose", handed=None, name=None):
        """handed: flags of a TUN device that is made here; it and the socket are given to the program."""
        self.ns, self.program, self.inner = ns, program, inner
        self.name = name or f"w{os.getpid()}x{next(_numbers)}"[:15]
        self.private = genkey()
        self.public = pubkey(self.private)
        self.log_path = f"/tmp/{self.name}.log"
        fds = [] if handed is None else [ns.enter(lambda: tun_open(self.name, handed)), uapi_open(self.socket_path)]
        env = {**os.environ, "LOG_LEVEL": log, "WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", **(env or {})}
        if fds:
            env.update(WG_TUN_FD=str(fds[0]), WG_UAPI_FD=str(fds[1]), WG_PROCESS_FOREGROUND="1")
        with open(self.log_path, "w", encoding="utf-8") as f:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", ns.name, program, *([] if fds else ["-f"]), self.name], stdout=f, stderr=f,
                env=env, pass_fds=fds)
        for fd in fds:
            os.close(fd)
        wait_until(lambda: self.there() and ns.run("wg", "show", self.name, check=False).returncode == 0,
                   f"{program} is there")
        self.set("private-key", "/dev/stdin", input=self.private)
        for a in inner:
            ns.ip("addr", "add", a, "dev", self.name, *(["nodad"] if ":" in a else []))

    @property
    def socket_path(self):
        return f"/var/run/wireguard/{self.name}.sock"

    def link(self):
        return self.ns.ip("link", "show", self.name, check=False).stdout

    def there(self):
        return self.link() != ""

    def up(self, mtu=1420):
        """mtu None: as it is."""
        self.ns.ip("link", "set", self.name, *(["mtu", str(mtu)] if mtu else []), "up")
        return self

    def set(self, *words, **more):
        return self.ns.run("wg", "set", self.name, *words, **more)

    def dump(self):
        """(port, fwmark, {public key: {...}})"""
        lines = [line.split("\t") for line in self.ns.run("wg", "show", self.name, "dump").stdout.splitlines()]
        keys = ("psk", "endpoint", "allowed", "handshake", "rx", "tx", "keepalive")
        peers = {line[0]: dict(zip(keys, line[1:])) for line in lines[1:]}
        return int(lines[0][2]), lines[0][3], peers

    def peer(self, other):
        return self.dump()[2][other.public]

    def uapi(self, text):
        """One request by hand; the lines of its answer."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(PATIENCE_S)
            s.connect(self.socket_path)
            s.sendall(text.encode())
            got = b""
            while not re.search(rb"errno=-?\d+\n\n$", got):
                more = s.recv(65536)
                assert more, f"closed after {got!r}"
                got += more
        return got.decode().split("\n")[:-2]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def counters(self):
        """Sums over the workers of what they say when they end (ours only)."""
        assert self.process.poll() is not None
        out = {}
        for line in re.findall(r"worker \d+: (.*)", self.log()):
            for key, n in re.findall(r"(\w+)=(\d+)", line):
                out[key] = out.get(key, 0) + int(n)
        return out

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
            assert code == 0, f"{self.program} ended with {code}: {self.log()[-2000:]}"

    def discard(self):
        try:
            self.close()
        finally:
            for p in (self.socket_path, self.log_path):
                if os.path.exists(p):
                    os.unlink(p)


class World:
    def __init__(self):
        self.left, self.right = Namespace("l"), Namespace("r")
        self.interfaces = []
        self.left.ip("link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", self.right.name)
        for ns, n in ((self.left, 1), (self.right, 2)):
            ns.ip("link", "set", "wire", "up")
            ns.ip("addr", "add", f"198.18.0.{n}/24", "dev", "wire")
            ns.ip("addr", "add", f"2001:db8::{n}/64", "dev", "wire", "nodad")
        wait_until(lambda: self.left.run("ping", "-6", "-c1", "-W1", "2001:db8::2", check=False).returncode == 0, "wire")

    def interface(self, ns, program, number, env=None, **more):
        i = Interface(ns, program, [f"10.9.0.{number}/24", f"fd09::{number}/64"], env, **more)
        self.interfaces.append(i)
        return i

    def pair(self, left=OURS, right=THEIRS, family=4, psk=False, mtu=1420, env=None, **more):
        """Both up and knowing each other; nothing was sent yet."""
        a, b = self.interface(self.left, left, 1, env, **more), self.interface(self.right, right, 2, env)
        outer = {4: ("198.18.0.1", "198.18.0.2"), 6: ("[2001:db8::1]", "[2001:db8::2]")}[family]
        secret = ["preshared-key", "/dev/stdin"] if psk else []
        key = genkey()
        a.set("listen-port", "5001", "peer", b.public, *secret, "endpoint", f"{outer[1]}:5002",
              "allowed-ips", "10.9.0.2/32,fd09::2/128", input=key)
        b.set("listen-port", "5002", "peer", a.public, *secret, "endpoint", f"{outer[0]}:5001",
              "allowed-ips", "10.9.0.1/32,fd09::1/128", input=key)
        a.up(mtu)
        b.up(mtu)
        return a, b

    def close(self):
        try:
            for i in self.interfaces:
                i.discard()
        finally:
            self.left.close()
            self.right.close()


def ping(ns, address, size=56, count=1):
    return ns.run("ping", "-c", str(count), "-W", "1", "-s", str(size), address, check=False).returncode == 0


def reaches(ns, address, patience=PATIENCE_S):
    wait_until(lambda: ping(ns, address), f"ping {address}", patience)
    return True


def transfer(sender, receiver, address, n_bytes):
    """n_bytes over TCP from namespace sender to (receiver, address), compared by hash."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = receiver.socket(family, socket.SOCK_STREAM)
    listener.bind((address, 0))
    listener.listen(1)
    listener.settimeout(PATIENCE_S)
    block = hashlib.shake_128(b"block").digest(1 << 20)
    got = hashlib.sha256()
    seen = [0]

    def read():
        c, _ = listener.accept()
        c.settimeout(PATIENCE_S)
        while data := c.recv(1 << 20):
            got.update(data)
            seen[0] += len(data)
        c.close()
    t = threading.Thread(target=read)
    t.start()
    s = sender.socket(family, socket.SOCK_STREAM)
    s.settimeout(PATIENCE_S)
    s.connect((address, listener.getsockname()[1]))
    want = hashlib.sha256()
    left = n_bytes
    while left > 0:
        piece = block[:min(left, len(block))]
        s.sendall(piece)
        want.update(piece)
        left -= len(piece)
    s.close()
    t.join(PATIENCE_S)
    listener.close()
    assert seen[0] == n_bytes and got.digest() == want.digest()


def datagrams(sender, receiver, address, sizes):
    """Each size there and back over UDP, unchanged."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server, client = receiver.socket(family, socket.SOCK_DGRAM), sender.socket(family, socket.SOCK_DGRAM)
    server.bind((address, 0))
    server.settimeout(0.5)
    client.settimeout(0.5)
    data = hashlib.shake_128(b"datagram").digest(65536)
    for n in sizes:
        for _ in range(20):
            try:
                client.sendto(data[:n], server.getsockname()[:2])
                got, back = server.recvfrom(65536)
                server.sendto(got, back[:2])
                if client.recv(65536) == data[:n] == got:
                    break
            except TimeoutError:
                pass
        else:
            raise AssertionError(f"{n} bytes do not come through")
    server.close()
    client.close()


class BadWire:
    """Carries datagrams between two endpoints in namespace ns and does to some of them what a hostile wire can:
    repeats them, also much later, changes a bit, cuts them, lets them overtake each other."""

    def __init__(self, ns, port, target, seed):
        self.rng = random.Random(seed)
        self.target = target
        self.near, self.far = (ns.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self.near.bind(("0.0.0.0", port))
        self.far.connect(target)
        self.source = None
        self.kept = {self.near: [], self.far: []}
        self.n_bad = 0
        self.stop = False
        self.thread = threading.Thread(target=self.carry)
        self.thread.start()

    def send(self, way, data):
        if way is self.near:  # came from the near side
            self.far.send(data)
        elif self.source:
            self.near.sendto(data, self.source)

    def carry(self):
        while not self.stop:
            for s in select.select([self.near, self.far], [], [], 0.1)[0]:
                try:
                    data, source = s.recvfrom(65536)
                except OSError:
                    continue
                if s is self.near:
                    self.source = source
                self.mishandle(s, data)

    def mishandle(self, way, data):
        kept, dice = self.kept[way], self.rng.random()
        if len(kept) < 1000:
            kept.append(data)
        if dice < 0.1:
            self.send(way, self.rng.choice(kept))
        elif dice < 0.15:
            bad = bytearray(data)
            bad[self.rng.randrange(len(bad))] ^= 1 << self.rng.randrange(8)
            self.send(way, bytes(bad))
        elif dice < 0.2:
            self.send(way, data[:self.rng.randrange(len(data))])
        elif dice < 0.25:
            self.send(way, data + bytes(self.rng.randrange(1, 50)))
        elif dice < 0.3:
            self.send(way, bytes(self.rng.randbytes(self.rng.randrange(200))))
        self.n_bad += dice < 0.3
        try:
            self.send(way, data)
        except OSError:
            pass

    def close(self):
        self.stop = True
        self.thread.join()
        self.near.close()
        self.far.close()
