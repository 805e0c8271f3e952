#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Run unit tests, simulations and fuzz corpora; print one line per program and the totals.

A cmocka program counts as its number of tests (from its TAP output), a fuzz target as one.
"""
import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor


def run_unit(path):
    env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="TAP")
    p = subprocess.run([path], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    passed = len(re.findall(r"^ok \d+", p.stdout, re.M))
    failed = len(re.findall(r"^not ok \d+", p.stdout, re.M))
    if p.returncode != 0 and failed == 0:
        failed = 1  # it died before it could say which
    if passed + failed == 0:
        failed = 1  # a test program without a test is a mistake
    return path, passed, failed, p.stdout + p.stderr


def run_fuzz(path):
    name = os.path.basename(path)
    corpus = os.path.join("tests/fuzz/corpus", name)
    if not os.path.isdir(corpus):
        return path, 0, 1, f"{corpus}: no corpus\n"
    p = subprocess.run([path, corpus], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    ok = p.returncode == 0
    return path, int(ok), int(not ok), p.stdout + p.stderr


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--units", nargs="*", default=[])
    ap.add_argument("--fuzzers", nargs="*", default=[])
    a = ap.parse_args()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(run_unit, a.units)) + list(pool.map(run_fuzz, a.fuzzers))
    for path, p, f, out in results:
        print(f"{'FAIL' if f else 'ok  '} {path}: {p} passed, {f} failed")
        if f:
            sys.stdout.write(out[-8000:])
    passed, failed = sum(r[1] for r in results), sum(r[2] for r in results)
    print(f"quick: {passed} passed, {failed} failed")
    path = os.environ.get("MVPN_TALLY")
    if path:
        with open(path, "a") as t:
            t.write(f"{passed} {failed} 0\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
