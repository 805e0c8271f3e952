# SPDX-License-Identifier: GPL-2.0-or-later
"""docker-compose up, really run: what it promises (compose/README.md), looked at from outside."""
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import time

import pytest

import vps
from kit import COMPOSE, RELAYS, ROOT, SERVICES, UID, WEB, docker, in_engine, restart_engine, run, wait_until

NET_ADMIN = 1 << 12
ADDRESS = {"relay3": "203.0.113.10", "relay4": "198.18.0.10", "relay5": "198.18.128.10", "relay6": "198.19.0.10",
           "relay7": "192.0.2.138"}
BLOB = 6 << 20


@pytest.fixture(scope="module", autouse=True)
def another_machine(ipc):
    """It gets its image while the first tests run, and ends while others do."""
    with vps.engine("mvpn-node") as e:
        yield e


@pytest.fixture(scope="module")
def newcomers(ipc, another_machine, tmp_path_factory):
    """Two more relays, and one on a rented machine: the client looks around twice a minute, tests that do
    not care who is there run meanwhile. Those that ask for them end them too."""
    ipc.compose("up", "-d", "--no-build", "--scale", "relay=2")
    word = ipc.exec("relay1", "mvpn", "word", "--endpoint", "192.0.2.10:51820").stdout.strip()
    return vps.machine(another_machine, ipc, tmp_path_factory.mktemp("vps"), BOOTSTRAP=word, NAME="rented", COUNTRY="DE",
                       EXIT="yes", RESOLVER=vps.RESOLVER)


@pytest.fixture(scope="module")
def strangers(ipc):
    """Our user with the gateway's volume, another user with it, our user without: two wait in vain, as others run."""
    volume = f"{ipc.project}_gateway-run:/node/run"
    return [subprocess.Popen(["docker", "run", "--rm", *how, "mvpn-node", "gatewayctl", "status"], stdout=subprocess.DEVNULL)
            for how in (["-v", volume], ["-v", volume, "--user", "12345"], [])]


def test_page_is_published_on_loopback(ipc):
    page = "http://127.0.0.1:8787/"
    wait_until(lambda: "<!doctype html>" in run(*in_engine("curl", "-s", page), check=False).stdout, what="the page comes")
    bound = run(*in_engine("ss", "-Hltn", "sport = 8787")).stdout.split()
    assert "127.0.0.1:8787" in bound and "0.0.0.0:8787" not in bound and "[::]:8787" not in bound


