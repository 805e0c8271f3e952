# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures to a CSV (every round) and a table (medians, least and greatest)."""
import csv
import os
import platform
import statistics
import subprocess

from net import OUT, ROOT


def _cpu():
    with open("/proc/cpuinfo", encoding="ascii") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def _commit():
    p = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=10"], capture_output=True,
                       text=True, check=False)
    return p.stdout.strip() or "unknown"


MACHINE = {"commit": _commit(), "processor": _cpu(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


class Report:
    """Rows (case, contender, figure, value), written as they come."""

    def __init__(self, name, file=None):
        self.name = name
        self.path = f"{OUT}/{file or name}.csv"
        self.values = {}  # (case, contender, figure) -> one value for each round
        self.file = open(self.path, "w", encoding="ascii", newline="")
        self.csv = csv.writer(self.file)
        self.csv.writerow(["case", "contender", "figure", "round", "value", *MACHINE])

    def add(self, case, contender, figures, round_=1):
        for figure, value in figures.items():
            self.values.setdefault((case, contender, figure), []).append(value)
            self.csv.writerow([case, contender, figure, round_, f"{value:.6g}", *MACHINE.values()])
        self.file.flush()

    def median(self, case, contender, figure):
        values = self.values.get((case, contender, figure))
        return statistics.median(values) if values else None

    def show(self):
        print(f"\n{MACHINE['commit']}, {MACHINE['processor']}, {MACHINE['cores']} cores, Linux {MACHINE['kernel']}")
        for case in dict.fromkeys(k[0] for k in self.values):
            figures = list(dict.fromkeys(k[2] for k in self.values if k[0] == case))
            lines = [[case, *figures]]
            for contender in dict.fromkeys(k[1] for k in self.values if k[0] == case):
                lines.append([contender, *(self._cell(case, contender, f) for f in figures)])
            widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
            print()
            for line in lines:
                print("  ".join(w.ljust(n) if i == 0 else w.rjust(n) for i, (w, n) in enumerate(zip(line, widths))))
        print(f"\nevery round: {os.path.relpath(self.path, ROOT)}")

    def _cell(self, case, contender, figure):
        values = self.values.get((case, contender, figure))
        if not values:
            return "-"
        middle = f"{statistics.median(values):.3g}" if statistics.median(values) < 100 else f"{statistics.median(values):.0f}"
        return middle if len(values) == 1 else f"{middle} ({min(values):.3g}-{max(values):.3g})"

    def close(self):
        self.file.close()
