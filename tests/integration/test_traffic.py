# SPDX-License-Identifier: GPL-2.0-or-later
"""Real traffic through one, two and three hops: pages, large transfers both ways, UDP, ICMP, names."""
import hashlib
import re

import pytest

from waiting import wait_until

MIB = 1 << 20


@pytest.fixture(params=[1, 2, 3])
def hops(request, client):
    client.connect(hops=request.param)
    yield request.param


def exits(lab):
    return {h["name"]: h for h in lab.hosts() if h.get("exit")}


def test_the_route_is_what_was_asked(hops, lab, client):
    route = client.hops()
    assert len(route) == hops
    assert len({h["name"] for h in route}) == hops
    assert len({h["asn"] for h in route}) == hops
    assert route[-1]["name"] in exits(lab)
    if hops > 1:
        assert len({h["country"] for h in route}) >= 2
    assert all(h["rtt_ms"] > 0 for h in route)


@pytest.mark.parametrize("family", ["4", "6"])
def test_the_site_sees_the_exit(hops, lab, client, family):
    exit_host = lab.host(client.hops()[-1]["name"])
    seen = client.curl(f"-{family}", "http://web.test/whoami").strip()
    assert seen == exit_host["ip" + family]
    assert seen != lab.host("client")["ip" + family]


@pytest.mark.parametrize("family", ["4", "6"])
def test_fifty_megabytes_down(hops, client, family):
    n = 50 * MIB
    got = client.sh(f"curl -{family} -sS --fail 'http://web.test/blob?bytes={n}&seed=7' | sha256sum")
    want = client.sh(f"curl -{family} -sS --fail 'http://web.test/blob-sha256?bytes={n}&seed=7'")
    assert got.split()[0] == want.split()[0]


def test_fifty_megabytes_up(hops, lab, client, tmp_path):
    path = tmp_path / "up"
    data = hashlib.shake_128(b"up").digest(MIB) * 50
    path.write_bytes(data)
    answer = client.curl("--data-binary", f"@{path}", "http://web.test/upload")
    assert hashlib.sha256(data).hexdigest() in answer
    assert str(len(data)) in answer


def test_udp_and_icmp(hops, lab, client):
    web = lab.host("web")
    for family, address in (("4", web["ip4"]), ("6", web["ip6"])):
        ping = client.sh(f"ping -{family} -c 10 -i 0.2 -W 3 {address}")
        assert int(re.search(r"(\d+) received", ping).group(1)) >= 8
        echo = client.sh(
            "python3 - <<'P'\n"
            "import socket, sys\n"
            f"s = socket.socket(socket.AF_INET{'6' if family == '6' else ''}, socket.SOCK_DGRAM)\n"
            "s.settimeout(1)\n"
            "ok = 0\n"
            "for n in (0, 1, 500, 1200):\n"
            "    m = bytes(i % 251 for i in range(n))\n"
            "    for _ in range(5):\n"
            f"        s.sendto(m, ('{address}', 7))\n"
            "        try:\n"
            "            if s.recv(65536) == m: ok += 1; break\n"
            "        except TimeoutError: pass\n"
            "print(ok)\n"
            "P")
        assert echo.strip() == "4"


def test_large_datagrams_are_fragmented_and_arrive(hops, lab, client):
    web = lab.host("web")["ip4"]
    ping = client.sh(f"ping -c 5 -i 0.2 -W 3 -s 4000 {web}")
    assert int(re.search(r"(\d+) received", ping).group(1)) >= 3


def test_names_resolve_through_the_exit(hops, lab, client):
    web = lab.host("web")
    out = client.sh("getent ahosts web.test")
    assert web["ip4"] in out and web["ip6"] in out


def test_off_is_off(lab, client):
    client.connect(hops=2)
    client.mvpn("disconnect")
    assert client.session()["phase"] == "off"
    wait_until(lambda: not client.json("tunnelctl", "show", "routes").get("routes"), what="no route is left")
