# SPDX-License-Identifier: GPL-2.0-or-later
"""Figures to a CSV (every round) and a table (medians, least and greatest).

    report.py PAGE      renews the tables of a page in Markdown from the CSVs in build/bench

A table stands in the page between `<!-- cases NAME[: CASE; ...] -->` or `<!-- goals NAME -->` and `<!-- end -->`; NAME
is that of the CSV.
"""
import csv
import os
import platform
import re
import statistics
import subprocess
import sys

from goals import judged
from net import OUT, ROOT


def _cpu():
    with open("/proc/cpuinfo", encoding="ascii") as f:
        return next((line.split(":", 1)[1].strip() for line in f if line.startswith("model name")), platform.machine())


def _commit():
    p = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty", "--abbrev=10"], capture_output=True,
                       text=True, check=False)
    return p.stdout.strip() or "unknown"


MACHINE = {"commit": _commit(), "processor": _cpu(), "cores": len(os.sched_getaffinity(0)), "kernel": platform.release()}


def _short(value):
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


class Figures:
    """Rows (case, contender, figure, value)."""

    def __init__(self, name):
        self.name = name
        self.values = {}  # (case, contender, figure) -> one value for each round
        self.machine = MACHINE

    @staticmethod
    def read(name):
        """None: there is no such CSV."""
        found = Figures(name)
        path = f"{OUT}/{name}.csv"
        if not os.path.exists(path):
            return None
        with open(path, encoding="ascii", newline="") as f:
            for row in csv.DictReader(f):
                key = (row["case"], row["contender"], row["figure"])
                found.values.setdefault(key, []).append(float(row["value"]))
                found.machine = {k: row[k] for k in MACHINE}
        return found

    def median(self, case, contender, figure):
        values = self.values.get((case, contender, figure))
        return statistics.median(values) if values else None

    def cases(self):
        return list(dict.fromkeys(k[0] for k in self.values))

    def rounds(self):
        return max(map(len, self.values.values()), default=0)

    def table(self, case):
        """Lines of cells: the case and its figures, then each contender."""
        figures = list(dict.fromkeys(k[2] for k in self.values if k[0] == case))
        lines = [[case, *figures]]
        for contender in dict.fromkeys(k[1] for k in self.values if k[0] == case):
            lines.append([contender, *(self._cell(case, contender, f) for f in figures)])
        return lines

    def _cell(self, case, contender, figure):
        values = self.values.get((case, contender, figure))
        if not values:
            return "-"
        middle = _short(statistics.median(values))
        return middle if len(values) == 1 else f"{middle} ({min(values):.3g}-{max(values):.3g})"

    def origin(self):
        return "{commit}, {processor}, {cores} cores, Linux {kernel}".format(**self.machine)


class Report(Figures):
    """Written as they come."""

    def __init__(self, name, file=None):
        super().__init__(name)
        self.path = f"{OUT}/{file or name}.csv"
        self.file = open(self.path, "w", encoding="ascii", newline="")
        self.csv = csv.writer(self.file)
        self.csv.writerow(["case", "contender", "figure", "round", "value", *MACHINE])

    def add(self, case, contender, figures, round_=1):
        for figure, value in figures.items():
            self.values.setdefault((case, contender, figure), []).append(value)
            self.csv.writerow([case, contender, figure, round_, f"{value:.6g}", *MACHINE.values()])
        self.file.flush()

    def show(self):
        print(f"\n{self.origin()}")
        for case in self.cases():
            lines = self.table(case)
            widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
            print()
            for line in lines:
                print("  ".join(w.ljust(n) if i == 0 else w.rjust(n) for i, (w, n) in enumerate(zip(line, widths))))
        print(f"\nevery round: {os.path.relpath(self.path, ROOT)}")

    def close(self):
        self.file.close()


# ---- Markdown ----
def _markdown(lines):
    head, *rest = [[w.replace("_", " ") for w in lines[0]], *lines[1:]]
    rule = ["---"] + ["---:"] * (len(head) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *rest)) + "\n"


def _markdown_cases(figures, wanted):
    missing = set(wanted) - set(figures.cases())
    if missing:
        sys.exit(f"{figures.name}: not measured: {', '.join(missing)}")
    return "\n".join(_markdown(figures.table(c)) for c in figures.cases() if not wanted or c in wanted)


def _markdown_goals(figures, _):
    lines = [["", "measured", "goal", ""]]
    for goal, value in judged(figures):
        lines.append([goal.name(), "-" if value is None else f"{_short(value)}{' x' if goal.ratio else ''}", goal.words(),
                      "not measured" if value is None else "met" if goal.met(value) else "**not met**"])
    return _markdown(lines)


def _renewed(block):
    kind, name, wanted = block.group(1), block.group(2), block.group(3)
    figures = Figures.read(name)
    if figures is None:
        print(f"no build/bench/{name}.csv: that table stays as it is", file=sys.stderr)
        return block.group(0)
    text = {"cases": _markdown_cases, "goals": _markdown_goals}[kind](
        figures, [c.strip() for c in (wanted or "").split(";") if c.strip()])
    rounds = figures.rounds()
    origin = f"{rounds} round{'s' * (rounds > 1)}, {figures.origin()}"
    return f"{block.group(0).splitlines()[0]}\n{text}\n*{origin}*\n<!-- end -->"


def renew(path):
    with open(path, encoding="utf-8") as f:
        page = f.read()
    page = re.sub(r"<!-- (cases|goals) (\w+)(?:: ([^>]*))? -->\n.*?<!-- end -->", _renewed, page, flags=re.S)
    with open(path, "w", encoding="utf-8") as f:
        f.write(page)


if __name__ == "__main__":
    renew(sys.argv[1])
