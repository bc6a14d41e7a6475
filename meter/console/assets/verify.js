// Verifies one entry, or one stored receipt, of the log, in the reader's browser.
//
// Five steps, each with what it was made from: the checkpoint's signature by a key that the reader
// names (C2SP signed-note), its size and root (tlog-checkpoint), the hash of the entry as a leaf, the
// path up the tree (RFC 9162 section 2.1.3.2), and the root that it leads to. For a receipt a sixth
// compares the digests of its batch and of itself with those in the entry.
//
// This script comes from the server whose log it verifies: whoever does not trust that server runs
// the command that the page names. The first part is pure, and knows no page.

const MAX_HASHES = 63;
const MAX_FILE_BYTES = 33_554_432; // of a stored receipt (meter/wire/stored_receipt.py)
const PROOF = "c2sp.org/tlog-proof@v1";
const RECEIPT = "kashi-receipt/v1";
const BATCH_TYPE = "application/vnd.kashi.usage-batch+json";

// What cannot be read, under the code by which the page has words for it.
export class Unreadable extends Error {
  constructor(code, detail = "") {
    super(detail ? `${code}: ${detail}` : code);
    this.code = code;
    this.detail = detail;
  }
}

// Formats

const utf8 = new TextEncoder();

export function text(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Unreadable("bad_file", "UTF-8");
  }
}

