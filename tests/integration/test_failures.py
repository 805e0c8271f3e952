# SPDX-License-Identifier: GPL-2.0-or-later
"""Things break while traffic flows: a relay dies, a process is killed, Redis goes away."""
import ctypes
import hashlib
import os
import re
import struct
import subprocess

import pytest

from labkit import Datagrams, packets
from waiting import wait_until

MIB = 1 << 20


def traffic_gap(log):
    """Longest pause, in seconds, between two samples in which bytes came (lab's slow reader)."""
    times = [float(m) for m in re.findall(r"^([0-9.]+) \d+$", log, re.M)]
    return max(b - a for a, b in zip(times, times[1:]))


def test_middle_dies_during_a_download(lab, client):
    client.connect(hops=3)
    before = [h["name"] for h in client.hops()]
    download = client.download(64 * MIB, rate_Bps=6 * MIB)
    wait_until(lambda: download.received() > 4 * MIB, what="the download runs")
    lab.kill_host(before[1])
    try:
        assert download.finish(), "the download completes with the right checksum"
        assert download.longest_pause() < 3.0, f"{download.longest_pause():.2f} s without a byte"
        assert before[1] not in [h["name"] for h in client.hops()]
    finally:
        lab.restore_host(before[1])


def said_again(lab, host):
    """Packets that the host's tunnel sent a second time, by another way."""
    return sum(w["tx_again"] for w in lab.ctl(host, "tunnel", "show", "workers")["workers"])


