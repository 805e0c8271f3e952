# SPDX-License-Identifier: GPL-2.0-or-later
"""A deployment of compose/ on the engine that engine.sh started, and what tests do to it."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))

from waiting import wait_until  # noqa: E402, F401

WEB = "http://198.51.100.208"
SERVICES = ["tunnel", "discovery", "router", "ledger", "gateway"]
COMPOSE = {1: "docker-compose", 2: os.path.join(ROOT, "build", "compose2", "docker-compose")}
RELAYS = [f"relay{i}" for i in range(1, 8)]
UID = "10001"


def run(*command, check=True, **more):
    p = subprocess.run(command, capture_output=True, text=True, **more)
    if check and p.returncode != 0:
        raise AssertionError(f"{' '.join(command)}: {p.returncode}\n{p.stdout}{p.stderr}")
    return p


def docker(*words, check=True):
    return run("docker", *words, check=check).stdout.strip()


def in_engine(*command):
    """The prefix for a command in the engine's namespaces: the machine, as the containers see it."""
    return ["nsenter", "-t", os.environ["ENGINE_PID"], "-n", "-p", "-m", *command]


def restart_engine():
    """As the machine's supervisor does, and much as a reboot: containers are ended, then those with a policy started."""
    file = os.path.join(os.path.dirname(os.environ["DOCKER_HOST"].removeprefix("unix://")), "d.pid")
    pid = lambda: open(file).read() if os.path.exists(file) else ""
    before = pid()
    run(*in_engine("kill", before))
    wait_until(lambda: pid() not in ("", before) and docker("version", check=False), what="another engine answers")


class Deployment:
    """`major`: docker-compose 1 or 2 drives it."""

    def __init__(self, project, *files, major):
        self.project = project
        self.program = COMPOSE[major]
        self.files = [x for f in ("docker-compose.yml", *files) for x in ("-f", os.path.join(ROOT, "compose", f))]

    def compose(self, *words, check=True):
        return run(self.program, "-p", self.project, *self.files, *words, check=check)

    def up(self, *words):
        self.compose("up", "-d", "--no-build", *words)

    def await_relays(self):
        """Some seconds; half a minute if they miss each other at first."""
        wait_until(lambda: len(self.mvpn("exits").get("exits", [])) >= 5, what="the relays are found")

    def down(self, *words):
        self.compose("down", "-t", "5", *words)

    def id(self, service):
        """Asked of the engine: docker-compose 1 takes a second to load."""
        labels = {"project": self.project, "service": service, "oneoff": "False"}
        return docker("ps", "-aq", *[x for k, v in labels.items()
                                     for x in ("-f", f"label=com.docker.compose.{k}={v}")]).split()[0]

    def state(self):
        """Which containers there are, and since when they run."""
        seen = {s: self.inspect(s) for s in SERVICES + RELAYS + ["redis", "web"]}
        return {s: (x["Id"], x["State"]["StartedAt"]) for s, x in seen.items()}

    def inspect(self, service):
        return json.loads(docker("inspect", self.id(service)))[0]

    def exec(self, service, *command, check=True):
        return run("docker", "exec", "-u", "mvpn", self.id(service), *command, check=check)

    def ctl(self, service, *words, at=None):
        """The service's own command line, in its container (or in that of a relay)."""
        p = self.exec(at or service, f"{service}ctl", "--json", *words, check=False)
        return json.loads(p.stdout) if p.returncode == 0 else None

    def mvpn(self, *words):
        p = self.exec("gateway", "mvpn", "--json", *words, check=False)
        return json.loads(p.stdout) if p.returncode == 0 else {}

    def connect(self, exit_country="any"):
        """Until it is so: a relay that has just come may not be measured yet."""
        wait_until(lambda: self.mvpn("connect", "--hops", "3", "--exit", exit_country), what=f"on, exit {exit_country}")
        return self.mvpn("route")["hops"]

    def in_network(self, service, *command):
        """The prefix for a command in the network of a container."""
        return in_engine("nsenter", "-t", str(self.inspect(service)["State"]["Pid"]), "-n", *command)

    def fetch(self, path, *options):
        """From where a user of the client is; "" if it did not come."""
        return run(*self.in_network("machine", "curl", "-s", "--connect-timeout", "1", "-m", "5", *options, WEB + path), check=False).stdout.strip()

    def stop(self, service):
        docker("stop", "-t", "5", self.id(service))

    def start(self, service):
        docker("start", self.id(service))

    def kill(self, service):
        """As the machine kills a process; a `docker kill` would count as wanted."""
        run(*in_engine("kill", "-9", str(self.inspect(service)["State"]["Pid"])))

    def healthy(self, service):
        state = self.inspect(service)["State"]
        return state["Running"] and state.get("Health", {}).get("Status") == "healthy"
