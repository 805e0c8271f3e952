# SPDX-License-Identifier: GPL-2.0-or-later
"""The UDP port of a relay against garbage, forgeries and replays: dropped, counted, no crash, no growth."""

from test_privacy import addresses, packets
from waiting import wait_until

PORT = 51820

# Runs on a host of the lab: sends datagrams to a node, as fast as a stranger would.
SENDER = r"""
import random, socket, struct, sys
kind, address, port, n, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
rng = random.Random(seed)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sizes = {1: 148, 2: 92, 3: 64, 4: 96}
def datagram():
    if kind == "garbage":
        return rng.randbytes(rng.choice((0, 1, 3, 4, 31, 32, 33, 63, 64, 91, 92, 147, 148, 149, 1400)))
    t = rng.choice((1, 2, 3, 4))
    whole = struct.pack("<I", t) + rng.randbytes(sizes[t] - 4)
    if kind == "truncated":
        return whole[:rng.randrange(len(whole))]
    return whole  # forged: right form, wrong everything else
if kind == "replay":
    lines = [bytes.fromhex(line) for line in sys.stdin.read().split()]
else:
    lines = [datagram() for _ in range(n)]
for d in lines:
    s.sendto(d, (address, port))
print(len(lines))
"""


def workers(lab, host):
    rows = lab.ctl(host, "tunnel", "show", "workers")["workers"]
    return {k: sum(r[k] for r in rows) for k in rows[0] if isinstance(rows[0][k], int)}


def rss_kb(lab, host):
    return int(lab.sh(host, f"grep VmRSS /proc/{lab.pid(host, 'tunnel')}/status").split()[1])


def send(lab, kind, to, n=4000, seed=1, lines=None):
    path = f"{lab.tmp}/sender.py"
    with open(path, "w", encoding="ascii") as f:
        f.write(SENDER)
    script = f"/usr/bin/python3 -B {path} {kind} {to['ip4']} {PORT} {n} {seed}"
    if lines is not None:
        with open(f"{lab.tmp}/lines", "w", encoding="ascii") as f:
            f.write("\n".join(lines))
        script += f" < {lab.tmp}/lines"
    return int(lab.sh("dns", script))


def still_fine(lab, client, host, pid, rss):
    assert lab.pid(host, "tunnel") == pid, "it did not crash"
    assert rss_kb(lab, host) < rss + 8192, "it did not grow"
    client.curl("http://web.test/whoami")


def test_garbage_truncated_forged(lab, client):
    client.connect(hops=2)
    entry = client.hops()[0]["name"]
    to, pid = lab.host(entry), lab.pid(entry, "tunnel")
    send(lab, "forged", to, 200)  # tables that are touched once
    rss = rss_kb(lab, entry)
    for seed, kind in enumerate(("garbage", "truncated", "forged")):
        before = workers(lab, entry)
        n = send(lab, kind, to, seed=seed)

        def counted():
            now = workers(lab, entry)
            return sum(now[k] - before[k] for k in (
                "rx_bad", "rx_no_index", "rx_not_opened", "handshakes_denied", "handshakes_full", "cookies_sent"))

        # Some may be lost on the way; what arrived is counted.
        wait_until(lambda: counted() > n // 3, what=f"{kind} datagrams are counted")
        still_fine(lab, client, entry, pid, rss)


def test_replayed_messages_do_nothing(lab, client):
    client.connect(hops=1)
    entry = client.hops()[0]["name"]
    capture = lab.capture("client")
    client.curl("-o", "/dev/null", "http://web.test/blob?bytes=200000&seed=2")
    own, lines = addresses(lab.host("client")), []
    for source, dest, p in packets(capture.stop()):
        if source in own and source.version == 4 and p[9] == 17 and str(dest) == lab.host(entry)["ip4"]:
            lines.append(p[28:].hex())
    assert len(lines) > 10
    pid, rss, before = lab.pid(entry, "tunnel"), rss_kb(lab, entry), workers(lab, entry)
    shared = lab.ctl(entry, "tunnel", "show", "sessions")
    n = send(lab, "replay", lab.host(entry), lines=lines)
    wait_until(lambda: workers(lab, entry)["rx_not_opened"] - before["rx_not_opened"] > n // 2,
               what="replays are counted")
    # The session did not move to the replayer's address: traffic goes on at once.
    still_fine(lab, client, entry, pid, rss)
    assert len(lab.ctl(entry, "tunnel", "show", "sessions")["sessions"]) <= len(shared["sessions"]) + 1


def test_reordered_and_duplicated_links_lose_nothing(lab, client):
    client.connect(hops=2)
    entry = client.hops()[0]["name"]
    lab.link(entry, "--jitter", 20, "--loss", 1)
    try:
        assert client.download(4 << 20).finish()
    finally:
        lab.link(entry, "--jitter", 0.2, "--loss", 0)
