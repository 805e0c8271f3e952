# SPDX-License-Identifier: GPL-2.0-or-later
"""`docker-compose run --rm demo`: what `make run` shows, with containers.

Runs in the network of the container `machine`: where it fetches from is where a user of this client is.
"""
import http.client
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import fetch
import topology
from fetch import Failed
from show import PAGE_PATIENCE_S, PATIENCE_S, Show

RELAYS = 7  # of docker-compose.yml, at the addresses that topology.py gives them


class Demo(Show):
    families = ("4",)  # an engine's networks have no IPv6 unless it is told so
    whole = "the demo"

    def __init__(self):
        hosts = [h.public() for h in topology.hosts(RELAYS)]
        super().__init__(SimpleNamespace(state={"hosts": hosts}), time.monotonic())

    def mvpn(self, *words):
        p = subprocess.run(["mvpn", "--json", *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if p.returncode != 0:
            raise Failed(f"mvpn {words[0]}: {p.stderr.strip() or p.stdout.strip()}")
        return json.loads(p.stdout)

    def connect(self):
        """Right after `up` the relays are still finding each other."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return super().connect()
            except Failed:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)

    def fetch(self, *urls):
        return [fetch.one(url) for url in urls]

    def play(self):
        super().play()
        # A container's output is kept by the engine: the token is not for it.
        self.url = self.url.split("#")[0] + "   (with its token: docker-compose exec gateway mvpn url)"

    def paid_hops(self):
        hops = super().paid_hops()
        for h in hops:  # relays that `--scale` added stand in no list
            self.hosts.setdefault(h["name"], {
                "name": h["name"], "kind": "relay", "exit": True, "ip4": h["address"].rsplit(":", 1)[0],
                "country": h["country"], "asn": h["asn"], "network": f"AS{h['asn']}"})
        return hops

    def check_page(self):
        """The gateway's container answers, by the name that the machine's browser will use."""
        where = self.url.split("/")[2]
        try:
            c = http.client.HTTPConnection("gateway", int(where.split(":")[1]), timeout=PAGE_PATIENCE_S)
            c.request("GET", "/", headers={"Host": where})
            status = c.getresponse().status
            self.expect(status == 200, f"the web page answers {status}")
        except OSError as e:
            self.expect(False, f"the web page does not answer: {e}")


def main():
    demo = Demo()
    try:
        demo.play()
        demo.tell()
    except (Failed, OSError, subprocess.TimeoutExpired, KeyError, ValueError) as e:
        demo.wrong.append(str(e))
    return 0 if demo.judge() else 1


if __name__ == "__main__":
    sys.exit(main())
