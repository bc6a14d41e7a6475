"""Stored receipts years later: keys have changed, and the log has grown or forked."""

import base64
import json
import re
import shutil

import msgspec
import pytest

from ledger.proof import Proof
from meter import client
from meter.api import openapi
from meter.api.app import ROUTES
from meter.auditor import receipt_check, receipts
from meter.auditor.receipt_check import Trust, policy_of
from meter.host.data_folder import DATABASE_VARIABLE
from meter.service import admin as services
from meter.wire import dsse, stored_receipt
from tests.books import public_text, record, signer
from tests.proving import (
    LOG,
    NEW_LOG,
    changed,
    kashi,
    kept,
    opened,
    outcomes,
    token_of,
    tree_of,
    use,
    verdict,
    vkey_of,
)
from tests.services import HOUR, serving
from tests.writer import Writer


def proof_of(writer: Writer, number: int) -> Proof:
    tree = tree_of(writer)
    hashes = tuple(tree.inclusion_proof(number, tree.size))
    return Proof(number, hashes, writer.checkpoint().encode())


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
