# SPDX-License-Identifier: GPL-2.0-or-later
import os
import subprocess

import pytest

from world import OURS, run

HERE = os.path.dirname(os.path.abspath(__file__))


def built(tmp_path_factory, name):
    if "san.so" in subprocess.run(["ldd", OURS], capture_output=True, text=True, check=True).stdout:
        pytest.skip("a sanitizer wants to be the first library")
    path = str(tmp_path_factory.mktemp("preload") / f"{name}.so")
    run("cc", "-O2", "-shared", "-fPIC", "-o", path, f"{HERE}/{name}.c")
    return path


@pytest.fixture(scope="session")
def counting(tmp_path_factory):
    """The library that counts calls, to be preloaded."""
    return built(tmp_path_factory, "count_calls")


@pytest.fixture(scope="session")
def old_kernel(tmp_path_factory):
    """The library that takes offloads away."""
    return built(tmp_path_factory, "old_kernel")
