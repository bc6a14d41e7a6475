// Accepts proof files (`ledger/proof.py`), or says why not. The code that decides is Sigstore's: the
// log has signed the checkpoint of each, and the entry beside it is in the tree of that checkpoint.
//
//     NODE_PATH=.../node_modules node verify.js VKEY PROOF ENTRY [PROOF ENTRY ...]
"use strict";
const { createPublicKey } = require("node:crypto");
const { readFileSync } = require("node:fs");
const { verifyCheckpoint } = require("@sigstore/verify/dist/tlog/checkpoint.js");
const { verifyMerkleInclusion } = require("@sigstore/verify/dist/tlog/merkle.js");

// What stands before the 32 bytes of an Ed25519 key in its DER (RFC 8410).
const SPKI = Buffer.from("302a300506032b6570032100", "hex");

function main(vkey, ...files) {
  const log = logOf(vkey);
  for (let place = 0; place < files.length; place += 2) {
    const entry = entryOf(readFileSync(files[place], "utf8"), readFileSync(files[place + 1]));
    verifyMerkleInclusion(entry, verifyCheckpoint(entry, [log]));
  }
}

// The log as Sigstore's trusted root would have it.
function logOf(vkey) {
  const [name, id] = vkey.split("+", 2);
  const key = Buffer.from(vkey.slice(name.length + id.length + 2), "base64").subarray(1);
  const publicKey = createPublicKey({
    key: Buffer.concat([SPKI, key]),
    format: "der",
    type: "spki",
  });
  return { logID: Buffer.from(id, "hex"), baseURL: name, publicKey };
}

// The entry as Sigstore's bundle would have it.
function entryOf(proof, body) {
  const end = proof.indexOf("\n\n");
  const [, index, ...hashes] = proof.slice(0, end).split("\n");
  return {
    canonicalizedBody: body,
    inclusionProof: {
      logIndex: index.replace("index ", ""),
      hashes: hashes.map((hash) => Buffer.from(hash, "base64")),
      checkpoint: { envelope: proof.slice(end + 2) },
    },
  };
}

try {
  main(...process.argv.slice(2));
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
