# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in a browser on the machine, the node behind it whole, in the lab."""
import json
import os
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from browser import Browser, foreign_page, socket_from_page  # noqa: E402
from labkit import Client, Lab, wait_ready  # noqa: E402
from waiting import wait_until  # noqa: E402

RELAYS = 8


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    made = Lab(tmp_path_factory.mktemp("lab"), RELAYS)
    try:
        wait_ready(made, RELAYS)
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def browser():
    b = Browser()
    yield b
    b.end()


@pytest.fixture
def client(lab):
    c = Client(lab, "client")
    yield c
    c.mvpn("disconnect", check=False)


@pytest.fixture
def page(client, browser):
    browser.open(url=url(client))
    browser.await_phase("OFF", "UNKNOWN")
    browser.await_phase("OFF")
    yield browser
    bad = [c for c in browser.complaints() if "WebSocket connection" not in c]
    assert bad == [], "the console is silent"


def url(client):
    return client.json("mvpn", "url")["page"][0]["url"]


def test_the_switch_really_connects(lab, client, page):
    own = lab.host("client")["ip4"]
    page.click(at="#power")
    page.await_phase("ON", ms=60000)
    # What the page says is what the destination sees.
    seen = client.curl("http://web.test/whoami").strip()
    page.await_text(f"sees {seen}")
    assert seen != own
    hops = client.hops()
    assert len(hops) == 3
    assert page.count(at=".hop") == 5
    for h in hops:
        assert h["name"] in page.text(at=".route")
    page.until(js="[...document.querySelectorAll('.hop-figures span:first-child')].every(e => /\\d/.test(e.innerText))")
    assert page.axe()["violations"] == []
    page.click(at="#power")
    page.await_phase("OFF", ms=60000)
    wait_until(lambda: client.session()["phase"] == "off", what="off by the command line too")


def test_traffic_and_payment_are_shown(client, page):
    client.connect(hops=3)
    page.await_phase("ON", ms=60000)
    client.sh("curl -sS --fail -o /dev/null 'http://web.test/blob?bytes=12000000&seed=3'")
    page.until(js="/[1-9][0-9.]* (MiB|GiB) in all/.test(document.body.innerText.replaceAll('\\u00a0', ' '))")
    paid = [h for h in client.hops() if h["price_gwei_per_gib"] > 0]
    if paid:  # the route may be of free relays only
        page.await_text("tickets")


def test_the_page_follows_the_command_line_within_a_second(client, page):
    client.connect(hops=2)
    # `mvpn connect` returns when it is on; the page is at most a second behind.
    assert page.await_phase("ON", ms=1000) <= 1000
    page.until(js="document.querySelectorAll('.hop').length === 4", ms=1000)
    client.disconnect()
    assert page.await_phase("OFF", ms=1000) <= 1000


def test_exit_country(client, page):
    exits = client.json("mvpn", "exits")["exits"]
    wanted = next(e["country"] for e in exits if e["usable"])
    page.click(at="#exit-button")
    page.wait(at=f"[role=option][data-country={wanted}]")
    page.click(at=f"[role=option][data-country={wanted}]")
    page.click(at="#power")
    page.await_phase("ON", ms=60000)
    wait_until(lambda: client.hops()[-1]["country"] == wanted, what=f"the exit is in {wanted}")
    client.mvpn("disconnect")
    client.ctl("gateway", "set", "session", "exit_countries", "")


def test_new_route_by_a_click(client, page):
    client.connect(hops=3)
    page.await_phase("ON", ms=60000)
    before = [h["name"] for h in client.hops()]
    page.click(at="#new-route")
    wait_until(lambda: [h["name"] for h in client.hops()] not in ([], before), what="another route")
    after = [h["name"] for h in client.hops()]
    page.until(js=f"{json.dumps(after)}.every(n => document.querySelector('.route').innerText.includes(n))")


def test_gateway_and_router_killed_while_on(lab, client, page):
    client.connect(hops=3)
    page.await_phase("ON", ms=60000)
    lab.kill("client", "router")
    page.await_phase("UNKNOWN", "RECONNECTING", "CONNECTING")  # honest at once
    page.await_phase("ON", ms=60000)
    lab.kill("client", "gateway")
    page.wait(at=".banner")
    page.await_phase("ON", ms=60000)
    assert client.answers("http://web.test/whoami")


def test_wrong_token_and_foreign_origin(client, browser):
    right = url(client)
    base, token = right.split("#t=")
    wrong = ("A" if token[0] != "A" else "B") + token[1:]
    browser.open(url=f"{base}#t={wrong}")
    browser.wait(at="main.door")
    browser.await_text("not the right one")
    with foreign_page() as foreign:
        browser.open(url=foreign)
        assert browser.eval(js=socket_from_page(base, token)) == 1006
    counters = client.ctl("gateway", "show", "counters")["counters"][0]
    assert counters["bad_token"] >= 1 and counters["bad_origin"] >= 1
