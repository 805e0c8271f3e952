# SPDX-License-Identifier: GPL-2.0-or-later
"""Each contender: hosts in a row, its daemons, an address of the last host that is reached through it."""
import os
import shutil
import tempfile

import zmq

from bus import BIN, Node
from net import OUT, Daemon, Row, reaches
from world import genkey, pubkey, run, wait_until

WG_NEW = f"{OUT}/backports/wireguard-go"
WG_ENV = {"WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD": "1", "LOG_LEVEL": "error"}


class Contender:
    """n_hosts in a row; set_up() starts daemons and returns the address of the last host."""

    n_hosts = 2

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mvpnb")
        self.daemons = []
        self.row = Row(self.n_hosts)
        self.client, self.server = self.row.hosts[0], self.row.hosts[-1]
        self.address = None
        try:
            self.address = self.set_up()
            reaches(self.client, self.address)
        except BaseException:
            self.close()
            raise

    def daemon(self, ns, *argv, **more):
        d = Daemon(ns, *argv, **more)
        self.daemons.append(d)
        return d

    def cpu_s(self):
        return sum(d.cpu_s() for d in self.daemons)

    def memory_mb(self):
        """Of the largest process."""
        return max((d.memory_mb() for d in self.daemons), default=(0.0, 0.0))

    def file(self, name, text):
        path = f"{self.dir}/{name}"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as f:
            f.write(text)
        return path

    def close(self):
        for d in self.daemons:
            d.close()
        self.row.close()
        shutil.rmtree(self.dir)


class Veth(Contender):
    """No tunnel: the ceiling. Hosts between forward."""

    def __init__(self, hops):
        self.n_hosts = 2 if hops == 1 else hops + 2
        super().__init__()

    def set_up(self):
        last = self.n_hosts - 1
        for i in range(1, last):
            self.row.forwards(i)
            self.row.hosts[i].ip("route", "replace", f"198.18.{last}.0/24", "via", self.row.address(i + 1))
            if i > 1:
                self.row.hosts[i].ip("route", "add", "198.18.1.0/24", "via", f"198.18.{i}.1")
        if last > 1:
            self.client.ip("route", "add", f"198.18.{last}.0/24", "via", self.row.address(1))
            self.server.ip("route", "add", "198.18.1.0/24", "via", f"198.18.{last}.1")
        return self.row.address(last)


class WireGuard(Contender):
    """A program with WireGuard's UAPI. One hop: client and server. More: one interface per hop on the client,
    each inside the one before; relays forward in the kernel."""

    def __init__(self, program, hops):
        self.program, self.hops = program, hops
        self.n_hosts = 2 if hops == 1 else hops + 2
        super().__init__()

    def interface(self, ns, hop, address, mtu):
        name = f"w{hop}n{self.row.number}"  # control sockets of all namespaces lie in one folder
        self.daemon(ns, self.program, "-f", name, env=WG_ENV)
        wait_until(lambda: os.path.exists(f"/var/run/wireguard/{name}.sock") and
                   ns.ip("link", "show", name, check=False).returncode == 0, f"{name} is there")
        key = genkey()
        ns.run("wg", "set", name, "private-key", "/dev/stdin", "listen-port", str(5000 + hop), input=key)
        ns.ip("addr", "add", f"{address}/24", "dev", name)
        ns.ip("link", "set", name, "mtu", str(mtu), "up")
        return name, pubkey(key)

    def hop(self, k):
        """Client's interface k and its other end on host k."""
        mtu = 1420 - 60 * (k - 1)
        near, near_pk = self.interface(self.client, 10 + k, f"10.{k}.0.2", mtu)
        far, far_pk = self.interface(self.row.hosts[k], 20 + k, f"10.{k}.0.1", mtu)
        self.client.run("wg", "set", near, "peer", far_pk, "endpoint", f"{self.row.address(k)}:{5020 + k}",
                        "allowed-ips", "0.0.0.0/0")
        self.row.hosts[k].run("wg", "set", far, "peer", near_pk, "allowed-ips", f"10.{k}.0.2/32")
        return near

    def set_up(self):
        if self.hops == 1:
            self.hop(1)
            return "10.1.0.1"
        for k in range(1, self.hops + 1):
            device = self.hop(k)
            self.row.forwards(k)
            # The next host is reached through this hop, and knows the way back.
            self.client.ip("route", "add", f"{self.row.address(k + 1)}/32", "dev", device, "src", f"10.{k}.0.2")
            self.row.hosts[k + 1].ip("route", "add", f"10.{k}.0.0/24", "via", f"198.18.{k + 1}.1")
        return self.row.address(self.hops + 1)


class Overlay(Contender):
    """mvpn-tunnel --dir on client, relays and exit: circuits, and the exit's address translation."""

    def __init__(self, hops):
        self.hops, self.n_hosts = hops, hops + 2
        self.ctx = zmq.Context()
        self.nodes = []
        super().__init__()

    def node(self, ns, name, **more):
        n = Node(self.ctx, ns, f"{self.dir}/{name}", name, **more)
        self.nodes.append(n)
        self.daemons.append(n.daemon)
        return n

    def set_up(self):
        relays = [self.node(self.row.hosts[k], f"r{k}", address=self.row.address(k), exit=k == self.hops)
                  for k in range(1, self.hops + 1)]
        self.node(self.client, "c").connect(relays)
        return self.row.address(self.hops + 1)

    def close(self):
        for n in self.nodes:
            for r in n.roles.values():
                r.close()
        super().close()
        self.ctx.term()


