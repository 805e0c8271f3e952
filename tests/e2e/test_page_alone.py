# SPDX-License-Identifier: GPL-2.0-or-later
"""The page in a real browser, against a real gateway; the services behind it are played."""
import os
import sys
import threading

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "integration"))

from browser import Browser, foreign_page, socket_from_page  # noqa: E402
from fake_services import Node  # noqa: E402
from gateway_node import Gateway  # noqa: E402
from waiting import wait_until  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    b = Browser()
    yield b
    b.end()


class World:
    def __init__(self, directory):
        self.gateway = Gateway(directory)
        self.node = Node(self.gateway.dir)
        self.ending = threading.Event()
        self.clock = threading.Thread(target=self._seconds, daemon=True)
        self.clock.start()
        wait_until(lambda: set(self.gateway.services().values()) == {"up"}, what="all links up")

    def _seconds(self):
        while not self.ending.wait(1):
            self.node.second()

    def close(self):
        self.ending.set()
        self.clock.join()
        self.node.close()
        self.gateway.close()

    def url(self):
        return self.gateway.ctl("url")["page"][0]["url"]


@pytest.fixture
def world(tmp_path):
    w = World(tmp_path / "n")
    yield w
    w.close()


@pytest.fixture
def page(world, browser):
    browser.open(url=world.url())
    browser.await_phase("OFF")
    yield browser
    bad = [c for c in browser.complaints() if "WebSocket connection" not in c]
    assert bad == [], "the console is silent"


def test_click_connects_and_disconnects(world, page):
    assert not page.switch_is_on()
    page.click(at="#power")
    page.await_phase("ON")
    assert page.switch_is_on()
    assert page.texts(at=".hop strong") == ["You", "Switzerland", "Sweden", "Japan", "The internet"]
    assert page.text(at="#seen") == "sees 203.0.113.77"
    assert "bytes came back through the exit" in page.text(at=".power")
    page.await_text("paid 1,200 gwei · 4 tickets")
    page.await_text("11.6 Mbit/s")
    assert "63% of the price" in page.text(at=".route")
    assert "18 ms" in page.text(at=".route") and "188 ms" in page.text(at=".route")
    assert page.eval(js="document.title") == "On · mvpn"
    page.click(at="#power")
    page.await_phase("OFF")
    assert not page.switch_is_on()
    assert world.gateway.settings()["session", "on"] == "no"


def test_a_change_elsewhere_shows_within_a_second(world, page):
    world.gateway.ctl("connect")
    assert page.await_phase("ON", ms=1000) < 1000
    world.gateway.ctl("disconnect")
    assert page.await_phase("OFF", ms=1000) < 1000
    world.gateway.ctl("share", "on")
    page.until(js="document.querySelector('.toggle[aria-checked=true]') !== null", ms=1000)


def test_each_state_in_words(world, page):
    world.node.router.slow = True
    page.click(at="#power")
    page.await_phase("CONNECTING")
    assert page.switch_is_on() and "building a route" in page.text(at=".power")
    world.node.router.fail = "no exit fits: 4 known, all over the price cap"
    world.node.router.settle(world.node.links["router"])
    page.await_phase("FAILED")
    assert "all over the price cap" in page.text(at=".power")
    assert page.axe()["violations"] == []
    world.node.router.fail = None
    world.node.router.slow = False
    world.node.router.settle(world.node.links["router"])
    page.await_phase("ON")
    world.node.end("router")
    page.await_phase("UNKNOWN")
    assert "router is restarting" in page.text(at=".power")
    assert page.texts(at=".figures .rx dd")[0] == "–", "nobody knows how much flows"
    page.wait(at=".services [data-health=DOWN]")
    assert page.axe()["violations"] == []
    world.node.begin("router")
    page.await_phase("ON")
    world.node.end("tunnel")
    page.await_phase("RECONNECTING")
    assert "tunnel is not running" in page.text(at=".power")


def test_exit_picker_by_keyboard(world, page):
    page.eval(js="document.querySelector('#exit-button').focus()")
    page.press(key="Enter")
    page.wait(at="[role=option][data-country=JP]")
    names = page.texts(at=".option-name")
    assert names == ["Anywhere", "Japan", "Sweden", "Switzerland", "United States"]
    assert page.eval(js="document.activeElement.getAttribute('role')") == "combobox"
    assert page.axe()["violations"] == []
    page.type(text="swe")
    page.until(js="document.querySelectorAll('[role=option]').length === 1")
    page.press(key="Enter")
    page.until(js="document.querySelector('#exit-value').innerText === 'Sweden'")
    assert world.gateway.settings()["session", "exit_countries"] == "SE"
    assert page.count(at="dialog") == 0
    # Back to anywhere, with the arrows; and Escape changes nothing.
    page.click(at="#exit-button")
    page.wait(at="[role=option][data-country=JP]")
    page.press(key="ArrowDown")
    page.press(key="ArrowUp")
    page.press(key="Enter")
    page.until(js="document.querySelector('#exit-value').innerText === 'Anywhere'")
    page.click(at="#exit-button")
    page.wait(at="[role=option][data-country=JP]")
    page.press(key="ArrowDown")
    page.press(key="Escape")
    page.wait(at="dialog", state="detached")
    assert world.gateway.settings()["session", "exit_countries"] == ""


def test_switch_by_keyboard(world, page):
    page.eval(js="document.querySelector('#power').focus()")
    page.press(key="Space")
    page.await_phase("ON")
    page.press(key="Enter")
    page.await_phase("OFF")
    assert page.attribute(at="#power", name="role") == "switch"


