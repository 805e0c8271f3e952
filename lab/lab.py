# SPDX-License-Identifier: GPL-2.0-or-later
"""lab: a small internet on this machine, to run, to look into, to break.

`lab run` is the show (make run); `lab up` brings a lab up and returns. README.md tells the rest.
"""
import argparse
import json
import os
import signal
import sys

import kernel
import linkctl
import node
import rundir
import topology
from rundir import LabError

# $LAB_BIN: other programs than those beside the command (a build with sanitizers, a broken one).
BIN = os.environ.get("LAB_BIN") or os.environ.get("MVPN_BIN") or os.path.join(os.path.dirname(topology.HERE), "bin")
NO_LAB = 3


# ---- up and down ----

def do_up(a):
    import start  # what only up and down need is not loaded for each `lab exec`
    if not a.foreground:
        client, _ = start.up(a.name, BIN, a.relays, a.seed, keep_logs=a.keep_logs)
        announce(a, client)
        return 0
    with start.tied(a.name, BIN, a.relays, a.seed, a.keep_logs) as client:
        announce(a, client)
        if sys.stdin is None or sys.stdin.isatty():
            signal.pause()
        while os.read(0, 4096):
            pass
    return 0


def announce(a, client):
    if a.json:
        print(json.dumps(client.state), flush=True)
    else:
        print(f"lab {client.name} is up: {len(client.state['hosts'])} hosts; `lab hosts` lists them, "
              f"`lab{'' if client.name == rundir.DEFAULT else ' --name ' + client.name} down` ends it", flush=True)


def do_down(a):
    import start
    if a.all:
        for name in rundir.live():
            start.down(name)
        return 0
    if not start.down(a.name):
        print(f"lab {rundir.choose(a.name)} is not up", file=sys.stderr)
    return 0


def do_list(a):
    names = rundir.live()
    print(json.dumps(names) if a.json else "\n".join(names) or "no lab is up")
    return 0


# ---- look ----

def table(rows):
    widths = [max(len(str(r[i])) for r in rows) for i in range(len(rows[0]))]
    for r in rows:
        print("  ".join(str(c).ljust(w) for c, w in zip(r, widths)).rstrip())


def do_hosts(a):
    c = rundir.Client(a.name)
    if a.json:
        print(json.dumps(c.state["hosts"]))
        return 0
    rows = [("HOST", "ROLE", "CC", "AS", "IPV4", "IPV6", "NETWORK")]
    for h in c.state["hosts"]:
        role = ("relay, exit" if h["exit"] else "relay") if h["kind"] == "relay" else h["kind"]
        rows.append((h["name"], role, h["country"], h["asn"], h["ip4"], h["ip6"], h["network"]))
    table(rows)
    return 0


def do_logs(a):
    c = rundir.Client(a.name)
    directory = os.path.join(c.path, c.host(a.host)["name"])
    there = node.services(directory)
    if a.service and a.service not in there:
        raise LabError(f"no service {a.service} on {a.host}; there are {', '.join(there)}")
    for service in [a.service] if a.service else there:
        for name in sorted(os.listdir(f"{directory}/log/{service}")):
            if not name.startswith(("@", "current")):
                continue
            with open(f"{directory}/log/{service}/{name}", encoding="utf-8", errors="replace") as f:
                for line in f:
                    print(line.rstrip("\n") if a.service else f"{service}: {line.rstrip()}")
    return 0


# ---- enter ----

