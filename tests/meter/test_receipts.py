"""Stored receipts: each part of a file is checked, without a ledger, and years later.

First come files of a writer (`tests/writer.py`), honest and changed in every part; then those of a
real service, and its proofs.
"""

import asyncio
import base64
import json
import re
import shutil
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import canon
from ledger.cosign import Cosigner, add_cosignatures
from ledger.errors import CannotCheck, WeakKey
from ledger.note import Checkpoint, Signer, Verifier, claimed_checkpoint, sign
from ledger.proof import Proof
from ledger.proof import check as check_proof
from ledger.quorum import TrustPolicy
from ledger.tlog import Tree, leaf_hash
from meter import client
from meter.agent.push import Reporter
from meter.api import openapi, post_usage
from meter.api.app import ROUTES
from meter.auditor import receipt_check, receipts
from meter.auditor.receipt_check import Trust, Verdict, policy_of
from meter.cli.main import main
from meter.client import Refused
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.service import admin as services
from meter.wire import dsse, stored_receipt
from meter.wire.stored_receipt import BadReceiptFile, StoredReceipt
from tests.books import log_signer, properties, public_text, record, signer, void
from tests.meter.test_client import NO_PAUSE, usage
from tests.services import (
    HOUR,
    NOON,
    ORIGIN,
    Service,
    full_disk,
    publishing_here,
    serving,
    stored,
)
from tests.vectors import curve
from tests.writer import Writer

LOG = log_signer("log").verifier
NEW_LOG = log_signer("log-2").verifier
WITNESS = Cosigner.from_seed("witness.test/ours", bytes(range(32)))


def opened(now: str = NOON) -> Writer:
    writer = Writer(now)
    writer.activate()
    writer.provider()
    writer.key()
    writer.enterprise()
    writer.contract("A")
    return writer


def use(writer: Writer, id_: str) -> int:
    """Post a batch of one good record and one refused; returns the number of its entry."""
    number = len(writer.leaves)
    writer.post([record(id_, "A", *HOUR, 64_000), record(f"{id_}-x", "nobody", *HOUR, 1_000)])
    return number


def tree_of(writer: Writer) -> Tree:
    tree = Tree()
    for leaf in writer.leaves:
        tree.append(leaf_hash(leaf))
    return tree


def kept(writer: Writer, number: int, note: bytes | None = None) -> StoredReceipt:
    """Return the file that the service would send of this batch, as the ledger is now."""
    envelope, receipt, signature = writer.files[number]
    stored_one = stored_receipt.store(envelope, receipt, signature.decode())
    signers = [keyid for keyid, _ in dsse.parse_signature_header(signature.decode())]
    numbers = [number, writer.state.keys["pcl-1"].entry]
    numbers += [writer.state.receipt_keys[keyid].entry for keyid in signers]
    entries = {each: writer.leaves[each] for each in numbers}
    note = note or writer.checkpoint().encode()
    return stored_receipt.with_proof(stored_one, note, tree_of(writer), entries)


def verdict(file: StoredReceipt, *keys: Verifier, later: Proof | None = None) -> Verdict:
    return receipt_check.check(file, Trust([policy_of(keys or [LOG])]), later)


def outcomes(found: Verdict) -> dict[str, str]:
    """Return the failed checks by name, with their code or `unchecked`."""
    return {each.name: each.code or each.outcome for each in found.checks if each.outcome != "good"}


def proof_of(writer: Writer, number: int) -> Proof:
    tree = tree_of(writer)
    hashes = tuple(tree.inclusion_proof(number, tree.size))
    return Proof(number, hashes, writer.checkpoint().encode())


@pytest.fixture(scope="module")
def ledger() -> Writer:
    """Two batches, and entries before and after them."""
    writer = opened()
    use(writer, "r1")
    use(writer, "r2")
    writer.issue(2025, "1000.00")
    return writer


