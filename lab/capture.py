#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes what passes a layer 3 device to a pcap file: `lab capture HOST FILE`.

Needs nothing but the right to open a packet socket in the host's namespace. Says `capturing` when it
does; ends on SIGINT, SIGTERM or the end of standard input, then says how many packets it wrote.
"""
import select
import signal
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
ROOM = 64 << 20  # bytes that wait while this process does not run
LINKTYPE_RAW = 101
SNAPLEN = 65535


def main():
    path, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "eth0"
    for s in (signal.SIGINT, signal.SIGTERM):
        signal.signal(s, lambda *_: sys.exit(0))
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    sock.bind((device, ETH_P_ALL))
    n = 0
    with open(path, "wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, LINKTYPE_RAW))
        print("capturing", flush=True)
        try:
            poll = select.poll()
            poll.register(sock, select.POLLIN)
            poll.register(0, select.POLLIN)
            while True:
                ready = dict(poll.poll())
                if sock.fileno() in ready:
                    packet = sock.recv(SNAPLEN)
                    now = time.time_ns()
                    out.write(struct.pack("<IIII", now // 10**9, now % 10**9 // 1000, len(packet), len(packet)))
                    out.write(packet)
                    n += 1
                elif 0 in ready and not sys.stdin.buffer.raw.read(4096):
                    break
        finally:
            out.flush()
            print(f"{n} packets", flush=True)


if __name__ == "__main__":
    main()