def do_exec(a):
    c = rundir.Client(a.name)
    if not a.command:
        raise LabError("exec HOST COMMAND...")
    here = os.getcwd()
    directory = c.enter(a.host)
    pid = os.fork()
    if pid == 0:
        kernel.die_with_parent()
        try:
            os.chdir(here)
        except OSError:
            os.chdir("/")
        env = dict(os.environ, PATH=f"{c.state['bin']}:/usr/sbin:/usr/bin:/sbin:/bin", MVPN_DIR=directory)
        try:
            os.execvpe(a.command[0], a.command, env)
        except OSError as e:
            print(f"lab: {a.command[0]}: {e.strerror}", file=sys.stderr, flush=True)
            os._exit(127)
    for s in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(s, lambda number, _: os.kill(pid, number) if number != signal.SIGINT else None)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def do_capture(a):
    a.command = ["/usr/bin/python3", "-B", os.path.join(topology.HERE, "capture.py"), os.path.abspath(a.file), a.device]
    return do_exec(a)


# ---- break ----

def signal_number(text):
    try:
        return int(text) if text.isdigit() else signal.Signals["SIG" + text.upper().removeprefix("SIG")].value
    except KeyError:
        raise argparse.ArgumentTypeError(f"no signal {text}") from None


def do_kill(a):
    rundir.Client(a.name).ask("kill", host=a.host, service=a.service, signal_number=a.signal)
    return 0


def do_stop(a):
    # Once, then kill: runit does not start it again.
    rundir.Client(a.name).ask("control", host=a.host, service=a.service, letters="ok" if a.kill else "d")
    return 0


def do_start(a):
    rundir.Client(a.name).ask("control", host=a.host, service=a.service, letters="u")
    return 0


def links_of(c):
    try:
        return linkctl.Links(f"{c.path}/linkem.sock")
    except OSError as e:
        raise LabError(f"the link emulator of lab {c.name} does not answer: {e}") from None


# Option of `lab link`, the emulator's word for it, its units in one of ours, the most that it takes.
LINK_NUMBERS = (("delay", "delay_us", 1000, 60000), ("jitter", "jitter_us", 1000, 60000), ("loss", "loss_ppm", 10000, 100),
                ("rate", "rate_bps", 1000000, 1000000), ("queue", "queue_bytes", 1024, 65536))


def link_settings(a):
    words = {}
    for option, key, factor, top in LINK_NUMBERS:
        value = getattr(a, option)
        if value is None:
            continue
        if not 0 <= value <= top:
            raise LabError(f"--{option} {value:g}: not a number from 0 to {top}")
        words[key] = round(value * factor)
    if a.reorder is not None:
        words["reorder"] = int(a.reorder == "on")
    if a.state is not None:
        words["state"] = a.state
    return words


def do_link(a):
    c = rundir.Client(a.name)
    c.host(a.host)
    links = links_of(c)
    words = link_settings(a)
    if words:
        links.set(a.host, **({"dir": a.direction} if a.direction else {}), **words)
        return 0
    shown = links.show()["hosts"][a.host]
    if a.json:
        print(json.dumps(shown))
        return 0
    rows = [("", "from the host", "to the host")]
    rows += [(key, shown["up"][key], shown["down"][key]) for key in shown["up"]]
    table(rows)
    return 0


def do_links(a):
    print(json.dumps(links_of(rundir.Client(a.name)).show(), indent=None if a.json else 2))
    return 0


def do_add_relay(a):
    fields = {k: v for k, v in (("asn", a.asn), ("price", a.price)) if v is not None}
    if a.exit is not None:
        fields["exit"] = a.exit == "on"
    host, _ = rundir.Client(a.name).ask("add_relay", fields=fields)
    print(json.dumps(host) if a.json else f"{host['name']} is up in {host['country']}, AS {host['asn']}")
    return 0


def do_run(a):
    import show  # its HTTP library would double what every `lab exec` takes to start
    return show.run(a, BIN)


# ---- words ----

