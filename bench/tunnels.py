# SPDX-License-Identifier: GPL-2.0-or-later
"""mvpn-tunnel beside other tunnels, in one run and by turns: throughput, processor time, latency, memory.

    tunnels.py [--rounds N] [--only WORD] [--without NAME,...]

A case is measured as one slice: within it each contender is up by itself, one after the other, and every round is a
new slice. BENCH_LOCK names a file that is locked during a slice, for machines on which others measure too.
"""
import argparse
import contextlib
import fcntl
import os
import signal
import sys

import measure
from contenders import contenders
from net import OUT
from report import Report

PRIORITY = -15  # of all that is measured: what else runs on the machine disturbs less
PEER = "wireguard-go"

# name, hops, what is done to a contender
CASES = (
    [(f"{h} hop{'s' * (h > 1)}", h, lambda c: measure.rtt_idle(c) | measure.tcp(c)) for h in (1, 2, 3)] +
    [("1 hop, 4 streams", 1, lambda c: measure.tcp(c, streams=4))] +
    [(f"udp 1200 B, {h} hop{'s' * (h > 1)}", h, lambda c: measure.udp(c, 1200)) for h in (1, 2, 3)] +
    [("udp 64 B, 1 hop", 1, lambda c: measure.udp(c, 64))]
)

# case, figure, ratio to PEER (None: absolute), goal, True: at least
GOALS = [
    ("1 hop", "tcp_gbps", True, 2.4, True), ("2 hops", "tcp_gbps", True, 3.8, True),
    ("3 hops", "tcp_gbps", True, 6.0, True), ("1 hop, 4 streams", "tcp_gbps", True, 2.5, True),
    ("1 hop", "cpu_s_per_gb", False, 2.0, False), ("2 hops", "cpu_s_per_gb", False, 3.2, False),
    ("3 hops", "cpu_s_per_gb", False, 5.0, False), ("1 hop", "rtt_idle_us", True, 0.45, False),
    ("3 hops", "rtt_idle_us", True, 0.45, False), ("1 hop", "rtt_loaded_us", True, 0.2, False),
    ("1 hop", "rtt_loaded_p99_us", True, 0.2, False), ("3 hops", "rtt_loaded_us", True, 0.1, False),
    ("3 hops", "rtt_loaded_p99_us", True, 0.1, False), ("udp 1200 B, 1 hop", "udp1200_kpps", False, 170, True),
    ("udp 1200 B, 2 hops", "udp1200_kpps", False, 150, True), ("udp 1200 B, 3 hops", "udp1200_kpps", False, 130, True),
    ("1 hop", "rss_mb", False, 12, False), ("3 hops", "rss_mb", False, 12, False),
]


@contextlib.contextmanager
def machine():
    path = os.environ.get("BENCH_LOCK")
    if not path:
        yield
        return
    with open(path, "a", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


def one_slice(report, case, hops, work, round_, without):
    for name, make in contenders(hops).items():
        if name in without:
            continue
        try:
            c = make()
            try:
                report.add(case, name, work(c), round_)
            finally:
                c.close()
        except (AssertionError, OSError, TimeoutError, ValueError) as e:
            print(f"bench: {case}: {name}: {e}", file=sys.stderr)


def show_goals(report):
    print("\ngoal                                        measured        goal")
    for case, figure, ratio, goal, least in GOALS:
        ours, theirs = report.median(case, "mvpn", figure), report.median(case, PEER, figure)
        if ours is None or (ratio and not theirs):
            continue
        value = ours / theirs if ratio else ours
        met = value >= goal if least else value <= goal
        print(f"{case + ' ' + figure:42} {value:8.2f}{' x' if ratio else '  '} "
              f"{'at least' if least else 'at most':>9} {goal:6g}  {'met' if met else 'MISSED'}")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--only", default="", help="cases whose name contains this")
    a.add_argument("--without", default="", help="contenders to leave out")
    a.add_argument("--name", default="tunnels", help="of the CSV")
    args = a.parse_args()
    os.makedirs(f"{OUT}/log", exist_ok=True)
    with contextlib.suppress(PermissionError):
        os.nice(PRIORITY)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: ended"))  # hosts are taken down
    report = Report(args.name)
    for round_ in range(1, args.rounds + 1):
        for case, hops, work in CASES:
            if args.only in case:
                print(f"round {round_}: {case}", file=sys.stderr, flush=True)
                with machine():
                    one_slice(report, case, hops, work, round_, args.without.split(","))
    report.show()
    show_goals(report)
    report.close()


main()
