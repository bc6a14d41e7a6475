"""Receipts and envelopes: what they prove to an auditor, and how wrong ones are found."""

import base64
from hashlib import sha256
from typing import Any

import pytest

from ledger.errors import Violation
from ledger.tlog import Tree
from meter.auditor.replay import Audit, Gap
from meter.wire import dsse
from meter.wire.receipt import parse_receipt
from tests.auditing import (
    assert_found,
    audited,
    changed,
    found,
    receipt_result,
    tree_of,
    usage,
    world,
)
from tests.books import signer
from tests.writer import Writer, with_receipt

# What receipts prove


def test_a_batch_left_out_is_a_gap_and_its_receipt_proves_it():
    writer = world()
    writer.post([usage("r1")])
    twin = writer.twin()
    twin.post([usage("r2")])
    writer.post([usage("r3")], seq=3)
    report, audit = audited(writer)
    assert report.ok
    assert audit.gaps() == [Gap("pcl", "main", 2, 2)]
    detail = proved(audit, "batch_left_out", twin, tree_of(writer))
    assert "stream main, number 2" in detail


def proved(audit: Audit, code: str, other: Writer, tree: Tree) -> str:
    """The last receipt of another writer proves a change; in what words."""
    with pytest.raises(Violation) as violation:
        audit.check_receipt(other.receipts[-1], other.signatures[-1], tree)
    assert violation.value.code == code
    return violation.value.detail


def test_the_last_batch_left_out_is_proved_by_its_receipt_once_the_ledger_goes_on():
    writer = world()
    writer.post([usage("r1")])
    twin = writer.twin()
    twin.post([usage("r2")])
    _, audit = audited(writer)
    assert audit.gaps() == []
    # Until then, it may be that the ledger was looked at before the batch came.
    proved(audit, "newer_receipt", twin, tree_of(writer))
    writer.post([usage("r3")])
    _, audit = audited(writer)
    proved(audit, "batch_left_out", twin, tree_of(writer))


def test_another_batch_under_the_number_of_a_receipt_is_proved():
    writer = world()
    twin = writer.twin()
    twin.post([usage("r1")])
    writer.post([usage("r2")])
    _, audit = audited(writer)
    proved(audit, "batch_left_out", twin, tree_of(writer))


def test_a_fork_is_proved_by_a_receipt_of_the_other_branch():
    writer = world()
    twin = writer.twin()
    twin.post([usage("r1")])
    twin.post([usage("r2")])
    writer.post([usage("r3")])
    writer.post([usage("r2")])
    _, audit = audited(writer)
    proved(audit, "forked", twin, tree_of(writer))


def test_a_receipt_from_beyond_the_end_accuses_nobody_yet():
    writer = world()
    twin = writer.twin()
    for number in range(3):
        twin.post([usage(f"r{number}")])
        _, audit = audited(writer)
        detail = proved(audit, "newer_receipt", twin, tree_of(writer))
        assert detail.endswith(f"and the checkpoint of {len(writer.leaves)} entries")
    # A later entry may name the key that signed it.
    twin.signatures[-1] = dsse.ReceiptSigner("receipt-2", signer("other")).sign(twin.receipts[-1])
    proved(audit, "newer_receipt", twin, tree_of(writer))


def test_a_receipt_from_beyond_the_end_proves_a_fork_before_it():
    writer = world()
    twin = writer.twin()
    twin.post([usage("r1")])
    writer.post([usage("r2")])
    twin.post([usage("r3")])
    _, audit = audited(writer)
    assert twin.log.size > len(writer.leaves) >= parse_receipt(twin.receipts[-1]).before.size
    proved(audit, "forked", twin, tree_of(writer))


@pytest.mark.parametrize(
    "signature", ["", "nonsense", 'keyid="receipt-1", sig=:AAAA:', f'keyid="é", sig=:{"A" * 86}==:']
)
def test_a_receipt_with_a_malformed_signature_proves_nothing(signature):
    writer = world()
    writer.post([usage("r1")])
    _, audit = audited(writer)
    writer.signatures[-1] = signature
    proved(audit, "receipt_not_signed", writer, tree_of(writer))


def test_a_receipt_that_another_key_signed_proves_nothing():
    writer = world()
    writer.post([usage("r1")])
    _, audit = audited(writer)
    writer.signatures[-1] = dsse.ReceiptSigner("receipt-1", signer("other")).sign(
        writer.receipts[-1]
    )
    proved(audit, "receipt_not_signed", writer, tree_of(writer))


