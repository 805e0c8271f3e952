# SPDX-License-Identifier: GPL-2.0-or-later
"""Who sees what: captures on every link while a page is fetched through three hops."""
import ipaddress

from labkit import packets

MARK = b"the page that nobody on the way may read"


def addresses(host):
    return {ipaddress.ip_address(host["ip4"]), ipaddress.ip_address(host["ip6"])}


def test_each_hop_sees_only_its_neighbours(fresh_client):
    lab, client = fresh_client.lab, fresh_client
    # The directory is exchanged with relays directly (docs/threat-model.md), not by the route; a new tunnel
    # holds no session of that.
    lab.stop("client", "discovery")
    lab.kill("client", "tunnel")
    client.connect(hops=3)
    assert not lab.ctl("client", "tunnel", "show", "routes").get("talks")
    route = [h["name"] for h in client.hops()]
    names = ["client", *route, "web"]
    captures = {name: lab.capture(name) for name in names}
    secret = MARK.decode()
    for family in ("4", "6"):
        for _ in range(3):
            page = client.curl(f"-{family}", "--data", secret, "http://web.test/echo")
            assert secret in page
    seen = {name: list(packets(captures[name].stop())) for name in names}
    where = {name: addresses(lab.host(name)) for name in names}
    entry, middle, exit_ = route

    def talks(name, with_name):
        return any({s, d} & where[with_name] for s, d, _ in seen[name])

    # The whole was captured: every neighbour spoke with the next.
    for a, b in zip(names, names[1:]):
        assert talks(a, b) and talks(b, a), f"{a} and {b} exchanged packets"
    # The destination's address is nowhere before the exit, not even inside a packet.
    for name in ("client", entry, middle):
        assert not talks(name, "web")
        for address in where["web"]:
            assert not any(address.packed in p for _, _, p in seen[name] if len(address.packed) == 16)
    # The client's address is nowhere behind the entry.
    for name in (middle, exit_, "web"):
        assert not talks(name, "client")
        assert not any(lab.host("client")["ip6"] and ipaddress.ip_address(lab.host("client")["ip6"]).packed in p
                       for _, _, p in seen[name])
    # No plaintext before the exit; and the mark is really there behind it (the check can fail).
    for name in ("client", entry, middle):
        assert not any(MARK in p for _, _, p in seen[name])
    assert any(MARK in p for _, _, p in seen["web"])


def test_on_the_wire_there_is_only_wireguard(lab, client):
    client.connect(hops=3)
    capture = lab.capture("client")
    client.curl("http://web.test/")
    own, n = addresses(lab.host("client")), 0
    for s, d, p in packets(capture.stop()):
        if not {s, d} & own or (s.version == 6 and p[6] == 58):
            continue  # neighbour discovery of the kernel
        assert (p[9] if s.version == 4 else p[6]) == 17, "nothing but UDP"
        payload = p[28:] if s.version == 4 else p[48:]
        assert payload[0] in (1, 2, 3, 4) and payload[1:4] == b"\0\0\0"
        n += 1
    assert n > 10
