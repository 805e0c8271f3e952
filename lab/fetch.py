# SPDX-License-Identifier: GPL-2.0-or-later
"""Fetches pages from a host of the lab, in a child process that enters it."""
import hashlib
import json
import os
import sys
import time
from urllib.request import urlopen

import kernel

PATIENCE_S = 60
KEEP = 4096  # bytes of a body that are handed on


class Failed(Exception):
    """Why a page did not come."""


def one(url):
    """`first_byte` is the instant (monotonic clock) at which the first byte of the body was there."""
    with urlopen(url, timeout=PATIENCE_S) as r:
        body = r.read(1)
        first = time.monotonic()
        h, n = hashlib.sha256(body), len(body)
        while piece := r.read(65536):
            body += piece[:KEEP - len(body)] if len(body) < KEEP else b""
            h.update(piece)
            n += len(piece)
    return {"first_byte": first, "end": time.monotonic(), "bytes": n, "sha256": h.hexdigest(),
            "body": body.decode(errors="replace").strip()}


def from_host(client, host, urls):
    """client: rundir.Client. What came from each URL, in order."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            kernel.die_with_parent()
            client.enter(host, processes=False)
            answer = [one(u) for u in urls]
        except Exception as e:
            answer = {"error": str(e)}
        with open(theirs, "w", encoding="utf-8") as f:
            json.dump(answer, f)
        sys.stdout = None
        os._exit(0)
    os.close(theirs)
    with open(ours, encoding="utf-8") as f:
        text = f.read()
    os.waitpid(pid, 0)
    answer = json.loads(text or '{"error": "the fetching process died"}')
    if "error" in answer:
        raise Failed(f"{urls[-1]}: {answer['error']}")
    return answer