@pytest.mark.parametrize("service", SERVICES + ["machine", "redis", "relay1", "relay3", "web", "dns", "internet"])
def test_containers_hold_nothing_they_do_not_need(ipc, service):
    c = ipc.inspect(service)
    assert c["HostConfig"]["ReadonlyRootfs"] and c["HostConfig"]["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in c["HostConfig"]["SecurityOpt"]
    assert c["HostConfig"]["Memory"] > 0 and c["HostConfig"]["PidsLimit"] > 0 and c["HostConfig"]["NanoCpus"] > 0
    assert c["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    allowed = NET_ADMIN if service == "tunnel" or service.startswith("relay") else 0
    # Besides the tunnel, what starts it. A health check is root for the moment in which it becomes mvpn.
    supervised = {"mvpn-tunnel", "relay", "runsvdir", "runsv"}

    def wrong():
        status = ipc.exec(service, "sh", "-c", "cat /proc/[0-9]*/status").stdout
        processes = [{k: v.strip() for k, _, v in (line.partition(":") for line in ("Name:" + p).splitlines())}
                     for p in status.split("Name:")[1:]]
        assert len(processes) >= (14 if service.startswith("relay") else 2)  # with the one that looks
        for p in processes:
            tunnel = allowed if p["Name"] in supervised else 0
            has = int(p["CapEff"], 16) | int(p["CapPrm"], 16) | int(p["CapInh"], 16)
            if set(p["Uid"].split()) != {UID} or set(p["Gid"].split()) != {UID} or p["NoNewPrivs"] != "1" or has & ~tunnel:
                yield p
            if p["Pid"] == "1":
                assert int(p["CapBnd"], 16) & ~NET_ADMIN == 0

    wait_until(lambda: not list(wrong()), what="all processes are our user's, without rights", patience=5)


def test_images_are_small():
    for image in ("mvpn-node", "mvpn-world"):
        assert int(docker("image", "inspect", "-f", "{{.Size}}", image)) < 200 << 20


@pytest.mark.usefixtures("strangers")
def test_each_role_sees_its_own_keys(ipc):
    own = {"tunnel": "tunnel.key", "discovery": "identity.key", "router": "reputation.key", "ledger": "wallet.key",
           "gateway": "ui.token"}
    for service, key in own.items():
        there = {f for f in ipc.exec(service, "ls", "/node/keys").stdout.split() if not f.endswith(".pub")}
        assert there == {key, f"bus-{service}.key"}
        assert ipc.exec(service, "sh", "-c", "echo x >/node/keys/x", check=False).returncode != 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_reaches_the_inboxes_of_its_role_alone(ipc, service):
    to = {f"{x['to']}.{service}" for x in ipc.ctl(service, "show", "bus")["links"]}
    there = {p.split("/")[3] for p in ipc.exec(service, "find", "/node/run", "-name", "inbox").stdout.split()}
    assert to < there and all(service in pair.split(".") for pair in there)
    for pair in to:  # neither removed nor replaced by who only sends to it
        assert "Read-only" in ipc.exec(service, "rm", "-f", f"/node/run/{pair}/inbox", check=False).stderr


def test_all_are_healthy(ipc):
    for service in [*SERVICES, *RELAYS, "redis", "web"]:
        wait_until(lambda: ipc.healthy(service), what=f"{service} is healthy")


def test_others_get_nothing_of_the_bus(strangers):
    assert [p.wait() != 0 for p in strangers] == [False, True, True]


def test_demo_shows_three_hops_and_the_exits_address(ipc):
    ipc.await_relays()
    p = ipc.compose("run", "--rm", "demo", check=False)
    assert p.returncode == 0, p.stdout + p.stderr
    hops = ipc.mvpn("route")["hops"]
    assert len({h["country"] for h in hops}) == len({h["asn"] for h in hops}) == 3
    for h in hops:
        assert h["name"] in p.stdout
    assert ipc.fetch("/whoami") == ADDRESS[hops[2]["name"]] and ADDRESS[hops[2]["name"]] in p.stdout


def test_docker_compose_2(ipc):
    """It drives this deployment, docker-compose 1.29 the other one (test_tcp.py)."""
    if ipc.program != COMPOSE[2]:
        pytest.skip("docker compose 2 could not be fetched; `make deps` again, with a network")
    assert " version 2." in run(ipc.program, "version").stdout


def test_the_doctor_misses_nothing(ipc):
    """Nor what is another container's matter."""
    p = ipc.exec("gateway", "mvpn", "doctor", check=False)
    assert p.returncode == 0 and "elsewhere" in p.stdout and "MISSING" not in p.stdout, p.stdout


def secrets_of(d):
    found = set()
    for service in SERVICES + RELAYS:
        text = d.exec(service, "sh", "-c", "cat /node/keys/*.key /node/keys/*.token 2>/dev/null || true").stdout
        found |= set(text.split())
    return found


@pytest.mark.usefixtures("newcomers")
def test_no_secret_is_to_be_seen(ipc, tmp_path):
    secrets = secrets_of(ipc)
    assert len(secrets) == 10 + len(RELAYS) * 10  # 5 and a bus key per role, each
    ids = docker("ps", "-aq").split()
    seen = docker("inspect", *ids) + ipc.compose("logs", "--no-color").stdout + docker("history", "--no-trunc", "mvpn-node")
    save = subprocess.run(["docker", "save", "mvpn-node", "mvpn-world"], capture_output=True, check=True).stdout
    assert len(save) > 50 << 20
    (tmp_path / "secrets").write_text("\n".join(secrets))
    holds = lambda data: subprocess.run(["grep", "-qaFf", tmp_path / "secrets"], input=data, check=False).returncode
    assert holds(f"x{max(secrets)}x\n".encode()) == 0
    assert holds(seen.encode()) == holds(save) == 1


@pytest.mark.parametrize("major", COMPOSE)
def test_a_rented_machine_is_asked_for_what_it_needs(major):
    if not shutil.which(COMPOSE[major]):
        pytest.skip("docker compose 2 could not be fetched; `make deps` again, with a network")
    need = {"ADDRESS": vps.ADDRESS, "BOOTSTRAP": "a@b@192.0.2.10:51820"}
    config = lambda settings: run(COMPOSE[major], "-f", f"{ROOT}/compose/vps.yml", "config", "-q", check=False,
                                  env={**os.environ, **settings})
    assert config(need).returncode == 0
    for k in need:
        p = config({x: y for x, y in need.items() if x != k})
        assert p.returncode != 0 and k in p.stderr


@pytest.mark.parametrize("told", [r"BOOTSTRAP='a\n[gateway]\nlisten = 0.0.0.0'",
                                  r"printf 'a\n[gateway]\nlisten = 0.0.0.0\n' >/bootstrap/word"])
def test_a_word_is_one_line(told):
    """What another node is told to begin with sets nothing else."""
    make = f"export BOOTSTRAP; {told}; BOOTSTRAP=$(/usr/lib/mvpn/bootstrap-word); /usr/lib/mvpn/node-ini; cat /node/node.ini"
    ini = docker("run", "--rm", "mvpn-node", "sh", "-c", make)
    assert ini.count("\nlisten = ") == ini.count("[gateway]\n") == 1


def test_an_exit_without_resolver_does_not_start():
    p = run("timeout", "10", "docker", "run", "--rm", "--init", "-e", "EXIT=yes", "mvpn-node", "/usr/lib/mvpn/relay", check=False)
    assert p.returncode != 0 and "RESOLVER" in p.stderr


def test_more_relays_are_discovered(ipc, newcomers):
    exits = lambda: [e for e in ipc.mvpn("exits").get("exits", []) if e["country"] == "CA"]
    wait_until(lambda: len(exits()) == 2, what="the client knows both")
    ipc.connect("CA")
    wait_until(lambda: ipc.fetch("/whoami").startswith("198.19.128."), what="pages come through one of them")
    ipc.compose("up", "-d", "--no-build", "--scale", "relay=0")


def test_a_rented_machine_joins(ipc, newcomers, another_machine):
    """compose/vps.yml, step by step, on an engine of its own."""
    v = newcomers
    wait_until(lambda: "DE" in [e["country"] for e in ipc.mvpn("exits").get("exits", [])], what="the client knows it")
    assert ipc.connect("DE")[2]["name"] == "rented"
    wait_until(lambda: ipc.fetch("/whoami") == vps.ADDRESS, what="pages come through it")
    assert "198.51.100.208" in ipc.exec("machine", "getent", "hosts", "web.test").stdout
    assert "relay1" in v.exec("discoveryctl", "show", "relays").stdout
    mine = v.exec("mvpn", "word", "--endpoint", f"{vps.ADDRESS}:51820").stdout
    wait_until(lambda: v.inspect("{{.State.Health.Status}}") == "healthy", what="it is healthy")
    assert set(v.exec("sh", "-c", "cat /proc/[0-9]*/status | grep ^Uid").stdout.split()) == {"Uid:", UID}
    v.compose("down", "-t", "5")
    v.compose("up", "-d")
    assert v.exec("mvpn", "word", "--endpoint", f"{vps.ADDRESS}:51820").stdout == mine
    v.compose("down", "-t", "5")
    another_machine.stdin.close()


def test_a_service_cannot_speak_as_another(ipc):
    """The ledger's program, with a ledger's keys, in the place of a discovery that was taken over."""
    name = f"{ipc.project}-impostor"
    keys = ["sh", "-c", "MVPN_DIR=/tmp/n mvpn init >/dev/null && cp /tmp/n/keys/* /node/keys/ && exec mvpn-ledger --dir /node"]
    ipc.stop("discovery")
    try:
        docker("run", "-d", "--name", name, "--network", "none", "--volumes-from", ipc.id("discovery"),
               "--tmpfs", "/node/keys:uid=10001,gid=10001", "--tmpfs", "/node/state/ledger:uid=10001,gid=10001",
               "mvpn-node", *keys)
        look = lambda: run("docker", "exec", name, "ledgerctl", "--json", "show", "bus", check=False)
        wait_until(lambda: look().returncode == 0, what="it runs")
        for _ in range(20):  # longer than a service takes to find the others
            bus = json.loads(look().stdout)
            assert len(bus["links"]) == 4 and not [x for x in bus["links"] if x["up"]]
            assert bus["bus"][0]["received"] == bus["bus"][0]["sent"] == 0
            time.sleep(0.1)
    finally:
        docker("exec", name, "sh", "-c", "rm -f /node/run/ledger.*/inbox", check=False)
        docker("rm", "-f", name, check=False)
        ipc.start("discovery")
    wait_until(lambda: ipc.ctl("discovery", "status"), what="the discovery is back")


def test_up_again_changes_nothing(ipc):
    before = ipc.state()
    ipc.compose("up", "-d", "--no-build")
    assert ipc.state() == before


@pytest.mark.parametrize("service", SERVICES + RELAYS + ["redis", "internet", "web", "dns"])
def test_a_killed_container_comes_back(ipc, service):
    ipc.connect("JP")
    restarts = ipc.inspect(service)["RestartCount"]
    ipc.kill(service)
    wait_until(lambda: ipc.inspect(service)["RestartCount"] > restarts, what="it was started again")
    if service in SERVICES:
        wait_until(lambda: ipc.ctl(service, "status") is not None, what="it answers")
    wait_until(lambda: ipc.mvpn("status"), what="the node answers")
    if service in RELAYS:
        wait_until(lambda: ipc.ctl("tunnel", "status", at=service), what="the relay answers")
    if service == "dns":
        wait_until(lambda: ipc.exec("machine", "getent", "hosts", "web.test", check=False).returncode == 0,
                   what="names are answered")
    wait_until(lambda: ipc.fetch("/whoami") == ADDRESS["relay6"], what="pages come from the same exit")


@contextlib.contextmanager
def download(ipc, path, seconds):
    """Runs slowly while the caller does harm; then it must be whole."""
    load = subprocess.Popen(ipc.in_network("machine", "curl", "-sf", "-o", str(path),
                                           f"{WEB}/blob?bytes={BLOB}&seed=slow&rate={BLOB // seconds}"))
    try:
        yield load
        assert load.wait() == 0
    finally:
        load.kill()
        load.wait()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == ipc.fetch(f"/blob-sha256?bytes={BLOB}&seed=slow")


@pytest.mark.parametrize("services,seconds", [(["tunnel"], 6),
                                              (["discovery", "router", "ledger", "gateway", "redis", "spare"], 12)],
                         ids=["tunnel", "others"])
def test_rolling_restart_loses_no_byte(ipc, tmp_path, services, seconds):
    """Each service and Redis is restarted, and one relay that is not on the route."""
    hops = ipc.connect()
    spare = next(r for r in RELAYS if r not in {h["name"] for h in hops} and r != "relay1")
    done = []
    with download(ipc, tmp_path / "blob", seconds) as load:
        for service in services:
            ipc.compose("restart", "-t", "5", spare if service == "spare" else service)
            done += [service] if load.poll() is None else []
    assert done == services, "the download had ended before the restarts"
    assert [h["name"] for h in ipc.mvpn("route")["hops"]] == [h["name"] for h in hops]


@contextlib.contextmanager
def cut_off(ipc, relay):
    """A relay without network."""
    (network, there), = ipc.inspect(relay)["NetworkSettings"]["Networks"].items()
    docker("network", "disconnect", network, ipc.id(relay))
    try:
        yield
    finally:
        docker("network", "connect", "--ip", there["IPAddress"], network, ipc.id(relay))


def test_partition_of_the_middle_loses_no_byte(ipc, tmp_path):
    hops = [h["name"] for h in ipc.connect("JP")]
    with download(ipc, tmp_path / "blob", 10) as load:
        with cut_off(ipc, hops[1]):
            now = lambda: [h["name"] for h in ipc.mvpn("route").get("hops", [])]
            wait_until(lambda: now() and hops[1] not in now(), what="another relay is in the middle")
        assert load.poll() is None, "the download had ended before the partition"
        assert now()[2] == hops[2]
    wait_until(lambda: ipc.ctl("tunnel", "status", at=hops[1]), what="the relay answers")


def test_partition_and_return(ipc):
    assert ipc.connect("JP")[2]["name"] == "relay6"
    with cut_off(ipc, "relay6"):
        ipc.connect("SE")
        wait_until(lambda: ipc.fetch("/whoami") == ADDRESS["relay4"], what="pages come through others")
    ipc.connect("JP")
    wait_until(lambda: ipc.fetch("/whoami") == ADDRESS["relay6"], what="the relay is an exit again")


def test_all_come_back_when_the_engine_does(ipc):
    """It starts containers in no order, and once: none may need another that already runs."""
    every = set(docker("ps", "-q", "--no-trunc").split())
    shared = [x for x in docker("inspect", "-f", "{{.HostConfig.NetworkMode}} {{.HostConfig.IpcMode}} {{.HostConfig.PidMode}}",
                                *every).split() if x.startswith("container:")]
    assert shared == []
    for _ in range(2):
        restart_engine()
        assert set(docker("ps", "-q", "--no-trunc").split()) == every
    ipc.connect("JP")
    wait_until(lambda: ipc.fetch("/whoami") == ADDRESS["relay6"], what="pages come through the same exit")


def test_the_machine_has_no_other_way(ipc):
    ipc.connect()
    wait_until(lambda: ipc.fetch("/whoami") in ADDRESS.values(), what="pages come")
    ipc.exec("gateway", "mvpn", "disconnect")
    assert ipc.fetch("/whoami", "-m", "1") == ""
    assert ipc.fetch("/whoami", "-m", "1", "--interface", "eth1") == ""


def test_state_survives_down_and_up(ipc):
    def kept():
        read = lambda s, what: ipc.exec(s, "sh", "-c", what).stdout
        return {
            "identity": read("discovery", "cat /node/keys/identity.key"),
            "relay": read("relay3", "cat /node/keys/identity.key"),
            "guards": read("router", "cat /node/state/router/guards"),
            "settings": read("gateway", "cat /node/state/gateway/*"),
            "ledger": {k: v for k, v in ledger().items() if not k.startswith("sessions_")},
        }

    def ledger():
        return ipc.ctl("ledger", "status")["status"][0]

    ipc.connect("NL")  # asks to be paid
    assert ipc.fetch(f"/blob?bytes={BLOB}&seed=pay", "-o", "/dev/null", "-w", "%{size_download}") == str(BLOB)
    wait_until(lambda: ledger()["tickets_issued"] > 0, what="a ticket was given")
    ipc.exec("gateway", "mvpn", "disconnect")
    wait_until(lambda: ledger()["sessions_payer"] == 0, what="no session is left that could be paid")
    before = kept()
    ipc.down()
    ipc.up()
    ipc.await_relays()
    after = kept()
    assert after == before
