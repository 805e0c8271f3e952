# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the tunnel's processor time goes: perf samples each of its processes while one TCP stream runs, and the
samples are summed up by layer.

    profile.py [--seconds N]
"""
import argparse
import os
import re
import subprocess

from contenders import Overlay, WireGuard
from machine import machine, prepare
from measure import TCP_PORT
from net import OUT, run
from report import Report
from world import OURS, wait_until

EVERY_HZ = 1999
# The first that fits: layer, dso, symbol.
LAYERS = [
    ("kernel: copying", r"\[kernel", r"copy|memcpy|memset|clear_page|rep_movs"),
    ("kernel: checksums", r"\[kernel", r"csum"),
    ("kernel: UDP, IP, device", r"\[kernel", r"udp|ip_|ipv?4|ipv?6|skb|veth|dev_|net|tun_|tcp|gro|gso|sock|fib|nf_|xmit|qdisc"
                                             r"|page_frag|inet|napi|dst_|route|neigh|conntrack"),
    ("kernel: tasks, locks, interrupts", r"\[", r""),
    ("AEAD", r"IPSec_MB|libcrypto|libsodium", r""),
    ("AEAD", r"mvpn-tunnel", r"^lanes_"),
    ("C library", r"libc\.|libc-|ld-linux|\[vdso", r""),
    ("our own code", r"mvpn-tunnel", r""),
    ("the rest", r"", r""),
]


def layer_of(dso, symbol):
    return next(name for name, d, s in LAYERS if re.search(d, dso) and re.search(s, symbol))


def by_layer(path):
    """{layer: share of the samples}"""
    text = run("perf", "report", "--stdio", "-i", path, "-g", "none", "-F", "overhead,dso,sym", "-t", ";",
               "--percent-limit", "0").stdout
    shares = {name: 0.0 for name, _, _ in LAYERS}
    for line in text.splitlines():
        if line.startswith("#") or line.count(";") < 2:
            continue
        share, dso, symbol = (w.strip() for w in line.split(";", 2))
        shares[layer_of(dso, symbol.split("]", 1)[-1].strip())] += float(share.rstrip("%")) / 100
    return shares


def sample(contender, seconds):
    """Samples of each daemon, in the order in which they were started."""
    server = subprocess.Popen(["ip", "netns", "exec", contender.server.name, "iperf3", "-s", "-1", "-p", str(TCP_PORT)],
                              stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: f":{TCP_PORT} " in contender.server.run("ss", "-ltn").stdout, "iperf3 listens")
        load = subprocess.Popen(["ip", "netns", "exec", contender.client.name, "iperf3", "-c", contender.address, "-p",
                                 str(TCP_PORT), "-t", str(seconds + 1)], stdout=subprocess.DEVNULL)
        paths = [f"{OUT}/log/perf{i}.data" for i in range(len(contender.daemons))]
        perfs = [subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", str(EVERY_HZ), "-o", path, "-p",
                                   str(d.process.pid), "--", "sleep", str(seconds)], stderr=subprocess.DEVNULL)
                 for path, d in zip(paths, contender.daemons)]
        for p in (*perfs, load):
            p.wait()
    finally:
        server.terminate()
        server.wait()
    return paths


def profile(report, case, contender, names, seconds):
    try:
        for name, path in zip(names, sample(contender, seconds)):
            report.add(case, name, {layer: 100 * share for layer, share in by_layer(path).items()})
            os.unlink(path)
    finally:
        contender.close()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--seconds", type=int, default=5)
    seconds = a.parse_args().seconds
    prepare()
    report = Report("profile")
    with machine():
        profile(report, "1 hop, % of the time of", WireGuard(OURS, 1), ("sender", "receiver"), seconds)
        profile(report, "3 hops, % of the time of", Overlay(3), ("entry", "middle", "exit", "client"), seconds)
    report.show()
    report.close()


main()
