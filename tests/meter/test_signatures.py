"""The signatures of batches and receipts, as a process of their own checks them, and later ones."""

import pytest

from ledger.errors import Violation
from ledger.tlog import Tree, leaf_hash
from ledger.verify import Check
from meter.auditor.replay import Audit, Signatures
from tests.auditing import audited, honest_history, usage, world
from tests.writer import Writer


def checked(writer: Writer) -> Signatures:
    """Show all entries of a ledger to a process that checks all signatures."""
    signatures = Signatures()
    for number, data in enumerate(writer.leaves):
        signatures.entry(number, data, None, writer.files.get(number, []), Tree())
    signatures.finish()
    return signatures


def test_each_batch_has_a_signature_and_its_receipt_as_many_as_keys_sign():
    """The ledger has every kind of entry, and keys that come and go."""
    writer = honest_history()
    batches = [number for number, each in enumerate(writer.entries) if each.kind == "batch"]
    signed = sum(writer.files[number][2].count(b"keyid=") for number in batches)
    assert len(batches) > 5
    every = Check("signatures", len(batches) + signed)
    assert checked(writer).checks == [every]
    report, _ = audited(writer)
    assert [each for each in report.checks if each.name == every.name] == [every]


def test_a_signature_of_another_batch_is_found():
    writer = world()
    for number in range(2):
        writer.post([usage(f"r{number}")])
    first, second = (n for n, each in enumerate(writer.entries) if each.kind == "batch")
    envelope, receipt, _ = writer.files[second]
    begin, _, _ = envelope.rpartition(b'"sig":')
    _, *theirs = writer.files[first][0].rpartition(b'"sig":')
    for files, code in (
        ([begin + b"".join(theirs), *writer.files[second][1:]], "wrong_envelope"),
        ([envelope, receipt, writer.files[first][2]], "bad_receipt_signature"),
    ):
        writer.files[second] = files
        with pytest.raises(Violation) as caught:
            checked(writer)
        assert caught.value.code == code


def test_a_receipt_of_the_first_entry_that_a_ledger_has_not_yet_is_newer():
    """Whoever signed it: the key may be named by an entry that comes later."""
    writer = world()
    first = len(writer.leaves)
    writer.post([usage("r1")])
    tree = Tree()
    for number, data in enumerate(writer.leaves):
        code = "newer_receipt" if number <= first else "receipt_not_signed"
        with pytest.raises(Violation) as caught:
            Audit().check_receipt(writer.receipts[-1], writer.signatures[-1], tree)
        assert (number, caught.value.code) == (number, code)
        tree.append(leaf_hash(data))
