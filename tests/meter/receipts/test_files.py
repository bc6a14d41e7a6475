"""Stored receipts of a writer: each part of an honest file is checked, without a ledger."""

import base64
import json
import re

import msgspec
import pytest

from ledger.cosign import Cosigner, add_cosignatures
from ledger.errors import CannotCheck, WeakKey
from ledger.note import claimed_checkpoint
from ledger.quorum import TrustPolicy
from meter.auditor import receipt_check, receipts
from meter.auditor.receipt_check import Trust, policy_of
from meter.wire import stored_receipt
from meter.wire.stored_receipt import BadReceiptFile
from tests.books import public_text, signer, void
from tests.proving import LOG, changed, kept, opened, outcomes, use, verdict
from tests.vectors import curve

WITNESS = Cosigner.from_seed("witness.test/ours", bytes(range(32)))


# Right files


def test_every_part_of_an_honest_file_is_checked_and_good(ledger, numbers):
    for number in numbers:
        file = kept(ledger, number)
        assert stored_receipt.parse(file.format()) == file
        found = verdict(file)
        assert outcomes(found) == {}
        assert found.conclusion == "good"
        assert [check.name for check in found.checks] == [
            *("receipt", "checkpoint", f"entry {number}", "entry 0", "entry 3", "batch"),
            *("growth", "receipt's signature", "provider's signature"),
        ]


def test_a_batch_of_voids_and_an_empty_one_are_proved_like_others(ledger):
    writer = ledger.twin()
    voided, empty = len(writer.leaves), len(writer.leaves) + 2
    writer.post(voids=[void("r1")])
    writer.post()
    for number in (voided, empty):
        assert outcomes(verdict(kept(writer, number))) == {}


def test_a_group_of_batches_that_build_on_one_tree_is_proved():
    writer = opened()
    with writer.group():
        numbers = [use(writer, f"r{n}") for n in range(5)]
    assert [outcomes(verdict(kept(writer, number))) for number in numbers] == [{}] * 5


# Missing parts


def test_a_receipt_without_a_proof_is_not_proved_and_says_what_was_checked(ledger, numbers):
    file = msgspec.structs.replace(kept(ledger, numbers[0]), proof=msgspec.UNSET)
    assert stored_receipt.parse(file.format()) == file
    found = verdict(file)
    assert found.conclusion == "not_checked"
    assert outcomes(found) == dict.fromkeys(
        [
            *("checkpoint", "batch", "growth"),
            *("receipt's signature", "provider's signature"),
        ],
        "unchecked",
    )
    keys = {"receipt_key": signer("receipts"), "provider_key": signer("pcl-1")}
    raw = {name: base64.b64decode(public_text(key)) for name, key in keys.items()}
    found = receipt_check.check(file, Trust([policy_of([LOG])], **raw))
    assert set(outcomes(found)) == {"checkpoint", "batch", "growth"}
    assert found.conclusion == "not_checked"
    raw = dict(zip(raw, reversed(raw.values()), strict=True))
    wrong = outcomes(receipt_check.check(file, Trust([policy_of([LOG])], **raw)))
    assert wrong["receipt's signature"] == "bad_receipt_signature"
    assert wrong["provider's signature"] == "bad_signature"


def test_without_the_entries_of_the_keys_the_batch_is_proved_and_its_signatures_are_not(
    ledger, numbers
):
    file = kept(ledger, numbers[0])
    proof = msgspec.structs.replace(file.proof, entries=file.proof.entries[:1])
    cut = msgspec.structs.replace(file, proof=proof)
    both = {"receipt's signature": "unchecked", "provider's signature": "unchecked"}
    # Whatever stands there as a signature, nobody looked at it.
    header = 'keyid="receipt-1", sig=:' + "A" * 86 + "==:"
    for each in (cut, msgspec.structs.replace(cut, signature=header)):
        found = verdict(each)
        assert (found.conclusion, found.proved, outcomes(found)) == ("not_checked", True, both)
    raw = {"receipt_key": signer("receipts"), "provider_key": signer("pcl-1")}
    keys = {name: base64.b64decode(public_text(key)) for name, key in raw.items()}
    for name, left in (("receipt_key", "provider's"), ("provider_key", "receipt's")):
        trust = Trust([policy_of([LOG])], **{name: keys[name]})
        found = receipt_check.check(cut, trust)
        assert (found.conclusion, found.unsigned) == ("not_checked", [f"{left} signature"])
    trust = Trust([policy_of([LOG])], **keys)
    assert receipt_check.check(cut, trust).conclusion == "good"
    forged = msgspec.structs.replace(cut, signature=header)
    assert receipt_check.check(forged, trust).conclusion == "violated"
    proof = msgspec.structs.replace(file.proof, entries=file.proof.entries[1:])
    found = verdict(msgspec.structs.replace(file, proof=proof))
    assert (found.conclusion, outcomes(found)) == ("not_checked", {"batch": "unchecked"})


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"{}", b"[]", b"nonsense", b"\xff", b"[" * 100_000, b'{"kind":"kashi-receipt/v1"}'),
        b'{"kind":"kashi-receipt/v2","envelope":"","receipt":"","signature":""}',
        b'{"kind":"kashi-receipt/v1","envelope":"\\ud800","receipt":"","signature":""}',
        b'{"kind":"kashi-receipt/v1","envelope":"","receipt":"","signature":"","proof":[]}',
        b'{"kind":"kashi-receipt/v1","envelope":"","receipt":"","signature":"","more":1}',
    ],
)
def test_what_is_no_stored_receipt_is_told_so(data):
    with pytest.raises(stored_receipt.BadReceiptFile):
        stored_receipt.parse(data)


