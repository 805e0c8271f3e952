# SPDX-License-Identifier: GPL-2.0-or-later
"""The process that holds a lab together: process 1 of its process namespace, so that its end, however
it comes, is the end of every process of the lab, and with them of every namespace and device.

It makes the hosts (a network and a mount namespace each, with runit as the first process), runs the
link emulator, forwards the client's page to the machine's loopback, and serves the command line over
a socket: hands out namespaces to enter, signals services, adds relays.
"""
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import time
import traceback

import kernel
import linkctl
import node
import topology

STOP_PATIENCE_S = 4  # for services to end by themselves
REQUEST_MAX = 65536
PAGE_STARTS_MAX = 100  # a forwarder that cannot run is not started for ever
MTU = 1500
# Packets that a TUN holds while the emulator waits for a processor. A full one drops: loss that
# nobody asked for. 10000 are 0.4 s at 300 Mbit/s.
TUN_QUEUE = 10000


class Stop(Exception):
    pass


class Holder:
    def __init__(self, lab, report, page_socket, lifeline, lock):
        self.lab = lab  # name, run, bin, hosts {name: Host}, port, seed
        self.report = report  # callable(event, text): does anyone listen?
        self.page_socket = page_socket
        self.lifeline = lifeline
        self.lock = lock
        self.inits = {}  # host -> pid of its first process
        self.names = {}  # host -> (network, mount) namespace descriptors
        self.emulator = None
        self.links = None
        self.page_pid = None
        self.page_starts = 0
        self.stopping = False

    # ---- set-up ----

    def run(self):
        signals, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(s, lambda *_: None)
        try:
            self.set_up()
            self.save()
            if not self.report("ready", ""):
                raise Stop("the command that started the lab is gone")
            self.serve(signals)
        except Stop as e:
            log(f"stopping: {e}")
        except Exception as e:  # the lab ends, saying why
            traceback.print_exc()
            self.report("error", str(e))
        finally:
            self.tear_down()

    def set_up(self):
        self.user_ns, self.pid_ns = (os.open(f"/proc/self/ns/{n}", os.O_RDONLY | os.O_CLOEXEC)
                                     for n in ("user", "pid"))
        kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
        try:
            kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)
        except OSError as e:
            log(f"no /proc of its own: {e}")
        self.start_emulator()
        node.prepare(self.lab, self.lab["hosts"]["relay1"])
        self.hosts_up(list(self.lab["hosts"].values()))
        self.await_answers()
        self.page_up()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(f"{self.lab['run']}/holder.sock")
        self.listener.listen(16)

    def start_emulator(self):
        path = f"{self.lab['run']}/linkem.sock"
        self.emulator = subprocess.Popen(
            [f"{self.lab['bin']}/lab-linkem", "--control", path, "--seed", str(self.lab["seed"])],
            stdin=subprocess.DEVNULL, preexec_fn=kernel.die_with_parent)
        while True:
            try:
                self.links = linkctl.Links(path)
                break
            except OSError:
                if self.emulator.poll() is not None:
                    raise OSError(f"the link emulator did not start ({self.emulator.returncode})") from None
                time.sleep(0.002)
        regions = self.lab["regions"]
        for a in regions:
            for b in regions:
                self.links.ask(f"path {regions[a]} {regions[b]} delay_us={topology.delay_ms(a, b) * 1000}")
        self.links.ask(f"router {topology.ROUTER4}")
        self.links.ask(f"router {topology.ROUTER6}")

    def hosts_up(self, hosts):
        """All at once: each makes its namespaces and folder by itself, then hands over its TUN."""
        waiting = [(h, *self.host_fork(h)) for h in hosts]
        for host, pid, sock in waiting:
            self.inits[host.name] = pid
        for host, pid, sock in waiting:
            self.host_join(host, sock)

    def host_fork(self, host):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid != 0:
            theirs.close()
            return pid, ours
        ours.close()
        try:
            host_main(self.lab, host, theirs)
        except BaseException as e:
            try:
                theirs.sendall(b"E" + str(e).encode())
            finally:
                traceback.print_exc()
                os._exit(1)

    def host_join(self, host, sock):
        sock.settimeout(30)
        data, fds, _, _ = socket.recv_fds(sock, 4096, 3)
        if data[:1] == b"E" or len(fds) != 3:
            raise OSError(f"{host.name}: {data[1:].decode(errors='replace') or 'did not start'}")
        tun, *names = fds
        self.names[host.name] = names
        self.links.ask(f"add {host.name} region={self.lab['regions'][host.country]} mtu={MTU}", fd=tun)
        os.close(tun)
        for address in (host.ip4, host.ip6):
            self.links.ask(f"route {host.name} {address}")
        self.links.set(host.name, **linkctl.link_words(host.link))
        try:
            sock.sendall(b"G")
        except BrokenPipeError:
            pass  # it has failed and said why
        answer = sock.recv(4096)
        sock.close()
        if answer != b"R":
            raise OSError(f"{host.name}: {answer[1:].decode(errors='replace') or 'did not start'}")

    def await_answers(self):
        """Until the destination and the names answer the client: `up` means that they do."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                kernel.die_with_parent()
                kernel.setns(self.names["client"][0], kernel.CLONE_NEWNET)
                code = answers_await(self.lab["hosts"])
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        if status != 0:
            raise OSError("web and dns do not answer the client")

    def page_up(self):
        """The client's page on the machine's own loopback: we listen outside, connect inside."""
        if self.page_socket is None:
            return
        self.page_pid = os.fork()
        if self.page_pid == 0:
            try:
                kernel.die_with_parent()
                kernel.setns(self.names["client"][0], kernel.CLONE_NEWNET)
                for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                    signal.signal(s, signal.SIG_DFL)
                signal.set_wakeup_fd(-1)
                import page  # asyncio is large, and only this process needs it
                page.serve(self.page_socket, self.lab["port"])
            finally:
                os._exit(1)

    # ---- service ----

    def serve(self, signals):
        sel = selectors.DefaultSelector()
        sel.register(self.listener, selectors.EVENT_READ, self.on_request)
        sel.register(signals, selectors.EVENT_READ, lambda: self.on_signals(signals))
        if self.lifeline is not None:
            sel.register(self.lifeline, selectors.EVENT_READ, self.on_lifeline)
        while True:
            for key, _ in sel.select():
                key.data()

    def on_lifeline(self):
        raise Stop("the command that started the lab is gone")

    def on_signals(self, fd):
        for number in os.read(fd, 1024):
            if number in (signal.SIGTERM, signal.SIGINT):
                raise Stop("asked to")
        self.reap()

    def reap(self):
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.on_child(pid, status)

    def on_child(self, pid, status):
        if pid == self.emulator.pid:
            self.emulator.returncode = status
            if not self.stopping:
                raise OSError(f"the link emulator ended ({status})")
        if pid == self.page_pid and not self.stopping:
            log(f"the page's forwarder ended ({status})")
            self.page_pid = None
            self.page_starts += 1
            if self.page_starts < PAGE_STARTS_MAX:
                self.page_up()
        for name, init in list(self.inits.items()):
            if init == pid:
                del self.inits[name]
                if not self.stopping:
                    log(f"{name}: its runit ended ({status})")

    def on_request(self):
        conn, _ = self.listener.accept()
        with conn:
            conn.settimeout(10)
            fds = []
            try:
                request = json.loads(conn.recv(REQUEST_MAX))
                answer = getattr(self, "do_" + request.pop("op"))(fds=fds, **request) or {}
            except Stop:
                conn.sendall(b"{}\n")
                raise
            except OSError as e:
                answer = {"error": str(e)}
            except (AttributeError, TypeError, ValueError, KeyError, linkctl.LinkError) as e:
                answer = {"error": f"not done: {e}"}
            try:
                socket.send_fds(conn, [json.dumps(answer).encode() + b"\n"], fds)
            except OSError:
                pass  # the asker is gone

    def host_dir(self, name):
        if name not in self.lab["hosts"]:
            raise ValueError(f"no host {name}; there are {', '.join(sorted(self.lab['hosts']))}")
        return node.host_dir(self.lab["run"], name)

    def chosen(self, host, service):
        there = node.services(self.host_dir(host))
        if service == "all":
            return there
        if service not in there:
            raise ValueError(f"no service {service} on {host}; there are {', '.join(there)}, all")
        return [service]

    def do_stop(self, fds):
        raise Stop("asked to")

    def do_enter(self, fds, host):
        self.host_dir(host)
        if self.lab["user_namespace"]:
            fds.append(self.user_ns)
        fds += [self.pid_ns, self.names[host][1], self.names[host][0]]
        return {"dir": self.host_dir(host)}

    def do_kill(self, fds, host, service, signal_number):
        done = []
        for s in self.chosen(host, service):
            pid = node.service_pid(self.host_dir(host), s)
            if pid is not None:
                os.kill(pid, signal_number)
                done.append(s)
        if not done:
            raise ValueError(f"{service} of {host} is not running")
        return {"killed": done}

    def do_control(self, fds, host, service, letters):
        for s in self.chosen(host, service):
            node.service_control(self.host_dir(host), s, letters)

    def do_add_relay(self, fds, fields):
        number = 1 + max(int(n[5:]) for n, h in self.lab["hosts"].items() if h.kind == "relay")
        if number > topology.RELAYS_MAX:
            raise ValueError(f"at most {topology.RELAYS_MAX} relays")
        host = topology.relay(number, **fields)
        self.lab["hosts"][host.name] = host
        try:
            self.hosts_up([host])
        except Exception:
            del self.lab["hosts"][host.name]
            raise
        self.save()
        return host.public()

    def save(self):
        state = {k: self.lab[k] for k in ("name", "run", "bin", "port", "seed", "regions")}
        state["hosts"] = [h.public() for h in self.lab["hosts"].values()]
        path = f"{self.lab['run']}/state.json"
        with open(path + ".new", "w", encoding="utf-8") as f:
            json.dump(state, f)
        os.rename(path + ".new", path)

    # ---- the end ----

    def tear_down(self):
        self.stopping = True
        for pid in self.inits.values():
            try:
                os.kill(pid, signal.SIGHUP)  # runit: end all services, then itself
            except ProcessLookupError:
                pass
        end = time.monotonic() + STOP_PATIENCE_S
        while self.services_left() and time.monotonic() < end:
            self.reap()
            time.sleep(0.01)
        self.keep_logs()
        shutil.rmtree(self.lab["run"], ignore_errors=True)
        self.lock.remove()

    def keep_logs(self):
        """What all services said, also as they ended, for whoever asked for it."""
        if not self.lab["keep_logs"]:
            return
        try:
            for name in self.lab["hosts"]:
                logs = f"{node.host_dir(self.lab['run'], name)}/log"
                if os.path.isdir(logs):
                    shutil.copytree(logs, f"{self.lab['keep_logs']}/{name}", dirs_exist_ok=True)
            shutil.copy(f"{self.lab['run']}/holder.log", self.lab["keep_logs"])
        except OSError as e:
            log(f"logs not kept: {e}")

    @staticmethod
    def services_left():
        """Is a runsv still there? (They outlive runsvdir while their service ends.)"""
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/comm", encoding="utf-8") as f:
                    if f.read().strip() in ("runsv", "runsvdir"):
                        return True
            except OSError:
                continue
        return False


def log(text):
    print(text, file=sys.stderr, flush=True)


# ---- inside a host ----

def host_main(lab, host, sock):
    kernel.die_with_parent()
    signal.set_wakeup_fd(-1)
    for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(s, signal.SIG_DFL)
    kernel.unshare(kernel.CLONE_NEWNET | kernel.CLONE_NEWNS)
    tun = kernel.tun_open("eth0")
    names = [os.open(f"/proc/self/ns/{n}", os.O_RDONLY | os.O_CLOEXEC) for n in ("net", "mnt")]
    socket.send_fds(sock, [b"T"], [tun, *names])
    node.write_services(lab, host)
    private_run(lab, host)
    private_resolv(lab, host)
    network_up(host)
    if sock.recv(1) != b"G":
        os._exit(1)
    sock.sendall(b"R")
    sock.close()
    directory = node.host_dir(lab["run"], host.name)
    os.chdir(directory)
    os.execvpe("runsvdir", ["runsvdir", "-P", f"{directory}/service"], environment(lab, host.name))


def environment(lab, name):
    """Of services and of `lab exec`: our programs first, the node's folder for the tools."""
    keep = {k: v for k, v in os.environ.items() if k not in ("MVPN_DIR", "MVPN_BIN")}
    return dict(keep, PATH=f"{lab['bin']}:/usr/sbin:/usr/bin:/sbin:/bin",
                MVPN_DIR=node.host_dir(lab["run"], name))


