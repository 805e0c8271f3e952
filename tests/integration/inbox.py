# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the bus of a node has its sockets (lib/sys/bus.h)."""
import os


def inbox(node_dir, receiver, sender):
    """The address of an inbox; its folder is made if it is missing."""
    folder = os.path.join(node_dir, "run", f"{receiver}.{sender}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    return f"ipc://{folder}/inbox"
