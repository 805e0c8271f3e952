# SPDX-License-Identifier: GPL-2.0-or-later
"""Many sessions through one tunnel with one worker, and of strangers through one relay: setting up, memory, small
packets from all, and how the honest ones fare beside one that sends as much as it can (tests/tools/sessions.c,
tests/interop/crowd.py, relay_crowd.py).

    sessions.py [--rounds N] [--sessions N]
"""
import argparse
import math
import shutil

from contenders import WG_NEW
from crowd import Crowd
from goals import show_goals
from machine import machine, prepare
from relay_crowd import RelayCrowd
from report import Report
from world import OURS

SMALL = 64  # inner IP packets, bytes
HONEST_PER_S, HONEST_SIZE = 20_000, 128  # of all the honest ones together
SHARED_BPS = 10_000_000  # what a relay gives to strangers, bytes a second: three times what the honest ones send
GREEDY_SIZE = 1300  # fits all layers of a relay's session
SEND_S, STEP_S = 2, 0.5
FLAT_OUT = 10 ** 7  # packets per second: more than the clients can make
RATES = (5e3, 400e3)  # packets per second: the search begins with these bounds
STEPS = 7
LOSS_MAX = 0.005


def setting_up(crowd, report, name, round_):
    cpu_s = crowd.cpu_s()
    took = crowd.connect()
    assert took["established"] == crowd.n, took
    report.add("setting up", name, {"handshakes_per_s": crowd.n / took["seconds"], "seconds": took["seconds"],
                                    "cpu_us_each": (crowd.cpu_s() - cpu_s) / crowd.n * 1e6}, round_)


def lossless(crowd):
    """The highest rate of all together at which no more than LOSS_MAX is lost, by bisection; a bad step is tried
    twice."""
    low, high = RATES
    best = 0.0
    for _ in range(STEPS):
        rate = int(math.sqrt(low * high))
        for _ in range(2):
            o = crowd.send(STEP_S, rate, SMALL)
            good = o.honest_share() >= 1 - LOSS_MAX and sum(o.sent) >= 0.99 * rate * STEP_S
            if good:
                break
        if good:
            best = low = rate
        else:
            high = rate
    return best


def small_packets(crowd, report, name, round_):
    o = crowd.send(SEND_S, FLAT_OUT, SMALL)
    assert o.sink_lost == 0, "the sink was too slow"
    report.add(f"{SMALL} B, all at once", name, {
        "sent_kpps": sum(o.sent) / o.seconds / 1e3, "delivered_kpps": sum(o.delivered) / o.seconds / 1e3,
        "jain": o.fairness(), "lossless_kpps": lossless(crowd) / 1e3}, round_)


def shares(crowd, greedy_size):
    o = crowd.send(SEND_S, HONEST_PER_S, HONEST_SIZE, greedy_size)
    assert o.sink_lost == 0, "the sink was too slow"
    figures = {"share": o.honest_share(), "jain": o.fairness(), "p50_us": o.delay_us["p50"], "p99_us": o.delay_us["p99"]}
    if greedy_size:
        figures |= {"greedy_sent_kpps": o.sent[0] / o.seconds / 1e3,
                    "greedy_delivered_kpps": o.delivered[0] / o.seconds / 1e3}
    return figures


def fair(crowd, report, name, round_):
    for case, greedy_size in (("honest alone", 0), ("beside a greedy one", GREEDY_SIZE),
                              ("beside a greedy one, 64 B", SMALL)):
        report.add(case, name, shares(crowd, greedy_size), round_)
    if not crowd.configured:
        crowd.limit(SHARED_BPS)
        report.add("beside a greedy one, shared rate", name, shares(crowd, GREEDY_SIZE), round_)


def one_round(make, report, name, round_):
    crowd = make()
    try:
        idle = crowd.memory()
        setting_up(crowd, report, name, round_)
        keyed = crowd.memory()
        small_packets(crowd, report, name, round_)
        fair(crowd, report, name, round_)
        memory = {"keyed_bytes": keyed, "active_bytes": crowd.memory()}
        if crowd.configured:
            memory = {"idle_bytes": idle} | memory
        report.add("memory per session", name, {k: (v - crowd.memory_empty) / crowd.n for k, v in memory.items()}, round_)
    finally:
        crowd.close()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--rounds", type=int, default=5)
    a.add_argument("--sessions", type=int, default=10_000)
    args = a.parse_args()
    prepare()
    report = Report("sessions")
    found = {"mvpn": lambda: Crowd(args.sessions, OURS), "mvpn-relay": lambda: RelayCrowd(args.sessions)}
    if shutil.which(WG_NEW):
        found["wireguard-go"] = lambda: Crowd(args.sessions, WG_NEW)
    for round_ in range(1, args.rounds + 1):
        for name, make in found.items():
            with machine():
                one_round(make, report, name, round_)
    report.show()
    show_goals(report)
    report.close()


main()
