# SPDX-License-Identifier: GPL-2.0-or-later
"""The gateway's port on loopback: who gets in, and what happens to those who misbehave."""
import http.client
import os
import random
import socket

import pytest

from fake_services import Node
from gateway_node import Gateway
from waiting import wait_until
from web_socket import BINARY, MORE, PING, PROTOCOL, TEXT, Closed, Page, Refused, WebSocket

PAGE = "<!doctype html><title>t</title>"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    d = tmp_path_factory.mktemp("door")
    os.mkdir(d / "page")
    (d / "page" / "index.html").write_text(PAGE, encoding="utf-8")
    (d / "page" / "app.js").write_text("1", encoding="utf-8")
    (d / "page" / "icon.svg").write_text("<svg/>", encoding="utf-8")
    (d / "secret").write_text("secret", encoding="utf-8")
    g = Gateway(d / "n", f"page = {d}/page")
    n = g.node = Node(g.dir)
    wait_until(lambda: set(g.services().values()) == {"up"}, what="all links up")
    yield g
    n.close()
    g.close()


@pytest.fixture(autouse=True)
def still_healthy(gateway):
    """After each test: alive, serving, no page left over, memory not grown by megabytes."""
    before = gateway.rss_kb()
    yield
    wait_until(lambda: gateway.ctl("status")["status"][0]["clients"] == 0, what="pages are gone")
    p = Page(gateway.port, gateway.token)
    p.until(lambda p: p.state is not None)
    p.close()
    wait_until(lambda: gateway.ctl("status")["status"][0]["clients"] == 0, what="and this one")
    assert gateway.grown_kb(before) < 2048


def get(gateway, path="/", method="GET", host=None, headers=()):
    c = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=20)
    c.putrequest(method, path, skip_host=True)
    if host != "":
        c.putheader("Host", host or f"127.0.0.1:{gateway.port}")
    for k, v in headers:
        c.putheader(k, v)
    c.endheaders()
    r = c.getresponse()
    body = r.read()
    c.close()
    return r, body


def counted(gateway, name, action):
    before = gateway.counters()[name]
    action()
    wait_until(lambda: gateway.counters()[name] == before + 1, what=f"{name} is counted")


# ---- files ----

def test_page_and_its_headers(gateway):
    for path, kind in (("/", "text/html"), ("/app.js", "text/javascript"), ("/icon.svg", "image/svg+xml")):
        r, body = get(gateway, path)
        assert r.status == 200 and r.headers["content-type"].startswith(kind)
        policy = r.headers["content-security-policy"]
        for part in ("default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'",
                     "base-uri 'none'", "form-action 'none'"):
            assert part in policy
        assert "unsafe" not in policy and "*" not in policy
        assert r.headers["x-content-type-options"] == "nosniff"
        assert r.headers["referrer-policy"] == "no-referrer"
        assert r.headers["cross-origin-resource-policy"] == "same-origin"
        assert "access-control-allow-origin" not in r.headers
    assert get(gateway, "/")[1].decode() == PAGE


@pytest.mark.parametrize("path", ["/../secret", "/..%2fsecret", "/%2e%2e/secret", "/app.js/../../secret",
                                  "/....//secret", "//secret", "/\\..\\secret", "/nothing", "/app.js%00.html"])
def test_no_way_out_of_the_folder(gateway, path):
    try:
        r, body = get(gateway, path)
    except http.client.RemoteDisconnected:
        return  # not worth an answer
    assert b"secret" not in body.replace(path.encode(), b"")
    assert r.status in (200, 301, 302, 400, 403, 404)
    if r.status == 200:
        assert body.decode() in (PAGE, "1")


@pytest.mark.parametrize("host", ["evil.test", "127.0.0.1", "", "localhost", "127.0.0.1:1", "x" * 2000])
def test_foreign_host(gateway, host):
    def ask():
        r, body = get(gateway, host=host)
        assert r.status == 421 and PAGE.encode() not in body
    counted(gateway, "bad_host", ask)


def test_localhost_is_us(gateway):
    assert get(gateway, host=f"localhost:{gateway.port}")[0].status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_reading(gateway, method):
    try:
        r, body = get(gateway, method=method, headers=[("Content-Length", "0")])
    except (http.client.HTTPException, ConnectionError):
        return  # dropped, as good
    assert r.status >= 400 and PAGE.encode() not in body


