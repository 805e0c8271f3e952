# SPDX-License-Identifier: GPL-2.0-or-later
"""The gateway between its user and the other four services, which are played here."""
import json
import os
import subprocess

import pytest

from fake_services import PHASE, Node, Service, gateway_pb2, types_pb2
from gateway_node import BIN, Gateway
from waiting import wait_until
from web_socket import Page


@pytest.fixture
def gateway(tmp_path):
    g = Gateway(tmp_path / "n")
    yield g
    g.close()


@pytest.fixture
def node(gateway):
    n = Node(gateway.dir)
    wait_until(lambda: set(gateway.services().values()) == {"up"}, what="all links up")
    yield n
    n.close()


@pytest.fixture
def page(gateway):
    p = Page(gateway.port, gateway.token)
    yield p
    p.close()


def phase_of(gateway):
    return gateway.session()["phase"]


# ---- settings ----

def test_first_start_takes_the_defaults_of_node_ini(tmp_path):
    g = Gateway(tmp_path / "n", "share = yes\nshare_exit = yes\nearn = yes\nexit_gwei_per_gib = 40000\npay = no\nhops = 2")
    n = Node(g.dir)
    try:
        tunnel = wait_until(lambda: n.links["tunnel"].last("settings"), what="TunnelSettings")
        assert tunnel.settings.share and tunnel.settings.share_exit
        discovery = wait_until(lambda: n.links["discovery"].last("settings"), what="DiscoverySettings")
        assert discovery.settings.share and discovery.settings.share_exit
        ledger = wait_until(lambda: n.links["ledger"].last("settings"), what="LedgerSettings")
        assert ledger.settings.earn and not ledger.settings.pay and ledger.settings.exit_gwei_per_gib == 40000
        router = wait_until(lambda: n.links["router"].last("set_session"), what="SetSession")
        assert not router.set_session.on and router.set_session.hops == 2
        assert not os.path.exists(g.settings_file()), "nothing was changed, nothing is stored"
    finally:
        n.close()
        g.close()


def test_change_is_stored_and_sent_at_once(gateway, node):
    assert gateway.mvpn("share", "on", "--exit", "on").returncode == 0
    wait_until(lambda: node.links["tunnel"].last("settings").settings.share_exit, what="tunnel was told")
    wait_until(lambda: node.links["discovery"].last("settings").settings.share_exit, what="discovery was told")
    before = node.links["ledger"].count("settings")
    assert gateway.ctl("set", "session", "hop_interval_s", "120") is not None
    wait_until(lambda: node.links["router"].last("settings").settings.hop_interval_s == 120, what="router was told")
    assert node.links["ledger"].count("settings") == before, "a section that did not change is not sent"
    gateway.kill()
    gateway.start()
    assert gateway.settings()["session", "hop_interval_s"] == "120"
    assert gateway.settings()["share", "exit"] == "yes"
    assert os.stat(gateway.settings_file()).st_mode & 0o777 == 0o600


def test_exit_counts_only_while_sharing(gateway, node):
    gateway.mvpn("share", "off", "--exit", "on")
    wait_until(lambda: node.links["tunnel"].count("settings") >= 2, what="told again")
    assert not node.links["tunnel"].last("settings").settings.share_exit
    assert not node.links["discovery"].last("settings").settings.share_exit


@pytest.mark.parametrize("text, words", [
    ("", "version"), ("\0\1\2", "zero byte"), ("[session]\nhops = 9\n", "hops"),
    ("[settings]\nversion = 7\n", "newer"), ("x" * 100000, "too long")])
def test_a_broken_settings_file_is_put_aside(tmp_path, text, words):
    g = Gateway(tmp_path / "n", "share = yes")
    g.stop()
    with open(g.settings_file(), "w", encoding="utf-8") as f:
        f.write(text)
    g.start()
    try:
        assert words in g.log()
        assert not os.path.exists(g.settings_file())
        with open(g.settings_file() + ".bad", encoding="utf-8") as f:
            assert f.read() == text
        assert g.settings()["share", "on"] == "yes", "the defaults are in use"
        assert "put aside" in g.ctl("status")["status"][0]["notice"]
        g.ctl("set", "session", "hops", "1")
        assert "notice" not in g.ctl("status")["status"][0], "the user has chosen anew"
    finally:
        g.close()


