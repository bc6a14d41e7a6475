"""Ledgers of a real service, exported at certain sizes, and copies of them to tamper with.

    async with serving(database, home) as service:
        ledger = await grown(service, home, [1, 300], batch_records=20)
    copy = copied(ledger.folders[300], home / "copy")
    flip(copy / "tile/entries/000", -1)

Copies share the files of the original, so write to them only by `put` and `flip`.
"""

import asyncio
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from click.testing import CliRunner

from ledger.folder import FolderReader, FolderWriter
from ledger.note import Checkpoint, Signer, claimed_checkpoint, sign
from ledger.tiles import level_tiles
from ledger.tlog import EMPTY_ROOT, Tree, leaf_hash
from meter.cli.main import main
from meter.host.data_folder import DATABASE_VARIABLE
from tests.books import record
from tests.services import HOUR, Service


@dataclass(frozen=True)
class Ledger:
    """The key of a log, its folder at each size, and the last answer to its provider."""

    signer: Signer
    folders: dict[int, Path]
    receipt: bytes
    receipt_signature: str

    @property
    def vkey(self) -> str:
        return self.signer.verifier.format()


async def grown(service: Service, home: Path, sizes: Iterable[int], batch_records: int) -> Ledger:
    """Export the ledger into `home` at each of the sizes, which ascend."""
    signer = Signer.parse(service.folder.log_key.read_text().strip())
    folders, numbers, answer = {}, count(1), None
    for size in sizes:
        await register(service, size)
        while missing := size - service.intake.watermark.size:
            first = service.intake.watermark.size
            wanted = min(missing - 1, batch_records)
            records = [record(f"r{first + n}", "A", *HOUR, 100) for n in range(wanted)]
            answer = await service.usage(records, seq=next(numbers))
            assert answer.status == 200, answer.body
        folders[size] = home / f"{size}"
        await asyncio.to_thread(export, service, folders[size])
    return Ledger(signer, folders, answer.body, answer.headers["Kashi-Signature"])


async def register(service: Service, size: int) -> None:
    """Write the seven entries that come before batches, as far as there is room."""
    written = service.intake.watermark.size
    if written == 1 < size:
        await service.activate()
    if written <= 2 < size:
        await service.open_books()


def export(service: Service, out: Path) -> None:
    """Export with the command, beside the running service."""
    words = ["export", "--data", str(service.folder.path), str(out)]
    ended = CliRunner().invoke(main, words, env={DATABASE_VARIABLE: service.dsn})
    assert ended.exit_code == 0, (ended.output, ended.exception)


def empty(signer: Signer, folder: Path) -> Path:
    """Write a ledger without even a genesis, which no service can."""
    checkpoint = Checkpoint(signer.name, 0, EMPTY_ROOT)
    FolderWriter(folder).finish(sign(checkpoint.format(), signer))
    return folder


# Reading


def checkpoint_of(folder: Path) -> Checkpoint:
    return claimed_checkpoint((folder / "checkpoint").read_bytes())


def entries_of(folder: Path) -> list[bytes]:
    reader, size = FolderReader(folder), checkpoint_of(folder).size
    return [data for tile in level_tiles("entries", size) for data in reader.entries(tile)]


def attachments_of(folder: Path) -> dict[int, list[bytes]]:
    reader, found = FolderReader(folder), {}
    for tile in level_tiles("batches", checkpoint_of(folder).size):
        if (folder / tile.path).exists():
            files = reader.attachments(tile)
            found |= {tile.first + index: files[index] for index in files}
    return found


def tree_of(folder: Path) -> Tree:
    tree = Tree()
    for data in entries_of(folder):
        tree.append(leaf_hash(data))
    return tree


# Tampering


def copied(folder: Path, to: Path) -> Path:
    return shutil.copytree(folder, to, copy_function=os.link)


def put(path: Path, data: bytes) -> None:
    """Write a file anew: the old one belongs to the original too."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def flip(path: Path, place: int) -> None:
    """Change the lowest bit of a byte."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    put(path, bytes(data))


def resigned(folder: Path, signer: Signer, checkpoint: Checkpoint) -> None:
    put(folder / "checkpoint", sign(checkpoint.format(), signer))


def rewritten(
    folder: Path, signer: Signer, entries: list[bytes], files: dict[int, list[bytes]]
) -> None:
    """Write a consistent folder that the log itself has signed."""
    shutil.rmtree(folder)
    writer = FolderWriter(folder)
    for number, data in enumerate(entries):
        writer.add(data, files.get(number, ()))
    writer.finish(sign(Checkpoint(signer.name, writer.size, writer.root()).format(), signer))
