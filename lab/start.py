# SPDX-License-Identifier: GPL-2.0-or-later
"""Brings a lab up and down: from the user's process to the holder, and back."""
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time

import kernel
import rundir
import topology
from holder import Holder
from rundir import LabError

PORT_FIRST, PORTS = 8787, 400
DOWN_PATIENCE_S = 10


def page_socket():
    """A free port of the machine's loopback; the client's gateway uses the same number inside."""
    for port in range(PORT_FIRST, PORT_FIRST + PORTS):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
            s.listen(16)
            s.setblocking(False)
            return s, port
        except OSError:
            s.close()
    raise LabError("no free port for the page")


def up(name, bin_dir, relays=topology.RELAYS, seed=1, tied=False, keep_logs=None):
    """Starts a lab; returns (Client, lifeline). tied: it ends when the lifeline is closed."""
    for program in ("mvpn", "lab-linkem"):
        if not os.access(f"{bin_dir}/{program}", os.X_OK):
            raise LabError(f"{bin_dir}/{program} is not there: `make` builds it")
    for program in ("redis-server", "runsvdir", "dnsmasq", "ip"):
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            raise LabError(f"{program} is not installed: `make deps` installs it")
    if not topology.RELAYS_MIN <= relays <= topology.RELAYS_MAX:
        raise LabError(f"--relays: {topology.RELAYS_MIN} to {topology.RELAYS_MAX}")
    name, path, lock = rundir.claim(name)
    page, port = page_socket()
    lab = {
        "name": name, "run": path, "bin": bin_dir, "port": port, "seed": seed,
        "hosts": {h.name: h for h in topology.hosts(relays)},
        "regions": {c: i for i, c in enumerate(topology.countries())},
        "user_namespace": os.geteuid() != 0,
        "keep_logs": os.path.abspath(keep_logs) if keep_logs else None,
    }
    tell_r, tell_w = os.pipe2(os.O_CLOEXEC)
    life_r, life_w = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(tell_r)
        os.close(life_w)
        between(lab, tell_w, page, life_r if tied else None, lock)
    for fd in (tell_w, life_r, lock.fd):
        os.close(fd)
    page.close()
    os.waitpid(pid, 0)
    await_ready(tell_r, lab)
    if not tied:
        os.close(life_w)
        life_w = None
    return rundir.Client(name), life_w


@contextlib.contextmanager
def tied(name, bin_dir, relays, seed, keep_logs=None):
    """A lab for the length of a `with`; Ctrl-C, SIGTERM and SIGHUP leave it in order."""
    for s in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(s, lambda *_: _interrupt())
    client, lifeline = None, None
    try:
        client, lifeline = up(name, bin_dir, relays, seed, tied=True, keep_logs=keep_logs)
        yield client
    except KeyboardInterrupt:
        pass
    finally:
        for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(s, signal.SIG_IGN)  # asked once is enough
        if lifeline is not None:
            os.close(lifeline)
            down(client.name)


def _interrupt():
    raise KeyboardInterrupt


def await_ready(tell, lab):
    error = None
    with open(tell, encoding="utf-8") as f:
        for line in f:
            event = json.loads(line)
            if event["event"] == "ready":
                return
            if event["event"] == "error":
                error = error or event["text"]
    raise LabError(f"lab {lab['name']} did not come up: {error or 'it ended while starting'}")


def last_words(path):
    """What the holder and its children wrote before the end of a lab that did not come up."""
    try:
        with open(f"{path}/holder.log", encoding="utf-8", errors="replace") as f:
            return "".join(f"\n  {line.rstrip()}" for line in f.readlines()[-12:])
    except OSError:
        return ""


def between(lab, tell, page, lifeline, lock):
    """Leaves the terminal and the namespaces of the user, then becomes the parent of the holder and ends."""
    def report(event, text):
        try:
            words = text + (last_words(lab["run"]) if event == "error" else "")
            os.write(tell, (json.dumps({"event": event, "text": words}) + "\n").encode())
        except BrokenPipeError:
            return False
        return True

    try:
        os.setsid()
        redirect(lab["run"])
        if lab["user_namespace"]:
            kernel.enter_new_user_namespace()
        kernel.unshare(kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid != 0:  # still in the machine's own /proc
            with open(f"{lab['run']}/pid", "w", encoding="ascii") as f:
                f.write(f"{pid} {start_time(pid)}\n")
            os._exit(0)
        kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
        Holder(lab, report, page, lifeline, lock).run()
    except Exception as e:
        report("error", str(e))
        shutil.rmtree(lab["run"], ignore_errors=True)
        lock.remove()
    os._exit(0)


def redirect(path):
    null = os.open("/dev/null", os.O_RDWR)
    log = os.open(f"{path}/holder.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(null)
    os.close(log)


def start_time(pid):
    """Of the process, in ticks since boot: with the pid it names one process for good."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        return int(f.read().rsplit(")", 1)[1].split()[19])


def holder_pid(path):
    try:
        with open(f"{path}/pid", encoding="ascii") as f:
            pid, started = map(int, f.read().split())
        return pid if start_time(pid) == started else None
    except (OSError, ValueError):
        return None


def down(name):
    """Ends a lab; says whether there was one."""
    name = rundir.choose(name)
    if name not in rundir.live():
        return False
    path = rundir.folder(name)
    pid = holder_pid(path)
    try:
        rundir.Client(name).ask("stop", timeout=DOWN_PATIENCE_S)
    except LabError:
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + DOWN_PATIENCE_S
    while name in rundir.live():
        if time.monotonic() > end:
            if pid is None:
                raise LabError(f"lab {name} does not end, and its process is not known")
            os.kill(pid, signal.SIGKILL)
            end += DOWN_PATIENCE_S
        time.sleep(0.02)
    return True