@pytest.mark.parametrize("receipt", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_signed_bytes_that_are_no_receipt_prove_nothing(receipt):
    writer = world()
    writer.receipts, writer.signatures = [receipt], [writer.receipt_signer.sign(receipt)]
    _, audit = audited(world())
    proved(audit, "bad_receipt_file", writer, Tree())


def test_before_its_first_entry_a_ledger_says_nothing_of_receipts():
    writer = world()
    writer.post([usage("r1")])
    proved(Audit(), "newer_receipt", writer, Tree())


# Receipts and envelopes


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": "72.01"},
        {"granted": "36.01"},
        {"withheld": "0.01"},
        {"by_year": {"2024": "36.00"}},
        {"bound": ["coupon"]},
    ],
)
def test_a_receipt_with_a_wrong_figure_is_found(changes):
    writer = world()
    writer.tell_batch = receipt_result(**changes)
    with found(writer, "wrong_receipt", "the receipt says"):
        writer.post([usage("r1")])


def test_a_receipt_that_names_another_tree_is_found():
    writer = world()
    root = base64.b64encode(bytes(32)).decode()
    writer.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt["before"].update(root=root)
    )
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


def test_a_receipt_that_repeats_its_results_is_found():
    writer = world()
    writer.tell_batch = lambda decided: with_receipt(
        decided, lambda receipt: receipt.update(results=receipt["results"] * 2)
    )
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


@pytest.mark.parametrize(
    "receipt",
    [
        *(b"", b"5", b"[]", b"\xff", b"[" * 100_000),
        *(b'{"results":5,"voids":{}}', b'{"voids":[],"results":null}', b'{"voids":[{}]}'),
    ],
)
def test_bytes_that_are_no_receipt_are_found(receipt):
    writer = world()
    signature = writer.receipt_signer.sign(receipt).encode()
    writer.tell = changed("batch", receipt=sha256(receipt).hexdigest())
    writer.tell_files = lambda files: [files[0], receipt, signature]
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


@pytest.mark.parametrize(("keyid", "key"), [("receipt-1", "other"), ("receipt-2", "receipts")])
def test_a_receipt_signed_by_another_key_is_found(keyid, key):
    writer = world()
    writer.receipt_signer = dsse.ReceiptSigner(keyid, signer(key))
    with found(writer, "bad_receipt_signature"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("signature", [b"", b"nonsense", b"\xff\x00"])
def test_bytes_that_are_no_signature_of_a_receipt_are_found(signature):
    writer = world()
    writer.tell_files = lambda files: [*files[:2], signature]
    with found(writer, "bad_receipt_signature"):
        writer.post([usage("r1")])


def test_a_receipt_of_which_the_entry_does_not_tell_is_found():
    writer = world()
    writer.tell = changed("batch", receipt="0" * 64)
    with found(writer, "wrong_receipt", "names"):
        writer.post([usage("r1")])


def another_envelope(writer: Writer, keyid: str = "pcl-1", **changes: Any) -> bytes:
    payload = writer.payload([usage("r1", **changes)])
    return dsse.seal(dsse.BATCH_TYPE, payload, keyid, signer(keyid))


def test_another_envelope_rightly_signed_is_found():
    writer = world()
    other = another_envelope(writer, hours=2)
    writer.tell_files = lambda files: [other, *files[1:]]
    with found(writer, "wrong_envelope"):
        writer.post([usage("r1")])


def test_another_envelope_rightly_signed_of_which_the_entry_tells_is_found():
    writer = world()
    other = another_envelope(writer, hours=2)
    writer.tell_files = lambda files: [other, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(other).hexdigest())
    with found(writer, "wrong_receipt"):
        writer.post([usage("r1")])


def test_the_same_payload_under_another_key_than_the_entry_says_is_found():
    writer = world()
    writer.key("pcl-2")
    other = another_envelope(writer, "pcl-2")
    writer.tell_files = lambda files: [other, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(other).hexdigest())
    with found(writer, "not_as_decided", "by is 'pcl-1', not 'pcl-2'"):
        writer.send(another_envelope(writer))


@pytest.mark.parametrize("envelope", [b"", b"{}", b"[" * 100_000, b"\xff"])
def test_bytes_that_are_no_envelope_are_found(envelope):
    writer = world()
    writer.tell_files = lambda files: [envelope, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(envelope).hexdigest())
    with found(writer, "not_allowed", "bad_envelope"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("payload", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"log":"x"}'])
def test_a_signed_payload_that_is_no_batch_is_found(payload):
    writer = world()
    envelope = dsse.seal(dsse.BATCH_TYPE, payload, "pcl-1", signer("pcl-1"))
    writer.tell_files = lambda files: [envelope, *files[1:]]
    writer.tell = changed("batch", envelope=sha256(envelope).hexdigest())
    with found(writer, "not_allowed", "bad_batch"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_batch_without_its_three_files_is_found(count):
    writer = world()
    writer.tell_files = lambda files: [*files, b"more"][:count]
    with found(writer, "missing_attachment" if count < 3 else "extra_attachment"):
        writer.post([usage("r1")])


@pytest.mark.parametrize("back", [1, 4, 12])
def test_a_file_beside_an_entry_that_is_no_batch_is_found(back):
    writer = world()
    writer.post([usage("r1")])
    number = len(writer.leaves) - back
    writer.files[number] = [b"more"]
    assert_found(writer, "extra_attachment", number)
