"""The script that verifies in the browser decides as the ledger's own code does.

Node runs the very file that browsers get; `tests/browser/test_verify_page.py` shows it on its page.
"""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from ledger.cosign import Cosigner, add_cosignatures
from ledger.note import Checkpoint, Signer, sign
from ledger.proof import Proof
from ledger.tlog import Tree, leaf_hash
from meter.console import page
from tests.books import log_signer
from tests.interop.programs import need
from tests.proving import kept, opened, use

LOG = log_signer("log")
VKEY = LOG.verifier.format()
OTHER = log_signer("other").verifier.format()
FOREIGN = Signer.from_seed("kashi.test/foreign", bytes(32))
WITNESS = Cosigner.from_seed("witness.test/one", bytes(range(32)))

# Each case is files and keys; what comes back is the verdict and the codes of what is not good.
DRIVER = """
import * as verifier from "./verify.mjs";
import { readFileSync } from "node:fs";
const bytes = (text) => Uint8Array.from(Buffer.from(text, "base64"));
const refuse = async () => { throw new DOMException("no such algorithm", "NotSupportedError"); };
const found = [];
for (const { files, keys, old } of JSON.parse(readFileSync(0, "utf8"))) {
  if (old) Object.defineProperty(crypto.subtle, "importKey", { value: refuse, configurable: true });
  try {
    const known = await Promise.all(keys.map(verifier.parseKey));
    const steps = await verifier.verify(verifier.read(files.map(bytes)), known);
    const codes = Object.values(steps).map((step) => step.code).filter(Boolean);
    found.push([verifier.conclude(steps), ...codes]);
  } catch (error) {
    if (!(error instanceof verifier.Unreadable)) throw error;
    found.push(["unread", error.code]);
  }
  if (old) delete crypto.subtle.importKey;
}
console.log(JSON.stringify(found));
"""


