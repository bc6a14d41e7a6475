// Says what Sigstore makes of our test vectors (tests/vectors/README.md): a JSON object by format and
// name, with what a vector holds, or null where it is refused. What Sigstore has no reader for is
// left out.
//
//     NODE_PATH=.../node_modules node vectors.js FOLDER
"use strict";
const { createHash, createPublicKey } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { crypto, dsse } = require("@sigstore/core");
const { canonicalize } = require("@sigstore/core/dist/json.js");
const { verifyCheckpoint } = require("@sigstore/verify/dist/tlog/checkpoint.js");
const { verifyMerkleInclusion } = require("@sigstore/verify/dist/tlog/merkle.js");

// What stands before the 32 bytes of an Ed25519 key in its DER (RFC 8410).
const SPKI = Buffer.from("302a300506032b6570032100", "hex");
const BATCH_TYPE = "application/vnd.kashi.usage-batch+json";
const RECEIPT_TYPE = "application/vnd.kashi.receipt+json";

const READERS = { canonical, envelope, receipt, checkpoint, proof };

function main(folder) {
  const answers = {};
  for (const [format, read] of Object.entries(READERS)) {
    const file = JSON.parse(readFileSync(join(folder, `${format}.json`), "utf8"));
    answers[format] = {};
    for (const vector of file.vectors) {
      const answer = answerOf(read, vector, { ...file.given, ...vector.given });
      if (answer !== undefined) answers[format][vector.name] = answer;
    }
  }
  process.stdout.write(JSON.stringify(answers));
}

function answerOf(read, vector, given) {
  try {
    return read(given, Buffer.from(vector.bytes, "base64"), vector.code);
  } catch {
    return null;
  }
}

function canonical(_, data) {
  const text = data.toString("utf8");
  const again = Buffer.from(canonicalize(JSON.parse(text)), "utf8");
  return again.equals(data) ? {} : null;
}

// It is JavaScript that reads the JSON: only whether a signature holds is asked.
function envelope(given, data, code) {
  if (code !== undefined && code !== "bad_signature") return undefined;
  const { payload, signatures } = JSON.parse(data.toString("utf8"));
  const { keyid, sig } = signatures[0];
  const signed = dsse.preAuthEncoding(BATCH_TYPE, Buffer.from(payload, "base64"));
  const signature = Buffer.from(sig, "base64");
  if (!crypto.verify(signed, publicKey(Buffer.from(given.keys[keyid], "base64")), signature)) {
    return null;
  }
  const digest = createHash("sha256").update(signed).digest("hex");
  return { keyid, payload, signature: signature.toString("hex"), signed: digest };
}

function receipt(given, data, code) {
  const parts = [...given.header.matchAll(/keyid="([\w.-]+)", sig=:([A-Za-z0-9+/]{85}[AQgw]==):/g)];
  const isWhole = given.header === parts.map(([whole]) => whole).join(", ") && parts.length < 3;
  if (!isWhole || (code !== undefined && code !== "bad_receipt_signature")) return undefined;
  const key = publicKey(Buffer.from(given.key, "base64"));
  const signed = dsse.preAuthEncoding(RECEIPT_TYPE, data);
  // Of two keys that sign, a provider may know one.
  if (!parts.some(([, , sig]) => crypto.verify(signed, key, Buffer.from(sig, "base64")))) return null;
  return { receipt: JSON.parse(data.toString("utf8")), signers: parts.map(([, keyid]) => keyid) };
}

function checkpoint(given, data) {
  const entry = { inclusionProof: { checkpoint: { envelope: data.toString("utf8") } } };
  return told(verifyCheckpoint(entry, [logOf(given.vkey)]));
}

// Sigstore knows what a proof file claims, and not the file: only a head in good form is judged.
function proof(given, data) {
  const text = data.toString("utf8");
  const end = text.indexOf("\n\n");
  const head = /^c2sp\.org\/tlog-proof@v1\nindex (0|[1-9]\d*)((?:\n[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)*)$/;
  const match = text.slice(0, end).match(head);
  if (match === null) return undefined;
  const [, index, hashes] = match;
  const entry = {
    canonicalizedBody: Buffer.from(given.entry, "base64"),
    inclusionProof: {
      logIndex: index,
      hashes: hashes.split("\n").slice(1).map((hash) => Buffer.from(hash, "base64")),
      checkpoint: { envelope: text.slice(end + 2) },
    },
  };
  const signed = verifyCheckpoint(entry, [logOf(given.vkey)]);
  verifyMerkleInclusion(entry, signed);
  return told(signed);
}

function told({ origin, logSize, logHash }) {
  return { origin, size: Number(logSize), root: logHash.toString("hex") };
}

// The log as Sigstore's trusted root would have it.
function logOf(vkey) {
  const [name, id] = vkey.split("+", 2);
  const key = Buffer.from(vkey.slice(name.length + id.length + 2), "base64").subarray(1);
  return { logID: Buffer.from(id, "hex"), baseURL: name, publicKey: publicKey(key) };
}

function publicKey(key) {
  return createPublicKey({ key: Buffer.concat([SPKI, key]), format: "der", type: "spki" });
}

main(process.argv[2]);