def test_a_key_twice_in_any_object_of_a_stored_receipt_is_refused(ledger, numbers):
    text = kept(ledger, numbers[0]).format().decode()
    # The texts in it hold escaped quotes, so this finds only its own objects.
    objects = [match.end() - 1 for match in re.finditer(r'\{"', text)]
    assert len(objects) == 2 + 3  # the file, its proof and three entries
    for start in objects:
        _, end = json.JSONDecoder().raw_decode(text, text.index(":", start) + 1)
        twice = f"{text[:end]},{text[start:]}"
        with pytest.raises(stored_receipt.BadReceiptFile, match="a key occurs twice"):
            stored_receipt.parse(twice.encode())


def test_a_key_twice_in_the_receipt_itself_is_refused(ledger, numbers):
    file = kept(ledger, numbers[0])
    bent = file.receipt.replace('"seq":', '"seq":1,"seq":', 1)
    found = verdict(msgspec.structs.replace(file, receipt=bent))
    assert outcomes(found)["receipt"] == "bad_receipt"
    assert "a key occurs twice" in found.checks[0].detail


# Witnesses


def test_a_policy_asks_for_witnesses_of_the_checkpoint(ledger, numbers):
    policy = TrustPolicy.parse(
        f"log {LOG.format()}\nwitness north {WITNESS.verifier.format()}\nquorum north\n"
    )
    bare = kept(ledger, numbers[0])
    found = receipt_check.check(bare, Trust([policy]))
    assert outcomes(found)["checkpoint"] == "unchecked"
    assert found.conclusion == "not_checked"
    note = bare.proof.checkpoint.encode()
    line = WITNESS.cosign(claimed_checkpoint(note).format(), 1_740_801_600)
    cosigned = kept(ledger, numbers[0], add_cosignatures(note, [line]))
    found = receipt_check.check(cosigned, Trust([policy_of([LOG]), policy]))
    assert outcomes(found) == {}
    assert "cosigned by north" in found.checks[1].detail
    bent = add_cosignatures(note, [line.replace(line[-20:], changed(line[-20:], 3))])
    found = receipt_check.check(kept(ledger, numbers[0], bent), Trust([policy]))
    assert outcomes(found)["checkpoint"] == "bad_note"


# Weak keys, and large files


@pytest.mark.parametrize("named", ["receipt_key", "provider_key"])
def test_a_weak_key_that_a_caller_trusts_is_refused(ledger, numbers, tmp_path, named):
    file = tmp_path / "kept.json"
    file.write_bytes(kept(ledger, numbers[0]).format())
    weak = base64.b64encode(curve.encode(curve.IDENTITY)).decode()
    with pytest.raises(WeakKey):
        receipts.verify(file, receipts.Known((LOG.format(),), **{named: weak}))


def test_a_file_of_the_largest_size_is_read_and_no_larger_one(tmp_path, monkeypatch):
    monkeypatch.setattr(receipts, "MAX_FILE_BYTES", 100)
    file = tmp_path / "kept.json"
    file.write_bytes(b" " * 100)
    with pytest.raises(BadReceiptFile):
        receipts.read(file)
    file.write_bytes(b" " * 101)
    with pytest.raises(CannotCheck, match="has more than 100 bytes"):
        receipts.read(file)
