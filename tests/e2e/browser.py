# SPDX-License-Identifier: GPL-2.0-or-later
"""A real browser for tests: browser.mjs behind methods. b.click(at="#power") and so on."""
import contextlib
import http.server
import json
import os
import subprocess
import threading

HERE = os.path.dirname(os.path.abspath(__file__))


class BrowserError(AssertionError):
    pass


class Browser:
    def __init__(self, argv_before=()):
        """argv_before: what runs the browser elsewhere, such as ["ip", "netns", "exec", ...]."""
        self.process = subprocess.Popen([*argv_before, "node", f"{HERE}/browser.mjs"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise BrowserError("the browser ended")
        answer = json.loads(line)
        if "error" in answer:
            raise BrowserError(answer["error"])
        return answer["ok"]

    def __getattr__(self, name):
        def command(**more):
            self.process.stdin.write(json.dumps({"do": name, **more}) + "\n")
            self.process.stdin.flush()
            return self._answer()
        return command

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)

    # -- the page --
    def phase(self):
        return self.attribute(at="#phase", name="data-phase")

    def await_phase(self, *names, ms=30000):
        """Milliseconds until one of them is shown."""
        return self.until(js=f"{json.dumps(names)}.includes(document.querySelector('#phase')?.dataset.phase)", ms=ms)

    def await_text(self, words, ms=30000):
        return self.until(js=f"document.body.innerText.replaceAll('\\u00a0', ' ').includes({json.dumps(words)})", ms=ms)

    def switch_is_on(self):
        return self.attribute(at="#power", name="aria-checked") == "true"


class _Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self):  # noqa: N802 (its base names it so)
        body = b"<!doctype html><title>foreign</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def foreign_page():
    """The address of a page of another origin."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def socket_from_page(address, token):
    """JavaScript that tries the gateway's WebSocket: "open", or the code it was closed with."""
    return f"""new Promise((done) => {{
        const s = new WebSocket("{address.replace("http:", "ws:")}", ["mvpn.ui.1", "auth.{token}"]);
        s.onopen = () => done("open");
        s.onclose = (e) => done(e.code);
    }})"""
