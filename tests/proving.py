"""Stored receipts: files of a writer (`tests/writer.py`) or of a service, and their verdicts."""

import asyncio

import pytest
from click.testing import CliRunner, Result

from ledger.note import Verifier
from ledger.proof import Proof
from ledger.tlog import Tree, leaf_hash
from meter.auditor import receipt_check
from meter.auditor.receipt_check import Trust, Verdict, policy_of
from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE
from meter.host.tokens import Identity
from meter.service import admin as services
from meter.wire import dsse, stored_receipt
from meter.wire.stored_receipt import StoredReceipt
from tests.books import log_signer, record
from tests.services import HOUR, NOON, Service
from tests.writer import Writer

LOG = log_signer("log").verifier
NEW_LOG = log_signer("log-2").verifier


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


def changed(text: str, place: int) -> str:
    """Change a letter in a text of base64 or JSON."""
    letter = "B" if text[place] != "B" else "C"
    return text[:place] + letter + text[place + 1 :]


async def token_of(service: Service, role: str, subject: str = "") -> str:
    identity = Identity(f"{role}-{subject or 'x'}", role, subject)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv(DATABASE_VARIABLE, service.dsn)
        return await services.add_token(service.folder, identity)


def vkey_of(service: Service) -> str:
    return service.folder.log_vkey.read_text().strip()


async def kashi(*words: object) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [str(word) for word in words])
