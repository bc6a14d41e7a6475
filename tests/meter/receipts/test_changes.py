"""Stored receipts that somebody changed, cut or signed falsely: whatever it is, it is found."""

import base64
import json
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canon
from ledger.note import Checkpoint, Signer, sign
from ledger.tlog import Tree, leaf_hash
from meter.wire import stored_receipt
from meter.wire.stored_receipt import StoredReceipt
from tests.books import properties
from tests.proving import LOG, NEW_LOG, changed, kept, opened, outcomes, tree_of, use, verdict
from tests.vectors import curve
from tests.writer import Writer


def at(*path: str | int) -> Callable[[dict[str, Any], Callable[[Any], Any]], None]:
    def change(file: dict[str, Any], how: Callable[[Any], Any]) -> None:
        *way, last = path
        for step in way:
            file = file[step]
        file[last] = how(file[last])

    return change


def letter(place: int) -> Callable[[str], str]:
    return lambda text: changed(text, place)


def instead(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new)

    return change


def without_last(hashes: list[str]) -> list[str]:
    return hashes[:-1]


def one_more(hashes: list[str]) -> list[str]:
    return [*hashes, base64.b64encode(bytes(32)).decode()]


PROVED = ("proof", "entries")
CHANGES = {
    "a letter of the payload": (at("envelope"), letter(80), "receipt", "bad_batch"),
    "a letter of the provider's signature": (
        at("envelope"),
        letter(-20),
        "batch",
        "not_as_entered",
    ),
    "the key of the envelope": (
        at("envelope"),
        instead("pcl-1", "pcl-2"),
        "batch",
        "not_as_entered",
    ),
    "a space in the envelope": (at("envelope"), lambda text: text + " ", "batch", "not_as_entered"),
    "two signatures": (at("envelope"), instead("[{", "[{},{"), "receipt", "bad_envelope"),
    "the amount in the receipt": (
        *(at("receipt"), instead("288.00", "188.00"), "batch", "not_as_entered"),
    ),
    "a result": (at("receipt"), instead('"r1-x"', '"r1-y"'), "receipt", "bad_receipt"),
    "the digest in the receipt": (
        *(at("receipt"), instead('"batch":"', '"batch":"0'), "receipt", "other_batch"),
    ),
    "the number in the receipt": (
        at("receipt"),
        instead('"seq":1', '"seq":2'),
        "receipt",
        "other_batch",
    ),
    "a space in the receipt": (at("receipt"), lambda text: text + " ", "batch", "not_as_entered"),
    "no JSON in the receipt": (at("receipt"), lambda text: text[:-1], "receipt", "bad_receipt"),
    "a letter of the receipt's signature": (
        *(at("signature"), letter(-20), "receipt's signature", "bad_receipt_signature"),
    ),
    "the key of the receipt": (
        at("signature"),
        instead("receipt-1", "receipt-2"),
        "receipt's signature",
        "bad_receipt_signature",
    ),
    "no header of signatures": (
        *(at("signature"), lambda _: "", "receipt's signature", "bad_receipt_signature"),
    ),
    "the root": (at("proof", "checkpoint"), letter(len(LOG.name) + 9), "checkpoint", "bad_note"),
    "the size": (at("proof", "checkpoint"), instead("\n11\n", "\n12\n"), "checkpoint", "bad_note"),
    "the log's signature": (at("proof", "checkpoint"), letter(-20), "checkpoint", "bad_note"),
    "the log's name": (at("proof", "checkpoint"), letter(0), "checkpoint", "bad_note"),
    "no checkpoint": (at("proof", "checkpoint"), lambda _: "", "checkpoint", "bad_note"),
    "a hash of the batch": (at(*PROVED, 0, "hashes", 1), letter(7), "entry", "bad_proof"),
    "a hash that is no base64": (at(*PROVED, 0, "hashes", 1), lambda _: "!", "entry", "bad_note"),
    "a hash too few": (at(*PROVED, 0, "hashes"), without_last, "entry", "bad_proof"),
    "a hash too many": (at(*PROVED, 0, "hashes"), one_more, "entry", "bad_proof"),
    "the instant in the entry": (
        at(*PROVED, 0, "entry"),
        instead('"at":1', '"at":2'),
        "entry",
        "bad_proof",
    ),
    "the number of the entry": (at(*PROVED, 0, "index"), lambda n: n + 1, None, "bad_proof"),
    "a number that no entry has": (at(*PROVED, 0, "index"), lambda _: -1, None, "bad_proof"),
    "the key in genesis": (
        *(at(*PROVED, 1, "entry"), instead('"receipt-1"', '"receipt-9"'), "entry 0", "bad_proof"),
    ),
    "a hash of genesis": (at(*PROVED, 1, "hashes", 0), letter(7), "entry 0", "bad_proof"),
    "a letter of the provider's key": (
        *(at(*PROVED, 2, "entry"), letter(100), "entry 3", "bad_proof"),
    ),
    "a hash of the growth": (at("proof", "before", 0), letter(7), "growth", "bad_proof"),
    "a hash of the growth too few": (at("proof", "before"), without_last, "growth", "bad_proof"),
    "the tree in the receipt": (
        *(at("receipt"), instead('"size":6', '"size":5'), "growth", "bad_proof"),
    ),
    "the root in the receipt": (
        *(at("receipt"), instead('"root":"', '"root":"A'), "growth", "bad_note"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_in_a_file_is_found(ledger, numbers, name):
    place, how, check, code = CHANGES[name]
    fields = json.loads(kept(ledger, numbers[0]).format())
    place(fields, how)
    found = verdict(stored_receipt.parse(json.dumps(fields).encode()))
    assert found.conclusion == "violated"
    wrong = outcomes(found)
    name_of = {"entry": f"entry {numbers[0]}"}.get(check, check)
    assert code in wrong.values() if check is None else wrong[name_of] == code


def test_no_letter_of_what_proves_a_batch_can_be_changed(ledger, numbers):
    """Every letter of every text; of the checkpoint's signatures only the log's own line."""
    whole = kept(ledger, numbers[0])
    fields = json.loads(whole.format())
    texts = [("envelope",), ("receipt",), ("signature",), ("proof", "checkpoint")]
    texts += [("proof", "entries", n, "entry") for n in range(3)]
    count = 0
    for path in texts:
        text = fields
        for step in path:
            text = text[step]
        for place in range(0, len(text), 3):
            bent = json.loads(whole.format())
            at(*path)(bent, letter(place))
            found = verdict(stored_receipt.parse(json.dumps(bent).encode()))
            # Where a line names another key, nobody knows who signed.
            others = {"not_checked"} if path[-1] == "checkpoint" else set()
            assert found.conclusion in {"violated"} | others, (path, place, outcomes(found))
            count += 1
    assert count > 500


@settings(properties, max_examples=200)
@given(st.data())
def test_whatever_bytes_stand_in_a_file_the_answer_is_a_verdict(ledger, numbers, data):
    whole = kept(ledger, numbers[0])
    spelled = whole.format()
    start = data.draw(st.integers(0, len(spelled)))
    end = data.draw(st.integers(start, min(start + 40, len(spelled))))
    bent = spelled[:start] + data.draw(st.binary(max_size=40)) + spelled[end:]
    try:
        file = stored_receipt.parse(bent)
    except stored_receipt.BadReceiptFile:
        return
    assert file == whole or verdict(file).conclusion != "good"


def test_parts_of_two_files_do_not_make_one(ledger, numbers):
    first, second = (kept(ledger, number) for number in numbers)
    for part in ("envelope", "receipt", "signature", "proof"):
        mixed = msgspec.structs.replace(first, **{part: getattr(second, part)})
        assert verdict(mixed).conclusion == "violated", part
    swapped = msgspec.structs.replace(second, envelope=first.envelope)
    assert outcomes(verdict(swapped))["receipt"] == "other_batch"


def test_another_logs_checkpoint_proves_nothing(ledger, numbers):
    file = kept(ledger, numbers[0])
    assert outcomes(verdict(file, NEW_LOG))["checkpoint"] == "unchecked"
    found = verdict(file, NEW_LOG)
    assert (found.conclusion, found.proved) == ("not_checked", False)


def test_a_log_that_left_the_batch_out_cannot_prove_it(ledger, numbers):
    """The provider holds the receipt; the log now signs another history."""
    other = opened()
    use(other, "r9")
    use(other, "r2")
    entries = {number: other.leaves[number] for number in (numbers[0], 0, 3)}
    whole, note = kept(ledger, numbers[0]), other.checkpoint().encode()
    forged = stored_receipt.with_proof(whole, note, tree_of(other), entries)
    wrong = outcomes(verdict(forged))
    # The lie begins only after the tree that the receipt names.
    assert wrong == {"batch": "not_as_entered"}
    entries[numbers[0]] = ledger.leaves[numbers[0]]
    forged = stored_receipt.with_proof(whole, note, tree_of(other), entries)
    wrong = outcomes(verdict(forged))
    assert wrong == {f"entry {numbers[0]}": "bad_proof", "batch": "unchecked"}


def test_a_log_that_began_anew_before_the_receipt_does_not_grow_from_its_tree(ledger, numbers):
    other = opened("2025-03-01T12:00:01+08:00")
    use(other, "r1")
    entries = {number: other.leaves[number] for number in (numbers[0], 0, 3)}
    whole, note = kept(ledger, numbers[0]), other.checkpoint().encode()
    wrong = outcomes(verdict(stored_receipt.with_proof(whole, note, tree_of(other), entries)))
    assert wrong == {"batch": "not_as_entered", "growth": "bad_proof"}


def signed_lie(ledger: Writer, number: int, origin: str, **lies: tuple[int, Any]) -> StoredReceipt:
    """Return a file by a log of this origin that signed entries with other texts."""
    leaves = list(ledger.leaves)
    for name, (place, value) in lies.items():
        leaves[place] = canon.encode(canon.decode(leaves[place]) | {name: value})
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    liar = Signer.from_seed(origin, sha256(b"log").digest())
    note = sign(Checkpoint(origin, tree.size, tree.root()).format(), liar)
    entries = {each: leaves[each] for each in (number, 0, 3)}
    return stored_receipt.with_proof(kept(ledger, number), note, tree, entries)


def test_what_a_log_signed_falsely_does_not_fit_what_the_file_holds(ledger, numbers):
    number, name = numbers[1], LOG.name
    assert outcomes(verdict(signed_lie(ledger, number, name))) == {}
    for field in ("payload", "envelope", "receipt", "by", "stream", "provider"):
        file = signed_lie(ledger, number, name, **{field: (number, "x")})
        assert outcomes(verdict(file)) == {"batch": "not_as_entered"}, field
    for field in ("seq", "before", "voids", "records", "purchases"):
        file = signed_lie(ledger, number, name, **{field: (number, 9)})
        assert outcomes(verdict(file)) == {"batch": "not_as_entered"}, field
    file = signed_lie(ledger, number, name, provider=(3, "ncl"))
    assert outcomes(verdict(file))["provider's signature"] == "provider_mismatch"
    file = signed_lie(ledger, number, name, keyid=(3, "pcl-2"))
    assert outcomes(verdict(file))["provider's signature"] == "unchecked"
    weak = base64.b64encode(curve.encode(curve.IDENTITY)).decode()
    file = signed_lie(ledger, number, name, public_key=(3, weak))
    assert outcomes(verdict(file))["provider's signature"] == "weak_key"
    named = canon.decode(ledger.leaves[0])["receipt_key"] | {"public_key": weak}
    file = signed_lie(ledger, number, name, receipt_key=(0, named))
    assert outcomes(verdict(file))["receipt's signature"] == "weak_key"
    file = signed_lie(ledger, number, name, kind=(number, "nothing"))
    assert outcomes(verdict(file))[f"entry {number}"] == "bad_entry"


def test_another_log_that_holds_the_same_entries_is_another_log(ledger, numbers):
    file = signed_lie(ledger, numbers[0], "kashi.test/other")
    other = Signer.from_seed("kashi.test/other", sha256(b"log").digest()).verifier
    assert outcomes(verdict(file, other))["checkpoint"] == "other_log"
    assert verdict(file, other).conclusion == "violated"