// Padded base64 whose unused bits are zero: one spelling only.
export function fromBase64(encoded) {
  let binary;
  try {
    binary = atob(encoded);
  } catch {
    throw new Unreadable("bad_file", encoded.slice(0, 80));
  }
  if (btoa(binary) !== encoded) throw new Unreadable("bad_file", encoded.slice(0, 80));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function same(left, right) {
  return toHex(left) === toHex(right);
}

function number(digits) {
  if (!/^(0|[1-9][0-9]{0,18})$/.test(digits)) throw new Unreadable("bad_file", digits.slice(0, 80));
  return BigInt(digits);
}

function hash32(encoded) {
  const bytes = fromBase64(encoded);
  if (bytes.length !== 32) throw new Unreadable("bad_file", encoded);
  return bytes;
}

// A verifier key, `name+id+base64`; "+" is a digit of base64 too, so only the first two divide it.
export async function parseKey(line) {
  const found = /^([^\s+]+)\+([0-9a-f]{8})\+(.+)$/.exec(line);
  if (!found) throw new Unreadable("bad_key", line.slice(0, 80));
  const [, name, id, encoded] = found;
  const typed = fromBase64(encoded);
  if (typed.length !== 33 || typed[0] !== 1) throw new Unreadable("bad_key", line.slice(0, 80));
  const digest = await sha256(utf8.encode(`${name}\n`), typed);
  if (toHex(digest.slice(0, 4)) !== id) throw new Unreadable("bad_key", line.slice(0, 80));
  return { name, id, publicKey: typed.slice(1) };
}

// A signed note: its text ends at the last empty line, and signature lines follow.
export function parseNote(bytes) {
  const note = text(bytes);
  const end = note.lastIndexOf("\n\n");
  if (end < 0 || !note.endsWith("\n") || /[\x00-\x09\x0b-\x1f]/.test(note)) {
    throw new Unreadable("bad_file", "signed note");
  }
  const lines = note.slice(end + 2, -1).split("\n");
  return { body: note.slice(0, end + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line) {
  const found = /^— ([^\s+]+) (\S+)$/.exec(line);
  if (!found) throw new Unreadable("bad_file", line.slice(0, 80));
  const bytes = fromBase64(found[2]);
  return { name: found[1], id: toHex(bytes.slice(0, 4)), bytes: bytes.slice(4), line };
}

export function parseCheckpoint(body) {
  const lines = body.split("\n");
  if (lines.length !== 4 || lines[3] !== "" || !lines[0]) throw new Unreadable("bad_file", "tlog-checkpoint");
  return { origin: lines[0], size: number(lines[1]), root: hash32(lines[2]) };
}

// A `.tlog-proof`; one that this console makes holds the entry itself in its line `extra`.
export function parseProof(bytes) {
  const whole = text(bytes);
  const end = whole.indexOf("\n\n");
  const [kind, ...lines] = whole.slice(0, Math.max(end, 0)).split("\n");
  if (kind !== PROOF) throw new Unreadable("bad_file", PROOF);
  const extra = lines[0]?.startsWith("extra ") ? fromBase64(lines.shift().slice(6)) : undefined;
  const index = lines.shift() ?? "";
  if (!index.startsWith("index ") || lines.length > MAX_HASHES) throw new Unreadable("bad_file", PROOF);
  return {
    index: number(index.slice(6)),
    path: lines.map(hash32),
    note: utf8.encode(whole.slice(end + 2)),
    entry: extra,
  };
}

// A stored receipt with its proof; the entry is the batch's own.
export function parseReceipt(bytes) {
  const file = parseObject(text(bytes));
  const texts = [file.kind, file.envelope, file.receipt];
  if (file.kind !== RECEIPT || texts.some((each) => typeof each !== "string")) {
    throw new Unreadable("bad_file", RECEIPT);
  }
  if (file.proof === undefined) throw new Unreadable("no_proof");
  const own = file.proof?.entries?.[0];
  const strings = [file.proof?.checkpoint, own?.entry, ...(own?.hashes ?? [0])];
  if (strings.some((each) => typeof each !== "string") || own.hashes.length > MAX_HASHES) {
    throw new Unreadable("bad_file", RECEIPT);
  }
  return {
    index: number(String(own.index)),
    path: own.hashes.map(hash32),
    note: utf8.encode(file.proof.checkpoint),
    entry: utf8.encode(own.entry),
    receipt: { envelope: file.envelope, body: file.receipt },
  };
}

function parseObject(json) {
  let value;
  try {
    value = JSON.parse(json);
  } catch {
    throw new Unreadable("bad_file", "JSON");
  }
  if (typeof value !== "object" || value === null) throw new Unreadable("bad_file", "JSON");
  return value;
}

// What some files hold together: a receipt, or a proof with its entry, in it or beside it.
export function read(files) {
  if (files.some((bytes) => bytes.length > MAX_FILE_BYTES)) throw new Unreadable("too_large");
  const kinds = files.map(kindOf);
  if (files.length === 1 && kinds[0] === "receipt") return parseReceipt(files[0]);
  const proofs = files.filter((_, place) => kinds[place] === "proof");
  const entries = files.filter((_, place) => kinds[place] === "entry");
  if (proofs.length !== 1 || entries.length > 1 || kinds.includes("receipt")) {
    throw new Unreadable(proofs.length === 0 && entries.length === 1 ? "needs_proof" : "which_files");
  }
  const proof = parseProof(proofs[0]);
  const entry = entries[0] ?? proof.entry;
  if (entry === undefined) throw new Unreadable("needs_entry");
  return { ...proof, entry };
}

function kindOf(bytes) {
  const head = new TextDecoder().decode(bytes.slice(0, 80));
  if (head.startsWith(PROOF)) return "proof";
  return /^\s*\{\s*"kind"\s*:\s*"kashi-receipt/.test(head) ? "receipt" : "entry";
}

// Hashes

async function sha256(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

export function leafHash(entry) {
  return sha256([0], entry);
}

// The root that a leaf and its path lead to, by RFC 9162 section 2.1.3.2.
export async function rootOf(leaf, index, size, path) {
  let [place, last, node] = [index, size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) throw new Unreadable("wrong_path");
    const isLeft = (place & 1n) === 1n || place === last;
    node = isLeft ? await sha256([1], sibling, node) : await sha256([1], node, sibling);
    // A last node without a sibling moves up as it is, to the level where it has one.
    while (isLeft && (place & 1n) === 0n && place > 0n) [place, last] = [place >> 1n, last >> 1n];
    [place, last] = [place >> 1n, last >> 1n];
  }
  if (last !== 0n) throw new Unreadable("wrong_path");
  return node;
}

// The steps, in their order. Each has an `outcome` (good, bad, unchecked, or only computed), a `code`
// where it is bad or unchecked, and `inputs`: pairs of a name and what is shown under it.

export async function verify(subject, keys) {
  const note = parseNote(subject.note);
  const checkpoint = parseCheckpoint(note.body);
  const leaf = await leafHash(subject.entry);
  const path = await followPath(subject, checkpoint, leaf);
  const steps = {
    signature: await checkSignature(note, checkpoint, keys),
    checkpoint: checkCheckpoint(subject, checkpoint, keys),
    leaf: computed([["bytes", `${subject.entry.length}`], ["leaf", toBase64(leaf)]]),
    path: path.step,
    root: checkRoot(checkpoint, path.root),
  };
  if (subject.receipt) steps.digests = await checkDigests(subject);
  return steps;
}

// Good only if every step is; one that is bad outweighs one that was not checked.
export function conclude(steps) {
  const outcomes = Object.values(steps).map((step) => step.outcome);
  return ["bad", "unchecked"].find((outcome) => outcomes.includes(outcome)) ?? "good";
}

const computed = (inputs) => ({ outcome: "computed", inputs });
const good = (inputs) => ({ outcome: "good", inputs });
const bad = (code, inputs) => ({ outcome: "bad", code, inputs });
const unchecked = (code, inputs) => ({ outcome: "unchecked", code, inputs });

async function checkSignature(note, checkpoint, keys) {
  const known = (line) => keys.find((key) => key.name === line.name && key.id === line.id);
  const signed = note.signatures.filter(known);
  const inputs = [["signed", note.body], ["signatures", (signed.length ? signed : note.signatures)
    .map((each) => each.line).join("\n")]];
  const own = signed.filter((line) => line.name === checkpoint.origin);
  if (own.length === 0) return bad("not_signed", inputs);
  for (const line of own) {
    const fits = await hasSigned(known(line).publicKey, utf8.encode(note.body), line.bytes);
    if (fits === undefined) return unchecked("not_checked_here", inputs);
    if (!fits) return bad("bad_signature", inputs);
  }
  return good(inputs);
}

// The log is one whose key is named, and has this entry.
function checkCheckpoint(subject, { origin, size, root }, keys) {
  const inputs = [["origin", origin], ["size", `${size}`], ["root", toBase64(root)]];
  if (!keys.some((key) => key.name === origin)) return bad("other_log", inputs);
  return subject.index < size ? good(inputs) : bad("beyond_size", inputs);
}

// Undefined where this browser has no Ed25519.
async function hasSigned(publicKey, message, signature) {
  let key;
  try {
    key = await crypto.subtle.importKey("raw", publicKey, { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    if (error.name === "NotSupportedError") return undefined;
    return false;
  }
  return crypto.subtle.verify({ name: "Ed25519" }, key, signature, message);
}

async function followPath(subject, checkpoint, leaf) {
  const inputs = [["index", `${subject.index}`], ["path", subject.path.map(toBase64).join("\n")]];
  try {
    const root = await rootOf(leaf, subject.index, checkpoint.size, subject.path);
    return { step: good(inputs), root };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { step: bad(error.code, inputs) };
  }
}

function checkRoot(checkpoint, root) {
  if (root === undefined) return unchecked("no_path", []);
  const inputs = [["computed", toBase64(root)], ["root", toBase64(checkpoint.root)]];
  return same(root, checkpoint.root) ? good(inputs) : bad("other_root", inputs);
}

// The batch's entry has the digests of the payload, the envelope and the receipt.
async function checkDigests({ entry, receipt }) {
  const envelope = parseObject(receipt.envelope);
  if (envelope.payloadType !== BATCH_TYPE || typeof envelope.payload !== "string") {
    throw new Unreadable("bad_file", RECEIPT);
  }
  const found = {
    payload: toHex(await sha256(fromBase64(envelope.payload))),
    envelope: toHex(await sha256(utf8.encode(receipt.envelope))),
    receipt: toHex(await sha256(utf8.encode(receipt.body))),
  };
  const named = parseObject(text(entry));
  const inputs = Object.entries(found);
  const fits = named.kind === "batch" && inputs.every(([name, digest]) => named[name] === digest);
  return fits ? good(inputs) : bad("not_as_entered", inputs);
}

// The page: a form that the server wrote, with all words in its language.

function start(page) {
  const find = (name) => document.getElementById(name);
  const words = new Map(Array.from(find("verify-words").children,
    (each) => [each.dataset.code, each.textContent]));
  const word = (code) => words.get(code) ?? code;
  let latest = 0; // a run that a newer one overtook shows nothing

  async function run(load) {
    const mine = ++latest;
    let outcome;
    try {
      if (!globalThis.crypto?.subtle) throw new Unreadable("insecure");
      const lines = find("keys").value.split("\n").map((line) => line.trim()).filter(Boolean);
      const steps = await verify(await load(), await Promise.all(lines.map(parseKey)));
      outcome = { verdict: conclude(steps), steps };
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      outcome = { verdict: "unread", detail: [word(error.code), error.detail], steps: {} };
    }
    if (mine === latest) show(outcome);
  }

  function show({ verdict, detail, steps }) {
    const said = find("verdict");
    said.textContent = [word(verdict), ...(detail ?? [])].filter(Boolean).join(" ");
    said.dataset.outcome = verdict;
    for (const row of page.querySelectorAll("[data-step]")) {
      const step = steps[row.dataset.step];
      row.hidden = step === undefined;
      if (step) showStep(row, step);
    }
    find("steps").hidden = verdict === "unread";
  }

  function showStep(row, { outcome, code, inputs }) {
    const chip = row.querySelector(".chip");
    chip.textContent = word(`is_${outcome}`);
    chip.dataset.outcome = outcome;
    row.querySelector(".why").textContent = code ? word(code) : "";
    row.querySelector("dl").replaceChildren(...inputs.flatMap(([name, value]) => {
      const [term, told, exact] = ["dt", "dd", "code"].map((tag) => document.createElement(tag));
      term.textContent = word(`input_${name}`);
      exact.textContent = value;
      told.append(exact);
      return [term, told];
    }));
  }

  async function fetched(path) {
    let answer;
    try {
      answer = await fetch(path, { redirect: "manual" });
    } catch {
      throw new Unreadable("no_answer", path);
    }
    if (!answer.ok) throw new Unreadable("not_given", path);
    return new Uint8Array(await answer.arrayBuffer());
  }

  async function ofNumber(entry) {
    const digits = `${number(find("number").value.trim())}`;
    const [proof, data] = await Promise.all([
      fetched(`/v1/entries/${digits}/proof`),
      entry ?? fetched(`${page.dataset.entries}/${digits}/bytes`),
    ]);
    const subject = read([proof, data]);
    if (`${subject.index}` !== digits) throw new Unreadable("other_entry", digits);
    return subject;
  }

  async function ofFiles(list) {
    const files = await Promise.all(Array.from(list, async (file) => new Uint8Array(
      await file.slice(0, MAX_FILE_BYTES + 1).arrayBuffer())));
    const isBare = files.length === 1 && kindOf(files[0]) === "entry";
    return isBare && find("number").value.trim() ? ofNumber(files[0]) : read(files);
  }

  find("fetch").addEventListener("click", () => run(() => ofNumber()));
  find("files").addEventListener("change", (event) => run(() => ofFiles(event.target.files)));
  page.addEventListener("dragover", (event) => event.preventDefault());
  page.addEventListener("drop", (event) => {
    event.preventDefault();
    run(() => ofFiles(event.dataTransfer.files));
  });
  page.hidden = false;
  find("without-script").hidden = true;
  if (find("number").value) run(() => ofNumber());
}

const page = globalThis.document?.querySelector("#verify-page");
if (page) start(page);
