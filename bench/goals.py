# SPDX-License-Identifier: GPL-2.0-or-later
"""What is wanted of mvpn, and whether a report has it."""
import dataclasses

PEER = "wireguard-go"


@dataclasses.dataclass(frozen=True)
class Goal:
    case: str
    figure: str
    value: float
    least: bool = True  # else: at most
    ratio: bool = False  # to the peer's
    ours: str = "mvpn"
    peer: str = PEER

    def measured(self, report):
        """None: not measured."""
        ours = report.median(self.case, self.ours, self.figure)
        if not self.ratio or ours is None:
            return ours
        theirs = report.median(self.case, self.peer, self.figure)
        return ours / theirs if theirs else None

    def met(self, value):
        return value >= self.value if self.least else value <= self.value

    def name(self):
        of = "" if self.ours == "mvpn" else f" of {self.ours}"
        return f"{self.case}: {self.figure.replace('_', ' ')}{of}"

    def words(self):
        return f"{'at least' if self.least else 'at most'} {self.value:g}{' x ' + self.peer if self.ratio else ''}"


GOALS = {
    "tunnels": [
        Goal("1 hop", "tcp_gbps", 2.4, ratio=True), Goal("2 hops", "tcp_gbps", 3.8, ratio=True),
        Goal("3 hops", "tcp_gbps", 6.0, ratio=True), Goal("1 hop, 4 streams", "tcp_gbps", 2.5, ratio=True),
        Goal("1 hop", "cpu_s_per_gb", 2.0, least=False), Goal("2 hops", "cpu_s_per_gb", 3.2, least=False),
        Goal("3 hops", "cpu_s_per_gb", 5.0, least=False),
        Goal("1 hop", "rtt_idle_us", 0.45, least=False, ratio=True),
        Goal("3 hops", "rtt_idle_us", 0.45, least=False, ratio=True),
        Goal("1 hop", "rtt_loaded_us", 0.2, least=False, ratio=True),
        Goal("1 hop", "rtt_loaded_p99_us", 0.2, least=False, ratio=True),
        Goal("3 hops", "rtt_loaded_us", 0.1, least=False, ratio=True),
        Goal("3 hops", "rtt_loaded_p99_us", 0.1, least=False, ratio=True),
        Goal("udp 1200 B, 1 hop", "udp1200_kpps", 170), Goal("udp 1200 B, 2 hops", "udp1200_kpps", 150),
        Goal("udp 1200 B, 3 hops", "udp1200_kpps", 130),
        Goal("1 hop", "rss_mb", 12, least=False), Goal("3 hops", "rss_mb", 12, least=False),
    ],
    "tunnel_crypto": [
        Goal("handshake", "ns", 1.15, least=False, ratio=True, ours="respond", peer="respond_floor"),
    ],
    "sessions": [
        Goal("memory per session", "idle_bytes", 2048, least=False),
        Goal("memory per session", "active_bytes", 8192, least=False),
        Goal("memory per session", "active_bytes", 8192, least=False, ours="mvpn-relay"),
        *(Goal(case, figure, 0.99, ours=ours) for ours in ("mvpn", "mvpn-relay") for figure in ("share", "jain")
          for case in ("beside a greedy one", "beside a greedy one, 64 B")),
        Goal("beside a greedy one, shared rate", "share", 0.99, ours="mvpn-relay"),
    ],
}


def judged(report):
    """(goal, what was measured, or None)"""
    return [(g, g.measured(report)) for g in GOALS.get(report.name, ())]


def show_goals(report):
    """Those of which there are figures."""
    found = [(g, value) for g, value in judged(report) if value is not None]
    if found:
        print(f"\n{'goal':42} {'measured':>9}")
    for g, value in found:
        print(f"{g.name():42} {value:9.4g}{' x' if g.ratio else '  '} {g.words():30} {'met' if g.met(value) else 'MISSED'}")
