# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the C programs that were named, each of which prints a CSV: case, contender, figure, value."""
import csv
import os
import subprocess
import sys

from goals import show_goals
from report import Report

for program in sys.argv[1:]:
    report = Report(os.path.basename(program))
    text = subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout
    for row in csv.DictReader(text.splitlines()):
        report.add(row["case"], row["contender"], {row["figure"]: float(row["value"])})
    report.show()
    show_goals(report)
    report.close()
