# SPDX-License-Identifier: GPL-2.0-or-later
"""wg-quick as Debian has it, with a default route and a resolver; the other side is wireguard-go.

What it writes below /etc it writes into one of its own: a mount namespace in which /etc is in memory."""
import os
import shutil
import subprocess

import pytest

from world import OURS, ROOT, THEIRS, Capture, World, genkey, ping, pubkey, reaches, udp_of, wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces and interfaces: needs root")
OPENRESOLV = f"{ROOT}/build/openresolv"  # tools/deps.sh
SITE4, SITE6, RESOLVER, ENDPOINT = "192.0.2.1", "2001:db8:1::1", "192.0.2.53", "203.0.113.2"
BEFORE = "nameserver 198.18.0.77\n"


class Machine:
    """The left namespace with an /etc of its own."""

    def __init__(self, ns, folder):
        etc = folder / "etc"
        etc.mkdir()
        for name in ("passwd", "group", "protocols", "services", "ld.so.cache", "alternatives"):
            if os.path.isdir(f"/etc/{name}"):
                shutil.copytree(f"/etc/{name}", etc / name, symlinks=True)
            elif os.path.exists(f"/etc/{name}"):
                shutil.copy(f"/etc/{name}", etc)
        (etc / "nsswitch.conf").write_text("hosts: dns\n")
        (etc / "resolv.conf").write_text(BEFORE)
        (etc / "resolvconf.conf").write_text(
            f"state_dir={folder}/state\nLIBEXECDIR={OPENRESOLV}/lib/resolvconf\n"
            f"list_resolv='{OPENRESOLV}/sbin/resolvconf -l'\nlibc_restart=true\n")
        self.etc = etc
        self.env = {**os.environ, "PATH": f"{OPENRESOLV}/sbin:{os.environ['PATH']}",
                    "WG_QUICK_USERSPACE_IMPLEMENTATION": OURS}
        self.prefix = ["unshare", "-m", "--propagation", "private", "sh", "-c", f'mount --bind {etc} /etc && exec "$@"', "sh"]
        self.ns = ns

    def run(self, *argv, **more):
        return self.ns.run(*self.prefix, *argv, env=self.env, **more)

    def resolver(self):
        return (self.etc / "resolv.conf").read_text()

    def rules(self):
        """All that wg-quick may change, as text."""
        return "".join(self.ns.ip(f, *what).stdout for f in ("-4", "-6") for what in
                       (("rule",), ("route", "show", "table", "all", "type", "unicast"))
                       ) + self.ns.run("nft", "list", "ruleset").stdout


@pytest.fixture
def world():
    w = World()
    yield w
    w.close()


@pytest.fixture
def site(world):
    """wireguard-go on the right, and behind it a site and a resolver that knows its name. The left one has a
    default route to all of that, and to the other's endpoint, without any tunnel."""
    b = world.interface(world.right, THEIRS, 2)
    b.set("listen-port", "5002")
    b.up()
    for address in (f"{SITE4}/32", f"{SITE6}/128", f"{RESOLVER}/32", f"{ENDPOINT}/32"):
        world.right.ip("addr", "add", address, "dev", "lo")
    world.left.ip("route", "add", "default", "via", "198.18.0.2")
    world.left.ip("-6", "route", "add", "default", "via", "2001:db8::2")
    with subprocess.Popen(
            ["ip", "netns", "exec", world.right.name, "dnsmasq", "-k", "-C", "/dev/null", "-x", "", "-R", "-h",
             "-a", RESOLVER, "-z", f"--host-record=www.site.test,{SITE4}", "-u", "root"]) as resolver:
        try:
            wait_until(lambda: world.right.run("ss", "-Huln", "sport = :53").stdout, "the resolver listens")
            yield b
        finally:
            resolver.terminate()


