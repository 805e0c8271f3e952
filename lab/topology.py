# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is in the lab's internet: hosts, their networks, their links, the paths between countries.

Networks (country, AS, prefixes) come from geo.csv, the same file that the nodes load as their
geography. A host is known by a stable name: client, relay1.., web, dns.
"""
import csv
import ipaddress
import os
from dataclasses import dataclass, field, asdict

HERE = os.path.dirname(os.path.abspath(__file__))
GEO = os.path.join(HERE, "geo.csv")

RELAYS_MIN, RELAYS_MAX = 4, 40
RELAYS = 8

# Relays take their networks in this order, and again from the start. The first is the bootstrap.
RELAY_ASNS = [64501, 64502, 64503, 64504, 64505, 64506, 64507, 64508]
# Not exits: the bootstrap node and one more, so that routes have middles which are nothing else.
NO_EXIT = {"relay1", "relay2"}
# Prices in gwei per GiB. Half carry for nothing, as volunteers do: enough for a route of free relays in
# four /16 of which no two are alike, so also while one of them is down.
PRICES = [2000000, 0, 3000000, 0, 2500000, 0, 0, 3500000]

CLIENT_ASN, WEB_ASN, DNS_ASN = 64511, 64510, 64510

# One-way delay between countries, milliseconds; inside one country 2.
DELAY_MS = {
    ("CH", "DE"): 5, ("CH", "FR"): 6, ("CH", "NL"): 8, ("CH", "SE"): 16, ("CH", "US"): 46,
    ("CH", "CA"): 48, ("CH", "JP"): 60, ("DE", "FR"): 6, ("DE", "NL"): 5, ("DE", "SE"): 12,
    ("DE", "US"): 44, ("DE", "CA"): 46, ("DE", "JP"): 60, ("FR", "NL"): 6, ("FR", "SE"): 17,
    ("FR", "US"): 40, ("FR", "CA"): 42, ("FR", "JP"): 60, ("NL", "SE"): 11, ("NL", "US"): 42,
    ("NL", "CA"): 44, ("NL", "JP"): 60, ("SE", "US"): 50, ("SE", "CA"): 52, ("SE", "JP"): 60,
    ("US", "CA"): 9, ("US", "JP"): 55, ("CA", "JP"): 56,
}
DELAY_HOME_MS = 2


@dataclass
class Link:
    """Both directions of a host's link."""
    delay_ms: float = 0.3
    jitter_ms: float = 0.2
    loss_pct: float = 0.0
    rate_mbit: float = 0.0  # 0: no limit
    queue_kb: int = 1024


@dataclass
class Host:
    name: str
    kind: str  # relay, client, web, dns
    ip4: str
    ip6: str
    country: str
    asn: int
    network: str
    exit: bool = False
    price: int = 0
    link: Link = field(default_factory=Link)

    def public(self):
        d = asdict(self)
        d["node"] = self.kind in ("relay", "client")
        return d


def networks():
    """asn -> {country, name, 4: prefix, 6: prefix}, in the file's order."""
    found = {}
    with open(GEO, encoding="ascii") as f:
        for row in csv.reader(line for line in f if not line.startswith("#")):
            prefix = ipaddress.ip_network(row[0])
            n = found.setdefault(int(row[2]), {"country": row[1], "name": row[3]})
            n[prefix.version] = prefix
    return found


def countries():
    return sorted({n["country"] for n in networks().values()})


def delay_ms(a, b):
    if a == b:
        return DELAY_HOME_MS
    return DELAY_MS.get((a, b)) or DELAY_MS[(b, a)]


def _host(name, kind, asn, number, **more):
    n = networks()[asn]
    return Host(name, kind, str(n[4][number]), str(n[6][int(str(number), 16)]), n["country"], asn, n["name"], **more)


def relay(number, **more):
    """relay<number>, the first being 1. `more` overrides fields."""
    place = (number - 1) % len(RELAY_ASNS)
    row = (number - 1) // len(RELAY_ASNS)
    name = f"relay{number}"
    fields = {
        "exit": name not in NO_EXIT,
        "price": PRICES[place],
        # A little loss on some links, as backbones have it; at 0.1 % and 250 ms there and back, one
        # TCP connection would crawl at 2 Mbit/s.
        "link": Link(loss_pct=(0.0, 0.01, 0.0, 0.02, 0.0, 0.02, 0.0, 0.01)[place]),
    }
    fields.update(more)
    return _host(name, "relay", fields.pop("asn", RELAY_ASNS[place]), 10 + row, **fields)


def hosts(relays=RELAYS):
    yield _host("web", "web", WEB_ASN, 80)
    yield _host("dns", "dns", DNS_ASN, 53)
    for i in range(1, relays + 1):
        yield relay(i)
    yield _host("client", "client", CLIENT_ASN, 100, link=Link(delay_ms=2, jitter_ms=0.5))


# Where ICMP errors of the internet itself come from.
ROUTER4, ROUTER6 = "198.18.255.254", "2001:db8:ffff::1"