def test_a_full_disk_changes_nothing(gateway, node):
    gateway.ctl("set", "session", "hops", "2")
    os.mkdir(f"{gateway.dir}/state/gateway/settings.new")  # where the new file would be written
    p = gateway.mvpn("share", "on")
    assert p.returncode == 1 and "nothing was changed" in p.stderr
    assert gateway.settings()["share", "on"] == "no"
    assert gateway.counters()["settings_not_stored"] == 1
    os.rmdir(f"{gateway.dir}/state/gateway/settings.new")
    assert gateway.mvpn("share", "on").returncode == 0


@pytest.mark.parametrize("words, code", [
    (["connect", "--hops", "4"], 2), (["connect", "--hops"], 2), (["connect", "--exit", "CHE"], 2),
    (["connect", "now"], 2), (["share", "perhaps"], 2), (["pay", "on", "on"], 2), (["hop"], 1)])
def test_orders_that_make_no_sense(gateway, node, words, code):
    before = gateway.settings()
    p = gateway.mvpn(*words)
    assert p.returncode == code and p.stderr.strip()
    assert gateway.settings() == before


# ---- the session ----

def test_connect_and_disconnect_by_command(gateway, node):
    p = gateway.mvpn("connect", "--exit", "ch,se", "--hops", "2")
    assert p.returncode == 0
    wanted = node.links["router"].last("set_session").set_session
    assert wanted.on and wanted.hops == 2 and list(wanted.exit_countries) == ["CH", "SE"]
    out = json.loads(p.stdout)
    assert out["session"][0]["phase"] == "on"
    assert [h["position"] for h in out["hops"]] == [1, 2]
    node.second()
    wait_until(lambda: gateway.ctl("session")["hops"][0]["tickets"] == 4, what="payments are shown")
    assert gateway.mvpn("hop").returncode == 0
    wait_until(lambda: node.links["router"].count("new_route") == 1, what="NewRoute")
    p = gateway.mvpn("disconnect")
    assert p.returncode == 0 and json.loads(p.stdout)["session"][0]["phase"] == "off"
    # As set before, unless told otherwise.
    gateway.mvpn("connect")
    assert list(node.links["router"].last("set_session").set_session.exit_countries) == ["CH", "SE"]
    gateway.mvpn("connect", "--exit", "any")
    assert list(node.links["router"].last("set_session").set_session.exit_countries) == []


def test_a_failure_is_told_with_its_reason(gateway, node):
    node.router.fail = "no exit in CH"
    p = gateway.mvpn("connect", "--exit", "CH")
    assert p.returncode == 1 and "no exit in CH" in p.stderr
    # Trying again must not stumble over the failure of before.
    node.router.fail = None
    node.router.want = None
    assert gateway.mvpn("connect").returncode == 0


def test_a_refused_order_is_shown_as_failed(gateway, node, page):
    node.router.on_set_session = lambda s, m: False  # the frame answers
    node.links["router"].refuse = "two of these countries do not exist"
    page.phase("OFF")
    gateway.ctl("connect", "--exit", "XX")
    page.phase("FAILED")
    assert "do not exist" in page.state.reason
    assert gateway.sections()["session"]["state"] == "refused"


def test_a_section_is_refused(gateway, node):
    node.links["ledger"].refuse = "prices over the limit"
    gateway.ctl("set", "prices", "exit_gwei_per_gib", "5")
    wait_until(lambda: gateway.sections()["ledger"]["state"] == "refused", what="refusal is known")
    assert "prices over the limit" in gateway.sections()["ledger"]["why"]
    assert any("prices over the limit" in row["state"] for row in gateway.ctl("doctor")["doctor"])
    node.links["ledger"].refuse = None
    gateway.ctl("set", "prices", "exit_gwei_per_gib", "6")
    wait_until(lambda: gateway.sections()["ledger"]["state"] == "taken", what="taken after all")


# ---- services that go and come ----

@pytest.mark.parametrize("role", ["tunnel", "discovery", "router", "ledger"])
def test_a_service_goes_and_comes_back(gateway, node, page, role):
    page.until(lambda p: p.state is not None)
    node.end(role)
    wait_until(lambda: gateway.services()[role] == "down", what=f"{role} is missed")
    p = gateway.mvpn("status")
    assert p.returncode == 0
    node.begin(role)
    message = "set_session" if role == "router" else "settings"
    wait_until(lambda: node.links[role].count(message) >= 1, what=f"{role} has its settings again")
    wait_until(lambda: gateway.services()[role] == "up", what=f"{role} is back")