def parser():
    p = argparse.ArgumentParser(prog="lab", description="A small internet on this machine.",
                                epilog="Exit status: 0 done, 1 it did not work, 2 usage, 3 no such lab is up; exec: the command's.")
    p.add_argument("--name", help="which lab (default: $MVPN_LAB, else the one that is up, else `default`)")
    p.add_argument("--json", action="store_true", help="answer in JSON")
    sub = p.add_subparsers(dest="verb", required=True, metavar="COMMAND")

    def verb(name, fn, help_text):
        v = sub.add_parser(name, help=help_text, description=help_text)
        v.set_defaults(fn=fn)
        # Also accepted behind the verb.
        v.add_argument("--name", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        v.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return v

    def size(v):
        v.add_argument("--relays", type=int, default=topology.RELAYS, metavar="N",
                       help=f"{topology.RELAYS_MIN} to {topology.RELAYS_MAX}, default {topology.RELAYS}")
        v.add_argument("--seed", type=int, default=1, help="of the losses and jitter of the links")
        v.add_argument("--keep-logs", metavar="DIR", help="where the logs of all services are left at the end")

    v = verb("up", do_up, "bring a lab up")
    size(v)
    v.add_argument("--foreground", action="store_true", help="stay; end with Ctrl-C or the end of standard input")
    v = verb("down", do_down, "end a lab and remove what it left")
    v.add_argument("--all", action="store_true")
    v = verb("run", do_run, "bring a lab up, connect the client, fetch a page through three hops, show it")
    size(v)
    v.add_argument("--once", action="store_true", help="end after the fetch; exit status 0 only if all of it held")
    verb("list", do_list, "names of the labs that are up")
    verb("hosts", do_hosts, "who is there")
    v = verb("exec", do_exec, "run a command on a host: exec HOST COMMAND...")
    v.add_argument("host")
    v.add_argument("command", nargs=argparse.REMAINDER)
    v = verb("capture", do_capture, "write what passes a host's link to a pcap file, until Ctrl-C")
    v.add_argument("host")
    v.add_argument("file")
    v.add_argument("--device", default="eth0")
    v = verb("logs", do_logs, "what the services of a host said")
    v.add_argument("host")
    v.add_argument("service", nargs="?")
    v = verb("kill", do_kill, "send a signal to a service (it is started again) or to `all`")
    v.add_argument("host")
    v.add_argument("service")
    v.add_argument("--signal", type=signal_number, default=signal.SIGKILL.value, help="default KILL")
    v = verb("stop", do_stop, "end a service, or `all`, and leave it so")
    v.add_argument("host")
    v.add_argument("service")
    v.add_argument("--kill", action="store_true", help="with SIGKILL")
    v = verb("start", do_start, "start a stopped service, or `all`")
    v.add_argument("host")
    v.add_argument("service")
    v = verb("link", do_link, "show or change the link of a host")
    v.add_argument("host")
    v.add_argument("--delay", type=float, metavar="MS", help="one way")
    v.add_argument("--jitter", type=float, metavar="MS")
    v.add_argument("--loss", type=float, metavar="PERCENT")
    v.add_argument("--rate", type=float, metavar="MBIT", help="0: no limit")
    v.add_argument("--queue", type=int, metavar="KIB", help="what waits at the rate limit; more is dropped")
    v.add_argument("--reorder", choices=("on", "off"), help="may jitter change the order")
    v.add_argument("--down", dest="state", action="store_const", const="down")
    v.add_argument("--up", dest="state", action="store_const", const="up")
    v.add_argument("--direction", choices=("up", "down", "both"), help="up: from the host; default both")
    verb("links", do_links, "settings and counters of all links")
    v = verb("add-relay", do_add_relay, "one more relay")
    v.add_argument("--asn", type=int, choices=sorted(topology.networks()), metavar="AS", help="its network (geo.csv)")
    v.add_argument("--exit", choices=("on", "off"))
    v.add_argument("--price", type=int, metavar="GWEI", help="per GiB")
    return p


def main():
    a = parser().parse_args()
    try:
        return a.fn(a)
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        return NO_LAB if str(e).startswith("no lab ") else 1
    except (OSError, linkctl.LinkError) as e:
        print(f"lab: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