class Nebula(Contender):
    CONF = """pki: {{ca: {d}/ca.crt, cert: {d}/{n}.crt, key: {d}/{n}.key}}
static_host_map: {{"10.1.0.{o}": ["198.18.1.{o}:4242"]}}
lighthouse: {{am_lighthouse: false}}
listen: {{host: 0.0.0.0, port: 4242}}
punchy: {{punch: false}}
tun: {{dev: neb, mtu: 1420, tx_queue: 500}}
logging: {{level: error}}
firewall: {{outbound: [{{port: any, proto: any, host: any}}], inbound: [{{port: any, proto: any, host: any}}]}}
"""

    def set_up(self):
        run("nebula-cert", "ca", "-name", "bench", cwd=self.dir)
        for n in (1, 2):
            run("nebula-cert", "sign", "-name", f"n{n}", "-ip", f"10.1.0.{n}/24", cwd=self.dir)
            conf = self.file(f"n{n}.yml", self.CONF.format(d=self.dir, n=f"n{n}", o=3 - n))
            self.daemon(self.row.hosts[n - 1], "nebula", "-config", conf)
        return "10.1.0.2"


class OpenVpn(Contender):
    def set_up(self):
        prints = []
        for n in (1, 2):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                "-days", "2", "-subj", f"/CN=n{n}", "-keyout", f"n{n}.key", "-out", f"n{n}.crt", cwd=self.dir)
            text = run("openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", f"n{n}.crt", cwd=self.dir).stdout
            prints.append(text.strip().split("=")[1])
        for n in (2, 1):
            role = ["--tls-client", "--remote", "198.18.1.2", "1194"] if n == 1 else ["--tls-server", "--dh", "none"]
            self.daemon(self.row.hosts[n - 1], "openvpn", "--dev", "tun", "--proto", "udp", "--disable-dco",
                        "--ifconfig", f"10.1.0.{n}", f"10.1.0.{3 - n}", "--cert", f"{self.dir}/n{n}.crt",
                        "--key", f"{self.dir}/n{n}.key", "--peer-fingerprint", prints[2 - n],
                        "--data-ciphers", "CHACHA20-POLY1305", *role)
        return "10.1.0.2"


class Fastd(Contender):
    def set_up(self):
        secrets = [run("fastd", "--generate-key", "--machine-readable").stdout.strip() for _ in range(2)]
        for n in (2, 1):
            other = self.file(f"k{n}", f'secret "{secrets[2 - n]}";\n')
            public = run("fastd", "--show-key", "--machine-readable", "--config", other).stdout.strip()
            remote = 'remote 198.18.1.2:9000;' if n == 1 else ""
            conf = self.file(f"f{n}", f'secret "{secrets[n - 1]}";\nmethod "salsa2012+umac";\nmode tun;\nmtu 1420;\n'
                             f'interface "fst";\nbind 198.18.1.{n}:9000;\nlog level error;\n'
                             f'peer "o" {{ key "{public}"; {remote} }}\n'
                             f'on up "ip addr add 10.1.0.{n} peer 10.1.0.{3 - n} dev fst; ip link set fst up";\n')
            self.daemon(self.row.hosts[n - 1], "fastd", "--config", conf)
        return "10.1.0.2"


class Tinc(Contender):
    def set_up(self):
        for n in (1, 2):
            self.file(f"n{n}/tinc.conf", f"Name = n{n}\nInterface = tnc\nMode = router\n" +
                      ("ConnectTo = n2\n" if n == 1 else ""))
            up = self.file(f"n{n}/tinc-up", f"#!/bin/sh\nip addr add 10.1.0.{n}/24 dev tnc\nip link set tnc mtu 1420 up\n")
            os.chmod(up, 0o700)
            self.file(f"n{n}/hosts/n{n}", f"Address = 198.18.1.{n}\nSubnet = 10.1.0.{n}/32\n")
            run("tincd", "-c", f"{self.dir}/n{n}", "-K2048", input="\n\n")
        for a, b in ((1, 2), (2, 1)):
            shutil.copy(f"{self.dir}/n{a}/hosts/n{a}", f"{self.dir}/n{b}/hosts/n{a}")
        for n in (2, 1):
            self.daemon(self.row.hosts[n - 1], "tincd", "-c", f"{self.dir}/n{n}", "-D",
                        f"--pidfile={self.dir}/n{n}/pid")
        return "10.1.0.2"


def contenders(hops):
    """name -> how to bring it up; those whose program is there."""
    found = {
        "veth": (lambda: Veth(hops), "ip"),
        "mvpn": ((lambda: WireGuard(f"{BIN}/mvpn-tunnel", 1)) if hops == 1 else (lambda: Overlay(hops)), "ip"),
        "wireguard-go": (lambda: WireGuard(WG_NEW, hops), WG_NEW),
        "wireguard-go-2022": (lambda: WireGuard("wireguard-go", hops), "wireguard-go"),
    }
    if hops == 1:
        found |= {"mvpn-route": (lambda: Overlay(1), "ip"), "nebula": (Nebula, "nebula"),
                  "openvpn": (OpenVpn, "openvpn"), "fastd": (Fastd, "fastd"), "tinc": (Tinc, "tincd")}
    return {name: make for name, (make, program) in found.items() if shutil.which(program)}