@pytest.mark.parametrize("upgrade", ["h2c", "TLS/1.0", "x"])
def test_no_other_protocol_to_change_to(gateway, upgrade):
    with socket.create_connection(("127.0.0.1", gateway.port)) as s:
        s.settimeout(30)
        s.sendall((f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                   f"Upgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n").encode())
        assert not s.recv(4096).startswith(b"HTTP/1.1 101")


def test_http2_at_once_is_refused(gateway):
    with socket.create_connection(("127.0.0.1", gateway.port)) as s:
        s.settimeout(30)
        s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
        try:
            assert not s.recv(4096).startswith(bytes([0, 0]))  # a SETTINGS frame would
        except ConnectionError:
            pass


def test_only_loopback(gateway):
    with open("/proc/net/tcp", encoding="ascii") as f:
        listening = [line.split()[1] for line in f.readlines()[1:] if line.split()[3] == "0A"]
    ours = [a for a in listening if int(a.split(":")[1], 16) == gateway.port]
    assert ours == [f"0100007F:{gateway.port:04X}"]


# ---- the handshake ----

@pytest.mark.parametrize("origin", ["http://evil.test", "null", "https://127.0.0.1:{port}", "http://127.0.0.1:1",
                                    "http://127.0.0.1:{port}.evil.test", None, "x" * 1000])
def test_foreign_origin(gateway, origin):
    def ask():
        with pytest.raises(Refused) as e:
            WebSocket(gateway.port, gateway.token, origin=origin and origin.format(port=gateway.port))
        assert e.value.status == 403
    counted(gateway, "bad_origin", ask)


def test_foreign_host_of_a_socket(gateway):
    def ask():
        with pytest.raises(Refused) as e:
            WebSocket(gateway.port, gateway.token, host="evil.test", origin="http://evil.test")
        assert e.value.status == 421
    counted(gateway, "bad_host", ask)


@pytest.mark.parametrize("change", [lambda t: t[:-1] + ("A" if t[-1] != "A" else "B"), lambda t: t[:-1],
                                    lambda t: t + "A", lambda t: "", lambda t: t.swapcase()])
def test_wrong_token(gateway, change):
    def ask():
        w = WebSocket(gateway.port, change(gateway.token))
        assert gateway.token not in w.head
        with pytest.raises(Closed) as e:
            w.recv()
        assert e.value.code == 4401
        w.close()
    counted(gateway, "bad_token", ask)


def test_no_token_gets_no_word(gateway):
    w = WebSocket(gateway.port, "", protocols=PROTOCOL)
    w.send_frame(BINARY, b"\x12\x02\x08\x01")  # switch on
    with pytest.raises(Closed) as e:
        w.recv()
    assert e.value.code == 4401
    w.close()
    assert gateway.settings()["session", "on"] == "no"


@pytest.mark.parametrize("protocols", ["", "http", "other", "mvpn.ui.2, auth.{token}", "a" * 200, ",".join("b" * 60)])
def test_other_protocols(gateway, protocols):
    try:
        w = WebSocket(gateway.port, "", protocols=protocols.format(token=gateway.token))
    except Refused:
        return
    with pytest.raises(Closed):
        w.recv()


def test_token_is_not_echoed(gateway):
    p = Page(gateway.port, gateway.token)
    assert gateway.token not in p.head and f": {PROTOCOL}\r" in p.head.lower() + "\r"
    p.close()


def test_half_a_handshake_is_dropped(gateway):
    socks = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(10)]
    for i, s in enumerate(socks):
        s.settimeout(30)
        s.sendall([b"", b"GET ", b"GET / HTTP/1.1\r\nHost: 127", b"\x16\x03\x01"][i % 4])
    for s in socks:
        data = b"-"
        try:
            while data:
                data = s.recv(4096)  # whatever it says, it ends
        except ConnectionError:
            pass
        s.close()


def test_garbage_instead_of_http(gateway):
    rng = random.Random(3)
    for _ in range(40):
        s = socket.create_connection(("127.0.0.1", gateway.port))
        s.settimeout(30)
        try:
            s.sendall(rng.randbytes(rng.randint(1, 3000)))
            s.shutdown(socket.SHUT_WR)
            while s.recv(4096):
                pass
        except ConnectionError:
            pass
        s.close()


