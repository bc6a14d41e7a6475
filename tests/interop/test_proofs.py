"""Proofs from a service and in a stored receipt, checked by a foreign program."""

import json
from pathlib import Path

import pytest

from ledger.note import decode_base64
from ledger.proof import Proof
from meter.wire import stored_receipt
from tests.books import record
from tests.interop.programs import HERE, INSTALLED, Refused, need, run
from tests.services import HOUR, Service, serving, stored


def sigstore(vkey: str, *files: Path) -> None:
    """Check by `@sigstore/verify`: the log's signature, and each entry by its proof."""
    need("@sigstore/verify", (INSTALLED / "node_modules/@sigstore/verify").is_dir())
    settings = {"NODE_PATH": str(INSTALLED / "node_modules")}
    run("node", HERE / "verify.js", vkey, *files, environment=settings)


def written(folder: Path, proof: bytes, entry: bytes) -> list[Path]:
    folder.mkdir()
    files = [folder / ".tlog-proof", folder / "entry"]
    for file, data in zip(files, (proof, entry), strict=True):
        file.write_bytes(data)
    return files


async def filled(service: Service) -> bytes:
    """Open the books and post two batches; returns the answer to the second."""
    await service.open_books()
    await service.usage([record(f"r{n}", "A", *HOUR, 10) for n in range(270)])
    answer = await service.usage([record("s", "A", *HOUR, 10)], seq=2)
    await service.published()
    return answer.body


async def test_a_foreign_program_accepts_the_proofs_that_a_service_gives(database, tmp_path):
    async with serving(database, tmp_path) as service:
        await filled(service)
        entries, files = await stored(database), []
        for number in (0, 7, 255, 256, len(entries) - 1):
            answer = await service.get(f"/v1/entries/{number}/proof")
            files += written(tmp_path / f"{number}", answer.body, entries[number])
        vkey = service.folder.log_vkey.read_text().strip()
    sigstore(vkey, *files)
    files[-1].write_bytes(entries[0])
    with pytest.raises(Refused, match="calculated root hash does not match"):
        sigstore(vkey, *files)


async def test_a_foreign_program_accepts_each_entry_of_a_stored_receipt(database, tmp_path):
    async with serving(database, tmp_path) as service:
        digest = json.loads(await filled(service))["batch"]
        file = stored_receipt.parse((await service.get(f"/v1/batches/{digest}/proof")).body)
        vkey = service.folder.log_vkey.read_text().strip()
    files = []
    for each in file.proof.entries:
        hashes = tuple(map(decode_base64, each.hashes))
        proof = Proof(each.index, hashes, file.proof.checkpoint.encode()).format()
        files += written(tmp_path / f"{each.index}", proof, each.entry.encode())
    assert len(files) == 6
    sigstore(vkey, *files)
