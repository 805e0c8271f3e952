# SPDX-License-Identifier: GPL-2.0-or-later
"""What is measured of a contender that is up. Each returns {figure: value}."""
import json
import math
import select
import statistics
import subprocess

from net import OUT, run
from world import wait_until

TCP_S = 3
UDP_MS = 400
UDP_STEPS = 7
UDP_LOSS_MAX = 0.005
UDP_RATES = (5e3, 320e3)  # packets per second: the search begins with these bounds
UDP_PORT, TCP_PORT = 7001, 5201
PING_EVERY_S = 0.01


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, math.ceil(p * len(values)) - 1)]


def _in(ns, *argv, **more):
    return subprocess.Popen(["ip", "netns", "exec", ns.name, *map(str, argv)], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, **more)


def _ping(c, count):
    return _in(c.client, f"{OUT}/udpgen", "ping", c.address, count)


def _rtts_us(ping):
    return [float(t) for t in ping.communicate()[0].split()]


def rtt_idle(c):
    return {"rtt_idle_us": statistics.median(_rtts_us(_ping(c, 100)))}


def tcp(c, streams=1, reverse=False):
    """One run of iperf3 with a ping every 10 ms beside it: throughput and latency of the same seconds."""
    server = _in(c.server, "iperf3", "-s", "-1", "-p", TCP_PORT)
    try:
        wait_until(lambda: f":{TCP_PORT} " in c.server.run("ss", "-ltn").stdout, "iperf3 listens")
        before = c.cpu_s()
        ping = _ping(c, int(TCP_S / PING_EVERY_S * 0.9))
        p = run("ip", "netns", "exec", c.client.name, "iperf3", "-c", c.address, "-p", str(TCP_PORT), "-t", str(TCP_S),
                "-P", str(streams), "-J", *(["-R"] if reverse else []), timeout=TCP_S + 30)
        cpu_s, (rss_mb, own_mb) = c.cpu_s() - before, c.memory_mb()
        rtts = _rtts_us(ping)
    finally:
        server.terminate()
        server.communicate()
    end = json.loads(p.stdout)["end"]
    n_bytes = end["sum_received"]["bytes"]
    return {"tcp_gbps": end["sum_received"]["bits_per_second"] / 1e9, "cpu_s_per_gb": cpu_s / (n_bytes / 1e9),
            "retransmits": end["sum_sent"]["retransmits"], "rss_mb": rss_mb, "rss_own_mb": own_mb,
            **({"rtt_loaded_us": statistics.median(rtts), "rtt_loaded_p99_us": percentile(rtts, 0.99)} if rtts else {})}


def _counted(receiver, patience_s):
    """What the receiver has counted; 0 if nothing came. It speaks when a burst is over."""
    if not select.select([receiver.stdout], [], [], patience_s)[0]:
        return 0
    return int(receiver.stdout.readline())


def _udp_loss(c, receiver, size, rate):
    p = c.client.run(f"{OUT}/udpgen", "send", c.address, str(UDP_PORT), str(size), str(int(rate)), str(UDP_MS))
    sent, asked = map(int, p.stdout.split())
    got = _counted(receiver, 1.0)
    return max(0.0, 1 - min(got / sent, sent / (0.99 * asked)))  # what the way in did not take is lost as well


def udp(c, size):
    """The highest rate at which no more than UDP_LOSS_MAX is lost, by bisection; a bad step is tried twice."""
    receiver = _in(c.server, f"{OUT}/udpgen", "recv", UDP_PORT, size)
    low, high = UDP_RATES
    best = 0.0
    try:
        wait_until(lambda: f":{UDP_PORT} " in c.server.run("ss", "-lun").stdout, "udpgen listens")
        for _ in range(UDP_STEPS):
            rate = math.sqrt(low * high)
            if any(_udp_loss(c, receiver, size, rate) <= UDP_LOSS_MAX for _ in range(2)):
                best = low = rate
            else:
                high = rate
    finally:
        receiver.terminate()
        receiver.communicate()
    return {f"udp{size}_kpps": best / 1e3}
