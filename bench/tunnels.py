# SPDX-License-Identifier: GPL-2.0-or-later
"""mvpn-tunnel beside other tunnels, in one run and by turns: throughput, processor time, latency, memory.

    tunnels.py [--rounds N] [--only WORD] [--without NAME,...]

A case is measured as one slice: within it each contender is up by itself, one after the other, and every round is a
new slice. BENCH_LOCK names a file that is locked during a slice, for machines on which others measure too.
"""
import argparse
import sys

import measure
from contenders import contenders
from goals import show_goals
from machine import machine, prepare
from report import Report

# name, hops, what is done to a contender
CASES = (
    [(f"{h} hop{'s' * (h > 1)}", h, lambda c: measure.rtt_idle(c) | measure.tcp(c)) for h in (1, 2, 3)] +
    [("1 hop, 4 streams", 1, lambda c: measure.tcp(c, streams=4))] +
    [(f"udp 1200 B, {h} hop{'s' * (h > 1)}", h, lambda c: measure.udp(c, 1200)) for h in (1, 2, 3)] +
    [("udp 64 B, 1 hop", 1, lambda c: measure.udp(c, 64))]
)


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


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--only", default="", help="cases whose name contains this")
    a.add_argument("--without", default="", help="contenders to leave out")
    a.add_argument("--name", default="tunnels", help="of the CSV")
    args = a.parse_args()
    prepare()
    report = Report("tunnels", args.name)
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
