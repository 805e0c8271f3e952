# SPDX-License-Identifier: GPL-2.0-or-later
"""A real gateway in a folder of its own, with a free port."""
import json
import os
import signal
import socket
import subprocess

from waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("MVPN_BIN", os.path.join(ROOT, "bin"))
SANITIZED = "asan" in BIN or "tsan" in BIN  # freed memory is kept, so sizes say nothing


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Gateway:
    def __init__(self, directory, ini="", port=None):
        self.dir = str(directory)
        self.port = free_port() if port is None else port
        self.process = None
        subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "init", "--name", "testnode"], check=True,
                       capture_output=True)
        with open(f"{self.dir}/node.ini", "w", encoding="utf-8") as f:
            f.write(f"[node]\nname = testnode\n[gateway]\nport = {self.port}\n{ini}\n")
        with open(f"{self.dir}/keys/ui.token", encoding="ascii") as f:
            self.token = f.read().strip()
        self.start()

    def start(self):
        self.process = subprocess.Popen([f"{BIN}/mvpn-gateway", "--dir", self.dir],
                                        stderr=open(f"{self.dir}/log", "a", encoding="utf-8"))
        wait_until(lambda: self.ctl("status") is not None or self.process.poll() is not None, what="gateway answers")
        assert self.process.poll() is None, self.log()

    def log(self):
        with open(f"{self.dir}/log", encoding="utf-8") as f:
            return f.read()

    def stop(self):
        self.process.terminate()
        return self.process.wait(20)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(20)

    def close(self):
        if self.process.poll() is None:
            assert self.stop() == 0, self.log()

    def ctl(self, *words):
        p = subprocess.run([f"{BIN}/gatewayctl", "--dir", self.dir, "--json", *words], capture_output=True, text=True)
        return json.loads(p.stdout) if p.returncode == 0 else None

    def mvpn(self, *words):
        return subprocess.run([f"{BIN}/mvpn", "--dir", self.dir, "--json", *words], capture_output=True, text=True)

    def session(self):
        return self.ctl("session")["session"][0]

    def counters(self):
        return self.ctl("show", "counters")["counters"][0]

    def services(self):
        return {s["service"]: s["health"] for s in self.ctl("show", "services")["services"]}

    def sections(self):
        return {s["section"]: s for s in self.ctl("show", "services")["sections"]}

    def settings(self):
        return {(s["section"], s["key"]): s["value"] for s in self.ctl("show", "settings")["settings"]}

    def settings_file(self):
        return f"{self.dir}/state/gateway/settings"

    def grown_kb(self, before):
        return 0 if SANITIZED else self.rss_kb() - before

    def rss_kb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))

    def cpu_ticks(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
