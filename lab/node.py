# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs on a host: its folder, and one runit service directory for each process."""
import os
import shlex
import subprocess

import topology

NODE_SERVICES = ["tunnel", "discovery", "router", "ledger", "gateway"]
WG_PORT = 51820
# A service's log: two old files and one in use, bytes each.
LOG_BYTES, LOG_FILES = 200000, 2
REDIS_MEMORY = "16mb"


def host_dir(run, name):
    return os.path.join(run, name)


def init(bin_dir, directory, name):
    """Makes keys and folders."""
    p = subprocess.run([f"{bin_dir}/mvpn", "--dir", directory, "init", "--name", name],
                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if p.returncode != 0:
        raise OSError(f"{name}: mvpn init: {p.stderr.strip()}")


def word(bin_dir, directory, endpoint):
    """The node's bootstrap word: public keys and where it is reached."""
    return subprocess.run([f"{bin_dir}/mvpn", "--dir", directory, "word", "--endpoint", endpoint],
                          capture_output=True, text=True, check=True).stdout.strip()


def write_node(lab, host):
    """Folder and services of one node: keys, node.ini, five processes and a Redis."""
    directory = host_dir(lab["run"], host.name)
    init(lab["bin"], directory, host.name)
    with open(f"{directory}/node.ini", "w", encoding="ascii") as f:
        f.write(node_ini(lab, host, directory))
    write_service(directory, "redis", [
        "redis-server", "--port", "0", "--unixsocket", f"{directory}/run/redis.sock",
        "--unixsocketperm", "700", "--save", "", "--appendonly", "no", "--maxmemory", REDIS_MEMORY,
        "--maxmemory-policy", "allkeys-lru", "--dir", f"{directory}/state", "--loglevel", "warning"])
    for service in NODE_SERVICES:
        program = f"{lab['bin']}/mvpn-{service}"
        if os.path.exists(program):
            write_service(directory, service, [program, "--dir", directory])


def node_ini(lab, host, directory):
    """What a person would write for this node; other relays than the bootstrap are in nobody's file."""
    dns, relay = lab["hosts"]["dns"], host.kind == "relay"
    page = os.path.join(os.path.dirname(topology.HERE), "ui", "dist")
    yes = {True: "yes", False: "no"}
    sections = {
        "node": {"name": host.name, "test_network": "yes", "geo": lab["geo"]},
        "tunnel": {
            "port": WG_PORT, "workers": 1, "public4": host.ip4, "public6": host.ip6,
            "resolver4": dns.ip4, "resolver6": dns.ip6,
            "client_tun": "" if relay else "mvpn0", "exit_tun": "mvpnx0" if host.exit else "",
        },
        "discovery": {"bootstrap": "" if host.name == "relay1" else lab["bootstrap"]},
        "router": {"redis": f"{directory}/run/redis.sock"},
        "ledger": {"backend": "none"},
        "gateway": {
            "port": lab["port"], "page": page, "share": yes[relay], "share_exit": yes[host.exit],
            "pay": "yes", "earn": yes[relay],
            "entry_gwei_per_gib": host.price, "middle_gwei_per_gib": host.price, "exit_gwei_per_gib": host.price,
        },
    }
    return "\n".join(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                     for name, keys in sections.items())


def write_web(lab, host):
    directory = host_dir(lab["run"], host.name)
    here = os.path.dirname(os.path.abspath(__file__))
    write_service(directory, "web", ["/usr/bin/python3", "-B", "-u", f"{here}/web.py"])


def write_dns(lab, host):
    directory = host_dir(lab["run"], host.name)
    names = []
    for h in lab["hosts"].values():
        names += ["--host-record", f"{h.name}.test,{h.ip4},{h.ip6}"]
    write_service(directory, "dns", [
        "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--no-daemon", "--conf-file=/dev/null",
        "--user=root", "--group=root", "--pid-file=", "--local=/test/", "--local-ttl=60",
        "--cache-size=0", "--auth-ttl=60", *names])


def write_services(lab, host):
    os.makedirs(host_dir(lab["run"], host.name), mode=0o700, exist_ok=True)
    {"relay": write_node, "client": write_node, "web": write_web, "dns": write_dns}[host.kind](lab, host)
    # runsvdir waits a second when its folder changed within this one.
    os.utime(f"{host_dir(lab['run'], host.name)}/service", (0, 0))


def write_service(directory, name, command):
    """Directories as runit wants them; the log goes through svlogd, which bounds it."""
    service, log = f"{directory}/service/{name}", f"{directory}/log/{name}"
    for d in (f"{service}/log", log):
        os.makedirs(d, mode=0o700, exist_ok=True)
    _script(f"{service}/run", "exec 2>&1\nexec " + shlex.join(command))
    _script(f"{service}/log/run", "exec svlogd -tt " + shlex.quote(log))
    with open(f"{log}/config", "w", encoding="ascii") as f:
        f.write(f"s{LOG_BYTES}\nn{LOG_FILES}\n")


def _script(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write("#!/bin/sh\n" + text + "\n")
    os.chmod(path, 0o700)


def services(directory):
    try:
        return sorted(os.listdir(f"{directory}/service"))
    except FileNotFoundError:
        return []


def service_pid(directory, service):
    """None while it is not running."""
    try:
        with open(f"{directory}/service/{service}/supervise/pid", encoding="ascii") as f:
            return int(f.read())
    except (FileNotFoundError, ValueError):
        return None


def service_control(directory, service, letters):
    """runsv's control letters: u up, d down, o once, k kill, t terminate."""
    path = f"{directory}/service/{service}/supervise/control"
    fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    try:
        os.write(fd, letters.encode())
    finally:
        os.close(fd)


def prepare(lab, relay1):
    """What all nodes share: the bootstrap's word."""
    directory = host_dir(lab["run"], relay1.name)
    init(lab["bin"], directory, relay1.name)
    lab["bootstrap"] = word(lab["bin"], directory, f"{relay1.ip4}:{WG_PORT}")
    lab["geo"] = topology.GEO
