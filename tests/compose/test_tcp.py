# SPDX-License-Identifier: GPL-2.0-or-later
"""The deployment with its bus over TCP: it works, and a container with the wrong key, or none, gets nothing."""
import contextlib
import json

import pytest

from kit import SERVICES, docker, run, wait_until

LEDGER = "10.83.7.14"


def test_demo(tcp):
    p = tcp.compose("run", "--rm", "demo", check=False)
    assert p.returncode == 0, p.stdout + p.stderr
    assert " 1.29" in run(tcp.program, "version").stdout
    for service in SERVICES:
        bus = tcp.ctl(service, "show", "bus")
        assert bus["bus"][0]["over"] == "tcp" and all(x["up"] for x in bus["links"])
        assert tcp.exec(service, "find", "/node/run", "-name", "inbox").stdout == ""


def test_up_again_changes_nothing(tcp):
    before = tcp.state()
    tcp.compose("up", "-d", "--no-build")
    assert tcp.state() == before


def test_more_relays_are_discovered(tcp):
    tcp.await_relays()
    tcp.compose("up", "-d", "--no-build", "--scale", "relay=1")
    wait_until(lambda: "CA" in [e["country"] for e in tcp.mvpn("exits").get("exits", [])], what="the client knows it")


@contextlib.contextmanager
def impostor(tcp, keys):
    """In the ledger's place, at its address, with its settings, and with these keys (a shell command that
    fills /fake; the true ones are in /true/<role>)."""
    p, name = tcp.project, f"{tcp.project}-impostor"
    tcp.stop("ledger")
    volumes = [x for r in SERVICES for x in ("-v", f"{p}_{r}-keys:/true/{r}:ro")]
    try:
        docker("volume", "create", name)
        docker("run", "--rm", "--user", "root", *volumes, "-v", f"{name}:/fake", "mvpn-node", "sh", "-c",
               f"{keys}; chown -R mvpn /fake; chmod 700 /fake")
        docker("run", "-d", "--name", name, "--network", f"{p}_bus", "--ip", LEDGER, "-v", f"{p}_node:/node:ro",
               "-v", f"{name}:/node/keys:ro", "--tmpfs", "/node/state/ledger:uid=10001,gid=10001",
               "--tmpfs", "/node/run:uid=10001,gid=10001", "mvpn-node", "mvpn-ledger", "--dir", "/node")
        yield name
    finally:
        docker("rm", "-f", name, check=False)
        docker("volume", "rm", "-f", name, check=False)
        tcp.start("ledger")


COMMON = "cp /true/ledger/wallet.key /true/ledger/bus-*.pub /fake/"
WRONG = {
    "a key of its own": f"{COMMON}; MVPN_DIR=/tmp/n mvpn init >/dev/null; cp /tmp/n/keys/bus-ledger.* /fake/",
    "another role's key": f"{COMMON}; cp /true/router/bus-router.key /fake/bus-ledger.key; "
                          "cp /true/router/bus-router.pub /fake/bus-ledger.pub",
}


@pytest.mark.parametrize("which", WRONG)
def test_the_wrong_key_gets_nothing(tcp, which):
    refused = lambda: tcp.ctl("tunnel", "show", "bus")["bus"][0]["key_refused"]
    before = refused()
    with impostor(tcp, WRONG[which]) as name:
        wait_until(lambda: refused() > before, what="the tunnel refuses it")
        bus = json.loads(docker("exec", name, "ledgerctl", "--json", "show", "bus"))
        assert bus["bus"][0]["received"] == bus["bus"][0]["sent"] == 0
        assert not [x for x in bus["links"] if x["up"]]
        for service in ("tunnel", "gateway"):
            assert [x["up"] for x in tcp.ctl(service, "show", "bus")["links"] if x["to"] == "ledger"] == [False]
    for service in ("tunnel", "gateway"):
        wait_until(lambda: [x["up"] for x in (tcp.ctl(service, "show", "bus") or {"links": []})["links"]
                            if x["to"] == "ledger"] == [True], what="the true one is heard again")


def test_no_key_does_not_start(tcp):
    with impostor(tcp, "cp /true/ledger/wallet.key /fake/") as name:
        wait_until(lambda: docker("inspect", "-f", "{{.State.Running}}", name) == "false", what="it ends")
        p = run("docker", "logs", name)
        assert "keys/bus-ledger.key" in p.stderr and "mvpn init" in p.stderr
