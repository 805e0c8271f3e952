#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The destination: a web server over IPv4 and IPv6, and an echo on UDP and TCP port 7.

  GET  /                       a page that says who the visitor seems to be
  GET  /whoami                 the visitor's address
  GET  /blob?bytes=N&seed=S    N bytes (at most 64 MiB), the same for the same seed; &rate=R bytes a
                               second; Range: bytes=A- is honoured
  GET  /blob-sha256?bytes=N&seed=S   its SHA-256
  POST /upload                 byte count and SHA-256 of what came
  POST /echo                   what came, at most 1 MiB
"""
import argparse
import hashlib
import socket
import socketserver
import sys
import threading
import time
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

BLOB_MAX = 64 << 20
ECHO_MAX = 1 << 20
BLOCK = 1 << 16


def blob(n_bytes, seed, start=0):
    """Yields the bytes from `start` to n_bytes; block k depends on seed and k alone."""
    while start < n_bytes:
        k, skip = divmod(start, BLOCK)
        block = hashlib.shake_128(f"{seed}:{k}".encode()).digest(BLOCK)
        piece = block[skip:min(BLOCK, n_bytes - k * BLOCK)]
        yield piece
        start += len(piece)


@lru_cache(64)
def blob_sha256(n_bytes, seed):
    h = hashlib.sha256()
    for piece in blob(n_bytes, seed):
        h.update(piece)
    return h.hexdigest()


def plain(address):
    return address[7:] if address.startswith("::ffff:") else address


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 0

    def log_message(self, *_):
        pass  # nobody logs visitors here either

    def answer(self, body, kind="text/plain; charset=utf-8", status=200):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urlsplit(self.path)
        query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        pages = {"/": self.on_page, "/whoami": self.on_whoami, "/blob": self.on_blob,
                 "/blob-sha256": self.on_blob_sha256}
        try:
            pages.get(url.path, self.on_nothing)(query)
        except ValueError as e:
            self.answer(f"{e}\n", status=400)

    def on_nothing(self, _):
        self.answer("no such page\n", status=404)

    def on_page(self, _):
        who = plain(self.client_address[0])
        self.answer(f"<!doctype html><meta charset=utf-8><title>web.test</title>\n"
                    f"<p>Hello. You seem to come from <b>{who}</b>.\n", "text/html; charset=utf-8")

    def on_whoami(self, _):
        self.answer(plain(self.client_address[0]) + "\n")

    @staticmethod
    def blob_asked(query):
        n, seed = int(query.get("bytes", "0")), query.get("seed", "0")
        if not 0 <= n <= BLOB_MAX:
            raise ValueError(f"bytes: 0 to {BLOB_MAX}")
        return n, seed

    def on_blob_sha256(self, query):
        self.answer(blob_sha256(*self.blob_asked(query)) + "\n")

    def on_blob(self, query):
        n, seed = self.blob_asked(query)
        rate = int(query.get("rate", "0"))
        asked = self.headers.get("Range", "")
        start = int(asked[6:-1]) if asked.startswith("bytes=") and asked.endswith("-") else 0
        start = min(start, n)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{n - 1}/{n}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(n - start))
        self.end_headers()
        begin, sent = time.monotonic(), 0
        for piece in blob(n, seed, start):
            self.connection.sendall(piece)
            sent += len(piece)
            if rate > 0:
                time.sleep(max(0.0, begin + sent / rate - time.monotonic()))

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass  # handle_expect_100 has answered
        if self.path == "/upload":
            self.on_upload(length)
        elif self.path == "/echo" and length <= ECHO_MAX:
            self.answer(self.rfile.read(length), "application/octet-stream")
        else:
            self.close_connection = True
            self.answer("no such page, or too much\n", status=404)

    def on_upload(self, length):
        h, left = hashlib.sha256(), length
        while left > 0:
            piece = self.rfile.read(min(left, BLOCK))
            if not piece:
                break
            h.update(piece)
            left -= len(piece)
        self.answer(f"{length - left} {h.hexdigest()}\n")


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: it would ask DNS for our own name.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "web.test", self.server_address[1]

    def handle_error(self, *_):
        if not isinstance(sys.exc_info()[1], (ConnectionError, TimeoutError)):
            super().handle_error(*_)


def echo_udp(port):
    """One socket per family: the answer leaves from the address that was asked."""
    def loop(sock):
        while True:
            try:
                data, who = sock.recvfrom(65536)
                sock.sendto(data, who)
            except OSError:
                continue

    for family, any_address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((any_address, port))
        threading.Thread(target=loop, args=(sock,), daemon=True).start()


class EchoTcp(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(65536):
            self.request.sendall(data)


class EchoServer(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--port", type=int, default=80)
    ap.add_argument("--echo-port", type=int, default=7)
    a = ap.parse_args()
    threading.stack_size(256 << 10)
    echo_udp(a.echo_port)
    echo = EchoServer(("::", a.echo_port), EchoTcp)
    threading.Thread(target=echo.serve_forever, daemon=True).start()
    print("info web: ready", file=sys.stderr, flush=True)
    Server(("::", a.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