def both_ways_over_a_death(lab, client, tmp_path):
    """The middle dies during a download and an upload; what the two ends sent again then."""
    client.connect(hops=3)
    _, middle, last = (h["name"] for h in client.hops())
    ends = ("client", last)
    before = [said_again(lab, host) for host in ends]
    data = hashlib.shake_128(b"up").digest(MIB) * 24
    (tmp_path / "up").write_bytes(data)
    upload = lab.popen("client", "curl", "-sS", "--fail", "--limit-rate", "3M", "--data-binary", f"@{tmp_path}/up",
                       "http://web.test/upload", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    download = client.download(24 * MIB, rate_Bps=3 * MIB)
    wait_until(lambda: download.received() > 2 * MIB and client.session()["tx_bytes"] > 2 * MIB, what="both run")
    lab.kill_host(middle)
    try:
        assert download.finish(), "every byte came"
        assert upload.communicate(timeout=180)[0].split() == [str(len(data)), hashlib.sha256(data).hexdigest()]
        return [said_again(lab, host) - n for host, n in zip(ends, before)]
    finally:
        lab.restore_host(middle)


def test_what_was_sent_into_silence_is_sent_again(lab, client, tmp_path):
    """A death now and then is repaired before an end has tried again by itself; three in a row are not."""
    n = [0, 0]
    for _ in range(3):
        n = [a + b for a, b in zip(n, both_ways_over_a_death(lab, client, tmp_path))]
        if all(n):
            break
    assert all(n), f"client and exit sent {n} packets again"


def test_exit_dies(lab, client):
    client.connect(hops=3)
    before = [h["name"] for h in client.hops()]
    client.curl("http://web.test/whoami")
    killed = lab.kill_host(before[-1])
    try:
        took = client.first_answer_after(killed, "http://web.test/whoami")
        assert took < 3.0, f"new flows work after {took:.2f} s"
        wait_until(lambda: client.session()["phase"] == "on", what="on again")
        assert before[-1] not in [h["name"] for h in client.hops()]
    finally:
        lab.restore_host(before[-1])


@pytest.mark.parametrize("service", ["discovery", "router", "ledger", "gateway", "redis"])
@pytest.mark.parametrize("side", ["client", "relays"])
def test_kill_costs_no_byte(lab, client, service, side):
    client.connect(hops=3)
    route = [h["name"] for h in client.hops()]
    download = client.download(48 * MIB, rate_Bps=8 * MIB)
    wait_until(lambda: download.received() > 4 * MIB, what="the download runs")
    for host in ["client"] if side == "client" else route:
        lab.kill(host, service)
    assert download.finish(), "every byte arrived"
    # The state is right again, by the services' own word.
    wait_until(lambda: client.session()["phase"] == "on", what="shown as on")
    assert [h["name"] for h in client.hops()] == route, "the route was not touched"
    if service != "redis":
        for host in ["client"] if side == "client" else route:
            wait_until(lambda h=host: all(link["up"] for link in lab.ctl(h, service, "show", "bus")["links"]),
                       what=f"{service} of {host} has its links")
    client.curl("http://web.test/whoami")


def test_tunnel_of_the_client_restarts(lab, client):
    client.connect(hops=3)
    lab.kill("client", "tunnel")
    wait_until(lambda: client.answers("http://web.test/whoami"), what="traffic flows again")
    wait_until(lambda: client.session()["phase"] == "on", what="on again")


def test_new_route_under_a_download(lab, client):
    client.connect(hops=3)
    before = [h["name"] for h in client.hops()]
    download = client.download(48 * MIB, rate_Bps=8 * MIB)
    wait_until(lambda: download.received() > 4 * MIB, what="the download runs")
    client.mvpn("hop")
    wait_until(lambda: [h["name"] for h in client.hops()] not in (before, []), what="another route")
    assert download.finish(), "the download went on where it began"
    assert client.curl("-4", "http://web.test/whoami").strip() == lab.host(client.hops()[-1]["name"])["ip4"]


# ---- the client's tunnel is restarted in order ----

HANDOVER = "run/tunnel.handover"


def routes(client):
    """Numbers of the tunnel's routes that carry traffic or stand by."""
    rows = client.ctl("tunnel", "show", "routes")
    return {r["route"] for r in rows.get("routes", []) if r["state"] == "ready"} if rows else set()


def settled(client):
    """With its spare: no route is being made."""
    wait_until(lambda: len(routes(client)) == 2, what="a route and its spare")
    return routes(client)


def built(client):
    return {c["what"]: c["n"] for c in client.ctl("router", "show", "counters")["counters"]}["routes built"]


def used(node, service, side):
    """Bytes by session."""
    key = {"ledger": "side", "tunnel": "role"}[service]
    return {s["session"]: s["up_bytes"] + s["down_bytes"]
            for s in node.ctl(service, "show", "sessions")["sessions"] if s[key] == side}


@pytest.mark.parametrize("hops", [1, 3])
def test_tunnel_of_the_client_restarts_in_order(lab, client, tmp_path, hops):
    client.connect(hops=hops)
    names, before, n_built = [h["name"] for h in client.hops()], settled(client), built(client)
    payers = {s["session"] for s in client.ctl("ledger", "show", "sessions")["sessions"] if s["side"] == "payer"}
    exit_address = client.curl("-4", "http://web.test/whoami").strip()
    data = hashlib.shake_128(b"up").digest(MIB) * 24
    (tmp_path / "up").write_bytes(data)
    download = client.download(24 * MIB, rate_Bps=4 * MIB)
    upload = lab.popen("client", "curl", "-sS", "--fail", "--limit-rate", "4M", "--data-binary", f"@{tmp_path}/up",
                       "http://web.test/upload", stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    udp = [Datagrams(client, lab.host("web")[ip]) for ip in ("ip4", "ip6")]
    try:
        wait_until(lambda: download.received() > 4 * MIB, what="the download runs")
        assert all(u.more() for u in udp)
        lab.restart("client", "tunnel")
        assert all(u.more() for u in udp), "the UDP flows go on"
        assert download.finish(), "every byte came"
        assert upload.communicate(timeout=180)[0].split() == [str(len(data)), hashlib.sha256(data).hexdigest()]
    finally:
        for u in udp:
            u.end()
    assert not os.path.exists(f"{lab.dir('client')}/{HANDOVER}"), "what was left is removed"
    assert [h["name"] for h in client.hops()] == names
    assert client.curl("-4", "http://web.test/whoami").strip() == exit_address
    assert routes(client) == before and built(client) == n_built, "the router ordered no route"
    # The same sessions on both sides, and each ledger says what its tunnel counted.
    assert {s["session"] for s in client.ctl("ledger", "show", "sessions")["sessions"]
            if s["side"] == "payer"} == payers
    for host, tunnel_role, ledger_side in [("client", "hop", "payer")] + [(n, "relay", "payee") for n in names]:
        def agree(node=lab.node(host), role=tunnel_role, side=ledger_side):
            ledger = used(node, "ledger", side)
            counted = {k: n for k, n in used(node, "tunnel", role).items() if k in ledger}
            return counted and counted == ledger
        wait_until(agree, what=f"ledger and tunnel of {host} agree")
        assert lab.ctl(host, "ledger", "check") is not None, f"the ledger of {host} adds up"


def test_nothing_leaves_past_the_device_while_the_tunnel_is_away(lab, client):
    client.connect(hops=3)
    before, web = settled(client), lab.host("web")
    lab.stop("client", "tunnel")
    try:
        wait_until(lambda: os.path.exists(f"{lab.dir('client')}/{HANDOVER}"), what="it has left what it had")
        assert os.stat(f"{lab.dir('client')}/{HANDOVER}").st_mode & 0o777 == 0o600
        capture = lab.capture("client")
        for ip in (web["ip4"], web["ip6"]):
            assert lab.exec("client", "ping", "-c", "3", "-i", "0.2", "-W", "1", ip, check=False).returncode == 1
        leaked = [d for _, d, _ in packets(capture.stop()) if str(d) in (web["ip4"], web["ip6"])]
        assert not leaked, f"{len(leaked)} packets"
    finally:
        lab.start("client", "tunnel")
    wait_until(lambda: client.answers("http://web.test/whoami"), what="traffic flows again")
    assert routes(client) == before


def test_without_a_successor_the_machine_has_its_network_back(lab, client):
    client.connect(hops=3)
    before, web = settled(client), lab.host("web")
    lab.stop("client", "tunnel")
    try:
        for ip in (web["ip4"], web["ip6"]):
            wait_until(lambda a=ip: lab.exec("client", "ping", "-c", "1", "-W", "1", a, check=False).returncode == 0,
                       what="past the tunnel that is no more", patience=90)
    finally:
        lab.start("client", "tunnel")
    wait_until(lambda: client.session()["phase"] == "on", what="on again")
    assert not routes(client) & before, "what was left was too old"


class Seal:
    """As the client's tunnel does it (services/tunnel/core/handover.h), by libsodium."""
    TAG = 16

    def __init__(self, lab):
        with open(f"{lab.dir('client')}/keys/tunnel.key", encoding="ascii") as f:
            key = bytearray(bytes.fromhex(f.read().strip()))
        key[0] &= 248
        key[31] = key[31] & 127 | 64
        self.key = hashlib.blake2b(b"mvpnhand", digest_size=32, key=bytes(key)).digest()
        self.sodium = ctypes.CDLL("libsodium.so.23")

    def open(self, data):
        head, nonce, body = data[:24], data[24:48], data[48:]
        out = ctypes.create_string_buffer(len(body))
        assert self.sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
            out, None, None, body, ctypes.c_ulonglong(len(body)), head, ctypes.c_ulonglong(24), nonce, self.key) == 0
        return head, nonce, out.raw[:-self.TAG]

    def close(self, head, nonce, body):
        out = ctypes.create_string_buffer(len(body) + self.TAG)
        self.sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            out, None, body, ctypes.c_ulonglong(len(body)), head, ctypes.c_ulonglong(24), None, nonce, self.key)
        return head + nonce + out.raw


