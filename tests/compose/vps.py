# SPDX-License-Identifier: GPL-2.0-or-later
"""A rented machine in a deployment's internet: another engine, a public address, one cable; and on it
compose/vps.yml, by the steps of its README."""
import contextlib
import os
import subprocess

from kit import COMPOSE, ROOT, docker, run

ADDRESS, LENGTH, ROUTER, NETWORK = "198.51.100.77", 24, "198.51.100.254", "de-us"
RESOLVER = "198.51.100.181"
# Public here are addresses that the real internet has for examples.
HERE = 'services: {relay: {environment: {TEST_NETWORK: "yes"}}}\n'


class Vps:
    def __init__(self, engine, folder, settings):
        self.engine = engine
        self.files = ["--env-file", str(folder / "env"), "-f", f"{ROOT}/compose/vps.yml", "-f", str(folder / "here.yml")]
        (folder / "env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        (folder / "here.yml").write_text(HERE)

    def compose(self, *words, check=True):
        return run(COMPOSE[1], "-p", "vps", *self.files, *words, check=check, env={**os.environ, "DOCKER_HOST": self.engine})

    def exec(self, *command, check=True):
        return self.compose("exec", "-T", "-u", "mvpn", "relay", *command, check=check)

    def inspect(self, form):
        return docker("-H", self.engine, "inspect", "-f", form, self.compose("ps", "-q", "relay").stdout.strip())


@contextlib.contextmanager
def engine(image):
    """Another machine's, that has the image; it is not waited for."""
    have = 'docker -H "$0" save "$1" | docker load -q >/dev/null && echo $DOCKER_HOST $ENGINE_PID && cat'
    p = subprocess.Popen([f"{ROOT}/tests/compose/engine.sh", "beside", "sh", "-c", have, os.environ["DOCKER_HOST"], image],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield p
    finally:
        p.stdin.close()
        p.wait()


def machine(engine, of, folder, **settings):
    """`of`: whose internet it is in."""
    host, pid = engine.stdout.readline().split()
    there, here = (["nsenter", "-t", x, "-n", "ip"] for x in (os.environ["ENGINE_PID"], pid))
    bridge = "br-" + docker("network", "inspect", "-f", "{{.Id}}", f"{of.project}_{NETWORK}")[:12]
    run(*there, "link", "add", "vps", "type", "veth", "peer", "name", "eth0", "netns", pid)
    run(*there, "link", "set", "vps", "master", bridge, "up")
    run(*here, "address", "add", f"{ADDRESS}/{LENGTH}", "dev", "eth0")
    run(*here, "link", "set", "eth0", "up")
    run(*here, "route", "add", "default", "via", ROUTER)
    v = Vps(host, folder, {"ADDRESS": ADDRESS, **settings})
    v.compose("up", "-d")
    return v