def in_the_clear(capture):
    """Packets on the wire that are neither the tunnel's nor of neighbours finding each other."""
    out = []
    for f in capture.frames():
        kind, u = f[12:14], udp_of(f)
        tunnel = u and 5002 in u[3:5]
        neighbours = kind == b"\x08\x06" or kind == b"\x86\xdd" and f[20] in (0, 58) and (f[20] == 0 or f[54] >= 130)
        if not tunnel and not neighbours:
            out.append(f)
    return out


def test_up_and_down_with_a_resolver_and_a_default_route(world, site, tmp_path):
    left = Machine(world.left, tmp_path)
    private, name = genkey(), f"q{os.getpid()}"[:15]
    site.set("peer", pubkey(private), "allowed-ips", "10.9.0.1/32,fd09::1/128")
    conf = tmp_path / f"{name}.conf"
    conf.write_text(f"[Interface]\nPrivateKey = {private}\nAddress = 10.9.0.1/24, fd09::1/64\n"
                    f"DNS = {RESOLVER}, site.test\n"
                    f"[Peer]\nPublicKey = {site.public}\nEndpoint = {ENDPOINT}:5002\n"
                    "AllowedIPs = 0.0.0.0/0, ::/0\nPersistentKeepalive = 5\n")
    conf.chmod(0o600)
    rules = left.rules()
    capture = Capture(world.left, "wire")
    reaches(world.left, SITE4)
    assert in_the_clear(capture), "without a tunnel it is seen"

    # No `ip link add type wireguard` here, so wg-quick takes the implementation that it is given.
    up = left.run("wg-quick", "up", str(conf), check=False)
    assert up.returncode == 0, up.stderr
    try:
        assert "mvpn-tunnel" in up.stderr
        assert left.resolver().split("\n")[1:3] == ["search site.test", f"nameserver {RESOLVER}"]
        capture.frames()
        for name_ in ("www.site.test", "www"):
            assert left.run("getent", "ahostsv4", name_).stdout.split()[0] == SITE4
        reaches(world.left, SITE4)
        reaches(world.left, SITE6)
        assert not in_the_clear(capture)
        mark = world.left.run("wg", "show", name, "fwmark").stdout.strip()
        assert f"not from all fwmark {mark} lookup" in left.rules()
        assert site.dump()[2][pubkey(private)]["endpoint"].startswith("198.18.0.1:")
        sessions_are_kept(world, left, conf, name, capture)
    finally:
        down = left.run("wg-quick", "down", str(conf), check=False)
    assert down.returncode == 0, down.stderr
    assert left.resolver() == BEFORE
    assert left.rules() == rules
    assert world.left.ip("link", "show", name, check=False).returncode != 0
    wait_until(lambda: not os.path.exists(f"/var/run/wireguard/{name}.sock"), "its socket is gone")
    reaches(world.left, SITE4)
    assert in_the_clear(capture)
    capture.close()


def sessions_are_kept(world, left, conf, name, capture):
    """`wg syncconf` with one peer more: the one that was there does not shake hands again."""
    more = f"\n[Peer]\nPublicKey = {pubkey(genkey())}\nAllowedIPs = 10.77.0.0/16\n"
    mark = world.left.run("wg", "show", name, "fwmark").stdout.strip()
    # What the file does not say is taken away, the mark that wg-quick chose too.
    stripped = left.run("wg-quick", "strip", str(conf)).stdout.replace("[Interface]", f"[Interface]\nFwMark = {mark}")
    for text, n in ((stripped + more, 2), (stripped, 1)):
        before = world.left.run("wg", "show", name, "latest-handshakes").stdout.split("\n")[0]
        capture.frames()
        world.left.run("wg", "syncconf", name, "/dev/stdin", input=text)
        assert world.left.run("wg", "show", name, "peers").stdout.count("\n") == n
        assert ping(world.left, SITE4)
        assert before in world.left.run("wg", "show", name, "latest-handshakes").stdout.split("\n")
        sent = [u[5][0] for u in map(udp_of, capture.frames()) if u]
        assert 4 in sent and 1 not in sent, sent
