# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab itself: links do what they are set to, hosts reach each other, nothing stays behind.

    client --- DE ===== US --- web, dns          one-way: link + path + link
               |  \\==== CH, FR ... --- relays
"""
import hashlib
import ipaddress
import json
import os
import re
import signal
import socket
import subprocess

import pytest

from labkit import BIN, MIB, PYTHON, READER, Failed, Lab, run
from waiting import wait_until

import sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lab"))
import topology  # noqa: E402

PLAIN = ["--delay", 0, "--jitter", 0, "--loss", 0, "--rate", 0]


@pytest.fixture
def pair(bare_lab):
    """web and dns, both in one country: 2 ms apart each way, their links plain."""
    for host in ("web", "dns"):
        bare_lab.link(host, *PLAIN)
    yield bare_lab
    for host in ("web", "dns"):
        bare_lab.link(host, *PLAIN, "--up", "--reorder", "off", "--queue", 1024, "--delay", 0.3, "--jitter", 0.2)


def ping(lab, host, to, *words, count=10):
    out = lab.exec(host, "ping", "-q", "-c", count, "-i", "0.01", "-W", "2", *words, to, check=False).stdout
    received = int(re.search(r"(\d+) received", out).group(1))
    times = re.search(r"= ([0-9.]+)/([0-9.]+)/([0-9.]+)/", out)
    return received, [float(t) for t in times.groups()] if times else None


# ---- reach ----

@pytest.mark.parametrize("family", ["4", "6"])
def test_everyone_reaches_everyone(bare_lab, family):
    hosts = bare_lab.hosts()
    for a, b in zip(hosts, hosts[1:] + hosts[:1]):
        # Links lose some: one of ten is enough to say that there is a way.
        received, _ = ping(bare_lab, a["name"], b["ip" + family], count=10)
        assert received >= 1, f"{a['name']} to {b['name']}"


def test_only_test_ranges_and_the_geography_knows_all(bare_lab):
    allowed = [ipaddress.ip_network(n) for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "198.18.0.0/15",
                                                 "2001:db8::/32")]
    networks = topology.networks()
    for h in bare_lab.hosts():
        for a in (ipaddress.ip_address(h["ip4"]), ipaddress.ip_address(h["ip6"])):
            assert any(a in n for n in allowed if n.version == a.version)
            assert a in networks[h["asn"]][a.version]
    relays = [h for h in bare_lab.hosts() if h["kind"] == "relay"]
    assert len(relays) >= 8
    assert sum(h["exit"] for h in relays) >= 4
    assert len({h["country"] for h in relays}) >= 4
    assert len({h["asn"] for h in relays}) >= 6


def test_names_resolve(bare_lab):
    web = bare_lab.host("web")
    out = bare_lab.sh("client", "getent ahosts web.test")
    assert web["ip4"] in out and web["ip6"] in out
    assert bare_lab.exec("client", "getent", "hosts", "no-such-name.test", check=False).returncode != 0
    # A file of the host's own: the machine's resolvers are not asked.
    assert web["ip4"] not in open("/etc/resolv.conf", encoding="utf-8").read()


def test_unreachable_and_expired_are_said(bare_lab):
    out = bare_lab.exec("client", "ping", "-c", "1", "-W", "2", "198.18.77.77", check=False).stdout
    assert "Destination Host Unreachable" in out and topology.ROUTER4 in out
    web = bare_lab.host("web")
    for address, words in ((web["ip4"], "Time to live exceeded"), (web["ip6"], "Hop limit")):
        out = bare_lab.exec("client", "ping", "-c", "1", "-W", "2", "-t", "1", address, check=False).stdout
        assert words in out
    # One router on the way.
    assert "ttl=63" in bare_lab.exec("client", "ping", "-c", "1", "-4", "web.test").stdout


def test_too_large_is_said(bare_lab):
    web = bare_lab.host("web")["ip4"]
    assert ping(bare_lab, "client", web, "-s", "1472", "-M", "do", count=2)[0] == 2
    # Fragmented by the sender, carried in pieces.
    assert ping(bare_lab, "client", web, "-s", "5000", count=2)[0] == 2


# ---- links ----

def test_delay(pair):
    base = ping(pair, "dns", "web.test")[1][0]
    assert 4.0 <= base < 8.0, "2 ms each way inside a country"
    pair.link("web", "--delay", 50)
    low = ping(pair, "dns", "web.test")[1][0]
    assert 99 <= low - base < 110, "50 ms each way more, less what waking up costs the base"
    pair.link("web", "--delay", 50, "--direction", "up")
    pair.link("web", "--delay", 0, "--direction", "down")
    low = ping(pair, "dns", "web.test")[1][0]
    assert 49 <= low - base < 60, "one way only"


def test_jitter_keeps_the_order_unless_asked(pair):
    script = ("import socket\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)\n"
              f"s.connect(('{pair.host('web')['ip4']}', 7))\n"
              "for i in range(300): s.send(i.to_bytes(2, 'big'))\n"
              "got = []\n"
              "try:\n"
              "    while len(got) < 300: got.append(int.from_bytes(s.recv(9), 'big'))\n"
              "except TimeoutError: pass\n"
              "print(len(got), sum(a > b for a, b in zip(got, got[1:])))\n")

    def echoes():
        return [int(w) for w in pair.exec("dns", PYTHON, "-c", script).stdout.split()]

    pair.link("web", "--jitter", 20)
    assert echoes() == [300, 0]
    pair.link("web", "--reorder", "on")
    n, inversions = echoes()
    assert n == 300 and inversions > 10


def test_loss_is_as_set_and_counted(pair):
    n, p = 5000, 0.10
    script = ("import socket, time\n"
              "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"for i in range({n}):\n"
              f"    s.sendto(b'x', ('{pair.host('web')['ip4']}', 9))\n"
              "    if i % 100 == 0: time.sleep(0.001)\n")
    pair.link("web", "--loss", 100 * p, "--direction", "down")
    before = pair.counters("web")["down"]
    pair.exec("dns", PYTHON, "-c", script)

    def came(key):
        return pair.counters("web")["down"][key] - before[key]

    wait_until(lambda: came("lost") + came("packets") >= n, what="all were counted")
    # Five standard deviations of a binomial count: it fails by chance once in a million.
    assert abs(came("lost") - n * p) < 5 * (n * p * (1 - p)) ** 0.5
    pair.link("web", "--loss", 100)
    assert ping(pair, "dns", "web.test", count=5)[0] == 0


def test_rate(pair):
    pair.link("web", "--rate", 20, "--direction", "up", "--queue", 128)
    before = pair.counters("web")["up"]
    took = float(pair.sh("dns", f"curl -4 -sS --fail -o /dev/null -w '%{{time_total}}' 'http://web.test/blob?bytes={5 * MIB}'"))
    bits = (pair.counters("web")["up"]["bytes"] - before["bytes"]) * 8
    assert 0.6 * 20e6 < bits / took < 20.5e6, f"{bits / took / 1e6:.1f} Mbit/s"
    # A queue that is full drops, and says so.
    pair.link("web", "--rate", 1, "--queue", 16, "--direction", "down")
    script = (f"import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
              f"for _ in range(200): s.sendto(bytes(1000), ('{pair.host('web')['ip4']}', 9))")
    before = pair.counters("web")["down"]["overflowed"]
    pair.exec("dns", PYTHON, "-c", script)
    wait_until(lambda: pair.counters("web")["down"]["overflowed"] - before > 150, what="the queue overflows")


def test_down_and_up(pair):
    pair.link("web", "--down")
    cut = pair.counters("web")["down"]["cut"]
    assert ping(pair, "dns", "web.test", count=3)[0] == 0
    assert pair.counters("web")["down"]["cut"] > cut
    pair.link("web", "--up")
    assert ping(pair, "dns", "web.test", count=3)[0] == 3


def test_three_hundred_megabits(pair):
    """Figures vary with the machine's load; the bound is what the emulator must carry at least."""
    server = pair.popen("web", "iperf3", "-s", "-1", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    wait_until(lambda: ":5201" in pair.sh("web", "ss -Hltn sport = 5201"), what="iperf3 listens")
    out = json.loads(pair.exec("dns", "iperf3", "--json", "-t", "3", "-P", "4", "-c", "web.test").stdout)
    server.communicate(timeout=20)
    assert out["end"]["sum_received"]["bits_per_second"] > 300e6
    world = json.loads(pair.lab("--json", "links"))["world"]
    assert world["no_buffer"] == 0 and world["malformed"] == 0


@pytest.mark.parametrize("words, why", [
    (["link", "nobody"], "no host nobody"), (["link", "web", "--delay", "-1"], "not a number"),
    (["link", "web", "--loss", "101"], "--loss 101: not a number from 0 to 100"), (["kill", "web", "nothing"], "no service nothing"),
    (["exec", "nobody", "true"], "no host nobody"), (["--name", "nolab", "hosts"], "no lab nolab"),
    (["--name", "../x", "hosts"], "letter first")])
def test_wrong_words_are_refused(bare_lab, words, why):
    p = run(bare_lab.argv(*words), check=False)
    assert p.returncode in (1, 3) and why in p.stderr


def test_hostile_control_lines(bare_lab):
    """The emulator refuses what is not a command and goes on."""
    def ask(data):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(5)
            s.connect(f"{bare_lab.run_dir}/linkem.sock")
            s.sendall(data)
            try:
                return s.recv(65536)
            except ConnectionResetError:
                return b""

    for line in (b"\n", b"link\n", b"link web frob=1\n", b"link web delay_us=99999999999\n", b"add x\n", b"del nobody\n",
                 b"route web 1.2.3.4/99\n", b"path 1 99 delay_us=1\n", b"\x00\xff\n", b"link web delay_us=\n"):
        assert ask(line).startswith(b"error "), line
    assert ask(b"x" * 2000) == b"", "a line without end is cut off"
    assert ask(b"link web state=up\nshow\n").startswith(b"ok")


# ---- the destination ----

@pytest.mark.parametrize("family", ["4", "6"])
def test_web(bare_lab, tmp_path, family):
    def curl(*words):
        return bare_lab.exec("client", "curl", f"-{family}", "-sS", "--fail", *words).stdout

    assert curl("http://web.test/whoami").strip() == bare_lab.host("client")["ip" + family]
    assert bare_lab.host("client")["ip" + family] in curl("http://web.test/")
    n = 3 * MIB + 17
    url = f"http://web.test/blob?bytes={n}&seed=5"
    curl("-o", tmp_path / "blob", url)
    data = (tmp_path / "blob").read_bytes()
    want = hashlib.sha256(data).hexdigest()
    assert len(data) == n
    assert curl(f"http://web.test/blob-sha256?bytes={n}&seed=5").strip() == want
    assert curl("--data-binary", f"@{tmp_path}/blob", "http://web.test/upload").split() == [str(n), want]
    curl("-o", tmp_path / "rest", "-r", f"{MIB}-", url)
    assert (tmp_path / "rest").read_bytes() == data[MIB:]
    assert curl("--data", "some words", "http://web.test/echo") == "some words"
    refused = bare_lab.exec("client", "curl", "-s", "-w", "%{http_code}", f"http://web.test/blob?bytes={65 * MIB}", check=False)
    assert refused.stdout.endswith("400")


def test_reader(bare_lab):
    out = bare_lab.exec("client", PYTHON, "-B", READER, "read", f"http://web.test/blob?bytes={MIB}&rate={4 * MIB}").stdout
    lines = out.splitlines()
    assert lines[-1].startswith("sha256 ") and lines[-2].split()[1] == str(MIB)
    took = float(lines[-2].split()[0]) - float(lines[0].split()[0])
    assert 0.15 < took < 2.0
    float(bare_lab.exec("client", PYTHON, "-B", READER, "first", "http://web.test/whoami").stdout)


def test_capture(bare_lab):
    capture = bare_lab.capture("client")
    assert ping(bare_lab, "client", "web.test", "-4", count=3)[0] == 3
    data = open(capture.stop(), "rb").read()
    assert data[:4] == bytes.fromhex("d4c3b2a1")
    web = ipaddress.ip_address(bare_lab.host("web")["ip4"]).packed
    assert data.count(web) >= 6


# ---- services ----

def test_the_page_survives_its_forwarder(bare_lab):
    def answers():
        return run(["curl", "-s", "--max-time", "3", f"http://127.0.0.1:{bare_lab.state['port']}/"], check=False).stdout

    wait_until(lambda: "<html" in answers(), what="the page is there")
    pid = bare_lab.sh("client", "ps -eo pid,ppid,nlwp,args | awk '$2 == 1 && /lab.py/ {print $1}'").split()
    assert len(pid) == 1
    bare_lab.exec("client", "kill", "-9", pid[0])
    wait_until(lambda: "<html" in answers(), what="the page is there again")


def test_kill_stop_start(bare_lab):
    was = bare_lab.pid("web", "web")
    bare_lab.kill("web", "web")
    wait_until(lambda: bare_lab.pid("web", "web") not in (None, was), what="runit starts it again")
    wait_until(lambda: bare_lab.exec("client", "curl", "-s", "--max-time", "3", "http://web.test/", check=False).returncode == 0,
               what="it answers again")
    bare_lab.stop("web", "web", kill=True)
    wait_until(lambda: bare_lab.pid("web", "web") is None, what="it is gone")
    bare_lab.start("web", "web")
    wait_until(lambda: bare_lab.exec("client", "curl", "-s", "--max-time", "3", "http://web.test/", check=False).returncode == 0,
               what="it answers once started")
    assert "ready" in bare_lab.logs("web", "web")


def test_exec_passes_status_input_and_signals(bare_lab):
    assert bare_lab.exec("client", "sh", "-c", "exit 7", check=False).returncode == 7
    assert bare_lab.exec("client", "no-such-program", check=False).returncode == 127
    p = bare_lab.popen("client", "sh", "-c", "echo up; exec sleep 1000", stdout=subprocess.PIPE)
    assert p.stdout.readline() == "up\n"
    n = bare_lab.sh("client", "pgrep -cx sleep")
    p.kill()  # the command ends with the one who asked for it
    p.wait()
    p.stdout.close()
    wait_until(lambda: bare_lab.sh("client", "pgrep -cx sleep || true") < n, what="it ends too")
    p = subprocess.run(bare_lab.argv("exec", "client", "cat"), input="words", capture_output=True, text=True, check=True)
    assert p.stdout == "words"


# ---- coming and going ----

def live():
    return json.loads(run([f"{BIN}/lab", "--json", "list"]).stdout)


def holders(run_dir):
    """Processes anywhere on the machine that know this lab's folder."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                if run_dir.encode() in f.read():
                    found.append(int(pid))
        except OSError:
            continue
    return found


@pytest.fixture
def second(bare_lab, tmp_path):
    lab = Lab(tmp_path, relays=4, name="second")
    yield lab
    if lab.process.poll() is None:
        lab.end()


def test_side_by_side(bare_lab, second, tmp_path):
    assert {bare_lab.name, "second"} <= set(live())
    assert second.state["port"] != bare_lab.state["port"]
    second.link("client", "--down")
    assert ping(bare_lab, "client", "web.test", count=2)[0] == 2
    assert ping(second, "client", second.host("web")["ip4"], count=2)[0] == 0
    assert len(second.hosts()) == 7
    # A taken name is refused; a relay can be added while it runs.
    p = run([f"{BIN}/lab", "--name", "second", "up"], check=False)
    assert p.returncode == 1 and "is up already" in p.stderr
    second.link("client", "--up")
    added = json.loads(second.lab("--json", "add-relay", "--asn", "64506", "--exit", "on"))
    assert added["country"] == "JP" and added["name"] == "relay5"
    assert ping(second, "client", added["ip6"], count=2)[0] == 2
    second.end()
    assert "second" not in live()
    assert not os.path.exists(second.run_dir) and not holders(second.run_dir)


@pytest.mark.parametrize("victim", ["holder", "command"])
def test_nothing_is_left_after_kill_9(second, victim):
    pid = int(open(f"{second.run_dir}/pid", encoding="ascii").read().split()[0])
    assert len(holders(second.run_dir)) > 10
    if victim == "holder":
        os.kill(pid, signal.SIGKILL)
    else:
        second.process.kill()
        second.process.stdin.close()
    wait_until(lambda: not holders(second.run_dir), what="every process of the lab ends")
    second.process.kill()
    second.process.wait()
    # The next start under the same name clears what files are left and works.
    again = Lab(second.tmp, relays=4, name="second")
    try:
        assert ping(again, "client", again.host("web")["ip4"], count=2)[0] == 2
    finally:
        again.end()
    assert not os.path.exists(second.run_dir)
    assert not os.path.exists(second.run_dir + ".lock")


def test_faults_in_logs_are_found(second):
    second.check_logs()
    with open(f"{second.run_dir}/relay2/log/tunnel/current", "a", encoding="utf-8") as f:
        f.write("BUG somewhere.c:1: planted by this test\n")
    with pytest.raises(Failed, match="relay2/tunnel: BUG somewhere"):
        second.end()


UNPRIVILEGED = """
set -e
mount -t tmpfs -o dev none /mnt
mknod /mnt/tun c 10 200; chmod 666 /mnt/tun; mount --bind /mnt/tun /dev/net/tun
mkdir -m 777 /mnt/run
cd /
exec setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs env HOME=/ XDG_RUNTIME_DIR=/mnt/run sh -ec '
    {lab} --name plain up --relays 4
    test $({lab} exec client id -u) = 0
    {lab} exec client curl -sS --fail --max-time 10 http://web.test/whoami
    {lab} exec relay4 ping -q -c 2 -i 0.1 web.test >/dev/null
    {lab} exec relay3 nft add table inet probe
    {lab} kill relay2 tunnel
    {lab} down
    {lab} list'
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs without privileges already")
def test_needs_no_root(bare_lab, tmp_path):
    script = tmp_path / "script"
    script.write_text(UNPRIVILEGED.format(lab=f"{BIN}/lab"))
    out = run(["unshare", "-m", "bash", script]).stdout
    host = topology.networks()[topology.CLIENT_ASN]
    assert any(ipaddress.ip_address(w) in n for w in out.split() if w[:3] in ("203", "200")
               for n in (host[4], host[6]) if ipaddress.ip_address(w).version == n.version), out
    assert out.endswith("no lab is up\n")


# ---- the show ----

def test_run_once_shows_three_hops(bare_lab):
    p = run([f"{BIN}/lab", "--name", "show", "run", "--once"])
    assert "DID NOT HOLD" not in p.stdout
    assert len(p.stdout.splitlines()) <= 24, "half a screen"
    for word in ("entry", "middle", "exit", "ms", "web.test saw", "first byte", "your page       http://127.0.0.1:"):
        assert word in p.stdout
    assert "show" not in live()


def test_run_once_says_what_did_not_hold(bare_lab, tmp_path):
    for name in os.listdir(BIN):
        if name not in ("mvpn-gateway", "lab"):
            os.symlink(f"{BIN}/{name}", tmp_path / name)
    p = run([f"{BIN}/lab", "--name", "show", "run", "--once"], check=False, env=dict(os.environ, LAB_BIN=str(tmp_path)))
    assert p.returncode == 1
    assert "DID NOT HOLD" in p.stdout and "no answer from the node" in p.stdout


def test_interrupt_ends_it(bare_lab, tmp_path):
    lab = Lab(tmp_path, relays=4, name="third")
    lab.process.send_signal(signal.SIGINT)
    lab.process.wait(30)
    assert "third" not in live() and not os.path.exists(lab.run_dir)
    lab.end()


def test_folder_must_be_ones_own(tmp_path):
    bad = tmp_path / f"mvpn-lab-{os.getuid()}"
    bad.mkdir(mode=0o755)
    p = run([f"{BIN}/lab", "list"], check=False, env=dict(os.environ, XDG_RUNTIME_DIR=str(tmp_path)))
    assert p.returncode == 1 and "0700" in p.stderr
