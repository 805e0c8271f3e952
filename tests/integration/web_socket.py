# SPDX-License-Identifier: GPL-2.0-or-later
"""A WebSocket client that can also do it wrong (RFC 6455), and one that speaks ui.proto with it."""
import base64
import os
import socket
import struct

import fake_services  # noqa: F401  (makes the generated messages importable)
import ui_pb2 as ui

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0
PROTOCOL = "mvpn.ui.1"


class Refused(Exception):
    """The handshake was answered by an HTTP status, or by nothing (0)."""

    def __init__(self, status):
        super().__init__(f"status {status}")
        self.status = status


class Closed(Exception):
    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


class WebSocket:
    def __init__(self, port, token, origin="", host="", protocols=None, read_buffer=None):
        host = host or f"127.0.0.1:{port}"
        origin = f"http://127.0.0.1:{port}" if origin == "" else origin
        if protocols is None:
            protocols = f"{PROTOCOL}, auth.{token}"
        self.sock = socket.socket()
        if read_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, read_buffer)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", port))
        self.buffer = b""
        lines = ["GET / HTTP/1.1", f"Host: {host}", "Upgrade: websocket", "Connection: Upgrade",
                 f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}", "Sec-WebSocket-Version: 13"]
        if origin is not None:
            lines.append(f"Origin: {origin}")
        if protocols:
            lines.append(f"Sec-WebSocket-Protocol: {protocols}")
        self.sock.sendall("\r\n".join(lines + ["", ""]).encode())
        head = self._until(b"\r\n\r\n")
        status = int(head.split()[1]) if head else 0
        if status != 101:
            self.sock.close()
            raise Refused(status)
        self.head = head.decode()

    def _until(self, mark):
        while mark not in self.buffer:
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return b""
            self.buffer += data
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _exact(self, n):
        while len(self.buffer) < n:
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise Closed(1006)
            self.buffer += data
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def send_frame(self, opcode, payload, final=True, length=None, mask=True):
        """length: what the header claims, if not the truth."""
        n = len(payload) if length is None else length
        head = bytes([(0x80 if final else 0) | opcode])
        bit = 0x80 if mask else 0
        if n < 126:
            head += bytes([bit | n])
        elif n < 65536:
            head += bytes([bit | 126]) + struct.pack(">H", n)
        else:
            head += bytes([bit | 127]) + struct.pack(">Q", n)
        if mask:
            key = os.urandom(4)
            head += key
            payload = bytes(b ^ key[i % 4] for i, b in enumerate(payload))
        self.sock.sendall(head + payload)

    def recv(self):
        """Payload of the next binary message; raises Closed."""
        while True:
            b0, b1 = self._exact(2)
            n = b1 & 0x7F
            if n == 126:
                n = struct.unpack(">H", self._exact(2))[0]
            elif n == 127:
                n = struct.unpack(">Q", self._exact(8))[0]
            payload = self._exact(n)
            opcode = b0 & 0x0F
            if opcode == CLOSE:
                raise Closed(struct.unpack(">H", payload[:2])[0] if n >= 2 else 1005)
            if opcode == PING:
                self.send_frame(PONG, payload)
            elif opcode in (BINARY, MORE):
                assert b0 & 0x80, "events are one frame each"
                return payload

    def close(self):
        self.sock.close()


class Page(WebSocket):
    """What the page in a browser does: orders, and the newest of each kind of event."""

    def __init__(self, port, token, **more):
        super().__init__(port, token, **more)
        self.welcome = self.state = None
        self.rx = []
        self.dones = {}
        self.exits = None
        self._gathering = []
        self.next_id = 1

    def event(self):
        e = ui.Event.FromString(self.recv())
        kind = e.WhichOneof("body")
        if kind == "welcome":
            self.welcome = e.welcome
        elif kind == "state":
            self.state = e.state
        elif kind == "samples":
            self.rx += e.samples.rx_Bps
        elif kind == "done":
            self.dones[e.done.id] = e.done
        elif kind == "exits":
            self._gathering = list(e.exits.list.exits) if e.exits.first else self._gathering + list(e.exits.list.exits)
            if not e.exits.list.more:
                self.exits = self._gathering
        return kind

    def until(self, condition):
        """Reads events until it holds; the socket's timeout is the patience."""
        while not condition(self):
            self.event()
        return self

    def send(self, **body):
        self.next_id += 1
        self.send_frame(BINARY, ui.Order(id=self.next_id, **body).SerializeToString())
        return self.next_id

    def order(self, **body):
        n = self.send(**body)
        self.until(lambda p: n in p.dones)
        return self.dones[n]

    def phase(self, name):
        return self.until(lambda p: p.state is not None and ui.Phase.Name(p.state.phase) == f"PHASE_{name}")
