# SPDX-License-Identifier: GPL-2.0-or-later
"""fetch.py URL...: fetches each, says what came as one line of JSON. `first_byte` is the instant (monotonic
clock, which all processes of a machine share) at which the first byte of the answer's body was there."""
import hashlib
import json
import sys
import time
from urllib.request import urlopen

PATIENCE_S = 60
KEEP = 4096  # bytes of a body that are handed on


def fetch(url):
    begin = time.monotonic()
    with urlopen(url, timeout=PATIENCE_S) as r:
        body = r.read(1)
        first = time.monotonic()
        h, n = hashlib.sha256(body), len(body)
        while piece := r.read(65536):
            body += piece[:KEEP - len(body)] if len(body) < KEEP else b""
            h.update(piece)
            n += len(piece)
    return {"url": url, "begin": begin, "first_byte": first, "end": time.monotonic(), "bytes": n,
            "sha256": h.hexdigest(), "body": body.decode(errors="replace").strip()}


for u in sys.argv[1:]:
    try:
        print(json.dumps(fetch(u)), flush=True)
    except OSError as e:
        sys.exit(f"{u}: {e}")
