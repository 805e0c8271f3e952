# SPDX-License-Identifier: GPL-2.0-or-later
"""The few system calls that Python does not offer: namespaces, mounts, TUN devices."""
import ctypes
import errno
import fcntl
import os
import signal
import struct

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 8192, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result, what):
    if result != 0:
        e = ctypes.get_errno()
        raise OSError(e, f"{what}: {os.strerror(e)}")


def unshare(flags):
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def setns(fd, kind):
    _check(_libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)), "setns")


def mount(source, target, fstype, flags, data=None):
    enc = lambda s: None if s is None else os.fsencode(s)
    _check(_libc.mount(enc(source), enc(target), enc(fstype), ctypes.c_ulong(flags), enc(data)),
           f"mount on {target}")


def die_with_parent(sig=signal.SIGKILL):
    _check(_libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(sig)), "prctl")


def enter_new_user_namespace():
    """Root inside, the same user outside."""
    uid, gid = os.getuid(), os.getgid()
    try:
        unshare(CLONE_NEWUSER)
    except OSError as e:
        raise OSError(e.errno, "user namespaces are forbidden here: run as root, or allow them "
                      "(sysctl user.max_user_namespaces=10000; on Ubuntu also "
                      "kernel.apparmor_restrict_unprivileged_userns=0)") from e
    for path, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{path}", "w", encoding="ascii") as f:
            f.write(text)


def tun_open(name):
    """A layer 3 device in the network namespace of the caller; it lives as long as the descriptor."""
    try:
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as e:
        mend = {errno.EACCES: "chmod 0666 /dev/net/tun (its usual mode), or run as root",
                errno.ENOENT: "modprobe tun; in a container give it --device /dev/net/tun"}.get(e.errno, "")
        raise OSError(e.errno, f"/dev/net/tun: {os.strerror(e.errno)}: {mend}") from e
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return fd
