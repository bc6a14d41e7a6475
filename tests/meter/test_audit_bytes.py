"""A change of any byte of an exported folder is found: the check of hashes and signatures."""

import contextlib
import random
from pathlib import Path

import pytest

from ledger.bundle import encode_attachment
from ledger.errors import NoCheckpoint, OtherKey
from ledger.report import Report
from ledger.tiles import parse_tile_path
from ledger.verify import verify
from meter.auditor.replay import Audit
from tests.auditing import rounds, small_history
from tests.writer import Writer


def exported(writer: Writer, folder: Path) -> dict[str, bytes]:
    """Export, and return the files by path."""
    writer.export(folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def owners(writer: Writer, path: str) -> list[int | None]:
    """Return the entry of each byte of a file, or None for bytes of no single entry."""
    if path == "checkpoint" or path.startswith("tile/1"):
        return []
    first = 256 * parse_tile_path(path).index
    numbers = range(first, min(first + 256, len(writer.leaves)))
    parts: list[tuple[int | None, int]] = []
    for number in numbers:
        if path.startswith("tile/0"):
            parts.append((number, 32))
        elif path.startswith("tile/entries"):
            parts.append((number, 2 + len(writer.leaves[number])))
        else:
            # After a change in the head of a file, all that follows seems to be another's.
            for file in writer.files.get(number, []):
                parts += [(None, len(encode_attachment(0, [b""]))), (number, len(file))]
    return [number for number, length in parts for _ in range(length)]


def with_a_bit_changed(
    writer: Writer, folder: Path, path: str, offset: int, replay: Audit | None
) -> Report | None:
    """Verify after one bit of a byte was changed, which then is changed back.

    None where there is no checkpoint to go by any more.
    """
    place = folder / path
    with place.open("r+b", buffering=0) as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << offset % 8]))
        report = None
        with contextlib.suppress(NoCheckpoint, OtherKey):
            report = verify(folder, writer.signer.verifier, replay)
        file.seek(offset)
        file.write(bytes([byte]))
    return report


def assert_named(report: Report, where: tuple[str, int], owner: int | None) -> None:
    assert not report.ok, where
    if owner is not None:
        assert report.findings[0].entry == owner, (where, report.findings)


@pytest.mark.long
def test_every_byte_of_a_small_export_changed_is_found(tmp_path):
    writer = small_history(1)  # one of each kind, for the work grows with the square
    kinds = {entry.kind for entry in small_history().entries}
    assert {entry.kind for entry in writer.entries} == kinds
    files = exported(writer, tmp_path)
    assert len(files) == 4
    for path, data in files.items():
        of_entry = owners(writer, path)
        assert len(of_entry) in {0, len(data)}
        for offset in range(len(data)):
            # An audit sees only entries that the root proves, so no changed one.
            audit = None if path.startswith("tile/entries") else Audit()
            report = with_a_bit_changed(writer, tmp_path, path, offset, audit)
            if report is None:
                assert path == "checkpoint"
                continue
            assert_named(report, (path, offset), of_entry[offset] if of_entry else None)
    assert verify(tmp_path, writer.signer.verifier, Audit()).ok


def test_a_byte_changed_in_each_file_and_each_entry_of_a_larger_export_is_found(tmp_path):
    writer = rounds(small_history(), 50, first=3)
    assert len(writer.leaves) > 300
    chance, seen = random.Random(7), []
    for path, data in exported(writer, tmp_path).items():
        of_entry = owners(writer, path)
        offsets = [chance.randrange(len(data))]
        if path.startswith("tile/entries"):
            numbers = dict.fromkeys(of_entry)
            seen += numbers
            ranges = [(of_entry.index(number), of_entry.count(number)) for number in numbers]
            offsets += [start + chance.randrange(length) for start, length in ranges]
        for offset in offsets:
            report = with_a_bit_changed(writer, tmp_path, path, offset, Audit())
            if report is None:
                assert path == "checkpoint"
                continue
            assert_named(report, (path, offset), of_entry[offset] if of_entry else None)
    assert seen == list(range(len(writer.leaves)))