def aged(lab, data, seconds):
    """What was left so many seconds before it was."""
    s = Seal(lab)
    head, nonce, body = s.open(data)
    at = struct.unpack_from("<q", head, 16)[0]
    return s.close(head[:16] + struct.pack("<q", at - seconds), nonce, body)


@pytest.mark.parametrize("change, words", [
    (lambda lab, d: aged(lab, d, 1), None),
    (lambda lab, d: aged(lab, d, 61), "too old"),
    (lambda lab, d: d[:-33] + bytes([d[-33] ^ 1]) + d[-32:], "not written by this node"),
    (lambda lab, d: d[:-1], "not whole"),
], ids=["a second old", "stale", "forged", "torn"])
def test_only_what_the_tunnel_left_a_moment_ago_is_taken_up(lab, client, change, words):
    client.connect(hops=3)
    before, n_log = settled(client), len(lab.logs("client", "tunnel").splitlines())
    path = f"{lab.dir('client')}/{HANDOVER}"
    lab.stop("client", "tunnel")
    try:
        wait_until(lambda: os.path.exists(path), what="it has left what it had")
        with open(path, "rb") as f:
            data = f.read()
        with open(path, "wb") as f:
            f.write(change(lab, data))
    finally:
        lab.start("client", "tunnel")
    wait_until(lambda: client.answers("http://web.test/whoami"), what="traffic flows again")
    assert not os.path.exists(path)
    said = [line for line in lab.logs("client", "tunnel").splitlines()[n_log:] if "tunnel.handover is refused" in line]
    if words is None:
        assert not said and routes(client) == before
    else:
        assert len(said) == 1 and words in said[0]
        assert not routes(client) & before, "other routes"


def test_off_leaves_nothing(lab, client):
    client.connect(hops=3)
    settled(client)
    client.disconnect()
    wait_until(lambda: not routes(client), what="no route is left")
    lab.stop("client", "tunnel")
    try:
        wait_until(lambda: lab.pid("client", "tunnel") is None, what="it has ended")
        assert not os.path.exists(f"{lab.dir('client')}/{HANDOVER}")
    finally:
        lab.start("client", "tunnel")


def test_tunnel_that_was_killed_leaves_nothing(lab, client):
    client.connect(hops=3)
    before = settled(client)
    lab.kill("client", "tunnel")
    wait_until(lambda: client.answers("http://web.test/whoami"), what="traffic flows again")
    assert not routes(client) & before
