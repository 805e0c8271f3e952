// SPDX-License-Identifier: GPL-2.0-or-later
// Tickets, EIP-712 digests, draws, hashes and values for the ledger's unit tests, made by ethers v6 and
// JavaScript's BigInt: nothing is shared with the C code. Everything follows from the number of the
// case (signatures are RFC 6979), so running it again gives the same file. In a folder of its own:
//
//   npm install ethers@6 && cp .../tests/vectors/ledger_tickets.mjs . && node ledger_tickets.mjs > ledger_tickets.h
import { keccak256, toBeHex, getBytes, concat, Wallet, TypedDataEncoder, SigningKey, hexlify, toUtf8Bytes } from "ethers";

const CASES = 64;
const types = {
  Ticket: [
    { name: "payee", type: "address" },
    { name: "face", type: "uint128" },
    { name: "ratio", type: "uint64" },
    { name: "seq", type: "uint64" },
    { name: "expiry", type: "uint64" },
    { name: "salt", type: "bytes24" },
    { name: "commit", type: "bytes32" },
  ],
};
const strip = (h) => h.slice(2);
const bytes = (label, i, n) => {
  let out = new Uint8Array(0);
  for (let k = 0; out.length < n; k++) out = getBytes(concat([out, keccak256(toUtf8Bytes(`${label} ${i} ${k}`))]));
  return out.slice(0, n);
};
const big = (label, i, bits) => BigInt(hexlify(bytes(label, i, 32))) & ((1n << BigInt(bits)) - 1n);
const MAX64 = (1n << 64n) - 1n;
const quote = (x) => `"${x}"`;
const lines = [];
const out = (s) => lines.push(s);

out(`/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Made by tests/vectors/ledger_tickets.mjs (ethers v6); do not edit. */
#include <stdint.h>

struct ticket_vector {
	uint64_t chain_id, ratio, seq, expiry;
	const char *contract, *sk, *payer, *payee, *face, *salt, *commit, *digest, *wire, *reveal;
	uint64_t draw;
};
struct hash_vector {
	const char *text; /* repeated n times */
	unsigned int n;
	const char *hash;
};
struct value_vector {
	const char *face; /* decimal wei */
	uint64_t ratio, price_gwei;
	const char *expected;
	uint64_t bytes; /* that the expected value buys */
};
struct ratio_vector {
	const char *face, *expected;
	uint64_t ratio;
};
struct worth_vector {
	uint64_t bytes, price_gwei;
	const char *value;
};
struct terms_vector {
	uint64_t chain_id, entry, middle, exit, free;
	const char *payee, *hash;
};
`);

out("static const struct ticket_vector ticket_vectors[] = {");
for (let i = 0; i < CASES; i++) {
  const key = new SigningKey(bytes("sk", i, 32));
  const wallet = new Wallet(key);
  const chainId = i === 0 ? 0n : i === 1 ? MAX64 : big("chain", i, (i * 7) % 64 + 1);
  const contract = i === 0 ? "0x" + "00".repeat(20) : hexlify(bytes("contract", i, 20));
  const domain = { name: "mvpn", version: "1", chainId, verifyingContract: contract };
  const t = {
    payee: hexlify(bytes("payee", i, 20)),
    face: i === 2 ? (1n << 96n) - 1n : big("face", i, (i * 5) % 96 + 1),
    ratio: i === 3 ? MAX64 : i === 4 ? 1n : big("ratio", i, (i * 3) % 64 + 1),
    seq: i === 5 ? MAX64 : big("seq", i, (i % 64) + 1),
    expiry: big("expiry", i, 40),
    salt: hexlify(bytes("salt", i, 24)),
    commit: hexlify(bytes("commit", i, 32)),
  };
  const digest = TypedDataEncoder.hash(domain, types, t);
  const sig = key.sign(digest);
  const wire = concat([t.payee, toBeHex(t.face, 16), toBeHex(t.ratio, 8), toBeHex(t.seq, 8), toBeHex(t.expiry, 8), t.salt,
    t.commit, sig.r, sig.s, toBeHex(sig.yParity, 1)]);
  const reveal = hexlify(bytes("reveal", i, 32));
  const draw = BigInt(keccak256(concat([reveal, digest]))) >> 192n;
  out(`\t{${chainId}u, ${t.ratio}u, ${t.seq}u, ${t.expiry}u, ` +
    [contract, hexlify(bytes("sk", i, 32)), wallet.address.toLowerCase(), t.payee, toBeHex(t.face, 16), t.salt, t.commit, digest,
      wire, reveal].map(strip).map(quote).join(",\n\t\t") + `, ${draw}u},`);
}
out("};\n");