def test_more_connections_than_there_is_room_for(gateway):
    socks = []
    for _ in range(200):
        s = socket.create_connection(("127.0.0.1", gateway.port))
        s.settimeout(30)
        socks.append(s)
    assert gateway.ctl("status") is not None, "the command line is served meanwhile"
    for s in socks:
        s.close()
    wait_until(lambda: answers(gateway), what="the page is served again")


def answers(gateway):
    try:
        return get(gateway)[0].status == 200
    except (OSError, http.client.HTTPException):
        return False


def test_too_many_pages(gateway):
    pages = [Page(gateway.port, gateway.token) for _ in range(16)]
    for p in pages:
        p.until(lambda p: p.state is not None)
    w = WebSocket(gateway.port, gateway.token)
    with pytest.raises(Closed) as e:
        w.recv()
    assert e.value.code == 4429
    w.close()
    for p in pages:
        p.close()


# ---- after the handshake ----

def closes(gateway, code, counter, misbehave):
    def act():
        p = Page(gateway.port, gateway.token)
        p.until(lambda p: p.state is not None)
        try:
            misbehave(p)
        except (BrokenPipeError, ConnectionResetError):
            pass
        with pytest.raises(Closed) as e:
            while True:
                p.event()
        assert e.value.code == code
        p.close()
    if counter:
        counted(gateway, counter, act)
    else:
        act()


def test_text_frame(gateway):
    closes(gateway, 1003, "text_frames", lambda p: p.send_frame(TEXT, b'{"on":true}'))


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff\xff", b"\x08\x01", b"\x12\x7f\x08\x01", b"\x12\x02\x08",
                                  b"\x1a\x05\x12\x03CHE", b"\x0b\x0c", b"\x00" * 100, b"\x1a\x46" + b"\x12\x02CH" * 17])
def test_what_is_not_an_order(gateway, data):
    closes(gateway, 1002, "malformed", lambda p: p.send_frame(BINARY, data))


def test_too_large(gateway):
    closes(gateway, 1009, "too_large", lambda p: p.send_frame(BINARY, bytes(1025)))


def test_too_large_in_pieces(gateway):
    def pieces(p):
        p.send_frame(BINARY, bytes(100), final=False)
        for _ in range(20):
            p.send_frame(MORE, bytes(100), final=False)
    closes(gateway, 1009, "too_large", pieces)


def test_a_length_that_is_a_lie(gateway):
    closes(gateway, 1009, "too_large", lambda p: p.send_frame(BINARY, bytes(5000), length=1 << 40))


def test_an_order_in_pieces_is_one_order(gateway):
    p = Page(gateway.port, gateway.token)
    data = b"\x08\x07" + b"\x22\x04\x08\x01\x10\x01"  # id 7, share on, exit
    for i, byte in enumerate(data):
        p.send_frame(BINARY if i == 0 else MORE, bytes([byte]), final=i + 1 == len(data))
        if i == 3:
            p.send_frame(PING, b"between")
    p.until(lambda p: 7 in p.dones)
    assert p.dones[7].refusal == 0
    p.order(share={"on": False, "exit": False})
    p.close()


def test_frames_that_break_the_protocol(gateway):
    rng = random.Random(5)
    for _ in range(60):
        p = Page(gateway.port, gateway.token)
        try:
            p.send_frame(rng.randrange(16), rng.randbytes(rng.randint(0, 200)), final=rng.random() < 0.7,
                         mask=rng.random() < 0.8)
            p.sock.sendall(rng.randbytes(rng.randint(0, 300)))
            p.sock.shutdown(socket.SHUT_WR)
            while True:
                p.event()
        except (Closed, OSError, AssertionError):
            pass
        p.close()