@pytest.fixture
def decide(tmp_path):
    """Return what the script decides about cases, each of which is files and keys."""
    need("node", shutil.which("node"))
    (name,) = [each for each in page.ASSETS if each.startswith("verify-")]
    (tmp_path / "verify.mjs").write_bytes(page.ASSETS[name])
    (tmp_path / "driver.mjs").write_text(DRIVER)

    def run(cases):
        sent = json.dumps(
            [
                {"files": [base64.b64encode(file).decode() for file in files], "keys": keys} | more
                for files, keys, more in cases
            ]
        )
        done = subprocess.run(
            ["node", "driver.mjs"], cwd=tmp_path, input=sent, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def decide(*cases, keys=(VKEY,), **more):
        return run([(files, list(keys), more) for files in cases])

    return decide


def grown(size):
    """Return some entries, their tree, and the checkpoint that the log has signed."""
    entries = [f"entry {number}".encode() for number in range(size)]
    tree = Tree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    note = sign(Checkpoint(LOG.name, size, tree.root()).format(), LOG)
    return entries, tree, note


def proof(number, size, **changes):
    entries, tree, note = grown(size)
    hashes = tuple(tree.inclusion_proof(number, size))
    return replace(Proof(number, hashes, note, entries[number]), **changes)


def test_every_entry_of_every_small_tree_is_proved_and_no_other_in_its_place(decide):
    good, wrong = [], []
    for size in range(1, 20):
        entries, tree, note = grown(size)
        for number in range(size):
            hashes = tuple(tree.inclusion_proof(number, size))
            right = Proof(number, hashes, note, entries[number])
            good.append([right.format()])
            wrong += [
                [replace(right, extra=entries[number] + b"x").format()],
                [replace(right, index=number + 1).format()],
                [replace(right, hashes=(*hashes, bytes(32))).format()],
                [replace(right, index=number + size).format()],
            ]
            for place in range(len(hashes)):
                changed = bytes([hashes[place][0] ^ 1]) + hashes[place][1:]
                changed = (*hashes[:place], changed, *hashes[place + 1 :])
                wrong.append([replace(right, hashes=changed).format()])
                fewer = (*hashes[:place], *hashes[place + 1 :])
                wrong.append([replace(right, hashes=fewer).format()])
    found = decide(*good, *wrong)
    assert found[: len(good)] == [["good"]] * len(good)
    assert {verdict for verdict, *_ in found[len(good) :]} == {"bad"}


def test_an_entry_beside_its_proof_is_proved_as_one_within_it(decide):
    right = proof(2, 5)
    alone = replace(right, extra=b"").format()
    assert decide(
        [alone, right.extra],
        [right.extra, alone],
        [right.format(), b"entry 3"],
        [alone],
        [right.extra],
        [],
        [alone, alone],
        [alone, b"a", b"b"],
    ) == [
        ["good"],
        ["good"],
        ["bad", "other_root"],
        ["unread", "needs_entry"],
        ["unread", "needs_proof"],
        ["unread", "which_files"],
        ["unread", "which_files"],
        ["unread", "which_files"],
    ]


def test_a_checkpoint_counts_under_the_keys_that_are_named_and_no_other(decide):
    right = proof(2, 5)
    text = right.checkpoint_note.partition(b"\n\n")[0].decode() + "\n"
    foreign = text.replace(LOG.name, FOREIGN.name)
    strange = Signer.from_seed(LOG.name, bytes(range(32)))
    forged = right.checkpoint_note.replace(b"\n5\n", b"\n6\n")
    cosigned = add_cosignatures(right.checkpoint_note, [WITNESS.cosign(text, 1_740_000_000)])
    notes = [
        cosigned,
        sign(foreign, FOREIGN),
        sign(text, strange),
        sign(text, FOREIGN),
        sign(foreign, LOG),
        forged,
    ]
    cases = [[replace(right, checkpoint_note=note).format()] for note in notes]
    assert decide(*cases) == [
        ["good"],
        ["bad", "not_signed", "other_log"],
        ["bad", "not_signed"],
        ["bad", "not_signed"],
        ["bad", "not_signed", "other_log"],
        ["bad", "bad_signature"],
    ]
    assert decide([right.format()], keys=[OTHER]) == [["bad", "not_signed"]]
    assert decide([right.format()], keys=[OTHER, VKEY]) == [["good"]]
    assert decide([right.format()], keys=[]) == [["bad", "not_signed", "other_log"]]


def test_a_browser_without_ed25519_says_that_the_signature_was_not_checked(decide):
    right = proof(2, 5)
    wrong = replace(right, extra=b"another")
    found = decide([right.format()], [wrong.format()], old=True)
    assert found == [["unchecked", "not_checked_here"], ["bad", "not_checked_here", "other_root"]]


def test_a_plus_within_the_base64_of_a_key_divides_nothing(decide):
    seeds = (bytes([number]) * 32 for number in range(256))
    signers = (Signer.from_seed(LOG.name, seed) for seed in seeds)
    signer = next(each for each in signers if each.verifier.format().count("+") > 3)
    right = proof(2, 5)
    text = right.checkpoint_note.partition(b"\n\n")[0].decode() + "\n"
    signed = replace(right, checkpoint_note=sign(text, signer))
    assert decide([signed.format()], keys=[signer.verifier.format()]) == [["good"]]


def test_keys_are_read_in_one_spelling(decide):
    name, id_, blob = VKEY.split("+", 2)
    wrong = [
        f"{name}+00000000+{blob}",
        f"{name}x+{id_}+{blob}",
        f"{name}+{id_}",
        f"{name}+{id_}+{blob[:-4]}",
        WITNESS.verifier.format(),
        "",
    ]
    for key in wrong:
        (found,) = decide([proof(0, 1).format()], keys=[key])
        assert found[0] == "unread", key
        assert found[1] in ("bad_key", "bad_file")


def test_files_that_are_no_proof_are_not_read(decide):
    right = proof(2, 5).format()
    cases = [
        right.replace(b"@v1", b"@v2"),
        right.replace(b"index 2", b"index 02"),
        right.replace(b"index 2", b"index -2"),
        right.replace(b"index 2\n", b"index 2\n!\n"),
        right.replace(b"index 2\n", b"index 2\nAAAA\n"),
        right.replace(b"\n5\n", b"\n05\n"),
        right.replace(b"\n5\n", b"\n5\n5\n"),
        right.replace("\u2014 ".encode(), b"- "),
        right[:-1],
        right.replace(b"index 2", b"index \xff"),
        right.partition(b"\n\n")[0],
        b"c2sp.org/tlog-proof@v1\n",
        b'{"kind":"kashi-receipt/v1"}',
        b'{"kind":"kashi-receipt/v1",',
    ]
    found = decide(*([case] for case in cases))
    assert [verdict for verdict, _ in found] == ["unread"] * len(cases)
    assert {code for _, code in found} <= {"bad_file", "needs_proof"}


def test_a_stored_receipt_is_compared_with_the_entry_of_its_batch(decide):
    writer = opened()
    numbers = [use(writer, "r1"), use(writer, "r2")]
    first, second = (kept(writer, number) for number in numbers)
    proofless = replaced(first, proof=None)
    cases = [
        first.format(),
        second.format(),
        replaced(first, receipt=second.receipt),
        replaced(first, envelope=second.envelope),
        replaced(first, envelope=first.envelope + " "),
        replaced(first, receipt=first.receipt + " "),
        replaced(first, proof=json.loads(second.format())["proof"]),
        proofless,
    ]
    assert decide(*([case] for case in cases)) == [
        ["good"],
        ["good"],
        *([["bad", "not_as_entered"]] * 5),
        ["unread", "no_proof"],
    ]


def replaced(stored, **changes):
    """Return a stored receipt's file with other members; None takes one away."""
    fields = json.loads(stored.format()) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def test_the_page_has_words_for_every_code_and_every_input():
    script = page._read("verify.js").decode()
    raised = re.findall(r'(?:Unreadable|bad|unchecked)\((?:[^"()]* \? )?"(\w+)"', script)
    other = re.findall(r'"(needs_proof)" : "(which_files)"', script)
    outcomes = ["good", "bad", "unchecked", "computed"]
    shown = re.findall(r'\["(\w+)", [^"]', script)
    digests = ["payload", "envelope", "receipt"]
    template = page._ENVIRONMENT.loader.get_source(page._ENVIRONMENT, "verify.html")[0]
    assert set(re.findall(r'"(\w+)": w\.', template)) == {
        *raised,
        *other[0],
        *(outcome for outcome in outcomes if outcome != "computed"),
        "unread",
        *(f"is_{outcome}" for outcome in outcomes),
        *(f"input_{name}" for name in (*shown, *digests)),
    }


def test_the_script_is_small():
    assert len(page._read("verify.js")) <= 20_000
