# SPDX-License-Identifier: GPL-2.0-or-later
"""Where labs keep themselves: one folder and one lock each below a folder of the user's own.

A lab lives exactly as long as its lock is held (by its holder process): what is found without a held
lock is left over from a lab that was killed, and is removed.
"""
import fcntl
import json
import os
import re
import shutil
import socket
import stat

import kernel

NAME = re.compile(r"[a-z][a-z0-9-]{0,11}\Z")  # short: socket paths hold 107 bytes
DEFAULT = "default"
SLOTS = 64


class LabError(Exception):
    """Said to the user as it is."""


def base():
    path = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/tmp", f"mvpn-lab-{os.getuid()}")
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    st = os.lstat(path)
    if not stat.S_ISDIR(st.st_mode) or st.st_uid != os.getuid() or st.st_mode & 0o077:
        raise LabError(f"{path} is not a folder of yours alone (mode 0700): remove it")
    return path


class Lock:
    """Held from creation until the last process with its descriptor ends."""

    def __init__(self, name):
        self.path = os.path.join(base(), name + ".lock")
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                raise
            # It may have been removed between open and lock.
            try:
                if os.fstat(fd).st_ino == os.stat(self.path).st_ino:
                    self.fd = fd
                    return
            except FileNotFoundError:
                pass
            os.close(fd)

    def remove(self):
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            pass

    def release(self):
        self.remove()
        os.close(self.fd)


def folder(name):
    if not NAME.match(name):
        raise LabError(f"--name {name}: lower case letters, digits and -, at most 12, a letter first")
    return os.path.join(base(), name)


def lock_or_none(name):
    try:
        return Lock(name)
    except BlockingIOError:
        return None


def live():
    """Names of the labs that run. Removes what dead ones left."""
    found = []
    for entry in sorted(os.listdir(base())):
        name = entry.removesuffix(".lock")
        if not NAME.match(name) or name in found:
            continue
        lock = lock_or_none(name)
        if lock is None:
            found.append(name)
            continue
        shutil.rmtree(folder(name), ignore_errors=True)
        lock.release()
    return found


def claim(name):
    """A free name (the given one, or the first free slot), its lock and its empty folder."""
    live()
    names = [name] if name else [DEFAULT] + [f"lab{i}" for i in range(2, SLOTS)]
    for n in names:
        path = folder(n)
        lock = lock_or_none(n)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.mkdir(path, 0o700)
            return n, path, lock
    raise LabError(f"lab {name} is up already: `lab --name {name} down` ends it" if name else "too many labs")


def choose(name):
    """The lab that a command without --name means."""
    name = name or os.environ.get("MVPN_LAB")
    if name:
        return name
    there = live()
    if DEFAULT in there or not there:
        return DEFAULT
    if len(there) == 1:
        return there[0]
    raise LabError(f"several labs are up ({', '.join(there)}): say which with --name")


class Client:
    """Speaks to the holder of a running lab."""

    def __init__(self, name):
        self.name = choose(name)
        self.path = folder(self.name)
        try:
            with open(f"{self.path}/state.json", encoding="utf-8") as f:
                self.state = json.load(f)
        except FileNotFoundError:
            raise LabError(f"no lab {self.name} is up: `lab up` or `make run` brings one up") from None

    def ask(self, op, max_fds=0, timeout=60, **words):
        """Returns (answer, descriptors)."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(timeout)
            try:
                s.connect(f"{self.path}/holder.sock")
                s.sendall(json.dumps(dict(words, op=op)).encode())
                data, fds, _, _ = socket.recv_fds(s, 1 << 20, max_fds)
            except OSError as e:
                raise LabError(f"lab {self.name} does not answer: {e}") from None
        answer = json.loads(data or b"{}")
        if "error" in answer:
            raise LabError(answer["error"])
        return answer, fds

    def enter(self, host, processes=True):
        """Moves this process into the namespaces of a host (its children, as far as processes go).
        Returns the folder of the host."""
        answer, fds = self.ask("enter", max_fds=4, host=host)
        kinds = [kernel.CLONE_NEWUSER, kernel.CLONE_NEWPID, kernel.CLONE_NEWNS, kernel.CLONE_NEWNET][-len(fds):]
        for fd, kind in zip(fds, kinds):
            if processes or kind != kernel.CLONE_NEWPID:
                kernel.setns(fd, kind)
            os.close(fd)
        return answer["dir"]

    def host(self, name):
        for h in self.state["hosts"]:
            if h["name"] == name:
                return h
        raise LabError(f"no host {name}; there are {', '.join(h['name'] for h in self.state['hosts'])}")
