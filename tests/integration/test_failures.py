# SPDX-License-Identifier: GPL-2.0-or-later
"""Things break while traffic flows: a relay dies, a process is killed, Redis goes away."""
import re

import pytest

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
        after = [h["name"] for h in client.hops()]
        assert before[1] not in after
        assert after[-1] == before[-1], "the exit session roamed"
    finally:
        lab.restore_host(before[1])


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


def restart(lab, host, service):
    """In order: SIGTERM, and runit starts it again."""
    before = lab.pid(host, service)
    lab.kill(host, service, "TERM")
    wait_until(lambda: lab.pid(host, service) not in (None, before), what=f"{service} of {host} is another process")


def test_restart_of_the_clients_tunnel_costs_no_byte(lab, client):
    client.connect(hops=3)
    route = [h["name"] for h in client.hops()]
    exit_address = client.curl("-4", "http://web.test/whoami").strip()
    download = client.download(50 * MIB, rate_Bps=8 * MIB)
    wait_until(lambda: download.received() > 4 * MIB, what="the download runs")
    restart(lab, "client", "tunnel")
    assert download.finish(), "every byte arrived"
    assert [h["name"] for h in client.hops()] == route
    assert client.curl("-4", "http://web.test/whoami").strip() == exit_address
