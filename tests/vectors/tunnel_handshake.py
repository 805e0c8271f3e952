#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Handshake transcripts and transport packets for the tunnel's unit tests.

An implementation of its own of the WireGuard paper, section 5.4, on hashlib, hmac and the
`cryptography` package: nothing is shared with the C code. Everything follows from the number of the
case, so running it again gives the same file:

    tests/vectors/tunnel_handshake.py > tests/vectors/tunnel_handshake.h
"""
import hashlib
import hmac as hmaclib
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

CONSTRUCTION = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s"
IDENTIFIER = b"WireGuard v1 zx2c4 Jason@zx2c4.com"
CASES = 4


def hash_(x):
    return hashlib.blake2s(x).digest()


def mac(key, x):
    return hashlib.blake2s(x, key=key, digest_size=16).digest()


def hmac(key, x):
    return hmaclib.new(key, x, hashlib.blake2s).digest()


def kdf(n, key, x):
    secret, out, t = hmac(key, x), [], b""
    for i in range(1, n + 1):
        t = hmac(secret, t + bytes([i]))
        out.append(t)
    return out


def aead(key, counter, plain, ad):
    return ChaCha20Poly1305(key).encrypt(struct.pack("<IQ", 0, counter), plain, ad)


def pub(sk):
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
    key = X25519PrivateKey.from_private_bytes(sk).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def dh(sk, pk):
    return X25519PrivateKey.from_private_bytes(sk).exchange(X25519PublicKey.from_public_bytes(pk))


def rotl(v, n):
    return ((v << n) | (v >> (32 - n))) & 0xFFFFFFFF


def quarter(s, a, b, c, d):
    for x, y, z, n in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        s[x] = (s[x] + s[y]) & 0xFFFFFFFF
        s[z] = rotl(s[z] ^ s[x], n)


def hchacha20(key, nonce16):
    s = list(struct.unpack("<16I", b"expand 32-byte k" + key + nonce16))
    for _ in range(10):
        for i in range(4):
            quarter(s, i, 4 + i, 8 + i, 12 + i)
        for i in range(4):
            quarter(s, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4)
    return struct.pack("<8I", *s[:4], *s[12:])


def xaead(key, nonce24, plain, ad):
    sub = hchacha20(key, nonce24[:16])
    return ChaCha20Poly1305(sub).encrypt(bytes(4) + nonce24[16:], plain, ad)


def draw(case, what, n=32):
    return hashlib.shake_256(b"vector %d %s" % (case, what.encode())).digest(n)


def secret_key(case, what):
    k = bytearray(draw(case, what))
    k[0] &= 248
    k[31] = k[31] & 127 | 64
    return bytes(k)


def transcript(case):
    i_sk, r_sk = secret_key(case, "initiator"), secret_key(case, "responder")
    i_pk, r_pk = pub(i_sk), pub(r_sk)
    ei_sk, er_sk = secret_key(case, "initiator ephemeral"), secret_key(case, "responder ephemeral")
    ei, er = pub(ei_sk), pub(er_sk)
    psk = draw(case, "psk") if case % 2 else bytes(32)
    i_index, r_index = struct.unpack("<II", draw(case, "indices", 8))
    wall_ns = 1700000000_123456789 + case * 86400_000000001
    whitened = wall_ns % 10**9 & ~((1 << 24) - 1)
    stamp = struct.pack(">QI", 0x400000000000000A + wall_ns // 10**9, whitened)

    # type 1
    c = hash_(CONSTRUCTION)
    h = hash_(hash_(c + IDENTIFIER) + r_pk)
    h = hash_(h + ei)
    c, = kdf(1, c, ei)
    c, k = kdf(2, c, dh(ei_sk, r_pk))
    enc_static = aead(k, 0, i_pk, h)
    h = hash_(h + enc_static)
    c, k = kdf(2, c, dh(i_sk, r_pk))
    enc_stamp = aead(k, 0, stamp, h)
    h = hash_(h + enc_stamp)
    m1 = struct.pack("<II", 1, i_index) + ei + enc_static + enc_stamp
    m1 += mac(hash_(b"mac1----" + r_pk), m1)
    cookie_secret, cookie_nonce = draw(case, "cookie secret"), draw(case, "cookie nonce", 24)
    source = bytes([4, 192, 0, 2, 7]) + bytes(12) + struct.pack(">H", 51820)
    cookie = mac(cookie_secret, source)
    m1_mac2 = m1 + mac(cookie, m1)
    m1 += bytes(16)
    m3 = struct.pack("<II", 3, i_index) + cookie_nonce
    m3 += xaead(hash_(b"cookie--" + r_pk), cookie_nonce, cookie, m1[-32:-16])

    # type 2
    h = hash_(h + er)
    c, = kdf(1, c, er)
    c, = kdf(1, c, dh(er_sk, ei))
    c, = kdf(1, c, dh(er_sk, i_pk))
    c, t, k = kdf(3, c, psk)
    h = hash_(h + t)
    enc_nothing = aead(k, 0, b"", h)
    m2 = struct.pack("<III", 2, r_index, i_index) + er + enc_nothing
    m2 += mac(hash_(b"mac1----" + i_pk), m2) + bytes(16)

    # type 4
    t_i, t_r = kdf(2, c, b"")
    packets = []
    for counter, size in ((0, 0), (1, 1), (2, 64), (3, 1420), (1 << 40, 16)):
        plain = draw(case, "plain %d" % counter, size) if size else b""
        head = struct.pack("<IIQ", 4, r_index, counter)
        packets.append((counter, plain, head + aead(t_i, counter, plain, b"")))
    back = struct.pack("<IIQ", 4, i_index, 0) + aead(t_r, 0, b"back", b"")
    return dict(i_sk=i_sk, r_sk=r_sk, i_pk=i_pk, r_pk=r_pk, ei_sk=ei_sk, er_sk=er_sk, psk=psk,
                i_index=i_index, r_index=r_index, wall_ns=wall_ns, stamp=stamp, m1=m1,
                m1_mac2=m1_mac2, m2=m2, m3=m3, cookie_secret=cookie_secret,
                cookie_nonce=cookie_nonce, t_i=t_i, t_r=t_r, packets=packets, back=back)


def c_bytes(b):
    lines = [b[i:i + 20] for i in range(0, len(b), 20)] or [b""]
    return "\n\t\t".join('"%s"' % "".join("\\x%02x" % x for x in line) for line in lines)


def main():
    print("/* SPDX-License-Identifier: GPL-2.0-or-later */")
    print("/* Made by tests/vectors/tunnel_handshake.py; do not edit. */")
    print("#include <stddef.h>\n#include <stdint.h>\n")
    print("struct vector_packet {\n\tuint64_t counter;\n\tsize_t plain_len;\n"
          "\tconst char *plain;\n\tconst char *message; /* plain_len + 32 bytes */\n};\n")
    fields = ["i_sk", "r_sk", "i_pk", "r_pk", "ei_sk", "er_sk", "psk", "stamp", "m1", "m1_mac2",
              "m2", "m3", "cookie_secret", "cookie_nonce", "t_i", "t_r", "back"]
    print("struct vector {\n\tuint32_t i_index, r_index;\n\tuint64_t wall_ns;")
    print("\tconst char *%s;" % ", *".join(fields))
    print("\tstruct vector_packet packets[5];\n};\n")
    print("/* The cookie is for 192.0.2.7:51820; `back` holds \"back\" from responder to initiator. */")
    print("static const struct vector vectors[%d] = {" % CASES)
    for case in range(CASES):
        v = transcript(case)
        print("\t{\n\t\t.i_index = 0x%08xu,\n\t\t.r_index = 0x%08xu,\n\t\t.wall_ns = %du," %
              (v["i_index"], v["r_index"], v["wall_ns"]))
        for f in fields:
            print("\t\t.%s = %s," % (f, c_bytes(v[f])))
        print("\t\t.packets = {")
        for counter, plain, message in v["packets"]:
            print("\t\t{%du, %d,\n\t\t%s,\n\t\t%s}," %
                  (counter, len(plain), c_bytes(plain), c_bytes(message)))
        print("\t\t},\n\t},")
    print("};")


if __name__ == "__main__":
    main()
