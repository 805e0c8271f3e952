# SPDX-License-Identifier: GPL-2.0-or-later
"""A stock WireGuard (wireguard-go and wg) uses one of our nodes as its exit; and several workers in a node."""
import base64
import subprocess

import pytest

from waiting import wait_until

MIB = 1 << 20
EXIT = "relay4"


def wg(*words, text=None):
    return subprocess.run(["wg", *words], input=text, capture_output=True, text=True, check=True).stdout.strip()


def set_tunnel(lab, host, **keys):
    """Changes [tunnel] keys of a node and restarts its tunnel; returns what node.ini held."""
    path = f"{lab.dir(host)}/node.ini"
    with open(path, encoding="ascii") as f:
        before = f.read()
    text = before
    for key, value in keys.items():
        lines = [line for line in text.split("\n") if not line.startswith(f"{key} = ")]
        lines.insert(lines.index("[tunnel]") + 1, f"{key} = {value}")
        text = "\n".join(lines)
    restart(lab, host, text)
    return before


def restart(lab, host, text):
    with open(f"{lab.dir(host)}/node.ini", "w", encoding="ascii") as f:
        f.write(text)
    pid = lab.pid(host, "tunnel")
    lab.kill(host, "tunnel", "TERM")
    wait_until(lambda: lab.pid(host, "tunnel") not in (None, pid), what=f"the tunnel of {host} runs again")
    wait_until(lambda: lab.ctl(host, "tunnel", "status"), what=f"the tunnel of {host} answers")


@pytest.fixture
def device(lab):
    """wireguard-go on the client's machine, whose own tunnel is off, with a default route to the exit."""
    private = wg("genkey")
    public = wg("pubkey", text=private)
    before = set_tunnel(lab, EXIT, peers=public, workers=2)
    with open(f"{lab.dir(EXIT)}/keys/tunnel.key", encoding="ascii") as f:
        exit_public = wg("pubkey", text=_base64(f.read().strip()))
    name = "stock0"
    lab.sh("client", f"""
        umask 077
        WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD=1 wireguard-go {name}
        echo {private} > /tmp/{name}.key
        wg set {name} private-key /tmp/{name}.key fwmark 0x99 peer {exit_public} \
            endpoint {lab.host(EXIT)['ip4']}:51820 allowed-ips 0.0.0.0/0,::/0
        rm /tmp/{name}.key
        ip addr add 100.64.0.2/32 dev {name}
        ip addr add fd6d:7670:6e00::2/128 dev {name} nodad
        ip link set {name} mtu 1348 up
        for f in -4 -6; do
            ip $f route add default dev {name} table 99
            ip $f rule add not fwmark 0x99 table 99 priority 900
        done""")
    yield name
    lab.sh("client", f"ip -4 rule del priority 900; ip -6 rule del priority 900; ip link del {name}")
    restart(lab, EXIT, before)


def _base64(hexadecimal):
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()


def curl(lab, *words):
    return lab.exec("client", "curl", "-sS", "--fail", "--max-time", "60", *words).stdout


def test_a_stock_wireguard_uses_our_exit(lab, device):
    web, exit_host = lab.host("web"), lab.host(EXIT)
    wait_until(lambda: lab.exec("client", "ping", "-c1", "-W1", web["ip4"], check=False).returncode == 0,
               what="a ping through the exit")
    assert curl(lab, f"http://{web['ip4']}/whoami").strip() == exit_host["ip4"]
    assert curl(lab, f"http://[{web['ip6']}]/whoami").strip() == exit_host["ip6"]
    n = 20 * MIB
    got = lab.sh("client", f"curl -sS --fail 'http://{web['ip4']}/blob?bytes={n}&seed=9' | sha256sum").split()[0]
    assert got == curl(lab, f"http://{web['ip4']}/blob-sha256?bytes={n}&seed=9").split()[0]
    # The exit's policy holds for it too, and its source must be its own.
    refused = lab.exec("client", "ping", "-c1", "-W1", "10.1.2.3", check=False)
    assert refused.returncode != 0
    lab.sh("client", f"ip addr add 100.64.0.77/32 dev {device}")
    assert lab.exec("client", "ping", "-c2", "-W1", "-I", "100.64.0.77", web["ip4"], check=False).returncode != 0
    denied = sum(w["rx_denied"] for w in lab.ctl(EXIT, "tunnel", "show", "workers")["workers"])
    assert denied >= 3


def test_nodes_with_several_workers(fresh_client):
    """Every node with four workers: what a worker gets is its own, or is handed over and counted."""
    lab, client = fresh_client.lab, fresh_client
    relays = [h["name"] for h in lab.hosts() if h["kind"] == "relay"]
    for host in [*relays, "client"]:
        set_tunnel(lab, host, workers=4)
    client.connect(hops=3)
    n = 20 * MIB
    for family in ("4", "6"):
        got = client.sh(f"curl -{family} -sS --fail 'http://web.test/blob?bytes={n}&seed=5' | sha256sum")
        want = client.sh(f"curl -{family} -sS --fail 'http://web.test/blob-sha256?bytes={n}&seed=5'")
        assert got.split()[0] == want.split()[0]
    for host in (h["name"] for h in client.hops()):
        workers = lab.ctl(host, "tunnel", "show", "workers")["workers"]
        assert len(workers) == 4
        assert sum(w["moved_lost"] for w in workers) == 0
        moved = {kind: sum(w[f"moved_{kind}"] for w in workers) for kind in ("tun", "messages", "initiations")}
        assert sum(w["moved_in"] for w in workers) == sum(moved.values())
        # Handshakes land anywhere, and a train may hold messages of several workers. The exit's device knows
        # the owner by the address that it lent; where the kernel takes no program, by what it learned.
        assert moved["messages"] + moved["initiations"] < 100, workers
        assert moved["tun"] == 0 or moved["tun"] < 500 and "by flows" in lab.logs(host, "tunnel"), workers
        # Had a worker been given a packet of another's session, it had found no session for it.
        strays = sum(c["n"] for c in lab.ctl(host, "tunnel", "show", "counters")["counters"] if c["counter"] == "no_holder")
        assert sum(w["rx_no_index"] for w in workers) + strays < 100, (workers, strays)