def test_random_orders(gateway):
    """Well-formed frames, any bytes: taken, refused or closed, never worse."""
    rng = random.Random(7)
    before = gateway.settings()
    for _ in range(300):
        p = Page(gateway.port, gateway.token)
        body = bytearray(b"\x08\x05\x1a\x0a\x08\x02\x12\x02CH\x12\x02SE")
        for _ in range(rng.randint(1, 4)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        p.send_frame(BINARY, bytes(body))
        try:
            p.until(lambda p: p.dones)
        except Closed as e:
            assert e.code in (1002, 1006)
        p.close()
    after = gateway.settings()
    assert {k: v for k, v in after.items() if k[0] != "session"} == {k: v for k, v in before.items() if k[0] != "session"}


def test_orders_without_reading_answers(gateway):
    """A page that only talks is not read further; when it reads, it gets every answer, in order."""
    p = Page(gateway.port, gateway.token)
    p.sock.settimeout(60)
    n = 3000
    p.sock.setblocking(False)
    frames = bytearray()
    for i in range(n):
        body = b"\x08" + varint(i + 1) + b"\x42\x00"  # list exits: a long answer for a short order
        frames += b"\x82" + bytes([0x80 | len(body)]) + bytes(4) + body
    sent = 0
    got = []
    p.sock.setblocking(True)
    p.sock.settimeout(0.2)
    try:
        while sent < len(frames):
            sent += p.sock.send(frames[sent:sent + 4096])
    except TimeoutError:
        pass  # it no longer reads us: as it should
    p.sock.settimeout(60)
    rss = gateway.rss_kb()
    try:
        while len(p.dones) < n:
            p.event()
            got = list(p.dones)
            if sent < len(frames):
                sent += p.sock.send(frames[sent:sent + 64])
    except Closed as e:
        assert e.code == 1008, "closed for talking without listening"
    assert got == list(range(1, len(got) + 1))
    assert gateway.grown_kb(rss) < 2048
    p.close()


def varint(n):
    out = b""
    while n > 0x7F:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def test_a_page_that_does_not_read_costs_no_memory(gateway):
    """It is owed a State at each change; hundreds of changes later it is owed one."""
    slow = Page(gateway.port, gateway.token, read_buffer=2048)
    busy = Page(gateway.port, gateway.token)
    rss = gateway.rss_kb()
    for i in range(600):
        busy.order(share={"on": i % 2 == 0, "exit": False})
    assert gateway.grown_kb(rss) < 1024
    busy.close()
    slow.until(lambda p: p.state is not None and not p.state.settings.share.on and len(p.rx) > 0)
    slow.close()


def test_a_page_that_takes_nothing_is_given_up(gateway):
    """Its socket is full of what it asked for and it does not read: after 20 s it is gone."""
    gateway.node.router.more_exits = 5000
    slow = Page(gateway.port, gateway.token, read_buffer=2048)
    slow.until(lambda p: p.state is not None)
    try:
        def long_list():
            return len(gateway.ctl("exits")["exits"]) == 4096
        wait_until(long_list, what="a long list of exits")
        assert gateway.counters()["exits_left_out"] > 0
        rss = gateway.rss_kb()

        def owed():
            slow.send(list_exits={})
            return gateway.ctl("show", "clients")["clients"][0]["answers"] > 0
        wait_until(owed, what="the socket is full", step=0.05)
        stalled = gateway.counters()["pages_stalled"]
        wait_until(lambda: gateway.counters()["pages_stalled"] > stalled, what="it is given up")
        wait_until(lambda: gateway.ctl("status")["status"][0]["clients"] == 0, what="and gone")
        assert gateway.grown_kb(rss) < 2048
    finally:
        slow.close()
        gateway.node.router.more_exits = 0


def test_stopping_says_goodbye(gateway):
    p = Page(gateway.port, gateway.token)
    p.until(lambda p: p.state is not None)
    assert gateway.stop() == 0
    with pytest.raises(Closed) as e:
        while True:
            p.event()
    assert e.value.code == 1001
    gateway.start()
    wait_until(lambda: set(gateway.services().values()) == {"up"}, what="links are back")


def test_port_is_free_at_once_after_a_crash(gateway):
    p = Page(gateway.port, gateway.token)
    p.until(lambda p: p.state is not None)
    gateway.kill()
    with pytest.raises(Closed) as e:
        while True:
            p.event()
    assert e.value.code == 1006
    gateway.start()
    wait_until(lambda: set(gateway.services().values()) == {"up"}, what="links are back")
    assert gateway.log().count("choose another") == 0