def test_hops_sharing_paying_settings(world, page):
    page.click(at=".segments label:nth-of-type(2)")
    wait_until(lambda: world.gateway.settings()["session", "hops"] == "2", what="hops are stored")
    page.click(at="section[aria-labelledby=sharing-title] .toggle-row:nth-of-type(1) .toggle")
    wait_until(lambda: world.gateway.settings()["share", "on"] == "yes", what="sharing is stored")
    page.await_text("7 MiB carried")
    page.click(at="section[aria-labelledby=sharing-title] .toggle-row:nth-of-type(2) .toggle")
    wait_until(lambda: world.gateway.settings()["share", "exit"] == "yes", what="exit is stored")
    page.click(at="section[aria-labelledby=cost-title] .toggle")
    wait_until(lambda: world.gateway.settings()["pay", "on"] == "no", what="paying is stored")
    page.click(at="summary")
    page.fill(at="input[name=price]", text="50000")
    page.click(at="details form button")
    wait_until(lambda: world.gateway.settings()["pay", "price_max_gwei_per_gib"] == "50000", what="the cap is stored")
    page.select(at="details select", value="3600")
    wait_until(lambda: world.gateway.settings()["session", "hop_interval_s"] == "3600", what="the interval is stored")
    assert page.axe()["violations"] == []


def test_new_route(world, page):
    page.click(at="#power")
    page.await_phase("ON")
    page.click(at="#new-route")
    page.until(js="document.querySelector('#seen').innerText === 'sees 198.18.1.7'")


def test_a_refusal_is_shown(world, page):
    os.mkdir(f"{world.gateway.dir}/state/gateway/settings.new")  # where the new file would be written
    page.click(at="#power")
    page.wait(at=".complaint")
    assert "nothing was changed" in page.text(at=".complaint")
    assert not page.switch_is_on()
    os.rmdir(f"{world.gateway.dir}/state/gateway/settings.new")
    page.click(at="#power")
    page.await_phase("ON")
    page.wait(at=".complaint", state="detached")


def test_gateway_crash_and_return(world, page):
    page.click(at="#power")
    page.await_phase("ON")
    world.gateway.kill()
    page.wait(at=".banner")
    page.await_phase("AWAY")
    assert "Trying again" in page.text(at=".banner")
    assert page.eval(js="document.querySelector('#power').disabled")
    world.gateway.start()
    page.await_phase("ON")
    page.wait(at=".banner", state="detached")
    world.gateway.stop()
    page.until(js="document.querySelector('.banner')?.innerText.includes('was stopped')")
    world.gateway.start()
    page.await_phase("ON")


def test_token_leaves_the_address_and_survives_a_reload(world, page):
    assert page.eval(js="location.href") == f"http://127.0.0.1:{world.gateway.port}/"
    page.reload()
    page.await_phase("OFF")
    assert world.gateway.token not in page.eval(js="document.documentElement.outerHTML")


def test_without_and_with_a_wrong_key(world, browser):
    browser.open(url=f"http://127.0.0.1:{world.gateway.port}/")
    browser.wait(at="main.door")
    assert browser.axe()["violations"] == []
    browser.fill(at="input[name=key]", text="A" * 43)
    browser.press(key="Enter")
    browser.await_text("not the right one")
    assert world.gateway.counters()["bad_token"] == 1
    browser.fill(at="input[name=key]", text=world.url())
    browser.press(key="Enter")
    browser.await_phase("OFF")


def test_a_foreign_page_gets_nothing(world, browser):
    """A page of another origin that even knows the token: no socket, no file to read, no frame."""
    with foreign_page() as foreign:
        browser.open(url=foreign)
        ours = f"http://127.0.0.1:{world.gateway.port}/"
        assert browser.eval(js=socket_from_page(ours, world.gateway.token)) == 1006
        assert world.gateway.counters()["bad_origin"] == 1
        assert browser.eval(js=f"fetch('{ours}').then(() => 'read', () => 'refused')") == "refused"
        framed = browser.eval(js=f"""new Promise((done) => {{
            const f = document.createElement("iframe");
            f.src = "{ours}";
            f.onload = () => {{ try {{ done(f.contentDocument ? "same" : "shut"); }} catch (e) {{ done("shut"); }} }};
            document.body.append(f);
        }})""")
        assert framed == "shut"
        assert world.gateway.counters()["pages_opened"] == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width, locale", [(1100, "en-GB"), (360, "de-DE")])
def test_accessible_in_every_look(world, browser, scheme, width, locale):
    browser.open(url=world.url(), width=width, height=800, scheme=scheme, locale=locale)
    browser.await_phase("OFF")
    assert browser.axe()["violations"] == []
    browser.click(at="#power")
    browser.await_phase("ON")
    browser.until(js="document.querySelectorAll('.hop').length === 5")
    found = browser.axe()
    assert found["violations"] == [] and found["passes"] > 20
    assert browser.eval(js="document.documentElement.lang") == locale[:2]
    assert browser.eval(js="document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    if locale == "de-DE":
        assert browser.text(at="#phase") == "An" and "Schweiz" in browser.text(at=".route")
    assert browser.complaints() == []


def test_language_and_theme_are_remembered(world, page):
    page.select(at="footer label:nth-of-type(2) select", value="de")
    page.until(js="document.querySelector('#phase').innerText === 'Aus'")
    page.select(at="footer label:nth-of-type(1) select", value="dark")
    page.reload()
    page.until(js="document.querySelector('#phase')?.innerText === 'Aus'")
    assert page.eval(js="document.documentElement.dataset.theme") == "dark"