out("static const struct hash_vector hash_vectors[] = {");
for (const [text, ns] of [["", [1]], ["a", [1, 7, 55, 64, 134, 135, 136, 137, 271, 272, 273, 1000]], ["mvpn", [1, 40]]]) {
  for (const n of ns) out(`\t{"${text}", ${n}, "${strip(keccak256(toUtf8Bytes(text.repeat(n))))}"},`);
}
out("};\n");

const expected = (face, ratio) => (face * (ratio + 1n)) >> 64n;
const GWEI = 1000000000n;
const GIB = 1n << 30n;
const FACE_MAX = (1n << 96n) - 1n;
const PRICE_MAX = 1n << 48n;
out("static const struct value_vector value_vectors[] = {");
for (let i = 0; i < 48; i++) {
  const face = i === 0 ? FACE_MAX : i === 1 ? 1n : big("vface", i, (i * 11) % 96 + 1) || 1n;
  const ratio = i % 5 === 0 ? MAX64 : i === 1 ? 0n : big("vratio", i, (i * 13) % 64 + 1);
  const price = i === 2 ? PRICE_MAX : i === 0 ? 1n << 40n : (big("vprice", i, (i * 5) % 40 + 1) || 1n);
  const e = expected(face, ratio);
  const b = (e * GIB) / (price * GWEI);
  if (b > MAX64) continue;
  out(`\t{"${face}", ${ratio}u, ${price}u, "${e}", ${b}u},`);
}
out("};\n");

out("static const struct ratio_vector ratio_vectors[] = {");
for (let i = 0; i < 48; i++) {
  const face = i === 0 ? FACE_MAX : (big("rface", i, (i * 7) % 96 + 1) || 1n) + 1n;
  let e = (big("rexp", i, 96) % face) || 1n;
  if (i % 8 === 7) e = face;
  if (i % 8 === 6 && face % 2n === 0n) e = face / 2n;
  // The smallest r with face * (r + 1) >= e * 2^64.
  const t = (e * (1n << 64n) + face - 1n) / face;
  out(`\t{"${face}", "${e}", ${t - 1n}u},`);
}
out("};\n");

out("static const struct worth_vector worth_vectors[] = {");
for (let i = 0; i < 24; i++) {
  const price = i === 0 ? PRICE_MAX : big("wprice", i, (i * 5) % 48 + 1) || 1n;
  const b = big("wbytes", i, (i * 3) % 36 + 1);
  out(`\t{${b}u, ${price}u, "${(b * price * GWEI + GIB - 1n) / GIB}"},`);
}
out("};\n");

out("static const struct terms_vector terms_vectors[] = {");
for (let i = 0; i < 8; i++) {
  const chain = big("tchain", i, 32), p = [0, 1, 2].map((k) => big(`tprice${k}`, i, 48)), free = big("tfree", i, 40);
  const payee = hexlify(bytes("tpayee", i, 20));
  const hash = keccak256(concat([toUtf8Bytes("mvpn terms v1"), toBeHex(chain, 8), payee, ...p.map((x) => toBeHex(x, 8)),
    toBeHex(free, 8)]));
  out(`\t{${chain}u, ${p[0]}u, ${p[1]}u, ${p[2]}u, ${free}u, "${strip(payee)}", "${strip(hash)}"},`);
}
out("};");
console.log(lines.join("\n"));
