# SPDX-License-Identifier: GPL-2.0-or-later
"""Speaks to the link emulator (linkem/control.h)."""
import socket


class LinkError(Exception):
    pass


class Links:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self.buffer = b""

    def close(self):
        self.sock.close()

    def ask(self, line, fd=None):
        """Sends one line; returns the answer's lines without the last `ok`."""
        data = line.encode() + b"\n"
        if fd is None:
            self.sock.sendall(data)
        else:
            socket.send_fds(self.sock, [data], [fd])
        lines = []
        while True:
            while b"\n" not in self.buffer:
                more = self.sock.recv(65536)
                if not more:
                    raise LinkError("the link emulator is gone")
                self.buffer += more
            head, self.buffer = self.buffer.split(b"\n", 1)
            text = head.decode()
            if text == "ok":
                return lines
            if text.startswith("error "):
                raise LinkError(text[6:])
            lines.append(text)

    def set(self, host, **words):
        self.ask(f"link {host} " + " ".join(f"{k}={v}" for k, v in words.items()))

    def show(self):
        """{"hosts": {name: {..., "up": {...}, "down": {...}}}, "world": {...}}"""
        hosts, world = {}, {}
        for line in self.ask("show"):
            kind, *words = line.split()
            if kind == "world":
                world = _values(words)
            elif kind == "host":
                hosts[words[0]] = _values(words[1:])
            elif kind == "link":
                values = _values(words[1:])
                hosts[words[0]][values.pop("dir")] = values
        return {"hosts": hosts, "world": world}


def _values(words):
    pairs = (w.split("=", 1) for w in words)
    return {k: int(v) if v.isdigit() else v for k, v in pairs}


def link_words(link):
    """A topology.Link as the emulator's settings, for each direction the same."""
    return {"delay_us": round(link.delay_ms * 1000), "jitter_us": round(link.jitter_ms * 1000),
            "loss_ppm": round(link.loss_pct * 10000), "rate_bps": round(link.rate_mbit * 1e6),
            "queue_bytes": link.queue_kb * 1024}