@pytest.fixture(scope="module")
def numbers(ledger: Writer) -> list[int]:
    return [number for number, entry in enumerate(ledger.entries) if entry.kind == "batch"]


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


# Changed files


def changed(text: str, place: int) -> str:
    """Change a letter in a text of base64 or JSON."""
    letter = "B" if text[place] != "B" else "C"
    return text[:place] + letter + text[place + 1 :]


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


# Years later


def rotated(ledger: Writer) -> Writer:
    """The same ledger, with its log key and receipt key replaced since."""
    writer = ledger.twin()
    writer.add_log_key()
    writer.add_receipt_key()
    writer.retire_log_key()
    writer.retire_receipt_key()
    use(writer, "r3")
    return writer


def test_a_receipt_of_the_old_keys_is_proved_under_the_new_log_key(ledger, numbers):
    later = rotated(ledger)
    for number in numbers:
        file = kept(later, number)
        assert outcomes(verdict(file, NEW_LOG)) == {}
        assert outcomes(verdict(file, LOG, NEW_LOG)) == {}
        # Who knows only a key that was rotated away is told so, and nobody is accused.
        found = verdict(file, LOG)
        assert (found.conclusion, found.checks[1].outcome) == ("not_checked", "unchecked")
        assert found.checks[1].detail == f"{NEW_LOG.label} signed it, and no key that you name"
    newest = max(n for n, entry in enumerate(later.entries) if entry.kind == "batch")
    assert outcomes(verdict(kept(later, newest), NEW_LOG)) == {}


def test_a_receipt_of_the_overlap_bears_both_signatures(ledger):
    writer = ledger.twin()
    writer.add_receipt_key()
    number = use(writer, "r3")
    file = kept(writer, number)
    assert len(dsse.parse_signature_header(file.signature)) == 2
    header = openapi.describe(ROUTES)["components"]["headers"]["Kashi-Signature"]
    assert re.search(header["schema"]["pattern"], file.signature)
    assert not re.search(header["schema"]["pattern"], file.signature + ", ")
    assert outcomes(verdict(file)) == {}
    for place in (60, -20):
        bent = msgspec.structs.replace(file, signature=changed(file.signature, place))
        assert outcomes(verdict(bent)) == {"receipt's signature": "bad_receipt_signature"}


def test_a_later_proof_holds_an_old_file_against_a_new_checkpoint(ledger, numbers):
    old, later = kept(ledger, numbers[0]), rotated(ledger)
    new = proof_of(later, numbers[0])
    # With both keys, both checkpoints count; with the new one alone, only the new checkpoint.
    assert outcomes(verdict(old, LOG, NEW_LOG, later=new)) == {}
    found = verdict(old, NEW_LOG, later=new)
    assert (found.conclusion, found.proved) == ("not_checked", True)
    assert set(outcomes(found).values()) == {"unchecked"}
    assert outcomes(found).keys() >= {"checkpoint", "growth", "receipt's signature"}
    raw = {"receipt_key": signer("receipts"), "provider_key": signer("pcl-1")}
    keys = {name: base64.b64decode(public_text(key)) for name, key in raw.items()}
    named = receipt_check.check(old, Trust([policy_of([NEW_LOG])], **keys), new)
    assert named.conclusion == "good"
    found = verdict(old, LOG, later=new)
    assert outcomes(found) == {"later checkpoint": "unchecked"}
    assert found.conclusion == "good"


def test_a_later_proof_of_anything_else_is_found(ledger, numbers):
    old, later = kept(ledger, numbers[0]), rotated(ledger)
    wrong = verdict(old, LOG, NEW_LOG, later=proof_of(later, numbers[1]))
    assert outcomes(wrong)["later checkpoint"] == "other_entry"
    new = proof_of(later, numbers[0])
    bent = Proof(new.index, (bytes(32), *new.hashes[1:]), new.checkpoint_note)
    assert outcomes(verdict(old, LOG, NEW_LOG, later=bent)) == {"later checkpoint": "bad_proof"}
    without = msgspec.structs.replace(old, proof=msgspec.UNSET)
    assert verdict(without, NEW_LOG, later=new).conclusion == "not_checked"


