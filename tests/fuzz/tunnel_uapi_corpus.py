#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Seeds for tests/fuzz/tunnel_uapi.c: requests as wg makes them, and their mistakes.

    tests/fuzz/tunnel_uapi_corpus.py tests/fuzz/corpus/tunnel_uapi
"""
import pathlib
import sys

A, B, C = "11" * 32, "22" * 32, "33" * 32
SELF = "10" + "11" * 31
SEEDS = {
    "everything": f"private_key={A}\nlisten_port=51820\nfwmark=4660\nreplace_peers=true\npublic_key={B}\n"
                  f"preshared_key={C}\nendpoint=192.0.2.1:51820\npersistent_keepalive_interval=25\n"
                  "replace_allowed_ips=true\nallowed_ip=10.1.2.3/8\nallowed_ip=2001:db8::1/32\n"
                  f"public_key={C}\nendpoint=[2001:db8::1]:1\nallowed_ip=0.0.0.0/0\nallowed_ip=::/0\n",
    "moves": f"public_key={B}\nallowed_ip=10.0.0.0/8\n\npublic_key={C}\nallowed_ip=10.0.0.0/8\n\n"
             f"public_key={B}\nallowed_ip=-10.0.0.0/8\nallowed_ip=+10.0.0.0/9\n\npublic_key={C}\nremove=true\n",
    "own-key": f"private_key={A}\npublic_key={SELF}\nallowed_ip=10.0.0.0/8\n\npublic_key={B}\n\n",
    "becomes-self": f"public_key={SELF}\nallowed_ip=10.0.0.0/8\n\nprivate_key={A}\n",
    "update-only": f"public_key={B}\nupdate_only=true\nallowed_ip=10.0.0.0/8\n\npublic_key={B}\n\n"
                   f"public_key={B}\nupdate_only=true\nendpoint=[fe80::1%lo]:9\nprotocol_version=1\n",
    "removed-then-more": f"public_key={B}\nremove=true\nallowed_ip=10.0.0.0/8\npublic_key={B}\n",
    "scope": f"public_key={B}\nendpoint=[fe80::1%7]:9\n\npublic_key={B}\nendpoint=[fe80::1%nowhere]:9\n\n"
             f"public_key={B}\nendpoint=1.2.3.4%lo]:5\n",
    "bad-values": "\n\n".join(["listen_port=65536", "listen_port=", "listen_port=+1", "fwmark=4294967296",
                               "fwmark=", "private_key=1", "private_key=" + "g" * 64, "replace_peers=false",
                               "nonsense=1", "no sign", "=", f"public_key={B}\nallowed_ip=10.0.0.0/33",
                               f"public_key={B}\nallowed_ip=10.0.0.0", f"public_key={B}\nallowed_ip=/",
                               f"public_key={B}\nendpoint=:", f"public_key={B}\nendpoint=[::1]",
                               f"public_key={B}\npersistent_keepalive_interval=65536",
                               f"public_key={B}\nlisten_port=1", "allowed_ip=10.0.0.0/8"]),
    "port-in-use": f"listen_port=666\npublic_key={B}\n",
    "many-peers": "".join(f"public_key={n:064x}\nallowed_ip=10.0.{n}.0/24\n" for n in range(1, 20)),
    "long-lines": f"public_key={B}\nendpoint={'1' * 3000}\n\npublic_key={B}\nendpoint=[fe80::1%{'x' * 300}]:1\n\n"
                  f"public_key={B}\nallowed_ip={'f' * 500}/1\n",
    "empty": "",
}


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in SEEDS.items():
        (folder / name).write_text(text, encoding="ascii")


if __name__ == "__main__":
    main()