def test_router_away_is_never_shown_as_on(gateway, node, page):
    gateway.mvpn("connect")
    page.phase("ON")
    node.end("router")
    page.phase("UNKNOWN")
    assert "router" in page.state.reason
    assert page.state.session.phase == PHASE.PHASE_ON, "what was known is there to look at"
    assert phase_of(gateway) == "unknown"
    # The user may change his mind meanwhile; the new router hears it.
    assert gateway.ctl("disconnect") is not None
    node.begin("router")
    page.phase("OFF")
    assert not node.links["router"].last("set_session").set_session.on


def test_tunnel_away_is_never_shown_as_on(gateway, node, page):
    gateway.mvpn("connect")
    page.phase("ON")
    node.end("tunnel")
    page.phase("RECONNECTING")
    assert "tunnel" in page.state.reason
    node.begin("tunnel")
    page.phase("ON")


def test_a_router_that_hangs_is_found_out(gateway, node, page):
    node.links["router"].deaf = True
    node.router.on_set_session = node.router.on_list_exits = lambda s, m: True  # takes, says nothing
    gateway.ctl("connect")
    wait_until(lambda: gateway.services()["router"] == "silent", what="silence is noticed")
    page.phase("UNKNOWN")
    assert gateway.services()["ledger"] == "up"


def test_gateway_killed_while_on(gateway, node):
    gateway.mvpn("connect", "--exit", "JP")
    orders = node.links["router"].count("set_session")
    gateway.kill()
    gateway.start()
    wait_until(lambda: phase_of(gateway) == "on", what="on again, from what the router says")
    wait_until(lambda: node.links["router"].count("set_session") > orders, what="the order is said again")
    assert list(node.links["router"].last("set_session").set_session.exit_countries) == ["JP"]


# ---- what a page is told ----

def test_page_follows_the_command_line(gateway, node, page):
    page.until(lambda p: p.state is not None)
    assert page.welcome.name == "testnode" and page.welcome.version
    gateway.ctl("connect")
    page.phase("ON")
    assert [h.name for h in page.state.session.hops] == ["relay1", "relay4", "relay7"]
    gateway.ctl("disconnect")
    page.phase("OFF")
    gateway.ctl("share", "on")
    page.until(lambda p: p.state.settings.share.on)


def test_page_orders(gateway, node, page):
    assert page.order(route={"hops": 2, "exit_countries": ["SE"], "hop_interval_s": 60}).refusal == 0
    assert page.order(switched={"on": True}).refusal == 0
    page.phase("ON")
    assert page.order(new_route={}).refusal == 0
    assert page.order(share={"on": True, "exit": True}).refusal == 0
    assert page.order(pay={"on": False, "price_max_gwei_per_gib": 5}).refusal == 0
    assert page.order(prices={"earn": True, "exit_gwei_per_gib": 9}).refusal == 0
    assert page.order(list_exits={}).refusal == 0
    page.until(lambda p: p.exits is not None)
    assert [e.country for e in page.exits] == ["JP", "CH", "SE", "SE", "US"]
    ledger = wait_until(lambda: node.links["ledger"].last("settings").settings.earn, what="ledger was told")
    assert ledger
    done = page.order(route={"hops": 9})
    assert done.refusal == 1 and "hops" in done.why
    page.order(switched={"on": False})
    page.phase("OFF")
    assert page.order(new_route={}).refusal == 3
    assert gateway.settings()["session", "hops"] == "2"


def test_new_route_without_a_router(gateway, node, page):
    gateway.mvpn("connect")
    node.end("router")
    page.phase("UNKNOWN")
    assert page.order(new_route={}).refusal == 4
    p = gateway.mvpn("hop")
    assert p.returncode == 1 and "router" in p.stderr


def test_two_pages_see_the_same(gateway, node, page):
    other = Page(gateway.port, gateway.token)
    assert page.order(switched={"on": True}).refusal == 0
    other.phase("ON")
    other.close()
    page.phase("ON")


def test_samples_flow_and_the_past_is_remembered(gateway, node, page):
    gateway.mvpn("connect")
    node.second()
    page.until(lambda p: 1_450_000 in p.rx)
    later = Page(gateway.port, gateway.token)
    later.until(lambda p: 1_450_000 in p.rx)
    later.close()


