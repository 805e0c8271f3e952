# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes are paid for: tickets keep pace with traffic, nobody is served beyond the allowance unpaid."""
import pytest

from waiting import wait_until

MIB = 1 << 20


def sessions(lab, host):
    return {s["session"]: s for s in lab.ctl(host, "ledger", "show", "sessions").get("sessions", [])}


def test_tickets_flow_and_both_sides_agree(lab, client):
    client.connect(hops=3, exit="CA")  # an exit with a price; other hops may be free
    route = [h["name"] for h in client.hops()]
    client.sh(f"curl -sS --fail -o /dev/null 'http://web.test/blob?bytes={20 * MIB}&seed=3'")
    for host in ["client", *route]:
        check = lab.ctl(host, "ledger", "check")
        assert check is not None, f"the ledger of {host} adds up"
    paid = {h["name"]: h for h in client.hops()}
    assert paid[route[-1]]["price_gwei_per_gib"] > 0
    for host in route:
        assert (paid[host]["tickets"] > 0) == (paid[host]["price_gwei_per_gib"] > 0), f"{host} was paid"

    def agree(host):
        # The relay's ledger knows, to the byte, what its tunnel counted.
        tunnel = {s["session"]: s["up_bytes"] + s["down_bytes"]
                  for s in lab.ctl(host, "tunnel", "show", "sessions")["sessions"] if s["role"] == "relay"}
        ledger = {k: s["used_bytes"] for k, s in sessions(lab, host).items() if s["side"] == "payee"}
        return tunnel and all(ledger.get(k) == n for k, n in tunnel.items())

    for host in route:
        wait_until(lambda h=host: agree(h), what=f"ledger and counters of {host} agree")


def test_without_tickets_the_allowance_is_all(lab, client):
    client.connect(hops=3)
    lab.stop("client", "ledger")  # a client that does not pay
    try:
        for _ in range(8):
            client.mvpn("hop")  # fresh sessions: nothing prepaid
            if any(h["price_gwei_per_gib"] > 0 for h in client.hops()):
                break
        else:
            pytest.fail("all relays of eight routes are for nothing")
        n = int(client.sh("curl -sS --max-time 20 -o /dev/null -w '%{size_download}' "
                          f"'http://web.test/blob?bytes={40 * MIB}&seed=3' || true"))
        assert n < 16 * MIB, f"{n} bytes came without a ticket"
    finally:
        lab.start("client", "ledger")
    wait_until(lambda: client.answers("http://web.test/whoami"), what="served again once it pays")


def test_pay_off_uses_free_relays_only(lab, client):
    client.mvpn("pay", "off")
    try:
        client.connect(hops=3)
        assert all(h["price_gwei_per_gib"] == 0 for h in client.hops())
        client.curl("http://web.test/whoami")
    finally:
        client.mvpn("pay", "on")
