# SPDX-License-Identifier: GPL-2.0-or-later
"""`lab run`: from nothing to a page through three hops, told in half a screen.

Every line is something that was seen: the route by the node's own word, the address by the
destination's, the times by the clock. What did not hold is said below and decides the exit status.
"""
import json
import signal
import subprocess
import time
import urllib.request

import fetch
import start
from fetch import Failed

HOPS = 3
BLOB = 4 << 20
PATIENCE_S = 90
PAGE_PATIENCE_S = 5
PAID_PATIENCE_S = 10
WEB = "http://web.test"


class Show:
    families = ("4", "6")  # that the destination is asked over
    whole = "the whole lab"

    def __init__(self, client, began):
        self.client = client
        self.began = began
        self.hosts = {h["name"]: h for h in client.state["hosts"]}
        self.wrong = []

    def expect(self, held, otherwise):
        if not held:
            self.wrong.append(otherwise)

    # ---- asking ----

    def mvpn(self, *words):
        """The user's command against the client node."""
        p = subprocess.run(
            [f"{self.client.state['bin']}/mvpn", "--dir", f"{self.client.path}/client", "--json", *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if p.returncode != 0:
            raise Failed(f"mvpn {words[0]}: {p.stderr.strip() or p.stdout.strip()}")
        return json.loads(p.stdout)

    def fetch(self, *urls):
        return fetch.from_host(self.client, "client", urls)

    # ---- the acts ----

    def connect(self):
        self.switched = time.monotonic()
        self.mvpn("connect", "--hops", str(HOPS))

    def play(self):
        self.connect()
        (page,) = self.fetch(f"{WEB}/whoami")
        self.first_byte = page["first_byte"]
        self.saw = [page["body"]]
        for family in self.families:
            address = self.hosts["web"]["ip" + family]
            (page,) = self.fetch(f"http://{address if family == '4' else f'[{address}]'}/whoami")
            self.saw.append(page["body"])
        blob, check = self.fetch(f"{WEB}/blob?bytes={BLOB}&seed=run", f"{WEB}/blob-sha256?bytes={BLOB}&seed=run")
        self.mbit = blob["bytes"] * 8 / (blob["end"] - blob["first_byte"]) / 1e6
        self.expect(blob["sha256"] == check["body"], "the download's checksum is not the one that the web server says")
        self.hops = self.paid_hops()
        self.url = self.mvpn("url")["page"][0]["url"]
        self.check_route()
        self.check_page()

    def paid_hops(self):
        """The route, once every hop was measured and a ticket went to each that has a price (or patience ended)."""
        end = time.monotonic() + PAID_PATIENCE_S
        while True:
            hops = self.mvpn("route").get("hops", [])
            unpaid = [h["name"] for h in hops if h["price_gwei_per_gib"] > 0 and h["tickets"] == 0]
            measured = all(h["rtt_ms"] > 0 for h in hops)
            if (measured and not unpaid) or time.monotonic() > end:
                self.expect(not unpaid, f"not paid: {', '.join(unpaid)}")
                return hops
            time.sleep(0.1)

    def check_route(self):
        self.expect(len(self.hops) == HOPS, f"the route has {len(self.hops)} hops, not {HOPS}")
        hosts = [self.hosts[h["name"]] for h in self.hops if h["name"] in self.hosts]
        self.expect(len({h["asn"] for h in hosts}) == len(self.hops), "two hops in one network")
        self.expect(len({h["country"] for h in hosts}) >= 2, "the route stays in one country")
        self.expect(all(h["rtt_ms"] > 0 for h in self.hops), "a hop's latency was not measured")
        last, me = hosts[-1] if hosts else {}, self.hosts["client"]
        self.expect(self.saw[0] in (last.get("ip4"), last.get("ip6")), f"web.test saw {self.saw[0]}, not the exit")
        self.expect(self.saw[1:] == [last.get("ip" + f) for f in self.families],
                    f"web.test saw {' and '.join(self.saw[1:])}, not the exit's addresses")
        self.expect(not {me["ip4"], me["ip6"]} & set(self.saw), "web.test saw the client's own address")

    def check_page(self):
        """The page answers on the machine's own loopback."""
        try:
            with urllib.request.urlopen(self.url.split("#")[0], timeout=PAGE_PATIENCE_S) as r:
                self.expect(r.status == 200, f"the web page answers {r.status}")
        except OSError as e:
            self.expect(False, f"the web page does not answer: {e}")

    # ---- telling ----

    def tell(self):
        relays = [h for h in self.hosts.values() if h["kind"] == "relay"]
        me, web = self.hosts["client"], self.hosts["web"]
        print(f"\n{len(relays)} relays in {len({h['country'] for h in relays})} countries and "
              f"{len({h['asn'] for h in relays})} networks, {sum(h['exit'] for h in relays)} of them exits; "
              f"each was told of relay1 only.\n")
        rows = [("", "", "where", "network", "address", "there and back", "paid")]
        rows.append(("you", "", me["country"], me["network"], me["ip4"], "", ""))
        for role, hop in zip(("entry", "middle", "exit"), self.hops):
            host = self.hosts.get(hop["name"], {"network": f"AS{hop['asn']}"})
            paid = (f"{hop['tickets']} tickets, {float(hop['paid_gwei']):.0f} gwei"
                    if hop["price_gwei_per_gib"] else "for nothing")
            rows.append((role, hop["name"], hop["country"], host["network"], hop["address"], f"{hop['rtt_ms']:.1f} ms", paid))
        rows.append(("site", "web.test", web["country"], web["network"], web["ip4"], "", ""))
        widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
        for r in rows:
            print("  " + "  ".join(c.rjust(w) if i == 5 else c.ljust(w) for i, (c, w) in enumerate(zip(r, widths))).rstrip())
        print(f"\n  web.test saw    {' and '.join(self.saw[1:])}: the exit's,"
              f"\n                  not yours: {' and '.join(me['ip' + f] for f in self.families)}")
        print(f"  first byte      {self.first_byte - self.switched:.2f} s after the switch, "
              f"{self.first_byte - self.began:.2f} s after the start of {self.whole}")
        print(f"  download        {BLOB >> 20} MiB at {self.mbit:.0f} Mbit/s")
        print(f"  your page       {self.url}", flush=True)

    def judge(self):
        for w in self.wrong:
            print(f"  DID NOT HOLD    {w}", flush=True)
        return not self.wrong


def run(a, bin_dir):
    began, held = time.monotonic(), False
    with start.tied(a.name, bin_dir, a.relays, a.seed, a.keep_logs) as client:
        show = Show(client, began)
        try:
            show.play()
            show.tell()
        except (Failed, subprocess.TimeoutExpired, KeyError, ValueError) as e:
            show.wrong.append(str(e))
        held = show.judge()
        if not held:
            tell_logs(client)
        if not a.once:
            which = "" if client.name == "default" else f" --name {client.name}"
            print(f"\n  Play with it: bin/lab{which} hosts | exec client mvpn status | kill relay3 tunnel | link relay2 --loss 5"
                  f"\n  Ctrl-C ends it.", flush=True)
            signal.pause()
    return 0 if held or not a.once else 1


def tell_logs(client):
    """Where to look when it did not work."""
    print(f"  The logs: bin/lab --name {client.name} logs client, ... logs relay1" , flush=True)