def private_run(lab, host):
    """An own /run: nothing of the machine's (resolvers, buses) is reachable by its sockets."""
    place = f"{node.host_dir(lab['run'], host.name)}/.run"
    os.makedirs(place, exist_ok=True)
    kernel.mount("tmpfs", place, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=16m,mode=755")
    run = os.path.realpath(lab["run"])
    if run.startswith("/run/"):
        os.makedirs(place + run[len("/run"):])
        kernel.mount(run, place + run[len("/run"):], None, kernel.MS_BIND | kernel.MS_REC)
    kernel.mount(place, "/run", None, kernel.MS_MOVE)


def private_resolv(lab, host):
    path = f"{node.host_dir(lab['run'], host.name)}/resolv.conf"
    dns = lab["hosts"]["dns"]
    with open(path, "w", encoding="ascii") as f:
        f.write(f"nameserver {dns.ip4}\nnameserver {dns.ip6}\noptions timeout:2 attempts:3\n")
    target = os.path.realpath("/etc/resolv.conf")
    if target.startswith("/run/") and not os.path.exists(target):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "w", encoding="ascii"):
            pass
    kernel.mount(path, target, None, kernel.MS_BIND)


def network_up(host):
    for name in ("default", "eth0"):
        # Addresses are usable at once; the routers of the emulator do not advertise themselves.
        for key, value in (("accept_dad", "0"), ("accept_ra", "0"), ("router_solicitations", "0"),
                           ("autoconf", "0"), ("addr_gen_mode", "1")):
            with open(f"/proc/sys/net/ipv6/conf/{name}/{key}", "w", encoding="ascii") as f:
                f.write(value)
    with open("/proc/sys/net/ipv4/ping_group_range", "w", encoding="ascii") as f:
        f.write("0 0")
    batch = (f"link set lo up\n"
             f"link set eth0 mtu {MTU} txqueuelen {TUN_QUEUE}\n"
             f"addr add {host.ip4}/32 dev eth0\n"
             f"addr add {host.ip6}/128 dev eth0 nodad\n"
             f"link set eth0 up\n"
             f"route add default dev eth0 src {host.ip4}\n"
             f"route add ::/0 dev eth0 src {host.ip6}\n")
    p = subprocess.run(["ip", "-batch", "-"], input=batch, text=True, capture_output=True, check=False)
    if p.returncode != 0:
        raise OSError(f"ip: {p.stderr.strip()}")


# A query for the address of web.test (RFC 1035).
DNS_QUERY = b"\x11\x22\x01\0\0\x01\0\0\0\0\0\0\x03web\x04test\0\0\x01\0\x01"
ANSWERS_PATIENCE_S = 15


def answers_await(hosts):
    """0 when both answered."""
    end = time.monotonic() + ANSWERS_PATIENCE_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(0.15)
        s.connect((hosts["dns"].ip4, 53))
        while not _tried(lambda: s.send(DNS_QUERY) and s.recv(512)):
            if time.monotonic() > end:
                return 1
    while not _tried(lambda: socket.create_connection((hosts["web"].ip4, 80), timeout=1).close() or True):
        if time.monotonic() > end:
            return 1
    return 0


def _tried(action):
    try:
        return action()
    except OSError:
        time.sleep(0.02)
        return None