def test_text_from_services_cannot_break_the_page(gateway, node, page):
    # Strings of another service, by hand: protobuf for Python would not write these bytes.
    reason = b"bad \xff\xfe \xed\xa0\x80 bytes"
    body = bytes([0x08, PHASE.PHASE_FAILED, 0x12, len(reason)]) + reason
    node.links["router"].tell_bytes(bytes([6 << 3 | 2, len(body)]) + body)
    page.phase("FAILED")  # ui.proto in Python refuses invalid UTF-8, as browsers do
    assert page.state.reason == "bad ?? ??? bytes"


def test_idle_costs_nothing(gateway, node, page):
    page.until(lambda p: len(p.rx) >= 2)
    ticks, start = gateway.cpu_ticks(), len(page.rx)
    page.until(lambda p: len(p.rx) >= start + 5)
    assert gateway.cpu_ticks() - ticks <= 5, "a page that looks on for five seconds"
    up_s = gateway.ctl("status")["status"][0]["up_s"]
    assert len(page.rx) >= 0.7 * up_s, "the loop wakes for each second"


# ---- configuration ----

def start_fails(directory, ini="", prepare=None):
    subprocess.run([f"{BIN}/mvpn", "--dir", directory, "init"], check=True, capture_output=True)
    with open(f"{directory}/node.ini", "w", encoding="utf-8") as f:
        f.write(f"[gateway]\n{ini}\n")
    if prepare:
        prepare()
    p = subprocess.run([f"{BIN}/mvpn-gateway", "--dir", directory], capture_output=True, text=True, timeout=30)
    assert p.returncode == 1
    return p.stderr


def test_start_errors_say_what_to_do(gateway, tmp_path):
    d = str(tmp_path / "m")
    assert "choose another" in start_fails(d, f"port = {gateway.port}")
    assert "page" in start_fails(d, "pages = /tmp")
    assert "65535" in start_fails(d, "port = 65536")
    assert "hop_interval_s" in start_fails(d, "port = 0\nhop_interval_s = 5")
    token = f"{d}/keys/ui.token"
    assert "chmod 600" in start_fails(d, "port = 0", lambda: os.chmod(token, 0o644))
    os.chmod(token, 0o600)

    def spoil():
        with open(token, "w", encoding="ascii") as f:
            f.write("short\n")
    assert "43" in start_fails(d, "port = 0", spoil)
    os.unlink(token)
    os.mkdir(token)
    p = subprocess.run([f"{BIN}/mvpn-gateway", "--dir", d], capture_output=True, text=True, timeout=30)
    assert p.returncode == 1 and "ui.token" in p.stderr


def test_a_node_without_a_page(tmp_path):
    g = Gateway(tmp_path / "n", port=0)
    try:
        assert g.ctl("status")["status"][0]["port"] == 0
        p = g.mvpn("url")
        assert p.returncode == 1 and "no page" in p.stderr
        with open(f"/proc/{g.process.pid}/net/tcp", encoding="ascii") as f:
            inodes = {line.split()[9] for line in f.readlines()[1:] if line.split()[3] == "0A"}
        ours = {os.readlink(f"/proc/{g.process.pid}/fd/{n}") for n in os.listdir(f"/proc/{g.process.pid}/fd")}
        assert not {f"socket:[{i}]" for i in inodes} & ours, "no listening socket"
    finally:
        g.close()


def test_messages_of_the_wrong_kind_are_refused(gateway, node):
    wait_until(lambda: gateway.ctl("exits"), what="the list of exits")
    n = gateway.ctl("show", "bus")["bus"][0]["bad_role"]
    node.links["ledger"].tell(session_state=gateway_pb2.SessionState(phase=PHASE.PHASE_ON))
    wait_until(lambda: gateway.ctl("show", "bus")["bus"][0]["bad_role"] > n, what="it is counted")
    assert phase_of(gateway) == "off"
    # An answer to a question that nobody asked changes nothing.
    node.links["router"].tell(re=1, done=types_pb2.Done(err=-10, why="no"))
    node.links["router"].tell(re=1, exit_list=gateway_pb2.ExitList(exits=[], more=False))
    node.links["router"].tell(session_state=node.router.state())
    assert len(gateway.ctl("exits")["exits"]) == 5


def test_second_router_takes_over(gateway, node):
    """A router that was killed and one that follows: the gateway listens to the one that is there."""
    node.end("router")
    again = Service(gateway.dir, "router", node.router)
    node.links["router"] = again
    wait_until(lambda: again.count("set_session") >= 1, what="the order is said to the new one")
