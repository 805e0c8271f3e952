# SPDX-License-Identifier: GPL-2.0-or-later
"""mvpn doctor: what a node lacks, and what is another's matter where its services run apart."""
import json
import os

import pytest

from fake_services import Node
from gateway_node import Gateway
from waiting import wait_until

KEYS = {"tunnel": "tunnel.key", "discovery": "identity.key", "router": "reputation.key", "ledger": "wallet.key",
        "gateway": "ui.token"}
TUNNELS = ["TUN device", "network rights", "forwarding", "keys/tunnel.key", "service tunnel"]
OTHERS = ["Redis", "keys/identity.key", "keys/wallet.key", "service discovery", "service router", "service ledger"]


@pytest.fixture
def gateway(tmp_path):
    g = Gateway(tmp_path / "n")
    n = Node(g.dir)
    wait_until(lambda: set(g.services().values()) == {"up"}, what="all links up")
    yield g
    n.close()
    g.close()


def doctor(g):
    p = g.mvpn("doctor")
    return p.returncode, {row["check"]: row["result"] for row in json.loads(p.stdout)["doctor"]}


def take_away(g, *names):
    for name in names:
        os.unlink(f"{g.dir}/keys/{name}")


def test_where_the_gateway_runs_alone_the_others_matters_are_elsewhere(gateway):
    """As in the gateway's container: of the other roles the public halves of the bus keys."""
    for role, key in KEYS.items():
        if role != "gateway":
            take_away(gateway, key, f"bus-{role}.key")
    status, found = doctor(gateway)
    assert {what for what, result in found.items() if result == "elsewhere"} == {*TUNNELS, *OTHERS}
    assert found["node folder"] == found["service gateway"] == found["link to tunnel"] == "ok"
    missing = {what for what, result in found.items() if result == "MISSING"}
    assert missing <= {"relays known"} and status == (1 if missing else 0)


def test_what_the_role_itself_needs_is_missing(gateway):
    for role in KEYS:
        if role != "gateway":
            take_away(gateway, f"bus-{role}.key")
    take_away(gateway, "ui.token")
    status, found = doctor(gateway)
    assert status == 1 and found["keys/ui.token"] == "MISSING"


@pytest.mark.parametrize("lost", [["identity.key"], ["tunnel.key"], ["identity.key", "bus-discovery.key", "bus-discovery.pub"]])
def test_a_node_that_is_whole_misses_what_it_lost(gateway, lost):
    take_away(gateway, *lost)
    status, found = doctor(gateway)
    assert status == 1 and found[f"keys/{lost[0]}"] == "MISSING" and "elsewhere" not in found.values()
