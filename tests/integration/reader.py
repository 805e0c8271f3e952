# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs on a host, for downloads, first answers and datagrams of tests.

  reader.py read URL    reads it; "TIME BYTES" at most every 10 ms, last "sha256 HEX"
  reader.py first URL   a fresh connection every 0.1 s until one is answered; the TIME of that
  reader.py datagrams ADDRESS   one socket, a datagram to its echo port every 50 ms; a line for each that came back,
                                until standard input ends; an error of the socket ends it
TIME is the monotonic clock, which all processes of a machine share.
"""
import hashlib
import select
import socket
import sys
import threading
import time
from urllib.parse import urlsplit
from urllib.request import urlopen

SAMPLE_S = 0.01
PATIENCE_S = 60
STALL_S = 30


def read(url):
    h, n, said = hashlib.sha256(), 0, 0.0
    with urlopen(url, timeout=STALL_S) as r:
        want = int(r.headers["Content-Length"])
        while piece := r.read1(65536):
            h.update(piece)
            n += len(piece)
            now = time.monotonic()
            if now - said >= SAMPLE_S or n == want:
                print(f"{now:.6f} {n}", flush=True)
                said = now
    print(f"sha256 {h.hexdigest()}" if n == want else f"short: {n} of {want}", flush=True)


def one_answer(url, done):
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=5) as s:
            s.sendall(f"GET {parts.path or '/'} HTTP/1.0\r\nHost: {parts.hostname}\r\n\r\n".encode())
            if s.recv(64).startswith(b"HTTP/1.1 200"):
                done.append(time.monotonic())
    except OSError:
        pass


def first(url):
    done, end = [], time.monotonic() + PATIENCE_S
    while not done and time.monotonic() < end:
        threading.Thread(target=one_answer, args=(url, done), daemon=True).start()
        time.sleep(0.1)
    if not done:
        sys.exit("no answer")
    print(f"{done[0]:.6f}")


def datagrams(address):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((address, 7))
        s.settimeout(0.05)
        n = 0
        while not select.select([sys.stdin], [], [], 0.05)[0]:
            n += 1
            s.send(str(n).encode())
            try:
                print(s.recv(64).decode(), flush=True)
            except TimeoutError:
                pass


if __name__ == "__main__":
    {"read": read, "first": first, "datagrams": datagrams}[sys.argv[1]](sys.argv[2])