def test_two_trees_of_one_size_are_a_fork():
    first, second = opened(), opened()
    number = use(first, "r1")
    assert use(second, "r1") == number
    for writer, amount in ((first, "1.00"), (second, "2.00")):
        writer.issue(2025, amount)
    later = proof_of(second, number)
    wrong = outcomes(verdict(kept(first, number), later=later))
    assert wrong == {"later checkpoint": "forked"}


# A running service


async def token_of(service: Service, role: str, subject: str = "") -> str:
    identity = Identity(f"{role}-{subject or 'x'}", role, subject)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, service.dsn)
        return await services.add_token(service.folder, identity)


def vkey_of(service: Service) -> str:
    return service.folder.log_vkey.read_text().strip()


async def kashi(*words: object) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [str(word) for word in words])


async def test_a_proof_of_every_published_entry_is_for_anyone(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        for seq in range(1, 31):
            await service.usage([record(f"r{seq}:{n}", "A", *HOUR, 10) for n in range(9)], seq=seq)
        size = await service.published()
        assert size > 256
        authority = service.http.headers.pop("Authorization")
        log = Verifier.parse(vkey_of(service))
        entries = await stored(database)
        note = (service.folder.log / "checkpoint").read_bytes()
        for number in (0, 1, 254, 255, 256, 257, size - 1):
            answer = await service.get(f"/v1/entries/{number}/proof")
            assert answer.status == 200, answer.body
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            proof = Proof.parse(answer.body)
            assert (proof.index, proof.checkpoint_note) == (number, note)
            assert check_proof(proof, entries[number], log).checkpoint.size == size
        for path, code in ((f"{size}", "not_found"), ("x", "malformed"), ("-1", "malformed")):
            assert (await service.get(f"/v1/entries/{path}/proof")).code == code
        service.http.headers["Authorization"] = authority
        await service.usage([], seq=99)
        await service.published()
        old, new = proof, Proof.parse((await service.get(f"/v1/entries/{size - 1}/proof")).body)
        assert claimed_checkpoint(new.checkpoint_note).size == size + 1
        assert old.index == new.index == size - 1


async def test_many_who_ask_for_proofs_while_batches_come_all_get_good_ones(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        log = Verifier.parse(vkey_of(service))

        async def post(seq: int) -> tuple[int, bytes]:
            records = [record(f"r{seq}:{n}", "A", *HOUR, 10) for n in range(12)]
            data = service.envelope(records, seq=seq)
            answer = await service.post("/v1/usage?wait=published", data, None)
            number = answer.json["entries"]["first"]
            return number, (await service.get(f"/v1/entries/{number}/proof")).body

        proved = await asyncio.gather(*(post(seq) for seq in range(1, 41)))
        entries = await stored(database)
        assert len({number for number, _ in proved}) == 40
        for number, proof in proved:
            assert check_proof(Proof.parse(proof), entries[number], log).checkpoint.size > number


async def test_who_waits_for_publishing_gets_the_same_answer_when_a_checkpoint_covers_it(
    database, tmp_path
):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        records = [record(f"r:{n}", "A", *HOUR, 1_000) for n in range(20)]
        data = service.envelope(records)
        waited = await service.post("/v1/usage?wait=published", data, None)
        note = (service.folder.log / "checkpoint").read_bytes()
        place = waited.json["entries"]
        assert claimed_checkpoint(note).size >= place["first"] + place["count"]
        plain = await service.post("/v1/usage", data, None)
        again = await service.post("/v1/usage?wait=published", data, None)
        for answer in (plain, again):
            assert (answer.status, answer.body) == (200, waited.body)
            assert answer.headers["Kashi-Signature"] == waited.headers["Kashi-Signature"]
        size = service.intake.watermark.size
        for query in ("wait=committed", "wait=", "wait", "wait=published&wait=published", "x=1"):
            refused = await service.post(f"/v1/usage?{query}", service.envelope(seq=2), None)
            assert (refused.status, refused.code) == (400, "malformed"), query
        assert service.intake.watermark.size == size
        empty = await service.post("/v1/usage?wait=published", service.envelope(seq=2), None)
        assert empty.json["entries"] == {"first": size, "count": 1}


async def test_while_publishing_is_held_up_a_batch_is_committed_and_its_proof_comes_later(
    database, tmp_path, monkeypatch
):
    publishing_here(monkeypatch)
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.05)
    monkeypatch.setattr(post_usage, "PUBLISHED_SECONDS", 0.3)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        with full_disk(monkeypatch):
            for _ in range(2):
                answer = await service.post("/v1/usage?wait=published", data, None)
                assert (answer.status, answer.code) == (503, "not_published")
                assert answer.headers["Retry-After"] == "1"
            committed = await service.post("/v1/usage", data, None)
            assert committed.json["results"][0]["granted"] == "144.00"
            number = committed.json["entries"]["first"]
            digest = committed.json["batch"]
            for path in (f"/v1/entries/{number}/proof", f"/v1/batches/{digest}/proof"):
                answer = await service.get(path)
                assert (answer.status, answer.code) == (503, "not_published")
            assert (await client.post(service.url, data)).body == committed.body
        monkeypatch.setattr(post_usage, "PUBLISHED_SECONDS", 10.0)
        answer = await service.post("/v1/usage?wait=published", data, None)
        assert (answer.status, answer.body) == (200, committed.body)
        assert (await service.get(f"/v1/entries/{number}/proof")).status == 200
        assert (await service.balance())["granted"] == "144.00"


async def test_who_waits_when_the_service_ends_is_answered_and_the_batch_is_there(
    database, tmp_path, monkeypatch
):
    publishing_here(monkeypatch)
    monkeypatch.setattr("meter.publish.folder.RETRY_SECONDS", 0.05)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await service.published()
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        with full_disk(monkeypatch):
            size = service.intake.watermark.size
            waiting = asyncio.create_task(service.post("/v1/usage?wait=published", data, None))
            await service.intake.watermark.beyond(size)
            await service.stop()
            answer = await waiting
            assert (answer.status, answer.code) == (503, "not_published")
    async with serving(database, tmp_path) as service:
        answer = await service.post("/v1/usage?wait=published", data, None)
        assert answer.status == 200
        assert answer.json["results"][0]["status"] == "accepted"
        assert (await service.balance())["granted"] == "144.00"


async def test_a_stored_receipt_is_for_its_provider_and_names_nobody_else(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        answer = await service.post(
            "/v1/usage?wait=published", service.envelope([record("r", "A", *HOUR, 64_000)]), None
        )
        path = f"/v1/batches/{answer.json['batch']}/proof"
        own, other, firm = [
            {"Authorization": f"Bearer {await token_of(service, role, subject)}"}
            for role, subject in (
                *(("provider", "pcl"), ("provider", "ncl")),
                ("enterprise", "91440300708461136T"),
            )
        ]
        given = await service.get(path, **own)
        file = stored_receipt.parse(given.body)
        assert file.receipt.encode() == answer.body
        kinds = [json.loads(each.entry)["kind"] for each in file.proof.entries]
        assert kinds == ["batch", "genesis", "key"]
        assert (await service.get(path, **other)).code == "not_found"
        assert (await service.get(path, **firm)).code == "forbidden"
        assert (await service.get(path.replace("/proof", "0/proof"), **own)).code == "not_found"
        again = await service.get(path, If_None_Match=given.headers["ETag"], **own)
        assert again.status == 304


async def test_the_command_keeps_proves_and_verifies_a_receipt(database, tmp_path):
    file, envelope = tmp_path / "1.kept.json", tmp_path / "envelope.json"
    async with serving(database, tmp_path) as service:
        await service.open_books()
        envelope.write_bytes(service.envelope([record("r", "A", *HOUR, 64_000)]))
        key = ("--vkey", service.folder.log_vkey)
        posted = await kashi("provider", "post", "--keep", file, service.url, envelope)
        assert posted.exit_code == 0, posted.output
        bare = await kashi("receipt", "verify", file, *key)
        assert bare.exit_code == 2
        assert "NOT PROVED" in bare.stdout
        assert "unchecked  checkpoint: the file holds no proof" in bare.stdout
        bearer = ("--token", await token_of(service, "provider", "pcl"))
        await service.published()
        proved = await kashi("receipt", "prove", service.url, file, *bearer)
        assert proved.exit_code == 0, proved.output
        again = await kashi("provider", "post", "--keep", file, *bearer, service.url, envelope)
        assert again.exit_code == 0, again.output
        envelope.write_bytes(service.envelope(seq=2))
        taken = await kashi("provider", "post", "--keep", file, service.url, envelope)
        assert taken.exit_code == 1
        assert "holds another receipt" in taken.stderr
        vkey = vkey_of(service)
    good = await kashi("receipt", "verify", file, "--vkey", vkey)
    assert good.exit_code == 0, good.output
    assert good.stdout.splitlines()[-1].startswith("good: the log holds this batch")
    assert len([line for line in good.stdout.splitlines() if line.startswith("good ")]) == 9
    told = json.loads((await kashi("receipt", "verify", file, "--vkey", vkey, "--json")).stdout)
    assert told["verdict"] == "good"
    assert {each["outcome"] for each in told["checks"]} == {"good"}
    file.write_text(file.read_text().replace("144.00", "244.00"))
    bad = await kashi("receipt", "verify", file, "--vkey", vkey, "--json")
    assert bad.exit_code == 1
    told = json.loads(bad.stdout)
    assert told["verdict"] == "violated"
    assert {"name": "batch", "outcome": "bad"}.items() <= told["checks"][5].items()
    for words in (
        *((tmp_path / "nowhere", *key), (envelope, *key), (file,)),
        *((file, *key, "--proof", envelope), (file, *key, "--receipt-key", "!")),
        *((file, *key, "--policy", envelope), (file, "--vkey", "nonsense+")),
    ):
        refused = await kashi("receipt", "verify", *words)
        assert refused.exit_code == 2, words
        assert refused.stderr.startswith("could not check: "), words


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


async def test_years_later_and_after_a_rotation_the_old_file_is_still_proved(
    database, tmp_path, monkeypatch
):
    file, old_file = tmp_path / "kept.json", tmp_path / "old.json"
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    async with serving(database, tmp_path) as service:
        await service.open_books()
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        answer = await service.post("/v1/usage?wait=published", data, None)
        number = answer.json["entries"]["first"]
        file.write_bytes(
            stored_receipt.store(data, answer.body, answer.headers["Kashi-Signature"]).format()
        )
        bearer = await token_of(service, "provider", "pcl")
        await receipts.prove(service.url, file, bearer)
        shutil.copy(file, old_file)
        first = second = vkey_of(service)
    async with serving(database, tmp_path, "2027-06-01T12:00:00+08:00") as service:
        for path, kind in (("/v1/log-keys", "log"), ("/v1/receipt-keys", "receipt")):
            body = services.new_key(service.folder, kind)
            assert (await service.post(path, body, f"add-{kind}")).status == 201
            second = body.get("vkey", second)
        await service.usage([], seq=2)
        for path, body in (
            ("/v1/log-keys/retire", {"vkey": first}),
            ("/v1/receipt-keys/retire", {"keyid": "receipt-1"}),
        ):
            assert (await service.post(path, body, path)).status == 201
        for seq in range(3, 40):
            await service.usage([], seq=seq)
        await service.published()
        proof = tmp_path / "new.tlog-proof"
        proof.write_bytes((await service.get(f"/v1/entries/{number}/proof")).body)
        await receipts.prove(service.url, file, bearer)
        newest = file.read_bytes()
        file.write_bytes(_with_size(newest, 10**6))
        with pytest.raises(client.ClientError, match="rolled_back"):
            await receipts.prove(service.url, file, bearer)
        file.write_bytes(newest)
        await services.export_to(service.folder, tmp_path / "out")
    expected = {
        (old_file, first): 0,
        (old_file, second): 2,
        (file, first): 2,
        (file, second): 0,
    }
    for (path, vkey), code in expected.items():
        assert (await kashi("receipt", "verify", path, "--vkey", vkey)).exit_code == code, path
    later = await kashi("receipt", "verify", old_file, "--vkey", second, "--proof", proof)
    assert later.exit_code == 2, later.output
    assert "NOT CHECKED: the log holds this batch, but nothing here shows the" in later.stdout
    both = ("--vkey", first, "--vkey", second)
    whole = await kashi("receipt", "verify", old_file, *both, "--proof", proof)
    assert whole.exit_code == 0
    assert "unchecked" not in whole.stdout
    for path in (old_file, file):
        audited = await kashi("verify", tmp_path / "out", "--vkey", second, "--receipt", path)
        assert audited.exit_code == 0, audited.output


def _with_size(data: bytes, size: int) -> bytes:
    fields = json.loads(data)
    origin, _, rest = fields["proof"]["checkpoint"].split("\n", 2)
    fields["proof"]["checkpoint"] = f"{origin}\n{size}\n{rest}"
    return json.dumps(fields).encode()


async def test_the_ledgers_verification_takes_a_stored_receipt_that_is_newer_than_an_export(
    database, tmp_path, monkeypatch
):
    monkeypatch.setenv(DATABASE_VARIABLE, database)
    file = tmp_path / "kept.json"
    async with serving(database, tmp_path) as service:
        await service.open_books()
        await services.export_to(service.folder, tmp_path / "out")
        data = service.envelope([record("r", "A", *HOUR, 64_000)])
        answer = await service.post("/v1/usage", data, None)
        signature = answer.headers["Kashi-Signature"]
        file.write_bytes(stored_receipt.store(data, answer.body, signature).format())
        words = ("--vkey", service.folder.log_vkey, "--receipt", file)
        found = await kashi("verify", tmp_path / "out", *words)
        assert found.exit_code == 2
        assert f"could not check: {file}: newer_receipt: " in found.stdout
        await services.export_to(service.folder, tmp_path / "newer")
        found = await kashi("verify", tmp_path / "newer", *words)
        assert found.exit_code == 0


async def test_a_reporter_keeps_proofs_beside_its_receipts(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await service.open_books()
        stream = client.Stream(ORIGIN, None, "pcl", "main", "pcl-1", signer("pcl-1"))
        key = (await service.get("/v1/receipt-key")).json["public_key"]
        outbox = tmp_path / "outbox"
        async with Reporter(service.url, stream, key, outbox, **NO_PAUSE) as reporter:
            await reporter.report([usage("r1")])
            with pytest.raises(Refused, match="unauthorized"):
                await reporter.prove()
        bearer = await token_of(service, "provider", "pcl")
        async with Reporter(service.url, stream, key, outbox, token=bearer) as reporter:
            await reporter.report([usage("r2")])
            assert await reporter.prove() == 2
            assert await reporter.prove() == 0
        log = Verifier.parse(vkey_of(service))
        for seq in (1, 2):
            file = receipts.read(outbox / f"{seq}.proved.json")
            assert outcomes(verdict(file, log)) == {}
            assert file.receipt.encode() == (outbox / f"{seq}.receipt.json").read_bytes()
