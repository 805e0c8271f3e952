# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the C programs that were named; what they print as CSV goes into build/bench with the machine's names, and
on the screen as it is."""
import csv
import os
import subprocess
import sys

from net import OUT
from report import MACHINE

for program in sys.argv[1:]:
    name = os.path.basename(program)
    text = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout
    with open(f"{OUT}/{name}.csv", "w", encoding="ascii", newline="") as f:
        out = csv.writer(f)
        for i, row in enumerate(csv.reader(text.splitlines())):
            out.writerow(row + (list(MACHINE) if i == 0 else list(MACHINE.values())))
            print("  ".join(w.ljust(20) if k < 2 else w.rjust(10) for k, w in enumerate(row)))
    print(f"{name}: build/bench/{name}.csv\n")
